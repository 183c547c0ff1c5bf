"""Labels as int64, and `same` as 0 and 1, from whatever a data pipeline holds."""

import tensorflow as tf

# Whole numbers beyond which a type no longer tells neighbours apart.
_EXACT = {tf.float64: 2**53, tf.float32: 2**24, tf.float16: 2**11, tf.bfloat16: 2**8}


def _whole(values, name):
    limit = _EXACT[values.dtype]
    whole = (tf.math.floor(values) == values) & (tf.abs(values) < limit)
    check = tf.debugging.Assert(tf.reduce_all(whole), [
        f"{name} of type {values.dtype.name}: every one must be a whole number below {limit} in "
        "size, beyond which the type takes different labels for the same; pass integers"])
    with tf.control_dependencies([] if check is None else [check]):
        return tf.cast(values, tf.int64)


def class_labels(labels, name="labels"):
    """Labels (n) or (n, 1) as int64 (n): integers, bools, whole floats, or strings (numbered by
    first appearance, none unlabelled)."""
    labels = tf.convert_to_tensor(labels)
    shape = labels.shape
    if shape.rank is not None and (shape.rank > 2
                                   or (shape.rank == 2 and shape[1] not in (None, 1))):
        raise ValueError(f"{name} has shape {shape}: it must be (n) or (n, 1), one class number "
                         "per row; for one-hot labels pass tf.argmax(labels, -1)")
    if shape.rank != 1:
        labels = tf.reshape(labels, [-1])
    if labels.dtype == tf.int64:
        return labels
    if labels.dtype == tf.string and name == "labels":  # of one set: no other knows the numbers
        return tf.unique(labels, tf.int64).idx
    if labels.dtype in (tf.string, tf.uint64):
        raise TypeError(f"{name} has type {labels.dtype.name}: it must be integers up to int64")
    if labels.dtype.is_floating:
        return _whole(labels, name)
    return tf.cast(labels, tf.int64)


def check_binary(labels, unlabelled):
    """Labels that are exactly -1 and 1 while -1 means unlabelled are a mistake."""
    if unlabelled is None:
        return labels
    binary = (tf.reduce_any(labels == -1) & tf.reduce_any(labels == 1)
              & tf.reduce_all(tf.abs(labels) == 1))
    check = tf.debugging.Assert(~binary, [
        "labels are exactly -1 and 1 while -1 means unlabelled: half of a binary problem would "
        "vanish; pass unlabelled=None if -1 is a class"])
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(labels)


def same_flags(same):
    """`same` (n) or (n, 1) as 0 and 1 in int64; another value is an error, of either engine."""
    same = class_labels(same, "same")
    check = tf.debugging.Assert(tf.reduce_all((same == 0) | (same == 1)), [
        "same must be 1 for a pair of one class and 0 for a pair of two; from -1 and +1 take "
        "(same + 1) // 2"])
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(same)
