"""nearfar loss: four forms against NumPy, what they write and what they say."""

import numpy as np
import pytest

USAGE, DATA = 2, 3

KEYS = ["loss", "positive_pairs", "negative_pairs", "active_positive", "active_negative",
        "mean_positive_distance", "mean_negative_distance"]


def terms_of(d, same, margin=1.0):
    return np.where(same, d ** 2, np.maximum(0, margin - d) ** 2)


def all_pairs(x, y):
    i, j = np.triu_indices(len(x), 1)
    d = np.sqrt(((x[i].astype(float) - x[j]) ** 2).sum(1))
    return d, y[i] == y[j]


def test_batch_against_numpy(cli, data):
    got = cli.json("loss", "x.npy", "--labels", "y.npy")
    d, same = all_pairs(data["x"], data["y"])
    assert list(got)[:7] == KEYS
    assert got["loss"] == pytest.approx(terms_of(d, same).mean(), rel=1e-5)
    assert got["positive_pairs"] == same.sum()
    assert got["negative_pairs"] == (~same).sum()
    assert got["active_positive"] == (d[same] > 0).sum()
    assert got["active_negative"] == (d[~same] < 1).sum()
    assert got["mean_positive_distance"] == pytest.approx(d[same].mean(), rel=1e-6)
    assert got["mean_negative_distance"] == pytest.approx(d[~same].mean(), rel=1e-6)


def test_table_and_json_agree(cli, data):
    table = cli.ok("loss", "x.npy", "--labels", "y.npy").stdout
    got = cli.json("loss", "x.npy", "--labels", "y.npy")
    assert float(table.split()[1]) == got["loss"]
    assert f"{got['active_negative']} active" in table


def test_margins_and_weights(cli, data):
    got = cli.json("loss", "x.npy", "--labels", "y.npy", "--margin", "3", "--pos-weight", "0.5",
                   "--neg-weight", "2", "--scale", "4", "--reduction", "sum")
    d, same = all_pairs(data["x"], data["y"])
    t = terms_of(d, same, 3.0)
    assert got["loss"] == pytest.approx(4 * (0.5 * t[same].sum() + 2 * t[~same].sum()), rel=1e-5)
    other = cli.json("loss", "x.npy", "--labels", "y.npy", "--neg-margin", "3", "--pos-weight",
                     "0.5", "--neg-weight", "2", "--scale", "4", "--reduction", "sum")
    assert other == got


def test_gradient_has_shape_and_type_of_the_rows(cli, data):
    cli.save(x64=data["x"].astype(float))
    for name, kind in (("x", np.float32), ("x64", np.float64)):
        cli.ok("loss", f"{name}.npy", "--labels", "y.npy", "--grad", "g.npy")
        g = cli.load("g.npy")
        assert g.shape == (60, 5) and g.dtype == kind
    step = np.zeros((60, 5))
    step[3, 2] = 1e-5
    for sign, name in ((1, "plus"), (-1, "minus")):
        cli.save(**{name: data["x"].astype(float) + sign * step})
    slope = (cli.json("loss", "plus.npy", "--labels", "y.npy")["loss"]
             - cli.json("loss", "minus.npy", "--labels", "y.npy")["loss"]) / 2e-5
    assert g[3, 2] == pytest.approx(slope, rel=1e-5)


def test_rows_are_the_question_itself(cli, data):
    got = cli.json("loss", "--left", "left.npy", "--right", "right.npy", "--same", "same.npy",
                   "--terms", "t.npy", "--grad-left", "gl.npy", "--grad-right", "gr.npy")
    d = np.sqrt(((data["left"].astype(float) - data["right"]) ** 2).sum(1))
    t = terms_of(d, data["same"] == 1)
    assert got["loss"] == pytest.approx(t.mean(), rel=1e-5)
    np.testing.assert_allclose(cli.load("t.npy"), t, rtol=1e-5, atol=1e-12)
    np.testing.assert_array_equal(cli.load("gl.npy"), -cli.load("gr.npy"))


@pytest.mark.parametrize("kind", [np.uint8, np.int64, bool, np.float32, ">i4"])
def test_a_column_of_same_gives_the_same_bytes(cli, data, kind):
    arguments = ["loss", "--left", "left.npy", "--right", "right.npy", "--same"]
    cli.save(flat=data["same"].astype(kind), column=data["same"].astype(kind)[:, None])
    outputs = []
    for name in ("same", "flat", "column"):
        out = cli.ok(*arguments, f"{name}.npy", "--json", "--terms", "t.npy",
                     "--grad-left", "g.npy").stdout
        outputs.append((out, cli.bytes("t.npy"), cli.bytes("g.npy")))
    assert outputs[0] == outputs[1] == outputs[2]


def test_same_encoding_is_only_what_was_asked_for(cli, data):
    cli.save(pm=np.where(data["same"] == 1, 1, -1), two=data["same"] + 1)
    rows = ["loss", "--left", "left.npy", "--right", "right.npy", "--same"]
    wanted = cli.ok(*rows, "same.npy", "--json").stdout
    assert "pm1" in cli.fails(DATA, *rows, "pm.npy")
    assert cli.ok(*rows, "pm.npy", "--same-encoding", "pm1", "--json").stdout == wanted
    assert "same" in cli.fails(DATA, *rows, "two.npy")


def test_pair_list_with_weights(cli, data):
    rng = np.random.default_rng(3)
    i, j = rng.permutation(60)[:30], rng.permutation(60)[:30]
    keep = i != j
    i, j = i[keep], j[keep]
    same, w = (data["y"][i] == data["y"][j]).astype(np.uint8), rng.random(len(i))
    np.savez(cli.folder / "pairs.npz", i=i, j=j, same=same)
    np.savez(cli.folder / "weighted.npz", i=i, j=j, same=same, weight=w)
    cli.save(list=np.stack([i, j, same], 1).astype(np.int64), w=w)
    d = np.sqrt(((data["x"][i].astype(float) - data["x"][j]) ** 2).sum(1))
    t = terms_of(d, same == 1)
    plain = cli.json("loss", "x.npy", "--pairs", "pairs.npz")
    assert plain["loss"] == pytest.approx(t.mean(), rel=1e-5)
    assert cli.json("loss", "x.npy", "--pairs", "list.npy") == plain
    weighted = cli.json("loss", "x.npy", "--pairs", "weighted.npz")
    assert weighted["loss"] == pytest.approx((w * t).mean(), rel=1e-5)
    assert cli.json("loss", "x.npy", "--pairs", "pairs.npz", "--weights", "w.npy") == weighted
    assert "weights" in cli.fails(USAGE, "loss", "x.npy", "--pairs", "weighted.npz", "--weights",
                                  "w.npy")
    mean = cli.json("loss", "x.npy", "--pairs", "weighted.npz", "--reduction", "weighted-mean")
    assert mean["loss"] == pytest.approx((w * t).sum() / w.sum(), rel=1e-5)


def test_upstream_gradient(cli, data):
    upstream = np.random.default_rng(4).normal(size=40)
    cli.save(up=upstream, one=np.array([2.0]))
    rows = ["loss", "--left", "left.npy", "--right", "right.npy", "--same", "same.npy"]
    cli.ok(*rows, "--reduction", "none", "--upstream", "up.npy", "--grad-left", "g.npy")
    diff = data["left"].astype(float) - data["right"]
    d = np.sqrt((diff ** 2).sum(1))
    slope = np.where(data["same"] == 1, 2.0, np.where(d < 1, -2 * (1 - d) / d, 0))
    np.testing.assert_allclose(cli.load("g.npy"), (upstream * slope)[:, None] * diff, rtol=2e-5,
                               atol=1e-6)
    cli.ok(*rows, "--grad-left", "plain.npy")
    cli.ok(*rows, "--upstream", "one.npy", "--grad-left", "twice.npy")
    np.testing.assert_allclose(cli.load("twice.npy"), 2 * cli.load("plain.npy"), rtol=1e-6)
    assert "40" in cli.fails(DATA, *rows, "--reduction", "none", "--upstream", "one.npy")


def test_reference_with_ids(cli, data):
    x, y = data["x"].astype(float), data["y"]
    cli.save(r=data["x"][10:40], rl=y[10:40], ids=np.arange(60), rids=np.arange(10, 40))
    arguments = ["loss", "x.npy", "--labels", "y.npy", "--reference", "r.npy",
                 "--reference-labels", "rl.npy"]
    d = np.sqrt(((x[:, None] - x[None, 10:40]) ** 2).sum(2))
    same = y[:, None] == y[None, 10:40]
    other = np.arange(60)[:, None] != np.arange(10, 40)[None]
    got = cli.json(*arguments)
    assert got["loss"] == pytest.approx(terms_of(d, same).mean(), rel=1e-5)
    got = cli.json(*arguments, "--ids", "ids.npy", "--reference-ids", "rids.npy",
                   "--grad", "gq.npy", "--grad-reference", "gr.npy")
    assert got["loss"] == pytest.approx(terms_of(d, same)[other].mean(), rel=1e-5)
    assert got["positive_pairs"] == (same & other).sum()
    assert cli.load("gq.npy").shape == (60, 5) and cli.load("gr.npy").shape == (30, 5)
    assert "together" in cli.fails(USAGE, *arguments, "--ids", "ids.npy")


def test_types_may_differ_between_two_sets(cli, data):
    cli.save(r=data["right"].astype(float))
    mixed = cli.json("loss", "--left", "left.npy", "--right", "r.npy", "--same", "same.npy")
    plain = cli.json("loss", "--left", "left.npy", "--right", "right.npy", "--same", "same.npy")
    assert mixed["loss"] == pytest.approx(plain["loss"], rel=1e-6)


# ---- statistics ---------------------------------------------------------------------------------


def test_undefined_values_are_null(cli):
    cli.save(x=np.eye(3), y=np.arange(3), one=np.zeros(3, int))
    got = cli.json("loss", "x.npy", "--labels", "y.npy")
    assert got["positive_pairs"] == 0 and got["mean_positive_distance"] is None
    got = cli.json("loss", "x.npy", "--labels", "one.npy")
    assert got["negative_pairs"] == 0 and got["mean_negative_distance"] is None


def test_without_statistics_the_value_is_the_same(cli, data):
    full = cli.json("loss", "x.npy", "--labels", "y.npy")
    bare = cli.json("loss", "x.npy", "--labels", "y.npy", "--no-stats")
    assert bare["loss"] == full["loss"] and bare["active_negative"] == full["active_negative"]
    assert bare["active_positive"] is None and bare["mean_positive_distance"] is None


def test_numbers_have_17_digits(cli, data):
    text = cli.ok("loss", "x.npy", "--labels", "y.npy", "--json").stdout
    value = text.split('"loss": ')[1].split(",")[0]
    assert repr(float(value)) == repr(cli.json("loss", "x.npy", "--labels", "y.npy")["loss"])
    assert len(value.replace("0.", "").replace(".", "").lstrip("0")) >= 15


# ---- words --------------------------------------------------------------------------------------


def test_inactive_negatives_are_told_with_a_margin_that_helps(cli):
    rng = np.random.default_rng(0)
    cli.save(x=rng.random((80, 64)), y=rng.integers(0, 4, 80))
    said = cli.ok("loss", "x.npy", "--labels", "y.npy", "--loss", "hinge").stderr
    assert "no negative pair is active" in said
    margin = float(said.split("try --margin ")[1])
    assert 9 <= margin <= 14
    got = cli.json("loss", "x.npy", "--labels", "y.npy", "--loss", "hinge", "--margin", margin)
    assert 0.2 < got["active_negative"] / got["negative_pairs"] < 0.8
    assert "no negative pair is active" in cli.ok("loss", "x.npy", "--labels", "y.npy",
                                                  "--no-stats").stderr


def test_no_pair_at_all_is_told(cli):
    cli.save(x=np.eye(3), none=np.full(3, -1), one=np.zeros(3, int), all=np.arange(3))
    assert "no valid pair" in cli.ok("loss", "x.npy", "--labels", "none.npy").stderr
    assert "no negative pair" in cli.ok("loss", "x.npy", "--labels", "one.npy").stderr
    assert "no positive pair" in cli.ok("loss", "x.npy", "--labels", "all.npy").stderr
    assert cli.json("loss", "x.npy", "--labels", "none.npy")["loss"] == 0


def test_duplicates_of_another_class_are_told(cli):
    cli.save(x=np.zeros((4, 2)), y=np.array([0, 0, 1, 1]))
    assert "coincide" in cli.ok("loss", "x.npy", "--labels", "y.npy").stderr


def test_another_metric_keeps_the_exponent_and_says_so(cli, data):
    done = cli.ok("loss", "x.npy", "--labels", "y.npy", "--metric", "cityblock")
    assert "exponent 2" in done.stderr and "cityblock" in done.stderr
    got = cli.json("loss", "x.npy", "--labels", "y.npy", "--metric", "cityblock")
    assert got["pos_exponent"] == 2 and got["pos_metric"] == "cityblock"
    done = cli.ok("loss", "x.npy", "--labels", "y.npy", "--neg-metric", "cosine")
    assert "positives use euclidean" in done.stderr and "negatives cosine" in done.stderr


def test_dot_needs_a_margin(cli, data):
    batch = ["loss", "x.npy", "--labels", "y.npy"]
    assert "--margin" in cli.fails(USAGE, *batch, "--metric", "dot")
    assert "--margin" in cli.fails(USAGE, *batch, "--neg-metric", "dot")
    assert "--pos-margin" in cli.fails(USAGE, *batch, "--pos-metric", "dot")
    cli.ok(*batch, "--metric", "dot", "--margin", "-0.5")
    cli.ok(*batch, "--neg-metric", "dot", "--neg-margin", "0")


# ---- forms that do not go together --------------------------------------------------------------


@pytest.mark.parametrize("arguments", [
    ["x.npy", "--left", "left.npy", "--right", "right.npy", "--same", "same.npy"],
    ["--left", "left.npy", "--right", "right.npy"],
    ["--left", "left.npy", "--right", "right.npy", "--same", "same.npy", "--labels", "y.npy"],
    ["--left", "left.npy", "--right", "right.npy", "--same", "same.npy", "--grad", "g.npy"],
    ["x.npy", "--labels", "y.npy", "--pairs", "p.npz"],
    ["x.npy", "--labels", "y.npy", "--terms", "t.npy"],
    ["x.npy", "--labels", "y.npy", "--weights", "w.npy"],
    ["x.npy", "--labels", "y.npy", "--reduction", "none"],
    ["x.npy", "--labels", "y.npy", "--upstream", "u.npy"],
    ["x.npy", "--labels", "y.npy", "--loss", "nca", "--upstream", "u.npy"],
    ["x.npy", "--labels", "y.npy", "--reduction", "divisor"],
    ["x.npy", "--labels", "y.npy", "--divisor", "2"],
    ["x.npy", "--labels", "y.npy", "--reduction", "divisor", "--divisor", "0"],
    ["x.npy", "--labels", "y.npy", "--reference-labels", "y.npy"],
    ["x.npy", "--labels", "y.npy", "--normalize", "--no-normalize"],
    ["x.npy", "--labels", "y.npy", "--margin", "1", "--neg-margin", "1"],
    ["x.npy", "--labels", "y.npy", "--grad", "g.csv"],
    ["x.npy", "--labels", "y.npy", "--loss", "n-pairs", "--reference", "x.npy",
     "--reference-labels", "y.npy"],
])
def test_contradictions_are_refused(cli, data, arguments):
    cli.fails(USAGE, "loss", *arguments)
    assert not (cli.folder / "g.npy").exists()


def test_pairs_outside_the_rows(cli, data):
    cli.save(far=np.array([[0, 60, 1]]), twin=np.array([[4, 4, 1]]), minus=np.array([[-1, 2, 0]]))
    for name in ("far", "twin", "minus"):
        cli.fails(DATA, "loss", "x.npy", "--pairs", f"{name}.npy")


# ---- triplets -----------------------------------------------------------------------------------


def triplet_loss(t, y, which, margin, smooth, over):
    """Mean over the chosen triplets (a, p, n), in plain loops."""
    terms = []
    for a in range(len(y)):
        positive = [p for p in range(len(y)) if p != a and y[p] == y[a] >= 0]
        negative = [n for n in range(len(y)) if y[n] != y[a] and y[n] >= 0 and y[a] >= 0]
        if not positive or not negative:
            continue
        hardest = min(negative, key=lambda n: t[a, n])
        for p in positive:
            beyond = [n for n in negative if t[a, n] > t[a, p]]
            semi = min(beyond, key=lambda n: t[a, n]) if beyond else max(negative,
                                                                         key=lambda n: t[a, n])
            for n in {"all": negative, "semi-hard": [semi], "hard": [hardest]}[which]:
                if which != "hard" or p == max(positive, key=lambda p: t[a, p]):
                    terms.append(t[a, p] - t[a, n] + margin)
    terms = np.array(terms)
    terms = np.log1p(np.exp(terms)) if smooth else np.maximum(terms, 0)
    return len(terms), (terms > 0).sum(), {"mean": np.mean(terms), "sum": np.sum(terms),
                                           "mean-nonzero": terms[terms > 0].mean()}[over]


@pytest.mark.parametrize("smooth", [[], ["--smooth"]])
@pytest.mark.parametrize("which", ["all", "semi-hard", "hard"])
@pytest.mark.parametrize("over", ["mean", "sum", "mean-nonzero"])
def test_triplets(cli, which, over, smooth):
    rng = np.random.default_rng(11)
    x, y = rng.normal(size=(24, 4)), rng.integers(-1, 5, 24)
    cli.save(x=x, y=y)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    for options, rows in ([], unit), (["--no-normalize"], x):
        got = cli.json("loss", "x.npy", "--labels", "y.npy", "--loss", "triplet", "--margin", "0.3",
                       "--triplets", which, "--reduction", over, *smooth, *options)
        t = np.sqrt(((rows[:, None] - rows) ** 2).sum(-1))
        terms, active, value = triplet_loss(t, y, which, 0.3, smooth, over)
        assert got["loss"] == pytest.approx(value, rel=1e-12)
        assert (got["terms"], got["active_terms"]) == (terms, active)
        assert got["triplets"] == which and got["smooth"] == bool(smooth)


def test_fast_takes_other_distances(cli):
    rng = np.random.default_rng(12)
    cli.save(x=rng.normal(size=(150, 40)).astype("f4"), y=rng.integers(0, 5, 150))
    for options in ["--margin", "9"], ["--loss", "supcon"], ["--loss", "triplet"]:
        plain = cli.json("loss", "x.npy", "--labels", "y.npy", *options)
        fast = cli.json("loss", "x.npy", "--labels", "y.npy", "--fast", *options)
        assert fast["fast"] is True and plain["fast"] is False
        assert fast["loss"] == pytest.approx(plain["loss"], rel=1e-4)
        assert fast["loss"] != plain["loss"]
    assert "neg_metric is dot" in cli.fails(
        USAGE, "loss", "x.npy", "--labels", "y.npy", "--fast", "--neg-metric", "dot",
        "--margin", "0")


def test_triplets_are_all_without_a_word(cli, data):
    plain = cli.json("loss", "x.npy", "--labels", "y.npy", "--loss", "triplet")
    assert plain == cli.json("loss", "x.npy", "--labels", "y.npy", "--loss", "triplet",
                             "--triplets", "all", "--threads", "1")
    assert plain["reduction"] == "mean-nonzero" and plain["neg_margin"] == 0.05
    assert "above 0" in cli.ok("loss", "x.npy", "--labels", "y.npy", "--loss", "triplet").stdout
    margin = cli.json("loss", "x.npy", "--labels", "y.npy", "--loss", "margin", "--beta", "1")
    assert margin["beta"] == 1 and margin["terms"] == plain["terms"]


@pytest.mark.parametrize("arguments", [
    ["--loss", "weston", "--triplets", "hard"], ["--loss", "margin", "--smooth"],
    ["--loss", "triplet", "--triplets", "easy"], ["--loss", "triplet", "--reduction", "mean-sides"],
    ["--loss", "triplet", "--pos-metric", "cosine"]])
def test_triplet_contradictions(cli, data, arguments):
    assert cli.run("loss", "x.npy", "--labels", "y.npy", *arguments).returncode in (USAGE, 1)


# ---- losses that compare the pairs of a row -----------------------------------------------------


def supcon(x, y, temperature):
    u = x.astype(float) / np.linalg.norm(x.astype(float), axis=1, keepdims=True)
    s = u @ u.T / temperature
    others = ~np.eye(len(x), dtype=bool)
    positive = (y[:, None] == y) & others
    terms = [np.log(np.exp(s[i][others[i]]).sum()) - s[i][positive[i]].mean()
             for i in range(len(x)) if positive[i].any()]
    return np.mean(terms), len(terms)


@pytest.mark.parametrize("temperature", [None, 0.5])
def test_supcon_against_numpy(cli, data, temperature):
    options = () if temperature is None else ("--temperature", str(temperature))
    got = cli.json("loss", "x.npy", "--labels", "y.npy", "--loss", "supcon", *options)
    value, terms = supcon(data["x"], data["y"], temperature or 0.1)
    assert got["loss"] == pytest.approx(value, rel=1e-5)
    assert got["active_terms"] == terms and got["temperature"] == (temperature or 0.1)
    assert got["kind"] == "supcon" and "pos_exponent" not in got and "alpha" not in got


NAMES = ("nt-xent", "supcon", "nca", "multi-similarity", "circle", "lifted", "generalized-lifted",
         "n-pairs")


@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_belong_together(cli, data, name):
    x, y = data["x"].astype(float), data["y"]
    direction = np.random.default_rng(3).normal(size=x.shape)
    h = 1e-6
    cli.save(wide=x, above=x + h * direction, below=x - h * direction)
    at = cli.json("loss", "wide.npy", "--labels", "y.npy", "--loss", name, "--grad", "g.npy")
    assert at["loss"] > 0 and at["terms"] >= at["active_terms"] > 0
    value = {name_: cli.json("loss", f"{name_}.npy", "--labels", "y.npy", "--loss", name)["loss"]
             for name_ in ("above", "below")}
    if name != "circle":  # whose gradient holds factors constant
        assert (value["above"] - value["below"]) / (2 * h) == pytest.approx(
            (cli.load("g.npy") * direction).sum(), rel=1e-4, abs=1e-7)
    table = cli.ok("loss", "x.npy", "--labels", "y.npy", "--loss", name).stdout
    assert f"{at['terms']}, {at['active_terms']} above 0" in table


@pytest.mark.parametrize("name", NAMES)
def test_lists_of_pairs_are_for_other_losses(cli, data, name):
    cli.save(left=data["x"][:4], right=data["x"][4:8], same=np.array([1, 0, 1, 0], np.uint8))
    message = cli.fails(USAGE, "loss", "--left", "left.npy", "--right", "right.npy", "--same",
                        "same.npy", "--loss", name)
    assert name in message


@pytest.mark.parametrize(("name", "option"), [
    ("supcon", ("--margin", "1")), ("supcon", ("--exponent", "2")), ("lifted", ("--gamma", "2")),
    ("weston", ("--temperature", "2")), ("circle", ("--metric", "dot")),
    ("nca", ("--reduction", "mean-sides")), ("n-pairs", ("--pos-weight", "2"))])
def test_an_option_of_another_loss_is_refused(cli, data, name, option):
    message = cli.fails(USAGE, "loss", "x.npy", "--labels", "y.npy", "--loss", name, *option)
    assert name in message or "contrastive" in message


def test_one_class_has_nothing_to_compare(cli, data):
    cli.save(one=np.zeros(len(data["x"]), np.int64))
    for name in ("nt-xent", "supcon", "nca", "circle", "lifted", "n-pairs"):
        result = cli.ok("loss", "x.npy", "--labels", "one.npy", "--loss", name, "--grad", "g.npy")
        assert result.stdout.split()[1] == "0" and not cli.load("g.npy").any()
        assert "no term is above 0" in result.stderr


# ---- terms and divisors -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ("weston", "triplet", *NAMES))
def test_divisor_divides_the_sum(cli, data, name):
    def run(*reduction):
        at = cli.json("loss", "x.npy", "--labels", "y.npy", "--loss", name, "--grad", "g.npy",
                      "--reduction", *reduction)
        return at, cli.load("g.npy")
    (total, whole), (at, part) = run("sum"), run("divisor", "--divisor", "8")
    assert at["loss"] == pytest.approx(total["loss"] / 8, rel=1e-14) and total["loss"] > 0
    assert np.allclose(part, whole / 8, rtol=1e-6, atol=0)
    assert at["divisor"] == 8 and "divisor" not in total


@pytest.mark.parametrize("name", ("triplet", "margin", *NAMES))
def test_terms_of_rows(cli, data, name):
    rows = ("loss", "x.npy", "--labels", "y.npy", "--loss", name)
    kept = cli.json(*rows, "--reduction", "none", "--terms", "t.npy", "--grad", "g.npy")
    total = cli.json(*rows, "--reduction", "sum", "--grad", "s.npy")
    terms = cli.load("t.npy")
    assert terms.shape == data["y"].shape and terms.dtype == np.float64
    assert kept["loss"] == total["loss"] == pytest.approx(terms.sum(), rel=1e-12)
    assert np.array_equal(cli.load("g.npy"), cli.load("s.npy"))
    cli.save(up=np.arange(len(terms)) / 7, left=np.eye(len(terms))[3], right=np.eye(len(terms))[4])
    parts = []
    for upstream in ("left", "right"):
        cli.ok(*rows, "--reduction", "none", "--upstream", f"{upstream}.npy", "--grad", "p.npy")
        parts.append(cli.load("p.npy"))
    cli.save(both=np.load(cli.folder / "left.npy") + 2 * np.load(cli.folder / "right.npy"))
    cli.ok(*rows, "--reduction", "none", "--upstream", "both.npy", "--grad", "p.npy")
    assert np.allclose(cli.load("p.npy"), parts[0] + 2 * parts[1], rtol=1e-4, atol=1e-6)


def test_terms_of_supcon_rows(cli, data):
    cli.ok("loss", "x.npy", "--labels", "y.npy", "--loss", "supcon", "--reduction", "mean",
           "--terms", "t.npy")
    value, terms = supcon(data["x"], data["y"], 0.1)
    kept = cli.load("t.npy")
    assert kept.sum() / terms == pytest.approx(value, rel=1e-5)
    cli.save(short=np.ones(3))
    assert "short" in cli.fails(DATA, "loss", "x.npy", "--labels", "y.npy", "--loss", "supcon",
                                "--reduction", "none", "--upstream", "short.npy")


# ---- hard pairs ---------------------------------------------------------------------------------


def hard_terms(t, same, margin=0.5):
    """Terms of the pairs that are hard among those listed."""
    near = (t < t[same].max()) * np.maximum(0, margin - t) ** 2
    return np.where(same, (t > t[~same].min()) * t ** 2, near)


def cosine_distance(a, b):
    a, b = (rows.astype(float) / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (a, b))
    return 1 - (a * b).sum(1)


def test_hard_pairs_of_a_batch_a_list_and_rows(cli, data):
    x, y = data["x"], data["y"]
    i, j = np.triu_indices(len(x), 1)
    same = y[i] == y[j]
    terms = hard_terms(cosine_distance(x[i], x[j]), same)
    cli.save(a=x[i], b=x[j], s=same.astype(np.uint8))
    np.savez(cli.folder / "p.npz", i=i, j=j, same=same)
    online = ("--loss", "online-contrastive")
    for form in (["x.npy", "--labels", "y.npy"], ["x.npy", "--pairs", "p.npz"],
                 ["--left", "a.npy", "--right", "b.npy", "--same", "s.npy"]):
        got = cli.json("loss", *form, *online)
        assert got["loss"] == pytest.approx(terms.sum(), rel=1e-5)
        assert got["active_positive"] == (terms[same] > 0).sum() > 0
        assert got["active_negative"] == (terms[~same] > 0).sum() > 0
        assert "terms" not in got
    cli.json("loss", "x.npy", "--pairs", "p.npz", *online, "--reduction", "none", "--terms", "t.npy")
    np.testing.assert_allclose(cli.load("t.npy"), terms, rtol=1e-4, atol=1e-9)
    assert "dot" in cli.fails(USAGE, "loss", "x.npy", "--labels", "y.npy", *online, "--metric", "dot")


def test_hard_pairs_train(cli, data):
    for source in (["x.npy", "--labels", "y.npy"],
                   ["x.npy", "--labels", "y.npy", "--mine", "pair-margin"],
                   ["x.npy", "--labels", "y.npy", "--mine", "batch-hard"],
                   ["--left", "left.npy", "--right", "right.npy", "--same", "same.npy"]):
        run = cli.ok("train", *source, "-o", "m.safetensors", "--loss", "online-contrastive",
                     "--epochs", "2")
        assert "m.safetensors" in run.stdout + run.stderr
