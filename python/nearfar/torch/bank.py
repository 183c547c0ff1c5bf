"""The memory bank: rows of earlier batches as reference rows of a loss."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..bank import pairs_of
from ..mine import MinedPairs, Triplets
from . import _inputs
from .losses import EngineLoss, Forms


class MemoryBank(torch.nn.Module):
    """The last ``capacity`` embeddings with their labels and ids (cross-batch memory; Wang et al.,
    Cross-Batch Memory for Embedding Learning, CVPR 2020).

        >>> bank, loss = nearfar.torch.MemoryBank(1024, dim=16), nearfar.torch.SupConLoss()
        >>> bank.loss(loss, network(features), labels).backward()

    A batch then meets rows of earlier batches, so that a small batch sees many negatives. Rows of
    earlier batches are constants: they take no gradient. Rows are buffers: they are part of
    ``state_dict()`` and move with ``.to(device)``. Numbers and order are those of nearfar.MemoryBank.

    capacity: rows held; then a new row replaces the oldest. dim: columns of a row. Not for use
    inside a compiled graph: the rows held are more with every batch.
    label_sets: rows come with label sets of so many labels, as 0 and 1 (n, label_sets), instead of
        labels. row_weight, groups: they come with a weight, with a group. Rows keep them, and the loss
        is ``loss.reference_targets`` then.
    """

    x: Tensor
    row_labels: Tensor
    row_ids: Tensor
    position: Tensor

    def __init__(self, capacity: int, dim: int, dtype: torch.dtype = torch.float32,
                 device: Any = None, *, label_sets: int | None = None, row_weight: bool = False,
                 groups: bool = False) -> None:
        super().__init__()
        if capacity < 1 or dim < 1:
            raise ValueError(f"capacity is {capacity} and dim {dim}: both must be at least 1")
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype is {dtype}: it must be torch.float32 or torch.float64")
        self.register_buffer("x", torch.zeros(capacity, dim, dtype=dtype, device=device))
        self.register_buffer("row_labels", torch.zeros(capacity, dtype=torch.int64, device=device))
        self.register_buffer("row_ids", torch.zeros(capacity, dtype=torch.int64, device=device))
        more = {"row_sets": label_sets and torch.zeros(capacity, label_sets, dtype=torch.bool),
                "row_weights": torch.zeros(capacity, dtype=torch.float64) if row_weight else None,
                "row_groups": torch.zeros(capacity, dtype=torch.int64) if groups else None}
        for name, value in more.items():
            self.register_buffer(name, None if value is None else value.to(device))
        # The place of the next row, and how many rows were ever pushed.
        self.register_buffer("position", torch.zeros(2, dtype=torch.int64))

    @property
    def capacity(self) -> int:
        return self.x.shape[0]

    def __len__(self) -> int:
        return min(self.capacity, int(self.position[1]))

    @property
    def embeddings(self) -> Tensor:
        """Rows held (rows, dim); a row keeps its place until it is the oldest and replaced."""
        return self.x[:len(self)]

    @property
    def labels(self) -> Tensor:
        return self.row_labels[:len(self)]

    @property
    def ids(self) -> Tensor:
        return self.row_ids[:len(self)]

    def extra_repr(self) -> str:
        return f"capacity={self.capacity}, dim={self.x.shape[1]}, dtype={self.x.dtype}"

    def reset(self) -> None:
        """Forget all rows; ids given by the bank start again at 0."""
        self.position = torch.zeros_like(self.position)

    def push(self, x: Tensor, labels: Any = None, ids: Any = None, *, label_sets: Any = None,
             row_weight: Any = None, class_weight: Mapping[int, float] | None = None,
             groups: Any = None) -> None:
        """Append rows x (n, dim) with labels (n), replacing the oldest.

        ids (n): equal ids are the same item, which makes no pair with itself. Without them the
        bank numbers rows as they come, from 0. The others as in ``loss.targets``, where the bank was
        made for them.
        """
        batch = self._checked(x, labels, ids, label_sets, row_weight, class_weight, groups)
        if not bool(torch.isfinite(batch[0]).all()):
            raise ValueError("x holds NaN or Inf")
        self._keep(self._after(batch))

    def loss(self, loss: Forms, x: Tensor, labels: Any = None, ids: Any = None, *,
             label_sets: Any = None, row_weight: Any = None,
             class_weight: Mapping[int, float] | None = None, groups: Any = None,
             miner: Callable[..., MinedPairs | Triplets] | None = None) -> Tensor:
        """``push``, then ``loss`` of every row of the batch against every row of the bank, the batch
        itself included, except those with equal ids. A pair within the batch is met from both
        ends. If the loss fails, the bank is as before.

        label_sets, row_weight, class_weight, groups: as in ``push``. Weights of rows held count for a
            ContrastiveLoss; of the others the terms start from the batch's rows.
        miner: a function of nearfar.mine, with options by functools.partial: of all pairs only
            those that it finds between the batch and the bank, of a triplet (anchor, positive) and
            (anchor, negative). For a ContrastiveLoss or a PairLoss, whose pairs may be chosen, and
            rows on the CPU, without targets.
        """
        batch = self._checked(x, labels, ids, label_sets, row_weight, class_weight, groups)
        after = self._after(batch)
        rows = min(self.capacity, int(after[-1][1]))
        held = [None if buffer is None else buffer[:rows] for buffer in after[:-1]]
        targets = any(value is not None for value in batch[3:])
        if miner is not None:
            if targets:
                raise TypeError("miner: the pairs that it finds have no targets; use a bank without")
            value = _mined(loss, *batch[:3], held, miner)
        elif targets:
            value = _under_targets(loss, batch, held)
        else:
            value = loss.reference(*batch[:2], *held[:2], batch[2], held[2])
        self._keep(after)
        return value

    def _checked(self, x, labels, ids, label_sets, row_weight, class_weight, groups):
        """(x, labels, ids, label sets, weights, groups), None for what rows do not bring."""
        x = _inputs.rows(x, "x")
        _inputs.beside(x, self.x, "the bank", "x")
        if x.shape[1] != self.x.shape[1]:
            raise ValueError(f"x has {x.shape[1]} columns: the bank's rows have {self.x.shape[1]}")
        n, pushed = x.shape[0], int(self.position[1])
        if ids is None:
            ids = torch.arange(pushed, pushed + n, device=x.device)
        if (labels is None) == (label_sets is None):
            raise TypeError("give labels or label_sets, one of them")
        labels = (torch.zeros(n, dtype=torch.int64, device=x.device) if labels is None
                  else _inputs.whole(x, labels, "labels", n))
        weight = _inputs.row_weight(x, labels if label_sets is None else None, row_weight,
                                    class_weight, "row_weight")
        batch = (x.to(self.x.dtype), labels, _inputs.whole(x, ids, "ids", n),
                 _inputs.label_sets(x, label_sets, "label_sets"), weight,
                 _inputs.groups(x, groups, "groups"))
        for name, value, own in zip(("label_sets", "row_weight", "groups"), batch[3:],
                                    self._buffers_of_rows()[3:]):
            if (value is None) != (own is None):
                raise ValueError(f"rows come {'without' if value is None else 'with'} {name} and the "
                                 f"bank is made for rows {'without' if own is None else 'with'} them")
        if label_sets is not None:
            batch = (*batch[:3], self._sets(batch[3]), *batch[4:])
        return batch

    def _sets(self, sets):
        if sets.shape[1] != self.row_sets.shape[1]:
            raise ValueError(f"label_sets has {sets.shape[1]} columns: the bank is made for "
                             f"{self.row_sets.shape[1]}")
        if not bool(((sets == 0) | (sets == 1)).all()):
            raise ValueError("label_sets (n, labels) must hold 0 and 1 only")
        return sets.bool()

    def _buffers_of_rows(self):
        return (self.x, self.row_labels, self.row_ids, self.row_sets, self.row_weights,
                self.row_groups)

    def _after(self, batch):
        """Buffers with these rows: new ones, since a graph may still hold the old."""
        start, pushed = self.position.tolist()
        n = batch[0].shape[0]
        last = slice(max(0, n - self.capacity), None)
        count = min(n, self.capacity)
        place = torch.arange(start, start + count, device=self.x.device) % self.capacity
        buffers = [None if old is None else old.index_copy(0, place, new.detach()[last])
                   for old, new in zip(self._buffers_of_rows(), batch)]
        moved = torch.tensor([(start + count) % self.capacity, pushed + n])
        return *buffers, moved.to(self.position.device)

    def _keep(self, buffers):
        (self.x, self.row_labels, self.row_ids, self.row_sets, self.row_weights, self.row_groups,
         self.position) = buffers


def _under_targets(loss, batch, held):
    """Of a loss that compares the pairs of a row no term starts from a row held."""
    if not isinstance(loss, EngineLoss):
        raise TypeError(f"{type(loss).__name__} takes no targets: use a bank without label_sets, "
                        "row_weight and groups")
    x, labels, ids, sets, weight, groups = batch
    y, others, other_ids, other_sets, other_weight, other_groups = held
    if sets is not None:
        labels = others = None
    return loss.reference_targets(
        x, labels, y, others, ids, other_ids, query_label_sets=sets,
        reference_label_sets=other_sets, query_row_weight=weight,
        reference_row_weight=other_weight if loss._of_pairs else None, query_groups=groups,
        reference_groups=other_groups)


def _mined(loss, x, labels, ids, held, miner):
    batch = (x.detach().numpy(), labels.numpy())
    found = pairs_of(miner(*batch, *(held[k].numpy() for k in (0, 1)), ids=ids.numpy(),
                           reference_ids=held[2].numpy()))
    i, j, same = (torch.as_tensor(column) for column in (found.i, found.j, found.same))
    return loss.rows(x[i], held[0][j], same)
