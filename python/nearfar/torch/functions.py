"""Distances, classes and pairs as functions of tensors."""

from typing import Any

import torch
from torch import Tensor

from . import _distances, _inputs, _labels


def pairwise_distances(x: Tensor, y: Tensor | None = None, metric: str = "euclidean", *,
                       normalize: bool = False) -> Tensor:
    """Distances of every row of x (n, d) to every row of y (m, d), as an (n, m) tensor.

    ::

        euclidean    sqrt(sum_k (a_k - b_k)^2)
        sqeuclidean  sum_k (a_k - b_k)^2
        cosine       |a/|a| - b/|b||^2 / 2 = 1 - cos(a, b)
        dot          -sum_k a_k b_k
        cityblock    sum_k |a_k - b_k|

    y None: the distances of x with itself. normalize: divide the rows by their length first.
    Differentiable twice; the gradient of a distance at 0 is 0, never NaN.
    """
    if y is None or y is x:
        return _distances.distances(_inputs.rows(x, "x"), None, metric, normalize)
    x, y = _inputs.both(x, "x", y, "y")
    return _distances.distances(x, y, metric, normalize)


def pair_distances(x: Tensor, i: Any, j: Any, y: Tensor | None = None, metric: str = "euclidean",
                   *, normalize: bool = False) -> Tensor:
    """Distances of chosen pairs only: result[p] = d(x[i[p]], y[j[p]]), shape (p).

    x (n, d); i, j (p) whole row numbers; y (m, d), or None for x. Metrics as pairwise_distances.
    Differentiable any number of times; the gradient of a distance at 0 is 0.
    """
    if y is None:
        x = _inputs.rows(x, "x")
    else:
        x, y = _inputs.both(x, "x", y, "y")
    i = _inputs.whole(x, i, "i")
    return _distances.pair_distances(x, y, i, _inputs.whole(x, j, "j", i.shape[0]), metric, normalize)


def class_indices(labels: Any, *, unlabelled: int | None = -1) -> dict[int, Tensor]:
    """The rows of each class: a dict from label to ascending int64 rows, in order of first
    appearance. Rows labelled -1 are in none (``unlabelled=None``: -1 is an ordinary class). The
    keys are Python numbers, so this cannot be part of a compiled graph.
    """
    labels = _inputs.plain_labels(labels)
    _labels.refuse_signs(labels, unlabelled)
    rows = torch.arange(labels.shape[0], device=labels.device)
    if unlabelled is not None:
        rows = rows[labels != -1]
    order = torch.argsort(labels[rows], stable=True)
    values, counts = torch.unique_consecutive(labels[rows][order], return_counts=True)
    groups = rows[order].split(counts.tolist())
    return dict(sorted(zip(values.tolist(), groups), key=lambda group: int(group[1][0])))


def pair_indices(labels: Any, *, unlabelled: int | None = -1
                 ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Every pair i < j of labelled rows: (pos_i, pos_j, neg_i, neg_j), int64; the first two are the
    pairs with the same label, the others those with different labels, ascending by (i, j).

    n rows have n (n - 1) / 2 pairs. In a compiled graph the lengths depend on data: set
    ``torch._dynamo.config.capture_dynamic_output_shape_ops``.
    """
    return _labels.pair_indices(_inputs.plain_labels(labels), unlabelled is not None)
