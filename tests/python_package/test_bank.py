"""The memory bank against the reference form, through its life and a checkpoint."""

import pickle
from functools import partial

import numpy as np
import pytest

import nearfar
from nearfar import mine


def batch(rng, n=6, d=3, dtype=np.float32):
    return rng.standard_normal((n, d)).astype(dtype), rng.integers(0, 3, n)


def test_the_newest_rows_stay():
    bank = nearfar.MemoryBank(4, 1)
    for first, count, ids in ((0, 3, [0, 1, 2]), (3, 3, [4, 5, 2, 3]), (6, 0, [4, 5, 2, 3]),
                              (6, 6, [10, 11, 8, 9])):
        rows = np.arange(first, first + count)
        bank.push(rows[:, None].astype("f4"), rows + 100)
        assert bank.ids.tolist() == bank.embeddings[:, 0].tolist() == ids or count == 6
    assert sorted(bank.ids.tolist()) == [8, 9, 10, 11]
    assert (bank.labels == bank.ids + 100).all()
    bank.reset()
    assert len(bank) == 0
    bank.push(np.zeros((1, 1), "f4"), [5])
    assert bank.ids.tolist() == [0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_loss_is_the_reference_form(dtype):
    rng, loss = np.random.default_rng(0), nearfar.ContrastiveLoss()
    bank, by_hand = (nearfar.MemoryBank(15, 3, dtype) for _ in range(2))
    for step in range(5):
        x, labels = batch(rng, dtype=dtype)
        ids = np.arange(len(x)) + 3 * (step % 3)
        result = bank.loss(loss, x, labels, ids)
        by_hand.push(x, labels, ids)
        wanted = loss.reference(x, labels, by_hand.embeddings, by_hand.labels, ids, by_hand.ids)
        assert result.value == wanted.value and result.counts == wanted.counts
        np.testing.assert_array_equal(result.grad, wanted.grad[0])
        assert (np.isin(bank.ids, ids)).any()
        assert sum(result.counts[:2]) < len(x) * len(bank)


def test_only_the_batch_takes_gradient():
    bank, loss = nearfar.MemoryBank(8, 2, "float64"), nearfar.ContrastiveLoss(reduction="sum")
    old = np.array([[1.0, 0.0]])
    bank.push(old, [0])
    x = np.array([[0.0, 0.0]])
    result = bank.loss(loss, x, [0])
    assert result.value == 1
    np.testing.assert_array_equal(result.grad, [[-2.0, 0.0]])
    assert bank.loss(loss, x, [0], gradient=False).grad is None


def test_a_failing_loss_leaves_the_bank():
    bank, loss = nearfar.MemoryBank(4, 1, "float64"), nearfar.ContrastiveLoss()
    bank.push([[1.0]], [0])
    with pytest.raises(Exception):
        bank.loss(loss, [[1e200], [-1e200]], [0, 0])
    assert bank.embeddings.tolist() == [[1.0]]


@pytest.mark.parametrize("miner", [
    partial(mine.multi_similarity, epsilon=0.3), mine.batch_hard,
    partial(mine.pair_margin, pos_margin=0.1, neg_margin=1.5)])
def test_mined_pairs_of_the_bank(miner):
    rng = np.random.default_rng(2)
    bank, loss = nearfar.MemoryBank(25, 3, "float64"), nearfar.ContrastiveLoss(margin=3)
    for _ in range(4):
        x, labels = rng.normal(size=(10, 3)), rng.integers(0, 3, 10)
        result = bank.loss(loss, x, labels, miner=miner)
        rows, known, ids = bank.embeddings, bank.labels, bank.ids
        own = np.arange(bank._pushed - 10, bank._pushed)
        found = miner(x, labels, rows, known, ids=own, reference_ids=ids)
        if isinstance(found, mine.Triplets):
            pairs = [(a, j, same) for a, p, n in zip(*found) for j, same in ((p, True), (n, False))]
        else:
            pairs = list(zip(*found))
        value, grad = 0, np.zeros_like(x)
        for i, j, same in pairs:
            e = x[i] - rows[j]
            d = np.linalg.norm(e)
            value += (d**2 if same else max(0, 3 - d)**2) / len(pairs)
            grad[i] += (2 * e if same else -2 * max(0, 3 - d) * e / d) / len(pairs)
        assert len(pairs) > 5 and result.value == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(result.grad, grad, atol=1e-12)
        assert bank.loss(loss, x[:0], labels[:0], gradient=False, miner=miner).value == 0
    before = bank.state_dict()
    with pytest.raises(ValueError, match="kind supcon"):
        bank.loss(nearfar.SupConLoss(), x, labels, miner=miner)
    assert np.array_equal(before["ids"], bank.ids)


@pytest.mark.parametrize("rows", [0, 2, 5, 7])
@pytest.mark.parametrize("how", ["state", "pickle"])
def test_a_checkpoint_goes_on(rows, how):
    rng = np.random.default_rng(rows)
    bank = nearfar.MemoryBank(5, 2)
    x, labels = batch(rng, rows, 2)
    bank.push(x, labels)
    again = (pickle.loads(pickle.dumps(bank)) if how == "pickle"
             else nearfar.MemoryBank(1, 1).load_state_dict(bank.state_dict()))
    x, labels = batch(rng, 3, 2)
    for each in (bank, again):
        each.push(x, labels)
    for name in ("embeddings", "labels", "ids"):
        np.testing.assert_array_equal(getattr(bank, name), getattr(again, name))
    assert again.capacity == 5


@pytest.mark.parametrize("call, error, text", [
    (lambda: nearfar.MemoryBank(0, 1), ValueError, "capacity is 0"),
    (lambda: nearfar.MemoryBank(1, 1, "int32"), ValueError, "dtype is int32"),
    (lambda: nearfar.MemoryBank(2, 1).push([[1.0, 2.0]], [0]), ValueError, "columns"),
    (lambda: nearfar.MemoryBank(2, 1).push([["a"]], [0]), TypeError, "float32"),
    (lambda: nearfar.MemoryBank(2, 1).push([[np.nan]], [0]), ValueError, "NaN"),
    (lambda: nearfar.MemoryBank(2, 1).push([[1.0]], [0, 1]), ValueError, "labels"),
    (lambda: nearfar.MemoryBank(2, 1).push([[1.0]], [0.5]), TypeError, "whole numbers"),
    (lambda: nearfar.MemoryBank(2, 1).push([[1.0]], [0], [[1]]), ValueError, "ids"),
    (lambda: nearfar.MemoryBank(2, 1).load_state_dict({}), ValueError, "not a bank"),
    (lambda: nearfar.MemoryBank(2, 1).load_state_dict(
        {**nearfar.MemoryBank(2, 1).state_dict(), "next": 1}), ValueError, "do not fit"),
])
def test_what_does_not_fit_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_trainer_and_estimator_take_it():
    x, labels = nearfar.load_digits()[:2]
    x, labels = np.asarray(x)[:300], np.asarray(labels)[:300]
    plain, banked = (nearfar.Trainer(epochs=3, batch_size=32, memory_bank=rows)
                     for rows in (0, 128))
    assert "train.memory_bank" not in plain.fit(x, labels).metadata
    assert banked.fit(x, labels).metadata["train.memory_bank"] == "128"
    assert banked.report.map_at_r > 0.5
    assert (plain.model.weights[0] != banked.model.weights[0]).any()
    with pytest.raises(ValueError, match="memory_bank is 8"):
        nearfar.Trainer(memory_bank=8, sampling="pairs").fit(x, labels)


# ---- rows with more than a label -----------------------------------------------------------------

TAGS = np.array(["sky", "sea", "sand", "snow", "sun"])


def rich_batch(rng, source, n=6, d=3):
    x = rng.standard_normal((n, d))
    marks = rng.random((n, len(TAGS))) < 0.4
    sets = {"lists": [TAGS[row].tolist() for row in marks], "indicator": marks}
    given = {"row_weight": rng.random(n), "groups": rng.integers(0, 9, n)}
    if source == "labels":
        return x, given | {"labels": rng.integers(0, 3, n)}
    return x, given | {"label_sets": sets[source]}


@pytest.mark.parametrize("source", ["labels", "lists", "indicator"])
@pytest.mark.parametrize("loss", [nearfar.ContrastiveLoss(), nearfar.SupConLoss(),
                                  nearfar.TripletMarginLoss(reduction="none")],
                         ids=["weston", "supcon", "triplet"])
def test_rows_keep_what_they_came_with(loss, source):
    rng = np.random.default_rng(3)
    bank, seen = nearfar.MemoryBank(15, 3, "float64"), []
    for step in range(6):
        x, given = rich_batch(rng, source)
        got = bank.loss(loss, x, given.get("labels"),
                        **{k: v for k, v in given.items() if k != "labels"})
        seen += [{name: value[row] for name, value in given.items()} for row in range(len(x))]
        held = {name: [seen[i][name] for i in bank.ids] for name in given}
        if source == "indicator":
            held["label_sets"] = np.array(held["label_sets"])
        weights = {} if loss._takes_rows else {"reference_row_weight": held["row_weight"]}
        named = {f"{side}_label_sets": of.get("label_sets")
                 for side, of in (("query", given), ("reference", held))}
        want = loss.reference_targets(
            x, given.get("labels"), bank.embeddings, held.get("labels"),
            np.arange(step * 6, step * 6 + 6), bank.ids, query_row_weight=given["row_weight"],
            query_groups=given["groups"], reference_groups=held["groups"], **named, **weights)
        assert got.value == want.value and got.counts == want.counts and sum(got.counts[:2]) > 0
        np.testing.assert_array_equal(got.grad, want.grad[0])
        assert (got.terms is None) == (want.terms is None)
        if got.terms is not None:
            np.testing.assert_array_equal(got.terms, want.terms)
        assert bank.groups.tolist() == held["groups"]
        bank = [bank, pickle.loads(pickle.dumps(bank)),
                nearfar.MemoryBank(1, 1).load_state_dict(bank.state_dict())][step % 3]
    assert (bank.label_sets is None) == (source == "labels")
    if source == "lists":
        assert [sorted(row) for row in bank.label_sets] == [
            sorted(seen[i]["label_sets"]) for i in bank.ids]


def test_all_rows_bring_the_same():
    rng, loss = np.random.default_rng(4), nearfar.SupConLoss()
    bank = nearfar.MemoryBank(9, 3, "float64")
    x, given = rich_batch(rng, "lists")
    bank.push(x, **given)
    for change, text in (({"groups": None}, "without groups"),
                         ({"row_weight": None}, "without row_weight"),
                         ({"label_sets": None}, "labels or label_sets"),
                         ({"labels": np.zeros(6, int)}, "labels or label_sets"),
                         ({"row_weight": -np.ones(6)}, "at least 0"),
                         ({"label_sets": [["a"]]}, "must have 6"),
                         ({"miner": mine.batch_hard}, "have no targets")):
        with pytest.raises((ValueError, TypeError), match=text):
            bank.loss(loss, x, **{**given, **change})
    assert len(bank) == 6
    bank.reset()
    assert bank.groups is bank.label_sets is bank.row_weight is None
    bank.push(x, np.zeros(6, int), class_weight={0: 2.0})
    assert bank.row_weight.tolist() == [2.0] * 6
