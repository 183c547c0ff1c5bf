"""The exported graph computes what the engine computes."""

import stat
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

import nearfar
from nearfar.onnx import to_onnx

pytestmark = pytest.mark.filterwarnings("ignore::nearfar.TrainingWarning")

MODELS = [
    dict(), dict(bias=False), dict(standardize=False), dict(normalize=True),
    dict(hidden=(256,)), dict(hidden=(64, 32), outputs=3), dict(hidden=(48,), activation="tanh"),
    dict(hidden=(16, 8), activation="tanh", bias=False, standardize=False, normalize=True),
]


def run(model, x):
    session = onnxruntime.InferenceSession(to_onnx(model).SerializeToString())
    return session.run(["embedding"], {"x": np.asarray(x, np.float32)})[0]


def error_of(model, x):
    """Largest difference of an element, over the norm of the longest row."""
    expected = model.embed(np.asarray(x, np.float32))
    found = run(model, x)
    assert found.dtype == np.float32 and found.shape == expected.shape
    longest = np.linalg.norm(expected.astype("f8"), axis=1).max(initial=1e-30)
    return np.abs(found.astype("f8") - expected).max(initial=0) / longest


@pytest.fixture(scope="module")
def digits():
    return nearfar.load_digits("train"), nearfar.load_digits("test")


@pytest.mark.parametrize("options", MODELS, ids=str)
def test_onnxruntime_gives_the_engine_s_embedding(digits, options):
    (x, labels), (unseen, _) = digits
    model = nearfar.Trainer(epochs=3, **options).fit(x, labels)
    assert error_of(model, unseen) < 1e-6
    for rows in (0, 1, 7):
        assert error_of(model, unseen[:rows]) < 1e-6


@pytest.mark.parametrize("offset", [1e2, -1e4, 1e6])
def test_columns_far_from_the_origin(rng, offset):
    """A mean rounded to float32 would be off by more than a deviation."""
    x = (rng.normal(size=(200, 5)) + offset).astype("f4")
    model = nearfar.Trainer(epochs=1).fit(x, np.arange(200) % 4)
    assert error_of(model, x) < 1e-6


def test_zero_and_extreme_rows_of_a_normalised_model():
    model = nearfar.Model.from_arrays([np.eye(3)], normalize=True)
    x = np.array([[0, 0, 0], [3, 4, 0], [1e30, -1e30, 0], [1e-30, 0, 1e-30], [-0.0, 0, 5]], "f4")
    found = run(model, x)
    assert found[0].tolist() == [0, 0, 0]
    assert np.abs(found - model.embed(x)).max() < 1e-6


def test_weights_are_the_model_s_bits():
    model = nearfar.Model(4, 2, (3,), seed=5)
    stored = {c.name: onnx.numpy_helper.to_array(c) for c in to_onnx(model).graph.initializer}
    for layer, (weight, bias) in enumerate(zip(model.weights, model.biases)):
        assert stored[f"layers.{layer}.weight"].tobytes() == weight.tobytes()
        assert stored[f"layers.{layer}.bias"].tobytes() == bias.tobytes()
    assert all(value.dtype == np.float32 for value in stored.values())


def test_the_file(tmp_path, digits):
    (x, labels), _ = digits
    model = nearfar.Trainer(epochs=1).fit(x, labels).with_metadata(note="hällo")
    path = tmp_path / "m.onnx"
    path.write_text("older")
    nearfar.export_onnx(model, path)
    nearfar.export_onnx(model, str(tmp_path / "again.onnx"))
    assert path.read_bytes() == (tmp_path / "again.onnx").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.onnx", "m.onnx"]
    assert stat.S_IMODE((tmp_path / "again.onnx").stat().st_mode) & 0o444

    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    props = {entry.key: entry.value for entry in proto.metadata_props}
    assert props["note"] == "hällo" and props["model.outputs"] == "32"
    assert props["train.loss.neg_margin"] == "1"
    assert (proto.producer_name, proto.producer_version) == ("nearfar", nearfar.__version__)
    shape = proto.graph.input[0].type.tensor_type.shape
    assert [d.dim_param or d.dim_value for d in shape.dim] == ["n", 64]


def test_errors(tmp_path, monkeypatch):
    model = nearfar.Model(2)
    with pytest.raises(TypeError, match="model is a Trainer: .* attribute model"):
        nearfar.export_onnx(nearfar.Trainer(), tmp_path / "m")
    with pytest.raises(FileNotFoundError):
        nearfar.export_onnx(model, tmp_path / "none" / "m")
    with pytest.raises(IsADirectoryError):
        nearfar.export_onnx(model, tmp_path)
    for mean, std, text in ((1e300, 1, "a mean"), (0, 1e300, "a deviation"), (0, 1e-60, "below")):
        odd = nearfar.Model.from_arrays([np.eye(2)], mean=np.full(2, float(mean)),
                                        std=np.full(2, float(std)))
        with pytest.raises(ValueError, match=text):
            nearfar.export_onnx(odd, tmp_path / "m")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match="pip install onnx"):
        nearfar.export_onnx(model, tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    path.write_text("older")

    def fail(*_):
        raise OSError("no space")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space"):
        nearfar.export_onnx(nearfar.Model(2), path)
    assert path.read_text() == "older" and len(list(tmp_path.iterdir())) == 1


def test_from_the_command_line(tmp_path):
    model = nearfar.Model(3, 2)
    model.save(tmp_path / "m.safetensors")

    def command(*names):
        return subprocess.run([sys.executable, "-W", "error", "-m", "nearfar.onnx", *names],
                              cwd=tmp_path, capture_output=True, text=True, timeout=300)

    done = command("m.safetensors", "m.onnx")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert onnx.load(tmp_path / "m.onnx") == to_onnx(model)
    failed = command("none", "n.onnx")
    assert failed.returncode == 1 and "No such file" in failed.stderr
