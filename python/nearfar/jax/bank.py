"""The memory bank: rows of earlier batches as reference rows of a loss."""

from typing import Any, NamedTuple, Self

import jax.numpy as jnp
import numpy as np
from jax import Array, dtypes, lax
from jax.typing import ArrayLike

from . import _inputs
from .losses import Forms


class MemoryBank(NamedTuple):
    """The last ``capacity`` embeddings with their labels and ids (cross-batch memory; Wang et al.,
    Cross-Batch Memory for Embedding Learning, CVPR 2020): a pytree that a step takes and returns.

        >>> bank = nearfar.jax.MemoryBank.empty(1024, 16)
        >>> value, bank = bank.loss(loss, embeddings, labels)

    A batch then meets rows of earlier batches, so that a small batch sees many negatives. Rows of
    earlier batches are constants: they take no gradient. Shapes do not change, so that a jitted step
    is compiled once; places that no row has taken yet are labelled -1, and in no pair.
    """

    embeddings: Array  #: (capacity, dim)
    labels: Array      #: (capacity), -1 where there is no row
    ids: Array         #: (capacity)
    next: Array        #: the place of the next row
    pushed: Array      #: how many rows were ever pushed

    @classmethod
    def empty(cls, capacity: int, dim: int, dtype: Any = jnp.float32) -> Self:
        """A bank without rows; a new row replaces the oldest when there are ``capacity``."""
        if capacity < 1 or dim < 1:
            raise ValueError(f"capacity is {capacity} and dim {dim}: both must be at least 1")
        whole = dtypes.canonicalize_dtype(np.int64)
        return cls(jnp.zeros((capacity, dim), dtype), jnp.full(capacity, -1, whole),
                   jnp.full(capacity, -1, whole), jnp.zeros((), whole), jnp.zeros((), whole))

    def push(self, x: ArrayLike, labels: ArrayLike, ids: ArrayLike | None = None) -> Self:
        """The bank with rows x (n, dim) and labels (n) appended, replacing the oldest.

        ids (n): equal ids are the same item, which makes no pair with itself. Without them the
        bank numbers rows as they come, from 0.
        """
        return self._append(*self._checked(x, labels, ids))

    def loss(self, loss: Forms, x: ArrayLike, labels: ArrayLike, ids: ArrayLike | None = None,
             beta: ArrayLike | None = None) -> tuple[Array, Self]:
        """(value, bank): ``push``, then ``loss`` of every row of the batch against every row of the
        bank, the batch itself included, except those with equal ids. A pair within the batch is
        met from both ends. Labels are at least -1. beta: of a MarginLoss."""
        if loss.unlabelled is None:  # type: ignore[attr-defined]
            raise ValueError("unlabelled is None: places of the bank without a row are labelled -1, "
                             "so use a loss to which -1 is no label")
        x, labels, ids = self._checked(x, labels, ids)
        after = self._append(x, labels, ids)
        more = {} if beta is None else {"beta": _of_apart(beta)}
        value = loss.reference(x, _apart(labels), after.embeddings, _apart(after.labels), ids,
                               after.ids, **more)
        return value, after

    def _checked(self, x, labels, ids):
        x = _inputs.matrix(x, "x").astype(self.embeddings.dtype)
        n, dim = x.shape[0], self.embeddings.shape[1]
        if x.shape[1] != dim:
            raise ValueError(f"x has {x.shape[1]} columns: the bank's rows have {dim}")
        labels = _inputs.label_names(labels)
        labels = _inputs.vector(labels, "labels", n, "x has rows").astype(self.labels.dtype)
        if ids is None:
            return x, labels, self.pushed + jnp.arange(n, dtype=self.ids.dtype)
        return x, labels, _inputs.index(ids, "ids", n, "x has rows").astype(self.ids.dtype)

    def _append(self, x, labels, ids):
        n, capacity = x.shape[0], self.embeddings.shape[0]
        last, count = slice(max(0, n - capacity), None), min(n, capacity)
        place = (self.next + jnp.arange(count, dtype=self.next.dtype)) % capacity
        return self._replace(
            embeddings=self.embeddings.at[place].set(lax.stop_gradient(x)[last]),
            labels=self.labels.at[place].set(labels[last]), ids=self.ids.at[place].set(ids[last]),
            next=(self.next + count) % capacity, pushed=self.pushed + n)


def _apart(labels):
    """Labels of which none is 1: with -1 at empty places, a batch of class 1 alone would look like a
    binary problem, which the engine refuses."""
    return jnp.where(labels >= 0, labels + 2, labels)


def _of_apart(beta):
    """Boundaries by label, as _apart names labels."""
    return beta if jnp.ndim(beta) == 0 else jnp.pad(jnp.asarray(beta), (2, 0))
