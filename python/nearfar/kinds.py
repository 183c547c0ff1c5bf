"""The class of each kind of loss."""

from typing import Any

from . import _core, anchor_losses
from ._named_loss import NamedLoss
from .online import OnlineContrastiveLoss

# All but the contrastive family, by their kind, which is the name of the preset they start from.
CLASSES: dict[str, type[NamedLoss]] = {
    **anchor_losses.CLASSES, OnlineContrastiveLoss._preset: OnlineContrastiveLoss}


def preset_loss(name: str, **options: Any) -> NamedLoss:
    """A preset as an object of its class, with options changed: ``tfa-hard``, say, is a
    TripletMarginLoss of hard triplets."""
    base = _core.Loss(name)
    cls = CLASSES[base.kind]
    own = {option: getattr(base, option) for option in cls._own}
    own |= {"metric": base.pos_metric, "normalize": base.normalize, "scale": base.scale,
            "reduction": base.reduction}
    return cls(**{**own, **options})
