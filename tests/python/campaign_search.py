"""Random calls of distances, neighbours, miners and evaluation against NumPy: the other parts of
campaign.py. What depends on comparisons is decided from the library's own distances."""

import ctypes as c

import numpy as np

from campaign_rows import (RANGE, Overflow, distances, draw_labels, draw_rows, draw_size, draw_world,
                           first_of, pick, require, unit)
from library import (MINERS, VIOLATIONS, DistanceOptions, EvalOptions, EvalResult, LabelSets, Mined,
                     MineHardOptions, MineOptions, NearfarError, Sets, _labels, _matrix, _pointer)
from oracle import METRICS
from row_oracle import Real


def call(library, name, *arguments):
    status = library.attempt(name, *arguments)
    if status == RANGE:
        raise Overflow(library.message())
    library._check(status)


def draw_sets(rng, large, alone=0.5):
    """Two sets of rows of one world with labels, or one of them twice (None)."""
    n = draw_size(rng, large)
    labels, has = draw_labels(rng, n)
    world = draw_world(rng, n)
    x = draw_rows(rng, world, labels)
    if rng.random() < alone:
        return x, labels, None, None, has
    other = rng.choice(labels, draw_size(rng, False)) if n else np.zeros(0, np.int64)
    return x, labels, draw_rows(rng, world, other), np.ascontiguousarray(other), has


def signs(labels, other):
    """Labels that are -1 and +1 alone, which are refused while -1 means unlabelled."""
    sets = [labels] if other is None else [labels, other, np.concatenate([labels, other])]
    return any(set(one.tolist()) == {-1, 1} for one in sets)


def draw_ids(rng, n, m):
    if rng.random() < 0.5:
        return None, None
    return (np.ascontiguousarray(rng.integers(-3, max(n, m, 1), n)),
            np.ascontiguousarray(rng.integers(-3, max(n, m, 1), m)))


# ---- distances and neighbours --------------------------------------------------------------------


def bounds(metric, normalize, x, y, want, dtype, fast, precise):
    """What rounding may do to distances, from the headers."""
    u, d = float(np.finfo(dtype).eps) / 2, x.shape[1]
    units = normalize or metric == "cosine"
    bound = (1.02 if precise and dtype == np.float32 else 2 * (d + 2)) * u * abs(want)
    if fast:
        bound = 40 * (d + 2) * u * abs(want) / (2 if metric == "euclidean" else 1) + bound
    if metric == "dot":
        a, b = (unit(x)[0], unit(y)[0]) if units else (x, y)
        bound = 2 * (d + 2) * u * (abs(a) @ abs(b).T)
    elif units:
        root = np.sqrt(abs(want)) if metric != "cityblock" else np.sqrt(Real(d))
        bound = bound + (8 * u if metric == "euclidean" else 16 * u * root + 64 * u * u)
    return bound + (d + 1) * float(np.finfo(dtype).smallest_subnormal)


def check_distances(seed, contexts, large=True):
    rng = np.random.default_rng(seed)
    x, _, y, _, _ = draw_sets(rng, large)
    y = x if y is None else y
    metric, normalize = pick(rng, *METRICS), bool(rng.random() < 0.3)
    fast = bool(rng.random() < 0.3) and metric not in ("dot", "cityblock")
    precise = bool(rng.random() < 0.2) and not fast
    options = DistanceOptions(METRICS.index(metric), int(normalize), int(precise), 0, int(fast))
    n, m = len(x), len(y)
    got = []
    for key in ((1, "auto"), contexts.draw(rng)):
        out = np.full((n, m), 7, x.dtype)
        status = contexts[key].attempt("nf_distances_full", c.byref(options), _matrix(x), _matrix(y),
                                       _matrix(out))
        require(status in (0, RANGE), contexts[key].message() if status else "")
        require(not status or (out == 7).all(), "distances were touched by a failing call")
        got.append((status, out.tobytes()))
    require(got[0] == got[1], "other bits of distances")
    i, j = (part.ravel() for part in np.indices((n, m)))
    want = distances(metric, x.astype(Real), y.astype(Real), normalize, i, j).reshape(n, m)
    top = float(np.finfo(x.dtype).max)
    if got[0][0]:
        largest = float(np.abs(want).max(initial=0))
        require(largest > top * 0.99, f"out of range, but the largest is {largest:.3g}")
        return "range", 0, 0
    out = out.astype(Real)
    bound = bounds(metric, normalize, x.astype(Real), y.astype(Real), want, x.dtype, fast, precise)
    if y is x:
        require((out == out.T).all(), "not symmetric")
        require(metric == "dot" or metric == "cosine" and not x.any(axis=1).all()
                or (np.diag(out) == 0).all(), "the diagonal is not 0")
        if metric == "cosine":  # where the header leaves d(x, x) of a zero row open
            np.fill_diagonal(want, np.diag(out))
    wrong = ~(abs(out - want) <= bound)
    require(not wrong.any(), f"{metric}, normalize {normalize}, fast {fast}, precise {precise}, "
            f"{x.dtype}, d {x.shape[1]}: {first_of(wrong, out, want, bound)}")
    used = float((abs(out - want) / np.where(bound > 0, bound, 1)).max(initial=0))
    check_condensed(rng, contexts, options, x, y, out)
    check_neighbours(rng, contexts, options, x, y, out)
    return "compared", used, 0


def check_condensed(rng, contexts, options, x, y, full):
    n, m = full.shape
    library = contexts[contexts.draw(rng)]
    if y is x:
        out = np.zeros(n * (n - 1) // 2, x.dtype)
        call(library, "nf_distances_condensed", c.byref(options), _matrix(x), c.c_void_p(_pointer(out)))
        require((out == full[np.triu_indices(n, 1)]).all(), "condensed distances differ from full ones")
    if options.fast or not n or not m:
        return
    i, j = rng.integers(0, n, 50), rng.integers(0, m, 50)
    out = np.zeros(50, x.dtype)
    call(library, "nf_distances_pairs", c.byref(options), _matrix(x), _matrix(y),
         c.c_void_p(_pointer(i)), c.c_void_p(_pointer(j)), c.c_size_t(50), c.c_void_p(_pointer(out)))
    require((out == full[i, j]).all(), "distances of listed pairs differ from full ones")


def check_neighbours(rng, contexts, options, x, y, full):
    n, m = full.shape
    exclude = y is x and rng.random() < 0.5
    most = m - 1 if exclude else m
    if most < 1:
        return
    k = int(pick(rng, 1, most, int(rng.integers(1, most + 1))))
    index, distance = np.full((n, k), -9), np.zeros((n, k), x.dtype)
    call(contexts[contexts.draw(rng)], "nf_knn", c.byref(options), _matrix(x), _matrix(y), c.c_size_t(k),
         c.c_int(int(exclude)), c.c_void_p(_pointer(index)), c.c_void_p(_pointer(distance)))
    t = full.astype(float)
    if exclude:
        np.fill_diagonal(t, np.inf)
        order = np.array([[q for q in row if q != r] for r, row in
                          enumerate(np.argsort(t, axis=1, kind="stable").tolist())]).reshape(n, -1)
    else:
        order = np.argsort(t, axis=1, kind="stable")
    order = order[:, :k]
    require(np.array_equal(index, order), f"neighbours: {first_of(index != order, index, order, index)}")
    require((distance == np.take_along_axis(full, order, 1)).all(), "distances of neighbours differ")


# ---- miners --------------------------------------------------------------------------------------


def mined(library, name, options, x, labels, y, other, has, ids):
    """(i, j, same) or (anchor, positive, negative)."""
    found = c.POINTER(Mined)()
    if y is None:
        call(library, name, c.byref(options), _matrix(x), _labels(labels, has), c.byref(found))
    else:
        sets = Sets(_matrix(x), _matrix(y), _labels(labels, has), _labels(other, has), _pointer(ids[0]),
                    _pointer(ids[1]))
        call(library, f"{name}_reference", c.byref(options), c.byref(sets), c.byref(found))
    it = found.contents

    def copy(pointer, count, kind, dtype):
        if not count:
            return np.zeros(0, dtype)
        return np.ctypeslib.as_array(c.cast(pointer, c.POINTER(kind)), (count,)).copy()

    if it.triplets:
        out = [copy(p, it.triplets, c.c_int64, np.int64) for p in (it.anchor, it.positive, it.negative)]
    else:
        out = [copy(it.pairs.i, it.pairs.count, c.c_int64, np.int64),
               copy(it.pairs.j, it.pairs.count, c.c_int64, np.int64),
               copy(it.pairs.same, it.pairs.count, c.c_uint8, np.uint8)]
    library.c.nf_mined_free(library.context, found)
    return out


def masks(labels, other, has, ids, within):
    valid = np.ones((len(labels), len(other)), bool)
    if has:
        valid &= (labels != -1)[:, None] & (other != -1)[None, :]
    if within:
        np.fill_diagonal(valid, False)
    elif ids[0] is not None:
        valid &= ids[0][:, None] != ids[1][None, :]
    same = labels[:, None] == other[None, :]
    return valid & same, valid & ~same


def wanted(miner, o, t, positive, negative, within):
    both = positive.any(axis=1) & negative.any(axis=1)
    nearest = np.where(negative, t, np.inf)
    farthest = np.where(positive, t, -np.inf)
    if miner == "pair-margin":
        keep = (positive & (t > o.pos_margin)) | (negative & (t < o.neg_margin))
        i, j = np.nonzero(np.triu(keep) if within else keep)
        return i, j, positive[i, j]
    if miner == "multi-similarity":
        least, most = (nearest.min(axis=1, initial=np.inf)[:, None],
                       farthest.max(axis=1, initial=-np.inf)[:, None])
        keep = both[:, None] & ((positive & (t + o.epsilon > least))
                                | (negative & (t - o.epsilon < most)))
        i, j = np.nonzero(keep)
        return i, j, positive[i, j]
    rows = np.flatnonzero(both)
    if not len(rows):
        return np.zeros((3, 0), int)
    if miner == "batch-hard":
        return rows, farthest[rows].argmax(axis=1), nearest[rows].argmin(axis=1)
    if miner == "easy-positive":
        p = np.where(positive, t, np.inf)[rows].argmin(axis=1)
        beyond = np.where(negative[rows] & (t[rows] > t[rows, p][:, None]), t[rows], np.inf)
        some = np.isfinite(beyond).any(axis=1)
        return rows[some], p[some], beyond.argmin(axis=1)[some]
    out = []
    for a in rows:
        gap = t[a][None, :] - t[a][:, None]
        kind = VIOLATIONS[o.violation] if miner != "semi-hard" else "semi-hard"
        keep = {"all": gap <= o.margin, "hard": (gap <= o.margin) & (gap <= 0),
                "semi-hard": (gap <= o.margin) & (gap > 0), "easy": gap > o.margin}[kind]
        p, q = np.nonzero(keep & positive[a][:, None] & negative[a][None, :])
        out.append(np.stack([np.full(len(p), a), p, q]))
    return np.concatenate(out, axis=1)


def check_mine(seed, contexts, large=True):
    rng = np.random.default_rng(seed)
    x, labels, y, other, has = draw_sets(rng, False, 0.6)
    if len(x) > 120:
        x, labels = x[:120], labels[:120]
    if has and signs(labels, other):
        return "refused", 0, 0
    ids = draw_ids(rng, len(x), 0 if y is None else len(y)) if y is not None else (None, None)
    if rng.random() < 0.3:
        return check_hard(rng, contexts, x, labels, y, other, has, ids)
    miner = pick(rng, *MINERS)
    o = MineOptions(miner=MINERS.index(miner), metric=METRICS.index(pick(rng, *METRICS)),
                    normalize=int(rng.random() < 0.5), pos_margin=0.2, neg_margin=0.8, epsilon=0.1,
                    margin=0.2, violation=int(rng.integers(0, 4)), cutoff=0.5, nonzero_loss_cutoff=1.4,
                    per_anchor=int(rng.integers(0, 4)), seed=int(rng.integers(0, 2**63)))
    if miner == "distance-weighted":
        o.metric, o.normalize = METRICS.index("euclidean"), 1
    t = measured(contexts, o, x, y)
    typical = float(np.median(t)) if t.size else 1.0
    if rng.random() < 0.6:
        o.pos_margin, o.neg_margin, o.margin, o.epsilon = (
            float(typical * pick(rng, 0.0, 0.5, 1.0, 2.0, -0.3)) for _ in range(4))
        o.cutoff, o.nonzero_loss_cutoff = pick(rng, 0.1, 0.5, 1.2), pick(rng, 0.9, 1.4, 3.0)
    got = [mined(contexts[key], "nf_mine", o, x, labels, y, other, has, ids)
           for key in ((1, "auto"), contexts.draw(rng))]
    require(all(np.array_equal(a, b) for a, b in zip(*got)), f"{miner}: other finds in another context")
    positive, negative = masks(labels, labels if y is None else other, has, ids, y is None)
    if miner == "distance-weighted":
        return check_weighted(o, got[0], t, positive, negative, y is None)
    want = wanted(miner, o, t, positive, negative, y is None)
    require(all(np.array_equal(a, b) for a, b in zip(got[0], want)),
            f"{miner}: {len(got[0][0])} found, not {len(want[0])}")
    return "compared", 0, 0


def measured(contexts, o, x, y):
    options = DistanceOptions(o.metric, o.normalize, 0, 0, 0)
    y = x if y is None else y
    out = np.zeros((len(x), len(y)), x.dtype)
    call(contexts[1, "auto"], "nf_distances_full", c.byref(options), _matrix(x), _matrix(y), _matrix(out))
    return out.astype(float)


def check_weighted(o, got, t, positive, negative, within):
    a, p, q = got
    allowed = negative & (np.maximum(t, o.cutoff) < min(o.nonzero_loss_cutoff, 2))
    draws = np.where(positive.any(axis=1) & allowed.any(axis=1),
                     o.per_anchor or positive.sum(axis=1) + within, 0)
    require(np.array_equal(np.bincount(a, minlength=len(t)), draws), "draws of each anchor")
    require(positive[a, p].all() and allowed[a, q].all(), "a draw that is not allowed")
    return "compared", 0, 0


def check_hard(rng, contexts, x, labels, y, other, has, ids):
    metric = pick(rng, *METRICS)
    o = MineHardOptions(metric=METRICS.index(metric), normalize=int(rng.random() < 0.5), range_max=0,
                        absolute_margin=np.nan, relative_margin=np.nan, min_distance=np.nan,
                        max_distance=np.nan, range_min=int(rng.integers(0, 4)),
                        negatives=int(rng.integers(1, 6)), random=0, seed=3,
                        positives=int(rng.integers(0, 4)))
    t = measured(contexts, o, x, y)
    typical = float(np.median(t)) if t.size else 1.0
    for name in ("absolute_margin", "relative_margin", "min_distance", "max_distance"):
        if rng.random() < 0.3:
            setattr(o, name, float(typical * pick(rng, 0.1, 0.7, 1.0, 1.5)) if name != "relative_margin"
                    else pick(rng, 0.0, 0.05, 0.5))
    filtered = any(not np.isnan(getattr(o, name)) for name in (
        "absolute_margin", "relative_margin", "min_distance", "max_distance"))
    if rng.random() < 0.5:
        o.range_max = o.range_min + o.negatives + int(rng.integers(0, 30))
    look = o.range_max or o.range_min + o.negatives * (10 if filtered else 1)
    got = mined(contexts[contexts.draw(rng)], "nf_mine_hard", o, x, labels, y, other, has, ids)
    positive, negative = masks(labels, labels if y is None else other, has, ids, y is None)
    want = []
    for a in range(len(t)):
        order = [j for j in np.argsort(t[a], kind="stable") if negative[a, j]][:look]
        far = t[a][positive[a]].max() if positive[a].any() else np.nan
        score = (lambda z: 1 - z) if metric == "cosine" else (lambda z: -z)
        most = score(far) - abs(score(far)) * o.relative_margin
        order = [j for j in order if not (t[a, j] < far + o.absolute_margin or score(t[a, j]) > most
                                          or t[a, j] < o.min_distance or t[a, j] > o.max_distance)]
        chosen = order[o.range_min:][:o.negatives]
        if not chosen:
            continue
        mates = sorted(np.flatnonzero(positive[a]), key=lambda j: (-t[a, j], j))[:o.positives]
        want += [(a, j, 1) for j in mates] + [(a, j, 0) for j in chosen]
    want = np.array(want, int).reshape(-1, 3).T
    require(all(np.array_equal(p, q) for p, q in zip(got, want)),
            f"hard negatives: {len(got[0])} found, not {want.shape[1]}")
    return "compared", 0, 0


# ---- evaluation ----------------------------------------------------------------------------------


def check_eval(seed, contexts, large=True):
    rng = np.random.default_rng(seed)
    x, labels, y, other, has = draw_sets(rng, False, 0.6)
    if has and signs(labels, other):
        return "refused", 0, 0
    ids = draw_ids(rng, len(x), len(y)) if y is not None else (None, None)
    metric = pick(rng, *METRICS)
    fast = int(rng.random() < 0.2 and metric not in ("dot", "cityblock"))
    o = EvalOptions(distance=DistanceOptions(METRICS.index(metric), int(rng.random() < 0.4), 0, 0, fast),
                    k_count=3, retrieval=1, verification=1, knn_k=int(rng.integers(1, 8)))
    o.k[0], o.k[1], o.k[2] = 1, int(rng.integers(1, 12)), 300
    results = []
    sets = draw_label_sets(rng, labels, other, y is None) if rng.random() < 0.4 else None
    for key in ((1, "auto"), contexts.draw(rng)):
        result = EvalResult()
        if sets is not None:
            evaluate_sets(contexts[key], o, x, y, ids, sets, result)
        elif y is None:
            call(contexts[key], "nf_eval", c.byref(o), _matrix(x), _labels(labels, has), c.byref(result))
        else:
            call(contexts[key], "nf_eval_reference", c.byref(o), _matrix(x), _labels(labels, has),
                 c.c_void_p(_pointer(ids[0])), _matrix(y), _labels(other, has),
                 c.c_void_p(_pointer(ids[1])), c.byref(result))
        results.append(result)
    require(bytes(results[0]) == bytes(results[1]), "other bits of an evaluation")
    out = np.zeros((len(x), len(x if y is None else y)), x.dtype)
    call(contexts[1, "auto"], "nf_distances_full", c.byref(o.distance), _matrix(x),
         _matrix(x if y is None else y), _matrix(out))
    if sets is None:
        own, others = ([{label} if label != -1 or not has else set() for label in side.tolist()]
                       for side in (labels, labels if y is None else other))
    else:
        own, others = sets[0], sets[0] if y is None else sets[1]
    positive, negative = set_masks(own, others, ids, y is None)
    check_retrieval(results[0], o, out.astype(float), positive, negative, own, others)
    check_verification(results[0], single(out), positive, negative, y is None)
    return "compared", 0, 0


def single(t):
    """Rounded to float32, as verification ranks distances."""
    with np.errstate(over="ignore"):
        return t.astype(np.float32).astype(float)


def near(got, want, name):
    require(got == want or (np.isnan(got) and np.isnan(want))
            or abs(got - want) <= 1e-12 * max(1, abs(want)), f"{name} is {got!r}, not {want!r}")


def draw_label_sets(rng, labels, other, within):
    """A set of labels of each row, its own among them but for some that have none."""
    def some(side):
        return [set() if rng.random() < 0.1 else {label, *rng.integers(0, 5, rng.integers(0, 3)).tolist()}
                for label in side.tolist()]
    return some(labels), None if within else some(other)


def flat(sets):
    members = [sorted(one) for one in sets]
    return (np.concatenate([[0], np.cumsum([len(one) for one in members])]).astype(np.uint64),
            np.array([label for one in members for label in one], np.int64))


def evaluate_sets(library, o, x, y, ids, sets, result):
    given = [None if side is None else flat(side) for side in sets]
    own, others = (None if side is None else LabelSets(_pointer(side[0]), _pointer(side[1]))
                   for side in given)
    if y is None:
        call(library, "nf_eval_label_sets", c.byref(o), _matrix(x), c.byref(own), c.byref(result))
        return
    call(library, "nf_eval_label_sets_reference", c.byref(o), _matrix(x), c.byref(own),
         c.c_void_p(_pointer(ids[0])), _matrix(y), c.byref(others), c.c_void_p(_pointer(ids[1])),
         c.byref(result))


def set_masks(own, others, ids, within):
    valid = (np.array([bool(one) for one in own], bool)[:, None]
             & np.array([bool(one) for one in others], bool)[None, :])
    same = np.array([[bool(a & b) for b in others] for a in own], bool).reshape(len(own), len(others))
    if within:
        np.fill_diagonal(valid, False)
    elif ids[0] is not None:
        valid &= ids[0][:, None] != ids[1][None, :]
    return valid & same, valid & ~same


def check_retrieval(result, o, t, positive, negative, labels, other):
    queries = np.flatnonzero(positive.any(axis=1))
    labelled = sum(bool(one) for one in labels)
    for name, want in (("n", labelled), ("queries", len(queries)), ("dropped", labelled - len(queries))):
        require(getattr(result, name) == want, f"{name} is {getattr(result, name)}, not {want}")
    recall, r_precision, map_at_r, knn = np.zeros(3), [], [], []
    for a in queries:
        order = [j for j in np.argsort(t[a], kind="stable") if positive[a, j] or negative[a, j]]
        hit = positive[a, order]
        r = int(hit.sum())
        recall += [hit[:o.k[q]].any() for q in range(3)]
        r_precision.append(hit[:r].sum() / r)
        precision = np.cumsum(hit[:r]) / np.arange(1, r + 1)
        map_at_r.append((precision * hit[:r]).sum() / r)
        near_labels = [sorted(other[j]) for j in order[:o.knn_k]]
        every = [label for one in near_labels for label in one]
        best = max(every.count(label) for label in every)
        # Ties go to the nearest row with one of them, and there to the smallest.
        winner = next(label for label in every if every.count(label) == best)
        knn.append(winner in labels[a])

    def mean(values):
        return float(np.mean(values)) if len(values) else np.nan

    for q in range(3):
        near(result.recall[q], recall[q] / len(queries) if len(queries) else np.nan, f"recall {q}")
    near(result.r_precision, mean(r_precision), "r_precision")
    near(result.map_at_r, mean(map_at_r), "map_at_r")
    near(result.knn_accuracy, mean(knn), "knn_accuracy")


def check_verification(result, t, positive, negative, within):
    if within:
        positive, negative = np.triu(positive), np.triu(negative)
    p, n = np.sort(t[positive]), np.sort(t[negative])
    require(result.positive_pairs == len(p) and result.negative_pairs == len(n), "pairs of verification")
    if not len(p) or not len(n):
        return
    below, upto = np.searchsorted(n, p, "left"), np.searchsorted(n, p, "right")
    near(result.roc_auc, float(((len(n) - upto) + (upto - below) / 2).sum() / (len(p) * len(n))),
         "roc_auc")
    thresholds = np.concatenate([[-np.inf], np.unique(np.concatenate([p, n]))])
    accepted_p, accepted_n = (np.searchsorted(side, thresholds, "right") for side in (p, n))
    accepted_p[0] = accepted_n[0] = 0  # also of distances that are -Inf as float32
    right = accepted_p + len(n) - accepted_n
    near(result.best_accuracy, float(right.max() / (len(p) + len(n))), "best_accuracy")
    near(result.best_threshold, float(thresholds[right.argmax()]) if result.best_threshold > -np.inf
         or right.argmax() else result.best_threshold, "best_threshold")
    far, tar = accepted_n / len(n), accepted_p / len(p)
    for name, f in (("tar_at_far_1e2", 1e-2), ("tar_at_far_1e3", 1e-3)):
        near(getattr(result, name), float(tar[far <= f].max(initial=0)), name)
    frr = 1 - tar
    k = int(np.argmax(far >= frr))
    if k:
        d0, d1 = frr[k - 1] - far[k - 1], far[k] - frr[k]
        share = d0 / (d0 + d1)
        near(result.eer, float(far[k - 1] + share * (far[k] - far[k - 1])), "eer")


def guarded(check):
    def run(seed, contexts, large=True):
        try:
            return check(seed, contexts, large)
        except (Overflow, NearfarError) as error:
            if isinstance(error, NearfarError) and not str(error).startswith(f"{RANGE}:"):
                raise
            return "range", 0, 0
    return run


PARTS = {"distances": check_distances, "mine": guarded(check_mine), "eval": guarded(check_eval)}
