"""The engine as JAX functions, with the JAX formulas beside it.

Every function comes as f(xs, rest): xs are the matrices to differentiate by, rest is everything
else. On the CPU the engine computes it; on other platforms, and for second derivatives, a formula.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

from .. import _core

METRICS = ("euclidean", "sqeuclidean", "cosine", "dot", "cityblock")

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


# ---- what only the engine computes --------------------------------------------------------------

# Stands where the engine is not: it can be traced and batched, but not lowered.
_elsewhere = Primitive("nearfar_on_the_cpu_only")
_elsewhere.multiple_results = True


@_elsewhere.def_abstract_eval
def _abstract(*_, results, name):
    return [jax.core.ShapedArray(shape, dtype) for shape, dtype in results]


def _batch(operands, dims, *, results, name):
    size = next(x.shape[dim] for x, dim in zip(operands, dims, strict=True)
                if dim is not None)
    wider = tuple(((size, *shape), dtype) for shape, dtype in results)
    return _elsewhere.bind(*operands, results=wider, name=name), [0] * len(results)


def _lower(context, *_, results, name):
    platforms = getattr(context.module_context, "platforms", ("another platform",))
    raise NotImplementedError(
        f"{name} is computed on the CPU only, not on {', '.join(platforms)}: put its arrays there, "
        "jax.device_put(x, jax.devices('cpu')[0]), or use ContrastiveLoss, which works on any "
        "platform")


batching.primitive_batchers[_elsewhere] = _batch
mlir.register_lowering(_elsewhere, _lower)


def _on_cpu(name, function, results, *args):
    """function(*args), a tuple of arrays with these shapes and types, on the CPU; elsewhere an error."""
    def elsewhere(*args):
        return tuple(_elsewhere.bind(*jax.tree.leaves(args), results=tuple(results), name=name))

    return lax.platform_dependent(*args, cpu=lambda *args: tuple(function(*args)), default=elsewhere)


def _refuse_second(name):
    raise NotImplementedError(f"{name} has no second derivatives: differentiate it once; "
                              "ContrastiveLoss has them")


def to_number_once(engine, name):
    """f(xs, rest), a number, as to_number without a formula: on the CPU only, and differentiable once.

    name: of the loss, for errors."""

    def run(xs, rest, gradient):
        def on_cpu(xs, rest):
            found = engine(xs, rest, gradient)
            return (found[0], *found[1]) if gradient else (found,)

        results = (((), xs[0].dtype), *((x.shape, x.dtype) for x in xs if gradient))
        value, *grads = _on_cpu(name, on_cpu, results, xs, rest)
        return (value, tuple(grads)) if gradient else value

    @jax.custom_vjp
    def value_and_grad(xs, rest):
        return run(xs, rest, True)

    def forward_both(xs, rest):
        value, grads = value_and_grad(*jax.tree.map(lambda primal: primal.value, (xs, rest)))
        return (value, grads), grads

    def backward_both(grads, upstream):
        of_value, of_grads = upstream
        if not all(isinstance(g, SymbolicZero) for g in of_grads):
            _refuse_second(name)
        if isinstance(of_value, SymbolicZero):
            return jax.tree.map(jnp.zeros_like, grads), None
        return jax.tree.map(lambda g: of_value * g, grads), None

    value_and_grad.defvjp(forward_both, backward_both, symbolic_zeros=True)

    @jax.custom_vjp
    def value(xs, rest):
        return run(xs, rest, False)

    value.defvjp(value_and_grad,
                 lambda grads, upstream: (jax.tree.map(lambda g: upstream.astype(g.dtype) * g, grads),
                                          None))
    return jax.jit(value)


def to_vector_once(engine, engine_gradient, name):
    """f(xs, rest), an array with an entry for each row of xs[0]; as to_vector without a formula."""

    @jax.custom_vjp
    def gradient(xs, rest, upstream):
        results = ((x.shape, x.dtype) for x in xs)
        return _on_cpu(name, engine_gradient, results, xs, rest, upstream)

    gradient.defvjp(lambda *args: (gradient(*args), None), lambda *_: _refuse_second(name))

    @jax.custom_vjp
    def value(xs, rest):
        results = ((xs[0].shape[:1], xs[0].dtype),)
        return _on_cpu(name, lambda xs, rest: (engine(xs, rest),), results, xs, rest)[0]

    value.defvjp(lambda xs, rest: (value(xs, rest), (xs, rest)),
                 lambda saved, upstream: (gradient(*saved, upstream), None))
    return jax.jit(value)
