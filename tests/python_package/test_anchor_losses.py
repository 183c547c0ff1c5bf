"""The losses of anchors as Python objects."""

import copy
import inspect
import pickle

import numpy as np
import pytest

import nearfar
from nearfar.anchor_losses import CLASSES, AnchorLoss


@pytest.fixture
def data():
    rng = np.random.default_rng(5)
    return rng.normal(size=(40, 5)), rng.integers(0, 6, 40)


@pytest.mark.parametrize("cls", CLASSES.values())
def test_object_and_preset_are_one_loss(cls, data):
    x, labels = data
    loss = cls()
    result, named = loss(x, labels), nearfar.loss(x, labels, preset=loss.preset)
    assert result.value == named.value > 0
    assert result.counts == named.counts and min(result.counts[-2:]) > 0
    np.testing.assert_array_equal(result.grad, named.grad)
    assert nearfar.loss(x, labels, loss).value == result.value
    assert loss(x, labels, gradient=False).grad is None
    assert loss(x.astype(np.float32), labels).grad.dtype == np.float32
    assert nearfar.training_loss(loss.preset) == loss


@pytest.mark.parametrize("cls", CLASSES.values())
def test_gradient_is_that_of_the_value(cls, data):
    x, labels = data
    loss = cls()
    if loss.kind == "circle":
        pytest.skip("holds factors constant")
    gradient = loss(x, labels).grad
    direction = np.random.default_rng(6).normal(size=x.shape)
    h = 1e-6
    slope = (loss(x + h * direction, labels).value - loss(x - h * direction, labels).value) / (2 * h)
    assert slope == pytest.approx((gradient * direction).sum(), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("cls", CLASSES.values())
def test_objects(cls):
    loss = cls()
    assert list(inspect.signature(cls).parameters)[:len(cls._own)] == list(cls._own)
    assert repr(loss) == f"{cls.__name__}()  # {loss.formula}"
    other = loss.replace(scale=2, reduction="sum")
    assert other != loss and other.scale == 2 and other.reduction == "sum"
    assert "scale=2.0, reduction='sum'" in repr(other) and "2 times sum over" in other.formula
    for twin in (pickle.loads(pickle.dumps(other)), copy.deepcopy(other),
                 other.replace()):
        assert twin == other and hash(twin) == hash(other) and type(twin) is cls
    assert loss != nearfar.ContrastiveLoss()
    with pytest.raises(AttributeError):
        loss.scale = 3


def test_own_options_by_position():
    assert nearfar.NTXentLoss(0.5).temperature == 0.5
    loss = nearfar.MultiSimilarityLoss(3, 4, 0.25)
    assert (loss.alpha, loss.beta, loss.base) == (3, 4, 0.25)
    assert nearfar.CircleLoss(0.25, 128).margin == 0.25
    assert nearfar.TripletMarginLoss(0.1, "hard", True).triplets == "hard"


def test_formula_shows_the_numbers():
    text = nearfar.SupConLoss(0.25, metric="euclidean").formula
    assert "exp(s_ij / 0.25)" in text and "s = -|a - b|" in text
    assert "[1.25 - s_ip]+ (s_ip - 0.75)" in nearfar.CircleLoss(0.25).formula
    assert "exp(-2 (0.5 - t_ip))" in nearfar.MultiSimilarityLoss(metric="euclidean").formula
    assert "t_ip - 0.5)" in nearfar.LiftedStructureLoss(pos_margin=0.5).formula


@pytest.mark.parametrize(("make", "error", "words"), [
    (lambda: nearfar.SupConLoss(margin=2), TypeError, "SupConLoss.*temperature.*margin"),
    (lambda: nearfar.SupConLoss(0.1, 0.2), TypeError, "SupConLoss"),
    (lambda: nearfar.SupConLoss(0), ValueError, "temperature is 0"),
    (lambda: nearfar.SupConLoss(reduction="mean-anchors"), ValueError, "supcon has mean, sum"),
    (lambda: nearfar.CircleLoss(metric="dot"), ValueError, "cosine only"),
    (lambda: nearfar.TripletMarginLoss(triplets="soft"), ValueError, "triplets is 'soft'"),
    (lambda: nearfar.ContrastiveLoss("supcon"), ValueError, "training_loss"),
    (lambda: nearfar.ContrastiveLoss(temperature=2), ValueError, "takes no temperature"),
])
def test_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize("cls", CLASSES.values())
def test_terms_and_divisors(cls, data):
    x, labels = data
    whole = cls(reduction="sum")(x, labels, terms=True)
    kept = cls(reduction="none")(x, labels, upstream=np.ones(40))
    assert cls()(x, labels).terms is None and whole.terms.shape == (40,)
    assert np.array_equal(kept.terms, whole.terms) and np.array_equal(kept.grad, whole.grad)
    assert kept.value == whole.value == pytest.approx(whole.terms.sum(), rel=1e-12)
    part = cls(reduction="divisor", divisor=16)
    assert part.divisor == 16 and "/ 16" in part.formula
    result = part(x, labels)
    assert result.value == whole.value / 16
    np.testing.assert_allclose(result.grad, whole.grad / 16, rtol=1e-6)
    assert part.replace(reduction="mean").divisor is None
    assert pickle.loads(pickle.dumps(part)) == part


def test_what_divisor_and_upstream_go_with(data):
    x, labels = data
    for loss in (nearfar.SupConLoss, nearfar.ContrastiveLoss):
        with pytest.raises(ValueError, match="above 0"):
            loss(reduction="divisor")
        with pytest.raises(ValueError, match="unless the reduction is divisor"):
            loss(divisor=3)
    with pytest.raises(ValueError, match="it goes with none"):
        nearfar.SupConLoss()(x, labels, upstream=[1.0])
    with pytest.raises(ValueError, match="40"):
        nearfar.SupConLoss(reduction="none")(x, labels, upstream=np.ones(3))
    with pytest.raises(ValueError, match="terms of pairs"):
        nearfar.ContrastiveLoss()(x, labels, terms=True)


def test_lists_of_pairs_are_refused(data):
    x, labels = data
    for cls in CLASSES.values():
        with pytest.raises(ValueError, match=cls().kind):
            cls().pairs(x, ([0], [1], [True]))
        with pytest.raises(ValueError, match=cls().kind):
            cls().rows(x, x, np.ones(40))


@pytest.mark.parametrize("cls", [c for c in CLASSES.values() if c is not nearfar.NPairsLoss])
def test_reference_with_ids_is_the_batch(cls, data):
    x, labels = data
    loss = cls()
    if loss.kind == "lifted":
        loss = loss.replace(reduction="sum")
    ids = np.arange(40)
    batch, sets = loss(x, labels), loss.reference(x, labels, x, labels, ids, ids)
    assert sets.value == pytest.approx(batch.value, rel=1e-12)
    np.testing.assert_allclose(sets.grad[0] + sets.grad[1], batch.grad, atol=1e-12)


def test_unlabelled(data):
    x, labels = data
    some = np.where(labels == 3, -1, labels)
    keep = some != -1
    for cls in CLASSES.values():
        with_them, without = cls()(x, some), cls()(x[keep], some[keep])
        assert with_them.value == without.value and not with_them.grad[~keep].any()
        assert cls(unlabelled=None)(x, some).value == cls()(x, labels).value


@pytest.mark.parametrize("name", CLASSES)
def test_training(name):
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 5, 300)
    x = (rng.normal(size=(5, 12))[labels] + 0.6 * rng.normal(size=(300, 12))).astype(np.float32)
    trainer = nearfar.Trainer(name, epochs=20, outputs=4, seed=3)
    model = trainer.fit(x, labels)
    assert trainer.report.last_loss < trainer.report.first_loss
    assert isinstance(trainer.loss, AnchorLoss) and np.isfinite(model.embed(x)).all()
