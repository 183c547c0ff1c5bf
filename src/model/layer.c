/* The layers of the stack, forward and backward side by side.
 *
 * Every element of a result is one chain of operations on its own row (forward) or over the rows in
 * order (parameter gradients), so bits depend on neither threads nor block sizes. */
#include <math.h>

#include "base/math.h"
#include "base/pool.h"
#include "kernel/dense.h"
#include "model/model.h"

/* ---- rows in parallel ----------------------------------------------------------------------- */

#define NF_ROWS_PER_TASK 32

/* Element-wise work on rows first .. first + count - 1. */
typedef struct rows_job {
    void (*work)(const struct rows_job *job, size_t first, size_t count);
    size_t n, width;
    float *y;
    const float *other, *bias;
    nf_activation kind;
} rows_job;

static void rows_task(void *argument, size_t task, int worker) {
    (void)worker;
    const rows_job *job = argument;
    size_t first = task * NF_ROWS_PER_TASK;
    job->work(job, first, nf_min_size(NF_ROWS_PER_TASK, job->n - first));
}

static nf_status run_rows(nf_context *context, rows_job job, double flops_per_element) {
    size_t tasks = (job.n + NF_ROWS_PER_TASK - 1) / NF_ROWS_PER_TASK;
    bool wake = (double)job.n * (double)job.width * flops_per_element > NF_WAKE_FLOPS;
    return nf_parallel(context, tasks, wake, 0, rows_task, &job);
}

/* ---- dense ---------------------------------------------------------------------------------- */

static void add_bias(const rows_job *job, size_t first, size_t count) {
    for (size_t r = first; r < first + count; r++) {
        float *y = job->y + r * job->width;
        for (size_t c = 0; c < job->width; c++) y[c] += job->bias[c];
    }
}

/* y (n, out) = x (n, in) W' + b, W (out, in), b (out) or NULL. */
static nf_status dense_forward(nf_context *context, float *y, const float *x, const float *weight,
                               const float *bias, size_t n, size_t in, size_t out) {
    nf_status status = nf_dense_nt(context, y, out, x, in, weight, in, n, out, in);
    if (status != NF_OK || bias == NULL) return status;
    return run_rows(context,
                    (rows_job){.work = add_bias, .n = n, .width = out, .y = y, .bias = bias}, 1);
}

/* With dy = d value / d y: dW = dy' x, db = column sums of dy, dx = dy W. db and dx may be NULL. */
static nf_status dense_backward(nf_context *context, const float *dy, const float *x,
                                const float *weight, size_t n, size_t in, size_t out,
                                float *dweight, float *dbias, float *dx) {
    nf_status status = nf_dense_tn(context, dweight, in, dy, out, x, in, out, in, n);
    if (status != NF_OK) return status;
    if (dbias != NULL) {
        for (size_t c = 0; c < out; c++) dbias[c] = 0;
        for (size_t r = 0; r < n; r++) {
            for (size_t c = 0; c < out; c++) dbias[c] += dy[r * out + c];
        }
    }
    if (dx == NULL) return NF_OK;
    return nf_dense_nn(context, dx, in, dy, out, weight, in, n, in, out);
}

/* ---- activation ----------------------------------------------------------------------------- */

/* In place: relu max(0, z), NaN kept; tanh. */
static void activate(const rows_job *job, size_t first, size_t count) {
    float *z = job->y + first * job->width;
    if (job->kind == NF_RELU) {
        for (size_t i = 0; i < count * job->width; i++) z[i] = z[i] <= 0 ? 0 : z[i];
    } else {
        for (size_t i = 0; i < count * job->width; i++) z[i] = nf_tanhf(z[i]);
    }
}

static nf_status activation_forward(nf_context *context, nf_activation kind, float *z, size_t n,
                                    size_t width) {
    return run_rows(context,
                    (rows_job){.work = activate, .n = n, .width = width, .y = z, .kind = kind},
                    kind == NF_RELU ? 1 : 50);
}

/* In place, from the output h: relu dz = dh where h > 0 else 0; tanh dz = dh (1 - h^2). */
static void deactivate(const rows_job *job, size_t first, size_t count) {
    float *dz = job->y + first * job->width;
    const float *h = job->other + first * job->width;
    if (job->kind == NF_RELU) {
        for (size_t i = 0; i < count * job->width; i++) dz[i] = h[i] > 0 ? dz[i] : 0;
    } else {
        for (size_t i = 0; i < count * job->width; i++) dz[i] *= (1 - h[i]) * (1 + h[i]);
    }
}

static nf_status activation_backward(nf_context *context, nf_activation kind, float *dz,
                                     const float *h, size_t n, size_t width) {
    return run_rows(
        context,
        (rows_job){.work = deactivate, .n = n, .width = width, .y = dz, .other = h, .kind = kind},
        3);
}

/* ---- normalisation -------------------------------------------------------------------------- */

/* |z|, in double: squares of float32 neither overflow nor underflow there. */
static double row_norm(const float *z, size_t d) {
    double sum = 0;
    for (size_t k = 0; k < d; k++) sum += (double)z[k] * (double)z[k];
    return sqrt(sum);
}

/* y = z / |z| by rows; a zero row stays zero. */
static void normalize_forward(float *y, const float *z, size_t n, size_t d) {
    for (size_t r = 0; r < n; r++) {
        double norm = row_norm(z + r * d, d);
        for (size_t k = 0; k < d; k++) {
            double v = (double)z[r * d + k];
            y[r * d + k] = norm == 0 ? 0 : (float)(v / norm);
        }
    }
}

/* In place: dz = (dy - y (y . dy)) / |z|; 0 for a zero row. y is taken from z in double, so that dz
 * is orthogonal to z to the last bit of float32. */
static void normalize_backward(float *dz, const float *z, size_t n, size_t d) {
    for (size_t r = 0; r < n; r++) {
        const float *row = z + r * d;
        float *g = dz + r * d;
        double norm = row_norm(row, d), along = 0;
        for (size_t k = 0; k < d; k++) along += (double)row[k] * (double)g[k];
        for (size_t k = 0; k < d; k++) {
            double v = (double)g[k] - (double)row[k] / norm * (along / norm);
            g[k] = norm == 0 ? 0 : (float)(v / norm);
        }
    }
}

/* ---- the stack ------------------------------------------------------------------------------ */

static const float *bias_of(const nf_model *model, const float *parameter, size_t layer) {
    return model->options.bias ? parameter + model->bias_at[layer] : NULL;
}

nf_status nf_model_forward(nf_context *context, const nf_model *model, const float *parameter,
                           nf_activations *a, size_t n) {
    for (size_t l = 0; l < model->layers; l++) {
        size_t in = model->width[l], out = model->width[l + 1];
        nf_status status =
            dense_forward(context, a->h[l + 1], a->h[l], parameter + model->weight_at[l],
                          bias_of(model, parameter, l), n, in, out);
        if (status == NF_OK && l + 1 < model->layers) {
            status = activation_forward(context, model->options.activation, a->h[l + 1], n, out);
        }
        if (status != NF_OK) return status;
    }
    if (model->options.normalize) {
        normalize_forward(a->y, a->h[model->layers], n, model->options.outputs);
    }
    return NF_OK;
}

nf_status nf_model_backward(nf_context *context, const nf_model *model, const float *parameter,
                            nf_activations *a, size_t n, float *gradient) {
    if (model->options.normalize) {
        normalize_backward(a->gradient[0], a->h[model->layers], n, model->options.outputs);
    }
    size_t current = 0;
    for (size_t l = model->layers; l-- > 0;) {
        size_t in = model->width[l], out = model->width[l + 1];
        float *dy = a->gradient[current], *dx = l > 0 ? a->gradient[1 - current] : NULL;
        float *dbias = model->options.bias ? gradient + model->bias_at[l] : NULL;
        nf_status status = dense_backward(context, dy, a->h[l], parameter + model->weight_at[l], n,
                                          in, out, gradient + model->weight_at[l], dbias, dx);
        if (status == NF_OK && l > 0) {
            status = activation_backward(context, model->options.activation, dx, a->h[l], n, in);
        }
        if (status != NF_OK) return status;
        current = 1 - current;
    }
    return NF_OK;
}
