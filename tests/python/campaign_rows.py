"""What every part of the campaign draws from: contexts, rows, labels, and distances in extended
precision."""

from dataclasses import dataclass

import numpy as np

from library import ISAS, Library, NearfarError
from row_oracle import Real

SIZES = (0, 1, 2, 3, 47, 48, 49, 95, 96, 97, 191, 192, 193)
LARGE_SIZES = (383, 767, 768)
ARG, DATA, RANGE = 1, 2, 3
SENTINEL = -12345.625  # what outputs hold before a call, and after one that failed


class Failure(AssertionError):
    pass


def require(true, text):
    if not true:
        raise Failure(text)


class Overflow(Exception):
    """A distance is beyond the type."""


def first_of(wrong, got, want, bound):
    if not wrong.any():
        return "nowhere"
    k = tuple(int(q) for q in np.argwhere(wrong)[0])
    return (f"at {k}: {float(got[k])!r}, not {float(want[k])!r} +- {float(np.asarray(bound)[k]):.3g} "
            f"({int(wrong.sum())} of {wrong.size})")


# ---- contexts ------------------------------------------------------------------------------------


class Contexts:
    """Libraries by threads and instruction set, made when first asked for."""

    def __init__(self):
        self.made = {}
        self.isas = []
        for isa in ISAS:
            try:
                self.made[1, isa] = Library(threads=1, isa=isa)
                self.isas.append(isa)
            except NearfarError:
                pass  # which this machine lacks

    def __getitem__(self, key):
        if key not in self.made:
            self.made[key] = Library(threads=key[0], isa=key[1])
        return self.made[key]

    def draw(self, rng):
        return int(rng.integers(1, 5)), str(rng.choice(self.isas))


# ---- random arrays -------------------------------------------------------------------------------


def pick(rng, *choices, p=None):
    return choices[rng.choice(len(choices), p=p)]


def draw_size(rng, large):
    if large and rng.random() < 0.02:
        return pick(rng, *LARGE_SIZES)
    return pick(rng, *SIZES) if rng.random() < 0.3 else int(rng.integers(1, pick(rng, 12, 40, 200)))


def draw_labels(rng, n):
    """Labels of n rows, and whether -1 is no label."""
    how = pick(rng, "few", "few", "few", "some", "one", "different", "pairs", "large")
    if how == "one":
        labels = np.full(n, rng.integers(-3, 3))
    elif how == "different":
        labels = rng.permutation(n)
    elif how == "pairs":
        labels = rng.permutation(np.arange(n) // 2)
    else:
        labels = rng.integers(0, {"few": 4, "some": 12, "large": max(1, n // 3)}[how], n)
        if how == "large" and rng.random() < 0.5:
            labels = rng.choice(np.array([2**62 + 1, -2**63, 2**63 - 1, 2**53, 2**53 + 1, -2, 0]), n)
    labels = labels.astype(np.int64)
    if rng.random() < 0.3:
        labels[rng.random(n) < pick(rng, 0.05, 0.4, 0.9)] = -1
    if rng.random() < 0.3:
        labels = np.sort(labels)
    return np.ascontiguousarray(labels), bool(rng.random() < 0.8)


@dataclass
class World:
    """What the rows of one draw have in common."""

    d: int
    dtype: type
    scale: float
    offset: np.ndarray
    centres: np.ndarray
    how: str
    spread: float


def draw_world(rng, n):
    d = pick(rng, int(rng.integers(1, 9)), int(rng.integers(1, 34)), int(rng.integers(1, 131)))
    if n < 150 and rng.random() < 0.04:
        d = pick(rng, 255, 511, 512, 513, 1000, 2049)
    if n > 300:
        d = int(rng.integers(1, 13))
    how = pick(rng, "normal", "normal", "classes", "grid", "hot", "mixed", "denormal",
               p=[0.25, 0.2, 0.2, 0.15, 0.05, 0.1, 0.05])
    scale = pick(rng, 1.0, 0.1, 30.0, 1e-30, 1e-12, 1e15, 1e-4,
                 p=[0.5, 0.12, 0.1, 0.07, 0.07, 0.07, 0.07])
    offset = np.zeros(d)
    if how in ("normal", "classes") and rng.random() < 0.15:
        offset[:] = scale * pick(rng, 1, 100, 1e4)
    return World(d, pick(rng, np.float32, np.float64), scale, offset,
                 rng.normal(size=(64, d)), how, pick(rng, 0.02, 0.3, 1.0))


def draw_rows(rng, world, labels):
    n, d = len(labels), world.d
    x = rng.normal(size=(n, d))
    if world.how == "classes":
        x = world.centres[labels % 64] + world.spread * x
    elif world.how == "grid":
        x = rng.integers(-1, 2, (n, d)).astype(float)
    elif world.how == "hot":
        x = np.eye(d)[rng.integers(0, d, n)]
    elif world.how == "mixed":
        x = x * 10.0 ** rng.integers(-6, 6, (n, 1))
    x = x * world.scale + world.offset
    if world.how == "denormal":
        x = rng.normal(size=(n, d)) * float(np.finfo(world.dtype).tiny) * pick(rng, 1e-3, 1.0, 50.0)
    if n > 2 and rng.random() < 0.25:
        x[rng.integers(0, n, 1 + n // 20)] = 0.0
    if n > 2 and rng.random() < 0.25:
        k = 1 + n // 10
        x[rng.integers(0, n, k)] = x[rng.integers(0, n, k)]
    with np.errstate(over="ignore", under="ignore"):
        return laid_out(rng, x.astype(world.dtype))


def laid_out(rng, x):
    """The same rows with room between them, some times."""
    if rng.random() < 0.7:
        return np.ascontiguousarray(x)
    wide = np.full((len(x), x.shape[1] + int(rng.integers(1, 8))), np.nan, x.dtype)
    wide[:, :x.shape[1]] = x
    return wide[:, :x.shape[1]]


def blank_like(rng, x):
    out = laid_out(rng, np.zeros_like(x))
    base = out if out.base is None else out.base
    base[...] = SENTINEL
    return out


# ---- distances in extended precision -------------------------------------------------------------


def unit(x):
    with np.errstate(divide="ignore", invalid="ignore"):
        length = np.sqrt((x * x).sum(axis=1, keepdims=True))
        return np.where(length > 0, x / np.where(length > 0, length, 1), 0), length[:, 0]


def pairs_at_once(x):
    """So that their rows take some 16 MB."""
    return 1 + 2**20 // max(x.shape[1], 1)


def distances(metric, x, y, normalize, i, j):
    """Of rows x_i and y_j, in the precision of x."""
    if normalize or metric == "cosine":
        x, y = unit(x)[0], unit(y)[0]
    out = np.zeros(len(i), x.dtype)
    step = pairs_at_once(x)
    for first in range(0, len(i), step):
        at = slice(first, first + step)
        a, b = x[i[at]], y[j[at]]
        if metric == "dot":
            out[at] = -(a * b).sum(axis=1)
        elif metric == "cityblock":
            out[at] = abs(a - b).sum(axis=1)
        else:
            out[at] = ((a - b) ** 2).sum(axis=1)
            if metric == "cosine":
                zero = ~a.any(axis=1) | ~b.any(axis=1)
                out[at] = np.where(zero, 1, out[at] / 2)
            elif metric == "euclidean":
                out[at] = np.sqrt(out[at])
    return out


def scatter(metric, x, y, normalize, i, j, slope, size, t):
    """Adds slope dt/dx_i and slope dt/dy_j, and bounds of what rounding does to each row, in roundoffs.
    """
    units = normalize or metric == "cosine"
    (u, lx), (w, ly) = (unit(x), unit(y)) if units else ((x, None), (y, None))
    gx, gy = np.zeros_like(u), np.zeros_like(w)
    ex, ey = np.zeros(len(u), Real), np.zeros(len(w), Real)
    step = pairs_at_once(x)
    for first in range(0, len(i), step):
        at = slice(first, first + step)
        a, b, s, z = u[i[at]], w[j[at]], slope[at][:, None], size[at]
        tt = np.asarray(t[at], Real)
        if metric == "dot":
            ga, gb = -b, -a
            na, nb = np.sqrt((b * b).sum(axis=1)), np.sqrt((a * a).sum(axis=1))
        elif metric == "cityblock":
            ga = np.sign(a - b)
            gb, na = -ga, np.sqrt(abs(ga).sum(axis=1))
            nb = na
            if units:  # a component that rounding makes 0 or turns
                close = abs(a - b) < (1e-6 if x_is_single(x) else 1e-14)
                na = nb = na + close.sum(axis=1) * 1e16
        else:
            difference = a - b
            if metric == "euclidean":
                ga = np.where(tt[:, None] > 0, difference / np.where(tt > 0, tt, 1)[:, None], 0)
                inverse = 1 / np.where(tt > 0, tt, np.inf)
                na = 1 + (inverse if units else 0) + inverse * (Real(2) ** -1074 / Real(2) ** -53)
            elif metric == "sqeuclidean":
                ga = 2 * difference
                na = np.sqrt((ga * ga).sum(axis=1)) + (2 if units else 0)
            else:
                zero = ~a.any(axis=1) | ~b.any(axis=1)
                ga, na = np.where(zero[:, None], 0, difference), np.where(zero, 0, Real(2))
            gb, nb = -ga, na
        np.add.at(gx, i[at], s * ga)
        np.add.at(gy, j[at], s * gb)
        np.add.at(ex, i[at], z * na)
        np.add.at(ey, j[at], z * nb)
    if units:
        gx, ex = pullback(u, lx, gx, ex)
        gy, ey = pullback(w, ly, gy, ey)
    return gx, gy, ex, ey


def x_is_single(x):
    return bool((x == x.astype(np.float32)).all())


def pullback(u, length, g, e):
    has = length > 0
    by = np.where(has, 1 / np.where(has, length, 1), 0)
    inner = g - u * (u * g).sum(axis=1, keepdims=True)
    return inner * by[:, None], (e + np.sqrt((g * g).sum(axis=1))) * by
