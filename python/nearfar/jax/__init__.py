"""nearfar in JAX: losses and distances for jit, grad and vmap.

    >>> import jax, jax.numpy as jnp, nearfar.jax
    >>> loss = nearfar.jax.ContrastiveLoss()
    >>> x = jnp.array([[0.0, 0.0], [0.3, 0.4], [0.0, 0.8]])
    >>> value, grad = jax.jit(jax.value_and_grad(loss))(x, jnp.array([0, 0, 1]))
    >>> round(float(value), 6), grad.shape
    (0.18, (3, 2))

On the CPU the engine runs inside the compiled program (an XLA FFI handler), with the value and
gradient bits of nearfar's loss of the same name. On other platforms the formulas of ContrastiveLoss
and of the distances run in JAX, tile by tile, in O(n d + tile^2) memory; the other losses are
refused there by name.

Reverse mode only, any number of times: the first gradient is the engine's, higher ones come from
the JAX formulas (losses other than ContrastiveLoss have one derivative, and say so). Forward mode
(jax.jvp, jax.jacfwd, jax.hessian) raises JAX's TypeError for custom_vjp; a Hessian is
jax.jacrev(jax.grad(f)). vmap runs the engine once per batch entry, in order.

Shapes and types are checked while tracing (ValueError, TypeError). What only the data can show, a
NaN or a wrong row number, stops the computation with jax.errors.JaxRuntimeError and the engine's
message, on the CPU; other platforms cannot raise: NaN spreads, a row number outside x gives NaN.

Without jax_enable_x64 JAX has no 64-bit types: matrices and weights are rounded to float32. Labels
and ids beyond int32 stay distinct when they are given as NumPy arrays or lists; in a JAX array they
are already cut to 32 bits. bfloat16, float16 and whole numbers are computed in float32; gradients
come back in the type of the input. The engine's threads: nearfar.set_num_threads.

Sharded arrays are gathered for a call. Needs JAX 0.6.2 or later.

Letters in shapes: n, m rows, d columns, p pairs, c classes.
"""

from .anchors import (CircleLoss, GeneralizedLiftedStructureLoss, LiftedStructureLoss, MarginLoss,
                      MultiSimilarityLoss, NCALoss, NPairsLoss, NTXentLoss, SupConLoss,
                      TripletMarginLoss)
from .bank import MemoryBank
from .functions import (ClassIndices, class_indices, pair_distances, pair_indices,
                        pairwise_distances)
from .losses import ContrastiveLoss
from .online import OnlineContrastiveLoss

__all__ = ["CircleLoss", "ClassIndices", "ContrastiveLoss", "GeneralizedLiftedStructureLoss",
           "LiftedStructureLoss", "MarginLoss", "MemoryBank", "MultiSimilarityLoss", "NCALoss",
           "NPairsLoss", "NTXentLoss", "OnlineContrastiveLoss", "SupConLoss", "TripletMarginLoss",
           "class_indices", "pair_distances", "pair_indices", "pairwise_distances"]
