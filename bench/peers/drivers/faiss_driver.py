"""faiss: IndexFlatL2. Where rows look for neighbours among themselves it is asked for one more,
and each row itself is dropped before results are compared, off the clock."""

import faiss
import numpy as np

from .task import Task, Unsupported, version_of


def versions():
    return version_of("faiss-cpu", "numpy")


def start(threads):
    faiss.omp_set_num_threads(threads)


def _without_self(indices):
    rows = np.arange(len(indices))[:, None]
    keep = indices != rows
    keep[keep.all(axis=1), -1] = False  # a row that ties kept out: drop the last instead
    return indices[keep].reshape(len(indices), -1)


def prepare(peer, work, inputs, options):
    if work != "knn":
        raise Unsupported(f"{peer}: {work}")
    query, x, k = inputs["query"], inputs["x"], options["k"]
    among_themselves = options["self"]

    def call():
        index = faiss.IndexFlatL2(x.shape[1])
        index.add(x)
        return index.search(query, k + among_themselves)

    return Task(call, lambda result: {
        "indices": _without_self(result[1]) if among_themselves else result[1]})
