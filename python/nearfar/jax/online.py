"""The contrastive loss of hard pairs, in JAX."""

from .. import online as _core
from .._derive import derive
from .losses import ListForms

_HOW = """
A differentiable JAX function ``loss(embeddings, labels)``; ``loss.pairs(x, pairs)``, ``loss.rows(x1, x2,
same)`` and ``loss.reference(q, ql, r, rl)`` are the other forms. Value and gradient are the bits of
nearfar.OnlineContrastiveLoss. On the CPU only, and differentiable once. Hashable, so it may be a static
argument of jit.
"""

OnlineContrastiveLoss = derive((ListForms, _core.OnlineContrastiveLoss), _core.OnlineContrastiveLoss,
                               _HOW, module=__name__)
