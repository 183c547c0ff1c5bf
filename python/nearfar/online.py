"""The contrastive loss of hard pairs."""

from ._named_loss import NamedLoss
from .losses import _REDUCTION, _number


class OnlineContrastiveLoss(NamedLoss):
    """Contrastive loss of the hard pairs among those that a call sees.

    ::

        t^2                   same label, if t is above the least t of a negative pair
        max(0, margin - t)^2  different label, if t is below the largest t of a positive pair

    Every other pair has the term 0. Where one side has no pair, the mean t of the other takes its
    place. With the defaults, and ``loss.rows(left, right, same)``, this is the OnlineContrastiveLoss of
    sentence-transformers; ``loss(x, labels)`` chooses among all pairs of a batch. Which pairs are hard
    is a constant to the gradient.

    metric: ``cosine`` (1 - cos), ``euclidean``, ``sqeuclidean`` or ``cityblock``.
    normalize: rows are divided by their length first.
    scale: factor of the terms.
    reduction: ``sum``, and those of ContrastiveLoss, which count all pairs, not the hard ones alone;
        ``mean-nonzero`` counts the terms above 0.
    stats: also count active positives and mean distances; never changes value or gradient.
    unlabelled: -1, or None if -1 is an ordinary class.
    fast: distances of all pairs as in ``pairwise_distances(..., fast=True)``; not for cityblock.

    Forms and results are those of ContrastiveLoss; a pair of weight 0 has no say in the choice.

        >>> loss = nearfar.OnlineContrastiveLoss(1.0, metric="euclidean")
        >>> loss.rows([[0.0], [0.0], [0.0]], [[0.5], [0.75], [2.0]], [1, 0, 1]).value
        4.0625
    """

    __slots__ = ()
    _preset, _own = "online-contrastive", ("margin",)

    def _text(self):
        return ("same: t(i, j)^2 if above the least t of a negative pair, different: max(0, {margin} "
                "- t(i, j))^2 if below the largest t of a positive pair")

    def _reductions(self):
        return {**_REDUCTION, "divisor": f"sum over pairs / {_number(self.divisor or 0)}"}
