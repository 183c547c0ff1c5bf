"""Random separated classes of many rows: what is skipped changes no bit. The part of campaign.py that
needs no oracle, and so takes rows enough for many tiles."""

import numpy as np

from campaign_calls import Call, draw_sides_loss, run
from campaign_rows import RANGE, laid_out, pick, require


def draw_separated(rng, centres, spread, offset, n, dtype):
    labels = rng.integers(0, len(centres), n)
    if rng.random() < 0.5:
        labels = np.sort(labels)
    x = centres[labels] + spread * rng.normal(size=(n, centres.shape[1])) + offset
    if rng.random() < 0.2:
        x[rng.integers(0, n, 3)] = 0.0
    if rng.random() < 0.2:  # some rows far from their class
        x[rng.integers(0, n, 5)] *= 10
    if rng.random() < 0.2:
        labels[rng.random(n) < 0.1] = -1
    return laid_out(rng, x.astype(dtype)), labels.astype(np.int64)


def draw_call(rng, library):
    d, classes = int(rng.integers(1, pick(rng, 5, 40))), int(rng.integers(2, 14))
    scale = pick(rng, 1.0, 1.0, 1e-4, 1e4, 1e-15)
    centres = rng.normal(size=(classes, d)) * scale * pick(rng, 0.5, 3.0)
    spread, offset = scale * pick(rng, 0.0, 0.01, 0.1, 0.5), scale * pick(rng, 0.0, 0.0, 100.0)
    dtype = pick(rng, np.float32, np.float64)
    n = int(rng.integers(150, pick(rng, 500, 2000)))
    x, labels = draw_separated(rng, centres, spread, offset, n, dtype)
    call = Call(pick(rng, "batch", "reference"), None, x, labels=labels)
    if call.form == "reference":
        call.y, call.other = draw_separated(rng, centres, spread, offset, int(rng.integers(100, 800)),
                                            dtype)
    # A margin that is about as far as some of the classes are apart.
    some = [float(np.linalg.norm(a - b)) for a in centres for b in centres if a is not b]
    margin = float(rng.choice(some)) * pick(rng, 0.3, 0.9, 0.999, 1.0, 1.001)
    call.loss = draw_sides_loss(rng, library, margin)
    return call


def check_prune(seed, contexts, large=True):
    rng = np.random.default_rng(seed)
    call = draw_call(rng, contexts[1, "auto"])
    answers = []
    for stats in (0, 1, 0):
        loss = dict(call.loss, stats=stats)
        answers.append(run(contexts[contexts.draw(rng)], call, seed, loss))
    first = answers[0]
    if RANGE in {answer.status for answer in answers}:
        return "range", 0, 0
    require(first.status == 0, first.message)
    for answer in answers[1:]:
        require(answer.bits() == first.bits(), f"other bits where nothing is skipped: "
                f"{answer.result.value!r} and {first.result.value!r}")
    skipped = first.result.tiles_skipped / max(first.result.tiles_total, 1)
    require(answers[2].result.tiles_skipped == first.result.tiles_skipped, "other tiles are skipped")
    return ("skipped" if skipped > 0 else "compared"), 0, 0


PARTS = {"prune": check_prune}
