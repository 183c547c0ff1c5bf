"""Presets: the papers' formulas, one line each, against the program and the library."""

import numpy as np
import pytest

import oracle

# Formula of each preset on all pairs of labelled rows, as its source writes it: d is the matrix of
# distances, pos and neg the masks of the pairs i < j.
FORMULAS = {}


def formula(function):
    FORMULAS[function.__name__] = function
    return function


def relu(x):
    return np.maximum(0.0, x)


def euclid(x):
    return np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))


def nonzero_mean(values):
    return values[values > 0].mean() if (values > 0).any() else 0.0


@formula
def weston(x, pos, neg):  # Weston, Ratle & Collobert 2008, eq. (3), mean over pairs
    d = euclid(x)
    return ((d**2 * pos).sum() + (relu(1 - d) ** 2 * neg).sum()) / (pos | neg).sum()


@formula
def drlim(x, pos, neg):  # Hadsell, Chopra & LeCun 2006, eq. (4)
    d = euclid(x)
    return np.concatenate([0.5 * d[pos] ** 2, 0.5 * relu(1 - d[neg]) ** 2]).mean()


@formula
def hinge(x, pos, neg):  # y d2 + (1 - y) relu(margin - d2)
    d2 = ((x[:, None] - x[None]) ** 2).sum(-1)
    y = pos[pos | neg]
    d2 = d2[pos | neg]
    return (y * d2 + (1 - y) * relu(1 - d2)).mean()


@formula
def pml(x, pos, neg):  # pytorch-metric-learning's ContrastiveLoss with AvgNonZeroReducer
    d = euclid(x / np.linalg.norm(x, axis=1, keepdims=True))
    return nonzero_mean(d[pos]) + nonzero_mean(relu(1 - d[neg]))


@formula
def sbert(x, pos, neg):  # sentence-transformers' ContrastiveLoss: 0.5 (y d^2 + (1-y) relu(m-d)^2)
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    d = 1 - u @ u.T
    y = pos[pos | neg].astype(float)
    d = d[pos | neg]
    return (0.5 * (y * d**2 + (1 - y) * relu(0.5 - d) ** 2)).mean()


def problem(rng, n, d, classes, spread):
    x = rng.normal(size=(n, d)) * spread
    labels = rng.integers(-1, classes, size=n)
    upper = np.triu(np.ones((n, n), dtype=bool), 1)
    known = labels >= 0
    valid = upper & known[:, None] & known[None]
    same = labels[:, None] == labels[None]
    return x, labels, valid & same, valid & ~same


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("spread", [0.05, 0.3, 2.0])
def test_program_gives_the_papers_value(nearfar, rng, name, spread):
    x, labels, pos, neg = problem(rng, n=57, d=6, classes=4, spread=spread)
    nearfar.save(x=x, labels=labels)
    got = nearfar.json("loss", "x.npy", "--labels", "labels.npy", "--loss", name)
    assert got["loss"] == pytest.approx(FORMULAS[name](x, pos, neg), rel=1e-12)
    assert got["positive_pairs"] == pos.sum()
    assert got["negative_pairs"] == neg.sum()


@pytest.mark.parametrize("name", FORMULAS)
def test_oracle_agrees_with_the_papers_value(rng, name):
    for spread in (0.05, 0.3, 2.0):
        x, labels, pos, neg = problem(rng, n=40, d=5, classes=3, spread=spread)
        answer = oracle.batch_loss(oracle.PRESETS[name], x, labels)
        assert answer.value == pytest.approx(FORMULAS[name](x, pos, neg), rel=1e-12)


@pytest.mark.parametrize("name", FORMULAS)
def test_library_preset_is_the_documented_table(library, name):
    got, want = library.preset(name), library.options(oracle.PRESETS[name])
    for field, _ in got._fields_:
        if field not in ("stats",) and not (name == "sbert" and field == "normalize"):
            assert getattr(got, field) == getattr(want, field), field


def test_tfa_is_weston(library):
    weston_loss, tfa = library.preset("weston"), library.preset("tfa")
    assert bytes(weston_loss) == bytes(tfa)
    assert bytes(library.c.nf_loss_weston()) == bytes(weston_loss)


def test_caffe_legacy_is_half_of_hinge(nearfar, rng):
    x, labels, pos, neg = problem(rng, n=30, d=4, classes=3, spread=0.3)
    d2 = euclid(x) ** 2
    caffe = (d2[pos].sum() + relu(1 - d2[neg]).sum()) / (2 * (pos | neg).sum())
    nearfar.save(x=x, labels=labels)
    got = nearfar.json("loss", "x.npy", "--labels", "labels.npy", "--loss", "hinge")
    assert got["loss"] / 2 == pytest.approx(caffe, rel=1e-12)


@pytest.mark.parametrize("name", FORMULAS)
def test_oracle_gradient_is_the_derivative(rng, name):
    """Guards the oracle itself: central differences of its value."""
    loss = oracle.PRESETS[name]
    x, labels, _, _ = problem(rng, n=12, d=3, classes=3, spread=0.4)
    gradient, step = oracle.batch_loss(loss, x, labels).left, 1e-5
    for r, k in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[r, k] += step
        down[r, k] -= step
        slope = (oracle.batch_loss(loss, up, labels).value
                 - oracle.batch_loss(loss, down, labels).value) / (2 * step)
        assert gradient[r, k] == pytest.approx(slope, abs=1e-8, rel=1e-6)
