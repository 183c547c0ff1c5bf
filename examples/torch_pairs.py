"""A network trained with its own loss plus a pair loss, in PyTorch; then a linear map from pairs
sampled offline.

    python examples/torch_pairs.py
"""

import torch

import nearfar
import nearfar.torch


def digits():
    """Half of the bundled digits to train on, half to look at: rows in [0, 1] and labels."""
    data = nearfar.load_digits()
    x, labels = torch.as_tensor(data[0]).float() / 16, torch.as_tensor(data[1]).long()
    half = len(x) // 2
    return (x[:half], labels[:half]), (x[half:], labels[half:])


def train_network(x, labels, weight=1.0, epochs=6):
    """Cross entropy on the outputs + weight * eq. (3) on the layer before them, batch by batch."""
    body = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 16))
    head = torch.nn.Linear(16, 10)
    pair_loss = nearfar.torch.ContrastiveLoss(margin=2, reduction="mean-sides")
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], 3e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            embeddings = body(x[rows])
            loss = torch.nn.functional.cross_entropy(head(embeddings), labels[rows])
            loss = loss + weight * pair_loss(embeddings, labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return body


def train_offline(x, labels, steps=200):
    """A linear map W from a list of pairs: left, right, same."""
    pairs = nearfar.sample_pairs(labels.numpy(), 4000, seed=1)
    left, right, same = (torch.as_tensor(column) for column in (pairs.i, pairs.j, pairs.same))
    linear = torch.nn.Linear(64, 16, bias=False)
    pair_loss = nearfar.torch.ContrastiveLoss("hinge", margin=2)
    optimizer = torch.optim.Adam(linear.parameters(), 3e-3)
    for _ in range(steps):
        part = torch.randint(len(same), (128,))
        value = pair_loss.rows(linear(x[left[part]]), linear(x[right[part]]), same[part])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return linear


def retrieval(x, labels):
    """MAP@R of every row among the others."""
    return nearfar.evaluate(x.detach().numpy(), labels.numpy()).map_at_r


def main():
    torch.manual_seed(0)
    (x, labels), (test_x, test_labels) = digits()
    print(f"pixels            MAP@R {retrieval(test_x, test_labels):.3f}")
    print(f"network + pairs   MAP@R {retrieval(train_network(x, labels)(test_x), test_labels):.3f}")
    print(f"linear, offline   MAP@R {retrieval(train_offline(x, labels)(test_x), test_labels):.3f}")


if __name__ == "__main__":
    main()
