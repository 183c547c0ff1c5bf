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


# ---- OnlineContrastiveLoss of sentence-transformers ---------------------------------------------


def online(left, right, same, margin=0.5):
    """Of listed pairs the hard ones; where one side is missing, the mean of the other is the bound."""
    t = 1 - torch.nn.functional.cosine_similarity(left, right)
    positive, negative = t[same == 1], t[same == 0]
    below = positive.max() if len(positive) else negative.mean()
    above = negative.min() if len(negative) else positive.mean()
    near = torch.relu(margin - negative[negative < below])
    return (positive[positive > above] ** 2).sum() + (near ** 2).sum()


def close(seed, apart=0.25):
    """Pairs of which some are hard: half of them are near, of either label."""
    left = batch(seed)[0]
    right = left * apart + batch(seed + 50)[0] * torch.linspace(0.1, 1, len(left))[:, None]
    return left, right, torch.arange(len(left)) % 3 != 0


def hard_pairs(loss):
    """All pairs of a batch as a list, which is what the library takes."""
    def batch_loss(x, labels):
        i, j = torch.triu_indices(len(x), len(x), 1)
        return loss(x[i], x[j], (labels[i] == labels[j]).long())
    return batch_loss


def check_online(peer):
    own = nearfar.OnlineContrastiveLoss()
    for seed in range(4):
        left, right, same = close(30 + seed)
        for chosen in (same, torch.ones_like(same), torch.zeros_like(same)):
            result = own.rows(left.numpy(), right.numpy(), chosen.numpy())
            assert_same(result, lambda a, b: peer(a, b, chosen.long()), left, right)
        x, labels = batch(40 + seed, scale=0.4)
        x = x + torch.nn.functional.one_hot(labels, x.shape[1])
        assert_same(own(x.numpy(), labels.numpy()), lambda x: hard_pairs(peer)(x, labels), x)
        i, j = torch.triu_indices(len(x), len(x), 1)
        listed = own.pairs(x.numpy(), (i.numpy(), j.numpy(), (labels[i] == labels[j]).numpy()))
        assert_same(listed, lambda x: hard_pairs(peer)(x, labels), x)


def test_online_contrastive_formula():
    check_online(online)


def test_online_contrastive_of_sentence_transformers(sbert):
    loss = sbert.OnlineContrastiveLoss(model=None)
    check_online(lambda a, b, same: loss.compute_loss_from_embeddings([a, b], same))


def test_lone_pairs_of_sentence_transformers(sbert):
    """One hard positive beside one hard negative both count (once they did not: a side of one pair
    fell to the mean of itself); a pair alone counts for neither library."""
    loss, own = sbert.OnlineContrastiveLoss(model=None), nearfar.OnlineContrastiveLoss()
    left = torch.eye(2, dtype=torch.float64)
    right = torch.tensor([[0.1, 0.995], [0.1, 0.9]], dtype=torch.float64)
    same = torch.tensor([1, 0])
    result = own.rows(left.numpy(), right.numpy(), same.numpy())
    assert_same(result, lambda a, b: loss.compute_loss_from_embeddings([a, b], same), left, right)
    assert result.value > 0.8
    for k in (0, 1):
        one = slice(k, k + 1)
        assert own.rows(left[one].numpy(), right[one].numpy(), same[one].numpy()).value == 0
        assert loss.compute_loss_from_embeddings([left[one], right[one]], same[one]).item() == 0


def test_where_online_contrastive_differs_on_purpose(sbert):
    """A row of zeros has no direction: there its gradient is some 10^8, here 0. A label that is
    neither 0 nor 1 is left out with a warning there, and refused here."""
    loss, own = sbert.OnlineContrastiveLoss(model=None), nearfar.OnlineContrastiveLoss()
    left = torch.tensor([[0.0, 0.0], [0.6, 0.8]], requires_grad=True)
    right, same = torch.tensor([[1.0, 0.2], [0.8, 0.6]]), torch.tensor([1, 0])
    value = loss.compute_loss_from_embeddings([left, right], same)
    value.backward()
    result = own.rows(left.detach().numpy(), right.numpy(), same.numpy())
    assert result.value == pytest.approx(value.item(), rel=1e-6)
    assert left.grad[0].abs().max() > 1e7 and (result.grad[0][0] == 0).all()
    torch.testing.assert_close(torch.as_tensor(result.grad[0][1]), left.grad[1])
    with pytest.warns(UserWarning, match="binary labels"):
        sbert.OnlineContrastiveLoss(model=None).compute_loss_from_embeddings(
            [left, right], torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="same"):
        own.rows(left.detach().numpy(), right.numpy(), [1, 2])
