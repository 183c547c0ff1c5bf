"""Fixtures of the suites of nearfar.jax."""

import pytest


@pytest.fixture(params=["f4", "f8"])
def dtype(request):
    return request.param
