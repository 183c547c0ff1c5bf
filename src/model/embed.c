/* Rows through the model, block by block. */
#include "base/pool.h"
#include "kernel/kernel.h"
#include "kernel/training.h"
#include "model/model.h"

#include <math.h>
#include <string.h>

nf_status nf_activations_scratch(nf_context *context, const nf_model *model, size_t capacity,
                                 bool backward, nf_activations *a) {
    *a = (nf_activations){.capacity = capacity};
    size_t widest = 0, size;
    nf_status status = NF_OK;
    for (size_t l = 0; status == NF_OK && l <= model->layers; l++) {
        if (nf_mul_overflows(capacity, model->width[l], &size)) size = SIZE_MAX;
        status = nf_scratch(context, &a->h[l], size, sizeof(float), "layer activations");
        if (l > 0) widest = nf_max_size(widest, model->width[l]);
    }
    if (nf_mul_overflows(capacity, model->options.outputs, &size)) size = SIZE_MAX;
    a->y = a->h[model->layers];
    if (status == NF_OK && model->options.normalize) {
        status = nf_scratch(context, &a->y, size, sizeof(float), "embedding");
    }
    if (nf_mul_overflows(capacity, widest, &size)) size = SIZE_MAX;
    for (size_t g = 0; status == NF_OK && backward && g < 2; g++) {
        status = nf_scratch(context, &a->gradient[g], size, sizeof(float), "layer gradients");
    }
    return status;
}

typedef struct gather_job {
    const nf_training_kernels *kernels;
    nf_matrix x;
    const size_t *index;
    const double *mean, *std;
    size_t n;
    float *h;
} gather_job;

#define NF_GATHER_ROWS 32

static void copy_row(float *out, nf_matrix x, size_t r) {
    if (x.type == NF_FLOAT32) {
        memcpy(out, nf_matrix_row(x, r), x.cols * sizeof(float));
    } else {
        for (size_t c = 0; c < x.cols; c++) out[c] = (float)nf_matrix_get(x, r, c);
    }
}

/* Rows chosen at random come from anywhere in memory: ask for the next one early. */
static void prefetch_row(nf_matrix x, size_t r) {
    const char *row = nf_matrix_row(x, r);
    size_t bytes = x.cols * nf_type_size(x.type);
    for (size_t at = 0; at < bytes; at += NF_LINE) __builtin_prefetch(row + at);
}

static void gather_task(void *argument, size_t task, int worker) {
    (void)worker;
    const gather_job *job = argument;
    size_t d = job->x.cols, end = nf_min_size(job->n, (task + 1) * NF_GATHER_ROWS);
    for (size_t k = task * NF_GATHER_ROWS; k < end; k++) {
        size_t r = job->index != NULL ? job->index[k] : k;
        float *out = job->h + k * d;
        if (job->index != NULL && k + 1 < end) prefetch_row(job->x, job->index[k + 1]);
        if (job->mean == NULL) {
            copy_row(out, job->x, r);
        } else {
            job->kernels->standardize[job->x.type](out, nf_matrix_row(job->x, r), job->mean,
                                                   job->std, d);
        }
    }
}

nf_status nf_model_gather(nf_context *context, const double *mean, const double *std, nf_matrix x,
                          const size_t *index, size_t n, nf_activations *a, size_t at) {
    gather_job job = {
        nf_training_kernels_get(context), x, index, mean, std, n, a->h[0] + at * x.cols};
    size_t tasks = (n + NF_GATHER_ROWS - 1) / NF_GATHER_ROWS;
    bool wake = (double)n * (double)x.cols * 10 > NF_WAKE_FLOPS; /* a division each */
    return nf_parallel(context, tasks, wake, 0, gather_task, &job);
}

static bool all_finite(const float *values, size_t count) {
    float sum = 0; /* v - v is 0 for a finite v, else NaN */
    for (size_t i = 0; i < count; i++) sum += values[i] - values[i];
    return sum == 0;
}

nf_status nf_model_embed_rows(nf_context *context, const nf_model *model, const float *parameter,
                              const double *mean, const double *std, nf_matrix x,
                              const size_t *index, size_t n, nf_activations *a, float *out,
                              size_t ldo) {
    size_t outputs = model->options.outputs;
    for (size_t first = 0; first < n; first += a->capacity) {
        size_t rows = nf_min_size(a->capacity, n - first);
        nf_matrix block = x;
        if (index == NULL && rows > 0) {
            block.data = nf_matrix_row(x, first);
            block.rows = rows;
        }
        nf_status status = nf_model_gather(context, mean, std, block,
                                           index != NULL ? index + first : NULL, rows, a, 0);
        if (status == NF_OK) status = nf_model_forward(context, model, parameter, a, rows);
        if (status != NF_OK) return status;
        if (!all_finite(a->y, rows * outputs)) {
            return nf_fail(context, NF_ERR_RANGE,
                           "an embedding of rows %zu to %zu exceeds float32: scale the input, or "
                           "train with standardisation",
                           first, first + rows - 1);
        }
        for (size_t r = 0; r < rows; r++) {
            memcpy(out + (first + r) * ldo, a->y + r * outputs, outputs * sizeof(float));
        }
        nf_progress_add(context, rows);
        status = nf_progress_status(context);
        if (status != NF_OK) return status;
    }
    return NF_OK;
}

nf_status nf_model_embed(nf_context *context, const nf_model *model, nf_matrix x,
                         nf_matrix_out out) {
    nf_scope scope = nf_scope_enter(context);
    nf_activations a;
    nf_status status = nf_check_matrix(context, x, "x");
    if (status == NF_OK && x.cols != model->options.inputs) {
        status = nf_fail(context, NF_ERR_ARG, "x has %zu columns: the model takes %zu", x.cols,
                         model->options.inputs);
    }
    if (status == NF_OK) {
        status = nf_check_out(context, out, "out", x.rows, model->options.outputs, NF_FLOAT32);
    }
    if (status == NF_OK) status = nf_check_overlap(context, out, "out", x, "x");
    if (status == NF_OK) status = nf_check_finite(context, x, "x");
    if (status == NF_OK) {
        size_t capacity = nf_min_size(nf_max_size(x.rows, 1), NF_MODEL_BLOCK);
        status = nf_activations_scratch(context, model, capacity, false, &a);
    }
    if (status == NF_OK) {
        nf_progress_start(context, x.rows);
        status = nf_model_embed_rows(context, model, model->parameter, model->mean, model->std, x,
                                     NULL, x.rows, &a, out.data, out.ld);
    }
    return nf_scope_leave(context, scope, status);
}
