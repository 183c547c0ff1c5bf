"""Fixtures of the package's suites."""

import numpy as np
import pytest

from package_support import Program, program_path


@pytest.fixture
def program(tmp_path):
    assert program_path() is not None, "the program is not installed: pip install ."
    return Program(tmp_path)


@pytest.fixture
def rng():
    return np.random.default_rng(5)
