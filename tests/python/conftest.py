"""What every oracle test may use: the program as a function, the library, and random data."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from library import Library

BUILD = Path(__file__).parents[2] / "build"  # unless the environment says otherwise
os.environ.setdefault("NEARFAR_BIN", str(BUILD / "cli" / "nearfar"))
os.environ.setdefault("NEARFAR_LIB", str(BUILD / "src" / "libnearfar.so"))

settings.register_profile("nearfar", deadline=None, derandomize=True, print_blob=True,
                          max_examples=int(os.environ.get("NF_EXAMPLES", "60")))
settings.load_profile("nearfar")


class Program:
    """nearfar in a folder of its own: arrays in, arrays and JSON out."""

    def __init__(self, folder):
        self.path = os.environ["NEARFAR_BIN"]
        self.folder = folder

    def save(self, **arrays):
        for name, array in arrays.items():
            np.save(self.folder / f"{name}.npy", array)

    def load(self, name):
        return np.load(self.folder / f"{name}.npy")

    def attempt(self, *arguments):
        return subprocess.run([self.path, *map(str, arguments)], cwd=self.folder,
                              capture_output=True, text=True, timeout=300, check=False)

    def __call__(self, *arguments):
        done = self.attempt(*arguments)
        assert done.returncode == 0, f"nearfar {' '.join(map(str, arguments))}\n{done.stderr}"
        return done.stdout

    def json(self, *arguments):
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def nearfar(tmp_path):
    return Program(tmp_path)


@pytest.fixture(scope="session")
def library():
    lib = Library()
    yield lib
    lib.close()


@pytest.fixture
def rng(request):
    """Random numbers that depend on the test's name alone."""
    return np.random.default_rng(list(request.node.name.encode()))
