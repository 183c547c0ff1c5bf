"""What the timings of nearfar inside a framework share: calls in turns, and a line of JSON a case."""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any


def arguments(about: str) -> argparse.Namespace:
    """--repeats and --threads."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def microseconds(call: Callable[[], Any], loops: int, wait: Callable[[Any], Any]) -> float:
    """Of one call, over `loops` of them and the wait for the last result."""
    start = time.perf_counter_ns()
    for _ in range(loops):
        result = call()
    wait(result)
    return (time.perf_counter_ns() - start) / loops / 1000


class Comparison:
    """Medians of interleaved repeats, of which each lasts about `seconds`."""

    def __init__(self, repeats: int, wait: Callable[[Any], Any] = lambda result: None,
                 seconds: float = 0.05) -> None:
        self.repeats, self.wait, self.seconds = repeats, wait, seconds

    def __call__(self, case: str, contenders: dict[str, Callable[[], Any]], of: int = 1) -> None:
        """Print microseconds a step; a call does `of` steps."""
        loops = {}
        for name, call in contenders.items():
            self.wait(call())
            self.wait(call())
            loops[name] = max(1, int(self.seconds * 1e6 / microseconds(call, 2, self.wait)))
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(self.repeats):
            for name, call in contenders.items():
                times[name].append(microseconds(call, loops[name], self.wait) / of)
        median = {name: statistics.median(values) for name, values in times.items()}
        ours = median["nearfar"]
        print(json.dumps({"case": case, "repeats": self.repeats,
                          "us": {name: round(value, 2) for name, value in median.items()},
                          "ratio": {name: round(value / ours, 3) for name, value in median.items()
                                    if name != "nearfar"}}), flush=True)
