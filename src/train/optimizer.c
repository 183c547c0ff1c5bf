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
#include "kernel/training.h"
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

/* Blocks of one segment of parameters. */
typedef struct update_job {
    nf_parameter_update update;
    void (*run)(const nf_parameter_update *update);
} update_job;

static void update_task(void *argument, size_t task, int worker) {
    (void)worker;
    const update_job *job = argument;
    nf_parameter_update part = job->update;
    size_t first = task * NF_UPDATE_BLOCK;
    part.count = nf_min_size(NF_UPDATE_BLOCK, part.count - first);
    part.w += first;
    part.g += first;
    part.m += first;
    if (part.v != NULL) part.v += first;
    part.next += first;
    job->run(&part);
}

/* Parameters at .. at + count - 1. */
static nf_status update_segment(nf_run *run, nf_parameter_update u, size_t at, size_t count,
                                bool decays) {
    const nf_training_kernels *kernels = nf_training_kernels_get(run->context);
    bool adam = run->options.optimizer == NF_ADAM;
    u.w = run->parameter + at;
    u.g = run->gradient + at;
    u.m = run->moment[0] + at;
    u.v = adam ? run->moment[1] + at : NULL;
    u.next = run->next + at;
    u.count = count;
    if (!decays) u.decay = 0;
    update_job job = {u, adam ? kernels->adam : kernels->sgd};
    size_t tasks = (count + NF_UPDATE_BLOCK - 1) / NF_UPDATE_BLOCK;
    return nf_parallel(run->context, tasks, (double)count * NF_UPDATE_FLOPS > NF_WAKE_FLOPS, 0,
                       update_task, &job);
}

nf_status nf_optimizer_step(nf_run *run, bool *finite) {
    const nf_train_options *o = &run->options;
    const nf_model *model = run->model;
    double lr = nf_learning_rate(o, run->step, run->total_steps);
    for (int k = 0; k < 2; k++) run->power[k] *= adam_beta[k];
    nf_parameter_update u = {.decay = (float)(lr * o->weight_decay), .lr = (float)lr};
    if (o->optimizer == NF_ADAM) {
        u.lr = (float)(lr / (1 - run->power[0]));
        u.root = (float)(1 / sqrt(1 - run->power[1]));
        for (int k = 0; k < 2; k++) {
            u.beta[k] = (float)adam_beta[k];
            u.share[k] = (float)(1 - adam_beta[k]);
        }
    } else {
        u.beta[0] = (float)o->momentum;
    }
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

static double step_of(nf_run *run, size_t k, double lr) {
    const double g = run->beta.gradient[k];
    double *m = &run->beta.moment[0][k], *v = &run->beta.moment[1][k];
    if (run->options.optimizer == NF_SGD) {
        *m = run->options.momentum * *m + g;
        return lr * *m;
    }
    *m = adam_beta[0] * *m + (1 - adam_beta[0]) * g;
    *v = adam_beta[1] * *v + (1 - adam_beta[1]) * g * g;
    return lr * (*m / (1 - run->power[0])) / (sqrt(*v / (1 - run->power[1])) + 1e-8);
}

bool nf_optimizer_step_beta(nf_run *run) {
    const nf_train_options *o = &run->options;
    const double ratio = o->beta_lr > 0 ? o->beta_lr / o->lr : 1;
    const double lr = ratio * nf_learning_rate(o, run->step, run->total_steps);
    bool finite = true;
    for (size_t k = 0; k < run->beta.count; k++) {
        const double next = run->beta.value[k] - step_of(run, k, lr);
        finite &= isfinite(next);
        if (isfinite(next)) run->beta.value[k] = next;
    }
    return finite;
}
