#include "kernel/dense.h"

#include <string.h>

#include "base/pool.h"
#include "kernel/kernel.h"

#define NF_DENSE_ROWS 96 /* output rows of a task */

/* Tasks are a grid of row blocks by column parts. Outputs of whole lines are written in place, others
 * by way of a tile, because kernels write whole lines. */
typedef struct nf_dense_job {
    const nf_kernels *kernels;
    float *out;
    const float *a, *b; /* b: a panel (nt) or rows of whole lines (nn, tn) */
    size_t ldo, lda, ldb, rows, cols, k, padded;
    size_t parts, width; /* column parts, and columns of one: whole lines */
    float *tile;         /* (threads, NF_DENSE_ROWS, width), or NULL: in place */
    bool transposed;
} nf_dense_job;

typedef struct nf_dense_part {
    size_t row, rows, col, cols;
    float *out;
    size_t ldo;
} nf_dense_part;

static nf_dense_part begin_part(const nf_dense_job *job, size_t task, int worker) {
    nf_dense_part p = {.row = task / job->parts * NF_DENSE_ROWS,
                       .col = task % job->parts * job->width};
    p.rows = nf_min_size(NF_DENSE_ROWS, job->rows - p.row);
    p.cols = nf_min_size(job->width, job->cols - p.col);
    bool in_place = job->tile == NULL;
    p.ldo = in_place ? job->ldo : job->width;
    p.out = in_place ? job->out + p.row * job->ldo + p.col
                     : job->tile + (size_t)worker * NF_DENSE_ROWS * job->width;
    return p;
}

static void end_part(const nf_dense_job *job, const nf_dense_part *p) {
    if (job->tile == NULL) return;
    for (size_t r = 0; r < p->rows; r++) {
        memcpy(job->out + (p->row + r) * job->ldo + p->col, p->out + r * p->ldo,
               p->cols * sizeof(float));
    }
}

static void nt_task(void *argument, size_t task, int worker) {
    const nf_dense_job *job = argument;
    nf_dense_part p = begin_part(job, task, worker);
    job->kernels->dot(p.out, p.ldo, job->a + p.row * job->lda, job->lda, job->b + p.col * job->k,
                      p.rows, p.cols, job->k);
    end_part(job, &p);
}

static void update_task(void *argument, size_t task, int worker) {
    const nf_dense_job *job = argument;
    nf_dense_part p = begin_part(job, task, worker);
    const float *a = job->transposed ? job->a + p.row : job->a + p.row * job->lda;
    size_t row_step = job->transposed ? 1 : job->lda, step = job->transposed ? job->lda : 1;
    job->kernels->product(p.out, p.ldo, a, row_step, step, job->b + p.col, job->ldb, p.rows, job->k,
                          p.cols);
    end_part(job, &p);
}

/* Few rows are cut in columns too, until there are four tasks for every thread. */
static size_t cut_columns(nf_dense_job *job, size_t threads, size_t row_tasks) {
    size_t lanes = nf_lanes(NF_FLOAT32), lines = job->padded / lanes;
    size_t wanted = threads > 1 ? (4 * threads + row_tasks - 1) / nf_max_size(row_tasks, 1) : 1;
    size_t per_part = (lines + wanted - 1) / wanted;
    job->width = nf_max_size(per_part, 1) * lanes;
    job->parts = (job->padded + job->width - 1) / job->width;
    return row_tasks * job->parts;
}

static nf_status run(nf_context *context, nf_dense_job *job, nf_task_fn task) {
    nf_status status = NF_OK;
    bool wake = 2.0 * (double)job->rows * (double)job->cols * (double)job->k > NF_WAKE_FLOPS;
    size_t row_tasks = (job->rows + NF_DENSE_ROWS - 1) / NF_DENSE_ROWS;
    size_t tasks = cut_columns(job, wake ? (size_t)context->threads : 1, row_tasks);
    if (job->cols != job->padded) {
        status = nf_scratch(context, &job->tile, (size_t)context->threads,
                            NF_DENSE_ROWS * job->width * sizeof(float), "product tiles");
    }
    if (status != NF_OK) return status;
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
    job.padded = nf_pad(NF_FLOAT32, job.cols);
    job.b = b;
    job.ldb = ldb;
    nf_status status = NF_OK;
    if (job.cols != job.padded) {
        float *lines;
        job.ldb = job.padded;
        status = nf_scratch(context, &lines, job.k, job.ldb * sizeof(float), "padded rows");
        for (size_t i = 0; status == NF_OK && i < job.k; i++) {
            memcpy(lines + i * job.ldb, b + i * ldb, job.cols * sizeof(float));
            memset(lines + i * job.ldb + job.cols, 0, (job.ldb - job.cols) * sizeof(float));
        }
        job.b = lines;
    }
    if (status == NF_OK) status = run(context, &job, update_task);
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
