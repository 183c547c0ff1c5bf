"""Miners: the pairs or triplets of labelled rows that are worth training on, from exact distances.

    >>> import numpy as np
    >>> from nearfar import mine
    >>> x = np.array([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6], [0.0, 1.0]])
    >>> mine.batch_hard(x, [0, 0, 1, 1])
    Triplets(anchor=array([0, 1, 2, 3]), positive=array([1, 0, 3, 2]), negative=array([2, 2, 1, 1]))
    >>> mine.hard_negatives(x, [0, 0, 1, 1], negatives=1, positives=0).j
    array([2, 2, 1, 1])

The miners and their defaults are those of pytorch-metric-learning; ``hard_negatives`` is
sentence-transformers' ``mine_hard_negatives`` on rows with labels. x (n, d), labels (n) whole numbers
or strings, -1 for a row without a label, which is in nothing mined (``unlabelled=None``: -1 is a class).
Nothing of size n x n is made, and what is mined is the same for any number of threads.

With ``reference`` (m, d) and ``reference_labels`` (m) anchors are rows of x and everything else rows of
the reference set, pytorch-metric-learning's ``ref_emb``; ``ids`` and ``reference_ids`` say which rows
are the same item and make no pair. Pairs of two sets go into ``loss.rows(x[i], reference[j], same)``.

A ``MinedPairs`` goes into a loss as it is: ``loss.pairs(x, mine.multi_similarity(x, labels))``.
"""

from typing import Literal, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core

_Metric = Literal["euclidean", "sqeuclidean", "cosine", "dot", "cityblock"]

__all__ = [
    "MinedPairs", "Triplets", "batch_hard", "distance_weighted", "easy_positive", "hard_negatives",
    "multi_similarity", "pair_margin", "semi_hard", "triplet_margin",
]


class MinedPairs(NamedTuple):
    """Pairs in ascending order of (i, j)."""

    i: NDArray[np.int64]
    """(p) the anchors"""
    j: NDArray[np.int64]
    """(p) the other rows"""
    same: NDArray[np.bool_]
    """(p) True for a positive"""


class Triplets(NamedTuple):
    """Triplets in ascending order of their anchors."""

    anchor: NDArray[np.int64]
    positive: NDArray[np.int64]
    """(t) of the anchor's class"""
    negative: NDArray[np.int64]
    """(t) of another class"""


def pair_margin(
    x: ArrayLike, labels: ArrayLike, reference: ArrayLike | None = None,
    reference_labels: ArrayLike | None = None, *, ids: ArrayLike | None = None,
    reference_ids: ArrayLike | None = None, pos_margin: float = 0.2, neg_margin: float = 0.8,
    metric: _Metric = "euclidean", normalize: bool = True, unlabelled: Literal[-1] | None = -1,
) -> MinedPairs:
    """Positives farther than pos_margin and negatives nearer than neg_margin, each pair of one set
    once."""
    return MinedPairs(*_core.mine(
        x, labels, reference, reference_labels, ids, reference_ids, miner="pair-margin", pos_margin=pos_margin, neg_margin=neg_margin, metric=metric,
        normalize=normalize, unlabelled=unlabelled))


def multi_similarity(
    x: ArrayLike, labels: ArrayLike, reference: ArrayLike | None = None,
    reference_labels: ArrayLike | None = None, *, ids: ArrayLike | None = None,
    reference_ids: ArrayLike | None = None, epsilon: float = 0.1, metric: _Metric = "cosine",
    normalize: bool = False, unlabelled: Literal[-1] | None = -1,
) -> MinedPairs:
    """Of each anchor the positives farther than its nearest negative less epsilon, and the negatives
    nearer than its farthest positive plus epsilon (Wang et al., CVPR 2019).

    A pair is seen from both ends and may come as (i, j) and as (j, i).
    """
    return MinedPairs(*_core.mine(
        x, labels, reference, reference_labels, ids, reference_ids, miner="multi-similarity", epsilon=epsilon, metric=metric, normalize=normalize,
        unlabelled=unlabelled))


def batch_hard(
    x: ArrayLike, labels: ArrayLike, reference: ArrayLike | None = None,
    reference_labels: ArrayLike | None = None, *, ids: ArrayLike | None = None,
    reference_ids: ArrayLike | None = None, metric: _Metric = "euclidean", normalize: bool = True,
    unlabelled: Literal[-1] | None = -1,
) -> Triplets:
    """Each anchor's farthest positive and nearest negative (Hermans, Beyer & Leibe 2017)."""
    return Triplets(*_core.mine(
        x, labels, reference, reference_labels, ids, reference_ids, miner="batch-hard", metric=metric, normalize=normalize, unlabelled=unlabelled))


def easy_positive(
    x: ArrayLike, labels: ArrayLike, reference: ArrayLike | None = None,
    reference_labels: ArrayLike | None = None, *, ids: ArrayLike | None = None,
    reference_ids: ArrayLike | None = None, metric: _Metric = "euclidean", normalize: bool = True,
    unlabelled: Literal[-1] | None = -1,
) -> Triplets:
    """Each anchor's nearest positive and the nearest negative farther than it (Xuan, Stylianou &
    Pless, WACV 2020); no triplet where there is no such negative."""
    return Triplets(*_core.mine(
        x, labels, reference, reference_labels, ids, reference_ids, miner="easy-positive", metric=metric, normalize=normalize, unlabelled=unlabelled))


def triplet_margin(
    x: ArrayLike, labels: ArrayLike, reference: ArrayLike | None = None,
    reference_labels: ArrayLike | None = None, *, ids: ArrayLike | None = None,
    reference_ids: ArrayLike | None = None, margin: float = 0.2,
    violation: Literal["all", "hard", "semi-hard", "easy"] = "all",
    metric: _Metric = "euclidean", normalize: bool = True, unlabelled: Literal[-1] | None = -1,
) -> Triplets:
    """Triplets with gap = t(anchor, negative) - t(anchor, positive) <= margin.

    violation: of these, "hard" keeps gap <= 0 and "semi-hard" gap > 0; "easy" gives the others.
    There may be n^3 of them: what is returned sets the memory.
    """
    return Triplets(*_core.mine(
        x, labels, reference, reference_labels, ids, reference_ids, miner="triplet-margin", margin=margin, violation=violation, metric=metric,
        normalize=normalize, unlabelled=unlabelled))


def semi_hard(
    x: ArrayLike, labels: ArrayLike, reference: ArrayLike | None = None,
    reference_labels: ArrayLike | None = None, *, ids: ArrayLike | None = None,
    reference_ids: ArrayLike | None = None, margin: float = 0.2, metric: _Metric = "euclidean",
    normalize: bool = True, unlabelled: Literal[-1] | None = -1,
) -> Triplets:
    """Triplets whose negative is farther than the positive, by at most margin (Schroff, Kalenichenko
    & Philbin, CVPR 2015)."""
    return Triplets(*_core.mine(
        x, labels, reference, reference_labels, ids, reference_ids, miner="semi-hard", margin=margin, metric=metric, normalize=normalize,
        unlabelled=unlabelled))


def distance_weighted(
    x: ArrayLike, labels: ArrayLike, reference: ArrayLike | None = None,
    reference_labels: ArrayLike | None = None, *, ids: ArrayLike | None = None,
    reference_ids: ArrayLike | None = None, cutoff: float = 0.5, nonzero_loss_cutoff: float = 1.4,
    per_anchor: SupportsIndex = 0, seed: SupportsIndex = 0, unlabelled: Literal[-1] | None = -1,
) -> Triplets:
    """Random positives with negatives drawn by 1 / q(t), q the density of distances on the unit
    sphere (Wu et al., ICCV 2017); distances are euclidean, of unit rows.

    cutoff: smaller distances count as this one. nonzero_loss_cutoff: no negative from here on.
    per_anchor: triplets of each anchor; 0: as many as its class has rows, or as it has positives in a
        reference set.
    """
    return Triplets(*_core.mine(
        x, labels, reference, reference_labels, ids, reference_ids, miner="distance-weighted", cutoff=cutoff, nonzero_loss_cutoff=nonzero_loss_cutoff,
        per_anchor=per_anchor, seed=seed, unlabelled=unlabelled))


def hard_negatives(
    x: ArrayLike, labels: ArrayLike, reference: ArrayLike | None = None,
    reference_labels: ArrayLike | None = None, *, ids: ArrayLike | None = None,
    reference_ids: ArrayLike | None = None, negatives: SupportsIndex = 3, positives: SupportsIndex = 1,
    range_min: SupportsIndex = 0, range_max: SupportsIndex | None = None,
    absolute_margin: float | None = None, relative_margin: float | None = None,
    min_distance: float | None = None, max_distance: float | None = None,
    sampling: Literal["top", "random"] = "top", metric: _Metric = "cosine",
    normalize: bool = False, seed: SupportsIndex = 0, unlabelled: Literal[-1] | None = -1,
) -> MinedPairs:
    """Hard negatives of a whole data set: for each row the nearest rows of other classes.

    The filters have the meaning of sentence-transformers' mine_hard_negatives, where a score is a
    similarity, here 1 - t for cosine and -t for every other metric. In this order:

    range_max: only so many nearest negatives are looked at (None: range_min + negatives, or
        range_min + 10 negatives with a filter).
    absolute_margin: keep t >= T + absolute_margin, T the distance of the row's farthest positive.
    relative_margin: keep score <= S - |S| relative_margin, S the score of the farthest positive.
    min_distance, max_distance: keep t between them (max_score, min_score).
    range_min: of those kept, leave out the nearest so many.
    negatives, sampling: of the rest take so many, the nearest or at random.
    positives: with them, so many of the row's farthest positives.

    Pairs come by row i, positives before negatives.
    """
    if sampling not in ("top", "random"):
        raise ValueError(f"sampling is {sampling!r}: it must be 'top' or 'random'")
    if range_max is not None and int(range_max) < 1:
        raise ValueError(f"range_max is {range_max}: it must be at least range_min + negatives")
    return MinedPairs(*_core.mine_hard(
        x, labels, reference, reference_labels, ids, reference_ids, negatives=negatives, positives=positives, range_min=range_min,
        range_max=range_max, absolute_margin=absolute_margin, relative_margin=relative_margin,
        min_distance=min_distance, max_distance=max_distance, random=sampling == "random",
        metric=metric, normalize=normalize, seed=seed, unlabelled=unlabelled))
