"""Arguments as arrays of the types that the engine and the formulas take.

Values outside the graph (lists, NumPy arrays) are read as in NumPy, all their bits, before JAX cuts
them to 32; JAX arrays and tracers stay in the graph and are checked by shape and type alone.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .. import _convert

_COMPUTED = np.dtype("f4"), np.dtype("f8")

# ---- matrices -----------------------------------------------------------------------------------


def matrix(value, name):
    x = value if isinstance(value, Array) else jnp.asarray(value)
    if x.ndim != 2:
        hint = f"; {name}[:, None] makes one column of it" if x.ndim == 1 else ""
        raise ValueError(f"{name} has shape {x.shape}: it must be 2-D, one row per item{hint}")
    if x.dtype in _COMPUTED:
        return x
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise TypeError(f"{name} has type {x.dtype}: it must hold real numbers")
    return x.astype(jnp.float32)


def matrices(first, first_name, second, second_name):
    """Two matrices of one type and one number of columns."""
    a, b = matrix(first, first_name), matrix(second, second_name)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{second_name} has {b.shape[1]} columns: it must have {a.shape[1]}, as "
                         f"{first_name}")
    dtype = jnp.promote_types(a.dtype, b.dtype)
    return a.astype(dtype), b.astype(dtype)


# ---- vectors ------------------------------------------------------------------------------------


def vector(x, name, count=None, of=None):
    shape = x.shape
    if len(shape) == 2 and shape[1] == 1:  # (n, 1) against (n) would broadcast to (n, n)
        x, shape = x[:, 0], shape[:1]
    if len(shape) != 1:
        raise ValueError(f"{name} has shape {shape}: it must be (n) or (n, 1)")
    if count is not None and shape[0] != count:
        raise ValueError(f"{name} has {shape[0]} entries: it must have {count}, as {of}")
    return x


def _whole(x, name):
    if x.dtype.kind in "iub" or jnp.issubdtype(x.dtype, jnp.integer):
        return x
    raise TypeError(f"{name} has type {x.dtype}: it must hold whole numbers; use astype(int) if "
                    "these are")


def _in_jax(value):
    """Whole numbers that stay in the graph; concrete floats may still be whole numbers."""
    return isinstance(value, Array) and (
        value.dtype.kind in "iub" or isinstance(value, jax.core.Tracer)
        or not jnp.issubdtype(value.dtype, jnp.floating))


def _beyond(array):
    """Whether an int64 array has an entry that JAX would cut; which ones."""
    limits = np.iinfo(jax.dtypes.canonicalize_dtype(np.int64))
    return (array < limits.min) | (array > limits.max)


def _exact(array, name):
    """int64 numbers in JAX, none of them changed."""
    beyond = _beyond(array)
    if beyond.any():
        at = int(np.argmax(beyond))
        raise ValueError(f"{name}[{at}] is {array[at]}: without jax_enable_x64 JAX has no integers "
                         "beyond int32")
    return jnp.asarray(array)


def _distinct(*arrays):
    """int64 labels in JAX. Where they do not fit, the numbers of their classes: equal ones equal,
    -1 kept."""
    if not any(_beyond(a).any() for a in arrays):
        return tuple(map(jnp.asarray, arrays))
    together = np.concatenate(arrays)
    numbers = np.unique(together, return_inverse=True)[1].reshape(-1)
    numbers = np.where(together == -1, -1, numbers).astype(np.int32)
    return tuple(map(jnp.asarray, np.split(numbers, np.cumsum([a.size for a in arrays])[:-1])))


# ---- labels and ids -----------------------------------------------------------------------------


def labels(value, name="labels", count=None, of=None):
    if not _in_jax(value):
        value, = _distinct(_convert.labels(value, name)[0])
    return vector(_whole(value, name), name, count, of)


def label_names(value, name="labels"):
    """Labels that are wanted back: as they are, or an error."""
    if not _in_jax(value):
        numbers, names = _convert.labels(value, name)
        if names is not None:
            raise TypeError(f"{name} are not whole numbers in int64: arrays of JAX hold no others; "
                            "leave out size for a dict")
        value = _exact(numbers, name)
    return vector(_whole(value, name), name)


def _one_type(first, second, first_name, second_name):
    if first.dtype != second.dtype and any(jnp.issubdtype(x.dtype, jnp.unsignedinteger)
                                           for x in (first, second)):
        raise TypeError(f"{first_name} have type {first.dtype} and {second_name} {second.dtype}: "
                        "give both one type")
    dtype = jnp.promote_types(first.dtype, second.dtype)
    return first.astype(dtype), second.astype(dtype)


def labels_together(first, second, counts):
    """Labels of a query and a reference set, in one type."""
    names = "query_labels", "reference_labels"
    if _in_jax(first) or _in_jax(second):  # numbering one of them would make it another class
        pair = (label_names(first, names[0]), label_names(second, names[1]))
    else:
        pair = _distinct(*_convert.labels_together(first, second))
    pair = (vector(pair[0], names[0], counts[0], "query has rows"),
            vector(pair[1], names[1], counts[1], "reference has rows"))
    return _one_type(*pair, *names)


def ids_together(first, second, counts):
    """Ids of a query and a reference set; without any, no entries."""
    names = "query_ids", "reference_ids"
    if (first is None) != (second is None):
        raise TypeError("query_ids and reference_ids go together: give both")
    if first is None:
        return (jnp.zeros(0, jnp.int32),) * 2
    if _in_jax(first) or _in_jax(second):
        pair = index(first, names[0]), index(second, names[1])
    else:
        pair = _distinct(_convert.index(first, names[0]), _convert.index(second, names[1]))
    pair = (vector(pair[0], names[0], counts[0], "query has rows"),
            vector(pair[1], names[1], counts[1], "reference has rows"))
    return _one_type(*pair, *names)


# ---- pair lists ---------------------------------------------------------------------------------


def index(value, name, count=None, of=None):
    """Whole row numbers."""
    if not isinstance(value, Array):
        value = _exact(_convert.index(value, name), name)
    if value.dtype == bool:
        raise TypeError(f"{name} has type bool: it must hold whole row numbers")
    return vector(_whole(value, name), name, count, of)


def same(value, name, encoding, count, of):
    """Flags in their encoding; of values outside the graph all bits are read."""
    if not isinstance(value, Array):
        flags = _convert.same(value, name, encoding)
        value = jnp.asarray(np.where(flags, 1, -1 if encoding == "pm1" else 0).astype(np.int8))
    if jnp.issubdtype(value.dtype, jnp.complexfloating):
        raise TypeError(f"{name} has type {value.dtype}: it must hold 1 and 0")
    return vector(value, name, count, of)


@jax.custom_jvp
def _constant(weight):
    """A weight, without a derivative."""
    return weight


@_constant.defjvp
def _constant_jvp(primals, tangents):
    raise TypeError("the loss is not differentiated with respect to weight: pass "
                    "jax.lax.stop_gradient(weight)")


def weight(value, count):
    """Weights in the widest type, or None as no entry at all: operands of a target are always
    there."""
    widest = jax.dtypes.canonicalize_dtype(np.float64)
    if value is None:
        return jnp.zeros(0, widest)
    if not isinstance(value, Array):
        value = _convert.weight(value, "weight")
    weight = jnp.asarray(value)
    if jnp.issubdtype(weight.dtype, jnp.complexfloating):
        raise TypeError(f"weight has type {weight.dtype}: it must hold real numbers")
    if jnp.issubdtype(weight.dtype, jnp.floating):
        weight = _constant(weight)
    return vector(weight.astype(widest), "weight", count, "there are pairs")


def or_none(optional, count):
    """The other way: no entry where there would be some is None."""
    return None if optional.shape[0] == 0 and count > 0 else optional


def columns(pairs):
    """i, j, same, weight of a pair list in any of its forms."""
    if isinstance(pairs, Array):
        if pairs.ndim != 2 or pairs.shape[1] != 3:
            raise ValueError(f"pairs has shape {pairs.shape}: it must be (i, j, same[, weight]) or "
                             "a whole-number array (p, 3)")
        return pairs[:, 0], pairs[:, 1], pairs[:, 2], None
    return _convert.pairs(pairs)
