"""Options of a loss as the whole numbers that an operation's attribute holds, and back."""

import functools
import struct

from ..losses import ContrastiveLoss as Options

# In the order of the engine's enumerations (nearfar/distance.h, nearfar/loss.h).
METRICS = ("euclidean", "sqeuclidean", "cosine", "dot", "cityblock")
REDUCTIONS = ("mean", "sum", "weighted-mean", "mean-sides", "mean-nonzero", "none")
_NUMBERS = ("pos_exponent", "neg_exponent", "pos_margin", "neg_margin", "pos_weight", "neg_weight",
            "scale")


@functools.lru_cache(maxsize=256)
def encode(loss: Options) -> list[int]:
    """Enumerations as they are, floats as the bits of a double, so that nothing is rounded."""
    if loss.divisor is not None:
        loss = loss.replace(reduction="sum", scale=loss.scale / loss.divisor)
    numbers = struct.pack("7d", *(getattr(loss, name) for name in _NUMBERS))
    return [METRICS.index(loss.pos_metric), METRICS.index(loss.neg_metric),
            REDUCTIONS.index(loss.reduction), int(loss.normalize), int(loss.unlabelled == -1),
            *struct.unpack("7q", numbers)]


def decode(fields) -> Options:
    fields = [int(field) for field in fields]
    numbers = struct.unpack("7d", struct.pack("7q", *fields[5:]))
    return Options(pos_metric=METRICS[fields[0]], neg_metric=METRICS[fields[1]],
                   reduction=REDUCTIONS[fields[2]], normalize=bool(fields[3]),
                   unlabelled=-1 if fields[4] else None, **dict(zip(_NUMBERS, numbers)))


def encode_distance(metric: str, normalize: bool) -> list[int]:
    if metric not in METRICS:
        raise ValueError(f"metric is {metric!r}: it must be one of {', '.join(METRICS)}")
    return [METRICS.index(metric), int(normalize)]
