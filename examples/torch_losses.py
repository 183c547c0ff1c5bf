"""An embedding of digits by losses that compare the pairs of a row, in PyTorch: the supervised
contrastive loss, triplets, the margin loss with boundaries to learn, and small batches that meet rows
of earlier ones.

    python examples/torch_losses.py
"""

import torch

import nearfar
import nearfar.torch as nt


def digits():
    """Half of the bundled digits to train on, half to look at: rows in [0, 1] and labels."""
    data = nearfar.load_digits()
    x, labels = torch.as_tensor(data[0]).float() / 16, torch.as_tensor(data[1]).long()
    half = len(x) // 2
    return (x[:half], labels[:half]), (x[half:], labels[half:])


def train(x, labels, loss, parameters=(), rows=128, epochs=8):
    """A network by `loss(embeddings, labels)`; `parameters` are learnt with its own."""
    network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 16))
    optimizer = torch.optim.Adam([*network.parameters(), *parameters], 3e-3)
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(rows):
            value = loss(network(x[part]), labels[part])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    return network


def retrieval(x, labels):
    """MAP@R of every row among the others, by the cosine."""
    return nearfar.evaluate(x.detach().numpy(), labels.numpy(), metric="cosine").map_at_r


def main():
    torch.manual_seed(0)
    (x, labels), (test_x, test_labels) = digits()
    print(f"pixels                 MAP@R {retrieval(test_x, test_labels):.3f}")

    def report(name, *how, **options):
        network = train(x, labels, *how, **options)
        print(f"{name:22} MAP@R {retrieval(network(test_x), test_labels):.3f}")
        return network

    network = report("SupCon", nt.SupConLoss())
    triplets = nt.TripletMarginLoss(0.2)
    counts = triplets.counts(network(test_x), test_labels)
    print(f"triplets within 0.2    {counts.active_terms} of {counts.terms}")
    report("all triplets", triplets)
    margin = nt.MarginLoss(learn_beta=True, num_classes=10)
    report("margin, beta learnt", margin, margin.parameters())
    bank, contrast = nt.MemoryBank(512, dim=16), nt.NTXentLoss(0.1)
    report("NT-Xent, memory bank", lambda x, labels: bank.loss(contrast, x, labels), rows=32)


if __name__ == "__main__":
    main()
