"""Options of a loss as the whole numbers that an operation's attribute holds, and back."""

import functools
import struct
from typing import Any

from ..losses import ContrastiveLoss

# In the order of the engine's enumeration (nearfar/distance.h).
METRICS = ("euclidean", "sqeuclidean", "cosine", "dot", "cityblock")


def _bits(numbers):
    """Bits of doubles, so that nothing is rounded."""
    return list(struct.unpack(f"{len(numbers)}q", struct.pack(f"{len(numbers)}d", *numbers)))


@functools.lru_cache(maxsize=256)
def encode(loss: Any) -> list[int]:
    return _bits(loss._numbers())


@functools.lru_cache(maxsize=256)
def encode_margin(loss: Any, nu: float, by_label: bool) -> list[int]:
    """A margin loss whose boundary is an input."""
    return _bits((*loss._numbers(), nu, by_label))


def decode(fields) -> ContrastiveLoss:
    """A loss of the contrastive family."""
    fields = [int(field) for field in fields]
    return ContrastiveLoss._from_numbers(struct.unpack(f"{len(fields)}d",
                                                       struct.pack(f"{len(fields)}q", *fields)))


def is_contrastive(fields) -> bool:
    return int(fields[0]) == 0  # the kind, first of the numbers


def encode_distance(metric: str, normalize: bool) -> list[int]:
    if metric not in METRICS:
        raise ValueError(f"metric is {metric!r}: it must be one of {', '.join(METRICS)}")
    return [METRICS.index(metric), int(normalize)]
