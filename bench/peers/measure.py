"""One case at one number of threads: every peer prepared, then timed turn by turn."""

import shutil
import statistics
import sys
from dataclasses import dataclass

import numpy as np

from child import Failure

SHORTEST = 0.02  # seconds of one measurement: shorter calls are repeated within it
FEWEST_ROUNDS = 3


@dataclass(frozen=True)
class Limits:
    seconds: float  # of one call
    growth: int  # bytes of address space
    rounds: int
    budget: float  # seconds of rounds of one case


class _Entry:
    """What is known of one peer in this case."""

    def __init__(self, name, child):
        self.name, self.child = name, child
        self.calls, self.seconds, self.cpu, self.record = 1, [], [], {}


def _load(folder):
    return {path.stem: np.load(path) for path in folder.glob("*.npy")}


def _begin(entry, case, paths, folder, limits):
    """Prepare and call for the first time, which fills the results' folder."""
    entry.child.ask("prepare", limits.seconds + 60, work=case.work, inputs=paths,
                    options=case.options, growth=limits.growth)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    first = entry.child.ask("first", limits.seconds, outputs=str(folder))
    entry.record["first_seconds"] = first["seconds"]
    entry.record["first_bytes"] = first["bytes"]
    return first


def _keep(entry, answer):
    entry.seconds.append(answer["seconds"])
    entry.cpu.append(answer["cpu"])


def _warm(entry, limits):
    """A second call tells how many fit into a measurement, a third what memory they take. A call
    so slow that its repeats would take the whole budget is left at that: True."""
    answer = entry.child.ask("time", limits.seconds, calls=1)
    if answer["seconds"] > limits.budget / FEWEST_ROUNDS:
        _keep(entry, answer)
        entry.record["bytes"] = entry.record["first_bytes"]
        return True
    entry.calls = max(1, min(10000, int(SHORTEST / max(answer["seconds"], 1e-7))))
    entry.record["bytes"] = entry.child.ask("memory", limits.seconds)["bytes"]
    return False


def _rounds(entries, limits, clock):
    """Each round times every peer once, beginning with another one each time."""
    start, failed = clock(), {}
    for turn in range(limits.rounds):
        if turn >= FEWEST_ROUNDS and clock() - start > limits.budget:
            break
        for entry in entries[turn % len(entries):] + entries[:turn % len(entries)]:
            if entry.name in failed:
                continue
            try:
                limit = limits.seconds + SHORTEST
                answer = entry.child.ask("time", limit, calls=entry.calls)
                _keep(entry, answer)
            except Failure as failure:
                failed[entry.name] = failure
    return failed


def _summary(entry):
    """Medians; cpu is the processor time of all threads, spinning included."""
    seconds = entry.seconds
    return {"seconds": statistics.median(seconds), "fastest": min(seconds),
            "slowest": max(seconds), "repeats": len(seconds),
            "cpu_seconds": statistics.median(entry.cpu)}


def _failure(name, failure):
    status, detail = failure.args
    print(f"  {name}: {status}: {detail}", file=sys.stderr)
    return {"status": status, "detail": detail}


def _check(entry, reference, folder):
    errors = reference.errors(_load(folder))
    entry.record["errors"] = errors
    entry.record["status"] = "WRONG" if reference.is_wrong(errors) else "ok"


def measure(case, names, children, paths, reference, scratch, limits, clock):
    """{peer: record} of the case."""
    records, entries, turns = {}, [], []
    for name in names:
        try:
            entry = _Entry(name, children.get(name))
            first = _begin(entry, case, paths, scratch / name, limits)
            _check(entry, reference, scratch / name)
            if case.once:
                _keep(entry, first)
                entry.record["bytes"] = first["bytes"]
            elif not _warm(entry, limits):
                turns.append(entry)
            entries.append(entry)
        except Failure as failure:
            records[name] = _failure(name, failure)
    failed = _rounds(turns, limits, clock) if turns else {}
    for entry in entries:
        if entry.name in failed:
            records[entry.name] = _failure(entry.name, failed[entry.name])
            continue
        records[entry.name] = {**entry.record, **_summary(entry),
                               "versions": entry.child.versions}
    return {name: records[name] for name in names}
