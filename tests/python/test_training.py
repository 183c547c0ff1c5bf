"""Model files, embedding and the digits run against NumPy and scikit-learn."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

DIGITS = Path(__file__).parents[2] / "data" / "digits.npy"


def read_safetensors(path):
    """Tensors and metadata, by the format's one-page specification."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    metadata = header.pop("__metadata__", {})
    types = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "U8": "u1"}
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data[begin:end], types[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
    return tensors, metadata


def forward(tensors, x, activation, normalize=False):
    """The model's formula in double precision."""
    h = np.asarray(x, dtype=np.float64)
    if "input.mean" in tensors:
        h = (h - tensors["input.mean"]) / tensors["input.std"].astype(float)
    layers = sum(name.endswith(".weight") for name in tensors)
    for layer in range(layers):
        h = h @ tensors[f"layers.{layer}.weight"].T.astype(float)
        h = h + tensors.get(f"layers.{layer}.bias", 0.0)
        if layer < layers - 1:
            h = np.maximum(h, 0) if activation == "relu" else np.tanh(h)
    return h / np.linalg.norm(h, axis=1, keepdims=True) if normalize else h


@pytest.fixture
def blobs(rng):
    labels = rng.integers(0, 5, size=120)
    x = rng.normal(size=(5, 7))[labels] * 2 + rng.normal(size=(120, 7))
    return x, labels


@pytest.mark.parametrize("options, activation, normalize", [
    ([], "relu", False),
    (["--no-bias", "--dim", "3"], "relu", False),
    (["--hidden", "16"], "relu", False),
    (["--hidden", "12,9", "--activation", "tanh", "--dim", "4"], "tanh", False),
])
def test_embedding_is_the_formula(nearfar, blobs, options, activation, normalize):
    x, labels = blobs
    nearfar.save(x=x, labels=labels)
    nearfar("train", "x.npy", "--labels", "labels.npy", "-o", "m.safetensors", "--epochs", "5",
            "-q", *options)
    nearfar("embed", "m.safetensors", "x.npy", "-o", "e.npy")
    tensors, metadata = read_safetensors(nearfar.folder / "m.safetensors")
    assert metadata["format"] == "nearfar-model"
    if "--no-bias" in options:
        assert not any(name.endswith(".bias") for name in tensors)
    want = forward(tensors, x, activation, normalize)
    np.testing.assert_allclose(nearfar.load("e"), want, rtol=1e-4, atol=1e-5 * np.abs(want).max())


def test_csv_and_npy_outputs_hold_the_same_numbers(nearfar, blobs):
    x, labels = blobs
    nearfar.save(x=x, labels=labels)
    nearfar("train", "x.npy", "--labels", "labels.npy", "-o", "m.safetensors", "--epochs", "1", "-q")
    nearfar("embed", "m.safetensors", "x.npy", "-o", "e.npy")
    nearfar("embed", "m.safetensors", "x.npy", "-o", "e.csv")
    lines = (nearfar.folder / "e.csv").read_text().splitlines()
    table = np.loadtxt([line for line in lines if not line[0].isalpha()], delimiter=",")
    np.testing.assert_array_equal(table.astype(np.float32), nearfar.load("e"))


def test_standardisation_is_the_documented_one(nearfar, blobs):
    """Deviations with the median variance added, scaled so that columns have variance 1 on average."""
    x, labels = blobs
    x = x * [1, 10, 100, 1e-3, 1, 1, 0] + [0, 5, -7, 1, 0, 0, 3]  # scales, offsets, a constant
    nearfar.save(x=x, labels=labels)
    nearfar("train", "x.npy", "--labels", "labels.npy", "-o", "m.safetensors", "--epochs", "1",
            "--valid-fraction", "0", "-q")
    tensors, _ = read_safetensors(nearfar.folder / "m.safetensors")
    np.testing.assert_allclose(tensors["input.mean"], x.mean(axis=0), rtol=1e-12, atol=1e-12)
    variance = x.var(axis=0)
    varying = variance > 1e-20
    std = np.sqrt(variance + np.sort(variance[varying])[(varying.sum() - 1) // 2])
    std *= np.sqrt((variance / std**2)[varying].mean())
    np.testing.assert_allclose(tensors["input.std"], std, rtol=1e-12)


def test_one_model_for_any_number_of_threads(nearfar, blobs):
    x, labels = blobs
    nearfar.save(x=x, labels=labels)
    models = []
    for threads in (1, 2, 3):
        nearfar("train", "x.npy", "--labels", "labels.npy", "-o", "m.safetensors", "--hidden", "32",
                "--epochs", "4", "--threads", threads, "-q")
        models.append((nearfar.folder / "m.safetensors").read_bytes())
    assert models[0] == models[1] == models[2]


# ---- the digits -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    table = np.load(DIGITS)
    x, y, test = table[:, :64].astype(float), table[:, 64].astype(int), table[:, 65] == 1
    return x[~test], y[~test], x[test], y[test]


def test_bundled_digits_are_the_published_set():
    published, table = load_digits(), np.load(DIGITS)
    rows = np.column_stack([published.data, published.target]).astype(int)
    np.testing.assert_array_equal(np.unique(table[:, :65].astype(int), axis=0),
                                  np.unique(rows, axis=0))
    assert len(table) == len(rows) == 1797


def test_the_halves_are_stratified(digits):
    _, train, _, test = digits
    difference = np.bincount(train) - np.bincount(test)
    assert np.abs(difference).max() <= 1


def map_at_r(nearfar, x, y):
    nearfar.save(e=x, l=y)
    return nearfar.json("eval", "e.npy", "--labels", "l.npy")["map_at_r"]


def train_and_evaluate(nearfar, train, test, *options):
    nearfar("train", *train, "-o", "m.safetensors", "-q", *options)
    nearfar("embed", "m.safetensors", test[0], "-o", "e.npy")
    return nearfar.json("eval", "e.npy", "--labels", test[1])["map_at_r"]


def test_linear_reaches_linear_discriminant_analysis(nearfar, digits):
    x, y, x_test, y_test = digits
    lda = LinearDiscriminantAnalysis(n_components=9).fit(x, y)
    rival = map_at_r(nearfar, lda.transform(x_test), y_test)
    assert 0.70 < rival < 0.76  # guards the bar itself
    raw = map_at_r(nearfar, x_test, y_test)
    assert 0.50 < raw < 0.60
    ours = train_and_evaluate(nearfar, ["digits-train"], ["digits-test"] * 2)
    assert ours >= rival


def test_one_hidden_layer_reaches_090(nearfar):
    assert train_and_evaluate(nearfar, ["digits-train"], ["digits-test"] * 2, "--hidden",
                              "256") >= 0.90


def test_the_scale_of_pixels_does_not_matter(nearfar, digits):
    x, y, x_test, y_test = digits
    figures = []
    for scale in (1 / 16, 1, 1000):
        nearfar.save(x=x * scale, y=y, xt=x_test * scale, yt=y_test)
        figures.append(train_and_evaluate(nearfar, ["x.npy", "--labels", "y.npy"],
                                          ["xt.npy", "yt.npy"]))
    assert max(figures) - min(figures) < 0.01
