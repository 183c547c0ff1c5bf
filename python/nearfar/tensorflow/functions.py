"""Distances, classes and pairs as functions of tensors, eagerly and in graphs."""

from typing import Any, Literal

import tensorflow as tf

from . import _ops
from ._labels import check_binary, class_labels
from ._options import encode_distance

_Metric = Literal["euclidean", "sqeuclidean", "cosine", "dot", "cityblock"]


def _matrix(values, name, dtype=None):
    x = tf.convert_to_tensor(values, dtype)
    if x.shape.rank not in (None, 2):
        raise ValueError(f"{name} has shape {x.shape}: it must be a matrix, one row per item")
    if x.dtype in (tf.float32, tf.float64):
        return x
    if x.dtype in (tf.float16, tf.bfloat16):
        return tf.cast(x, tf.float32)
    raise TypeError(f"{name} has type {x.dtype.name}: it must be a floating-point type")


def _index(values, name):
    index = tf.convert_to_tensor(values)
    if not index.dtype.is_integer:
        raise TypeError(f"{name} has type {index.dtype.name}: row numbers are integers")
    return tf.cast(tf.reshape(index, [-1]), tf.int64)


def _two_sets(x, y):
    x = _matrix(x, "x")
    y = x if y is None else _matrix(y, "y")
    if x.dtype != y.dtype:
        raise TypeError(f"x is {x.dtype.name} and y is {y.dtype.name}: they must be of one type")
    return x, y


def pairwise_distances(x: Any, y: Any = None, metric: _Metric = "euclidean", *,
                       normalize: bool = False, engine: str = "auto") -> tf.Tensor:
    """Distances (n, m) of every row of x (n, d) to every row of y (m, d), of x itself without y.

    euclidean |a - b|, sqeuclidean |a - b|^2, cosine 1 - cos(a, b), dot -a.b, cityblock
    sum_k |a_k - b_k|, from differences, so that near rows do not cancel; the same bits as
    nearfar.pairwise_distances. Differentiable in x and y, more than once too; the gradient of a
    distance of 0 is 0. normalize: divide rows by their length first.
    """
    x, y = _two_sets(x, y)
    options = encode_distance(metric, normalize)
    if _ops.usable(engine, x, y):
        return _ops.native.nearfar_distances(x, y, options=options)
    return _ops.tiled_distances(metric, x, y, bool(normalize))


def pair_distances(x: Any, i: Any, j: Any, y: Any = None, metric: _Metric = "euclidean", *,
                   normalize: bool = False, engine: str = "auto") -> tf.Tensor:
    """Distances (p) of the pairs (x[i[k]], y[j[k]]), within x (n, d) without y.

    The distances, and the gradient, of pairwise_distances, for some pairs only: memory O(p d) in
    the gradient and O(p) without.
    """
    x, y = _two_sets(x, y)
    i, j = _index(i, "i"), _index(j, "j")
    options = encode_distance(metric, normalize)
    if _ops.usable(engine, x, y):
        return _ops.native.nearfar_pair_distances(x, y, i, j, options=options)
    return _ops.tiled_pair_distances(metric, x, y, i, j, bool(normalize))


def class_indices(labels: Any, *, unlabelled: int | None = -1) -> tuple[tf.Tensor, tf.RaggedTensor]:
    """The rows of each class: labels (c) by first appearance, and their rows, ragged (c, None).

    ``rows[k]`` are the rows, ascending, whose label is ``classes[k]``. A row with label -1 is in no
    class, unless unlabelled is None. A graph has no dict whose keys are data: eagerly,
    nearfar.class_indices gives one.
    """
    labels = check_binary(class_labels(labels), unlabelled)
    rows = tf.range(tf.size(labels, tf.int64))
    if unlabelled is not None:
        rows = tf.boolean_mask(rows, labels != -1)
    classes, number = tf.unique(tf.gather(labels, rows), tf.int64)
    order = tf.argsort(number, stable=True)
    return classes, tf.RaggedTensor.from_value_rowids(tf.gather(rows, order),
                                                      tf.gather(number, order),
                                                      nrows=tf.size(classes, tf.int64))


def pair_indices(labels: Any, *, unlabelled: int | None = -1) -> tuple[tf.Tensor, ...]:
    """(pos_i, pos_j, neg_i, neg_j): the pairs i < j with the same label and with different ones.

    int64, ascending in (i, j), as nearfar.pair_indices. A row with label -1 is in no pair, unless
    unlabelled is None. There are about n^2 / 2 pairs and the work takes n^2 bytes: for a loss over
    all pairs no list is needed, see ContrastiveLoss.
    """
    labels = check_binary(class_labels(labels), unlabelled)
    rows = tf.range(tf.size(labels))
    pair = rows[:, None] < rows[None, :]
    if unlabelled is not None:
        valid = labels != -1
        pair &= valid[:, None] & valid[None, :]
    same = labels[:, None] == labels[None, :]
    positive, negative = tf.where(pair & same), tf.where(pair & ~same)
    return positive[:, 0], positive[:, 1], negative[:, 0], negative[:, 1]
