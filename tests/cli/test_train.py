"""nearfar train and embed: settings, files, words, and what an interruption leaves behind."""

import hashlib
import json
import os
import signal
import struct

import numpy as np
import pytest

USAGE, DATA, DIVERGED, IO = 2, 3, 4, 6


def metadata(cli, name):
    raw = cli.bytes(name)
    size, = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8:8 + size])["__metadata__"]


@pytest.fixture
def blobs(cli):
    """Four classes apart along two of eight columns."""
    rng = np.random.default_rng(3)
    y = np.repeat(np.arange(4), 40)
    x = rng.normal(size=(160, 8))
    x[:, 0] += 4 * (y % 2)
    x[:, 1] += 4 * (y // 2)
    cli.save(x=x.astype(np.float32), y=y)
    return x, y


def train(cli, *options, output="m.safetensors"):
    return cli.json("train", "x.npy", "--labels", "y.npy", "-o", output, *options)


# ---- the main job -------------------------------------------------------------------------------


def test_training_improves_held_out_digits(cli):
    raw = cli.json("eval", "digits-test")
    got = cli.json("train", "digits-train", "--hidden", "128", "-o", "m.safetensors")
    assert got["last_loss"] < got["first_loss"] and got["map_at_r"] > 0.6
    cli.ok("embed", "m.safetensors", "digits-test", "-o", "e.npy")
    after = cli.json("eval", "e.npy", "--labels", "digits-test")
    assert after["map_at_r"] > raw["map_at_r"] + 0.2


def test_the_same_bytes_for_any_number_of_threads(cli, blobs):
    def digest(*options):
        train(cli, "--hidden", "16", "--epochs", "5", *options)
        return hashlib.sha256(cli.bytes("m.safetensors")).hexdigest()

    one = digest("--threads", "1")
    assert digest("--threads", "2") == digest("--threads", "3") == one
    assert digest("--seed", "1") != one


def test_table_tells_the_whole(cli, blobs):
    done = cli.ok("train", "x.npy", "--labels", "y.npy", "-o", "m.safetensors", "--hidden", "16,12",
                  "--dim", "3")
    for word in ("8 -> 16 -> 12 -> 3", "144 to train, 16 to validate", "MAP@R", "m.safetensors"):
        assert word in done.stdout
    assert "epoch" in done.stderr and "MAP@R" in done.stderr
    assert len(done.stderr.splitlines()) < 15
    quiet = cli.ok("train", "x.npy", "--labels", "y.npy", "-o", "m.safetensors", "-q")
    assert not quiet.stderr and "MAP@R" in quiet.stdout
    every = cli.ok("train", "x.npy", "--labels", "y.npy", "-o", "m.safetensors", "-v", "--epochs",
                   "15", "--patience", "0")
    assert sum("epoch" in line for line in every.stderr.splitlines()) == 15


def test_embedding(cli, blobs):
    x, _ = blobs
    train(cli, "--no-bias", "--no-standardize", "--dim", "3", "--epochs", "2")
    got = cli.json("embed", "m.safetensors", "x.npy", "-o", "e.npy")
    assert got["shape"] == [160, 3] and got["type"] == "float32"
    raw = cli.bytes("m.safetensors")
    size, = struct.unpack("<Q", raw[:8])
    w = np.frombuffer(raw[8 + size:], "<f4")[:24].reshape(3, 8)
    np.testing.assert_allclose(cli.load("e.npy"), x.astype(np.float32) @ w.T, rtol=1e-4, atol=1e-5)
    cli.ok("embed", "m.safetensors", "x.npy", "-o", "e.csv")
    table = np.loadtxt(cli.folder / "e.csv", delimiter=",").astype(np.float32)
    np.testing.assert_array_equal(table, cli.load("e.npy"))
    train(cli, "--normalize-output", "--epochs", "2")
    cli.ok("embed", "m.safetensors", "x.npy", "-o", "e.npy")
    np.testing.assert_allclose(np.linalg.norm(cli.load("e.npy"), axis=1), 1, rtol=1e-5)


def test_the_embedding_of_other_columns_is_refused(cli, blobs):
    train(cli, "--epochs", "1")
    cli.save(thin=np.zeros((3, 5)))
    message = cli.fails(DATA, "embed", "m.safetensors", "thin.npy", "-o", "e.npy")
    assert "5 columns" in message and "takes 8" in message
    assert ".npy or .csv" in cli.fails(USAGE, "embed", "m.safetensors", "x.npy", "-o", "e.npz")


def test_left_right_same(cli, blobs):
    cli.ok("pairs", "--labels", "y.npy", "-n", "400", "--data", "x.npy", "--left", "l.npy",
           "--right", "r.npy", "--same", "s.npy", "-o", "p.npz")
    np.save(cli.folder / "column.npy", cli.load("s.npy")[:, None])
    np.save(cli.folder / "w.npy", np.load(cli.folder / "p.npz")["weight"])
    rows = ["train", "--left", "l.npy", "--right", "r.npy", "--epochs", "4", "-o"]
    got = cli.json(*rows, "a.safetensors", "--same", "s.npy")
    assert got["train_rows"] == 400 and got["map_at_r"] is None
    assert got["config"]["sampling"] == "left-right-same"
    cli.ok(*rows, "b.safetensors", "--same", "column.npy")
    assert cli.bytes("a.safetensors") == cli.bytes("b.safetensors")
    cli.ok(*rows, "b.safetensors", "--same", "s.npy", "--weights", "w.npy", "--batch-size", "all")
    assert cli.bytes("a.safetensors") != cli.bytes("b.safetensors")


@pytest.mark.parametrize("options", [
    ["--batch-size", "all"], ["--sampling", "random", "--batch-size", "32"],
    ["--sampling", "pairs", "--positive-fraction", "0.3"], ["--sampling", "all"],
    ["--per-class", "8"], ["--memory-bank", "100"], ["--optimizer", "sgd", "--momentum", "0.5", "--lr", "0.01"],
    ["--schedule", "constant", "--weight-decay", "0.01"], ["--activation", "tanh", "--hidden", "8"],
    ["--loss", "sbert", "--margin", "0.4"], ["--metric", "cityblock", "--exponent", "1.5"],
    ["--pos-metric", "sqeuclidean", "--pos-exponent", "1", "--neg-metric", "cosine"],
    ["--valid-fraction", "0", "--reduction", "mean"], ["--loss", "pml", "--no-normalize"],
])
def test_every_setting_trains(cli, blobs, options):
    got = train(cli, "--epochs", "2", *options)
    assert got["epochs_run"] == 2
    assert np.isfinite(got["last_loss"])


@pytest.mark.parametrize("which", ["global", "class"])
def test_a_boundary_is_learnt(cli, blobs, which):
    got = train(cli, "--loss", "margin", "--beta", "0.4", "--learn-beta", which, "--beta-lr", "0.05",
                "--nu", "0.001", "-e", "6")
    kept = metadata(cli, "m.safetensors")
    betas = [float(beta) for beta in kept["train.beta"].split(",")]
    assert len(betas) == (1 if which == "global" else len(set(np.load(cli.folder / "y.npy"))))
    assert got["beta"] == pytest.approx(np.mean(betas)) and got["beta"] > 0.5
    assert (got["smallest_beta"], got["largest_beta"]) == (min(betas), max(betas))
    assert (got["smallest_beta"] < got["largest_beta"]) == (which == "class")
    config = got["config"]
    assert (config["learn_beta"], config["beta_lr"], config["nu"]) == (which, 0.05, 0.001)
    assert config["loss"]["beta"] == 0.4 == float(kept["train.loss.beta"])
    assert kept["train.learn_beta"] == which and kept["train.beta_lr"] == "0.05"
    if which == "class":
        labels = [int(label) for label in kept["train.beta_labels"].split(",")]
        assert sorted(labels) == sorted(set(np.load(cli.folder / "y.npy").tolist()))
    train(cli, "--loss", "margin", "--learn-beta", which, "-e", "1")
    assert metadata(cli, "m.safetensors")["train.beta_lr"] == "0.003"  # that of the weights
    words = cli.ok("train", "x.npy", "--labels", "y.npy", "-o", "m.safetensors", "--loss", "margin",
                   "--learn-beta", which, "-e", "1").stdout
    assert "beta" in words


# ---- configuration ------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [
    ["--loss", "triplet", "--margin", "0.3"],
    ["--loss", "triplet", "--triplets", "semi-hard", "--smooth"],
    ["--loss", "triplet", "--triplets", "hard", "--memory-bank", "64"], ["--loss", "margin"],
    ["--loss", "tfa-semihard"], ["--loss", "tfa-hard"]])
def test_triplets_train(cli, blobs, options):
    got = train(cli, *options, "-e", "4", "--valid-fraction", "0.25")
    assert got["last_loss"] < got["first_loss"]
    assert got["map_at_r"] > 0.35  # chance is below 0.25
    kept = metadata(cli, "m.safetensors")
    assert kept["train.loss.kind"] == ("margin" if "margin" in options[1:2] else "triplet")
    if "--triplets" in options:
        assert kept["train.loss.triplets"] == options[options.index("--triplets") + 1]


@pytest.mark.parametrize("options", [
    ["nt-xent", "--temperature", "0.5"], ["supcon"], ["nca"], ["multi-similarity", "--beta", "10"],
    ["circle", "--gamma", "16", "--margin", "0.25"], ["lifted", "--pos-margin", "0.1"],
    ["generalized-lifted"], ["n-pairs"]], ids=lambda options: options[0])
def test_losses_of_rows_train(cli, blobs, options):
    got = train(cli, "--loss", *options, "-e", "8", "--valid-fraction", "0.25")
    assert got["last_loss"] < got["first_loss"]
    assert got["map_at_r"] > 0.35  # chance is below 0.25
    kept = metadata(cli, "m.safetensors")
    assert kept["train.loss.kind"] == kept["train.loss.preset"] == options[0]
    for name, value in zip(options[1::2], options[2::2], strict=True):
        field = {"--margin": "neg_margin"}.get(name, name[2:].replace("-", "_"))
        assert float(kept[f"train.loss.{field}"]) == float(value)


def test_losses_of_rows_need_labelled_rows(cli, blobs):
    message = cli.fails(2, "train", "x.npy", "--labels", "y.npy", "--loss", "supcon",
                        "--sampling", "pairs", "-o", "m.safetensors")
    assert "supcon" in message


def test_the_model_knows_how_it_was_made(cli):
    cli.write("t.csv", "a,b,species\n" + "".join(
        f"{i % 7},{i % 5},{'cat' if i % 2 else 'dog'}\n" for i in range(40)))
    cli.ok("train", "t.csv", "--labels", ":species", "-o", "m.safetensors", "--epochs", "3",
           "--loss", "hinge", "--margin", "2.5", "--lr", "1e-3", "--seed", "9")
    known = metadata(cli, "m.safetensors")
    assert known["train.loss.preset"] == "hinge"
    assert json.loads(known["class_names"]) == ["dog", "cat"]
    assert float(known["train.loss.neg_margin"]) == 2.5
    assert float(known["train.lr"]) == 1e-3
    assert known["train.seed"] == "9" and known["train.epochs"] == "3"
    shown = cli.json("info", "m.safetensors")
    assert shown["metadata"]["train.loss.preset"] == "hinge"
    assert shown["layers"] == [{"in": 2, "out": 32, "bias": True, "activation": "linear"}]
    table = cli.ok("info", "m.safetensors").stdout
    assert "train.loss.preset" in table and "layer 0" in table


def test_validation_file_with_names(cli):
    rows = [f"{i % 7},{i % 5 + 3 * (i % 2)},{'cat' if i % 2 else 'dog'}\n" for i in range(40)]
    cli.write("t.csv", "a,b,label\n" + "".join(rows))
    cli.write("v.csv", "a,b,label\n" + "".join(reversed(rows[:20])))
    got = cli.json("train", "t.csv", "--valid", "v.csv", "-o", "m.safetensors", "--epochs", "3")
    assert got["train_rows"] == 40 and got["valid_rows"] == 20
    cli.write("w.csv", "a,label\n1,cat\n2,dog\n")
    cli.fails(DATA, "train", "t.csv", "--valid", "w.csv", "-o", "m.safetensors")


@pytest.mark.parametrize("options", [
    ["--batch-size", "all", "--sampling", "random"], ["--sampling", "all", "--batch-size", "32"],
    ["--per-class", "4", "--sampling", "random"], ["--memory-bank", "9", "--sampling", "pairs"], ["--positive-fraction", "0.5"],
    ["--momentum", "0.9"], ["--valid-labels", "y.npy"], ["--reduction", "none"],
    ["--valid", "x.npy", "--valid-labels", "y.npy", "--valid-fraction", "0.2"],
    ["--weights", "w.npy"], ["--left", "x.npy", "--right", "x.npy", "--same", "y.npy"],
    ["--metric", "dot"], ["--per-class", "1"], ["--batch-size", "3", "--per-class", "4"],
    ["--learn-beta", "global"], ["--loss", "margin", "--beta-lr", "0.1"],
    ["--loss", "margin", "--nu", "0.1"], ["--loss", "margin", "--learn-beta", "pairs"],
])
def test_contradictions_are_refused(cli, blobs, options):
    cli.fails(USAGE, "train", "x.npy", "--labels", "y.npy", "-o", "m.safetensors", *options)


@pytest.mark.parametrize("options", [
    ["--same", "s.npy", "--patience", "3"], ["--same", "s.npy", "--labels", "y.npy"], [],
    ["--same", "s.npy", "--valid-fraction", "0.1"]])
def test_contradictions_of_pairs_are_refused(cli, options):
    cli.fails(USAGE, "train", "--left", "l.npy", "--right", "r.npy", "-o", "m.safetensors",
              *options)


# ---- miners --------------------------------------------------------------------------------------


def test_mined_training_improves_held_out_digits(cli):
    raw = cli.json("eval", "digits-test")["map_at_r"]
    for miner, loss, more in (("multi-similarity", "pml", 0.2), ("semi-hard", "triplet", 0.18),
                              ("distance-weighted", "margin", 0.15)):
        got = cli.json("train", "digits-train", "--mine", miner, "--loss", loss, "-e", "30", "-o",
                       "m.safetensors")
        assert got["mined"] > 0 and got["empty_steps"] == 0
        cli.ok("embed", "m.safetensors", "digits-test", "-o", "e.npy")
        after = cli.json("eval", "e.npy", "--labels", "digits-test", "--normalize")["map_at_r"]
        assert after > raw + more


@pytest.mark.parametrize("miner, loss, options, kept", [
    ("pair-margin", "pml", ["--mine-pos-margin", "0.1", "--mine-neg-margin", "1.5"],
     {"pos_margin": 0.1, "neg_margin": 1.5}),
    ("multi-similarity", "weston", ["--epsilon", "0.3", "--mine-metric", "euclidean",
                                    "--mine-normalize"], {"epsilon": 0.3, "metric": "euclidean"}),
    ("batch-hard", "triplet", ["--mine-no-normalize", "--mine-metric", "sqeuclidean"],
     {"normalize": False, "metric": "sqeuclidean"}),
    ("easy-positive", "sbert", [], {"metric": "euclidean"}),
    ("triplet-margin", "triplet", ["--mine-margin", "0.4", "--violation", "hard", "--margin", "0.1"],
     {"margin": 0.4, "violation": "hard"}),
    ("semi-hard", "margin", ["--mine-margin", "0.3"], {"margin": 0.3}),
    ("distance-weighted", "triplet", ["--cutoff", "0.6", "--nonzero-loss-cutoff", "1.3",
                                      "--per-anchor", "2"],
     {"cutoff": 0.6, "nonzero_loss_cutoff": 1.3, "per_anchor": 2})])
def test_every_miner_trains_with_its_options(cli, blobs, miner, loss, options, kept):
    got = train(cli, "--mine", miner, "--loss", loss, *options, "-e", "3", "--sampling", "random",
                "--batch-size", "48")
    config = got["config"]["mine"]
    assert config["miner"] == miner and kept.items() <= config.items()
    assert got["mined_per_step"] == pytest.approx(got["mined"] / got["steps"])
    assert got["mined"] > 0 and 0 <= got["empty_steps"] < got["steps"]
    known = metadata(cli, "m.safetensors")
    assert known["train.mine"] == miner
    for name, value in kept.items():
        text = known[f"train.mine.{name}"]
        assert text == value if isinstance(value, str) else float(text) == value
    assert train(cli, "-e", "1")["config"]["mine"] is None


def test_a_boundary_is_learnt_from_what_is_mined(cli, blobs):
    got = train(cli, "--mine", "distance-weighted", "--loss", "margin", "--beta", "0.4", "--learn-beta",
                "class", "--beta-lr", "0.05", "-e", "4")
    betas = [float(beta) for beta in metadata(cli, "m.safetensors")["train.beta"].split(",")]
    assert len(betas) == 4 and all(beta != 0.4 for beta in betas) and got["mined"] > 0


@pytest.mark.parametrize("miner, loss", [("multi-similarity", "pml"), ("semi-hard", "triplet")])
def test_the_memory_bank_is_mined(cli, blobs, miner, loss):
    command = ["--mine", miner, "--loss", loss, "-e", "4", "--batch-size", "24"]
    alone = train(cli, *command)
    both = train(cli, *command, "--memory-bank", "96")
    assert both["mined"] > 1.5 * alone["mined"] and both["config"]["memory_bank"] == 96
    assert metadata(cli, "m.safetensors")["train.memory_bank"] == "96"


def test_what_is_mined_depends_on_the_seed_alone(cli, blobs):
    def digest(*options):
        train(cli, "--mine", "distance-weighted", "--loss", "triplet", "-e", "4", "--sampling", "all",
              "--valid-fraction", "0", *options)
        return hashlib.sha256(cli.bytes("m.safetensors")).hexdigest()

    one = digest("--threads", "1")
    assert digest("--threads", "2") == digest("--threads", "3") == one != digest("--seed", "1")


def test_mining_is_told(cli, blobs):
    command = ["train", "x.npy", "--labels", "y.npy", "-o", "m.safetensors", "-e", "3", "-v",
               "--loss", "triplet", "--mine", "triplet-margin", "--mine-margin"]
    done = cli.ok(*command, "0.2")
    lines = [line for line in done.stderr.splitlines() if "epoch" in line]
    assert len(lines) == 3 and all("mined" in line and "a step" in line for line in lines)
    assert "triplets per step by triplet-margin" in done.stdout
    done = cli.ok(*command, "-9")
    assert done.stderr.count("found nothing in any step") == 1
    assert "(nothing in" in done.stderr and "loss 0 " in done.stderr and "nan" not in done.stderr
    assert "collapse" not in done.stderr and "mined" in done.stdout


@pytest.mark.parametrize("options, words", [
    (["--mine", "hard"], "must be one of pair-margin"),
    (["--mine", "batch-hard", "--loss", "supcon"], "leave --mine out"),
    (["--mine", "multi-similarity", "--loss", "triplet"], "needs triplets"),
    (["--mine", "pair-margin", "--loss", "nt-xent"], "a loss such as pml"),
    (["--mine", "semi-hard", "--loss", "triplet", "--triplets", "hard"], "keep one"),
    (["--mine", "semi-hard", "--sampling", "pairs"], "--sampling pairs"),
    (["--mine", "semi-hard", "--memory-bank", "50", "--sampling", "all"], "--memory-bank"),
    (["--mine", "semi-hard", "--loss", "triplet", "--learn-beta", "class"], "goes with --loss margin"),
    (["--mine", "semi-hard", "--row-weights", "w.npy"], "--row-weights does not go"),
    (["--mine", "semi-hard", "--epsilon", "0.1"], "--epsilon does not go with --mine semi-hard"),
    (["--mine", "pair-margin", "--mine-margin", "0.1"], "--mine-margin does not go"),
    (["--mine", "distance-weighted", "--mine-metric", "cosine"], "--mine-metric does not go"),
    (["--mine", "batch-hard", "--mine-normalize", "--mine-no-normalize"],
     "--mine-normalize and --mine-no-normalize"),
    (["--mine-margin", "0.3"], "--mine-margin goes with --mine, which is missing"),
    (["--violation", "hard"], "goes with --mine, which is missing"),
    (["--mine", "batch-hard", "--positives", "3"], "--positives"),
    (["--mine"], "--mine")])
def test_misuse_of_miners_is_named(cli, blobs, options, words):
    assert words in cli.fails(USAGE, "train", "x.npy", "--labels", "y.npy", "-o", "m.safetensors",
                              *options)


def test_pairs_made_beforehand_are_not_mined(cli):
    assert "--mine does not go with --left" in cli.fails(
        USAGE, "train", "--left", "l.npy", "--right", "r.npy", "--same", "s.npy", "-o",
        "m.safetensors", "--mine", "semi-hard")


# ---- words --------------------------------------------------------------------------------------


def test_a_margin_far_from_the_distances_is_told(cli, blobs):
    done = cli.ok("train", "x.npy", "--labels", "y.npy", "-o", "m.safetensors", "--margin", "1000",
                  "--epochs", "1")
    assert "margin 1e+03 is far" in done.stderr and "try a margin" in done.stderr
    assert train(cli, "--margin", "1000", "--epochs", "1")["suggested_margin"] > 0
    assert train(cli, "--epochs", "1")["suggested_margin"] is None


def test_classes_of_one_row_are_told(cli, blobs):
    x, y = blobs
    cli.save(y=np.where(np.arange(160) == 7, 99, y))
    assert "one training row" in cli.ok("train", "x.npy", "--labels", "y.npy", "-o", "m.safetensors",
                               "--epochs", "1").stderr


def test_collapse_is_told(cli, blobs):
    done = cli.ok("train", "x.npy", "--labels", "y.npy", "-o", "m.safetensors", "--neg-weight", "0",
                  "--valid-fraction", "0", "--epochs", "400", "--lr", "0.1", "--weight-decay", "0")
    assert "collapse" in done.stderr
    got = train(cli, "--neg-weight", "0", "--valid-fraction", "0", "--epochs", "400", "--lr", "0.1",
                "--weight-decay", "0")
    assert got["collapsed"] is True


def test_one_class_cannot_be_trained(cli, blobs):
    cli.save(one=np.zeros(160, int), all=np.arange(160))
    cli.fails(DATA, "train", "x.npy", "--labels", "one.npy", "-o", "m.safetensors")
    cli.fails(DATA, "train", "x.npy", "--labels", "all.npy", "-o", "m.safetensors")
    assert not (cli.folder / "m.safetensors").exists()


def test_divergence(cli, blobs):
    message = cli.fails(DIVERGED, "train", "x.npy", "--labels", "y.npy", "-o", "m.safetensors",
                        "--lr", "1e25", "--no-standardize")
    assert "diverged" in message and "lr" in message
    assert not (cli.folder / "m.safetensors").exists()


def test_the_output_is_checked_first(cli):
    message = cli.fails(IO, "train", "missing.npy", "-o", "no/folder/m.safetensors")
    assert "no/folder" in message


# ---- interruption -------------------------------------------------------------------------------


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_training_keeps_the_best_model(cli, number, code):
    process = cli.start("train", "digits", "-o", "m.safetensors", "--epochs", "1000000",
                        "--patience", "0", "--json", "--verbose")
    while "epoch   60/" not in process.stderr.readline():
        assert process.poll() is None
    out, said, used = cli.stop(process, number)
    assert process.returncode == code, said
    assert used < (20 if "NEARFAR_SANITIZED" in os.environ else 2)
    assert not out and "best model so far is in m.safetensors" in said
    assert cli.names() == ["m.safetensors"]
    got = cli.json("info", "m.safetensors")
    assert got["inputs"] == 64 and got["metadata"]["train.loss.preset"] == "weston"
    cli.ok("embed", "m.safetensors", "digits-test", "-o", "e.npy")
    assert cli.json("eval", "e.npy", "--labels", "digits-test")["map_at_r"] > 0.6


# ---- targets ------------------------------------------------------------------------------------


def test_label_sets_soft_targets_weights_and_groups(cli, data):
    y = data["y"]
    n = len(y)
    cli.save(sets=(y[:, None] == np.unique(y)).astype(np.uint8), same=(y[:, None] == y).astype(float),
             w=np.ones(n), group=np.arange(n), u=np.ones((n, n)))
    short = ["--epochs", "5", "-o", "m.safetensors"]
    for targets, kind in ((["--label-sets", "sets.npy"], "label-sets"),
                          (["--soft", "same.npy", "--loss", "supcon"], "soft-targets"),
                          (["--labels", "y.npy", "--row-weights", "w.npy", "--groups", "group.npy",
                            "--pair-weights", "u.npy", "--loss", "triplet"], "labels")):
        got = cli.json("train", "x.npy", *targets, *short)
        assert got["epochs_run"] == 5 and got["last_loss"] < got["first_loss"]
        info = cli.json("info", "m.safetensors")["metadata"]
        assert info["train.data"] == kind
        assert (kind == "labels") == (got["valid_rows"] > 0) == (info["train.groups"] == "1")
    got = cli.json("train", "x.npy", "--label-sets", "sets.npy", "--valid", "x.npy",
                   "--valid-labels", "y.npy", *short)
    assert got["map_at_r"] > 0 and got["valid_rows"] == n


@pytest.mark.parametrize(("arguments", "word"), [
    (["--label-sets", "s.npy", "--labels", "y.npy"], "exclude"),
    (["--label-sets", "s.npy", "--sampling", "m-per-class"], "random or all"),
    (["--label-sets", "s.npy", "--valid-fraction", "0.2"], "--valid"),
    (["--labels", "y.npy", "--groups", "y.npy", "--sampling", "pairs"], "pairs of a batch"),
    (["--labels", "y.npy", "--groups", "y.npy", "--memory-bank", "10"], "--memory-bank"),
])
def test_targets_that_contradict_are_refused(cli, data, arguments, word):
    assert word in cli.fails(USAGE, "train", "x.npy", *arguments, "-o", "m.safetensors")


def test_fast_is_recorded(cli):
    for name, options in ("fast", ["--fast"]), ("plain", []):
        cli.ok("train", "digits", "--epochs", "1", *options, "-o", f"{name}.safetensors")
    assert b'"train.loss.fast":"1"' in cli.bytes("fast.safetensors")
    assert b"train.loss.fast" not in cli.bytes("plain.safetensors")
    assert cli.fails(USAGE, "train", "digits", "--fast", "--metric", "cityblock", "-o", "no.safetensors")
