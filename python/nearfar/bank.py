"""The memory bank: rows of earlier batches as reference rows of a loss."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _convert
from ._core import LossResult
from ._targets import TargetLoss, row_weights
from .mine import MinedPairs, Triplets

_STATE = ("embeddings", "labels", "ids", "capacity", "next", "pushed")
_BROUGHT = ("label_sets", "row_weight", "groups")


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


class _Batch(NamedTuple):
    """Rows with what they bring; in the last three None for what they do not."""

    x: Any
    labels: Any  # zeros with label sets
    ids: Any
    label_sets: Any  # (n) objects, each an array of numbers of labels
    row_weight: Any
    groups: Any

    def brought(self):
        return tuple(value is not None for value in self[3:])


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

    Rows keep what they came with besides a label (see ``loss.targets``): label sets, weights, groups.

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
        self._brought = dict.fromkeys(_BROUGHT)  # arrays (capacity), None before there are rows
        self._number: dict[Any, int] = {}  # of labels in label sets
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

    @property
    def row_weight(self) -> NDArray[np.float64] | None:
        """Weights of the rows held, with those of their classes; None where they have none."""
        return self._held("row_weight")

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """Groups of the rows held; None where they have none."""
        return self._held("groups")

    @property
    def label_sets(self) -> list[list[Any]] | None:
        """Labels of each row held; None where rows have one label each."""
        sets = self._held("label_sets")
        names = list(self._number)
        return None if sets is None else [[names[k] for k in row] for row in sets]

    def _held(self, name):
        return None if self._brought[name] is None else self._view(self._brought[name])

    def _view(self, array):
        view = array[:self._rows]
        view.flags.writeable = False
        return view

    def reset(self) -> None:
        """Forget all rows; ids given by the bank start again at 0."""
        self._brought = dict.fromkeys(_BROUGHT)
        self._number = {}
        self._rows = self._next = self._pushed = 0

    def push(self, x: ArrayLike, labels: ArrayLike | None = None, ids: ArrayLike | None = None, *,
             label_sets: Any = None, row_weight: ArrayLike | None = None,
             class_weight: Mapping[Any, float] | None = None,
             groups: ArrayLike | None = None) -> None:
        """Append rows x (n, dim) with labels (n), replacing the oldest.

        ids (n): equal ids are the same item, which makes no pair with itself. Without them the
        bank numbers rows as they come, from 0.
        label_sets (instead of labels), row_weight, class_weight, groups: as in ``loss.targets``;
        which of them are given must be the same for all rows until the bank is reset.
        """
        self._append(self._checked(x, labels, ids, label_sets,
                                   row_weights(labels, row_weight, class_weight), groups))

    def loss(self, loss: TargetLoss, x: ArrayLike, labels: ArrayLike | None = None,
             ids: ArrayLike | None = None, *, label_sets: Any = None,
             row_weight: ArrayLike | None = None, class_weight: Mapping[Any, float] | None = None,
             groups: ArrayLike | None = None, gradient: bool = True,
             upstream: ArrayLike | None = None, terms: bool = False,
             miner: Callable[..., MinedPairs | Triplets] | None = None) -> LossResult:
        """``push``, then the loss of every row of the batch against every row of the bank, the
        batch itself included, except those with equal ids. A pair within the batch is met from
        both ends. ``grad`` (n, dim) is that of the batch's rows. If the loss fails, the bank is as
        before.

        label_sets, row_weight, class_weight, groups: the loss is then ``loss.reference_targets``. Of
            a loss that compares the pairs of a row, the terms start from the batch's rows, and the
            weights of rows held count for nothing.
        upstream, terms: as in ``loss.reference``.
        miner: a function of nearfar.mine, with options by functools.partial: of all pairs only
            those that it finds between the batch and the bank, of a triplet (anchor, positive) and
            (anchor, negative). For a ContrastiveLoss, whose pairs may be chosen, and without targets.
        """
        after = self._copy()
        batch = after._checked(x, labels, ids, label_sets,
                               row_weights(labels, row_weight, class_weight), groups)
        after._append(batch)
        if miner is not None:
            if any(batch.brought()) or terms or upstream is not None:
                raise TypeError("miner: the pairs that it finds have no targets and are no terms of "
                                "rows; leave out label_sets, weights, groups, upstream and terms")
            found = miner(batch.x, batch.labels, after.embeddings, after.labels, ids=batch.ids,
                          reference_ids=after.ids)
            result = _mined(loss, batch.x, after.embeddings, found, gradient)
        else:
            found = after._against(loss, batch, gradient, upstream, terms)
            grad = found.grad[0] if gradient else None
            result = LossResult((found.value, grad, found.counts), {"terms": found.terms})
        self.__dict__ = after.__dict__
        return result

    def _against(self, loss, batch, gradient, upstream, terms):
        """The batch against the rows held."""
        more = {"gradient": gradient, "upstream": upstream, "terms": terms}
        if not any(batch.brought()):
            return loss.reference(batch.x, batch.labels, self.embeddings, self.labels, batch.ids,
                                  self.ids, **more)
        sets = batch.label_sets is not None
        weight = None if loss._takes_rows else self.row_weight
        return loss._reference_targets(
            batch.x, None if sets else batch.labels, self.embeddings,
            None if sets else self.labels, batch.ids, self.ids, *_flat(batch.label_sets),
            batch.row_weight, batch.groups, *_flat(self._held("label_sets")), weight, self.groups,
            **more)

    def _checked(self, x, labels, ids, label_sets, row_weight, groups):
        x = np.asarray(x)
        if x.ndim != 2 or x.shape[1] != self._x.shape[1]:
            raise ValueError(f"x has shape {x.shape}: the bank's rows have {self._x.shape[1]} "
                             "columns")
        if not np.can_cast(x.dtype, self._x.dtype, "same_kind"):
            raise TypeError(f"x is {x.dtype}: the bank holds {self._x.dtype}")
        x = np.ascontiguousarray(x, self._x.dtype)
        if not np.isfinite(x).all():
            raise ValueError("x holds NaN or Inf")
        if (labels is None) == (label_sets is None):
            raise TypeError("give labels or label_sets, one of them")
        if ids is None:
            ids = np.arange(self._pushed, self._pushed + len(x))
        batch = _Batch(x, _whole(np.zeros(len(x), np.int64) if labels is None
                                 else np.asarray(labels), len(x), "labels"),
                       _whole(np.asarray(ids), len(x), "ids"),
                       self._numbered(label_sets, len(x)), _weights(row_weight, len(x)),
                       None if groups is None else _whole(np.asarray(groups), len(x), "groups"))
        for name, own in zip(_BROUGHT, batch.brought()):
            if self._rows and own != (self._brought[name] is not None):
                raise ValueError(f"rows come {'with' if own else 'without'} {name} and those of the "
                                 f"bank {'without' if own else 'with'} them: give all rows the same, "
                                 "or reset the bank")
        return batch

    def _numbered(self, label_sets, rows):
        if label_sets is None:
            return None
        number = self._number  # a column of an indicator array is a label too
        if hasattr(label_sets, "ndim") and label_sets.ndim == 2:
            offsets, columns = _convert.offsets_and_labels(label_sets)
            labels = np.array([number.setdefault(column, len(number))
                               for column in range(label_sets.shape[1])], np.int64)[columns]
        else:
            collections = [list(row) for row in label_sets]
            offsets = np.cumsum([0, *map(len, collections)])
            labels = np.array([number.setdefault(label, len(number))
                               for row in collections for label in row], np.int64)
        if len(offsets) != rows + 1:
            raise ValueError(f"label_sets has {len(offsets) - 1} rows: it must have {rows}")
        sets = np.empty(rows, object)
        for row in range(rows):
            sets[row] = labels[offsets[row]:offsets[row + 1]]
        return sets

    def _append(self, batch):
        count = len(batch.x)
        last = slice(max(0, count - self._capacity), None)
        place = (self._next + np.arange(len(batch.x[last]))) % self._capacity
        if not self._rows and count:
            self._brought = {name: None if value is None else np.empty(self._capacity, value.dtype)
                             for name, value in zip(_BROUGHT, batch[3:])}
        arrays = (self._x, self._labels, self._ids, *self._brought.values())
        for array, values in zip(arrays, batch):
            if array is not None:
                array[place] = values[last]
        self._rows = min(self._capacity, max(self._rows, self._next + len(place)))
        self._next = (self._next + len(place)) % self._capacity
        self._pushed += count

    def _copy(self):
        other = object.__new__(type(self))
        other.__dict__ = {name: value.copy() if isinstance(value, np.ndarray | dict) else value
                          for name, value in self.__dict__.items()}
        other._brought = {name: None if value is None else value.copy()
                          for name, value in self._brought.items()}
        return other

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: NumPy arrays and whole numbers; label sets as lists."""
        state = {"embeddings": self.embeddings.copy(), "labels": self.labels.copy(),
                 "ids": self.ids.copy(), "capacity": self._capacity, "next": self._next,
                 "pushed": self._pushed}
        brought = {name: getattr(self, name) for name in _BROUGHT}
        return state | {name: value.copy() for name, value in brought.items() if value is not None}

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
        sets = state.get("label_sets")
        bank._append(bank._checked(x, state["labels"] if sets is None else None, state["ids"], sets,
                                   state.get("row_weight"), state.get("groups")))
        bank._next, bank._pushed = int(state["next"]), int(state["pushed"])
        self.__dict__ = bank.__dict__
        return self

    def __repr__(self) -> str:
        return (f"MemoryBank(capacity={self._capacity}, dim={self._x.shape[1]}, "
                f"dtype={self._x.dtype.name!r})  # {self._rows} rows")


def _flat(sets):
    """Offsets and labels of arrays of numbers; None twice for None."""
    if sets is None:
        return None, None
    offsets = np.zeros(len(sets) + 1, np.int64)
    np.cumsum([len(row) for row in sets], out=offsets[1:])
    return offsets, np.concatenate([np.empty(0, np.int64), *sets])


def _weights(weights, rows):
    if weights is None:
        return None
    weights = np.asarray(weights, np.float64)
    if weights.shape != (rows,):
        raise ValueError(f"row_weight has shape {weights.shape}: it must be ({rows},)")
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError("row_weight must be finite and at least 0")
    return weights


def _whole(values, rows, name):
    if values.shape != (rows,):
        raise ValueError(f"{name} has shape {values.shape}: it must be ({rows},)")
    if rows and not np.can_cast(values.dtype, np.int64, "safe"):
        raise TypeError(f"{name} is {values.dtype}: it must hold whole numbers that int64 holds")
    return np.ascontiguousarray(values, np.int64)
