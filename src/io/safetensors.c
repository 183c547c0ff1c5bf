/* safetensors: 8 bytes header length, a JSON header, tensor data without holes.
 *
 * The JSON is read by jansson, after a scan that bounds its nesting; every number in it is then
 * checked against the file before anything is allocated for the tensors. */
#include "io/internal.h"

#include <jansson.h>
#include <stdlib.h>

#define MAX_HEADER 100000000u
#define MAX_DEPTH 3 /* file, tensor, shape */

typedef struct st_entry {
    const char *name;
    nf_dtype dtype;
    int ndim;
    const json_t *shape;
    size_t begin, end, count, order;
} st_entry;

typedef struct st_parse {
    nf_context *context;
    const unsigned char *data; /* after the header */
    size_t data_size;
    json_t *root;
    st_entry *entry;
    size_t tensors;
    const json_t *metadata; /* NULL if the file has none */
    size_t text;            /* bytes of all strings to keep, with their NULs */
} st_parse;

static nf_status header_of(nf_context *context, const unsigned char *b, size_t size,
                           size_t *length) {
    uint64_t claimed = 0;
    if (size < 8) {
        return nf_fail(
            context, NF_ERR_DATA,
            "safetensors file of %zu bytes is cut off: it needs 8 bytes of header length", size);
    }
    for (int k = 0; k < 8; k++) claimed |= (uint64_t)b[k] << 8 * k;
    if (claimed > MAX_HEADER || claimed > size - 8) {
        return nf_fail(context, NF_ERR_DATA,
                       "safetensors header claims %llu bytes: it must be within the file (%zu) and "
                       "at most %u",
                       (unsigned long long)claimed, size, MAX_HEADER);
    }
    if (claimed < 2 || b[8] != '{') {
        return nf_fail(context, NF_ERR_DATA, "safetensors header must start with '{'");
    }
    *length = (size_t)claimed;
    return NF_OK;
}

/* No recursion in the JSON parser deeper than a tensor's shape. */
static nf_status check_depth(nf_context *context, const char *text, size_t length) {
    int depth = 0;
    bool quoted = false;
    for (size_t at = 0; at < length; at++) {
        char c = text[at];
        if (quoted) {
            if (c == '\\') at++;
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > MAX_DEPTH) {
                return nf_fail(context, NF_ERR_DATA,
                               "safetensors header, byte %zu: nested deeper than %d", 8 + at,
                               MAX_DEPTH);
            }
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return NF_OK;
}

static nf_status parse_json(st_parse *p, const char *text, size_t length) {
    json_error_t error, again;
    nf_status status = check_depth(p->context, text, length);
    if (status != NF_OK) return status;
    p->root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (p->root != NULL) return NF_OK;
    /* When an allocation fails, jansson leaves the error empty or calls the text wrong where it
     * stood. A text that is wrong is wrong in the same place twice. */
    p->root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &again);
    if (p->root != NULL) return NF_OK;
    if (error.text[0] == '\0' || again.text[0] == '\0' || error.position != again.position ||
        strcmp(error.text, again.text) != 0) {
        return nf_fail(p->context, NF_ERR_NOMEM, "out of memory: safetensors header; free memory");
    }
    return nf_fail(p->context, NF_ERR_DATA, "safetensors header, byte %d: %.150s",
                   8 + error.position, error.text);
}

static nf_status bad_tensor(st_parse *p, const st_entry *e, const char *what) {
    return nf_fail(p->context, NF_ERR_DATA, "safetensors tensor '%.100s': %s", e->name, what);
}

static const char *const dtype_names[] = {"BOOL", "I8",  "U8",  "I16", "U16", "I32",
                                          "U32",  "I64", "U64", "F16", "F32", "F64"};

static bool find_dtype(const char *name, nf_dtype *dtype) {
    for (size_t k = 0; k < sizeof dtype_names / sizeof *dtype_names; k++) {
        if (strcmp(dtype_names[k], name) != 0) continue;
        *dtype = (nf_dtype)k;
        return true;
    }
    return false;
}

/* A non-negative JSON integer (reals are refused). */
static bool size_of(const json_t *value, size_t *size) {
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *size = (size_t)json_integer_value(value);
    return true;
}

static nf_status read_shape(st_parse *p, st_entry *e, const json_t *value, size_t *count) {
    size_t shape[NF_MAX_DIMS];
    if (!json_is_array(value) || json_array_size(value) > NF_MAX_DIMS) {
        return bad_tensor(p, e, "shape must be a list of at most 32 sizes");
    }
    e->shape = value;
    e->ndim = (int)json_array_size(value);
    for (int k = 0; k < e->ndim; k++) {
        if (!size_of(json_array_get(value, (size_t)k), &shape[k])) {
            return bad_tensor(p, e, "shape must hold whole numbers from 0");
        }
    }
    if (nf_shape_overflows(shape, e->ndim, count)) {
        return bad_tensor(p, e, "shape exceeds the address space");
    }
    return NF_OK;
}

static nf_status read_tensor(st_parse *p, st_entry *e, json_t *object) {
    const json_t *dtype = json_object_get(object, "dtype");
    const json_t *offsets = json_object_get(object, "data_offsets");
    size_t bytes;
    if (!json_is_object(object) || json_object_size(object) != 3) {
        return bad_tensor(p, e, "it must have dtype, shape and data_offsets and nothing else");
    }
    if (!json_is_string(dtype) || !find_dtype(json_string_value(dtype), &e->dtype)) {
        return bad_tensor(p, e, "dtype must be BOOL, I8 .. I64, U8 .. U64, F16, F32 or F64");
    }
    nf_status status = read_shape(p, e, json_object_get(object, "shape"), &e->count);
    if (status != NF_OK) return status;
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 ||
        !size_of(json_array_get(offsets, 0), &e->begin) ||
        !size_of(json_array_get(offsets, 1), &e->end)) {
        return bad_tensor(p, e, "data_offsets must be two whole numbers");
    }
    if (e->begin > e->end || e->end > p->data_size) {
        return bad_tensor(p, e, "data_offsets must ascend and lie within the file");
    }
    if (nf_mul_overflows(e->count, nf_dtype_size(e->dtype), &bytes) || bytes != e->end - e->begin) {
        return bad_tensor(p, e, "data_offsets do not match dtype and shape");
    }
    p->text += strlen(e->name) + 1;
    return NF_OK;
}

static nf_status read_metadata(st_parse *p, json_t *object) {
    const char *key;
    json_t *value;
    if (!json_is_object(object)) {
        return nf_fail(p->context, NF_ERR_DATA,
                       "safetensors __metadata__ must map strings to strings");
    }
    json_object_foreach(object, key, value) {
        if (!json_is_string(value)) {
            return nf_fail(p->context, NF_ERR_DATA,
                           "safetensors __metadata__ '%.100s' must be a string", key);
        }
        p->text += strlen(key) + json_string_length(value) + 2;
    }
    p->metadata = object;
    return NF_OK;
}

/* Empty tensors share an offset: header order then decides. */
static int by_offset(const void *left, const void *right) {
    const st_entry *a = left, *b = right;
    if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
    if (a->end != b->end) return a->end < b->end ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}

static nf_status read_entries(st_parse *p) {
    const char *key;
    json_t *value;
    nf_status status = nf_scratch(p->context, &p->entry, json_object_size(p->root),
                                  sizeof *p->entry, "tensor list");
    if (status != NF_OK) return status;
    json_object_foreach(p->root, key, value) {
        if (strcmp(key, "__metadata__") == 0) {
            status = read_metadata(p, value);
        } else {
            st_entry *e = &p->entry[p->tensors];
            *e = (st_entry){.name = key, .order = p->tensors++};
            status = read_tensor(p, e, value);
        }
        if (status != NF_OK) return status;
    }
    qsort(p->entry, p->tensors, sizeof *p->entry, by_offset);
    size_t at = 0;
    for (size_t k = 0; k < p->tensors; k++) {
        if (p->entry[k].begin != at) {
            return bad_tensor(p, &p->entry[k], "its data leaves a hole or overlaps another's");
        }
        at = p->entry[k].end;
    }
    if (at == p->data_size) return NF_OK;
    return nf_fail(p->context, NF_ERR_DATA, "safetensors file has %zu bytes after its last tensor",
                   p->data_size - at);
}

static char *keep(char **text, const char *string) {
    size_t size = strlen(string) + 1;
    char *kept = *text;
    memcpy(kept, string, size);
    *text += size;
    return kept;
}

static int by_key(const void *left, const void *right) {
    return strcmp(((const nf_metadata *)left)->key, ((const nf_metadata *)right)->key);
}

static void keep_metadata(const st_parse *p, nf_metadata *metadata, char **text) {
    const char *key;
    json_t *value;
    size_t k = 0;
    if (p->metadata == NULL) return;
    /* json_object_foreach wants a mutable object but does not change it. */
    json_object_foreach((json_t *)(uintptr_t)p->metadata, key, value) {
        metadata[k].key = keep(text, key);
        metadata[k++].value = keep(text, json_string_value(value));
    }
    qsort(metadata, k, sizeof *metadata, by_key);
}

static void keep_tensor(const st_parse *p, const st_entry *e, nf_tensor *tensor, char **text,
                        unsigned char *data) {
    memset(tensor, 0, sizeof *tensor);
    tensor->name = keep(text, e->name);
    tensor->dtype = e->dtype;
    tensor->ndim = e->ndim;
    tensor->count = e->count;
    for (int k = 0; k < e->ndim; k++) {
        (void)size_of(json_array_get(e->shape, (size_t)k), &tensor->shape[k]);
    }
    tensor->data = data;
    nf_decode(data, p->data + e->begin, e->count, nf_dtype_size(e->dtype), nf_swap_little());
    for (size_t i = 0; e->dtype == NF_DTYPE_BOOL && i < e->count; i++) data[i] = data[i] != 0;
}

/* One block: the record, tensors, metadata, strings, then aligned data. */
static nf_status build(st_parse *p, nf_safetensors **out) {
    size_t entries = p->metadata != NULL ? json_object_size(p->metadata) : 0, data = 0;
    size_t head = nf_round_up(sizeof(nf_safetensors) + p->tensors * sizeof(nf_tensor) +
                                  entries * sizeof(nf_metadata) + p->text,
                              NF_ALIGNMENT);
    for (size_t k = 0; k < p->tensors; k++) {
        data += nf_round_up(p->entry[k].end - p->entry[k].begin, NF_ALIGNMENT);
    }
    char *block = NULL;
    nf_status status = nf_allocate(p->context, &block, head + data, 1, "tensors");
    if (status != NF_OK) return status;
    nf_safetensors *file = (nf_safetensors *)(void *)block;
    nf_tensor *tensor = (nf_tensor *)(void *)(file + 1);
    nf_metadata *metadata = (nf_metadata *)(void *)(tensor + p->tensors);
    char *text = (char *)(metadata + entries);
    unsigned char *at = (unsigned char *)block + head;
    for (size_t k = 0; k < p->tensors; k++) {
        keep_tensor(p, &p->entry[k], &tensor[k], &text, at);
        at += nf_round_up(p->entry[k].end - p->entry[k].begin, NF_ALIGNMENT);
    }
    keep_metadata(p, metadata, &text);
    *file = (nf_safetensors){p->tensors, tensor, entries, metadata};
    *out = file;
    return NF_OK;
}

nf_status nf_safetensors_parse(nf_context *context, const void *bytes, size_t size,
                               nf_safetensors **out) {
    nf_scope scope = nf_scope_enter(context);
    const unsigned char *b = bytes;
    size_t length = 0;
    st_parse p;
    memset(&p, 0, sizeof p);
    p.context = context;
    nf_status status = header_of(context, b, size, &length);
    if (status == NF_OK) {
        p.data = b + 8 + length;
        p.data_size = size - 8 - length;
        status = parse_json(&p, (const char *)b + 8, length);
    }
    if (status == NF_OK) status = read_entries(&p);
    if (status == NF_OK) status = build(&p, out);
    json_decref(p.root);
    return nf_scope_leave(context, scope, status);
}

void nf_safetensors_free(nf_context *context, nf_safetensors *file) { nf_release(context, file); }
