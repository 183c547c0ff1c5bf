"""Time of nearfar.torch against a no-op operator and against PyTorch's own formula.

One JSON line a case: medians, in microseconds, of repeats of which each runs every contender in
turn, and the ratios to nearfar's. Needs PyTorch, nearfar and (for torch.compile) a C++ compiler:

    python bench/frameworks/torch_step.py [--repeats 15] [--threads 2]

The formula is eq. (3) of Weston et al., 2008, over all pairs, as it is usually written: distances
by |a|^2 - 2 a.b + |b|^2, the fastest form in PyTorch, with a root that is safe at 0.
"""

import torch

import nearfar
import nearfar.torch
from timing import Comparison, arguments

# ---- contenders ---------------------------------------------------------------------------------

LIBRARY = torch.library.Library("nearfar_bench", "DEF")
LIBRARY.define("nothing(Tensor x, Tensor labels) -> (Tensor, Tensor)")


def nothing(x, labels):
    """Outputs of the right shapes, and no work."""
    return x.new_empty(()), torch.empty_like(x)


LIBRARY.impl("nothing", nothing, "CompositeExplicitAutograd")
torch.library.register_fake("nearfar_bench::nothing", nothing, lib=LIBRARY)


class Nothing(torch.autograd.Function):
    """The no-op with the backward of a loss: the gradient times the one from above."""

    @staticmethod
    def forward(x, labels):
        return torch.ops.nearfar_bench.nothing(x, labels)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx, above, _):
        return ctx.saved_tensors[0] * above, None


class NoLoss(torch.nn.Module):
    def forward(self, x, labels):
        return Nothing.apply(x, labels)[0]


def formula(x, labels):
    """The mean over pairs of d^2 (same label) or max(0, 1 - d)^2 (different)."""
    length2 = (x * x).sum(1)
    d2 = torch.relu(length2[:, None] - 2 * (x @ x.T) + length2)
    positive = d2 > 0
    d = torch.where(positive, torch.sqrt(torch.where(positive, d2, 1)), 0)
    phi = torch.where(labels[:, None] == labels, d2, torch.relu(1 - d) ** 2)
    return phi.triu(1).sum() * (2 / (x.shape[0] * (x.shape[0] - 1)))


def by_cdist(x, labels):
    """The same with torch.cdist."""
    d = torch.cdist(x, x)
    phi = torch.where(labels[:, None] == labels, d * d, torch.relu(1 - d) ** 2)
    return phi.triu(1).sum() * (2 / (x.shape[0] * (x.shape[0] - 1)))


def step_of(loss, x, labels):
    """Forward and backward; the gradient goes to x.grad as in training."""
    def step():
        x.grad = None
        loss(x, labels).backward()
        return x.grad
    return step


# ---- cases --------------------------------------------------------------------------------------


def calls(compare):
    """The overhead of a call, N = 2 and d = 2."""
    x, labels = torch.tensor([[0.0, 0.0], [0.3, 0.4]]), torch.tensor([0, 1])
    leaf = x.clone().requires_grad_()
    loss, noop = nearfar.torch.ContrastiveLoss(), NoLoss()
    graph, noop_graph = (torch.compile(f, fullgraph=True) for f in (loss, noop))
    pairs = {"eager, rows without a gradient": (lambda: loss(x, labels),
                                                lambda: torch.ops.nearfar_bench.nothing(x, labels)),
             "eager, forward": (lambda: loss(leaf, labels), lambda: noop(leaf, labels)),
             "eager, forward and backward": (step_of(loss, leaf, labels),
                                             step_of(noop, leaf, labels)),
             "torch.compile, forward and backward": (step_of(graph, leaf, labels),
                                                     step_of(noop_graph, leaf, labels))}
    for case, (ours, nothing_done) in pairs.items():
        compare(f"call of ContrastiveLoss, {case}", {"nearfar": ours, "noop": nothing_done})


def steps(n, d, compare):
    """Loss and gradient of a batch of n rows with 10 classes, apart by about the margin."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator) / (2 * d) ** 0.5
    labels = torch.randint(0, 10, (n,), generator=generator)
    x.requires_grad_()
    loss = nearfar.torch.ContrastiveLoss()
    contenders = {"nearfar": loss, "formula, eager": formula, "cdist, eager": by_cdist,
                  "formula, torch.compile": torch.compile(formula, fullgraph=True)}
    contenders = {name: step_of(call, x, labels) for name, call in contenders.items()}
    exact = contenders["nearfar"]()
    for call in contenders.values():  # all compute the same; float32 sums of n^2 terms drift
        torch.testing.assert_close(call(), exact, rtol=0, atol=1e-2 * float(exact.abs().max()))
    compare(f"step n={n} d={d}, eager", contenders)
    graph = step_of(torch.compile(loss, fullgraph=True), x, labels)
    compare(f"step n={n} d={d}, nearfar in a compiled graph", contenders | {"nearfar": graph})


def main():
    options = arguments(__doc__)
    compare = Comparison(options.repeats)
    torch.set_num_threads(options.threads)
    nearfar.set_num_threads(options.threads)
    calls(compare)
    steps(64, 128, compare)
    steps(4096, 128, Comparison(max(3, options.repeats // 3)))


if __name__ == "__main__":
    main()
