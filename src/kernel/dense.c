#include "kernel/dense.h"

#include <string.h>

#include "base/pool.h"
#include "kernel/kernel.h"

#define NF_DENSE_ROWS 96 /* output rows of a task */

typedef struct nf_dense_job {
    const nf_kernels *kernels;
    float *out;
    const float *a, *b; /* b: a panel (nt) or rows padded to lines (nn, tn) */
    size_t ldo, lda, ldb, rows, cols, k, padded;
    float *tile; /* (threads, NF_DENSE_ROWS, padded) */
    bool transposed;
} nf_dense_job;

static void copy_tile(const nf_dense_job *job, const float *tile, size_t first, size_t rows) {
    for (size_t r = 0; r < rows; r++) {
        memcpy(job->out + (first + r) * job->ldo, tile + r * job->padded,
               job->cols * sizeof(float));
    }
}

static void nt_task(void *argument, size_t task, int worker) {
    const nf_dense_job *job = argument;
    size_t first = task * NF_DENSE_ROWS, rows = nf_min_size(NF_DENSE_ROWS, job->rows - first);
    float *tile = job->tile + (size_t)worker * NF_DENSE_ROWS * job->padded;
    job->kernels->dot(tile, job->padded, job->a + first * job->lda, job->lda, job->b, rows,
                      job->cols, job->k);
    copy_tile(job, tile, first, rows);
}

static void update_task(void *argument, size_t task, int worker) {
    const nf_dense_job *job = argument;
    size_t first = task * NF_DENSE_ROWS, rows = nf_min_size(NF_DENSE_ROWS, job->rows - first);
    float *tile = job->tile + (size_t)worker * NF_DENSE_ROWS * job->padded;
    const float *a = job->transposed ? job->a + first : job->a + first * job->lda;
    size_t row_step = job->transposed ? 1 : job->lda, step = job->transposed ? job->lda : 1;
    job->kernels->update_product(tile, job->padded, a, row_step, step, NULL, 0, job->b, job->ldb,
                                 rows, job->k, job->cols);
    copy_tile(job, tile, first, rows);
}

static nf_status run(nf_context *context, nf_dense_job *job, nf_task_fn task) {
    nf_status status = nf_scratch(context, &job->tile, (size_t)context->threads,
                                  NF_DENSE_ROWS * job->padded * sizeof(float), "product tiles");
    if (status != NF_OK) return status;
    bool wake = 2.0 * (double)job->rows * (double)job->cols * (double)job->k > NF_WAKE_FLOPS;
    size_t tasks = (job->rows + NF_DENSE_ROWS - 1) / NF_DENSE_ROWS;
    return nf_parallel(context, tasks, wake, 1, task, job);
}

nf_status nf_dense_nt(nf_context *context, float *out, size_t ldo, const float *a, size_t lda,
                      const float *b, size_t ldb, size_t rows, size_t cols, size_t k) {
    nf_scope scope = nf_scope_enter(context);
    size_t padded = nf_pad(NF_FLOAT32, cols);
    nf_dense_job job = {.kernels = nf_kernels_get(context, NF_FLOAT32),
                        .out = out,
                        .a = a,
                        .ldo = ldo,
                        .lda = lda,
                        .rows = rows,
                        .cols = cols,
                        .k = k,
                        .padded = padded};
    float *panel;
    nf_status status = nf_scratch(context, &panel, padded, k * sizeof(float), "weight panel");
    if (status == NF_OK) {
        job.kernels->pack(panel, b, ldb, cols, k);
        job.b = panel;
        status = run(context, &job, nt_task);
    }
    return nf_scope_leave(context, scope, status);
}

static nf_status update(nf_context *context, nf_dense_job job, const float *b, size_t ldb) {
    nf_scope scope = nf_scope_enter(context);
    job.kernels = nf_kernels_get(context, NF_FLOAT32);
    job.padded = job.ldb = nf_pad(NF_FLOAT32, job.cols);
    float *padded;
    nf_status status = nf_scratch(context, &padded, job.k, job.ldb * sizeof(float), "padded rows");
    if (status == NF_OK) {
        for (size_t i = 0; i < job.k; i++) {
            memcpy(padded + i * job.ldb, b + i * ldb, job.cols * sizeof(float));
            memset(padded + i * job.ldb + job.cols, 0, (job.ldb - job.cols) * sizeof(float));
        }
        job.b = padded;
        status = run(context, &job, update_task);
    }
    return nf_scope_leave(context, scope, status);
}

nf_status nf_dense_nn(nf_context *context, float *out, size_t ldo, const float *a, size_t lda,
                      const float *b, size_t ldb, size_t rows, size_t cols, size_t k) {
    return update(
        context,
        (nf_dense_job){
            .out = out, .a = a, .ldo = ldo, .lda = lda, .rows = rows, .cols = cols, .k = k},
        b, ldb);
}

nf_status nf_dense_tn(nf_context *context, float *out, size_t ldo, const float *a, size_t lda,
                      const float *b, size_t ldb, size_t rows, size_t cols, size_t k) {
    return update(context,
                  (nf_dense_job){.out = out,
                                 .a = a,
                                 .ldo = ldo,
                                 .lda = lda,
                                 .rows = rows,
                                 .cols = cols,
                                 .k = k,
                                 .transposed = true},
                  b, ldb);
}
