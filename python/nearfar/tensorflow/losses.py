"""ContrastiveLoss, a Keras loss, and what losses share."""

import functools
from typing import Any

import keras
import tensorflow as tf

from .. import LossCounts, losses
from . import _formula, _ops, _tiled
from ._labels import check_binary, class_labels, same_flags
from ._options import encode
from .functions import _index, _matrix


_FORMULAS = {"rows": _formula.rows, "pairs": _formula.pairs}


@functools.cache
def _eager_type():
    return type(tf.constant(0))  # not at import: it makes TensorFlow choose its devices


def _weights(values):
    if values is None:
        return tf.zeros([0], tf.float64)
    return tf.cast(tf.reshape(tf.convert_to_tensor(values), [-1]), tf.float64)


def _ids(values, name):
    return tf.zeros([0], tf.int64) if values is None else _index(values, name)


class EngineLoss(keras.losses.Loss):
    """A loss of the engine, ``options``, as a Keras loss over all pairs of a batch."""

    def __init__(self, options: Any, *, engine: str, name: str | None, dtype: Any) -> None:
        self.options = options
        super().__init__(name=name or f"{options.preset.replace('-', '_')}_loss", dtype=dtype)
        self.reduction = options.reduction  # over terms; Keras's own is never applied
        self.engine = engine
        self._encoded = encode(options)
        ready = options.reduction != "none" and self.dtype in ("float32", "float64")
        self._ready_type = tf.as_dtype(self.dtype) if ready else None
        _ops.usable(engine)

    # ---- Keras ----------------------------------------------------------------------------------

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
        if getattr(y_pred, "__dict__", {}).get("_keras_mask") is not None:
            raise NotImplementedError("y_pred has a Keras mask: give masked rows the label -1, or "
                                      "sample_weight 0, instead")
        if sample_weight is None and self._is_ready(y_true, y_pred):
            return self._per_replica(_ops.loss("batch", self._encoded, y_pred, y_true))
        with tf.name_scope(self.name):
            y_pred = keras.ops.convert_to_tensor(y_pred, dtype=self.dtype)
            return self._per_replica(self._form_of_keras(y_true, y_pred, sample_weight))

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        return self(y_true, y_pred)

    def _is_ready(self, labels, x):
        """Whether the operation takes these as they are: most of a small eager call is Python."""
        eager = _eager_type()
        return (type(x) is eager and type(labels) is eager
                and x.dtype is self._ready_type and labels.dtype is tf.int64
                and x.ndim == 2 and labels.ndim == 1 and _ops.usable(self.engine, x))

    def _per_replica(self, value):
        # Keras sums gradients over replicas, and undoes this factor where it reports the loss.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return value / replicas if replicas > 1 else value

    def _form_of_keras(self, labels, x, weight):
        x = _matrix(x, "embeddings")
        labels = class_labels(labels)
        labels = tf.ensure_shape(labels, x.shape[:1]) if labels.shape[0] is None else labels
        return self._batch(x, labels, weight)

    def _batch(self, x, labels, weight):
        """The loss of rows with int64 labels."""
        _ops.cpu_only(type(self).__name__, self.engine, x)
        if weight is None:
            return _ops.loss("batch", self._encoded, x, labels)
        return _ops.loss("weighted", self._encoded, x, labels, _weights(weight))

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "engine": self.engine,
                **self.options._options()}

    def __repr__(self) -> str:
        return repr(self.options)

    # ---- other forms ----------------------------------------------------------------------------

    def reference(self, query: Any, query_labels: Any, reference: Any, reference_labels: Any,
                  query_ids: Any = None, reference_ids: Any = None) -> tf.Tensor:
        """All pairs of query (n, d) x reference (m, d), except those with equal ids. With reduction
        ``none`` of a loss that compares the pairs of a row the terms (n) of the queries."""
        if (query_ids is None) != (reference_ids is None):
            raise ValueError("query_ids and reference_ids: give both or neither")
        if self.options.reduction == "none" and self.options._takes("pairs"):
            raise ValueError("reduction 'none' is for rows and pair lists")
        query, reference = _matrix(query, "query"), _matrix(reference, "reference")
        labels = class_labels(query_labels, "query_labels")
        others = class_labels(reference_labels, "reference_labels")
        return self._sets(query, reference, labels, others, _ids(query_ids, "query_ids"),
                          _ids(reference_ids, "reference_ids"))

    def _sets(self, *sets):
        _ops.cpu_only(type(self).__name__, self.engine, *sets[:2])
        if self.options.reduction == "none":
            return _ops.reference_terms(self._encoded, *sets)
        return _ops.loss("reference", self._encoded, *sets)

    def counts(self, y_true: Any, y_pred: Any) -> LossCounts:
        """How many pairs and terms there are and how many are active: nearfar's LossCounts of
        loss(y_true, y_pred). One more pass, without gradient; eagerly only."""
        x, labels = _matrix(y_pred, "embeddings"), class_labels(y_true)
        return self._result(x.numpy(), labels.numpy()).counts

    def _result(self, x, labels):
        return self.options(x, labels, gradient=False)


class ListedLoss(EngineLoss):
    """A loss that has terms for listed pairs too."""

    def __init__(self, options: Any, *, form: str, engine: str, name: str | None,
                 dtype: Any) -> None:
        if form not in ("batch", "rows"):
            raise ValueError(f"form is {form!r}: it must be 'batch' or 'rows'")
        super().__init__(options, engine=engine, name=name, dtype=dtype)
        self.form = form
        if form == "rows":
            self._ready_type = None

    def _form_of_keras(self, labels, x, weight):
        if self.form == "rows":
            return self._stacked_rows(labels, x, weight)
        if self.options.reduction == "none":
            raise ValueError("reduction 'none' is for rows and pair lists: a batch has n^2 / 2 "
                             "terms")
        return super()._form_of_keras(labels, x, weight)

    def _stacked_rows(self, same, stacked, weight):
        if stacked.shape.rank != 3 or stacked.shape[1] not in (None, 2):
            raise ValueError(f"y_pred has shape {stacked.shape}: with form='rows' it must be "
                             "(n, 2, d), e.g. keras.ops.stack([left, right], axis=1)")
        return self.rows(stacked[:, 0], stacked[:, 1], same, weight)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "form": self.form}

    # ---- listed pairs ---------------------------------------------------------------------------

    def rows(self, x1: Any, x2: Any, same: Any, weight: Any = None) -> tf.Tensor:
        """Row k of x1 (n, d) with row k of x2 (n, d), same[k] 1 if they are of one class, else 0.

        weight (n): of each pair, >= 0. With reduction ``none`` the terms (n), else one number.
        """
        x1, x2, same = _matrix(x1, "x1"), _matrix(x2, "x2"), same_flags(same)
        return self._listed("rows", (x1, x2), (same, _weights(weight)))

    def pairs(self, x: Any, pairs: Any) -> tf.Tensor:
        """Pairs of rows of x (n, d): (i, j, same[, weight]), e.g. from nearfar.sample_pairs."""
        i, j, same, *weight = pairs
        rest = (_index(i, "i"), _index(j, "j"), same_flags(same),
                _weights(weight[0] if weight else None))
        return self._listed("pairs", (_matrix(x, "x"),), rest)

    def _listed(self, form, xs, rest):
        _ops.cpu_only(type(self).__name__, self.engine, *xs)
        if self.options.reduction == "none":
            raise NotImplementedError("reduction 'none': the native operations give one number; "
                                      "nearfar." + type(self).__name__ + " gives the terms")
        return _ops.loss(form, self._encoded, *xs, *rest)


@keras.saving.register_keras_serializable(package="nearfar")
class ContrastiveLoss(ListedLoss):
    """The contrastive family as a Keras loss: ``loss(labels, embeddings)``, reduced already.

    ::

        phi+ = scale * pos_weight * max(0, t+ - pos_margin)^pos_exponent     same label
        phi- = scale * neg_weight * max(0, neg_margin - t-)^neg_exponent     different label

    Presets, options and sources are those of nearfar.ContrastiveLoss, which is the attribute
    ``options``: without any, the mean over all pairs of eq. (3) of Weston, Ratle & Collobert, Deep
    Learning via Semi-Supervised Embedding, ICML 2008.

    In ``compile(loss=...)``, and called, y_true (n) are labels and y_pred (n, d) embeddings, and
    the loss is over all pairs of the batch. Labels stay integers (Keras would make them float32, in
    which 2^24 and 2^24 + 1 are one); -1 marks a row that is in no pair. ``sample_weight`` (n) gives
    pair (i, j) the weight w_i w_j. With ``form="rows"`` y_pred is (n, 2, d), left and right rows,
    y_true (n) is 1 where they are of one class, and sample_weight (n) is the weight of the pair.

    ``loss.pairs(x, pairs)``, ``loss.rows(x1, x2, same)`` and ``loss.reference(q, ql, r, rl)`` are
    the other forms. All are differentiable twice in the rows; the gradient of a distance at 0 is 0.

    engine: ``auto`` takes the native operation for rows on the CPU, with value and gradient the
    same bits as nearfar.loss, and TensorFlow's own operations, tile by tile, on other devices,
    under XLA (``jit_compile=True``); ``native`` and ``tiled`` insist.
    dtype: type of the computation in calls by Keras, keras.config.floatx() by default; the methods
    compute in the type of the rows.
    """

    def __init__(self, preset: str | None = None, *, form: str = "batch", engine: str = "auto",
                 name: str = "contrastive_loss", dtype: Any = None, **options: Any) -> None:
        super().__init__(losses.ContrastiveLoss(preset, **options), form=form, engine=engine,
                         name=name, dtype=dtype)

    def _batch(self, x, labels, weight):
        if _ops.usable(self.engine, x):
            return super()._batch(x, labels, weight)
        rest = [] if weight is None else [_weights(weight)]
        return _tiled.batch(self.options, x, check_binary(labels, self.options.unlabelled), *rest)

    def _sets(self, *sets):
        if _ops.usable(self.engine, *sets[:2]):
            return super()._sets(*sets)
        return _tiled.reference(self.options, *sets)

    def _listed(self, form, xs, rest):
        # Terms one by one take a gradient one by one: TensorFlow's own operations do that.
        if self.options.reduction != "none" and _ops.usable(self.engine, *xs):
            return super()._listed(form, xs, rest)
        return _FORMULAS[form](self.options, *xs, *rest)
