"""Data: the bundled digits, and any file that the program reads."""

import os
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _core


class Table(NamedTuple):
    """Rows and what is known of them."""

    x: NDArray[np.floating[Any]] | None
    """(n, d) float32 or float64; None if the file held labels only"""
    labels: NDArray[np.int64] | None
    """(n) int64, -1 where a label is missing; None if there are none"""
    class_names: list[str] | None
    """name of label 0, 1, .. where labels were names"""


def load_table(source: str | bytes | os.PathLike[Any]) -> Table:
    """Read rows and labels: .npy, .npz (path:member), CSV, svmlight or IDX, perhaps gzipped.

    A CSV's column named label, class, target or y becomes the labels.
    """
    return Table(*_core.load_table(source))


def load_digits(
    subset: Literal["train", "test"] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The bundled handwritten digits (UCI, 8 x 8 pixels of 0 .. 16): ``(x, labels)``.

    subset: None for all 1797 rows, "train" for the first half or "test" for the other.
    x (n, 64) float32, labels (n) int64.
    """
    if subset not in (None, "train", "test"):
        raise ValueError(f"subset is {subset!r}: it must be None, 'train' or 'test'")
    return _core.load_digits(subset or "all")[:2]
