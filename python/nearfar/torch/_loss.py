"""A loss in one of its forms, and its derivatives.

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

from ..kinds import CLASSES
from ..losses import ContrastiveLoss
from . import _operators
from . import _tiles as tiles
from ._labels import refuse_signs
from ._operators import (
    Function, Last, apply, array, check_index, define, nothing, ops, pull_fake, two,
)

FORM = "Tensor x, Tensor? y, Tensor? a, Tensor? b, Tensor? c, Tensor? w"
_HOW = "str spec, str form, str encoding"


# ---- values of small batches ---------------------------------------------------------------------


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
            and not x.requires_grad and _operators.on_engine(x) and _nothing_under_way()
            and not x.is_neg() and not labels.is_neg()):
        value = loss(x.numpy(), labels.numpy(), gradient=False).value
        return torch.from_numpy(np.array(value, _NUMPY[x.dtype]))
    return None


@lru_cache(maxsize=256)
def loss_of(spec):
    options = json.loads(spec)
    named = CLASSES.get(options["preset"])
    if named is None:
        return ContrastiveLoss(**options)
    del options["preset"]
    return named(**options)


# ---- what only the contrastive family has --------------------------------------------------------


def refuse_device(loss, x, y=None, what=""):
    """The tiles know the contrastive family alone; meta tensors have shapes only."""
    if _operators.on_engine(x) or (x.is_meta and not what):
        return
    rows = "rows.cpu(), labels.cpu()" if y is None else "the rows and labels of both sets, .cpu()"
    what = what and f" {what} of"
    raise NotImplementedError(
        f"the rows are on {x.device}:{what} {type(loss).__name__} is computed on the CPU only: pass "
        f"{rows}, whose gradient comes back to {x.device}"
        + ("" if what else ", or use ContrastiveLoss, which works on any device"))


def refuse_second(loss):
    if loss.kind != "contrastive":
        raise NotImplementedError(
            f"{type(loss).__name__} has no second derivatives: differentiate it once, without "
            "create_graph or nested torch.func transforms; ContrastiveLoss has them")


# ---- checks of the tiled path, in the engine's words ---------------------------------------------


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


# ---- the operators -------------------------------------------------------------------------------


def engine(x, y, a, b, c, w, loss, form, encoding, upstream=None, gradient=True):
    """LossResult of the engine, gradients always as a tuple."""
    x, y, a, b, c, w, upstream = map(array, (x, y, a, b, c, w, upstream))
    # Of a row's terms there may be a gradient from above; other reductions take none.
    from_above = {} if upstream is None else {"upstream": upstream}
    if form == "batch":
        result = loss(x, a, gradient=gradient, **from_above)
    elif form == "reference":
        result = loss.reference(x, a, y, b, c, w, gradient=gradient, **from_above)
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
        check_index(a, len(x), "pairs: i")
        check_index(b, len(x), "pairs: j")
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


def _loss(x, y, a, b, c, w, spec, form, encoding, gradient):
    loss = loss_of(spec)
    gradient = gradient and loss.reduction != "none"
    if _operators.on_engine(x):
        result, gradients = engine(x, y, a, b, c, w, loss, form, encoding, gradient=gradient)
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
        return value, *two(x, gradients)
    return value, nothing(x), nothing(x)


def _loss_fake(x, y, a, b, c, w, spec, form, encoding, gradient):
    terms = loss_of(spec).reduction == "none"
    rows = x if c is None or form == "reference" else c
    value = x.new_empty(rows.shape[0] if terms else ())
    if not gradient or terms:
        return value, nothing(x), nothing(x)
    return value, *pull_fake(x, y)


def _loss_pull(x, y, a, b, c, w, upstream, spec, form, encoding):
    loss = loss_of(spec)
    if _operators.on_engine(x):
        _, gradients = engine(x, y, a, b, c, w, loss, form, encoding, upstream.double())
    else:
        _, gradients, _, _ = _tiled(x, y, a, b, c, w, loss, form, encoding, upstream)
    return tuple(two(x, gradients))


def _loss_twice(x, y, a, b, c, w, upstream, vx, vy, spec, form, encoding):
    """(Hessian times v by x, by y, change of the terms along v); sums in float64."""
    loss, kind = loss_of(spec), tiles.wide(x)
    refuse_second(loss)
    x2, y2, up = (t if t is None else t.to(kind) for t in (x, y, upstream))
    v = [vx.to(kind)] + ([] if y is None else [vy.to(kind)])
    _, _, second, change = _tiled(x2, y2, a, b, c, w, loss, form, encoding, up, v)
    change = nothing(x) if upstream is None else change.to(x.dtype)
    return *two(x, [h.to(x.dtype) for h in second]), change


def _loss_twice_fake(x, y, a, b, c, w, upstream, vx, vy, spec, form, encoding):
    refuse_second(loss_of(spec))
    change = nothing(x) if upstream is None else x.new_empty(upstream.shape)
    return *pull_fake(x, y), change


define(f"loss({FORM}, {_HOW}, bool gradient) -> (Tensor, Tensor, Tensor)", _loss, _loss_fake)
define(f"loss_pull({FORM}, Tensor upstream, {_HOW}) -> (Tensor, Tensor)", _loss_pull, pull_fake)
define(f"loss_twice({FORM}, Tensor? upstream, Tensor vx, Tensor? vy, {_HOW}) "
       "-> (Tensor, Tensor, Tensor)", _loss_twice, _loss_twice_fake)


# ---- their derivatives ---------------------------------------------------------------------------


def _direction(like, v):
    return v if v is not None or like is None else torch.zeros_like(like)


class _Loss(Function):
    """(value, gradients) whose gradients have a gradient."""

    @staticmethod
    def forward(x, y, a, b, c, w, spec, form, encoding, gradient):
        return ops.loss(x, y, a, b, c, w, spec, form, encoding, gradient)

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


class _Terms(Function):
    """The terms of reduction none."""

    @staticmethod
    def forward(x, y, a, b, c, w, spec, form, encoding):
        return ops.loss(x, y, a, b, c, w, spec, form, encoding, False)[0]

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, ctx.spec, ctx.form, ctx.encoding = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx, upstream):
        tensors = ctx.saved_tensors
        gx, gy = _LossPull.apply(*tensors, upstream, ctx.spec, ctx.form, ctx.encoding)
        return gx, None if tensors[1] is None else gy, *[None] * 7


class _LossPull(Function):
    @staticmethod
    def forward(x, y, a, b, c, w, upstream, spec, form, encoding):
        return ops.loss_pull(x, y, a, b, c, w, upstream, spec, form, encoding)

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


class _LossTwice(Last):
    @staticmethod
    def forward(x, y, a, b, c, w, upstream, vx, vy, spec, form, encoding):
        return ops.loss_twice(x, y, a, b, c, w, upstream, vx, vy, spec, form, encoding)


class _Gradient(Function):
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
    return (apply(_Loss, *inputs, True) if wanted else ops.loss(*inputs, False))[0]


def terms(*inputs):
    """The terms of reduction none."""
    return apply(_Terms, *inputs)
