"""pytorch-metric-learning: its losses as they come."""

import numpy as np
import torch
from pytorch_metric_learning import losses

from .task import ANCHOR_LOSSES, Task, Unsupported, version_of

_LOSSES = {"pml": "ContrastiveLoss", **ANCHOR_LOSSES}


def versions():
    return version_of("pytorch-metric-learning", "torch")


def start(threads):
    torch.set_num_threads(threads)


def prepare(peer, work, inputs, options):
    if work not in _LOSSES:
        raise Unsupported(f"{peer}: {work}")
    x, labels = torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["labels"])
    loss = getattr(losses, _LOSSES[work])()

    def call():
        leaf = x.detach().requires_grad_()
        value = loss(leaf, labels)
        value.backward()
        return value, leaf.grad

    return Task(call, lambda result: {"value": np.float64(result[0].item()),
                                      "gradient": result[1].numpy()})
