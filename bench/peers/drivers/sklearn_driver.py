"""scikit-learn: euclidean_distances, and exact neighbours by brute force."""

from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import NearestNeighbors

from .task import Task, Unsupported, at, version_of


def versions():
    return version_of("scikit-learn", "numpy")


def start(threads):
    """OpenMP and BLAS take their threads from the environment."""


def prepare(peer, work, inputs, options):
    x = inputs["x"]
    if work == "distances":
        return Task(lambda: euclidean_distances(x, inputs["y"]), lambda out: at(out, inputs))
    if work == "knn":
        # Without a query scikit-learn, too, leaves each row itself out.
        query = None if options["self"] else inputs["query"]
        return Task(lambda: NearestNeighbors(n_neighbors=options["k"], algorithm="brute").fit(x)
                    .kneighbors(query), lambda result: {"indices": result[1]})
    raise Unsupported(f"{peer}: {work}")
