"""Pair listing and sampling against itertools and counting."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chisquare


@pytest.mark.parametrize("kind", ("positive", "negative", "both"))
@pytest.mark.parametrize("n, classes", [(0, 1), (1, 1), (9, 3), (40, 5), (200, 60)])
def test_every_pair(nearfar, rng, kind, n, classes):
    labels = rng.integers(-1, classes, size=n)
    if set(labels) == {-1, 1}:
        labels += labels == 1
    nearfar.save(labels=labels)
    nearfar("pairs", "--labels", "labels.npy", "--all", kind, "-o", "pairs.npy")
    want = [(i, j, int(labels[i] == labels[j])) for i, j in combinations(range(n), 2)
            if labels[i] >= 0 and labels[j] >= 0]
    if kind != "both":
        want = [p for p in want if p[2] == (kind == "positive")]
    got = nearfar.load("pairs")
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, np.array(want, dtype=np.int64).reshape(-1, 3))


@pytest.mark.parametrize("fraction", (0.0, 0.25, 0.5, 1.0))
def test_sampled_pairs(nearfar, rng, fraction):
    labels = rng.integers(-1, 5, size=60)
    nearfar.save(labels=labels)
    nearfar("pairs", "--labels", "labels.npy", "-n", "1000", "--positive-fraction", fraction,
            "--seed", "3", "-o", "pairs.npz")
    got = np.load(nearfar.folder / "pairs.npz")
    i, j, same = got["i"], got["j"], got["same"]
    assert len(i) == 1000
    assert (i != j).all() and (labels[i] >= 0).all() and (labels[j] >= 0).all()
    np.testing.assert_array_equal(same, labels[i] == labels[j])
    assert same.sum() == round(1000 * fraction)


def test_draws_are_uniform_within_each_side(nearfar, rng):
    """Chi-square over every pair; classes of 2, 5 and 9 rows, so class odds differ by 36."""
    labels = rng.permutation(np.repeat([4, 7, 9], [2, 5, 9]))
    nearfar.save(labels=labels)
    nearfar("pairs", "--labels", "labels.npy", "-n", "200000", "--seed", "11", "-o", "pairs.npz")
    got = np.load(nearfar.folder / "pairs.npz")
    low, high = np.minimum(got["i"], got["j"]), np.maximum(got["i"], got["j"])
    counts = np.zeros((16, 16), dtype=int)
    np.add.at(counts, (low, high), 1)
    i, j = np.triu_indices(16, 1)
    same = labels[i] == labels[j]
    for side in (same, ~same):
        drawn = counts[i[side], j[side]]
        assert (drawn > 0).all()
        assert chisquare(drawn).pvalue > 1e-4


def test_weights_make_the_mean_unbiased(nearfar, rng):
    """sum(weight phi) / count estimates the mean over all pairs, whatever the fraction drawn."""
    labels = np.repeat([0, 1, 2], [12, 20, 8])
    x = rng.normal(size=(40, 3)) * 0.5 + labels[:, None]
    nearfar.save(x=x, labels=labels)
    exact = nearfar.json("loss", "x.npy", "--labels", "labels.npy")["loss"]
    estimates = []
    for fraction in (0.2, 0.8):
        nearfar("pairs", "--labels", "labels.npy", "-n", "400000", "--positive-fraction", fraction,
                "--seed", "5", "-o", "p.npz")
        pairs = np.load(nearfar.folder / "p.npz")
        assert "weight" in pairs
        estimates.append(nearfar.json("loss", "x.npy", "--pairs", "p.npz")["loss"])
    np.testing.assert_allclose(estimates, exact, rtol=0.01)


def test_gathered_rows(nearfar, rng):
    labels, x = rng.integers(0, 4, size=30), rng.normal(size=(30, 5)).astype(np.float32)
    nearfar.save(labels=labels, x=x)
    nearfar("pairs", "--labels", "labels.npy", "-n", "50", "--data", "x.npy", "--left", "l.npy",
            "--right", "r.npy", "--same", "s.npy", "-o", "p.npz")
    pairs = np.load(nearfar.folder / "p.npz")
    np.testing.assert_array_equal(nearfar.load("l"), x[pairs["i"]])
    np.testing.assert_array_equal(nearfar.load("r"), x[pairs["j"]])
    np.testing.assert_array_equal(nearfar.load("s"), pairs["same"])


def test_the_same_seed_gives_the_same_bytes(nearfar, rng):
    nearfar.save(labels=rng.integers(0, 4, size=30))
    files = []
    for name, seed, threads in (("a", 1, 1), ("b", 1, 3), ("c", 2, 1)):
        nearfar("pairs", "--labels", "labels.npy", "-n", "500", "--seed", seed, "--threads",
                threads, "-o", f"{name}.npy")
        files.append((nearfar.folder / f"{name}.npy").read_bytes())
    assert files[0] == files[1] != files[2]
