"""The operators behind nearfar.torch: `nearfar::` in torch.ops.

    loss            value and gradients of one form of a loss
    loss_pull       gradients of the terms (reduction none: of pairs, or of rows as anchors) for a
                    gradient from above
    loss_twice      Hessian-vector products of either, contrastive family only
    margin          value of a margin loss, its gradients and that of beta
    distances       a matrix of distances; distances_pull and distances_twice its derivatives
    pair_distances  distances of a list of pairs
    pair_indices    pairs by label

An operator is opaque to a graph, so that its memory and its bits are the same compiled or not. `loss`
gives the gradient as outputs of its own; the gradient of these, if it is ever asked for, is a
Hessian-vector product. A loss travels as text (the options in JSON): a compiled graph may be loaded
by another process.

Forms and what their tensors mean:

    batch      x, a = labels
    reference  x, y, a = labels of x, b = labels of y, c = ids of x, w = ids of y
    pairs      x, a = i, b = j, c = same, w = weight
    rows       x, y, c = same, w = weight
"""

import json
from functools import lru_cache

import numpy as np
import torch

from .. import _core
from . import _tiles as tiles
from ..anchor_losses import CLASSES
from ..losses import ContrastiveLoss

_LIBRARY = torch.library.Library("nearfar", "DEF")
_FORM = "Tensor x, Tensor? y, Tensor? a, Tensor? b, Tensor? c, Tensor? w"
_HOW = "str spec, str form, str encoding"
_ops = torch.ops.nearfar


def _define(schema, implementation, fake):
    name = schema.split("(")[0]
    _LIBRARY.define(schema)
    _LIBRARY.impl(name, implementation, "CompositeExplicitAutograd")
    torch.library.register_fake(f"nearfar::{name}", fake, lib=_LIBRARY)
    torch.library.register_vmap(f"nearfar::{name}", _one_by_one(getattr(_ops, name)), lib=_LIBRARY)


def _one_by_one(operator):
    """The rule of vmap: a call for each member of the batch."""
    def rule(info, dims, *inputs):
        found = [operator(*(value if dim is None else value.select(dim, k)
                            for value, dim in zip(inputs, dims))) for k in range(info.batch_size)]
        if isinstance(found[0], torch.Tensor):
            return torch.stack(found), 0
        return tuple(torch.stack(column) for column in zip(*found)), (0,) * len(found[0])
    return rule


class _Function(torch.autograd.Function):
    """Autograd is attached around the operators: torch.func refuses what register_autograd makes.

    Dynamo counts the parameters of forward, so every forward names them. Saved tensors are taken
    once: a checkpoint refuses a second time.
    """

    generate_vmap_rule = True


def _apply(function, *inputs):
    """function.apply; Dynamo refuses one tensor in two places."""
    if not torch.compiler.is_compiling():
        return function.apply(*inputs)
    apart = []
    for value in inputs:
        twice = isinstance(value, torch.Tensor) and any(value is other for other in apart)
        apart.append(value.clone() if twice else value)
    return function.apply(*apart)


class _Last(_Function):
    """The end of the chain: its own derivative is an error, not 0."""

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, *unused):
        raise NotImplementedError("nearfar has no third derivatives")


def _on_engine(x):
    return x.is_cpu


_PLAIN = (torch.Tensor, torch.nn.Parameter)


def _plain(x, y):
    """No graph is being recorded, no transform is under way, and the rows are what they seem."""
    return (type(x) in _PLAIN and (y is None or type(y) in _PLAIN) and not x.is_meta
            and _nothing_under_way())


def _nothing_under_way(compiling=torch.compiler.is_compiling,
                       modes=torch._C._len_torch_dispatch_stack,
                       transform=torch._C._functorch.peek_interpreter_stack,
                       tracing=torch._C._get_tracing_state):
    return not compiling() and not modes() and transform() is None and tracing() is None


_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}


def value_alone(loss, x, labels):
    """The value over a batch of plain tensors without a gradient, or None for the long way round: in a
    small batch its checks cost more than the loss."""
    if (type(x) is torch.Tensor and type(labels) is torch.Tensor and labels.dtype is torch.int64
            and x.dtype in _NUMPY and x.ndim == 2 and labels.ndim == 1 and labels.is_cpu
            and not x.requires_grad and _on_engine(x) and _nothing_under_way()
            and not x.is_neg() and not labels.is_neg()):
        value = loss(x.numpy(), labels.numpy(), gradient=False).value
        return torch.from_numpy(np.array(value, _NUMPY[x.dtype]))
    return None


@lru_cache(maxsize=256)
def _loss_of(spec):
    options = json.loads(spec)
    anchored = CLASSES.get(options["preset"])
    if anchored is None:
        return ContrastiveLoss(**options)
    del options["preset"]
    return anchored(**options)


def _array(tensor):
    """The tensor's memory. Each step costs as much as a small loss, so none is taken in vain."""
    if tensor is None:
        return None
    if tensor.requires_grad:
        tensor = tensor.detach()
    return (tensor.resolve_neg() if tensor.is_neg() else tensor).numpy()


def _nothing(x):
    return x.new_empty(0)


# ---- what only the contrastive family has -------------------------------------------------------


def refuse_device(loss, x, y=None, what=""):
    """The tiles know the contrastive family alone; meta tensors have shapes only."""
    if _on_engine(x) or (x.is_meta and not what):
        return
    rows = "rows.cpu(), labels.cpu()" if y is None else "the rows and labels of both sets, .cpu()"
    what = what and f" {what} of"
    raise NotImplementedError(
        f"the rows are on {x.device}:{what} {type(loss).__name__} is computed on the CPU only: pass "
        f"{rows}, whose gradient comes back to {x.device}"
        + ("" if what else ", or use ContrastiveLoss, which works on any device"))


def _refuse_second(loss):
    if loss.kind != "contrastive":
        raise NotImplementedError(
            f"{type(loss).__name__} has no second derivatives: differentiate it once, without "
            "create_graph or nested torch.func transforms; ContrastiveLoss has them")


# ---- checks of the tiled path, in the engine's words -------------------------------------------


def refuse_signs(labels, unlabelled):
    """Labels that are exactly {-1, +1} while -1 means unlabelled."""
    if unlabelled is None or len(labels) == 0:
        return
    if bool((labels.abs() == 1).all() & (labels == 1).any() & (labels == -1).any()):
        raise ValueError("labels are exactly {-1, +1}, and -1 means unlabelled: half of the rows "
                         "would be left out; for a binary problem pass unlabelled=None")


def _check_finite(*tensors):
    for tensor in tensors:
        if tensor is not None and not bool(torch.isfinite(tensor).all()):
            return False
    return True


def flags(same, encoding):
    """Pair flags as bool."""
    low = -1 if encoding == "pm1" else 0
    if not bool(((same == 1) | (same == low)).all()):
        raise ValueError(f"same must be 1 (same label) or {low} (different)")
    return same == 1


def _check_index(index, rows, name):
    if bool(((index < 0) | (index >= rows)).any()):
        raise ValueError(f"{name} has a row number outside 0 .. {rows - 1}")


# ---- loss ---------------------------------------------------------------------------------------


def _engine(x, y, a, b, c, w, loss, form, encoding, upstream=None, gradient=True):
    """LossResult of the engine, gradients always as a tuple."""
    x, y, a, b, c, w, upstream = map(_array, (x, y, a, b, c, w, upstream))
    if form == "batch":
        # Of a row's terms there may be a gradient from above; other reductions take none.
        result = loss(x, a, gradient=gradient, **({} if upstream is None else {"upstream": upstream}))
    elif form == "reference":
        result = loss.reference(x, a, y, b, c, w, gradient=gradient)
    elif form == "pairs":
        result = loss.pairs(x, (a, b, c, w), gradient=gradient, upstream=upstream,
                            same_encoding=encoding)
    else:
        result = loss.rows(x, y, c, w, gradient=gradient, upstream=upstream,
                           same_encoding=encoding)
    grad = result.grad if isinstance(result.grad, tuple) else (result.grad,)
    return result, [torch.from_numpy(g) for g in grad if g is not None]


def _tiled(x, y, a, b, c, w, loss, form, encoding, upstream=None, v=None):
    """(value or terms, gradients, Hessian-vector products or None, change of the terms)."""
    if form == "batch":
        refuse_signs(a, loss.unlabelled)
        value, g, h = tiles.batch(loss, x, a, v and v[0])
        return value, [g], v and [h], None
    if form == "reference":
        refuse_signs(a, loss.unlabelled)
        refuse_signs(b, loss.unlabelled)
        return *tiles.reference(loss, x, a, y, b, None if c is None else (c, w), v), None
    same = flags(c, encoding)
    if form == "pairs":
        _check_index(a, len(x), "pairs: i")
        _check_index(b, len(x), "pairs: j")
        if bool((a == b).any()):
            raise ValueError("pairs has a pair (i, i): a row is no pair with itself")
        value, g, h, change = tiles.listed(loss, x, a, b, same, w, upstream, v and v[0])
        return value, [g], v and [h], change
    both, i = torch.cat([x, y]), torch.arange(len(x), device=x.device)
    value, g, h, change = tiles.listed(loss, both, i, i + len(x), same, w, upstream,
                                       v and torch.cat(v))
    return value, g.split(len(x)), v and h.split(len(x)), change


def _checked(x, y, value, gradients):
    if not _check_finite(x, y):
        raise ValueError("embeddings have NaN or Inf")
    if not _check_finite(value, *gradients):
        raise ValueError("the loss or its gradient is beyond the range of its type: scale the rows")


def _two(x, gradients):
    """Outputs of their own memory, and an empty one where the form has no second set."""
    return [g.contiguous() if len(gradients) == 1 else g.clone() for g in gradients] + \
        [_nothing(x)] * (2 - len(gradients))


def _loss(x, y, a, b, c, w, spec, form, encoding, gradient):
    loss = _loss_of(spec)
    gradient = gradient and loss.reduction != "none"
    if _on_engine(x):
        result, gradients = _engine(x, y, a, b, c, w, loss, form, encoding, gradient=gradient)
        if loss.reduction == "none":
            value = torch.from_numpy(result.terms).to(x.dtype)
        else:
            value = x.new_full((), result.value)
    else:
        value, gradients, _, _ = _tiled(x, y, a, b, c, w, loss, form, encoding)
        value = value.to(x.dtype)
        _checked(x, y, value, gradients)
        gradients = gradients if gradient else []
    if gradients:
        return value, *_two(x, gradients)
    return value, _nothing(x), _nothing(x)


def _loss_fake(x, y, a, b, c, w, spec, form, encoding, gradient):
    terms = _loss_of(spec).reduction == "none"
    value = x.new_empty((x if c is None else c).shape[0] if terms else ())
    if not gradient or terms:
        return value, _nothing(x), _nothing(x)
    return value, *_pull_fake(x, y)


def _pull_fake(x, y, *unused):
    return x.new_empty(x.shape), _nothing(x) if y is None else y.new_empty(y.shape)


def _loss_pull(x, y, a, b, c, w, upstream, spec, form, encoding):
    loss = _loss_of(spec)
    if _on_engine(x):
        _, gradients = _engine(x, y, a, b, c, w, loss, form, encoding, upstream.double())
    else:
        _, gradients, _, _ = _tiled(x, y, a, b, c, w, loss, form, encoding, upstream)
    return tuple(_two(x, gradients))


def _loss_twice(x, y, a, b, c, w, upstream, vx, vy, spec, form, encoding):
    """(Hessian times v by x, by y, change of the terms along v); sums in float64."""
    loss, kind = _loss_of(spec), tiles.wide(x)
    _refuse_second(loss)
    x2, y2, up = (t if t is None else t.to(kind) for t in (x, y, upstream))
    v = [vx.to(kind)] + ([] if y is None else [vy.to(kind)])
    _, _, second, change = _tiled(x2, y2, a, b, c, w, loss, form, encoding, up, v)
    change = _nothing(x) if upstream is None else change.to(x.dtype)
    return *_two(x, [h.to(x.dtype) for h in second]), change


def _loss_twice_fake(x, y, a, b, c, w, upstream, vx, vy, spec, form, encoding):
    _refuse_second(_loss_of(spec))
    change = _nothing(x) if upstream is None else x.new_empty(upstream.shape)
    return *_pull_fake(x, y), change


_define(f"loss({_FORM}, {_HOW}, bool gradient) -> (Tensor, Tensor, Tensor)", _loss, _loss_fake)
_define(f"loss_pull({_FORM}, Tensor upstream, {_HOW}) -> (Tensor, Tensor)", _loss_pull, _pull_fake)
_define(f"loss_twice({_FORM}, Tensor? upstream, Tensor vx, Tensor? vy, {_HOW}) "
        "-> (Tensor, Tensor, Tensor)", _loss_twice, _loss_twice_fake)


# ---- derivatives of loss ------------------------------------------------------------------------


def _direction(like, v):
    return v if v is not None or like is None else torch.zeros_like(like)


class _Loss(_Function):
    """(value, gradients) whose gradients have a gradient."""

    @staticmethod
    def forward(x, y, a, b, c, w, spec, form, encoding, gradient):
        return _ops.loss(x, y, a, b, c, w, spec, form, encoding, gradient)

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, ctx.spec, ctx.form, ctx.encoding, _ = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *output[1:])

    @staticmethod
    def backward(ctx, d_value, d_gx, d_gy):
        *tensors, gx, gy = ctx.saved_tensors
        x, y = tensors[:2]
        total_x = total_y = None
        if d_value is not None:
            total_x, total_y = gx * d_value, None if y is None else gy * d_value
        # Dynamo hands zeros down for gradients that nobody asked for, and refuses second derivatives.
        if not torch.compiler.is_compiling() and not (d_gx is None and d_gy is None):
            hx, hy, _ = _LossTwice.apply(*tensors, None, _direction(x, d_gx),
                                         None if y is None else _direction(y, d_gy), ctx.spec,
                                         ctx.form, ctx.encoding)
            total_x = hx if total_x is None else total_x + hx
            if y is not None:
                total_y = hy if total_y is None else total_y + hy
        return total_x, total_y, *[None] * 8


class _Terms(_Function):
    """The terms of reduction none."""

    @staticmethod
    def forward(x, y, a, b, c, w, spec, form, encoding):
        return _ops.loss(x, y, a, b, c, w, spec, form, encoding, False)[0]

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, ctx.spec, ctx.form, ctx.encoding = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx, upstream):
        tensors = ctx.saved_tensors
        gx, gy = _LossPull.apply(*tensors, upstream, ctx.spec, ctx.form, ctx.encoding)
        return gx, None if tensors[1] is None else gy, *[None] * 7


class _LossPull(_Function):
    @staticmethod
    def forward(x, y, a, b, c, w, upstream, spec, form, encoding):
        return _ops.loss_pull(x, y, a, b, c, w, upstream, spec, form, encoding)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _Terms.setup_context(ctx, inputs, output)

    @staticmethod
    def backward(ctx, vx, vy):
        tensors = ctx.saved_tensors
        y = tensors[1]
        hx, hy, change = _LossTwice.apply(*tensors, vx, None if y is None else vy,
                                          ctx.spec, ctx.form, ctx.encoding)
        return hx, None if y is None else hy, *[None] * 4, change, None, None, None


class _LossTwice(_Last):
    @staticmethod
    def forward(x, y, a, b, c, w, upstream, vx, vy, spec, form, encoding):
        return _ops.loss_twice(x, y, a, b, c, w, upstream, vx, vy, spec, form, encoding)


class _Gradient(_Function):
    """The gradients that are there already, with a gradient of their own."""

    @staticmethod
    def forward(x, y, a, b, c, w, gx, gy, spec, form, encoding):
        return gx.clone(), gy.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, _, _, ctx.spec, ctx.form, ctx.encoding = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx, vx, vy):
        tensors = ctx.saved_tensors
        y = tensors[1]
        hx, hy, _ = _LossTwice.apply(*tensors, None, vx, None if y is None else vy, ctx.spec,
                                     ctx.form, ctx.encoding)
        return hx, None if y is None else hy, *[None] * 9


class _Direct(torch.autograd.Function):
    """_Loss with no operator between: in a small batch the dispatcher costs more than the loss."""

    @staticmethod
    def forward(ctx, x, y, a, b, c, w, spec, form, encoding):
        value, gx, gy = _loss(x, y, a, b, c, w, spec, form, encoding, True)
        ctx.how = (spec, form, encoding)
        ctx.save_for_backward(x, y, a, b, c, w, gx, gy)
        return value

    @staticmethod
    def backward(ctx, d_value):
        *tensors, gx, gy = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph
            gx, gy = _Gradient.apply(*tensors, gx, gy, *ctx.how)
        return gx * d_value, None if tensors[1] is None else gy * d_value, *[None] * 7


def loss(x, y, a, b, c, w, spec, form, encoding):
    """The value of any reduction but none."""
    wanted = torch.is_grad_enabled() and (x.requires_grad or (y is not None and y.requires_grad))
    inputs = (x, y, a, b, c, w, spec, form, encoding)
    if _plain(x, y):
        return _Direct.apply(*inputs) if wanted else _loss(*inputs, False)[0]
    return (_apply(_Loss, *inputs, True) if wanted else _ops.loss(*inputs, False))[0]


def terms(*inputs):
    """The terms of reduction none."""
    return _apply(_Terms, *inputs)


# ---- the margin loss with its boundary as a tensor ----------------------------------------------


def with_beta(loss, x, y, a, b, c, w, beta, nu, by_label, gradient=True):
    """(LossResult, gradient of beta) of the engine."""
    return loss._with_beta(_array(x), _array(a), _array(y), _array(b), _array(c), _array(w),
                           beta=_array(beta.double().reshape(-1)), nu=nu, by_label=by_label,
                           gradient=gradient)


def _margin(x, y, a, b, c, w, beta, spec, nu, by_label):
    result, slope = with_beta(_loss_of(spec), x, y, a, b, c, w, beta, nu, by_label)
    grad = result.grad if y is not None else (result.grad,)
    return (x.new_full((), result.value), *_two(x, [torch.from_numpy(g) for g in grad]),
            torch.from_numpy(slope).reshape(beta.shape).to(beta.dtype))


def _margin_fake(x, y, a, b, c, w, beta, spec, nu, by_label):
    return x.new_empty(()), *_pull_fake(x, y), beta.new_empty(beta.shape)


_define(f"margin({_FORM}, Tensor beta, str spec, float nu, bool by_label) "
        "-> (Tensor, Tensor, Tensor, Tensor)", _margin, _margin_fake)


class _Margin(_Function):
    @staticmethod
    def forward(x, y, a, b, c, w, beta, spec, nu, by_label):
        return _ops.margin(x, y, a, b, c, w, beta, spec, nu, by_label)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.spec, ctx.two_sets = inputs[7], inputs[1] is not None
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*output[1:])

    @staticmethod
    def backward(ctx, d_value, *of_gradients):
        # Dynamo hands zeros down for gradients that nobody asked for, and refuses second derivatives.
        if not torch.compiler.is_compiling() and any(g is not None for g in of_gradients):
            _refuse_second(_loss_of(ctx.spec))
        gx, gy, slope = ctx.saved_tensors
        if d_value is None:
            return (None,) * 10
        gy = gy * d_value if ctx.two_sets else None
        return gx * d_value, gy, *[None] * 4, slope * d_value.to(slope.dtype), None, None, None


def margin(*inputs):
    """The value of a margin loss; beta takes a gradient too."""
    return _apply(_Margin, *inputs)[0]


# ---- matrices of distances ----------------------------------------------------------------------


def _distances(x, y, metric, normalize):
    if _on_engine(x):
        return torch.from_numpy(_core.pairwise_distances(_array(x), _array(y), metric,
                                                         normalize=normalize))
    return tiles.distances(tiles.distance(metric, normalize), x, y)


def _distances_fake(x, y, metric, normalize):
    return x.new_empty(x.shape[0], (x if y is None else y).shape[0])


def _distances_pull(x, y, g, metric, normalize):
    side, other = tiles.distance(metric, normalize), x if y is None else y
    gx = tiles.distances_pull(side, x, other, g)[0]
    gy = tiles.distances_pull(side, other, x, g.T)[0]
    return (gx + gy, _nothing(x)) if y is None else (gx, gy)


def _distances_twice(x, y, g, vx, vy, metric, normalize):
    """Derivatives of vx.gx + vy.gy by x, y and g."""
    side = tiles.distance(metric, normalize)
    other, other_v = (x, vx) if y is None else (y, vy)
    _, hx, change = tiles.distances_pull(side, x, other, g, (vx, other_v))
    _, hy, _ = tiles.distances_pull(side, other, x, g.T, (other_v, vx))
    return (hx + hy, _nothing(x), change) if y is None else (hx, hy, change)


def _distances_twice_fake(x, y, g, vx, vy, metric, normalize):
    return *_pull_fake(x, y), g.new_empty(g.shape)


_define("distances(Tensor x, Tensor? y, str metric, bool normalize) -> Tensor", _distances,
        _distances_fake)
_define("distances_pull(Tensor x, Tensor? y, Tensor g, str metric, bool normalize) "
        "-> (Tensor, Tensor)", _distances_pull, _pull_fake)
_define("distances_twice(Tensor x, Tensor? y, Tensor g, Tensor vx, Tensor? vy, str metric, "
        "bool normalize) -> (Tensor, Tensor, Tensor)", _distances_twice, _distances_twice_fake)


class _Distances(_Function):
    @staticmethod
    def forward(x, y, metric, normalize):
        return _ops.distances(x, y, metric, normalize)

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, ctx.metric, ctx.normalize = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        gx, gy = _DistancesPull.apply(x, y, g, ctx.metric, ctx.normalize)
        return gx, None if y is None else gy, None, None


class _DistancesPull(_Function):
    @staticmethod
    def forward(x, y, g, metric, normalize):
        return _ops.distances_pull(x, y, g, metric, normalize)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _Distances.setup_context(ctx, inputs, output)

    @staticmethod
    def backward(ctx, vx, vy):
        x, y, g = ctx.saved_tensors
        hx, hy, change = _DistancesTwice.apply(x, y, g, vx, None if y is None else vy, ctx.metric,
                                               ctx.normalize)
        return hx, None if y is None else hy, change, None, None


class _DistancesTwice(_Last):
    @staticmethod
    def forward(x, y, g, vx, vy, metric, normalize):
        return _ops.distances_twice(x, y, g, vx, vy, metric, normalize)


def distances(*inputs):
    """d(x_i, y_j), or d(x_i, x_j) for y None."""
    return _apply(_Distances, *inputs)


# ---- distances of a list of pairs ---------------------------------------------------------------


def _pair_distances(x, y, i, j, metric, normalize):
    if _on_engine(x):
        return torch.from_numpy(_core.pair_distances(_array(x), _array(i), _array(j), _array(y),
                                                     metric, normalize=normalize))
    _check_index(i, len(x), "i")
    _check_index(j, len(x if y is None else y), "j")
    return tiles.list_distances(tiles.distance(metric, normalize), x, y, i, j)


def _pair_distances_fake(x, y, i, j, metric, normalize):
    return x.new_empty(i.shape[0])


_define("pair_distances(Tensor x, Tensor? y, Tensor i, Tensor j, str metric, bool normalize) "
        "-> Tensor", _pair_distances, _pair_distances_fake)


class _PairDistances(_Function):
    @staticmethod
    def forward(x, y, i, j, metric, normalize):
        return _ops.pair_distances(x, y, i, j, metric, normalize)

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
    return _apply(_PairDistances, *inputs)


# ---- pairs by label -----------------------------------------------------------------------------


def _pair_indices(labels, unlabelled):
    refuse_signs(labels, -1 if unlabelled else None)
    i, j = torch.triu_indices(len(labels), len(labels), 1, device=labels.device)
    same = labels[i] == labels[j]
    valid = (labels[i] != -1) & (labels[j] != -1) if unlabelled else torch.ones_like(same)
    return tuple(index[mask] for mask in (valid & same, valid & ~same) for index in (i, j))


def _pair_indices_fake(labels, unlabelled):
    context = torch.library.get_ctx()
    positive, negative = context.new_dynamic_size(), context.new_dynamic_size()
    return tuple(labels.new_empty(n) for n in (positive, positive, negative, negative))


_LIBRARY.define("pair_indices(Tensor labels, bool unlabelled) -> (Tensor, Tensor, Tensor, Tensor)",
                tags=torch.Tag.dynamic_output_shape)
_LIBRARY.impl("pair_indices", _pair_indices, "CompositeExplicitAutograd")
torch.library.register_fake("nearfar::pair_indices", _pair_indices_fake, lib=_LIBRARY)
pair_indices = _ops.pair_indices.default
