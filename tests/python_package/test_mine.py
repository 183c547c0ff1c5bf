"""Miners against NumPy: what they find, what they return, what they refuse."""

import doctest

import numpy as np
import pytest

import nearfar
from nearfar import mine


@pytest.fixture
def batch(rng):
    x = rng.normal(size=(45, 6)).astype("f4")
    x[3] = x[4]
    return x, rng.integers(-1, 5, 45)


def masks(labels):
    known = (labels[:, None] >= 0) & (labels >= 0)
    same = labels[:, None] == labels
    return known & same & ~np.eye(len(labels), dtype=bool), known & ~same


def test_pairs(batch):
    x, labels = batch
    positive, negative = masks(labels)
    t = nearfar.pairwise_distances(x, normalize=True).astype("f8")
    found = mine.pair_margin(x, labels, pos_margin=0.9, neg_margin=1.1)
    i, j = np.nonzero(np.triu((positive & (t > 0.9)) | (negative & (t < 1.1))))
    assert np.array_equal(found.i, i) and np.array_equal(found.j, j)
    assert np.array_equal(found.same, positive[i, j])
    assert found.i.dtype == np.int64 and found.same.dtype == bool
    t = nearfar.pairwise_distances(x, metric="cosine").astype("f8")
    nearest = np.where(negative, t, np.inf).min(1, keepdims=True)
    farthest = np.where(positive, t, -np.inf).max(1, keepdims=True)
    both = positive.any(1, keepdims=True) & negative.any(1, keepdims=True)
    keep = both & ((positive & (t + 0.1 > nearest)) | (negative & (t - 0.1 < farthest)))
    found = mine.multi_similarity(x, labels)
    assert np.array_equal(np.nonzero(keep), (found.i, found.j))


def test_triplets(batch):
    x, labels = batch
    positive, negative = masks(labels)
    t = nearfar.pairwise_distances(x, normalize=True).astype("f8")
    gap = t[:, None, :] - t[:, :, None]  # a, p, n
    valid = positive[:, :, None] & negative[:, None, :]
    for violation, keep in [("all", gap <= 0.2), ("hard", (gap <= 0.2) & (gap <= 0)),
                            ("semi-hard", (gap <= 0.2) & (gap > 0)), ("easy", gap > 0.2)]:
        found = mine.triplet_margin(x, labels, violation=violation)
        assert np.array_equal(np.nonzero(valid & keep), found), violation
    assert all(map(np.array_equal, mine.semi_hard(x, labels),
                   mine.triplet_margin(x, labels, violation="semi-hard")))
    found = mine.batch_hard(x, labels)
    assert np.array_equal(found.positive, np.where(positive, t, -1).argmax(1)[found.anchor])
    assert np.array_equal(found.negative, np.where(negative, t, 9).argmin(1)[found.anchor])
    assert set(found.anchor) == set(np.nonzero(positive.any(1) & negative.any(1))[0])
    easy = mine.easy_positive(x, labels)
    nearest = np.where(positive, t, 9).argmin(1)[easy.anchor]
    assert np.array_equal(easy.positive, nearest)
    beyond = np.where(negative[easy.anchor]
                      & (t[easy.anchor] > t[easy.anchor, nearest][:, None]), t[easy.anchor], 9)
    assert np.array_equal(easy.negative, beyond.argmin(1))
    drawn = mine.distance_weighted(x, labels, per_anchor=3, seed=4)
    assert positive[drawn.anchor, drawn.positive].all()
    assert negative[drawn.anchor, drawn.negative].all()
    assert (t[drawn.anchor, drawn.negative] < 1.4).all()
    again = mine.distance_weighted(x, labels, per_anchor=3, seed=4)
    assert np.array_equal(drawn.negative, again.negative)


def test_hard_negatives(batch):
    x, labels = batch
    positive, negative = masks(labels)
    t = nearfar.pairwise_distances(x, metric="euclidean").astype("f8")
    found = mine.hard_negatives(x, labels, metric="euclidean", negatives=2, range_min=1,
                                range_max=12, max_distance=3.0, positives=1)
    for a in range(len(x)):
        order = np.argsort(np.where(negative[a], t[a], np.inf), kind="stable")[:12]
        want = [j for j in order if negative[a, j] and t[a, j] <= 3.0][1:3]
        own = found.j[found.i == a]
        same = found.same[found.i == a]
        assert list(own[~same]) == want
        far = np.where(positive[a], t[a], -1)
        assert list(own[same]) == ([far.argmax()] if want and positive[a].any() else [])


MINERS = {
    "pair_margin": dict(pos_margin=0.9, neg_margin=1.1), "multi_similarity": {}, "batch_hard": {},
    "easy_positive": {}, "triplet_margin": dict(violation="hard"), "semi_hard": {},
    "distance_weighted": dict(per_anchor=3), "hard_negatives": dict(negatives=2, max_distance=0.9)}


@pytest.mark.parametrize("name", MINERS)
def test_a_reference_set(batch, name):
    x, labels = batch
    miner, options = getattr(mine, name), MINERS[name]
    ids = np.arange(len(x))
    one = miner(x, labels, **options)
    both = miner(x, labels, x, labels, ids=ids, reference_ids=ids, **options)
    if name == "pair_margin":
        once = both.i < both.j
        both = mine.MinedPairs(*(part[once] for part in both))
    assert len(one[0]) > 20 and all(map(np.array_equal, one, both))
    # Another set: what is found is of the right classes, and names are numbered together.
    names = np.array(["a", "b", "c", "d", "e"])
    first, second = names[labels[:20]], names[labels[20:]]
    found = miner(x[:20], first, x[20:], second, **options)
    assert found[0].max() < 20 and found[1].max() < 25 and len(found[0]) > 5
    if isinstance(found, mine.Triplets):
        assert np.array_equal(first[found.anchor], second[found.positive])
        assert (first[found.anchor] != second[found.negative]).all()
    else:
        assert np.array_equal(first[found.i] == second[found.j], found.same)
        result = nearfar.ContrastiveLoss("hinge").rows(x[:20][found.i], x[20:][found.j], found.same)
        assert result.counts.positive_pairs == found.same.sum()


def test_mined_pairs_go_into_a_loss(batch):
    x, labels = batch
    found = mine.multi_similarity(x, labels)
    result = nearfar.ContrastiveLoss("hinge").pairs(x, found)
    assert result.counts.positive_pairs == found.same.sum()
    assert result.counts.negative_pairs == (~found.same).sum()


def test_names_and_gradual_types(batch):
    x, labels = batch
    words = [str(label) for label in labels]
    plain = mine.batch_hard(x, labels, unlabelled=None)
    assert all(map(np.array_equal, mine.batch_hard(x.astype("f2").astype("f4").tolist(), words),
                   mine.batch_hard(x.astype("f2").astype("f8"), labels, unlabelled=None)))
    assert len(plain.anchor) == len(x)
    none = mine.batch_hard(np.empty((0, 3)), [])
    assert none.anchor.shape == (0,)


@pytest.mark.parametrize("call, text", [
    (lambda x, y: mine.pair_margin(x, y, x), "reference_labels"),
    (lambda x, y: mine.pair_margin(x, y, reference_labels=y), "reference_labels goes with"),
    (lambda x, y: mine.pair_margin(x, y, ids=np.arange(45)), "ids goes with"),
    (lambda x, y: mine.hard_negatives(x, y, x, y, ids=np.arange(45)), "go together"),
])
def test_refused_as_a_reference_set(batch, call, text):
    with pytest.raises(TypeError, match=text):
        call(*batch)


@pytest.mark.parametrize("call, text", [
    (lambda x, y: mine.pair_margin(x, y[:-1]), "labels"),
    (lambda x, y: mine.pair_margin(x, y, pos_margin=np.nan), "pos_margin"),
    (lambda x, y: mine.triplet_margin(x, y, violation="medium"), "violation"),
    (lambda x, y: mine.distance_weighted(x, y, cutoff=0), "cutoff"),
    (lambda x, y: mine.hard_negatives(x, y, sampling="best"), "sampling"),
    (lambda x, y: mine.hard_negatives(x, y, range_max=0), "range_max"),
    (lambda x, y: mine.hard_negatives(x, y, range_min=3, range_max=4), "range_max"),
    (lambda x, y: mine.batch_hard(x * np.nan, y), "x"),
])
def test_refused_by_name(batch, call, text):
    with pytest.raises(ValueError, match=text):
        call(*batch)


def test_examples():
    assert doctest.testmod(mine).failed == 0
