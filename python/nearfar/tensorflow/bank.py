"""The memory bank: rows of earlier batches as reference rows of a loss."""

from typing import Any

import tensorflow as tf

from ._labels import class_labels
from .functions import _index, _matrix
from .losses import EngineLoss


class MemoryBank(tf.Module):
    """The last ``capacity`` embeddings with their labels and ids (cross-batch memory; Wang et al.,
    Cross-Batch Memory for Embedding Learning, CVPR 2020).

        >>> bank = nearfar.tensorflow.MemoryBank(1024, dim=16)
        >>> value = bank.loss(nearfar.tensorflow.SupConLoss(), labels, network(features))

    A batch then meets rows of earlier batches, so that a small batch sees many negatives. Rows of
    earlier batches are constants: they take no gradient. Rows are variables: a tf.train.Checkpoint
    keeps them, and a tf.function changes them. Numbers and order are those of nearfar.MemoryBank.

    capacity: rows held; then a new row replaces the oldest. dim: columns of a row.
    """

    def __init__(self, capacity: int, dim: int, dtype: Any = tf.float32,
                 name: str = "memory_bank") -> None:
        super().__init__(name=name)
        if capacity < 1 or dim < 1:
            raise ValueError(f"capacity is {capacity} and dim {dim}: both must be at least 1")
        self.capacity, self.dim = int(capacity), int(dim)

        def whole(shape):
            return tf.Variable(tf.zeros(shape, tf.int64), trainable=False)

        self._x = tf.Variable(tf.zeros([capacity, dim], dtype), trainable=False)
        self._labels, self._ids = whole([capacity]), whole([capacity])
        self._next, self._pushed = whole([]), whole([])

    @property
    def rows(self) -> tf.Tensor:
        """How many rows are held."""
        return tf.minimum(self._pushed, self.capacity)

    @property
    def embeddings(self) -> tf.Tensor:
        """Rows held (rows, dim); a row keeps its place until it is the oldest and replaced."""
        return self._x[:self.rows]

    @property
    def labels(self) -> tf.Tensor:
        return self._labels[:self.rows]

    @property
    def ids(self) -> tf.Tensor:
        return self._ids[:self.rows]

    def reset(self) -> None:
        """Forget all rows; ids given by the bank start again at 0."""
        self._next.assign(0)
        self._pushed.assign(0)

    def push(self, labels: Any, x: Any, ids: Any = None) -> None:
        """Append rows x (n, dim) with labels (n), replacing the oldest.

        ids (n): equal ids are the same item, which makes no pair with itself. Without them the
        bank numbers rows as they come, from 0.
        """
        x, labels, ids = self._checked(x, labels, ids)
        tf.debugging.assert_all_finite(x, "x holds NaN or Inf")
        self._keep(*self._after(x, labels, ids))

    def loss(self, loss: EngineLoss, labels: Any, x: Any, ids: Any = None) -> tf.Tensor:
        """``push``, then ``loss`` of every row of the batch against every row of the bank, the batch
        itself included, except those with equal ids. A pair within the batch is met from both
        ends. If the loss fails, the bank is as before."""
        x, labels, ids = self._checked(x, labels, ids)
        *buffers, moved, pushed = self._after(x, labels, ids)
        rows = tf.minimum(pushed, self.capacity)
        bank_x, bank_labels, bank_ids = (buffer[:rows] for buffer in buffers)
        value = loss.reference(x, labels, bank_x, bank_labels, ids, bank_ids)
        with tf.control_dependencies([] if tf.executing_eagerly() else [value]):
            self._keep(*buffers, moved, pushed)
        return value

    def _checked(self, x, labels, ids):
        x = tf.cast(_matrix(x, "x"), self._x.dtype)
        if x.shape[1] not in (None, self.dim):
            raise ValueError(f"x has {x.shape[1]} columns: the bank's rows have {self.dim}")
        n = tf.shape(x, tf.int64)[0]
        ids = self._pushed + tf.range(n) if ids is None else _index(ids, "ids")
        return x, tf.ensure_shape(class_labels(labels, "row labels"), x.shape[:1]), ids

    def _after(self, x, labels, ids):
        n = tf.shape(x, tf.int64)[0]
        count = tf.minimum(n, self.capacity)
        place = ((self._next + tf.range(count)) % self.capacity)[:, None]
        buffers = [tf.tensor_scatter_nd_update(old, place, tf.stop_gradient(new)[n - count:])
                   for old, new in ((self._x, x), (self._labels, labels), (self._ids, ids))]
        return *buffers, (self._next + count) % self.capacity, self._pushed + n

    def _keep(self, x, labels, ids, moved, pushed):
        for variable, value in ((self._x, x), (self._labels, labels), (self._ids, ids),
                                (self._next, moved), (self._pushed, pushed)):
            variable.assign(value)
