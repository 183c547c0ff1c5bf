"""What the suites of the package share: random rows, and the program beside the package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

BUILD = Path(__file__).parents[2] / "build"


def program_path():
    """The program installed with the package, NEARFAR_BIN, or the one in build/."""
    beside = Path(sys.prefix) / "bin" / "nearfar"
    for path in (beside, os.environ.get("NEARFAR_BIN"), BUILD / "cli" / "nearfar"):
        if path and Path(path).is_file():
            return str(path)
    return shutil.which("nearfar")


class Program:
    """nearfar in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder

    def save(self, **arrays):
        for name, array in arrays.items():
            np.save(self.folder / f"{name}.npy", array)

    def load(self, name):
        return np.load(self.folder / f"{name}.npy")

    def __call__(self, *arguments):
        run = subprocess.run([program_path(), *map(str, arguments)], cwd=self.folder, text=True,
                             capture_output=True, timeout=300, check=False)
        assert run.returncode == 0, run.stderr
        return run.stdout


def rows(rng, n, d, dtype=np.float64, classes=4):
    """Random rows and labels, some unlabelled."""
    return rng.normal(size=(n, d)).astype(dtype), rng.integers(-1, classes, n)
