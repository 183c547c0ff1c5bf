"""The contrastive loss of hard pairs."""

from .. import online as _core
from .._derive import derive
from .anchors import NamedLoss
from .losses import ListedLoss

_HOW = """
Call the module ``loss(embeddings, labels, indices_tuple=None, ref_emb=None, ref_labels=None)``;
``loss.pairs``, ``loss.rows`` and ``loss.reference`` are the other forms. Value and gradient are the bits
of nearfar.OnlineContrastiveLoss. On the CPU only, and differentiable once.
"""


class _HardPairs(NamedLoss, ListedLoss):
    pass


OnlineContrastiveLoss = derive((_HardPairs,), _core.OnlineContrastiveLoss, _HOW, module=__name__)
