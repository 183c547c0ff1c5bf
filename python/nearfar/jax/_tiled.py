"""The loss and the distances in JAX alone, tile by tile.

Used where the engine is not: on other platforms than the CPU, and for second derivatives. Every
function can be differentiated any number of times. Tiles are recomputed in the backward pass
(jax.checkpoint), so memory stays at O(n d + TILE^2) for the batch and reference forms. Distances
come from differences, as the engine's; unlike the engine's they are not recomputed in wider range
when squares overflow or underflow, and data are not checked.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

TILE = 128       # rows of a tile, at most
VOLUME = 2**20   # numbers of a tile's differences, tile x tile x d, which XLA may write out


def tile_rows(n, d):
    """Rows of a tile of n rows of d columns."""
    rows = TILE
    while rows > 8 and rows * rows * d > VOLUME:
        rows //= 2
    return min(rows, n)


def chunk_pairs(p, d):
    """Pairs of a list taken at once."""
    return min(p, max(64, VOLUME // max(d, 1)))


# ---- distances ----------------------------------------------------------------------------------


def unit_rows(x):
    """Rows divided by their length; a zero row stays zero, with gradient 0.

    The largest element is taken out first, so that squares neither overflow nor vanish."""
    largest = lax.stop_gradient(jnp.max(jnp.abs(x), axis=-1, keepdims=True, initial=0))
    zero = largest == 0
    scaled = x / jnp.where(zero, 1, largest)
    length = jnp.sqrt(jnp.where(zero, 1, jnp.sum(scaled * scaled, axis=-1, keepdims=True)))
    return jnp.where(zero, 0, scaled / length)


def _unit_rows_apart(x):
    """unit_rows in a loop of at least two turns, which XLA does not merge with what uses it.

    Computed anew at each use, unit rows would be rounded differently at each, and equal rows no
    longer be at distance 0."""
    n = x.shape[0]
    tile = min(TILE, max(1, -(-n // 2)))
    rows = _blocks(jnp.pad(x, [(0, max(0, 2 * tile - n)), (0, 0)]), tile)
    return lax.map(unit_rows, rows).reshape(-1, x.shape[1])[:n]


def prepared(x, metric, normalize):
    """Rows as `between` takes them."""
    return _unit_rows_apart(x) if normalize or metric == "cosine" else x


def _squared(a, b):
    difference = a - b
    return jnp.sum(difference * difference, axis=-1)


def _root(squared):
    """sqrt with derivative 0 at 0: selected, never multiplied by a mask (0 * inf)."""
    positive = squared > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1)), 0)


def _absolute(x):
    """|x| with derivative 0 at 0; that of jnp.abs is 1."""
    return jnp.where(x > 0, x, jnp.where(x < 0, -x, 0))


def between(a, b, metric):
    """Distances of prepared rows along the last axis, the others broadcast."""
    if metric == "dot":
        return -jnp.sum(a * b, axis=-1)
    if metric == "cityblock":
        return jnp.sum(_absolute(a - b), axis=-1)
    squared = _squared(a, b)
    if metric == "euclidean":
        return _root(squared)
    if metric == "cosine":
        zero = jnp.all(a == 0, axis=-1) | jnp.all(b == 0, axis=-1)
        return jnp.where(zero, 1, squared / 2)
    return squared


def _blocks(x, tile):
    """x (n, ..) as (blocks, tile, ..), padded with zeros."""
    n = x.shape[0]
    count = -(-n // tile)
    padding = [(0, count * tile - n)] + [(0, 0)] * (x.ndim - 1)
    return jnp.pad(x, padding).reshape(count, tile, *x.shape[1:])


def distances(x, y, metric, normalize):
    """(n, m); y None: of x with itself."""
    a = prepared(x, metric, normalize)
    b = a if y is None else prepared(y, metric, normalize)
    if a.shape[0] == 0 or b.shape[0] == 0:
        return jnp.zeros((a.shape[0], b.shape[0]), a.dtype)
    rows, cols = (_blocks(part, tile_rows(*part.shape)) for part in (a, b))

    @jax.checkpoint
    def tile(p, q):
        return between(p[:, None], q[None], metric)

    strips = lax.map(lambda p: lax.map(lambda q: tile(p, q), cols), rows)
    table = strips.transpose(0, 2, 1, 3).reshape(rows.shape[0] * rows.shape[1], -1)
    table = table[:a.shape[0], :b.shape[0]]
    if y is None and metric == "cosine":  # a zero row is at distance 1 from every other row
        table = jnp.where(jnp.eye(a.shape[0], dtype=bool), 0, table)
    return table


# ---- pair lists ---------------------------------------------------------------------------------


def padding(i, j):
    """Entries (-1, -1) of a list are not pairs."""
    return (i == -1) & (j == -1)


def _gather(x, index, skip):
    """Rows of x; NaN for a row number outside it."""
    index = jnp.where(skip, 0, index)
    index = jnp.where(index < 0, x.shape[0], index)
    return x.at[index].get(mode="fill", fill_value=jnp.nan)


def _over_chunks(function, columns, d):
    """function of columns (p), entries of rows of d columns, chunk by chunk."""
    count = columns[0].shape[0]
    size = chunk_pairs(count, d)
    if count == 0:
        return function(*columns)
    chunks = [_blocks(column, size) for column in columns]
    out = lax.map(lambda chunk: jax.checkpoint(function)(*chunk), tuple(chunks))
    return out.reshape(-1)[:count]


def list_distances(x, i, j, y, metric, normalize):
    """(p): d(x[i[p]], y[j[p]]), 0 at (-1, -1)."""
    a = prepared(x, metric, normalize)
    b = a if y is None else prepared(y, metric, normalize)

    def chunk(i, j):
        skip = padding(i, j)
        distance = between(_gather(a, i, skip), _gather(b, j, skip), metric)
        return jnp.where(skip, 0, distance)

    return _over_chunks(chunk, (i, j), x.shape[1])


# ---- terms --------------------------------------------------------------------------------------


def _power(base, exponent):
    positive = base > 0
    safe = jnp.where(positive, base, 1)
    whole = int(exponent) if exponent == int(exponent) else exponent
    return jnp.where(positive, safe if whole == 1 else safe**whole, 0)


class _Side(NamedTuple):
    metric: str
    exponent: float
    margin: float
    weight: float
    positive: bool

    def term(self, a, b):
        """phi of prepared rows."""
        if self.metric == "euclidean" and self.exponent == 2 and self.margin == 0 and self.positive:
            return self.weight * _squared(a, b)  # twice differentiable at 0
        distance = between(a, b, self.metric)
        base = distance - self.margin if self.positive else self.margin - distance
        return self.weight * _power(base, self.exponent)


def _sides(loss):
    return (_Side(loss.pos_metric, loss.pos_exponent, loss.pos_margin,
                  loss.scale * loss.pos_weight, True),
            _Side(loss.neg_metric, loss.neg_exponent, loss.neg_margin,
                  loss.scale * loss.neg_weight, False))


def _terms(loss, a, b, same):
    """Terms of pairs; a and b hold the rows prepared for the positive and for the negative side."""
    pos, neg = _sides(loss)
    return jnp.where(same, pos.term(a[0], b[0]), neg.term(a[1], b[1]))


def _prepared_sides(loss, x):
    pos = prepared(x, loss.pos_metric, loss.normalize)
    if (loss.pos_metric == "cosine") == (loss.neg_metric == "cosine"):
        return pos, pos
    return pos, prepared(x, loss.neg_metric, loss.normalize)


# ---- reductions ---------------------------------------------------------------------------------


class _Sums(NamedTuple):
    """What a reduction needs, of pairs so far: of terms, of pairs and of terms above 0, (positive,
    negative)."""

    term: Any
    pairs: Any
    active: Any


def _sums(terms, same, valid):
    sides = (valid & same, valid & ~same)

    def total(values):
        return jnp.stack([jnp.sum(jnp.where(side, values, 0)) for side in sides])

    one = jnp.ones((), terms.dtype)
    return _Sums(total(terms), total(one), total(jnp.where(terms > 0, one, 0)))


def _add(total, value):
    """Compensated sum (Neumaier): counts stay whole beyond 2^24 and sums keep their digits."""
    high, low = total
    raised = high + value
    lost = jnp.where(jnp.abs(high) >= jnp.abs(value), (high - raised) + value,
                     (value - raised) + high)
    return raised, low + lax.stop_gradient(lost)


def _ratio(sum_, count):
    return jnp.where(count > 0, sum_ / jnp.where(count > 0, count, 1), 0)


def _reduce(loss, sums, weights=None):
    """One number; weights: sum of the list's weights."""
    if loss.reduction == "sum":
        return jnp.sum(sums.term)
    if loss.reduction == "divisor":
        return jnp.sum(sums.term) / loss.divisor
    if loss.reduction == "mean-sides":
        return jnp.sum(_ratio(sums.term, sums.pairs))
    if loss.reduction == "mean-nonzero":
        return jnp.sum(_ratio(sums.term, sums.active))
    count = jnp.sum(sums.pairs)
    if loss.reduction == "weighted-mean" and weights is not None:
        count = weights
    return _ratio(jnp.sum(sums.term), count)


# ---- all pairs ----------------------------------------------------------------------------------


class _Rows(NamedTuple):
    """A set in blocks: rows for each side, labels, whether a row takes part, place, id."""

    pos: Any
    neg: Any
    labels: Any
    valid: Any
    place: Any
    ids: Any


def labelled(labels, has_unlabelled):
    """Which rows take part."""
    if has_unlabelled and jnp.issubdtype(labels.dtype, jnp.signedinteger):
        return labels != -1
    return jnp.ones(labels.shape, bool)


def _set(loss, x, labels, ids):
    """Blocks of a set."""
    pos, neg = _prepared_sides(loss, x)
    place = jnp.arange(x.shape[0], dtype=jnp.int32)
    parts = pos, neg, labels, labelled(labels, loss.unlabelled is not None), place, \
        place if ids is None else ids
    return _Rows(*(_blocks(part, tile_rows(*x.shape)) for part in parts))


def _over_tiles(loss, dtype, strips, tiles_of, excluded):
    """The loss over the tiles (left block, right block, *rest) that tiles_of gives, stacked, for
    each of `strips`. excluded(left, right, *rest) marks pairs that are none.

    What the backward pass keeps is one strip's partial sums, then one tile's."""

    @jax.checkpoint
    def tile(total, a, b, *rest):
        same = a.labels[:, None] == b.labels[None]
        valid = a.valid[:, None] & b.valid[None] & ~excluded(a, b, *rest)
        terms = _terms(loss, (a.pos[:, None], a.neg[:, None]), (b.pos[None], b.neg[None]), same)
        return tuple(map(_add, total, _sums(terms, same, valid)))

    @jax.checkpoint
    def strip(total, item):
        return lax.scan(lambda total, parts: (tile(total, *parts), None), total, tiles_of(item))

    zero = jnp.zeros(2, dtype)
    totals, _ = lax.scan(strip, ((zero, zero),) * 3, strips)
    return _reduce(loss, _Sums(*(high + low for high, low in totals)))


def batch(loss, x, labels):
    """All pairs of labelled rows: block k with block k + s, around the end, for each shift s up to
    half of the blocks. Every pair of blocks comes once, and no tile is left empty."""
    if x.shape[0] < 2:
        return jnp.sum(x[:0])
    rows = _set(loss, x, labels, None)
    blocks = rows.pos.shape[0]
    number = jnp.arange(blocks)

    def tiles_of(shift):
        return (rows, jax.tree.map(lambda part: part[(number + shift) % blocks], rows), number,
                jnp.broadcast_to(shift, number.shape))

    def excluded(a, b, number, shift):
        again = (2 * shift == blocks) & (number >= shift)  # the pairs of blocks of the first half
        return again | ((shift == 0) & (a.place[:, None] >= b.place[None]))

    return _over_tiles(loss, x.dtype, jnp.arange(blocks // 2 + 1), tiles_of, excluded)


def reference(loss, query, query_labels, rows, row_labels, query_ids=None, row_ids=None):
    """All pairs of a row of query and a row of reference, but those of equal ids."""
    if query.shape[0] == 0 or rows.shape[0] == 0:
        return jnp.sum(query[:0]) + jnp.sum(rows[:0])
    left = _set(loss, query, query_labels, query_ids)
    right = _set(loss, rows, row_labels, row_ids)
    blocks = right.pos.shape[0]

    def tiles_of(block):
        return jax.tree.map(lambda part: jnp.broadcast_to(part, (blocks, *part.shape)), block), right

    def excluded(a, b):
        return jnp.zeros((), bool) if query_ids is None else a.ids[:, None] == b.ids[None]

    return _over_tiles(loss, query.dtype, left, tiles_of, excluded)


# ---- given pairs --------------------------------------------------------------------------------


def is_same(same, encoding):
    return same > 0 if encoding == "pm1" else same != 0


def _of_terms(loss, terms, same, valid, weight):
    if weight is not None:
        weight = jnp.where(valid, weight.astype(terms.dtype), 0)
        terms = terms * weight
    terms = jnp.where(valid, terms, 0)
    if loss.reduction == "none":
        return terms
    return _reduce(loss, _sums(terms, same, valid), None if weight is None else jnp.sum(weight))


def pairs(loss, x, i, j, same, weight, encoding):
    """A list of pairs of rows of x; entries (-1, -1) are not pairs."""
    sides = _prepared_sides(loss, x)
    same = is_same(same, encoding)

    def chunk(i, j, same):
        skip = padding(i, j)
        a = tuple(_gather(side, i, skip) for side in sides)
        b = tuple(_gather(side, j, skip) for side in sides)
        return jnp.where(skip, 0, _terms(loss, a, b, same))

    return _of_terms(loss, _over_chunks(chunk, (i, j, same), x.shape[1]), same, ~padding(i, j), weight)


def rows(loss, left, right, same, weight, encoding):
    """Row k of left with row k of right."""
    same = is_same(same, encoding)
    terms = _terms(loss, _prepared_sides(loss, left), _prepared_sides(loss, right), same)
    return _of_terms(loss, terms, same, jnp.ones(same.shape, bool), weight)
