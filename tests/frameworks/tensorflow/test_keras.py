"""The loss in Keras: labels, weights, fit, saved models, and the example."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import nearfar
import nearfar.tensorflow as nt
from nearfar.tensorflow import _ops

ROOT = Path(__file__).parents[3]
FEATURES = np.array([[0.0], [0.75]], np.float32)
NEIGHBOURS = np.array([2**24, 2**24 + 1])  # one number in float32


def identity_model(jit, **options):
    model = keras.Sequential([keras.Input((1,)),
                              keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.0), nt.ContrastiveLoss(**options), jit_compile=jit)
    return model


@pytest.mark.parametrize("jit", [False, True, "auto"])
def test_labels_stay_integers(jit):
    model = identity_model(jit)
    data = tf.data.Dataset.from_tensor_slices((FEATURES, NEIGHBOURS)).batch(2)
    losses = [model.fit(FEATURES, NEIGHBOURS, verbose=0, shuffle=False).history["loss"][0],
              model.fit(data, verbose=0).history["loss"][0],
              model.fit(FEATURES, NEIGHBOURS[:, None], verbose=0).history["loss"][0],
              model.evaluate(FEATURES, NEIGHBOURS, verbose=0)]
    assert losses == [0.0625] * 4  # (1 - 0.75)^2; as one class they would give 0.75^2


def test_fit_by_default_is_native(monkeypatch):
    forms = []
    native = _ops.loss
    monkeypatch.setattr(_ops, "loss", lambda form, *rest: forms.append(form) or native(form, *rest))
    identity_model("auto").fit(FEATURES, NEIGHBOURS, verbose=0)
    assert forms == ["batch"]  # traced once
    identity_model(True).fit(FEATURES, NEIGHBOURS, verbose=0)
    assert forms == ["batch"]


def test_a_pair_loss_beside_the_network_s_own():
    inputs = keras.Input((1,))
    hidden = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name="rows")(inputs)
    scores = keras.layers.Dense(2, kernel_initializer="zeros", name="scores")(hidden)
    model = keras.Model(inputs, {"rows": hidden, "scores": scores})
    own = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", {"rows": nt.ContrastiveLoss(), "scores": own}, loss_weights={
        "rows": 0.5, "scores": 1.0})
    history = model.fit(FEATURES, {"rows": NEIGHBOURS, "scores": np.array([0, 1])}, verbose=0)
    assert history.history["loss"][0] == pytest.approx(0.5 * 0.0625 + np.log(2))


def test_labels_that_cannot_be_told_apart_are_refused():
    loss = nt.ContrastiveLoss()
    assert float(loss(np.array([3.0, 3.0]), FEATURES)) == 0.5625
    for labels in (NEIGHBOURS.astype(np.float32), [0.5, 1.0]):
        with pytest.raises(tf.errors.InvalidArgumentError, match="whole number"):
            loss(labels, FEATURES)
    with pytest.raises(ValueError, match="argmax"):
        loss(np.eye(2), FEATURES)
    assert float(loss(["cat", "dog"], FEATURES)) == 0.0625


@pytest.mark.parametrize("engine", ["native", "tiled"])
def test_wrong_data_is_an_error_or_nan(engine):
    loss = nt.ContrastiveLoss(engine=engine)
    with pytest.raises(tf.errors.InvalidArgumentError, match="-1"):
        loss([-1, 1], FEATURES)
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
        loss([0, 1, 1], FEATURES)
    with pytest.raises(tf.errors.InvalidArgumentError, match="same"):
        loss.rows(FEATURES, FEATURES, [1, -1])
    bad = np.full_like(FEATURES, np.nan)
    if engine == "native":
        with pytest.raises(tf.errors.InvalidArgumentError, match="NaN"):
            loss([0, 1], bad)
    else:
        assert np.isnan(loss([0, 1], bad))


def test_fit_with_sample_weight(rng):
    x, labels = rng.normal(size=(8, 1)).astype(np.float32), rng.integers(0, 3, 8)
    weight = rng.uniform(0, 2, 8)
    i, j = np.triu_indices(8, 1)
    expected = nearfar.ContrastiveLoss().pairs(x, (i, j, labels[i] == labels[j],
                                                   weight[i] * weight[j]))
    found = identity_model(False).fit(x, labels, sample_weight=weight, batch_size=8, verbose=0)
    assert found.history["loss"][0] == pytest.approx(expected.value, rel=1e-5)


@pytest.mark.parametrize("jit", [False, True])
def test_fit_of_rows_learns_and_is_saved(rng, tmp_path, jit):
    left, right = rng.normal(size=(2, 256, 6)).astype(np.float32)
    same = (left[:, 0] * right[:, 0] > 0).astype(np.int64)
    a, b = keras.Input((6,)), keras.Input((6,))
    linear = keras.layers.Dense(2, use_bias=False)
    model = keras.Model([a, b], keras.ops.stack([linear(a), linear(b)], axis=1))
    model.compile(keras.optimizers.Adam(0.05), nt.ContrastiveLoss(form="rows", margin=2),
                  jit_compile=jit)
    first = nearfar.ContrastiveLoss(margin=2).rows(left @ linear.kernel.numpy(),
                                                   right @ linear.kernel.numpy(), same).value
    assert model.evaluate([left, right], same, batch_size=256,
                          verbose=0) == pytest.approx(first, rel=1e-4)
    history = model.fit([left, right], same, epochs=15, verbose=0).history["loss"]
    assert history[-1] < 0.9 * history[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.loss.options == model.loss.options and loaded.loss.form == "rows"
    assert loaded.evaluate([left, right], same, verbose=0) == pytest.approx(
        model.evaluate([left, right], same, verbose=0), rel=1e-6)


def test_saved_model_in_another_process(batch, tmp_path):
    x, labels = batch[0].astype(np.float32), batch[1]

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 5]), tf.TensorSpec([None], tf.int64)])
        def step(self, rows, classes):
            with tf.GradientTape() as tape:
                tape.watch(rows)
                value = nt.ContrastiveLoss()(classes, rows)
            return value, tape.gradient(value, rows)

    tf.saved_model.save(Module(), str(tmp_path / "saved"))
    np.savez(tmp_path / "batch.npz", x=x, labels=labels)
    script = ("import sys, numpy as np, tensorflow as tf, nearfar, nearfar.tensorflow\n"
              "tf.config.threading.set_intra_op_parallelism_threads(2)  # not too late\n"
              "step = tf.saved_model.load(sys.argv[1] + '/saved').step\n"
              "b = np.load(sys.argv[1] + '/batch.npz')\n"
              "x = tf.constant(b['x'])\n"
              "with tf.GradientTape() as tape:\n"
              "    tape.watch(x)\n"
              "    value, gradient = step(x, b['labels'])\n"
              "expected = nearfar.loss(b['x'], b['labels'])\n"
              "assert value == np.float32(expected.value)\n"
              "assert np.array_equal(gradient, expected.grad)\n"
              "assert np.array_equal(tape.gradient(value, x), expected.grad)\n")
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=300)


def test_config_round_trip():
    loss = nt.ContrastiveLoss("pml", margin=0.1, form="rows", engine="tiled", name="pairs")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.options == loss.options
    assert (again.form, again.engine, again.name) == ("rows", "tiled", "pairs")
    for options, words in (({"form": "triplets"}, "form"), ({"engine": "fast"}, "engine"),
                           ({"preset": "best"}, "best")):
        with pytest.raises(ValueError, match=words):
            nt.ContrastiveLoss(**options)


def test_without_the_native_library(tmp_path):
    script = ("import warnings, tensorflow as tf\n"
              "def refuse(path): raise OSError('no such library')\n"
              "tf.load_op_library = refuse\n"
              "with warnings.catch_warnings(record=True) as seen:\n"
              "    warnings.simplefilter('always')\n"
              "    import nearfar.tensorflow as nt\n"
              "assert any('do not load' in str(w.message) for w in seen)\n"
              "x = tf.constant([[0.0, 0.0], [0.3, 0.4], [0.0, 0.8]])\n"
              "assert abs(float(nt.ContrastiveLoss()([0, 0, 1], x)) - 0.18) < 1e-6\n"
              "assert abs(float(nt.pairwise_distances(x)[0, 1]) - 0.5) < 1e-6\n"
              "try: nt.ContrastiveLoss(engine='native')\n"
              "except NotImplementedError: pass\n"
              "else: raise AssertionError\n")
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300, cwd=tmp_path)


def test_memory_of_tiles_is_not_quadratic(tmp_path):
    # Not getrusage, whose maximum starts from that of the process that made this one.
    script = ("import re, numpy as np, tensorflow as tf, nearfar.tensorflow as nt\n"
              "def peak():\n"
              "    with open('/proc/self/status') as file:\n"
              "        return int(re.search(r'VmHWM:\\s*(\\d+)', file.read())[1]) / 1024\n"
              "loss = nt.ContrastiveLoss(engine='tiled')\n"
              "def step(x, labels):\n"
              "    with tf.GradientTape() as tape:\n"
              "        tape.watch(x)\n"
              "        value = loss(labels, x)\n"
              "    return tape.gradient(value, x)\n"
              "def run(f, n): f(tf.random.normal([n, 8]), tf.range(n, dtype=tf.int64) % 10)\n"
              "for f in (step, tf.function(step, jit_compile=True)):\n"
              "    run(f, 1000); before = peak(); run(f, 6000)\n"
              "    assert peak() - before < 70, (before, peak())  # n x n floats are 137 MiB\n")
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300, cwd=tmp_path)


def run_example(name, folder):
    run = subprocess.run([sys.executable, ROOT / "examples" / name], text=True, capture_output=True,
                         timeout=300, cwd=folder, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


def test_example(tmp_path):
    out = run_example("tensorflow_pairs.py", tmp_path)
    assert "batch of 16" in out and "linear map of pairs" in out


def test_example_of_losses(tmp_path):
    pixels, *learnt = (float(line.split()[-1])
                       for line in run_example("tensorflow_losses.py", tmp_path).splitlines())
    assert len(learnt) == 4 and min(learnt) > pixels + 0.1
