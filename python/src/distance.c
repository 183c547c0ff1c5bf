/* Distances and exact nearest neighbours. */
#include "core.h"

/* value[4] as metric, normalize, precise, allow_nonfinite, and of all pairs [5] with fast. */
static int get_options(PyObject *const *value, bool all_pairs, nf_distance_options *options) {
    *options = nf_distance_defaults();
    if (core_metric(value[0], "metric", &options->metric) < 0 ||
        core_flag(value[1], "normalize", &options->normalize) < 0 ||
        core_flag(value[2], "precise", &options->precise) < 0 ||
        (all_pairs && core_flag(value[4], "fast", &options->fast) < 0)) {
        return -1;
    }
    return core_flag(value[3], "allow_nonfinite", &options->allow_nonfinite);
}

/* x and, if given, y in one type; without y the second view is x itself, so that the engine sees
 * the distances of one set. */
static int get_both(core_state *state, PyObject *x_object, const char *x_name, PyObject *y_object,
                    const char *y_name, core_matrix *x, core_matrix *y) {
    if (core_matrix_get(state, x_object, x_name, x) < 0) return -1;
    if (!core_given(y_object) || y_object == x_object) {
        y->view = x->view;
        return 0;
    }
    if (core_matrix_get(state, y_object, y_name, y) < 0) return -1;
    return core_matrix_match(state, x, x_object, x_name, y, y_object, y_name);
}

/* ---- full ----------------------------------------------------------------------------------- */

const char core_doc_pairwise_distances[] =
    "pairwise_distances(x, y=None, metric='euclidean', *, normalize=False, precise=False,\n"
    "                   allow_nonfinite=False, fast=False)\n"
    "--\n\n"
    "Distances of every row of x (n, d) to every row of y (m, d), as an (n, m) array.\n\n"
    "    euclidean    sqrt(sum_k (a_k - b_k)^2)\n"
    "    sqeuclidean  sum_k (a_k - b_k)^2\n"
    "    cosine       |a/|a| - b/|b||^2 / 2 = 1 - cos(a, b)\n"
    "    dot          -sum_k a_k b_k\n"
    "    cityblock    sum_k |a_k - b_k|\n\n"
    "All come from differences, not from |a|^2 - 2ab + |b|^2, so near points do not cancel:\n"
    "euclidean, sqeuclidean and cityblock are right to (d + 2) ulp, d(x, x) is exactly 0, and the\n"
    "result is symmetric bit for bit. With cosine a zero row is at distance 1 from every other.\n\n"
    "y None: the distances of x with itself.\n"
    "normalize: divide the rows by their length first; a zero row stays zero.\n"
    "precise: accumulate in float64; float32 results are then right to 0.51 ulp.\n"
    "allow_nonfinite: let NaN and Inf through instead of raising ValueError.\n"
    "fast: euclidean, sqeuclidean and cosine from |a|^2 + |b|^2 - 2ab, pairs for which that would\n"
    "    cancel from differences; squared distances are right to 40 (d + 2) 2^-24 in float32 "
    "(2^-53\n"
    "    in float64), the rest above still holds. Never taken unless asked for.\n\n"
    "The result is float32 for float32 input and float64 for float64; a mixed pair is float64.";

static const char *const full_names[] = {
    "x", "y", "metric", "normalize", "precise", "allow_nonfinite", "fast", NULL};
static const core_signature full_signature = {"pairwise_distances", 3, 1, full_names};

CORE_FUNCTION(core_pairwise_distances) {
    core_state *state = PyModule_GetState(module);
    PyObject *value[7] = {NULL}, *out = NULL, *answer = NULL;
    core_matrix x = {0}, y = {0};
    nf_distance_options options;
    if (core_arguments(&full_signature, args, nargs, keywords, value) < 0 ||
        get_options(value + 2, true, &options) < 0 ||
        get_both(state, value[0], "x", value[1], "y", &x, &y) < 0) {
        goto done;
    }
    nf_matrix_out view = {NULL, x.view.type, x.view.rows, y.view.rows, y.view.rows};
    out = core_new_matrix(state, view.rows, view.cols, view.type, &view.data);
    if (out == NULL) goto done;
    core_call call;
    double work = 3 * (double)x.view.rows * (double)y.view.rows * (double)(x.view.cols + 4);
    if (core_enter(&call, state, work) < 0) goto done;
    if (core_leave(&call, nf_distances_full(call.context, &options, x.view, y.view, view)) == 0) {
        Py_INCREF(out);
        answer = out;
    }
done:
    Py_XDECREF(out);
    core_matrix_release(&y);
    core_matrix_release(&x);
    return answer;
}

/* ---- condensed ------------------------------------------------------------------------------ */

const char core_doc_pdist[] =
    "pdist(x, metric='euclidean', *, normalize=False, precise=False, allow_nonfinite=False,\n"
    "      fast=False)\n"
    "--\n\n"
    "Distances of the n (n - 1) / 2 pairs i < j of rows of x (n, d), in the order (0, 1), (0, 2),\n"
    ".. (n - 2, n - 1) of scipy.spatial.distance.pdist. Options as pairwise_distances.";

static const char *const pdist_names[] = {
    "x", "metric", "normalize", "precise", "allow_nonfinite", "fast", NULL};
static const core_signature pdist_signature = {"pdist", 2, 1, pdist_names};

CORE_FUNCTION(core_pdist) {
    core_state *state = PyModule_GetState(module);
    PyObject *value[6] = {NULL}, *out = NULL, *answer = NULL;
    core_matrix x = {0};
    nf_distance_options options;
    if (core_arguments(&pdist_signature, args, nargs, keywords, value) < 0 ||
        get_options(value + 1, true, &options) < 0 ||
        core_matrix_get(state, value[0], "x", &x) < 0) {
        goto done;
    }
    size_t n = x.view.rows, pairs;
    void *data;
    if (n > UINT32_MAX) {
        PyErr_Format(PyExc_ValueError, "x has %zu rows: pdist takes at most 2**32 - 1", n);
        goto done;
    }
    pairs = n < 2 ? 0 : n % 2 == 0 ? n / 2 * (n - 1) : (n - 1) / 2 * n;
    out = core_new_floats(state, pairs, x.view.type, &data);
    if (out == NULL) goto done;
    core_call call;
    if (core_enter(&call, state, 3 * (double)pairs * (double)(x.view.cols + 4)) < 0) goto done;
    if (core_leave(&call, nf_distances_condensed(call.context, &options, x.view, data)) == 0) {
        Py_INCREF(out);
        answer = out;
    }
done:
    Py_XDECREF(out);
    core_matrix_release(&x);
    return answer;
}

/* ---- pair lists ----------------------------------------------------------------------------- */

const char core_doc_pair_distances[] =
    "pair_distances(x, i, j, y=None, metric='euclidean', *, normalize=False, precise=False,\n"
    "               allow_nonfinite=False)\n"
    "--\n\n"
    "Distances of chosen pairs only: result[p] = d(x[i[p]], y[j[p]]), shape (p).\n\n"
    "x (n, d); i, j (p) whole row numbers; y (m, d), or None for x. No n x n matrix is made.\n"
    "Options as pairwise_distances; listed pairs are computed directly, so there is no fast.";

static const char *const list_names[] = {
    "x", "i", "j", "y", "metric", "normalize", "precise", "allow_nonfinite", NULL};
static const core_signature list_signature = {"pair_distances", 5, 3, list_names};

CORE_FUNCTION(core_pair_distances) {
    core_state *state = PyModule_GetState(module);
    PyObject *value[8] = {NULL}, *out = NULL, *answer = NULL;
    core_matrix x = {0}, y = {0};
    core_vector i = {0}, j = {0};
    nf_distance_options options;
    if (core_arguments(&list_signature, args, nargs, keywords, value) < 0 ||
        get_options(value + 4, false, &options) < 0 ||
        get_both(state, value[0], "x", value[3], "y", &x, &y) < 0 ||
        core_index_get(state, value[1], "i", &i) < 0 ||
        core_index_get(state, value[2], "j", &j) < 0 ||
        core_same_count(j.count, "j", i.count, "i") < 0) {
        goto done;
    }
    void *data;
    out = core_new_floats(state, i.count, x.view.type, &data);
    if (out == NULL) goto done;
    core_call call;
    if (core_enter(&call, state, 3 * (double)i.count * (double)(x.view.cols + 4)) < 0) goto done;
    if (core_leave(&call, nf_distances_pairs(call.context, &options, x.view, y.view, i.data, j.data,
                                             i.count, data)) == 0) {
        Py_INCREF(out);
        answer = out;
    }
done:
    Py_XDECREF(out);
    core_vector_release(&j);
    core_vector_release(&i);
    core_matrix_release(&y);
    core_matrix_release(&x);
    return answer;
}

/* ---- neighbours ----------------------------------------------------------------------------- */

const char core_doc_knn[] =
    "knn(query, reference=None, k=1, metric='euclidean', *, exclude_self=None, normalize=False,\n"
    "    precise=False, allow_nonfinite=False, fast=False)\n"
    "--\n\n"
    "Exact k nearest rows of reference (m, d) for each row of query (n, d), nearest first, ties "
    "by\n"
    "smaller index.\n\n"
    "reference None: neighbours within query, without the row itself (exclude_self=True).\n"
    "Returns (index, distance): (n, k) int64 and (n, k) in the type of query. Memory\n"
    "O(threads * block), never n x m. Options as pairwise_distances.";

static const char *const knn_names[] = {
    "query",   "reference",       "k",    "metric",       "normalize",
    "precise", "allow_nonfinite", "fast", "exclude_self", NULL};
static const core_signature knn_signature = {"knn", 4, 1, knn_names};

CORE_FUNCTION(core_knn) {
    core_state *state = PyModule_GetState(module);
    PyObject *value[9] = {NULL}, *index = NULL, *distance = NULL, *answer = NULL;
    core_matrix x = {0}, y = {0};
    nf_distance_options options;
    size_t k = 1;
    if (core_arguments(&knn_signature, args, nargs, keywords, value) < 0 ||
        get_options(value + 3, true, &options) < 0 || core_size(value[2], "k", &k) < 0) {
        return NULL;
    }
    int exclude_self = !core_given(value[1]);
    if ((core_given(value[8]) && core_flag(value[8], "exclude_self", &exclude_self) < 0) ||
        get_both(state, value[0], "query", value[1], "reference", &x, &y) < 0) {
        goto done;
    }
    if (k < 1 || k > y.view.rows) { /* before asking for n x k numbers */
        PyErr_Format(PyExc_ValueError, "k is %zu: it must be from 1 to the %zu rows of reference",
                     k, y.view.rows);
        goto done;
    }
    void *index_data, *distance_data;
    index = core_index_matrix(state, x.view.rows, k, &index_data);
    if (index == NULL) goto done;
    distance = core_new_matrix(state, x.view.rows, k, x.view.type, &distance_data);
    if (distance == NULL) goto done;
    core_call call;
    double work = 3 * (double)x.view.rows * (double)y.view.rows * (double)(x.view.cols + 4);
    if (core_enter(&call, state, work) < 0) goto done;
    if (core_leave(&call, nf_knn(call.context, &options, x.view, y.view, k, exclude_self,
                                 index_data, distance_data)) == 0) {
        answer = PyTuple_Pack(2, index, distance);
    }
done:
    Py_XDECREF(distance);
    Py_XDECREF(index);
    core_matrix_release(&y);
    core_matrix_release(&x);
    return answer;
}
