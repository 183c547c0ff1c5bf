/* What the forms of the loss share. */
#ifndef NEARFAR_PYTHON_LOSS_H
#define NEARFAR_PYTHON_LOSS_H

#include "core.h"

/* LossResult(value, grad, counts, terms); gradient and terms borrowed, NULL for None. */
PyObject *core_loss_result(core_state *state, const nf_loss_result *result, PyObject *gradient,
                           PyObject *terms);
/* A new array for the gradient of x, or nothing if it is not wanted. */
PyObject *core_new_gradient(core_state *state, int wanted, const core_matrix *x, nf_matrix_out *out,
                            int *failed);
/* (gradient of a, gradient of b) in the types that were given; NULL if not wanted. */
PyObject *core_gradient_pair(int wanted, PyObject **first, const core_matrix *a, PyObject **second,
                             const core_matrix *b);

/* Terms to write and the upstream gradient to read, of pairs or of rows. */
typedef struct core_terms {
    nf_pair_terms of_pairs;
    nf_row_terms of_rows;
    PyObject *array;
    core_vector upstream;
} core_terms;

/* For `count` pairs or rows; terms are also wanted with reduction none. */
int core_terms_get(core_state *state, PyObject *upstream, PyObject *wanted, size_t count,
                   nf_reduction reduction, core_terms *terms);
void core_terms_release(core_terms *terms);

/* Operations of so many pairs, roughly. */
static inline double core_loss_work(double pairs, size_t d) { return 6 * pairs * (double)(d + 8); }

/* Query x reference: value[] is query, query_labels, reference, reference_labels, query_ids,
 * reference_ids; released also after a failure. Labels may be missing where `optional`. */
typedef struct core_sets {
    core_matrix query, reference;
    core_vector query_labels, reference_labels, query_ids, reference_ids;
    nf_loss_sets sets;
} core_sets;

int core_sets_get(core_state *state, int has_unlabelled, int optional, PyObject *const *value,
                  core_sets *form);
void core_sets_release(core_sets *form);

/* What targets hold but labels: value[] is offsets, set_labels, soft, row_weight, pair_weight, groups
 * of n rows, of which `whose` tells as "x has rows". Zeroed first, released also after a failure. */
typedef struct core_targets {
    core_matrix soft, pair_weight;
    core_vector row_weight, groups;
    core_label_sets sets;
    nf_targets targets;
} core_targets;

int core_targets_get(core_state *state, PyObject *const *value, size_t n, const char *whose,
                     core_targets *form);
void core_targets_release(core_targets *form);

PyObject *core_loss_pairs(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *keywords);
PyObject *core_loss_rows(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *keywords);
PyObject *core_loss_reference(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *keywords);
PyObject *core_loss_targets(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *keywords);
PyObject *core_loss_reference_targets(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                                      PyObject *keywords);
PyObject *core_loss_with_beta(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *keywords);

#endif
