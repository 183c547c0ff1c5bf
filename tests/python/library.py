"""The public C functions through ctypes: no wrapper, only the headers' structs in Python.

Used where thousands of calls are wanted; everything else goes through the program.
"""

import ctypes as c
import os

import numpy as np

_METRICS = ("euclidean", "sqeuclidean", "cosine", "dot", "cityblock")
_REDUCTIONS = ("mean", "sum", "weighted-mean", "mean-sides", "mean-nonzero", "none", "mean-anchors",
               "divisor")
_TRIPLETS = ("all", "semi-hard", "hard")
KINDS = ("contrastive", "nt-xent", "supcon", "nca", "multi-similarity", "circle", "lifted",
         "generalized-lifted", "n-pairs", "triplet", "margin")
ISAS = {"auto": 0, "scalar": 1, "avx2": 2, "avx512": 3, "neon": 4}
MINERS = ("pair-margin", "multi-similarity", "batch-hard", "easy-positive", "triplet-margin",
          "semi-hard", "distance-weighted")
VIOLATIONS = ("all", "hard", "semi-hard", "easy")
_i64p = c.POINTER(c.c_int64)


class Matrix(c.Structure):
    _fields_ = [("data", c.c_void_p), ("type", c.c_int), ("rows", c.c_size_t),
                ("cols", c.c_size_t), ("ld", c.c_size_t)]


class Labels(c.Structure):
    _fields_ = [("data", c.c_void_p), ("n", c.c_size_t), ("has_unlabelled", c.c_int)]


class LossOptions(c.Structure):
    _fields_ = [("pos_metric", c.c_int), ("neg_metric", c.c_int),
                ("pos_exponent", c.c_double), ("neg_exponent", c.c_double),
                ("pos_margin", c.c_double), ("neg_margin", c.c_double),
                ("pos_weight", c.c_double), ("neg_weight", c.c_double),
                ("scale", c.c_double), ("normalize", c.c_int), ("reduction", c.c_int),
                ("divisor", c.c_double), ("stats", c.c_int), ("kind", c.c_int), ("temperature", c.c_double),
                ("alpha", c.c_double), ("beta", c.c_double), ("base", c.c_double),
                ("gamma", c.c_double), ("triplets", c.c_int), ("smooth", c.c_int),
                ("function", c.c_void_p), ("fast", c.c_int)]


class LossResult(c.Structure):
    _fields_ = [("value", c.c_double), ("positive_pairs", c.c_uint64),
                ("negative_pairs", c.c_uint64), ("active_negative", c.c_uint64),
                ("coincident_negatives", c.c_uint64), ("zero_rows", c.c_uint64),
                ("has_stats", c.c_uint64), ("active_positive", c.c_uint64),
                ("mean_positive_distance", c.c_double), ("mean_negative_distance", c.c_double),
                ("tiles_total", c.c_uint64), ("tiles_skipped", c.c_uint64),
                ("updates_total", c.c_uint64), ("updates_skipped", c.c_uint64), ("terms", c.c_uint64),
                ("active_terms", c.c_uint64)]


class PairTerms(c.Structure):
    _fields_ = [("terms", c.c_void_p), ("upstream", c.c_void_p)]


class Pairs(c.Structure):
    _fields_ = [("count", c.c_size_t), ("i", c.c_void_p), ("j", c.c_void_p), ("same", c.c_void_p),
                ("weight", c.c_void_p)]


class Sets(c.Structure):
    _fields_ = [("query", Matrix), ("reference", Matrix), ("query_labels", Labels),
                ("reference_labels", Labels), ("query_ids", c.c_void_p),
                ("reference_ids", c.c_void_p)]


class DistanceOptions(c.Structure):
    _fields_ = [("metric", c.c_int), ("normalize", c.c_int), ("precise", c.c_int),
                ("allow_nonfinite", c.c_int), ("fast", c.c_int)]


class Error(c.Structure):
    _fields_ = [("status", c.c_int), ("message", c.c_char * 512)]


class ContextOptions(c.Structure):
    _fields_ = [("allocator", c.c_void_p), ("threads", c.c_int), ("isa", c.c_int),
                ("progress", c.c_void_p), ("progress_user", c.c_void_p)]


class RowTerms(c.Structure):
    _fields_ = [("terms", c.c_void_p), ("upstream", c.c_void_p)]


class MarginBeta(c.Structure):
    _fields_ = [("beta", c.c_void_p), ("count", c.c_size_t), ("nu", c.c_double),
                ("gradient", c.c_void_p), ("by_label", c.c_int)]


class LabelSets(c.Structure):
    _fields_ = [("offset", c.c_void_p), ("label", c.c_void_p)]


class ClassWeight(c.Structure):
    _fields_ = [("label", c.c_int64), ("weight", c.c_double)]


class Targets(c.Structure):
    _fields_ = [("labels", Labels), ("sets", c.POINTER(LabelSets)), ("soft", Matrix),
                ("row_weight", c.c_void_p), ("class_weight", c.POINTER(ClassWeight)),
                ("class_weights", c.c_size_t), ("pair_weight", Matrix), ("group", c.c_void_p)]


class RowTargets(c.Structure):
    _fields_ = [("sets", c.POINTER(LabelSets)), ("row_weight", c.c_void_p),
                ("class_weight", c.POINTER(ClassWeight)), ("class_weights", c.c_size_t),
                ("group", c.c_void_p)]


class ReferenceTargets(c.Structure):
    _fields_ = [("query", RowTargets), ("reference", RowTargets), ("soft", Matrix),
                ("pair_weight", Matrix)]


class TripletList(c.Structure):
    _fields_ = [("count", c.c_size_t), ("anchor", c.c_void_p), ("positive", c.c_void_p),
                ("negative", c.c_void_p)]


class MineOptions(c.Structure):
    _fields_ = [("miner", c.c_int), ("metric", c.c_int), ("normalize", c.c_int),
                ("pos_margin", c.c_double), ("neg_margin", c.c_double), ("epsilon", c.c_double),
                ("margin", c.c_double), ("violation", c.c_int), ("cutoff", c.c_double),
                ("nonzero_loss_cutoff", c.c_double), ("per_anchor", c.c_size_t),
                ("seed", c.c_uint64)]


class MineHardOptions(c.Structure):
    _fields_ = [("metric", c.c_int), ("normalize", c.c_int), ("range_max", c.c_size_t),
                ("absolute_margin", c.c_double), ("relative_margin", c.c_double),
                ("min_distance", c.c_double), ("max_distance", c.c_double),
                ("range_min", c.c_size_t), ("negatives", c.c_size_t), ("random", c.c_int),
                ("seed", c.c_uint64), ("positives", c.c_size_t)]


class Mined(c.Structure):
    _fields_ = [("pairs", Pairs), ("triplets", c.c_size_t), ("anchor", c.c_void_p),
                ("positive", c.c_void_p), ("negative", c.c_void_p)]


class EvalOptions(c.Structure):
    _fields_ = [("distance", DistanceOptions), ("k", c.c_size_t * 16), ("k_count", c.c_size_t),
                ("retrieval", c.c_int), ("verification", c.c_int), ("knn_k", c.c_size_t)]


class EvalResult(c.Structure):
    _fields_ = [("n", c.c_size_t), ("queries", c.c_size_t), ("dropped", c.c_size_t),
                ("recall", c.c_double * 16), ("r_precision", c.c_double), ("map_at_r", c.c_double),
                ("knn_accuracy", c.c_double), ("positive_pairs", c.c_uint64),
                ("negative_pairs", c.c_uint64), ("roc_auc", c.c_double), ("eer", c.c_double),
                ("eer_threshold", c.c_double), ("tar_at_far_1e2", c.c_double),
                ("tar_at_far_1e3", c.c_double), ("best_accuracy", c.c_double),
                ("best_threshold", c.c_double)]


class NearfarError(Exception):
    pass


def _pointer(array):
    return None if array is None else array.ctypes.data


def _float(x):
    x = np.asarray(x)
    if x.dtype not in (np.float32, np.float64):
        x = x.astype(np.float64)
    return np.ascontiguousarray(x)


def _as(x, dtype):
    return None if x is None else np.ascontiguousarray(x, dtype=dtype)


def _matrix(x):
    """A view of rows that may lie apart; None: no matrix."""
    if x is None:
        return Matrix()
    ld = x.strides[0] // x.itemsize if x.shape[0] > 1 and x.size else x.shape[1]
    return Matrix(x.ctypes.data, 0 if x.dtype == np.float32 else 1, x.shape[0], x.shape[1], ld)


def _labels(labels, has_unlabelled):
    return Labels(_pointer(labels), 0 if labels is None else len(labels), int(has_unlabelled))


def loss_options(fields):
    """A dict of fields by their names, metrics and the like by name too, as the C struct."""
    loss = LossOptions()
    for name, value in fields.items():
        known = {"pos_metric": _METRICS, "neg_metric": _METRICS, "reduction": _REDUCTIONS,
                 "kind": KINDS, "triplets": _TRIPLETS}.get(name)
        setattr(loss, name, known.index(value) if known else value)
    return loss


def loss_fields(loss):
    """The other way round."""
    fields = {name: getattr(loss, name) for name, _ in LossOptions._fields_ if name != "function"}
    for name, known in {"pos_metric": _METRICS, "neg_metric": _METRICS, "reduction": _REDUCTIONS,
                        "kind": KINDS, "triplets": _TRIPLETS}.items():
        fields[name] = known[fields[name]]
    return fields


class Library:
    def __init__(self, path=None, threads=2, isa="auto"):
        self.c = c.CDLL(path or os.environ["NEARFAR_LIB"])
        self.c.nf_loss_weston.restype = LossOptions
        self.c.nf_context_error.restype = c.POINTER(Error)
        self.c.nf_context_error.argtypes = [c.c_void_p]
        self.context = c.c_void_p()
        options, error = ContextOptions(threads=threads, isa=ISAS[isa]), Error()
        if self.c.nf_context_create(c.byref(self.context), c.byref(options), c.byref(error)):
            raise NearfarError(error.message.decode())

    def close(self):
        self.c.nf_context_free(self.context)
        self.context = None

    def _check(self, status):
        if status:
            error = self.c.nf_context_error(self.context).contents
            raise NearfarError(f"{error.status}: {error.message.decode()}")

    def attempt(self, function, *arguments):
        """A call by its name: its status."""
        return getattr(self.c, function)(self.context, *arguments)

    def message(self):
        return self.c.nf_context_error(self.context).contents.message.decode()

    def preset(self, name):
        loss = LossOptions()
        self._check(self.c.nf_loss_preset(self.context, name.encode(), c.byref(loss)))
        return loss

    @staticmethod
    def options(loss):
        """An oracle.Loss as the C struct."""
        reduction = _REDUCTIONS.index(loss.reduction)
        return LossOptions(_METRICS.index(loss.pos_metric), _METRICS.index(loss.neg_metric),
                           loss.pos_exponent, loss.neg_exponent, loss.pos_margin, loss.neg_margin,
                           loss.pos_weight, loss.neg_weight, loss.scale, int(loss.normalize),
                           reduction, loss.divisor, 1)

    def batch(self, loss, x, labels, has_unlabelled=True):
        x, labels = _float(x), _as(labels, np.int64)
        result, gradient = LossResult(), np.zeros_like(x)
        self._check(self.c.nf_loss_batch(
            self.context, c.byref(self.options(loss)), _matrix(x),
            Labels(labels.ctypes.data, len(labels), int(has_unlabelled)), c.byref(result),
            _matrix(gradient)))
        return result, gradient

    def pairs(self, loss, x, i, j, same, weight=None, upstream=None):
        x, i, j = _float(x), _as(i, np.int64), _as(j, np.int64)
        same, weight, upstream = _as(same, np.uint8), _as(weight, float), _as(upstream, float)
        result, gradient, terms = LossResult(), np.zeros_like(x), np.zeros(len(i))
        extras = PairTerms(terms.ctypes.data, _pointer(upstream))
        pairs = Pairs(len(i), _pointer(i), _pointer(j), _pointer(same), _pointer(weight))
        self._check(self.c.nf_loss_pairs(
            self.context, c.byref(self.options(loss)), _matrix(x), pairs, c.byref(extras),
            c.byref(result), _matrix(gradient)))
        return result, gradient, terms

    def rows(self, loss, left, right, same, weight=None, upstream=None):
        left, right = _float(left), _float(right)
        same, weight, upstream = _as(same, np.uint8), _as(weight, float), _as(upstream, float)
        result, gl, gr = LossResult(), np.zeros_like(left), np.zeros_like(right)
        terms = np.zeros(len(left))
        extras = PairTerms(terms.ctypes.data, _pointer(upstream))
        self._check(self.c.nf_loss_rows(
            self.context, c.byref(self.options(loss)), _matrix(left), _matrix(right),
            c.c_void_p(_pointer(same)), c.c_void_p(_pointer(weight)), c.byref(extras),
            c.byref(result), _matrix(gl), _matrix(gr)))
        return result, gl, gr, terms

    def reference(self, loss, query, query_labels, reference, reference_labels, ids=None,
                  reference_ids=None, has_unlabelled=True):
        query, reference = _float(query), _float(reference)
        ql, rl = _as(query_labels, np.int64), _as(reference_labels, np.int64)
        ids, reference_ids = _as(ids, np.int64), _as(reference_ids, np.int64)
        result, gq, gr = LossResult(), np.zeros_like(query), np.zeros_like(reference)
        sets = Sets(_matrix(query), _matrix(reference),
                    Labels(ql.ctypes.data, len(ql), int(has_unlabelled)),
                    Labels(rl.ctypes.data, len(rl), int(has_unlabelled)), _pointer(ids),
                    _pointer(reference_ids))
        self._check(self.c.nf_loss_reference(
            self.context, c.byref(self.options(loss)), c.byref(sets), c.byref(result),
            _matrix(gq), _matrix(gr)))
        return result, gq, gr

    def distances(self, x, y, metric, normalize=False, precise=False, fast=False):
        x, y = _float(x), _float(y)
        out = np.zeros((len(x), len(y)), dtype=x.dtype)
        options = DistanceOptions(_METRICS.index(metric), int(normalize), int(precise), 0, int(fast))
        self._check(self.c.nf_distances_full(self.context, c.byref(options), _matrix(x),
                                             _matrix(y), _matrix(out)))
        return out
