/* What a loss gives back. */
#include <string.h>

#include "core.h"
#include "loss.h"

/* ---- terms ---------------------------------------------------------------------------------- */

static int get_upstream(core_state *state, PyObject *object, size_t count, nf_reduction reduction,
                        core_terms *terms) {
    if (!core_given(object)) return 0;
    if (core_weight_get(state, object, "upstream", &terms->upstream) < 0) return -1;
    const int none = reduction == NF_REDUCE_NONE;
    terms->of_pairs.upstream = terms->of_rows.upstream = terms->upstream.data;
    return core_same_count(terms->upstream.count, "upstream", none ? count : 1,
                           none ? "there are terms" : "one number per loss");
}

int core_terms_get(core_state *state, PyObject *upstream, PyObject *wanted, size_t count,
                   nf_reduction reduction, core_terms *terms) {
    int given = 0;
    if (core_flag(wanted, "terms", &given) < 0) return -1;
    given |= reduction == NF_REDUCE_NONE;
    if (get_upstream(state, upstream, count, reduction, terms) < 0) return -1;
    if (!given) return 0;
    void *data;
    terms->array = core_new_vector(state, count, state->float64, &data);
    terms->of_pairs.terms = terms->of_rows.terms = data;
    return terms->array != NULL ? 0 : -1;
}

void core_terms_release(core_terms *terms) {
    core_vector_release(&terms->upstream);
    Py_CLEAR(terms->array);
}

/* ---- results -------------------------------------------------------------------------------- */

static PyObject *counts_of(core_state *state, const nf_loss_result *r) {
    PyObject *counts = PyStructSequence_New(state->loss_counts);
    if (counts == NULL) return NULL;
    if (core_set(counts, 0, PyLong_FromUnsignedLongLong(r->positive_pairs)) < 0 ||
        core_set(counts, 1, PyLong_FromUnsignedLongLong(r->negative_pairs)) < 0 ||
        core_set(counts, 2, PyLong_FromUnsignedLongLong(r->active_negative)) < 0 ||
        core_set(counts, 3, PyLong_FromUnsignedLongLong(r->coincident_negatives)) < 0 ||
        core_set(counts, 4, PyLong_FromUnsignedLongLong(r->zero_rows)) < 0 ||
        core_set(counts, 8, PyLong_FromUnsignedLongLong(r->terms)) < 0 ||
        core_set(counts, 9, PyLong_FromUnsignedLongLong(r->active_terms)) < 0) {
        Py_DECREF(counts);
        return NULL;
    }
    PyObject *extra[3] = {NULL, NULL, NULL};
    if (r->has_stats) {
        extra[0] = PyLong_FromUnsignedLongLong(r->active_positive);
        extra[1] = PyFloat_FromDouble(r->mean_positive_distance);
        extra[2] = PyFloat_FromDouble(r->mean_negative_distance);
    }
    for (int k = 0; k < 3; k++) {
        if (!r->has_stats) {
            Py_INCREF(Py_None);
            extra[k] = Py_None;
        }
        if (core_set(counts, 5 + k, extra[k]) < 0) {
            while (++k < 3) Py_XDECREF(extra[k]);
            Py_DECREF(counts);
            return NULL;
        }
    }
    return counts;
}

static PyObject *new_or_none(PyObject *value) {
    PyObject *chosen = value != NULL ? value : Py_None;
    Py_INCREF(chosen);
    return chosen;
}

PyObject *core_loss_result(core_state *state, const nf_loss_result *r, PyObject *gradient,
                           PyObject *terms) {
    PyObject *result = PyStructSequence_New(state->loss_result);
    if (result == NULL) return NULL;
    if (core_set(result, 0, PyFloat_FromDouble(r->value)) < 0 ||
        core_set(result, 1, new_or_none(gradient)) < 0 ||
        core_set(result, 2, counts_of(state, r)) < 0 ||
        core_set(result, 3, new_or_none(terms)) < 0) {
        Py_CLEAR(result);
    }
    return result;
}

/* ---- gradients ------------------------------------------------------------------------------ */

PyObject *core_new_gradient(core_state *state, int wanted, const core_matrix *x, nf_matrix_out *out,
                            int *failed) {
    memset(out, 0, sizeof *out);
    if (!wanted) return NULL;
    *out = (nf_matrix_out){NULL, x->view.type, x->view.rows, x->view.cols, x->view.cols};
    PyObject *array = core_new_matrix(state, out->rows, out->cols, out->type, &out->data);
    if (array == NULL) *failed = 1;
    return array;
}

PyObject *core_gradient_pair(int wanted, PyObject **first, const core_matrix *a, PyObject **second,
                             const core_matrix *b) {
    if (!wanted) return NULL;
    *first = core_as_type(*first, a->dtype);
    *second = core_as_type(*second, b->dtype);
    if (*first == NULL || *second == NULL) return NULL;
    return PyTuple_Pack(2, *first, *second);
}
