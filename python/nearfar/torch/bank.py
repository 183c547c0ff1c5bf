"""The memory bank: rows of earlier batches as reference rows of a loss."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..bank import pairs_of
from ..mine import MinedPairs, Triplets
from . import _inputs
from .losses import Forms


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
    """

    x: Tensor
    row_labels: Tensor
    row_ids: Tensor
    position: Tensor

    def __init__(self, capacity: int, dim: int, dtype: torch.dtype = torch.float32,
                 device: Any = None) -> None:
        super().__init__()
        if capacity < 1 or dim < 1:
            raise ValueError(f"capacity is {capacity} and dim {dim}: both must be at least 1")
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype is {dtype}: it must be torch.float32 or torch.float64")
        self.register_buffer("x", torch.zeros(capacity, dim, dtype=dtype, device=device))
        self.register_buffer("row_labels", torch.zeros(capacity, dtype=torch.int64, device=device))
        self.register_buffer("row_ids", torch.zeros(capacity, dtype=torch.int64, device=device))
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

    def push(self, x: Tensor, labels: Any, ids: Any = None) -> None:
        """Append rows x (n, dim) with labels (n), replacing the oldest.

        ids (n): equal ids are the same item, which makes no pair with itself. Without them the
        bank numbers rows as they come, from 0.
        """
        x, labels, ids = self._checked(x, labels, ids)
        if not bool(torch.isfinite(x).all()):
            raise ValueError("x holds NaN or Inf")
        self._keep(self._after(x, labels, ids))

    def loss(self, loss: Forms, x: Tensor, labels: Any, ids: Any = None, *,
             miner: Callable[..., MinedPairs | Triplets] | None = None) -> Tensor:
        """``push``, then ``loss`` of every row of the batch against every row of the bank, the batch
        itself included, except those with equal ids. A pair within the batch is met from both
        ends. If the loss fails, the bank is as before.

        miner: a function of nearfar.mine, with options by functools.partial: of all pairs only
            those that it finds between the batch and the bank, of a triplet (anchor, positive) and
            (anchor, negative). For a ContrastiveLoss or a PairLoss, whose pairs may be chosen, and
            rows on the CPU.
        """
        x, labels, ids = self._checked(x, labels, ids)
        after = self._after(x, labels, ids)
        held = [buffer[:min(self.capacity, int(after[3][1]))] for buffer in after[:3]]
        if miner is None:
            value = loss.reference(x, labels, *held[:2], ids, held[2])
        else:
            value = _mined(loss, x, labels, ids, held, miner)
        self._keep(after)
        return value

    def _checked(self, x, labels, ids):
        x = _inputs.rows(x, "x")
        _inputs.beside(x, self.x, "the bank", "x")
        if x.shape[1] != self.x.shape[1]:
            raise ValueError(f"x has {x.shape[1]} columns: the bank's rows have {self.x.shape[1]}")
        n, pushed = x.shape[0], int(self.position[1])
        if ids is None:
            ids = torch.arange(pushed, pushed + n, device=x.device)
        return (x.to(self.x.dtype), _inputs.whole(x, labels, "labels", n),
                _inputs.whole(x, ids, "ids", n))

    def _after(self, x, labels, ids):
        """Buffers with these rows: new ones, since a graph may still hold the old."""
        start, pushed = self.position.tolist()
        last = slice(max(0, x.shape[0] - self.capacity), None)
        count = min(x.shape[0], self.capacity)
        place = torch.arange(start, start + count, device=x.device) % self.capacity
        buffers = [old.index_copy(0, place, new.detach()[last])
                   for old, new in ((self.x, x), (self.row_labels, labels), (self.row_ids, ids))]
        moved = torch.tensor([(start + count) % self.capacity, pushed + x.shape[0]])
        return *buffers, moved.to(self.position.device)

    def _keep(self, buffers):
        self.x, self.row_labels, self.row_ids, self.position = buffers


def _mined(loss, x, labels, ids, held, miner):
    batch = (x.detach().numpy(), labels.numpy())
    found = pairs_of(miner(*batch, *(held[k].numpy() for k in (0, 1)), ids=ids.numpy(),
                           reference_ids=held[2].numpy()))
    i, j, same = (torch.as_tensor(column) for column in (found.i, found.j, found.same))
    return loss.rows(x[i], held[0][j], same)
