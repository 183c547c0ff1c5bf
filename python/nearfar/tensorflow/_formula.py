"""The contrastive family in TensorFlow's own operations, for rows that broadcast.

Distances are sums over differences, never |a|^2 - 2ab + |b|^2, and where a derivative has no value
(a distance of 0, the kink of the hinge) it is 0: `where` selects before and after, so that no inf
or NaN is ever multiplied by a mask.
"""

import tensorflow as tf


def unit_rows(x):
    """Rows divided by their length; a zero row stays zero, with gradient 0."""
    largest = tf.stop_gradient(tf.reduce_max(tf.abs(x), axis=-1, keepdims=True))
    nonzero = largest != 0  # so that NaN stays NaN
    scaled = x / tf.where(nonzero, largest, 1)
    length2 = tf.reduce_sum(scaled * scaled, axis=-1, keepdims=True)
    length = tf.sqrt(tf.where(nonzero, length2, 1))
    return tf.where(nonzero, scaled / length, 0)


def square_root(square):
    positive = square > 0
    return tf.where(positive, tf.sqrt(tf.where(positive, square, 1)), 0)


def distance(metric, a, b, normalize=False):
    """Distances over the last axis of a and b, which broadcast."""
    if normalize or metric == "cosine":
        a, b = unit_rows(a), unit_rows(b)
    if metric == "dot":
        return -tf.reduce_sum(a * b, axis=-1)
    if metric == "cityblock":
        return tf.reduce_sum(tf.abs(a - b), axis=-1)
    square = tf.reduce_sum(tf.math.squared_difference(a, b), axis=-1)
    if metric == "cosine":
        some_zero = tf.reduce_all(a == 0, axis=-1) | tf.reduce_all(b == 0, axis=-1)
        return tf.where(some_zero, tf.ones_like(square), square / 2)
    return square_root(square) if metric == "euclidean" else square


def _power(base, exponent):
    """base^exponent for base >= 0, with derivatives 0 at 0."""
    if exponent == 1:
        return base
    if exponent == 2:
        return base * base
    positive = base > 0
    return tf.where(positive, tf.pow(tf.where(positive, base, 1), exponent), 0)


def terms(loss, a, b, same):
    """phi of each pair: that of positives where `same`, of negatives elsewhere."""
    metric, exponent = loss.pos_metric, loss.pos_exponent
    if metric == "euclidean" and exponent >= 2 and loss.pos_margin == 0:
        metric, exponent = "sqeuclidean", exponent / 2  # smooth at 0, unlike the root
    positive_distance = distance(metric, a, b, loss.normalize)
    negative_distance = (positive_distance if metric == loss.neg_metric
                         else distance(loss.neg_metric, a, b, loss.normalize))
    zero = tf.zeros_like(positive_distance)
    excess = tf.where(same, tf.nn.relu(positive_distance - loss.pos_margin), zero)
    lack = tf.where(same, zero, tf.nn.relu(loss.neg_margin - negative_distance))
    return (loss.scale * loss.pos_weight * _power(excess, exponent)
            + loss.scale * loss.neg_weight * _power(lack, loss.neg_exponent))


def reduce(loss, sums):
    """(value, factor of positives, factor of negatives) from Sums of the tiles (or rows)."""
    def inverse(count):
        return tf.math.divide_no_nan(tf.ones_like(count), count)

    phi, pairs, nonzero, weight = (sums[name] for name in ("phi", "pairs", "nonzero", "weight"))
    reduction = loss.reduction
    if reduction == "sum":
        factor = tf.ones_like(pairs)
    elif reduction == "divisor":
        factor = tf.ones_like(pairs) / loss.divisor
    elif reduction == "mean":
        factor = tf.fill([2], inverse(tf.reduce_sum(pairs)))
    elif reduction == "weighted-mean":
        factor = tf.fill([2], inverse(weight))
    else:
        factor = inverse(pairs if reduction == "mean-sides" else nonzero)
    return tf.reduce_sum(phi * factor), factor


def summary(phi, weight, same, pair):
    """What a reduction needs of some pairs, in float64, sides as [positives, negatives]."""
    def sides(values):
        values = tf.cast(values, tf.float64)
        return tf.stack([tf.reduce_sum(tf.where(same, values, 0)),
                         tf.reduce_sum(tf.where(same, tf.zeros_like(values), values))])

    weighted = tf.where(pair, phi * weight, 0)
    return {"phi": sides(weighted), "pairs": sides(pair), "nonzero": sides(weighted > 0),
            "weight": tf.reduce_sum(tf.cast(tf.where(pair, weight, 0), tf.float64))}


def given_or(values, default):
    """A vector, or default() if it is empty; known from its shape wherever that is known."""
    if values.shape[0] is not None:
        return values if values.shape[0] > 0 else default()
    return tf.cond(tf.size(values) > 0, lambda: values, default)


def rows(loss, left, right, same, weight):
    """The loss over pairs (left[k], right[k]); `weight` (n) or (0) for all 1. `none` gives (n)."""
    same = tf.cast(same, tf.bool)
    weight = tf.stop_gradient(tf.cast(weight, left.dtype))
    weight = given_or(weight, lambda: tf.ones_like(left[:, 0]))
    weight = tf.ensure_shape(weight, left.shape[:1])
    phi = terms(loss, left, right, same)
    if loss.reduction == "none":
        return phi * weight
    sums = tf.nest.map_structure(tf.stop_gradient,
                                 summary(phi, weight, same, tf.ones_like(same)))
    _, factor = reduce(loss, sums)
    factor = tf.cast(factor, left.dtype)
    return tf.reduce_sum(tf.where(same, factor[0], factor[1]) * weight * phi)


def gather(x, index):
    """tf.gather with a dense gradient."""
    @tf.custom_gradient
    def gathered(values):
        def gradient(upstream):
            return gather_transposed(upstream, index, tf.shape(values)[0])
        return tf.gather(values, index), gradient
    return gathered(x)


def gather_transposed(upstream, index, rows_in):
    return tf.math.unsorted_segment_sum(upstream, index, rows_in)


def pairs(loss, x, i, j, same, weight):
    """The loss over pairs (x[i[p]], x[j[p]])."""
    return rows(loss, gather(x, i), gather(x, j), same, weight)
