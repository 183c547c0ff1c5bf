/* The loss under targets: what targets of a loss calls with arrays only. */
#include <string.h>

#include "core.h"
#include "loss.h"

static const char *const names[] = {"x",          "labels",      "offsets", "set_labels", "soft",
                                    "row_weight", "pair_weight", "groups",  "gradient",   NULL};
static const core_signature signature = {"_targets", 9, 1, names};
enum { X, LABELS, TARGETS, GRADIENT = TARGETS + 6, COUNT };

/* Of the arguments of core_targets_get. */
enum { OFFSETS, SET_LABELS, SOFT, ROW_WEIGHT, PAIR_WEIGHT, GROUPS };

static int square_get(core_state *state, PyObject *object, const char *name, core_matrix *matrix,
                      nf_matrix *view) {
    if (!core_given(object)) return 0;
    if (core_matrix_get(state, object, name, matrix) < 0) return -1;
    *view = matrix->view;
    return 0;
}

int core_targets_get(core_state *state, PyObject *const *value, size_t n, core_targets *form) {
    nf_targets *targets = &form->targets;
    memset(form, 0, sizeof *form);
    if (core_given(value[ROW_WEIGHT])) {
        if (core_weight_get(state, value[ROW_WEIGHT], "row_weight", &form->row_weight) < 0 ||
            core_same_count(form->row_weight.count, "row_weight", n, "x has rows") < 0) {
            return -1;
        }
        targets->row_weight = form->row_weight.data;
    }
    if (core_given(value[GROUPS])) {
        if (core_index_get(state, value[GROUPS], "groups", &form->groups) < 0 ||
            core_same_count(form->groups.count, "groups", n, "x has rows") < 0) {
            return -1;
        }
        targets->group = form->groups.data;
    }
    if (square_get(state, value[SOFT], "soft", &form->soft, &targets->soft) < 0 ||
        square_get(state, value[PAIR_WEIGHT], "pair_weight", &form->pair_weight,
                   &targets->pair_weight) < 0) {
        return -1;
    }
    if (!core_given(value[OFFSETS])) return 0;
    targets->sets = &form->sets.sets;
    return core_label_sets_get(state, value[OFFSETS], value[SET_LABELS], n, &form->sets);
}

void core_targets_release(core_targets *form) {
    core_label_sets_release(&form->sets);
    core_vector_release(&form->groups);
    core_vector_release(&form->row_weight);
    core_matrix_release(&form->pair_weight);
    core_matrix_release(&form->soft);
}

/* Rows, labels and targets of the form. */
typedef struct targets_form {
    core_matrix x;
    core_vector labels;
    core_targets with;
} targets_form;

static int form_get(core_loss_object *self, PyObject *const *value, targets_form *form) {
    core_state *state = self->state;
    if (core_matrix_get(state, value[X], "x", &form->x) < 0) return -1;
    if (core_given(value[LABELS]) &&
        core_labels_get(state, value[LABELS], "labels", &form->labels) < 0) {
        return -1;
    }
    if (core_targets_get(state, value + TARGETS, form->x.view.rows, &form->with) < 0) return -1;
    if (core_given(value[LABELS])) {
        form->with.targets.labels =
            (nf_labels){form->labels.data, form->labels.count, self->has_unlabelled};
    }
    return 0;
}

static void form_release(targets_form *form) {
    core_targets_release(&form->with);
    core_vector_release(&form->labels);
    core_matrix_release(&form->x);
}

PyObject *core_loss_targets(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *keywords) {
    core_loss_object *self = (core_loss_object *)object;
    core_state *state = self->state;
    PyObject *value[COUNT] = {NULL}, *gradient = NULL, *answer = NULL;
    targets_form form;
    int wanted = 1, failed = 0;
    memset(&form, 0, sizeof form);
    if (core_arguments(&signature, args, nargs, keywords, value) < 0 ||
        core_flag(value[GRADIENT], "gradient", &wanted) < 0 || form_get(self, value, &form) < 0) {
        goto done;
    }
    nf_matrix_out out;
    gradient = core_new_gradient(state, wanted, &form.x, &out, &failed);
    if (failed) goto done;
    nf_loss_result result;
    core_call call;
    double pairs = (double)form.x.view.rows * (double)form.x.view.rows;
    if (core_enter(&call, state, core_loss_work(pairs, form.x.view.cols)) < 0) goto done;
    if (core_leave(&call, nf_loss_targets(call.context, &self->loss, form.x.view,
                                          &form.with.targets, &result, out)) < 0) {
        goto done;
    }
    gradient = core_as_type(gradient, form.x.dtype);
    if (gradient != NULL || !wanted) answer = core_loss_result(state, &result, gradient, NULL);
done:
    Py_XDECREF(gradient);
    form_release(&form);
    return answer;
}
