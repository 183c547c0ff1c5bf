"""Losses against the engine through NumPy, natively (same bits) and tile by tile."""

import concurrent.futures

import numpy as np
import pytest
import tensorflow as tf

import nearfar
import nearfar.tensorflow as nt
from nearfar.tensorflow import _ops, _tiled
from nearfar.tensorflow._options import encode

PRESETS = ("weston", "drlim", "hinge", "pml", "sbert")
REDUCTIONS = ("mean", "sum", "mean-sides", "mean-nonzero", "weighted-mean", "divisor")


def divisor(reduction):
    return 7.5 if reduction == "divisor" else None


def differentiated(function, *xs):
    xs = [tf.constant(x) for x in xs]
    with tf.GradientTape() as tape:
        tape.watch(xs)
        value = function(*xs)
    return value.numpy(), [g.numpy() for g in tape.gradient(value, xs)]


def close(found, expected, dtype):
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(found, expected, rtol=tolerance,
                               atol=tolerance * np.abs(expected).max())


def test_native_is_loaded():
    assert _ops.native is not None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_batch(batch, dtype, preset, reduction):
    x, labels = batch[0].astype(dtype), batch[1]
    own = {"reduction": reduction, "divisor": divisor(reduction)}
    expected = nearfar.ContrastiveLoss(preset, **own)(x, labels)
    for engine in ("native", "tiled"):
        loss = nt.ContrastiveLoss(preset, **own, engine=engine, dtype=dtype)
        value, (gradient,) = differentiated(lambda rows: loss(labels, rows), x)
        if engine == "native":
            assert value == np.dtype(dtype).type(expected.value)
            np.testing.assert_array_equal(gradient, expected.grad)
        else:
            close(value, expected.value, dtype)
            close(gradient, expected.grad, dtype)


@pytest.mark.parametrize("options", [
    {"pos_exponent": 1.5, "neg_exponent": 3, "pos_margin": 0.2, "neg_margin": 1.7},
    {"pos_metric": "cityblock", "neg_metric": "cosine", "margin": 0.1 + 1e-12},
    {"metric": "dot", "pos_margin": -0.3, "margin": 0.4, "pos_weight": 0.3, "scale": 1.1},
    {"unlabelled": None, "normalize": True, "neg_weight": 2.5}])
def test_options_keep_every_bit(batch, options):
    x, labels = batch
    expected = nearfar.ContrastiveLoss(**options)(x, labels)
    for engine in ("native", "tiled"):
        loss = nt.ContrastiveLoss(engine=engine, dtype="float64", **options)
        value, (gradient,) = differentiated(lambda rows: loss(labels, rows), x)
        if engine == "native":
            assert value == expected.value
        close(value, expected.value, "float64")
        close(gradient, expected.grad, "float64")


@pytest.mark.parametrize("engine", ["native", "tiled"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_other_forms(batch, rng, engine, dtype):
    x, labels = batch[0].astype(dtype), batch[1]
    other = rng.normal(size=x.shape).astype(dtype)
    loss = nt.ContrastiveLoss(engine=engine)
    same, weight = rng.integers(0, 2, len(x)), rng.uniform(0, 2, len(x))
    ids, pairs = np.arange(len(x)), nearfar.sample_pairs(labels, 50, seed=1)
    cases = [
        (lambda a, b: loss.rows(a, b, same), (x, other), loss.options.rows(x, other, same)),
        (lambda a, b: loss.rows(a, b, same, weight), (x, other),
         loss.options.rows(x, other, same, weight)),
        (lambda a: loss.pairs(a, pairs), (x,), loss.options.pairs(x, pairs)),
        (lambda a, b: loss.reference(a, labels, b, same), (x, other),
         loss.options.reference(x, labels, other, same)),
        (lambda a, b: loss.reference(a, labels, b, same, ids, ids[::-1]), (x, other),
         loss.options.reference(x, labels, other, same, ids, ids[::-1].copy()))]
    for function, xs, expected in cases:
        value, gradients = differentiated(function, *xs)
        wanted = expected.grad if len(xs) == 2 else [expected.grad]
        close(value, expected.value, dtype)
        for gradient, right in zip(gradients, wanted):
            if engine == "native":
                np.testing.assert_array_equal(gradient, right)
            close(gradient, right, dtype)


def test_terms_with_upstream(batch, rng):
    x = batch[0]
    other, same = rng.normal(size=x.shape), rng.integers(0, 2, len(x))
    upstream = rng.normal(size=len(x))
    loss = nt.ContrastiveLoss(reduction="none")
    expected = loss.options.rows(x, other, same, upstream=upstream)
    a = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(a)
        terms = loss.rows(a, other, same)
    close(terms.numpy(), expected.terms, "float64")
    close(tape.gradient(terms, a, output_gradients=tf.constant(upstream)).numpy(),
          expected.grad[0], "float64")
    with pytest.raises(ValueError, match="reduction 'none'"):
        loss(batch[1], x)


@pytest.mark.parametrize("engine", ["native", "tiled"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_sample_weight_is_a_product_per_pair(batch, rng, engine, reduction):
    x, labels = batch
    weight = rng.uniform(0, 2, len(x))
    weight[3] = 0
    i, j = np.triu_indices(len(x), 1)
    valid = (labels[i] != -1) & (labels[j] != -1)
    i, j = i[valid], j[valid]
    loss = nt.ContrastiveLoss(reduction=reduction, divisor=divisor(reduction), engine=engine,
                              dtype="float64")
    expected = loss.options.pairs(x, (i, j, labels[i] == labels[j], weight[i] * weight[j]))
    value, (gradient,) = differentiated(lambda rows: loss(labels, rows, weight), x)
    close(value, expected.value, "float64")
    close(gradient, expected.grad, "float64")
    if engine == "native":
        same = loss.options.targets(x, labels, row_weight=weight)
        assert value == same.value
        np.testing.assert_array_equal(gradient, same.grad)
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
        loss(labels, x, weight[1:])


@pytest.mark.parametrize("engine", ["native", "tiled"])
@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("preset", PRESETS)
def test_second_derivatives(batch, rng, engine, graph, preset):
    x, labels = batch
    x = rng.normal(size=x.shape)  # no pair at a kink
    direction = rng.normal(size=x.shape)
    loss = nt.ContrastiveLoss(preset, engine=engine, dtype="float64")

    def product(rows, weight=None):
        with tf.GradientTape() as outer:
            outer.watch(rows)
            with tf.GradientTape() as inner:
                inner.watch(rows)
                value = loss(labels, rows, weight)
            slope = tf.reduce_sum(inner.gradient(value, rows) * direction)
        return outer.gradient(slope, rows)

    product = tf.function(product) if graph else product
    for weight in (None, rng.uniform(0, 2, len(x))):
        found = product(tf.constant(x), weight)
        above, below = (loss.options.targets(x + step * direction, labels, row_weight=weight).grad
                        for step in (1e-6, -1e-6))
        numeric = (above - below) / 2e-6
        np.testing.assert_allclose(found, numeric, atol=1e-7 * np.abs(numeric).max())


@pytest.mark.parametrize("engine", ["native", "tiled"])
def test_second_derivatives_of_a_set_with_itself(batch, rng, engine):
    """As reference, query and rows of another set are one tensor: each side has its share."""
    labels, ids = batch[1], np.arange(33)
    x, direction = rng.normal(size=(2, 33, 5))
    loss = nt.ContrastiveLoss(engine=engine, neg_exponent=3)  # smooth at the margin

    def slope(rows):
        with tf.GradientTape() as tape:
            tape.watch(rows)
            value = loss.reference(rows, labels, rows, labels, ids, ids)
        return tf.reduce_sum(tape.gradient(value, rows) * direction)

    rows = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(rows)
        first = slope(rows)
    step = 1e-6
    numeric = (slope(tf.constant(x + step * direction))
               - slope(tf.constant(x - step * direction))) / (2 * step)
    assert np.sum(tape.gradient(first, rows) * direction) == pytest.approx(float(numeric), rel=1e-6)


@pytest.mark.parametrize("engine", ["native", "tiled"])
def test_third_derivatives_are_refused(batch, engine):
    x, labels = tf.constant(batch[0]), batch[1]
    loss = nt.ContrastiveLoss(engine=engine, dtype="float64")
    with pytest.raises(NotImplementedError, match="third derivatives"):
        with tf.GradientTape() as a:
            a.watch(x)
            with tf.GradientTape() as b:
                b.watch(x)
                with tf.GradientTape() as c:
                    c.watch(x)
                    value = loss(labels, x)
                second = tf.reduce_sum(c.gradient(value, x)**2)
            third = tf.reduce_sum(b.gradient(second, x)**2)
        a.gradient(third, x)


@pytest.mark.parametrize("jit", [False, True])
def test_in_a_graph(batch, jit):
    x, labels = batch
    loss = nt.ContrastiveLoss(dtype="float64")
    signature = [tf.TensorSpec([None, 5], tf.float64), tf.TensorSpec([None], tf.int64)]

    @tf.function(input_signature=signature, jit_compile=jit)
    def step(rows, classes):
        with tf.GradientTape() as tape:
            tape.watch(rows)
            value = loss(classes, rows)
        return value, tape.gradient(value, rows)

    graph = step.get_concrete_function().graph
    native = {node.type for node in graph.get_operations() if node.type.startswith("Nearfar")}
    assert native == (set() if jit else {"NearfarLossBatch", "NearfarLossScale"})
    for rows in (33, 20):
        value, gradient = step(x[:rows], labels[:rows])
        assert gradient.shape == (rows, 5)
        expected = loss.options(x[:rows], labels[:rows])
        close(value.numpy(), expected.value, "float64")
        close(gradient.numpy(), expected.grad, "float64")


def test_a_graph_that_may_run_on_another_device_is_not_native(monkeypatch):
    def operations():
        graph = tf.function(lambda x: nt.ContrastiveLoss()([0, 1], x)).get_concrete_function(
            tf.TensorSpec([2, 3])).graph
        return {node.type for node in graph.get_operations()}

    assert "NearfarLossBatch" in operations()
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["GPU"])
    assert "NearfarLossBatch" not in operations()


@pytest.mark.parametrize("engine", ["native", "tiled"])
def test_nothing_to_compare_is_zero(engine):
    loss = nt.ContrastiveLoss(engine=engine)
    none = np.zeros(0, np.int64)
    value, (gradient,) = differentiated(lambda rows: loss(none, rows), np.zeros((0, 3), np.float32))
    assert value == 0 and gradient.shape == (0, 3)
    value, (gradient,) = differentiated(lambda rows: loss.pairs(rows, (none, none, none)),
                                        np.ones((4, 3), np.float32))
    assert value == 0 and not gradient.any()
    value, (gradient,) = differentiated(lambda rows: loss([3, -1], rows),
                                        np.ones((2, 3), np.float32))
    assert value == 0 and not gradient.any()


def test_several_threads_at_once(rng):
    x, labels = rng.normal(size=(150, 16)).astype(np.float32), rng.integers(0, 9, 150)
    loss = nt.ContrastiveLoss(engine="native")
    expected = loss.options(x, labels)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:  # more than contexts are kept
        found = list(pool.map(lambda _: differentiated(lambda rows: loss(labels, rows), x),
                              range(60)))
    for value, (gradient,) in found:
        assert value == np.float32(expected.value)
        np.testing.assert_array_equal(gradient, expected.grad)


def test_shapes_are_inferred():
    @tf.function
    def shapes(x):
        found = _ops.native.NearfarLossBatch(x=x, labels=tf.zeros([7], tf.int64),
                                             loss=encode(nearfar.ContrastiveLoss()))
        distances = nt.pairwise_distances(x, tf.zeros([4, 3]))
        some = nt.pair_distances(x, [0, 1], [2, 3])
        assert found.value.shape == [] and found.gradient.shape == [7, 3]
        assert distances.shape == [7, 4] and some.shape == [2]
        return distances

    shapes.get_concrete_function(tf.TensorSpec([7, 3]))
    with pytest.raises(ValueError, match="rank"):
        tf.function(lambda x: _ops.loss("batch", encode(nearfar.ContrastiveLoss()), x, [0, 1]))(
            tf.zeros([2, 3, 4]))


def test_several_tiles_agree(rng, monkeypatch):
    monkeypatch.setattr(_tiled, "_TILE_ROWS", 8)
    _tiled._pass.cache_clear()
    x, labels = rng.normal(size=(61, 3)), rng.integers(-1, 5, 61)
    loss = nt.ContrastiveLoss(engine="tiled", dtype="float64")
    value, (gradient,) = differentiated(lambda rows: loss(labels, rows), x)
    expected = loss.options(x, labels)
    close(value, expected.value, "float64")
    close(gradient, expected.grad, "float64")


def test_threads_never_change_a_result(rng):
    x, labels = rng.normal(size=(700, 16)).astype(np.float32), rng.integers(0, 9, 700)
    loss = nt.ContrastiveLoss(engine="native")
    found = []
    for threads in (1, 3, 0):
        nt.set_num_threads(threads)
        found.append(differentiated(lambda rows: loss(labels, rows), x))
    for value, (gradient,) in found[1:]:
        assert value == found[0][0]
        np.testing.assert_array_equal(gradient, found[0][1][0])
    with pytest.raises(ValueError, match="threads"):
        nt.set_num_threads(-1)
