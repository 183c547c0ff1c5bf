"""Evaluation of rows with several labels each against loops over the definitions."""

import numpy as np
import pytest

import nearfar

N, M, D, TAGS = 90, 50, 4, 12


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x, r = rng.integers(0, 5, (N, D)).astype(float), rng.integers(0, 5, (M, D)).astype(float)
    return x, rng.random((N, TAGS)) < 0.12, r, rng.random((M, TAGS)) < 0.12


def by_loops(x, sets, r, other, same_item):
    """MAP@R, R-precision, recall@5, the vote of 5 and the AUC, in float64, ties by smaller index."""
    figures, near, far = [], [], []
    for i in range(len(x)):
        found = []
        for j in range(len(r)):
            if same_item(i, j) or not sets[i].any() or not other[j].any():
                continue
            found.append((np.sqrt(((x[i] - r[j]) ** 2).sum()), j, bool((sets[i] & other[j]).any())))
            (near if found[-1][2] else far).append(found[-1][0])
        found.sort()
        relevant = sum(hit for _, _, hit in found)
        if relevant == 0:
            continue
        hits, total = 0, 0.0
        for rank, (_, _, hit) in enumerate(found[:relevant], 1):
            hits += hit
            total += hits / rank if hit else 0
        votes = sum(other[j].astype(int) for _, j, _ in found[:5])
        tags = [tag for _, j, _ in found[:5] for tag in np.flatnonzero(other[j])]
        winner = max(tags, key=lambda tag: votes[tag])  # the first of the largest
        figures.append((total / relevant, hits / relevant, any(h for _, _, h in found[:5]),
                        sets[i][winner]))
    near, far = np.array(near), np.array(far)
    auc = ((near[:, None] < far).mean() + (near[:, None] <= far).mean()) / 2
    return len(figures), *np.mean(figures, 0), auc


def check(got, want):
    np.testing.assert_allclose((got.queries, got.map_at_r, got.r_precision, got.recall[5],
                                got.knn_accuracy, got.roc_auc), want, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_figures_of_a_set_with_itself(data, dtype):
    x, sets, _, _ = data
    got = nearfar.evaluate(x.astype(dtype), label_sets=sets)
    check(got, by_loops(x.astype(dtype), sets, x.astype(dtype), sets, lambda i, j: i == j))
    assert got.n == sets.any(1).sum() < N
    names = [[f"tag{t:02}" for t in np.flatnonzero(row)] for row in sets]
    assert nearfar.evaluate(x.astype(dtype), label_sets=names) == got


def test_figures_of_queries_and_references(data):
    x, sets, r, other = data
    a, b = np.arange(N), np.arange(M) * 2
    got = nearfar.evaluate(x, reference=r, label_sets=sets, reference_label_sets=other, ids=a,
                           reference_ids=b)
    check(got, by_loops(x, sets, r, other, lambda i, j: a[i] == b[j]))
    collections = [[set(np.flatnonzero(row).tolist()) for row in side] for side in (sets, other)]
    assert nearfar.evaluate(x, reference=r, label_sets=collections[0],
                            reference_label_sets=collections[1], ids=a, reference_ids=b) == got


def test_one_label_each_is_the_evaluation_of_labels(data):
    x, _, r, _ = data
    y, z = np.arange(N) % 7, np.arange(M) % 5
    assert nearfar.evaluate(x, label_sets=[[label] for label in y]) == nearfar.evaluate(x, y)
    assert nearfar.evaluate(x, reference=r, label_sets=y[:, None] == np.arange(7),
                            reference_label_sets=z[:, None] == np.arange(7)) == \
        nearfar.evaluate(x, y, r, z)


@pytest.mark.parametrize("error, word, arguments", [
    (TypeError, "labels is missing", {}),
    (TypeError, "exclude", {"labels": np.zeros(N), "label_sets": np.ones((N, 1))}),
    (TypeError, "reference goes with", {"label_sets": np.ones((N, 1)), "reference": np.ones((M, D))}),
    (TypeError, "reference_label_sets with label_sets",
     {"label_sets": np.ones((N, 1)), "reference": np.ones((M, D)), "reference_labels": np.zeros(M)}),
    (ValueError, "0 and 1", {"label_sets": np.full((N, 2), 0.5)}),
    (ValueError, "2 columns", {"label_sets": np.ones((N, 2)), "reference": np.ones((M, D)),
                               "reference_label_sets": np.ones((M, 3))}),
    (TypeError, "both be collections", {"label_sets": np.ones((N, 2)), "reference": np.ones((M, D)),
                                        "reference_label_sets": [[1]] * M}),
    (ValueError, "x has rows", {"label_sets": np.ones((N - 1, 2))}),
])
def test_misuse_is_named(data, error, word, arguments):
    with pytest.raises(error, match=word):
        nearfar.evaluate(data[0], **arguments)


def test_rows_without_labels(data):
    got = nearfar.evaluate(data[0], label_sets=[[]] * N)
    assert got.n == got.queries == got.positive_pairs == 0 and np.isnan(got.map_at_r)
