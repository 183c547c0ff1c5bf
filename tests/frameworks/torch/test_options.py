"""No option of a loss is missing here, and each has the engine's value and gradient."""

import pytest
import torch

import nearfar.torch
from option_support import CHANGED, IDS, data, value_and_gradient


@pytest.mark.parametrize("cls, field, options", CHANGED, ids=IDS)
def test_option(cls, field, options):
    loss = getattr(nearfar.torch, cls.__name__)(**options)
    x, labels = map(torch.from_numpy, data())
    value = loss(x.requires_grad_(), labels)
    value.backward()
    right, gradient = value_and_gradient(cls, options)
    assert value.item() == right and (x.grad.numpy() == gradient).all()
    if field == "stats":  # which only counts can show
        assert loss.counts(x, labels).mean_positive_distance is not None
