/* The margin loss with its boundary beta as something to learn. */
#include <string.h>

#include "core.h"
#include "loss.h"

static const char *const names[] = {"x",        "labels",     "beta",      "margin",
                                    "nu",       "metric",     "normalize", "reduction",
                                    "gradient", "unlabelled", NULL};
static const core_signature signature = {"margin_loss", 3, 3, names};

typedef struct margin_call {
    core_matrix x;
    core_vector labels, beta;
    nf_loss loss;
    nf_margin_beta parameter;
    int wanted, has_unlabelled;
} margin_call;

/* The preset with what is given; one metric for both sides. */
static int get_loss(core_state *state, PyObject *const *value, nf_loss *loss) {
    core_call call;
    if (core_enter(&call, state, 0) < 0) return -1;
    if (core_leave(&call, nf_loss_preset(call.context, "margin", loss)) < 0) return -1;
    if (core_number(value[3], "margin", &loss->neg_margin) < 0 ||
        core_metric(value[5], "metric", &loss->neg_metric) < 0 ||
        core_reduction(value[7], "reduction", &loss->reduction) < 0) {
        return -1;
    }
    loss->pos_metric = loss->neg_metric;
    return core_given(value[6]) ? core_flag(value[6], "normalize", &loss->normalize) : 0;
}

static int get_inputs(core_state *state, PyObject *const *value, margin_call *in) {
    in->wanted = in->has_unlabelled = 1;
    if (get_loss(state, value, &in->loss) < 0 ||
        core_number(value[4], "nu", &in->parameter.nu) < 0 ||
        core_flag(value[8], "gradient", &in->wanted) < 0 ||
        core_unlabelled(value[9], &in->has_unlabelled) < 0 ||
        core_matrix_get(state, value[0], "x", &in->x) < 0 ||
        core_labels_get(state, value[1], "labels", &in->labels) < 0 ||
        core_weight_get(state, value[2], "beta", &in->beta) < 0) {
        return -1;
    }
    in->parameter.beta = in->beta.data;
    in->parameter.count = in->beta.count;
    return 0;
}

CORE_FUNCTION(core_margin_loss) {
    core_state *state = PyModule_GetState(module);
    PyObject *value[10] = {NULL}, *gradient = NULL, *slope = NULL, *result = NULL, *answer = NULL;
    margin_call in;
    int failed = 0;
    memset(&in, 0, sizeof in);
    if (core_arguments(&signature, args, nargs, keywords, value) < 0 ||
        get_inputs(state, value, &in) < 0) {
        goto done;
    }
    nf_matrix_out out;
    void *data;
    gradient = core_new_gradient(state, in.wanted, &in.x, &out, &failed);
    if (failed) goto done;
    slope = core_new_vector(state, in.beta.count, state->float64, &data);
    if (slope == NULL) goto done;
    in.parameter.gradient = data;
    nf_labels labels = {in.labels.data, in.labels.count, in.has_unlabelled};
    nf_loss_result made;
    core_call call;
    double n = (double)in.x.view.rows;
    if (core_enter(&call, state, core_loss_work(n * n, in.x.view.cols)) < 0) goto done;
    if (core_leave(&call, nf_loss_margin(call.context, &in.loss, in.x.view, labels, &in.parameter,
                                         &made, out)) < 0) {
        goto done;
    }
    gradient = core_as_type(gradient, in.x.dtype);
    if (gradient == NULL && in.wanted) goto done;
    result = core_loss_result(state, &made, gradient, NULL);
    if (result != NULL) answer = PyTuple_Pack(2, result, slope);
done:
    Py_XDECREF(result);
    Py_XDECREF(slope);
    Py_XDECREF(gradient);
    core_vector_release(&in.beta);
    core_vector_release(&in.labels);
    core_matrix_release(&in.x);
    return answer;
}
