"""The margin loss, whose boundary between near and far can be learnt."""

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import _core
from .anchor_losses import MarginLoss


class MarginResult(NamedTuple):
    """What margin_loss gives."""

    value: float
    grad: Any
    """(n, d) d value / d x in x's type, with a reference set also (m, d); None with gradient=False"""
    beta_grad: Any
    """d value / d beta: a float, or (c) for an array of betas"""
    counts: _core.LossCounts


def margin_loss(
    x: ArrayLike, labels: ArrayLike, beta: ArrayLike = 1.2, *,
    reference: ArrayLike | None = None, reference_labels: ArrayLike | None = None,
    ids: ArrayLike | None = None, reference_ids: ArrayLike | None = None,
    margin: float = 0.2, nu: float = 0.0, by_label: bool = False,
    metric: Literal["euclidean", "sqeuclidean", "cosine", "dot", "cityblock"] = "euclidean",
    normalize: bool = True, scale: float = 1.0,
    reduction: Literal["mean-nonzero", "mean", "weighted-mean", "sum", "divisor"] = "mean-nonzero",
    gradient: bool = True, unlabelled: Literal[-1] | None = -1, divisor: float | None = None,
    stats: bool = False, fast: bool = False,
) -> MarginResult:
    """Margin loss over all triplets, with the gradient of its boundary beta.

    ::

        max(0, t(a, p) - beta + margin) + max(0, beta - t(a, n) + margin)

    for every anchor a, positive p and negative n (Wu, Manmatha, Smola & Krahenbuhl, Sampling Matters
    in Deep Embedding Learning, ICCV 2017). All triplets cost no more than all pairs.

    x (n, d), labels (n).
    reference (m, d), reference_labels (m): positives and negatives are rows of this set, anchors rows
        of x. ids (n), reference_ids (m): rows with equal ids are the same item and make no pair.
    beta: a number, or an array (c) with one for the anchors of each class, classes in the order of
        ``nearfar.partition(labels).labels`` (of labels followed by reference_labels).
    by_label: beta[k] is that of label k instead; labels are then 0 .. c - 1, and classes without a
        row have gradient 0.
    nu: adds nu * beta to the value; with one beta per class nu times the sum of the anchors' beta over
        all triplets, divided as the terms are.
    scale: factor of the terms.
    reduction: ``mean-nonzero`` divides the sum by the number of parts above 0
        (pytorch-metric-learning's DivisorReducer), ``mean`` by the number of triplets,
        ``divisor`` by ``divisor``.
    stats: also count mean distances.
    fast: distances as in ``pairwise_distances(..., fast=True)``; not for dot and cityblock.

        >>> x = np.array([[0.0], [0.9], [1.5]])
        >>> result = margin_loss(x, [0, 0, 1], 0.8, normalize=False)
        >>> round(result.value, 12), round(result.beta_grad, 12)
        (0.333333333333, -0.333333333333)
    """
    shape = np.shape(beta)
    if len(shape) > 1:
        raise ValueError(f"beta has shape {shape}: it must be a number or an array (c)")
    others = {"reference_labels": reference_labels, "ids": ids, "reference_ids": reference_ids}
    for name, value in others.items():
        if reference is None and value is not None:
            raise TypeError(f"{name} goes with reference, which is missing")
    loss = MarginLoss(margin, metric=metric, normalize=normalize, scale=scale,
                      reduction=reduction, divisor=divisor, stats=stats, unlabelled=unlabelled,
                      fast=fast)
    result, slope = loss._with_beta(x, labels, reference, reference_labels, ids, reference_ids,
                                    beta=np.atleast_1d(np.asarray(beta, np.float64)), nu=nu,
                                    by_label=by_label, gradient=gradient)
    return MarginResult(result.value, result.grad, slope if shape else float(slope[0]),
                        result.counts)
