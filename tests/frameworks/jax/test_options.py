"""No option of a loss is missing here, and each has the engine's value and gradient."""

import jax
import numpy as np
import pytest

import jax_support  # noqa: F401  (64-bit types)
import nearfar.jax
from option_support import CHANGED, IDS, data, value_and_gradient


@pytest.mark.parametrize("cls, field, options", CHANGED, ids=IDS)
def test_option(cls, field, options):
    loss = getattr(nearfar.jax, cls.__name__)(**options)
    x, labels = data()
    value, grad = jax.value_and_grad(loss)(x, labels)
    right, gradient = value_and_gradient(cls, options)
    assert float(value) == right and (np.asarray(grad) == gradient).all()
    if field == "stats":  # which only counts can show
        assert loss.counts(x, labels).mean_positive_distance is not None
