"""Losses that compare the pairs of a row with each other."""

from typing import ClassVar

from ._named_loss import NamedLoss
from .losses import _number


class AnchorLoss(NamedLoss):
    """What the losses of this module share.

    Call it for all pairs of labelled rows, ``loss(x, labels)``, or for a set against another,
    ``loss.reference(query, query_labels, reference, reference_labels)``; ``loss.targets`` takes several
    labels a row, soft targets, weights and groups. Each returns ``LossResult(value, grad, counts)``.
    Formulas and defaults are pytorch-metric-learning's; time is O(n^2 d), memory O(n d). Without
    anything to compare the value is 0 and the gradient zeros.

    Options besides a loss's own:

    metric: ``euclidean``, ``sqeuclidean``, ``cosine``, ``dot`` or ``cityblock``.
    normalize: rows are divided by their length first.
    scale: factor of the whole loss.
    reduction: ``mean`` over the terms, ``sum``, ``mean-nonzero`` over the terms above 0,
        ``divisor``, the sum over ``divisor``, a number of one's own; ``weighted-mean`` (with weights
        over theirs, else ``mean``); where terms are positive pairs also ``mean-anchors``, the mean over
        rows of each row's mean. With ``none`` the result has the terms (n), for each row the sum of
        those it is the anchor of; the gradient is that of sum(upstream * terms), with ``upstream`` (n)
        given to the call or 1. Other reductions give the terms too with ``terms=True``.
    stats: also count mean distances; never changes value or gradient.
    unlabelled: -1, or None if -1 is an ordinary class.
    fast: distances as in ``pairwise_distances(..., fast=True)``; not for dot and cityblock.
    """

    __slots__ = ()
    _terms: ClassVar[str] = "rows"

    def _reductions(self):
        return {"mean": f"mean over {self._terms}", "sum": f"sum over {self._terms}",
                "mean-nonzero": "mean of the terms above 0",
                "mean-anchors": "mean over rows of each row's mean",
                "weighted-mean": f"weighted mean over {self._terms}",
                "divisor": f"sum over {self._terms} / {_number(self.divisor or 0)}",
                "none": "the terms of each row"}


class NTXentLoss(AnchorLoss):
    """NT-Xent, also called InfoNCE: every positive pair against the anchor's negatives.

    ::

        -log(exp(s_ip / T) / (exp(s_ip / T) + sum of exp(s_in / T) over negatives n of i))

    for every positive pair (i, p), seen from both ends; T is ``temperature``, s the similarity (the
    cosine, or the negated distance of another metric). Sohn, NIPS 2016; van den Oord, Li & Vinyals
    2018; Chen et al., SimCLR, ICML 2020.

        >>> nearfar.NTXentLoss(0.5)([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], [0, 0, 1]).counts.terms
        2
    """

    __slots__ = ()
    _preset, _own, _terms = "nt-xent", ("temperature",), "positive pairs"

    def _text(self):
        return ("each positive pair (i, p): -log(exp(s_ip / {temperature}) / (exp(s_ip / "
                "{temperature}) + sum over negatives n of exp(s_in / {temperature})))")


class SupConLoss(AnchorLoss):
    """Supervised contrastive loss.

    ::

        log(sum of exp(s_ij / T) over all j) - mean of s_ip / T over positives p

    for every row i with a positive; T is ``temperature``, s the similarity. 0 when the batch has no
    negative pair. Khosla et al., NeurIPS 2020.
    """

    __slots__ = ()
    _preset, _own = "supcon", ("temperature",)

    def _text(self):
        return ("each row i: log(sum over all j of exp(s_ij / {temperature})) - mean over positives "
                "p of s_ip / {temperature}")


class NCALoss(AnchorLoss):
    """Neighbourhood components analysis.

    ::

        -log(sum of exp(-t_ip / T) over positives p / sum of exp(-t_ij / T) over all j)

    for every row i with a positive; T is ``temperature`` (1 / softmax_scale). Goldberger, Roweis,
    Hinton & Salakhutdinov, NIPS 2004. A row without positives is no term.
    """

    __slots__ = ()
    _preset, _own, _terms = "nca", ("temperature",), "rows with a positive"

    def _text(self):
        return ("each row i: -log(sum over positives p of exp(-t_ip / {temperature}) / sum over all "
                "j of exp(-t_ij / {temperature}))")


class MultiSimilarityLoss(AnchorLoss):
    """Multi-similarity loss.

    ::

        log(1 + sum of exp(-alpha (s_ip - base)) over positives p) / alpha
        + log(1 + sum of exp(beta (s_in - base)) over negatives n) / beta

    for every row i. With metric cosine and dot, s and base are similarities; with another metric base
    is a distance and s_ij - base stands for base - t_ij. Wang et al., CVPR 2019.
    """

    __slots__ = ()
    _preset, _own = "multi-similarity", ("alpha", "beta", "base")

    def _text(self):
        gap = "(s_i{0} - {{base}})" if self.metric in ("cosine", "dot") else "({{base}} - t_i{0})"
        return ("each row i: log(1 + sum over positives p of exp(-{alpha} " + gap.format("p") +
                ")) / {alpha} + log(1 + sum over negatives n of exp({beta} " + gap.format("n") +
                ")) / {beta}")


class CircleLoss(AnchorLoss):
    """Circle loss with m = ``margin``, of cosine similarities s.

    ::

        log(1 + (sum over positives p of exp(-gamma [1 + m - s_ip]+ (s_ip - 1 + m)))
              * (sum over negatives n of exp(gamma [s_in + m]+ (s_in - m))))

    for every row i that has both. The factors [..]+ are held constant in the gradient, as the authors
    do and pytorch-metric-learning does. Sun et al., CVPR 2020.
    """

    __slots__ = ()
    _preset, _own = "circle", ("margin", "gamma")

    def _text(self):
        one_more, one_less = _number(1 + self.margin), _number(1 - self.margin)
        return ("each row i: log(1 + (sum over positives p of exp(-{gamma} [" + one_more +
                " - s_ip]+ (s_ip - " + one_less + "))) * (sum over negatives n of exp({gamma} "
                "[s_in + {margin}]+ (s_in - {margin}))))")


class LiftedStructureLoss(AnchorLoss):
    """Lifted structure loss.

    ::

        max(0, log(sum of exp(neg_margin - t_in) over negatives n of i
                   + sum of exp(neg_margin - t_pn) over those of p) + t_ip - pos_margin)^2 / 2

    for every positive pair (i, p), seen from both ends. Margins are distances t, whatever the metric.
    Oh Song, Xiang, Jegelka & Savarese, CVPR 2016.
    """

    __slots__ = ()
    _preset, _own, _terms = "lifted", ("neg_margin", "pos_margin"), "positive pairs"

    def _text(self):
        pull = "t_ip" if self.pos_margin == 0 else "t_ip - {pos_margin}"
        return ("each positive pair (i, p): max(0, log(sum over negatives n of i of exp({neg_margin} "
                f"- t_in) + over those of p of exp({{neg_margin}} - t_pn)) + {pull})^2 / 2")


class GeneralizedLiftedStructureLoss(AnchorLoss):
    """Generalised lifted structure loss.

    ::

        max(0, log(sum of exp(t_ip - pos_margin) over positives p)
               + log(sum of exp(neg_margin - t_in) over negatives n))

    for every row i; a sum over nothing gives 0 for its logarithm. Hermans, Beyer & Leibe, In Defense of
    the Triplet Loss for Person Re-Identification, 2017.
    """

    __slots__ = ()
    _preset, _own = "generalized-lifted", ("neg_margin", "pos_margin")

    def _text(self):
        pull = "t_ip" if self.pos_margin == 0 else "t_ip - {pos_margin}"
        return (f"each row i: max(0, log(sum over positives p of exp({pull})) + log(sum over "
                "negatives n of exp({neg_margin} - t_in)))")


class NPairsLoss(AnchorLoss):
    """N-pairs loss: of every class with two rows or more the first is an anchor and the second its
    positive; an anchor's negatives are the positives of the other classes.

    ::

        -log(exp(s(a_c, p_c)) / sum of exp(s(a_c, p_k)) over classes k)

    s is the dot product of rows divided by their length; ``normalize=False`` for Sohn's own. Sohn,
    NIPS 2016. All pairs of one set only.
    """

    __slots__ = ()
    _preset, _own, _terms = "n-pairs", (), "classes"

    def _text(self):
        return ("each class c with first rows a_c, p_c: -log(exp(s(a_c, p_c)) / sum over classes k "
                "of exp(s(a_c, p_k)))")


class TripletMarginLoss(AnchorLoss):
    """Triplet margin loss.

    ::

        max(0, t(a, p) - t(a, n) + margin)

    for triplets of an anchor a, a positive p and a negative n: ``triplets="all"`` of them,
    ``"semi-hard"`` (for each (a, p) the nearest negative farther than p, else the farthest) or
    ``"hard"`` (for each a its farthest positive and nearest negative). ``smooth``: log(1 + exp(..))
    instead of max(0, ..). All triplets cost O(n^2 log n). Schroff, Kalenichenko & Philbin, CVPR 2015.
    """

    __slots__ = ()
    _preset, _own, _terms = "triplet", ("margin", "triplets", "smooth"), "triplets"

    def _text(self):
        gap = "t(a, p) - t(a, n) + {margin}"
        term = f"log(1 + exp({gap}))" if self.smooth else f"max(0, {gap})"
        return "{triplets} triplets (a, p, n): " + term


class MarginLoss(AnchorLoss):
    """Margin loss over all triplets, with a fixed boundary beta; margin_loss also gives beta's gradient.

    ::

        max(0, t(a, p) - beta + margin) + max(0, beta - t(a, n) + margin)

    ``mean-nonzero`` divides by the number of parts above 0. Wu, Manmatha, Smola & Krahenbuhl, ICCV
    2017.
    """

    __slots__ = ()
    _preset, _own, _terms = "margin", ("margin", "beta"), "triplets"

    def _text(self):
        return ("all triplets (a, p, n): max(0, t(a, p) - {beta} + {margin}) + max(0, {beta} - "
                "t(a, n) + {margin})")


# By their kind, which is the name of the preset they start from.
CLASSES = {cls._preset: cls for cls in AnchorLoss.__subclasses__()}
