"""Targets against pytorch-metric-learning, which takes them as tuples of indices, and against torch's cross
entropy of soft labels; tuples listed twice are weights of 2."""

import numpy as np
import pytest
import torch
from pytorch_metric_learning import distances, losses, reducers

import nearfar

CASES = {
    "nt-xent": (nearfar.NTXentLoss, losses.NTXentLoss, {}),
    "supcon": (nearfar.SupConLoss, losses.SupConLoss, {}),
    "multi-similarity": (nearfar.MultiSimilarityLoss, losses.MultiSimilarityLoss, {}),
    "circle": (nearfar.CircleLoss, losses.CircleLoss, {}),
    "lifted": (nearfar.LiftedStructureLoss, losses.LiftedStructureLoss, {}),
    "generalized-lifted": (nearfar.GeneralizedLiftedStructureLoss,
                           losses.GeneralizedLiftedStructureLoss, {}),
    "triplet": (nearfar.TripletMarginLoss, losses.TripletMarginLoss, {}),
    "margin": (nearfar.MarginLoss, losses.MarginLoss, {"beta": 1.25}),  # a float32 there
    "contrastive": (lambda **options: nearfar.ContrastiveLoss("pml", **options),
                    losses.ContrastiveLoss, {}),
}
COPIES_COUNT = ("nt-xent", "lifted", "triplet", "margin")  # the others make masks of the tuples
N = 24


def batch(seed, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return rng, rng.normal(size=(N, 5)).astype(dtype)


def tuples(y, weight=None):
    """Every ordered pair with its target (NaN: none), as often as its weight says."""
    copies = np.ones((N, N), int) if weight is None else weight
    index = [np.nonzero(y == positive) for positive in (1, 0)]
    index = [[np.repeat(side, copies[pair]) for side in pair] for pair in index]
    return tuple(torch.tensor(side) for pair in index for side in pair)


def theirs(peer, x, labels, pairs):
    x = torch.tensor(x, requires_grad=True)
    value = peer(x, torch.as_tensor(labels), pairs)
    value.backward()
    return float(value.detach()), x.grad.numpy()


def check(ours, value, gradient, tolerance=1e-10):
    assert ours.value == pytest.approx(value, rel=tolerance, abs=tolerance)
    np.testing.assert_allclose(ours.grad, gradient, rtol=0,
                               atol=tolerance * max(np.abs(gradient).max(), 1e-3))


def without_self(y):
    y = y.astype(float)
    y[np.eye(N, dtype=bool)] = np.nan
    return y


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 5e-5)])
@pytest.mark.parametrize("name", CASES)
def test_several_labels_a_row_and_groups(name, dtype, tolerance):
    own, peer, options = CASES[name]
    for seed in range(3):
        rng, x = batch(seed, dtype)
        indicator = rng.random((N, 6)) < 0.2
        indicator[np.arange(N), rng.integers(0, 6, N)] = True
        groups = rng.integers(0, N // 2, N)
        y = without_self(indicator.astype(int) @ indicator.T > 0)
        y[groups[:, None] == groups] = np.nan
        result = own(**options).targets(x, label_sets=indicator, groups=groups)
        check(result, *theirs(peer(**options), x, np.zeros(N, int), tuples(y)), tolerance)


@pytest.mark.parametrize("name", CASES)
def test_any_pairs_as_targets_of_0_and_1(name):
    own, peer, options = CASES[name]
    rng, x = batch(4)
    y = np.triu(rng.random((N, N)) < 0.3, 1)
    y = without_self(y | y.T)
    result = own(**options).targets(x, soft=np.nan_to_num(y))
    check(result, *theirs(peer(**options), x, np.zeros(N, int), tuples(y)))


@pytest.mark.parametrize("name", COPIES_COUNT)
def test_a_tuple_listed_twice_is_a_weight_of_two(name):
    own, peer, options = CASES[name]
    rng, x = batch(5)
    labels = rng.integers(0, 5, N)
    weight = np.triu(rng.integers(0, 4, (N, N)), 1)
    weight += weight.T
    pairs = tuples(without_self(labels[:, None] == labels), weight)
    for reduction, reducer in (("sum", reducers.SumReducer()), ("weighted-mean", reducers.MeanReducer())):
        result = own(reduction=reduction, **options).targets(x, labels, pair_weight=weight)
        check(result, *theirs(peer(reducer=reducer, **options), x, labels, pairs))


def of_classes(weights, own, peer, options, labels, x):
    reducer = reducers.ClassWeightedReducer(torch.tensor(weights))
    return (own(reduction="mean", **options).targets(x, labels, class_weight=dict(enumerate(weights))),
            *theirs(peer(reducer=reducer, **options), x, labels, None))


@pytest.mark.parametrize("name", ["nt-xent", "supcon", "triplet", "n-pairs"])
def test_weights_of_classes_are_those_of_anchors(name):
    own, peer, options = CASES.get(name, (nearfar.NPairsLoss, losses.NPairsLoss, {}))
    rng, x = batch(6)
    check(*of_classes([0.5, 2.0, 0.0, 1.25], own, peer, options, rng.integers(0, 4, N), x))


@pytest.mark.parametrize("name", ["multi-similarity", "circle", "lifted", "generalized-lifted"])
def test_weights_of_classes_that_the_peer_spreads_over_all_rows(name):
    own, peer, options = CASES[name]
    rng, x = batch(6)
    labels, weights = rng.integers(0, 4, N), [0.5, 2.0, 0.0, 1.25]
    result, value, _ = of_classes(weights, own, peer, options, labels, x)
    # Its column of terms times a row of weights is a matrix, whose mean is the product of the means.
    assert result.value != pytest.approx(value, rel=1e-3)
    anchors = labels
    if name == "lifted":
        anchors = labels[np.nonzero(without_self(labels[:, None] == labels) == 1)[0]]
    plain = own(reduction="mean")(x, labels).value
    assert value == pytest.approx(plain * np.take(weights, anchors).mean(), rel=1e-10)


def test_weights_of_rows_are_the_miner_s_in_nca():
    rng, x = batch(7)
    labels = np.arange(N) % 5
    triplets = tuple(torch.tensor(rng.integers(0, N, 60)) for _ in range(3))
    counts = np.bincount(np.concatenate(triplets), minlength=N)
    result = nearfar.NCALoss().targets(x, labels, row_weight=counts / counts.max())
    check(result, *theirs(losses.NCALoss(), x, labels, triplets))


def test_supcon_of_soft_targets_is_the_cross_entropy_of_soft_labels():
    rng, x = batch(8)
    y = np.triu(rng.random((N, N)), 1)
    y += y.T
    rows = torch.tensor(x, requires_grad=True)
    similar = distances.CosineSimilarity()(rows, rows) / 0.2
    logits = similar.masked_fill(torch.eye(N, dtype=torch.bool), -1e300)
    value = torch.nn.functional.cross_entropy(logits, torch.tensor(y / y.sum(1, keepdims=True)))
    value.backward()
    result = nearfar.SupConLoss(0.2, reduction="mean").targets(x, soft=y)
    check(result, value.item(), rows.grad.numpy())
