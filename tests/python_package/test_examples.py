"""The example of this environment: what is learned is better, on rows that nothing has seen."""

import re
import subprocess
import sys

import numpy as np
import pytest

import nearfar
from documents import ROOT


def table(output):
    """{title: (recall@1, MAP@R)}"""
    lines = re.findall(r"^(.+?) +\d+ +(0\.\d+) +(0\.\d+)", output, re.MULTILINE)
    return {title: (float(recall), float(map_at_r)) for title, recall, map_at_r in lines}


@pytest.mark.parametrize("own", [False, True])
def test_adapt_embeddings(own, tmp_path):
    arguments = []
    if own:
        for name, array in zip(("x.npy", "y.npy"), nearfar.load_digits()):
            np.save(tmp_path / name, array)
            arguments.append(name)
    run = subprocess.run([sys.executable, ROOT / "examples/adapt_embeddings.py", *arguments],
                         cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    rows = table(run.stdout)
    before, linear, hidden = (rows[name] for name in ("as they are", "linear map",
                                                      "one hidden layer"))
    assert linear[1] > before[1] + 0.1 and hidden[1] > linear[1] + 0.05
    assert hidden[0] > before[0] - 0.01
    assert nearfar.Model.load(tmp_path / "adapted.safetensors").outputs == 32
