"""Losses of an anchor's pairs in double precision, by their formulas, a block of anchors at a time.

Every function takes x (n, d) and labels (n), and returns value and gradient with the defaults of
pytorch-metric-learning; u are the unit rows, s their cosines, t their distances.
"""

import numpy as np

BLOCK = 256


def _unit(x):
    x = x.astype(np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / length, length


def _through_unit(gradient, unit, length):
    return (gradient - unit * (unit * gradient).sum(axis=1, keepdims=True)) / length


def _blocks(labels):
    """Rows of a block, and which columns are their positives and negatives."""
    n = len(labels)
    for first in range(0, n, BLOCK):
        rows = np.arange(first, min(first + BLOCK, n))
        same = labels[rows, None] == labels
        positive = same.copy()
        positive[rows - first, rows] = False
        yield rows, positive, ~same


def _log_sum(z, where):
    z = np.where(where, z, -np.inf)
    top = z.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = np.exp(z - top).sum(axis=1, keepdims=True)
        return np.where(np.isinf(top), -np.inf, top + np.log(total))


def _softmax(z, where, log_sum):
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(where & np.isfinite(log_sum), np.exp(z - log_sum), 0)


def _logistic(x):
    return 0.5 * (1 + np.tanh(0.5 * x))


def _distances(unit, rows):
    square = 2 - 2 * (unit[rows] @ unit.T)
    square[np.arange(len(rows)), rows] = 0
    return np.sqrt(np.maximum(square, 0))


class _OfCosines:
    """Sums of dL/ds times ds/du."""

    def __init__(self, unit):
        self._unit, self.gradient = unit, np.zeros_like(unit)

    def add(self, rows, slope):
        self.gradient[rows] += slope @ self._unit
        self.gradient += slope.T @ self._unit[rows]


class _OfDistances(_OfCosines):
    """The same of dL/dt, which is 0 at t = 0."""

    def add_distances(self, rows, slope, t):
        weight = np.divide(slope, t, out=np.zeros_like(t), where=t > 0)
        self.gradient[rows] += weight.sum(axis=1, keepdims=True) * self._unit[rows]
        self.gradient += weight.sum(axis=0)[:, None] * self._unit
        self.add(rows, -weight)


def supcon(x, labels, temperature=0.1):
    unit, length = _unit(x)
    sums, value, active = _OfCosines(unit), 0.0, 0
    for rows, positive, negative in _blocks(labels):
        z = unit[rows] @ unit.T / temperature
        log_sum, count = _log_sum(z, positive | negative), positive.sum(axis=1, keepdims=True)
        mean = np.divide((z * positive).sum(axis=1, keepdims=True), count,
                         out=np.zeros(count.shape), where=count > 0)
        terms = np.where(count > 0, log_sum - mean, 0)
        active += np.count_nonzero(terms > 0)
        value += terms.sum()
        slope = _softmax(z, positive | negative, log_sum) - positive / np.maximum(count, 1)
        sums.add(rows, np.where(count > 0, slope, 0) / temperature)
    active = max(active, 1)
    return value / active, _through_unit(sums.gradient / active, unit, length)


def multi_similarity(x, labels, alpha=2, beta=50, base=0.5):
    unit, length = _unit(x)
    sums, value = _OfCosines(unit), 0.0
    for rows, positive, negative in _blocks(labels):
        s, slope = unit[rows] @ unit.T, 0
        for where, rate in ((positive, -alpha), (negative, beta)):
            z = rate * (s - base)
            log_sum = _log_sum(z, where)
            value += np.logaddexp(0, log_sum).sum() / abs(rate)
            slope = slope + _softmax(z, where, log_sum) * _logistic(log_sum) * np.sign(rate)
        sums.add(rows, slope)
    n = len(labels)
    return value / n, _through_unit(sums.gradient / n, unit, length)


def nt_xent(x, labels, temperature=0.07):
    unit, length = _unit(x)
    sums, value, pairs = _OfCosines(unit), 0.0, 0
    for rows, positive, negative in _blocks(labels):
        z = unit[rows] @ unit.T / temperature
        log_sum = _log_sum(z, negative)
        pairs += positive.sum()
        value += (np.logaddexp(0, log_sum - z) * positive).sum()
        pull = _logistic(log_sum - z) * positive
        slope = _softmax(z, negative, log_sum) * pull.sum(axis=1, keepdims=True) - pull
        sums.add(rows, slope / temperature)
    return value / pairs, _through_unit(sums.gradient / pairs, unit, length)


def lifted(x, labels, margin=1):
    unit, length = _unit(x)
    sums, value, pairs = _OfDistances(unit), 0.0, 0
    log_sum = np.concatenate([_log_sum(margin - _distances(unit, rows), negative)[:, 0]
                              for rows, _, negative in _blocks(labels)])
    for rows, positive, negative in _blocks(labels):
        t, own = _distances(unit, rows), log_sum[rows, None]
        both = np.logaddexp(own, log_sum)
        j = np.where(positive, np.maximum(both + t, 0), 0)
        pairs += positive.sum()
        value += (j * j).sum() / 2
        pull = 2 * (j * np.exp(own - both)).sum(axis=1, keepdims=True)  # of (i, p) and (p, i)
        sums.add_distances(rows, j - pull * _softmax(margin - t, negative, own), t)
    return value / pairs, _through_unit(sums.gradient / pairs, unit, length)


def _triplets_of(t, positive, negative, margin):
    """Sum of the active triplets of one anchor, their number, and slopes."""
    slope, threshold = np.zeros_like(t), t[positive] + margin
    order = np.sort(threshold)
    rank = len(order) - np.searchsorted(order, t[negative], side="right")
    far = np.sort(t[negative])
    near = np.searchsorted(far, threshold, side="left")  # negatives below each threshold
    slope[negative], slope[positive] = -rank, near
    value = (near * (threshold - threshold.max())).sum() + (rank * (threshold.max() -
                                                                    t[negative])).sum()
    return value, near.sum(), slope


def triplet(x, labels, margin=0.05):
    unit, length = _unit(x)
    sums, value, active = _OfDistances(unit), 0.0, 0
    for rows, positive, negative in _blocks(labels):
        t = _distances(unit, rows)
        slope = np.zeros_like(t)
        for k in range(len(rows)):
            if positive[k].any() and negative[k].any():
                own, count, slope[k] = _triplets_of(t[k], positive[k], negative[k], margin)
                value, active = value + own, active + count
        sums.add_distances(rows, slope, t)
    active = max(active, 1)
    return value / active, _through_unit(sums.gradient / active, unit, length)
