"""The child process of one peer: reads commands, one JSON object a line, and answers likewise.

    {"do": "prepare", "work", "inputs": {name: path}, "options", "growth"}
    {"do": "first", "outputs": folder}    the first call: its time, its results to compare
    {"do": "time", "calls"}               seconds a call, over so many calls
    {"do": "memory"}                      largest resident memory of a call beyond the inputs

Memory counts from the moment the inputs are in the peer's own arrays and the same work has run
once on a few rows, so that neither inputs nor the libraries' own code and pools count.
"""

import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path

import numpy as np

import memory

FEW_ROWS = 128


def _few(inputs):
    return {name: np.ascontiguousarray(array[:FEW_ROWS]) for name, array in inputs.items()}


def _is_memory_error(error):
    words = ("alloc", "out of memory", "resource_exhausted", "oom")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


class Worker:
    def __init__(self, driver, peer, threads):
        self._driver = importlib.import_module(f"drivers.{driver}")
        self._peer = peer
        self._driver.start(threads)
        self._task = None
        self._base = 0
        self._rehearsed = set()

    def hello(self):
        return {"versions": self._driver.versions()}

    def prepare(self, work, inputs, options, growth):
        self._task = None
        arrays = {name: np.load(path) for name, path in inputs.items()}
        if work not in self._rehearsed and work != "train":
            self._rehearsed.add(work)
            self._driver.prepare(self._peer, work, _few(arrays), options).call()
        self._task = self._driver.prepare(self._peer, work, arrays, options)
        memory.trim()
        self._base = memory.resident()
        memory.allow_growth(growth)
        return {}

    def first(self, outputs):
        memory.reset_peak()
        start, cpu = time.perf_counter(), time.process_time()
        result = self._task.call()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        peak = memory.peak()
        for name, array in self._task.collect(result).items():
            np.save(Path(outputs) / f"{name}.npy", array)
        return {"seconds": seconds, "cpu": cpu, "bytes": max(0, peak - self._base)}

    def time(self, calls):
        call = self._task.call
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(calls):
            call()
        return {"seconds": (time.perf_counter() - start) / calls,
                "cpu": (time.process_time() - cpu) / calls}

    def memory(self):
        memory.trim()
        memory.reset_peak()
        self._task.call()
        return {"bytes": max(0, memory.peak() - self._base)}


def _answer(worker, command):
    action = command.pop("do")
    try:
        return {"ok": True, **getattr(worker, action)(**command)}
    except Exception as error:  # whatever a library raises is a result of the comparison
        traceback.print_exc()
        kind = "unsupported" if type(error).__name__ == "Unsupported" else "failed"
        if _is_memory_error(error):
            kind = "out of memory"
        text = str(error).strip().splitlines() or [type(error).__name__]
        return {"ok": False, "status": kind, "detail": f"{type(error).__name__}: {text[0]}"[:200]}


def main():
    driver, peer, threads = sys.argv[1:]
    # Libraries may print: keep the answers' pipe apart from standard output.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    worker = Worker(driver, peer, int(threads))
    print(json.dumps({"ok": True, **worker.hello()}), file=answers)
    for line in sys.stdin:
        print(json.dumps(_answer(worker, json.loads(line))), file=answers)


if __name__ == "__main__":
    main()
