"""The margin loss, whose boundary between near and far can be learnt."""

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .anchor_losses import MarginLoss


class MarginResult(NamedTuple):
    """What margin_loss gives."""

    value: float
    grad: NDArray[np.floating[Any]] | None
    """(n, d) d value / d x in x's type, None with gradient=False"""
    beta_grad: Any
    """d value / d beta: a float, or (c) for an array of betas"""
    counts: _core.LossCounts


def margin_loss(
    x: ArrayLike, labels: ArrayLike, beta: ArrayLike = 1.2, *, margin: float = 0.2,
    nu: float = 0.0, by_label: bool = False,
    metric: Literal["euclidean", "sqeuclidean", "cosine", "dot", "cityblock"] = "euclidean",
    normalize: bool = True, scale: float = 1.0,
    reduction: Literal["mean-nonzero", "mean", "sum", "divisor"] = "mean-nonzero",
    gradient: bool = True, unlabelled: Literal[-1] | None = -1, divisor: float | None = None,
) -> MarginResult:
    """Margin loss over all triplets, with the gradient of its boundary beta.

    ::

        max(0, t(a, p) - beta + margin) + max(0, beta - t(a, n) + margin)

    for every anchor a, positive p and negative n (Wu, Manmatha, Smola & Krahenbuhl, Sampling Matters
    in Deep Embedding Learning, ICCV 2017). All triplets cost no more than all pairs.

    x (n, d), labels (n).
    beta: a number, or an array (c) with one for the anchors of each class, classes in the order of
        ``nearfar.partition(labels).labels``.
    by_label: beta[k] is that of label k instead; labels are then 0 .. c - 1, and classes without a
        row have gradient 0.
    nu: adds nu * beta to the value; with one beta per class nu times the sum of the anchors' beta over
        all triplets, divided as the terms are.
    scale: factor of the terms.
    reduction: ``mean-nonzero`` divides the sum by the number of parts above 0
        (pytorch-metric-learning's DivisorReducer), ``mean`` by the number of triplets,
        ``divisor`` by ``divisor``.

        >>> x = np.array([[0.0], [0.9], [1.5]])
        >>> result = margin_loss(x, [0, 0, 1], 0.8, normalize=False)
        >>> round(result.value, 12), round(result.beta_grad, 12)
        (0.333333333333, -0.333333333333)
    """
    shape = np.shape(beta)
    if len(shape) > 1:
        raise ValueError(f"beta has shape {shape}: it must be a number or an array (c)")
    loss = MarginLoss(margin, metric=metric, normalize=normalize, scale=scale,
                      reduction=reduction, divisor=divisor, unlabelled=unlabelled)
    result, slope = loss._with_beta(x, labels, beta=np.atleast_1d(np.asarray(beta, np.float64)),
                                    nu=nu, by_label=by_label, gradient=gradient)
    return MarginResult(result.value, result.grad, slope if shape else float(slope[0]),
                        result.counts)
