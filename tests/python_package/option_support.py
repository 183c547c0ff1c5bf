"""Every option of the engine's structs, walked through what Python offers of them."""

import inspect
import re
from pathlib import Path

import numpy as np

import nearfar
from nearfar import _core
from nearfar.kinds import CLASSES

INCLUDE = Path(__file__).parents[2] / "include" / "nearfar"


def fields(header, struct):
    """Names of the fields of a struct in a public header."""
    text = re.sub(r"/\*.*?\*/", "", (INCLUDE / header).read_text(), flags=re.S)
    body = re.search(rf"typedef struct {struct} {{(.*?)}} {struct};", text, re.S).group(1)
    found = []
    for declaration in body.split(";"):
        if declaration.strip():
            found += [re.search(r"(\w+)\s*$", part).group(1) for part in declaration.split(",")]
    return found


# Fields of nf_loss that are no option of a loss in Python, and why.
NO_OPTION = {
    "kind": "a class, or the preset, says it",
    "function": "a C function's address; torch.PairLoss takes a Python function over tensors",
}
# What every kind takes beside the fields that say what it is.
COMMON = ("scale", "normalize", "reduction", "divisor", "stats", "fast")

# For each field a value that is no default of any loss.
OTHER = {"pos_metric": "sqeuclidean", "neg_metric": "sqeuclidean", "pos_exponent": 3.0,
         "neg_exponent": 1.5, "pos_margin": 0.25, "neg_margin": 0.9, "pos_weight": 2.0,
         "neg_weight": 0.25, "scale": 3.0, "normalize": None, "reduction": "sum", "divisor": 7.5,
         "stats": True, "temperature": 0.6, "alpha": 1.5, "beta": 1.3, "base": 0.4, "gamma": 20.0,
         "triplets": "semi-hard", "smooth": True, "fast": True}


def loss_fields():
    found = [name for name in fields("loss.h", "nf_loss") if name not in NO_OPTION]
    assert set(found) == set(OTHER), "a field without a value here, or a value without a field"
    return found


def _parameters(cls):
    return inspect.signature(cls).parameters


def name_of(cls, field):
    """What a class calls a field: anchor losses have one metric and mostly one margin."""
    if cls is not nearfar.ContrastiveLoss:
        if field == "pos_metric":
            return "metric"
        if field == "neg_margin" and "neg_margin" not in _parameters(cls):
            return "margin"
    return field


def changed_options():
    """(class, options) over every core class and every field that its kind takes."""
    classes = {"contrastive": nearfar.ContrastiveLoss, **CLASSES}
    for kind, cls in classes.items():
        base = _core.Loss(kind if kind in CLASSES else "weston")
        anchored = kind in CLASSES
        for field in loss_fields():
            if field not in COMMON and not base._takes(field):
                if not (anchored and field == "pos_metric"):  # every kind has a metric
                    continue
            if kind == "circle" and field == "pos_metric":
                continue  # defined for cosine only
            value = not base.normalize if field == "normalize" else OTHER[field]
            if field == "pos_metric" and base.pos_metric == value:
                value = "euclidean"
            if field == "reduction" and base.reduction == value:
                value = "mean"
            options = {name_of(cls, field): value}
            if field == "divisor":
                options["reduction"] = "divisor"
            if field == "fast" and base.pos_metric == "dot":
                options["metric"] = "euclidean"
            yield cls, field, options


CHANGED = list(changed_options())
IDS = [f"{cls.__name__}-{field}" for cls, field, _ in CHANGED]


def data(dtype=np.float64):
    rng = np.random.default_rng(8)
    return rng.normal(size=(24, 5)).astype(dtype) / 2, rng.integers(0, 4, 24)


def value_and_gradient(cls, options):
    result = cls(**options)(*data())
    return result.value, result.grad
