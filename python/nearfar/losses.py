"""Losses as objects."""

from typing import TYPE_CHECKING, Any, Self

from . import _core
from ._targets import TargetLoss

_METRIC_SYMBOL = {"euclidean": "d", "sqeuclidean": "d^2", "cosine": "c", "dot": "s",
                  "cityblock": "l"}
_FIELDS = ("preset", "pos_metric", "neg_metric", "pos_exponent", "neg_exponent", "pos_margin",
           "neg_margin", "pos_weight", "neg_weight", "scale", "normalize", "reduction", "divisor",
           "stats", "unlabelled", "fast")
# A name without a side stands for both sides, and margin for that of the negatives.
_BOTH = {"metric": ("pos_metric", "neg_metric"), "exponent": ("pos_exponent", "neg_exponent"),
         "margin": ("neg_margin",)}
_REDUCTION = {"sum": "sum over pairs", "mean": "mean over pairs",
              "weighted-mean": "weighted mean over pairs",
              "mean-sides": "mean of the positives + mean of the negatives",
              "mean-nonzero": "mean of the non-zero terms of each side",
              "none": "one term per pair"}


def _reduced(options, changes):
    """options with changes; a divisor belongs to its reduction and goes with it."""
    if changes.get("reduction", "divisor") != "divisor":
        options = {**options, "divisor": None}
    return {**options, **changes}


def _number(value):
    return f"{value:.17g}" if float(f"{value:g}") != value else f"{value:g}"


def _definition(metric, normalize):
    a, b = ("a/|a|", "b/|b|") if normalize else ("a", "b")
    return {"euclidean": f"d = |{a} - {b}|", "sqeuclidean": f"d = |{a} - {b}|",
            "cosine": "c = 1 - cos(a, b)", "dot": f"s = -{a}.{b}",
            "cityblock": f"l = sum_k |{a} - {b}|_k"}[metric]


def _term(metric, exponent, margin, weight, positive):
    """One side's term as text."""
    symbol = _METRIC_SYMBOL[metric]
    if positive and margin == 0 and metric != "dot":
        if metric == "sqeuclidean":
            symbol, exponent = "d", 2 * exponent
        text = symbol
    else:
        sign = "-" if margin >= 0 else "+"
        text = (f"max(0, {symbol} {sign} {_number(abs(margin))})" if positive
                else f"max(0, {_number(margin)} - {symbol})")
    if exponent != 1:
        text += f"^{_number(exponent)}"
    return text if weight == 1 else f"{_number(weight)} {text}"


class ContrastiveLoss(TargetLoss):
    """The contrastive family: positives pulled together, negatives pushed beyond a margin.

    ::

        phi+ = scale * pos_weight * max(0, t+ - pos_margin)^pos_exponent     same label
        phi- = scale * neg_weight * max(0, neg_margin - t-)^neg_exponent     different label

    t+ and t- are distances under ``pos_metric`` and ``neg_metric`` (see pairwise_distances) of the
    rows or, with ``normalize``, of the rows divided by their length. ``metric`` and ``exponent``
    set both sides; ``margin`` is ``neg_margin``.

    ========  ============  =  ======  =====  =========  ============
    preset    t             p  margin  scale  normalize  reduction
    ========  ============  =  ======  =====  =========  ============
    weston    euclidean     2  1       1      no         mean
    drlim     euclidean     2  1       1/2    no         mean
    hinge     sqeuclidean   1  1       1      no         mean
    pml       euclidean     1  1       1      yes        mean-nonzero
    sbert     cosine        2  0.5     1/2    -          mean
    ========  ============  =  ======  =====  =========  ============

    weston (also tfa) is eq. (3) of Weston, Ratle & Collobert, Deep Learning via Semi-Supervised
    Embedding, ICML 2008, and the default; drlim is Hadsell, Chopra & LeCun, CVPR 2006; pml and
    sbert are the ContrastiveLoss of pytorch-metric-learning and sentence-transformers.

    reduction: ``mean`` (over the number of pairs), ``sum``, ``weighted-mean`` (over the sum of pair
    weights), ``mean-sides`` (mean of positives + mean of negatives), ``mean-nonzero`` (the same
    over terms above 0), ``divisor`` (the sum over ``divisor``, a number of one's own), ``none``
    (pair lists and rows only).
    stats: also count active positives and mean distances; never changes value or gradient.
    unlabelled: -1, or None if -1 is an ordinary class.
    fast: distances of all pairs as in ``pairwise_distances(..., fast=True)``; not for dot, cityblock.

    Call the object for all pairs of labelled rows, ``loss(x, labels)``; ``loss.pairs(x, pairs)``,
    ``loss.rows(left, right, same)`` and ``loss.reference(query, query_labels, reference,
    reference_labels)`` are the other forms. Each returns ``LossResult(value, grad, counts)``.
    The gradient of a distance at 0 is 0. Immutable; usable from several threads.
    """

    __slots__ = ()

    if not TYPE_CHECKING:  # whose signature is that of the base class

        def __new__(cls, preset=None, **options):
            self = super().__new__(cls, preset, **options)
            if self.kind != "contrastive":
                raise ValueError(f"preset is {preset!r}, which is not of the contrastive family: "
                                 f"use nearfar.training_loss({preset!r}), or its own class")
            return self

    def _options(self):
        return {name: getattr(self, name) for name in _FIELDS}

    def replace(self, **changes: Any) -> Self:
        """The same loss with some options changed."""
        options = self._options()
        for name, sides in _BOTH.items():
            if name in changes:
                value = changes.pop(name)
                options.update(dict.fromkeys(sides, value))
        if "preset" in changes:
            raise TypeError("replace() cannot change the preset: make a new ContrastiveLoss")
        return type(self)(**_reduced(options, changes))

    @property
    def formula(self) -> str:
        """The loss of a pair as text."""
        pos = _term(self.pos_metric, self.pos_exponent, self.pos_margin,
                    self.scale * self.pos_weight, True)
        neg = _term(self.neg_metric, self.neg_exponent, self.neg_margin,
                    self.scale * self.neg_weight, False)
        where = dict.fromkeys(_definition(metric, self.normalize)
                              for metric in (self.pos_metric, self.neg_metric))
        reduction = (f"sum over pairs / {_number(self.divisor)}" if self.divisor is not None
                     else _REDUCTION[self.reduction])
        return f"same: {pos}, different: {neg}, {', '.join(where)}; {reduction}"

    def _changed(self):
        """Options other than the preset's, by the shortest names."""
        base = _preset_options(self.preset)
        own = self._options()
        changed = {name: own[name] for name in _FIELDS[1:] if own[name] != base[name]}
        for name, sides in _BOTH.items():
            values = [changed.get(side) for side in sides]
            if None not in values and len(set(values)) == 1:
                changed = {name: values[0],
                           **{key: value for key, value in changed.items() if key not in sides}}
        return changed

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self._changed().items())
        return f"ContrastiveLoss({self.preset!r}{options})  # {self.formula}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ContrastiveLoss):
            return NotImplemented
        return self._options() == other._options()

    def __hash__(self) -> int:
        return hash(tuple(self._options().values()))

    def __reduce__(self):
        return _rebuild, (type(self), self._options())


def _preset_options(preset):
    return ContrastiveLoss(preset)._options()


def _rebuild(cls, options):
    return cls(**options)
