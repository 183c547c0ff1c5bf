"""The contrastive family in JAX, and what losses share."""

import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from .. import LossCounts, _core
from .. import losses as _losses
from . import _engine, _inputs, _tiled

__all__ = ["ContrastiveLoss"]


def engine_number(target, order, options):
    """The engine for _engine.to_number; order(xs, rest) gives the target's operands."""

    def engine(xs, rest, gradient):
        results = (_engine.like(xs[0], ()), *(map(_engine.like, xs) if gradient else ()))
        value, *grads = _engine.call(target, results, order(xs, rest), options)
        return (value, tuple(grads)) if gradient else value

    return engine


def _engine_terms(target, order, options):
    """The engine and its gradient for _engine.to_vector."""

    def engine(xs, rest):
        count = rest[0].shape
        return _engine.call(target, (_engine.like(xs[0], count),), order(xs, rest), options)[0]

    def gradient(xs, rest, upstream):
        operands = (*order(xs, rest), upstream)
        return tuple(_engine.call(target, tuple(map(_engine.like, xs)), operands, options))

    return engine, gradient


@functools.lru_cache(maxsize=256)
def _form(loss, form, encoding):
    """The compiled function of one form of one loss; equal losses share it."""
    order, formula = FORMS[form]
    target, options = f"nearfar_loss_{form}", (*loss._numbers(), encoding == "pm1")
    if loss.kind != "contrastive" and loss.reduction == "none":
        of_rows = {"batch": "nearfar_loss_anchors",
                   "reference": "nearfar_loss_anchors_reference"}.get(form, target)
        return _engine.to_vector_once(*_engine_terms(of_rows, order, options), type(loss).__name__)
    if loss.kind != "contrastive":
        return _engine.to_number_once(engine_number(target, order, options), type(loss).__name__)
    in_jax = functools.partial(formula, loss, encoding)
    if loss.reduction == "none":
        engine, gradient = _engine_terms(target, order, options)
        return _engine.to_vector(engine, in_jax, gradient)
    return _engine.to_number(engine_number(target, order, options), in_jax)


def _batch_formula(loss, _, xs, rest):
    return _tiled.batch(loss, *xs, *rest)


def _pairs_formula(loss, encoding, xs, rest):
    i, j, same, weight = rest
    return _tiled.pairs(loss, *xs, i, j, same, _inputs.or_none(weight, i.shape[0]), encoding)


def _rows_formula(loss, encoding, xs, rest):
    same, weight = rest
    return _tiled.rows(loss, *xs, same, _inputs.or_none(weight, same.shape[0]), encoding)


def _reference_formula(loss, _, xs, rest):
    (query, reference), (query_labels, labels, query_ids, ids) = xs, rest
    return _tiled.reference(loss, query, query_labels, reference, labels,
                                _inputs.or_none(query_ids, query.shape[0]),
                                _inputs.or_none(ids, reference.shape[0]))


def _reference_order(xs, rest):
    return xs[0], rest[0], xs[1], rest[1], rest[2], rest[3]


FORMS = {"batch": (lambda xs, rest: (*xs, *rest), _batch_formula),
          "pairs": (lambda xs, rest: (*xs, *rest), _pairs_formula),
          "rows": (lambda xs, rest: (*xs, *rest), _rows_formula),
          "reference": (_reference_order, _reference_formula)}


@functools.cache
def _array_type():
    return type(jnp.zeros(()))  # not at import: it makes JAX choose its platform


def rows_of(embeddings, labels):
    """(xs, rest) of the batch form."""
    x = _inputs.matrix(embeddings, "embeddings")
    return (x,), (_inputs.labels(labels, "labels", x.shape[0], "embeddings has rows"),)


def sets_of(query, query_labels, reference, reference_labels, query_ids, reference_ids):
    """(xs, rest) of the reference form."""
    query, reference = _inputs.matrices(query, "query", reference, "reference")
    counts = query.shape[0], reference.shape[0]
    labels = _inputs.labels_together(query_labels, reference_labels, counts)
    ids = _inputs.ids_together(query_ids, reference_ids, counts)
    return (query, reference), (*labels, *ids)


class Forms:
    """The calls of a loss, on top of its class in nearfar, which has the options."""

    _with_terms: ClassVar[tuple[str, ...]] = ("pairs", "rows")
    _terms_are: ClassVar[str] = "one term per pair, of which all pairs have n^2"

    @functools.cached_property
    def _forms(self):
        """Compiled functions at hand: to look one up by the loss takes longer than a small loss."""
        return {}

    @functools.cached_property
    def _of_arrays(self):
        """The call for arrays of which shapes and types say all, so that they are checked once."""
        return jax.jit(lambda x, labels: self._form("batch")(*rows_of(x, labels)))

    def _form(self, form, encoding="01"):
        found = self._forms.get((form, encoding))
        if found is None:
            if encoding not in ("01", "pm1"):
                raise ValueError(f"same_encoding is {encoding!r}: it must be '01' or 'pm1'")
            if self.reduction == "none" and form not in self._with_terms:
                raise ValueError(f"reduction 'none' gives {self._terms_are}: use it with "
                                 f"{' or '.join(self._with_terms)}")
            found = self._forms[form, encoding] = _form(self, form, encoding)
        return found

    def __call__(self, embeddings: ArrayLike, labels: ArrayLike) -> Array:  # type: ignore[override]
        """The loss over all pairs i < j of rows of embeddings (n, d); labels (n) or (n, 1) are whole
        numbers, or strings outside jit; -1 marks a row that takes part in no pair."""
        if (type(embeddings) is _array_type() and type(labels) is _array_type()
                and labels.dtype.kind in "iub"):
            return self._of_arrays(embeddings, labels)
        return self._form("batch")(*rows_of(embeddings, labels))

    def reference(  # type: ignore[override]
        self, query: ArrayLike, query_labels: ArrayLike, reference: ArrayLike,
        reference_labels: ArrayLike, query_ids: ArrayLike | None = None,
        reference_ids: ArrayLike | None = None,
    ) -> Array:
        """The loss over all pairs of a row of query (n, d) and a row of reference (m, d), labels (n)
        and (m). Rows with equal ids are the same item and make no pair."""
        return self._form("reference")(*sets_of(query, query_labels, reference, reference_labels,
                                              query_ids, reference_ids))

    def counts(self, embeddings: ArrayLike, labels: ArrayLike) -> LossCounts:
        """How many pairs and terms there are and how many are active: the engine's LossCounts of
        loss(embeddings, labels). One more pass, without gradient; not inside jit."""
        x = np.asarray(_inputs.matrix(embeddings, "embeddings"))
        return _core.Loss.__call__(self, x, np.asarray(labels), gradient=False).counts  # type: ignore


class ListForms(Forms):
    """The calls of a loss that has terms for listed pairs too."""

    def pairs(  # type: ignore[override]
        self, x: ArrayLike, pairs: Any, *, same_encoding: str = "01",
    ) -> Array:
        """The loss over a list of pairs of rows of x (n, d).

        pairs: (i, j, same[, weight]) of arrays (p), a Pairs, or whole numbers (p, 3). same is 1 /
        True for a positive, 0 / False for a negative; with same_encoding "pm1", +1 and -1. Entries
        with i = j = -1 are padding (see pair_indices) and count as nothing."""
        form = self._form("pairs", same_encoding)
        x = _inputs.matrix(x, "x")
        i, j, same, weight = _inputs.columns(pairs)
        i = _inputs.index(i, "pairs: i")
        p = i.shape[0]
        return form((x,), (i, _inputs.index(j, "pairs: j", p, "i"),
                           _inputs.same(same, "pairs: same", same_encoding, p, "i"),
                           _inputs.weight(weight, p)))

    def rows(  # type: ignore[override]
        self, x1: ArrayLike, x2: ArrayLike, same: ArrayLike, weight: ArrayLike | None = None, *,
        same_encoding: str = "01",
    ) -> Array:
        """The loss over pairs made beforehand: row k of x1 (p, d) with row k of x2 (p, d); same and
        weight are (p) or (p, 1), as in pairs()."""
        form = self._form("rows", same_encoding)
        x1, x2 = _inputs.matrices(x1, "x1", x2, "x2")
        p = x1.shape[0]
        if x2.shape[0] != p:
            raise ValueError(f"x2 has {x2.shape[0]} rows: it must have {p}, as x1")
        same = _inputs.same(same, "same", same_encoding, p, "x1 has rows")
        return form((x1, x2), (same, _inputs.weight(weight, p)))


class ContrastiveLoss(ListForms, _losses.ContrastiveLoss):
    """The contrastive family as a differentiable JAX function.

    ::

        phi+ = scale * pos_weight * max(0, t+ - pos_margin)^pos_exponent     same label
        phi- = scale * neg_weight * max(0, neg_margin - t-)^neg_exponent     different label

    The same options and presets as nearfar.ContrastiveLoss; without any it is eq. (3) of Weston,
    Ratle & Collobert, Deep Learning via Semi-Supervised Embedding, ICML 2008: the mean over all
    pairs of d^2 where the labels agree and max(0, 1 - d)^2 where they differ. Options are fixed
    when a function is compiled; stats is for counts().

    loss(embeddings, labels)            all pairs of labelled rows
    loss.pairs(x, pairs)                a list of pairs
    loss.rows(x1, x2, same)             row k of x1 with row k of x2
    loss.reference(q, ql, r, rl)        every row of q with every row of r

    Each returns a scalar of the matrices' type (with reduction "none" the terms (p); pairs and rows
    only), to be differentiated by the matrices. The derivative of a distance at 0 is 0. No pair at
    all gives 0. Hashable, so it may be a static argument of jit.
    """
