"""Right answers in double precision, by the definitions, and how far a result is from them.

Nothing here is shared with any library that is measured. Errors are

    value       |v - v'| / |v'|
    gradient    |g - g'| / |g'|         of the whole matrix
    distances   largest |d - d'| / d'   over the sampled pairs that do not coincide
    knn         largest |d - d'| / d'   of the k-th distances of the sampled queries
    train       MAP@R of the validation rows
"""

import numpy as np

import oracles

BLOCK = 512

# A result farther off is called wrong. float32 with squares by a matrix product gets 1e-6 to 1e-4
# on the benchmark's rows.
TOLERANCE = {"value": 1e-4, "gradient": 1e-3, "distances": 1e-3, "neighbours": 1e-5}


def _squares(a, b):
    square = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * (a @ b.T)
    return np.maximum(square, 0, out=square)


def _blocks(n):
    return (slice(first, min(first + BLOCK, n)) for first in range(0, n, BLOCK))


def _weston_terms(square, same):
    """Terms of eq. (3) and their derivatives with respect to the squared distance."""
    distance = np.sqrt(square)
    below = np.maximum(1 - distance, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(distance > 0, -below / distance, 0)
    return np.where(same, square, below * below), np.where(same, 1, slope)


def weston(x, labels):
    """Value and gradient of the mean over pairs. Centred, so that doubles lose nothing."""
    x = x.astype(np.float64)
    x = x - x.mean(axis=0)
    n, value, gradient = len(x), 0.0, np.empty_like(x)
    for rows in _blocks(n):
        terms, weight = _weston_terms(_squares(x[rows], x), labels[rows, None] == labels)
        own = np.arange(n)[rows]
        terms[own - own[0], own] = 0
        weight[own - own[0], own] = 0
        value += terms.sum()
        gradient[rows] = weight.sum(axis=1)[:, None] * x[rows] - weight @ x
    return value / (n * (n - 1)), gradient * (4 / (n * (n - 1)))


def pml(x, labels):
    """Linear terms of distances of unit rows; mean of the non-zero terms of each side."""
    length = np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    unit = x / length
    sums, counts, gradients = np.zeros(2), np.zeros(2), np.zeros((2, *unit.shape))
    for rows in _blocks(len(x)):
        distance = np.sqrt(_squares(unit[rows], unit))
        own = np.arange(len(x))[rows]
        distance[own - own[0], own] = 0
        same = labels[rows, None] == labels
        inverse = np.divide(1, distance, out=np.zeros_like(distance), where=distance > 0)
        for side, (term, sign) in enumerate(((distance, 1), (np.maximum(1 - distance, 0), -1))):
            active = (same == (side == 0)) & (term > 0)
            sums[side] += term[active].sum()
            counts[side] += active.sum()
            weight = np.where(active, sign * inverse, 0)
            gradients[side, rows] = weight.sum(axis=1)[:, None] * unit[rows] - weight @ unit
    counts = np.maximum(counts, 1)
    gradient = (2 * gradients / counts[:, None, None]).sum(axis=0)
    tangent = gradient - unit * (unit * gradient).sum(axis=1, keepdims=True)
    return (sums / counts).sum(), tangent / length


LOSSES = {"weston": weston, "pml": pml, "triplet": oracles.triplet, "nt-xent": oracles.nt_xent,
          "lifted": oracles.lifted, "supcon": oracles.supcon,
          "multi-similarity": oracles.multi_similarity}


def map_at_r(x, labels):
    """Mean over rows of the average precision at R, R the number of other rows of the class."""
    total = 0.0
    x = x.astype(np.float64)
    for row, label in enumerate(labels):
        distance = ((x - x[row]) ** 2).sum(axis=1)
        distance[row] = np.inf
        relevant = np.count_nonzero(labels == label) - 1
        hit = labels[np.argsort(distance, kind="stable")[:relevant]] == label
        precision = np.cumsum(hit) / np.arange(1, relevant + 1)
        total += (precision * hit).sum() / relevant
    return total / len(x)


def _relative(result, exact):
    return float(np.linalg.norm(np.asarray(result, np.float64) - exact) / np.linalg.norm(exact))


def _largest(result, exact):
    far = exact > 0
    return float((np.abs(np.asarray(result, np.float64) - exact)[far] / exact[far]).max())


def _pair_distances(a, b):
    return np.sqrt(((a.astype(np.float64) - b) ** 2).sum(axis=1))


def _kth_distances(inputs, options, rows):
    query = inputs["query"][rows].astype(np.float64)
    square = np.array([((inputs["x"] - row) ** 2).sum(axis=1) for row in query])
    if options["self"]:
        square[np.arange(len(rows)), rows] = np.inf
    return np.sqrt(np.sort(np.partition(square, options["k"] - 1)[:, :options["k"]], axis=1))


class Reference:
    """The right answer of one case, computed once."""

    def __init__(self, work, inputs, options):
        self._work, self._inputs, self._options = work, inputs, options
        if work in LOSSES:
            self._exact = LOSSES[work](inputs["x"], inputs["labels"])
        elif work == "distances":
            self._exact = _pair_distances(inputs["x"][inputs["sample_rows"]],
                                          inputs["y"][inputs["sample_cols"]])
        elif work == "pdist":
            self._exact = self._condensed()
        elif work == "knn":
            self._rows = np.arange(0, len(inputs["query"]), max(1, len(inputs["query"]) // 50))
            self._exact = _kth_distances(inputs, options, self._rows)

    def _condensed(self):
        first, second = np.triu_indices(len(self._inputs["x"]), 1)
        sample = self._inputs["sample"]
        return _pair_distances(self._inputs["x"][first[sample]], self._inputs["x"][second[sample]])

    def errors(self, result):
        """The errors of a result by name."""
        if self._work in LOSSES:
            value, gradient = self._exact
            return {"value": abs(float(result["value"]) - value) / abs(value),
                    "gradient": _relative(result["gradient"], gradient)}
        if self._work in ("distances", "pdist"):
            return {"distances": _largest(result["distances"], self._exact)}
        if self._work == "knn":
            return {"neighbours": self._neighbours(result["indices"])}
        return {"map_at_r": map_at_r(result["embedding"], self._inputs["valid_labels"])}

    def _neighbours(self, indices):
        found = indices[self._rows]
        if any(len(set(row)) != len(row) for row in found.tolist()):
            return float("inf")
        query, x = self._inputs["query"][self._rows].astype(np.float64), self._inputs["x"]
        square = ((x[found] - query[:, None]) ** 2).sum(axis=2)
        return _largest(np.sqrt(np.sort(square, axis=1)), self._exact)

    def is_wrong(self, errors):
        if self._work == "train":
            return errors["map_at_r"] < self._options["target"]
        return any(not error <= TOLERANCE[name] for name, error in errors.items())
