"""A loss under targets: labels, label sets or soft targets, weights and groups, of one or of two sets."""

import torch

from . import _operators
from ._loss import FORM, loss_of
from ._operators import Function, apply, array, define, nothing, ops, pull_fake, two

# Of x and of y: label sets as 0 and 1 (n, labels), weights and groups of rows; then matrices of pairs.
_MORE = ("Tensor? sets_x, Tensor? sets_y, Tensor? weight_x, Tensor? weight_y, Tensor? group_x, "
         "Tensor? group_y, Tensor? soft, Tensor? pair_weight, Tensor? upstream")
TENSORS = 15  # of the operator, upstream the last


def refuse_device(loss, *tensors):
    """Targets are the engine's alone."""
    for x in tensors:
        if x is not None and not (_operators.on_engine(x) or x.is_meta):
            raise NotImplementedError(
                f"the rows are on {x.device}: under targets {type(loss).__name__} is computed on "
                f"the CPU only: pass all tensors as .cpu(), and the gradient comes back to {x.device}")


def refuse_second(loss):
    raise NotImplementedError(
        f"{type(loss).__name__} under targets has no second derivatives: differentiate it once, "
        "without create_graph or nested torch.func transforms")


def _engine(loss, gradient, tensors):
    x, y, a, b, c, w, sets_x, sets_y, weight_x, weight_y, group_x, group_y, soft, pairs, upstream = \
        map(array, tensors)
    more = {} if upstream is None else {"upstream": upstream}
    if y is None:
        return loss.targets(x, a, label_sets=sets_x, soft=soft, row_weight=weight_x,
                            pair_weight=pairs, groups=group_x, gradient=gradient, **more)
    return loss.reference_targets(
        x, a, y, b, c, w, query_label_sets=sets_x, reference_label_sets=sets_y, soft=soft,
        query_row_weight=weight_x, reference_row_weight=weight_y, pair_weight=pairs,
        query_groups=group_x, reference_groups=group_y, gradient=gradient, **more)


def _targets(*inputs):
    *tensors, spec, gradient = inputs
    x, loss = tensors[0], loss_of(spec)
    result = _engine(loss, gradient, tensors)
    value = (torch.from_numpy(result.terms).to(x.dtype) if loss.reduction == "none"
             else x.new_full((), result.value))
    if not gradient:
        return value, nothing(x), nothing(x)
    grad = result.grad if tensors[1] is not None else (result.grad,)
    return value, *two(x, [torch.from_numpy(g) for g in grad])


def _targets_fake(*inputs):
    *tensors, spec, gradient = inputs
    x = tensors[0]
    value = x.new_empty(x.shape[:1] if loss_of(spec).reduction == "none" else ())
    return value, *(pull_fake(*tensors[:2]) if gradient else (nothing(x), nothing(x)))


define(f"targets({FORM}, {_MORE}, str spec, bool gradient) -> (Tensor, Tensor, Tensor)", _targets,
       _targets_fake)


class _Targets(Function):
    """The value, or the terms, whose gradient comes with the value and is asked for with theirs."""

    @staticmethod
    def forward(x, y, a, b, c, w, sets_x, sets_y, weight_x, weight_y, group_x, group_y, soft,
                pair_weight, upstream, spec, gradient):
        return ops.targets(x, y, a, b, c, w, sets_x, sets_y, weight_x, weight_y, group_x, group_y,
                           soft, pair_weight, upstream, spec, gradient)

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, ctx.spec, ctx.has_gradient = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *output[1:])

    @staticmethod
    def backward(ctx, d_value, *of_gradients):
        # Dynamo hands zeros down for gradients that nobody asked for, and refuses second derivatives.
        if not torch.compiler.is_compiling() and any(g is not None for g in of_gradients):
            refuse_second(loss_of(ctx.spec))
        *tensors, gx, gy = ctx.saved_tensors
        if d_value is None:
            return (None,) * (TENSORS + 2)
        if ctx.has_gradient:
            gx, gy = gx * d_value, gy * d_value
        else:
            _, gx, gy = _Pull.apply(*tensors[:-1], d_value.double(), ctx.spec)
        return gx, None if tensors[1] is None else gy, *[None] * TENSORS


class _Pull(Function):
    """The gradient of the terms for a gradient from above; it has none of its own."""

    @staticmethod
    def forward(x, y, a, b, c, w, sets_x, sets_y, weight_x, weight_y, group_x, group_y, soft,
                pair_weight, upstream, spec):
        return ops.targets(x, y, a, b, c, w, sets_x, sets_y, weight_x, weight_y, group_x, group_y,
                           soft, pair_weight, upstream, spec, True)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.spec = inputs[-1]

    @staticmethod
    def backward(ctx, *unused):
        refuse_second(loss_of(ctx.spec))


def value(tensors, spec, none):
    """The value, or with reduction none the terms; upstream is not among the tensors."""
    return apply(_Targets, *tensors, None, spec, not none)[0]
