"""The margin loss with its boundary as a tensor."""

import torch

from ._loss import FORM, loss_of, refuse_second
from ._operators import Function, apply, array, define, ops, pull_fake, two


def with_beta(loss, x, y, a, b, c, w, beta, nu, by_label, gradient=True):
    """(LossResult, gradient of beta) of the engine."""
    return loss._with_beta(array(x), array(a), array(y), array(b), array(c), array(w),
                           beta=array(beta.double().reshape(-1)), nu=nu, by_label=by_label,
                           gradient=gradient)


def _margin(x, y, a, b, c, w, beta, spec, nu, by_label):
    result, slope = with_beta(loss_of(spec), x, y, a, b, c, w, beta, nu, by_label)
    grad = result.grad if y is not None else (result.grad,)
    return (x.new_full((), result.value), *two(x, [torch.from_numpy(g) for g in grad]),
            torch.from_numpy(slope).reshape(beta.shape).to(beta.dtype))


def _margin_fake(x, y, a, b, c, w, beta, spec, nu, by_label):
    return x.new_empty(()), *pull_fake(x, y), beta.new_empty(beta.shape)


define(f"margin({FORM}, Tensor beta, str spec, float nu, bool by_label) "
       "-> (Tensor, Tensor, Tensor, Tensor)", _margin, _margin_fake)


class _Margin(Function):
    @staticmethod
    def forward(x, y, a, b, c, w, beta, spec, nu, by_label):
        return ops.margin(x, y, a, b, c, w, beta, spec, nu, by_label)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.spec, ctx.two_sets = inputs[7], inputs[1] is not None
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*output[1:])

    @staticmethod
    def backward(ctx, d_value, *of_gradients):
        # Dynamo hands zeros down for gradients that nobody asked for, and refuses second derivatives.
        if not torch.compiler.is_compiling() and any(g is not None for g in of_gradients):
            refuse_second(loss_of(ctx.spec))
        gx, gy, slope = ctx.saved_tensors
        if d_value is None:
            return (None,) * 10
        gy = gy * d_value if ctx.two_sets else None
        return gx * d_value, gy, *[None] * 4, slope * d_value.to(slope.dtype), None, None, None


def margin(*inputs):
    """The value of a margin loss; beta takes a gradient too."""
    return apply(_Margin, *inputs)[0]
