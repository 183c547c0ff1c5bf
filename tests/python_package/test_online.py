"""The contrastive loss of hard pairs against loops over the pairs of each form."""

import itertools

import numpy as np
import pytest

import nearfar


@pytest.fixture
def batch(rng):
    labels = rng.integers(0, 3, 30)
    return rng.normal(size=(30, 4)) * 0.6 + np.eye(4)[labels], labels


def by_loops(t, same, weight=None, margin=0.5):
    """(sum, how many negatives have a term), of pairs in a list."""
    weight = np.ones(len(t)) if weight is None else weight
    seen = weight > 0
    above, below = t[seen & ~same].min(), t[seen & same].max()
    total = active = 0
    for d, one, w in zip(t, same, weight, strict=True):
        if one and d > above:
            total += w * d * d
        elif not one and d < min(below, margin):
            total += w * (margin - d) ** 2
            active += w > 0
    return total, active


def cosine(a, b):
    return 1 - (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def test_forms(batch, rng):
    x, labels = batch
    loss = nearfar.OnlineContrastiveLoss()
    i, j = np.triu_indices(30, 1)
    same = labels[i] == labels[j]
    right, active = by_loops(cosine(x[i], x[j]), same)
    for result in (loss(x, labels), loss.pairs(x, (i, j, same)), loss.rows(x[i], x[j], same)):
        assert result.value == pytest.approx(right, rel=1e-12)
        assert result.counts.active_negative == active > 0
    y, others = rng.normal(size=(20, 4)), rng.integers(0, 3, 20)
    a, b = (part.ravel() for part in np.mgrid[:30, :20])
    right, active = by_loops(cosine(x[a], y[b]), labels[a] == others[b])
    result = loss.reference(x, labels, y, others)
    assert result.value == pytest.approx(right, rel=1e-12)
    assert result.counts.active_negative == active > 0


def test_weights_of_pairs_and_rows(batch, rng):
    x, labels = batch
    loss, v = nearfar.OnlineContrastiveLoss(), rng.integers(0, 3, 30) / 2
    i, j = np.triu_indices(30, 1)
    same, weight = labels[i] == labels[j], v[i] * v[j]
    right = by_loops(cosine(x[i], x[j]), same, weight)[0]
    assert loss.pairs(x, (i, j, same, weight)).value == pytest.approx(right, rel=1e-12)
    assert loss.targets(x, labels, row_weight=v).value == pytest.approx(right, rel=1e-12)
    # As if the rows without weight were not there.
    kept = loss(x[v > 0], labels[v > 0])
    assert loss.targets(x, labels, row_weight=v > 0).value == pytest.approx(kept.value, rel=1e-12)


def test_reductions_count_all_pairs(batch):
    x, labels = batch
    whole = nearfar.OnlineContrastiveLoss()(x, labels)
    pairs = whole.counts.positive_pairs + whole.counts.negative_pairs
    for how, divisor in (("mean", pairs), ("weighted-mean", pairs), ("divisor", 7.0)):
        loss = nearfar.OnlineContrastiveLoss(reduction=how,
                                             divisor=divisor if how == "divisor" else None)
        assert loss(x, labels).value == pytest.approx(whole.value / divisor, rel=1e-12)
        assert "pairs" in loss.formula
    i, j = np.triu_indices(30, 1)
    terms = nearfar.OnlineContrastiveLoss(reduction="none").pairs(x, (i, j, labels[i] == labels[j]))
    assert terms.terms.sum() == pytest.approx(whole.value, rel=1e-12)
    assert 0 < (terms.terms > 0).sum() < len(i)


def test_gradient_is_that_of_differences(batch):
    """Away from where the choice changes."""
    x, labels = batch
    loss = nearfar.OnlineContrastiveLoss(2.0, metric="euclidean", normalize=True, reduction="mean")
    grad = loss(x, labels).grad
    for r, k in itertools.product((0, 7, 21), range(4)):
        step = np.zeros_like(x)
        step[r, k] = 1e-6
        slope = (loss(x + step, labels).value - loss(x - step, labels).value) / 2e-6
        assert slope == pytest.approx(grad[r, k], rel=1e-4, abs=1e-9)


def test_training_and_bank(batch):
    x, labels = batch
    for trainer in (nearfar.Trainer("online-contrastive", outputs=2, epochs=3),
                    nearfar.Trainer(nearfar.OnlineContrastiveLoss(0.4), outputs=2, epochs=3)):
        model = trainer.fit(x, labels)
        assert np.isfinite(model.embed(x)).all() and trainer.report.steps > 0
    left, right, same = x[:15], x[15:], labels[:15] == labels[15:]
    trainer = nearfar.Trainer("online-contrastive", outputs=2, epochs=3)
    assert np.isfinite(trainer.fit_rows(left, right, same).embed(x)).all()
    bank = nearfar.MemoryBank(30, 4, "float64")
    own = bank.loss(nearfar.OnlineContrastiveLoss(), x, labels)
    assert own.value == pytest.approx(2 * nearfar.OnlineContrastiveLoss()(x, labels).value)


def test_refusals(batch):
    with pytest.raises(ValueError, match="dot"):
        nearfar.OnlineContrastiveLoss(metric="dot")
    with pytest.raises(TypeError, match="pos_margin"):
        nearfar.OnlineContrastiveLoss(pos_margin=0.2)
    with pytest.raises(ValueError, match="none"):
        nearfar.OnlineContrastiveLoss(reduction="none")(*batch)
