"""Embeddings learned from pairs: same label near, different label far, exactly over all pairs.

    >>> import numpy as np, nearfar
    >>> x = np.array([[0.0, 0.0], [0.3, 0.4], [0.0, 0.8]])
    >>> result = nearfar.loss(x, [0, 0, 1])
    >>> round(result.value, 12), result.grad.shape, result.counts.positive_pairs
    (0.18, (3, 2), 1)
    >>> nearfar.ContrastiveLoss("hinge", margin=2)
    ContrastiveLoss('hinge', margin=2.0)  # same: d^2, different: max(0, 2 - d^2), d = |a - b|; mean over pairs
    >>> nearfar.class_indices(["cat", "dog", "cat"])
    {'cat': array([0, 2]), 'dog': array([1])}

Results are the same bits for any number of threads and every instruction set. Letters in shapes: n
rows, m rows of a second set, d columns, p pairs, k neighbours, c classes.
"""

from . import mine
from ._core import (Evaluation, LossCounts, LossResult, Pairs, Partition, TrainEvent, TrainReport,
                    class_indices, evaluate, get_num_threads, instruction_set, knn, loss,
                    pair_distances, pair_indices, pairwise_distances, partition, pdist, presets,
                    sample_pairs, set_num_threads)
from ._core import version as __version__
from ._onnx import export_onnx
from .anchor_losses import (CircleLoss, GeneralizedLiftedStructureLoss, LiftedStructureLoss,
                            MarginLoss, MultiSimilarityLoss, NCALoss, NPairsLoss, NTXentLoss,
                            SupConLoss, TripletMarginLoss)
from .bank import MemoryBank
from .data import load_digits, load_table
from .losses import ContrastiveLoss
from .margin import MarginResult, margin_loss
from .model import Model
from .online import OnlineContrastiveLoss
from .train import Trainer, TrainingWarning, training_loss

__all__ = [
    "CircleLoss", "ContrastiveLoss", "Evaluation", "GeneralizedLiftedStructureLoss",
    "LiftedStructureLoss", "LossCounts", "LossResult", "MarginLoss", "MarginResult", "MemoryBank",
    "Model", "MultiSimilarityLoss", "NCALoss", "NPairsLoss", "NTXentLoss", "OnlineContrastiveLoss",
    "Pairs", "Partition", "SupConLoss", "TrainEvent", "TrainReport", "Trainer", "TrainingWarning",
    "TripletMarginLoss",
    "class_indices", "evaluate", "export_onnx", "get_num_threads", "instruction_set", "knn",
    "load_digits", "load_table", "loss", "margin_loss", "mine", "pair_distances", "pair_indices",
    "pairwise_distances", "partition", "pdist", "presets", "sample_pairs", "set_num_threads",
    "training_loss",
]
