"""Pair losses and distances for PyTorch.

    >>> import torch, nearfar.torch
    >>> loss = nearfar.torch.ContrastiveLoss()
    >>> x = torch.tensor([[0.0, 0.0], [0.3, 0.4], [0.0, 0.8]], requires_grad=True)
    >>> value = loss(x, torch.tensor([0, 0, 1]))
    >>> value.backward()

Tensors in the CPU's memory go to the engine: value and gradient are the bits of ``nearfar.loss``.
ContrastiveLoss and the distances take tensors elsewhere too: they stay there and are worked on by
tiles in plain PyTorch, with memory O(n d + tile^2). Nothing is copied between devices, and tensors of
one call on different devices are refused.

Works under autograd, torch.compile(fullgraph=True), torch.func.grad and vmap. Second derivatives of
ContrastiveLoss and the distances are exact, from plain PyTorch; a third raises, as a second does of
the other losses. float16 and bfloat16 rows are computed in float32: the
value is float32 and the gradient comes back in the type of the rows. Threads: see
``nearfar.set_num_threads``. Letters in shapes as in ``nearfar``.
"""

from .anchors import (CircleLoss, GeneralizedLiftedStructureLoss, LiftedStructureLoss,
                      MultiSimilarityLoss, NCALoss, NPairsLoss, NTXentLoss, SupConLoss,
                      TripletMarginLoss)
from .bank import MemoryBank
from .functions import class_indices, pair_distances, pair_indices, pairwise_distances
from .losses import ContrastiveLoss
from .margin import MarginLoss
from .online import OnlineContrastiveLoss
from .pair_function import PairLoss

__all__ = ["CircleLoss", "ContrastiveLoss", "GeneralizedLiftedStructureLoss", "LiftedStructureLoss",
           "MarginLoss", "MemoryBank", "MultiSimilarityLoss", "NCALoss", "NPairsLoss", "NTXentLoss",
           "OnlineContrastiveLoss", "PairLoss", "SupConLoss", "TripletMarginLoss", "class_indices",
           "pair_distances", "pair_indices", "pairwise_distances"]
