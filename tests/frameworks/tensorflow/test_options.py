"""No option of a loss is missing here, and each has the engine's value and gradient."""

import pytest
import tensorflow as tf

import nearfar.tensorflow
from option_support import CHANGED, IDS, data, value_and_gradient


@pytest.mark.parametrize("cls, field, options", CHANGED, ids=IDS)
def test_option(cls, field, options):
    loss = getattr(nearfar.tensorflow, cls.__name__)(**options, dtype="float64")
    x, labels = map(tf.constant, data())
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(labels, x)
    right, gradient = value_and_gradient(cls, options)
    assert value.numpy() == right and (tape.gradient(value, x).numpy() == gradient).all()
    again = type(loss).from_config(loss.get_config())
    assert again.options == loss.options and again(labels, x).numpy() == right
    if field == "stats":  # which only counts can show
        assert loss.counts(labels, x).mean_positive_distance is not None
