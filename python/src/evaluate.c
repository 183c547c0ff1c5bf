/* Retrieval and verification. */
#include <string.h>

#include "core.h"

const char core_doc_evaluate[] =
    "evaluate(x, labels=None, reference=None, reference_labels=None, *, ids=None,\n"
    "         reference_ids=None, k=(1, 5, 10), knn_k=5, retrieval=True, verification=True,\n"
    "         metric='euclidean', normalize=False, precise=False, unlabelled=-1, fast=False,\n"
    "         label_sets=None, reference_label_sets=None)\n"
    "--\n\n"
    "Retrieval and verification of the rows x (n, d) with labels (n) against each other, or\n"
    "against reference (m, d) with reference_labels (m). Exact; memory O(n), never n x n.\n\n"
    "Retrieval: the other rows ranked by distance, ties by smaller index; R rows have the same\n"
    "label. recall[k] is the share of queries with one of them among the k nearest; MAP@R is\n"
    "the mean over queries of (1/R) sum_{i<=R} P(i) rel(i) (Musgrave, Belongie & Lim, ECCV 2020,\n"
    "eq. 6). Verification: every pair is accepted when its distance is <= a threshold.\n\n"
    "label_sets, reference_label_sets: several labels a row instead of labels, n collections or\n"
    "an indicator array (n, c) of 0 and 1; \"the same label\" is then a label in common, a row\n"
    "without any takes no part, and in the vote of knn_accuracy every label of a neighbour "
    "counts.\n"
    "ids, reference_ids: rows with equal ids are the same item and are not compared.\n"
    "Returns an Evaluation; what was not asked for is None in it.";

static const char *const names[] = {"x",
                                    "labels",
                                    "reference",
                                    "reference_labels",
                                    "ids",
                                    "reference_ids",
                                    "k",
                                    "knn_k",
                                    "retrieval",
                                    "verification",
                                    "metric",
                                    "normalize",
                                    "precise",
                                    "unlabelled",
                                    "fast",
                                    "label_sets",
                                    "reference_label_sets",
                                    NULL};
static const core_signature signature = {"evaluate", 4, 1, names};

enum {
    X,
    LABELS,
    REFERENCE,
    REFERENCE_LABELS,
    IDS,
    REFERENCE_IDS,
    K,
    KNN_K,
    RETRIEVAL,
    VERIFICATION,
    METRIC,
    NORMALIZE,
    PRECISE,
    UNLABELLED,
    FAST,
    LABEL_SETS,
    REFERENCE_LABEL_SETS,
    ARGUMENTS
};

static int get_ranks(PyObject *value, nf_eval_options *options) {
    if (!core_given(value)) return 0;
    PyObject *ranks = PySequence_Tuple(value);
    if (ranks == NULL) return -1;
    Py_ssize_t count = PyTuple_Size(ranks);
    int failed = count > NF_EVAL_MAX_K;
    if (failed) {
        PyErr_Format(PyExc_ValueError, "k has %zd ranks: at most %d are possible", count,
                     NF_EVAL_MAX_K);
    }
    for (Py_ssize_t i = 0; !failed && i < count; i++) {
        failed = core_size(PyTuple_GetItem(ranks, i), "k", &options->k[i]) < 0;
    }
    options->k_count = failed ? 0 : (size_t)count;
    Py_DECREF(ranks);
    return failed ? -1 : 0;
}

static int get_options(PyObject *const *value, nf_eval_options *options, int *has_unlabelled) {
    *options = nf_eval_defaults();
    if (get_ranks(value[K], options) < 0 || core_size(value[KNN_K], "knn_k", &options->knn_k) < 0 ||
        core_flag(value[RETRIEVAL], "retrieval", &options->retrieval) < 0 ||
        core_flag(value[VERIFICATION], "verification", &options->verification) < 0 ||
        core_metric(value[METRIC], "metric", &options->distance.metric) < 0 ||
        core_flag(value[NORMALIZE], "normalize", &options->distance.normalize) < 0 ||
        core_flag(value[PRECISE], "precise", &options->distance.precise) < 0 ||
        core_flag(value[FAST], "fast", &options->distance.fast) < 0) {
        return -1;
    }
    return core_unlabelled(value[UNLABELLED], has_unlabelled);
}

typedef struct inputs {
    core_matrix x, reference;
    core_vector labels, reference_labels, ids, reference_ids;
    core_label_sets sets, reference_sets;
} inputs;

static void release(inputs *in) {
    core_label_sets_release(&in->reference_sets);
    core_label_sets_release(&in->sets);
    core_vector_release(&in->reference_ids);
    core_vector_release(&in->ids);
    core_vector_release(&in->reference_labels);
    core_vector_release(&in->labels);
    core_matrix_release(&in->reference);
    core_matrix_release(&in->x);
}

/* One of labels and label_sets, on both sides the same. */
static int check_given(PyObject *const *value) {
    const int sets = core_given(value[LABEL_SETS]);
    const char *message = NULL;
    if (sets == core_given(value[LABELS])) {
        message = sets ? "labels and label_sets exclude each other: give one of them"
                       : "labels is missing: give labels or label_sets";
    } else if (core_given(value[sets ? REFERENCE_LABELS : REFERENCE_LABEL_SETS])) {
        message = "reference_labels goes with labels, and reference_label_sets with label_sets";
    }
    if (message == NULL) return 0;
    PyErr_SetString(PyExc_TypeError, message);
    return -1;
}

static int get_reference(core_state *state, PyObject *const *value, inputs *in) {
    if (core_given(value[REFERENCE]) !=
            (core_given(value[REFERENCE_LABELS]) || core_given(value[REFERENCE_LABEL_SETS])) ||
        core_given(value[IDS]) != core_given(value[REFERENCE_IDS]) ||
        (core_given(value[IDS]) && !core_given(value[REFERENCE]))) {
        PyErr_SetString(PyExc_TypeError,
                        "reference goes with reference_labels (or reference_label_sets), and ids "
                        "with reference_ids: give both of each");
        return -1;
    }
    if (!core_given(value[REFERENCE])) return 0;
    if (core_matrix_get(state, value[REFERENCE], "reference", &in->reference) < 0 ||
        core_matrix_match(state, &in->x, value[X], "x", &in->reference, value[REFERENCE],
                          "reference") < 0) {
        return -1;
    }
    if (!core_given(value[IDS])) return 0;
    if (core_index_get(state, value[IDS], "ids", &in->ids) < 0 ||
        core_index_get(state, value[REFERENCE_IDS], "reference_ids", &in->reference_ids) < 0 ||
        core_same_count(in->ids.count, "ids", in->x.view.rows, "x has rows") < 0) {
        return -1;
    }
    return core_same_count(in->reference_ids.count, "reference_ids", in->reference.view.rows,
                           "reference has rows");
}

static int get_sets(core_state *state, PyObject *const *value, inputs *in) {
    PyObject *offsets[2], *labels[2];
    PyObject *given = value[REFERENCE_LABEL_SETS] != NULL ? value[REFERENCE_LABEL_SETS] : Py_None;
    PyObject *both =
        PyObject_CallMethod(state->convert, "label_sets_together", "OO", value[LABEL_SETS], given);
    int failed =
        both == NULL ||
        !PyArg_ParseTuple(both, "OOOO", &offsets[0], &labels[0], &offsets[1], &labels[1]) ||
        core_label_sets_get(state, offsets[0], labels[0], in->x.view.rows, &in->sets) < 0 ||
        (core_given(value[REFERENCE]) &&
         core_label_sets_get(state, offsets[1], labels[1], in->reference.view.rows,
                             &in->reference_sets) < 0);
    Py_XDECREF(both);
    return failed ? -1 : 0;
}

static int get_labels(core_state *state, PyObject *const *value, inputs *in) {
    if (core_given(value[LABEL_SETS])) return get_sets(state, value, in);
    if (!core_given(value[REFERENCE])) {
        return core_labels_get(state, value[LABELS], "labels", &in->labels);
    }
    PyObject *pair = PyObject_CallMethod(state->convert, "labels_together", "OO", value[LABELS],
                                         value[REFERENCE_LABELS]);
    PyObject *first, *second;
    int failed = pair == NULL || !PyArg_ParseTuple(pair, "OO", &first, &second) ||
                 core_labels_get(state, first, "labels", &in->labels) < 0 ||
                 core_labels_get(state, second, "reference_labels", &in->reference_labels) < 0;
    Py_XDECREF(pair);
    return failed ? -1 : 0;
}

static PyObject *new_recall(const nf_eval_options *options, const nf_eval_result *r) {
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict != NULL && i < options->k_count; i++) {
        PyObject *key = PyLong_FromSize_t(options->k[i]);
        PyObject *share = PyFloat_FromDouble(r->recall[i]);
        if (key == NULL || share == NULL || PyDict_SetItem(dict, key, share) < 0) Py_CLEAR(dict);
        Py_XDECREF(share);
        Py_XDECREF(key);
    }
    return dict;
}

static PyObject *number_if(int has, double value) {
    if (has) return PyFloat_FromDouble(value);
    Py_RETURN_NONE;
}

/* What was not asked for is None, not 0. */
static PyObject *new_evaluation(core_state *state, const nf_eval_options *o,
                                const nf_eval_result *r) {
    int ret = o->retrieval, ver = o->verification;
    PyObject *e = PyStructSequence_New(state->evaluation);
    if (e == NULL) return NULL;
    PyObject *recall = ret ? new_recall(o, r) : Py_None;
    if (!ret) Py_INCREF(Py_None);
    if (core_set(e, 0, PyLong_FromSize_t(r->n)) < 0 ||
        core_set(e, 1, PyLong_FromSize_t(r->queries)) < 0 ||
        core_set(e, 2, PyLong_FromSize_t(r->dropped)) < 0) {
        Py_XDECREF(recall);
        Py_DECREF(e);
        return NULL;
    }
    if (core_set(e, 3, recall) < 0 || core_set(e, 4, number_if(ret, r->r_precision)) < 0 ||
        core_set(e, 5, number_if(ret, r->map_at_r)) < 0 ||
        core_set(e, 6, number_if(ret, r->knn_accuracy)) < 0 ||
        core_set(e, 7, PyLong_FromUnsignedLongLong(r->positive_pairs)) < 0 ||
        core_set(e, 8, PyLong_FromUnsignedLongLong(r->negative_pairs)) < 0 ||
        core_set(e, 9, number_if(ver, r->roc_auc)) < 0 ||
        core_set(e, 10, number_if(ver, r->eer)) < 0 ||
        core_set(e, 11, number_if(ver, r->eer_threshold)) < 0 ||
        core_set(e, 12, number_if(ver, r->tar_at_far_1e2)) < 0 ||
        core_set(e, 13, number_if(ver, r->tar_at_far_1e3)) < 0 ||
        core_set(e, 14, number_if(ver, r->best_accuracy)) < 0 ||
        core_set(e, 15, number_if(ver, r->best_threshold)) < 0) {
        Py_CLEAR(e);
    }
    return e;
}

static nf_status run(core_call *call, PyObject *const *value, const inputs *in,
                     const nf_eval_options *options, int has_unlabelled, nf_eval_result *result) {
    if (core_given(value[LABEL_SETS])) {
        if (!core_given(value[REFERENCE])) {
            return nf_eval_label_sets(call->context, options, in->x.view, &in->sets.sets, result);
        }
        return nf_eval_label_sets_reference(
            call->context, options, in->x.view, &in->sets.sets, in->ids.data, in->reference.view,
            &in->reference_sets.sets, in->reference_ids.data, result);
    }
    nf_labels labels = {in->labels.data, in->labels.count, has_unlabelled};
    if (!core_given(value[REFERENCE])) {
        return nf_eval(call->context, options, in->x.view, labels, result);
    }
    nf_labels reference = {in->reference_labels.data, in->reference_labels.count, has_unlabelled};
    return nf_eval_reference(call->context, options, in->x.view, labels, in->ids.data,
                             in->reference.view, reference, in->reference_ids.data, result);
}

CORE_FUNCTION(core_evaluate) {
    core_state *state = PyModule_GetState(module);
    PyObject *value[ARGUMENTS] = {NULL}, *answer = NULL;
    nf_eval_options options;
    nf_eval_result result = {0};
    inputs in;
    memset(&in, 0, sizeof in);
    int has_unlabelled = 1;
    if (core_arguments(&signature, args, nargs, keywords, value) < 0 || check_given(value) < 0 ||
        get_options(value, &options, &has_unlabelled) < 0 ||
        core_matrix_get(state, value[X], "x", &in.x) < 0 || get_reference(state, value, &in) < 0 ||
        get_labels(state, value, &in) < 0) {
        goto done;
    }
    core_call call;
    double n = (double)in.x.view.rows;
    if (core_enter(&call, state, n * n * (double)(in.x.view.cols + 8)) < 0) goto done;
    nf_status status = run(&call, value, &in, &options, has_unlabelled, &result);
    if (core_leave(&call, status) == 0) answer = new_evaluation(state, &options, &result);
done:
    release(&in);
    return answer;
}
