"""The trainer's recipe in PyTorch: a linear embedding of standardised rows from the same initial
weights, eq. (3) over all pairs of a batch as mean of the positives + mean of the negatives, Adam
with a cosine schedule. As in the trainer, raw rows are standardised on the clock."""

import math

import torch

from .task import Task

POSITIVE_WEIGHT = 0.1  # nearfar's default in training


def batch_loss(x, labels):
    norm = (x * x).sum(1)
    square = (norm[:, None] + norm - 2 * (x @ x.T)).clamp_min(1e-12)
    below = (1 - square.sqrt()).clamp_min(0)
    same = labels[:, None] == labels
    other = ~same
    positives = same.sum() - len(x)  # a row with itself is no pair; its distance is 0
    pulled = (square * same).sum() / positives.clamp_min(1)
    pushed = (below * below * other).sum() / other.sum().clamp_min(1)
    return POSITIVE_WEIGHT * pulled + pushed


def _train(model, optimizer, x, labels, step_loss, options):
    batch = options["batch"]
    steps = options["epochs"] * -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
    for _ in range(options["epochs"]):
        order = torch.randperm(len(x))
        for first in range(0, len(x), batch):
            rows = order[first:first + batch]
            optimizer.zero_grad(set_to_none=True)
            step_loss(model(x[rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()
    return model


def _scale(x):
    """Means and deviations as the trainer takes them (src/model/standardize.c)."""
    variance, mean = torch.var_mean(x, 0, correction=0)
    std = (variance + variance[variance > 0].median()).sqrt()
    return mean, std * (variance / std**2)[variance > 0].mean().sqrt()


def prepare(inputs, options, compiled):
    raw, valid_raw = torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["valid_x"])
    labels = torch.from_numpy(inputs["labels"])
    step_loss = torch.compile(batch_loss, dynamic=False) if compiled else batch_loss
    batch = options["batch"]
    for size in {batch, len(raw) % batch or batch}:  # compiles off the clock
        few = torch.zeros(size, options["outputs"], requires_grad=True)
        step_loss(few, labels[:size]).backward()

    def call():
        torch.manual_seed(0)
        mean, std = _scale(raw)
        x, valid_x = (raw - mean) / std, (valid_raw - mean) / std
        model = torch.nn.Linear(x.shape[1], options["outputs"])
        with torch.no_grad():
            model.weight.copy_(torch.from_numpy(inputs["weight"]))
            model.bias.zero_()
        optimizer = torch.optim.Adam(model.parameters(), lr=options["lr"], fused=True)
        return _train(model, optimizer, x, labels, step_loss, options), valid_x

    return Task(call, lambda result: {"embedding": result[0](result[1]).detach().numpy()})
