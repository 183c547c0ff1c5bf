"""Tables and plots of a run: python bench/peers/report.py RECORDS FOLDER

Writes peers-time.svg and peers-memory.svg into FOLDER and puts the tables between the two marks
in FOLDER/benchmarks.md.
"""

import json
import re
import sys
from pathlib import Path

from cases import PEERS

BEGIN, END = "<!-- peers: begin -->\n", "<!-- peers: end -->\n"
_ERRORS = {"value": "value", "gradient": "gradient", "distances": "largest",
           "neighbours": "k-th distance", "map_at_r": "MAP@R"}
_TITLES = {
    "weston": "Loss and gradient of eq. (3) over all pairs",
    "pml": "ContrastiveLoss of pytorch-metric-learning (`preset pml`), loss and gradient",
    "triplet": "TripletMarginLoss of pytorch-metric-learning, all triplets, loss and gradient",
    "nt-xent": "NTXentLoss of pytorch-metric-learning, loss and gradient",
    "lifted": "LiftedStructureLoss of pytorch-metric-learning, loss and gradient",
    "supcon": "SupConLoss of pytorch-metric-learning, loss and gradient",
    "multi-similarity": "MultiSimilarityLoss of pytorch-metric-learning, loss and gradient",
    "distances": "All distances of m and n rows to memory",
    "pdist": "All distances among n rows to memory",
    "knn": "100 nearest, Fashion-MNIST, exact",
    "train": "Training a linear embedding of Fashion-MNIST to a MAP@R of held-out rows",
}


def read(path):
    about, *records = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    return about["about"], records


def _digits(value):
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def time_text(seconds):
    for unit, scale in (("us", 1e-6), ("ms", 1e-3)):
        if seconds < 999 * scale:
            return f"{_digits(seconds / scale)} {unit}"
    return f"{_digits(seconds)} s"


def memory_text(count):
    return f"{_digits(count / 2**20)} MiB"


def _is_timed(record):
    return record is not None and "seconds" in record


def _status(record):
    """Why there are no figures; of an allocation that was refused, its size."""
    asked = re.search(r"allocate (\d+) bytes", record.get("detail", ""))
    if record["status"] != "out of memory" or not asked:
        return record["status"]
    return f"out of memory, asks for {memory_text(int(asked[1]))} at once"


def _time_cell(record, own):
    if record is None:
        return "-"
    if not _is_timed(record):
        return _status(record)
    half = (record["slowest"] - record["fastest"]) / (2 * record["seconds"])
    spread = f" ±{100 * half:.0f} %" if record["repeats"] > 1 else ""
    wrong = ", **wrong**" if record["status"] == "WRONG" else ""
    if record is own:
        return f"{time_text(record['seconds'])}{spread}{wrong}"
    ratio = f", {_digits(record['seconds'] / own['seconds'])}x" if _is_timed(own) else ""
    return f"{time_text(record['seconds'])}{spread}{ratio}{wrong}"


def _memory_cell(record):
    if record is None:
        return "-"
    return memory_text(record["bytes"]) if "bytes" in record else record["status"]


def _error_cell(record):
    if record is None or "errors" not in record:
        return "-"
    kinds = record["errors"]
    shown = (f"{kinds[kind]:.3f}" if kind == "map_at_r" else f"{kinds[kind]:.1e}"
             for kind in _ERRORS if kind in kinds)
    return ", ".join(shown)


def _table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def _size(record):
    rows = str(record["n"]) if record["m"] is None else f"{record['m']} x {record['n']}"
    return [rows, str(record["d"])]


def _work_tables(records):
    """Times, then memory and errors at the most threads, of one kind of work."""
    names = [name for name in PEERS if any(record["peer"] == name for record in records)]
    cells = {(record["case"], record["threads"], record["peer"]): record for record in records}
    sizes = {record["case"]: _size(record) for record in records}
    keys = sorted({(list(sizes).index(case), threads, case) for case, threads, _ in cells})
    times, others = [], {"memory": [], "error": []}
    for _, threads, case in keys:
        row = [cells.get((case, threads, name)) for name in names]
        times.append([*sizes[case], str(threads), *(_time_cell(record, row[0]) for record in row)])
        if threads == max(other for _, other, named in keys if named == case):
            others["memory"].append([*sizes[case], *map(_memory_cell, row)])
            others["error"].append([*sizes[case], *map(_error_cell, row)])
    kinds = next((record["errors"] for record in records if "errors" in record), {})
    label = ", ".join(_ERRORS[kind] for kind in kinds)
    return "\n".join([
        _table(["n", "d", "threads", *names], times),
        "Memory beyond the input, result included:\n",
        _table(["n", "d", *names], others["memory"]),
        f"{'Result' if 'map_at_r' in kinds else 'Relative error'} ({label}):\n",
        _table(["n", "d", *names], others["error"])])


def _versions(records):
    versions = {}
    for record in records:
        versions.update(record.get("versions", {}))
    return ", ".join(f"{package} {version}" for package, version in sorted(versions.items()))


def text(about, records):
    parts = [f"`{about['command']}`, {about['date']}, {about['cpu']}, {about['cores']} cores, "
             f"{about['memory_bytes'] / 2**30:.0f} GiB, {about['system']}, "
             f"Python {about['python']}, {_versions(records)}.\n"]
    if any(record["work"] == "weston" for record in records):
        parts += ["![time against rows](peers-time.svg)\n",
                  "![memory against rows](peers-memory.svg)\n"]
    for work, title in _TITLES.items():
        own = [record for record in records if record["work"] == work]
        if own:
            parts += [f"### {title}\n", _work_tables(own)]
    return "\n".join(parts)


def main():
    records_path, folder = map(Path, sys.argv[1:])
    about, records = read(records_path)
    page = folder / "benchmarks.md"
    before, rest = page.read_text("utf-8").split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(before + BEGIN + "\n" + text(about, records) + "\n" + END + after, "utf-8")
    from plot import plot  # matplotlib is wanted for nothing else

    plot(records, folder)


if __name__ == "__main__":
    main()
