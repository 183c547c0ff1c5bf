"""PyTorch, eager and compiled. Distances come from a matrix product, which is what is fastest
there; torch.cdist is timed for distances alone."""

import functools

import numpy as np
import torch

from . import torch_train
from .task import Task, Unsupported, at, version_of


def versions():
    return version_of("torch", "numpy")


def start(threads):
    torch.set_num_threads(threads)


def weston(x, labels):
    n = x.shape[0]
    norm = (x * x).sum(1)
    square = (norm[:, None] + norm - 2 * (x @ x.T)).clamp_min(1e-12)
    below = (1 - square.sqrt()).clamp_min(0)
    same = labels[:, None] == labels
    return torch.where(same, square, below * below).sum() / (n * (n - 1))


def _loss(function, inputs):
    x, labels = torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["labels"])

    def call():
        leaf = x.detach().requires_grad_()
        value = function(leaf, labels)
        value.backward()
        return value, leaf.grad

    return Task(call, lambda result: {"value": np.float64(result[0].item()),
                                      "gradient": result[1].numpy()})


@functools.cache
def _compiled():
    return torch.compile(weston, dynamic=False)


def _distances(inputs):
    x, y = torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["y"])
    return Task(lambda: torch.cdist(x, y), lambda out: at(out.numpy(), inputs))


def _pdist(inputs):
    x = torch.from_numpy(inputs["x"])
    return Task(lambda: torch.nn.functional.pdist(x),
                lambda out: {"distances": out.numpy()[inputs["sample"]]})


def prepare(peer, work, inputs, options):
    compiled = peer == "torch.compile"
    if work == "weston":
        return _loss(_compiled() if compiled else weston, inputs)
    if work == "train":
        return torch_train.prepare(inputs, options, compiled)
    if work == "distances" and not compiled:
        return _distances(inputs)
    if work == "pdist" and not compiled:
        return _pdist(inputs)
    raise Unsupported(f"{peer}: {work}")
