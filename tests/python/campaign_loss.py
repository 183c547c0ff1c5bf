"""Losses of the campaign: what a call should give, and how near it comes."""

from dataclasses import dataclass

import numpy as np

import row_oracle
from campaign_calls import draw_call, run
from campaign_rows import DATA, RANGE, Overflow, distances, first_of, require, scatter, unit
from library import NearfarError
from row_oracle import Real, Table


# ---- what it should be ---------------------------------------------------------------------------


@dataclass
class Expected:
    terms: row_oracle.Terms
    gradients: list
    bounds: list
    positive_pairs: int
    negative_pairs: int
    coincident: int
    zero_rows: int
    means: tuple
    largest: float  # of what a call has to hold in between


def members_of(sets):
    offsets, members = sets
    return [set(members[offsets[k]:offsets[k + 1]].tolist()) for k in range(len(offsets) - 1)]


def weights_of(n, row_weight, class_weight, labels):
    v = np.ones(n, Real)
    if row_weight is not None:
        v = v * row_weight
    if class_weight:
        v = v * np.array([class_weight.get(int(k), 1.0) for k in labels]).reshape(n)
    return v


def pairs_of(call):
    """(n, m): which are pairs, targets, weights; weights of rows, rows that have a label."""
    n, m = len(call.x), len(call.x if call.y is None else call.y)
    valid, u = np.ones((n, m), bool), np.ones((n, m), Real)
    labelled = np.ones(n, bool)
    within = call.y is None
    if call.sets is not None:
        own = members_of(call.sets)
        others = own if within else members_of(call.other_sets)
        y = np.array([[float(bool(a & b)) for b in others] for a in own]).reshape(n, m)
        labelled = np.array([bool(s) for s in own], bool).reshape(n)
        valid &= labelled[:, None] & np.array([bool(s) for s in others], bool).reshape(1, m)
    elif call.soft is not None:
        y = symmetric(call.soft) if within else np.asarray(call.soft, float)
    else:
        other = call.labels if within else call.other
        y = (call.labels[:, None] == other[None, :]).astype(float)
        if call.has_unlabelled:
            labelled = call.labels != -1
            valid &= labelled[:, None] & (other != -1)[None, :]
    if within:
        valid &= ~np.eye(n, dtype=bool)
    if call.ids is not None:
        valid &= call.ids[:, None] != call.other_ids[None, :]
    if call.group is not None:
        valid &= call.group[:, None] != (call.group if within else call.other_group)[None, :]
    if call.pair_weight is not None:
        u = (symmetric(call.pair_weight) if within else np.asarray(call.pair_weight, float)).astype(Real)
    v = weights_of(n, call.row_weight, call.class_weight, call.labels)
    return valid, y.astype(Real), u, v, labelled


def symmetric(matrix):
    upper = np.triu(np.asarray(matrix, float), 1)
    return upper + upper.T


def expect(call, library):
    """The oracle's answer, from the library's own distances."""
    loss = call.loss
    y = call.x if call.y is None else call.y
    lx, ly = call.x.astype(Real), y.astype(Real)
    if call.form in LISTED:
        if call.form == "triplets":
            anchor, positive, negative = call.triplets
            i, j = np.concatenate([anchor, anchor]), np.concatenate([positive, negative])
            target = np.repeat([Real(1), Real(0)], len(anchor))
        else:
            rows = np.arange(len(call.same))
            i, j = (call.i, call.j) if call.form == "pairs" else (rows, rows)
            target = call.same.astype(Real)
        w = np.ones(len(i), Real)
        if call.weight is not None:
            w = call.weight.astype(Real)
    else:
        valid, target, u, v, labelled = pairs_of(call)
        own = valid if call.y is not None else np.triu(valid)
        i, j = np.nonzero(own)
        v_other = v if call.y is None else weights_of(len(y), call.other_row_weight,
                                                      call.other_class_weight, call.other)
        target, w = target[i, j], v[i] * v_other[j] * u[i, j]
    fast = bool(loss["fast"]) and call.form not in LISTED
    t = {side: measured(library, call, y, loss[f"{side}_metric"], fast) for side in ("pos", "neg")}
    flat = {side: np.asarray(t[side][i, j], Real) for side in t}
    check_distances(call, lx, ly, i, j, flat, fast)
    t = {side: np.asarray(t[side], Real) for side in t}
    if loss["kind"] == "contrastive" and call.form != "targets" and not normal(call):
        widen(call, lx, ly, i, j, t, flat)
    eps = np.finfo(call.x.dtype).eps
    if loss["kind"] == "contrastive":
        terms = row_oracle.contrastive(loss, flat["pos"], flat["neg"], target, w, call.upstream,
                                       float(eps), float(np.finfo(call.x.dtype).tiny))
        sides, ii, jj = ("pos", "neg"), i, j
    elif call.form == "triplets":
        half = len(i) // 2
        terms = row_oracle.of_listed(loss, flat["pos"][:half], flat["neg"][half:], float(eps))
        sides, ii, jj, flat["all"] = ("listed",), i, j, flat["pos"]
        terms.slope["listed"], terms.size["listed"] = terms.slope["all"], terms.size["all"]
        flat["listed"] = flat["pos"]
    else:
        table = Table(t["pos"], valid, pairs_of(call)[1], u, v, labelled,
                      call.y is None)
        beta = {}
        if call.beta is not None:
            beta = betas_of(call)
        terms = row_oracle.of_table(loss, table, call.upstream, float(eps), **beta)
        sides = ("all",)
        ii, jj = np.nonzero(terms.size["all"])
        flat["all"] = t["pos"][ii, jj]
        if not (normal(call) or loss["normalize"]):
            # Directions are exact where distances have lost their digits.
            exact = distances(loss["pos_metric"], lx, ly, loss["normalize"], ii, jj)
            flat["all"] = np.where((flat["all"] != 0) & (abs(exact) < np.finfo(call.x.dtype).tiny),
                                   exact, flat["all"])
    gx, gy = np.zeros_like(lx), np.zeros_like(ly)
    ex, ey = np.zeros(len(lx), Real), np.zeros(len(ly), Real)
    for side in sides:
        metric = loss[f"{side}_metric" if side in ("pos", "neg") else "pos_metric"]
        slope, size = terms.slope[side], terms.size[side]
        if side == "all":
            slope, size = slope[ii, jj], size[ii, jj]
        if loss["normalize"] or metric == "cosine":
            size = size * 2
        a, b, ea, eb = scatter(metric, lx, ly, bool(loss["normalize"]), ii, jj, slope, size, flat[side])
        gx, gy, ex, ey = gx + a, gy + b, ex + ea, ey + eb
    gradients, bounds = [gx, gy], [ex, ey]
    if call.y is None:
        gradients, bounds = [gx + gy], [ex + ey]
    positive, negative = target > 0, target < 1
    means = tuple(float(flat[s][k].mean()) if k.any() else 0.0
                  for s, k in (("neg", negative), ("pos", positive)))
    zero = 0
    if loss["normalize"] or "cosine" in (loss["pos_metric"], loss["neg_metric"]):
        zero = zero_rows(call, y)
    big = [np.abs(np.asarray(part, float)).max(initial=0)
           for part in (flat["pos"], flat["neg"], *terms.slope.values(), *terms.size.values(),
                        *gradients)] + [abs(float(terms.value)), float(np.abs(lx).max(initial=0)) ** 2]
    return Expected(terms, gradients, bounds, int(positive.sum()), int(negative.sum()),
                    int((negative & (flat["neg"] == 0)).sum()), zero, means, float(max(big)))


def zero_rows(call, y):
    return int((~call.x.any(axis=1)).sum()) + (0 if call.y is None else int((~y.any(axis=1)).sum()))


def betas_of(call):
    n = len(call.labels)
    if len(call.beta) == 1 and not call.by_label:
        return dict(beta=np.full(n, call.beta[0]), nu=call.nu)
    if call.by_label:
        where = np.maximum(call.labels, 0)
    else:
        order = {}
        both = np.concatenate([call.labels, call.other]) if call.other is not None else call.labels
        for label in both.tolist():
            if not (call.has_unlabelled and label == -1):
                order.setdefault(label, len(order))
        where = np.array([order.get(label, 0) for label in call.labels.tolist()], int).reshape(n)
    return dict(beta=call.beta[where], nu=call.nu, classes=where, betas=len(call.beta))


def widen(call, lx, ly, i, j, t, flat):
    """The library computes in double what is below the smallest normal number of the type."""
    for side in t:
        if call.loss["normalize"] or call.loss[f"{side}_metric"] == "cosine":
            continue  # of unit rows, which are rounded
        if call.loss[f"{side}_metric"] == "dot" and call.form not in LISTED:
            continue  # tiles hold products of the type
        exact = distances(call.loss[f"{side}_metric"], lx, ly, call.loss["normalize"], i, j)
        exact = exact.astype(float).astype(Real)
        flat[side] = np.where(abs(exact) < np.finfo(call.x.dtype).tiny, exact, flat[side])
        t[side][i, j] = flat[side]
        if call.y is None:
            t[side][j, i] = flat[side]


def measured(library, call, y, metric, fast):
    try:
        return library.distances(call.x, y, metric, bool(call.loss["normalize"]), fast=fast)
    except NearfarError as error:
        if str(error).startswith(f"{RANGE}:"):
            raise Overflow(str(error)) from error
        raise


def check_distances(call, lx, ly, i, j, flat, fast):
    eps, d = np.finfo(call.x.dtype).eps / 2, call.x.shape[1]
    for side in ("pos", "neg"):
        metric = call.loss[f"{side}_metric"]
        units = call.loss["normalize"] or metric == "cosine"
        want = distances(metric, lx, ly, call.loss["normalize"], i, j)
        bound = (d + 2) * 2 * eps * abs(want) * (20 if fast else 1)
        if metric == "dot":
            a, b = (unit(lx)[0], unit(ly)[0]) if units else (lx, ly)
            bound = (d + 2) * 2 * eps * distances("dot", -abs(a), abs(b), False, i, j)
        elif units:
            root = np.sqrt(want) if metric != "cityblock" else np.sqrt(Real(d))
            bound = bound + (8 * eps if metric == "euclidean" else 16 * eps * root + 64 * eps * eps)
        bound = bound + d * float(np.finfo(call.x.dtype).smallest_subnormal)
        wrong = ~(abs(flat[side] - want) <= bound)
        require(not wrong.any(), f"{metric} distance: {first_of(wrong, flat[side], want, bound)}")


# ---- comparing -----------------------------------------------------------------------------------

LISTED = ("pairs", "rows", "triplets")
VALUE_ROUNDINGS, GRADIENT_ROUNDINGS = 24, 24


def compare(call, answer, want):
    """How much of the bounds was used, of value and gradient."""
    loss, result, eps = call.loss, answer.result, float(np.finfo(call.x.dtype).eps)
    terms = want.terms
    require(np.isfinite(result.value), f"value is {result.value}")
    counts = dict(positive_pairs=want.positive_pairs, negative_pairs=want.negative_pairs)
    if loss["kind"] == "n-pairs":
        counts = {}
    counts["zero_rows"] = want.zero_rows
    if loss["kind"] not in ("contrastive", "triplet", "margin") or loss["neg_metric"] == "dot":
        counts["coincident_negatives"] = 0
    elif normal(call) and call.form != "triplets" and (loss["neg_margin"] > 0 < loss["neg_weight"]
                           or loss["kind"] != "contrastive"):
        counts["coincident_negatives"] = want.coincident
    if loss["kind"] == "contrastive":
        if not terms.kink and normal(call):
            counts["active_negative"] = terms.active[0]
            if loss["stats"]:
                counts["active_positive"] = terms.active[1]
    else:
        counts["terms"] = terms.terms
        if not terms.kink and loss["kind"] in ("triplet", "margin") and not loss["smooth"]:
            counts["active_terms"] = terms.active_terms
    for name, count in counts.items():
        require(getattr(result, name) == count, f"{name} is {getattr(result, name)}, not {count}")
    if loss["stats"] and not loss["kind"] == "n-pairs" and call.form != "triplets":
        for name, mean in zip(("negative", "positive"), want.means):
            got = getattr(result, f"mean_{name}_distance")
            require(abs(got - mean) <= 1e-5 * abs(mean) + 1e-5 * (
                abs(mean) if loss["pos_metric"] != "dot" else want.largest) + float(
                    np.finfo(call.x.dtype).tiny),
                f"mean_{name}_distance is {got}, not {mean}")
    # Distances of lists are in double, and may be on the other side; terms of lifted begin from 0.
    if terms.kink and (loss["reduction"] == "mean-nonzero" or loss["kind"] == "lifted"
                       or call.form in LISTED):
        return 0.0, 0.0
    tiny = float(np.finfo(call.x.dtype).smallest_subnormal)
    pairs = want.positive_pairs + want.negative_pairs  # which double adds up one by one
    bound = (VALUE_ROUNDINGS + (pairs ** 0.5 if eps < 1e-10 else 0)) * eps * float(terms.error)
    bound += tiny * (1 + pairs * float(loss["scale"] * max(loss["pos_weight"], loss["neg_weight"])))
    error = abs(float(Real(result.value) - terms.value))
    used = [error / bound, 0.0]
    require(error <= bound, f"value is {result.value!r}, not {float(terms.value)!r} +- {bound:.3g}")
    for got, exact, size, name in zip(answer.gradients, want.gradients, want.bounds, ("x", "y")):
        if got is None:
            continue
        require(np.isfinite(got).all(), f"a gradient of {name} is not finite")
        size = GRADIENT_ROUNDINGS * eps * size[:, None] + eps * abs(exact) + 2 * tiny + underflow(call)
        off = abs(got.astype(Real) - exact)
        wrong = ~(off <= size)
        require(not wrong.any(), f"gradient of {name} {first_of(wrong, got, exact, size)}")
        used[1] = max(used[1], float((off / size).max(initial=0)))
    if answer.terms is not None:
        rows = terms.rows
        room = VALUE_ROUNDINGS * eps * (abs(rows) + row_error(call, terms)) + 1e-300
        off = abs(answer.terms.astype(Real) - rows)
        require((off <= room).all(), f"terms {first_of(~(off <= room), answer.terms, rows, room)}")
    if answer.beta is not None and not terms.kink:
        size = 1e-11 * (abs(terms.beta) + abs(terms.slope["all"]).sum())
        wrong = ~(abs(answer.beta - terms.beta) <= size)
        require(not wrong.any(), f"gradient of beta {first_of(wrong, answer.beta, terms.beta, size)}")
    return tuple(used)


def underflow(call):
    """What vanishes of weights below the smallest normal number, which an exponential counts as 0, times
    the largest difference."""
    loss, size = call.loss, np.abs(call.x.astype(float))
    rate = max(1.0, 3 * loss["gamma"], loss["alpha"], loss["beta"], 1 / (loss["temperature"] or 1))
    factor = loss["scale"] * max(1.0, loss["pos_weight"], loss["neg_weight"])
    if call.upstream is not None:
        factor *= max(1.0, float(np.abs(call.upstream).max(initial=0)))
    reach = 1 + 4 * float(size.max(initial=0))
    if loss["normalize"] or "cosine" in (loss["pos_metric"], loss["neg_metric"]):
        reach = 4 / float(size[size > 0].min(initial=1.0))
    of_exponentials = loss["kind"] not in ("contrastive", "triplet", "margin")
    tiny = float(np.finfo(call.x.dtype).tiny) * (2 * rate if of_exponentials else 1e-2)
    return tiny * factor * reach * len(call.x)


def row_error(call, terms):
    """Of the terms of rows or pairs: that of all of them together, before a mean divides it."""
    return float(terms.error) * max(1.0, float(call.loss["divisor"]), len(terms.rows), terms.terms)


# ---- one draw ------------------------------------------------------------------------------------


# ---- one draw ------------------------------------------------------------------------------------


def binary_labels(call):
    """{-1, 1} alone is refused where -1 is no label."""
    if not call.has_unlabelled or call.form in LISTED:
        return False
    if call.soft is not None or call.sets is not None:
        return False
    sets = [set(call.labels.tolist())]
    if call.other is not None:
        sets += [set(call.other.tolist())]
    return any(s == {-1, 1} for s in sets) or set().union(*sets) == {-1, 1}


def check_loss(seed, contexts, large=True):
    rng = np.random.default_rng(seed + 7)
    call = draw_call(seed, contexts[1, "auto"], large)
    answer = run(contexts[1, "auto"], call, seed)
    for key in (contexts.draw(rng), contexts.draw(rng)):
        stats = dict(call.loss, stats=int(rng.random() < 0.5))
        other = run(contexts[key], call, seed, stats)
        if other.status != answer.status and RANGE in (other.status, answer.status):
            require(stats["stats"] != call.loss["stats"] or call.form == "targets",
                    f"status {answer.status} but {other.status} with {key}: {other.message}")
            continue  # statistics need distances that the loss does not
        require(other.status == answer.status,
                f"status {answer.status}, but {other.status} with {key}: "
                f"{other.message or answer.message}")
        require(other.bits() == answer.bits(),
                f"other bits with {key} and stats {stats['stats']} (was {call.loss['stats']}): "
                f"{other.result.value!r} and {answer.result.value!r}")
    if answer.status == DATA:
        require(binary_labels(call), f"refused: {answer.message}")
        return ("refused", 0, 0)
    require(answer.status in (0, RANGE), f"status {answer.status}: {answer.message}")
    try:
        with np.errstate(all="ignore"):
            want = expect(call, contexts[1, "auto"])
    except Overflow:
        # Skipping may spare a distance beyond the type; a loss of it must be refused or not need it.
        return ("beyond", 0, 0)
    if answer.status == RANGE:
        top = float(np.finfo(call.x.dtype).max) ** 0.9
        require(want.largest > top or extreme(call), f"out of range: {answer.message}; the largest "
                f"number is {want.largest:.3g}")
        return ("range", 0, 0)
    return ("compared", *compare(call, answer, want))


def described(seed, contexts, large):
    """A draw in a line."""
    call = draw_call(seed, contexts[1, "auto"], large)
    loss = {name: value for name, value in call.loss.items() if value not in (0, 1)}
    given = [name for name in ("ids", "sets", "soft", "row_weight", "class_weight", "pair_weight",
                               "group", "beta", "upstream") if getattr(call, name) is not None]
    m = "" if call.y is None else f" by {len(call.y)}"
    return f"({call.form}, {len(call.x)}{m} x {call.x.shape[1]} {call.x.dtype}, {loss}, {given})"


def normal(call):
    """No distance underflows."""
    y = call.x if call.y is None else call.y
    size = np.concatenate([np.abs(rows.astype(float)).ravel() for rows in (call.x, y)])
    size = size[size > 0]
    return not len(size) or float(size.min()) > (1e-12 if call.x.dtype == np.float32 else 1e-100)


def extreme(call):
    """Rows so small or large that a weight in between is beyond the type."""
    size = np.abs(call.x.astype(float))
    size = size[size > 0]
    low = 1e-17 if call.x.dtype == np.float32 else 1e-140
    return len(size) > 0 and bool(size.min() < low or size.max() > 1 / low)
