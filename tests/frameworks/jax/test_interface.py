"""The extension's own declarations of XLA's interface are those of the installed jaxlib."""

import os
import subprocess
from pathlib import Path

import jax

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def test_declarations_are_those_of_jaxlib():
    run = subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-fsyntax-only",
                          f"-I{ROOT / 'python' / 'src'}", f"-I{ROOT / 'include'}",
                          "-isystem", jax.ffi.include_dir(), HERE / "interface.c"],
                         capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
