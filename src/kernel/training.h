/* Element by element work of training, compiled per instruction set like the kernel table: every
 * operation sequence is fixed, so all of them give the same bits. */
#ifndef NF_KERNEL_TRAINING_H
#define NF_KERNEL_TRAINING_H

#include "base/base.h"

/* One update of `count` parameters w (train/optimizer.c has the formulas). */
typedef struct nf_parameter_update {
    const float *w, *g;
    float *m, *v, *next;
    size_t count;
    float lr;       /* Adam: divided by 1 - b1^t */
    float decay;    /* lr * weight_decay */
    float root;     /* Adam: 1 / sqrt(1 - b2^t) */
    float beta[2];  /* Adam; SGD: the first is its momentum */
    float share[2]; /* Adam: 1 - beta */
} nf_parameter_update;

typedef struct nf_training_kernels {
    /* Moments and next = the updated parameters. */
    void (*adam)(const nf_parameter_update *update);
    void (*sgd)(const nf_parameter_update *update);

    /* out[c] = (x[c] - mean[c]) / std[c], in double, rounded; by the type of x */
    void (*standardize[2])(float *out, const void *x, const double *mean, const double *std,
                           size_t d);

    /* sum[c] += scale (x[c] - origin[c])^power, by the type of x and power - 1 */
    void (*add_moment[2][2])(double *sum, const void *x, const double *origin, double scale,
                             size_t d);
} nf_training_kernels;

const nf_training_kernels *nf_training_kernels_get(const nf_context *context);

extern const nf_training_kernels nf_training_scalar, nf_training_avx2, nf_training_avx512,
    nf_training_neon;

#endif
