"""Index lists in and outside jit, and labels that JAX would cut to 32 bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nearfar
import nearfar.jax as nj
from jax_support import data, x64
from nearfar.jax import _lists

WIDE = np.array([1, 2**32 + 1, 2**32 + 1])
APART = np.array([[0, 0], [1, 0], [3, 0]], "f4")


def by_formula(labels, sizes):
    labels = jnp.asarray(labels)
    return jax.jit(lambda l: _lists.pair_indices(l != -1, l, sizes, int))(labels)


@pytest.mark.parametrize("labels", [
    np.random.default_rng(0).integers(-1, 4, 40), np.zeros(9, int), np.full(5, -1),
    np.array([3, -1, 3, 3, -1, 0]), np.array([], int)], ids=len)
def test_pair_indices(labels):
    right = nearfar.pair_indices(labels)
    sizes = len(right[0]) + 3, len(right[2]) + 5
    got = jax.jit(lambda l: nj.pair_indices(l, size=sizes))(labels)
    for a, b, c in zip(got, by_formula(labels, sizes), right, strict=True):
        assert np.array_equal(a, b)
        assert np.array_equal(a[:c.size], c) and (a[c.size:] == -1).all()
    exact = len(right[0]), max(len(right[2]) - 1, 0)  # what does not fit is left out
    for a, b, size in zip(by_formula(labels, exact), right, np.repeat(exact, 2), strict=True):
        assert np.array_equal(a, b[:size])
    for a, b in zip(nj.pair_indices(labels), right, strict=True):
        assert np.array_equal(a, b)


def test_padded_lists_give_the_loss_of_the_batch():
    x, labels = data("f4", 40)
    sizes = 200, 800
    positive_i, positive_j, negative_i, negative_j = nj.pair_indices(labels, size=sizes)
    i, j = jnp.r_[positive_i, negative_i], jnp.r_[positive_j, negative_j]
    same = jnp.arange(sum(sizes)) < sizes[0]
    value = nj.ContrastiveLoss("hinge").pairs(x, (i, j, same))
    np.testing.assert_allclose(value, nearfar.loss(x, labels, preset="hinge").value, rtol=1e-6)


def test_class_indices_in_jit():
    _, labels = data("f4", 40)
    expected = nearfar.class_indices(labels)
    classes = jax.jit(lambda l: nj.class_indices(l, size=6))(labels)
    assert int(classes.count) == len(expected)
    assert (classes.labels[len(expected):] == -1).all()
    for k, (label, rows) in enumerate(expected.items()):
        assert int(classes.labels[k]) == label
        assert np.array_equal(classes.rows[classes.offsets[k]:classes.offsets[k + 1]], rows)
    few = nj.class_indices(labels, size=2)
    assert int(few.count) == len(expected) and few.labels.shape == (2,)
    outside = nj.class_indices(["b", "a", "b"])
    assert np.array_equal(outside["b"], [0, 2]) and np.array_equal(outside["a"], [1])


def test_sizes_are_asked_for():
    labels = np.array([0, 0, 0, 1])
    with pytest.raises(ValueError, match="pass size"):
        jax.jit(nj.pair_indices)(labels)
    with pytest.raises(ValueError, match="pass size"):
        jax.jit(nj.class_indices)(labels)
    with pytest.raises(jax.errors.JaxRuntimeError, match="larger size"):
        jax.block_until_ready(nj.pair_indices(labels, size=2))
    with pytest.raises(TypeError, match="leave out size"):
        nj.class_indices(["a", "b"], size=2)


def test_wide_labels_with_x64():
    assert float(jax.jit(nj.ContrastiveLoss(reduction="sum"))(APART, WIDE)) == 4
    assert int(nj.class_indices(WIDE, size=2).labels[1]) == WIDE[1]


def test_wide_numbers_stay_apart_without_x64():
    loss = nj.ContrastiveLoss(reduction="sum")
    with x64(False):
        assert float(loss(APART, WIDE)) == 4
        assert float(loss(APART, [float(v) for v in WIDE])) == 4
        assert float(loss.reference(APART[:1], WIDE[:1], APART[1:], WIDE[1:])) == 0
        ids = [2**40, 1, 2], [2, 3, 2**40]
        far = {"reduction": "sum", "margin": 5}
        assert float(nj.ContrastiveLoss(**far).reference(APART, WIDE, APART, WIDE, *ids)) == \
            nearfar.ContrastiveLoss(**far).reference(APART, WIDE, APART, WIDE, *ids).value
        with pytest.raises(ValueError, match="jax_enable_x64"):
            nj.class_indices(WIDE, size=2)
        with pytest.raises(ValueError, match="jax_enable_x64"):
            loss.reference(APART, jnp.array([0, 0, 1]), APART, WIDE)
        with pytest.raises(ValueError, match="jax_enable_x64"):
            nj.pair_distances(APART, [0, 2**40], [1, 1])
        with pytest.raises(ValueError, match=r"same\[0\]"):
            loss.rows(APART, APART, [2**32, 0, 1])
