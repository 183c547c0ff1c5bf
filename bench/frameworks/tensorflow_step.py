"""Time of nearfar.tensorflow against a no-op operation and against TensorFlow's own formula.

One JSON line a case: medians, in microseconds, of repeats of which each runs every contender in
turn, and the ratios to nearfar's. Needs TensorFlow, nearfar and a C compiler:

    python bench/frameworks/tensorflow_step.py [--repeats 15] [--threads 2]

The formula is eq. (3) of Weston et al., 2008, over all pairs, as it is usually written: distances
by |a|^2 - 2 a.b + |b|^2, the fastest form in TensorFlow, with a root that is safe at 0.
"""

import os
import subprocess
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

import nearfar.tensorflow as nt
from nearfar.tensorflow import _ops
from nearfar.tensorflow._options import encode
from timing import Comparison, arguments

ROOT = Path(__file__).parents[2]


def noop_library(folder):
    """The no-op, built against this TensorFlow."""
    compiler = os.environ.get("CC", "cc")
    path = Path(folder) / "noop.so"
    subprocess.run([compiler, "-std=c11", "-O2", "-shared", "-fPIC",
                    f"-I{ROOT / 'python' / 'src' / 'tf'}",
                    ROOT / "bench" / "frameworks" / "tensorflow_noop.c", "-o", path,
                    *tf.sysconfig.get_link_flags()], check=True)
    return tf.load_op_library(str(path))


def formula(x, labels):
    """The mean over pairs of d^2 (same label) or max(0, 1 - d)^2 (different)."""
    length2 = tf.reduce_sum(x * x, axis=1)
    d2 = tf.nn.relu(length2[:, None] - 2 * tf.matmul(x, x, transpose_b=True) + length2[None, :])
    positive = d2 > 0
    d = tf.where(positive, tf.sqrt(tf.where(positive, d2, 1)), 0)
    same = labels[:, None] == labels[None, :]
    phi = tf.where(same, d2, tf.nn.relu(1 - d)**2)
    n = tf.cast(tf.shape(x)[0], x.dtype)
    off_diagonal = tf.linalg.set_diag(phi, tf.zeros_like(length2))
    return tf.reduce_sum(off_diagonal) / (n * (n - 1))


def wait(result):
    np.asarray(result[0] if isinstance(result, tuple) else result)


def step_of(function):
    def step(x, labels):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x, labels)
        return value, tape.gradient(value, x)
    return step


def calls(noop, compare):
    """The overhead of a call, N = 2 and d = 2: the operation, and ContrastiveLoss around it."""
    x, labels = tf.constant([[0.0, 0.0], [0.3, 0.4]]), tf.constant([0, 1], tf.int64)
    loss = nt.ContrastiveLoss()
    options = encode(loss.options)

    def nothing(rows, classes):
        return noop.nearfar_bench_nothing(rows, classes, loss=options)[0]

    def operation(rows, classes):
        return _ops.loss("batch", options, rows, classes)

    graphs = {"nearfar": tf.function(lambda rows, classes: loss(classes, rows)),
              "noop": tf.function(nothing)}
    compare("call of the operation, eager", {"nearfar": lambda: operation(x, labels),
                                             "noop": lambda: nothing(x, labels)})
    compare("call of ContrastiveLoss, eager", {"nearfar": lambda: loss(labels, x),
                                               "noop": lambda: nothing(x, labels)})
    compare("call of ContrastiveLoss, tf.function",
            {name: (lambda f=graph: f(x, labels)) for name, graph in graphs.items()})


def descent(function, count):
    """`count` steps of gradient descent in one graph: what a step costs within a training loop,
    without the call of the graph."""
    step = step_of(function)

    def run(x, labels):
        value = tf.zeros([], x.dtype)
        for _ in tf.range(count):
            value, gradient = step(x, labels)
            x -= 1e-3 * gradient
        return value
    return run


def steps(n, d, compare, count):
    """Loss and gradient of a batch of n rows with 10 classes, apart by about the margin."""
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(n, d)).astype(np.float32) / (2 * d)**0.5)
    labels = tf.constant(rng.integers(0, 10, n))
    keras_loss = nt.ContrastiveLoss()

    def loss(rows, classes):
        return keras_loss(classes, rows)

    alone = {"nearfar": step_of(loss), "formula, eager": step_of(formula),
             "formula, tf.function": tf.function(step_of(formula)),
             "formula, XLA": tf.function(step_of(formula), jit_compile=True)}
    graph = alone | {"nearfar": tf.function(step_of(loss))}
    inside = {"nearfar": tf.function(descent(loss, count)),
              "formula, tf.function": tf.function(descent(formula, count)),
              "formula, XLA": tf.function(descent(formula, count), jit_compile=True)}
    found = [step(x, labels) for step in alone.values()]
    for value, gradient in found[1:]:  # all compute the same; float32 sums of n^2 terms drift
        np.testing.assert_allclose(value, found[0][0], rtol=1e-2)
        np.testing.assert_allclose(gradient, found[0][1], atol=1e-2 * np.abs(gradient).max())
    for way, contenders, of in (("eager", alone, 1), ("tf.function", graph, 1),
                                (f"tf.function of {count} steps", inside, count)):
        compare(f"step n={n} d={d}, {way}",
                {name: (lambda f=step: f(x, labels)) for name, step in contenders.items()}, of)


def main():
    options = arguments(__doc__)
    compare = Comparison(options.repeats, wait)
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    nt.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        calls(noop_library(folder), compare)
    steps(64, 128, compare, 100)
    steps(4096, 128, Comparison(max(3, options.repeats // 3), wait), 2)


if __name__ == "__main__":
    main()
