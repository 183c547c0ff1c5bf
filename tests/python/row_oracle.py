"""Every loss of nearfar from given distances, in extended precision: values, slopes and counts.

Distances come from outside, so that what a rounded distance decides (a hinge, a tie, the hardest
negative) is decided here as it is there. Formulas are those of doc/math, a pair (i, j) with the factors
a = u y as a positive and b = u (1 - y) as a negative; nothing is shared with the library.
"""

from dataclasses import dataclass, field

import numpy as np

from oracle import hinge

Real = np.longdouble
PAIR_KINDS = ("nt-xent", "lifted")
SMALL = 1e-290  # a double of this size may count as 0
NEEDS_BOTH = ("nt-xent", "supcon", "lifted")


@dataclass
class Terms:
    """What a loss makes of its distances. Slopes are derivatives of the reduced value by the distance of
    each pair; `size` is what was added in absolute value to get them."""

    value: Real
    slope: dict  # side -> slopes
    size: dict
    error: Real  # of the value, in units of roundoff
    terms: int = 0
    active_terms: float = 0
    active: tuple = (0, 0)  # negatives, positives
    rows: np.ndarray = None  # scale times the terms of each row
    kink: bool = False  # a rounding away from another number of active terms
    beta: np.ndarray = field(default=None)


# ---- the contrastive family ----------------------------------------------------------------------


def contrastive(loss, t_pos, t_neg, y, w, upstream=None, eps=0.0, smallest=0.0):
    """Pairs at t_pos as positives, at t_neg as negatives, with targets y and weights w; eps is the
    roundoff of a distance, and terms below `smallest` may count as 0."""
    t = {"pos": np.asarray(t_pos, Real), "neg": np.asarray(t_neg, Real)}
    y, w = np.asarray(y, Real), np.asarray(w, Real)
    share = {"pos": y, "neg": 1 - y}
    z = {"pos": t["pos"] - Real(loss["pos_margin"]), "neg": Real(loss["neg_margin"]) - t["neg"]}
    term, slope, near, kink = {}, {}, {}, False
    for side, sign in (("pos", 1), ("neg", -1)):
        factor = Real(loss["scale"]) * Real(loss[f"{side}_weight"])
        value, first = hinge(z[side], Real(loss[f"{side}_exponent"]))
        term[side] = w * share[side] * factor * value
        slope[side] = sign * w * share[side] * factor * first
        # A term one rounding of t or of the margin away from 0.
        near[side] = eps * (abs(t[side]) + abs(Real(loss[f"{side}_margin"])))
        kink |= bool(((abs(z[side]) <= 4 * near[side]) & (share[side] > 0)
                      & ~((z[side] == 0) & (near[side] == 0))).any())
        kink |= bool(((term[side] > 0) & (term[side] < smallest)).any())
    active = {side: (term[side] > 0) for side in term}
    by, one = reduce_pairs(loss, share, w, active)
    if loss["reduction"] == "none" and upstream is not None:
        by = {side: np.asarray(upstream, Real) for side in by}
    value = sum(((by[side] if loss["reduction"] != "none" else one) * term[side]).sum()
                for side in term)
    error = Real(0)
    out, size = {}, {}
    for side in term:
        with np.errstate(invalid="ignore", divide="ignore"):
            # Rounding of t moves the term by slope * eps |t|, and the slope by its own derivative.
            p = Real(loss[f"{side}_exponent"])
            wobble = 1 + np.where(active[side], p * near[side] / eps / abs(z[side]), 0) if eps else 1
        out[side] = by[side] * slope[side]
        size[side] = abs(out[side]) * wobble
        error += (abs(by[side]) * term[side] * wobble).sum()
    return Terms(value, out, size, error, active=(int((active["neg"]).sum()),
                                                  int((active["pos"]).sum())),
                 rows=term["pos"] + term["neg"], kink=kink)


def reduce_pairs(loss, share, w, active):
    one = Real(1)
    full = np.ones_like(w)

    def per(amount):
        return full / amount if amount > 0 else full * 0

    reduction = loss["reduction"]
    if reduction in ("sum", "none"):
        return {"pos": full, "neg": full}, one
    if reduction == "mean":
        return dict.fromkeys(share, per(Real(len(w)))), one
    if reduction == "weighted-mean":
        return dict.fromkeys(share, per(w.sum())), one
    if reduction == "divisor":
        return dict.fromkeys(share, per(Real(loss["divisor"]))), one
    if reduction == "mean-sides":
        return {side: per(share[side].sum()) for side in share}, one
    assert reduction == "mean-nonzero"
    return {side: per(share[side][active[side]].sum()) for side in share}, one


# ---- losses that compare the pairs of a row ------------------------------------------------------


@dataclass
class Table:
    """Anchors by others: distances, which are pairs, targets, weights, weights of anchors."""

    t: np.ndarray
    valid: np.ndarray
    y: np.ndarray
    u: np.ndarray
    v: np.ndarray
    labelled: np.ndarray  # rows that can be anchors
    within: bool  # others are the anchors themselves

    @property
    def a(self):
        return np.where(self.valid, self.u * self.y, 0)

    @property
    def b(self):
        return np.where(self.valid, self.u * (1 - self.y), 0)


def log_sum(weight, z):
    """log of the sum over a row of weight exp(z), and each pair's share of it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        peak = np.where(weight > 0, z, -np.inf).max(axis=1, initial=-np.inf, keepdims=True)
        shift = np.where(np.isfinite(peak), peak, 0)
        e = weight * np.exp(np.where(weight > 0, z - shift, -np.inf))
        s = e.sum(axis=1, keepdims=True)
        return (shift + np.log(s))[:, 0], np.where(s > 0, e / np.where(s > 0, s, 1), 0)


def softplus(z):
    return np.logaddexp(Real(0), z)


def sigmoid(z):
    with np.errstate(over="ignore"):
        return np.where(z == -np.inf, Real(0), 1 / (1 + np.exp(-z)))


def exponents(loss, t):
    """z and dz/dt of positives and negatives."""
    kind, one = loss["kind"], np.ones_like(t)
    if kind in ("nt-xent", "supcon", "nca"):
        c = Real(loss["temperature"])
        return (-t / c, -one / c), (-t / c, -one / c)
    if kind == "multi-similarity":
        base = {"cosine": 1 - Real(loss["base"]), "dot": -Real(loss["base"])}.get(
            loss["pos_metric"], Real(loss["base"]))
        alpha, beta = Real(loss["alpha"]), Real(loss["beta"])
        return (alpha * (t - base), alpha * one), (beta * (base - t), -beta * one)
    if kind == "circle":
        g, m = Real(loss["gamma"]), Real(loss["neg_margin"])
        p, n = np.maximum(0, t + m), np.maximum(0, 1 + m - t)
        return (g * p * (t - m), g * p), (g * n * (1 - t - m), -g * n)
    return (t - Real(loss["pos_margin"]), one), (Real(loss["neg_margin"]) - t, -one)


def _none(table):
    zero = np.zeros_like(table.t)
    return Terms(Real(0), {"all": zero}, {"all": zero}, Real(0), rows=np.zeros(len(table.t), Real))


def _by(loss, terms, mass, weights, active):
    """What a sum of terms is divided by."""
    amount = {"sum": 1, "none": 1, "divisor": loss["divisor"], "weighted-mean": weights,
              "mean-nonzero": active, "mean": mass, "mean-anchors": 1}[loss["reduction"]]
    return Real(loss["scale"]) / amount if amount > 0 else Real(0)


def of_rows(loss, table, upstream, eps=0.0):
    kind = loss["kind"]
    a, b = table.a, table.b
    (zp, dp), (zn, dn) = exponents(loss, table.t)
    lp, sp = log_sum(a, zp)
    ln, sn = log_sum(b, zn)
    counted = table.labelled.copy()
    n = len(table.t)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        if kind == "supcon":
            mass = a.sum(axis=1)
            has = mass > 0
            q = np.where(has[:, None], a / np.where(has, mass, 1)[:, None], 0)
            both, share = log_sum(a + b, zp)
            term = np.where(has, both - np.where(q > 0, q * zp, 0).sum(axis=1), 0)
            slope = np.where(has[:, None], (share - q) * dp, 0)
            size = np.where(has[:, None], (share + q) * abs(dp), 0)
        elif kind == "nca":
            counted &= (a > 0).any(axis=1)
            has = np.isfinite(lp)
            term = np.where(has, softplus(np.where(has, ln - lp, -np.inf)), 0)
            q = np.where(has, sigmoid(np.where(has, ln - lp, -np.inf)), 0)[:, None]
            slope = q * (sn - sp) * dp
            size = q * (sn + sp) * abs(dp)
        elif kind == "multi-similarity":
            alpha, beta = Real(loss["alpha"]), Real(loss["beta"])
            term = softplus(lp) / alpha + softplus(ln) / beta
            slope = (sigmoid(lp)[:, None] / alpha * sp * dp + sigmoid(ln)[:, None] / beta * sn * dn)
            size = abs(slope)
        elif kind == "circle":
            has = np.isfinite(lp) & np.isfinite(ln)
            z = np.where(has, np.where(has, lp, 0) + np.where(has, ln, 0), -np.inf)
            term, q = softplus(z), sigmoid(z)[:, None]
            slope, size = q * (sp * dp + sn * dn), q * (sp * abs(dp) + sn * abs(dn))
        else:
            lp, ln = np.where(np.isfinite(lp), lp, 0), np.where(np.isfinite(ln), ln, 0)
            z = lp + ln
            term, on = np.maximum(0, z), (z > 0)[:, None]
            slope, size = on * (sp * dp + sn * dn), on * (sp * abs(dp) + sn * abs(dn))
    term = np.where(counted, term, 0)
    weighted = table.v * term
    active = weighted > 0
    keep = active if loss["reduction"] == "mean-nonzero" else np.ones(n, bool)
    by = _by(loss, counted.sum(), counted.sum(), table.v[counted].sum(), active.sum())
    factor = by * table.v * keep * counted
    if loss["reduction"] == "none" and upstream is not None:
        factor = factor * np.asarray(upstream, Real)
    unit = 1 / min(loss["alpha"], loss["beta"]) if kind == "multi-similarity" else 1
    reach = _reach(a, b, zp, zn)
    wobble = 1 + reach
    # A term near 0 whose sign rounding decides, or one that is too small a number.
    close = abs(term) < (64 * eps * wobble if kind in ("supcon", "generalized-lifted") else SMALL)
    kink = bool((counted & close & size.any(axis=1)).any())
    return Terms((by * weighted * keep).sum(), {"all": factor[:, None] * slope},
                 {"all": abs(factor)[:, None] * size * wobble[:, None]},
                 (abs(by) * table.v * keep * counted
                  * (abs(term) + np.where(size.any(axis=1), unit * wobble, 0))).sum(),
                 int(counted.sum()), int(active.sum()), rows=Real(loss["scale"]) * weighted,
                 kink=kink)


def _reach(a, b, zp, zn):
    """The largest |z| of each row: exp(z) is off by that many roundings."""
    return np.maximum(np.where(a > 0, abs(zp), 0).max(axis=1, initial=0),
                      np.where(b > 0, abs(zn), 0).max(axis=1, initial=0))


def of_positives(loss, table, upstream, eps=0.0):
    kind = loss["kind"]
    a, b, v = table.a, table.b, table.v
    (zp, dp), (zn, dn) = exponents(loss, table.t)
    ln, sn = log_sum(b, zn)
    lo, so = log_sum(b.T, zn.T)  # of the others, over their negatives among the anchors
    positive = table.valid & (table.y > 0)
    with np.errstate(invalid="ignore", over="ignore"):
        if kind == "nt-xent":
            z = ln[:, None] - zp
            term = np.where(positive, softplus(z), 0)
            q = np.where(positive, sigmoid(z), 0)
            slope, pull, pull_other = -q * dp, q, np.zeros_like(q)
        else:
            both = np.logaddexp(ln[:, None], lo[None, :])
            z = np.where(np.isfinite(both), both, 0) + zp
            h = np.where(positive, np.maximum(0, z), 0)
            term, slope = h * h / 2, h
            pull = np.where(np.isfinite(ln)[:, None] & positive,
                            h * np.exp(np.where(np.isfinite(both), ln[:, None] - both, 0)), 0)
            pull_other = np.where(np.isfinite(lo)[None, :] & positive,
                                  h * np.exp(np.where(np.isfinite(both), lo[None, :] - both, 0)), 0)
    weight = v[:, None] * a
    y = np.where(positive, table.y, 0)
    weighted = weight * term
    active = weighted > 0
    by = _by(loss, positive.sum(), y.sum(), weight[positive].sum(), y[active].sum())
    factor = by * np.ones(len(v), Real)
    if loss["reduction"] == "mean-anchors":
        mass = y.sum(axis=1)
        factor = np.where(mass > 0, factor / np.where(mass > 0, mass, 1), 0) / max(
            1, table.labelled.sum())
    of_value = factor
    if loss["reduction"] == "none" and upstream is not None:
        factor = factor * np.asarray(upstream, Real)
    f = factor[:, None] * weight
    gather = (f * pull).sum(axis=1)[:, None] * sn * dn
    back = ((f * pull_other).sum(axis=0)[:, None] * so).T * dn
    reach = np.maximum(_reach(a, b, zp, zn)[:, None], _reach(a.T, b.T, zp.T, zn.T)[None, :])
    reach = np.full_like(reach, reach.max(initial=0))
    wobble = 1 + reach
    if kind == "lifted":
        with np.errstate(divide="ignore", invalid="ignore"):
            wobble = wobble * (1 + np.where(positive & (z > 0), 1 / np.where(z > 0, z, 1), 0).max(
                initial=0))
    error = (of_value[:, None] * weight * (term + np.where(positive & (slope != 0),
             np.maximum(h, 0) * wobble if kind == "lifted" else wobble, 0))).sum()
    return Terms((of_value[:, None] * weighted).sum(), {"all": f * slope + gather + back},
                 {"all": (abs(f * slope) + abs(gather) + abs(back)) * wobble}, error,
                 int(positive.sum()), int(active.sum()),
                 rows=Real(loss["scale"]) * weighted.sum(axis=1),
                 kink=bool((positive & (abs(z) < 64 * eps * (1 + reach))).any()) if kind == "lifted"
                 # Exponentials of float32 rows are of float32.
                 else bool(((weighted > 0) & (term < (1e-36 if eps > 1e-10 else SMALL))).any()))


# ---- triplets ------------------------------------------------------------------------------------


def _choices(how, tp, tn):
    """Which of positives by negatives, (P, N); ties to the smaller row."""
    if how == "all":
        return np.ones((len(tp), len(tn)), bool)
    keep = np.zeros((len(tp), len(tn)), bool)
    if how == "hard":
        keep[np.argmax(tp), np.argmin(tn)] = True
        return keep
    for p, t in enumerate(tp):
        beyond = np.where(tn > t, tn, np.inf)
        keep[p, np.argmin(beyond) if (tn > t).any() else np.argmax(tn)] = True
    return keep


def of_triplets(loss, table, upstream, beta=None, nu=0.0, classes=None, betas=1):
    """beta (n): the boundary of each anchor, classes (n): whose it is."""
    kind, n = loss["kind"], len(table.t)
    m = float(loss["neg_margin"])
    beta = np.full(n, loss["beta"]) if beta is None else beta
    classes = np.zeros(n, int) if classes is None else classes
    value, slope, size = np.zeros(n, Real), np.zeros_like(table.t), np.zeros_like(table.t)
    count, weights, active = 0, Real(0), 0
    above, kink = Real(0), False
    own, nu_sum, nu_class = np.zeros(betas, Real), Real(0), np.zeros(betas, Real)
    for i in range(n):
        pos = np.flatnonzero(table.valid[i] & (table.y[i] == 1))
        neg = np.flatnonzero(table.valid[i] & (table.y[i] == 0))
        if not len(pos) or not len(neg):
            continue
        tp, tn = table.t[i, pos], table.t[i, neg]
        keep = _choices(loss["triplets"] if kind == "triplet" else "all", tp, tn)
        w = np.where(keep, table.v[i] * table.u[i, pos][:, None] * table.u[i, neg][None, :], 0)
        count += int(keep.sum())
        weights += w.sum()
        if kind == "margin":
            pull, push = tp - Real(beta[i]) + m, Real(beta[i]) - tn + m
            near = 8 * np.finfo(float).eps * (abs(tp).max() + abs(tn).max() + abs(beta[i]) + abs(m))
            kink |= bool((abs(pull) < near).any() or (abs(push) < near).any())
            wp, wn = w.sum(axis=1), w.sum(axis=0)
            value[i] = (wp * np.maximum(0, pull)).sum() + (wn * np.maximum(0, push)).sum()
            active += int((w[pull > 0] > 0).sum() + (w[:, push > 0] > 0).sum())
            slope[i, pos] = wp * (pull > 0)
            slope[i, neg] = -wn * (push > 0)
            own[classes[i]] += slope[i].sum() * -1
            nu_class[classes[i]] += w.sum()
            nu_sum += w.sum() * Real(beta[i])
            above += abs(value[i])
        else:
            z = tp[:, None] - tn[None, :] + m
            if loss["smooth"]:
                term, first = softplus(z), sigmoid(z)
                kink |= bool((keep & (term < SMALL)).any())
            else:
                on = (np.asarray(tp, float) + m)[:, None] > np.asarray(tn, float)[None, :]
                term, first = np.where(on, np.maximum(z, 0), 0), on.astype(Real)
            value[i] = (w * term).sum()
            active += int(((w * term > 0) if loss["smooth"] else (w > 0) & on).sum())
            slope[i, pos] += (w * first).sum(axis=1)
            slope[i, neg] -= (w * first).sum(axis=0)
            far = abs(tp).max() + abs(tn).max() + abs(m)
            above += value[i] + (w * first).sum() * far
            size[i] = abs(slope[i]) * (1 + (far if loss["smooth"] else 0))
    size = np.maximum(size, abs(slope))
    by = _by(loss, count, count, weights, active)
    factor = np.full(n, by)
    if loss["reduction"] == "none" and upstream is not None:
        factor = factor * np.asarray(upstream, Real)
    total = by * value.sum()
    gradient = by * own
    if nu and count:
        if betas == 1:
            total, gradient = total + Real(nu) * Real(beta[0]), gradient + Real(nu)
        else:
            share = by / Real(loss["scale"])
            total, gradient = total + nu * share * nu_sum, gradient + nu * share * nu_class
        above += abs(total - by * value.sum()) / abs(by) if by else 0
    return Terms(total, {"all": factor[:, None] * slope}, {"all": abs(factor)[:, None] * size},
                 abs(by) * above, count, active, rows=Real(loss["scale"]) * value, kink=kink,
                 beta=gradient)


def of_listed(loss, tp, tn, eps=0.0):
    """Triplets of a list at distances tp and tn; slopes of all (anchor, positive), then of all (anchor,
    negative)."""
    tp, tn, m = np.asarray(tp, Real), np.asarray(tn, Real), Real(loss["neg_margin"])
    near = 4 * eps * (abs(tp) + abs(tn) + abs(m) + abs(Real(loss["beta"])))
    if loss["kind"] == "margin":
        z = tp - Real(loss["beta"]) + m, Real(loss["beta"]) - tn + m
        term = np.maximum(0, z[0]) + np.maximum(0, z[1])
        slope, active = [z[0] > 0, z[1] > 0], int((z[0] > 0).sum() + (z[1] > 0).sum())
        kink = (abs(z[0]) <= near).any() or (abs(z[1]) <= near).any()
    else:
        z = tp - tn + m
        term = softplus(z) if loss["smooth"] else np.maximum(0, z)
        slope = [sigmoid(z) if loss["smooth"] else z > 0] * 2
        active = int((term > 0).sum())
        kink = (term < SMALL).any() if loss["smooth"] else (abs(z) <= near).any()
    by = _by(loss, len(tp), len(tp), len(tp), active)
    out = by * np.concatenate([slope[0].astype(Real), -slope[1].astype(Real)])
    wobble = 1 + (np.concatenate([near, near]) / eps if loss["smooth"] and eps else 0)
    error = by * (term + (slope[0] + slope[1]) * near / max(eps, 1e-300)).sum()
    return Terms(by * term.sum(), {"all": out}, {"all": abs(out) * wobble}, error, len(tp), active,
                 rows=None, kink=bool(kink))


# ---- n-pairs -------------------------------------------------------------------------------------


def of_n_pairs(loss, table, upstream, pairs=None):
    """Of a set the anchors and positives by greedy choice in order of rows; or given ones."""
    n = len(table.t)
    if pairs is None:
        pairs, taken = [], []
        positive = table.valid & (table.y == 1)
        for i in range(n):
            if any(i == k or positive[i, k] for k in taken):
                continue
            for p in range(i + 1, n):
                if positive[i, p] and not any(p == k or positive[p, k] for k in taken):
                    pairs.append((i, p))
                    taken += [i, p]
                    break
    if not pairs:
        return _none(table)
    value, slope, size = np.zeros(n, Real), np.zeros_like(table.t), np.zeros_like(table.t)
    weights, active, negatives = Real(0), 0, 0
    reach = Real(0)
    for i, p in pairs:
        w = table.v[i] * table.u[i, p]
        others = [k for _, k in pairs if k != p and table.valid[i, k]]
        negatives += len(others)
        factor = np.zeros((1, table.t.shape[1]), Real)
        factor[0, others] = table.u[i, others]
        ln, sn = log_sum(factor, -table.t[i][None, :])
        z = ln[0] + table.t[i, p]
        q = sigmoid(z)
        term = w * softplus(z)
        value[i] += term
        weights += w
        active += term > 0
        slope[i, p] += w * q
        slope[i] -= w * q * sn[0]
        size[i, p] += w * q
        size[i] += w * q * sn[0]
        reach = max(reach, abs(table.t[i, [p, *others]]).max())
    if not negatives:
        return _none(table)
    by = _by(loss, len(pairs), len(pairs), weights, active)
    factor = np.full(n, by)
    if loss["reduction"] == "none" and upstream is not None:
        factor = factor * np.asarray(upstream, Real)
    return Terms(by * value.sum(), {"all": factor[:, None] * slope},
                 {"all": abs(factor)[:, None] * size * (1 + reach)},
                 abs(by) * (value.sum() + (1 + reach) * weights), len(pairs), int(active),
                 rows=Real(loss["scale"]) * value)


def of_table(loss, table, upstream=None, eps=0.0, **beta):
    """The loss of one of these kinds; eps is the roundoff of a distance."""
    kind = loss["kind"]
    share = np.where(table.valid, table.y, np.nan)
    sides = bool((share > 0).any()), bool((share < 1).any())
    if kind in ("triplet", "margin"):
        return of_triplets(loss, table, upstream, **beta)
    if kind == "n-pairs":
        return of_n_pairs(loss, table, upstream)
    if not any(sides) or (kind in NEEDS_BOTH and not all(sides)):
        return _none(table)
    return (of_positives if kind in PAIR_KINDS else of_rows)(loss, table, upstream, eps)
