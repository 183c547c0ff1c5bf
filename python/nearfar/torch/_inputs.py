"""Arguments as tensors of the types that the operators take, all on one device."""

from collections.abc import Mapping

import torch
from torch import Tensor

_WHOLE = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def rows(x, name):
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} is a {type(x).__name__}: it must be a torch.Tensor")
    if x.ndim != 2:
        raise ValueError(f"{name} has shape {tuple(x.shape)}: it must be 2-D, one row per item")
    if x.dtype in (torch.float16, torch.bfloat16):
        return x.float()
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} has type {x.dtype}: it must be float64, float32, bfloat16 or "
                        "float16")
    return x


def both(x, x_name, y, y_name):
    """Two sets of rows in one type and on one device."""
    x, y = rows(x, x_name), rows(y, y_name)
    beside(x, y, y_name, x_name)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"{y_name} has {y.shape[1]} columns and {x_name} has {x.shape[1]}")
    if x.dtype != y.dtype:
        x, y = x.double(), y.double()
    return x, y


def beside(x, other, name, x_name="the rows"):
    if other.device != x.device:
        raise ValueError(f"{name} is on {other.device} and {x_name} on {x.device}: nothing is "
                         f"copied between devices here; use {name}.to({str(x.device)!r})")


def vector(x, value, name, count=None):
    """A vector beside the rows x; anything but a tensor is made one there."""
    if not isinstance(value, Tensor):
        value = torch.as_tensor(value, device=x.device)
    beside(x, value, name)
    if value.ndim == 2 and value.shape[1] == 1:
        value = value[:, 0]
    if value.ndim != 1:
        raise ValueError(f"{name} has shape {tuple(value.shape)}: it must be (n) or (n, 1)")
    if count is not None and value.shape[0] != count:
        raise ValueError(f"{name} has {value.shape[0]} elements: it must have {count}")
    if value.requires_grad:
        raise TypeError(f"{name} requires a gradient, and has none here: pass {name}.detach(), or "
                        "multiply the terms of reduction='none'")
    return value


def whole(x, value, name, count=None):
    """Labels, row numbers or ids as int64."""
    value = vector(x, value, name, count)
    if value.dtype not in _WHOLE:
        if value.shape[0] == 0:
            return value.long()
        raise TypeError(f"{name} has type {value.dtype}: it must hold whole numbers; use "
                        f"{name}.long()")
    return value.long()


def plain_labels(labels):
    labels = torch.as_tensor(labels)
    return whole(labels, labels, "labels")


def sets(query, query_labels, reference, reference_labels, query_ids, reference_ids):
    """(query, reference, labels of each, ids of each or None) in one type and on one device."""
    query, reference = both(query, "query", reference, "reference")
    n, m = query.shape[0], reference.shape[0]
    if (query_ids is None) != (reference_ids is None):
        raise TypeError("query_ids and reference_ids go together: give both")
    if query_ids is not None:
        query_ids = whole(query, query_ids, "query_ids", n)
        reference_ids = whole(query, reference_ids, "reference_ids", m)
    return (query, reference, _labels(query, query_labels, "query_labels", n),
            _labels(query, reference_labels, "reference_labels", m), query_ids, reference_ids)


def _labels(x, labels, name, count):
    return None if labels is None else whole(x, labels, name, count)


# ---- targets ------------------------------------------------------------------------------------


def label_sets(x, value, name):
    """Label sets of the rows x as 0 and 1, (n, labels)."""
    if value is None:
        return None
    if not isinstance(value, Tensor):
        value = torch.as_tensor(value, device=x.device)
    beside(x, value, name)
    if value.ndim != 2 or value.shape[0] != x.shape[0]:
        raise ValueError(f"{name} has shape {tuple(value.shape)}: it must be ({x.shape[0]}, labels), "
                         "1 where a row has the label")
    return value if value.dtype in (*_WHOLE, torch.float64) else value.double()


def square(x, value, name, columns):
    """A number of each pair of rows x with `columns` others."""
    if value is None:
        return None
    if not isinstance(value, Tensor):
        value = torch.as_tensor(value, device=x.device)
    beside(x, value, name)
    if value.shape != (x.shape[0], columns):
        raise ValueError(f"{name} has shape {tuple(value.shape)}: it must be ({x.shape[0]}, "
                         f"{columns})")
    if value.requires_grad:
        raise TypeError(f"{name} requires a gradient, and has none here: pass {name}.detach()")
    return value.double()


def row_weight(x, labels, weight, class_weight, name):
    """Weights of rows times those of their classes, or None."""
    weight = None if weight is None else vector(x, weight, name, x.shape[0]).double()
    if class_weight is None:
        return weight
    if labels is None:
        raise TypeError("class_weight goes with labels, one per row")
    own = torch.ones(x.shape[0], dtype=torch.float64, device=x.device)
    for label, value in class_weight.items():
        own = torch.where(labels == label, value, own)
    return own if weight is None else weight * own


def groups(x, value, name):
    return None if value is None else whole(x, value, name, x.shape[0])


# ---- pair lists ---------------------------------------------------------------------------------


def pair_list(x, pairs):
    """Columns (i, j, same, weight or None) of a pair list."""
    if isinstance(pairs, Mapping):
        columns = [pairs["i"], pairs["j"], pairs["same"], pairs.get("weight")]
    elif isinstance(pairs, Tensor):
        if pairs.ndim != 2 or pairs.shape[1] != 3 or pairs.dtype not in _WHOLE:
            raise TypeError(f"pairs has shape {tuple(pairs.shape)} and type {pairs.dtype}: it must "
                            "be (i, j, same[, weight]) or a whole-number tensor (p, 3)")
        columns = [*pairs.T, None]
    else:
        columns = [*pairs, None] if len(pairs) == 3 else list(pairs)
        if len(columns) != 4:
            raise ValueError(f"pairs has {len(pairs)} columns: it must be (i, j, same) or (i, j, "
                             "same, weight)")
    i = whole(x, columns[0], "pairs: i")
    count = i.shape[0]
    return (i, whole(x, columns[1], "pairs: j", count),
            vector(x, columns[2], "pairs: same", count), weight(x, columns[3], count))


def weight(x, weight, count):
    return None if weight is None else vector(x, weight, "weight", count).double()


def indices_columns(x, indices_tuple, shift):
    """pytorch-metric-learning's (a, p, a, n) or (a, p, n) as columns i, j, same."""
    if len(indices_tuple) == 3:
        anchor, positive, negative = indices_tuple
        indices_tuple = (anchor, positive, anchor, negative)
    if len(indices_tuple) != 4:
        raise ValueError(f"indices_tuple has {len(indices_tuple)} members: it must be (anchors, "
                         "positives, anchors, negatives) or (anchors, positives, negatives)")
    a, p, b, n = (whole(x, index, "indices_tuple") for index in indices_tuple)
    same = torch.cat([torch.ones_like(a), torch.zeros_like(b)])
    return torch.cat([a, b]), torch.cat([p, n]) + shift, same, None
