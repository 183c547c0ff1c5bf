"""The preset of a library gives that library's own value and gradient."""

import pytest
import torch
from pytorch_metric_learning import losses, miners

from nearfar.torch import ContrastiveLoss


def unit_batch(seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(60, 7, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, 6, (60,), generator=generator)


def same_value_and_gradient(ours, theirs, *rows):
    found = []
    for loss in (ours, theirs):
        inputs = [x.clone().requires_grad_() for x in rows]
        value = loss(*inputs)
        value.backward()
        found.append([value.detach(), *(x.grad for x in inputs)])
    assert found[1][0] > 0
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("margins", [(0, 1), (0.1, 0.8)])
def test_all_pairs_of_pytorch_metric_learning(margins):
    x, labels = unit_batch(0)
    ours = ContrastiveLoss("pml", pos_margin=margins[0], neg_margin=margins[1])
    theirs = losses.ContrastiveLoss(*margins)
    same_value_and_gradient(lambda x: ours(x, labels), lambda x: theirs(x, labels), x)


def test_mined_pairs_and_triplets_of_pytorch_metric_learning():
    x, labels = unit_batch(1)
    ours, theirs = ContrastiveLoss("pml"), losses.ContrastiveLoss()
    pairs = miners.PairMarginMiner(0.4, 1.1)(x, labels)
    assert len(pairs) == 4 and 0 < len(pairs[0]) < 600
    same_value_and_gradient(lambda x: ours(x, labels, pairs), lambda x: theirs(x, labels, pairs), x)
    triplets = miners.TripletMarginMiner(0.1)(x, labels)
    triplets = tuple(index[:50] for index in triplets)
    expected = theirs(x, labels, (triplets[0], triplets[1], triplets[0], triplets[2]))
    torch.testing.assert_close(ours(x, None, triplets), expected)


def test_references_of_pytorch_metric_learning():
    x, labels = unit_batch(2)
    y, y_labels = unit_batch(3)
    ours, theirs = ContrastiveLoss("pml"), losses.ContrastiveLoss()
    same_value_and_gradient(lambda x, y: ours(x, labels, None, y, y_labels),
                            lambda x, y: theirs(x, labels, None, y, y_labels), x, y)


def test_norms_and_formula_of_weston():
    """eq. (3) spelled out in PyTorch, with torch's own gradient."""
    x, labels = unit_batch(4)
    x = x * 0.3
    i, j = torch.triu_indices(60, 60, 1)

    def formula(x):
        d2 = ((x[i] - x[j]) ** 2).sum(1)
        far = torch.relu(1 - d2.sqrt()) ** 2
        return torch.where(labels[i] == labels[j], d2, far).mean()

    same_value_and_gradient(lambda x: ContrastiveLoss()(x, labels), formula, x)
