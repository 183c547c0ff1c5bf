"""pytorch-metric-learning: its ContrastiveLoss as it comes."""

import numpy as np
import torch
from pytorch_metric_learning.losses import ContrastiveLoss

from .task import Task, Unsupported, version_of


def versions():
    return version_of("pytorch-metric-learning", "torch")


def start(threads):
    torch.set_num_threads(threads)


def prepare(peer, work, inputs, options):
    if work != "pml":
        raise Unsupported(f"{peer}: {work}")
    x, labels = torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["labels"])
    loss = ContrastiveLoss()

    def call():
        leaf = x.detach().requires_grad_()
        value = loss(leaf, labels)
        value.backward()
        return value, leaf.grad

    return Task(call, lambda result: {"value": np.float64(result[0].item()),
                                      "gradient": result[1].numpy()})
