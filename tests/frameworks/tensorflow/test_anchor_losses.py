"""nearfar.tensorflow's losses of anchors: the engine's bits, graphs, Keras, refusals; the bank."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import nearfar
import nearfar.tensorflow as nt
from nearfar.anchor_losses import CLASSES

NAMES = [core.__name__ for core in CLASSES.values()]


def data(dtype="float64", n=48, d=6, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).astype(dtype), rng.integers(-1, classes, n)


def differentiated(function, *xs):
    xs = [tf.constant(x) for x in xs]
    with tf.GradientTape() as tape:
        tape.watch(xs)
        value = function(*xs)
    return value.numpy(), [g.numpy() for g in tape.gradient(value, xs)]


# ---- the engine's bits --------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_same_name_arguments_and_text_as_the_core(name):
    ours, core = getattr(nt, name), getattr(nearfar, name)
    own, base = (list(inspect.signature(cls).parameters) for cls in (ours, core))
    assert own[:len(base)] == base and own[-3:] == ["engine", "name", "dtype"]
    loss, right = ours(reduction="sum", scale=2), core(reduction="sum", scale=2)
    assert loss.options == right and repr(loss) == repr(right) and name in nt.__all__
    assert loss.name == right.preset.replace("-", "_") + "_loss" and "Keras loss" in ours.__doc__
    twin = ours.from_config(loss.get_config())
    assert twin.get_config() == loss.get_config() and type(twin) is ours
    assert type(keras.losses.deserialize(keras.losses.serialize(loss))) is ours


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_batch(name, dtype, graph):
    x, labels = data(dtype)
    right = getattr(nearfar, name)()(x, labels)
    loss = getattr(nt, name)(dtype=dtype)

    def step(rows):
        return differentiated_in_graph(lambda x: loss(labels, x), rows)

    if graph:
        value, gradient = tf.function(step)(tf.constant(x))
    else:
        value, (gradient,) = differentiated(lambda rows: loss(labels, rows), x)
    assert np.asarray(value) == np.dtype(dtype).type(right.value) > 0
    np.testing.assert_array_equal(gradient, right.grad)
    assert loss.counts(labels, x) == right.counts
    ready, known = tf.constant(x), tf.constant(labels)
    assert loss(known, ready).numpy() == np.asarray(value)


def differentiated_in_graph(function, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return value, tape.gradient(value, x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "NPairsLoss"])
def test_reference(name, dtype):
    x, labels = data(dtype)
    loss, core = getattr(nt, name)(), getattr(nearfar, name)()
    ids = np.arange(48)
    for more in ((), (ids[:20], ids)):
        value, gradients = differentiated(
            lambda q, r: loss.reference(q, labels[:20], r, labels, *more), x[:20], x)
        right = core.reference(x[:20], labels[:20], x, labels, *more)
        assert value == np.dtype(dtype).type(right.value)
        for found, expected in zip(gradients, right.grad, strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_terms_of_rows(name, dtype):
    x, labels = data(dtype)
    loss, core = getattr(nt, name)(reduction="none", dtype=dtype), getattr(nearfar, name)(
        reduction="none")
    up = np.linspace(0.5, 2, 48).astype(dtype)

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            terms = loss(labels, x)
        return terms, tape.gradient(terms, x, up)

    terms, gradient = step(tf.constant(x))
    right = core(x, labels, upstream=up.astype("f8"))
    np.testing.assert_array_equal(terms, right.terms.astype(dtype))
    np.testing.assert_array_equal(gradient, right.grad)
    assert terms.shape == (48,) and np.sum(terms) > 0
    assert step.get_concrete_function(tf.TensorSpec([48, 6], dtype)).output_shapes[0] == [48]
    with pytest.raises(ValueError, match="multiply the terms"):
        loss(labels, x, sample_weight=up)
    with tf.GradientTape() as outer:
        rows = tf.constant(x)
        outer.watch(rows)
        _, first = differentiated_in_graph(lambda x: loss(labels, x), rows)
    with pytest.raises(NotImplementedError, match="no second"):
        outer.gradient(first, rows)
    if name == "NPairsLoss":  # takes its pairs from one set
        return
    y, others = x[::-1][:30] * np.dtype(dtype).type(1.5), labels[::-1][:30]
    with tf.GradientTape() as tape:
        rows, references = tf.constant(x), tf.constant(y)
        tape.watch([rows, references])
        terms = loss.reference(rows, labels, references, others)
    found = tape.gradient(terms, [rows, references], up)
    right = core.reference(x, labels, y, others, upstream=up.astype("f8"))
    np.testing.assert_array_equal(terms, right.terms.astype(dtype))
    for got, expected in zip(found, right.grad, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", ["SupConLoss", "TripletMarginLoss", "MarginLoss"])
def test_upstream_gradient_and_half_precision(name):
    x, labels = data("float32")
    loss = getattr(nt, name)()
    right = getattr(nearfar, name)()(x, labels)
    _, (gradient,) = differentiated(lambda rows: 3 * loss(labels, rows), x)
    np.testing.assert_array_equal(gradient, np.float32(3) * right.grad)
    half = tf.cast(x, tf.bfloat16)
    narrow = getattr(nearfar, name)()(tf.cast(half, tf.float32).numpy(), labels)
    value, gradient = differentiated_in_graph(lambda rows: loss(labels, rows), half)
    assert value.numpy() == np.float32(narrow.value) and gradient.dtype == tf.bfloat16


@pytest.mark.parametrize("name", NAMES)
def test_sample_weight_is_the_weight_of_rows(name):
    x, labels = data()
    weight = np.linspace(0.25, 2, 48)
    right = getattr(nearfar, name)().targets(x, labels, row_weight=weight)
    value, (gradient,) = differentiated(
        lambda rows: getattr(nt, name)(dtype="float64")(labels, rows, weight), x)
    assert value == right.value > 0
    np.testing.assert_array_equal(gradient, right.grad)


# ---- Keras --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["NTXentLoss", "SupConLoss", "TripletMarginLoss", "MarginLoss"])
def test_fit_learns_and_is_saved(name, tmp_path):
    keras.utils.set_random_seed(0)
    x, labels = nearfar.load_digits("train")
    x, labels = x[:256] / 16, labels[:256]
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(16)])
    model.compile(keras.optimizers.Adam(0.01), getattr(nt, name)(scale=2))
    history = model.fit(x, labels, batch_size=64, epochs=4, verbose=0).history["loss"]
    assert history[-1] < 0.8 * history[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.loss.options == model.loss.options
    assert loaded.evaluate(x, labels, verbose=0) == model.evaluate(x, labels, verbose=0)


@pytest.mark.parametrize("classes", [None, 10])
def test_boundary_is_trained_with_the_model(classes, tmp_path):
    keras.utils.set_random_seed(0)
    x, labels = nearfar.load_digits("train")
    x, labels = x[:128] / 16, labels[:128]
    loss = nt.MarginLoss(learn_beta=True, nu=0.01, num_classes=classes)
    model = keras.Sequential([keras.layers.Dense(16)])
    model.boundary = loss.beta
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(x, labels, batch_size=64, epochs=2, verbose=0)
    assert len(model.trainable_variables) == 3
    moved = np.asarray(loss.beta)
    assert moved.shape == ((classes,) if classes else ()) and (np.abs(moved - 1.2) > 1e-3).all()
    twin = nt.MarginLoss.from_config(loss.get_config())
    rows = tf.constant(model(x).numpy())
    assert twin(labels, rows) == loss(labels, rows) and twin.learn_beta


# ---- beta ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("nu", [0, 0.25])
@pytest.mark.parametrize("classes", [None, 5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_beta_has_the_gradient_of_the_core(dtype, classes, nu):
    x, labels = data(dtype)
    loss = nt.MarginLoss(beta=1.25, nu=nu, learn_beta=True, num_classes=classes, dtype=dtype)
    beta = 1.25 if classes is None else np.full(5, 1.25)
    right = nearfar.margin_loss(x, labels, beta, nu=nu, by_label=classes is not None)

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(labels, x)
        return value, *tape.gradient(value, [x, loss.beta.value])

    value, gradient, slope = step(tf.constant(x))
    assert value.numpy() == np.dtype(dtype).type(right.value) > 0
    np.testing.assert_array_equal(gradient, right.grad)
    np.testing.assert_array_equal(slope, np.float32(right.beta_grad))
    assert np.abs(slope).sum() > 0 and loss.counts(labels, x) == right.counts
    ids = np.arange(48)
    with tf.GradientTape() as tape:
        value = loss.reference(x, labels, x, labels, ids, ids)
    np.testing.assert_allclose(value, right.value, rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(value, loss.beta.value), right.beta_grad, rtol=1e-5,
                               atol=1e-7)


def test_a_fixed_beta_per_label_and_wrong_ones():
    x, labels = data()
    beta = [0.9, 1.0, 1.1, 1.2, 1.3]
    loss = nt.MarginLoss(beta=beta, dtype="float64")
    assert loss(labels, x).numpy() == nearfar.margin_loss(x, labels, beta, by_label=True).value
    with pytest.raises(tf.errors.InvalidArgumentError, match="label 5 has no beta"):
        loss(labels + 1, x)
    with pytest.raises(NotImplementedError, match="sample_weight"):
        loss(labels, x, sample_weight=np.ones(48))
    for wrong in ({"beta": beta, "num_classes": 4}, {"beta": [[1.0]]}):
        with pytest.raises(ValueError, match="num_classes"):
            nt.MarginLoss(**wrong)


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_second_derivatives_are_refused(name, graph):
    x, labels = data()
    loss = getattr(nt, name)(dtype="float64")

    def second(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            _, first = differentiated_in_graph(lambda x: loss(labels, x), x)
            slope = tf.reduce_sum(first**2)
        return outer.gradient(slope, x)

    with pytest.raises(NotImplementedError, match="no second derivatives"):
        (tf.function(second) if graph else second)(tf.constant(x))


def test_a_boundary_s_second_derivatives_are_refused():
    x, labels = data("float32")
    loss = nt.MarginLoss(learn_beta=True)
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            value = loss(labels, x)
        slope = inner.gradient(value, loss.beta.value)
    with pytest.raises(NotImplementedError, match="no second derivatives"):
        outer.gradient(slope, loss.beta.value)


@pytest.mark.parametrize("learn", [False, True])
def test_other_devices_are_refused_by_name(learn, monkeypatch):
    x, labels = data("float32")
    loss = nt.MarginLoss(learn_beta=learn)
    with pytest.raises(NotImplementedError, match="MarginLoss is computed.*XLA.*jit_compile=False"):
        tf.function(lambda x: loss(labels, x), jit_compile=True)(tf.constant(x))
    with pytest.raises(NotImplementedError, match="engine is 'tiled'.*ContrastiveLoss"):
        nt.SupConLoss(engine="tiled")(labels, x)
    with pytest.raises(ValueError, match="engine"):
        nt.SupConLoss(engine="fast")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    for call in (lambda x: loss(labels, x), lambda x: loss.reference(x, labels, x, labels)):
        with pytest.raises(NotImplementedError, match="GPU.*engine='native'"):
            tf.function(call)(tf.constant(x))
    native = nt.MarginLoss(learn_beta=learn, engine="native")
    assert tf.function(lambda x: native(labels, x))(tf.constant(x)) == loss(labels, x)


def test_a_reference_of_n_pairs_is_refused():
    x, labels = data("float32")
    with pytest.raises(tf.errors.InvalidArgumentError, match="n-pairs"):
        nt.NPairsLoss().reference(x, labels, x, labels)
    with pytest.raises(TypeError, match="SupConLoss"):
        nt.SupConLoss(margin=1)
    with pytest.raises(TypeError, match="SupConLoss compares all pairs"):
        nt.SupConLoss().rows(x, x, labels > 0)


# ---- the memory bank ----------------------------------------------------------------------------


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["ContrastiveLoss", "SupConLoss", "TripletMarginLoss"])
def test_bank_has_the_numbers_of_the_core_s(name, dtype, graph):
    bank, core = nt.MemoryBank(50, 6, dtype), nearfar.MemoryBank(50, 6, dtype)
    loss, right = getattr(nt, name)(), getattr(nearfar, name)()

    def step(labels, x):
        return differentiated_in_graph(lambda x: bank.loss(loss, labels, x), x)

    step = tf.function(step) if graph else step
    for seed, n in enumerate([16, 16, 16, 70, 16]):
        x, labels = data(dtype, n, seed=seed)
        value, gradient = step(tf.constant(labels), tf.constant(x))
        expected = core.loss(right, x, labels)
        assert value.numpy() == np.dtype(dtype).type(expected.value) > 0
        np.testing.assert_array_equal(gradient, expected.grad)
        np.testing.assert_array_equal(bank.embeddings, core.embeddings)
        np.testing.assert_array_equal(bank.labels, core.labels)
        np.testing.assert_array_equal(bank.ids, core.ids)
    bank.reset()
    assert int(bank.rows) == 0


def test_bank_is_kept_in_a_checkpoint_and_by_a_failure(tmp_path):
    x, labels = data("float32", 16)
    bank, loss = nt.MemoryBank(20, 6), nt.SupConLoss()
    bank.loss(loss, labels, x)
    path = tf.train.Checkpoint(bank=bank).write(str(tmp_path / "bank"))
    twin = nt.MemoryBank(20, 6)
    tf.train.Checkpoint(bank=twin).read(path).assert_consumed()
    assert twin.loss(loss, labels, x) == bank.loss(loss, labels, x)
    held = bank.embeddings.numpy()
    for call in (bank.push, lambda labels, x: bank.loss(loss, labels, x)):
        with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match="NaN"):
            call(labels, x * np.float32(np.nan))
    with pytest.raises(ValueError, match="columns"):
        bank.push(labels, x[:, :3])
    np.testing.assert_array_equal(bank.embeddings, held)
