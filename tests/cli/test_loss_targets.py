"""nearfar loss under targets: soft, several labels a row, weights and groups, against NumPy."""

import numpy as np
import pytest

USAGE, DATA = 2, 3


def weighted(d, y, w):
    return (w * (y * d ** 2 + (1 - y) * np.maximum(0, 1 - d) ** 2)).sum()


def test_soft_targets_weights_and_groups(cli, data):
    x, rng = data["x"], np.random.default_rng(4)
    n = len(x)
    i, j = np.triu_indices(n, 1)
    soft, pair, row, group = rng.random((n, n)), rng.random((n, n)), rng.random(n), np.arange(n) // 2
    cli.save(soft=soft, pair=pair, row=row, group=group)
    d = np.sqrt(((x[i].astype(float) - x[j]) ** 2).sum(1))
    w = row[i] * row[j] * pair[i, j] * (group[i] != group[j])
    got = cli.json("loss", "x.npy", "--soft", "soft.npy", "--pair-weights", "pair.npy",
                   "--row-weights", "row.npy", "--groups", "group.npy", "--reduction", "sum",
                   "--grad", "g.npy")
    assert got["loss"] == pytest.approx(weighted(d, soft[i, j], w), rel=1e-5)
    assert cli.load("g.npy").shape == x.shape
    same = (data["y"][i] == data["y"][j]).astype(float)
    got = cli.json("loss", "x.npy", "--labels", "y.npy", "--row-weights", "row.npy",
                   "--reduction", "sum")
    assert got["loss"] == pytest.approx(weighted(d, same, row[i] * row[j]), rel=1e-5)


def test_several_labels_a_row(cli, data):
    x, rng = data["x"], np.random.default_rng(5)
    i, j = np.triu_indices(len(x), 1)
    sets = (rng.random((len(x), 5)) < 0.3).astype(np.uint8)
    sets[0] = 0
    cli.save(sets=sets)
    d = np.sqrt(((x[i].astype(float) - x[j]) ** 2).sum(1))
    valid = sets.any(1)[i] & sets.any(1)[j]
    y = (sets[i] & sets[j]).any(1).astype(float)
    got = cli.json("loss", "x.npy", "--label-sets", "sets.npy")
    assert got["loss"] == pytest.approx(weighted(d, y, valid) / valid.sum(), rel=1e-5)
    assert got["positive_pairs"] == y[valid].sum()
    cli.save(sets=sets * 0.5)
    assert "--soft" in cli.fails(DATA, "loss", "x.npy", "--label-sets", "sets.npy")
    cli.save(sets=sets[1:])
    cli.fails(DATA, "loss", "x.npy", "--label-sets", "sets.npy")


EVERY_LOSS = ["triplet", "tfa-semihard", "tfa-hard", "margin", "nt-xent", "supcon", "nca",
              "multi-similarity", "circle", "lifted", "generalized-lifted", "n-pairs"]


@pytest.mark.parametrize("name", EVERY_LOSS)
def test_every_loss_takes_targets(cli, data, name):
    x, y = data["x"], data["y"]
    plain = cli.json("loss", "x.npy", "--labels", "y.npy", "--loss", name, "--grad", "g.npy")
    cli.save(sets=(y[:, None] == np.unique(y)).astype(np.uint8), same=(y[:, None] == y).astype(float),
             ones=np.ones(len(x)), group=np.arange(len(x)), pairs=np.ones((len(x), len(x))))
    for targets in (["--label-sets", "sets.npy"], ["--soft", "same.npy"],
                    ["--labels", "y.npy", "--row-weights", "ones.npy", "--groups", "group.npy",
                     "--pair-weights", "pairs.npy"]):
        got = cli.json("loss", "x.npy", *targets, "--loss", name, "--grad", "t.npy")
        assert got["loss"] == pytest.approx(plain["loss"], rel=1e-5)
        assert got["terms"] == plain["terms"] > 0
        g = cli.load("g.npy")
        np.testing.assert_allclose(cli.load("t.npy"), g, rtol=0, atol=1e-4 * np.abs(g).max())
    cli.save(twice=2 * np.ones(len(x)), group=np.zeros(len(x), int))
    got = cli.json("loss", "x.npy", "--labels", "y.npy", "--loss", name, "--row-weights", "twice.npy",
                   "--reduction", "mean")
    mean = cli.json("loss", "x.npy", "--labels", "y.npy", "--loss", name, "--reduction", "mean")
    assert got["loss"] == pytest.approx(2 * mean["loss"], rel=1e-5)
    got = cli.json("loss", "x.npy", "--labels", "y.npy", "--loss", name, "--groups", "group.npy")
    assert got["loss"] == 0 and got["terms"] == 0


@pytest.mark.parametrize("name", ["triplet", "margin", "n-pairs"])
def test_a_triplet_has_no_soft_targets(cli, data, name):
    cli.save(s=np.full((len(data["x"]),) * 2, 0.5))
    assert "0 and 1 only" in cli.fails(DATA, "loss", "x.npy", "--soft", "s.npy", "--loss", name)


def test_reference_with_targets(cli, data):
    """Of the contrastive family the sum over (n, m), written out; two sets of labels, soft, weights."""
    rng = np.random.default_rng(8)
    x, y = data["x"].astype(float), data["y"]
    n, m = len(x), 30
    soft, pair = rng.random((n, m)), rng.random((n, m)) * 2
    row, other = rng.random(n), rng.random(m)
    group, groups = rng.integers(0, 20, n), rng.integers(0, 20, m)
    cli.save(r=data["x"][:m], soft=soft, pair=pair, row=row, other=other, group=group, groups=groups)
    arguments = ["loss", "x.npy", "--reference", "r.npy", "--pair-weights", "pair.npy",
                 "--row-weights", "row.npy", "--groups", "group.npy", "--reference-groups",
                 "groups.npy", "--reduction", "sum"]
    d = np.sqrt(((x[:, None] - x[None, :m]) ** 2).sum(2))
    weights = row[:, None] * pair * (group[:, None] != groups[None])
    got = cli.json(*arguments, "--soft", "soft.npy", "--reference-row-weights", "other.npy",
                   "--grad", "gq.npy", "--grad-reference", "gr.npy")
    assert got["loss"] == pytest.approx(weighted(d, soft, weights * other), rel=1e-5)
    assert cli.load("gq.npy").shape == (n, 5) and cli.load("gr.npy").shape == (m, 5)
    sets = np.eye(y.max() + 1)[y]
    cli.save(rl=y[:m], sets=sets, rsets=sets[:m])
    by_labels = cli.json(*arguments, "--labels", "y.npy", "--reference-labels", "rl.npy")
    assert by_labels["loss"] == pytest.approx(
        weighted(d, (y[:, None] == y[None, :m]).astype(float), weights), rel=1e-5)
    by_sets = cli.json(*arguments, "--label-sets", "sets.npy", "--reference-label-sets", "rsets.npy")
    assert by_sets["loss"] == pytest.approx(by_labels["loss"], rel=1e-12)


@pytest.mark.parametrize("targets", [[], ["--row-weights", "row.npy"]])
@pytest.mark.parametrize("reference", [False, True])
def test_terms_of_rows_in_every_form(cli, data, reference, targets):
    y = data["y"]
    rows, n = ["loss", "x.npy", "--labels", "y.npy", "--loss", "supcon", *targets], len(y)
    upstream = np.linspace(-1, 2, n)
    cli.save(r=data["x"][:30], rl=y[:30], row=np.linspace(0.5, 2, n), up=upstream)
    if reference:
        rows += ["--reference", "r.npy", "--reference-labels", "rl.npy"]
    total = cli.json(*rows, "--reduction", "sum", "--terms", "t.npy", "--grad", "g.npy")
    terms = cli.load("t.npy")
    assert terms.shape == (n,) and terms.sum() == pytest.approx(total["loss"], rel=1e-9)
    none = cli.json(*rows, "--reduction", "none", "--terms", "n.npy", "--grad", "gn.npy")
    assert none["loss"] == pytest.approx(total["loss"], rel=1e-12)
    np.testing.assert_array_equal(cli.load("n.npy"), terms)
    np.testing.assert_array_equal(cli.load("gn.npy"), cli.load("g.npy"))
    cli.ok(*rows, "--reduction", "none", "--upstream", "up.npy", "--grad", "gu.npy")
    parts = []
    for k in range(2):  # a gradient is linear in what comes from above
        cli.save(part=np.where(np.arange(n) % 2 == k, upstream, 0))
        cli.ok(*rows, "--reduction", "none", "--upstream", "part.npy", "--grad", "gp.npy")
        parts.append(cli.load("gp.npy"))
    np.testing.assert_allclose(parts[0] + parts[1], cli.load("gu.npy"), rtol=0, atol=1e-5)
    assert abs(cli.load("gu.npy") - cli.load("g.npy")).max() > 1e-3
    assert "--upstream" in cli.fails(USAGE, *rows, "--upstream", "up.npy")


@pytest.mark.parametrize("arguments", [
    ["--labels", "y.npy", "--soft", "s.npy"], ["--label-sets", "s.npy", "--soft", "s.npy"],
    ["--pairs", "p.npz", "--groups", "y.npy"], ["--soft", "s.npy", "--reduction", "none"],
    ["--labels", "y.npy", "--reference", "x.npy", "--reference-labels", "y.npy", "--groups", "y.npy"],
    ["--label-sets", "s.npy", "--reference", "x.npy", "--reference-labels", "y.npy"],
    ["--soft", "s.npy", "--reference", "x.npy", "--reference-labels", "y.npy"],
    ["--labels", "y.npy", "--reference", "x.npy", "--reference-labels", "y.npy", "--loss", "supcon",
     "--reference-row-weights", "w.npy"],
    ["--labels", "y.npy", "--reference-groups", "y.npy"],
    ["--labels", "y.npy", "--reference", "x.npy", "--reference-labels", "y.npy", "--reduction",
     "none"],
])
def test_targets_that_contradict_are_refused(cli, data, arguments):
    cli.fails(USAGE, "loss", "x.npy", *arguments)
