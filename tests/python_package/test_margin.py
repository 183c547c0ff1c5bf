"""The margin loss against loops over all triplets, and its beta against differences."""

import doctest

import numpy as np
import pytest

import nearfar
from nearfar import margin


@pytest.fixture
def batch(rng):
    return rng.normal(size=(30, 4)), rng.integers(0, 4, 30)


def by_loops(x, labels, beta, m=0.2):
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    t = np.sqrt(((u[:, None] - u) ** 2).sum(-1))
    total = active = 0
    for a in range(len(x)):
        for p in range(len(x)):
            if p == a or labels[p] != labels[a]:
                continue
            for n in np.nonzero(labels != labels[a])[0]:
                parts = max(0, t[a, p] - beta[labels[a]] + m), max(0, beta[labels[a]] - t[a, n] + m)
                total += sum(parts)
                active += int(parts[0] > 0) + int(parts[1] > 0)
    return total / active, active


def test_value(batch):
    x, labels = batch
    value, active = by_loops(x, labels, np.full(4, 1.2))
    result = nearfar.margin_loss(x, labels)
    assert result.value == pytest.approx(value, rel=1e-12)
    assert result.counts.active_terms == active
    assert isinstance(result.beta_grad, float) and result.grad.shape == x.shape
    assert result.value == nearfar.loss(x, labels, preset="margin").value
    order = nearfar.partition(labels).labels
    beta = np.array([0.9, 1.0, 1.1, 1.3])
    result = nearfar.margin_loss(x, labels, beta[order])
    assert result.value == pytest.approx(by_loops(x, labels, beta)[0], rel=1e-12)
    assert result.beta_grad.shape == (4,)
    assert nearfar.margin_loss(x, labels, gradient=False).grad is None


@pytest.mark.parametrize("beta", [1.1, np.array([0.9, 1.0, 1.2, 1.3])])
@pytest.mark.parametrize("nu", [0, 0.5])
def test_beta_can_be_learnt(batch, beta, nu):
    x, labels = batch
    slope = np.atleast_1d(nearfar.margin_loss(x, labels, beta, nu=nu).beta_grad)
    for c in range(len(slope)):
        step = np.zeros(len(slope))
        step[c] = 1e-6
        up, down = (nearfar.margin_loss(x, labels, np.atleast_1d(beta) + s, nu=nu).value
                    for s in (step, -step))
        assert (up - down) / 2e-6 == pytest.approx(slope[c], rel=1e-5, abs=1e-7)


def test_refused_by_name(batch):
    x, labels = batch
    for beta in ([1.0, 2.0], np.nan, np.ones((2, 2))):
        with pytest.raises(ValueError, match="beta"):
            nearfar.margin_loss(x, labels, beta)
    with pytest.raises(ValueError, match="nu"):
        nearfar.margin_loss(x, labels, nu=-1)
    with pytest.raises(ValueError, match="reduction"):
        nearfar.margin_loss(x, labels, reduction="mean-sides")


def test_a_trainer_learns_the_boundary(rng):
    labels = 10 * rng.integers(0, 4, 200)
    x = rng.normal(size=(200, 6)) + labels[:, None] / 15
    loss = nearfar.MarginLoss(beta=0.3)
    options = dict(outputs=3, epochs=8, batch_size=40, lr=0.01)
    fixed = nearfar.Trainer(loss, **options)
    assert "train.beta" not in fixed.fit(x, labels).metadata and fixed.report.beta is None
    one = nearfar.Trainer(loss, learn_beta="global", beta_lr=0.05, **options)
    model = one.fit(x, labels)
    assert one.report.beta == float(model.metadata["train.beta"]) > 0.4
    assert one.history[0].beta == 0.3 and one.history[one.report.best_epoch].beta == one.report.beta
    # It goes on from the model, and one beta starts those of all classes.
    each = nearfar.Trainer(loss, learn_beta="class", nu=0.01, **options)
    again = each.fit(x, labels, model=model)
    assert each.history[0].beta == pytest.approx(one.report.beta, rel=1e-12)
    betas = [float(beta) for beta in again.metadata["train.beta"].split(",")]
    assert len(betas) == 4 and np.mean(betas) == pytest.approx(each.report.beta)
    assert (each.report.smallest_beta, each.report.largest_beta) == (min(betas), max(betas))
    assert set(again.metadata["train.beta_labels"].split(",")) == {"0", "10", "20", "30"}
    assert again.metadata["train.beta_lr"] == "0.01"  # that of the weights
    with pytest.raises(ValueError, match="kind margin"):
        nearfar.Trainer(learn_beta="class").fit(x, labels)
    with pytest.raises(ValueError, match="learn_beta is 'both'"):
        nearfar.Trainer(loss, learn_beta="both").fit(x, labels)


def test_examples():
    assert doctest.testmod(margin).failed == 0
