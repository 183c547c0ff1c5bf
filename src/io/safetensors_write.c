#include "io/internal.h"

#include <jansson.h>
#include <stdlib.h>

static const char *dtype_name(nf_dtype dtype) {
    switch (dtype) {
#define XX(name, value, code, bytes) \
    case NF_DTYPE_##name: return #name;
        NF_DTYPE_MAP(XX)
#undef XX
    }
    return NULL;
}

static nf_status out_of_memory(nf_context *context) {
    return nf_fail(context, NF_ERR_NOMEM, "out of memory: safetensors header; free memory");
}

/* A JSON string; NULL values and invalid UTF-8 are the caller's mistakes, named by `what`. */
static nf_status make_string(nf_context *context, const char *text, const char *what,
                             json_t **out) {
    if (text == NULL) return nf_fail(context, NF_ERR_ARG, "%s is NULL: give it a text", what);
    *out = json_string(text);
    if (*out != NULL) return NF_OK;
    /* NULL for want of memory as well as for invalid text: see whether memory is to be had. */
    json_t *unchecked = json_string_nocheck(text);
    if (unchecked == NULL) return out_of_memory(context);
    json_decref(unchecked);
    *out = json_string(text);
    if (*out != NULL) return NF_OK;
    return nf_fail(context, NF_ERR_ARG, "%s is not valid UTF-8: '%.60s'", what, text);
}

static int by_key(const void *left, const void *right) {
    return strcmp(((const nf_metadata *)left)->key, ((const nf_metadata *)right)->key);
}

static nf_status add_metadata(nf_context *context, json_t *root, const nf_metadata *metadata,
                              size_t entries) {
    nf_metadata *sorted = NULL;
    if (entries == 0) return NF_OK;
    nf_status status = nf_scratch(context, &sorted, entries, sizeof *sorted, "metadata");
    if (status != NF_OK) return status;
    memcpy(sorted, metadata, entries * sizeof *sorted);
    json_t *object = json_object();
    if (object == NULL || json_object_set_new(root, "__metadata__", object) != 0) {
        return out_of_memory(context);
    }
    for (size_t k = 0; k < entries; k++) {
        if (sorted[k].key == NULL) {
            return nf_fail(context, NF_ERR_ARG, "metadata key %zu is NULL: give it a name", k);
        }
    }
    qsort(sorted, entries, sizeof *sorted, by_key);
    for (size_t k = 0; k < entries; k++) {
        json_t *value = NULL;
        if (json_object_get(object, sorted[k].key) != NULL) {
            return nf_fail(context, NF_ERR_ARG, "metadata key '%.60s' is there twice",
                           sorted[k].key);
        }
        status = make_string(context, sorted[k].key, "a metadata key", &value);
        json_decref(value);
        if (status == NF_OK) {
            status = make_string(context, sorted[k].value, "a metadata value", &value);
        }
        if (status != NF_OK) return status;
        if (json_object_set_new(object, sorted[k].key, value) != 0) return out_of_memory(context);
    }
    return NF_OK;
}

static nf_status check_tensor(nf_context *context, json_t *root, const nf_tensor *tensor,
                              size_t *bytes) {
    json_t *name = NULL;
    size_t count = 0;
    nf_status status = make_string(context, tensor->name, "a tensor's name", &name);
    json_decref(name);
    if (status == NF_OK) {
        status = nf_npy_check(context, tensor->dtype, tensor->ndim, tensor->shape, &count);
    }
    if (status != NF_OK) return status;
    if (strcmp(tensor->name, "__metadata__") == 0 || json_object_get(root, tensor->name) != NULL) {
        return nf_fail(context, NF_ERR_ARG, "tensor name '%.60s' is there twice or reserved",
                       tensor->name);
    }
    if (tensor->data == NULL && count > 0) {
        return nf_fail(context, NF_ERR_ARG, "tensor '%.60s' has no data", tensor->name);
    }
    *bytes = count * nf_dtype_size(tensor->dtype);
    return NF_OK;
}

static json_t *shape_list(const nf_tensor *tensor) {
    json_t *list = json_array();
    for (int k = 0; list != NULL && k < tensor->ndim; k++) {
        if (json_array_append_new(list, json_integer((json_int_t)tensor->shape[k])) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

static nf_status add_tensor(nf_context *context, json_t *root, const nf_tensor *tensor,
                            size_t *offset) {
    size_t bytes = 0, end;
    nf_status status = check_tensor(context, root, tensor, &bytes);
    if (status != NF_OK) return status;
    if (nf_add_overflows(*offset, bytes, &end) || end > PTRDIFF_MAX) {
        return nf_fail(context, NF_ERR_RANGE, "the tensors exceed the address space");
    }
    /* "o" takes the reference over, also when packing fails. */
    json_t *object =
        json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype_name(tensor->dtype), "shape",
                  shape_list(tensor), "data_offsets", (json_int_t)*offset, (json_int_t)end);
    if (object == NULL || json_object_set_new(root, tensor->name, object) != 0) {
        return out_of_memory(context);
    }
    *offset = end;
    return NF_OK;
}

static nf_status write_header(nf_context *context, nf_sink *sink, const char *json, size_t length) {
    size_t padded = nf_round_up(length, 8);
    unsigned char size[8];
    for (int k = 0; k < 8; k++) size[k] = (unsigned char)((uint64_t)padded >> 8 * k);
    nf_status status = nf_sink_write(context, sink, size, sizeof size);
    if (status == NF_OK) status = nf_sink_write(context, sink, json, length);
    if (status == NF_OK) status = nf_sink_write(context, sink, "       ", padded - length);
    return status;
}

static nf_status write_data(nf_context *context, nf_sink *sink, const nf_tensor *tensor) {
    size_t size = nf_dtype_size(tensor->dtype), count = 0;
    nf_status status = nf_npy_check(context, tensor->dtype, tensor->ndim, tensor->shape, &count);
    if (!nf_swap_little() || size == 1) {
        return status == NF_OK ? nf_sink_write(context, sink, tensor->data, count * size) : status;
    }
    for (size_t i = 0; status == NF_OK && i < count; i++) {
        unsigned char element[8];
        nf_decode(element, (const char *)tensor->data + i * size, 1, size, true);
        status = nf_sink_write(context, sink, element, size);
    }
    return status;
}

/* The header as text, in scratch. json_dumps would grow a buffer of its own and, when that fails in
 * the wrong place, leave bytes out without a word. */
static nf_status header_text(nf_context *context, const json_t *root, char **text, size_t *length) {
    *length = json_dumpb(root, NULL, 0, JSON_COMPACT);
    if (*length == 0) return out_of_memory(context);
    nf_status status = nf_scratch(context, text, *length, 1, "safetensors header");
    if (status != NF_OK) return status;
    return json_dumpb(root, *text, *length, JSON_COMPACT) == *length ? NF_OK
                                                                     : out_of_memory(context);
}

static nf_status write_file(nf_context *context, const char *path, const nf_tensor *tensor,
                            size_t tensors, const json_t *root) {
    nf_sink *sink = NULL;
    char *json = NULL;
    size_t length = 0;
    nf_status status = header_text(context, root, &json, &length);
    if (status == NF_OK) status = nf_sink_open(context, path, &sink);
    if (status == NF_OK) status = write_header(context, sink, json, length);
    for (size_t k = 0; status == NF_OK && k < tensors; k++) {
        status = write_data(context, sink, &tensor[k]);
    }
    if (status == NF_OK) status = nf_sink_commit(context, sink);
    nf_sink_close(context, sink);
    return status;
}

nf_status nf_safetensors_write(nf_context *context, const char *path, const nf_tensor *tensor,
                               size_t tensors, const nf_metadata *metadata, size_t entries) {
    nf_scope scope = nf_scope_enter(context);
    size_t offset = 0;
    json_t *root = json_object();
    nf_status status =
        root == NULL ? out_of_memory(context) : add_metadata(context, root, metadata, entries);
    for (size_t k = 0; status == NF_OK && k < tensors; k++) {
        status = add_tensor(context, root, &tensor[k], &offset);
    }
    if (status == NF_OK) status = write_file(context, path, tensor, tensors, root);
    json_decref(root);
    return nf_scope_leave(context, scope, status);
}
