"""What a driver hands to the worker.

A driver is a module with

    versions()                               {package: version}
    start(threads)                           called once, before anything else
    prepare(peer, work, inputs, options)     -> Task

`inputs` are NumPy arrays as read from the files all peers share. prepare() turns them into the
peer's own arrays and compiles what can be compiled; a Task's call() does the work once, waits for
the result and returns it in the peer's own form, so that no peer pays for a conversion that its
users would not need.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np


# Classes of pytorch-metric-learning, and of nearfar, for losses with that library's defaults.
ANCHOR_LOSSES = {"triplet": "TripletMarginLoss", "nt-xent": "NTXentLoss",
                 "lifted": "LiftedStructureLoss", "supcon": "SupConLoss",
                 "multi-similarity": "MultiSimilarityLoss"}


@dataclass(frozen=True)
class Task:
    call: Callable[[], Any]
    collect: Callable[[Any], dict[str, np.ndarray]]  # a result of call() as arrays to check


class Unsupported(Exception):
    """The peer does not do this work."""


def version_of(*packages):
    return {package: metadata.version(package) for package in packages}


def at(matrix, inputs):
    """The entries of a distance matrix that are checked."""
    return {"distances": np.asarray(matrix[inputs["sample_rows"], inputs["sample_cols"]])}
