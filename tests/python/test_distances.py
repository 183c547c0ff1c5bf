"""Distances and neighbours against SciPy and brute force."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.spatial.distance import cdist, pdist

SCIPY = ("euclidean", "sqeuclidean", "cosine", "cityblock")


@pytest.mark.parametrize("metric", SCIPY)
@pytest.mark.parametrize("n, m, d", [(1, 1, 1), (3, 5, 2), (40, 7, 17), (130, 97, 64)])
def test_full_matrix(nearfar, rng, metric, n, m, d):
    a, b = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    nearfar.save(a=a, b=b)
    nearfar("distances", "a.npy", "b.npy", "--metric", metric, "-o", "D.npy")
    np.testing.assert_allclose(nearfar.load("D"), cdist(a, b, metric), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("metric", SCIPY)
def test_condensed(nearfar, rng, metric):
    a = rng.normal(size=(75, 20))
    nearfar.save(a=a)
    nearfar("distances", "a.npy", "--condensed", "--metric", metric, "-o", "D.npy")
    np.testing.assert_allclose(nearfar.load("D"), pdist(a, metric), rtol=1e-13, atol=1e-14)


def test_dot_is_the_negated_product(nearfar, rng):
    a, b = rng.normal(size=(30, 12)), rng.normal(size=(20, 12))
    nearfar.save(a=a, b=b)
    nearfar("distances", "a.npy", "b.npy", "--metric", "dot", "-o", "D.npy")
    np.testing.assert_allclose(nearfar.load("D"), -(a @ b.T), rtol=1e-12, atol=1e-13)


@given(data=st.data())
def test_random_shapes_and_scales(library, data):
    metric = data.draw(st.sampled_from(SCIPY))
    n, m, d = (data.draw(st.integers(1, 33)) for _ in range(3))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    scale = 10.0 ** data.draw(st.integers(-12, 12))
    offset = data.draw(st.sampled_from([0.0, 1.0, 1000.0]))
    a = rng.normal(size=(n, d)) * scale + offset * scale
    b = rng.normal(size=(m, d)) * scale + offset * scale
    want = cdist(a, b, metric)
    bound = 4e-16 if metric == "cosine" else 0  # SciPy's own 1 - cos cancels
    np.testing.assert_allclose(library.distances(a, b, metric), want, rtol=1e-13, atol=bound * 4)
    single = library.distances(a.astype(np.float32), b.astype(np.float32), metric)
    exact = cdist(a.astype(np.float32).astype(float), b.astype(np.float32).astype(float), metric)
    np.testing.assert_allclose(single, exact, rtol=(d + 2) * 6e-8, atol=1e-6
                               if metric == "cosine" else 0)


@pytest.mark.parametrize("a, b, want", [
    ([10000.0], [10001.0], 1.0),
    ([512695.0], [512804.0], 109.0),
    ([1.0] * 1000, [1.001] * 1000, 0.0316243),
])
def test_near_points_do_not_cancel(library, a, b, want):
    """|a|^2 - 2ab + |b|^2 in float32 gives 0, 0 and 0.168 here."""
    a, b = np.array([a], dtype=np.float32), np.array([b], dtype=np.float32)
    gram = np.sqrt(np.maximum((a * a).sum() - 2 * (a @ b.T) + (b * b).sum(), 0), dtype=np.float32)
    assert abs(gram[0, 0] - want) > 0.2 * want
    assert library.distances(a, b, "euclidean")[0, 0] == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("metric", ("euclidean", "sqeuclidean", "cosine", "cityblock", "dot"))
@pytest.mark.parametrize("n, m, d, k", [(50, 200, 9, 7), (3, 4, 2, 4), (120, 100, 33, 1)])
def test_neighbours(nearfar, rng, metric, n, m, d, k):
    a, b = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    nearfar.save(a=a, b=b)
    nearfar("knn", "a.npy", "b.npy", "-k", k, "--metric", metric, "-o", "i.npy", "--distances",
            "d.npy")
    full = -(a @ b.T) if metric == "dot" else cdist(a, b, metric)
    order = np.argsort(full, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(nearfar.load("i"), order)
    np.testing.assert_allclose(nearfar.load("d"), np.take_along_axis(full, order, axis=1),
                               rtol=1e-12, atol=1e-13)


def test_neighbours_of_a_set_in_itself_and_ties_by_index(nearfar, rng):
    """Small integers: distances are exact and full of ties, so only the index decides."""
    a = rng.integers(0, 3, size=(90, 3)).astype(np.float32)
    nearfar.save(a=a)
    nearfar("knn", "a.npy", "-k", "12", "--metric", "sqeuclidean", "-o", "i.npy")
    full = cdist(a, a, "sqeuclidean")
    np.fill_diagonal(full, np.inf)
    np.testing.assert_array_equal(nearfar.load("i"),
                                  np.argsort(full, axis=1, kind="stable")[:, :12])
