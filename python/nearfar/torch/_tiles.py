"""The contrastive family in plain PyTorch, tile by tile.

What nearfar.torch uses for tensors that are not in the CPU's memory, and everywhere for second
derivatives, which the engine does not have. Nothing here is recorded by autograd: value, gradient
and Hessian-vector product are written out, so that memory stays O(n d + TILE^2).

Every metric is a function of one of three quantities q of two rows, with these derivatives:

    _Squares   q = |a - b|^2       dq/da = 2 (a - b)      dq/db = -2 (a - b)
    _Products  q = -a.b            dq/da = -b             dq/db = -a
    _Absolutes q = sum |a - b|_k   dq/da = sign(a - b)    dq/db = -sign(a - b)

`pull(x, y, g)` is sum_j g_ij dq_ij/dx_i, `push` the change of q along a direction, and a
Hessian-vector product is pull(x, y, phi'' push) + the second derivative of q times phi'.
"""

import math
from typing import NamedTuple

import torch

TILE = 1024
_NEAR = 1e-3  # (distance / size)^2 below which a difference of products would cancel
_PART = 1 << 16


def wide(x):
    """The type of sums; Apple's GPUs have no float64."""
    return torch.float32 if x.device.type == "mps" else torch.float64


# ---- quantities of two rows ---------------------------------------------------------------------


class _Squares:
    bilinear = True  # pull is linear in (x, y), so its derivative along v is pull(v)

    @staticmethod
    def tile(x, y):
        d = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
        return d * d

    @staticmethod
    def pull(x, y, g):
        """2 sum_j g_ij (x_i - y_j); near pairs, whose factors are large, by differences."""
        centre = y.mean(0, keepdim=True)
        x, y = x - centre, y - centre
        size = (x * x).sum(1)[:, None] + (y * y).sum(1)[None]
        near = (_Squares.tile(x, y) < _NEAR * size) & (g != 0)
        far = torch.where(near, 0, g)
        out = far.sum(1, keepdim=True) * x - far @ y
        for i, j in zip(*(index.split(_PART) for index in near.nonzero(as_tuple=True))):
            out.index_add_(0, i, g[i, j, None] * (x[i] - y[j]))
        return 2 * out

    @staticmethod
    def push(x, y, vx, vy):
        centre = y.mean(0, keepdim=True)
        x, y = x - centre, y - centre
        return 2 * ((x * vx).sum(1)[:, None] + (y * vy).sum(1)[None] - x @ vy.T - vx @ y.T)

    @staticmethod
    def rows(x, y):
        return ((x - y) ** 2).sum(1)

    @staticmethod
    def pull_rows(x, y, g):
        left = 2 * g[:, None] * (x - y)
        return left, -left

    @staticmethod
    def push_rows(x, y, vx, vy):
        return 2 * ((x - y) * (vx - vy)).sum(1)


class _Products:
    bilinear = True

    @staticmethod
    def tile(x, y):
        return -(x @ y.T)

    @staticmethod
    def pull(x, y, g):
        return -(g @ y)

    @staticmethod
    def push(x, y, vx, vy):
        return -(x @ vy.T + vx @ y.T)

    @staticmethod
    def rows(x, y):
        return -(x * y).sum(1)

    @staticmethod
    def pull_rows(x, y, g):
        return -g[:, None] * y, -g[:, None] * x

    @staticmethod
    def push_rows(x, y, vx, vy):
        return -(x * vy + vx * y).sum(1)


class _Absolutes:
    bilinear = False

    @staticmethod
    def tile(x, y):
        return torch.cdist(x, y, p=1.0)

    @staticmethod
    def pull(x, y, g):
        columns = [(g * torch.sign(a[:, None] - b)).sum(1) for a, b in zip(x.T, y.T)]
        return torch.stack(columns, 1) if columns else torch.zeros_like(x)

    @staticmethod
    def push(x, y, vx, vy):
        total = x.new_zeros(len(x), len(y))
        for a, b, va, vb in zip(x.T, y.T, vx.T, vy.T):
            total += torch.sign(a[:, None] - b) * (va[:, None] - vb)
        return total

    @staticmethod
    def rows(x, y):
        return (x - y).abs().sum(1)

    @staticmethod
    def pull_rows(x, y, g):
        left = g[:, None] * torch.sign(x - y)
        return left, -left

    @staticmethod
    def push_rows(x, y, vx, vy):
        return (torch.sign(x - y) * (vx - vy)).sum(1)


_QUANTITY = {"euclidean": _Squares, "sqeuclidean": _Squares, "cosine": _Squares, "dot": _Products,
             "cityblock": _Absolutes}


# ---- unit rows ----------------------------------------------------------------------------------


class Rows:
    """Rows as the metric sees them, and the way back: x itself, or x / |x| (zero rows stay 0)."""

    def __init__(self, x, unit):
        self.unit = unit
        self.x = x
        if unit:
            big = torch.linalg.vector_norm(x, math.inf, 1, keepdim=True)
            scaled = x / torch.where(big > 0, big, 1)
            length = torch.linalg.vector_norm(scaled, dim=1, keepdim=True)
            self.x = scaled / torch.where(big > 0, length, 1)
            # dividing by an infinite length gives the zero row its zero gradient
            self.length = torch.where(big > 0, length * big, math.inf)
            self.zero = big[:, 0] == 0

    def forward(self, v):
        """The change of the rows when x changes along v."""
        if not self.unit:
            return v
        return (v - self.x * (self.x * v).sum(1, keepdim=True)) / self.length

    back = forward  # the Jacobian of normalisation is symmetric

    def back_twice(self, v, g, h):
        """Derivative of back(g) along v, where g changes by h."""
        if not self.unit:
            return h
        u, du = self.x, self.forward(v)
        ug = (u * g).sum(1, keepdim=True)
        bent = du * ug + u * (du * g).sum(1, keepdim=True)
        stretched = self.back(g) * (u * v).sum(1, keepdim=True)
        return self.back(h) - (bent + stretched) / self.length

    def __getitem__(self, part):
        rows = object.__new__(Rows)
        rows.unit, rows.x = self.unit, self.x[part]
        if self.unit:
            rows.length, rows.zero = self.length[part], self.zero[part]
        return rows


# ---- one side of the loss -----------------------------------------------------------------------


class Side(NamedTuple):
    """One side of the family: weight * max(0, sign * (t - margin))^exponent."""

    metric: str
    exponent: float
    margin: float
    weight: float
    sign: int
    normalize: bool

    @property
    def quantity(self):
        return _QUANTITY[self.metric]

    @property
    def unit(self):
        return self.normalize or self.metric == "cosine"

    def _family(self, t):
        """phi, dphi/dt, d2phi/dt2."""
        p, h = self.exponent, self.sign * (t - self.margin)
        # Without a margin the power is smooth from the right, down to distance 0.
        inside = h >= 0 if self.sign > 0 and self.margin == 0 else h > 0
        active, base = h > 0, torch.where(h > 0, h, 0)
        first = torch.where(inside, self.sign * self.weight * p * base ** (p - 1), 0)
        second = torch.where(active, self.weight * p * (p - 1) * torch.where(active, h, 1)
                             ** (p - 2), 0)
        return self.weight * base ** p, first, second

    def terms(self, q, zero=None):
        """phi and its derivatives by q; zero marks pairs with a zero row under cosine."""
        if self.metric == "euclidean":
            return _through_root(self._family(torch.sqrt(q)), q)
        if self.metric != "cosine":
            return self._family(q)
        phi, first, second = self._family(torch.where(zero, 1, q / 2))
        return phi, torch.where(zero, 0, first / 2), torch.where(zero, 0, second / 4)


def _through_root(terms, q):
    """From derivatives by d = sqrt(q) to derivatives by q; 0 at distance 0."""
    phi, first, second = terms
    safe = torch.where(q > 0, q, 1)
    root = torch.sqrt(safe)
    by_q = first / (2 * root)
    return (phi, torch.where(q > 0, by_q, 0),
            torch.where(q > 0, second / (4 * safe) - by_q / (2 * safe), 0))


class Distance(Side):
    """The distance itself as a term: what pairwise_distances differentiates."""

    def _family(self, t):
        return t, torch.ones_like(t), torch.zeros_like(t)


def distance(metric, normalize=False):
    return Distance(metric, 1.0, 0.0, 1.0, 1, normalize)


def _positive(loss):
    metric, exponent = loss.pos_metric, loss.pos_exponent
    if metric == "euclidean" and loss.pos_margin == 0 and exponent >= 2:
        metric, exponent = "sqeuclidean", exponent / 2  # smooth at distance 0, without a root
    return Side(metric, exponent, loss.pos_margin, loss.scale * loss.pos_weight, 1, loss.normalize)


def sides(loss):
    """(positives, negatives) of a nearfar.ContrastiveLoss."""
    return (_positive(loss),
            Side(loss.neg_metric, loss.neg_exponent, loss.neg_margin,
                 loss.scale * loss.neg_weight, -1, loss.normalize))


# ---- sums of a side -----------------------------------------------------------------------------


class _Sums:
    """What one side adds up: terms, pairs, and per row g = dphi/drow and h = its derivative."""

    def __init__(self, x, second):
        self.total = x.new_zeros((), dtype=wide(x))
        self.weights = x.new_zeros((), dtype=wide(x))
        self.pairs = torch.zeros((), dtype=torch.int64, device=x.device)
        self.active = torch.zeros((), dtype=torch.int64, device=x.device)
        self.g = torch.zeros_like(x)
        self.h = torch.zeros_like(x) if second else None

    def count(self, phi, mask, weight):
        self.total += phi.sum(dtype=wide(phi))
        self.pairs += mask.sum()
        self.active += (phi > 0).sum()
        self.weights += mask.sum() if weight is None else torch.where(mask, weight, 0).sum()


def _factors(loss, sums):
    """What each side's sum is multiplied with: 1 / count, or 0 where there is none."""
    reduction = loss.reduction
    if reduction == "divisor":
        return [1 / loss.divisor] * 2
    together = reduction in ("mean", "weighted-mean")
    counts = [{"mean": side.pairs, "weighted-mean": side.weights, "mean-sides": side.pairs,
               "mean-nonzero": side.active}.get(reduction) for side in sums]
    if counts[0] is None:
        return [1.0, 1.0]
    if together:
        counts = [counts[0] + counts[1]] * 2
    return [torch.where(count > 0, 1 / torch.where(count > 0, count, 1).to(side.total.dtype), 0)
            for count, side in zip(counts, sums)]


def _combine(loss, sums, rows, v):
    """(value, gradient, Hessian times v or None) of both sides."""
    factors = _factors(loss, sums)
    value = sum(factor * side.total for factor, side in zip(factors, sums))
    gradient = sum(factor * r.back(side.g).to(side.total.dtype)
                   for factor, side, r in zip(factors, sums, rows)).to(sums[0].g.dtype)
    second = None
    if v is not None:
        second = sum(factor * r.back_twice(v, side.g, side.h).to(side.total.dtype)
                     for factor, side, r in zip(factors, sums, rows)).to(sums[0].g.dtype)
    return value, gradient, second


# ---- all pairs of two sets ----------------------------------------------------------------------


def _tile(side, x, y, mask, sums, v):
    """Add one tile of one side to the sums of the rows of x."""
    quantity = side.quantity
    zero = x.zero[:, None] | y.zero if side.metric == "cosine" else None
    phi, first, second = (torch.where(mask, term, 0)
                          for term in side.terms(quantity.tile(x.x, y.x), zero))
    sums.count(phi, mask, None)
    g = quantity.pull(x.x, y.x, first)
    h = None
    if v is not None:
        vx, vy = v
        h = quantity.pull(x.x, y.x, second * quantity.push(x.x, y.x, vx, vy))
        if quantity.bilinear:
            h += quantity.pull(vx, vy, first)
    return g, h


def _parts(n):
    return [slice(start, start + TILE) for start in range(0, n, TILE)]


def one_set_of_two(loss, x, y, labels, ids, v=None):
    """Loss of all pairs (row of x, row of y) with its gradient by x, and its derivative along v.

    labels, ids, v: one of x and one of y; pairs with equal ids are left out. ids None: none is.
    """
    both = sides(loss)
    xs, ys = ([Rows(rows, side.unit) for side in both] for rows in (x, y))
    sums = [_Sums(x, v is not None) for _ in both]
    for i in _parts(len(x)):
        for j in _parts(len(y)):
            same, valid = _masks(loss, labels, ids, i, j)
            for k, side in enumerate(both):
                mask = valid & (same if k == 0 else ~same)
                along = v and (xs[k][i].forward(v[0][i]), ys[k][j].forward(v[1][j]))
                g, h = _tile(side, xs[k][i], ys[k][j], mask, sums[k], along)
                sums[k].g[i] += g
                if h is not None:
                    sums[k].h[i] += h
    return sums, xs


def _masks(loss, labels, ids, i, j):
    a, b = labels[0][i, None], labels[1][j]
    valid = torch.ones_like(a == b)
    if loss.unlabelled is not None:
        valid = (a != -1) & (b != -1)
    if ids is not None:
        valid = valid & (ids[0][i, None] != ids[1][j])
    return a == b, valid


def batch(loss, x, labels, v=None):
    """(value, gradient, Hessian times v or None) over all pairs i < j of labelled rows."""
    ids = torch.arange(len(x), device=x.device)
    sums, rows = one_set_of_two(loss, x, x, (labels, labels), (ids, ids),
                                None if v is None else (v, v))
    for side in sums:  # each pair was met from both of its rows
        side.total /= 2
        side.weights /= 2
        side.pairs //= 2
        side.active //= 2
    return _combine(loss, sums, rows, v)


def reference(loss, x, labels, y, y_labels, ids=None, v=None):
    """(value, (gradient by x, by y), (Hessian times v by x, by y) or None), v a pair."""
    found = []
    for k in (0, 1):
        order = slice(None, None, 1 - 2 * k)
        first, second = (x, y)[order]
        sums, rows = one_set_of_two(loss, first, second, (labels, y_labels)[order],
                                    ids and ids[order], v and v[order])
        found.append(_combine(loss, sums, rows, v and v[k]))
    return found[0][0], (found[0][1], found[1][1]), v and (found[0][2], found[1][2])


# ---- a list of pairs ----------------------------------------------------------------------------


def _listed_part(side, rows, i, j, scale, v):
    """phi, gradient and Hessian parts of pairs (i, j) of one side, and dphi along v."""
    quantity, a, b = side.quantity, rows[i], rows[j]
    zero = a.zero | b.zero if side.metric == "cosine" else None
    phi, first, second = side.terms(quantity.rows(a.x, b.x), zero)
    g = quantity.pull_rows(a.x, b.x, scale * first)
    if v is None:
        return phi, g, None, None
    va, vb = v[i], v[j]
    along = quantity.push_rows(a.x, b.x, va, vb)
    h = quantity.pull_rows(a.x, b.x, scale * second * along)
    if quantity.bilinear:
        h = [p + q for p, q in zip(h, quantity.pull_rows(va, vb, scale * first))]
    return phi, g, h, first * along


def listed(loss, x, i, j, same, weight=None, upstream=None, v=None):
    """(value or terms, gradient, Hessian times v, weighted change of the terms along v).

    upstream (p) multiplies the terms of reduction none in gradient and Hessian.
    """
    both = sides(loss)
    rows = [Rows(x, side.unit) for side in both]
    along = v is not None and [r.forward(v) for r in rows]
    sums = [_Sums(x, v is not None) for _ in both]
    terms, changes = x.new_zeros(len(i)), x.new_zeros(len(i))
    for k, side in enumerate(both):
        for at in torch.nonzero(same == (k == 0))[:, 0].split(_PART):
            w = torch.ones_like(terms[at]) if weight is None else weight[at].to(x.dtype)
            scale = w if upstream is None else w * upstream[at]
            phi, g, h, change = _listed_part(side, rows[k], i[at], j[at], scale,
                                             along[k] if along else None)
            terms[at] = w * phi
            sums[k].count(w * phi, torch.ones_like(at, dtype=torch.bool), w)
            for index, end in ((i[at], 0), (j[at], 1)):
                sums[k].g.index_add_(0, index, g[end])
                if h is not None:
                    sums[k].h.index_add_(0, index, h[end])
            if h is not None:
                changes[at] = w * change
    value, gradient, second = _combine(loss, sums, rows, v)
    return terms if loss.reduction == "none" else value, gradient, second, changes


# ---- matrices of distances ----------------------------------------------------------------------


def distances(side, x, y):
    """Distances of rows of x and rows of y; y None is x, at distance 0 from itself."""
    a, b = Rows(x, side.unit), Rows(x if y is None else y, side.unit)
    zero = a.zero[:, None] | b.zero if side.metric == "cosine" else None
    t = torch.cat([side.terms(side.quantity.tile(a[i].x, b.x), zero if zero is None else zero[i])[0]
                   for i in _parts(len(x))] or [x.new_zeros(0, len(b.x))])
    if y is None and side.metric != "dot":
        t.fill_diagonal_(0)
    return t


def at_zero(side, q, g):
    """g, but 0 where it is infinite at distance 0, as a root above a distance makes it."""
    return g if side.metric == "dot" else torch.where(torch.isinf(g) & (q == 0), 0, g)


def distances_pull(side, x, y, g, v=None):
    """sum_j g_ij dt_ij/dx_i, its derivative along v, and dt along v, by tiles."""
    a, b = Rows(x, side.unit), Rows(y, side.unit)
    pulled = torch.zeros_like(x)
    bent, change = (None, None) if v is None else (torch.zeros_like(x), torch.zeros_like(g))
    for i in _parts(len(x)):
        for j in _parts(len(y)):
            rows, cols, quantity = a[i], b[j], side.quantity
            zero = rows.zero[:, None] | cols.zero if side.metric == "cosine" else None
            q = quantity.tile(rows.x, cols.x)
            _, first, second = side.terms(q, zero)
            above = at_zero(side, q, g[i, j])
            pulled[i] += quantity.pull(rows.x, cols.x, above * first)
            if v is None:
                continue
            va, vb = rows.forward(v[0][i]), cols.forward(v[1][j])
            along = quantity.push(rows.x, cols.x, va, vb)
            change[i, j] = first * along
            bent[i] += quantity.pull(rows.x, cols.x, above * second * along)
            if quantity.bilinear:
                bent[i] += quantity.pull(va, vb, above * first)
    if v is None:
        return a.back(pulled), None, None
    return a.back(pulled), a.back_twice(v[0], pulled, bent), change


def list_distances(side, x, y, i, j):
    """Distances of rows i of x and rows j of y (None: x)."""
    a, b = Rows(x, side.unit), Rows(x if y is None else y, side.unit)
    parts = [x.new_empty(0)]
    for at in torch.arange(len(i), device=i.device).split(_PART):
        rows, columns = a[i[at]], b[j[at]]
        zero = rows.zero | columns.zero if side.metric == "cosine" else None
        t = side.terms(side.quantity.rows(rows.x, columns.x), zero)[0]
        if y is None and side.metric != "dot":
            t = torch.where(i[at] == j[at], 0, t)
        parts.append(t)
    return torch.cat(parts)
