#include "loss/gradient.h"

#include <float.h>
#include <math.h>

void nf_gradient_through_unit(const nf_rows *rows, size_t r, double *gradient, double *u) {
    const size_t d = rows->x.cols;
    if (nf_rows_is_zero(rows, r)) {
        for (size_t k = 0; k < d; k++) gradient[k] = 0;
        return;
    }
    nf_rows_copy(rows, r, 1, NF_FLOAT64, u, d);
    double radial = 0;
    for (size_t k = 0; k < d; k++) radial += u[k] * gradient[k];
    size_t source = nf_rows_source(rows, r);
    const double inverse = rows->inverse[source], scale = rows->scale[source];
    for (size_t k = 0; k < d; k++) {
        gradient[k] = ((gradient[k] - u[k] * radial) * inverse) * scale;
    }
}

bool nf_gradient_fits(nf_type type, const double *gradient, size_t d) {
    int misfit = 0;
    if (type == NF_FLOAT32) {
        for (size_t k = 0; k < d; k++) misfit |= !(fabsf((float)gradient[k]) <= FLT_MAX);
    } else {
        for (size_t k = 0; k < d; k++) misfit |= !(fabs(gradient[k]) <= DBL_MAX);
    }
    return misfit == 0;
}

void nf_gradient_store(nf_matrix_out out, size_t row, const double *gradient) {
    if (out.type == NF_FLOAT32) {
        float *to = nf_matrix_out_row(out, row);
        for (size_t k = 0; k < out.cols; k++) to[k] = (float)gradient[k];
    } else {
        double *to = nf_matrix_out_row(out, row);
        for (size_t k = 0; k < out.cols; k++) to[k] = gradient[k];
    }
}

nf_status nf_gradient_range_error(nf_context *context, const char *name, nf_type type, size_t row) {
    return nf_fail(context, NF_ERR_RANGE,
                   "%s of row %zu exceeds %s: scale the data or the loss down%s", name, row,
                   type == NF_FLOAT32 ? "float32" : "float64",
                   type == NF_FLOAT32 ? ", or pass float64" : "");
}
