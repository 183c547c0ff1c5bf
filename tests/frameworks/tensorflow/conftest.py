"""Fixtures of the TensorFlow suite."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def batch(rng):
    """float64 rows with two that coincide, and labels of which some are -1."""
    x = rng.normal(size=(33, 5)) * 0.5
    x[3] = x[4]
    return x, rng.integers(-1, 4, 33)
