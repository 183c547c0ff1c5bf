/* Model files: safetensors with the options in the metadata. Reading checks every tensor's name,
 * type, shape and values against the options before a model is made. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/options.h"

#define NF_NAME_SIZE 48
#define NF_MAX_TENSORS (2 * NF_MODEL_MAX_LAYERS + 2)

/* A tensor the options call for. */
typedef struct slot {
    char name[NF_NAME_SIZE];
    nf_dtype dtype;
    int ndim;
    size_t shape[2];
    size_t parameter_at; /* of F32 tensors */
} slot;

/* Every tensor of a laid-out model, in file order; returns their number. */
static size_t list_tensors(const nf_model *model, slot *list) {
    size_t count = 0;
    if (model->options.standardize) {
        list[count++] = (slot){"input.mean", NF_DTYPE_F64, 1, {model->options.inputs, 0}, 0};
        list[count++] = (slot){"input.std", NF_DTYPE_F64, 1, {model->options.inputs, 0}, 0};
    }
    for (size_t l = 0; l < model->layers; l++) {
        size_t in = model->width[l], out = model->width[l + 1];
        slot *weight = &list[count++];
        *weight = (slot){"", NF_DTYPE_F32, 2, {out, in}, model->weight_at[l]};
        snprintf(weight->name, sizeof weight->name, "layers.%zu.weight", l);
        if (!model->options.bias) continue;
        slot *bias = &list[count++];
        *bias = (slot){"", NF_DTYPE_F32, 1, {out, 0}, model->bias_at[l]};
        snprintf(bias->name, sizeof bias->name, "layers.%zu.bias", l);
    }
    return count;
}

/* Where a tensor's values live in a model. */
static void *values_of(const nf_model *model, const slot *tensor) {
    if (tensor->dtype == NF_DTYPE_F32) return model->parameter + tensor->parameter_at;
    return strcmp(tensor->name, "input.mean") == 0 ? model->mean : model->std;
}

static size_t elements_of(const slot *tensor) {
    return tensor->ndim == 2 ? tensor->shape[0] * tensor->shape[1] : tensor->shape[0];
}

/* ---- writing -------------------------------------------------------------------------------- */

nf_status nf_model_save(nf_context *context, const nf_model *model, const char *path) {
    nf_scope scope = nf_scope_enter(context);
    slot list[NF_MAX_TENSORS];
    nf_tensor tensor[NF_MAX_TENSORS];
    size_t count = list_tensors(model, list);
    for (size_t i = 0; i < count; i++) {
        tensor[i] = (nf_tensor){.name = list[i].name,
                                .dtype = list[i].dtype,
                                .ndim = list[i].ndim,
                                .shape = {list[i].shape[0], list[i].shape[1]},
                                .count = elements_of(&list[i]),
                                .data = values_of(model, &list[i])};
    }
    nf_entries entries = {NULL, 0, 0};
    nf_metadata *metadata = NULL;
    nf_status status = nf_entries_copy(context, &model->metadata, &entries);
    if (status == NF_OK) status = nf_model_options_write(context, &model->options, &entries);
    if (status == NF_OK) {
        status = nf_scratch(context, &metadata, entries.count, sizeof *metadata, "metadata");
    }
    for (size_t i = 0; status == NF_OK && i < entries.count; i++) {
        metadata[i] = (nf_metadata){entries.entry[i].key, entries.entry[i].value};
    }
    if (status == NF_OK) {
        status = nf_safetensors_write(context, path, tensor, count, metadata, entries.count);
    }
    nf_entries_free(context, &entries);
    return nf_scope_leave(context, scope, status);
}

/* ---- reading -------------------------------------------------------------------------------- */

static void shape_text(char *text, size_t size, int ndim, const size_t *shape) {
    size_t length = (size_t)snprintf(text, size, "(");
    for (int i = 0; i < ndim && length + 24 < size; i++) {
        length +=
            (size_t)snprintf(text + length, size - length, "%s%zu", i == 0 ? "" : ", ", shape[i]);
    }
    snprintf(text + length, size - length, ")");
}

static nf_status check_tensor(nf_context *context, const slot *expected, const nf_tensor *found) {
    bool same_shape = found->ndim == expected->ndim;
    for (int i = 0; same_shape && i < expected->ndim; i++) {
        same_shape = found->shape[i] == expected->shape[i];
    }
    if (!same_shape) {
        char got[120], wanted[120];
        shape_text(got, sizeof got, found->ndim, found->shape);
        shape_text(wanted, sizeof wanted, expected->ndim, expected->shape);
        return nf_fail(context, NF_ERR_DATA,
                       "model file: tensor '%s' has shape %s: its options call for %s; the file is "
                       "damaged",
                       expected->name, got, wanted);
    }
    if (found->dtype != expected->dtype) {
        return nf_fail(context, NF_ERR_DATA, "model file: tensor '%s' is %s: it must be %s",
                       expected->name, nf_dtype_name(found->dtype), nf_dtype_name(expected->dtype));
    }
    bool positive = strcmp(expected->name, "input.std") == 0;
    for (size_t i = 0; i < found->count; i++) {
        double v = expected->dtype == NF_DTYPE_F32 ? (double)((const float *)found->data)[i]
                                                   : ((const double *)found->data)[i];
        if (!isfinite(v) || (positive && !(v > 0))) {
            return nf_fail(context, NF_ERR_DATA,
                           "model file: tensor '%s' has the value %g at position %zu: it must be "
                           "finite%s; the file is damaged",
                           expected->name, v, i, positive ? " and above 0" : "");
        }
    }
    return NF_OK;
}

static const nf_tensor *find_tensor(const nf_safetensors *file, const char *name) {
    for (size_t i = 0; i < file->tensors; i++) {
        if (strcmp(file->tensor[i].name, name) == 0) return &file->tensor[i];
    }
    return NULL;
}

/* Every expected tensor is there and right, and no other. */
static nf_status check_tensors(nf_context *context, const nf_safetensors *file, const slot *list,
                               size_t count) {
    for (size_t i = 0; i < count; i++) {
        const nf_tensor *found = find_tensor(file, list[i].name);
        if (found == NULL) {
            return nf_fail(context, NF_ERR_DATA,
                           "model file: tensor '%s' is missing; the file is damaged", list[i].name);
        }
        nf_status status = check_tensor(context, &list[i], found);
        if (status != NF_OK) return status;
    }
    for (size_t i = 0; i < file->tensors; i++) {
        bool known = false;
        for (size_t k = 0; k < count && !known; k++) {
            known = strcmp(file->tensor[i].name, list[k].name) == 0;
        }
        if (!known) {
            return nf_fail(context, NF_ERR_DATA,
                           "model file: tensor '%.60s' does not belong to its options; the file is "
                           "damaged or from another program",
                           file->tensor[i].name);
        }
    }
    return NF_OK;
}

static bool is_fitted(const nf_model *model) {
    for (size_t k = 0; model->mean != NULL && k < model->options.inputs; k++) {
        if (model->mean[k] != 0 || model->std[k] != 1) return true;
    }
    return false;
}

static nf_status build(nf_context *context, const nf_safetensors *file, nf_model **out) {
    nf_model plan; /* layout only */
    memset(&plan, 0, sizeof plan);
    slot list[NF_MAX_TENSORS];
    nf_model *model = NULL;
    nf_status status = nf_model_options_read(context, file, &plan.options);
    if (status != NF_OK) return status;
    status = nf_model_options_check(context, &plan.options);
    if (status == NF_OK) status = nf_model_layout(context, &plan);
    if (status != NF_OK) { /* the file's fault, not the caller's */
        char reason[NF_MESSAGE_SIZE / 2];
        snprintf(reason, sizeof reason, "%.200s", context->error.message);
        return nf_fail(context, NF_ERR_DATA, "model file: %s", reason);
    }
    size_t count = list_tensors(&plan, list);
    status = check_tensors(context, file, list, count);
    if (status == NF_OK) status = nf_model_blank(context, &plan.options, &model);
    if (status != NF_OK) return status;
    for (size_t i = 0; i < count; i++) {
        const nf_tensor *found = find_tensor(file, list[i].name);
        memcpy(values_of(model, &list[i]), found->data, found->count * nf_dtype_size(found->dtype));
    }
    model->fitted = is_fitted(model);
    for (size_t i = 0; status == NF_OK && i < file->entries; i++) {
        const nf_metadata *entry = &file->metadata[i];
        if (nf_model_key_reserved(entry->key)) continue;
        status = nf_entries_set(context, &model->metadata, entry->key, entry->value);
    }
    if (status == NF_OK) {
        *out = model;
    } else {
        nf_model_free(context, model);
    }
    return status;
}

nf_status nf_model_parse(nf_context *context, const void *bytes, size_t size, nf_model **model) {
    nf_scope scope = nf_scope_enter(context);
    nf_safetensors *file = NULL;
    nf_status status = nf_safetensors_parse(context, bytes, size, &file);
    if (status == NF_OK) status = build(context, file, model);
    nf_safetensors_free(context, file);
    return nf_scope_leave(context, scope, status);
}

nf_status nf_model_load(nf_context *context, const char *path, nf_model **model) {
    nf_scope scope = nf_scope_enter(context);
    void *bytes = NULL;
    size_t size = 0;
    nf_status status = nf_file_read(context, path, 0, 0, &bytes, &size);
    if (status == NF_OK) status = nf_model_parse(context, bytes, size, model);
    nf_bytes_free(context, bytes);
    return nf_scope_leave(context, scope, status);
}
