"""Two ways people write this loss by hand, line by line in NumPy, against one call.

The question: a batch of 16 features with labels, and eq. (3) of Weston, Ratle & Collobert to be
added to a network's loss. One answer writes loss(x1, x2, y) on sampled pairs, another feeds left,
right and label arrays through a linear map W. Both have a trap that no error message shows.
"""

import numpy as np
import pytest

MARGIN = 1.0


def relu(x):
    return np.maximum(x, 0)


# ---- the first answer: loss(x1, x2, y) --------------------------------------------------------


def first_answer(x1, x2, y):
    d2 = np.sum((x1 - x2) ** 2, 1)
    return np.mean(y * d2 + (1 - y) * relu(MARGIN - d2))


def first_answer_gradients(x1, x2, y):
    """By hand: d d2 / d x1 = 2 (x1 - x2), negatives only while d2 < margin."""
    d2 = np.sum((x1 - x2) ** 2, 1)
    slope = np.where(y == 1, 1.0, -1.0 * (d2 < MARGIN)) / len(y)
    g = slope[:, None] * 2 * (x1 - x2)
    return g, -g


@pytest.fixture
def rows(rng):
    x1 = rng.uniform(0, 0.5, size=(16, 6))
    x2 = rng.uniform(0, 0.5, size=(16, 6))
    y = rng.integers(0, 2, size=16)
    return x1, x2, y


def test_loss_of_rows(nearfar, rows):
    x1, x2, y = rows
    nearfar.save(x1=x1, x2=x2, y=y)
    got = nearfar.json("loss", "--left", "x1.npy", "--right", "x2.npy", "--same", "y.npy",
                       "--loss", "hinge", "--grad-left", "g1.npy", "--grad-right", "g2.npy")
    assert got["loss"] == pytest.approx(first_answer(x1, x2, y), rel=1e-14)
    g1, g2 = first_answer_gradients(x1, x2, y)
    np.testing.assert_allclose(nearfar.load("g1"), g1, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(nearfar.load("g2"), g2, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.int64, bool, np.float32,
                                   np.float64])
def test_labels_of_any_type_give_the_same_bytes(nearfar, rows, dtype):
    x1, x2, y = rows
    nearfar.save(x1=x1, x2=x2, y=y.astype(np.int64), z=y.astype(dtype))
    answers = [nearfar("loss", "--left", "x1.npy", "--right", "x2.npy", "--same", f"{name}.npy",
                       "--loss", "hinge", "--json") for name in ("y", "z")]
    assert answers[0] == answers[1]


def test_the_trap_of_unsigned_labels(nearfar, rows):
    """In uint8, y - 1 is 255 where it should be -1: writing (1 - y) relu(..) as -(y - 1) relu(..),
    which is the same formula, is wrong by a factor of 255 and says nothing. Flags are read as
    flags here."""
    x1, x2, y = rows
    y8 = y.astype(np.uint8)
    d2 = np.sum((x1 - x2) ** 2, 1)
    right = first_answer(x1, x2, y8)
    assert np.mean(y8 * d2 - (y - 1) * relu(MARGIN - d2)) == pytest.approx(right, rel=1e-14)
    assert abs(np.mean(y8 * d2 - (y8 - np.uint8(1)) * relu(MARGIN - d2))) > 10 * right

    nearfar.save(x1=x1, x2=x2, y=y8)
    got = nearfar.json("loss", "--left", "x1.npy", "--right", "x2.npy", "--same", "y.npy",
                       "--loss", "hinge")
    assert got["loss"] == pytest.approx(right, rel=1e-14)


def test_flags_of_another_encoding_are_refused_by_name(nearfar, rows):
    x1, x2, y = rows
    nearfar.save(x1=x1, x2=x2, y=2 * y - 1)
    done = nearfar.attempt("loss", "--left", "x1.npy", "--right", "x2.npy", "--same", "y.npy")
    assert done.returncode == 3
    assert "same" in done.stderr and "pm1" in done.stderr


# ---- the second answer: left, right and labels through a linear map ---------------------------


def second_answer(left, right, labels, w):
    """As it was written: labels arrive with the shape of their placeholder, (n, 1)."""
    left_out, right_out = left @ w, right @ w
    d2 = np.sum((left_out - right_out) ** 2, axis=1)  # (n)
    loss = labels * d2 + (1 - labels) * relu(MARGIN - d2)  # (n, 1) x (n) -> (n, n)
    return loss.shape, np.mean(loss)


@pytest.fixture
def linear(rng):
    left, right = rng.uniform(0, 1, size=(24, 5)), rng.uniform(0, 1, size=(24, 5))
    labels = (rng.uniform(size=(24, 1)) < 0.3).astype(np.float64)
    w = rng.normal(size=(5, 3)) * 0.5
    return left, right, labels, w


def test_the_trap_of_broadcasting(nearfar, linear):
    left, right, labels, w = linear
    shape, wrong = second_answer(left, right, labels, w)
    assert shape == (24, 24)
    flat_shape, right_value = second_answer(left, right, labels[:, 0], w)
    assert flat_shape == (24,)
    assert abs(wrong - right_value) > 1e-3 * right_value

    nearfar.save(l=left @ w, r=right @ w, column=labels, flat=labels[:, 0])
    texts = []
    for name in ("column", "flat"):
        texts.append(nearfar("loss", "--left", "l.npy", "--right", "r.npy", "--same",
                             f"{name}.npy", "--loss", "hinge", "--json", "--grad-left",
                             f"g-{name}.npy"))
    assert texts[0] == texts[1]
    assert (nearfar.folder / "g-column.npy").read_bytes() == \
        (nearfar.folder / "g-flat.npy").read_bytes()
    got = nearfar.json("loss", "--left", "l.npy", "--right", "r.npy", "--same", "column.npy",
                       "--loss", "hinge")
    assert got["loss"] == pytest.approx(right_value, rel=1e-13)


def test_gradient_of_w(nearfar, linear):
    """The chain through W by hand, left' G_left + right' G_right, against differences."""
    left, right, labels, w = linear
    nearfar.save(l=left @ w, r=right @ w, s=labels)
    nearfar("loss", "--left", "l.npy", "--right", "r.npy", "--same", "s.npy", "--loss", "hinge",
            "--grad-left", "gl.npy", "--grad-right", "gr.npy")
    gradient = left.T @ nearfar.load("gl") + right.T @ nearfar.load("gr")
    for k in np.ndindex(*w.shape):
        up, down = w.copy(), w.copy()
        up[k] += 1e-6
        down[k] -= 1e-6
        slope = (second_answer(left, right, labels[:, 0], up)[1]
                 - second_answer(left, right, labels[:, 0], down)[1]) / 2e-6
        assert gradient[k] == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_training_w_on_left_right_same(nearfar, linear):
    """nearfar train with the arrays made offline lowers the second answer's own loss."""
    left, right, labels, _ = linear
    nearfar.save(l=left, r=right, s=labels)
    nearfar("train", "--left", "l.npy", "--right", "r.npy", "--same", "s.npy", "--loss", "hinge",
            "--no-bias", "--dim", "3", "--epochs", "200", "--seed", "1", "-o", "w.safetensors",
            "-q")
    nearfar("embed", "w.safetensors", "l.npy", "-o", "el.npy")
    nearfar("embed", "w.safetensors", "r.npy", "-o", "er.npy")

    def value(a, b):
        return second_answer(a, b, labels[:, 0], np.eye(a.shape[1]))[1]

    assert value(nearfar.load("el"), nearfar.load("er")) < 0.8 * value(left, right)


# ---- the question itself ----------------------------------------------------------------------


def test_a_batch_of_sixteen(nearfar, rng):
    """Pairs of equal and different labels, their indices and distances, and the loss: by the
    question's own steps and by one call."""
    x, labels = rng.uniform(0, 0.4, size=(16, 8)), rng.integers(0, 4, size=16)
    i, j = np.triu_indices(16, 1)
    same = labels[i] == labels[j]
    d = np.linalg.norm(x[i] - x[j], axis=1)
    by_hand = np.where(same, d**2, relu(MARGIN - d) ** 2).mean()

    nearfar.save(x=x, labels=labels)
    got = nearfar.json("loss", "x.npy", "--labels", "labels.npy", "--grad", "g.npy")
    assert got["loss"] == pytest.approx(by_hand, rel=1e-13)
    nearfar("pairs", "--labels", "labels.npy", "--all", "both", "-o", "pairs.npy")
    np.testing.assert_array_equal(nearfar.load("pairs"), np.stack([i, j, same], axis=1))
    nearfar("distances", "x.npy", "--condensed", "-o", "d.npy")
    np.testing.assert_allclose(nearfar.load("d"), d, rtol=1e-14)
    nearfar("distances", "x.npy", "--pairs", "pairs.npy", "-o", "dp.npy")
    np.testing.assert_array_equal(nearfar.load("dp"), nearfar.load("d"))


def test_negatives_with_a_distance_of_their_own(nearfar, rng):
    x, labels = rng.normal(size=(20, 5)), rng.integers(0, 3, size=20)
    i, j = np.triu_indices(20, 1)
    same = labels[i] == labels[j]
    d2 = ((x[i] - x[j]) ** 2).sum(1)
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosine = 1 - (u[i] * u[j]).sum(1)
    by_hand = np.where(same, d2, relu(1.2 - cosine)).mean()
    nearfar.save(x=x, labels=labels)
    got = nearfar.json("loss", "x.npy", "--labels", "labels.npy", "--pos-metric", "sqeuclidean",
                       "--pos-exponent", "1", "--neg-metric", "cosine", "--neg-exponent", "1",
                       "--margin", "1.2")
    assert got["loss"] == pytest.approx(by_hand, rel=1e-12)
