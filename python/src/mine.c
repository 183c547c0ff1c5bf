/* Miners: pairs and triplets worth training on. */
#include <math.h>
#include <string.h>

#include "core.h"
#include "loss.h"

/* Everything is checked by nearfar.mine's signatures; these functions take all arguments by name. */

static PyObject *bools(core_state *state, const uint8_t *data, size_t count) {
    void *out;
    PyObject *array = core_new_vector(state, count, state->boolean, &out);
    if (array != NULL && count > 0) memcpy(out, data, count);
    return array;
}

static PyObject *arrays_of(core_state *state, const nf_mined *mined, bool triplets) {
    PyObject *part[3];
    if (triplets) {
        part[0] = core_int64_copy(state, mined->anchor, mined->triplets);
        part[1] = core_int64_copy(state, mined->positive, mined->triplets);
        part[2] = core_int64_copy(state, mined->negative, mined->triplets);
    } else {
        part[0] = core_int64_copy(state, mined->pairs.i, mined->pairs.count);
        part[1] = core_int64_copy(state, mined->pairs.j, mined->pairs.count);
        part[2] = bools(state, mined->pairs.same, mined->pairs.count);
    }
    PyObject *answer = NULL;
    if (part[0] != NULL && part[1] != NULL && part[2] != NULL) {
        answer = PyTuple_Pack(3, part[0], part[1], part[2]);
    }
    for (int k = 0; k < 3; k++) Py_XDECREF(part[k]);
    return answer;
}

/* End an entered call whose result is to become arrays. */
static PyObject *finish(core_call *call, nf_status status, nf_mined *mined, bool triplets) {
    if (status != NF_OK) {
        core_leave(call, status);
        return NULL;
    }
    if (call->thread != NULL) PyEval_RestoreThread(call->thread);
    call->thread = NULL;
    PyObject *answer = arrays_of(call->state, mined, triplets);
    nf_mined_free(call->context, mined);
    core_leave_quietly(call);
    return answer;
}

/* The first six arguments of both functions, and `unlabelled`. */
#define ROWS "x", "labels", "reference", "reference_labels", "ids", "reference_ids"
enum { X, LABELS, REFERENCE, REFERENCE_LABELS, IDS, REFERENCE_IDS, ROW_ARGUMENTS };

typedef struct inputs {
    core_matrix x;
    core_vector labels;
    core_sets sets;
    int within, has_unlabelled;
    double work;
} inputs;

static int get_within(core_state *state, PyObject *const *value, inputs *in) {
    static const char *const names[] = {ROWS};
    for (int k = REFERENCE_LABELS; k < ROW_ARGUMENTS; k++) {
        if (!core_given(value[k])) continue;
        PyErr_Format(PyExc_TypeError, "%s goes with reference, which is missing", names[k]);
        return -1;
    }
    if (core_matrix_get(state, value[X], "x", &in->x) < 0 ||
        core_labels_get(state, value[LABELS], "labels", &in->labels) < 0) {
        return -1;
    }
    const double n = (double)in->x.view.rows;
    in->work = 6 * n * n * (double)(in->x.view.cols + 4);
    return core_same_count(in->labels.count, "labels", in->x.view.rows, "x");
}

static int get_inputs(core_state *state, PyObject *const *value, PyObject *unlabelled, inputs *in) {
    memset(in, 0, sizeof *in);
    in->has_unlabelled = 1;
    in->within = !core_given(value[REFERENCE]);
    if (core_unlabelled(unlabelled, &in->has_unlabelled) < 0) return -1;
    if (in->within) return get_within(state, value, in);
    if (!core_given(value[REFERENCE_LABELS])) {
        PyErr_SetString(PyExc_TypeError, "reference needs reference_labels, one for each row");
        return -1;
    }
    if (core_given(value[IDS]) != core_given(value[REFERENCE_IDS])) {
        PyErr_SetString(PyExc_TypeError, "ids and reference_ids go together: give both");
        return -1;
    }
    if (core_sets_get(state, in->has_unlabelled, 0, value, &in->sets) < 0) return -1;
    const nf_loss_sets *sets = &in->sets.sets;
    in->work = 6 * (double)sets->query.rows * (double)sets->reference.rows *
               (double)(sets->query.cols + 4);
    return 0;
}

static void release(inputs *in) {
    core_sets_release(&in->sets);
    core_vector_release(&in->labels);
    core_matrix_release(&in->x);
}

static nf_labels labels_of(const inputs *in) {
    return (nf_labels){in->labels.data, in->labels.count, in->has_unlabelled};
}

static nf_mine_sets sets_of(const inputs *in) {
    const nf_loss_sets *sets = &in->sets.sets;
    return (nf_mine_sets){sets->query,        sets->reference,
                          sets->query_labels, sets->reference_labels,
                          sets->query_ids,    sets->reference_ids};
}

/* ---- miners of a batch ------------------------------------------------------------------------ */

static const char *const miners[] = {
    "pair-margin",    "multi-similarity", "batch-hard",        "easy-positive",
    "triplet-margin", "semi-hard",        "distance-weighted", NULL};
static const char *const violations[] = {"all", "hard", "semi-hard", "easy", NULL};

static const char *const mine_names[] = {
    ROWS,      "miner",      "metric",    "normalize", "pos_margin",          "neg_margin",
    "epsilon", "margin",     "violation", "cutoff",    "nonzero_loss_cutoff", "per_anchor",
    "seed",    "unlabelled", NULL};
static const core_signature mine_signature = {"mine", 6, 2, mine_names};
enum { MINE_ARGUMENTS = sizeof mine_names / sizeof *mine_names - 1 };

/* What follows the rows: miner, metric, .. */
static int get_options(PyObject *const *value, nf_mine_options *options) {
    int miner = 0, violation = 0;
    if (core_choice(value[0], "miner", miners, &miner) < 0) return -1;
    *options = nf_mine_defaults((nf_miner)miner);
    violation = (int)options->violation;
    if (core_metric(value[1], "metric", &options->metric) < 0 ||
        core_flag(value[2], "normalize", &options->normalize) < 0 ||
        core_number(value[3], "pos_margin", &options->pos_margin) < 0 ||
        core_number(value[4], "neg_margin", &options->neg_margin) < 0 ||
        core_number(value[5], "epsilon", &options->epsilon) < 0 ||
        core_number(value[6], "margin", &options->margin) < 0 ||
        core_choice(value[7], "violation", violations, &violation) < 0 ||
        core_number(value[8], "cutoff", &options->cutoff) < 0 ||
        core_number(value[9], "nonzero_loss_cutoff", &options->nonzero_loss_cutoff) < 0 ||
        core_size(value[10], "per_anchor", &options->per_anchor) < 0) {
        return -1;
    }
    options->violation = (nf_violation)violation;
    return core_seed(value[11], "seed", &options->seed);
}

int core_mine_options(PyObject *miner, PyObject *dict, nf_mine_options *options) {
    enum { OWN = MINE_ARGUMENTS - ROW_ARGUMENTS };
    const char *const *names = mine_names + ROW_ARGUMENTS;
    PyObject *value[OWN] = {miner};
    Py_ssize_t known = 0;
    for (int k = 1; k < OWN && core_given(dict); k++) {
        value[k] = PyDict_GetItemString(dict, names[k]);
        known += value[k] != NULL;
    }
    if (core_given(dict) && PyDict_Size(dict) != known) {
        if (!PyErr_Occurred())
            PyErr_Format(PyExc_TypeError,
                         "mine_options is %R: not all of its names are options of a miner", dict);
        return -1;
    }
    return get_options(value, options);
}

CORE_FUNCTION(core_mine) {
    core_state *state = PyModule_GetState(module);
    PyObject *value[MINE_ARGUMENTS] = {NULL}, *answer = NULL;
    nf_mine_options options;
    nf_mined *mined = NULL;
    core_call call;
    inputs in = {.work = 0};
    if (core_arguments(&mine_signature, args, nargs, keywords, value) < 0 ||
        get_options(value + ROW_ARGUMENTS, &options) < 0 ||
        get_inputs(state, value, value[MINE_ARGUMENTS - 1], &in) < 0 ||
        core_enter(&call, state, in.work) < 0) {
        goto done;
    }
    const nf_mine_sets sets = sets_of(&in);
    nf_status status = in.within
                           ? nf_mine(call.context, &options, in.x.view, labels_of(&in), &mined)
                           : nf_mine_reference(call.context, &options, &sets, &mined);
    bool pairs = options.miner == NF_MINE_PAIR_MARGIN || options.miner == NF_MINE_MULTI_SIMILARITY;
    answer = finish(&call, status, mined, !pairs);
done:
    release(&in);
    return answer;
}

/* ---- hard negatives of a data set -------------------------------------------------------------- */

static const char *const hard_names[] = {ROWS,           "metric",          "normalize",
                                         "range_min",    "range_max",       "negatives",
                                         "positives",    "absolute_margin", "relative_margin",
                                         "min_distance", "max_distance",    "random",
                                         "seed",         "unlabelled",      NULL};
static const core_signature hard_signature = {"mine_hard", 6, 2, hard_names};
enum { HARD_ARGUMENTS = sizeof hard_names / sizeof *hard_names - 1 };

static int get_hard_options(PyObject *const *value, nf_mine_hard_options *options) {
    *options = nf_mine_hard_defaults();
    if (core_metric(value[0], "metric", &options->metric) < 0 ||
        core_flag(value[1], "normalize", &options->normalize) < 0 ||
        core_size(value[2], "range_min", &options->range_min) < 0 ||
        core_size(value[3], "range_max", &options->range_max) < 0 ||
        core_size(value[4], "negatives", &options->negatives) < 0 ||
        core_size(value[5], "positives", &options->positives) < 0 ||
        core_number(value[6], "absolute_margin", &options->absolute_margin) < 0 ||
        core_number(value[7], "relative_margin", &options->relative_margin) < 0 ||
        core_number(value[8], "min_distance", &options->min_distance) < 0 ||
        core_number(value[9], "max_distance", &options->max_distance) < 0 ||
        core_flag(value[10], "random", &options->random) < 0) {
        return -1;
    }
    return core_seed(value[11], "seed", &options->seed);
}

CORE_FUNCTION(core_mine_hard) {
    core_state *state = PyModule_GetState(module);
    PyObject *value[HARD_ARGUMENTS] = {NULL}, *answer = NULL;
    nf_mine_hard_options options;
    nf_mined *mined = NULL;
    core_call call;
    inputs in = {.work = 0};
    if (core_arguments(&hard_signature, args, nargs, keywords, value) < 0 ||
        get_hard_options(value + ROW_ARGUMENTS, &options) < 0 ||
        get_inputs(state, value, value[HARD_ARGUMENTS - 1], &in) < 0 ||
        core_enter(&call, state, in.work) < 0) {
        goto done;
    }
    const nf_mine_sets sets = sets_of(&in);
    nf_status status = in.within
                           ? nf_mine_hard(call.context, &options, in.x.view, labels_of(&in), &mined)
                           : nf_mine_hard_reference(call.context, &options, &sets, &mined);
    answer = finish(&call, status, mined, false);
done:
    release(&in);
    return answer;
}
