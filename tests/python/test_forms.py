"""Values and gradients of all four forms against the oracle, on random losses and labels."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

import oracle

FLOAT64, FLOAT32 = 1e-12, 1e-5  # of the gradient's norm

multiples_of_half = st.integers(2, 16).map(lambda h: h / 2)


@st.composite
def losses(draw, reductions=oracle.REDUCTIONS):
    """Any loss of the family; margins that make some pairs active and some not."""
    metrics = draw(st.tuples(*[st.sampled_from(oracle.METRICS)] * 2))
    weights = st.sampled_from([0.0, 0.25, 1.0, 3.0])
    reduction = draw(st.sampled_from(reductions))
    return oracle.Loss(
        pos_metric=metrics[0],
        neg_metric=metrics[1],
        pos_exponent=draw(multiples_of_half),
        neg_exponent=draw(multiples_of_half),
        pos_margin=draw(st.sampled_from([0.0, 0.1, 0.7])),
        neg_margin=draw(st.sampled_from([-0.2, 0.3, 1.0, 2.5])) if metrics[1] == "dot"
        else draw(st.sampled_from([0.0, 0.3, 1.0, 2.5])),
        pos_weight=draw(weights),
        neg_weight=draw(weights),
        scale=draw(st.sampled_from([0.5, 1.0, 2.0])),
        normalize=draw(st.booleans()),
        reduction=reduction,
        divisor=12.5 if reduction == "divisor" else 0.0,
    )


@st.composite
def matrices(draw, rows=st.integers(0, 40), columns=st.integers(1, 20)):
    n, d = draw(rows), draw(columns)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.normal(size=(n, d)) * draw(st.sampled_from([0.1, 0.5, 2.0]))
    if draw(st.booleans()) and n > 2:
        x[rng.integers(n)] = 0.0  # a zero row
    dtype = draw(st.sampled_from([np.float64, np.float32]))
    return x.astype(dtype), rng


def kinks(loss, x, y, i, j, same):
    """Share of pairs so near a hinge that rounding decides the side."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.shape[1] == 1 and (loss.normalize or "cosine" in (loss.pos_metric, loss.neg_metric)):
        return np.ones(len(i), dtype=bool)  # unit rows are +-1: every distance is 0 or the largest
    if loss.normalize:
        x, y = oracle.unit(x), oracle.unit(y)
    t = np.where(same, oracle.distance(loss.pos_metric, x[i], y[j]) - loss.pos_margin,
                 oracle.distance(loss.neg_metric, x[i], y[j]) - loss.neg_margin)
    return np.abs(t) < 1e-5


def off_the_kinks(loss, x, y, i, j, same):
    """Duplicate rows sit at t = 0 by design and are compared exactly elsewhere; here a pair within
    rounding of its margin would make two right answers differ."""
    return len(i) == 0 or not kinks(loss, x, y, i, j, np.asarray(same, bool)).any()


def close(got, want, dtype, what, added=0.0):
    """Within the tolerance of the norm; where the contributions cancel to (nearly) nothing, within
    a few units of roundoff of what was added."""
    tolerance = FLOAT64 if dtype == np.float64 else FLOAT32
    norm = np.linalg.norm(want)
    error = np.linalg.norm(np.asarray(got, dtype=float) - want)
    assert np.isfinite(got).all()
    bound = tolerance * norm + 4 * np.finfo(dtype).eps * added
    assert error <= bound, f"{what}: {error:g} of {norm:g}, {added:g} added"


def compare(result, answer, dtype):
    tolerance = FLOAT64 if dtype == np.float64 else FLOAT32
    assert result.value == pytest.approx(answer.value, rel=tolerance, abs=1e-300)
    assert result.positive_pairs == answer.positive_pairs
    assert result.negative_pairs == answer.negative_pairs
    assert result.active_negative == answer.active_negative
    assert result.has_stats
    assert result.active_positive == answer.active_positive
    # A mean of signed distances (dot) may cancel: bounded by the magnitude of what is added.
    for side in ("positive", "negative"):
        name = f"mean_{side}_distance"
        assert getattr(result, name) == pytest.approx(getattr(answer, name), rel=100 * tolerance,
                                                      abs=100 * tolerance)


@given(data=st.data())
def test_batch(library, data):
    loss = data.draw(losses())
    x, rng = data.draw(matrices())
    labels = rng.integers(-1, data.draw(st.integers(1, 6)), size=len(x))
    if set(labels) == {-1, 1}:
        labels[labels == 1] = 2
    i, j, same = oracle.label_pairs(labels)
    if not off_the_kinks(loss, x, x, i, j, same):
        return
    result, gradient = library.batch(loss, x, labels)
    answer = oracle.batch_loss(loss, x, labels)
    compare(result, answer, x.dtype)
    close(gradient, answer.left, x.dtype, "gradient", answer.added)


@given(data=st.data())
def test_minus_one_as_an_ordinary_class(library, data):
    loss = data.draw(losses())
    x, rng = data.draw(matrices())
    labels = rng.choice([-1, 1], size=len(x))
    i, j, same = oracle.label_pairs(labels, unlabelled=None)
    if not off_the_kinks(loss, x, x, i, j, same):
        return
    result, gradient = library.batch(loss, x, labels, has_unlabelled=False)
    answer = oracle.batch_loss(loss, x, labels, unlabelled=None)
    compare(result, answer, x.dtype)
    close(gradient, answer.left, x.dtype, "gradient", answer.added)


@given(data=st.data())
def test_pair_list(library, data):
    loss = data.draw(losses(oracle.REDUCTIONS + ("none",)))
    x, rng = data.draw(matrices(rows=st.integers(2, 30)))
    count = data.draw(st.integers(0, 90))
    i = rng.integers(0, len(x), size=count)
    j = (i + rng.integers(1, len(x), size=count)) % len(x)  # repeated and reversed pairs too
    same = rng.integers(0, 2, size=count)
    weight = data.draw(st.sampled_from([None, rng.integers(0, 4, size=count) / 2]))
    upstream = rng.normal(size=count) if loss.reduction == "none" else None
    if not off_the_kinks(loss, x, x, i, j, same):
        return
    result, gradient, terms = library.pairs(loss, x, i, j, same, weight, upstream)
    answer = oracle.list_loss(loss, x, i, j, same, weight, upstream)
    if loss.reduction != "none":
        compare(result, answer, x.dtype)
    close(gradient, answer.left, x.dtype, "gradient", answer.added)
    close(terms, answer.terms, x.dtype, "terms")


@given(data=st.data())
def test_rows(library, data):
    loss = data.draw(losses(oracle.REDUCTIONS + ("none",)))
    left, rng = data.draw(matrices())
    right = rng.normal(size=left.shape).astype(left.dtype)
    n = len(left)
    same = rng.integers(0, 2, size=n)
    weight = data.draw(st.sampled_from([None, rng.uniform(0, 2, size=n)]))
    upstream = rng.normal(size=n) if loss.reduction == "none" else None
    k = np.arange(n)
    if not off_the_kinks(loss, left, right, k, k, same):
        return
    result, gl, gr, terms = library.rows(loss, left, right, same, weight, upstream)
    answer = oracle.row_loss(loss, left, right, same, weight, upstream)
    if loss.reduction != "none":
        compare(result, answer, left.dtype)
    close(gl, answer.left, left.dtype, "left gradient", answer.added)
    close(gr, answer.right, left.dtype, "right gradient", answer.added)
    close(terms, answer.terms, left.dtype, "terms")


@given(data=st.data())
def test_reference(library, data):
    loss = data.draw(losses())
    query, rng = data.draw(matrices())
    m = data.draw(st.integers(0, 40))
    reference = rng.normal(size=(m, query.shape[1])).astype(query.dtype)
    classes = data.draw(st.integers(2, 5))
    ql, rl = rng.integers(-1, classes, len(query)), rng.integers(-1, classes, m)
    for labels in (ql, rl):
        if set(labels) == {-1, 1}:
            labels[labels == 1] = 0
    ids = data.draw(st.sampled_from([None, rng.integers(0, 9, len(query))]))
    reference_ids = None if ids is None else rng.integers(0, 9, m)
    i, j = (g.ravel() for g in np.mgrid[: len(query), :m])
    if not off_the_kinks(loss, query, reference, i, j, ql[i] == rl[j]):
        return
    result, gq, gr = library.reference(loss, query, ql, reference, rl, ids, reference_ids)
    answer = oracle.reference_loss(loss, query, ql, reference, rl, ids, reference_ids)
    compare(result, answer, query.dtype)
    close(gq, answer.left, query.dtype, "query gradient", answer.added)
    close(gr, answer.right, query.dtype, "reference gradient", answer.added)


@pytest.mark.parametrize("n, d", [(97, 64), (200, 33), (300, 128)])
@pytest.mark.parametrize("name", oracle.PRESETS)
def test_batches_of_several_blocks(library, rng, name, n, d):
    loss = oracle.PRESETS[name]
    x = rng.normal(size=(n, d)) / np.sqrt(d)
    labels = rng.integers(-1, 7, size=n)
    answer = oracle.batch_loss(loss, x, labels)
    result, gradient = library.batch(loss, x, labels)
    compare(result, answer, x.dtype)
    close(gradient, answer.left, x.dtype, "gradient", answer.added)
    result, gradient = library.batch(loss, x.astype(np.float32), labels)
    close(gradient, answer.left, np.float32, "gradient", answer.added)


def test_the_program_writes_what_the_library_returns(nearfar, library, rng):
    """All four forms through files: values, gradients and terms."""
    loss = oracle.PRESETS["weston"]
    x, labels = rng.normal(size=(50, 8)) * 0.3, rng.integers(-1, 4, size=50)
    y, other = rng.normal(size=(50, 8)) * 0.3, rng.integers(-1, 4, size=50)
    i = rng.integers(0, 50, size=80)
    j = (i + rng.integers(1, 50, size=80)) % 50
    same, weight = (labels[i] == labels[j]).astype(np.uint8), rng.uniform(0, 2, size=80)
    nearfar.save(x=x, labels=labels, y=y, other=other, same=same[:50], ids=np.arange(50))
    np.savez(nearfar.folder / "pairs.npz", i=i, j=j, same=same, weight=weight)

    got = nearfar.json("loss", "x.npy", "--labels", "labels.npy", "--grad", "g.npy")
    result, gradient = library.batch(loss, x, labels)
    assert got["loss"] == result.value
    np.testing.assert_array_equal(nearfar.load("g"), gradient)

    got = nearfar.json("loss", "x.npy", "--pairs", "pairs.npz", "--grad", "g.npy", "--terms",
                       "t.npy")
    result, gradient, terms = library.pairs(loss, x, i, j, same, weight)
    assert got["loss"] == result.value
    np.testing.assert_array_equal(nearfar.load("g"), gradient)
    np.testing.assert_array_equal(nearfar.load("t"), terms)

    got = nearfar.json("loss", "--left", "x.npy", "--right", "y.npy", "--same", "same.npy",
                       "--grad-left", "gl.npy", "--grad-right", "gr.npy")
    result, gl, gr, _ = library.rows(loss, x, y, same[:50])
    assert got["loss"] == result.value
    np.testing.assert_array_equal(nearfar.load("gl"), gl)
    np.testing.assert_array_equal(nearfar.load("gr"), gr)

    got = nearfar.json("loss", "x.npy", "--labels", "labels.npy", "--reference", "y.npy",
                       "--reference-labels", "other.npy", "--ids", "ids.npy", "--reference-ids",
                       "ids.npy")
    result, _, _ = library.reference(loss, x, labels, y, other, np.arange(50), np.arange(50))
    assert got["loss"] == result.value
