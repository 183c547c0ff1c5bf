"""pairs, distances, knn, eval, embed and info: what they write, against NumPy."""

import gzip
import math
import re

import numpy as np
import pytest

USAGE, DATA, IO = 2, 3, 6


def full(x, y=None):
    y = x if y is None else y
    return np.sqrt(((x[:, None].astype(float) - y[None]) ** 2).sum(2))


# ---- pairs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["positive", "negative", "both"])
def test_every_pair_in_order(cli, kind):
    y = np.array([3, 1, -1, 3, 3, 7, 1])
    cli.save(y=y)
    i, j = np.triu_indices(len(y), 1)
    same = y[i] == y[j]
    keep = (y[i] != -1) & (y[j] != -1)
    keep &= {"positive": same, "negative": ~same, "both": np.ones_like(same)}[kind]
    cli.ok("pairs", "--labels", "y.npy", "--all", kind, "-o", "p.npy")
    got = cli.load("p.npy")
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, np.stack([i[keep], j[keep], same[keep]], 1))


def test_counts_without_an_output(cli):
    cli.save(y=np.array([0, 0, 1, 1, 1, 2, -1]))
    got = cli.json("pairs", "--labels", "y.npy")
    assert got["classes"] == 3 and got["labelled"] == 6 and got["singletons"] == 1
    assert got["positive_pairs"] == 1 + 3 and got["negative_pairs"] == 15 - 4
    assert "positive pairs" in cli.ok("pairs", "--labels", "y.npy").stdout
    got = cli.json("pairs", "--labels", "y.npy", "--unlabelled", "none")
    assert got["classes"] == 4 and got["labelled"] == 7


def test_minus_one_and_one_alone_are_not_guessed(cli):
    cli.save(y=np.array([-1, 1, 1, -1]))
    assert "--unlabelled none" in cli.fails(DATA, "pairs", "--labels", "y.npy")
    assert cli.json("pairs", "--labels", "y.npy", "--unlabelled", "none")["classes"] == 2


def test_sample_and_gather(cli, data):
    arguments = ["pairs", "--labels", "y.npy", "-n", "200", "--positive-fraction", "0.25",
                 "--seed", "5"]
    cli.ok(*arguments, "--data", "x.npy", "--left", "l.npy", "--right", "r.npy", "--same", "s.npy",
           "-o", "p.npz")
    p = np.load(cli.folder / "p.npz")
    assert sorted(p.files) == ["i", "j", "same", "weight"]
    np.testing.assert_array_equal(p["same"], data["y"][p["i"]] == data["y"][p["j"]])
    assert p["same"].sum() == 50 and (p["i"] < p["j"]).all()
    np.testing.assert_array_equal(cli.load("l.npy"), data["x"][p["i"]])
    np.testing.assert_array_equal(cli.load("r.npy"), data["x"][p["j"]])
    np.testing.assert_array_equal(cli.load("s.npy"), p["same"])
    cli.ok(*arguments, "-o", "p.npy")
    np.testing.assert_array_equal(cli.load("p.npy"), np.stack([p["i"], p["j"], p["same"]], 1))
    cli.ok(*arguments, "-o", "again.npy", "--threads", "3")
    assert cli.bytes("p.npy") == cli.bytes("again.npy")
    cli.ok(*arguments[:-1], "6", "-o", "other.npy")
    assert cli.bytes("p.npy") != cli.bytes("other.npy")


def test_gather_of_every_pair(cli, data):
    cli.ok("pairs", "--labels", "y.npy", "--all", "positive", "--data", "x.npy", "--left", "l.npy",
           "--right", "r.npy", "--same", "s.npy", "-o", "p.npy")
    p = cli.load("p.npy")
    np.testing.assert_array_equal(cli.load("l.npy"), data["x"][p[:, 0]])
    np.testing.assert_array_equal(cli.load("r.npy"), data["x"][p[:, 1]])
    assert cli.load("s.npy").all()


def test_gathered_arrays_give_the_loss_of_the_list(cli, data):
    cli.ok("pairs", "--labels", "y.npy", "-n", "100", "--data", "x.npy", "--left", "l.npy",
           "--right", "r.npy", "--same", "s.npy", "-o", "p.npy")
    rows = cli.json("loss", "--left", "l.npy", "--right", "r.npy", "--same", "s.npy")
    listed = cli.json("loss", "x.npy", "--pairs", "p.npy")
    assert rows["loss"] == pytest.approx(listed["loss"], rel=1e-12)


def test_sampling_without_replacement(cli):
    cli.save(y=np.array([0, 0, 0, 1, 1, 1]))
    cli.ok("pairs", "--labels", "y.npy", "-n", "15", "--positive-fraction", "0.4", "--no-replace",
           "-o", "p.npy")
    assert len(np.unique(cli.load("p.npy"), axis=0)) == 15
    cli.fails(DATA, "pairs", "--labels", "y.npy", "-n", "16", "--no-replace", "-o", "p.npy")


@pytest.mark.parametrize("arguments", [
    ["--all", "both", "-n", "5", "-o", "p.npy"],
    ["-o", "p.npy"],
    ["--all", "both", "-o", "p.npz"],
    ["-n", "5", "-o", "p.csv"],
    ["-n", "5", "--left", "l.npy", "-o", "p.npy"],
    ["--all", "both", "--positive-fraction", "0.5", "-o", "p.npy"],
    ["--all", "both", "--seed", "1", "-o", "p.npy"],
])
def test_pairs_contradictions(cli, data, arguments):
    cli.fails(USAGE, "pairs", "--labels", "y.npy", *arguments)


# ---- distances and neighbours -------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16])
def test_full_matrix(cli, data, kind):
    x = (data["x"] * 10).astype(kind)
    cli.save(a=x, b=x[:7])
    cli.ok("distances", "a.npy", "-o", "d.npy")
    d = cli.load("d.npy")
    assert d.dtype == (np.float64 if kind is np.float64 else np.float32)
    np.testing.assert_allclose(d, full(x), rtol=1e-6)
    assert (np.diag(d) == 0).all() and (d == d.T).all()
    cli.ok("distances", "a.npy", "b.npy", "-o", "e.npy")
    np.testing.assert_array_equal(cli.load("e.npy"), d[:, :7])


def test_condensed_has_the_bits_of_the_full_matrix(cli):
    x = np.random.default_rng(1).normal(size=(301, 3)).astype(np.float32)
    cli.save(x=x)
    got = cli.json("distances", "x.npy", "--condensed", "-o", "c.npy")
    assert got["shape"] == [301 * 150]
    cli.ok("distances", "x.npy", "-o", "d.npy")
    np.testing.assert_array_equal(cli.load("c.npy"), cli.load("d.npy")[np.triu_indices(301, 1)])


@pytest.mark.parametrize("n", [0, 1, 2])
def test_condensed_of_few_rows(cli, n):
    cli.save(x=np.zeros((n, 3)))
    cli.ok("distances", "x.npy", "--condensed", "-o", "c.npy")
    assert cli.load("c.npy").shape == (n * (n - 1) // 2,)
    cli.ok("distances", "x.npy", "-o", "d.npy")
    assert cli.load("d.npy").shape == (n, n)


def test_blocks_do_not_show(cli):
    x = np.random.default_rng(2).normal(size=(5000, 2)).astype(np.float32)
    cli.save(x=x)
    cli.ok("distances", "x.npy", "-o", "d.npy")
    d = np.load(cli.folder / "d.npy", mmap_mode="r")
    assert d.shape == (5000, 5000)
    pick = np.r_[0:3, 1670:1690, 4990:5000]
    np.testing.assert_allclose(d[pick], full(x[pick], x), rtol=1e-6, atol=1e-12)
    assert (d[pick] == d[:, pick].T).all()
    cli.ok("distances", "x.npy", "--condensed", "-o", "c.npy")
    np.testing.assert_array_equal(cli.load("c.npy"), d[np.triu_indices(5000, 1)])


def test_pair_list_of_every_format(cli, data):
    i, j = np.array([0, 5, 5, 59]), np.array([3, 5, 7, 0])
    np.savez(cli.folder / "p.npz", i=i, j=j)
    cli.save(two=np.stack([i, j], 1), three=np.stack([i, j, i == j], 1).astype(np.int64))
    cli.write("p.csv", "i,j,same\n" + "".join(f"{a},{b},1\n" for a, b in zip(i, j)))
    want = full(data["x"])[i, j]
    for name in ("p.npz", "two.npy", "three.npy", "p.csv"):
        cli.ok("distances", "x.npy", "--pairs", name, "-o", "d.npy")
        np.testing.assert_allclose(cli.load("d.npy"), want, rtol=1e-6)
    cli.save(bad=np.array([[0, 60]]))
    assert "60" in cli.fails(DATA, "distances", "x.npy", "--pairs", "bad.npy", "-o", "d.npy")
    cli.save(flat=np.arange(4))
    assert "(n, 2)" in cli.fails(DATA, "distances", "x.npy", "--pairs", "flat.npy", "-o", "d.npy")


@pytest.mark.parametrize("arguments", [
    ["--condensed", "--pairs", "p.npz"], ["right.npy", "--condensed"], ["-o", "d.csv"],
])
def test_distances_contradictions(cli, data, arguments):
    output = [] if "-o" in arguments else ["-o", "d.npy"]
    cli.fails(USAGE, "distances", "x.npy", *arguments, *output)


def test_fast_distances_and_neighbours(cli):
    x = np.random.default_rng(4).normal(size=(60, 40)).astype("f4")
    x[7] = x[3]
    cli.save(x=x)
    cli.ok("distances", "x.npy", "-o", "direct.npy")
    got = cli.json("distances", "x.npy", "--fast", "-o", "fast.npy")
    direct, fast = cli.load("direct.npy"), cli.load("fast.npy")
    assert got["fast"] is True and not np.array_equal(direct, fast) and fast[3, 7] == 0
    np.testing.assert_allclose(fast, full(x), rtol=20 * 43 * 2.0 ** -24)
    cli.ok("knn", "x.npy", "-k", "4", "--fast", "-o", "i.npy", "--distances", "d.npy")
    np.testing.assert_array_equal(cli.load("d.npy"), np.take_along_axis(fast, cli.load("i.npy"), 1))
    for command in (["distances", "x.npy", "-o", "no.npy"], ["knn", "x.npy", "-o", "no.npy"],
                    ["eval", "x.npy", "--labels", "x.npy"]):
        assert "--fast" in cli.fails(USAGE, *command, "--fast", "--metric", "cityblock")


def test_distances_larger_than_the_disk_are_refused_before_any_work(cli):
    with open(cli.folder / "x.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (20000000, 1)})
        file.truncate(file.tell() + 80000000)
    message = cli.fails(IO, "distances", "x.npy", "-o", "d.npy")
    assert "1.6 PB" in message and "free" in message
    assert cli.names() == ["x.npy"]


def test_neighbours(cli, data):
    d = full(data["x"])
    np.fill_diagonal(d, np.inf)
    cli.ok("knn", "x.npy", "-k", "4", "-o", "i.npy", "--distances", "d.npy")
    index = cli.load("i.npy")
    np.testing.assert_array_equal(index, np.argsort(d, 1, kind="stable")[:, :4])
    np.testing.assert_allclose(cli.load("d.npy"), np.take_along_axis(d, index, 1), rtol=1e-6)
    cli.ok("knn", "x.npy", "right.npy", "-k", "4", "-o", "j.npy")
    np.testing.assert_array_equal(cli.load("j.npy"),
                                  np.argsort(full(data["x"], data["right"]), 1)[:, :4])


def test_more_neighbours_than_rows(cli, data):
    assert "59" in cli.fails(USAGE, "knn", "x.npy", "-k", "60", "-o", "i.npy")
    assert "40" in cli.fails(USAGE, "knn", "x.npy", "right.npy", "-k", "41", "-o", "i.npy")


# ---- evaluation ---------------------------------------------------------------------------------

EVAL_KEYS = {"n", "queries", "dropped", "r_precision", "map_at_r", "knn_accuracy", "roc_auc", "eer",
             "eer_threshold", "tar_at_far_1e-2", "tar_at_far_1e-3", "best_accuracy",
             "best_threshold", "metric"}


def test_evaluation(cli, data):
    got = cli.json("eval", "x.npy", "--labels", "y.npy", "-k", "1,3")
    assert EVAL_KEYS | {"recall_at_1", "recall_at_3"} <= set(got)
    d = full(data["x"])
    i, j = np.triu_indices(60, 1)
    same, far = data["y"][i] == data["y"][j], d[i, j]
    auc = (far[same][:, None] < far[~same][None]).mean()
    assert got["roc_auc"] == pytest.approx(auc, rel=1e-9)
    np.fill_diagonal(d, np.inf)
    hit = data["y"][np.argsort(d, 1)] == data["y"][:, None]
    assert got["recall_at_1"] == pytest.approx(hit[:, 0].mean())
    assert got["recall_at_3"] == pytest.approx(hit[:, :3].any(1).mean())
    table = cli.ok("eval", "x.npy", "--labels", "y.npy", "--metric", "cosine").stdout
    assert table.startswith("metric") and "cosine" in table.splitlines()[0]
    for word in ("recall@1", "recall@10", "R-precision", "MAP@R", "kNN accuracy", "ROC AUC", "EER",
                 "TAR@FAR=1e-3", "best accuracy", "dropped"):
        assert word in table


def test_undefined_scores_are_null_and_told(cli):
    cli.save(x=np.eye(4), all=np.arange(4), one=np.zeros(4, int))
    got = cli.json("eval", "x.npy", "--labels", "all.npy")
    assert got["map_at_r"] is None and got["roc_auc"] is None and got["dropped"] == 4
    done = cli.ok("eval", "x.npy", "--labels", "all.npy")
    assert "undefined" in done.stderr and "nan" not in done.stdout.lower()
    assert cli.json("eval", "x.npy", "--labels", "one.npy")["eer"] is None


def test_reversed_labels_are_told(cli):
    x = np.array([[0.0], [0.1], [10.0], [10.1]])
    cli.save(x=x, y=np.array([0, 1, 0, 1]))
    assert "reversed" in cli.ok("eval", "x.npy", "--labels", "y.npy").stderr
    cli.save(y=np.array([0, 0, 1, 1]))
    assert "reversed" not in cli.ok("eval", "x.npy", "--labels", "y.npy").stderr


def test_reference_set(cli, data):
    cli.save(r=data["x"], rl=data["y"], ids=np.arange(60))
    itself = cli.json("eval", "x.npy", "--labels", "y.npy")
    got = cli.json("eval", "x.npy", "--labels", "y.npy", "--reference", "r.npy",
                   "--reference-labels", "rl.npy", "--ids", "ids.npy", "--reference-ids",
                   "ids.npy")
    for key in ("recall_at_1", "map_at_r", "r_precision", "roc_auc"):
        assert got[key] == pytest.approx(itself[key], rel=1e-12)


def sets_of(labels, columns):
    return (np.asarray(labels)[:, None] == np.arange(columns)).astype(np.uint8)


def test_one_label_in_every_set_is_the_evaluation_of_labels(cli, data):
    cli.save(sets=sets_of(data["y"], data["y"].max() + 1), r=data["x"][:40] + 0.25,
             rl=data["y"][:40], rs=sets_of(data["y"][:40], data["y"].max() + 1),
             ids=np.arange(60), rids=np.arange(40))
    assert cli.json("eval", "x.npy", "--label-sets", "sets.npy") == cli.json(
        "eval", "x.npy", "--labels", "y.npy")
    reference = ["--reference", "r.npy", "--ids", "ids.npy", "--reference-ids", "rids.npy"]
    assert cli.json("eval", "x.npy", "--label-sets", "sets.npy", "--reference-label-sets", "rs.npy",
                    *reference) == cli.json("eval", "x.npy", "--labels", "y.npy",
                                            "--reference-labels", "rl.npy", *reference)


def test_several_labels_a_row(cli, data):
    x, rng = data["x"], np.random.default_rng(3)
    sets = (rng.random((60, 6)) < 0.2).astype(np.uint8)
    cli.save(sets=sets)
    got = cli.json("eval", "x.npy", "--label-sets", "sets.npy", "-k", "1,3")
    keep = sets.any(1)
    assert 0 < (~keep).sum() and got["n"] == keep.sum()
    d, same = full(x[keep]), (sets[keep] @ sets[keep].T) > 0
    np.fill_diagonal(d, np.inf)
    order = np.argsort(d, 1, kind="stable")
    precision, average, recall = [], [], []
    for q, row in enumerate(order[:, :-1]):
        hit = same[q, row]
        relevant = hit.sum()
        if relevant == 0:
            continue
        share = np.cumsum(hit) / np.arange(1, len(row) + 1)
        precision.append(hit[:relevant].mean())
        average.append((share * hit)[:relevant].sum() / relevant)
        recall.append(hit[:3].any())
    assert got["queries"] == len(recall) and got["dropped"] == keep.sum() - len(recall)
    assert got["r_precision"] == pytest.approx(np.mean(precision))
    assert got["map_at_r"] == pytest.approx(np.mean(average))
    assert got["recall_at_3"] == pytest.approx(np.mean(recall))
    i, j = np.triu_indices(len(same), 1)
    assert got["positive_pairs"] == same[i, j].sum()
    table = cli.ok("eval", "x.npy", "--label-sets", "sets.npy").stdout
    assert "no row shares a label" in table


@pytest.mark.parametrize("arguments, word", [
    (["--labels", "y.npy", "--label-sets", "s.npy"], "does not go with --label-sets"),
    (["--label-sets", "s.npy", "--unlabelled", "none"], "one per row"),
    (["--label-sets", "s.npy", "--reference", "x.npy"], "needs --reference-label-sets"),
    (["--label-sets", "s.npy", "--reference", "x.npy", "--reference-labels", "y.npy"], "one per row"),
    (["--label-sets", "s.npy", "--reference-label-sets", "s.npy"], "--reference, which is missing"),
    (["--labels", "y.npy", "--reference", "x.npy", "--reference-label-sets", "s.npy"],
     "--label-sets, which is missing"),
    (["--label-sets", "s.npy", "--soft", "s.npy"], "belongs to"),
])
def test_options_of_label_sets_that_do_not_go_together(cli, data, arguments, word):
    cli.save(s=sets_of(data["y"], 9))
    assert word in cli.fails(USAGE, "eval", "x.npy", *arguments)


def test_label_sets_must_fit(cli, data):
    sets = sets_of(data["y"], 9)
    cli.save(half=sets * 0.5, short=sets[1:], s=sets, narrow=sets[:, :-1])
    message = cli.fails(DATA, "eval", "x.npy", "--label-sets", "half.npy")
    assert "0 where not" in message and "--soft" not in message
    assert "59 rows" in cli.fails(DATA, "eval", "x.npy", "--label-sets", "short.npy")
    assert "8" in cli.fails(DATA, "eval", "x.npy", "--label-sets", "s.npy", "--reference", "x.npy",
                            "--reference-label-sets", "narrow.npy")


# ---- class names --------------------------------------------------------------------------------


def test_names_mean_the_same_class_in_two_files(cli):
    cli.write("a.csv", "u,label\n0,cat\n10,dog\n20,eel\n")
    cli.write("b.csv", "u,label\n20.5,eel\n10.5,dog\n0.5,cat\n99,fox\n")
    got = cli.json("eval", "a.csv", "--reference", "b.csv")
    assert got["recall_at_1"] == 1.0
    assert cli.json("loss", "a.csv", "--reference", "b.csv")["positive_pairs"] == 3
    cli.save(r=np.zeros((2, 1)), rl=np.arange(2))
    assert "names" in cli.fails(DATA, "eval", "a.csv", "--reference", "r.npy",
                                "--reference-labels", "rl.npy")


def test_label_columns(cli):
    cli.write("t.csv", "a,b,species\n1,2,cat\n2,3,dog\n3,4,cat\n5,6,\n")
    message = cli.fails(DATA, "loss", "t.csv")
    for column in ("a", "b", "species"):
        assert column in message
    by_name = cli.json("loss", "t.csv", "--labels", ":species")
    assert by_name == cli.json("loss", "t.csv", "--labels", ":2")
    assert by_name["positive_pairs"] == 1 and by_name["negative_pairs"] == 2
    cli.fails(DATA, "loss", "t.csv", "--labels", ":genus")
    for name in ("label", "class", "target", "y", "Label"):
        cli.write("u.csv", f"a,{name}\n1,2\n2,3\n3,2\n")
        assert cli.json("loss", "u.csv")["positive_pairs"] == 1


def test_empty_cells_are_no_class(cli):
    cli.write("n.csv", "a,label\n1,-1\n2,3\n4,\n5,3\n6,-1\n")
    got = cli.json("loss", "n.csv")
    assert got["positive_pairs"] == 1 and got["negative_pairs"] == 0
    assert "empty" in cli.fails(DATA, "loss", "n.csv", "--unlabelled", "none")
    cli.write("c.csv", "a,label\n1,cat\n2,dog\n4,\n5,cat\n")
    assert cli.json("loss", "c.csv", "--unlabelled", "none")["negative_pairs"] == 2


def test_labels_from_elsewhere(cli, data):
    cli.write("names.txt", "".join(f"class {c}\n" for c in data["y"]))
    np.savez(cli.folder / "z.npz", x=data["x"], y=data["y"])
    wanted = cli.json("loss", "x.npy", "--labels", "y.npy")
    assert cli.json("loss", "x.npy", "--labels", "names.txt") == wanted
    assert cli.json("loss", "z.npz:x", "--labels", "z.npz:y") == wanted
    assert cli.json("loss", "z.npz") == wanted
    assert "--labels" in cli.fails(USAGE, "loss", "x.npy")
    cli.save(few=data["y"][:59])
    message = cli.fails(DATA, "loss", "x.npy", "--labels", "few.npy")
    assert "59" in message and "60" in message


# ---- info ---------------------------------------------------------------------------------------


def test_info_of_arrays(cli, data):
    got = cli.json("info", "x.npy")
    assert got["format"] == "npy" and got["shape"] == [60, 5] and got["type"] == "float32"
    assert got["min"] == data["x"].min() and got["max"] == data["x"].max()
    got = cli.json("info", "y.npy")
    assert [c["count"] for c in got["classes"]] == np.bincount(data["y"]).tolist()
    cli.save(bad=np.array([1.0, math.nan, math.inf]), big=np.array([2 ** 63 - 1, -2 ** 63]),
             half=np.array([0.5, 65504], "f2"), empty=np.zeros((0, 3)))
    got = cli.json("info", "bad.npy")
    assert got["nan"] == 1 and got["infinite"] == 1 and got["max"] == 1
    assert cli.json("info", "big.npy")["max"] == 2 ** 63 - 1
    assert cli.json("info", "big.npy")["min"] == -2 ** 63
    assert cli.json("info", "half.npy")["max"] == 65504
    assert cli.json("info", "empty.npy")["min"] is None


def test_info_of_other_files(cli, data):
    np.savez(cli.folder / "z.npz", a=data["x"], b=data["y"])
    assert [m["name"] for m in cli.json("info", "z.npz")["members"]] == ["a", "b"]
    assert cli.json("info", "z.npz:a")["shape"] == [60, 5]
    with gzip.open(cli.folder / "x.npy.gz", "wb") as file:
        file.write(cli.bytes("x.npy"))
    assert cli.json("info", "x.npy.gz")["shape"] == [60, 5]
    cli.write("t.csv", "a,b,species\n1,2,cat\n2,3,dog\n3,4,cat\n5,6,\n")
    got = cli.json("info", "t.csv")
    assert got["columns"] == ["a", "b"] and got["label_column"] == "species"
    assert {c["name"]: c["count"] for c in got["classes"]} == {"cat": 2, "dog": 1}
    assert got["unlabelled"] == 1
    shown = cli.run("info", "t.csv").stdout
    assert re.search(r"unlabelled rows +1\n", shown) and re.search(r"classes +2\n", shown)
    assert re.search(r"with one row +1\n", shown)
    got = cli.json("info", "digits")
    assert got["shape"] == [1797, 64] and len(got["classes"]) == 10
    cli.write("junk", "\x00\x01\x02")
    cli.fails(DATA, "info", "junk")


def test_info_from_a_pipe(cli, data):
    done = cli.run("info", "-", "--json", text=False, input=cli.bytes("x.npy"))
    assert done.returncode == 0 and b'"npy"' in done.stdout


# ---- data that cannot be used -------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("arguments", [
    ["loss", "--labels", "y.npy"], ["eval", "--labels", "y.npy"], ["distances", "-o", "d.npy"],
    ["knn", "-k", "2", "-o", "i.npy"], ["train", "--labels", "y.npy", "-o", "m.safetensors"]])
def test_nan_is_named_with_its_place(cli, data, arguments, value):
    x = data["x"].copy()
    x[7, 3] = x[9, 1] = value
    cli.save(bad=x)
    message = cli.fails(DATA, arguments[0], "bad.npy", *arguments[1:])
    assert "bad.npy" in message and "2 values" in message
    assert "row 7" in message and "column 3" in message


def test_nan_passes_if_allowed(cli, data):
    x = data["x"].copy()
    x[7, 3], x[9, 1] = math.nan, math.inf
    cli.save(bad=x)
    for command in (("distances", "bad.npy", "-o", "d.npy"),
                    ("knn", "bad.npy", "-k", "3", "-o", "i.npy")):
        assert "--allow-nonfinite" in cli.fails(DATA, *command)
        cli.ok(*command, "--allow-nonfinite")
    with np.errstate(invalid="ignore"):
        d, expected = cli.load("d.npy"), full(x)
    np.testing.assert_array_equal(np.isnan(d), np.isnan(expected))
    assert np.isinf(d[9, [0, 1, 2]]).all()
    np.testing.assert_allclose(d[:7, :7], expected[:7, :7], rtol=1e-5)
    assert not np.isin(cli.load("i.npy")[:7], (7, 9)).any()
    assert "belongs to distances, knn" in cli.fails(USAGE, "eval", "bad.npy", "--labels", "y.npy",
                                                    "--allow-nonfinite")


def test_shapes_that_do_not_match(cli, data):
    cli.save(thin=data["x"][:, :3], few=data["right"][:30])
    for message in (
            cli.fails(DATA, "distances", "x.npy", "thin.npy", "-o", "d.npy"),
            cli.fails(DATA, "knn", "x.npy", "thin.npy", "-k", "1", "-o", "d.npy"),
            cli.fails(DATA, "eval", "x.npy", "--labels", "y.npy", "--reference", "thin.npy",
                      "--reference-labels", "y.npy")):
        assert "5 columns" in message and "3" in message
    message = cli.fails(DATA, "loss", "--left", "left.npy", "--right", "few.npy", "--same",
                        "same.npy")
    assert "40" in message and "30" in message


def test_damaged_files(cli, data):
    whole = cli.bytes("x.npy")
    (cli.folder / "cut.npy").write_bytes(whole[:-1])
    cli.fails(DATA, "loss", "cut.npy", "--labels", "y.npy")
    (cli.folder / "long.npy").write_bytes(whole + b"x")
    cli.fails(DATA, "loss", "long.npy", "--labels", "y.npy")
    cli.write("m.safetensors", "not a model")
    cli.fails(DATA, "embed", "m.safetensors", "x.npy", "-o", "e.npy")
