"""The comparison with peers runs: tiny cases, NumPy the only peer."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

LOSSES = ("weston", "pml", "triplet", "nt-xent", "lifted", "supcon", "multi-similarity")
WORKS = {*LOSSES, "distances", "pdist", "knn", "train"}
BENCH = Path(__file__).parents[2] / "bench" / "peers"


def run(folder, *arguments):
    output = folder / "peers.jsonl"
    subprocess.run([sys.executable, BENCH / "run.py", "--smoke", "--output", output, *arguments],
                   check=True, capture_output=True, timeout=300)
    return [json.loads(line) for line in output.read_text().splitlines()]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """The lines of a run: the machine, and one record a case, peer and number of threads."""
    return run(tmp_path_factory.mktemp("bench"), "--here")


def test_every_case_is_timed_and_right(records):
    about, *rows = records
    assert about["about"]["cores"] >= 1
    assert {row["peer"] for row in rows} == {"nearfar", "NumPy"}
    assert {row["work"] for row in rows} == WORKS
    for row in rows:
        assert row["seconds"] > 0 and row["fastest"] <= row["seconds"] <= row["slowest"], row
        assert row["bytes"] >= 0, row
        if row["peer"] == "nearfar":
            assert row["status"] == "ok", row


def test_a_wrong_answer_is_called_wrong(records):
    near = [row for row in records[1:] if row["work"] == "distances" and row["peer"] == "NumPy"]
    assert near and all(row["status"] == "WRONG" for row in near), "squares by a matrix product"


def test_a_peer_that_is_not_installed_is_said_to_be_so(tmp_path):
    _, *rows = run(tmp_path, "--environments", tmp_path, "--case", "weston")
    assert {(row["peer"], row["status"]) for row in rows} == {
        ("nearfar", "not installed"), ("NumPy", "not installed")}


def test_no_case_begins_after_the_minutes(tmp_path):
    _, *rows = run(tmp_path, "--here", "--minutes", "0", "--case", "weston")
    assert rows and all(row["status"] == "no time" for row in rows)


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    return importlib.import_module


def test_report_has_a_table_for_every_kind_of_work(records, module):
    about, *rows = records
    text = module("report").text(about["about"], rows)
    assert text.count("\n### ") == len(WORKS)
    wrong = [line for line in text.splitlines() if "**wrong**" in line]
    assert wrong and all(line.startswith("| 150 x 200 | 8 |") for line in wrong)


def test_report_says_how_much_a_peer_asked_for(records, module):
    about, *rows = records
    lost = {"status": "out of memory",
            "detail": "RuntimeError: you tried to allocate 3699376128 bytes. Error code 12"}
    kept = [{key: value for key, value in row.items() if key not in ("seconds", "bytes")} | lost
            if (row["work"], row["peer"]) == ("triplet", "nearfar") else row for row in rows]
    assert "out of memory, asks for 3528 MiB at once" in module("report").text(about["about"], kept)


@pytest.mark.parametrize("work", LOSSES)
def test_reference_gradient_is_the_slope_of_the_value(work, module, rng):
    function = module("check").LOSSES[work]
    x, labels = rng.normal(0, 0.3, (12, 3)), rng.integers(0, 3, 12)
    gradient, step = function(x, labels)[1], 1e-6
    for index in np.ndindex(x.shape):
        there, back = x.copy(), x.copy()
        there[index] += step
        back[index] -= step
        slope = (function(there, labels)[0] - function(back, labels)[0]) / (2 * step)
        assert slope == pytest.approx(gradient[index], abs=1e-7)
