"""Models."""

import json
import os
import struct
import tempfile
from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from . import _core


class Model(_core.Model):
    """A stack of dense layers in float32 that turns rows into embeddings.

    ::

        h_0 = (x - mean) / std        with standardize, stored with the model
        h_l = act(W_l h_{l-1} + b_l)  hidden layers
        y   = W_L h_{L-1} + b_L       output layer; with normalize y / |y|

    inputs: columns of x. outputs: dimensions of the embedding. hidden: widths of hidden layers,
    none for a linear model; activation ``relu`` or ``tanh``. Initial weights depend on seed only.

    Immutable once made: threads may share it. Pickles. ``save`` and ``load`` use the same files
    (safetensors) as the program.
    """

    __slots__ = ()

    def to_bytes(self) -> bytes:
        """The content of the model's file."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.safetensors")
            self.save(path)
            with open(path, "rb") as file:
                return file.read()

    def _copy(self) -> Self:
        return type(self).from_bytes(self.to_bytes())

    def _with_tensors(self, **tensors: np.ndarray) -> Self:
        """A copy in which tensors of the file have other values."""
        data = bytearray(self.to_bytes())
        (length,) = struct.unpack_from("<Q", data)
        header, start = json.loads(data[8:8 + length]), 8 + length
        for name, value in tensors.items():
            entry = header[name]
            if list(value.shape) != entry["shape"]:
                raise ValueError(f"{name} has shape {value.shape}: the model takes "
                                 f"{tuple(entry['shape'])}")
            first, last = entry["data_offsets"]
            kind = {"F32": "<f4", "F64": "<f8"}[entry["dtype"]]
            data[start + first:start + last] = value.astype(kind).tobytes()
        return type(self).from_bytes(data)

    def with_weights(self, weights: Sequence[ArrayLike],
                     biases: Sequence[ArrayLike | None] | None = None) -> Self:
        """A copy with other weights (out, in) and, if given, biases (out) of each layer."""
        layers = len(self.weights)
        biases = [None] * layers if biases is None else biases
        if len(weights) != layers or len(biases) != layers:
            raise ValueError(f"the model has {layers} layers, got {len(weights)} weights and "
                             f"{len(biases)} biases")
        tensors = {f"layers.{l}.weight": np.asarray(weight) for l, weight in enumerate(weights)}
        tensors.update({f"layers.{l}.bias": np.asarray(bias) for l, bias in enumerate(biases)
                        if bias is not None})
        return self._with_tensors(**tensors)

    @classmethod
    def from_arrays(cls, weights: Sequence[ArrayLike], biases: Sequence[ArrayLike] | None = None,
                    *, mean: ArrayLike | None = None, std: ArrayLike | None = None,
                    activation: Literal["relu", "tanh"] = "relu", normalize: bool = False) -> Self:
        """A model with these weights (out, in) and biases (out) of each layer, and, if given,
        means and deviations (inputs) of the input."""
        layers = [np.asarray(weight) for weight in weights]
        if not layers or any(layer.ndim != 2 for layer in layers):
            raise ValueError("weights must hold one 2-D array (out, in) per layer")
        if (mean is None) != (std is None):
            raise ValueError("mean and std go together: give both or neither")
        model = cls(layers[0].shape[1], len(layers[-1]), [len(layer) for layer in layers[:-1]],
                    activation=activation, bias=biases is not None, standardize=mean is not None,
                    normalize=normalize)
        tensors = {} if mean is None else {"input.mean": np.asarray(mean),
                                           "input.std": np.asarray(std)}
        return model.with_weights(layers, biases)._with_tensors(**tensors)

    def with_metadata(self, **entries: str) -> Self:
        """A copy that keeps more text with it."""
        copy = self._copy()
        for key, value in entries.items():
            copy._set_metadata(key, value)
        return copy

    def __repr__(self) -> str:
        options = self.options
        widths = " -> ".join(str(width) for width in
                             (self.inputs, *options["hidden"], self.outputs))
        return f"<nearfar.Model {widths}, {self.parameters} parameters>"

    def __reduce__(self):
        return _from_bytes, (type(self), self.to_bytes())


def _from_bytes(cls, data):
    return cls.from_bytes(data)
