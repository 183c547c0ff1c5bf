"""Losses of anchors against pytorch-metric-learning: value and gradient over random batches, both types,
other distances and reducers, a reference set, and labels at the edge; and where we differ on purpose."""

import functools

import numpy as np
import pytest
import torch
from pytorch_metric_learning import distances, losses, reducers

import nearfar

PEERS = {
    "nt-xent": losses.NTXentLoss, "supcon": losses.SupConLoss, "nca": losses.NCALoss,
    "multi-similarity": losses.MultiSimilarityLoss, "circle": losses.CircleLoss,
    "lifted": losses.LiftedStructureLoss, "n-pairs": losses.NPairsLoss,
    "generalized-lifted": losses.GeneralizedLiftedStructureLoss,
    "triplet": losses.TripletMarginLoss, "margin": losses.MarginLoss,
}
# The peer keeps beta in float32, whatever the rows are: one that both types hold.
PEERS["margin"] = functools.partial(losses.MarginLoss, beta=1.25)
OWN = {name: nearfar.anchor_losses.CLASSES[name] for name in PEERS}
OWN["margin"] = functools.partial(nearfar.MarginLoss, beta=1.25)
# Relative to the largest derivative: circle's exponents are 80 times a similarity.
TOLERANCE = {np.float64: 1e-11, np.float32: 4e-5}


def theirs(peer, x, labels, *reference):
    rows = [torch.tensor(x, requires_grad=True)]
    arguments = {}
    if reference:
        rows.append(torch.tensor(reference[0], requires_grad=True))
        arguments = {"ref_emb": rows[1], "ref_labels": torch.tensor(reference[1])}
    value = peer(rows[0], torch.tensor(labels), **arguments)
    value.backward()
    return float(value.detach()), [np.zeros_like(r.detach().numpy()) if r.grad is None
                                   else r.grad.numpy() for r in rows]


def assert_same(ours, gradients, value, expected, dtype, tolerance=None):
    tolerance = tolerance or TOLERANCE[dtype]
    assert ours.value == pytest.approx(value, rel=tolerance, abs=tolerance)
    largest = max(np.abs(g).max(initial=0) for g in expected)
    for got, want in zip(gradients, expected, strict=True):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * max(largest, 1e-3))


def batch(seed, n, d, classes, dtype):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).astype(dtype), rng.integers(0, classes, n)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", PEERS)
def test_defaults(name, dtype):
    for seed, (n, d, classes) in enumerate([(3, 2, 2), (12, 3, 4), (40, 8, 5), (110, 5, 11)]):
        x, labels = batch(seed, n, d, classes, dtype)
        result = OWN[name]()(x, labels)
        assert_same(result, [result.grad], *theirs(PEERS[name](), x, labels), dtype)


OPTIONS = [
    ("nt-xent", dict(temperature=0.5), dict(temperature=0.5)),
    ("supcon", dict(temperature=0.5), dict(temperature=0.5)),
    ("nca", dict(temperature=0.25), dict(softmax_scale=4)),
    ("multi-similarity", dict(alpha=3, beta=10, base=0.2), dict(alpha=3, beta=10, base=0.2)),
    ("circle", dict(margin=0.25, gamma=16), dict(m=0.25, gamma=16)),
    ("lifted", dict(neg_margin=0.7, pos_margin=0.2), dict(neg_margin=0.7, pos_margin=0.2)),
    ("generalized-lifted", dict(neg_margin=0.7, pos_margin=0.2),
     dict(neg_margin=0.7, pos_margin=0.2)),
    ("triplet", dict(margin=0.3, smooth=True), dict(margin=0.3, smooth_loss=True)),
    ("margin", dict(margin=0.1, beta=0.875), dict(margin=0.1, beta=0.875)),
]


@pytest.mark.parametrize(("name", "own", "their"), OPTIONS, ids=[o[0] for o in OPTIONS])
def test_options(name, own, their):
    x, labels = batch(7, 30, 4, 5, np.float64)
    result = OWN[name](**own)(x, labels)
    # Beyond 20 torch's softplus is its argument, and its derivative 1.
    tolerance = 3e-9 if name == "circle" else None
    assert_same(result, [result.grad], *theirs(PEERS[name](**their), x, labels), np.float64,
                tolerance)


DISTANCES = {
    "euclidean": distances.LpDistance(normalize_embeddings=False),
    "sqeuclidean": distances.LpDistance(normalize_embeddings=False, power=2),
    "cityblock": distances.LpDistance(normalize_embeddings=False, p=1),
    "cosine": distances.CosineSimilarity(),
    "dot": distances.DotProductSimilarity(normalize_embeddings=False),
}


@pytest.mark.parametrize("metric", DISTANCES)
@pytest.mark.parametrize("name", ["nt-xent", "supcon", "nca", "multi-similarity", "n-pairs"])
def test_metrics(name, metric):
    x, labels = batch(8, 25, 4, 5, np.float64)
    result = OWN[name](metric=metric, normalize=False)(x, labels)
    peer = PEERS[name](distance=DISTANCES[metric])
    assert_same(result, [result.grad], *theirs(peer, x, labels), np.float64)


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "cityblock"])
@pytest.mark.parametrize("name", ["lifted", "generalized-lifted"])
def test_distances_of_lifted_losses(name, metric):
    x, labels = batch(9, 25, 4, 5, np.float64)
    result = OWN[name](metric=metric, normalize=False)(x, labels)
    peer = PEERS[name](distance=DISTANCES[metric])
    assert_same(result, [result.grad], *theirs(peer, x, labels), np.float64)


@pytest.mark.parametrize(("reduction", "reducer"), [
    ("sum", reducers.SumReducer), ("mean", reducers.MeanReducer),
    ("mean-nonzero", reducers.AvgNonZeroReducer), ("mean-anchors", reducers.PerAnchorReducer)])
@pytest.mark.parametrize("name", [n for n in PEERS if n not in ("triplet", "margin")])
def test_reducers(name, reduction, reducer):
    if reduction == "mean-anchors" and name != "nt-xent":
        pytest.skip("the reducer averages pairs of an anchor, and cannot those of the peer's lifted")
    x, labels = batch(10, 30, 4, 12, np.float64)  # with classes of one row
    result = OWN[name](reduction=reduction)(x, labels)
    assert_same(result, [result.grad], *theirs(PEERS[name](reducer=reducer()), x, labels),
                np.float64)


class WithDivisor(losses.SupConLoss):
    """A loss that tells its reducer what to divide by, as those with such a default do."""

    def compute_loss(self, *arguments):
        parts = super().compute_loss(*arguments)
        return {name: {**part, "divisor": 37} for name, part in parts.items()}


def test_divisors():
    x, labels = batch(18, 30, 4, 5, np.float64)
    peer = WithDivisor(reducer=reducers.DivisorReducer())
    result = nearfar.SupConLoss(reduction="divisor", divisor=37)(x, labels)
    assert_same(result, [result.grad], *theirs(peer, x, labels), np.float64)
    # MarginLoss divides by the number of parts above 0, which a first call can tell.
    own = OWN["margin"]()
    parts = own(x, labels).counts.active_terms
    result = own.replace(reduction="divisor", divisor=parts)(x, labels)
    assert_same(result, [result.grad], *theirs(PEERS["margin"](), x, labels), np.float64)
    learnt = nearfar.margin_loss(x, labels, 1.25, reduction="divisor", divisor=parts)
    assert learnt.value == result.value and np.array_equal(learnt.grad, result.grad)
    assert learnt.beta_grad == pytest.approx(nearfar.margin_loss(x, labels, 1.25).beta_grad)


@pytest.mark.parametrize("name", [n for n in PEERS if n not in ("margin", "n-pairs")])
def test_terms(name):
    """What the peer's DoNothingReducer keeps, summed over the terms of an anchor, and their gradient."""
    x, labels = batch(19, 24, 4, 5, np.float64)
    upstream = np.random.default_rng(1).normal(size=24)
    rows = torch.tensor(x, requires_grad=True)
    (part,) = (part for part in PEERS[name](reducer=reducers.DoNothingReducer())(
        rows, torch.tensor(labels)).values() if isinstance(part["losses"], torch.Tensor))
    indices = part["indices"]
    anchor = indices[0] if isinstance(indices, tuple) else torch.as_tensor(indices)
    terms = torch.zeros(24, dtype=torch.float64).index_add(0, anchor, part["losses"].reshape(-1))
    (terms * torch.tensor(upstream)).sum().backward()
    result = OWN[name](reduction="none")(x, labels, upstream=upstream)
    np.testing.assert_allclose(result.terms, terms.detach().numpy(), rtol=1e-11, atol=1e-11)
    assert_same(result, [result.grad], float(terms.detach().sum()), [rows.grad.numpy()], np.float64)


@pytest.mark.parametrize("name", ["nt-xent", "supcon", "nca", "multi-similarity", "circle",
                                  "generalized-lifted"])
def test_reference(name):
    x, labels = batch(11, 14, 4, 4, np.float64)
    y, other = batch(12, 22, 4, 4, np.float64)
    result = OWN[name]().reference(x, labels, y, other)
    assert_same(result, result.grad, *theirs(PEERS[name](), x, labels, y, other), np.float64)


@pytest.mark.parametrize("name", [n for n in PEERS if n != "nca"])
@pytest.mark.parametrize("labels", [[0] * 8, list(range(8)), [0, 0, 1, 2, 3, 4, 5, 6], [3], []],
                         ids=["one class", "all different", "singletons", "one row", "no row"])
def test_labels_at_the_edge(name, labels):
    x = np.random.default_rng(13).normal(size=(8, 3))[:len(labels)]
    labels = np.array(labels, np.int64)
    result = OWN[name]()(x, labels)
    assert_same(result, [result.grad], *theirs(PEERS[name](), x, labels), np.float64)


@pytest.mark.parametrize("name", [n for n in PEERS if n not in ("margin", "triplet")])
def test_duplicates_and_a_zero_row(name):
    x, labels = batch(14, 12, 3, 3, np.float64)
    x[3], x[5], x[7] = x[2], x[4], 0
    ours = OWN[name]()(x, labels)
    value, (gradient,) = theirs(PEERS[name](), x, labels)
    assert np.isfinite(ours.grad).all() and np.all(ours.grad[7] == 0)
    # The peer's distance of equal rows is sqrt(rounding), about 1e-8.
    assert ours.value == pytest.approx(value, rel=1e-6)
    if np.isfinite(gradient).all() and OWN[name]().metric in ("cosine", "dot"):
        keep = np.arange(12) != 7  # whose normalisation it differentiates at length 1e-12
        np.testing.assert_allclose(ours.grad[keep], gradient[keep], rtol=0,
                                   atol=1e-9 * np.abs(gradient[keep]).max())


# ---- differences on purpose ---------------------------------------------------------------------


def test_nca_of_lone_rows_is_zero_and_the_peer_s_is_nan():
    x, labels = batch(15, 6, 3, 6, np.float64)[0], np.arange(6)
    assert np.isnan(theirs(losses.NCALoss(), x, labels)[0])
    result = nearfar.NCALoss()(x, labels)
    assert result.value == 0 and not result.grad.any()


def test_nca_of_one_class_is_exactly_zero():
    x, labels = batch(16, 6, 3, 1, np.float64)
    assert theirs(losses.NCALoss(), x, labels)[0] == pytest.approx(0, abs=1e-7)
    assert nearfar.NCALoss()(x, labels).value == 0


def test_nt_xent_is_not_cut_off_where_the_peer_s_probability_underflows():
    x = np.array([[1, 0], [-1, 1e-3], [1, 1e-3]], np.float32)
    labels, temperature = np.array([0, 0, 1]), 0.01
    ours = nearfar.NTXentLoss(temperature)(x, labels)
    exact = nearfar.NTXentLoss(temperature)(x.astype(np.float64), labels)
    assert ours.value == pytest.approx(exact.value, rel=1e-5) and ours.value > 100
    assert theirs(losses.NTXentLoss(temperature), x, labels)[0] < 50


def test_a_batch_no_n_x_n_x_n_tensor_fits():
    x, labels = batch(17, 3000, 8, 40, np.float32)
    for loss in (nearfar.NTXentLoss(), nearfar.LiftedStructureLoss()):
        half = loss(x.astype(np.float64), labels)
        assert loss(x, labels).value == pytest.approx(half.value, rel=1e-5)
