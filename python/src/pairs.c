/* From labels to classes, pair indices and offline samples. */
#include <string.h>

#include "core.h"

/* A partition with the context that owns it. */
typedef struct grouped {
    core_call call;
    core_vector labels;
    nf_partition *partition;
} grouped;

/* Group labels; on success the call is entered and stays so until ungroup. */
static int group(core_state *state, PyObject *labels, PyObject *unlabelled, grouped *g) {
    int has_unlabelled = 1;
    memset(g, 0, sizeof *g);
    if (core_unlabelled(unlabelled, &has_unlabelled) < 0 ||
        core_labels_get(state, labels, "labels", &g->labels) < 0) {
        return -1;
    }
    if (core_enter(&g->call, state, (double)g->labels.count * 30) < 0) return -1;
    nf_labels view = {g->labels.data, g->labels.count, has_unlabelled};
    nf_status status = nf_partition_create(g->call.context, view, &g->partition);
    if (status == NF_OK) return 0;
    core_leave(&g->call, status);
    g->partition = NULL;
    return -1;
}

/* A grouped call that made its partition holds a context until here. */
static void ungroup(grouped *g) {
    if (g->call.context != NULL) {
        nf_partition_free(g->call.context, g->partition);
        core_leave_quietly(&g->call);
    }
    core_vector_release(&g->labels);
}

/* Take the GIL back between two steps of a grouped call. */
static void take_gil(grouped *g) {
    if (g->call.thread != NULL) PyEval_RestoreThread(g->call.thread);
    g->call.thread = NULL;
}

static void give_gil(grouped *g) { g->call.thread = PyEval_SaveThread(); }

/* An error while the GIL is held and the context still has its record. */
static PyObject *failed(const grouped *g) {
    if (!PyErr_Occurred()) core_raise(nf_context_error(g->call.context));
    return NULL;
}

/* ---- classes -------------------------------------------------------------------------------- */

/* The label of class c as the caller wrote it. */
static PyObject *label_of(const grouped *g, size_t c) {
    int64_t label = g->partition->label[c];
    if (g->labels.names == NULL) return PyLong_FromLongLong(label);
    return PySequence_GetItem(g->labels.names, (Py_ssize_t)label);
}

static PyObject *labels_of(core_state *state, const grouped *g) {
    const nf_partition *p = g->partition;
    if (g->labels.names == NULL) return core_int64_copy(state, p->label, p->classes);
    PyObject *list = PyList_New((Py_ssize_t)p->classes);
    for (size_t c = 0; list != NULL && c < p->classes; c++) {
        PyObject *label = label_of(g, c);
        if (label == NULL) {
            Py_CLEAR(list);
        } else {
            PyList_SetItem(list, (Py_ssize_t)c, label);
        }
    }
    return list;
}

const char core_doc_partition[] =
    "partition(labels, *, unlabelled=-1)\n"
    "--\n\n"
    "Group n labels into classes, numbered by first appearance.\n\n"
    "labels (n): integers, or strings; -1 marks a row without a class (unlabelled=None: -1 is an\n"
    "ordinary class). Labels that are exactly {-1, +1} are refused unless unlabelled=None.\n\n"
    "Returns Partition(labels, offsets, rows, class_of, positive_pairs, negative_pairs,\n"
    "singletons): labels (c) of the classes; class k has the rows rows[offsets[k]:offsets[k + "
    "1]],\n"
    "ascending; class_of (n) is the class of each row, -1 without; the numbers of pairs with\n"
    "the same and with different labels; singletons the number of classes with one row.";

static const char *const partition_names[] = {"labels", "unlabelled", NULL};
static const core_signature partition_signature = {"partition", 1, 1, partition_names};

CORE_FUNCTION(core_partition) {
    core_state *state = PyModule_GetState(module);
    PyObject *value[2] = {NULL}, *answer = NULL;
    grouped g = {.call = {.context = NULL}};
    if (core_arguments(&partition_signature, args, nargs, keywords, value) < 0) return NULL;
    if (group(state, value[0], value[1], &g) < 0) goto done;
    take_gil(&g);
    const nf_partition *p = g.partition;
    answer = PyStructSequence_New(state->partition);
    if (answer != NULL &&
        (core_set(answer, 0, labels_of(state, &g)) < 0 ||
         core_set(answer, 1, core_int64_copy(state, p->offset, p->classes + 1)) < 0 ||
         core_set(answer, 2, core_int64_copy(state, p->row, p->labelled)) < 0 ||
         core_set(answer, 3, core_int64_copy(state, p->class_of, p->n)) < 0 ||
         core_set(answer, 4, PyLong_FromUnsignedLongLong(p->positive_pairs)) < 0 ||
         core_set(answer, 5, PyLong_FromUnsignedLongLong(p->negative_pairs)) < 0 ||
         core_set(answer, 6, PyLong_FromSize_t(p->singletons)) < 0)) {
        Py_CLEAR(answer);
    }
done:
    ungroup(&g);
    return answer;
}

const char core_doc_class_indices[] =
    "class_indices(labels, *, unlabelled=-1)\n"
    "--\n\n"
    "The rows of each class: a dict from label to an ascending int64 array, in order of first\n"
    "appearance. Unlabelled rows are in none.";

static const core_signature class_signature = {"class_indices", 1, 1, partition_names};

static PyObject *rows_by_label(core_state *state, const grouped *g) {
    const nf_partition *p = g->partition;
    PyObject *dict = PyDict_New();
    for (size_t c = 0; dict != NULL && c < p->classes; c++) {
        size_t start = p->offset[c];
        PyObject *label = label_of(g, c);
        PyObject *rows = core_int64_copy(state, p->row + start, p->offset[c + 1] - start);
        if (label == NULL || rows == NULL || PyDict_SetItem(dict, label, rows) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(rows);
        Py_XDECREF(label);
    }
    return dict;
}

CORE_FUNCTION(core_class_indices) {
    core_state *state = PyModule_GetState(module);
    PyObject *value[2] = {NULL}, *answer = NULL;
    grouped g = {.call = {.context = NULL}};
    if (core_arguments(&class_signature, args, nargs, keywords, value) < 0) return NULL;
    if (group(state, value[0], value[1], &g) == 0) {
        take_gil(&g);
        answer = rows_by_label(state, &g);
    }
    ungroup(&g);
    return answer;
}

/* ---- all pairs ------------------------------------------------------------------------------ */

const char core_doc_pair_indices[] =
    "pair_indices(labels, *, unlabelled=-1)\n"
    "--\n\n"
    "Every pair i < j of labelled rows: (pos_i, pos_j, neg_i, neg_j), int64 arrays; the first two\n"
    "are the pairs with the same label, the others those with different labels, each in ascending\n"
    "order of (i, j). n rows have n (n - 1) / 2 pairs; use sample_pairs when that is too many.";

static const core_signature pair_signature = {"pair_indices", 1, 1, partition_names};

static int list_side(core_state *state, grouped *g, nf_pair_kind kind, uint64_t pairs, PyObject **i,
                     PyObject **j) {
    void *i_data, *j_data;
    *i = core_new_vector(state, pairs, state->int64, &i_data);
    *j = *i != NULL ? core_new_vector(state, pairs, state->int64, &j_data) : NULL;
    if (*j == NULL) return -1;
    give_gil(g);
    nf_status status =
        nf_pairs_list(g->call.context, g->partition, kind, pairs, i_data, j_data, NULL);
    take_gil(g);
    if (status == NF_OK) return 0;
    failed(g);
    return -1;
}

CORE_FUNCTION(core_pair_indices) {
    core_state *state = PyModule_GetState(module);
    PyObject *value[2] = {NULL}, *side[4] = {NULL}, *answer = NULL;
    grouped g = {.call = {.context = NULL}};
    if (core_arguments(&pair_signature, args, nargs, keywords, value) < 0) return NULL;
    if (group(state, value[0], value[1], &g) == 0) {
        take_gil(&g);
        const nf_partition *p = g.partition;
        if (list_side(state, &g, NF_PAIRS_POSITIVE, p->positive_pairs, &side[0], &side[1]) == 0 &&
            list_side(state, &g, NF_PAIRS_NEGATIVE, p->negative_pairs, &side[2], &side[3]) == 0) {
            answer = PyTuple_Pack(4, side[0], side[1], side[2], side[3]);
        }
    }
    for (int k = 0; k < 4; k++) Py_XDECREF(side[k]);
    ungroup(&g);
    return answer;
}

/* ---- samples -------------------------------------------------------------------------------- */

const char core_doc_sample_pairs[] =
    "sample_pairs(labels, count, *, positive_fraction=0.5, replace=True, seed=0, unlabelled=-1)\n"
    "--\n\n"
    "Draw count pairs i < j, round(count * positive_fraction) of them with the same label, every\n"
    "pair of a side with the same probability, both sides shuffled together.\n\n"
    "replace False: no pair is drawn twice. The draw depends on the arguments only.\n\n"
    "Returns Pairs(i, j, same, weight): int64, int64, bool and float64 arrays (count). weight is\n"
    "1 / (P p), P all valid pairs and p the chance that one draw gives this pair, so that\n"
    "mean(weight * phi) estimates the mean of phi over all pairs without bias.";

static const char *const sample_names[] = {
    "labels", "count", "positive_fraction", "replace", "seed", "unlabelled", NULL};
static const core_signature sample_signature = {"sample_pairs", 2, 2, sample_names};

/* Arrays of a Pairs, and where their data is. */
static PyObject *new_pairs(core_state *state, size_t count, void *data[4]) {
    PyObject *dtype[4] = {state->int64, state->int64, state->boolean, state->float64};
    PyObject *pairs = PyStructSequence_New(state->pairs);
    for (Py_ssize_t k = 0; pairs != NULL && k < 4; k++) {
        if (core_set(pairs, k, core_new_vector(state, count, dtype[k], &data[k])) < 0) {
            Py_CLEAR(pairs);
        }
    }
    return pairs;
}

CORE_FUNCTION(core_sample_pairs) {
    core_state *state = PyModule_GetState(module);
    PyObject *value[6] = {NULL}, *answer = NULL;
    nf_pair_sample_options options = nf_pair_sample_defaults();
    void *data[4];
    grouped g = {.call = {.context = NULL}};
    if (core_arguments(&sample_signature, args, nargs, keywords, value) < 0 ||
        core_size(value[1], "count", &options.count) < 0 ||
        core_number(value[2], "positive_fraction", &options.positive_fraction) < 0 ||
        core_flag(value[3], "replace", &options.replace) < 0 ||
        core_seed(value[4], "seed", &options.seed) < 0 ||
        group(state, value[0], value[5], &g) < 0) {
        goto done;
    }
    take_gil(&g);
    answer = new_pairs(state, options.count, data);
    if (answer == NULL) goto done;
    give_gil(&g);
    nf_status status =
        nf_pairs_sample(g.call.context, g.partition, &options, data[0], data[1], data[2], data[3]);
    take_gil(&g);
    if (status != NF_OK) {
        failed(&g);
        Py_CLEAR(answer);
    }
done:
    ungroup(&g);
    return answer;
}
