"""OnlineContrastiveLoss: the engine's bits in every form."""

import jax
import numpy as np
import pytest

import nearfar
import nearfar.jax
from jax_support import same_bits
from option_support import data


def check(call, arrays, result):
    value, grads = jax.value_and_grad(call, tuple(range(len(arrays))))(*arrays)
    assert result.value > 0
    same_bits(result, value, grads)


def test_forms_are_the_core():
    x, labels = data()
    core, loss = nearfar.OnlineContrastiveLoss(), nearfar.jax.OnlineContrastiveLoss()
    same, i, j = labels[:12] == labels[12:], np.arange(12), np.arange(12, 24)
    left, right = x[:12], x[12:]
    check(lambda a: loss(a, labels), [x], core(x, labels))
    check(jax.jit(lambda a: loss(a, labels)), [x], core(x, labels))
    check(lambda a: loss.pairs(a, (i, j, same)), [x], core.pairs(x, (i, j, same)))
    check(lambda a, b: loss.rows(a, b, same), [left, right], core.rows(left, right, same))
    check(lambda a, b: loss.reference(a, labels[:12], b, labels[12:]), [left, right],
          core.reference(left, labels[:12], right, labels[12:]))
    padded = [np.append(column, [-1, -1]) for column in (i, j)]
    check(lambda a: loss.pairs(a, (*padded, np.append(same, [True, False]))), [x],
          core.pairs(x, (i, j, same)))


def test_terms():
    x, labels = data()
    same, up = labels[:12] == labels[12:], np.linspace(1, 2, 12)
    loss = nearfar.jax.OnlineContrastiveLoss(reduction="none")
    terms, pull = jax.vjp(lambda a, b: loss.rows(a, b, same), x[:12], x[12:])
    result = nearfar.OnlineContrastiveLoss(reduction="none").rows(x[:12], x[12:], same, upstream=up)
    assert (np.asarray(terms) == result.terms).all()
    for own, grad in zip(pull(up), result.grad, strict=True):
        assert (np.asarray(own) == grad).all()
    with pytest.raises(ValueError, match="none"):
        loss(x, labels)


def test_refusals():
    x, labels = data()
    loss = nearfar.jax.OnlineContrastiveLoss()
    with pytest.raises(Exception, match="OnlineContrastiveLoss"):
        jax.jacrev(jax.grad(lambda a: loss(a, labels)))(x)
    assert hash(loss) == hash(nearfar.jax.OnlineContrastiveLoss())
