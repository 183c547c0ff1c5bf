#include "loss/arguments.h"

nf_status nf_check_features(nf_context *context, nf_matrix x, const char *name) {
    nf_status status = nf_check_matrix(context, x, name);
    return status == NF_OK ? nf_check_finite(context, x, name) : status;
}

nf_status nf_check_gradient(nf_context *context, nf_matrix_out gradient, const char *name,
                            nf_matrix x, const char *x_name) {
    if (gradient.data == NULL) return NF_OK;
    nf_status status = nf_check_out(context, gradient, name, x.rows, x.cols, x.type);
    return status == NF_OK ? nf_check_overlap(context, gradient, name, x, x_name) : status;
}

nf_status nf_check_labels(nf_context *context, nf_labels labels, const char *name, size_t rows,
                          const char *x_name) {
    if (labels.n != rows) {
        return nf_fail(context, NF_ERR_ARG, "%s has %zu entries and %s has %zu rows: they must agree",
                       name, labels.n, x_name, rows);
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
