"""All pairs in TensorFlow's own operations, tile by tile: memory O(n d), never n x n.

For tensors that are not on the CPU, under XLA, and where the operations cannot load. Each block of
rows meets every block of the other side (a pair of one set is met twice, once from each of its
rows), so that a gradient needs no scatter. Within a tile the derivatives are TensorFlow's; the loop
itself is not recorded, which is what keeps memory small.
"""

import functools
import math
from typing import NamedTuple

import tensorflow as tf

from . import _formula

_TILE_NUMBERS = 1 << 20  # numbers in the largest intermediate of a tile
_TILE_ROWS = 256


class _Set(NamedTuple):
    """Rows, padded to blocks: x (blocks, rows, d), the others (blocks, rows)."""

    x: tf.Tensor
    label: tf.Tensor
    id: tf.Tensor
    weight: tf.Tensor
    valid: tf.Tensor


def _tile_rows(x):
    width = x.shape[-1] or 64
    rows = max(8, min(_TILE_ROWS, math.isqrt(_TILE_NUMBERS // max(1, width))))
    return tf.maximum(1, tf.minimum(rows, tf.shape(x)[0]))


def _blocks(values, rows):
    """(n, ..) as (blocks, rows, ..), padded with zeros; one block at least."""
    count = tf.shape(values)[0]
    padding = -tf.maximum(count, 1) % rows + tf.cast(count == 0, tf.int32)
    rest = values.shape[1:]
    padded = tf.pad(values, [[0, padding]] + [[0, 0]] * len(rest))
    tail = tf.shape(values)[1:]
    return tf.reshape(padded, tf.concat([[(count + padding) // rows, rows], tail], 0))


def _set(loss, x, *of_rows):
    # A reshape that fails where lengths differ, under XLA too
    label, ids, weight = (tf.reshape(values, tf.shape(x)[:1]) for values in of_rows)
    rows = _tile_rows(x)
    valid = label != -1 if loss.unlabelled == -1 else tf.ones_like(label, tf.bool)
    return _Set(*(_blocks(values, rows) for values in (x, label, ids, weight, valid)))


def _tile(loss, a, b, ax, bx):
    """(phi, weight, same, pair) of every row of block a with every row of block b."""
    pair = (a.valid[:, None] & b.valid[None, :]) & (a.id[:, None] != b.id[None, :])
    same = a.label[:, None] == b.label[None, :]
    phi = _formula.terms(loss, ax[:, None, :], bx[None, :, :], same)
    return phi, a.weight[:, None] * b.weight[None, :], same, pair


def _block(blocks, k):
    return tf.nest.map_structure(lambda values: tf.gather(values, k), blocks)


def _sum_over(count, start, tile):
    """start + sum of tile(k) over k < count, in structures."""
    def step(k, state):
        return k + 1, tf.nest.map_structure(tf.add, state, tile(k))

    return tf.while_loop(lambda k, state: k < count, step, (tf.constant(0), start),
                         parallel_iterations=1)[1]


def _sums(loss, q, r):
    zero = {"phi": tf.zeros([2], tf.float64), "pairs": tf.zeros([2], tf.float64),
            "nonzero": tf.zeros([2], tf.float64), "weight": tf.zeros([], tf.float64)}

    def row_of_tiles(i):
        a = _block(q, i)

        def tile(k):
            b = _block(r, k)
            return _formula.summary(*_tile(loss, a, b, a.x, b.x))

        return _sum_over(tf.shape(r.x)[0], zero, tile)

    return _sum_over(tf.shape(q.x)[0], zero, row_of_tiles)


def _weighted_sum(loss, factor, a, b, ax, bx):
    phi, weight, same, pair = _tile(loss, a, b, ax, bx)
    return tf.reduce_sum(tf.where(pair, tf.where(same, factor[0], factor[1]) * weight * phi, 0))


def _for_each_block(q, r, tile):
    """Rows (n, d): over blocks i of q, the sum of tile(block i, k) over the blocks k of r."""
    def block(i):
        a = _block(q, i)
        return _sum_over(tf.shape(r.x)[0], tf.zeros_like(a.x), lambda k: tile(a, i, k))

    count = tf.shape(q.x)[0]
    found = tf.map_fn(block, tf.range(count), parallel_iterations=1,
                      fn_output_signature=tf.TensorSpec(q.x.shape[1:], q.x.dtype))
    return tf.reshape(found, [-1, tf.shape(q.x)[2]])


def _gradient(loss, q, r, factor):
    def tile(a, _, k):
        b = _block(r, k)
        with tf.GradientTape() as tape:
            tape.watch(a.x)
            value = _weighted_sum(loss, factor, a, b, a.x, b.x)
        return tape.gradient(value, a.x, unconnected_gradients="zero")

    return _for_each_block(q, r, tile)


def _hessian_product(loss, q, r, factor, q_tangent, r_tangent):
    """The rows of q of the Hessian times (q_tangent, r_tangent), both in blocks."""
    def tile(a, i, k):
        b = _block(r, k)
        with tf.GradientTape() as outer:
            outer.watch(a.x)
            with tf.GradientTape() as inner:
                inner.watch([a.x, b.x])
                value = _weighted_sum(loss, factor, a, b, a.x, b.x)
            da, db = inner.gradient(value, [a.x, b.x], unconnected_gradients="zero")
            slope = tf.reduce_sum(da * q_tangent[i]) + tf.reduce_sum(db * r_tangent[k])
        return outer.gradient(slope, a.x, unconnected_gradients="zero")

    return _for_each_block(q, r, tile)


@functools.lru_cache(maxsize=64)
def _pass(work, loss):
    """`work` of a loss as a graph of its own: eagerly, loops over tiles would be Python's."""
    return tf.function(functools.partial(work, loss), reduce_retracing=True, autograph=False)


def _poisoned(loss, value, label_sets, row_sets):
    """NaN where the engine would refuse: rows that are not finite, labels that are just -1 and 1.
    (An error would be better; under XLA there is none.)"""
    fine = tf.reduce_all([tf.reduce_all(tf.math.is_finite(x)) for x in row_sets])
    if loss.unlabelled == -1:
        for labels in label_sets:
            binary = (tf.reduce_any(labels == -1) & tf.reduce_any(labels == 1)
                      & tf.reduce_all(tf.abs(labels) == 1))
            fine &= ~binary
    return tf.where(fine, value, tf.constant(math.nan, value.dtype))


def _no_third_order(*_):
    raise NotImplementedError("third derivatives of a loss over all pairs are not available: "
                              "differentiate the loss at most twice")


def _objective(loss, xs, labels, ids, weights):
    """The loss over the pairs of xs[0] with xs[-1], one or two sets, differentiable twice."""
    count = len(xs)
    if loss.normalize:  # once for a row, so that equal rows are at a distance of exactly 0
        loss, xs = loss.replace(normalize=False), [_formula.unit_rows(x) for x in xs]

    def sets(values):
        made = [_set(loss, tf.stop_gradient(x), *rest)
                for x, *rest in zip(values, labels, ids, weights)]
        return made[0], made[-1]

    def blocked(tangents, made):
        return [_blocks(t, tf.shape(s.x)[1]) for t, s in zip(tangents, made)]

    def rows_of(found, values):
        return [f[:tf.shape(x)[0]] for f, x in zip(found, values)]

    @tf.custom_gradient
    def second(factor, *values_tangents):
        values, tangents = values_tangents[:count], values_tangents[count:]
        q, r = sets(values)
        run = _pass(_hessian_product, loss)
        tangents = blocked([tf.stop_gradient(t) for t in tangents], (q, r))
        found = [run(q, r, factor, tangents[0], tangents[-1])]
        if count == 2:
            found.append(run(r, q, factor, tangents[1], tangents[0]))
        return rows_of(found, values), _no_third_order

    @tf.custom_gradient
    def first(factor, *values):
        q, r = sets(values)
        run = _pass(_gradient, loss)
        found = [run(q, r, factor)] + ([run(r, q, factor)] if count == 2 else [])

        def gradient(*tangents):
            return [None, *second(factor, *values, *tangents)]
        return rows_of(found, values), gradient

    @tf.custom_gradient
    def value(*values):
        q, r = sets(values)
        sums = _pass(_sums, loss)(q, r)
        if count == 1:
            sums = tf.nest.map_structure(lambda total: total / 2, sums)
        total, factor = _formula.reduce(loss, sums)
        total, factor = tf.cast(total, values[0].dtype), tf.cast(factor, values[0].dtype)

        def gradient(upstream):
            return [upstream * rows for rows in first(factor, *values)]
        return _poisoned(loss, total, labels, values), gradient

    return value(*xs)


def _ones(x):
    return tf.ones(tf.shape(x)[:1], x.dtype)


def batch(loss, x, labels, weight=None):
    """All pairs of labelled rows; with `weight` (n) pair (i, j) has weight w_i w_j."""
    weight = _ones(x) if weight is None else tf.cast(weight, x.dtype)
    ids = tf.range(tf.shape(x, tf.int64)[0])
    return _objective(loss, [x], [labels], [ids], [weight])


def reference(loss, query, rows, query_labels, labels, query_ids, ids):
    """All pairs query x reference but those of equal ids; ids (0): none is left out."""
    count, more = tf.shape(query, tf.int64)[0], tf.shape(rows, tf.int64)[0]
    query_ids = _formula.given_or(query_ids, lambda: tf.range(count))
    ids = _formula.given_or(ids, lambda: -1 - tf.range(more))
    return _objective(loss, [query, rows], [query_labels, labels], [query_ids, ids],
                      [_ones(query), _ones(rows)])
