"""Losses that compare the pairs of a row with each other, in JAX."""

import functools

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from .. import anchor_losses as _core
from .._derive import NoLists, derive
from . import _engine
from .losses import Forms, engine_number, rows_of, sets_of

_HOW = """
A differentiable JAX function ``loss(embeddings, labels)``, or ``loss.reference(query, query_labels,
reference, reference_labels)``; arguments and defaults are nearfar's of the same name
(``help(nearfar.{name})``), value and gradient its bits. On the CPU only, and differentiable once.
Hashable, so it may be a static argument of jit.
"""


class AnchorForms(NoLists, Forms):
    """The calls of a loss without terms for listed pairs."""

    _with_terms = ("batch", "reference")
    _terms_are = "the terms of each row as anchor"


class MarginForms(AnchorForms):
    """The calls of a loss whose boundary may be an argument."""

    def _with_beta(self, form, xs, rest, beta, nu):
        if beta is None and nu == 0:
            return self._form(form)(xs, rest)
        beta = jnp.asarray(self.beta if beta is None else beta)  # type: ignore[attr-defined]
        if beta.ndim > 1 or not jnp.issubdtype(beta.dtype, jnp.floating):
            raise ValueError(f"beta has shape {beta.shape} and type {beta.dtype}: it must be a "
                             "number, or (c) numbers, one for each label 0 .. c - 1")
        key = form, float(nu), beta.ndim == 1
        found = self._forms.get(key)
        if found is None:
            found = self._forms[key] = _margin_form(self, *key)
        return found((*xs, beta), rest)

    def __call__(self, embeddings: ArrayLike, labels: ArrayLike,  # type: ignore[override]
                 beta: ArrayLike | None = None, nu: float = 0.0) -> Array:
        """The loss over all triplets of embeddings (n, d) with labels (n).

        beta: the boundary, to be differentiated by: a number, or (c) numbers, beta[k] for the anchors
            with label k; labels are then 0 .. c - 1. None: the loss's own.
        nu: adds nu * beta, as nearfar.margin_loss; fixed when a function is compiled."""
        return self._with_beta("batch", *rows_of(embeddings, labels), beta, nu)

    def reference(  # type: ignore[override]
        self, query: ArrayLike, query_labels: ArrayLike, reference: ArrayLike,
        reference_labels: ArrayLike, query_ids: ArrayLike | None = None,
        reference_ids: ArrayLike | None = None, beta: ArrayLike | None = None, nu: float = 0.0,
    ) -> Array:
        """The loss over triplets of an anchor of query (n, d) and two rows of reference (m, d), labels
        (n) and (m). Rows with equal ids are the same item and make no pair."""
        sets = sets_of(query, query_labels, reference, reference_labels, query_ids, reference_ids)
        return self._with_beta("reference", *sets, beta, nu)


@functools.lru_cache(maxsize=256)
def _margin_form(loss, form, nu, by_label):
    def order(xs, rest):
        *rows, beta = xs
        beta = beta.reshape(-1)
        if form == "batch":
            return *rows, *rest, beta
        return rows[0], rest[0], rows[1], *rest[1:], beta

    target = "nearfar_loss_margin" if form == "batch" else "nearfar_loss_margin_reference"
    options = (*loss._numbers(), nu, by_label)
    return _engine.to_number_once(engine_number(target, order, options), type(loss).__name__)


def _derived(core, forms=AnchorForms):
    # The core's class goes last, so that its options and text are found behind the calls.
    return derive((forms, core), core, _HOW.format(name=core.__name__), module=__name__)


CircleLoss = _derived(_core.CircleLoss)
GeneralizedLiftedStructureLoss = _derived(_core.GeneralizedLiftedStructureLoss)
LiftedStructureLoss = _derived(_core.LiftedStructureLoss)
MarginLoss = _derived(_core.MarginLoss, MarginForms)
MultiSimilarityLoss = _derived(_core.MultiSimilarityLoss)
NCALoss = _derived(_core.NCALoss)
NPairsLoss = _derived(_core.NPairsLoss)
NTXentLoss = _derived(_core.NTXentLoss)
SupConLoss = _derived(_core.SupConLoss)
TripletMarginLoss = _derived(_core.TripletMarginLoss)
