"""OnlineContrastiveLoss: the engine's bits in every form."""

import numpy as np
import pytest
import torch

import nearfar
import nearfar.torch
from option_support import data


def check(value, xs, result):
    value.backward()
    grads = result.grad if isinstance(result.grad, tuple) else (result.grad,)
    assert value.item() == result.value > 0
    for x, grad in zip(xs, grads, strict=True):
        assert (x.grad.numpy() == grad).all()


def leaves(*arrays):
    return [torch.tensor(array, requires_grad=True) for array in arrays]


def test_forms_are_the_core():
    x, labels = data()
    core, loss = nearfar.OnlineContrastiveLoss(), nearfar.torch.OnlineContrastiveLoss()
    same, i, j = labels[:12] == labels[12:], np.arange(12), np.arange(12, 24)
    a, = leaves(x)
    check(loss(a, labels), [a], core(x, labels))
    a, = leaves(x)
    check(loss.pairs(a, (i, j, same)), [a], core.pairs(x, (i, j, same)))
    a, b = leaves(x[:12], x[12:])
    check(loss.rows(a, b, same), [a, b], core.rows(x[:12], x[12:], same))
    a, b = leaves(x[:12], x[12:])
    check(loss(a, labels[:12], ref_emb=b, ref_labels=labels[12:]), [a, b],
          core.reference(x[:12], labels[:12], x[12:], labels[12:]))
    a, = leaves(x)
    mined = i, j, i, (j + 1 - 12) % 12 + 12
    check(loss(a, None, indices_tuple=mined), [a],
          core.pairs(x, (np.concatenate([i, i]), np.concatenate([j, mined[3]]), [1] * 12 + [0] * 12)))


def test_terms_and_compiled_graphs():
    x, labels = data()
    same, i, j = labels[:12] == labels[12:], np.arange(12), np.arange(12, 24)
    loss = nearfar.torch.OnlineContrastiveLoss(reduction="none")
    a, = leaves(x)
    terms, up = loss.pairs(a, (i, j, same)), np.linspace(1, 2, 12)
    terms.backward(torch.tensor(up))
    result = nearfar.OnlineContrastiveLoss(reduction="none").pairs(x, (i, j, same), upstream=up)
    assert (terms.detach().numpy() == result.terms).all() and (a.grad.numpy() == result.grad).all()
    whole = nearfar.torch.OnlineContrastiveLoss()
    a, = leaves(x)
    check(torch.compile(whole, fullgraph=True, backend="eager")(a, torch.from_numpy(labels)), [a],
          nearfar.OnlineContrastiveLoss()(x, labels))
    # In the text that graphs carry it is the same loss.
    assert nearfar.torch._loss.loss_of(whole._spec) == whole.options


def test_refusals():
    x, labels = data()
    a, = leaves(x)
    loss = nearfar.torch.OnlineContrastiveLoss()
    grad, = torch.autograd.grad(loss(a, labels), a, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivatives"):
        grad.sum().backward()
