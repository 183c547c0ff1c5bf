"""scikit-learn estimators: an embedding learned from labels, and one learned from pairs."""

from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.metrics import roc_auc_score
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (check_array, check_is_fitted, check_random_state,
                                      column_or_1d, validate_data)

from . import _core
from .model import Model
from .train import Trainer, training_loss

__all__ = ["PairClassifier", "PairEmbedding"]

_TYPES = (np.float64, np.float32)
_NETWORK = ("hidden", "activation", "bias", "standardize", "normalize")
_TRAINING = ("sampling", "batch_size", "per_class", "positive_fraction", "memory_bank", "mine",
             "mine_options", "learn_beta", "beta_lr", "nu", "epochs",
             "optimizer", "lr", "momentum", "weight_decay", "schedule", "valid_fraction", "patience")
_DEFAULT = {**_core.Model(1).options, **_core.train_defaults()}


# ---- thresholds ---------------------------------------------------------------------------------


def _best_threshold(distance, same, strategy, min_rate, beta):
    """The threshold t that is best by the strategy, when pairs at distance <= t are accepted; of
    equals the largest for "f_beta" and "max_tnr" (more positives at no cost), else the smallest.
    Candidates: every distance, and -inf (accept nothing)."""
    if strategy not in ("accuracy", "f_beta", "max_tpr", "max_tnr"):
        raise ValueError(f"strategy is {strategy!r}: it must be 'accuracy', 'f_beta', 'max_tpr' or "
                         "'max_tnr'")
    if strategy.startswith("max_") and (min_rate is None or not 0 <= min_rate <= 1):
        raise ValueError(f"min_rate is {min_rate!r}: strategy '{strategy}' needs a number from 0 "
                         "to 1")
    if strategy == "f_beta" and not (isinstance(beta, Real) and beta >= 0):
        raise ValueError(f"beta is {beta!r}: it must be a number from 0")
    positives, negatives = np.count_nonzero(same), np.count_nonzero(~same)
    if positives == 0 or negatives == 0:
        raise ValueError("a threshold needs pairs of both kinds: some with the same label and some "
                         "with different labels")
    order = np.argsort(distance, kind="stable")
    sorted_distance = distance[order]
    last = np.append(np.flatnonzero(np.diff(sorted_distance)), len(order) - 1)
    candidates = np.append(-np.inf, sorted_distance[last])
    true = np.append(0, np.cumsum(same[order])[last])
    false = np.append(0, np.cumsum(~same[order])[last])
    tpr, tnr = true / positives, 1 - false / negatives
    if strategy == "accuracy":
        quality = true + negatives - false
    elif strategy == "f_beta":
        accepted = true + false  # nothing accepted is no precision at all, and 0
        quality = (1 + beta**2) * true / np.where(accepted, accepted + beta**2 * positives, 1)
    elif strategy == "max_tpr":
        quality = np.where(tnr >= min_rate, tpr, -1)
    else:
        quality = np.where(tpr >= min_rate, tnr, -1)
    best = np.flatnonzero(quality == quality.max())
    return float(candidates[best[-1 if strategy in ("f_beta", "max_tnr") else 0]])


# ---- what both estimators are -------------------------------------------------------------------


class _Embedding(BaseEstimator):
    """Options, training, and a fitted state of NumPy arrays."""

    def __init__(self, n_components=_DEFAULT["outputs"], *, loss="weston", margin=None,
                 metric=None, hidden=_DEFAULT["hidden"], activation=_DEFAULT["activation"],
                 bias=_DEFAULT["bias"], standardize=_DEFAULT["standardize"],
                 normalize=_DEFAULT["normalize"], sampling=_DEFAULT["sampling"],
                 batch_size=_DEFAULT["batch_size"], per_class=_DEFAULT["per_class"],
                 positive_fraction=_DEFAULT["positive_fraction"],
                 memory_bank=_DEFAULT["memory_bank"], mine=_DEFAULT["mine"],
                 mine_options=_DEFAULT["mine_options"], learn_beta=_DEFAULT["learn_beta"],
                 beta_lr=_DEFAULT["beta_lr"], nu=_DEFAULT["nu"], epochs=_DEFAULT["epochs"],
                 optimizer=_DEFAULT["optimizer"], lr=_DEFAULT["lr"],
                 momentum=_DEFAULT["momentum"], weight_decay=_DEFAULT["weight_decay"],
                 schedule=_DEFAULT["schedule"], valid_fraction=_DEFAULT["valid_fraction"],
                 patience=_DEFAULT["patience"], random_state=None):
        self.n_components = n_components
        self.loss = loss
        self.margin = margin
        self.metric = metric
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
        self.random_state = random_state

    def _loss(self):
        changes = {name: value for name, value in (("margin", self.margin),
                                                   ("metric", self.metric)) if value is not None}
        if isinstance(self.loss, str):
            return training_loss(self.loss, **changes)
        return self.loss.replace(**changes) if changes else self.loss

    def _trainer(self, **changes):
        seed = self.random_state
        if not isinstance(seed, (int, np.integer)) or seed < 0:
            seed = check_random_state(seed).randint(2**31 - 1)
        options = {name: getattr(self, name) for name in (*_NETWORK, *_TRAINING)}
        options.update(loss=self._loss(), outputs=self.n_components, seed=int(seed))
        return Trainer(**{**options, **changes})

    def _keep(self, trainer, model, calls=0):
        self._partial_calls = calls
        options = model.options
        self.coefs_ = model.weights
        self.intercepts_ = model.biases if options["bias"] else None
        self.mean_, self.scale_ = model.mean, model.std
        self._activation, self._normalize = options["activation"], options["normalize"]
        self._metric, self._unit = trainer.loss.pos_metric, trainer.loss.normalize
        self.n_iter_ = trainer.report.epochs_run
        self.loss_curve_ = [event.loss for event in trainer.history]
        self.validation_score_ = trainer.report.map_at_r

    @property
    def model_(self):
        """The embedding as a nearfar.Model, to save or to use without scikit-learn."""
        check_is_fitted(self, "coefs_")
        return Model.from_arrays(self.coefs_, self.intercepts_, mean=self.mean_, std=self.scale_,
                                 activation=self._activation, normalize=self._normalize)

    @property
    def components_(self):
        """L (n_components, n_features): distances of embeddings are those of ``L @ x``. Only
        without hidden layers and without ``normalize``."""
        check_is_fitted(self, "coefs_")
        if len(self.coefs_) > 1 or self._normalize:
            raise AttributeError("components_: the embedding is not linear")
        weight = self.coefs_[0].astype(np.float64)
        return weight if self.scale_ is None else weight / self.scale_

    @property
    def _n_features_out(self):
        return len(self.coefs_[-1])

    def _embed(self, x):
        return self.model_.embed(x).astype(x.dtype, copy=False)

    def _distance(self, left, right):
        row = np.arange(len(left))
        return _core.pair_distances(left, row, row, right, metric=self._metric,
                                    normalize=self._unit).astype(np.float64)


# ---- labels -------------------------------------------------------------------------------------


class PairEmbedding(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _Embedding):
    """Supervised embedding: rows with one label come near each other, others go apart.

    A stack of dense layers (linear without ``hidden``) is trained on the contrastive loss over all
    pairs of each batch; see nearfar.Trainer for the training options and nearfar.ContrastiveLoss
    for the loss.

    Parameters
    ----------
    n_components : int
        Dimensions of the embedding.
    loss : str or nearfar.ContrastiveLoss
        A preset by name (as ``nearfar train --loss``) or a loss as it is.
    margin, metric : optional
        Other than the loss's own.
    random_state : int, RandomState or None
        An int gives the same bits every time.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Weights (out, in) and biases (out) of each layer.
    mean_, scale_ : ndarray or None
        Of the input columns.
    components_ : ndarray
        The linear map, where there is no hidden layer.
    classes_ : ndarray
        Labels met in fit, without -1.
    threshold_ : float
        Set by calibrate_threshold.
    model_ : nearfar.Model
    n_iter_, loss_curve_, validation_score_

    Notes
    -----
    ``y = -1`` marks an unlabelled row, which takes part in no pair. Labels that are exactly -1 and
    +1 are refused, since half of a binary problem would vanish. ``score`` is MAP@R, so that
    GridSearchCV chooses embeddings by retrieval.
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def fit(self, X, y):
        """Learn from rows X (n, d) with labels y (n), -1 for unlabelled ones."""
        X, y = validate_data(self, X, y, dtype=_TYPES, ensure_min_samples=2)
        classes, y = self._labels(y)
        trainer = self._trainer()
        model = trainer.fit(X, y)
        self.classes_ = classes
        self._keep(trainer, model)
        return self

    def partial_fit(self, X, y):
        """One epoch more on these rows, from where the last call ended; the learning rate stays
        as it is and nothing is held out. Means and deviations of the columns are those of the
        first call. A batch needs a positive and a negative pair."""
        first = not hasattr(self, "coefs_")
        X, y = validate_data(self, X, y, dtype=_TYPES, ensure_min_samples=2, reset=first)
        classes, y = self._labels(y)
        calls = 0 if first else self._partial_calls
        trainer = self._trainer(epochs=1, schedule="constant", valid_fraction=0.0)
        trainer.seed = (trainer.seed + calls) % 2**63
        model = trainer.fit(X, y, model=None if first else self.model_)
        self.classes_ = classes if first else np.union1d(self.classes_, classes)
        self._keep(trainer, model, calls + 1)
        return self

    def fit_pairs(self, left, right, same, sample_weight=None):
        """Learn from pairs made beforehand: row k of left (p, d) with row k of right (p, d); same
        (p) is 1 / True for the same label and 0 / False for different ones."""
        left = validate_data(self, left, dtype=_TYPES, ensure_min_samples=2)
        right = validate_data(self, right, dtype=_TYPES, reset=False)
        trainer = self._trainer()
        model = trainer.fit_rows(left, right, same, sample_weight)
        self._keep(trainer, model)
        return self

    def transform(self, X):
        """Embed rows X (n, d): (n, n_components), in X's float type."""
        check_is_fitted(self, "coefs_")
        return self._embed(validate_data(self, X, dtype=_TYPES, reset=False))

    def score(self, X, y):
        """MAP@R of the embedded rows against each other (Musgrave, Belongie & Lim 2020)."""
        check_is_fitted(self, "coefs_")
        X, y = validate_data(self, X, y, dtype=_TYPES, reset=False)
        result = _core.evaluate(self._embed(X), self._labels(y)[1], verification=False,
                                metric=self._metric, normalize=self._unit)
        return result.map_at_r

    def pair_distance(self, left, right):
        """Distance of row k of left (p, d) to row k of right (p, d) after embedding: (p)."""
        check_is_fitted(self, "coefs_")
        left, right = (validate_data(self, rows, dtype=_TYPES, reset=False)
                       for rows in (left, right))
        return self._distance(self._embed(left), self._embed(right))

    def calibrate_threshold(self, left, right, same, strategy="accuracy", min_rate=None, beta=1.0):
        """Choose ``threshold_``, the distance up to which a pair counts as the same.

        strategy: "accuracy", "f_beta" (with beta), "max_tpr" (the highest true positive rate with a
        true negative rate of at least min_rate) or "max_tnr" (the other way round). Use pairs that
        were not trained on.
        """
        from ._convert import same as flags
        distance = self.pair_distance(left, right)
        same = flags(same, "same", "01").astype(bool)
        if len(same) != len(distance):
            raise ValueError(f"same has {len(same)} entries: it must have {len(distance)}, as left "
                             "has rows")
        self.threshold_ = _best_threshold(distance, same, strategy, min_rate, beta)
        return self

    def predict_pairs(self, left, right):
        """True where a pair's distance is at most ``threshold_``."""
        check_is_fitted(self, "threshold_")
        return self.pair_distance(left, right) <= self.threshold_

    @staticmethod
    def _labels(y):
        """Classes, and labels as the engine takes them."""
        check_classification_targets(y)
        classes = np.unique(y)
        if classes.dtype.kind in "iuf":
            classes = classes[classes != -1]
        return classes, y


# ---- pairs --------------------------------------------------------------------------------------


class PairClassifier(_Embedding):
    """Learn from pairs and tell whether a pair belongs together, by metric-learn's conventions.

    ``fit(pairs, y)`` with pairs (p, 2, d), or (p, 2) row numbers with a ``preprocessor``, and y in
    {-1, +1}; ``predict`` gives -1 or +1, ``decision_function`` the negated distance, ``score`` the
    ROC AUC; thresholds are set by ``calibrate_threshold`` or ``set_threshold``, and by ``fit`` on
    the training pairs (accuracy, or ``calibration_params``).

    preprocessor: array (n, d) or callable that gives the rows of row numbers. Other parameters as
    PairEmbedding; ``n_components`` None is d.
    """

    def __init__(self, n_components=None, *, preprocessor=None, loss="weston", margin=None,
                 metric=None, hidden=_DEFAULT["hidden"], activation=_DEFAULT["activation"],
                 bias=_DEFAULT["bias"], standardize=_DEFAULT["standardize"],
                 normalize=_DEFAULT["normalize"], batch_size=_DEFAULT["batch_size"],
                 epochs=_DEFAULT["epochs"], optimizer=_DEFAULT["optimizer"], lr=_DEFAULT["lr"],
                 momentum=_DEFAULT["momentum"], weight_decay=_DEFAULT["weight_decay"],
                 schedule=_DEFAULT["schedule"], random_state=None):
        super().__init__(n_components, loss=loss, margin=margin, metric=metric, hidden=hidden,
                         activation=activation, bias=bias, standardize=standardize,
                         normalize=normalize, batch_size=batch_size, epochs=epochs,
                         optimizer=optimizer, lr=lr, momentum=momentum,
                         weight_decay=weight_decay, schedule=schedule, random_state=random_state)
        self.preprocessor = preprocessor

    def _rows(self, points):
        if self.preprocessor is None:
            return points
        points = np.asarray(points)
        if callable(self.preprocessor):
            return np.asarray(self.preprocessor(points))
        return np.asarray(self.preprocessor)[points]

    def _sides(self, pairs):
        """Left and right rows (p, d)."""
        pairs = np.asarray(pairs)
        if self.preprocessor is not None and pairs.ndim == 2 and pairs.shape[1] == 2:
            sides = [self._rows(pairs[:, side]) for side in (0, 1)]
        elif pairs.ndim == 3 and pairs.shape[1] == 2:
            sides = [pairs[:, side] for side in (0, 1)]
        else:
            shape = "(p, 2, d)" + ("" if self.preprocessor is None else " or (p, 2)")
            raise ValueError(f"pairs has shape {pairs.shape}: it must be {shape}")
        return [check_array(side, dtype=_TYPES, input_name="pairs") for side in sides]

    @staticmethod
    def _same(y, count):
        y = column_or_1d(y)
        if len(y) != count:
            raise ValueError(f"y has {len(y)} entries: it must have {count}, one per pair")
        if not np.isin(y, (-1, 1)).all():
            raise ValueError("y must hold -1 (different) and +1 (same) only")
        return y == 1

    def _checked(self, rows):
        if rows.shape[1] != self.n_features_in_:
            raise ValueError(f"X has {rows.shape[1]} features, but {type(self).__name__} is "
                             f"expecting {self.n_features_in_} features as input")
        return self._embed(rows)

    def fit(self, pairs, y, calibration_params=None):
        """Learn from pairs (p, 2, d) with y (p) of -1 (different) and +1 (same), then choose the
        threshold on the same pairs; calibration_params are those of calibrate_threshold."""
        left, right = self._sides(pairs)
        same = self._same(y, len(left))
        trainer = self._trainer(outputs=left.shape[1] if self.n_components is None
                                else self.n_components)
        model = trainer.fit_rows(left, right, same)
        self.n_features_in_ = left.shape[1]
        self.classes_ = np.array([-1, 1])
        self._keep(trainer, model)
        return self.calibrate_threshold(pairs, y, **(calibration_params or {}))

    def transform(self, X):
        """Embed rows X (n, d), or row numbers (n) with a preprocessor."""
        check_is_fitted(self, "coefs_")
        X = np.asarray(X)
        rows = self._rows(X) if X.ndim == 1 else X
        return self._checked(check_array(rows, dtype=_TYPES, input_name="X"))

    def pair_distance(self, pairs):
        """Distance of the two rows of each pair after embedding: (p)."""
        check_is_fitted(self, "coefs_")
        left, right = self._sides(pairs)
        return self._distance(self._checked(left), self._checked(right))

    def pair_score(self, pairs):
        """The negated distance: higher means more alike."""
        return -self.pair_distance(pairs)

    def decision_function(self, pairs):
        """The negated distance: higher means more alike."""
        return self.pair_score(pairs)

    def predict(self, pairs):
        """+1 where the distance is at most ``threshold_``, else -1."""
        check_is_fitted(self, "threshold_")
        return np.where(self.pair_distance(pairs) <= self.threshold_, 1, -1)

    def score(self, pairs, y):
        """ROC AUC of the negated distance."""
        return roc_auc_score(y, self.decision_function(pairs))

    def set_threshold(self, threshold):
        """Use this distance as threshold."""
        check_is_fitted(self, "coefs_")
        if not isinstance(threshold, Real):
            raise ValueError(f"threshold is {threshold!r}: it must be a number")
        self.threshold_ = float(threshold)
        return self

    def calibrate_threshold(self, pairs_valid, y_valid, strategy="accuracy", min_rate=None,
                            beta=1.0):
        """Choose the threshold on validation pairs; see PairEmbedding.calibrate_threshold."""
        distance = self.pair_distance(pairs_valid)
        same = self._same(y_valid, len(distance))
        self.threshold_ = _best_threshold(distance, same, strategy, min_rate, beta)
        return self

    def get_metric(self):
        """A function (u, v) of two rows (d) that gives their distance after embedding."""
        check_is_fitted(self, "coefs_")
        model, metric, unit = self.model_, self._metric, self._unit

        def distance(u, v, squared=False):
            rows = model.embed(np.asarray([u, v], np.float64))
            value = float(_core.pair_distances(rows, [0], [1], metric=metric, normalize=unit)[0])
            return value**2 if squared else value

        return distance

    def get_mahalanobis_matrix(self):
        """M = L' L (d, d) with L = ``components_``; only without hidden layers."""
        return self.components_.T @ self.components_
