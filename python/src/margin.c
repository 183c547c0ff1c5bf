/* The margin loss with its boundary beta as something to learn. */
#include <string.h>

#include "core.h"
#include "loss.h"

enum {
    QUERY,
    QUERY_LABELS,
    REFERENCE,
    REFERENCE_LABELS,
    QUERY_IDS,
    REFERENCE_IDS,
    BETA,
    NU,
    BY_LABEL,
    GRADIENT,
    ARGUMENTS
};

static const char *const names[] = {"query",     "query_labels",  "reference", "reference_labels",
                                    "query_ids", "reference_ids", "beta",      "nu",
                                    "by_label",  "gradient",      NULL};
static const core_signature signature = {"_with_beta", 6, 2, names};

typedef struct margin_call {
    core_matrix x; /* of a batch; else the sets */
    core_vector labels, beta;
    core_sets sets;
    nf_margin_beta parameter;
    PyObject *gradient[2], *slope;
    nf_matrix_out out[2];
    int wanted, is_batch;
} margin_call;

static int get_rows(core_loss_object *self, PyObject *const *value, margin_call *in) {
    core_state *state = self->state;
    in->is_batch = !core_given(value[REFERENCE]);
    if (!in->is_batch) return core_sets_get(state, self->has_unlabelled, 0, value, &in->sets);
    if (core_matrix_get(state, value[QUERY], "x", &in->x) < 0) return -1;
    return core_labels_get(state, value[QUERY_LABELS], "labels", &in->labels);
}

static int get_inputs(core_loss_object *self, PyObject *const *value, margin_call *in) {
    in->wanted = 1;
    if (!core_given(value[BETA])) {
        PyErr_SetString(PyExc_TypeError, "beta is missing: give a number, or one for each class");
        return -1;
    }
    if (core_number(value[NU], "nu", &in->parameter.nu) < 0 ||
        core_flag(value[BY_LABEL], "by_label", &in->parameter.by_label) < 0 ||
        core_flag(value[GRADIENT], "gradient", &in->wanted) < 0 || get_rows(self, value, in) < 0 ||
        core_weight_get(self->state, value[BETA], "beta", &in->beta) < 0) {
        return -1;
    }
    in->parameter.beta = in->beta.data;
    in->parameter.count = in->beta.count;
    return 0;
}

static int make_outputs(core_state *state, margin_call *in) {
    const core_matrix *first = in->is_batch ? &in->x : &in->sets.query;
    int failed = 0;
    void *data;
    in->gradient[0] = core_new_gradient(state, in->wanted, first, &in->out[0], &failed);
    if (!in->is_batch && !failed) {
        in->gradient[1] =
            core_new_gradient(state, in->wanted, &in->sets.reference, &in->out[1], &failed);
    }
    if (failed) return -1;
    in->slope = core_new_vector(state, in->beta.count, state->float64, &data);
    in->parameter.gradient = data;
    return in->slope != NULL ? 0 : -1;
}

static int run(core_loss_object *self, margin_call *in, nf_loss_result *result) {
    const nf_matrix first = in->is_batch ? in->x.view : in->sets.query.view;
    const double others = (double)(in->is_batch ? first.rows : in->sets.reference.view.rows);
    core_call call;
    if (core_enter(&call, self->state, core_loss_work((double)first.rows * others, first.cols)) < 0)
        return -1;
    if (in->is_batch) {
        nf_labels labels = {in->labels.data, in->labels.count, self->has_unlabelled};
        return core_leave(&call, nf_loss_margin(call.context, &self->loss, first, labels,
                                                &in->parameter, result, in->out[0]));
    }
    return core_leave(&call,
                      nf_loss_margin_reference(call.context, &self->loss, &in->sets.sets,
                                               &in->parameter, result, in->out[0], in->out[1]));
}

static PyObject *answer_of(core_state *state, margin_call *in, const nf_loss_result *result) {
    PyObject *gradient = NULL;
    if (in->is_batch) {
        gradient = in->gradient[0] = core_as_type(in->gradient[0], in->x.dtype);
        Py_XINCREF(gradient);
    } else {
        gradient = core_gradient_pair(in->wanted, &in->gradient[0], &in->sets.query,
                                      &in->gradient[1], &in->sets.reference);
    }
    if (gradient == NULL && in->wanted) return NULL;
    PyObject *made = core_loss_result(state, result, gradient, NULL);
    Py_XDECREF(gradient);
    if (made == NULL) return NULL;
    PyObject *answer = PyTuple_Pack(2, made, in->slope);
    Py_DECREF(made);
    return answer;
}

PyObject *core_loss_with_beta(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *keywords) {
    core_loss_object *self = (core_loss_object *)object;
    PyObject *value[ARGUMENTS] = {NULL}, *answer = NULL;
    margin_call in;
    nf_loss_result result;
    memset(&in, 0, sizeof in);
    if (core_arguments(&signature, args, nargs, keywords, value) == 0 &&
        get_inputs(self, value, &in) == 0 && make_outputs(self->state, &in) == 0 &&
        run(self, &in, &result) == 0) {
        answer = answer_of(self->state, &in, &result);
    }
    Py_XDECREF(in.slope);
    Py_XDECREF(in.gradient[1]);
    Py_XDECREF(in.gradient[0]);
    core_vector_release(&in.beta);
    core_vector_release(&in.labels);
    core_matrix_release(&in.x);
    core_sets_release(&in.sets);
    return answer;
}
