"""What the suites of nearfar.jax share. JAX runs with 64-bit types unless a test says otherwise."""

import jax
import jax.experimental
import numpy as np

jax.config.update("jax_enable_x64", True)

# A context; its name changed after 0.6.
x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64

LOSSES = [{"preset": p} for p in ("weston", "drlim", "hinge", "pml", "sbert")] + [
    {"metric": "cityblock"}, {"metric": "dot", "margin": 0.5, "pos_margin": -1.0},
    {"reduction": "mean-sides", "pos_margin": 0.2}, {"exponent": 1.5, "reduction": "sum"},
    {"pos_metric": "cosine", "neg_metric": "euclidean", "neg_weight": 2.0},
    {"reduction": "weighted-mean", "metric": "sqeuclidean", "normalize": True},
    {"reduction": "divisor", "divisor": 7.5}]
METRICS = ["euclidean", "sqeuclidean", "cosine", "dot", "cityblock"]


def data(dtype, n=300, d=7, seed=1):
    """Rows and labels, -1 among them; coincident rows of one class and of two."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(n, d)) / 4).astype(dtype)
    labels = rng.integers(-1, 4, n)
    x[5], labels[5], labels[9] = x[9], 0, 1
    x[6], labels[6], labels[11] = x[11], 2, 2
    return x, labels


def pair_list(labels):
    """i, j, same, weight of all pairs of the first 60 rows."""
    i, j = np.triu_indices(60, 1)
    return i, j, labels[i] == labels[j], np.linspace(0.5, 2, i.size)


def same_bits(result, value, grads):
    """A value and gradients are those of a LossResult."""
    value = np.asarray(value)
    assert value == value.dtype.type(result.value)
    expected = result.grad if isinstance(result.grad, tuple) else (result.grad,)
    for grad, right in zip(grads, expected, strict=True):
        assert np.asarray(grad).tobytes() == right.tobytes()


def near(a, b, dtype):
    a, b = np.asarray(a), np.asarray(b)
    assert np.linalg.norm(a - b) <= (1e-5 if dtype == "f4" else 1e-12) * (np.linalg.norm(b) + 1e-30)
