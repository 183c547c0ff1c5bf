"""Pair functions of one's own, in PyTorch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from . import _inputs
from ._labels import refuse_signs
from ._loss import flags as pair_flags
from .functions import pair_distances, pairwise_distances
from .losses import Forms


class PairLoss(Forms):
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
                refuse_signs(vector, self.unlabelled)
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
        x = _inputs.rows(x, "embeddings")
        labels = _inputs.whole(x, labels, "labels", x.shape[0])
        columns = torch.arange(x.shape[0], device=x.device)
        return self._over(x, x, labels, labels, lambda part: part[:, None] < columns)

    def reference(self, query: Tensor, query_labels: Any, reference: Tensor, reference_labels: Any,
                  query_ids: Any = None, reference_ids: Any = None) -> Tensor:
        """The loss over all pairs of a row of query and a row of reference with other ids."""
        query, reference, a, b, query_ids, reference_ids = _inputs.sets(
            query, query_labels, reference, reference_labels, query_ids, reference_ids)
        if query_ids is None:  # numbers of their own: no two are equal
            n, m = query.shape[0], reference.shape[0]
            query_ids = torch.arange(n, device=query.device)
            reference_ids = torch.arange(n, n + m, device=query.device)
        return self._over(query, reference, a, b,
                          lambda part: query_ids[part, None] != reference_ids)

    def pairs(self, x: Tensor, pairs: Any, *, same_encoding: str = "01") -> Tensor:
        """The loss over a list of pairs, as in ContrastiveLoss; the mean divides by their number."""
        x = _inputs.rows(x, "x")
        i, j, same, weight = _inputs.pair_list(x, pairs)
        flags, totals, counts = pair_flags(same, same_encoding), [x.sum() * 0, x.sum() * 0], []
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
        x1, x2 = _inputs.both(x1, "x1", x2, "x2")
        i = torch.arange(x1.shape[0], device=x1.device)
        return self.pairs(torch.cat([x1, x2]), (i, i + x1.shape[0], same, weight),
                          same_encoding=same_encoding)
