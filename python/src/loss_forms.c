/* The loss over pairs that are given: a list, rows, or query x reference. */
#include <string.h>

#include "core.h"
#include "loss.h"

/* ---- pair lists ----------------------------------------------------------------------------- */

/* The columns of a pair list: a Pairs, a tuple or list (i, j, same[, weight]), or anything that
 * nearfar._convert.pairs makes of it, an integer array (n, 3) in particular. */
typedef struct pair_list {
    core_vector i, j, same, weight;
    nf_pairs pairs;
} pair_list;

static int column_counts(const pair_list *list) {
    size_t n = list->i.count;
    if (core_same_count(list->j.count, "pairs: j", n, "i") < 0) return -1;
    if (core_same_count(list->same.count, "pairs: same", n, "i") < 0) return -1;
    if (list->weight.data == NULL) return 0;
    return core_same_count(list->weight.count, "pairs: weight", n, "i");
}

static int list_get(core_state *state, PyObject *object, nf_same_encoding encoding,
                    pair_list *list) {
    PyObject *columns = PyObject_CallMethod(state->convert, "pairs", "(O)", object);
    if (columns == NULL) return -1;
    PyObject *i, *j, *same, *weight;
    int failed =
        !PyArg_ParseTuple(columns, "OOOO", &i, &j, &same, &weight) ||
        core_index_get(state, i, "pairs: i", &list->i) < 0 ||
        core_index_get(state, j, "pairs: j", &list->j) < 0 ||
        core_same_get(state, same, "pairs: same", encoding, &list->same) < 0 ||
        (weight != Py_None && core_weight_get(state, weight, "pairs: weight", &list->weight) < 0) ||
        column_counts(list) < 0;
    Py_DECREF(columns);
    if (failed) return -1;
    list->pairs =
        (nf_pairs){list->i.count, list->i.data, list->j.data, list->same.data, list->weight.data};
    return 0;
}

static void list_release(pair_list *list) {
    core_vector_release(&list->i);
    core_vector_release(&list->j);
    core_vector_release(&list->same);
    core_vector_release(&list->weight);
}

static const char *const pairs_names[] = {"x",     "pairs",         "gradient", "upstream",
                                          "terms", "same_encoding", NULL};
static const core_signature pairs_signature = {"pairs", 2, 2, pairs_names};

PyObject *core_loss_pairs(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *keywords) {
    core_loss_object *self = (core_loss_object *)object;
    core_state *state = self->state;
    PyObject *value[6] = {NULL}, *gradient = NULL, *answer = NULL;
    core_matrix x = {0};
    pair_list list = {0};
    core_terms extras = {0};
    nf_same_encoding encoding = NF_SAME_01;
    int wanted = 1, failed = 0;
    if (core_arguments(&pairs_signature, args, nargs, keywords, value) < 0 ||
        core_flag(value[2], "gradient", &wanted) < 0 ||
        core_same_encoding(value[5], &encoding) < 0 ||
        core_matrix_get(state, value[0], "x", &x) < 0 ||
        list_get(state, value[1], encoding, &list) < 0 ||
        core_terms_get(state, value[3], value[4], list.pairs.count, self->loss.reduction, &extras) <
            0) {
        goto done;
    }
    nf_matrix_out out;
    gradient = core_new_gradient(state, wanted, &x, &out, &failed);
    if (failed) goto done;
    nf_loss_result result;
    core_call call;
    if (core_enter(&call, state, core_loss_work((double)list.pairs.count, x.view.cols)) < 0)
        goto done;
    if (core_leave(&call, nf_loss_pairs(call.context, &self->loss, x.view, list.pairs,
                                        &extras.of_pairs, &result, out)) < 0) {
        goto done;
    }
    gradient = core_as_type(gradient, x.dtype);
    if (gradient != NULL || !wanted)
        answer = core_loss_result(state, &result, gradient, extras.array);
done:
    Py_XDECREF(gradient);
    core_terms_release(&extras);
    list_release(&list);
    core_matrix_release(&x);
    return answer;
}

/* ---- rows ----------------------------------------------------------------------------------- */

static const char *const rows_names[] = {"left",     "right", "same",          "weight", "gradient",
                                         "upstream", "terms", "same_encoding", NULL};
static const core_signature rows_signature = {"rows", 4, 3, rows_names};

/* Everything that the row form holds. */
typedef struct row_form {
    core_matrix left, right;
    core_vector same, weight;
    core_terms extras;
} row_form;

static int rows_get(core_loss_object *self, PyObject *const *value, row_form *form) {
    core_state *state = self->state;
    nf_same_encoding encoding = NF_SAME_01;
    if (core_same_encoding(value[7], &encoding) < 0 ||
        core_matrix_get(state, value[0], "left", &form->left) < 0 ||
        core_matrix_get(state, value[1], "right", &form->right) < 0 ||
        core_matrix_match(state, &form->left, value[0], "left", &form->right, value[1], "right") <
            0 ||
        core_same_get(state, value[2], "same", encoding, &form->same) < 0 ||
        core_same_count(form->same.count, "same", form->left.view.rows, "left has rows") < 0) {
        return -1;
    }
    if (core_given(value[3]) && (core_weight_get(state, value[3], "weight", &form->weight) < 0 ||
                                 core_same_count(form->weight.count, "weight", form->left.view.rows,
                                                 "left has rows") < 0)) {
        return -1;
    }
    return core_terms_get(state, value[5], value[6], form->left.view.rows, self->loss.reduction,
                          &form->extras);
}

static void rows_release(row_form *form) {
    core_terms_release(&form->extras);
    core_vector_release(&form->weight);
    core_vector_release(&form->same);
    core_matrix_release(&form->right);
    core_matrix_release(&form->left);
}

PyObject *core_loss_rows(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *keywords) {
    core_loss_object *self = (core_loss_object *)object;
    core_state *state = self->state;
    PyObject *value[8] = {NULL}, *first = NULL, *second = NULL, *both = NULL, *answer = NULL;
    row_form form = {0};
    int wanted = 1, failed = 0;
    if (core_arguments(&rows_signature, args, nargs, keywords, value) < 0 ||
        core_flag(value[4], "gradient", &wanted) < 0 || rows_get(self, value, &form) < 0) {
        goto done;
    }
    nf_matrix_out left_out, right_out;
    first = core_new_gradient(state, wanted, &form.left, &left_out, &failed);
    if (!failed) second = core_new_gradient(state, wanted, &form.right, &right_out, &failed);
    if (failed) goto done;
    nf_loss_result result;
    core_call call;
    double work = core_loss_work((double)form.left.view.rows, form.left.view.cols);
    if (core_enter(&call, state, work) < 0) goto done;
    if (core_leave(&call, nf_loss_rows(call.context, &self->loss, form.left.view, form.right.view,
                                       form.same.data, form.weight.data, &form.extras.of_pairs,
                                       &result, left_out, right_out)) < 0) {
        goto done;
    }
    both = core_gradient_pair(wanted, &first, &form.left, &second, &form.right);
    if (both != NULL || !wanted) answer = core_loss_result(state, &result, both, form.extras.array);
done:
    Py_XDECREF(both);
    Py_XDECREF(second);
    Py_XDECREF(first);
    rows_release(&form);
    return answer;
}

/* ---- query x reference ---------------------------------------------------------------------- */

static const char *const reference_names[] = {"query",     "query_labels",
                                              "reference", "reference_labels",
                                              "query_ids", "reference_ids",
                                              "gradient",  "upstream",
                                              "terms",     NULL};
static const core_signature reference_signature = {"reference", 6, 4, reference_names};

static int ids_get(core_state *state, PyObject *const *value, core_sets *form) {
    if (core_given(value[4]) != core_given(value[5])) {
        PyErr_SetString(PyExc_TypeError, "query_ids and reference_ids go together: give both");
        return -1;
    }
    if (!core_given(value[4])) return 0;
    if (core_index_get(state, value[4], "query_ids", &form->query_ids) < 0 ||
        core_index_get(state, value[5], "reference_ids", &form->reference_ids) < 0 ||
        core_same_count(form->query_ids.count, "query_ids", form->query.view.rows,
                        "query has rows") < 0) {
        return -1;
    }
    return core_same_count(form->reference_ids.count, "reference_ids", form->reference.view.rows,
                           "reference has rows");
}

/* Names must be numbered together, or the first class of either side would be one class. */
static int both_labels_get(core_state *state, PyObject *const *value, core_sets *form) {
    if (core_labels_get(state, value[1], "query_labels", &form->query_labels) < 0 ||
        core_labels_get(state, value[3], "reference_labels", &form->reference_labels) < 0) {
        return -1;
    }
    if (form->query_labels.names == NULL && form->reference_labels.names == NULL) return 0;
    core_vector_release(&form->query_labels);
    core_vector_release(&form->reference_labels);
    memset(&form->query_labels, 0, sizeof form->query_labels);
    memset(&form->reference_labels, 0, sizeof form->reference_labels);
    PyObject *pair =
        PyObject_CallMethod(state->convert, "labels_together", "OO", value[1], value[3]);
    PyObject *first, *second;
    int failed = pair == NULL || !PyArg_ParseTuple(pair, "OO", &first, &second) ||
                 core_labels_get(state, first, "query_labels", &form->query_labels) < 0 ||
                 core_labels_get(state, second, "reference_labels", &form->reference_labels) < 0;
    Py_XDECREF(pair);
    return failed ? -1 : 0;
}

int core_sets_get(core_state *state, int has_unlabelled, int optional, PyObject *const *value,
                  core_sets *form) {
    const int labels = !optional || core_given(value[1]) || core_given(value[3]);
    if (optional && core_given(value[1]) != core_given(value[3])) {
        PyErr_SetString(PyExc_TypeError,
                        "query_labels and reference_labels go together: give both or neither");
        return -1;
    }
    if (core_matrix_get(state, value[0], "query", &form->query) < 0 ||
        core_matrix_get(state, value[2], "reference", &form->reference) < 0 ||
        core_matrix_match(state, &form->query, value[0], "query", &form->reference, value[2],
                          "reference") < 0 ||
        (labels && both_labels_get(state, value, form) < 0) || ids_get(state, value, form) < 0) {
        return -1;
    }
    form->sets = (nf_loss_sets){
        .query = form->query.view,
        .reference = form->reference.view,
        .query_labels = {form->query_labels.data, form->query_labels.count, has_unlabelled},
        .reference_labels = {form->reference_labels.data, form->reference_labels.count,
                             has_unlabelled},
        .query_ids = form->query_ids.data,
        .reference_ids = form->reference_ids.data};
    return 0;
}

void core_sets_release(core_sets *form) {
    core_vector_release(&form->reference_ids);
    core_vector_release(&form->query_ids);
    core_vector_release(&form->reference_labels);
    core_vector_release(&form->query_labels);
    core_matrix_release(&form->reference);
    core_matrix_release(&form->query);
}

static nf_status reference_run(core_call *call, const nf_loss *loss, const core_sets *form,
                               const core_terms *terms, nf_loss_result *result, nf_matrix_out query,
                               nf_matrix_out reference) {
    if (terms->array == NULL && terms->of_rows.upstream == NULL) {
        return nf_loss_reference(call->context, loss, &form->sets, result, query, reference);
    }
    return nf_loss_anchors_reference(call->context, loss, &form->sets, &terms->of_rows, result,
                                     query, reference);
}

PyObject *core_loss_reference(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *keywords) {
    core_loss_object *self = (core_loss_object *)object;
    core_state *state = self->state;
    PyObject *value[9] = {NULL}, *first = NULL, *second = NULL, *both = NULL, *answer = NULL;
    core_sets form = {0};
    core_terms extras = {0};
    int wanted = 1, failed = 0;
    if (core_arguments(&reference_signature, args, nargs, keywords, value) < 0 ||
        core_flag(value[6], "gradient", &wanted) < 0 ||
        core_sets_get(state, self->has_unlabelled, 0, value, &form) < 0 ||
        core_terms_get(state, value[7], value[8], form.query.view.rows, self->loss.reduction,
                       &extras) < 0) {
        goto done;
    }
    nf_matrix_out query_out, reference_out;
    first = core_new_gradient(state, wanted, &form.query, &query_out, &failed);
    if (!failed)
        second = core_new_gradient(state, wanted, &form.reference, &reference_out, &failed);
    if (failed) goto done;
    nf_loss_result result;
    core_call call;
    double pairs = (double)form.query.view.rows * (double)form.reference.view.rows;
    if (core_enter(&call, state, core_loss_work(pairs, form.query.view.cols)) < 0) goto done;
    if (core_leave(&call, reference_run(&call, &self->loss, &form, &extras, &result, query_out,
                                        reference_out)) < 0) {
        goto done;
    }
    both = core_gradient_pair(wanted, &first, &form.query, &second, &form.reference);
    if (both != NULL || !wanted) answer = core_loss_result(state, &result, both, extras.array);
done:
    Py_XDECREF(both);
    Py_XDECREF(second);
    Py_XDECREF(first);
    core_terms_release(&extras);
    core_sets_release(&form);
    return answer;
}
