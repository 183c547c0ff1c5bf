"""Matrices of distances, and distances of listed pairs."""

import torch

from .. import _core
from . import _operators
from . import _tiles as tiles
from ._operators import Function, Last, apply, array, check_index, define, nothing, ops, pull_fake


def _distances(x, y, metric, normalize):
    if _operators.on_engine(x):
        return torch.from_numpy(_core.pairwise_distances(array(x), array(y), metric,
                                                         normalize=normalize))
    return tiles.distances(tiles.distance(metric, normalize), x, y)


def _distances_fake(x, y, metric, normalize):
    return x.new_empty(x.shape[0], (x if y is None else y).shape[0])


def _distances_pull(x, y, g, metric, normalize):
    side, other = tiles.distance(metric, normalize), x if y is None else y
    gx = tiles.distances_pull(side, x, other, g)[0]
    gy = tiles.distances_pull(side, other, x, g.T)[0]
    return (gx + gy, nothing(x)) if y is None else (gx, gy)


def _distances_twice(x, y, g, vx, vy, metric, normalize):
    """Derivatives of vx.gx + vy.gy by x, y and g."""
    side = tiles.distance(metric, normalize)
    other, other_v = (x, vx) if y is None else (y, vy)
    _, hx, change = tiles.distances_pull(side, x, other, g, (vx, other_v))
    _, hy, _ = tiles.distances_pull(side, other, x, g.T, (other_v, vx))
    return (hx + hy, nothing(x), change) if y is None else (hx, hy, change)


def _distances_twice_fake(x, y, g, vx, vy, metric, normalize):
    return *pull_fake(x, y), g.new_empty(g.shape)


define("distances(Tensor x, Tensor? y, str metric, bool normalize) -> Tensor", _distances,
       _distances_fake)
define("distances_pull(Tensor x, Tensor? y, Tensor g, str metric, bool normalize) "
       "-> (Tensor, Tensor)", _distances_pull, pull_fake)
define("distances_twice(Tensor x, Tensor? y, Tensor g, Tensor vx, Tensor? vy, str metric, "
       "bool normalize) -> (Tensor, Tensor, Tensor)", _distances_twice, _distances_twice_fake)


class _Distances(Function):
    @staticmethod
    def forward(x, y, metric, normalize):
        return ops.distances(x, y, metric, normalize)

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, ctx.metric, ctx.normalize = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        gx, gy = _DistancesPull.apply(x, y, g, ctx.metric, ctx.normalize)
        return gx, None if y is None else gy, None, None


class _DistancesPull(Function):
    @staticmethod
    def forward(x, y, g, metric, normalize):
        return ops.distances_pull(x, y, g, metric, normalize)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _Distances.setup_context(ctx, inputs, output)

    @staticmethod
    def backward(ctx, vx, vy):
        x, y, g = ctx.saved_tensors
        hx, hy, change = _DistancesTwice.apply(x, y, g, vx, None if y is None else vy, ctx.metric,
                                               ctx.normalize)
        return hx, None if y is None else hy, change, None, None


class _DistancesTwice(Last):
    @staticmethod
    def forward(x, y, g, vx, vy, metric, normalize):
        return ops.distances_twice(x, y, g, vx, vy, metric, normalize)


def distances(*inputs):
    """d(x_i, y_j), or d(x_i, x_j) for y None."""
    return apply(_Distances, *inputs)


# ---- listed pairs --------------------------------------------------------------------------------


def _pair_distances(x, y, i, j, metric, normalize):
    if _operators.on_engine(x):
        return torch.from_numpy(_core.pair_distances(array(x), array(i), array(j), array(y),
                                                     metric, normalize=normalize))
    check_index(i, len(x), "i")
    check_index(j, len(x if y is None else y), "j")
    return tiles.list_distances(tiles.distance(metric, normalize), x, y, i, j)


def _pair_distances_fake(x, y, i, j, metric, normalize):
    return x.new_empty(i.shape[0])


define("pair_distances(Tensor x, Tensor? y, Tensor i, Tensor j, str metric, bool normalize) "
       "-> Tensor", _pair_distances, _pair_distances_fake)


class _PairDistances(Function):
    @staticmethod
    def forward(x, y, i, j, metric, normalize):
        return ops.pair_distances(x, y, i, j, metric, normalize)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _Distances.setup_context(ctx, inputs, output)

    @staticmethod
    def backward(ctx, g):
        """Plain differentiable operations, so that every further derivative exists."""
        x, y, i, j = ctx.saved_tensors
        side, other = tiles.distance(ctx.metric, ctx.normalize), x if y is None else y
        rows, columns = tiles.Rows(x, side.unit), tiles.Rows(other, side.unit)
        a, b = rows[i], columns[j]
        zero = a.zero | b.zero if side.metric == "cosine" else None
        q = side.quantity.rows(a.x, b.x)
        slope = tiles.at_zero(side, q, g) * side.terms(q, zero)[1]
        left, right = side.quantity.pull_rows(a.x, b.x, slope)
        gx = rows.back(torch.zeros_like(x).index_add(0, i, left))
        gy = columns.back(torch.zeros_like(other).index_add(0, j, right))
        return (gx + gy, *[None] * 5) if y is None else (gx, gy, *[None] * 4)


def pair_distances(*inputs):
    """d(x[i[p]], y[j[p]]), or d(x[i[p]], x[j[p]]) for y None."""
    return apply(_PairDistances, *inputs)
