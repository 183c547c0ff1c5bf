/* The loss under targets: what targets of a loss calls with arrays only. */
#include <string.h>

#include "core.h"
#include "loss.h"

static const char *const names[] = {"x",        "labels",     "offsets",     "set_labels",
                                    "soft",     "row_weight", "pair_weight", "groups",
                                    "gradient", "upstream",   "terms",       NULL};
static const core_signature signature = {"_targets", 11, 1, names};
enum { X, LABELS, TARGETS, GRADIENT = TARGETS + 6, UPSTREAM, TERMS, COUNT };

/* Of the arguments of core_targets_get. */
enum { OFFSETS, SET_LABELS, SOFT, ROW_WEIGHT, PAIR_WEIGHT, GROUPS, OF_TARGETS };

static int square_get(core_state *state, PyObject *object, const char *name, core_matrix *matrix,
                      nf_matrix *view) {
    if (!core_given(object)) return 0;
    if (core_matrix_get(state, object, name, matrix) < 0) return -1;
    *view = matrix->view;
    return 0;
}

int core_targets_get(core_state *state, PyObject *const *value, size_t n, const char *whose,
                     core_targets *form) {
    nf_targets *targets = &form->targets;
    memset(form, 0, sizeof *form);
    if (core_given(value[ROW_WEIGHT])) {
        if (core_weight_get(state, value[ROW_WEIGHT], "row_weight", &form->row_weight) < 0 ||
            core_same_count(form->row_weight.count, "row_weight", n, whose) < 0) {
            return -1;
        }
        targets->row_weight = form->row_weight.data;
    }
    if (core_given(value[GROUPS])) {
        if (core_index_get(state, value[GROUPS], "groups", &form->groups) < 0 ||
            core_same_count(form->groups.count, "groups", n, whose) < 0) {
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
    core_terms extras;
} targets_form;

static int form_get(core_loss_object *self, PyObject *const *value, targets_form *form) {
    core_state *state = self->state;
    if (core_matrix_get(state, value[X], "x", &form->x) < 0) return -1;
    if (core_given(value[LABELS]) &&
        core_labels_get(state, value[LABELS], "labels", &form->labels) < 0) {
        return -1;
    }
    if (core_targets_get(state, value + TARGETS, form->x.view.rows, "x has rows", &form->with) <
            0 ||
        core_terms_get(state, value[UPSTREAM], value[TERMS], form->x.view.rows,
                       self->loss.reduction, &form->extras) < 0) {
        return -1;
    }
    if (core_given(value[LABELS])) {
        form->with.targets.labels =
            (nf_labels){form->labels.data, form->labels.count, self->has_unlabelled};
    }
    return 0;
}

static void form_release(targets_form *form) {
    core_terms_release(&form->extras);
    core_targets_release(&form->with);
    core_vector_release(&form->labels);
    core_matrix_release(&form->x);
}

static nf_status batch_run(core_call *call, const nf_loss *loss, const targets_form *form,
                           nf_loss_result *result, nf_matrix_out out) {
    const nf_targets *targets = &form->with.targets;
    if (form->extras.array == NULL && form->extras.of_rows.upstream == NULL) {
        return nf_loss_targets(call->context, loss, form->x.view, targets, result, out);
    }
    return nf_loss_targets_anchors(call->context, loss, form->x.view, targets,
                                   &form->extras.of_rows, result, out);
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
    if (core_leave(&call, batch_run(&call, &self->loss, &form, &result, out)) < 0) goto done;
    gradient = core_as_type(gradient, form.x.dtype);
    if (gradient != NULL || !wanted) {
        answer = core_loss_result(state, &result, gradient, form.extras.array);
    }
done:
    Py_XDECREF(gradient);
    form_release(&form);
    return answer;
}

/* ---- query x reference ---------------------------------------------------------------------- */

static const char *const reference_names[] = {"query",
                                              "query_labels",
                                              "reference",
                                              "reference_labels",
                                              "query_ids",
                                              "reference_ids",
                                              "query_offsets",
                                              "query_set_labels",
                                              "query_row_weight",
                                              "query_groups",
                                              "reference_offsets",
                                              "reference_set_labels",
                                              "reference_row_weight",
                                              "reference_groups",
                                              "soft",
                                              "pair_weight",
                                              "gradient",
                                              "upstream",
                                              "terms",
                                              NULL};
static const core_signature reference_signature = {"_reference_targets", 19, 3, reference_names};
enum { SETS, OF_ROWS = 6, OF_PAIRS = OF_ROWS + 8, REFERENCE_GRADIENT = OF_PAIRS + 2 };
enum { REFERENCE_UPSTREAM = REFERENCE_GRADIENT + 1, REFERENCE_TERMS, REFERENCE_COUNT };

typedef struct reference_form {
    core_sets sets;
    core_targets side[2];
    core_terms extras;
    nf_reference_targets targets;
} reference_form;

/* What rows of side s bring; the query's have the matrices of pairs with them. */
static int side_get(core_state *state, PyObject *const *value, size_t s, reference_form *form) {
    PyObject *const *own = value + OF_ROWS + 4 * s;
    PyObject *of[OF_TARGETS] = {
        [OFFSETS] = own[0], [SET_LABELS] = own[1], [ROW_WEIGHT] = own[2], [GROUPS] = own[3]};
    const size_t rows = s == 0 ? form->sets.query.view.rows : form->sets.reference.view.rows;
    if (s == 0) {
        of[SOFT] = value[OF_PAIRS];
        of[PAIR_WEIGHT] = value[OF_PAIRS + 1];
    }
    core_targets *with = &form->side[s];
    if (core_targets_get(state, of, rows, s == 0 ? "query has rows" : "reference has rows", with) <
        0) {
        return -1;
    }
    const nf_row_targets brought = {.sets = with->targets.sets,
                                    .row_weight = with->targets.row_weight,
                                    .group = with->targets.group};
    if (s == 0) {
        form->targets.query = brought;
        form->targets.soft = with->targets.soft;
        form->targets.pair_weight = with->targets.pair_weight;
    } else {
        form->targets.reference = brought;
    }
    return 0;
}

static int reference_get(core_loss_object *self, PyObject *const *value, reference_form *form) {
    core_state *state = self->state;
    if (core_sets_get(state, self->has_unlabelled, 1, value + SETS, &form->sets) < 0 ||
        side_get(state, value, 0, form) < 0 || side_get(state, value, 1, form) < 0) {
        return -1;
    }
    return core_terms_get(state, value[REFERENCE_UPSTREAM], value[REFERENCE_TERMS],
                          form->sets.query.view.rows, self->loss.reduction, &form->extras);
}

static void reference_release(reference_form *form) {
    core_terms_release(&form->extras);
    core_targets_release(&form->side[1]);
    core_targets_release(&form->side[0]);
    core_sets_release(&form->sets);
}

static int reference_run(core_loss_object *self, reference_form *form, nf_loss_result *result,
                         const nf_matrix_out out[2]) {
    const core_terms *extras = &form->extras;
    const nf_matrix query = form->sets.query.view;
    const double pairs = (double)query.rows * (double)form->sets.reference.view.rows;
    const int terms = extras->array != NULL || extras->of_rows.upstream != NULL;
    core_call call;
    if (core_enter(&call, self->state, core_loss_work(pairs, query.cols)) < 0) return -1;
    return core_leave(&call, nf_loss_targets_reference(
                                 call.context, &self->loss, &form->sets.sets, &form->targets,
                                 terms ? &extras->of_rows : NULL, result, out[0], out[1]));
}

PyObject *core_loss_reference_targets(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                                      PyObject *keywords) {
    core_loss_object *self = (core_loss_object *)object;
    core_state *state = self->state;
    PyObject *value[REFERENCE_COUNT] = {NULL}, *made[2] = {NULL, NULL}, *both = NULL;
    PyObject *answer = NULL;
    reference_form form;
    int wanted = 1, failed = 0;
    nf_matrix_out out[2];
    nf_loss_result result;
    memset(&form, 0, sizeof form);
    if (core_arguments(&reference_signature, args, nargs, keywords, value) < 0 ||
        core_flag(value[REFERENCE_GRADIENT], "gradient", &wanted) < 0 ||
        reference_get(self, value, &form) < 0) {
        goto done;
    }
    made[0] = core_new_gradient(state, wanted, &form.sets.query, &out[0], &failed);
    if (!failed) made[1] = core_new_gradient(state, wanted, &form.sets.reference, &out[1], &failed);
    if (failed || reference_run(self, &form, &result, out) < 0) goto done;
    both = core_gradient_pair(wanted, &made[0], &form.sets.query, &made[1], &form.sets.reference);
    if (both != NULL || !wanted) answer = core_loss_result(state, &result, both, form.extras.array);
done:
    Py_XDECREF(both);
    Py_XDECREF(made[1]);
    Py_XDECREF(made[0]);
    reference_release(&form);
    return answer;
}
