"""pairs --mine: the pairs and triplets of every miner, against NumPy."""

import numpy as np
import pytest

USAGE = 2


def similarity(metric, x):
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return unit @ unit.T if metric == "cosine" else -np.sqrt(((x[:, None] - x) ** 2).sum(-1))


@pytest.mark.parametrize("metric, extra", [
    ("cosine", []), ("euclidean", ["--range-min", "2"]),
    ("cosine", ["--range-max", "14", "--relative-margin", "0.05"]),
    ("euclidean", ["--absolute-margin", "-0.5", "--min-distance", "0.4", "--max-distance", "3"])])
def test_mined_pairs_are_the_hardest(cli, metric, extra):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(60, 5)), rng.integers(-1, 6, 60)
    cli.save(x=x, y=y)
    options = dict(zip(extra[::2], map(float, extra[1::2])))
    cli.ok("pairs", "--labels", "y.npy", "--mine", "hard", "--data", "x.npy", "--k", "4",
           "--metric", metric, "--positives", "2", *extra, "-o", "hard.npz")
    mined = np.load(cli.folder / "hard.npz")
    assert sorted(mined.files) == ["i", "j", "same"]
    s, low = similarity(metric, x), int(options.get("--range-min", 0))
    reach = int(options.get("--range-max", low + (40 if len(options) > 0 and not low else 4)))
    for a in range(60):
        same = (y == y[a]) & (y >= 0) & (np.arange(60) != a)
        other = (y != y[a]) & (y >= 0)
        best = np.where(same, s[a], np.inf).min()
        order = [j for j in np.argsort(-s[a], kind="stable") if other[j]][:reach]
        if "--absolute-margin" in options and same.any():
            order = [j for j in order if not s[a, j] + options["--absolute-margin"] > best]
        if "--relative-margin" in options and same.any():
            order = [j for j in order if s[a, j] <= best - abs(best) * 0.05]
        order = [j for j in order if options.get("--min-distance", -9) <= -s[a, j] + (
            metric == "cosine") <= options.get("--max-distance", 9)][low:low + 4]
        own = mined["i"] == a
        assert list(mined["j"][own & (mined["same"] == 0)]) == (order if y[a] >= 0 else [])
        far = [j for j in np.argsort(s[a], kind="stable") if same[j]][:2]
        assert list(mined["j"][own & (mined["same"] == 1)]) == (far if order and y[a] >= 0 else [])


def test_mined_pairs_in_every_form(cli, data):
    base = ["pairs", "--labels", "y.npy", "--mine", "hard", "--data", "x.npy"]
    got = cli.json(*base, "-o", "hard.npy")
    pairs = np.load(cli.folder / "hard.npy")
    assert pairs.shape == (got["written"], 3) and got["written"] > 0
    cli.ok(*base, "--left", "l.npy", "--right", "r.npy", "--same", "s.npy")
    assert np.array_equal(np.load(cli.folder / "l.npy"), data["x"][pairs[:, 0]])
    assert cli.json("loss", "x.npy", "--pairs", "hard.npy")["negative_pairs"] == (
        pairs[:, 2] == 0).sum()
    random = ["--random", "--k", "2", "--range-max", "4"]
    cli.ok(*base, *random, "--seed", "1", "-o", "a.npy")
    cli.ok(*base, *random, "--seed", "1", "--threads", "1", "-o", "b.npy")
    assert (cli.folder / "a.npy").read_bytes() == (cli.folder / "b.npy").read_bytes()


def mined_sets(rng):
    """Labelled rows, and a reference set whose first rows are the same items."""
    x, y = rng.normal(size=(40, 4)), rng.integers(-1, 4, 40)
    others, classes = np.concatenate([x[:9], rng.normal(size=(21, 4))]), rng.integers(-1, 5, 30)
    classes[:9] = y[:9]
    return x, y, others, classes, np.arange(40), np.arange(30) + np.where(np.arange(30) < 9, 0, 99)


@pytest.mark.parametrize("reference", [False, True])
def test_mined_pairs_and_triplets(cli, reference):
    """Each miner from its definition, over one set and over two."""
    x, y, others, classes, ids, other_ids = mined_sets(np.random.default_rng(8))
    cli.save(x=x, y=y, r=others, ry=classes, ids=ids, rids=other_ids)
    more = ["--reference", "r.npy", "--reference-labels", "ry.npy", "--ids", "ids.npy",
            "--reference-ids", "rids.npy"] if reference else []
    if not reference:
        others, classes, other_ids = x, y, ids
    unit, other_unit = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, others))
    t = np.linalg.norm(unit[:, None] - other_unit, axis=2)
    known = (y[:, None] >= 0) & (classes >= 0) & (ids[:, None] != other_ids)
    positive, negative = known & (y[:, None] == classes), known & (y[:, None] != classes)

    def mine(how, *options):
        cli.ok("pairs", "--labels", "y.npy", "--data", "x.npy", "--mine", how, *options, *more,
               "-o", "m.npz")
        return np.load(cli.folder / "m.npz")

    keep = (positive & (t > 0.5)) | (negative & (t < 1.2))
    if not reference:
        keep = np.triu(keep)
    found = mine("pair-margin", "--pos-margin", "0.5", "--neg-margin", "1.2")
    assert sorted(found.files) == ["i", "j", "same"]
    assert np.array_equal(np.nonzero(keep), (found["i"], found["j"]))
    assert np.array_equal(positive[keep], found["same"] == 1)
    cosine = t ** 2 / 2
    near = np.where(negative, cosine, np.inf).min(1, keepdims=True)
    far = np.where(positive, cosine, -np.inf).max(1, keepdims=True)
    both = positive.any(1, keepdims=True) & negative.any(1, keepdims=True)
    keep = both & ((positive & (cosine + 0.3 > near)) | (negative & (cosine - 0.3 < far)))
    found = mine("multi-similarity", "--epsilon", "0.3")
    assert np.array_equal(np.nonzero(keep), (found["i"], found["j"]))
    valid = positive[:, :, None] & negative[:, None, :]
    gap = t[:, None, :] - t[:, :, None]
    for how, options, keep in [
            ("triplet-margin", ["--margin", "0.4"], gap <= 0.4),
            ("triplet-margin", ["--violation", "easy"], gap > 0.2),
            ("semi-hard", ["--margin", "0.3"], (gap > 0) & (gap <= 0.3))]:
        found = mine(how, *options)
        assert sorted(found.files) == ["anchor", "negative", "positive"]
        assert np.array_equal(np.nonzero(valid & keep),
                              (found["anchor"], found["positive"], found["negative"]))
    found = mine("batch-hard")
    assert np.array_equal(found["positive"], np.where(positive, t, -1).argmax(1)[found["anchor"]])
    assert np.array_equal(found["negative"], np.where(negative, t, 9).argmin(1)[found["anchor"]])
    found = mine("easy-positive", "--metric", "sqeuclidean")
    assert np.array_equal(found["positive"], np.where(positive, t, 9).argmin(1)[found["anchor"]])
    found = mine("distance-weighted", "--per-anchor", "5", "--seed", "3")
    assert positive[found["anchor"], found["positive"]].all()
    assert negative[found["anchor"], found["negative"]].all()
    assert set(np.bincount(found["anchor"])) == {0, 5}
    found = mine("hard", "--metric", "euclidean", "--normalize", "--positives", "0", "--k", "1")
    assert np.array_equal(found["j"], np.where(negative, t, 9).argmin(1)[found["i"]])


def test_triplets_as_pairs(cli, data):
    base = ["pairs", "--labels", "y.npy", "--data", "x.npy", "--mine", "batch-hard"]
    got = cli.json(*base, "-o", "t.npy")
    triplets = cli.load("t.npy")
    assert triplets.shape == (got["written"], 3) and triplets.dtype == np.int64
    assert "triplets" in cli.ok(*base, "-o", "t.npy").stderr
    cli.ok(*base, "--as", "pairs", "-o", "p.npy", "--left", "l.npy", "--right", "r.npy", "--same",
           "s.npy")
    a, p, n = triplets.T
    want = np.stack([np.stack([a, p, np.ones_like(a)], 1), np.stack([a, n, np.zeros_like(a)], 1)], 1)
    assert np.array_equal(cli.load("p.npy"), want.reshape(-1, 3))
    assert np.array_equal(cli.load("r.npy"), data["x"][cli.load("p.npy")[:, 1]])
    value = cli.json("loss", "x.npy", "--pairs", "p.npy")["loss"]
    assert value == cli.json("loss", "--left", "l.npy", "--right", "r.npy", "--same", "s.npy")["loss"]
    cli.save(q=data["x"][:5], qy=data["y"][:5])
    cli.ok("pairs", "--labels", "qy.npy", "--data", "q.npy", "--mine", "hard", "--reference", "x.npy",
           "--reference-labels", "y.npy", "--left", "l.npy", "--right", "r.npy", "-o", "p.npy")
    pairs = cli.load("p.npy")
    assert pairs[:, 0].max() == 4 and np.array_equal(cli.load("l.npy"), data["x"][:5][pairs[:, 0]])
    assert np.array_equal(cli.load("r.npy"), data["x"][pairs[:, 1]])


@pytest.mark.parametrize("arguments", [
    ["--mine", "batch-hard", "--k", "3", "-o", "p.npy"],
    ["--mine", "hard", "--as", "pairs", "-o", "p.npy"],
    ["--mine", "pair-margin", "--epsilon", "1", "-o", "p.npy"],
    ["--mine", "semi-hard", "--violation", "easy", "-o", "p.npy"],
    ["--mine", "semi-hard", "--seed", "1", "-o", "p.npy"],
    ["--mine", "batch-hard", "--left", "l.npy"], ["--mine", "batch-hard", "--same", "l.npy"],
    ["--mine", "distance-weighted", "--metric", "dot", "-o", "p.npy"],
    ["--mine", "batch-hard", "--normalize", "--no-normalize", "-o", "p.npy"],
    ["--mine", "batch-hard", "--reference-labels", "y.npy", "-o", "p.npy"],
    ["--mine", "batch-hard", "--reference", "x.npy", "--ids", "y.npy", "-o", "p.npy"],
    ["--reference", "x.npy", "-n", "5", "-o", "p.npy"], ["--per-anchor", "2"]])
def test_miners_take_their_own_options(cli, data, arguments):
    cli.fails(USAGE, "pairs", "--labels", "y.npy", "--data", "x.npy", *arguments)


@pytest.mark.parametrize("arguments", [
    ["--mine", "hard", "-o", "p.npy"], ["--mine", "hard", "--data", "x.npy"],
    ["--mine", "easy", "--data", "x.npy", "-o", "p.npy"], ["--k", "3", "--data", "x.npy"],
    ["--mine", "hard", "--data", "x.npy", "-n", "5", "-o", "p.npy"],
    ["--mine", "hard", "--data", "x.npy", "--all", "both", "-o", "p.npy"],
    ["--mine", "hard", "--data", "x.npy", "-o", "p.txt"],
    ["--mine", "hard", "--data", "x.npy", "--seed", "4", "-o", "p.npy"]])
def test_mining_contradictions(cli, data, arguments):
    cli.fails(USAGE, "pairs", "--labels", "y.npy", *arguments)


def test_mined_triplets_name_the_forms_they_have(cli, data):
    base = ["pairs", "--labels", "y.npy", "--data", "x.npy", "--mine"]
    message = cli.fails(USAGE, *base, "semi-hard")
    assert "-o FILE.npy (or FILE.npz) for its triplets" in message and "--as pairs" in message
    for pairs in (["semi-hard", "--as", "pairs"], ["pair-margin"], ["hard"]):
        message = cli.fails(USAGE, *base, *pairs)
        assert "--left, --right and --same" in message and "triplets" not in message


def test_mining_range_must_hold_the_negatives(cli, data):
    assert "--range-max is 2" in cli.fails(USAGE, "pairs", "--labels", "y.npy", "--mine", "hard",
                                         "--data", "x.npy", "--range-max", "2", "-o", "p.npy")
