"""The campaign's short tier, and what its oracle rests on. tools/test-long has the long one."""

import numpy as np
import pytest

import campaign
import row_oracle
from campaign_calls import draw_call, run
from campaign_loss import compare, expect
from campaign_rows import Contexts
from row_oracle import Real, Table

DRAWS = {"loss": 360, "distances": 60, "mine": 90, "eval": 60, "prune": 45}
BLOCKS = 3


@pytest.mark.parametrize("part", campaign.PARTS)
@pytest.mark.parametrize("block", range(BLOCKS))
def test_random_calls(part, block):
    count = DRAWS[part] // BLOCKS
    failures, outcomes, _ = campaign.campaign(part, block * count, count, large=False)
    assert not failures, "\n".join(f"seed {seed}: {text}" for seed, text in failures)
    assert outcomes["compared"] + outcomes.get("skipped", 0) > 0.9 * count, outcomes
    assert part != "prune" or outcomes.get("skipped", 0) > 0, outcomes


def test_the_same_seed_is_the_same_call():
    library = Contexts()[1, "auto"]
    for seed in range(30):
        a, b = draw_call(seed, library), draw_call(seed, library)
        assert a.loss == b.loss and a.form == b.form and a.x.tobytes() == b.x.tobytes()


KINDS = {"nt-xent": {}, "supcon": {}, "nca": {}, "multi-similarity": {}, "lifted": {},
         "generalized-lifted": {}, "n-pairs": {}, "margin": {}, "triplet": {},
         "smooth": {"kind": "triplet", "smooth": 1}, "semi-hard": {"kind": "triplet"},
         "hard": {"kind": "triplet"}}
REDUCTIONS = ("sum", "mean", "mean-nonzero", "weighted-mean", "mean-anchors")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("within", [True, False])
def test_slopes_of_the_oracle_are_its_differences(name, within):
    rng, compared = np.random.default_rng(len(name)), 0
    for reduction in REDUCTIONS if name in row_oracle.PAIR_KINDS else REDUCTIONS[:-1]:
        n, m = 8, 8 if within else 6
        if name == "n-pairs":
            n = m = 14
        loss = dict(kind=name, reduction=reduction, scale=1.5, temperature=0.7, alpha=2.0, beta=0.9,
                    base=0.5, neg_margin=0.3, pos_margin=0.1, pos_metric="euclidean", smooth=0,
                    triplets=name if name in ("semi-hard", "hard") else "all", divisor=0.0)
        loss.update(KINDS[name])
        y = (rng.random((n, m)) < (0.1 if name == "n-pairs" else 0.4)).astype(Real)
        u, valid = rng.random((n, m)).astype(Real), rng.random((n, m)) < 0.9
        if within or name == "n-pairs":
            y, u, valid = np.triu(y) + np.triu(y, 1).T, np.triu(u) + np.triu(u, 1).T, valid & valid.T
            valid &= ~np.eye(n, dtype=bool)
        v, t = rng.random(n).astype(Real), rng.random((n, m)).astype(Real) * 2

        def at(distances):
            table = Table(distances, valid, y, u, v, np.ones(n, bool), within)  # noqa: B023
            return row_oracle.of_table(loss, table)  # noqa: B023

        here, h = at(t), Real(1e-7)
        for i, j in zip(*np.nonzero(valid)):
            step = np.zeros_like(t)
            step[i, j] = h
            up, down = at(t + step), at(t - step)
            slope = (up.value - down.value) / (2 * h)
            assert up.active_terms == down.active_terms  # no kink is so near
            assert abs(slope - here.slope["all"][i, j]) < 1e-9 * (1 + abs(slope)), (i, j)
            compared += slope != 0
    assert compared > 10, compared


def test_a_wrong_number_is_found():
    """What the campaign would say of an engine that is off by little."""
    library, found, tried = Contexts()[1, "auto"], 0, 0
    for seed in range(60):
        call = draw_call(seed, library, large=False)
        answer = run(library, call, seed)
        if answer.status or not call.wants[0] or not np.any(answer.gradients[0]):
            continue
        want = expect(call, library)
        if want.terms.kink and call.loss["reduction"] == "mean-nonzero":
            continue
        compare(call, answer, want)
        tried += 1
        largest = np.unravel_index(np.abs(answer.gradients[0]).argmax(), answer.gradients[0].shape)
        answer.gradients[0][largest] *= 1 + 1e4 * np.finfo(call.x.dtype).eps
        try:
            compare(call, answer, want)
        except campaign.Failure:
            found += 1
    assert tried > 25 and found > 0.6 * tried, (tried, found)
