"""Lists of rows and pairs by label in JAX alone, in O(n + size) memory.

Labels come with a mask of the rows that take part.
"""

import jax.numpy as jnp
from jax import lax


def class_indices(valid, labels, size):
    """(labels, offsets, rows, count) as in ClassIndices."""
    n = labels.shape[0]
    place = jnp.arange(n)
    order, start = _by_label(labels)
    first = jnp.zeros(n, place.dtype).at[order].set(order[start])  # first row of a row's class
    leads = valid & (first == place)
    number = (jnp.cumsum(leads) - 1)[first]  # classes by first appearance
    kept = valid & (number < size)
    rows = jnp.argsort(jnp.where(kept, number, n), stable=True)
    rows = jnp.where(kept[rows], rows, -1)
    sizes = jnp.zeros(size, place.dtype).at[jnp.where(kept, number, size)].add(1, mode="drop")
    offsets = jnp.concatenate([jnp.zeros(1, place.dtype), jnp.cumsum(sizes)])
    lead_rows = jnp.nonzero(leads, size=size, fill_value=-1)[0]
    names = labels if jnp.issubdtype(labels.dtype, jnp.signedinteger) else labels.astype(int)
    names = jnp.concatenate([names, jnp.full(1, -1, names.dtype)])  # of place -1
    return names[lead_rows], offsets, rows, jnp.sum(leads)


def _by_label(labels):
    """Rows sorted by label, ascending within a class, and the place where each one's class
    begins."""
    n = labels.shape[0]
    order = jnp.argsort(labels, stable=True)
    new = jnp.concatenate([jnp.ones(min(n, 1), bool), labels[order][1:] != labels[order][:-1]])
    return order, lax.cummax(jnp.where(new, jnp.arange(n), 0))


def pair_indices(valid, labels, sizes, dtype):
    """(positive i, j, negative i, j), ascending, padded with -1."""
    keep = jnp.nonzero(valid, size=labels.shape[0], fill_value=-1)[0]  # labelled rows come first
    count = jnp.sum(valid)
    ranks = _Ranks(jnp.where(keep >= 0, labels[keep], 0), keep >= 0)
    keep = jnp.concatenate([keep, jnp.full(1, -1, keep.dtype)])
    parts = []
    for size, side in zip(sizes, (ranks.positives, ranks.negatives), strict=True):
        if size == 0 or labels.shape[0] < 2:
            parts += [jnp.full(size, -1, dtype)] * 2
            continue
        parts += [keep[jnp.minimum(part, keep.shape[0] - 1)].astype(dtype)
                  for part in side(count, size)]
    return tuple(parts)


class _Ranks:
    """Pairs i < j of rows 0 .. count - 1, the first of n rows, found by their number."""

    def __init__(self, labels, valid):
        n = labels.shape[0]
        self.n = n
        # A class of a label holds no padding: those are sorted behind all others.
        order = jnp.lexsort((labels, ~valid))
        new = (labels[order][1:] != labels[order][:-1]) | (valid[order][1:] != valid[order][:-1])
        new = jnp.concatenate([jnp.ones(min(n, 1), bool), new])
        place = jnp.arange(n)
        begin = lax.cummax(jnp.where(new, place, 0))
        last = jnp.concatenate([new[1:], jnp.ones(min(n, 1), bool)])
        end = lax.cummin(jnp.where(last, place + 1, n), reverse=True)
        self.order = order
        self.at = jnp.zeros(n, order.dtype).at[order].set(place)  # place of a row in the order
        self.later = (end - 1 - place)[self.at]                   # rows after it in its class
        self.end = end[self.at]
        self.foreign = order - (place - begin)  # rows of other classes before a place's row

    def positives(self, count, size):
        i, number, there = _spread(jnp.where(jnp.arange(self.n) < count, self.later, 0), size)
        j = self.order[jnp.minimum(self.at[i] + 1 + number, self.n - 1)]
        return jnp.where(there, i, self.n), jnp.where(there, j, self.n)

    def negatives(self, count, size):
        row = jnp.arange(self.n)
        others = jnp.where(row < count, count - 1 - row - self.later, 0)
        i, number, there = _spread(others, size)
        own = self._of_own_class_before(i, number)
        return jnp.where(there, i, self.n), jnp.where(there, i + 1 + number + own, self.n)

    def _of_own_class_before(self, i, number):
        """How many rows of i's class lie between i and the number-th later row of another class:
        by bisection of the class's places."""
        start = self.at[i] + 1
        target = self.foreign[self.at[i]] + number

        def halve(_, bounds):
            low, high = bounds
            middle = (low + high) // 2
            before = (low < high) & (self.foreign[jnp.minimum(middle, self.n - 1)] <= target)
            return jnp.where(before, middle + 1, low), jnp.where(before, high, middle)

        low, _ = lax.fori_loop(0, self.n.bit_length() + 1, halve, (start, self.end[i]))
        return low - start


def _spread(counts, size):
    """For slots 0 .. size - 1, filled row by row with counts[i] entries: the row, the number within
    the row, and whether there is such an entry."""
    total = lax.associative_scan(lambda a, b: jnp.minimum(a + b, size), jnp.minimum(counts, size))
    slot = jnp.arange(size)
    i = jnp.searchsorted(total, slot, side="right")
    there = i < counts.shape[0]
    i = jnp.minimum(i, counts.shape[0] - 1)
    before = jnp.where(i > 0, total[jnp.maximum(i, 1) - 1], 0)
    return i, slot - before, there
