"""Triplet and margin losses and miners against pytorch-metric-learning, and where they differ."""

from functools import partial

import numpy as np
import pytest
import torch
from pytorch_metric_learning import distances, losses, miners, reducers

import nearfar
from nearfar import mine

TOLERANCE = {torch.float32: dict(rtol=3e-5, atol=1e-6), torch.float64: dict(rtol=1e-9, atol=1e-11)}
# The peer's distances of unit rows come from x.y beyond 25 rows, so choices may differ at near ties.


def batch(seed, n=24, d=6, classes=5, dtype=torch.float32):
    rng = np.random.default_rng(seed)
    x = torch.tensor(rng.normal(size=(n, d)), dtype=dtype)
    labels = rng.integers(0, classes, n)
    labels[0] = 100  # a class with one row
    return x, torch.tensor(labels)


def peer(loss, x, labels, mined=None):
    x = x.clone().requires_grad_()
    value = loss(x, labels, mined)
    value.backward()
    return value.item(), x.grad


def check(got, value, grad, dtype):
    assert got.value == pytest.approx(value, rel=TOLERANCE[dtype]["rtol"], abs=1e-7)
    torch.testing.assert_close(torch.as_tensor(got.grad), grad, **TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(6))
def test_all_triplets(seed, dtype):
    x, labels = batch(seed, dtype=dtype)
    margin = [0.05, 0.3, 1.0][seed % 3]
    got = nearfar.loss(x.numpy(), labels.numpy(), preset="triplet", margin=margin)
    check(got, *peer(losses.TripletMarginLoss(margin=margin), x, labels), dtype)
    got = nearfar.loss(x.numpy(), labels.numpy(), preset="triplet", margin=margin, reduction="mean")
    want = losses.TripletMarginLoss(margin=margin, reducer=reducers.MeanReducer())
    check(got, *peer(want, x, labels), dtype)
    for metric, distance in [("sqeuclidean", distances.LpDistance(power=2)),
                             ("cityblock", distances.LpDistance(p=1, normalize_embeddings=False)),
                             ("cosine", distances.CosineSimilarity())]:
        got = nearfar.loss(x.numpy(), labels.numpy(), preset="triplet", margin=margin,
                           metric=metric, normalize=metric == "sqeuclidean")
        want = losses.TripletMarginLoss(margin=margin, distance=distance)
        check(got, *peer(want, x, labels), dtype)


@pytest.mark.parametrize("seed", range(4))
def test_hard_triplets(seed):
    x, labels = batch(seed, dtype=torch.float64)
    plain = distances.LpDistance(normalize_embeddings=False, power=2)
    mined = miners.BatchHardMiner(distance=plain)(x, labels)
    want = losses.TripletMarginLoss(margin=1, distance=plain, reducer=reducers.MeanReducer())
    got = nearfar.loss(x.numpy(), labels.numpy(), preset="tfa-hard")
    check(got, *peer(want, x, labels, mined), torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("learn", [False, True])
def test_margin_loss(dtype, learn):
    x, labels = batch(7, dtype=dtype)
    want = losses.MarginLoss(learn_beta=learn, nu=0.1 if learn else 0)
    value, grad = peer(want, x, labels)
    got = nearfar.margin_loss(x.numpy(), labels.numpy(), 1.2, nu=0.1 if learn else 0)
    check(got, value, grad, dtype)
    if learn:
        assert got.beta_grad == pytest.approx(want.beta.grad.item(), rel=1e-5)
        check(nearfar.margin_loss(x.numpy(), labels.numpy()),
              *peer(losses.MarginLoss(), x, labels), dtype)


def test_margin_loss_with_a_beta_per_class():
    x, labels = batch(8, dtype=torch.float64)
    labels = torch.tensor(np.unique(labels.numpy(), return_inverse=True)[1])
    want = losses.MarginLoss(learn_beta=True, nu=0.2, num_classes=int(labels.max()) + 1)
    value, grad = peer(want, x, labels)
    order = nearfar.partition(labels.numpy()).labels
    got = nearfar.margin_loss(x.numpy(), labels.numpy(), np.full(len(order), 1.2), nu=0.2)
    check(got, value, grad, torch.float64)
    np.testing.assert_allclose(got.beta_grad, want.beta.grad.numpy()[order], rtol=1e-5)


# ---- miners -------------------------------------------------------------------------------------


def as_set(*columns):
    return set(zip(*(np.asarray(column).tolist() for column in columns)))


@pytest.mark.parametrize("seed", range(5))
def test_miners_find_the_same(seed):
    x, labels = batch(seed, dtype=torch.float64)
    rows, classes = x.numpy(), labels.numpy()
    a, p, b, n = miners.PairMarginMiner(pos_margin=0.9, neg_margin=1.2)(x, labels)
    found = mine.pair_margin(rows, classes, pos_margin=0.9, neg_margin=1.2)
    ordered = as_set(found.i, found.j, found.same) | as_set(found.j, found.i, found.same)
    assert ordered == as_set(a, p, [True] * len(a)) | as_set(b, n, [False] * len(b))
    a, p, b, n = miners.MultiSimilarityMiner()(x, labels)
    found = mine.multi_similarity(rows, classes)
    assert as_set(*found) == as_set(a, p, [True] * len(a)) | as_set(b, n, [False] * len(b))
    assert as_set(*mine.batch_hard(rows, classes)) == as_set(*miners.BatchHardMiner()(x, labels))
    easy = miners.BatchEasyHardMiner("easy", "semihard")(x, labels)
    assert as_set(*mine.easy_positive(rows, classes)) == as_set(easy[0], easy[1], easy[3])
    for violation in ("all", "hard", "semihard", "easy"):
        want = miners.TripletMarginMiner(margin=0.2, type_of_triplets=violation)(x, labels)
        name = violation.replace("semihard", "semi-hard")
        assert as_set(*mine.triplet_margin(rows, classes, violation=name)) == as_set(*want)
    want = as_set(*miners.TripletMarginMiner(type_of_triplets="semihard")(x, labels))
    assert as_set(*mine.semi_hard(rows, classes)) == want


@pytest.mark.parametrize("seed", range(3))
def test_miners_find_the_same_in_a_reference_set(seed):
    x, labels = batch(seed, dtype=torch.float64)
    y, others = batch(seed + 50, n=40, dtype=torch.float64)
    both = [part.numpy() for part in (x, labels, y, others)]
    peer_both = (x, labels, y, others)
    a, p, b, n = miners.PairMarginMiner(pos_margin=0.9, neg_margin=1.2)(*peer_both)
    found = mine.pair_margin(*both, pos_margin=0.9, neg_margin=1.2)
    assert as_set(*found) == as_set(a, p, [True] * len(a)) | as_set(b, n, [False] * len(b))
    a, p, b, n = miners.MultiSimilarityMiner()(*peer_both)
    found = mine.multi_similarity(*both)
    assert as_set(*found) == as_set(a, p, [True] * len(a)) | as_set(b, n, [False] * len(b))
    assert as_set(*mine.batch_hard(*both)) == as_set(*miners.BatchHardMiner()(*peer_both))
    easy = miners.BatchEasyHardMiner("easy", "semihard")(*peer_both)
    assert as_set(*mine.easy_positive(*both)) == as_set(easy[0], easy[1], easy[3])
    for violation in ("all", "hard", "semihard", "easy"):
        want = miners.TripletMarginMiner(margin=0.2, type_of_triplets=violation)(*peer_both)
        name = violation.replace("semihard", "semi-hard")
        assert as_set(*mine.triplet_margin(*both, violation=name)) == as_set(*want)
    drawn = mine.distance_weighted(*both)
    anchors = np.asarray(miners.DistanceWeightedMiner()(*peer_both)[0])
    assert np.array_equal(np.bincount(drawn.anchor, minlength=24), np.bincount(anchors, minlength=24))


@pytest.mark.parametrize(("peer_miner", "own"), [
    (miners.MultiSimilarityMiner(), mine.multi_similarity),
    (miners.BatchHardMiner(), mine.batch_hard),
    (miners.PairMarginMiner(0.4, 1.3), partial(mine.pair_margin, pos_margin=0.4, neg_margin=1.3))])
def test_a_memory_bank_with_a_miner(peer_miner, own):
    peer_bank = losses.CrossBatchMemory(losses.ContrastiveLoss(), 6, memory_size=50,
                                        miner=peer_miner)
    peer_bank.embedding_memory = peer_bank.embedding_memory.double()
    bank, loss = nearfar.MemoryBank(50, 6, "float64"), nearfar.ContrastiveLoss("pml")
    for seed in range(5):
        x, labels = batch(seed, n=20, dtype=torch.float64)
        got = bank.loss(loss, x.numpy(), labels.numpy(), miner=own)
        rows = x.clone().requires_grad_()
        value = peer_bank(rows, labels)
        value.backward()
        check(got, value.item(), rows.grad, torch.float64)


def test_distance_weighted_draws_alike():
    x, labels = batch(3, n=20, d=8, classes=2, dtype=torch.float64)
    labels[0] = labels[1]
    counts = np.zeros((2, 20))
    torch.manual_seed(0)
    miner = miners.DistanceWeightedMiner()
    for round_ in range(400):
        for k, mined in enumerate([miner(x, labels),
                                   mine.distance_weighted(x.numpy(), labels.numpy(), seed=round_)]):
            anchor, _, negative = (np.asarray(part) for part in mined)
            np.add.at(counts[k], negative[anchor == 5], 1)
    assert counts[1].sum() > 1000
    share = counts / counts.sum(1, keepdims=True)
    assert np.abs(share[0] - share[1]).max() < 0.06


# ---- where the peer is left on purpose ------------------------------------------------------------


def test_duplicates_give_a_finite_gradient():
    """The peer's gradient at distance 0 depends on the formula that cdist picks; here it is 0."""
    x = torch.ones(4, 3)
    labels = torch.tensor([0, 0, 1, 1])
    got = nearfar.loss(x.numpy(), labels.numpy(), preset="triplet")
    assert got.value == pytest.approx(0.05) and not got.grad.any()
    assert got.counts.coincident_negatives == 4


def test_a_zero_row_does_not_blow_up():
    """The peer divides by max(|x|, 1e-12): a zero row gets a gradient of 1e9 and more."""
    x, labels = batch(2)
    x[5] = 0
    labels[5] = labels[6]
    _, grad = peer(losses.TripletMarginLoss(margin=0.5), x, labels)
    got = nearfar.loss(x.numpy(), labels.numpy(), preset="triplet", margin=0.5)
    assert grad[5].abs().max() > 1e6
    assert not got.grad[5].any() and np.isfinite(got.grad).all()
    assert got.counts.zero_rows == 1


def test_unlabelled_rows_are_in_no_triplet():
    """-1 is a class to the peer."""
    x, labels = batch(4, dtype=torch.float64)
    labels[:5] = -1
    got = nearfar.loss(x.numpy(), labels.numpy(), preset="triplet")
    check(nearfar.loss(x.numpy(), labels.numpy(), preset="triplet", unlabelled=None),
          *peer(losses.TripletMarginLoss(), x, labels), torch.float64)
    value, grad = peer(losses.TripletMarginLoss(), x[5:], labels[5:])
    assert got.value == pytest.approx(value)
    assert not got.grad[:5].any()
    torch.testing.assert_close(torch.as_tensor(got.grad[5:]), grad)


def test_every_anchor_draws_in_many_dimensions():
    """The peer scales all weights by the largest of the batch, so that in many dimensions those of
    most anchors become 0 and the anchors vanish; here the scale is each anchor's own."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 512)).astype("f4")
    x[:20, 0] += 60
    x[20:, 0] += 18
    labels = np.arange(40) % 10
    seen = np.unique(mine.distance_weighted(x, labels).anchor)
    peers = miners.DistanceWeightedMiner()(torch.tensor(x), torch.tensor(labels))
    assert len(seen) == 40
    assert len(peers[0].unique()) < 40


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [7, 7, 7, 7]])
def test_no_triplet_is_zero_as_in_the_peer(labels):
    x = torch.arange(8.0).reshape(4, 2) + 1
    got = nearfar.loss(x.numpy(), labels, preset="triplet")
    value, grad = peer(losses.TripletMarginLoss(), x, torch.tensor(labels))
    assert got.value == value == 0 and not got.grad.any() and not grad.any()
