"""Pair losses in TensorFlow and Keras: all pairs of a batch, in the graph.

    >>> import tensorflow as tf, nearfar.tensorflow as nt
    >>> x = tf.constant([[0.0, 0.0], [0.3, 0.4], [0.0, 0.8]])
    >>> loss = nt.ContrastiveLoss()              # eq. (3) of Weston et al., 2008
    >>> round(float(loss([0, 0, 1], x)), 6)      # (labels, embeddings), as Keras calls it
    0.18

``model.compile(loss=ContrastiveLoss())`` trains on all pairs of each batch. The operations are
native (C, through TensorFlow's C API) on the CPU; elsewhere ContrastiveLoss and the distances run in
TensorFlow's own, and the other losses are refused by name. Needs TensorFlow 2.16 or later, with Keras
3; the suite was run with TensorFlow 2.16.2, 2.19.1 and 2.21.0, and its Keras part with Keras 3.0.5 and
3.15.1.
"""

from ._ops import set_num_threads
from .anchors import (CircleLoss, GeneralizedLiftedStructureLoss, LiftedStructureLoss, MarginLoss,
                      MultiSimilarityLoss, NCALoss, NPairsLoss, NTXentLoss, SupConLoss,
                      TripletMarginLoss)
from .bank import MemoryBank
from .functions import class_indices, pair_distances, pair_indices, pairwise_distances
from .losses import ContrastiveLoss
from .online import OnlineContrastiveLoss

__all__ = ["CircleLoss", "ContrastiveLoss", "GeneralizedLiftedStructureLoss", "LiftedStructureLoss",
           "MarginLoss", "MemoryBank", "MultiSimilarityLoss", "NCALoss", "NPairsLoss", "NTXentLoss",
           "OnlineContrastiveLoss", "SupConLoss", "TripletMarginLoss", "class_indices",
           "pair_distances", "pair_indices", "pairwise_distances", "set_num_threads"]
