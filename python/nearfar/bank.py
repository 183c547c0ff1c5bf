"""The memory bank: rows of earlier batches as reference rows of a loss."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core import Loss, LossResult
from .mine import MinedPairs, Triplets

_STATE = ("embeddings", "labels", "ids", "capacity", "next", "pushed")


def pairs_of(found: MinedPairs | Triplets) -> MinedPairs:
    """Of a triplet (anchor, positive) and (anchor, negative)."""
    if not isinstance(found, Triplets):
        return found
    anchors = np.repeat(found.anchor, 2)
    others = np.stack([found.positive, found.negative], axis=1).ravel()
    return MinedPairs(anchors, others, np.arange(len(others)) % 2 == 0)


def _mined(loss, x, rows, found, gradient):
    """The loss over pairs of a row of x and one of `rows`; their gradients added up to x's."""
    found = pairs_of(found)
    result = loss.rows(x[found.i], rows[found.j], found.same, gradient=gradient)
    grad = None
    if gradient:
        grad = np.zeros(x.shape, np.float64)
        np.add.at(grad, found.i, result.grad[0])
        grad = grad.astype(x.dtype)
    return LossResult((result.value, grad, result.counts), {"terms": None})


class MemoryBank:
    """The last ``capacity`` embeddings with their labels and ids (cross-batch memory; Wang et al.,
    Cross-Batch Memory for Embedding Learning, CVPR 2020).

    A batch then meets rows of earlier batches, so that a small batch sees many negatives. Rows of
    earlier batches are constants: they take no gradient.

        >>> import numpy as np, nearfar
        >>> bank, loss = nearfar.MemoryBank(capacity=4, dim=1), nearfar.ContrastiveLoss()
        >>> bank.loss(loss, np.float32([[0], [2]]), [0, 0]).counts.positive_pairs
        2
        >>> bank.loss(loss, np.float32([[1], [3]]), [0, 1]).counts.positive_pairs
        2
        >>> len(bank)
        4

    Parameters
    ----------
    capacity : int
        Rows held; then a new row replaces the oldest.
    dim : int
        Columns of a row.
    dtype : {"float32", "float64"}

    ``state_dict()`` and ``load_state_dict(state)`` put a bank into a checkpoint and back; it
    pickles too.
    """

    def __init__(self, capacity: int, dim: int, dtype: Any = "float32") -> None:
        dtype = np.dtype(dtype)
        if capacity < 1 or dim < 1:
            raise ValueError(f"capacity is {capacity} and dim {dim}: both must be at least 1")
        if dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype is {dtype}: it must be float32 or float64")
        self._capacity = int(capacity)
        self._x = np.empty((self._capacity, dim), dtype)
        self._labels = np.empty(self._capacity, np.int64)
        self._ids = np.empty(self._capacity, np.int64)
        self._rows = self._next = self._pushed = 0

    @property
    def capacity(self) -> int:
        return self._capacity

    def __len__(self) -> int:
        return self._rows

    @property
    def embeddings(self) -> NDArray[Any]:
        """Rows held (rows, dim); a row keeps its place until it is the oldest and replaced."""
        return self._view(self._x)

    @property
    def labels(self) -> NDArray[np.int64]:
        return self._view(self._labels)

    @property
    def ids(self) -> NDArray[np.int64]:
        return self._view(self._ids)

    def _view(self, array):
        view = array[:self._rows]
        view.flags.writeable = False
        return view

    def reset(self) -> None:
        """Forget all rows; ids given by the bank start again at 0."""
        self._rows = self._next = self._pushed = 0

    def push(self, x: ArrayLike, labels: ArrayLike, ids: ArrayLike | None = None) -> None:
        """Append rows x (n, dim) with labels (n), replacing the oldest.

        ids (n): equal ids are the same item, which makes no pair with itself. Without them the
        bank numbers rows as they come, from 0.
        """
        self._append(*self._checked(x, labels, ids))

    def loss(self, loss: Loss, x: ArrayLike, labels: ArrayLike,
             ids: ArrayLike | None = None, *, gradient: bool = True,
             miner: Callable[..., MinedPairs | Triplets] | None = None) -> LossResult:
        """``push``, then the loss of every row of the batch against every row of the bank, the
        batch itself included, except those with equal ids. A pair within the batch is met from
        both ends. ``grad`` (n, dim) is that of the batch's rows. If the loss fails, the bank is as
        before.

        miner: a function of nearfar.mine, with options by functools.partial: of all pairs only
            those that it finds between the batch and the bank, of a triplet (anchor, positive) and
            (anchor, negative). For a ContrastiveLoss, whose pairs may be chosen.
        """
        x, labels, ids = self._checked(x, labels, ids)
        after = self._copy()
        after._append(x, labels, ids)
        if miner is not None:
            found = miner(x, labels, after.embeddings, after.labels, ids=ids,
                          reference_ids=after.ids)
            result = _mined(loss, x, after.embeddings, found, gradient)
        else:
            result = loss.reference(x, labels, after.embeddings, after.labels, ids, after.ids,
                                    gradient=gradient)
            grad = result.grad[0] if gradient else None
            result = LossResult((result.value, grad, result.counts), {"terms": None})
        self.__dict__ = after.__dict__
        return result

    def _checked(self, x, labels, ids):
        x, labels = np.asarray(x), np.asarray(labels)
        if x.ndim != 2 or x.shape[1] != self._x.shape[1]:
            raise ValueError(f"x has shape {x.shape}: the bank's rows have {self._x.shape[1]} "
                             "columns")
        if not np.can_cast(x.dtype, self._x.dtype, "same_kind"):
            raise TypeError(f"x is {x.dtype}: the bank holds {self._x.dtype}")
        x = np.ascontiguousarray(x, self._x.dtype)
        if not np.isfinite(x).all():
            raise ValueError("x holds NaN or Inf")
        if ids is None:
            ids = np.arange(self._pushed, self._pushed + len(x))
        return x, _whole(labels, len(x), "labels"), _whole(np.asarray(ids), len(x), "ids")

    def _append(self, x, labels, ids):
        last = slice(max(0, len(x) - self._capacity), None)
        place = (self._next + np.arange(len(x[last]))) % self._capacity
        self._x[place], self._labels[place], self._ids[place] = x[last], labels[last], ids[last]
        self._rows = min(self._capacity, max(self._rows, self._next + len(place)))
        self._next = (self._next + len(place)) % self._capacity
        self._pushed += len(x)

    def _copy(self):
        other = object.__new__(type(self))
        other.__dict__ = {name: value.copy() if isinstance(value, np.ndarray) else value
                          for name, value in self.__dict__.items()}
        return other

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: NumPy arrays and whole numbers."""
        return {"embeddings": self.embeddings.copy(), "labels": self.labels.copy(),
                "ids": self.ids.copy(), "capacity": self._capacity, "next": self._next,
                "pushed": self._pushed}

    def load_state_dict(self, state: dict[str, Any]) -> Self:
        """Become the bank of state_dict(); the capacity and columns become that bank's."""
        missing = [name for name in _STATE if name not in state]
        if missing:
            raise ValueError(f"the state has no {', '.join(missing)}: it is not a bank's")
        x, rows, capacity = state["embeddings"], len(state["embeddings"]), int(state["capacity"])
        full = rows == capacity
        if (rows > capacity or len(state["labels"]) != rows or len(state["ids"]) != rows
                or state["pushed"] < rows
                or (not 0 <= state["next"] < capacity if full else state["next"] != rows)):
            raise ValueError("the state's capacity, next and pushed do not fit its rows")
        bank = type(self)(capacity, np.shape(x)[1], np.asarray(x).dtype)
        bank._append(*bank._checked(x, state["labels"], state["ids"]))
        bank._next, bank._pushed = int(state["next"]), int(state["pushed"])
        self.__dict__ = bank.__dict__
        return self

    def __repr__(self) -> str:
        return (f"MemoryBank(capacity={self._capacity}, dim={self._x.shape[1]}, "
                f"dtype={self._x.dtype.name!r})  # {self._rows} rows")


def _whole(values, rows, name):
    if values.shape != (rows,):
        raise ValueError(f"{name} has shape {values.shape}: it must be ({rows},)")
    if rows and not np.can_cast(values.dtype, np.int64, "safe"):
        raise TypeError(f"{name} is {values.dtype}: it must hold whole numbers that int64 holds")
    return np.ascontiguousarray(values, np.int64)
