"""Functions and forms of the loss against NumPy."""

import copy
import doctest
import inspect
import pickle

import numpy as np
import oracle
import pytest

import nearfar
from package_support import rows

METRICS = oracle.METRICS
TOLERANCE = {"f4": 2e-5, "f8": 1e-12}


def reference_distances(metric, x, y):
    x, y = x.astype("f8"), y.astype("f8")
    return np.array([oracle.distance(metric, np.repeat(row[None], len(y), 0), y) for row in x])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("metric", METRICS)
def test_distances(rng, metric, dtype):
    x, _ = rows(rng, 131, 17, dtype)
    y, _ = rows(rng, 53, 17, dtype)
    full = nearfar.pairwise_distances(x, y, metric)
    expected = reference_distances(metric, x, y)
    assert full.dtype == x.dtype
    assert np.allclose(full, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    own = nearfar.pairwise_distances(x, metric=metric)
    assert np.array_equal(own, own.T)
    i, j = np.triu_indices(131, 1)
    assert np.array_equal(nearfar.pdist(x, metric), own[i, j])
    assert np.array_equal(nearfar.pair_distances(x, i[::7], j[::7], metric=metric), own[i, j][::7])
    assert np.array_equal(nearfar.pair_distances(x, i % 131, j % 53, y, metric),
                          full[i % 131, j % 53])
    unit = nearfar.pairwise_distances(x, y, metric, normalize=True)
    assert np.allclose(unit, reference_distances(metric, oracle.unit(x.astype("f8")),
                                                 oracle.unit(y.astype("f8"))),
                       rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_fast_distances_and_losses(rng):
    x, y = rows(rng, 131, 70, "f4")
    x[5], x[6] = x[4], x[4] + 1e-4
    exact = reference_distances("sqeuclidean", x, x)
    direct = nearfar.pairwise_distances(x, metric="sqeuclidean")
    fast = nearfar.pairwise_distances(x, metric="sqeuclidean", fast=True)
    assert np.all(np.abs(fast - exact) <= 40 * 72 * 2.0 ** -24 * exact)
    assert not np.array_equal(fast, direct)
    assert fast[4, 5] == 0 and fast[4, 6] == direct[4, 6] > 0
    i, j = np.triu_indices(131, 1)
    assert np.array_equal(nearfar.pdist(x, "sqeuclidean", fast=True), fast[i, j])
    index, distance = nearfar.knn(x, k=3, metric="sqeuclidean", fast=True)
    assert np.array_equal(distance, np.take_along_axis(fast, index, 1))
    for loss in nearfar.ContrastiveLoss(margin=40), nearfar.SupConLoss():
        quick = loss.replace(fast=True)
        assert quick.fast and not loss.fast and "fast=True" in repr(quick)
        one, other = loss(x, y), quick(x, y)
        assert other.value == pytest.approx(one.value, rel=1e-5) and other.value != one.value
        assert np.allclose(other.grad, one.grad, rtol=1e-3, atol=1e-6)
    assert nearfar.loss(x, y, margin=40, fast=True).value == (
        nearfar.ContrastiveLoss(margin=40, fast=True)(x, y).value)
    assert nearfar.evaluate(x, y, fast=True).map_at_r == pytest.approx(
        nearfar.evaluate(x, y).map_at_r, abs=1e-3)
    for call in (lambda: nearfar.pairwise_distances(x, metric="dot", fast=True),
                 lambda: nearfar.ContrastiveLoss(pos_metric="cityblock", fast=True)):
        with pytest.raises(ValueError, match="fast"):
            call()


def test_nonfinite_rows_only_when_asked(rng):
    x, _ = rows(rng, 5, 3)
    x[2, 1] = np.nan
    with pytest.raises(ValueError, match="x"):
        nearfar.pdist(x)
    out = nearfar.pairwise_distances(x, allow_nonfinite=True)
    assert np.isnan(out[2, 0]) and np.isfinite(out[0, 1])


@pytest.mark.parametrize("metric", METRICS)
def test_neighbours(rng, metric):
    x, _ = rows(rng, 97, 6)
    y, _ = rows(rng, 41, 6)
    index, distance = nearfar.knn(x, y, 5, metric)
    full = nearfar.pairwise_distances(x, y, metric)
    expected = np.argsort(full, axis=1, kind="stable")[:, :5]
    assert np.array_equal(index, expected)
    assert np.array_equal(distance, np.take_along_axis(full, expected, 1))
    own, _ = nearfar.knn(x, k=4, metric=metric)
    full = nearfar.pairwise_distances(x, metric=metric)
    np.fill_diagonal(full, np.inf)
    assert np.array_equal(own, np.argsort(full, axis=1, kind="stable")[:, :4])
    with_self, _ = nearfar.knn(x, k=1, metric=metric, exclude_self=False)
    if metric != "dot":
        assert np.array_equal(with_self[:, 0], np.arange(97))
    for k in (0, 42, 2**60):
        with pytest.raises(ValueError, match="k is"):
            nearfar.knn(x, y, k)


# ---- pairs --------------------------------------------------------------------------------------


def test_partition_and_classes(rng):
    labels = rng.integers(-1, 6, 80)
    part = nearfar.partition(labels)
    i, j, same = oracle.label_pairs(labels)
    assert part.positive_pairs == same.sum() and part.negative_pairs == (~same).sum()
    classes = nearfar.class_indices(labels)
    assert list(classes) == list(dict.fromkeys(labels[labels >= 0].tolist()))
    for k, (label, members) in enumerate(classes.items()):
        assert np.array_equal(members, np.flatnonzero(labels == label))
        assert np.array_equal(part.rows[part.offsets[k]:part.offsets[k + 1]], members)
        assert (part.class_of[members] == k).all() and part.labels[k] == label
    assert (part.class_of[labels == -1] == -1).all()
    pos_i, pos_j, neg_i, neg_j = nearfar.pair_indices(labels)
    assert np.array_equal(np.stack([pos_i, pos_j]), np.stack([i[same], j[same]]))
    assert np.array_equal(np.stack([neg_i, neg_j]), np.stack([i[~same], j[~same]]))
    every = nearfar.partition(labels, unlabelled=None)
    assert every.positive_pairs + every.negative_pairs == 80 * 79 // 2


def test_classes_of_names():
    classes = nearfar.class_indices(["b", "a", "b", "c"])
    assert {k: v.tolist() for k, v in classes.items()} == {"b": [0, 2], "a": [1], "c": [3]}
    assert nearfar.partition(["b", "a", "b"]).labels == ["b", "a"]
    assert nearfar.class_indices([]) == {}


def test_samples(rng):
    labels = rng.integers(0, 5, 60)
    pairs = nearfar.sample_pairs(labels, 4000, positive_fraction=0.25, seed=9)
    i, j, same, weight = pairs
    assert (i < j).all() and np.array_equal(labels[i] == labels[j], same)
    assert same.dtype == bool and same.sum() == 1000
    again = nearfar.sample_pairs(labels, 4000, positive_fraction=0.25, seed=9)
    assert all(np.array_equal(a, b) for a, b in zip(pairs, again))
    other = nearfar.sample_pairs(labels, 4000, positive_fraction=0.25, seed=10)
    assert not np.array_equal(pairs.i, other.i)
    once = nearfar.sample_pairs(labels, 200, replace=False)
    assert len(set(zip(once.i.tolist(), once.j.tolist()))) == 200
    x, _ = rows(rng, 60, 3)
    loss = nearfar.ContrastiveLoss()
    estimate = loss.pairs(x, nearfar.sample_pairs(labels, 400000, seed=1)).value
    assert estimate == pytest.approx(loss(x, labels).value, rel=0.01)
    with pytest.raises(ValueError, match="count|positive|pair"):
        nearfar.sample_pairs([0, 1], 10)
    with pytest.raises(TypeError, match="count is 2.5: it must be a whole number"):
        nearfar.sample_pairs(labels, 2.5)


# ---- loss ---------------------------------------------------------------------------------------

VARIANTS = [dict(preset=name) for name in ("weston", "drlim", "hinge", "pml", "sbert")] + [
    dict(margin=2.5, reduction="mean-sides", pos_weight=0.5),
    dict(metric="cityblock", exponent=1.5, margin=6, pos_margin=0.5, reduction="sum"),
    dict(pos_metric="sqeuclidean", neg_metric="cosine", pos_exponent=1, normalize=True),
    dict(metric="dot", margin=0.5, pos_margin=-1, reduction="weighted-mean", scale=3),
]


def oracle_of(loss):
    names = oracle.Loss.__dataclass_fields__
    return oracle.Loss(**{name: getattr(loss, name) for name in names})


def check(result, expected, gradients, dtype):
    tolerance = TOLERANCE[dtype]
    assert result.value == pytest.approx(expected.value, rel=tolerance, abs=tolerance)
    for got, want in gradients:
        assert got.dtype == np.dtype(dtype)
        assert np.allclose(got, want, rtol=10 * tolerance, atol=10 * tolerance)
    assert result.counts.positive_pairs == expected.positive_pairs
    assert result.counts.negative_pairs == expected.negative_pairs
    assert result.counts.active_negative == expected.active_negative


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_forms_of_the_loss(rng, options, dtype):
    loss = nearfar.ContrastiveLoss(**options, stats=True)
    formula = oracle_of(loss)
    x, labels = rows(rng, 70, 6, dtype)
    y, other = rows(rng, 33, 6, dtype)
    expected = oracle.batch_loss(formula, x, labels)
    result = loss(x, labels)
    check(result, expected, [(result.grad, expected.left)], dtype)
    assert result.counts.active_positive == expected.active_positive
    assert result.counts.mean_positive_distance == \
        pytest.approx(expected.mean_positive_distance, rel=1e-5, abs=1e-6)
    assert result.counts.mean_negative_distance == \
        pytest.approx(expected.mean_negative_distance, rel=1e-5, abs=1e-6)

    i, j, _ = nearfar.sample_pairs(np.arange(70) % 3, 200, seed=3)[:3]
    same, weight = rng.random(200) < 0.4, rng.random(200)
    expected = oracle.list_loss(formula, x, i, j, same, weight)
    result = loss.pairs(x, (i, j, same, weight), terms=True)
    check(result, expected, [(result.grad, expected.left)], dtype)
    assert np.allclose(result.terms, expected.terms, rtol=1e-4, atol=1e-5)

    left, right = x[:33], y
    expected = oracle.row_loss(formula, left, right, same[:33], weight[:33])
    result = loss.rows(left, right, same[:33], weight[:33])
    check(result, expected, [(result.grad[0], expected.left), (result.grad[1], expected.right)],
          dtype)

    ids, other_ids = np.arange(70), np.arange(33) * 3
    expected = oracle.reference_loss(formula, x, labels, y, other, ids, other_ids)
    result = loss.reference(x, labels, y, other, ids, other_ids)
    check(result, expected, [(result.grad[0], expected.left), (result.grad[1], expected.right)],
          dtype)


def test_function_and_object_are_one(rng):
    x, labels = rows(rng, 40, 4)
    options = dict(preset="hinge", margin=2, reduction="sum")
    loss = nearfar.ContrastiveLoss(**options)
    for result in (nearfar.loss(x, labels, loss), nearfar.loss(x, labels, **options)):
        assert result.value == loss(x, labels).value
        assert np.array_equal(result.grad, loss(x, labels).grad)
    assert nearfar.loss(x, labels).value == nearfar.ContrastiveLoss()(x, labels).value
    assert loss(x, labels, gradient=False).grad is None
    assert loss(x, labels, gradient=False).value == loss(x, labels).value
    with pytest.raises(TypeError, match="not both"):
        nearfar.loss(x, labels, loss, margin=1)


def test_reduction_none_and_upstream(rng):
    loss = nearfar.ContrastiveLoss(reduction="none")
    x, labels = rows(rng, 30, 4)
    i, j, same = np.arange(29), np.arange(1, 30), np.arange(29) % 2
    upstream = rng.normal(size=29)
    expected = oracle.list_loss(oracle_of(loss), x, i, j, same, upstream=upstream)
    result = loss.pairs(x, (i, j, same), upstream=upstream)
    assert np.allclose(result.terms, expected.terms) and np.allclose(result.grad, expected.left)
    rows_result = loss.rows(x[:-1], x[1:], same, upstream=upstream)
    assert np.allclose(rows_result.terms, expected.terms)
    with pytest.raises(ValueError, match="none"):
        loss(x, labels)
    with pytest.raises(ValueError, match="upstream has 3 entries"):
        loss.pairs(x, (i, j, same), upstream=[1, 2, 3])
    mean = nearfar.ContrastiveLoss()
    assert np.allclose(mean.pairs(x, (i, j, same), upstream=-2.0).grad,
                       -2 * mean.pairs(x, (i, j, same)).grad)


def test_names_of_both_sides_are_one_numbering(rng):
    x, labels = rows(rng, 20, 3)
    y, other = rows(rng, 10, 3)
    names = np.array(["a", "b", "c", "d"])
    loss = nearfar.ContrastiveLoss()
    labels, other = labels % 4, other % 4
    assert loss.reference(x, names[labels], y, names[other]).value == \
        loss.reference(x, labels, y, other).value
    big = np.array([2**63 + 5, 7, 2**64 - 1, 0], np.uint64)
    assert loss.reference(x, big[labels], y, big[other]).value == \
        loss.reference(x, labels, y, other).value
    with pytest.raises(TypeError, match="query_labels and reference_labels"):
        loss.reference(x, names[labels], y, other)


def test_no_pair_is_zero_not_nan():
    for labels in ([-1, -1, -1], [0, -1, -1]):
        result = nearfar.loss(np.ones((3, 2)), labels)
        assert result.value == 0 and not result.grad.any()
    assert nearfar.loss(np.ones((3, 2)), [0, 1, 2]).counts.coincident_negatives == 3


# ---- options ------------------------------------------------------------------------------------


@pytest.mark.parametrize("options, text", [
    (dict(preset="westn"), "weston"), (dict(metric="euclid"), "metric is 'euclid'.*'euclidean'"),
    (dict(pos_metric="x"), "pos_metric"), (dict(exponent=0.7), "exponent is 0.7"),
    (dict(margin=float("nan")), "margin"), (dict(scale=0), "scale is 0"),
    (dict(reduction="avg"), "reduction is 'avg'"), (dict(pos_weight=-1), "pos_weight is -1"),
    (dict(unlabelled=0), "unlabelled is 0"), (dict(metric="dot"), "margin")])
def test_bad_values_are_named(options, text):
    with pytest.raises(ValueError, match=text):
        nearfar.ContrastiveLoss(**options)
    with pytest.raises(ValueError, match=text):
        nearfar.loss(np.ones((2, 2)), [0, 1], **options)


@pytest.mark.parametrize("options, text", [
    (dict(margin="1"), "margin is '1': it must be a number"), (dict(metric=3), "metric is 3"),
    (dict(normalize="no"), "normalize is 'no': it must be True or False"),
    (dict(margins=1), "unexpected keyword argument 'margins'"),
    (dict(margin=1, neg_margin=1), "margin and neg_margin")])
def test_bad_types_are_named(options, text):
    with pytest.raises(TypeError, match=text):
        nearfar.ContrastiveLoss(**options)


def test_calls_are_checked():
    for call, text in ((lambda: nearfar.loss(), "missing required argument 'x'"),
                       (lambda: nearfar.loss(np.ones((2, 2))), "'labels'"),
                       (lambda: nearfar.loss(np.ones((2, 2)), [0, 1], None, 1), "positional"),
                       (lambda: nearfar.loss(np.ones((2, 2)), [0, 1], x=1), "multiple values"),
                       (lambda: nearfar.loss(np.ones((2, 2)), [0, 1], 3), "loss is 3"),
                       (lambda: nearfar.pdist(np.ones((2, 2)), foo=1), "'foo'")):
        with pytest.raises(TypeError, match=text):
            call()


def test_results_do_not_fit():
    with pytest.raises(ValueError, match="float|range|beyond"):
        nearfar.pdist(np.array([[1e308], [-1e308]]))
    with pytest.raises((MemoryError, ValueError)):
        nearfar.pdist(np.zeros((2**22, 1), np.float32))


REPRS = {
    "ContrastiveLoss('weston')": "same: d^2, different: max(0, 1 - d)^2, d = |a - b|; "
                                 "mean over pairs",
    "ContrastiveLoss('drlim', margin=2.0)": "same: 0.5 d^2, different: 0.5 max(0, 2 - d)^2, "
                                            "d = |a - b|; mean over pairs",
    "ContrastiveLoss('hinge')": "same: d^2, different: max(0, 1 - d^2), d = |a - b|; "
                                "mean over pairs",
    "ContrastiveLoss('pml')": "same: d, different: max(0, 1 - d), d = |a/|a| - b/|b||; "
                              "mean of the non-zero terms of each side",
    "ContrastiveLoss('sbert')": "same: 0.5 c^2, different: 0.5 max(0, 0.5 - c)^2, "
                                "c = 1 - cos(a, b); mean over pairs",
    "ContrastiveLoss('weston', exponent=1.5, pos_margin=0.25, unlabelled=None)":
        "same: max(0, d - 0.25)^1.5, different: max(0, 1 - d)^1.5, d = |a - b|; mean over pairs",
}


@pytest.mark.parametrize("text", REPRS)
def test_repr_is_a_constructor_and_a_formula(text):
    loss = eval(text, {"ContrastiveLoss": nearfar.ContrastiveLoss})
    assert repr(loss) == f"{text}  # {REPRS[text]}"
    assert eval(repr(loss), {"ContrastiveLoss": nearfar.ContrastiveLoss}) == loss


def test_the_formula_is_what_is_computed(rng):
    """The printed formula, evaluated."""
    x, _ = rows(rng, 2, 3)
    scope = {"max": max, "c": 1 - x[0] @ x[1] / np.linalg.norm(x[0]) / np.linalg.norm(x[1]),
             "s": -x[0] @ x[1], "l": np.abs(x[0] - x[1]).sum(), "d": np.linalg.norm(x[0] - x[1])}
    for options in (dict(), dict(preset="drlim", margin=9), dict(preset="hinge", margin=30),
                    dict(preset="sbert"), dict(metric="cityblock", margin=9, pos_margin=.5),
                    dict(metric="dot", margin=20, pos_margin=-20, exponent=1)):
        loss = nearfar.ContrastiveLoss(**options)
        same, different = loss.formula.split("; ")[0].split(", d")[0], loss.formula
        same = loss.formula.split("same: ")[1].split(", different: ")[0]
        different = loss.formula.split("different: ")[1]
        end = min(different.index(f", {name} = ") for name in "dcsl" if f", {name} = " in different)
        for text, labels in ((same, [0, 0]), (different[:end], [0, 1])):
            factor, _, rest = text.partition(" ")
            text = f"{factor} * {rest}" if factor.replace(".", "").isdigit() else text
            value = eval(text.replace("^", "**"), scope)
            assert loss(x, labels).value == pytest.approx(value, rel=1e-12, abs=1e-15)


def test_losses_are_values():
    loss = nearfar.ContrastiveLoss("hinge", margin=3, unlabelled=None, stats=True)
    for other in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss), loss.replace()):
        assert other == loss and hash(other) == hash(loss)
    assert loss.replace(margin=4) != loss and loss.replace(margin=4).neg_margin == 4
    assert loss.replace(metric="cosine").neg_metric == "cosine"
    assert loss != "hinge"
    with pytest.raises(AttributeError):
        loss.margin = 3

    class Mine(nearfar.ContrastiveLoss):
        pass

    assert Mine("hinge")([[1.0], [2.0]], [0, 0]).value == 1


def test_results_are_tuples_that_pickle(rng):
    x, labels = rows(rng, 10, 2)
    value, grad, counts = nearfar.loss(x, labels)
    again = pickle.loads(pickle.dumps(nearfar.loss(x, labels)))
    assert again.value == value and np.array_equal(again.grad, grad) and again.counts == counts
    assert isinstance(pickle.loads(pickle.dumps(nearfar.evaluate(x, labels))), nearfar.Evaluation)


def test_examples_in_docstrings():
    failed, tried = doctest.testmod(nearfar)
    assert tried > 3 and failed == 0


def test_documented():
    for name in nearfar.__all__:
        thing = getattr(nearfar, name)
        assert thing.__doc__ and len(thing.__doc__) > 10, name
        if inspect.isbuiltin(thing):
            assert inspect.signature(thing) is not None, name
    assert list(inspect.signature(nearfar.loss).parameters)[:3] == ["x", "labels", "loss"]


def test_presets_are_the_library_s():
    assert set(nearfar.presets()) >= {"weston", "tfa", "drlim", "hinge", "pml", "sbert"}
    assert nearfar.ContrastiveLoss("tfa").formula == nearfar.ContrastiveLoss().formula
