"""The JAX formulas: against the engine, their memory, and the second derivatives that use them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import nearfar
import nearfar.jax as nj
from jax_support import LOSSES, METRICS, data, near, pair_list
from nearfar.jax import _tiled

# Compiling takes the time: float32 once, for what differs is the type and not the formula; the batch
# formula of every loss is also behind its second derivatives.
TYPED = [("f4", LOSSES[3])] + [("f8", options) for options in LOSSES[::-1]]


def check(engine, formula, x, dtype):
    value, grad = jax.value_and_grad(engine)(x)
    other, other_grad = jax.jit(jax.value_and_grad(formula))(x)
    near(other, value, dtype)
    near(other_grad, grad, dtype)


@pytest.mark.parametrize(("dtype", "options"), TYPED[::3], ids=str)
def test_batch_and_reference(dtype, options):
    x, labels = data(dtype)
    x, labels, loss = jnp.asarray(x), jnp.asarray(labels), nj.ContrastiveLoss(**options)
    ids = jnp.arange(100)
    check(lambda x: loss(x, labels), lambda x: _tiled.batch(loss, x, labels), x, dtype)
    sets = labels[:100], labels[50:150], ids, ids + 50
    check(lambda x: loss.reference(x[:100], sets[0], x[50:150], *sets[1:]),
          lambda x: _tiled.reference(loss, x[:100], sets[0], x[50:150], *sets[1:]), x, dtype)


@pytest.mark.parametrize(("dtype", "options"), TYPED[::2], ids=str)
def test_pairs_and_rows(dtype, options):
    x, labels = data(dtype)
    loss, x = nj.ContrastiveLoss(**options), jnp.asarray(x).at[100].set(x[0])
    i, j, same, weight = map(jnp.asarray, pair_list(labels))
    i, j = i.at[3].set(-1), j.at[3].set(-1)
    flags = jnp.asarray(labels[:100] > 0)
    check(lambda x: loss.pairs(x, (i, j, same, weight)),
          lambda x: _tiled.pairs(loss, x, i, j, same, weight, "01"), x, dtype)
    check(lambda x: loss.rows(x[:100], x[100:200], flags),
          lambda x: _tiled.rows(loss, x[:100], x[100:200], flags, None, "01"), x, dtype)


@pytest.mark.parametrize("n", [0, 1, 2, 129, 256, 384, 512])
def test_every_pair_of_blocks_comes_once(n):
    rng = np.random.default_rng(n)
    x, labels = rng.normal(size=(n, 2)), rng.integers(-1, 3, n)
    labels[:2] = 2
    loss = nj.ContrastiveLoss(reduction="mean-sides", exponent=1)
    near(_tiled.batch(loss, jnp.asarray(x), jnp.asarray(labels)),
         nearfar.ContrastiveLoss(reduction="mean-sides", exponent=1)(x, labels).value, "f8")


@pytest.mark.parametrize("metric", METRICS)
def test_distances_have_the_engine_bits(metric, dtype):
    x, _ = data(dtype, 150)
    i, j = np.array([3, 5, 149, -1]), np.array([4, 9, 0, -1])
    for other in (None, x[20:]):
        right = nearfar.pairwise_distances(x, other, metric)
        assert np.asarray(nj.pairwise_distances(x, other, metric)).tobytes() == right.tobytes()
    got = np.asarray(jax.jit(nj.pair_distances, static_argnames="metric")(x, i, j, metric=metric))
    assert got[:3].tobytes() == nearfar.pair_distances(x, i[:3], j[:3], metric=metric).tobytes()
    assert got[3] == 0


@pytest.mark.parametrize("metric", METRICS)
def test_distances_by_formula(metric):
    x, _ = data("f8", 150)
    x, y, (i, j) = jnp.asarray(x), jnp.asarray(x[20:]), np.indices((150, 150)).reshape(2, -1)
    near(_tiled.distances(x, y, metric, False), nearfar.pairwise_distances(x, y, metric), "f8")
    grad = jax.grad(lambda x: jnp.sum(nj.pairwise_distances(x, None, metric)))(x)
    rows = jax.grad(lambda x: jnp.sum(nj.pair_distances(x, i, j, metric=metric)))(x)
    assert np.isfinite(grad).all()
    near(grad, rows, "f8")


@pytest.mark.parametrize("metric", METRICS)
def test_derivatives_of_distances(metric):
    x = jnp.asarray(np.random.default_rng(1).normal(size=(6, 3)))
    check_grads(lambda x: jnp.sum(nj.pairwise_distances(x, None, metric)**2), (x,), order=2,
                modes=["rev"], rtol=1e-4)
    coincident = jax.grad(lambda x: jnp.sum(nj.pairwise_distances(x, None, metric)))(
        jnp.ones((2, 3)))
    assert np.array_equal(coincident, np.full((2, 3), -4 if metric == "dot" else 0))


@pytest.mark.parametrize("options", LOSSES, ids=str)
def test_second_derivatives_are_differences_of_the_first(options):
    x, labels = data("f8", 20, 3, seed=3)
    x, labels = jnp.asarray(x).at[5].add(0.3).at[6].add(0.2), jnp.asarray(labels)
    loss = nj.ContrastiveLoss(**options)
    v = jnp.asarray(np.random.default_rng(4).normal(size=x.shape))
    first = jax.jit(jax.grad(loss))
    got = jax.grad(lambda x: jnp.sum(first(x, labels) * v))(x)
    step = 1e-6
    difference = (first(x + step * v, labels) - first(x - step * v, labels)) / (2 * step)
    np.testing.assert_allclose(got, difference, atol=1e-5 * float(jnp.abs(difference).max()))


def test_a_hessian_is_symmetric_and_forward_mode_is_refused():
    x, labels = data("f8", 12, 2)
    loss = nj.ContrastiveLoss()
    hessian = jax.jacrev(jax.grad(lambda x: loss(x.reshape(12, 2), labels)))(x.ravel())
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-12)
    assert float(jnp.abs(hessian).max()) > 0.01
    with pytest.raises(TypeError, match="custom_vjp"):
        jax.jvp(lambda x: loss(x, labels), (x,), (x,))


@pytest.mark.parametrize("d", [16, 512])
def test_memory_is_not_quadratic(d):
    x, labels = jnp.zeros((4096, d), jnp.float32), jnp.zeros(4096, jnp.int32)
    loss = nj.ContrastiveLoss()
    compiled = jax.jit(jax.grad(lambda x: _tiled.batch(loss, x, labels))).lower(x).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 6 * x.nbytes + 5 * _tiled.VOLUME * 4
