"""The contrastive loss of hard pairs, as a Keras loss."""

from typing import Any

import keras

from .. import online as _core
from .._derive import derive
from .losses import ListedLoss

_HOW = """
A Keras loss ``loss(labels, embeddings)``, reduced already, as ContrastiveLoss; with ``form="rows"``
y_pred is (n, 2, d) and y_true (n) is 1 where left and right are of one class. ``loss.pairs``,
``loss.rows`` and ``loss.reference`` are the other forms. Value and gradient are the bits of
nearfar.OnlineContrastiveLoss, with ``sample_weight`` those of its targets(). On the CPU only, not under
XLA, and differentiable once. Reduction ``none`` is refused.

engine: ``auto``, or ``native`` to take graphs to the CPU of a machine with a GPU. dtype: of the
computation in calls by Keras, keras.config.floatx() by default.
"""


class _HardPairs(ListedLoss):
    def __init__(self, *values: Any, form: str = "batch", engine: str = "auto",
                 name: str | None = None, dtype: Any = None, **options: Any) -> None:
        super().__init__(_core.OnlineContrastiveLoss(*values, **options), form=form, engine=engine,
                         name=name, dtype=dtype)


OnlineContrastiveLoss = keras.saving.register_keras_serializable(package="nearfar")(
    derive((_HardPairs,), _core.OnlineContrastiveLoss, _HOW, module=__name__))
