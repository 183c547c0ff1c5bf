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

#include "base/pool.h"
#include "base/sort.h"
#include "kernel/training.h"
#include "model/model.h"

#define NF_MOMENT_COLUMNS 1024 /* columns of a task */

/* The virtual stack of the chosen rows of x, then all rows of y. */
typedef struct stack {
    const nf_training_kernels *kernels;
    nf_matrix x, y;
    const size_t *index;
    size_t n, rows;
    double *origin, *mean, *variance;
} stack;

static void add_row(const stack *s, double *sum, size_t r, int power, const double *origin,
                    size_t first, size_t count) {
    bool in_x = r < s->n;
    nf_matrix from = in_x ? s->x : s->y;
    size_t own = !in_x ? r - s->n : s->index != NULL ? s->index[r] : r;
    const unsigned char *row = nf_matrix_row(from, own);
    s->kernels->add_moment[from.type][power - 1](sum + first, row + first * nf_type_size(from.type),
                                                 origin + first, 1 / (double)s->rows, count);
}

/* Means are taken relative to the first row: a constant column has exactly its value as mean and
 * variance 0, and a far origin costs no digits. Row by row, so that memory is read in order. */
static void moments_task(void *argument, size_t task, int worker) {
    (void)worker;
    const stack *s = argument;
    size_t first = task * NF_MOMENT_COLUMNS,
           end = nf_min_size(s->x.cols, first + NF_MOMENT_COLUMNS);
    for (size_t r = 1; r < s->rows; r++) add_row(s, s->mean, r, 1, s->origin, first, end - first);
    for (size_t c = first; c < end; c++) s->mean[c] += s->origin[c];
    for (size_t r = 0; r < s->rows; r++) add_row(s, s->variance, r, 2, s->mean, first, end - first);
}

static nf_status column_moments(nf_context *context, stack *s) {
    size_t d = s->x.cols, row = s->index != NULL ? s->index[0] : 0;
    for (size_t c = 0; c < d; c++) {
        s->origin[c] = nf_matrix_get(s->x, row, c);
        s->mean[c] = s->variance[c] = 0;
    }
    size_t tasks = (d + NF_MOMENT_COLUMNS - 1) / NF_MOMENT_COLUMNS;
    bool wake = 5 * (double)s->rows * (double)d > NF_WAKE_FLOPS;
    return nf_parallel(context, tasks, wake, 0, moments_task, s);
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
    double *work = NULL;
    nf_status status = nf_scratch(context, &work, d, sizeof(double), "column variances");
    if (status != NF_OK) return status;
    if (n == 0) {
        for (size_t c = 0; c < d; c++) mean[c] = 0, std[c] = 1;
        return NF_OK;
    }
    stack s = {.kernels = nf_training_kernels_get(context),
               .x = x,
               .index = index,
               .n = n,
               .rows = n,
               .origin = work,
               .mean = mean,
               .variance = std};
    if (y != NULL) s.y = *y, s.rows += y->rows;
    status = column_moments(context, &s);
    if (status != NF_OK) return status;
    for (size_t c = 0; c < d; c++) {
        if (isfinite(std[c]) && isfinite(mean[c])) continue;
        return nf_fail(context, NF_ERR_RANGE,
                       "column %zu has a variance beyond double: divide the data by a constant", c);
    }
    deviations(std, work, d);
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
