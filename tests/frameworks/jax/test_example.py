"""The examples learn something."""

import os
import subprocess
import sys
from pathlib import Path


def run(name):
    example = Path(__file__).parents[3] / "examples" / name
    process = subprocess.run([sys.executable, example], capture_output=True, text=True,
                             env={**os.environ, "JAX_PLATFORMS": "cpu"}, check=False)
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_pairs():
    words = run("jax_pairs.py").replace(",", "").split()
    assert float(words[-1]) > float(words[-3]) + 0.1


def test_losses():
    pixels, *learnt = (float(line.split()[-1]) for line in run("jax_losses.py").splitlines())
    assert len(learnt) == 2 and min(learnt) > pixels + 0.1
