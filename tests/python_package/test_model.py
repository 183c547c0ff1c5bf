"""Models and training, and that the program gives the same bits."""

import inspect
import json
import pickle
import warnings

import numpy as np
import pytest
import safetensors.numpy

import nearfar
from package_support import rows

pytestmark = pytest.mark.filterwarnings("ignore::nearfar.TrainingWarning")


def forward(model, x):
    h = x.astype("f8")
    if model.mean is not None:
        h = (h - model.mean) / model.std
    *hidden, last = zip(model.weights, model.biases)
    for weight, bias in hidden:
        h = h @ weight.T + (0 if bias is None else bias)
        h = np.tanh(h) if model.options["activation"] == "tanh" else np.maximum(h, 0)
    h = h @ last[0].T + (0 if last[1] is None else last[1])
    return h / np.linalg.norm(h, axis=1, keepdims=True) if model.options["normalize"] else h


@pytest.mark.parametrize("options", [
    dict(), dict(outputs=3, hidden=(8, 5), activation="tanh"), dict(hidden=4, bias=False),
    dict(standardize=False, normalize=True, seed=7)], ids=str)
def test_models(rng, tmp_path, options):
    x, labels = rows(rng, 60, 6)
    model = nearfar.Trainer(epochs=2, **options).fit(x, labels)
    expected = forward(model, x)
    assert np.allclose(model.embed(x), expected, rtol=1e-4, atol=1e-5)
    assert model.embed(x).dtype == np.float32
    assert np.array_equal(model.embed(x)[7:8], model.embed(x[7:8]))
    assert nearfar.Model(**model.options).options == model.options
    assert model.parameters == sum(w.size for w in model.weights) + sum(
        b.size for b in model.biases if b is not None)

    path = tmp_path / "m.safetensors"
    model.save(path)
    for again in (nearfar.Model.load(path), nearfar.Model.load(str(path)),
                  nearfar.Model.from_bytes(path.read_bytes()),
                  pickle.loads(pickle.dumps(model))):
        assert again.to_bytes() == model.to_bytes() == path.read_bytes()
        assert np.array_equal(again.embed(x), model.embed(x))
    assert "Model 6 -> " in repr(model)


def test_the_files_of_other_programs(rng, tmp_path):
    """safetensors' own package reads what the engine writes, and the other way round."""
    x, labels = rows(rng, 60, 6)
    model = nearfar.Trainer(epochs=2, hidden=(8,)).fit(x, labels).with_metadata(note="hällo")
    model.save(tmp_path / "m.safetensors")
    with safetensors.safe_open(tmp_path / "m.safetensors", "numpy") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    assert metadata["format"] == "nearfar-model" and metadata["note"] == "hällo"
    assert set(tensors) == {"input.mean", "input.std", *(f"layers.{l}.{part}" for l in (0, 1)
                                                         for part in ("weight", "bias"))}
    assert all(np.array_equal(tensors[f"layers.{l}.weight"], weight)
               for l, weight in enumerate(model.weights))
    assert np.array_equal(tensors["input.std"], model.std)

    safetensors.numpy.save_file(tensors, tmp_path / "again", metadata)
    again = nearfar.Model.load(tmp_path / "again")
    assert again.to_bytes() == model.to_bytes()
    safetensors.numpy.save_file(tensors, tmp_path / "foreign")
    with pytest.raises(ValueError, match="format"):
        nearfar.Model.load(tmp_path / "foreign")


def test_weights_are_copies_and_models_immutable(rng):
    x, _ = rows(rng, 5, 3)
    model = nearfar.Model(3, 2)
    before = model.embed(x)
    model.weights[0][:] = 0
    assert np.array_equal(model.embed(x), before)
    with pytest.raises(AttributeError):
        model.inputs = 4
    weight, bias = np.ones((2, 3)), np.array([1, 2])
    other = model.with_weights([weight], [bias])
    assert np.allclose(other.embed(x), x.sum(1, keepdims=True) + bias, atol=1e-5)
    assert np.array_equal(model.embed(x), before)
    same = nearfar.Model.from_arrays(model.weights, model.biases, mean=model.mean, std=model.std)
    assert np.array_equal(same.embed(x), before)
    noted = other.with_metadata(note="hällo")
    assert noted.metadata["note"] == "hällo" and "note" not in other.metadata
    for weights in ([], [np.ones((3, 2))], [np.full((2, 3), np.nan)]):
        with pytest.raises(ValueError):
            model.with_weights(weights)


def test_bad_models_and_files(tmp_path):
    for options, text in ((dict(inputs=0), "inputs"), (dict(inputs=2, outputs=0), "outputs"),
                          (dict(inputs=2, activation="x"), "activation is 'x'"),
                          (dict(inputs=2, hidden=(0,)), "hidden"),
                          (dict(inputs=2, hidden=(1,) * 17), "hidden has 17")):
        with pytest.raises(ValueError, match=text):
            nearfar.Model(**options)
    with pytest.raises(FileNotFoundError):
        nearfar.Model.load(tmp_path / "none")
    with pytest.raises(OSError):
        nearfar.Model(2).save(tmp_path / "no folder" / "m")
    good = nearfar.Model(2).to_bytes()
    (tmp_path / "bad").write_bytes(good[:-1])
    for damaged in (good[:-1], good + b"x", b"", b"x" * 100):
        with pytest.raises(ValueError):
            nearfar.Model.from_bytes(damaged)
    with pytest.raises(ValueError, match="layers.0.bias"):
        nearfar.Model.load(tmp_path / "bad")
    with pytest.raises(ValueError, match="columns"):
        nearfar.Model(2).embed(np.ones((2, 3)))


# ---- training -----------------------------------------------------------------------------------


def test_training_separates_the_digits():
    x, labels = nearfar.load_digits("train")
    test_x, test_labels = nearfar.load_digits("test")
    trainer = nearfar.Trainer(epochs=20)
    model = trainer.fit(x, labels)
    before = nearfar.evaluate(test_x, test_labels, verification=False)
    after = nearfar.evaluate(model.embed(test_x), test_labels, verification=False)
    assert after.map_at_r > before.map_at_r + 0.15
    assert after.roc_auc is None and set(after.recall) == {1, 5, 10}
    assert trainer.report.epochs_run == len(trainer.history) - 1
    assert trainer.history[0].epoch == 0
    assert trainer.report.last_loss < trainer.report.first_loss
    assert trainer.model is model


def test_defaults_are_the_library_s():
    """The numbers in the signature are those of a run to which no option was passed."""
    from nearfar import _core
    parameters = inspect.signature(nearfar.Trainer).parameters
    assert all(type(p.default) in (int, float, str, bool, tuple) for name, p in parameters.items()
               if name not in ("loss", "on_epoch", "mine", "mine_options", "learn_beta", "beta_lr"))
    x, labels = nearfar.load_digits("train")
    bare = nearfar.Model(64)
    _core.train(bare, x, labels, epochs=2)
    bare = bare.with_metadata(**{"train.loss.preset": "weston"})
    assert nearfar.Trainer(epochs=2).fit(x, labels).to_bytes() == bare.to_bytes()


def test_the_run_can_be_stopped_and_gone_on_with(rng):
    x, labels = rows(rng, 80, 5)
    seen = []

    def stop(event):
        seen.append(event)
        return event.epoch == 3

    trainer = nearfar.Trainer(epochs=50, on_epoch=stop, outputs=2)
    model = trainer.fit(x, labels)
    assert [event.epoch for event in seen] == [0, 1, 2, 3] and trainer.report.stopped_early
    before = model.to_bytes()
    more = nearfar.Trainer(epochs=2, outputs=2).fit(x, labels, model=model)
    assert model.to_bytes() == before != more.to_bytes()


def test_errors_in_callbacks_come_through(rng):
    x, labels = rows(rng, 80, 5)

    def fail(event):
        if event.epoch == 2:
            raise KeyError("mine")

    trainer = nearfar.Trainer(on_epoch=fail)
    with pytest.raises(KeyError, match="mine"):
        trainer.fit(x, labels)
    assert trainer.model is not None and len(trainer.history) == 3


def test_bad_training_data(rng):
    x, labels = rows(rng, 30, 4)
    for args, text in (((x, np.zeros(30, int)), "negative"), ((x, np.arange(30)), "positive"),
                       ((x, labels[:-1]), "labels"), ((x[:1], [0]), "row")):
        with pytest.raises(ValueError, match=text):
            nearfar.Trainer().fit(*args)
    with pytest.raises(TypeError, match="loss is 3"):
        nearfar.Trainer(3).fit(x, labels)
    for options, text in ((dict(lr=-1), "lr"), (dict(epochs=0), "epochs"),
                          (dict(sampling="no"), "sampling is 'no'"),
                          (dict(batch_size=1), "batch_size"), (dict(hidden=(0,)), "hidden")):
        with pytest.raises(ValueError, match=text):
            nearfar.Trainer(**options).fit(x, labels)
    with pytest.raises(FloatingPointError):
        nearfar.Trainer(lr=1e30, optimizer="sgd", epochs=20, patience=0).fit(x, labels)


def test_warnings_are_warned():
    x = np.random.default_rng(0).normal(size=(60, 3)) * 1e-3
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        nearfar.Trainer(nearfar.ContrastiveLoss(margin=1e4), epochs=2,
                        standardize=False).fit(x, np.arange(60) % 3)
    assert any(issubclass(w.category, nearfar.TrainingWarning) for w in caught)
    assert all(w.filename == __file__ for w in caught)


def test_validation_rows_with_names(rng):
    x, labels = rows(rng, 80, 5)
    names = np.array(["a", "b", "c", "d", "e"])[labels]
    numbers = labels % 5
    a = nearfar.Trainer(epochs=3).fit(x[:60], names[:60], valid=(x[60:], names[60:]))
    b = nearfar.Trainer(epochs=3).fit(x[:60], numbers[:60], valid=(x[60:], numbers[60:]))
    assert np.array_equal(a.weights[0], b.weights[0])


# ---- the program --------------------------------------------------------------------------------

def separable(rng, n, d, dtype):
    """Rows that can be told apart by class after training, not before."""
    labels = rng.integers(0, 4, n)
    x = rng.normal(size=(n, d)) * 3
    x[:, 0] = labels + rng.normal(size=n) / 10
    return x.astype(dtype), labels


RUNS = [
    ((), dict()),
    (("--hidden", "16,8", "--activation", "tanh", "--dim", "5", "--normalize-output", "--epochs",
      "30", "--seed", "9", "--batch-size", "16"),
     dict(hidden=(16, 8), activation="tanh", outputs=5, normalize=True, epochs=30, seed=9,
          batch_size=16)),
    (("--no-bias", "--no-standardize", "--optimizer", "sgd", "--momentum", "0.5", "--lr", "0.01",
      "--epochs", "3", "--sampling", "random", "--batch-size", "40", "--schedule", "constant",
      "--weight-decay", "0.001", "--valid-fraction", "0.25", "--patience", "2"),
     dict(bias=False, standardize=False, optimizer="sgd", momentum=0.5, lr=0.01, epochs=3,
          sampling="random", batch_size=40, schedule="constant", weight_decay=0.001,
          valid_fraction=0.25, patience=2)),
    (("--epochs", "20", "--loss", "hinge", "--margin", "3", "--reduction", "mean",
      "--valid-fraction", "0"),
     dict(epochs=20, loss=nearfar.ContrastiveLoss("hinge", margin=3), valid_fraction=0)),
    (("--epochs", "20", "--loss", "drlim", "--valid-fraction", "0"),
     dict(epochs=20, loss="drlim", valid_fraction=0)),
    (("--epochs", "20", "--loss", "pml", "--margin", "0.5", "--valid-fraction", "0"),
     dict(epochs=20, loss=nearfar.training_loss("pml", margin=0.5), valid_fraction=0)),
]


@pytest.mark.parametrize("arguments, options", RUNS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_training_gives_the_program_s_bits(program, rng, arguments, options, dtype):
    x, labels = separable(rng, 150, 6, dtype)
    program.save(x=x, labels=labels)
    program("train", "x.npy", "--labels", "labels.npy", "-o", "m.safetensors", "--quiet",
            *arguments)
    trainer = nearfar.Trainer(**options)
    model = trainer.fit(x, labels)
    assert not trainer.report.valid_rows or trainer.report.best_epoch > 0, "the initial weights would be compared"
    assert model.to_bytes() == (program.folder / "m.safetensors").read_bytes()
    assert np.array_equal(nearfar.Model.load(program.folder / "m.safetensors").embed(x),
                          model.embed(x))
    model.save(program.folder / "mine.safetensors")
    program("embed", "mine.safetensors", "x.npy", "-o", "e.npy", "--quiet")
    assert np.array_equal(program.load("e"), model.embed(x))


def test_training_on_rows_gives_the_program_s_bits(program, rng):
    left, _ = rows(rng, 90, 4, "f4")
    right, _ = rows(rng, 90, 4, "f4")
    same, weight = np.arange(90) % 3 == 0, rng.random(90)
    program.save(left=left, right=right, same=same, weight=weight)
    program("train", "--left", "left.npy", "--right", "right.npy", "--same", "same.npy",
            "--weights", "weight.npy", "-o", "m.safetensors", "--quiet", "--epochs", "4")
    model = nearfar.Trainer(epochs=4).fit_rows(left, right, same, weight)
    assert model.to_bytes() == (program.folder / "m.safetensors").read_bytes()


def test_training_on_names_gives_the_program_s_bits(program, rng):
    x, labels = separable(rng, 80, 3, "f8")
    names = np.array(["kättchen", 'a "dog"', "c/d", "\\"])[labels]
    program.save(x=x)
    (program.folder / "labels.txt").write_text("".join(f"{name}\n" for name in names))
    program("train", "x.npy", "--labels", "labels.txt", "-o", "m.safetensors", "--quiet",
            "--epochs", "2")
    model = nearfar.Trainer(epochs=2).fit(x, names)
    assert model.to_bytes() == (program.folder / "m.safetensors").read_bytes()
    assert json.loads(model.metadata["class_names"]) == list(dict.fromkeys(names))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("preset", ["weston", "drlim", "hinge", "pml", "sbert"])
def test_losses_give_the_program_s_bits(program, rng, preset, dtype):
    x, labels = rows(rng, 200, 7, dtype)
    program.save(x=x, labels=labels)
    out = json.loads(program("loss", "x.npy", "--labels", "labels.npy", "--loss", preset, "--grad",
                             "g.npy", "--json"))
    result = nearfar.loss(x, labels, preset=preset, stats=True)
    assert program.load("g").tobytes() == result.grad.tobytes()
    assert out["loss"] == result.value
    assert out["positive_pairs"] == result.counts.positive_pairs


def test_distances_and_neighbours_give_the_program_s_bits(program, rng):
    x, labels = rows(rng, 120, 9, "f4")
    program.save(x=x, labels=labels)
    program("distances", "x.npy", "-o", "d.npy", "--quiet")
    d = program.load("d")
    assert d.tobytes() == (nearfar.pdist(x) if d.ndim == 1 else
                           nearfar.pairwise_distances(x)).tobytes()
    out = json.loads(program("eval", "x.npy", "--labels", "labels.npy", "--json"))
    assert out["map_at_r"] == nearfar.evaluate(x, labels).map_at_r


# ---- data ---------------------------------------------------------------------------------------


def test_digits(tmp_path, monkeypatch):
    x, labels = nearfar.load_digits()
    assert x.shape == (1797, 64) and x.dtype == np.float32 and x.max() == 16
    parts = [nearfar.load_digits(subset) for subset in ("train", "test")]
    assert sum(len(part[1]) for part in parts) == 1797
    with pytest.raises(ValueError, match="subset is 'all'"):
        nearfar.load_digits("all")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").write_text("1,2\n")
    assert nearfar.load_digits()[0].tobytes() == x.tobytes()


def test_tables(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,label\n1,2,cat\n3,4,dog\n5,6,\n")
    x, labels, names = nearfar.load_table(path)
    assert x.tolist() == [[1, 2], [3, 4], [5, 6]] and labels.tolist() == [0, 1, -1]
    assert names == ["cat", "dog"]
    with pytest.raises(OSError):
        nearfar.load_table(tmp_path / "none.csv")
    path.write_text("a,b\n1,x\n")
    with pytest.raises(ValueError, match="t.csv"):
        nearfar.load_table(path)
