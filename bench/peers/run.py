"""Time nearfar beside its peers: python bench/peers/run.py [--long] [--threads 1,2] ...

Every peer runs in a process of its own with the packages of its own virtual environment (see
setup), on the same input files, on the same cores. Peers take turns, and wait stopped. One JSON
line a case, peer and number of threads goes to the output file.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import cases
import data
from check import Reference
from child import Children
from measure import Limits, measure

ROOT = Path(__file__).resolve().parents[2]


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="tiny cases, NumPy the only peer")
    parser.add_argument("--long", action="store_true", help="also the largest cases")
    parser.add_argument("--case", default="", help="only cases whose name contains this")
    parser.add_argument("--peers", help="only these, separated by commas")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--budget", type=float, default=15, help="seconds of repeats of a case")
    parser.add_argument("--minutes", type=float, default=20,
                        help="begin no case after so many minutes (not with --long)")
    parser.add_argument("--limit", type=float, default=60, help="seconds of one call")
    parser.add_argument("--memory", type=float, default=8, help="GiB that a call may allocate")
    parser.add_argument("--environments", type=Path, default=ROOT / ".venv-bench")
    parser.add_argument("--here", action="store_true",
                        help="run every peer in this Python instead of its own environment")
    parser.add_argument("--output", type=Path, default=ROOT / "out/bench/peers.jsonl")
    return parser.parse_args()


def _cpu():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def _commit():
    run = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
                         capture_output=True, text=True, check=False)
    return run.stdout.strip() or None


def _command():
    """As typed after make bench-peers, without where this machine keeps things."""
    words = sys.argv[1:]
    for option in ("--environments", "--output"):
        if option in words:
            at = words.index(option)
            del words[at:at + 2]
    return f'make bench-peers PEERS="{" ".join(words)}"' if words else "make bench-peers"


def _about():
    return {"about": {
        "command": _command(), "commit": _commit(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu(), "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.freedesktop_os_release()["PRETTY_NAME"],
        "python": platform.python_version()}}


def _record(case, threads, peer, record):
    return {"case": case.name, "work": case.work, "data": case.data, "n": case.n, "m": case.m,
            "d": case.d, "k": case.options.get("k"), "target": case.options.get("target"),
            "dtype": "float32", "threads": threads, "peer": peer, **record}


class Run:
    def __init__(self, arguments, output):
        self._arguments, self._output = arguments, output
        self._scratch = arguments.output.parent / "scratch"
        self._limits = Limits(arguments.limit, int(arguments.memory * 2**30), arguments.repeats,
                              arguments.budget)
        self._wanted = arguments.peers.split(",") if arguments.peers else list(cases.PEERS)
        unknown = set(self._wanted) - set(cases.PEERS)
        if unknown:
            sys.exit(f"run.py: no peer {', '.join(sorted(unknown))}; there are "
                     f"{', '.join(cases.PEERS)}")
        minutes = float("inf") if arguments.long else arguments.minutes
        self._end = time.monotonic() + 60 * minutes
        self._prepared = {}
        self._given_up = {}

    def _python_of(self, peer):
        if self._arguments.here:
            return sys.executable
        return self._arguments.environments.absolute() / peer.environment / "bin" / "python"

    def write(self, record):
        print(json.dumps(record), file=self._output, flush=True)

    def _inputs(self, case):
        """Files and right answers of a case, made once for all numbers of threads."""
        if case.name not in self._prepared:
            paths, arrays = data.make(case, self._scratch / "inputs" / case.name)
            reference = Reference(case.work, arrays, case.options)
            self._prepared[case.name] = paths, reference
        return self._prepared[case.name]

    def _skip(self, case, threads, names, status, detail):
        for name in names:
            self.write(_record(case, threads, name, {"status": status, "detail": detail}))

    def _case(self, case, threads, children):
        names = [name for name in case.peers if name in self._wanted]
        if not names:
            return
        print(f"{case.name}, threads {threads}", file=sys.stderr)
        if time.monotonic() > self._end:
            self._skip(case, threads, names, "no time", "the run's minutes are over")
            return
        try:
            paths, reference = self._inputs(case)
        except data.Missing as missing:
            self._skip(case, threads, names, "no data", str(missing))
            return
        # What a peer could not do on fewer rows it is not asked again.
        lost = {name: self._given_up[key] for name in names
                if (key := (case.work, case.data, threads, name)) in self._given_up}
        records = measure(case, [name for name in names if name not in lost], children, paths,
                          reference, self._scratch / "results", self._limits, time.monotonic)
        records.update({name: {**record, "detail": "given up on fewer rows"}
                        for name, record in lost.items()})
        for name in names:
            self.write(_record(case, threads, name, records[name]))
            if records[name]["status"] in ("time limit", "out of memory"):
                self._given_up[case.work, case.data, threads, name] = records[name]

    def threads(self, listed, threads):
        children = Children(cases.PEERS, self._python_of, threads, self._scratch)
        try:
            for position, case in enumerate(listed):
                self._case(case, threads, children)
                later = {name for other in listed[position + 1:] for name in other.peers}
                children.drop(set(case.peers) - later)
        finally:
            children.close()


def main():
    arguments = _arguments()
    listed = cases.SMOKE if arguments.smoke else cases.LONG if arguments.long else cases.DEFAULT
    listed = [case for case in listed if arguments.case in case.name]
    arguments.output = arguments.output.resolve()
    (arguments.output.parent / "scratch").mkdir(parents=True, exist_ok=True)
    with open(arguments.output, "w", encoding="utf-8") as output:
        run = Run(arguments, output)
        run.write(_about())
        threads_wanted = {int(text) for text in arguments.threads.split(",")}
        for threads in sorted(threads_wanted, reverse=True):  # the most telling first
            run.threads([case for case in listed if threads in case.threads], threads)


if __name__ == "__main__":
    main()
