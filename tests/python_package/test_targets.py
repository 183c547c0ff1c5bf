"""Targets of pairs against loops over the formula."""

import numpy as np
import pytest

import nearfar
from nearfar.anchor_losses import CLASSES

N, D = 23, 4


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(N, D)) * 0.4


def by_loops(x, y, w, reduction):
    """Value of weston by the formula; y[i, j] NaN is no pair. Gradient by the chain rule."""
    sums, mass, active, pairs, weights = np.zeros(2), np.zeros(2), np.zeros(2), 0, 0.0
    slopes = np.zeros((2, N, N))
    for i in range(N):
        for j in range(i + 1, N):
            if np.isnan(y[i, j]):
                continue
            d = np.linalg.norm(x[i] - x[j])
            phi = (max(0, 1 - d) ** 2, d * d)
            share = (1 - y[i, j], y[i, j])
            pairs, weights = pairs + 1, weights + w[i, j]
            for side in (0, 1):
                sums[side] += w[i, j] * share[side] * phi[side]
                mass[side] += share[side]
                active[side] += share[side] * (w[i, j] * share[side] * phi[side] > 0)
            slopes[0, i, j] = w[i, j] * share[0] * -2 * max(0, 1 - d) / d
            slopes[1, i, j] = w[i, j] * share[1] * 2
    by = {"sum": np.ones(2), "mean": np.full(2, pairs), "weighted-mean": np.full(2, weights),
          "mean-sides": mass, "mean-nonzero": active}[reduction]
    scale = np.divide(1, by, out=np.zeros(2), where=by > 0)
    grad = np.zeros_like(x)
    for side in (0, 1):
        for i, j in zip(*np.nonzero(slopes[side])):
            step = scale[side] * slopes[side, i, j] * (x[i] - x[j])
            grad[i] += step
            grad[j] -= step
    return scale @ sums, grad


REDUCTIONS = ["sum", "mean", "weighted-mean", "mean-sides", "mean-nonzero"]


def check(x, y, w, reduction, dtype=np.float64, **targets):
    got = nearfar.ContrastiveLoss(reduction=reduction).targets(x.astype(dtype), **targets)
    value, grad = by_loops(x, y, w, reduction)
    tolerance = 1e-11 if dtype == np.float64 else 3e-6
    np.testing.assert_allclose(got.value, value, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(got.grad, grad, rtol=0, atol=tolerance * max(1, abs(grad).max()))
    assert got.grad.dtype == dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_soft_targets_and_pair_weights(x, reduction, dtype):
    rng = np.random.default_rng(1)
    y, w = rng.random((N, N)), rng.random((N, N))
    y[rng.random((N, N)) < 0.3] = 1
    check(x, y, w, reduction, dtype, soft=y, pair_weight=w)


@pytest.mark.parametrize("form", ["lists", "indicator"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_several_labels_a_row(x, reduction, form):
    rng = np.random.default_rng(2)
    indicator = rng.random((N, 6)) < 0.25
    indicator[3] = False
    y = (indicator.astype(int) @ indicator.T > 0).astype(float)
    empty = ~indicator.any(1)
    y[empty] = y[:, empty] = np.nan
    sets = ([[f"tag {c}" for c in np.flatnonzero(row)] for row in indicator] if form == "lists"
            else indicator)
    check(x, y, np.ones((N, N)), reduction, label_sets=sets)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_weights_of_rows_and_classes_and_groups(x, reduction):
    rng = np.random.default_rng(3)
    labels = np.array(["cat", "dog", "emu"])[rng.integers(0, 3, N)]
    row_weight, groups = rng.random(N), rng.integers(0, 8, N)
    v = row_weight * np.where(labels == "dog", 3.0, 1.0)
    y = (labels[:, None] == labels).astype(float)
    y[groups[:, None] == groups] = np.nan
    check(x, y, np.outer(v, v), reduction, labels=labels, row_weight=row_weight,
          class_weight={"dog": 3.0, "yak": 9.0}, groups=groups)


def test_labels_alone_are_the_batch_form(x):
    labels = np.arange(N) % 4 - 1
    for preset in ("weston", "pml", "hinge", "sbert"):
        loss = nearfar.ContrastiveLoss(preset, stats=True)
        a, b = loss.targets(x, labels), loss(x, labels)
        np.testing.assert_allclose(a.value, b.value, rtol=1e-12)
        np.testing.assert_allclose(a.grad, b.grad, atol=1e-14)
        assert a.counts[:2] == b.counts[:2]
    assert loss.targets(x, labels, gradient=False).grad is None


@pytest.mark.parametrize("targets, error, text", [
    ({}, ValueError, "0 of targets"),
    ({"labels": np.zeros(N, int), "soft": np.zeros((N, N))}, ValueError, "2 of targets"),
    ({"soft": np.full((N, N), 2.0)}, ValueError, "from 0 to 1"),
    ({"soft": np.zeros((N, 2))}, ValueError, "it must be"),
    ({"label_sets": np.full((N, 2), 0.5)}, ValueError, "use soft"),
    ({"label_sets": [[1]] * 3}, ValueError, "offsets"),
    ({"labels": np.zeros(N, int), "row_weight": [1.0]}, ValueError, "row_weight"),
    ({"labels": np.zeros(N, int), "groups": [1]}, ValueError, "groups"),
    ({"labels": np.zeros(N, int), "row_weight": -np.ones(N)}, ValueError, "row_weight"),
    ({"soft": np.zeros((N, N)), "class_weight": {1: 2.0}}, TypeError, "class_weight"),
])
def test_what_cannot_be_is_refused(x, targets, error, text):
    with pytest.raises(error, match=text):
        nearfar.ContrastiveLoss().targets(x, **targets)


# ---- losses that compare the pairs of a row -----------------------------------------------------


OF_ROWS = list(CLASSES.values())


@pytest.mark.parametrize("cls", OF_ROWS)
def test_labels_alone_are_the_batch_form_of_every_loss(x, cls):
    labels = np.array(["cat", "dog", "emu"])[np.arange(N) % 3]
    loss = cls(stats=True)
    plain = loss(x, labels)
    for targets in ({"labels": labels}, {"label_sets": [[label] for label in labels]},
                    {"soft": labels[:, None] == labels}):
        got = loss.targets(x, **targets)
        assert got.value == pytest.approx(plain.value, rel=1e-11) and got.value > 0
        np.testing.assert_allclose(got.grad, plain.grad, rtol=0, atol=1e-11 * abs(plain.grad).max())
        assert got.counts.terms == plain.counts.terms
        assert got.counts.active_terms == plain.counts.active_terms


def exponentials(x, y, u, v, temperature):
    """NT-Xent, SupCon and NCA of cosine by numpy: terms and the weights of a mean."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    z = unit @ unit.T / temperature
    positive, negative = np.nan_to_num(y) * u, np.nan_to_num(1 - y) * u
    e = np.exp(z)
    both, ours, others = ((m * e).sum(1) for m in (positive + negative, positive, negative))
    pairs = v[:, None] * positive
    return {
        "nt-xent": (pairs * np.log1p(others[:, None] / e), np.nan_to_num(y), pairs),
        "supcon": (v * (np.log(both) - (positive * z).sum(1) / positive.sum(1)), np.ones(N), v),
        "nca": (v * (np.log(both) - np.log(ours)), np.ones(N), v),
    }


@pytest.mark.parametrize("reduction", ["sum", "mean", "weighted-mean"])
@pytest.mark.parametrize("name", ["nt-xent", "supcon", "nca"])
def test_soft_targets_weights_and_groups_by_the_formula(x, name, reduction):
    rng = np.random.default_rng(4)
    y, u = np.triu(rng.random((N, N)), 1), np.triu(rng.random((N, N)), 1)
    y, u, v, groups = y + y.T, u + u.T, rng.random(N), rng.integers(0, 9, N)
    y[groups[:, None] == groups] = np.nan
    terms, counts, weights = exponentials(x, y, u, v, 0.5)[name]
    by = {"sum": 1, "mean": counts.sum(), "weighted-mean": weights.sum()}[reduction]
    loss = CLASSES[name](0.5, metric="cosine", reduction=reduction, normalize=False)
    got = loss.targets(x, soft=np.nan_to_num(y), pair_weight=u, row_weight=v, groups=groups)
    assert got.value == pytest.approx(terms.sum() / by, rel=1e-12)
    direction, h = rng.normal(size=x.shape), 1e-6
    up, down = (loss.targets(x + step * direction, soft=np.nan_to_num(y), pair_weight=u,
                             row_weight=v, groups=groups).value for step in (h, -h))
    assert (got.grad * direction).sum() == pytest.approx((up - down) / (2 * h), rel=1e-6)


@pytest.mark.parametrize("cls", [c for c in OF_ROWS if c._preset in ("triplet", "margin", "n-pairs")])
def test_a_triplet_is_of_a_positive_and_a_negative(x, cls):
    with pytest.raises(ValueError, match=f"kind {cls._preset} .* 0 and 1 only"):
        cls().targets(x, soft=np.full((N, N), 0.5))


def test_a_weighted_mean_says_so():
    loss = nearfar.SupConLoss(reduction="weighted-mean")
    assert loss.formula.endswith("weighted mean over rows") and eval(repr(loss).split("#")[0],
                                                                    vars(nearfar)) == loss


# ---- training -----------------------------------------------------------------------------------


@pytest.fixture
def tagged():
    """Rows near the mean of their tags' centres, and columns of noise."""
    rng = np.random.default_rng(7)
    tags = rng.random((200, 5)) < 0.2
    tags[np.arange(200), rng.integers(0, 5, 200)] = True
    near = tags @ rng.normal(size=(5, 6)) * 2 / tags.sum(1, keepdims=True)
    return np.hstack([near + rng.normal(size=(200, 6)) / 2, rng.normal(size=(200, 12)) * 3]), tags


def apart(y, shared):
    """How much farther rows without a common tag are from each other than others, on average."""
    d = np.linalg.norm(y[:, None] - y[None], axis=2)
    return d[~shared].mean() / d[shared & ~np.eye(len(y), dtype=bool)].mean()


@pytest.mark.parametrize("form", ["sets", "lists", "soft"])
@pytest.mark.parametrize("loss", [None, "supcon", "nt-xent"])
def test_a_trainer_learns_from_targets(tagged, loss, form):
    x, tags = tagged
    shared = tags.astype(int) @ tags.T > 0
    targets = {"sets": {"label_sets": tags}, "soft": {"soft": shared},
               "lists": {"label_sets": [np.flatnonzero(row).tolist() for row in tags]}}[form]
    trainer = nearfar.Trainer(loss, sampling="random", epochs=20)
    model = trainer.fit(x, **targets)
    assert trainer.report.train_rows == 200 and trainer.report.map_at_r is None
    assert trainer.report.last_loss < trainer.report.first_loss
    assert apart(model.embed(x), shared) > 1.2 * apart(x, shared)
    again = nearfar.Trainer(loss, sampling="random", epochs=20).fit(x, **targets)
    np.testing.assert_array_equal(model.weights[0], again.weights[0])


def test_a_trainer_takes_weights_and_groups_beside_labels(tagged):
    x, tags = tagged
    labels = np.array(["cat", "dog", "emu", "fox", "gnu"])[tags.argmax(1)]
    trainer = nearfar.Trainer("supcon", epochs=5, outputs=4)
    plain = trainer.fit(x, labels)
    same = trainer.fit(x, labels, row_weight=np.ones(200), groups=np.arange(200),
                       class_weight={"cat": 1.0}, pair_weight=np.ones((200, 200)))
    np.testing.assert_allclose(same.embed(x), plain.embed(x), rtol=1e-3, atol=1e-4)
    assert trainer.report.valid_rows > 0
    other = trainer.fit(x, labels, class_weight={"cat": 9.0})
    assert not np.allclose(other.embed(x), plain.embed(x), atol=1e-2)


@pytest.mark.parametrize(("options", "arguments", "error", "text"), [
    ({}, {}, TypeError, "labels, label_sets or soft"),
    ({}, {"label_sets": True}, ValueError, "use random or all"),
    ({"sampling": "random"}, {"label_sets": True, "labels": True}, ValueError, "keep the one"),
    ({"sampling": "pairs"}, {"labels": True, "groups": True}, ValueError, "batches"),
    ({}, {"class_weight": {0: 1.0}}, TypeError, "class_weight"),
])
def test_what_a_trainer_cannot_take_is_refused(tagged, options, arguments, error, text):
    x, tags = tagged
    given = {"label_sets": tags, "labels": tags.argmax(1), "groups": np.arange(200),
             "class_weight": {0: 1.0}}
    with pytest.raises(error, match=text):
        nearfar.Trainer(**options).fit(x, **{name: given[name] for name in arguments})


# ---- query x reference -----------------------------------------------------------------------------

M = 9  # of the N rows are queries


def of_two_sets(loss, x, weight, row_weight, **targets):
    """The same as one set: pairs within a set have weight 0, and terms of reference rows too."""
    across = np.zeros((N, N))
    across[:M, M:] = weight
    of_rows = np.r_[row_weight, np.zeros(N - M)]
    if not loss._takes_rows:
        of_rows = np.r_[row_weight, np.ones(N - M)]
    return loss.targets(x, pair_weight=across, row_weight=of_rows, **targets)


LOSSES = [nearfar.ContrastiveLoss(), nearfar.ContrastiveLoss("pml")] + [
    cls() for name, cls in CLASSES.items() if name != "n-pairs"]


@pytest.mark.parametrize("source", ["labels", "sets", "hard"])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: f"{loss.preset}")
def test_two_sets_are_one_without_pairs_within(x, loss, source):
    rng = np.random.default_rng(5)
    loss = loss.replace(reduction="sum")
    labels = np.array(list("abcd"))[rng.integers(0, 4, N)]
    sets = [[label] + [f"{label}{k}" for k in range(k % 3)] for k, label in enumerate(labels)]
    hard = (labels[:, None] == labels[None]).astype(float)
    weight, row_weight = rng.random((M, N - M)) * 2, rng.random(M) * 2
    queries, others = x[:M], x[M:]
    one = of_two_sets(loss, x, weight, row_weight, **{
        "labels": {"labels": labels}, "sets": {"label_sets": sets}, "hard": {"soft": hard}}[source])
    given = {"labels": {}, "sets": {"query_label_sets": sets[:M], "reference_label_sets": sets[M:]},
             "hard": {"soft": hard[:M, M:]}}[source]
    names = (labels[:M], labels[M:]) if source == "labels" else (None, None)
    two = loss.reference_targets(queries, names[0], others, names[1], pair_weight=weight,
                                 query_row_weight=row_weight, **given)
    np.testing.assert_allclose(two.value, one.value, rtol=1e-11)
    np.testing.assert_allclose(np.r_[two.grad[0], two.grad[1]], one.grad, rtol=0,
                               atol=1e-11 * max(1, abs(one.grad).max()))
    assert one.value > 0


@pytest.mark.parametrize("loss", [*LOSSES, nearfar.OnlineContrastiveLoss()],
                         ids=lambda loss: f"{loss.preset}")
def test_groups_and_ids_make_no_pairs_of_two_sets(x, loss):
    rng = np.random.default_rng(6)
    labels, ids = rng.integers(0, 3, N), rng.integers(0, 8, N)
    want = loss.reference(x[:M], labels[:M], x[M:], labels[M:], ids[:M], ids[M:])
    for given in ({"query_groups": ids[:M], "reference_groups": ids[M:]},
                  {"query_ids": ids[:M], "reference_ids": ids[M:]}):
        got = loss.reference_targets(x[:M], labels[:M], x[M:], labels[M:], **given)
        assert got.counts[:2] == want.counts[:2]
        np.testing.assert_allclose(got.value, want.value, rtol=1e-12)
        for side in (0, 1):
            np.testing.assert_allclose(got.grad[side], want.grad[side], rtol=0, atol=1e-10)


@pytest.mark.parametrize("loss", LOSSES[2:], ids=lambda loss: f"{loss.preset}")
def test_terms_of_rows_come_from_every_form(x, loss):
    rng = np.random.default_rng(7)
    labels, upstream = rng.integers(0, 3, N), rng.normal(size=N)
    none = loss.replace(reduction="none")
    sets = (x[:M], labels[:M], x[M:], labels[M:])
    plain = none.reference(*sets, upstream=upstream[:M])
    other = none.reference_targets(*sets, upstream=upstream[:M])
    np.testing.assert_allclose(other.terms, plain.terms, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(plain.value, plain.terms.sum(), rtol=1e-12)
    np.testing.assert_allclose(loss.replace(reduction="mean").reference(*sets, terms=True).terms,
                               plain.terms)
    for side in (0, 1):
        np.testing.assert_allclose(other.grad[side], plain.grad[side], rtol=0, atol=1e-10)
    step = rng.normal(size=(M, D)) * 1e-6
    ahead, behind = (none.reference(x[:M] + sign * step, *sets[1:]).terms for sign in (1, -1))
    if loss.preset != "circle":  # which holds factors constant
        np.testing.assert_allclose(upstream[:M] @ (ahead - behind) / 2,
                                   (plain.grad[0] * step).sum(), rtol=1e-5, atol=1e-10)
    batch, same = none(x, labels, upstream=upstream), none.targets(x, labels, upstream=upstream)
    np.testing.assert_allclose(same.terms, batch.terms, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(same.grad, batch.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("given", "error", "text"), [
    ({"reference_row_weight": np.ones(N - M)}, ValueError, "none starts from the reference"),
    ({"query_groups": np.arange(M)}, ValueError, "only the query has groups"),
    ({"query_ids": np.arange(M)}, TypeError, "go together"),
    ({"soft": np.ones((M, N - M))}, ValueError, "give exactly one"),
    ({"pair_weight": np.ones((M, M))}, ValueError, "it must be"),
    ({"query_row_weight": np.ones(M + 1)}, ValueError, "query has rows"),
    ({"upstream": np.ones(M)}, ValueError, "upstream"),
    ({"query_labels": None}, TypeError, "give both or neither"),
])
def test_what_two_sets_cannot_take_is_refused(x, given, error, text):
    labels = np.zeros(N, int)
    arguments = {"query": x[:M], "query_labels": labels[:M], "reference": x[M:],
                 "reference_labels": labels[M:], **given}
    with pytest.raises(error, match=text):
        nearfar.SupConLoss().reference_targets(**arguments)


def test_rows_of_a_reference_have_weights_in_losses_of_pairs(x):
    labels = np.arange(N) % 3
    for loss in (nearfar.ContrastiveLoss(), nearfar.OnlineContrastiveLoss()):
        sets = (x[:M], labels[:M], x[M:], labels[M:])
        once, twice = (loss.replace(reduction="sum").reference_targets(
            *sets, reference_row_weight=np.full(N - M, weight)).value for weight in (1.0, 2.0))
        assert 0 < twice == pytest.approx(2 * once)


def test_pairs_have_no_terms_of_rows(x):
    labels = np.zeros(N, int)
    for call in (lambda loss: loss.reference(x[:M], labels[:M], x[M:], labels[M:]),
                 lambda loss: loss.reference_targets(x[:M], labels[:M], x[M:], labels[M:]),
                 lambda loss: loss.targets(x, labels)):
        with pytest.raises(ValueError, match="terms"):
            call(nearfar.ContrastiveLoss(reduction="none"))
    with pytest.raises(ValueError, match="n-pairs"):
        nearfar.NPairsLoss().reference_targets(x[:M], labels[:M], x[M:], labels[M:])
