"""Random calls of losses in every form, and their making."""

import ctypes as c
from dataclasses import dataclass

import numpy as np

import row_oracle
from campaign_rows import (SENTINEL, blank_like, distances, draw_labels, draw_rows, draw_size,
                           draw_world, pick, require)
from library import (KINDS, ClassWeight, LabelSets, LossResult, MarginBeta, Pairs, PairTerms,
                     ReferenceTargets, RowTargets, RowTerms, Sets, Targets, TripletList, _labels,
                     _matrix, _pointer, loss_fields, loss_options)
from oracle import METRICS
from row_oracle import Real

PRESETS = ("weston", "drlim", "hinge", "pml", "sbert", "triplet", "tfa-semihard", "tfa-hard",
           "sbert-batch-all", "sbert-batch-hard", "sbert-batch-hard-soft", "sbert-batch-semihard",
           "margin", "nt-xent", "sbert-mnrl", "supcon", "nca", "multi-similarity", "circle", "lifted",
           "tfa-lifted", "generalized-lifted", "n-pairs")


# ---- random losses -------------------------------------------------------------------------------


def typical(metric, x, y, normalize):
    """Some distances of the data, to choose margins by."""
    if not len(x) or not len(y):
        return np.ones(1)
    rng = np.random.default_rng(1)
    i, j = rng.integers(0, len(x), 40), rng.integers(0, len(y), 40)
    t = distances(metric, np.asarray(x[i], Real), np.asarray(y[j], Real), normalize, np.arange(40),
                  np.arange(40))
    t = np.asarray(t[np.isfinite(t)], float)
    t = t[np.isfinite(t)]
    return t if len(t) else np.ones(1)


def draw_loss(rng, library, x, y, kinds=KINDS):
    names = [name for name in PRESETS if loss_fields(library.preset(name))["kind"] in kinds]
    contrastive = [name for name in names if names.index(name) < 5 and "contrastive" in kinds]
    name = pick(rng, *(contrastive if contrastive and rng.random() < 0.3 else names))
    loss = loss_fields(library.preset(name))
    loss["stats"] = int(rng.random() < 0.5)
    kind = loss["kind"]
    if rng.random() < 0.3:
        return loss
    if rng.random() < 0.5 and kind != "circle":
        loss["pos_metric"] = loss["neg_metric"] = pick(rng, *METRICS)
        if kind == "contrastive" and rng.random() < 0.3:
            loss["neg_metric"] = pick(rng, *METRICS)
    if rng.random() < 0.4:
        loss["normalize"] = int(rng.random() < 0.5)
    if rng.random() < 0.3:
        loss["scale"] = pick(rng, 0.5, 3.0, 1e-3)
    usual = {side: typical(loss[f"{side}_metric"], x, y, loss["normalize"]) for side in ("pos", "neg")}

    def some(side):
        return float(rng.choice(usual[side]) * pick(rng, 0.5, 1.0, 2.0))

    if kind == "contrastive":
        for side in ("pos", "neg"):
            if rng.random() < 0.4:
                loss[f"{side}_exponent"] = float(rng.integers(2, 9)) / 2
            if rng.random() < 0.2:
                loss[f"{side}_weight"] = pick(rng, 0.0, 0.25, 7.0)
    if rng.random() < 0.6:
        if kind in ("contrastive", "lifted", "generalized-lifted"):
            loss["pos_margin"] = pick(rng, 0.0, some("pos"))
        if library.c.nf_loss_takes(KINDS.index(kind), b"neg_margin") and kind != "circle":
            loss["neg_margin"] = pick(rng, 0.0, some("neg"), some("neg"), 5 * abs(some("neg")))
        if kind == "margin":
            loss["beta"] = max(abs(some("neg")), 1e-300)
        if kind == "circle":
            loss["neg_margin"], loss["gamma"] = pick(rng, 0.0, 0.25, -0.1), pick(rng, 1.0, 30.0, 256.0)
        spread = max(float(np.abs(usual["pos"]).mean()), 1e-300)
        if "temperature" in needed(kind):
            loss["temperature"] = pick(rng, 1.0, 0.3, 0.01) * pick(rng, spread, 1.0)
        if kind == "multi-similarity":
            loss["alpha"], loss["beta"] = (pick(rng, 1.0, 4.0) / pick(rng, spread, 1.0),
                                           pick(rng, 1.0, 20.0) / pick(rng, spread, 1.0))
            loss["base"] = some("pos") * pick(rng, 1, -1)
    if kind == "triplet":
        loss["triplets"] = pick(rng, "all", "semi-hard", "hard")
        loss["smooth"] = int(rng.random() < 0.3)
    reductions = ["mean", "sum", "weighted-mean", "mean-nonzero", "divisor"]
    if kind == "contrastive":
        reductions += ["mean-sides"]
    if kind in row_oracle.PAIR_KINDS:
        reductions += ["mean-anchors"]
    if rng.random() < 0.6:
        loss["reduction"] = pick(rng, *reductions)
        loss["divisor"] = 12.5 if loss["reduction"] == "divisor" else 0.0
    metrics = {loss["pos_metric"], loss["neg_metric"]}
    loss["fast"] = int(rng.random() < 0.15 and not metrics & {"dot", "cityblock"})
    return loss


def draw_sides_loss(rng, library, margin):
    """Of the contrastive family, of metrics that balls can bound, with a margin given as a distance."""
    loss = loss_fields(library.preset(pick(rng, *PRESETS[:5])))
    for side in ("pos", "neg"):
        loss[f"{side}_metric"] = pick(rng, "euclidean", "euclidean", "sqeuclidean", "cosine",
                                       "cityblock")
        loss[f"{side}_exponent"] = pick(rng, 1.0, 1.5, 2.0)
    if rng.random() < 0.7:
        loss["pos_metric"] = loss["neg_metric"]
    loss["normalize"] = int(rng.random() < 0.3)
    loss["neg_margin"] = margin if loss["neg_metric"] in ("euclidean", "cityblock") else margin * margin
    if loss["normalize"] or loss["neg_metric"] == "cosine":
        loss["neg_margin"] = float(rng.random())
    if rng.random() < 0.3:
        loss["pos_margin"] = 0.1 * margin
    loss["reduction"] = pick(rng, "mean", "sum", "mean-sides", "mean-nonzero")
    metrics = {loss["pos_metric"], loss["neg_metric"]}
    loss["fast"] = int(rng.random() < 0.3 and "cityblock" not in metrics)
    return loss


def needed(kind):
    return ("temperature",) if kind in ("nt-xent", "supcon", "nca") else ()


# ---- a call of a loss ----------------------------------------------------------------------------


@dataclass
class Call:
    form: str
    loss: dict
    x: np.ndarray
    y: np.ndarray = None  # None: the pairs of x with itself
    labels: np.ndarray = None
    other: np.ndarray = None
    has_unlabelled: bool = True
    ids: np.ndarray = None
    other_ids: np.ndarray = None
    i: np.ndarray = None
    j: np.ndarray = None
    same: np.ndarray = None
    weight: np.ndarray = None
    upstream: np.ndarray = None
    sets: tuple = None
    soft: np.ndarray = None
    row_weight: np.ndarray = None
    class_weight: dict = None
    pair_weight: np.ndarray = None
    group: np.ndarray = None
    other_sets: tuple = None
    other_row_weight: np.ndarray = None
    other_class_weight: dict = None
    other_group: np.ndarray = None
    triplets: tuple = None  # (anchor, positive, negative)
    beta: np.ndarray = None
    by_label: bool = False
    nu: float = 0.0
    with_terms: bool = False
    wants: tuple = (True, True)


@dataclass
class Answer:
    status: int
    message: str
    result: LossResult
    gradients: list
    terms: np.ndarray
    beta: np.ndarray

    def bits(self):
        names = ("value", "positive_pairs", "negative_pairs", "active_negative",
                 "coincident_negatives", "zero_rows", "terms", "active_terms")
        parts = [bytes(self.status.to_bytes(1, "little"))]
        if self.status == 0:
            parts += [np.asarray(getattr(self.result, name)).tobytes() for name in names]
        parts += [np.ascontiguousarray(g).tobytes() for g in (*self.gradients, self.terms, self.beta)
                  if g is not None]
        return b"|".join(parts)


def sets_of(call, labels=True):
    other = _labels(call.other, call.has_unlabelled)
    own = _labels(call.labels, call.has_unlabelled)
    if not labels:
        own = other = _labels(None, False)
    return Sets(_matrix(call.x), _matrix(call.y), own, other, _pointer(call.ids),
                _pointer(call.other_ids))


def label_sets(sets):
    return None if sets is None else c.pointer(LabelSets(_pointer(sets[0]), _pointer(sets[1])))


def class_weights(weights):
    weights = weights or {}
    return (ClassWeight * len(weights))(*(ClassWeight(k, w) for k, w in weights.items())) or None


def run_targets(library, call, of, extras, result, out):
    by_labels = call.sets is None and call.soft is None
    with_terms = extras.terms is not None
    if call.y is None:
        targets = Targets(_labels(call.labels, call.has_unlabelled) if by_labels
                          else _labels(None, False), label_sets(call.sets), _matrix(call.soft),
                          _pointer(call.row_weight), class_weights(call.class_weight),
                          len(call.class_weight or ()), _matrix(call.pair_weight),
                          _pointer(call.group))
        if with_terms:
            return library.attempt("nf_loss_targets_anchors", of, _matrix(call.x), c.byref(targets),
                                   c.byref(extras), c.byref(result), _matrix(out[0]))
        return library.attempt("nf_loss_targets", of, _matrix(call.x), c.byref(targets),
                               c.byref(result), _matrix(out[0]))
    rows = [RowTargets(label_sets(sets), _pointer(weight), class_weights(classes), len(classes or ()),
                       _pointer(group))
            for sets, weight, classes, group in (
                (call.sets, call.row_weight, call.class_weight, call.group),
                (call.other_sets, call.other_row_weight, call.other_class_weight, call.other_group))]
    targets = ReferenceTargets(rows[0], rows[1], _matrix(call.soft), _matrix(call.pair_weight))
    return library.attempt("nf_loss_targets_reference", of, c.byref(sets_of(call, by_labels)),
                           c.byref(targets), c.byref(extras) if with_terms else None, c.byref(result),
                           _matrix(out[0]), _matrix(out[1]))


def run(library, call, seed, loss=None):
    rng = np.random.default_rng(seed + 1)
    loss = loss_options(loss or call.loss)
    y = call.x if call.y is None else call.y
    out = [blank_like(rng, call.x) if call.wants[0] else None,
           blank_like(rng, y) if call.wants[1] and call.y is not None else None]
    frames = [None if g is None else (g if g.base is None else g.base) for g in out]
    result = LossResult(value=SENTINEL)
    terms = beta = None
    of, x, to = c.byref(loss), _matrix(call.x), _matrix(out[0])
    labels = _labels(call.labels, call.has_unlabelled)
    if call.form == "batch":
        status = library.attempt("nf_loss_batch", of, x, labels, c.byref(result), to)
    elif call.form == "anchors":
        terms = np.full(len(call.x), SENTINEL)
        extras = RowTerms(_pointer(terms), _pointer(call.upstream))
        if call.y is None:
            status = library.attempt("nf_loss_anchors", of, x, labels, c.byref(extras), c.byref(result),
                                     to)
        else:
            status = library.attempt("nf_loss_anchors_reference", of, c.byref(sets_of(call)),
                                     c.byref(extras), c.byref(result), to, _matrix(out[1]))
    elif call.form == "triplets":
        listed = TripletList(len(call.triplets[0]), *(_pointer(rows) for rows in call.triplets))
        status = library.attempt("nf_loss_triplets", of, x, listed, c.byref(result), to)
    elif call.form in ("pairs", "rows"):
        terms = np.full(len(call.same), SENTINEL)
        extras = PairTerms(_pointer(terms), _pointer(call.upstream))
        if call.form == "pairs":
            pairs = Pairs(len(call.i), _pointer(call.i), _pointer(call.j), _pointer(call.same),
                          _pointer(call.weight))
            status = library.attempt("nf_loss_pairs", of, x, pairs, c.byref(extras), c.byref(result),
                                     to)
        else:
            status = library.attempt(
                "nf_loss_rows", of, x, _matrix(y), c.c_void_p(_pointer(call.same)),
                c.c_void_p(_pointer(call.weight)), c.byref(extras), c.byref(result), to,
                _matrix(out[1]))
    elif call.form == "reference":
        sets = sets_of(call)
        if call.beta is not None:
            beta = np.full(len(call.beta), SENTINEL)
            extras = MarginBeta(_pointer(call.beta), len(call.beta), call.nu, _pointer(beta),
                                int(call.by_label))
            status = library.attempt("nf_loss_margin_reference", of, c.byref(sets), c.byref(extras),
                                     c.byref(result), to, _matrix(out[1]))
        else:
            status = library.attempt("nf_loss_reference", of, c.byref(sets), c.byref(result), to,
                                     _matrix(out[1]))
    elif call.form == "margin":
        beta = np.full(len(call.beta), SENTINEL)
        extras = MarginBeta(_pointer(call.beta), len(call.beta), call.nu, _pointer(beta),
                            int(call.by_label))
        status = library.attempt("nf_loss_margin", of, x, labels, c.byref(extras), c.byref(result), to)
    else:
        if call.loss["kind"] != "contrastive" and call.with_terms:
            terms = np.full(len(call.x), SENTINEL)
        extras = RowTerms(_pointer(terms), _pointer(call.upstream))
        status = run_targets(library, call, of, extras, result, out)
    message = library.message() if status else ""
    answer = Answer(status, message, result, out, terms, beta)
    for frame, inside in zip(frames, out):
        if frame is None:
            continue
        if status:
            require((frame == SENTINEL).all(), f"a gradient was touched by a failing call: {message}")
        elif frame is not inside:
            require((frame[:, inside.shape[1]:] == SENTINEL).all(), "written between the rows")
    if status:
        require(result.value == SENTINEL, f"the result was touched by a failing call: {message}")
        for extra in (terms, beta):
            require(extra is None or (extra == SENTINEL).all(), f"extras were touched: {message}")
    return answer


# ---- drawing one ---------------------------------------------------------------------------------


def draw_call(seed, library, large=True):
    rng = np.random.default_rng(seed)
    form = pick(rng, "batch", "reference", "targets", "anchors", "pairs", "rows", "margin", "triplets",
                p=[0.22, 0.15, 0.28, 0.14, 0.06, 0.05, 0.05, 0.05])
    n = draw_size(rng, large)
    labels, has = draw_labels(rng, n)
    world = draw_world(rng, n)
    x = draw_rows(rng, world, labels)
    call = Call(form, None, x, labels=labels, has_unlabelled=has,
                wants=tuple(rng.random(2) < 0.93))
    between = form in ("targets", "anchors") and rng.random() < 0.4
    if form in ("reference", "rows") or between:
        m = n if form == "rows" else min(draw_size(rng, False), 200)
        other = draw_labels(rng, m)[0]
        if rng.random() < 0.7 and n:
            other = rng.choice(labels, m)
        call.y, call.other = draw_rows(rng, world, other), np.ascontiguousarray(other)
        if (form == "reference" or between) and n and m and rng.random() < 0.5:
            call.ids, call.other_ids = (np.ascontiguousarray(rng.integers(-2, max(n, m), k))
                                        for k in (n, m))
            if n >= m and rng.random() < 0.5:  # the reference set is part of the queries
                rows = rng.permutation(n)[:m]
                call.y, call.other = np.ascontiguousarray(x[rows]), np.ascontiguousarray(labels[rows])
                call.ids, call.other_ids = np.arange(n), np.ascontiguousarray(rows)
    kinds = KINDS
    if form in ("pairs", "rows"):
        kinds = ("contrastive",)
    elif form == "anchors":
        kinds = KINDS[1:]
    elif form == "triplets":
        kinds = ("contrastive", "triplet", "margin")
    if form == "reference" or between:
        kinds = tuple(kind for kind in kinds if kind != "n-pairs")
    elif form == "margin":
        kinds = ("margin",)
    call.loss = draw_loss(rng, library, x, x if call.y is None else call.y, kinds)
    if form == "pairs":
        count = int(rng.integers(0, 400)) if n > 1 else 0
        call.i = rng.integers(0, max(n, 1), count)
        call.j = (call.i + rng.integers(1, max(n, 2), count)) % max(n, 1)
    if form == "triplets":
        count = int(rng.integers(0, 400)) if n > 2 else 0
        call.triplets = tuple(np.ascontiguousarray(rows) for rows in np.array(
            [rng.permutation(n)[:3] for _ in range(count)], np.int64).reshape(-1, 3).T)
        call.loss["triplets"] = "all"
    if form in ("pairs", "rows"):
        count = len(call.i) if form == "pairs" else n
        call.same = rng.integers(0, 2, count).astype(np.uint8)
        if rng.random() < 0.5:
            call.weight = rng.choice([0.0, 0.5, 1.0, 3.0], count) * rng.random(count)
        if rng.random() < 0.3:
            call.loss["reduction"], call.loss["divisor"] = "none", 0.0
            call.upstream = rng.normal(size=count)
    if form == "anchors" and rng.random() < 0.5:
        call.loss["reduction"], call.loss["divisor"] = "none", 0.0
        call.upstream = rng.normal(size=n) if rng.random() < 0.7 else None
    if call.loss["kind"] == "margin" and (form == "margin" or form == "reference" and rng.random() < 0.5):
        draw_beta(rng, call)
    if form == "targets":
        draw_targets(rng, call)
        call.with_terms = call.loss["kind"] != "contrastive" and bool(rng.random() < 0.4)
        if call.with_terms and rng.random() < 0.6:
            call.loss["reduction"], call.loss["divisor"] = "none", 0.0
            call.upstream = rng.normal(size=n)
    return call


def draw_beta(rng, call):
    base = call.loss["beta"]
    known = call.labels if call.other is None else np.concatenate([call.labels, call.other])
    classes = len(set(known.tolist()) - ({-1} if call.has_unlabelled else set()))
    call.nu = pick(rng, 0.0, 0.3)
    how = pick(rng, "one", "class", "label")
    if how == "label":
        call.by_label = True
        call.labels = np.where(call.labels == -1, -1, call.labels % 7)
        if call.other is not None:
            call.other = np.where(call.other == -1, -1, call.other % 7)
        call.has_unlabelled = True
        if set(np.unique(known % 7)) and {-1, 1} in (set(call.labels), set(known)):
            call.labels = np.where(call.labels == 1, 2, call.labels)
        call.beta = base * (0.5 + rng.random(9))
    elif how == "class" and classes:
        call.beta = base * (0.5 + rng.random(classes))
    else:
        call.beta = np.array([base])


def draw_sets(rng, n):
    members = [rng.choice(6, rng.integers(0, 4), replace=False) for _ in range(n)]
    return (np.concatenate([[0], np.cumsum([len(s) for s in members])]).astype(np.uint64),
            np.concatenate([np.zeros(0, int), *members]).astype(np.int64))


def draw_targets(rng, call):
    n, between = len(call.x), call.y is not None
    m = len(call.y) if between else n
    how = pick(rng, "labels", "sets", "soft")
    rows = call.loss["kind"] != "contrastive"
    hard = call.loss["kind"] in ("n-pairs", "triplet", "margin")
    if how == "sets":
        call.sets = draw_sets(rng, n)
        call.other_sets = draw_sets(rng, m) if between else None
        call.has_unlabelled = False
    elif how == "soft":
        dtype = pick(rng, np.float32, np.float64)
        soft = rng.random((n, m))
        soft = (soft > 0.7) if hard or rng.random() < 0.3 else np.where(soft < 0.4, 0, soft)
        call.soft = np.ascontiguousarray(soft, dtype)
        call.has_unlabelled = False
    elif rng.random() < 0.4:
        call.class_weight = draw_class_weight(rng, call.labels, call.has_unlabelled)
        if between and not rows:
            call.other_class_weight = draw_class_weight(rng, call.other, call.has_unlabelled)
    if rng.random() < 0.5:
        call.row_weight = rng.choice([0.0, 0.5, 1.0, 2.0], n) + rng.choice([0, 0.125], n)
        if between and not rows:
            call.other_row_weight = rng.choice([0.0, 0.5, 1.0, 2.0], m)
    if rng.random() < 0.4:
        weight = rng.random((n, m)) * rng.choice([0.0, 1.0, 1.0, 5.0], (n, m))
        weight = weight * pick(rng, 1.0, 1.0, 1.0, 1e-9, 1e9)
        call.pair_weight = np.ascontiguousarray(weight, pick(rng, np.float32, np.float64))
    if rng.random() < 0.3:
        groups = max(1, n // pick(rng, 1, 2, 5))
        call.group = rng.integers(0, groups, n)
        call.other_group = rng.integers(0, groups, m) if between else None


def draw_class_weight(rng, labels, has_unlabelled):
    keys = set(labels.tolist()) - ({-1} if has_unlabelled else set())
    return {key: float(pick(rng, 0.0, 0.5, 3.0)) for key in sorted(keys)[::2]}
