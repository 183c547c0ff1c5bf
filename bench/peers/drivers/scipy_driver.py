"""SciPy: cdist and pdist."""

from scipy.spatial.distance import cdist, pdist

from .task import Task, Unsupported, at, version_of


def versions():
    return version_of("scipy", "numpy")


def start(threads):
    """SciPy's distances use one thread."""


def prepare(peer, work, inputs, options):
    x = inputs["x"]
    if work == "distances":
        return Task(lambda: cdist(x, inputs["y"]), lambda out: at(out, inputs))
    if work == "pdist":
        return Task(lambda: pdist(x), lambda out: {"distances": out[inputs["sample"]]})
    raise Unsupported(f"{peer}: {work}")
