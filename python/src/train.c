/* Training, for nearfar.Trainer: works on a model that is not shown to anyone else meanwhile. */
#include <string.h>

#include "core.h"
#include "loss.h"

/* ---- events --------------------------------------------------------------------------------- */

typedef struct run {
    core_call call;
    PyObject *on_event; /* NULL: none */
    int stopped;        /* the callback asked for the end */
    int learns_beta, mines;
} run;

static PyObject *number_or_none(int has, double value) {
    if (has) return PyFloat_FromDouble(value);
    Py_RETURN_NONE;
}

static PyObject *count_or_none(int has, uint64_t value) {
    if (has) return PyLong_FromUnsignedLongLong(value);
    Py_RETURN_NONE;
}

static PyObject *text_or_none(const char *text) {
    if (text != NULL) return PyUnicode_FromString(text);
    Py_RETURN_NONE;
}

static PyObject *new_event(const run *r, const nf_train_event *e) {
    core_state *state = r->call.state;
    PyObject *event = PyStructSequence_New(state->event);
    if (event == NULL) return NULL;
    if (core_set(event, 0, PyLong_FromSize_t(e->epoch)) < 0 ||
        core_set(event, 1, PyLong_FromSize_t(e->epochs)) < 0 ||
        core_set(event, 2, PyLong_FromUnsignedLongLong(e->step)) < 0 ||
        core_set(event, 3, PyFloat_FromDouble(e->seconds)) < 0 ||
        core_set(event, 4, PyFloat_FromDouble(e->loss)) < 0 ||
        core_set(event, 5, PyFloat_FromDouble(e->lr)) < 0 ||
        core_set(event, 6, PyFloat_FromDouble(e->active_positive)) < 0 ||
        core_set(event, 7, PyFloat_FromDouble(e->active_negative)) < 0 ||
        core_set(event, 8, PyFloat_FromDouble(e->mean_positive_distance)) < 0 ||
        core_set(event, 9, PyFloat_FromDouble(e->mean_negative_distance)) < 0 ||
        core_set(event, 10, number_or_none(e->has_validation, e->map_at_r)) < 0 ||
        core_set(event, 11, number_or_none(e->has_validation, e->best_map_at_r)) < 0 ||
        core_set(event, 12, text_or_none(e->warning)) < 0 ||
        core_set(event, 13, number_or_none(r->learns_beta, e->beta)) < 0 ||
        core_set(event, 14, number_or_none(r->mines, e->mined)) < 0 ||
        core_set(event, 15, count_or_none(r->mines, e->empty_steps)) < 0) {
        Py_CLEAR(event);
    }
    return event;
}

static int ask_python(run *r, const nf_train_event *e) {
    PyObject *event = new_event(r, e);
    PyObject *answer =
        event != NULL ? PyObject_CallFunctionObjArgs(r->on_event, event, NULL) : NULL;
    Py_XDECREF(event);
    if (answer == NULL) return 1;
    int stop = PyObject_IsTrue(answer);
    Py_DECREF(answer);
    if (stop > 0) r->stopped = 1;
    return stop;
}

static int on_event(void *user, const nf_train_event *e) {
    run *r = user;
    if (r->on_event == NULL) return 0;
    core_callback_enter(&r->call);
    int stop = ask_python(r, e);
    core_callback_leave(&r->call);
    return stop;
}

/* ---- options -------------------------------------------------------------------------------- */

#define TRAIN_OPTIONS                                                                            \
    "loss", "sampling", "batch_size", "per_class", "positive_fraction", "memory_bank", "epochs", \
        "optimizer", "lr", "momentum", "weight_decay", "schedule", "valid_fraction", "patience", \
        "seed", "on_event", "learn_beta", "beta_lr", "nu", "mine", "mine_options"

enum {
    LOSS,
    SAMPLING,
    BATCH_SIZE,
    PER_CLASS,
    POSITIVE_FRACTION,
    MEMORY_BANK,
    EPOCHS,
    OPTIMIZER,
    LR,
    MOMENTUM,
    WEIGHT_DECAY,
    SCHEDULE,
    VALID_FRACTION,
    PATIENCE,
    SEED,
    ON_EVENT,
    LEARN_BETA,
    BETA_LR,
    NU,
    MINE,
    MINE_OPTIONS,
    OPTIONS
};

static const char *const samplings[] = {"m-per-class", "random", "all", "pairs", NULL};
static const char *const optimizers[] = {"adam", "sgd", NULL};
static const char *const learnt_betas[] = {"none", "global", "class", NULL};
static const char *const schedules[] = {"cosine", "constant", NULL};

static int get_words(PyObject *const *value, nf_train_options *options) {
    int sampling = (int)options->sampling, optimizer = (int)options->optimizer;
    int schedule = (int)options->schedule, learn_beta = (int)options->learn_beta;
    if (core_choice(value[SAMPLING], "sampling", samplings, &sampling) < 0 ||
        core_choice(value[OPTIMIZER], "optimizer", optimizers, &optimizer) < 0 ||
        core_choice(value[SCHEDULE], "schedule", schedules, &schedule) < 0 ||
        core_choice(value[LEARN_BETA], "learn_beta", learnt_betas, &learn_beta) < 0) {
        return -1;
    }
    options->sampling = (nf_sampling)sampling;
    options->optimizer = (nf_optimizer)optimizer;
    options->schedule = (nf_schedule)schedule;
    options->learn_beta = (nf_learn_beta)learn_beta;
    return 0;
}

static int get_numbers(PyObject *const *value, nf_train_options *options) {
    if (core_size(value[BATCH_SIZE], "batch_size", &options->batch_size) < 0 ||
        core_size(value[PER_CLASS], "per_class", &options->per_class) < 0 ||
        core_number(value[POSITIVE_FRACTION], "positive_fraction", &options->positive_fraction) <
            0 ||
        core_size(value[MEMORY_BANK], "memory_bank", &options->memory_bank) < 0 ||
        core_number(value[BETA_LR], "beta_lr", &options->beta_lr) < 0 ||
        core_number(value[NU], "nu", &options->nu) < 0 ||
        core_size(value[EPOCHS], "epochs", &options->epochs) < 0 ||
        core_number(value[LR], "lr", &options->lr) < 0 ||
        core_number(value[MOMENTUM], "momentum", &options->momentum) < 0 ||
        core_number(value[WEIGHT_DECAY], "weight_decay", &options->weight_decay) < 0 ||
        core_number(value[VALID_FRACTION], "valid_fraction", &options->valid_fraction) < 0 ||
        core_size(value[PATIENCE], "patience", &options->patience) < 0) {
        return -1;
    }
    return core_seed(value[SEED], "seed", &options->seed);
}

/* `mine` is where the options of a miner go. */
static int get_options(core_state *state, PyObject *const *value, nf_train_options *options,
                       nf_mine_options *mine, int *has_unlabelled, PyObject **callback) {
    *options = nf_train_defaults();
    if (core_given(value[MINE])) {
        if (core_mine_options(value[MINE], value[MINE_OPTIONS], mine) < 0) return -1;
        options->mine = mine;
    }
    if (core_given(value[LOSS])) {
        if (!PyObject_TypeCheck(value[LOSS], state->loss_type)) {
            PyErr_Format(PyExc_TypeError,
                         "loss is %R: it must be a loss such as ContrastiveLoss, or None",
                         value[LOSS]);
            return -1;
        }
        options->loss = ((core_loss_object *)value[LOSS])->loss;
        *has_unlabelled = ((core_loss_object *)value[LOSS])->has_unlabelled;
    }
    *callback = core_given(value[ON_EVENT]) ? value[ON_EVENT] : NULL;
    return get_words(value, options) < 0 ? -1 : get_numbers(value, options);
}

static PyObject *none(void) { Py_RETURN_NONE; }

static int add(PyObject *dict, const char *key, PyObject *value) {
    int failed = value == NULL ? -1 : PyDict_SetItemString(dict, key, value);
    Py_XDECREF(value);
    return failed;
}

/* The library's defaults by their names here, so that Python need not repeat the numbers. */
PyObject *core_train_defaults(PyObject *module, PyObject *unused) {
    nf_train_options o = nf_train_defaults();
    PyObject *dict = PyDict_New();
    (void)module;
    (void)unused;
    if (dict != NULL &&
        (add(dict, "sampling", PyUnicode_FromString(samplings[o.sampling])) < 0 ||
         add(dict, "batch_size", PyLong_FromSize_t(o.batch_size)) < 0 ||
         add(dict, "per_class", PyLong_FromSize_t(o.per_class)) < 0 ||
         add(dict, "positive_fraction", PyFloat_FromDouble(o.positive_fraction)) < 0 ||
         add(dict, "memory_bank", PyLong_FromSize_t(o.memory_bank)) < 0 ||
         add(dict, "mine", none()) < 0 || add(dict, "mine_options", none()) < 0 ||
         add(dict, "learn_beta", none()) < 0 || add(dict, "beta_lr", none()) < 0 ||
         add(dict, "nu", PyFloat_FromDouble(o.nu)) < 0 ||
         add(dict, "epochs", PyLong_FromSize_t(o.epochs)) < 0 ||
         add(dict, "optimizer", PyUnicode_FromString(optimizers[o.optimizer])) < 0 ||
         add(dict, "lr", PyFloat_FromDouble(o.lr)) < 0 ||
         add(dict, "momentum", PyFloat_FromDouble(o.momentum)) < 0 ||
         add(dict, "weight_decay", PyFloat_FromDouble(o.weight_decay)) < 0 ||
         add(dict, "schedule", PyUnicode_FromString(schedules[o.schedule])) < 0 ||
         add(dict, "valid_fraction", PyFloat_FromDouble(o.valid_fraction)) < 0 ||
         add(dict, "patience", PyLong_FromSize_t(o.patience)) < 0)) {
        Py_CLEAR(dict);
    }
    return dict;
}

/* ---- reports -------------------------------------------------------------------------------- */

static PyObject *new_report(core_state *state, const nf_train_report *r, const run *of) {
    PyObject *report = PyStructSequence_New(state->report);
    if (report == NULL) return NULL;
    if (core_set(report, 0, PyLong_FromSize_t(r->epochs_run)) < 0 ||
        core_set(report, 1, PyLong_FromSize_t(r->best_epoch)) < 0 ||
        core_set(report, 2, PyLong_FromUnsignedLongLong(r->steps)) < 0 ||
        core_set(report, 3, PyBool_FromLong(r->stopped_early || of->stopped)) < 0 ||
        core_set(report, 4, PyLong_FromSize_t(r->train_rows)) < 0 ||
        core_set(report, 5, PyLong_FromSize_t(r->valid_rows)) < 0 ||
        core_set(report, 6, PyFloat_FromDouble(r->first_loss)) < 0 ||
        core_set(report, 7, PyFloat_FromDouble(r->last_loss)) < 0 ||
        core_set(report, 8, number_or_none(r->has_validation, r->map_at_r)) < 0 ||
        core_set(report, 9, PyFloat_FromDouble(r->median_distance)) < 0 ||
        core_set(report, 10, number_or_none(r->suggested_margin > 0, r->suggested_margin)) < 0 ||
        core_set(report, 11, PyBool_FromLong(r->collapsed)) < 0 ||
        core_set(report, 12, number_or_none(of->learns_beta, r->beta)) < 0 ||
        core_set(report, 13, number_or_none(of->learns_beta, r->smallest_beta)) < 0 ||
        core_set(report, 14, number_or_none(of->learns_beta, r->largest_beta)) < 0 ||
        core_set(report, 15, count_or_none(of->mines, r->mined)) < 0 ||
        core_set(report, 16, count_or_none(of->mines, r->empty_steps)) < 0) {
        Py_CLEAR(report);
    }
    return report;
}

/* A run that the callback ended is a result; any other failure is an exception. */
static PyObject *finish(run *r, nf_status status, const nf_train_report *report) {
    core_state *state = r->call.state;
    if (r->call.thread != NULL) PyEval_RestoreThread(r->call.thread);
    r->call.thread = NULL;
    if (status == NF_ERR_CANCELLED && r->stopped && !PyErr_Occurred()) status = NF_OK;
    if (core_leave(&r->call, status) < 0) return NULL;
    return new_report(state, report, r);
}

/* ---- labelled rows -------------------------------------------------------------------------- */

static const char *const train_names[] = {
    "model", "x",          "labels",      "valid_x", "valid_labels", "offsets", "set_labels",
    "soft",  "row_weight", "pair_weight", "groups",  TRAIN_OPTIONS,  NULL};
static const core_signature train_signature = {"train", 11, 3, train_names};
enum { TARGETS = 5, TRAIN_INPUTS = 11 };

typedef struct train_inputs {
    core_matrix x, valid_x;
    core_vector labels, valid_labels;
    core_targets with;
    bool targets;
} train_inputs;

static void release_inputs(train_inputs *in) {
    core_targets_release(&in->with);
    core_vector_release(&in->valid_labels);
    core_vector_release(&in->labels);
    core_matrix_release(&in->valid_x);
    core_matrix_release(&in->x);
}

static int get_inputs(core_state *state, PyObject *const *value, train_inputs *in) {
    if (core_matrix_get(state, value[1], "x", &in->x) < 0 ||
        core_targets_get(state, value + TARGETS, in->x.view.rows, "x has rows", &in->with) < 0) {
        return -1;
    }
    for (int k = TARGETS; k < TRAIN_INPUTS; k++) in->targets |= core_given(value[k]);
    const bool without = core_given(value[TARGETS]) || in->with.targets.soft.data != NULL;
    if (!(without && !core_given(value[2])) &&
        core_labels_get(state, value[2], "labels", &in->labels) < 0) {
        return -1;
    }
    in->valid_x.view.type = in->x.view.type;
    if (!core_given(value[3])) return 0;
    if (core_matrix_get(state, value[3], "valid_x", &in->valid_x) < 0 ||
        core_matrix_match(state, &in->x, value[1], "x", &in->valid_x, value[3], "valid_x") < 0) {
        return -1;
    }
    return core_labels_get(state, value[4], "valid_labels", &in->valid_labels);
}

static core_model_object *get_model(core_state *state, PyObject *object) {
    if (PyObject_TypeCheck(object, state->model_type)) return (core_model_object *)object;
    PyErr_Format(PyExc_TypeError, "model is %R: it must be a Model", object);
    return NULL;
}

CORE_FUNCTION(core_train) {
    core_state *state = PyModule_GetState(module);
    PyObject *value[TRAIN_INPUTS + OPTIONS] = {NULL}, *answer = NULL;
    train_inputs in;
    memset(&in, 0, sizeof in);
    nf_train_options options;
    nf_mine_options mine;
    int has_unlabelled = 1;
    run r = {.stopped = 0};
    if (core_arguments(&train_signature, args, nargs, keywords, value) < 0 ||
        get_options(state, value + TRAIN_INPUTS, &options, &mine, &has_unlabelled, &r.on_event) <
            0) {
        return NULL;
    }
    core_model_object *model = get_model(state, value[0]);
    if (model == NULL || get_inputs(state, value, &in) < 0) goto done;
    nf_train_data data = {
        .x = in.x.view,
        .labels = {in.labels.data, in.labels.count, has_unlabelled},
        .valid_x = in.valid_x.view,
        .valid_labels = {in.valid_labels.data, in.valid_labels.count, has_unlabelled},
        .targets = in.targets ? &in.with.targets : NULL};
    nf_train_report report = {0};
    r.learns_beta = options.learn_beta != NF_LEARN_BETA_NONE;
    r.mines = options.mine != NULL;
    if (core_enter(&r.call, state, 1e9) < 0) goto done;
    nf_status status =
        nf_train(r.call.context, model->model, &data, &options, on_event, &r, &report);
    answer = finish(&r, status, &report);
done:
    release_inputs(&in);
    return answer;
}

/* ---- pairs made beforehand ------------------------------------------------------------------- */

static const char *const rows_names[] = {"model",  "left",          "right",       "same",
                                         "weight", "same_encoding", TRAIN_OPTIONS, NULL};
static const core_signature rows_signature = {"train_rows", 6, 4, rows_names};

typedef struct row_inputs {
    core_matrix left, right;
    core_vector same, weight;
} row_inputs;

static int get_rows(core_state *state, PyObject *const *value, row_inputs *in) {
    nf_same_encoding encoding = NF_SAME_01;
    if (core_same_encoding(value[5], &encoding) < 0 ||
        core_matrix_get(state, value[1], "left", &in->left) < 0 ||
        core_matrix_get(state, value[2], "right", &in->right) < 0 ||
        core_matrix_match(state, &in->left, value[1], "left", &in->right, value[2], "right") < 0 ||
        core_same_get(state, value[3], "same", encoding, &in->same) < 0 ||
        core_same_count(in->same.count, "same", in->left.view.rows, "left has rows") < 0) {
        return -1;
    }
    if (!core_given(value[4])) return 0;
    if (core_weight_get(state, value[4], "weight", &in->weight) < 0) return -1;
    return core_same_count(in->weight.count, "weight", in->left.view.rows, "left has rows");
}

CORE_FUNCTION(core_train_rows) {
    core_state *state = PyModule_GetState(module);
    PyObject *value[6 + OPTIONS] = {NULL}, *answer = NULL;
    row_inputs in;
    memset(&in, 0, sizeof in);
    nf_train_options options;
    nf_mine_options mine;
    int has_unlabelled = 1;
    run r = {.stopped = 0};
    if (core_arguments(&rows_signature, args, nargs, keywords, value) < 0 ||
        get_options(state, value + 6, &options, &mine, &has_unlabelled, &r.on_event) < 0) {
        return NULL;
    }
    core_model_object *model = get_model(state, value[0]);
    if (model == NULL || get_rows(state, value, &in) < 0) goto done;
    nf_train_report report = {0};
    r.learns_beta = options.learn_beta != NF_LEARN_BETA_NONE;
    r.mines = options.mine != NULL;
    if (core_enter(&r.call, state, 1e9) < 0) goto done;
    nf_status status = nf_train_rows(r.call.context, model->model, in.left.view, in.right.view,
                                     in.same.data, in.weight.data, &options, on_event, &r, &report);
    answer = finish(&r, status, &report);
done:
    core_vector_release(&in.weight);
    core_vector_release(&in.same);
    core_matrix_release(&in.right);
    core_matrix_release(&in.left);
    return answer;
}
