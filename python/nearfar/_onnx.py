"""Models as ONNX, for runtimes that know nothing of nearfar."""

import contextlib
import os
import secrets
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from .model import Model

if TYPE_CHECKING:
    from onnx import ModelProto

_OPSET = 17  # July 2022, so that old runtimes read the file too
_IR = 8      # the file version that came with it
_SMALLEST = float(np.finfo(np.float32).tiny)


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise ImportError("export_onnx needs the package onnx: pip install onnx (or pip install "
                          "'nearfar[onnx]')") from error
    return onnx


def _split(values: np.ndarray[Any, Any], name: str) -> tuple[np.ndarray[Any, Any], ...]:
    """float64 values as a sum of two float32: x - high - low keeps the digits of a small
    difference, which x - high alone does not."""
    with np.errstate(over="ignore"):
        high = values.astype(np.float32)
    if not np.isfinite(high).all():
        raise ValueError(f"{name} of the model exceeds float32, which ONNX computes in: scale the "
                         "input, or train without standardisation")
    return high, (values - high).astype(np.float32)


class _Graph:
    """Nodes one after another, each on the value of the one before."""

    def __init__(self, onnx: Any, value: str) -> None:
        self.onnx, self.value = onnx, value
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: Any) -> str:
        self.constants.append(self.onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        """A node of the inputs, or of the last value and then the inputs."""
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), [name], name=name,
                                                     **attributes))
        self.value = name
        return name

    def standardize(self, mean: np.ndarray[Any, Any], std: np.ndarray[Any, Any]) -> None:
        high, low = _split(mean, "a mean")
        scale, _ = _split(std, "a deviation")
        if (scale < _SMALLEST).any():
            raise ValueError("a deviation of the model is below float32, which ONNX computes in: "
                             "scale the input, or train without standardisation")
        self.add("Sub", "centred_high", self.value, self.constant("mean_high", high))
        if low.any():
            self.add("Sub", "centred", self.value, self.constant("mean_low", low))
        self.add("Div", "standardized", self.value, self.constant("std", scale))

    def dense(self, layer: int, weight: np.ndarray[Any, Any],
              bias: np.ndarray[Any, Any] | None) -> None:
        inputs = [self.value, self.constant(f"layers.{layer}.weight", weight)]
        if bias is not None:
            inputs.append(self.constant(f"layers.{layer}.bias", bias))
        self.add("Gemm", f"layers.{layer}", *inputs, transB=1)

    def normalize(self) -> None:
        """y / |y|, and 0 for a zero row: scaled by the largest |y| first, so that no square
        overflows or vanishes; then the norm is at least 1 unless the row is zero."""
        zero, one = self.constant("zero", np.float32(0)), self.constant("one", np.float32(1))
        row = self.value
        largest = self.add("ReduceMax", "largest", self.add("Abs", "absolute", row), axes=[1])
        divisor = self.add("Where", "divisor", self.add("Equal", "is_zero", largest, zero), one,
                           largest)
        scaled = self.add("Div", "scaled", row, divisor)
        norm = self.add("Max", "norm_or_one", self.add("ReduceL2", "norm", scaled, axes=[1]), one)
        self.add("Div", "normalized", scaled, norm)


def to_onnx(model: Model) -> "ModelProto":
    """The model as an onnx.ModelProto: ``x`` (n, inputs) float32 to ``embedding`` (n, outputs)
    float32, with any number of rows."""
    onnx = _onnx()
    if not isinstance(model, _core.Model):
        raise TypeError(f"model is a {type(model).__name__}: it must be a nearfar.Model (the "
                        "attribute model of a Trainer, model_ of an estimator)")
    options, graph = model.options, _Graph(onnx, "x")
    if model.mean is not None and model.std is not None:
        graph.standardize(model.mean, model.std)
    last = len(model.weights) - 1
    for layer, (weight, bias) in enumerate(zip(model.weights, model.biases)):
        graph.dense(layer, weight, bias)
        if layer < last:
            graph.add({"relu": "Relu", "tanh": "Tanh"}[options["activation"]],
                      f"hidden.{layer}", graph.value)
    if options["normalize"]:
        graph.normalize()
    graph.add("Identity", "embedding", graph.value)
    return _proto(onnx, model, graph)


def _proto(onnx: Any, model: Model, graph: _Graph) -> "ModelProto":
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(name, kind, ["n", width])
            for name, width in (("x", model.inputs), ("embedding", model.outputs))]
    proto = helper.make_model(
        helper.make_graph(graph.nodes, "nearfar", ends[:1], ends[1:], graph.constants),
        opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR, producer_name="nearfar",
        producer_version=_core.version, doc_string=repr(model)[1:-1])
    hidden = ",".join(str(width) for width in model.options["hidden"])
    helper.set_model_props(proto, {
        **{f"model.{name}": str(value) for name, value in model.options.items()},
        "model.hidden": hidden, **model.metadata})
    onnx.checker.check_model(proto, full_check=True)
    return proto  # type: ignore[no-any-return]


def export_onnx(model: Model, path: str | os.PathLike[str]) -> None:
    """Write the model as an ONNX file (opset 17, float32 throughout).

    Input ``x`` (n, inputs), output ``embedding`` (n, outputs), both float32, n free. The graph is
    the model's own: standardisation, dense layers, activation, and with ``normalize`` division by
    the norm, where a zero row stays zero. The model's options and metadata are kept as text. The
    file appears whole or not at all; one that was there stays as it is on failure.

    Needs the package ``onnx``: ImportError says how to get it. A model whose means or deviations
    do not fit float32 is ValueError.
    """
    data = to_onnx(model).SerializeToString(deterministic=True)
    path = os.path.realpath(path)
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as device:  # a pipe or a terminal; a folder is an error
            device.write(data)
        return
    temporary = os.path.join(os.path.dirname(path), f".nearfar-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
