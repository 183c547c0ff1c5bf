"""Presets tfa-* and sbert-* against TensorFlow Addons' and sentence-transformers' losses: spelled out in
PyTorch from their sources, and against sentence-transformers itself where it is installed."""

import numpy as np
import pytest
import torch

import nearfar

TOLERANCE = dict(rtol=1e-9, atol=1e-11)


def batch(seed, classes=5, n=30, d=6, scale=1.0):
    """Every class has several rows: without a positive or a negative the libraries go other ways."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64) * scale
    return x, torch.arange(n)[torch.randperm(n, generator=generator)] % classes


def assert_same(result, loss, *rows):
    rows = [x.clone().requires_grad_() for x in rows]
    value = loss(*rows)
    value.backward()
    assert value > 0 and result.value == pytest.approx(value.item(), rel=1e-10)
    grads = result.grad if isinstance(result.grad, tuple) else (result.grad,)
    for got, x in zip(grads, rows, strict=True):
        torch.testing.assert_close(torch.as_tensor(got), x.grad, **TOLERANCE)


def distances(x, squared=False):
    square = ((x[:, None] - x) ** 2).sum(-1)
    return square if squared else torch.where(square > 0, square, 1).sqrt() * (square > 0)


def masks(labels):
    same = labels[:, None] == labels
    return same & ~torch.eye(len(labels), dtype=torch.bool), ~same


# ---- formulas -----------------------------------------------------------------------------------


def hard(x, labels, margin, squared, smooth=False):
    """_batch_hard: farthest positive and nearest negative of each row, mean over rows."""
    t, (positive, negative) = distances(x, squared), masks(labels)
    farthest = (t * positive).max(1).values
    nearest = torch.where(negative, t, torch.inf).min(1).values
    z = farthest - nearest + margin
    return (torch.nn.functional.softplus(z) if smooth else torch.relu(z)).mean()


def semi_hard(x, labels, margin, squared):
    """For each positive pair the nearest negative beyond it, or the farthest of all."""
    t, (positive, negative) = distances(x, squared), masks(labels)
    beyond = negative[:, None, :] & (t[:, None, :] > t[:, :, None])  # anchor, positive, negative
    nearest = torch.where(beyond, t[:, None, :], torch.inf).min(2).values
    farthest = torch.where(negative, t, -torch.inf).max(1).values
    chosen = torch.where(beyond.any(2), nearest, farthest[:, None])
    return torch.relu(t - chosen + margin)[positive].sum() / positive.sum()


def all_triplets(x, labels, margin):
    t, (positive, negative) = distances(x), masks(labels)
    triplet = positive[:, :, None] & negative[:, None, :]
    terms = torch.relu(t[:, :, None] - t[:, None, :] + margin)[triplet]
    return terms.sum() / (terms > 1e-16).sum()


def lifted(x, labels, margin):
    """LiftedStructLoss: a quarter of the sum over ordered pairs, over the number of unordered ones."""
    t, (positive, negative) = distances(x), masks(labels)
    sums = (torch.exp(margin - t) * negative).sum(1)
    j = torch.log(sums[:, None] + sums) + t
    return 0.25 * (torch.relu(j) ** 2)[positive].sum() / (positive.sum() / 2)


def ranking(anchors, positives, scale=20.0):
    """MultipleNegativesRankingLoss: cross entropy of scaled cosines."""
    a, p = (torch.nn.functional.normalize(x, dim=1) for x in (anchors, positives))
    return torch.nn.functional.cross_entropy(scale * a @ p.T, torch.arange(len(a)))


FORMULAS = {
    "tfa-hard": lambda x, y: hard(x, y, 1, True),
    "tfa-semihard": lambda x, y: semi_hard(x, y, 1, True),
    "tfa-lifted": lambda x, y: lifted(x, y, 1),
    "sbert-batch-all": lambda x, y: all_triplets(x, y, 5),
    "sbert-batch-hard": lambda x, y: hard(x, y, 5, False),
    "sbert-batch-hard-soft": lambda x, y: hard(x, y, 0, False, smooth=True),
    "sbert-batch-semihard": lambda x, y: semi_hard(x, y, 5, False),
}


@pytest.mark.parametrize("scale", [0.3, 4.0])
@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(name, scale):
    for seed in range(3):
        x, labels = batch(seed, scale=scale)
        result = nearfar.loss(x.numpy(), labels.numpy(), preset=name)
        assert_same(result, lambda x, y=labels: FORMULAS[name](x, y), x)
        again = nearfar.training_loss(name)(x.numpy(), labels.numpy())
        assert again.value == result.value and np.array_equal(again.grad, result.grad)


def test_ranking():
    anchors, positives = batch(4)[0], batch(5)[0]
    labels = np.arange(len(anchors))
    result = nearfar.training_loss("sbert-mnrl").reference(anchors.numpy(), labels,
                                                           positives.numpy(), labels)
    assert_same(result, ranking, anchors, positives)


# ---- sentence-transformers itself ---------------------------------------------------------------


@pytest.fixture(scope="module")
def sbert():
    return pytest.importorskip("sentence_transformers.sentence_transformer.losses")


@pytest.mark.parametrize(("name", "peer"), [
    ("sbert-batch-all", "BatchAllTripletLoss"), ("sbert-batch-hard", "BatchHardTripletLoss"),
    ("sbert-batch-hard-soft", "BatchHardSoftMarginTripletLoss"),
    ("sbert-batch-semihard", "BatchSemiHardTripletLoss")])
def test_batches_of_sentence_transformers(sbert, name, peer):
    for seed in range(3):
        x, labels = batch(10 + seed, scale=2.0)
        loss = getattr(sbert, peer)(model=None)
        result = nearfar.loss(x.numpy(), labels.numpy(), preset=name)
        assert_same(result, lambda x, y=labels: loss.compute_loss_from_embeddings([x], y), x)


def test_pairs_of_sentence_transformers(sbert):
    left, right = batch(20)[0], batch(21)[0] + 0.5
    same = torch.arange(len(left)) % 2
    loss = sbert.ContrastiveLoss(model=None)
    result = nearfar.ContrastiveLoss("sbert").rows(left.numpy(), right.numpy(), same.numpy())
    assert_same(result, lambda a, b: loss.compute_loss_from_embeddings([a, b], same), left, right)


def test_ranking_of_sentence_transformers(sbert):
    anchors, positives = batch(22)[0], batch(23)[0]
    labels = np.arange(len(anchors))
    loss = sbert.MultipleNegativesRankingLoss(model=None)
    result = nearfar.training_loss("sbert-mnrl").reference(anchors.numpy(), labels,
                                                           positives.numpy(), labels)
    assert_same(result, lambda a, b: loss.compute_loss_from_embeddings([a, b], None), anchors,
                positives)
