"""Inputs that the engine cannot read in place, as arrays that it can.

The extension reads native, aligned float32 / float64 rows and int64 vectors where they lie. It asks
here for everything else: lists, other types, other byte orders, Fortran order, DLPack, masked
arrays, names as labels. Every function returns a contiguous array of the right type or raises
TypeError or ValueError with the name of the argument.
"""

import numpy as np

_DLPACK_CPU = 1
_INT64_MAX = 2**63 - 1


def _as_array(value, name):
    """Any array-like as a plain ndarray, without a copy where that is possible."""
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value):
            raise ValueError(f"{name} has masked values: fill or drop them first")
        return np.asarray(value.data)
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise TypeError(f"{name} is a sparse matrix: pass {name}.toarray(), or embed it first")
    if hasattr(value, "__dlpack__"):
        return _from_dlpack(value, name)
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is not a rectangular array: {error}") from None
    except TypeError as error:
        raise TypeError(f"{name} cannot be read as an array: {error}") from None


def _from_dlpack(value, name):
    if getattr(value, "requires_grad", False) is True:
        raise TypeError(f"{name} requires a gradient: pass {name}.detach(), or use the framework's "
                        "own nearfar module")
    device = value.__dlpack_device__()[0] if hasattr(value, "__dlpack_device__") else _DLPACK_CPU
    if device != _DLPACK_CPU:
        raise ValueError(f"{name} is not in the CPU's memory (DLPack device {int(device)}): copy it "
                         "there first")
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError, ValueError):
        pass  # a type that DLPack or NumPy lacks; the object may still convert itself
    try:
        return np.asarray(value)
    except Exception as error:
        raise TypeError(f"{name} cannot be read as an array: {error}") from None


def _type_error(array, name, expected):
    return TypeError(f"{name} has type {array.dtype}: it must hold {expected}")


# ---- matrices -----------------------------------------------------------------------------------


def _float_type(array, name):
    """(type to compute in, type of gradients or None if that is the same)."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "f" and size in (4, 8):
        return np.dtype(f"f{size}"), None
    if kind == "f" and size == 2:
        return np.dtype("f4"), np.dtype("f2")
    if kind == "f":
        raise TypeError(f"{name} has type {array.dtype}: float64 is the widest; convert it with "
                        "astype('float64')")
    if kind in "iub":
        return np.dtype("f4" if size <= 2 else "f8"), None
    if array.dtype.name.startswith(("bfloat16", "float8")):  # ml_dtypes
        return np.dtype("f4"), array.dtype
    if kind == "c":
        raise _type_error(array, name, "real numbers, and complex ones are not")
    raise _type_error(array, name, "real numbers")


def matrix(value, name, wide):
    """(array (n, d) in float32 or float64, type of gradients or None); wide: float64."""
    array = _as_array(value, name)
    computed, returned = _float_type(array, name)
    if array.ndim != 2:
        hint = f"; {name}[:, None] makes one column of it" if array.ndim == 1 else ""
        raise ValueError(f"{name} has shape {array.shape}: it must be 2-D, one row per item{hint}")
    if wide:
        returned = returned or (computed if computed.itemsize == 4 and array.dtype.kind == "f"
                                else None)
        computed = np.dtype("f8")
    return np.require(array.astype(computed, copy=False), computed, ["C", "A"]), returned


# ---- vectors ------------------------------------------------------------------------------------


def _column(array, name, what):
    """(n) or (n, 1) as (n)."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}: it must be (n) or (n, 1), {what}")
    return array


def _contiguous(array, dtype):
    return np.require(array.astype(dtype, copy=False), dtype, ["C", "A"])


def _first(mask):
    return int(np.argmax(mask))


def _integral(array, name):
    """Floats that are whole numbers, as int64."""
    for bad, why in ((np.isnan(array), "it is not a label"),
                     (np.isinf(array), "it is not a label"),
                     (array != np.floor(array), "float labels must be whole numbers"),
                     (np.abs(array.astype(np.float64)) >= 2.0**63, "it does not fit in int64")):
        if bad.any():
            at = _first(bad)
            raise ValueError(f"{name}[{at}] is {array[at]!s}: {why}")
    return _contiguous(array, np.int64)


def _numbered(values):
    """Class numbers in order of first appearance, and the value behind each number."""
    number = {}
    ids = np.fromiter((number.setdefault(value, len(number)) for value in values), np.int64,
                      len(values))
    return ids, list(number)


def _object_labels(array, name):
    values = array.tolist()
    for text in (str, bytes):
        if all(isinstance(value, text) for value in values):
            return _numbered(values)
    for at, value in enumerate(values):
        if not isinstance(value, (int, np.integer, np.bool_)):
            raise TypeError(f"{name}[{at}] is {value!r}: labels are all whole numbers or all "
                            "strings, with -1 for an unlabelled row")
    if all(-_INT64_MAX - 1 <= value <= _INT64_MAX for value in values):
        return np.array(values, np.int64), None
    return _numbered(values)


def labels(value, name):
    """(int64 array (n), None), or (class numbers, values behind them) for names and values beyond
    int64."""
    array = _column(_as_array(value, name), name, "one label per row")
    kind = array.dtype.kind
    if array.size == 0:
        return np.empty(0, np.int64), None
    if kind in "ib":
        return _contiguous(array, np.int64), None
    if kind == "u":
        if int(array.max()) > _INT64_MAX:
            return _numbered(array.tolist())
        return _contiguous(array, np.int64), None
    if kind == "f":
        return _integral(array, name), None
    if kind in "US":
        return _numbered(array.tolist())
    if kind in "OT":
        return _object_labels(array.astype(object), name)
    raise _type_error(array, name, "whole numbers or strings, one per row")


def labels_together(first, second):
    """Labels of two sets, numbered so that equal labels have equal numbers."""
    a, a_names = labels(first, "query_labels")
    b, b_names = labels(second, "reference_labels")
    if a_names is None and b_names is None:
        return a, b
    a_values = a.tolist() if a_names is None else [a_names[k] for k in a]
    b_values = b.tolist() if b_names is None else [b_names[k] for k in b]
    kinds = {isinstance(value, (str, bytes)) for value in a_values + b_values}
    if len(kinds) > 1:
        raise TypeError("query_labels and reference_labels must both be numbers or both strings")
    ids, names = _numbered(a_values + b_values)
    ids[[value == -1 for value in a_values + b_values]] = -1
    return ids[:len(a_values)], ids[len(a_values):]


def offsets_and_labels(label_sets):
    """Offsets (n + 1) and labels of an indicator array (n, c) or of n collections; None twice for None."""
    return label_sets_together(label_sets)[:2]


def label_sets_together(first, second=None):
    """The same of two sets one after the other, equal labels having equal numbers in both."""
    if _is_indicator(first) and _is_indicator(second):
        if first.shape[1] != second.shape[1]:
            raise ValueError(f"label_sets has {first.shape[1]} columns, reference_label_sets "
                             f"{second.shape[1]}: a column is a label, so they must match")
    elif second is not None and (_is_indicator(first) or _is_indicator(second)):
        raise TypeError("label_sets and reference_label_sets must both be collections of labels or "
                        "both arrays (n, c) of 0 and 1")
    sides = [side if side is None or _is_indicator(side) else [list(row) for row in side]
             for side in (first, second)]
    seen = dict.fromkeys(label for side in sides if isinstance(side, list)
                         for row in side for label in row)
    try:
        seen = sorted(seen)
    except TypeError:  # labels of several kinds keep the order in which they appear
        pass
    number = {label: k for k, label in enumerate(seen)}
    return (*_offsets_and_numbers(sides[0], number), *_offsets_and_numbers(sides[1], number))


def _is_indicator(sets):
    return hasattr(sets, "ndim") and sets.ndim == 2


def _offsets_and_numbers(sets, number):
    if sets is None:
        return None, None
    if isinstance(sets, list):
        labels = [number[label] for row in sets for label in row]
        counts = [len(row) for row in sets]
    else:
        indicator = np.asarray(sets)
        if not np.isin(indicator, (0, 1)).all():
            raise ValueError("label_sets (n, c) must hold 0 and 1 only: for targets between them "
                             "use soft")
        rows, labels = np.nonzero(indicator)
        counts = np.bincount(rows, minlength=len(indicator))
    return (np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            np.asarray(labels, np.int64))


def index(value, name):
    """Whole row numbers as int64."""
    array = _column(_as_array(value, name), name, "one row number per pair")
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.dtype.kind not in "iu":
        raise _type_error(array, name, "whole row numbers")
    if array.dtype.kind == "u" and int(array.max()) > _INT64_MAX:
        at = _first(array > _INT64_MAX)
        raise ValueError(f"{name}[{at}] is {array[at]}: it does not fit in int64")
    return _contiguous(array, np.int64)


def weight(value, name):
    """Real numbers as float64; a single number is a vector of one."""
    array = _as_array(value, name)
    if array.dtype.kind not in "fiub" and not array.dtype.name.startswith("bfloat16"):
        raise _type_error(array, name, "real numbers")
    if array.ndim == 0:
        array = array.reshape(1)
    return _contiguous(_column(array, name, "one number per pair"), np.float64)


def same(value, name, encoding):
    """Flags as uint8 of 0 and 1."""
    array = _column(_as_array(value, name), name, "one flag per pair")
    if array.size == 0:
        return np.empty(0, np.uint8)
    if array.dtype.kind not in "biuf":
        raise _type_error(array, name, "1 / True for a positive pair and 0 / False for a negative")
    low = -1 if encoding == "pm1" else 0
    bad = (array != 1) & (array != low)
    if bad.any():
        at = _first(bad)
        hint = ""
        if encoding == "01" and np.isin(array, (-1, 1)).all():
            hint = "; for -1 and +1 pass same_encoding='pm1'"
        raise ValueError(f"{name}[{at}] is {array[at]!s}: it must be 1 (same label) or {low} "
                         f"(different){hint}")
    return _contiguous(array == 1, np.uint8)


# ---- pair lists ---------------------------------------------------------------------------------


def pairs(value):
    """(i, j, same, weight or None) of a pair list in any of its forms."""
    if isinstance(value, (tuple, list)):
        if len(value) not in (3, 4):
            raise ValueError(f"pairs has {len(value)} columns: it must be (i, j, same) or (i, j, "
                             "same, weight)")
        return tuple(value) if len(value) == 4 else (*value, None)
    if hasattr(value, "keys"):
        missing = [key for key in ("i", "j", "same") if key not in value]
        if missing:
            raise ValueError(f"pairs lacks {', '.join(missing)}: it must have i, j, same and may "
                             "have weight")
        return value["i"], value["j"], value["same"], value["weight"] if "weight" in value else None
    array = _as_array(value, "pairs")
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "iu":
        raise TypeError(f"pairs has shape {array.shape} and type {array.dtype}: it must be (i, j, "
                        "same[, weight]) or a whole-number array (p, 3)")
    return array[:, 0], array[:, 1], array[:, 2], None
