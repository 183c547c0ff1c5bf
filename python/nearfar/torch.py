"""Pair losses and distances for PyTorch.

    >>> import torch, nearfar.torch
    >>> loss = nearfar.torch.ContrastiveLoss()
    >>> x = torch.tensor([[0.0, 0.0], [0.3, 0.4], [0.0, 0.8]], requires_grad=True)
    >>> value = loss(x, torch.tensor([0, 0, 1]))
    >>> value.backward()

Tensors in the CPU's memory go to the engine: value and gradient are the bits of ``nearfar.loss``.
Tensors elsewhere stay there and are worked on by tiles in plain PyTorch, with memory O(n d + tile^2)
too; nothing is copied between devices, and tensors of one call on different devices are refused.

Works under autograd, torch.compile(fullgraph=True), torch.func.grad and vmap. Second derivatives are
exact, from plain PyTorch; a third raises. float16 and bfloat16 rows are computed in float32: the
value is float32 and the gradient comes back in the type of the rows. Threads: see
``nearfar.set_num_threads``. Letters in shapes as in ``nearfar``.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from . import _torch_ops as _ops
from .losses import _FIELDS
from .losses import ContrastiveLoss as _Loss

__all__ = ["ContrastiveLoss", "PairLoss", "class_indices", "pair_distances", "pair_indices",
           "pairwise_distances"]

_WHOLE = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


# ---- arguments ----------------------------------------------------------------------------------


def _rows(x, name):
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} is a {type(x).__name__}: it must be a torch.Tensor")
    if x.ndim != 2:
        raise ValueError(f"{name} has shape {tuple(x.shape)}: it must be 2-D, one row per item")
    if x.dtype in (torch.float16, torch.bfloat16):
        return x.float()
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} has type {x.dtype}: it must be float64, float32, bfloat16 or "
                        "float16")
    return x


def _both(x, x_name, y, y_name):
    """Two sets of rows in one type and on one device."""
    x, y = _rows(x, x_name), _rows(y, y_name)
    _beside(x, y, y_name, x_name)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"{y_name} has {y.shape[1]} columns and {x_name} has {x.shape[1]}")
    if x.dtype != y.dtype:
        x, y = x.double(), y.double()
    return x, y


def _beside(x, other, name, x_name="the rows"):
    if other.device != x.device:
        raise ValueError(f"{name} is on {other.device} and {x_name} on {x.device}: nothing is "
                         f"copied between devices here; use {name}.to({str(x.device)!r})")


def _vector(x, value, name, count=None):
    """A vector beside the rows x; anything but a tensor is made one there."""
    if not isinstance(value, Tensor):
        value = torch.as_tensor(value, device=x.device)
    _beside(x, value, name)
    if value.ndim == 2 and value.shape[1] == 1:
        value = value[:, 0]
    if value.ndim != 1:
        raise ValueError(f"{name} has shape {tuple(value.shape)}: it must be (n) or (n, 1)")
    if count is not None and value.shape[0] != count:
        raise ValueError(f"{name} has {value.shape[0]} elements: it must have {count}")
    if value.requires_grad:
        raise TypeError(f"{name} requires a gradient, and has none here: pass {name}.detach(), or "
                        "multiply the terms of reduction='none'")
    return value


def _whole(x, value, name, count=None):
    """Labels, row numbers or ids as int64."""
    value = _vector(x, value, name, count)
    if value.dtype not in _WHOLE:
        if value.shape[0] == 0:
            return value.long()
        raise TypeError(f"{name} has type {value.dtype}: it must hold whole numbers; use "
                        f"{name}.long()")
    return value.long()


# ---- functions ----------------------------------------------------------------------------------


def pairwise_distances(x: Tensor, y: Tensor | None = None, metric: str = "euclidean", *,
                       normalize: bool = False) -> Tensor:
    """Distances of every row of x (n, d) to every row of y (m, d), as an (n, m) tensor.

    ::

        euclidean    sqrt(sum_k (a_k - b_k)^2)
        sqeuclidean  sum_k (a_k - b_k)^2
        cosine       |a/|a| - b/|b||^2 / 2 = 1 - cos(a, b)
        dot          -sum_k a_k b_k
        cityblock    sum_k |a_k - b_k|

    y None: the distances of x with itself. normalize: divide the rows by their length first.
    Differentiable twice; the gradient of a distance at 0 is 0, never NaN.
    """
    if y is None or y is x:
        return _ops.distances(_rows(x, "x"), None, metric, normalize)
    x, y = _both(x, "x", y, "y")
    return _ops.distances(x, y, metric, normalize)


def pair_distances(x: Tensor, i: Any, j: Any, y: Tensor | None = None, metric: str = "euclidean",
                   *, normalize: bool = False) -> Tensor:
    """Distances of chosen pairs only: result[p] = d(x[i[p]], y[j[p]]), shape (p).

    x (n, d); i, j (p) whole row numbers; y (m, d), or None for x. Metrics as pairwise_distances.
    Differentiable any number of times; the gradient of a distance at 0 is 0.
    """
    if y is None:
        x = _rows(x, "x")
    else:
        x, y = _both(x, "x", y, "y")
    i = _whole(x, i, "i")
    return _ops.pair_distances(x, y, i, _whole(x, j, "j", i.shape[0]), metric, normalize)


def class_indices(labels: Any, *, unlabelled: int | None = -1) -> dict[int, Tensor]:
    """The rows of each class: a dict from label to ascending int64 rows, in order of first
    appearance. Rows labelled -1 are in none (``unlabelled=None``: -1 is an ordinary class). The
    keys are Python numbers, so this cannot be part of a compiled graph.
    """
    labels = _plain_labels(labels)
    _ops.refuse_signs(labels, unlabelled)
    rows = torch.arange(labels.shape[0], device=labels.device)
    if unlabelled is not None:
        rows = rows[labels != -1]
    order = torch.argsort(labels[rows], stable=True)
    values, counts = torch.unique_consecutive(labels[rows][order], return_counts=True)
    groups = rows[order].split(counts.tolist())
    return dict(sorted(zip(values.tolist(), groups), key=lambda group: int(group[1][0])))


def pair_indices(labels: Any, *, unlabelled: int | None = -1
                 ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Every pair i < j of labelled rows: (pos_i, pos_j, neg_i, neg_j), int64; the first two are the
    pairs with the same label, the others those with different labels, ascending by (i, j).

    n rows have n (n - 1) / 2 pairs. In a compiled graph the lengths depend on data: set
    ``torch._dynamo.config.capture_dynamic_output_shape_ops``.
    """
    return _ops.pair_indices(_plain_labels(labels), unlabelled is not None)


def _plain_labels(labels):
    labels = torch.as_tensor(labels)
    return _whole(labels, labels, "labels")


# ---- the contrastive family ---------------------------------------------------------------------


def _pair_list(x, pairs):
    """Columns (i, j, same, weight or None) of a pair list."""
    if isinstance(pairs, Mapping):
        columns = [pairs["i"], pairs["j"], pairs["same"], pairs.get("weight")]
    elif isinstance(pairs, Tensor):
        if pairs.ndim != 2 or pairs.shape[1] != 3 or pairs.dtype not in _WHOLE:
            raise TypeError(f"pairs has shape {tuple(pairs.shape)} and type {pairs.dtype}: it must "
                            "be (i, j, same[, weight]) or a whole-number tensor (p, 3)")
        columns = [*pairs.T, None]
    else:
        columns = [*pairs, None] if len(pairs) == 3 else list(pairs)
        if len(columns) != 4:
            raise ValueError(f"pairs has {len(pairs)} columns: it must be (i, j, same) or (i, j, "
                             "same, weight)")
    i = _whole(x, columns[0], "pairs: i")
    count = i.shape[0]
    return (i, _whole(x, columns[1], "pairs: j", count),
            _vector(x, columns[2], "pairs: same", count), _weight(x, columns[3], count))


def _weight(x, weight, count):
    return None if weight is None else _vector(x, weight, "weight", count).double()


def _indices_columns(x, indices_tuple, shift):
    """pytorch-metric-learning's (a, p, a, n) or (a, p, n) as columns i, j, same."""
    if len(indices_tuple) == 3:
        anchor, positive, negative = indices_tuple
        indices_tuple = (anchor, positive, anchor, negative)
    if len(indices_tuple) != 4:
        raise ValueError(f"indices_tuple has {len(indices_tuple)} members: it must be (anchors, "
                         "positives, anchors, negatives) or (anchors, positives, negatives)")
    a, p, b, n = (_whole(x, index, "indices_tuple") for index in indices_tuple)
    same = torch.cat([torch.ones_like(a), torch.zeros_like(b)])
    return torch.cat([a, b]), torch.cat([p, n]) + shift, same, None


class _Forms(torch.nn.Module):
    """The four forms, in terms of the pairs that each of them sees."""

    def forward(self, embeddings: Tensor, labels: Any, indices_tuple: Sequence[Any] | None = None,
                ref_emb: Tensor | None = None, ref_labels: Any = None) -> Tensor:
        """The loss over all pairs of labelled rows, in pytorch-metric-learning's argument order.

        embeddings (n, d), labels (n) whole numbers, -1 for a row in no pair.
        indices_tuple: (anchors, positives, anchors, negatives) or triplets (anchors, positives,
            negatives) of a miner: only these pairs; labels may then be None.
        ref_emb (m, d), ref_labels (m): pairs of a row of embeddings and a row of ref_emb. If
            ref_labels is labels, the same object, row k of both is one item and (k, k) no pair.
        """
        if indices_tuple is not None:
            return self._mined(embeddings, indices_tuple, ref_emb)
        if ref_emb is None:
            return self.batch(embeddings, labels)
        if ref_labels is None:
            raise ValueError("ref_emb needs ref_labels")
        ids = torch.arange(len(embeddings), device=embeddings.device)
        ids = ids if ref_labels is labels else None
        return self.reference(embeddings, labels, ref_emb, ref_labels, ids, ids)

    def _mined(self, embeddings, indices_tuple, ref_emb):
        if ref_emb is None:
            x, shift = _rows(embeddings, "embeddings"), 0
        else:
            x, shift = torch.cat(_both(embeddings, "embeddings", ref_emb, "ref_emb")), \
                len(embeddings)
        return self.pairs(x, _indices_columns(x, indices_tuple, shift))


class ContrastiveLoss(_Forms):
    __doc__ = (_Loss.__doc__ or "").split("    Call the object")[0] + """\
    Call the module ``loss(embeddings, labels, indices_tuple=None, ref_emb=None, ref_labels=None)``
    for all pairs; ``loss.pairs``, ``loss.rows`` and ``loss.reference`` are the other forms. Each
    returns a scalar tensor (with reduction ``none`` the terms (p)). ``stats`` has no effect here.
    Exact over all pairs in O(n d) memory.
    """

    def __init__(self, preset: str | None = None, **options: Any) -> None:
        super().__init__()
        self.options = _Loss(preset, **options)
        self.reduction = self.options.reduction
        # Operators of a graph take text: it says everything in any process that loads the graph.
        self._spec = json.dumps({name: getattr(self.options, name) for name in _FIELDS})

    def extra_repr(self) -> str:
        text, formula = repr(self.options).removeprefix("ContrastiveLoss(").split(")  # ")
        return f"{text}  # {formula}"

    def _call(self, form, x, y=None, a=None, b=None, c=None, w=None, encoding="01"):
        call = _ops.terms if self.reduction == "none" else _ops.loss
        return call(x, y, a, b, c, w, self._spec, form, encoding)

    def batch(self, x: Tensor, labels: Any) -> Tensor:
        """The loss over all pairs i < j of rows of x (n, d) with labels (n)."""
        x = _rows(x, "embeddings")
        return self._call("batch", x, a=_whole(x, labels, "labels", x.shape[0]))

    def pairs(self, x: Tensor, pairs: Any, *, same_encoding: str = "01") -> Tensor:
        """The loss over a list of pairs of rows of x (n, d).

        pairs: (i, j, same[, weight]) of tensors or arrays (p), a mapping with these names, or a
            whole-number tensor (p, 3). same is 1 for a positive and 0 for a negative ({-1, +1} with
            same_encoding="pm1"); (i, i) is refused; a pair listed twice counts twice.
        """
        x = _rows(x, "x")
        i, j, same, weight = _pair_list(x, pairs)
        return self._call("pairs", x, None, i, j, same, weight, same_encoding)

    def rows(self, x1: Tensor, x2: Tensor, same: Any, weight: Any = None, *,
             same_encoding: str = "01") -> Tensor:
        """The loss over row k of x1 (n, d) with row k of x2 (n, d); same (n) as in pairs."""
        x1, x2 = _both(x1, "x1", x2, "x2")
        n = x1.shape[0]
        if x2.shape[0] != n:
            raise ValueError(f"x2 has {x2.shape[0]} rows: it must have {n}, as x1")
        return self._call("rows", x1, x2, None, None, _vector(x1, same, "same", n),
                          _weight(x1, weight, n), same_encoding)

    def reference(self, query: Tensor, query_labels: Any, reference: Tensor, reference_labels: Any,
                  query_ids: Any = None, reference_ids: Any = None) -> Tensor:
        """The loss over all pairs of a row of query (n, d) and a row of reference (m, d), except
        those with equal ids."""
        query, reference = _both(query, "query", reference, "reference")
        n, m = query.shape[0], reference.shape[0]
        if (query_ids is None) != (reference_ids is None):
            raise TypeError("query_ids and reference_ids go together: give both")
        if query_ids is not None:
            query_ids = _whole(query, query_ids, "query_ids", n)
            reference_ids = _whole(query, reference_ids, "reference_ids", m)
        return self._call("reference", query, reference,
                          _whole(query, query_labels, "query_labels", n),
                          _whole(query, reference_labels, "reference_labels", m),
                          query_ids, reference_ids)


# ---- pair functions of one's own ----------------------------------------------------------------


class PairLoss(_Forms):
    """Any functions of a distance, over the same pairs as ContrastiveLoss.

        >>> smooth = nearfar.torch.PairLoss(lambda t: t ** 2, lambda t: torch.exp(-t))

    positive, negative: from a vector of distances t to the vector of their terms, in differentiable
        PyTorch; either may be a module, whose parameters are then trained, or None for no terms.
    metric, or pos_metric and neg_metric: which distance they see; normalize as pairwise_distances.
    reduction: mean (over all pairs), sum, or mean-sides (mean of each side, added).

    Distances are made by strips of `strip` rows, once forward and once more backward, so that the
    memory is O(n d + strip n). The functions run in eager mode: not in a compiled graph.
    """

    def __init__(self, positive: Callable[[Tensor], Tensor] | None,
                 negative: Callable[[Tensor], Tensor] | None, metric: str = "euclidean", *,
                 pos_metric: str | None = None, neg_metric: str | None = None,
                 normalize: bool = False, reduction: str = "mean", unlabelled: int | None = -1,
                 strip: int = 256) -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "mean-sides"):
            raise ValueError(f"reduction is {reduction!r}: it must be mean, sum or mean-sides")
        self.positive, self.negative = positive, negative
        self.metrics = (pos_metric or metric, neg_metric or metric)
        self.normalize, self.reduction, self.unlabelled = normalize, reduction, unlabelled
        self.strip = strip

    def _terms(self, k, t):
        terms = (self.positive, self.negative)[k](t)
        if terms.shape != t.shape:
            raise ValueError(f"a pair function made {tuple(terms.shape)} of {tuple(t.shape)}: it "
                             "must return one term per distance")
        return terms

    def _strip_sum(self, k, x, y, mask):
        t = pairwise_distances(x, y, self.metrics[k], normalize=self.normalize)
        return self._terms(k, t[mask]).sum()

    def _reduce(self, totals, counts):
        if self.reduction == "sum":
            return totals[0] + totals[1]
        if self.reduction == "mean":
            return (totals[0] + totals[1]) / sum(counts).clamp(min=1)
        return totals[0] / counts[0].clamp(min=1) + totals[1] / counts[1].clamp(min=1)

    def _over(self, x, y, labels, y_labels, is_pair):
        if self.unlabelled is not None:
            for vector in (labels, y_labels):
                _ops.refuse_signs(vector, self.unlabelled)
        totals, counts = [x.sum() * 0, x.sum() * 0], [labels.new_zeros(())] * 2
        for start in range(0, x.shape[0], self.strip):
            part = torch.arange(start, min(start + self.strip, x.shape[0]), device=x.device)
            same, valid = labels[part, None] == y_labels, is_pair(part)
            if self.unlabelled is not None:
                valid = valid & (labels[part, None] != -1) & (y_labels != -1)
            for k, function in enumerate((self.positive, self.negative)):
                mask = valid & (~same if k else same)
                counts[k] = counts[k] + mask.sum()
                if function is not None:
                    totals[k] = totals[k] + checkpoint(self._strip_sum, k, x[part], y, mask,
                                                       use_reentrant=False)
        return self._reduce(totals, counts)

    def batch(self, x: Tensor, labels: Any) -> Tensor:
        """The loss over all pairs i < j of rows of x (n, d) with labels (n)."""
        x = _rows(x, "embeddings")
        labels = _whole(x, labels, "labels", x.shape[0])
        columns = torch.arange(x.shape[0], device=x.device)
        return self._over(x, x, labels, labels, lambda part: part[:, None] < columns)

    def reference(self, query: Tensor, query_labels: Any, reference: Tensor, reference_labels: Any,
                  query_ids: Any = None, reference_ids: Any = None) -> Tensor:
        """The loss over all pairs of a row of query and a row of reference with other ids."""
        query, reference = _both(query, "query", reference, "reference")
        n, m = query.shape[0], reference.shape[0]
        if (query_ids is None) != (reference_ids is None):
            raise TypeError("query_ids and reference_ids go together: give both")
        a, b = (_whole(query, query_labels, "query_labels", n),
                _whole(query, reference_labels, "reference_labels", m))
        if query_ids is None:  # numbers of their own: no two are equal
            query_ids = torch.arange(n, device=query.device)
            reference_ids = torch.arange(n, n + m, device=query.device)
        query_ids = _whole(query, query_ids, "query_ids", n)
        reference_ids = _whole(query, reference_ids, "reference_ids", m)
        return self._over(query, reference, a, b,
                          lambda part: query_ids[part, None] != reference_ids)

    def pairs(self, x: Tensor, pairs: Any, *, same_encoding: str = "01") -> Tensor:
        """The loss over a list of pairs, as in ContrastiveLoss; the mean divides by their number."""
        x = _rows(x, "x")
        i, j, same, weight = _pair_list(x, pairs)
        flags, totals, counts = _ops.flags(same, same_encoding), [x.sum() * 0, x.sum() * 0], []
        for k, function in enumerate((self.positive, self.negative)):
            at = torch.nonzero(~flags if k else flags)[:, 0]
            counts.append(torch.tensor(at.shape[0], device=x.device))
            if function is not None:
                terms = self._terms(k, pair_distances(x, i[at], j[at], None, self.metrics[k],
                                                      normalize=self.normalize))
                totals[k] = (terms if weight is None else terms * weight[at].to(x.dtype)).sum()
        return self._reduce(totals, counts)

    def rows(self, x1: Tensor, x2: Tensor, same: Any, weight: Any = None, *,
             same_encoding: str = "01") -> Tensor:
        """The loss over row k of x1 (n, d) with row k of x2 (n, d)."""
        x1, x2 = _both(x1, "x1", x2, "x2")
        i = torch.arange(x1.shape[0], device=x1.device)
        return self.pairs(torch.cat([x1, x2]), (i, i + x1.shape[0], same, weight),
                          same_encoding=same_encoding)
