/* Model: a stack of dense layers in float32.
 *
 *   h_0 = (x - mean) / std        input standardisation in double, stored with the model, optional
 *   h_l = act(W_l h_{l-1} + b_l)  hidden layers, act = relu or tanh
 *   y   = W_L h_{L-1} + b_L       output layer, linear; optionally y / |y| (a zero row stays zero,
 *                                 with gradient 0)
 *
 * With no hidden layer and no bias this is y = W x. Initial weights are uniform in +-bound, from the
 * seed only: hidden relu layers sqrt(6 / in) (He et al. 2015), hidden tanh layers
 * sqrt(6 / (in + out)) (Glorot & Bengio 2010), the output layer sqrt(1.5 / (in out)), so that two
 * rows begin about 1 apart, where the usual margins are. Biases start at 0.
 */
#ifndef NEARFAR_MODEL_H
#define NEARFAR_MODEL_H

#include "nearfar/context.h"
#include "nearfar/matrix.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nf_model nf_model;

typedef enum nf_activation { NF_RELU = 0, NF_TANH = 1 } nf_activation;

#define NF_MODEL_MAX_HIDDEN 16

typedef struct nf_model_options {
    size_t inputs;                      /* d, >= 1 */
    size_t hidden[NF_MODEL_MAX_HIDDEN]; /* widths of hidden layers */
    size_t hidden_layers;               /* default 0: linear */
    size_t outputs;                     /* embedding dimension, default 32 */
    nf_activation activation;           /* default relu */
    int bias;                           /* default 1 */
    int standardize;                    /* default 1 */
    int normalize;                      /* L2-normalise the output; default 0 */
    uint64_t seed;
} nf_model_options;

NF_API nf_model_options nf_model_defaults(void);

/* Make a model with initial weights. Errors: NF_ERR_ARG, NF_ERR_RANGE, NF_ERR_NOMEM. */
NF_API NF_MUST_USE nf_status nf_model_create(nf_context *context, const nf_model_options *options,
                                             nf_model **model);
NF_API void nf_model_free(nf_context *context, nf_model *model); /* NULL allowed */

/* What the model was made with (inputs, widths, flags). */
NF_API const nf_model_options *nf_model_get_options(const nf_model *model);
NF_API size_t nf_model_layers(const nf_model *model);     /* dense layers, >= 1 */
NF_API size_t nf_model_parameters(const nf_model *model); /* trainable numbers */

/* Weights (out, in) and bias (out; NULL if none) of layer l, row-major; owned by the model. */
NF_API const float *nf_model_weight(const nf_model *model, size_t layer, size_t *out, size_t *in);
NF_API const float *nf_model_bias(const nf_model *model, size_t layer);

/* Input means and deviations (inputs), owned by the model; NULL without standardisation. 0 and 1
 * until they are fitted. */
NF_API const double *nf_model_mean(const nf_model *model);
NF_API const double *nf_model_std(const nf_model *model);

/* Replace a layer's weights and bias; NULL keeps what is there. NaN or Inf is NF_ERR_DATA. */
NF_API NF_MUST_USE nf_status nf_model_set_layer(nf_context *context, nf_model *model, size_t layer,
                                                const float *weight, const float *bias);

/* Set mean and std from x (n, inputs):
 *   mean_k the mean of column k, std_k = a sqrt(var_k + v*), v* the median variance of the columns
 *   that are not constant, a such that these have variance 1 on average; std 1 if all are constant.
 * v* keeps nearly constant columns (the border of an image) from becoming noise as loud as the
 * rest, and leaves the result independent of the unit of x. nf_train does this on the training rows
 * of a model that was not fitted yet. n = 0 gives mean 0, std 1. Errors: NF_ERR_ARG (also for a
 * model made with standardize = 0), NF_ERR_DATA (NaN, Inf), NF_ERR_RANGE, NF_ERR_NOMEM. */
NF_API NF_MUST_USE nf_status nf_model_fit_standardization(nf_context *context, nf_model *model,
                                                          nf_matrix x);

/* Embed rows: x (n, inputs), float32 or float64, out (n, outputs) float32. The bits of a row do not
 * depend on the other rows. Rows are embedded in blocks of 1024, memory O(block): after NF_ERR_RANGE
 * (an embedding beyond float32) or NF_ERR_CANCELLED the blocks before it are written, no other
 * error writes to out. Other errors: NF_ERR_ARG (shapes, types), NF_ERR_DATA (NaN, Inf),
 * NF_ERR_NOMEM. The model may be used by several contexts at once. */
NF_API NF_MUST_USE nf_status nf_model_embed(nf_context *context, const nf_model *model, nf_matrix x,
                                            nf_matrix_out out);

/* Free-form metadata kept with the model (resolved configuration, class names), UTF-8; string to
 * string. The keys format, version, inputs, hidden, outputs, activation, bias, standardize, normalize
 * and seed are the model's own (NF_ERR_ARG).
 * nf_model_metadata returns NULL for a missing key; _at iterates in key order, NULL past the end. */
NF_API NF_MUST_USE nf_status nf_model_set_metadata(nf_context *context, nf_model *model,
                                                   const char *key, const char *value);
NF_API const char *nf_model_metadata(const nf_model *model, const char *key);
NF_API const char *nf_model_metadata_at(const nf_model *model, size_t i, const char **value);

/* Save as safetensors: tensors layers.<l>.weight, layers.<l>.bias, input.mean, input.std; metadata
 * holds `format` = "nearfar-model", `version`, the options and everything set above. Written to
 * a temporary and renamed. The same model gives the same bytes. NF_ERR_IO on failure, old file
 * intact. */
NF_API NF_MUST_USE nf_status nf_model_save(nf_context *context, const nf_model *model,
                                           const char *path);

/* Load; a damaged or foreign file, or one of an unknown version, is NF_ERR_DATA saying what is
 * wrong. Unknown metadata is kept. */
NF_API NF_MUST_USE nf_status nf_model_load(nf_context *context, const char *path, nf_model **model);
NF_API NF_MUST_USE nf_status nf_model_parse(nf_context *context, const void *bytes, size_t size,
                                            nf_model **model);

#ifdef __cplusplus
}
#endif
#endif
