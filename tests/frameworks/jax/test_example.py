"""The example learns something."""

import os
import subprocess
import sys
from pathlib import Path


def test_example_runs():
    example = Path(__file__).parents[3] / "examples" / "jax_pairs.py"
    run = subprocess.run([sys.executable, example], capture_output=True, text=True,
                         env={**os.environ, "JAX_PLATFORMS": "cpu"}, check=False)
    assert run.returncode == 0, run.stderr
    words = run.stdout.replace(",", "").split()
    assert float(words[-1]) > float(words[-3]) + 0.1
