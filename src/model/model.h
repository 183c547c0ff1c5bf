/* Model internals shared by src/model and src/train.
 *
 * All trainable numbers are one array, W_0 b_0 W_1 b_1 .., so that a gradient, an optimiser's state
 * or a snapshot is another array of the same layout. Functions below take the parameters as an
 * argument: a trainer works on its own copy and the model changes only when a run ends.
 *
 * Letters: n rows, d inputs, L dense layers, w_0 = d, w_l the width after layer l - 1.
 */
#ifndef NF_MODEL_MODEL_H
#define NF_MODEL_MODEL_H

#include "base/base.h"
#include "nearfar/model.h"

#define NF_MODEL_MAX_LAYERS (NF_MODEL_MAX_HIDDEN + 1)
#define NF_MODEL_BLOCK 1024 /* rows embedded at a time */

typedef struct nf_entry {
    char *key, *value;
} nf_entry;

/* Strings sorted by key. */
typedef struct nf_entries {
    nf_entry *entry;
    size_t count, capacity;
} nf_entries;

struct nf_model {
    nf_model_options options;
    size_t layers;
    size_t width[NF_MODEL_MAX_LAYERS + 1];
    size_t weight_at[NF_MODEL_MAX_LAYERS]; /* offsets into parameter */
    size_t bias_at[NF_MODEL_MAX_LAYERS];
    size_t parameters;
    float *parameter;
    double *mean, *std; /* (d); mean 0 and std 1 until fitted; NULL without standardisation */
    bool fitted;
    nf_entries metadata;
};

/* Activations of n <= capacity rows: h[0] the standardised input, h[l] the output of layer l - 1,
 * h[L] the embedding before normalisation, y the embedding. y == h[L] without normalize. */
typedef struct nf_activations {
    size_t capacity;
    float *h[NF_MODEL_MAX_LAYERS + 1];
    float *y;
    float *gradient[2]; /* (capacity, widest layer); backward only */
} nf_activations;

/* Take scratch for up to `capacity` rows. */
nf_status nf_activations_scratch(nf_context *context, const nf_model *model, size_t capacity,
                                 bool backward, nf_activations *a) NF_MUST_USE;

/* Rows `at` .. of h[0] = rows `index` of x (rows 0 .. n - 1 if NULL), standardised with mean and std
 * (NULL: just rounded to float32). */
nf_status nf_model_gather(nf_context *context, const double *mean, const double *std, nf_matrix x,
                          const size_t *index, size_t n, nf_activations *a, size_t at) NF_MUST_USE;

/* y = f(h[0]) for n rows. */
nf_status nf_model_forward(nf_context *context, const nf_model *model, const float *parameter,
                           nf_activations *a, size_t n) NF_MUST_USE;

/* gradient = d value / d parameter, given gradient[0] = d value / d y (n, outputs) after a forward
 * pass with the same parameters. Overwrites both a->gradient. */
nf_status nf_model_backward(nf_context *context, const nf_model *model, const float *parameter,
                            nf_activations *a, size_t n, float *gradient) NF_MUST_USE;

/* Embed rows of x (all, or those in index) in blocks of a->capacity: out (n, outputs). */
nf_status nf_model_embed_rows(nf_context *context, const nf_model *model, const float *parameter,
                              const double *mean, const double *std, nf_matrix x,
                              const size_t *index, size_t n, nf_activations *a, float *out,
                              size_t ldo) NF_MUST_USE;

/* Column means and deviations of rows of x (all, or those in index): see standardize.c. With y
 * not NULL its rows follow those of x (the right rows of pairs). */
nf_status nf_standardization_fit(nf_context *context, nf_matrix x, const nf_matrix *y,
                                 const size_t *index, size_t n, double *mean,
                                 double *std) NF_MUST_USE;

/* Lay out the layers of checked options; NF_ERR_RANGE if the parameters exceed the address space. */
nf_status nf_model_layout(nf_context *context, nf_model *model) NF_MUST_USE;
nf_status nf_model_options_check(nf_context *context, const nf_model_options *options) NF_MUST_USE;
/* A model with memory but without values (parameters 0, mean 0, std 1). */
nf_status nf_model_blank(nf_context *context, const nf_model_options *options,
                         nf_model **model) NF_MUST_USE;

/* ---- entries (metadata.c) ------------------------------------------------------------------- */

nf_status nf_entries_set(nf_context *context, nf_entries *entries, const char *key,
                         const char *value) NF_MUST_USE;
nf_status nf_entries_copy(nf_context *context, const nf_entries *from, nf_entries *to) NF_MUST_USE;
const char *nf_entries_get(const nf_entries *entries, const char *key);
void nf_entries_free(nf_context *context, nf_entries *entries);

/* Keys the model writes itself: format, version and the options. */
bool nf_model_key_reserved(const char *key);
/* The options as entries, and back. */
nf_status nf_model_options_write(nf_context *context, const nf_model_options *options,
                                 nf_entries *entries) NF_MUST_USE;

#endif
