"""Losses that compare the pairs of a row with each other, as Keras losses."""

from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from .. import anchor_losses as _core
from .._derive import NoLists, derive
from . import _ops
from ._options import encode_margin
from .losses import EngineLoss

_HOW = """
A Keras loss ``loss(labels, embeddings)``, reduced already, as ContrastiveLoss; also
``loss.reference(query, query_labels, reference, reference_labels)``. Arguments and defaults are
nearfar's of the same name (``help(nearfar.{name})``), value and gradient its bits. On the CPU only, not
under XLA, and differentiable once. With
reduction ``none`` the call gives the terms (n) of each row as anchor.

engine: ``auto``, or ``native`` to take graphs to the CPU of a machine with a GPU. dtype: of the
computation in calls by Keras, keras.config.floatx() by default.
"""


class AnchorLoss(NoLists, EngineLoss):
    """What the losses of this module share; each is made for one of nearfar.anchor_losses."""

    _core: ClassVar[type[_core.AnchorLoss]]

    def __init__(self, *values: Any, engine: str = "auto", name: str | None = None,
                 dtype: Any = None, **options: Any) -> None:
        super().__init__(self._core(*values, **options), engine=engine, name=name, dtype=dtype)

    def _batch(self, x, labels, weight):
        if self.options.reduction != "none":
            return super()._batch(x, labels, weight)
        if weight is not None:
            raise ValueError("sample_weight: multiply the terms of reduction='none' by it")
        _ops.cpu_only(type(self).__name__, self.engine, x)
        return _ops.anchor_terms(self._encoded, x, labels)


class BoundaryLoss(AnchorLoss):
    """A margin loss whose boundary may be a variable."""

    def __init__(self, margin: float = 0.2, beta: Any = 1.2, *, nu: float = 0.0,
                 learn_beta: bool = False, num_classes: int | None = None, engine: str = "auto",
                 name: str | None = None, dtype: Any = None, **options: Any) -> None:
        start = np.asarray(beta, np.float64)
        if num_classes is not None and start.ndim == 0:
            start = np.repeat(start, num_classes)
        if start.ndim > 1 or start.size == 0 or num_classes not in (None, start.size):
            raise ValueError(f"beta has shape {start.shape} and num_classes is {num_classes}: give a "
                             "number, or one for each class")
        # The core's loss has one beta; with more it stands for none of them.
        super().__init__(margin, float(start.reshape(-1)[0]), engine=engine, name=name, dtype=dtype,
                         **options)
        self.nu, self.learn_beta = float(nu), bool(learn_beta)
        self._start, self._by_label = start, start.ndim == 1
        self._constant = not (learn_beta or self._by_label or nu)
        self.beta = (keras.Variable(start.astype(keras.config.floatx()), name="beta")
                     if learn_beta else start)
        if not self._constant:
            self._ready_type = None  # the operation takes one input more

    def _call(self, form, *inputs):
        beta = self.beta.value if self.learn_beta else self.beta
        beta = tf.reshape(tf.cast(tf.convert_to_tensor(beta), tf.float64), [-1])
        encoded = encode_margin(self.options, self.nu, self._by_label)
        return _ops.loss(form, encoded, *inputs, beta)

    def _batch(self, x, labels, weight):
        if self._constant:
            return super()._batch(x, labels, weight)
        if weight is not None:
            raise NotImplementedError("sample_weight: a margin loss with a boundary that is learnt, or "
                                      "one for each label, takes none; give rows the label -1")
        _ops.cpu_only(type(self).__name__, self.engine, x)
        return self._call("margin", x, labels)

    def _sets(self, *sets):
        if self._constant:
            return super()._sets(*sets)
        _ops.cpu_only(type(self).__name__, self.engine, *sets[:2])
        return self._call("margin_reference", *sets)

    def _result(self, x, labels):
        if self._constant:
            return super()._result(x, labels)
        beta = np.asarray(self.beta, np.float64).reshape(-1)
        return self.options._with_beta(x, labels, beta=beta, nu=self.nu, by_label=self._by_label,
                                       gradient=False)[0]

    def get_config(self) -> dict[str, Any]:
        now = np.asarray(self.beta).tolist()
        return {**super().get_config(), "beta": now, "nu": self.nu, "learn_beta": self.learn_beta}


_MORE = """
nu: adds nu * beta, as nearfar.margin_loss. beta: a number, or (c) numbers, beta[k] for the anchors with
label k; labels are then 0 .. c - 1. num_classes: start with so many times the number beta. learn_beta:
``loss.beta`` is a keras.Variable with a gradient; ``model.boundary = loss.beta``, before the model is
built, makes it one of the model's.
"""


def _derived(core, base=AnchorLoss, more=""):
    how = _HOW.format(name=core.__name__) + more
    return keras.saving.register_keras_serializable(package="nearfar")(
        derive((base,), core, how, module=__name__))


CircleLoss = _derived(_core.CircleLoss)
GeneralizedLiftedStructureLoss = _derived(_core.GeneralizedLiftedStructureLoss)
LiftedStructureLoss = _derived(_core.LiftedStructureLoss)
MarginLoss = _derived(_core.MarginLoss, BoundaryLoss, _MORE)
MultiSimilarityLoss = _derived(_core.MultiSimilarityLoss)
NCALoss = _derived(_core.NCALoss)
NPairsLoss = _derived(_core.NPairsLoss)
NTXentLoss = _derived(_core.NTXentLoss)
SupConLoss = _derived(_core.SupConLoss)
TripletMarginLoss = _derived(_core.TripletMarginLoss)
