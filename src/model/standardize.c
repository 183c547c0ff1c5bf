/* Input standardisation.
 *
 *   mean_k = (1/n) sum_i x_ik          v_k = (1/n) sum_i (x_ik - mean_k)^2
 *   std_k  = a sqrt(v_k + v*)
 *
 * with v* the median of the variances of columns that are not constant, and a such that the
 * standardised ones have variance 1 on average. v* keeps a nearly constant column (the border of an
 * image, a rare flag) from being blown up into noise as loud as the informative ones; as it is
 * relative, x and c x standardise to the same numbers. Without a varying column std is 1. */
#include <math.h>

#include "base/sort.h"
#include "model/model.h"

/* Element of the virtual stack of the chosen rows of x, then all rows of y. */
static double element(nf_matrix x, const nf_matrix *y, const size_t *index, size_t n, size_t r,
                      size_t c) {
    if (r < n) return nf_matrix_get(x, index != NULL ? index[r] : r, c);
    return nf_matrix_get(*y, r - n, c);
}

/* Means are taken relative to the first row: a constant column has exactly its value as mean and
 * variance 0, and a far origin costs no digits. Row by row, so that memory is read in order. */
static void column_moments(nf_matrix x, const nf_matrix *y, const size_t *index, size_t n,
                           double *mean, double *variance) {
    size_t rows = n + (y != NULL ? y->rows : 0), d = x.cols;
    double scale = 1 / (double)rows;
    for (size_t c = 0; c < d; c++) mean[c] = variance[c] = 0;
    for (size_t r = 1; r < rows; r++) {
        for (size_t c = 0; c < d; c++) {
            double first = element(x, y, index, n, 0, c);
            mean[c] += scale * (element(x, y, index, n, r, c) - first);
        }
    }
    for (size_t c = 0; c < d; c++) mean[c] += element(x, y, index, n, 0, c);
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < d; c++) {
            double v = element(x, y, index, n, r, c) - mean[c];
            variance[c] += scale * (v * v);
        }
    }
}

/* In place: variances to deviations; `sorted` is working space. */
static void deviations(double *std, double *sorted, size_t d) {
    size_t varying = 0;
    for (size_t c = 0; c < d; c++) {
        if (std[c] > 0) sorted[varying++] = std[c];
    }
    nf_sort_doubles(sorted, varying);
    double median = varying > 0 ? sorted[(varying - 1) / 2] : 0, total = 0;
    for (size_t c = 0; c < d; c++) {
        double variance = std[c];
        std[c] = varying > 0 ? sqrt(variance + median) : 1;
        total += variance / std[c] / std[c];
    }
    double scale = varying > 0 ? sqrt(total / (double)varying) : 1;
    for (size_t c = 0; c < d; c++) std[c] *= scale;
}

nf_status nf_standardization_fit(nf_context *context, nf_matrix x, const nf_matrix *y,
                                 const size_t *index, size_t n, double *mean, double *std) {
    size_t d = x.cols;
    double *sorted = NULL;
    nf_status status = nf_scratch(context, &sorted, d, sizeof(double), "column variances");
    if (status != NF_OK) return status;
    if (n == 0) {
        for (size_t c = 0; c < d; c++) mean[c] = 0, std[c] = 1;
        return NF_OK;
    }
    column_moments(x, y, index, n, mean, std);
    for (size_t c = 0; c < d; c++) {
        if (isfinite(std[c]) && isfinite(mean[c])) continue;
        return nf_fail(context, NF_ERR_RANGE,
                       "column %zu has a variance beyond double: divide the data by a constant", c);
    }
    deviations(std, sorted, d);
    return NF_OK;
}

nf_status nf_model_fit_standardization(nf_context *context, nf_model *model, nf_matrix x) {
    nf_scope scope = nf_scope_enter(context);
    double *mean = NULL, *std = NULL;
    size_t d = model->options.inputs;
    nf_status status = nf_check_matrix(context, x, "x");
    if (status == NF_OK && !model->options.standardize) {
        status = nf_fail(context, NF_ERR_ARG,
                         "the model was made with standardize = 0: it has no mean and std to set");
    }
    if (status == NF_OK && x.cols != d) {
        status = nf_fail(context, NF_ERR_ARG, "x has %zu columns: the model takes %zu", x.cols, d);
    }
    if (status == NF_OK) status = nf_check_finite(context, x, "x");
    if (status == NF_OK) status = nf_scratch(context, &mean, d, sizeof(double), "column means");
    if (status == NF_OK) status = nf_scratch(context, &std, d, sizeof(double), "deviations");
    if (status == NF_OK) {
        status = nf_standardization_fit(context, x, NULL, NULL, x.rows, mean, std);
    }
    if (status == NF_OK) {
        for (size_t c = 0; c < d; c++) model->mean[c] = mean[c], model->std[c] = std[c];
        model->fitted = true;
    }
    return nf_scope_leave(context, scope, status);
}
