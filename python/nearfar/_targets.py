"""The form of a loss in which targets say what is a pair."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _convert, _core
from ._core import LossResult


class TargetLoss(_core.Loss):
    """A loss that takes targets."""

    __slots__ = ()

    def targets(
        self, x: ArrayLike, labels: ArrayLike | None = None, *,
        label_sets: Any = None, soft: ArrayLike | None = None,
        row_weight: ArrayLike | None = None, class_weight: Mapping[Any, float] | None = None,
        pair_weight: ArrayLike | None = None, groups: ArrayLike | None = None,
        gradient: bool = True, upstream: ArrayLike | None = None, terms: bool = False,
    ) -> LossResult:
        """The loss over all pairs of rows x (n, d) under targets that one class per row cannot say.

        A pair (i, j) has a target y in [0, 1], 1 = positive, and a weight u >= 0, a row a weight
        v >= 0. Exactly one of the first three says what y is:

        labels : (n)
            One class per row.
        label_sets : list of n collections, or a bool / 0-1 array (n, c)
            Several labels a row: a pair is positive if the rows share one. A row without labels
            makes no pair.
        soft : (n, n)
            y itself; only entries with i < j are read. Triplets, the margin loss and n-pairs take 0
            and 1 only.
        row_weight : (n)
            v.
        class_weight : dict of label to weight
            With labels: a further weight of rows; classes not listed have 1.
        pair_weight : (n, n)
            u; only entries with i < j are read.
        groups : (n) of whole numbers
            Rows with equal groups (crops of one image, say) make no pair.

        The contrastive family has ``w (y phi+ + (1 - y) phi-)`` with w = v_i v_j u (v is Keras'
        sample_weight). Its reductions: ``sum``; ``mean`` over the number of pairs; ``weighted-mean``
        over the sum of w; ``mean-sides``: sum w y phi+ / sum y + sum w (1 - y) phi- / sum (1 - y);
        ``mean-nonzero``: the same over the terms above 0.

        Losses that compare the pairs of a row: in every sum over positives a pair counts u y, in
        every sum over negatives u (1 - y), as if a weight were a number of copies; v multiplies the
        terms that start from the row (of a triplet its anchor; a triplet has the weights of its two
        pairs too). SupCon is then the cross entropy of soft labels. ``mean`` divides by the number
        of terms (where terms are positive pairs by the sum of y), ``weighted-mean`` by the sum of
        their weights. With ``none`` and with ``terms=True`` the result has the terms (n) of each row
        as anchor, weights included; upstream (n) is what comes down to them.

        Returns LossResult with grad (n, d).
        """
        row_weight = row_weights(labels, row_weight, class_weight)
        offsets, set_labels = _convert.offsets_and_labels(label_sets)
        return self._targets(x, labels, offsets, set_labels, soft, row_weight, pair_weight, groups,
                             gradient, upstream, terms)

    def reference_targets(
        self, query: ArrayLike, query_labels: ArrayLike | None, reference: ArrayLike,
        reference_labels: ArrayLike | None, query_ids: ArrayLike | None = None,
        reference_ids: ArrayLike | None = None, *,
        query_label_sets: Any = None, reference_label_sets: Any = None,
        soft: ArrayLike | None = None, query_row_weight: ArrayLike | None = None,
        reference_row_weight: ArrayLike | None = None,
        class_weight: Mapping[Any, float] | None = None, pair_weight: ArrayLike | None = None,
        query_groups: ArrayLike | None = None, reference_groups: ArrayLike | None = None,
        gradient: bool = True, upstream: ArrayLike | None = None, terms: bool = False,
    ) -> LossResult:
        """The loss over all pairs of a row of query (n, d) and a row of reference (m, d) under
        targets; rows with equal ids, or equal groups, make no pair.

        Exactly one of both labels, both label sets, and soft (n, m) says what y is; pair_weight is
        (n, m) too. Arguments are otherwise those of ``targets`` and ``reference``, formulas those of
        ``targets`` with i a query and j a reference row: the contrastive family has the weights v_i
        v_j u, the others have terms that start from queries only, and so no reference_row_weight, and
        class_weight is that of the queries. n-pairs takes its pairs from one set and is refused.
        upstream, terms: as in ``targets``, of the queries (n).

        Returns LossResult with grad = (gradient of query, gradient of reference).
        """
        of_pairs = not self._takes_rows
        query_row_weight = row_weights(query_labels, query_row_weight, class_weight)
        reference_row_weight = row_weights(reference_labels, reference_row_weight,
                                           class_weight if of_pairs else None)
        offsets, set_labels, reference_offsets, reference_set_labels = _convert.label_sets_together(
            query_label_sets, reference_label_sets)
        return self._reference_targets(
            query, query_labels, reference, reference_labels, query_ids, reference_ids, offsets,
            set_labels, query_row_weight, query_groups, reference_offsets, reference_set_labels,
            reference_row_weight, reference_groups, soft, pair_weight, gradient, upstream, terms)

    @property
    def _takes_rows(self):
        """Whether terms are those of rows as anchors, not of single pairs."""
        return not self._takes("pairs")


def row_weights(labels, row_weight, class_weight):
    """Weights of rows times those of their classes."""
    if class_weight is None:
        return row_weight
    if labels is None:
        raise TypeError("class_weight goes with labels, one per row")
    weights = [class_weight.get(label, 1.0) for label in np.asarray(labels).tolist()]
    return (np.asarray(weights, np.float64) if row_weight is None
            else np.asarray(row_weight, np.float64) * weights)
