"""Time of nearfar.jax against a handler that does nothing and against the formula in JAX.

One JSON line a case: medians, in microseconds, of repeats of which each runs every contender in
turn, and the ratios to nearfar's. Needs JAX, nearfar and a C compiler:

    python bench/frameworks/jax_step.py [--repeats 15] [--threads 2]

The formula is eq. (3) of Weston et al., 2008, over all pairs, as it is usually written: distances
by |a|^2 - 2 a.b + |b|^2, the fastest form in JAX, with a root that is safe at 0.
"""

import ctypes
import os
import subprocess
import tempfile
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np

import nearfar
import nearfar.jax as nj
from timing import Comparison, arguments

ROOT = Path(__file__).parents[2]


def register_noop(folder):
    """nearfar_bench_noop, a target of nothing."""
    path = Path(folder) / "noop.so"
    subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-O2", "-shared", "-fPIC",
                    f"-I{ROOT / 'include'}", f"-I{ROOT / 'python' / 'src'}",
                    ROOT / "bench" / "frameworks" / "jax_noop.c", "-o", path], check=True)
    handler = jax.ffi.pycapsule(ctypes.CDLL(str(path)).noop)
    jax.ffi.register_ffi_target("nearfar_bench_noop", handler, platform="cpu")


def nothing(x, labels):
    """Value and gradient that nothing has written."""
    results = jax.ShapeDtypeStruct((), x.dtype), jax.ShapeDtypeStruct(x.shape, x.dtype)
    call = jax.ffi.ffi_call("nearfar_bench_noop", results, vmap_method="sequential")
    return call(x, labels, options=np.zeros(13))


def formula(x, labels):
    """The mean over pairs of d^2 (same label) or max(0, 1 - d)^2 (different)."""
    length2 = jnp.sum(x * x, axis=1)
    d2 = jnp.maximum(length2[:, None] - 2 * (x @ x.T) + length2[None, :], 0)
    positive = d2 > 0
    d = jnp.where(positive, jnp.sqrt(jnp.where(positive, d2, 1)), 0)
    phi = jnp.where(labels[:, None] == labels[None, :], d2, jnp.maximum(1 - d, 0)**2)
    n = x.shape[0]
    return jnp.sum(jnp.where(jnp.eye(n, dtype=bool), 0, phi)) / (n * (n - 1))


def bind(functions, *arguments):
    return {name: (lambda f=function: f(*arguments)) for name, function in functions.items()}


def looped(function, count):
    """`count` calls of which each waits for the one before, in one program."""

    def run(x, labels):
        def body(_, x):
            return x - 1e-3 * function(x, labels)[1]
        return jax.lax.fori_loop(0, count, body, x)
    return jax.jit(run)


def calls(compare):
    """The overhead of a call, N = 2 and d = 2."""
    x, labels = jnp.array([[0.0, 0.0], [0.3, 0.4]]), jnp.array([0, 1])
    loss = nj.ContrastiveLoss()
    step = jax.value_and_grad(loss)
    noop = jax.jit(nothing)
    compare("call, jit of value_and_grad", bind({"nearfar": jax.jit(step), "noop": noop}, x, labels))
    compare("call, loss(x, labels) outside jit",
            bind({"nearfar": loss, "noop": jax.jit(lambda x, labels: nothing(x, labels)[0])}, x,
                 labels))
    compare("call within a loop of 1000", bind({"nearfar": looped(step, 1000),
                                                "noop": looped(nothing, 1000)}, x, labels), 1000)


def steps(n, d, compare, count):
    """Loss and gradient of a batch of n rows with 10 classes, apart by about the margin."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(n, d)).astype(np.float32) / (2 * d)**0.5)
    labels = jnp.asarray(rng.integers(0, 10, n))
    ours, theirs = (jax.value_and_grad(f) for f in (nj.ContrastiveLoss(), formula))
    functions = {"nearfar": jax.jit(ours), "formula, jit": jax.jit(theirs),
                 "formula, op by op": theirs}
    found = [f(x, labels) for f in functions.values()]
    for value, gradient in found[1:]:  # all compute the same; float32 sums of n^2 terms drift
        np.testing.assert_allclose(value, found[0][0], rtol=1e-2)
        np.testing.assert_allclose(gradient, found[0][1],
                                   atol=1e-2 * float(jnp.abs(gradient).max()))
    compare(f"step n={n} d={d}", bind(functions, x, labels))
    compare(f"step n={n} d={d} within a loop of {count}",
            bind({"nearfar": looped(ours, count), "formula, jit": looped(theirs, count)}, x,
                 labels), count)


def main():
    options = arguments(__doc__)
    compare = Comparison(options.repeats, jax.block_until_ready)
    nearfar.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        register_noop(folder)
        calls(compare)
    steps(64, 128, compare, 100)
    steps(4096, 128, Comparison(max(3, options.repeats // 3), jax.block_until_ready), 2)


if __name__ == "__main__":
    main()
