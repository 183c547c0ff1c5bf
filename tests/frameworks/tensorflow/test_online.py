"""OnlineContrastiveLoss: the engine's bits in every form, and in Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import nearfar
import nearfar.tensorflow as nt
from option_support import data


def check(call, arrays, result):
    xs = [tf.constant(array) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(xs)
        value = call(*xs)
    grads = result.grad if isinstance(result.grad, tuple) else (result.grad,)
    assert value.numpy() == result.value > 0
    for own, grad in zip(tape.gradient(value, xs), grads, strict=True):
        assert (own.numpy() == grad).all()


def test_forms_are_the_core():
    x, labels = data()
    core, loss = nearfar.OnlineContrastiveLoss(), nt.OnlineContrastiveLoss(dtype="float64")
    same, i, j = labels[:12] == labels[12:], np.arange(12), np.arange(12, 24)
    left, right, weight = x[:12], x[12:], np.linspace(0.5, 1.5, 24)
    check(lambda a: loss(labels, a), [x], core(x, labels))
    check(tf.function(lambda a: loss(labels, a)), [x], core(x, labels))
    check(lambda a: loss(labels, a, sample_weight=weight), [x],
          core.targets(x, labels, row_weight=weight))
    check(lambda a: loss.pairs(a, (i, j, same)), [x], core.pairs(x, (i, j, same)))
    check(lambda a, b: loss.rows(a, b, same), [left, right], core.rows(left, right, same))
    check(lambda a, b: loss.reference(a, labels[:12], b, labels[12:]), [left, right],
          core.reference(left, labels[:12], right, labels[12:]))
    rows = nt.OnlineContrastiveLoss(form="rows", dtype="float64")
    value = rows(same, tf.stack([left, right], axis=1))
    assert value.numpy() == core.rows(left, right, same).value
    assert rows.get_config()["form"] == "rows"


def test_keras_trains_and_loads(tmp_path):
    x, labels = data(np.float32)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model.compile("sgd", loss=nt.OnlineContrastiveLoss(0.7))
    history = model.fit(x, labels, batch_size=12, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").loss.options == model.loss.options


def test_refusals():
    x, labels = data()
    x = tf.constant(x)
    loss = nt.OnlineContrastiveLoss(dtype="float64")
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = loss(labels, x)
        grad = inner.gradient(value, x)
    with pytest.raises(NotImplementedError, match="no second derivatives"):
        outer.gradient(grad, x)
    none = nt.OnlineContrastiveLoss(reduction="none")
    with pytest.raises(NotImplementedError, match="gives the terms"):
        none.rows(x[:12], x[12:], labels[:12] == labels[12:])
    with pytest.raises(NotImplementedError, match="CPU only"):
        nt.OnlineContrastiveLoss(engine="tiled")(labels, x)
