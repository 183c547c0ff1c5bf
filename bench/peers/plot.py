"""Time and memory against the number of rows, both axes logarithmic. A cross marks a wrong answer."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from cases import PEERS

_WORK = "weston"
_TITLE = "eq. (3), loss and gradient over all pairs, float32"
_COLORS = dict(zip(PEERS, ("#d62728", "#7f7f7f", "#1f77b4", "#17becf", "#2ca02c", "#ff7f0e",
                           "#9467bd")))
_STYLE = {"svg.hashsalt": "nearfar", "svg.fonttype": "path", "font.size": 10,
          "axes.spines.top": False, "axes.spines.right": False}


def _points(records, peer, value):
    """(rows, value, right) of what was measured and can stand on a logarithmic axis."""
    return sorted((record["n"], record[value], record["status"] == "ok") for record in records
                  if record["peer"] == peer and record.get(value))


def _lines(axes, records, value, scale):
    for peer, color in _COLORS.items():
        points = _points(records, peer, value)
        if points:
            axes.plot([n for n, _, _ in points], [scale * y for _, y, _ in points], "o-",
                      color=color, label=peer, linewidth=2.5 if peer == "nearfar" else 1.3,
                      markersize=4, zorder=3 if peer == "nearfar" else 2)
            for n, y, right in points:
                if not right:
                    axes.plot(n, scale * y, "x", color="black", markersize=9, zorder=4)


def _finish(axes, records, label, threads):
    sizes = sorted({record["n"] for record in records})
    axes.set(xscale="log", yscale="log", xlabel="rows n", ylabel=label)
    axes.set_title(f"{_TITLE}, {threads} threads", fontsize=10, loc="left")
    axes.set_xticks(sizes, [f"{n:,}" for n in sizes])
    axes.minorticks_off()
    axes.grid(True, alpha=0.3)
    axes.legend(frameon=False, fontsize=9)


def _figure(records, value, scale, label, threads, files):
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(7, 4.6), layout="constrained")
        _lines(axes, records, value, scale)
        _finish(axes, records, label, threads)
        for file in files:
            metadata = {"Date": None} if file.suffix == ".svg" else None
            figure.savefig(file, metadata=metadata, dpi=110)
        plt.close(figure)


def plot(records, folder, suffixes=(".svg",)):
    """peers-time and peers-memory in the folder, at the most threads of the run."""
    own = [record for record in records if record["work"] == _WORK]
    if not own:
        return
    threads = max(record["threads"] for record in own)
    own = [record for record in own if record["threads"] == threads]
    for name, value, scale, label in (("time", "seconds", 1e3, "milliseconds"),
                                      ("memory", "bytes", 2**-20,
                                       "MiB beyond the input, result included")):
        files = [folder / f"peers-{name}{suffix}" for suffix in suffixes]
        _figure(own, value, scale, label, threads, files)
