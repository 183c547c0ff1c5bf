"""The native operations: loaded once, with their gradients registered."""

import ctypes
import warnings
from pathlib import Path

import tensorflow as tf

from . import _formula, _tiled
from ._options import METRICS, decode, is_contrastive

_PATH = Path(__file__).parent.parent / "nearfar_tensorflow.so"
# Rows among an operation's inputs, and the contrastive family as a function of all its inputs.
_FORMS = {"batch": (1, _tiled.batch), "weighted": (1, _tiled.batch), "pairs": (1, _formula.pairs),
          "rows": (2, _formula.rows), "reference": (2, _tiled.reference),
          "margin": (1, None), "margin_reference": (2, None)}


def _load():
    try:
        return tf.load_op_library(str(_PATH))
    except (tf.errors.OpError, OSError) as error:
        warnings.warn(f"nearfar.tensorflow runs on TensorFlow's own operations, since the native "
                      f"ones do not load: {error}", RuntimeWarning, stacklevel=4)
        return None


native = _load()


def set_num_threads(threads: int) -> None:
    """Threads of the native operations from now on; 0 for NF_NUM_THREADS or every CPU.

    Never changes a result.
    """
    if not 0 <= threads <= 1024:
        raise ValueError(f"threads is {threads}: it must be 0 (automatic) or 1 to 1024")
    if native is not None:  # already loaded by TensorFlow: the same library, not a second one
        ctypes.CDLL(str(_PATH)).nearfar_tensorflow_set_threads(ctypes.c_int(threads))


def _under_xla():
    if tf.executing_eagerly():
        return False
    # No public name says whether a trace is for jit_compile=True.
    from tensorflow.python.ops import control_flow_util
    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def usable(engine: str, *xs) -> bool:
    """Whether the native operations take these rows."""
    if engine == "auto" and native is not None and tf.executing_eagerly():
        for x in xs:
            if "CPU" not in x.device:
                return False
        return True
    if engine not in ("auto", "native", "tiled"):
        raise ValueError(f"engine is {engine!r}: it must be 'auto', 'native' or 'tiled'")
    if engine == "native" and native is None:
        raise NotImplementedError(f"engine='native', but {_PATH.name} does not load here")
    if engine != "auto" or native is None:
        return engine == "native"
    # Where a graph will run is not known yet: on the CPU for certain if there is nothing else.
    return not _under_xla() and not tf.config.list_physical_devices("GPU")


_LOSS = {form: getattr(native, f"nearfar_loss_{form}", None) for form in _FORMS}


def loss(form, encoded, *inputs):
    """The loss in one of its forms, natively; its options as encode() gives them."""
    return _LOSS[form](*inputs, loss=encoded)[0]


def cpu_only(name, engine, *xs):
    """An error, where the native operations do not take the rows of a loss that has no other path."""
    if engine != "tiled" and usable(engine, *xs):
        return
    here = next((x.device for x in xs if tf.executing_eagerly() and "CPU" not in x.device), None)
    if engine == "tiled" or native is None:
        reason, remedy = (f"engine is {engine!r}" if native is not None else
                          f"{_PATH.name} does not load here"), "ContrastiveLoss has tiles"
    elif here is not None:
        reason, remedy = f"the rows are on {here}", "move them with tf.device('CPU:0')"
    elif _under_xla():
        reason, remedy = "under XLA there are no native operations", "set jit_compile=False"
    else:
        reason = "there is a GPU, and a graph does not say where it will run"
        remedy = "engine='native' takes it to the CPU"
    raise NotImplementedError(f"{name} is computed by native operations on the CPU only, and "
                              f"{reason}: {remedy}")


def _register_form(form):
    count = _FORMS[form][0]
    name = "".join(word.capitalize() for word in form.split("_"))

    @tf.RegisterGradient(f"NearfarLoss{name}")
    def gradient(op, upstream, *_):
        inputs, options = list(op.inputs), op.get_attr("loss")
        found = [native.nearfar_loss_scale(upstream, op.outputs[1 + k], inputs, form=form, which=k,
                                           loss=options) for k in range(count)]
        rest = [None] * (len(inputs) - count)
        if form.startswith("margin"):  # beta is the last input, and its gradient the last output
            slope = native.nearfar_loss_scale(tf.cast(upstream, tf.float64), op.outputs[-1][:, None],
                                              inputs, form=form, which=count, loss=options)
            rest[-1] = slope[:, 0]
        return found + rest


for _form in _FORMS:
    _register_form(_form)


def anchor_terms(encoded, x, labels):
    """The terms of each row as anchor, natively."""
    return native.nearfar_loss_anchors(x, labels, loss=encoded)


@tf.RegisterGradient("NearfarLossAnchors")
def _anchors_gradient(op, upstream):
    return native.nearfar_loss_anchors_pull(*op.inputs, tf.cast(upstream, tf.float64),
                                            loss=op.get_attr("loss")), None


def reference_terms(encoded, *sets):
    """The same of query x reference, the queries as anchors."""
    return native.nearfar_loss_anchors_reference(*sets, loss=encoded)


@tf.RegisterGradient("NearfarLossAnchorsReference")
def _reference_terms_gradient(op, upstream):
    found = native.nearfar_loss_anchors_reference_pull(
        *op.inputs, tf.cast(upstream, tf.float64), loss=op.get_attr("loss"))
    return [*found, *[None] * 4]


def _refuse_second(*_):
    raise NotImplementedError("this loss has no second derivatives: differentiate it once; "
                              "ContrastiveLoss has them")


for _pull in ("NearfarLossAnchorsPull", "NearfarLossAnchorsReferencePull"):
    tf.RegisterGradient(_pull)(_refuse_second)


def _distinct(xs):
    """Tensors that a tape tells apart, where both sides may be one: each side gets its share."""
    return [tf.identity(x) for x in xs]


@tf.RegisterGradient("NearfarLossScale")
def _second_order(op, upstream):
    """factor * gradient: in the factor it is linear, in the rows it is the Hessian times upstream,
    by TensorFlow's own operations."""
    factor, gradient, *inputs = op.inputs
    if not is_contrastive(op.get_attr("loss")):
        _refuse_second()
    form = op.get_attr("form")
    form = form.decode() if isinstance(form, bytes) else form
    count, formula = _FORMS[form]
    xs, rest = _distinct(inputs[:count]), inputs[count:]
    options = decode(op.get_attr("loss"))
    with tf.GradientTape() as outer:
        outer.watch(xs)
        with tf.GradientTape() as inner:
            inner.watch(xs)
            value = formula(options, *xs, *rest)
        first = inner.gradient(value, xs, unconnected_gradients="zero")[op.get_attr("which")]
        slope = tf.reduce_sum(first * upstream)
    found = outer.gradient(slope, xs, unconnected_gradients="zero")
    return [tf.reduce_sum(gradient * upstream), None, *(factor * rows for rows in found),
            *([None] * len(rest))]


# ---- distances ----------------------------------------------------------------------------------


def _blockwise(metric, x, y, normalize):
    """(n, m) from differences, some rows of x at a time: memory O(m d) beside the result."""
    limit = tf.maximum(1, (1 << 20) // tf.maximum(1, tf.size(y)))
    rows = tf.maximum(1, tf.minimum(limit, tf.shape(x)[0]))
    blocks = _tiled._blocks(x, rows)
    found = tf.map_fn(lambda a: _formula.distance(metric, a[:, None, :], y[None, :, :], normalize),
                      blocks, parallel_iterations=1,
                      fn_output_signature=tf.TensorSpec([None, y.shape[0]], x.dtype))
    return tf.reshape(found, [-1, tf.shape(y)[0]])[:tf.shape(x)[0]]


def _distances_gradient(metric, normalize, x, y, result, upstream):
    """Upstream (n, m) back to x and y, in operations that can be differentiated again."""
    x, y = _distinct([x, y])
    if metric == "cityblock":
        with tf.GradientTape() as tape:
            tape.watch([x, y])
            value = tf.reduce_sum(upstream * _blockwise(metric, x, y, normalize))
        return tape.gradient(value, [x, y])
    unit = normalize or metric == "cosine"
    with tf.GradientTape() as tape:
        tape.watch([x, y])
        a, b = (_formula.unit_rows(x), _formula.unit_rows(y)) if unit else (x, y)
    if metric == "dot":
        da, db = -upstream @ b, -tf.transpose(upstream) @ a
    else:
        # d(|a_i - b_j|^2) = 2 (a_i - b_j), about a centre against cancellation far from 0
        weight = {"euclidean": lambda: tf.where(result > 0,
                                                upstream / tf.where(result > 0, result, 1), 0),
                  "sqeuclidean": lambda: 2 * upstream,
                  "cosine": lambda: upstream}[metric]()
        centre = tf.stop_gradient(tf.reduce_mean(b, axis=0, keepdims=True))
        p, q = a - centre, b - centre
        da = tf.reduce_sum(weight, axis=1)[:, None] * p - weight @ q
        db = tf.reduce_sum(weight, axis=0)[:, None] * q - tf.transpose(weight) @ p
    return tape.gradient([a, b], [x, y], output_gradients=[da, db]) if unit else (da, db)


def tiled_distances(metric, x, y, normalize):
    @tf.custom_gradient
    def distances(x, y):
        def gradient(upstream):
            again = tiled_distances(metric, x, y, normalize)
            return _distances_gradient(metric, normalize, x, y, again, upstream)
        return _blockwise(metric, tf.stop_gradient(x), tf.stop_gradient(y), normalize), gradient
    return distances(x, y)


@tf.RegisterGradient("NearfarDistances")
def _distances(op, upstream):
    metric, normalize = op.get_attr("options")
    return _distances_gradient(METRICS[metric], bool(normalize), *op.inputs, op.outputs[0],
                               upstream)


def tiled_pair_distances(metric, x, y, i, j, normalize):
    return _formula.distance(metric, _formula.gather(x, i), _formula.gather(y, j), normalize)


@tf.RegisterGradient("NearfarPairDistances")
def _pair_distances(op, upstream):
    metric, normalize = op.get_attr("options")
    *xs, i, j = op.inputs
    x, y = _distinct(xs)
    with tf.GradientTape() as tape:
        tape.watch([x, y])
        value = tf.reduce_sum(
            upstream * tiled_pair_distances(METRICS[metric], x, y, i, j, bool(normalize)))
    return [*tape.gradient(value, [x, y]), None, None]
