"""Distances, classes and pairs against NumPy's, with their gradients."""

import numpy as np
import pytest
import tensorflow as tf

import nearfar
import nearfar.tensorflow as nt

METRICS = ("euclidean", "sqeuclidean", "cosine", "dot", "cityblock")


@pytest.mark.parametrize("engine", ["native", "tiled"])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("normalize", [False, True])
def test_distances_and_gradients(rng, engine, metric, normalize):
    x, y = rng.normal(size=(12, 4)), rng.normal(size=(9, 4))
    upstream = rng.normal(size=(12, 9))

    def weighted(a, b):
        return (nearfar.pairwise_distances(a, b, metric, normalize=normalize) * upstream).sum()

    a, b = tf.constant(x), tf.constant(y)
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        found = nt.pairwise_distances(a, b, metric, normalize=normalize, engine=engine)
    expected = nearfar.pairwise_distances(x, y, metric, normalize=normalize)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-15)
    if engine == "native":
        np.testing.assert_array_equal(found, expected)
    ga, gb = tape.gradient(found, [a, b], output_gradients=tf.constant(upstream))
    va, vb, step = rng.normal(size=x.shape), rng.normal(size=y.shape), 1e-6
    numeric = (weighted(x + step * va, y + step * vb) - weighted(x - step * va, y - step * vb))
    assert np.sum(ga * va) + np.sum(gb * vb) == pytest.approx(numeric / (2 * step), abs=1e-7)

    i, j = rng.integers(0, 12, 30), rng.integers(0, 9, 30)
    counts = np.zeros((12, 9))
    np.add.at(counts, (i, j), 1)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([a, b])
        some = nt.pair_distances(a, i, j, b, metric, normalize=normalize, engine=engine)
        all_of_them = tf.reduce_sum(counts * nt.pairwise_distances(a, b, metric,
                                                                   normalize=normalize))
    np.testing.assert_allclose(some, expected[i, j], rtol=1e-13, atol=1e-15)
    for one, other in zip(tape.gradient(some, [a, b]), tape.gradient(all_of_them, [a, b])):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("engine", ["native", "tiled"])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("normalize", [False, True])
def test_gradients_where_both_sides_are_one(rng, engine, metric, normalize):
    x, direction = rng.normal(size=(2, 8, 4))
    i, j = rng.integers(0, 8, (2, 20))
    options = {"metric": metric, "normalize": normalize}
    upstream = rng.normal(size=(8, 8))
    np.fill_diagonal(upstream, 0)  # at distance 0 there is no derivative
    upstream[i[i == j], j[i == j]] = 0
    for function, of in [
            (lambda rows: nt.pairwise_distances(rows, engine=engine, **options), upstream),
            (lambda rows: nt.pair_distances(rows, i, j, engine=engine, **options), upstream[i, j])]:
        rows = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(rows)
            found = function(rows)
        slope = np.sum(tape.gradient(found, rows, output_gradients=tf.constant(of)) * direction)
        step = 1e-6
        numeric = np.sum(of * (function(tf.constant(x + step * direction))
                               - function(tf.constant(x - step * direction)))) / (2 * step)
        assert slope == pytest.approx(numeric, abs=1e-7)


@pytest.mark.parametrize("jit", [False, True])
def test_distances_in_a_graph(rng, jit):
    """Rows, columns and pairs of unknown number, with gradients."""
    matrix, index = tf.TensorSpec([None, None], tf.float64), tf.TensorSpec([None], tf.int64)

    def step(x, i, j):
        with tf.GradientTape() as tape:
            tape.watch(x)
            every, some = nt.pairwise_distances(x), nt.pair_distances(x, i, j)
            total = tf.reduce_sum(every * every) + tf.reduce_sum(some)
        return every, some, tape.gradient(total, x)

    graph = tf.function(step, input_signature=[matrix, index, index], jit_compile=jit)
    native = {node.type for node in graph.get_concrete_function().graph.get_operations()
              if node.type.startswith("Nearfar")}
    assert native == (set() if jit else {"NearfarDistances", "NearfarPairDistances"})
    for n in (7, 0, 20):
        x = rng.normal(size=(n, 4))
        i, j = rng.integers(0, max(n, 1), (2, 9 if n else 0))
        every, some, gradient = graph(x, i, j)
        np.testing.assert_allclose(every, nearfar.pairwise_distances(x), rtol=1e-13)
        np.testing.assert_allclose(some, nearfar.pairwise_distances(x)[i, j], rtol=1e-13)
        _, _, expected = step(tf.constant(x), i, j)
        np.testing.assert_allclose(gradient, expected, atol=1e-12)


@pytest.mark.parametrize("engine", ["native", "tiled"])
def test_gradient_is_zero_at_distance_zero(engine):
    x = tf.constant([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]])
    for metric in METRICS[:3]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            d = nt.pairwise_distances(x, metric=metric, engine=engine)[0, 1]
        np.testing.assert_array_equal(tape.gradient(d, x), np.zeros((3, 2)))


@pytest.mark.parametrize("engine", ["native", "tiled"])
def test_second_derivatives(rng, engine):
    x = tf.constant(rng.normal(size=(6, 3)))

    def penalty(rows):
        with tf.GradientTape() as tape:
            tape.watch(rows)
            d = nt.pairwise_distances(rows, engine=engine)
        return tf.reduce_sum(tape.gradient(d, rows)**2)

    with tf.GradientTape() as tape:
        tape.watch(x)
        value = penalty(x)
    v, step = rng.normal(size=x.shape), 1e-6
    numeric = (penalty(x + step * v) - penalty(x - step * v)) / (2 * step)
    assert np.sum(tape.gradient(value, x) * v) == pytest.approx(float(numeric), rel=1e-6)


@pytest.mark.parametrize("unlabelled", [-1, None])
def test_indices(rng, unlabelled):
    labels = rng.integers(-1, 4, 40)
    pairs = tf.function(lambda y: nt.pair_indices(y, unlabelled=unlabelled))(labels)
    for found, expected in zip(pairs, nearfar.pair_indices(labels, unlabelled=unlabelled)):
        np.testing.assert_array_equal(found, expected)
    classes, rows = tf.function(lambda y: nt.class_indices(y, unlabelled=unlabelled))(labels)
    expected = nearfar.class_indices(labels, unlabelled=unlabelled)
    assert classes.numpy().tolist() == list(expected)
    for found, members in zip(rows, expected.values()):
        np.testing.assert_array_equal(found, members)


def test_wrong_arguments():
    x = tf.zeros([3, 2])
    for function, error, words in [
            (lambda: nt.pairwise_distances(x, metric="nearest"), ValueError, "metric"),
            (lambda: nt.pairwise_distances(tf.zeros([3])), ValueError, "matrix"),
            (lambda: nt.pairwise_distances(tf.zeros([3, 2], tf.int32)), TypeError, "floating"),
            (lambda: nt.pairwise_distances(x, tf.zeros([3, 2], tf.float64)), TypeError, "one type"),
            (lambda: nt.pair_distances(x, [0], [3]), tf.errors.InvalidArgumentError, "j"),
            (lambda: nt.pair_distances(x, [0.5], [1]), TypeError, "integers"),
            (lambda: nt.pair_indices([-1, 1, 1]), tf.errors.InvalidArgumentError, "binary"),
            (lambda: nt.pairwise_distances(x / 0), tf.errors.InvalidArgumentError, "NaN")]:
        with pytest.raises(error, match=words):
            function()
