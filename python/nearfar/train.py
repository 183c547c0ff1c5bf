"""Training."""

import inspect
import json
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

from numpy.typing import ArrayLike

from . import _convert, _core
from . import mine as _mine
from ._named_loss import NamedLoss
from ._targets import row_weights
from .kinds import CLASSES, preset_loss
from .losses import ContrastiveLoss, _FIELDS
from .model import Model


class TrainingWarning(UserWarning):
    """Training can go on, but something looks wrong: a collapse, an odd margin, lone classes."""


# Defaults are the library's own.
_MODEL = {name: value for name, value in _core.Model(1).options.items() if name != "inputs"}
_TRAIN = _core.train_defaults()


def training_loss(preset: str = "weston", **options: Any) -> ContrastiveLoss | NamedLoss:
    """The loss that ``nearfar train --loss NAME`` uses, any of presets().

    In the contrastive family the trainer's reduction ``mean-sides`` takes the place of ``mean``, and
    its weight of positives goes with that. Options given by name are taken as they are."""
    if _core.Loss(preset).kind in CLASSES:
        return preset_loss(preset, **options)
    loss, base = ContrastiveLoss(preset, **options), default_loss()
    if options.get("reduction") is None and loss.reduction == "mean":
        loss = loss.replace(reduction=base.reduction)
    if options.get("pos_weight") is None and loss.reduction == base.reduction:
        loss = loss.replace(pos_weight=base.pos_weight)
    return loss


def default_loss() -> ContrastiveLoss:
    """The loss of a Trainer without one: weston with reduction ``mean-sides`` and a weight of
    positives that suits it, so that the many negatives do not swamp them."""
    loss = _core.default_training_loss()
    return ContrastiveLoss(**{name: getattr(loss, name) for name in _FIELDS})


_MINERS = {name: getattr(_mine, name.replace("-", "_"))
           for name in ("pair-margin", "multi-similarity", "batch-hard", "easy-positive",
                        "triplet-margin", "semi-hard", "distance-weighted")}
_NOT_IN_TRAINING = {"ids", "reference_ids", "seed", "unlabelled"}


def _check_miner(name, options):
    """A miner takes in training what it takes in nearfar.mine."""
    if name is None:
        if options:
            raise TypeError("mine_options goes with mine, which is None")
        return
    if name not in _MINERS:
        raise ValueError(f"mine is {name!r}: it must be one of {', '.join(map(repr, _MINERS))}, or "
                         "None")
    taken = [key for key, parameter in inspect.signature(_MINERS[name]).parameters.items()
             if parameter.kind is parameter.KEYWORD_ONLY and key not in _NOT_IN_TRAINING]
    for key in options or ():
        if key not in taken:
            raise TypeError(f"mine_options has {key!r}: {name} takes {', '.join(taken)}")


class Trainer:
    """Train an embedding on labelled rows, or on pairs made beforehand.

    Every step takes a batch, embeds it, computes the loss and its gradient over all pairs of the
    batch and updates the weights. The same options and data give the same bits as ``nearfar
    train`` with the same options, for any number of threads.

    Parameters
    ----------
    loss : ContrastiveLoss, SupConLoss, .. or str, optional
        A loss as it is, or its name, see training_loss. Default: weston.
    outputs, hidden, activation, bias, standardize, normalize
        The model, see Model.
    sampling : {"m-per-class", "random", "all", "pairs"}
        Rows of a batch: ``per_class`` rows of each class, any rows, every row, or ``batch_size``
        pairs drawn per step, ``positive_fraction`` of them positive.
    batch_size, per_class, positive_fraction, epochs
    memory_bank : int
        Rows of earlier batches that a batch meets too, as they were embedded then (cross-batch
        memory; Wang et al., CVPR 2020); 0: none. For sampling m-per-class and random.
    mine : str, optional
        A miner of nearfar.mine by name: "pair-margin", "multi-similarity", "batch-hard",
        "easy-positive", "triplet-margin", "semi-hard" or "distance-weighted". The loss of a step is
        then that of what it finds in the batch: of pairs a ContrastiveLoss, of triplets also a
        TripletMarginLoss or a MarginLoss. For batches of labelled rows; positives and negatives come
        from the memory bank, if there is one. A step that finds nothing has loss 0 and is counted (``empty_steps``).
    mine_options : mapping, optional
        What that miner takes in nearfar.mine, such as ``{"margin": 0.1}``. Draws follow ``seed``.
    learn_beta : {"global", "class"}, optional
        With a MarginLoss: its boundary is learnt with the weights, one for all classes or one for
        the anchors of each, starting from the loss's. What was learnt is in the model's metadata
        (``train.beta``, and ``train.beta_labels`` of classes), where ``fit(.., model=model)`` takes
        it up again. ``beta_lr``: its learning rate, None for ``lr``; ``nu``: see margin_loss.
    optimizer : {"adam", "sgd"}
        with ``lr``, ``momentum`` (sgd) and decoupled ``weight_decay``.
    schedule : {"cosine", "constant"}
        Learning rate over the run.
    valid_fraction : float
        Stratified share of rows held out; their MAP@R chooses the weights that are kept.
    patience : int
        Stop after so many epochs without a better MAP@R; 0: never.
    seed : int
        Of the initial weights, the split and the batches.
    on_epoch : callable, optional
        Called with a TrainEvent before training (epoch 0) and after every epoch; a true answer
        ends the training, and the best weights so far are kept.

    Attributes
    ----------
    model : Model
        The result of the last fit; after KeyboardInterrupt the best so far.
    report : TrainReport
    history : list of TrainEvent
    """

    def __init__(
        self, loss: _core.Loss | str | None = None, *,
        outputs: int = _MODEL["outputs"], hidden: int | tuple[int, ...] = _MODEL["hidden"],
        activation: str = _MODEL["activation"], bias: bool = _MODEL["bias"],
        standardize: bool = _MODEL["standardize"], normalize: bool = _MODEL["normalize"],
        sampling: str = _TRAIN["sampling"], batch_size: int = _TRAIN["batch_size"],
        per_class: int = _TRAIN["per_class"],
        positive_fraction: float = _TRAIN["positive_fraction"],
        memory_bank: int = _TRAIN["memory_bank"], mine: str | None = _TRAIN["mine"],
        mine_options: Mapping[str, Any] | None = _TRAIN["mine_options"],
        learn_beta: Literal["global", "class"] | None = _TRAIN["learn_beta"],
        beta_lr: float | None = _TRAIN["beta_lr"], nu: float = _TRAIN["nu"], epochs: int = _TRAIN["epochs"],
        optimizer: str = _TRAIN["optimizer"], lr: float = _TRAIN["lr"],
        momentum: float = _TRAIN["momentum"], weight_decay: float = _TRAIN["weight_decay"],
        schedule: str = _TRAIN["schedule"], valid_fraction: float = _TRAIN["valid_fraction"],
        patience: int = _TRAIN["patience"], seed: int = 0,
        on_epoch: Callable[[_core.TrainEvent], Any] | None = None,
    ) -> None:
        self.loss = training_loss() if loss is None else loss
        if isinstance(loss, str):
            self.loss = training_loss(loss)
        self.outputs = outputs
        self.hidden = hidden
        self.activation = activation
        self.bias = bias
        self.standardize = standardize
        self.normalize = normalize
        self.sampling = sampling
        self.batch_size = batch_size
        self.per_class = per_class
        self.positive_fraction = positive_fraction
        self.memory_bank = memory_bank
        self.mine = mine
        self.mine_options = mine_options
        self.learn_beta = learn_beta
        self.beta_lr = beta_lr
        self.nu = nu
        self.epochs = epochs
        self.optimizer = optimizer
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.valid_fraction = valid_fraction
        self.patience = patience
        self.seed = seed
        self.on_epoch = on_epoch
        self.model: Model | None = None
        self.report: _core.TrainReport | None = None
        self.history: list[_core.TrainEvent] = []

    def fit(
        self, x: ArrayLike, labels: ArrayLike | None = None, *,
        label_sets: Any = None, soft: ArrayLike | None = None,
        row_weight: ArrayLike | None = None, class_weight: Mapping[Any, float] | None = None,
        pair_weight: ArrayLike | None = None, groups: ArrayLike | None = None,
        valid: tuple[ArrayLike, ArrayLike] | None = None, model: Model | None = None,
    ) -> Model:
        """Train on rows x (n, d) with labels (n), and return the Model.

        labels: whole numbers or strings; -1 marks an unlabelled row.
        label_sets, soft: what is positive instead of labels, as in ``loss.targets``, for sampling
            random or all. Without labels nothing is held out: validation is ``valid`` or none.
        row_weight, class_weight, pair_weight, groups: as in ``loss.targets``.
        valid: ``(x, labels)`` to validate on instead of a part of the rows.
        model: go on from this model instead of initial weights; it is not changed.
        """
        valid_x, valid_labels = (None, None) if valid is None else valid
        row_weight = row_weights(labels, row_weight, class_weight)
        names = None
        if labels is None and label_sets is None and soft is None:
            raise TypeError("labels is missing: give labels, label_sets or soft")
        if labels is not None:
            if valid is not None:
                labels, valid_labels = _convert.labels_together(labels, valid_labels)
            labels, names = _convert.labels(labels, "labels")
        x = _rows(x, "x")
        model = self._start(x, model)
        if names is not None and all(isinstance(name, str) for name in names):
            model._set_metadata("class_names", json.dumps(names, ensure_ascii=False,
                                                          separators=(",", ":")))
        return self._run(_core.train, model, x, labels, valid_x, valid_labels,
                         *_convert.offsets_and_labels(label_sets), soft, row_weight, pair_weight, groups)

    def fit_rows(self, left: ArrayLike, right: ArrayLike, same: ArrayLike,
                 weight: ArrayLike | None = None, *, same_encoding: str = "01",
                 model: Model | None = None) -> Model:
        """Train on pairs made beforehand: row k of left (p, d) goes with row k of right (p, d).

        same (p): 1 / True for the same label, 0 / False for different ones. weight (p) or None.
        There is no validation.
        """
        left = _rows(left, "left")
        model = self._start(left, model)
        return self._run(_core.train_rows, model, left, right, same, weight, same_encoding)

    def _start(self, x, model):
        """The model that will be trained: nobody else's."""
        if model is not None:
            return model._copy()
        return Model(x.shape[1], **{name: getattr(self, name) for name in _MODEL})

    def _run(self, function, model, *arguments):
        history, answers = [], self.on_epoch
        self.model, self.report, self.history = None, None, history

        def on_event(event):
            history.append(event)
            if event.warning is not None:
                warnings.warn(event.warning, TrainingWarning, stacklevel=4)
            return False if answers is None else bool(answers(event))

        _check_miner(self.mine, self.mine_options)
        options = {name: getattr(self, name) for name in ("loss", "seed", *_TRAIN)}
        options["mine_options"] = dict(self.mine_options or {})
        try:
            self.report = function(model, *arguments, on_event=on_event, **options)
        except BaseException:
            if history and history[-1].epoch > 0:
                self.model = model  # interrupted or diverged: the best or last finite weights
            raise
        model._set_metadata("train.loss.preset", self.loss.preset)
        self.model = model
        return model


def _rows(value, name):
    return _convert.matrix(value, name, False)[0]
