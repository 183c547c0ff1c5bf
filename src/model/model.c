/* Making a model and looking inside it. */
#include "model/model.h"

#include <math.h>
#include <string.h>

#include "base/random.h"

nf_model_options nf_model_defaults(void) {
    return (nf_model_options){.outputs = 32, .activation = NF_RELU, .bias = 1, .standardize = 1};
}

nf_status nf_model_options_check(nf_context *context, const nf_model_options *options) {
    if (options->inputs == 0) {
        return nf_fail(context, NF_ERR_ARG,
                       "inputs is 0: set it to the number of columns of the data, at least 1");
    }
    if (options->outputs == 0) {
        return nf_fail(context, NF_ERR_ARG,
                       "outputs (the embedding dimension) is 0: it must be at least 1");
    }
    if (options->hidden_layers > NF_MODEL_MAX_HIDDEN) {
        return nf_fail(context, NF_ERR_ARG, "hidden_layers is %zu: it must be at most %d",
                       options->hidden_layers, NF_MODEL_MAX_HIDDEN);
    }
    for (size_t l = 0; l < options->hidden_layers; l++) {
        if (options->hidden[l] == 0) {
            return nf_fail(context, NF_ERR_ARG,
                           "hidden[%zu] is 0: every hidden layer needs a width of at least 1", l);
        }
    }
    if (options->activation != NF_RELU && options->activation != NF_TANH) {
        return nf_fail(context, NF_ERR_ARG, "activation is %d: it must be NF_RELU or NF_TANH",
                       (int)options->activation);
    }
    return NF_OK;
}

nf_status nf_model_layout(nf_context *context, nf_model *model) {
    const nf_model_options *options = &model->options;
    model->layers = options->hidden_layers + 1;
    model->width[0] = options->inputs;
    for (size_t l = 0; l < options->hidden_layers; l++) model->width[l + 1] = options->hidden[l];
    model->width[model->layers] = options->outputs;
    size_t at = 0;
    for (size_t l = 0; l < model->layers; l++) {
        size_t in = model->width[l], out = model->width[l + 1], size;
        bool overflow = nf_mul_overflows(in, out, &size);
        model->weight_at[l] = at;
        overflow = overflow || nf_add_overflows(at, size, &at);
        model->bias_at[l] = at;
        if (options->bias) overflow = overflow || nf_add_overflows(at, out, &at);
        if (overflow || at > PTRDIFF_MAX / sizeof(double)) {
            return nf_fail(context, NF_ERR_RANGE,
                           "layer %zu (%zu x %zu) exceeds the address space: use smaller widths", l,
                           out, in);
        }
    }
    model->parameters = at;
    return NF_OK;
}

nf_status nf_model_blank(nf_context *context, const nf_model_options *options, nf_model **out) {
    nf_model *model = NULL;
    nf_status status = nf_model_options_check(context, options);
    if (status == NF_OK) status = nf_allocate_zeroed(context, &model, 1, sizeof *model, "model");
    if (status != NF_OK) return status;
    model->options = *options;
    model->options.bias = options->bias != 0;
    model->options.standardize = options->standardize != 0;
    model->options.normalize = options->normalize != 0;
    /* Unused widths are zeroed, so that equal models have equal options. */
    for (size_t l = options->hidden_layers; l < NF_MODEL_MAX_HIDDEN; l++) {
        model->options.hidden[l] = 0;
    }
    status = nf_model_layout(context, model);
    if (status == NF_OK) {
        status = nf_allocate_zeroed(context, &model->parameter, model->parameters, sizeof(float),
                                    "model parameters");
    }
    if (status == NF_OK && model->options.standardize) {
        size_t d = options->inputs;
        status = nf_allocate_zeroed(context, &model->mean, d, sizeof(double), "input means");
        if (status == NF_OK) {
            status = nf_allocate(context, &model->std, d, sizeof(double), "input deviations");
        }
        for (size_t k = 0; status == NF_OK && k < d; k++) model->std[k] = 1;
    }
    if (status == NF_OK) {
        *out = model;
    } else {
        nf_model_free(context, model);
    }
    return status;
}

/* Weights of layer l are uniform in +-bound. Hidden relu layers: He et al. 2015; hidden tanh layers:
 * Glorot & Bengio 2010. Output layer: variance 1 / (2 in out), so that rows with inputs of
 * variance 1 begin about 1 apart, where the usual margins are. */
static double weight_bound(const nf_model *model, size_t l) {
    double in = (double)model->width[l], out = (double)model->width[l + 1];
    if (l + 1 == model->layers) return sqrt(1.5 / (in * out));
    return model->options.activation == NF_RELU ? sqrt(6 / in) : sqrt(6 / (in + out));
}

static void init_weights(nf_model *model) {
    for (size_t l = 0; l < model->layers; l++) {
        double bound = weight_bound(model, l);
        uint64_t stream = nf_random_stream(NF_STREAM_WEIGHTS, l);
        float *weight = model->parameter + model->weight_at[l];
        size_t count = model->width[l] * model->width[l + 1];
        for (size_t i = 0; i < count; i++) {
            double u = nf_random_unit(model->options.seed, stream, i);
            weight[i] = (float)(bound * (2 * u - 1));
        }
    }
}

nf_status nf_model_create(nf_context *context, const nf_model_options *options, nf_model **out) {
    nf_scope scope = nf_scope_enter(context);
    nf_model *model = NULL;
    nf_status status = nf_model_blank(context, options, &model);
    if (status == NF_OK) {
        init_weights(model);
        *out = model;
    }
    return nf_scope_leave(context, scope, status);
}

void nf_model_free(nf_context *context, nf_model *model) {
    if (model == NULL) return;
    nf_entries_free(context, &model->metadata);
    nf_release(context, model->std);
    nf_release(context, model->mean);
    nf_release(context, model->parameter);
    nf_release(context, model);
}

const nf_model_options *nf_model_get_options(const nf_model *model) { return &model->options; }

size_t nf_model_layers(const nf_model *model) { return model->layers; }

size_t nf_model_parameters(const nf_model *model) { return model->parameters; }

const float *nf_model_weight(const nf_model *model, size_t layer, size_t *out, size_t *in) {
    if (layer >= model->layers) return NULL;
    if (in != NULL) *in = model->width[layer];
    if (out != NULL) *out = model->width[layer + 1];
    return model->parameter + model->weight_at[layer];
}

const float *nf_model_bias(const nf_model *model, size_t layer) {
    if (layer >= model->layers || !model->options.bias) return NULL;
    return model->parameter + model->bias_at[layer];
}

const double *nf_model_mean(const nf_model *model) { return model->mean; }

const double *nf_model_std(const nf_model *model) { return model->std; }

static nf_status check_values(nf_context *context, const float *values, size_t count,
                              const char *name, size_t layer) {
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            return nf_fail(context, NF_ERR_DATA,
                           "%s of layer %zu has a NaN or infinite value at position %zu", name,
                           layer, i);
        }
    }
    return NF_OK;
}

nf_status nf_model_set_layer(nf_context *context, nf_model *model, size_t layer,
                             const float *weight, const float *bias) {
    nf_scope scope = nf_scope_enter(context);
    nf_status status = NF_OK;
    size_t size = 0, out = 0;
    if (layer >= model->layers) {
        status = nf_fail(context, NF_ERR_ARG, "layer is %zu: the model has %zu layers, from 0",
                         layer, model->layers);
    } else if (bias != NULL && !model->options.bias) {
        status =
            nf_fail(context, NF_ERR_ARG, "bias is given but the model was made without: pass NULL");
    } else {
        out = model->width[layer + 1];
        size = out * model->width[layer];
        if (weight != NULL) status = check_values(context, weight, size, "weight", layer);
        if (status == NF_OK && bias != NULL) {
            status = check_values(context, bias, out, "bias", layer);
        }
    }
    if (status == NF_OK) {
        float *to = model->parameter;
        if (weight != NULL) memmove(to + model->weight_at[layer], weight, size * sizeof(float));
        if (bias != NULL) memmove(to + model->bias_at[layer], bias, out * sizeof(float));
    }
    return nf_scope_leave(context, scope, status);
}
