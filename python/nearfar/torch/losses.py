"""The contrastive family, and what losses share."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .. import LossCounts
from .. import losses as _losses
from . import _inputs, _loss, _targets


class Forms(torch.nn.Module):
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
            x, shift = _inputs.rows(embeddings, "embeddings"), 0
        else:
            x, shift = torch.cat(_inputs.both(embeddings, "embeddings", ref_emb, "ref_emb")), \
                len(embeddings)
        return self.pairs(x, _inputs.indices_columns(x, indices_tuple, shift))


class EngineLoss(Forms):
    """A loss of the engine, ``options``, over all pairs of a batch or of two sets."""

    def __init__(self, options: Any) -> None:
        super().__init__()
        self.options = options
        self.reduction = options.reduction
        self._of_pairs = options._takes("pairs")
        # Operators of a graph take text: it says everything in any process that loads the graph.
        self._alone = None if self.reduction == "none" else options
        self._spec = json.dumps({"preset": options.preset, **options._options()})

    def extra_repr(self) -> str:
        text, formula = repr(self.options).split("(", 1)[1].split(")  # ")
        return f"{text}  # {formula}"

    def _value(self, form, x, y=None, a=None, b=None, c=None, w=None, encoding="01"):
        call = _loss.terms if self.reduction == "none" else _loss.loss
        return call(x, y, a, b, c, w, self._spec, form, encoding)

    def batch(self, x: Tensor, labels: Any) -> Tensor:
        """The loss over all pairs of rows of x (n, d) with labels (n)."""
        if self._alone is not None:
            value = _loss.value_alone(self._alone, x, labels)
            if value is not None:
                return value
        x = _inputs.rows(x, "embeddings")
        return self._value("batch", x, a=_inputs.whole(x, labels, "labels", x.shape[0]))

    def reference(self, query: Tensor, query_labels: Any, reference: Tensor, reference_labels: Any,
                  query_ids: Any = None, reference_ids: Any = None) -> Tensor:
        """The loss over all pairs of a row of query (n, d) and a row of reference (m, d), except
        those with equal ids."""
        if query_labels is None or reference_labels is None:
            raise TypeError("query_labels and reference_labels: give both (reference_targets takes "
                            "other targets)")
        x, y, a, b, c, w = _inputs.sets(query, query_labels, reference, reference_labels, query_ids,
                                        reference_ids)
        return self._value("reference", x, y, a, b, c, w)

    def targets(self, x: Tensor, labels: Any = None, *, label_sets: Any = None, soft: Any = None,
                row_weight: Any = None, class_weight: Mapping[int, float] | None = None,
                pair_weight: Any = None, groups: Any = None) -> Tensor:
        """The loss over all pairs of rows of x (n, d) under targets that one class per row cannot say:
        the ``targets`` of nearfar's loss of the same name, with its bits.

        Exactly one of labels (n), label_sets (n, labels) of 0 and 1, and soft (n, n) says what is
        positive; row_weight (n), class_weight {label: weight}, pair_weight (n, n), groups (n). With
        reduction ``none`` the terms (n) of rows as anchors. On the CPU only, and differentiable once,
        with respect to x.
        """
        x = _inputs.rows(x, "embeddings")
        n = x.shape[0]
        a = None if labels is None else _inputs.whole(x, labels, "labels", n)
        return self._under_targets(
            x, None, a, None, None, None, _inputs.label_sets(x, label_sets, "label_sets"), None,
            _inputs.row_weight(x, a, row_weight, class_weight, "row_weight"), None,
            _inputs.groups(x, groups, "groups"), None, _inputs.square(x, soft, "soft", n),
            _inputs.square(x, pair_weight, "pair_weight", n))

    def reference_targets(
        self, query: Tensor, query_labels: Any, reference: Tensor, reference_labels: Any,
        query_ids: Any = None, reference_ids: Any = None, *, query_label_sets: Any = None,
        reference_label_sets: Any = None, soft: Any = None, query_row_weight: Any = None,
        reference_row_weight: Any = None, class_weight: Mapping[int, float] | None = None,
        pair_weight: Any = None, query_groups: Any = None, reference_groups: Any = None,
    ) -> Tensor:
        """The loss over all pairs of a row of query (n, d) and a row of reference (m, d) under targets:
        ``reference_targets`` of nearfar's loss of the same name, with its bits. soft and pair_weight
        are (n, m), labels None with label sets or soft targets; else as in ``targets``.
        """
        x, y, a, b, c, w = _inputs.sets(query, query_labels, reference, reference_labels, query_ids,
                                        reference_ids)
        m = y.shape[0]
        both = class_weight if self._of_pairs else None
        return self._under_targets(
            x, y, a, b, c, w, _inputs.label_sets(x, query_label_sets, "query_label_sets"),
            _inputs.label_sets(y, reference_label_sets, "reference_label_sets"),
            _inputs.row_weight(x, a, query_row_weight, class_weight, "query_row_weight"),
            _inputs.row_weight(y, b, reference_row_weight, both, "reference_row_weight"),
            _inputs.groups(x, query_groups, "query_groups"),
            _inputs.groups(y, reference_groups, "reference_groups"),
            _inputs.square(x, soft, "soft", m), _inputs.square(x, pair_weight, "pair_weight", m))

    def _under_targets(self, *tensors):
        _targets.refuse_device(self.options, *tensors[:2])
        return _targets.value(tensors, self._spec, self.reduction == "none")

    def counts(self, embeddings: Tensor, labels: Any, ref_emb: Tensor | None = None,
               ref_labels: Any = None) -> LossCounts:
        """How many pairs and terms there are and how many are active: nearfar's LossCounts of the
        same call. One more pass without gradient, on the CPU, outside of compiled graphs."""
        x = _inputs.rows(embeddings, "embeddings").detach()
        a = _inputs.whole(x, labels, "labels", x.shape[0])
        if ref_emb is None:
            form, sets = "batch", (x, None, a, None, None, None)
        else:
            ids = torch.arange(len(x), device=x.device) if ref_labels is labels else None
            form, sets = "reference", _inputs.sets(x, a, ref_emb.detach(), ref_labels, ids, ids)
        _loss.refuse_device(self.options, *sets[:2], "counts")
        return self._result(form, sets).counts

    def _result(self, form, sets):
        return _loss.engine(*sets, self.options, form, "01", gradient=False)[0]


class ListedLoss(EngineLoss):
    """A loss that has terms for listed pairs too."""

    def pairs(self, x: Tensor, pairs: Any, *, same_encoding: str = "01") -> Tensor:
        """The loss over a list of pairs of rows of x (n, d).

        pairs: (i, j, same[, weight]) of tensors or arrays (p), a mapping with these names, or a
            whole-number tensor (p, 3). same is 1 for a positive and 0 for a negative ({-1, +1} with
            same_encoding="pm1"); (i, i) is refused; a pair listed twice counts twice.
        """
        x = _inputs.rows(x, "x")
        i, j, same, weight = _inputs.pair_list(x, pairs)
        return self._value("pairs", x, None, i, j, same, weight, same_encoding)

    def rows(self, x1: Tensor, x2: Tensor, same: Any, weight: Any = None, *,
             same_encoding: str = "01") -> Tensor:
        """The loss over row k of x1 (n, d) with row k of x2 (n, d); same (n) as in pairs."""
        x1, x2 = _inputs.both(x1, "x1", x2, "x2")
        n = x1.shape[0]
        if x2.shape[0] != n:
            raise ValueError(f"x2 has {x2.shape[0]} rows: it must have {n}, as x1")
        return self._value("rows", x1, x2, None, None, _inputs.vector(x1, same, "same", n),
                          _inputs.weight(x1, weight, n), same_encoding)


class ContrastiveLoss(ListedLoss):
    __doc__ = (_losses.ContrastiveLoss.__doc__ or "").split("    Call the object")[0] + """\
    Call the module ``loss(embeddings, labels, indices_tuple=None, ref_emb=None, ref_labels=None)``
    for all pairs; ``loss.pairs``, ``loss.rows`` and ``loss.reference`` are the other forms. Each
    returns a scalar tensor (with reduction ``none`` the terms (p)). ``stats`` is for ``counts``.
    Exact over all pairs in O(n d) memory.
    """

    def __init__(self, preset: str | None = None, **options: Any) -> None:
        super().__init__(_losses.ContrastiveLoss(preset, **options))
