/* Updates. g = gradient, t = 1, 2, .. the step, lr from the schedule.
 *
 *   Adam (Kingma & Ba 2015)   m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
 *                             W -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
 *   SGD with momentum         m = momentum m + g           W -= lr m
 *   decoupled weight decay (Loshchilov & Hutter 2019), weights only: W -= lr weight_decay W
 */
#include <math.h>
#include <string.h>

#include "base/math.h"
#include "base/pool.h"
#include "train/train.h"

#define NF_UPDATE_BLOCK 16384
#define NF_UPDATE_FLOPS 16 /* per parameter */

static const double adam_beta[2] = {0.9, 0.999};

double nf_learning_rate(const nf_train_options *options, uint64_t step, uint64_t total_steps) {
    if (options->schedule == NF_SCHEDULE_CONSTANT) return options->lr;
    return options->lr * 0.5 * (1 + nf_cospi((double)step / (double)total_steps));
}

/* By exponent bits: unlike a sum of x - x this is no chain of additions. */
bool nf_all_finite(const float *values, size_t count) {
    uint32_t bad = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return bad == 0;
}

/* Moments without a gradient (dead units) decay into denormal numbers, where arithmetic is slow and
 * 0.9 times the smallest one is itself: they end at 0 instead. */
static inline float settle(float moment) { return fabsf(moment) < 1e-30f ? 0 : moment; }

typedef struct update {
    const float *w, *g;
    float *m, *v, *next;
    size_t count;
    float lr;       /* Adam: divided by 1 - b1^t */
    float decay;    /* lr * weight_decay */
    float root;     /* Adam: 1 / sqrt(1 - b2^t) */
    float momentum; /* SGD */
} update;

static void adam_task(void *argument, size_t task, int worker) {
    (void)worker;
    const update *u = argument;
    const float b1 = (float)adam_beta[0], c1 = (float)(1 - adam_beta[0]);
    const float b2 = (float)adam_beta[1], c2 = (float)(1 - adam_beta[1]), eps = 1e-8f;
    size_t first = task * NF_UPDATE_BLOCK;
    size_t end = nf_min_size(u->count, first + NF_UPDATE_BLOCK);
    for (size_t i = first; i < end; i++) {
        float g = u->g[i], w = u->w[i];
        float m = settle(b1 * u->m[i] + c1 * g);
        float v = settle(b2 * u->v[i] + c2 * (g * g));
        u->m[i] = m;
        u->v[i] = v;
        u->next[i] = w - u->decay * w - u->lr * m / (sqrtf(v) * u->root + eps);
    }
}

static void sgd_task(void *argument, size_t task, int worker) {
    (void)worker;
    const update *u = argument;
    size_t first = task * NF_UPDATE_BLOCK;
    size_t end = nf_min_size(u->count, first + NF_UPDATE_BLOCK);
    for (size_t i = first; i < end; i++) {
        float m = settle(u->momentum * u->m[i] + u->g[i]), w = u->w[i];
        u->m[i] = m;
        u->next[i] = w - u->decay * w - u->lr * m;
    }
}

/* Parameters at .. at + count - 1. */
static nf_status update_segment(nf_run *run, update u, size_t at, size_t count, bool decays) {
    bool adam = run->options.optimizer == NF_ADAM;
    u.w = run->parameter + at;
    u.g = run->gradient + at;
    u.m = run->moment[0] + at;
    u.v = adam ? run->moment[1] + at : NULL;
    u.next = run->next + at;
    u.count = count;
    if (!decays) u.decay = 0;
    size_t tasks = (count + NF_UPDATE_BLOCK - 1) / NF_UPDATE_BLOCK;
    return nf_parallel(run->context, tasks, (double)count * NF_UPDATE_FLOPS > NF_WAKE_FLOPS, 0,
                       adam ? adam_task : sgd_task, &u);
}

nf_status nf_optimizer_step(nf_run *run, bool *finite) {
    const nf_train_options *o = &run->options;
    const nf_model *model = run->model;
    double lr = nf_learning_rate(o, run->step, run->total_steps);
    for (int k = 0; k < 2; k++) run->power[k] *= adam_beta[k];
    update u = {.momentum = (float)o->momentum,
                .decay = (float)(lr * o->weight_decay),
                .lr = (float)(o->optimizer == NF_ADAM ? lr / (1 - run->power[0]) : lr),
                .root = (float)(1 / sqrt(1 - run->power[1]))};
    nf_status status = NF_OK;
    for (size_t l = 0; status == NF_OK && l < model->layers; l++) {
        size_t in = model->width[l], out = model->width[l + 1];
        status = update_segment(run, u, model->weight_at[l], in * out, true);
        if (status == NF_OK && model->options.bias) {
            status = update_segment(run, u, model->bias_at[l], out, false);
        }
    }
    if (status != NF_OK) return status;
    /* An infinite second moment would freeze its weight without a word. */
    *finite = nf_all_finite(run->next, model->parameters) &&
              (o->optimizer == NF_SGD || nf_all_finite(run->moment[1], model->parameters));
    if (*finite) {
        float *old = run->parameter;
        run->parameter = run->next;
        run->next = old;
    }
    return NF_OK;
}
