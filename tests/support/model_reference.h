/* The model stack in double, written from the formulas in nearfar/model.h: the oracle of forward,
 * backward and training. */
#ifndef NF_TEST_MODEL_REFERENCE_H
#define NF_TEST_MODEL_REFERENCE_H

#include <math.h>
#include <stdlib.h>

#include "nearfar/nearfar.h"

/* Parameters of a model as doubles, W_0 b_0 W_1 b_1 ..; the caller frees them. */
static inline double *reference_parameters(const nf_model *model) {
    double *p = malloc(nf_model_parameters(model) * sizeof *p + 1);
    size_t at = 0, out, in;
    for (size_t l = 0; l < nf_model_layers(model); l++) {
        const float *w = nf_model_weight(model, l, &out, &in), *b = nf_model_bias(model, l);
        for (size_t i = 0; i < out * in; i++) p[at++] = (double)w[i];
        for (size_t i = 0; b != NULL && i < out; i++) p[at++] = (double)b[i];
    }
    return p;
}

/* Embed one row x (inputs), already standardised, into y (outputs). */
static inline void reference_embed(const nf_model *model, const double *p, const double *x,
                                   double *y) {
    const nf_model_options *o = nf_model_get_options(model);
    size_t layers = nf_model_layers(model), out = 0, in = o->inputs;
    double *h = malloc(in * sizeof *h);
    for (size_t k = 0; k < in; k++) h[k] = x[k];
    for (size_t l = 0; l < layers; l++) {
        (void)nf_model_weight(model, l, &out, &in);
        const double *bias = p + out * in;
        double *z = malloc(out * sizeof *z);
        for (size_t r = 0; r < out; r++) {
            z[r] = o->bias ? bias[r] : 0;
            for (size_t c = 0; c < in; c++) z[r] += p[r * in + c] * h[c];
            if (l + 1 < layers) z[r] = o->activation == NF_RELU ? fmax(z[r], 0) : tanh(z[r]);
        }
        p += out * in + (o->bias ? out : 0);
        free(h);
        h = z;
    }
    double norm = 0;
    for (size_t k = 0; k < out; k++) norm += h[k] * h[k];
    norm = sqrt(norm);
    for (size_t k = 0; k < out; k++) y[k] = !o->normalize ? h[k] : norm > 0 ? h[k] / norm : 0;
    free(h);
}

#endif
