"""TensorFlow: value and gradient in a tf.function, with XLA and without."""

import functools
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import tensorflow as tf

from .task import Task, Unsupported, version_of


def versions():
    return version_of("tensorflow", "numpy")


def start(threads):
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def weston(x, labels):
    n = x.shape[0]
    norm = tf.reduce_sum(x * x, 1)
    square = tf.maximum(norm[:, None] + norm - 2 * tf.matmul(x, x, transpose_b=True), 1e-12)
    below = tf.maximum(1 - tf.sqrt(square), 0)
    same = labels[:, None] == labels
    return tf.reduce_sum(tf.where(same, square, below * below)) / (n * (n - 1))


def _value_and_gradient(x, labels):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = weston(x, labels)
    return value, tape.gradient(value, x)


@functools.cache
def _function(xla):
    return tf.function(_value_and_gradient, jit_compile=xla)


def prepare(peer, work, inputs, options):
    if work != "weston":
        raise Unsupported(f"{peer}: {work}")
    x, labels = tf.constant(inputs["x"]), tf.constant(inputs["labels"])
    function = _function(peer == "TensorFlow XLA")

    def call():
        value, gradient = function(x, labels)
        value.numpy()  # waits
        return value, gradient

    return Task(call, lambda result: {"value": np.float64(result[0].numpy()),
                                      "gradient": result[1].numpy()})
