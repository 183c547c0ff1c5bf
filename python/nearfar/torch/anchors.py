"""Losses that compare the pairs of a row with each other."""

from typing import Any, ClassVar

from .. import anchor_losses as _core
from .._derive import NoLists, derive
from .._named_loss import NamedLoss as _NamedLoss
from . import _loss
from .losses import EngineLoss

_HOW = """
Call the module ``loss(embeddings, labels, ref_emb=None, ref_labels=None)``, or ``loss.reference(query,
query_labels, reference, reference_labels)``; arguments and defaults are nearfar's of the same name
(``help(nearfar.{name})``), value and gradient its bits. On the CPU only, and differentiable once.
"""


class NamedLoss(EngineLoss):
    """A loss that the engine alone knows."""

    _core: ClassVar[type[_NamedLoss]]

    def __init__(self, *values: Any, **options: Any) -> None:
        super().__init__(self._core(*values, **options))

    def _value(self, form, x, y=None, *rest, **more):
        _loss.refuse_device(self.options, x, y)
        return super()._value(form, x, y, *rest, **more)


class AnchorLoss(NoLists, NamedLoss):
    """What the losses of this module share; each is made for one of nearfar.anchor_losses."""

    def _mined(self, embeddings, indices_tuple, ref_emb):
        raise TypeError(f"indices_tuple: {type(self).__name__} is over all pairs and has no list of "
                        "them; leave the miner out (TripletMarginLoss has triplets='hard' and "
                        "'semi-hard'), or give the list to ContrastiveLoss or PairLoss")


def _derived(core):
    return derive((AnchorLoss,), core, _HOW.format(name=core.__name__), module=__name__)


CircleLoss = _derived(_core.CircleLoss)
GeneralizedLiftedStructureLoss = _derived(_core.GeneralizedLiftedStructureLoss)
LiftedStructureLoss = _derived(_core.LiftedStructureLoss)
MultiSimilarityLoss = _derived(_core.MultiSimilarityLoss)
NCALoss = _derived(_core.NCALoss)
NPairsLoss = _derived(_core.NPairsLoss)
NTXentLoss = _derived(_core.NTXentLoss)
SupConLoss = _derived(_core.SupConLoss)
TripletMarginLoss = _derived(_core.TripletMarginLoss)
