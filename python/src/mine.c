/* Miners: pairs and triplets worth training on. */
#include <math.h>
#include <string.h>

#include "core.h"

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

typedef struct inputs {
    core_matrix x;
    core_vector labels;
    int has_unlabelled;
    double work;
} inputs;

static int get_inputs(core_state *state, PyObject *const *value, PyObject *unlabelled, inputs *in) {
    memset(in, 0, sizeof *in);
    in->has_unlabelled = 1;
    if (core_unlabelled(unlabelled, &in->has_unlabelled) < 0 ||
        core_matrix_get(state, value[0], "x", &in->x) < 0 ||
        core_labels_get(state, value[1], "labels", &in->labels) < 0) {
        return -1;
    }
    double n = (double)in->x.view.rows;
    in->work = 6 * n * n * (double)(in->x.view.cols + 4);
    return core_same_count(in->labels.count, "labels", in->x.view.rows, "x");
}

static void release(inputs *in) {
    core_vector_release(&in->labels);
    core_matrix_release(&in->x);
}

static nf_labels labels_of(const inputs *in) {
    return (nf_labels){in->labels.data, in->labels.count, in->has_unlabelled};
}

/* ---- miners of a batch ------------------------------------------------------------------------ */

static const char *const miners[] = {
    "pair-margin",    "multi-similarity", "batch-hard",        "easy-positive",
    "triplet-margin", "semi-hard",        "distance-weighted", NULL};
static const char *const violations[] = {"all", "hard", "semi-hard", "easy", NULL};

static const char *const mine_names[] = {
    "x",          "labels",  "miner",      "metric",    "normalize", "pos_margin",
    "neg_margin", "epsilon", "margin",     "violation", "cutoff",    "nonzero_loss_cutoff",
    "per_anchor", "seed",    "unlabelled", NULL};
static const core_signature mine_signature = {"mine", 3, 3, mine_names};

static int get_options(PyObject *const *value, nf_mine_options *options) {
    int miner = 0, violation = 0;
    if (core_choice(value[2], "miner", miners, &miner) < 0) return -1;
    *options = nf_mine_defaults((nf_miner)miner);
    violation = (int)options->violation;
    if (core_metric(value[3], "metric", &options->metric) < 0 ||
        core_flag(value[4], "normalize", &options->normalize) < 0 ||
        core_number(value[5], "pos_margin", &options->pos_margin) < 0 ||
        core_number(value[6], "neg_margin", &options->neg_margin) < 0 ||
        core_number(value[7], "epsilon", &options->epsilon) < 0 ||
        core_number(value[8], "margin", &options->margin) < 0 ||
        core_choice(value[9], "violation", violations, &violation) < 0 ||
        core_number(value[10], "cutoff", &options->cutoff) < 0 ||
        core_number(value[11], "nonzero_loss_cutoff", &options->nonzero_loss_cutoff) < 0 ||
        core_size(value[12], "per_anchor", &options->per_anchor) < 0) {
        return -1;
    }
    options->violation = (nf_violation)violation;
    return core_seed(value[13], "seed", &options->seed);
}

CORE_FUNCTION(core_mine) {
    core_state *state = PyModule_GetState(module);
    PyObject *value[15] = {NULL}, *answer = NULL;
    nf_mine_options options;
    nf_mined *mined = NULL;
    core_call call;
    inputs in = {.work = 0};
    if (core_arguments(&mine_signature, args, nargs, keywords, value) < 0 ||
        get_options(value, &options) < 0 || get_inputs(state, value, value[14], &in) < 0 ||
        core_enter(&call, state, in.work) < 0) {
        goto done;
    }
    nf_status status = nf_mine(call.context, &options, in.x.view, labels_of(&in), &mined);
    bool pairs = options.miner == NF_MINE_PAIR_MARGIN || options.miner == NF_MINE_MULTI_SIMILARITY;
    answer = finish(&call, status, mined, !pairs);
done:
    release(&in);
    return answer;
}

/* ---- hard negatives of a data set -------------------------------------------------------------- */

static const char *const hard_names[] = {"x",
                                         "labels",
                                         "metric",
                                         "normalize",
                                         "range_min",
                                         "range_max",
                                         "negatives",
                                         "positives",
                                         "absolute_margin",
                                         "relative_margin",
                                         "min_distance",
                                         "max_distance",
                                         "random",
                                         "seed",
                                         "unlabelled",
                                         NULL};
static const core_signature hard_signature = {"mine_hard", 2, 2, hard_names};

static int get_hard_options(PyObject *const *value, nf_mine_hard_options *options) {
    *options = nf_mine_hard_defaults();
    if (core_metric(value[2], "metric", &options->metric) < 0 ||
        core_flag(value[3], "normalize", &options->normalize) < 0 ||
        core_size(value[4], "range_min", &options->range_min) < 0 ||
        core_size(value[5], "range_max", &options->range_max) < 0 ||
        core_size(value[6], "negatives", &options->negatives) < 0 ||
        core_size(value[7], "positives", &options->positives) < 0 ||
        core_number(value[8], "absolute_margin", &options->absolute_margin) < 0 ||
        core_number(value[9], "relative_margin", &options->relative_margin) < 0 ||
        core_number(value[10], "min_distance", &options->min_distance) < 0 ||
        core_number(value[11], "max_distance", &options->max_distance) < 0 ||
        core_flag(value[12], "random", &options->random) < 0) {
        return -1;
    }
    return core_seed(value[13], "seed", &options->seed);
}

CORE_FUNCTION(core_mine_hard) {
    core_state *state = PyModule_GetState(module);
    PyObject *value[15] = {NULL}, *answer = NULL;
    nf_mine_hard_options options;
    nf_mined *mined = NULL;
    core_call call;
    inputs in = {.work = 0};
    if (core_arguments(&hard_signature, args, nargs, keywords, value) < 0 ||
        get_hard_options(value, &options) < 0 || get_inputs(state, value, value[14], &in) < 0 ||
        core_enter(&call, state, in.work) < 0) {
        goto done;
    }
    nf_status status = nf_mine_hard(call.context, &options, in.x.view, labels_of(&in), &mined);
    answer = finish(&call, status, mined, false);
done:
    release(&in);
    return answer;
}
