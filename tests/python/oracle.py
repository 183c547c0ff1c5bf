"""The definitions of nearfar written a second time, in NumPy and double precision.

Nothing here is shared with the library: formulas come from the papers and from the headers'
definitions, one pair at a time where that is the plainest way to write them.
"""

from dataclasses import dataclass, replace

import numpy as np

METRICS = ("euclidean", "sqeuclidean", "cosine", "dot", "cityblock")
REDUCTIONS = ("mean", "sum", "weighted-mean", "mean-sides", "mean-nonzero", "divisor")


@dataclass(frozen=True)
class Loss:
    """phi+ = scale w+ max(0, t+ - m+)^p+,  phi- = scale w- max(0, m- - t-)^p-."""

    pos_metric: str = "euclidean"
    neg_metric: str = "euclidean"
    pos_exponent: float = 2.0
    neg_exponent: float = 2.0
    pos_margin: float = 0.0
    neg_margin: float = 1.0
    pos_weight: float = 1.0
    neg_weight: float = 1.0
    scale: float = 1.0
    normalize: bool = False
    reduction: str = "mean"
    divisor: float = 0.0


_SQUARED = dict(pos_metric="sqeuclidean", neg_metric="sqeuclidean", pos_exponent=1, neg_exponent=1)
_COSINE = dict(pos_metric="cosine", neg_metric="cosine")

# The table of the paper names; each line is checked against its own formula in test_presets.py.
PRESETS = {
    "weston": Loss(),
    "drlim": Loss(scale=0.5),
    "hinge": Loss(**_SQUARED),
    "pml": Loss(pos_exponent=1, neg_exponent=1, normalize=True, reduction="mean-nonzero"),
    "sbert": Loss(**_COSINE, neg_margin=0.5, scale=0.5),
}


def unit(x):
    """Rows divided by their length; a zero row stays zero."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, length, out=np.zeros_like(x), where=length > 0)


def unit_pullback(x, g):
    """The gradient with respect to x of a function whose gradient with respect to unit(x) is g."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    u = unit(x)
    inner = (g - u * (u * g).sum(axis=1, keepdims=True))
    return np.divide(inner, length, out=np.zeros_like(x), where=length > 0)


def distance(metric, a, b):
    """Row k of a with row k of b."""
    if metric == "euclidean":
        return np.sqrt(((a - b) ** 2).sum(axis=1))
    if metric == "sqeuclidean":
        return ((a - b) ** 2).sum(axis=1)
    if metric == "cityblock":
        return np.abs(a - b).sum(axis=1)
    if metric == "dot":
        return -(a * b).sum(axis=1)
    if metric == "cosine":
        zero = ~a.any(axis=1) | ~b.any(axis=1)
        return np.where(zero, 1.0, 1.0 - (unit(a) * unit(b)).sum(axis=1))
    raise ValueError(metric)


def distance_gradients(metric, a, b):
    """d t / d a and d t / d b; 0 where a = b (euclidean) and for zero rows (cosine)."""
    if metric == "euclidean":
        t = distance(metric, a, b)[:, None]
        g = np.divide(a - b, t, out=np.zeros_like(a), where=t > 0)
        return g, -g
    if metric == "sqeuclidean":
        return 2 * (a - b), 2 * (b - a)
    if metric == "cityblock":
        return np.sign(a - b), np.sign(b - a)
    if metric == "dot":
        return -b, -a
    if metric == "cosine":
        return unit_pullback(a, -unit(b)), unit_pullback(b, -unit(a))
    raise ValueError(metric)


def hinge(value, exponent):
    """max(0, value)^exponent and its derivative; the derivative at the kink is 0."""
    active = value > 0
    base = np.where(active, value, 1.0)
    return (
        np.where(active, base**exponent, 0.0),
        np.where(active, exponent * base ** (exponent - 1), 0.0),
    )


def terms(loss, a, b, same):
    """Per pair: distance, phi, d phi / d a, d phi / d b, and the size of what cancels in them: the
    gradient's length before the Jacobian of normalisation takes its radial part away."""
    same = np.asarray(same, dtype=bool)
    ua, ub = (unit(a), unit(b)) if loss.normalize else (a, b)

    t_pos, t_neg = distance(loss.pos_metric, ua, ub), distance(loss.neg_metric, ua, ub)
    value_pos, slope_pos = hinge(t_pos - loss.pos_margin, loss.pos_exponent)
    value_neg, slope_neg = hinge(loss.neg_margin - t_neg, loss.neg_exponent)

    t = np.where(same, t_pos, t_neg)
    phi = loss.scale * np.where(same, loss.pos_weight * value_pos, loss.neg_weight * value_neg)
    factor_pos = np.where(same, loss.scale * loss.pos_weight * slope_pos, 0.0)[:, None]
    factor_neg = np.where(same, 0.0, -loss.scale * loss.neg_weight * slope_neg)[:, None]
    pos_a, pos_b = distance_gradients(loss.pos_metric, ua, ub)
    neg_a, neg_b = distance_gradients(loss.neg_metric, ua, ub)
    ga = factor_pos * pos_a + factor_neg * neg_a
    gb = factor_pos * pos_b + factor_neg * neg_b
    cosine = np.where(same, loss.pos_metric == "cosine", loss.neg_metric == "cosine")
    lengths = np.stack([np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)])
    per_length = 1 / np.where(lengths > 0, lengths, np.inf).min(axis=0)
    size = np.where(cosine, (np.abs(factor_pos) + np.abs(factor_neg))[:, 0] * per_length,
                    np.linalg.norm(ga, axis=1) * (per_length if loss.normalize else 1))
    if loss.normalize:
        ga, gb = unit_pullback(a, ga), unit_pullback(b, gb)
    return t, phi, ga, gb, size


def reduction_factors(loss, phi, same, weight):
    """The number each w phi is multiplied with before everything is added."""
    same = np.asarray(same, dtype=bool)
    term = weight * phi
    if loss.reduction == "sum":
        return np.ones_like(term)
    if loss.reduction == "divisor":
        return np.full_like(term, 1.0 / loss.divisor)
    if loss.reduction == "mean":
        return np.full_like(term, 1.0 / len(term))
    if loss.reduction == "weighted-mean":
        return np.full_like(term, 1.0 / weight.sum() if weight.sum() > 0 else 0.0)
    if loss.reduction == "mean-sides":
        counted = np.ones(len(term), dtype=bool)
    elif loss.reduction == "mean-nonzero":
        counted = term > 0
    else:
        raise ValueError(loss.reduction)
    positives, negatives = (counted & same).sum(), (counted & ~same).sum()
    return np.where(same, 1.0 / max(positives, 1), 1.0 / max(negatives, 1))


@dataclass
class Answer:
    value: float
    left: np.ndarray  # gradient
    right: np.ndarray
    positive_pairs: int
    negative_pairs: int
    active_positive: int
    active_negative: int
    mean_positive_distance: float
    mean_negative_distance: float
    terms: np.ndarray
    added: float  # sum over pairs of the length of what each adds to a gradient


def pair_loss(loss, x, y, i, j, same, weight=None, upstream=None):
    """Pairs (x_i, y_j): the form every other form is a special case of."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    i, j, same = np.asarray(i), np.asarray(j), np.asarray(same, dtype=bool)
    weight = np.ones(len(i)) if weight is None else np.asarray(weight, dtype=np.float64)
    left, right = np.zeros_like(x), np.zeros_like(y)
    if len(i) == 0:
        return Answer(0.0, left, right, 0, 0, 0, 0, 0.0, 0.0, np.zeros(0), 0.0)

    t, phi, ga, gb, size = terms(loss, x[i], y[j], same)
    if loss.reduction == "none":
        factor = np.ones(len(i)) if upstream is None else np.asarray(upstream, dtype=np.float64)
    else:
        factor = reduction_factors(loss, phi, same, weight)
    np.add.at(left, i, (factor * weight)[:, None] * ga)
    np.add.at(right, j, (factor * weight)[:, None] * gb)

    def mean(values):
        return values.mean() if len(values) else 0.0

    return Answer(
        value=float((factor * weight * phi).sum()),
        left=left,
        right=right,
        positive_pairs=int(same.sum()),
        negative_pairs=int((~same).sum()),
        active_positive=int((same & (weight * phi > 0)).sum()),
        active_negative=int((~same & (weight * phi > 0)).sum()),
        mean_positive_distance=mean(t[same]),
        mean_negative_distance=mean(t[~same]),
        terms=weight * phi,
        added=float(np.abs(factor * weight * size).sum()),
    )


def label_pairs(labels, unlabelled=-1):
    """Every pair i < j of labelled rows, and whether the labels agree."""
    labels = np.asarray(labels)
    i, j = np.triu_indices(len(labels), 1)
    if unlabelled is not None:
        keep = (labels[i] != unlabelled) & (labels[j] != unlabelled)
        i, j = i[keep], j[keep]
    return i, j, labels[i] == labels[j]


def batch_loss(loss, x, labels, unlabelled=-1):
    """All pairs of labelled rows; the whole gradient is in .left."""
    i, j, same = label_pairs(labels, unlabelled)
    answer = pair_loss(loss, x, x, i, j, same)
    return replace(answer, left=answer.left + answer.right)


def list_loss(loss, x, i, j, same, weight=None, upstream=None):
    """A pair list into one matrix; the whole gradient is in .left."""
    answer = pair_loss(loss, x, x, i, j, same, weight, upstream)
    return replace(answer, left=answer.left + answer.right)


def row_loss(loss, left, right, same, weight=None, upstream=None):
    """Row k of left with row k of right."""
    k = np.arange(len(left))
    return pair_loss(loss, left, right, k, k, same, weight, upstream)


def reference_loss(loss, query, query_labels, reference, reference_labels, ids=None,
                   reference_ids=None, unlabelled=-1):
    """Query x reference, equal ids left out."""
    ql, rl = np.asarray(query_labels), np.asarray(reference_labels)
    i, j = (g.ravel() for g in np.meshgrid(np.arange(len(ql)), np.arange(len(rl)), indexing="ij"))
    keep = np.ones(len(i), dtype=bool)
    if unlabelled is not None:
        keep &= (ql[i] != unlabelled) & (rl[j] != unlabelled)
    if ids is not None:
        keep &= np.asarray(ids)[i] != np.asarray(reference_ids)[j]
    i, j = i[keep], j[keep]
    return pair_loss(loss, query, reference, i, j, ql[i] == rl[j])
