"""The engine as JAX functions, with the JAX formulas beside it.

Every function comes as f(xs, rest): xs are the matrices to differentiate by, rest is everything
else. On the CPU the engine computes it; on other platforms, and for second derivatives, a formula.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .. import _core

METRICS = ("euclidean", "sqeuclidean", "cosine", "dot", "cityblock")
REDUCTIONS = ("mean", "sum", "weighted-mean", "mean-sides", "mean-nonzero", "none")

for _name, _handler in _core.jax_targets().items():
    jax.ffi.register_ffi_target(_name, _handler, platform="cpu")


def call(target, results, operands, options):
    """One call of the engine. The options are numbers in the order of the target."""
    run = jax.ffi.ffi_call(target, results, vmap_method="sequential")
    return run(*operands, options=np.array(options, np.float64))


def like(x, shape=None):
    """A result of x's type and of x's shape or another."""
    return jax.ShapeDtypeStruct(x.shape if shape is None else shape, x.dtype)


def to_number(engine, formula):
    """f(xs, rest), a number.

    engine(xs, rest, gradient) gives the value and, if wanted, the gradients; formula(xs, rest) is
    the same value in JAX. The engine's gradient is a function with a derivative of its own, that of
    the formula's, so that second derivatives are right and not those of a constant."""

    def by_formula(xs, rest):
        return jax.value_and_grad(formula)(xs, rest)

    @jax.custom_vjp
    def value_and_grad(xs, rest):
        return lax.platform_dependent(xs, rest, cpu=lambda xs, rest: engine(xs, rest, True),
                                      default=by_formula)

    def forward_both(xs, rest):
        value, grads = value_and_grad(xs, rest)
        return (value, grads), (xs, rest, grads)

    def backward_both(saved, upstream):
        xs, rest, grads = saved
        of_value, of_grads = upstream
        curved = jax.grad(lambda xs: _inner(jax.grad(formula)(xs, rest), of_grads))(xs)
        return jax.tree.map(lambda g, h: of_value * g + h, grads, curved), None

    value_and_grad.defvjp(forward_both, backward_both)

    @jax.custom_vjp
    def value(xs, rest):
        return lax.platform_dependent(xs, rest, cpu=lambda xs, rest: engine(xs, rest, False),
                                      default=formula)

    value.defvjp(value_and_grad,
                 lambda grads, upstream: (jax.tree.map(lambda g: upstream * g, grads), None))
    return jax.jit(value)


def _inner(a, b):
    return sum(jnp.sum(p * q) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def to_vector(engine, formula, engine_gradient=None):
    """f(xs, rest), an array. engine_gradient(xs, rest, upstream); None: that of the formula."""

    def by_formula(xs, rest, upstream):
        return jax.vjp(lambda xs: formula(xs, rest), xs)[1](upstream)[0]

    @jax.custom_vjp
    def gradient(xs, rest, upstream):
        return lax.platform_dependent(xs, rest, upstream, cpu=engine_gradient, default=by_formula)

    def gradient_backward(saved, of_grads):
        xs, rest, upstream = saved
        _, pull = jax.vjp(lambda xs, upstream: by_formula(xs, rest, upstream), xs, upstream)
        by_xs, by_upstream = pull(of_grads)
        return by_xs, None, by_upstream

    gradient.defvjp(lambda *args: (gradient(*args), args), gradient_backward)
    if engine_gradient is None:
        gradient = by_formula

    @jax.custom_vjp
    def value(xs, rest):
        return lax.platform_dependent(xs, rest, cpu=engine, default=formula)

    value.defvjp(lambda xs, rest: (value(xs, rest), (xs, rest)),
                 lambda saved, upstream: (gradient(*saved, upstream), None))
    return jax.jit(value)

