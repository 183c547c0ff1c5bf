"""Inputs, made once and read by every peer from the same .npy files."""

import gzip
import struct
from pathlib import Path

import nearfar
import numpy as np

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # Debian's dataset-fashion-mnist
SAMPLE = 200_000  # distances that are compared
VALID_ROWS = 2000


class Missing(Exception):
    """Data that are not on this machine."""


def spread_classes(case, rng):
    """Rows of all classes in one cloud, most pairs within the margin: nothing to skip."""
    classes = max(4, case.n // 128) if case.n > 64 else 4
    return {"x": rng.uniform(0, 0.2, (case.n, case.d)).astype(np.float32),
            "labels": rng.integers(0, classes, case.n)}


def normal_classes(case, rng):
    """Rows of classes of one size in one cloud of unit variance: every term is active."""
    return {"x": rng.normal(size=(case.n, case.d)).astype(np.float32),
            "labels": np.arange(case.n) % case.options["classes"]}


def _near(n, d, rng):
    """Half of the rows have a neighbour 1e-3 away: what squares by a matrix product lose."""
    x = rng.normal(5, 1, (n, d))
    x[n // 2:] = x[:n - n // 2] + rng.normal(0, 1e-3 / np.sqrt(d), (n - n // 2, d))
    return x.astype(np.float32)


def near_pairs(case, rng):
    """x (m rows) against y (n rows), which hold rows of x, moved a little, in their first half."""
    y = rng.normal(5, 1, (case.n, case.d)).astype(np.float32)
    x = _near(case.m, case.d, rng)
    near = min(case.m, case.n) // 2
    y[:near] = x[:near] + rng.normal(0, 1e-3 / np.sqrt(case.d), (near, case.d))
    count = min(SAMPLE, case.m * case.n)
    rows, cols = rng.integers(0, case.m, count), rng.integers(0, case.n, count)
    rows[:near] = cols[:near] = np.arange(near)
    return {"x": x, "y": y, "sample_rows": rows, "sample_cols": cols}


def near_rows(case, rng):
    x, n = _near(case.n, case.d, rng), case.n
    first = np.arange(n - n // 2)
    second = first + n // 2
    near = (first * (2 * n - first - 1) // 2 + second - first - 1)[first < second]
    pairs = n * (n - 1) // 2
    sample = np.concatenate([near, rng.integers(0, pairs, min(SAMPLE, pairs))])
    return {"x": x, "sample": sample}


def _start(x, labels, outputs):
    """What every trainer starts from: nearfar's initial weights and its scale of the inputs."""
    weight = nearfar.Model(x.shape[1], outputs).weights[0]
    trained = nearfar.Trainer(outputs=outputs, valid_fraction=0, epochs=1).fit(x, labels)
    return {"weight": weight, "mean": trained.mean.astype(np.float32),
            "std": trained.std.astype(np.float32)}


def clusters(case, rng):
    labels = rng.integers(0, 5, case.n)
    centers = rng.normal(size=(5, case.d))

    def rows(of):
        return (centers[of] + rng.normal(0, 0.4, (len(of), case.d))).astype(np.float32)

    x = rows(labels)
    valid = rng.integers(0, 5, 100)
    query = x if case.options.get("self") else rows(rng.integers(0, 5, case.m or 1))
    return {"x": x, "labels": labels, "query": query, "valid_x": rows(valid),
            "valid_labels": valid}


def _idx(name):
    path = FASHION_MNIST / name
    if not path.is_file():
        raise Missing(f"{path}: install Debian's dataset-fashion-mnist")
    with gzip.open(path) as file:
        data = file.read()
    shape = struct.unpack_from(f">{data[3]}I", data, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def _images(part):
    images = _idx(f"{part}-images-idx3-ubyte.gz")
    return images.reshape(len(images), -1).astype(np.float32)


def fashion_queries(case, rng):
    return {"x": _images("train")[:case.n], "query": _images("t10k")[:case.m]}


def fashion(case, rng):
    """The first n rows, to train on or to find neighbours among; rows after 50,000 validate."""
    x, labels = _images("train"), _idx("train-labels-idx1-ubyte.gz").astype(np.int64)
    if case.work == "knn":
        return {"x": x[:case.n], "query": x[:case.n]}
    valid = slice(50000, 50000 + VALID_ROWS)
    return {"x": x[:case.n], "labels": labels[:case.n], "valid_x": x[valid],
            "valid_labels": labels[valid],
            **_start(x[:case.n], labels[:case.n], case.options["outputs"])}


fashion_few = fashion


def make(case, folder):
    """Files of a case: {name: path}, and the arrays."""
    rng = np.random.default_rng([case.n, case.d])
    arrays = globals()[case.data](case, rng)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, array in arrays.items():
        paths[name] = str(folder / f"{name}.npy")
        np.save(paths[name], array)
    return paths, arrays
