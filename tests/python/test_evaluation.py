"""Retrieval and verification figures against naive NumPy and scikit-learn."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

KS = (1, 5, 10)


def ranked_relevance(distance, query_labels, labels, valid):
    """Per query: relevance of the valid rows in the order of distance, ties by index."""
    for q in range(len(distance)):
        rows = np.flatnonzero(valid[q])
        order = rows[np.argsort(distance[q, rows], kind="stable")]
        yield q, order, labels[order] == query_labels[q]


def retrieval(distance, query_labels, labels, valid, knn_k=5):
    found = {k: [] for k in KS}
    precision_r, average, hits = [], [], []
    for q, order, relevant in ranked_relevance(distance, query_labels, labels, valid):
        r = relevant.sum()
        if r == 0:
            continue
        for k in KS:
            found[k].append(relevant[:k].any())
        precision_r.append(relevant[:r].mean())
        precision = np.cumsum(relevant[:r]) / np.arange(1, r + 1)
        average.append((precision * relevant[:r]).sum() / r)
        votes = labels[order[:knn_k]]
        counts = {label: (votes == label).sum() for label in votes}
        best = max(counts.values())
        hits.append(next(v for v in votes if counts[v] == best) == query_labels[q])
    return {
        **{f"recall_at_{k}": np.mean(found[k]) for k in KS},
        "r_precision": np.mean(precision_r),
        "map_at_r": np.mean(average),
        "knn_accuracy": np.mean(hits),
    }


def verification(distance, same):
    """Curves over all thresholds, equal float32 distances being one threshold."""
    distance = distance.astype(np.float32)
    thresholds = np.unique(distance)
    tar = np.searchsorted(np.sort(distance[same]), thresholds, side="right") / same.sum()
    far = np.searchsorted(np.sort(distance[~same]), thresholds, side="right") / (~same).sum()
    right = tar * same.sum() + (1 - far) * (~same).sum()

    tar0, far0 = np.r_[0.0, tar], np.r_[0.0, far]  # below every threshold nothing is accepted
    gap = far0 - (1 - tar0)
    k = np.flatnonzero(gap >= 0)[0]
    if gap[k] == 0:
        eer = far0[k]
    else:
        s = -gap[k - 1] / (gap[k] - gap[k - 1])
        eer = far0[k - 1] + s * (far0[k] - far0[k - 1])
    return {
        "roc_auc": roc_auc_score(same, -distance.astype(np.float64)),
        "eer": eer,
        "tar_at_far_1e-2": tar0[far0 <= 1e-2].max(),
        "tar_at_far_1e-3": tar0[far0 <= 1e-3].max(),
        "best_accuracy": max(right.max(), (~same).sum()) / len(same),
        # rejecting every pair can be best; no threshold is that low
        "best_threshold": thresholds[right.argmax()] if right.max() > (~same).sum() else None,
    }


def compare(got, want):
    for key, value in want.items():
        assert got[key] == (value if value is None else pytest.approx(value, rel=1e-9,
                                                                     abs=1e-12)), key


@pytest.mark.parametrize("metric", ("euclidean", "cosine", "cityblock"))
@pytest.mark.parametrize("n, classes, spread", [(60, 4, 1.0), (150, 10, 3.0), (40, 30, 1.0)])
def test_one_set(nearfar, rng, metric, n, classes, spread):
    centres = rng.normal(size=(classes, 6)) * spread
    labels = rng.integers(0, classes, size=n)
    labels[rng.integers(n, size=5)] = -1
    x = centres[labels] + rng.normal(size=(n, 6))
    nearfar.save(x=x, labels=labels)
    got = nearfar.json("eval", "x.npy", "--labels", "labels.npy", "-k", "1,5,10", "--metric",
                       metric)
    known = labels >= 0
    x, labels = x[known], labels[known]
    distance = cdist(x, x, metric)
    np.fill_diagonal(distance, 0.0)
    compare(got, retrieval(distance, labels, labels, ~np.eye(len(x), dtype=bool)))
    i, j = np.triu_indices(len(x), 1)
    compare(got, verification(distance[i, j], labels[i] == labels[j]))
    assert got["n"] == len(x)


def test_ties_go_to_the_smaller_index(nearfar, rng):
    x = rng.integers(0, 2, size=(64, 4)).astype(np.float32)
    labels = rng.integers(0, 5, size=64)
    nearfar.save(x=x, labels=labels)
    got = nearfar.json("eval", "x.npy", "--labels", "labels.npy")
    distance = cdist(x, x)
    compare(got, retrieval(distance, labels, labels, ~np.eye(64, dtype=bool)))
    i, j = np.triu_indices(64, 1)
    compare(got, verification(distance[i, j], labels[i] == labels[j]))


def test_query_against_reference(nearfar, rng):
    q, r = rng.normal(size=(45, 5)), rng.normal(size=(80, 5))
    ql, rl = rng.integers(0, 6, 45), rng.integers(0, 6, 80)
    ids, reference_ids = np.arange(45), np.arange(80) - 10
    nearfar.save(q=q, r=r, ql=ql, rl=rl, ids=ids, rids=reference_ids)
    got = nearfar.json("eval", "q.npy", "--labels", "ql.npy", "--reference", "r.npy",
                       "--reference-labels", "rl.npy", "--ids", "ids.npy", "--reference-ids",
                       "rids.npy")
    distance, valid = cdist(q, r), ids[:, None] != reference_ids[None]
    compare(got, retrieval(distance, ql, rl, valid))
    same = ql[:, None] == rl[None]
    compare(got, verification(distance[valid], same[valid]))


def test_perfect_and_reversed(nearfar):
    x = np.repeat([[0.0], [1.0], [5.0]], 4, axis=0) + np.tile(np.arange(4) / 100, 3)[:, None]
    labels = np.repeat([0, 1, 2], 4)
    nearfar.save(x=x, labels=labels)
    got = nearfar.json("eval", "x.npy", "--labels", "labels.npy")
    assert got["map_at_r"] == got["roc_auc"] == got["recall_at_1"] == 1.0
    assert got["eer"] == 0.0
