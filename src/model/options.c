/* Model options as metadata and back. Every value is text; numbers are decimal. */
#include "model/options.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const reserved_keys[] = {"format",    "version",    "inputs", "hidden",
                                            "outputs",   "activation", "bias",   "standardize",
                                            "normalize", "seed"};

bool nf_model_key_reserved(const char *key) {
    for (size_t i = 0; i < sizeof reserved_keys / sizeof reserved_keys[0]; i++) {
        if (strcmp(key, reserved_keys[i]) == 0) return true;
    }
    return false;
}

static nf_status set_u64(nf_context *context, nf_entries *entries, const char *key,
                         uint64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return nf_entries_set(context, entries, key, text);
}

nf_status nf_model_options_write(nf_context *context, const nf_model_options *options,
                                 nf_entries *entries) {
    char hidden[NF_MODEL_MAX_HIDDEN * 21 + 1] = "";
    size_t length = 0;
    for (size_t l = 0; l < options->hidden_layers; l++) {
        length += (size_t)snprintf(hidden + length, sizeof hidden - length, "%s%zu",
                                   l == 0 ? "" : ",", options->hidden[l]);
    }
    nf_status status = nf_entries_set(context, entries, "format", NF_MODEL_FORMAT);
    if (status == NF_OK) status = nf_entries_set(context, entries, "version", NF_MODEL_VERSION);
    if (status == NF_OK) status = set_u64(context, entries, "inputs", options->inputs);
    if (status == NF_OK) status = nf_entries_set(context, entries, "hidden", hidden);
    if (status == NF_OK) status = set_u64(context, entries, "outputs", options->outputs);
    if (status == NF_OK) {
        status =
            nf_entries_set(context, entries, "activation", nf_activation_name(options->activation));
    }
    if (status == NF_OK) status = set_u64(context, entries, "bias", (uint64_t)options->bias);
    if (status == NF_OK) {
        status = set_u64(context, entries, "standardize", (uint64_t)options->standardize);
    }
    if (status == NF_OK) {
        status = set_u64(context, entries, "normalize", (uint64_t)options->normalize);
    }
    if (status == NF_OK) status = set_u64(context, entries, "seed", options->seed);
    return status;
}

const char *nf_activation_name(nf_activation activation) {
    return activation == NF_RELU ? "relu" : activation == NF_TANH ? "tanh" : NULL;
}

/* A decimal number without sign or leading zeros, at most `max`; *end is what follows. */
static bool parse_u64(const char *text, uint64_t max, uint64_t *value, const char **end) {
    const char *at = text;
    uint64_t number = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (number > (UINT64_MAX - digit) / 10) return false;
        number = number * 10 + digit;
        if (number > max) return false;
    }
    *value = number;
    *end = at;
    return at != text && (text[0] != '0' || at == text + 1);
}

static nf_status wrong(nf_context *context, const char *key, const char *value,
                       const char *expected) {
    return nf_fail(context, NF_ERR_DATA,
                   "model file: metadata '%s' is '%.60s': expected %s; the file is damaged", key,
                   value, expected);
}

/* The value of a key that must be there. */
static nf_status require(nf_context *context, const nf_safetensors *file, const char *key,
                         const char **value) {
    for (size_t i = 0; i < file->entries; i++) {
        if (strcmp(file->metadata[i].key, key) == 0) {
            *value = file->metadata[i].value;
            return NF_OK;
        }
    }
    return nf_fail(context, NF_ERR_DATA,
                   "model file: metadata has no '%s'; the file is damaged or was not written by "
                   "nearfar",
                   key);
}

static nf_status read_u64(nf_context *context, const nf_safetensors *file, const char *key,
                          uint64_t max, uint64_t *out) {
    const char *text = NULL, *end = NULL;
    nf_status status = require(context, file, key, &text);
    if (status != NF_OK) return status;
    if (!parse_u64(text, max, out, &end) || *end != '\0') {
        return wrong(context, key, text, max == 1 ? "0 or 1" : "a whole number");
    }
    return NF_OK;
}

static nf_status read_size(nf_context *context, const nf_safetensors *file, const char *key,
                           size_t *out) {
    uint64_t value = 0;
    nf_status status = read_u64(context, file, key, PTRDIFF_MAX, &value);
    *out = (size_t)value;
    return status;
}

static nf_status read_flag(nf_context *context, const nf_safetensors *file, const char *key,
                           int *out) {
    uint64_t value = 0;
    nf_status status = read_u64(context, file, key, 1, &value);
    *out = (int)value;
    return status;
}

/* "256,128"; empty for a linear model. */
static nf_status read_hidden(nf_context *context, const nf_safetensors *file,
                             nf_model_options *options) {
    const char *text = NULL;
    nf_status status = require(context, file, "hidden", &text);
    if (status != NF_OK) return status;
    const char *at = text;
    while (*at != '\0') {
        uint64_t width;
        if (options->hidden_layers == NF_MODEL_MAX_HIDDEN ||
            !parse_u64(at, PTRDIFF_MAX, &width, &at) || (*at != ',' && *at != '\0') ||
            (at[0] == ',' && at[1] == '\0')) {
            return wrong(context, "hidden", text, "at most 16 widths with commas between");
        }
        options->hidden[options->hidden_layers++] = (size_t)width;
        if (*at == ',') at++;
    }
    return NF_OK;
}

static nf_status read_format(nf_context *context, const nf_safetensors *file) {
    const char *format = NULL, *version = NULL;
    nf_status status = require(context, file, "format", &format);
    if (status != NF_OK) return status;
    if (strcmp(format, NF_MODEL_FORMAT) != 0) {
        return nf_fail(context, NF_ERR_DATA,
                       "this safetensors file is not a nearfar model: its format is '%.60s', "
                       "expected '" NF_MODEL_FORMAT "'",
                       format);
    }
    status = require(context, file, "version", &version);
    if (status != NF_OK) return status;
    if (strcmp(version, NF_MODEL_VERSION) != 0) {
        return nf_fail(
            context, NF_ERR_DATA,
            "model file has version '%.20s': this library reads version " NF_MODEL_VERSION
            "; use a newer nearfar",
            version);
    }
    return NF_OK;
}

nf_status nf_model_options_read(nf_context *context, const nf_safetensors *file,
                                nf_model_options *out) {
    nf_model_options options = {0};
    const char *activation = NULL;
    nf_status status = read_format(context, file);
    if (status == NF_OK) status = read_size(context, file, "inputs", &options.inputs);
    if (status == NF_OK) status = read_hidden(context, file, &options);
    if (status == NF_OK) status = read_size(context, file, "outputs", &options.outputs);
    if (status == NF_OK) status = read_flag(context, file, "bias", &options.bias);
    if (status == NF_OK) status = read_flag(context, file, "standardize", &options.standardize);
    if (status == NF_OK) status = read_flag(context, file, "normalize", &options.normalize);
    if (status == NF_OK) status = read_u64(context, file, "seed", UINT64_MAX, &options.seed);
    if (status == NF_OK) status = require(context, file, "activation", &activation);
    if (status != NF_OK) return status;
    if (strcmp(activation, "relu") == 0) {
        options.activation = NF_RELU;
    } else if (strcmp(activation, "tanh") == 0) {
        options.activation = NF_TANH;
    } else {
        return wrong(context, "activation", activation, "relu or tanh");
    }
    *out = options;
    return NF_OK;
}
