#include "loss/arguments.h"

#include <float.h>

#include "kernel/kernel.h"

static bool all_finite(const nf_context *context, nf_matrix x) {
    const nf_kernels *kernels = nf_kernels_get(context, x.type);
    const double most = x.type == NF_FLOAT32 ? FLT_MAX : DBL_MAX;
    if (x.ld == x.cols) return !kernels->outside(x.data, x.rows * x.cols, -most, most);
    for (size_t r = 0; r < x.rows; r++) {
        if (kernels->outside(nf_matrix_row(x, r), x.cols, -most, most)) return false;
    }
    return true;
}

nf_status nf_check_features(nf_context *context, nf_matrix x, const char *name) {
    nf_status status = nf_check_matrix(context, x, name);
    if (status != NF_OK || all_finite(context, x)) return status;
    return nf_check_finite(context, x, name);
}

nf_status nf_check_gradient(nf_context *context, nf_matrix_out gradient, const char *name,
                            nf_matrix x, const char *x_name) {
    if (gradient.data == NULL) return NF_OK;
    nf_status status = nf_check_out(context, gradient, name, x.rows, x.cols, x.type);
    return status == NF_OK ? nf_check_overlap(context, gradient, name, x, x_name) : status;
}

static nf_matrix as_input(nf_matrix_out out) {
    return (nf_matrix){out.data, out.type, out.rows, out.cols, out.ld};
}

nf_status nf_check_gradients(nf_context *context, const nf_matrix_out gradient[2],
                             const char *const name[2], const nf_matrix x[2],
                             const char *const x_name[2]) {
    nf_status status = NF_OK;
    for (int s = 0; s < 2 && status == NF_OK; s++) {
        status = nf_check_gradient(context, gradient[s], name[s], x[s], x_name[s]);
        if (status == NF_OK) {
            status = nf_check_overlap(context, gradient[s], name[s], x[1 - s], x_name[1 - s]);
        }
    }
    if (status != NF_OK) return status;
    return nf_check_overlap(context, gradient[1], name[1], as_input(gradient[0]), name[0]);
}

nf_status nf_check_terms(nf_context *context, double *terms, size_t count,
                         const nf_matrix_out gradient[2], const char *const name[2],
                         const nf_matrix x[2], const char *const x_name[2]) {
    nf_matrix_out view = {terms, NF_FLOAT64, 1, count, count};
    nf_status status = NF_OK;
    for (int s = 0; s < 2 && status == NF_OK; s++) {
        status = nf_check_overlap(context, view, "terms", x[s], x_name[s]);
        if (status == NF_OK) {
            status = nf_check_overlap(context, view, "terms", as_input(gradient[s]), name[s]);
        }
    }
    return status;
}

nf_status nf_check_labels(nf_context *context, nf_labels labels, const char *name, size_t rows,
                          const char *x_name) {
    if (labels.n != rows) {
        return nf_fail(context, NF_ERR_ARG,
                       "%s has %zu entries and %s has %zu rows: they must agree", name, labels.n,
                       x_name, rows);
    }
    if (labels.data == NULL && rows > 0) {
        return nf_fail(context, NF_ERR_ARG, "%s is NULL: it must hold %zu labels", name, rows);
    }
    return NF_OK;
}

nf_status nf_check_result(nf_context *context, const nf_loss_result *result) {
    if (result != NULL) return NF_OK;
    return nf_fail(context, NF_ERR_ARG, "result is NULL: pass an nf_loss_result to fill");
}
