"""A linear map of digits by losses that compare the pairs of a row, in JAX and Optax: the margin loss,
whose boundary for each class is learnt with the map, and batches of 32 that meet rows of earlier ones.

    python examples/jax_losses.py
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nearfar
import nearfar.jax as nj

x, y = nearfar.load_digits()[:2]
x = jnp.asarray(x, jnp.float32) / 16
train, held_out = np.arange(0, len(x), 2), np.arange(1, len(x), 2)


def batches(size, epochs=12):
    """Rows and labels, in an order of their own each epoch."""
    rng = np.random.default_rng(0)
    for _ in range(epochs):
        order = rng.permutation(train)
        for start in range(0, len(order) - size + 1, size):
            rows = order[start:start + size]
            yield x[rows], jnp.asarray(y[rows])


def descend(parameters, loss, size, state=None):
    """Parameters after Adam on loss(parameters, rows, labels, state) -> (value, state)."""
    optimizer = optax.adam(1e-2)

    @jax.jit
    def step(parameters, moments, state, rows, labels):
        (_, state), grad = jax.value_and_grad(loss, has_aux=True)(parameters, rows, labels, state)
        updates, moments = optimizer.update(grad, moments)
        return optax.apply_updates(parameters, updates), moments, state

    moments = optimizer.init(parameters)
    for rows, labels in batches(size):
        parameters, moments, state = step(parameters, moments, state, rows, labels)
    return parameters


def report(name, rows):
    found = nearfar.evaluate(np.asarray(rows)[held_out], y[held_out], metric="cosine")
    print(f"{name:22} MAP@R {found.map_at_r:.3f}")


weights = jax.random.normal(jax.random.key(0), (x.shape[1], 16)) / 8
report("pixels", x)

margin = nj.MarginLoss()
learnt = descend({"weights": weights, "beta": jnp.full(10, 1.2)},
                 lambda p, rows, labels, _: (margin(rows @ p["weights"], labels, p["beta"]), None), 128)
report("margin, beta learnt", x @ learnt["weights"])

contrast = nj.SupConLoss()
learnt = descend(weights, lambda w, rows, labels, bank: bank.loss(contrast, rows @ w, labels), 32,
                 nj.MemoryBank.empty(512, 16))
report("SupCon, memory bank", x @ learnt)
