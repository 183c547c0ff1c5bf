"""Distances, and lists of rows by label, in JAX."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from .. import _core
from . import _engine, _inputs, _lists, _tiled

__all__ = ["ClassIndices", "class_indices", "pair_distances", "pair_indices", "pairwise_distances"]

# ---- distances ----------------------------------------------------------------------------------


def _metric(metric):
    if metric not in _engine.METRICS:
        raise ValueError(f"metric is {metric!r}: it must be one of {', '.join(_engine.METRICS)}")
    return metric


@functools.lru_cache(maxsize=64)
def _full(metric, normalize):
    options = _engine.METRICS.index(metric), normalize

    def engine(xs, rest):
        shape = (xs[0].shape[0], xs[-1].shape[0])
        return _engine.call("nearfar_distances", (_engine.like(xs[0], shape),), xs, options)[0]

    def formula(xs, rest):
        return _tiled.distances(xs[0], xs[1] if len(xs) == 2 else None, metric, normalize)

    return _engine.to_vector(engine, formula)


def pairwise_distances(
    x: ArrayLike, y: ArrayLike | None = None, metric: str = "euclidean", *,
    normalize: bool = False,
) -> Array:
    """Distances of every row of x (n, d) to every row of y (m, d), as an (n, m) array.

    ::

        euclidean    sqrt(sum_k (a_k - b_k)^2)
        sqeuclidean  sum_k (a_k - b_k)^2
        cosine       |a/|a| - b/|b||^2 / 2 = 1 - cos(a, b)
        dot          -sum_k a_k b_k
        cityblock    sum_k |a_k - b_k|

    From differences, so near points do not cancel; d(x, x) is exactly 0. y None: x with itself.
    normalize: divide rows by their length first. The derivative of a distance at 0 is 0.
    Differentiable by x and y, any number of times."""
    form = _full(_metric(metric), bool(normalize))
    if y is None:
        return form((_inputs.matrix(x, "x"),), ())
    return form(_inputs.matrices(x, "x", y, "y"), ())


@functools.lru_cache(maxsize=64)
def _chosen(metric, normalize):
    options = _engine.METRICS.index(metric), normalize

    def engine(xs, rest):
        operands = (xs[0], *rest, *xs[1:])
        return _engine.call("nearfar_pair_distances", (_engine.like(xs[0], rest[0].shape),), operands,
                       options)[0]

    def formula(xs, rest):
        y = xs[1] if len(xs) == 2 else None
        return _tiled.list_distances(xs[0], *rest, y, metric, normalize)

    return _engine.to_vector(engine, formula)


def pair_distances(
    x: ArrayLike, i: ArrayLike, j: ArrayLike, y: ArrayLike | None = None,
    metric: str = "euclidean", *, normalize: bool = False,
) -> Array:
    """Distances of chosen pairs only: result[p] = d(x[i[p]], y[j[p]]), shape (p).

    x (n, d); i, j (p) whole row numbers; y (m, d), or None for x. Entries with i = j = -1 are
    padding and give 0. No n x n matrix is made. Metrics as pairwise_distances."""
    i = _inputs.index(i, "i")
    rest = i, _inputs.index(j, "j", i.shape[0], "i")
    form = _chosen(_metric(metric), bool(normalize))
    if y is None:
        return form((_inputs.matrix(x, "x"),), rest)
    return form(_inputs.matrices(x, "x", y, "y"), rest)


# ---- index lists --------------------------------------------------------------------------------


def _unlabelled(value):
    if value not in (-1, None):
        raise ValueError(f"unlabelled is {value!r}: it must be -1 (rows labelled -1 take part in no "
                         "pair) or None (-1 is an ordinary class)")
    return value


def _known(labels, function, size):
    """Labels outside jit, where the size of a result may depend on them."""
    if isinstance(labels, jax.core.Tracer):
        raise ValueError(f"{function}: inside jit, grad or vmap the size of the result is not known "
                         f"from the labels: pass {size}")
    return labels


def _valid(labels, unlabelled):
    return _tiled.labelled(labels, unlabelled is not None)


@functools.partial(jax.jit, static_argnames=("sizes", "unlabelled"))
def _pair_indices(labels, sizes, unlabelled):
    dtype = jax.dtypes.canonicalize_dtype(np.int64)
    results = tuple(jax.ShapeDtypeStruct((size,), dtype) for size in np.repeat(sizes, 2).tolist())

    def engine(labels):
        return tuple(_engine.call("nearfar_pair_indices", results, (labels,),
                             (unlabelled is not None,)))

    def formula(labels):
        return _lists.pair_indices(_valid(labels, unlabelled), labels, sizes, dtype)

    return lax.platform_dependent(labels, cpu=engine, default=formula)


def pair_indices(
    labels: ArrayLike, *, size: int | tuple[int, int] | None = None, unlabelled: int | None = -1,
) -> tuple[Array, Array, Array, Array]:
    """Every pair i < j of labelled rows: (pos_i, pos_j, neg_i, neg_j); the first two are the pairs
    with the same label, the others those with different labels, in ascending order of (i, j).

    size: (positives, negatives), or one number for both: the lists are padded with -1 up to it,
    which jit needs; loss.pairs and pair_distances skip such entries. On the CPU more pairs than
    size are an error; elsewhere, where nothing can be raised, the first ones are kept."""
    _unlabelled(unlabelled)
    if size is None:
        lists = _core.pair_indices(_known(labels, "pair_indices", "size=(positives, negatives)"),
                                   unlabelled=unlabelled)
        return tuple(map(jnp.asarray, lists))
    sizes = (size, size) if np.ndim(size) == 0 else tuple(size)
    if len(sizes) != 2 or min(sizes) < 0:
        raise ValueError(f"size is {size!r}: it must be (positives, negatives)")
    return _pair_indices(_inputs.labels(labels), tuple(map(int, sizes)), unlabelled)


class ClassIndices(NamedTuple):
    """Rows by class, in arrays whose shapes do not depend on the labels."""

    labels: Array   #: (size) the label of each class, -1 beyond the last
    offsets: Array  #: (size + 1) rows of class k are rows[offsets[k]:offsets[k + 1]]
    rows: Array     #: (n) rows grouped by class, -1 beyond the labelled ones
    count: Array    #: number of classes; more than size means that some were left out


@functools.partial(jax.jit, static_argnames=("size", "unlabelled"))
def _class_indices(labels, size, unlabelled):
    return ClassIndices(*_lists.class_indices(_valid(labels, unlabelled), labels, size))


def class_indices(
    labels: ArrayLike, *, size: int | None = None, unlabelled: int | None = -1,
) -> dict[Any, Array] | ClassIndices:
    """Rows of each class, classes by first appearance, rows ascending.

    Without size (outside jit) a dict from label to row numbers. With size, the number of classes to
    make room for, ClassIndices of fixed shapes, which jit needs."""
    _unlabelled(unlabelled)
    if size is None:
        found = _core.class_indices(_known(labels, "class_indices", "size=classes"),
                                    unlabelled=unlabelled)
        return {label: jnp.asarray(rows) for label, rows in found.items()}
    if size < 0:
        raise ValueError(f"size is {size!r}: it must be a number of classes")
    return _class_indices(_inputs.label_names(labels), int(size), unlabelled)
