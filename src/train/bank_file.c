/* Memory banks as safetensors files. */
#include "train/bank.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nearfar/io.h"

#define NF_BANK_FORMAT "nearfar-bank"
#define NF_BANK_VERSION "1"

static nf_dtype dtype_of(nf_type type) { return type == NF_FLOAT32 ? NF_DTYPE_F32 : NF_DTYPE_F64; }

/* ---- writing -------------------------------------------------------------------------------- */

enum { MOST_TENSORS = 7 };

static nf_tensor vector(const char *name, nf_dtype dtype, size_t count, const void *data) {
    return (nf_tensor){
        .name = name, .dtype = dtype, .ndim = 1, .shape = {count}, .count = count, .data = data};
}

/* By name; offsets are whole numbers of 64 bits in the file. */
static size_t list_tensors(const nf_bank *bank, const int64_t *offsets,
                           nf_tensor tensor[MOST_TENSORS]) {
    const size_t rows = bank->rows;
    size_t count = 0;
    tensor[count++] = (nf_tensor){.name = "embeddings",
                                  .dtype = dtype_of(bank->type),
                                  .ndim = 2,
                                  .shape = {rows, bank->d},
                                  .count = rows * bank->d,
                                  .data = bank->x};
    if ((bank->carries & NF_CARRIES_GROUPS) != 0) {
        tensor[count++] = vector("groups", NF_DTYPE_I64, rows, bank->groups);
    }
    tensor[count++] = vector("ids", NF_DTYPE_I64, rows, bank->ids);
    tensor[count++] = vector("labels", NF_DTYPE_I64, rows, bank->labels);
    if ((bank->carries & NF_CARRIES_SETS) != 0) {
        tensor[count++] = vector("set_labels", NF_DTYPE_I64, bank->offset[rows], bank->set_label);
        tensor[count++] = vector("set_offsets", NF_DTYPE_I64, rows + 1, offsets);
    }
    if ((bank->carries & NF_CARRIES_WEIGHTS) != 0) {
        tensor[count++] = vector("weights", NF_DTYPE_F64, rows, bank->weights);
    }
    return count;
}

nf_status nf_bank_save(nf_context *context, const nf_bank *bank, const char *path) {
    nf_scope scope = nf_scope_enter(context);
    const bool sets = (bank->carries & NF_CARRIES_SETS) != 0;
    char capacity[24], next[24], pushed[24];
    snprintf(capacity, sizeof capacity, "%zu", bank->capacity);
    snprintf(next, sizeof next, "%zu", bank->next);
    snprintf(pushed, sizeof pushed, "%" PRId64, bank->pushed);
    nf_metadata metadata[] = {{"capacity", capacity},
                              {"format", NF_BANK_FORMAT},
                              {"has_unlabelled", bank->has_unlabelled ? "1" : "0"},
                              {"next", next},
                              {"pushed", pushed},
                              {"version", NF_BANK_VERSION}};
    nf_tensor tensor[MOST_TENSORS];
    int64_t *offsets;
    nf_status status = nf_scratch(context, &offsets, bank->rows + 1, sizeof *offsets, "offsets");
    for (size_t r = 0; status == NF_OK && sets && r <= bank->rows; r++) {
        offsets[r] = (int64_t)bank->offset[r];
    }
    if (status == NF_OK) {
        const size_t count = list_tensors(bank, offsets, tensor);
        status = nf_safetensors_write(context, path, tensor, count, metadata, 6);
    }
    return nf_scope_leave(context, scope, status);
}

/* ---- reading -------------------------------------------------------------------------------- */

static nf_status damaged(nf_context *context, const char *what) {
    return nf_fail(context, NF_ERR_DATA, "bank file: %s; the file is damaged", what);
}

static const char *find_text(const nf_safetensors *file, const char *key) {
    for (size_t i = 0; i < file->entries; i++) {
        if (strcmp(file->metadata[i].key, key) == 0) return file->metadata[i].value;
    }
    return "";
}

/* A whole number from 0 to `most`, digits only. */
static bool find_number(const nf_safetensors *file, const char *key, uint64_t most, uint64_t *out) {
    const char *text = find_text(file, key);
    uint64_t value = 0;
    if (text[0] == '\0') return false;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at < '0' || *at > '9') return false;
        uint64_t digit = (uint64_t)(*at - '0');
        if (digit > most || value > (most - digit) / 10) return false;
        value = 10 * value + digit;
    }
    *out = value;
    return true;
}

static const nf_tensor *find_tensor(const nf_safetensors *file, const char *name, int ndim) {
    for (size_t i = 0; i < file->tensors; i++) {
        const nf_tensor *tensor = &file->tensor[i];
        if (strcmp(tensor->name, name) == 0) return tensor->ndim == ndim ? tensor : NULL;
    }
    return NULL;
}

typedef struct contents {
    const nf_tensor *x, *labels, *ids;
    const nf_tensor *groups, *weights, *set_labels, *set_offsets; /* or NULL */
    uint64_t capacity, next, pushed, has_unlabelled;
} contents;

static nf_status read_header(nf_context *context, const nf_safetensors *file, contents *c) {
    if (strcmp(find_text(file, "format"), NF_BANK_FORMAT) != 0) {
        return nf_fail(context, NF_ERR_DATA,
                       "this safetensors file is not a memory bank: its format is '%.60s', "
                       "expected '" NF_BANK_FORMAT "'",
                       find_text(file, "format"));
    }
    if (strcmp(find_text(file, "version"), NF_BANK_VERSION) != 0) {
        return nf_fail(context, NF_ERR_DATA,
                       "bank file has version '%.20s': this library reads version " NF_BANK_VERSION
                       "; use a newer nearfar",
                       find_text(file, "version"));
    }
    if (!find_number(file, "capacity", PTRDIFF_MAX, &c->capacity) || c->capacity == 0 ||
        !find_number(file, "next", PTRDIFF_MAX, &c->next) ||
        !find_number(file, "pushed", (uint64_t)1 << 62, &c->pushed) ||
        !find_number(file, "has_unlabelled", 1, &c->has_unlabelled)) {
        return damaged(context, "capacity, next, pushed or has_unlabelled is missing or not a "
                                "whole number in its range");
    }
    return NF_OK;
}

/* One whole number per row. */
static bool is_per_row(const nf_tensor *tensor, nf_dtype dtype, size_t rows) {
    return tensor == NULL || (tensor->dtype == dtype && tensor->shape[0] == rows);
}

static nf_status read_weights(nf_context *context, const contents *c) {
    const double *weight = c->weights->data;
    for (size_t r = 0; r < c->weights->count; r++) {
        if (isfinite(weight[r]) && weight[r] >= 0) continue;
        return damaged(context, "a weight is not finite and at least 0");
    }
    return NF_OK;
}

static nf_status read_sets(nf_context *context, const contents *c) {
    const size_t rows = c->x->shape[0];
    if (c->set_labels == NULL || c->set_offsets == NULL || c->set_labels->dtype != NF_DTYPE_I64 ||
        c->set_offsets->dtype != NF_DTYPE_I64 || c->set_offsets->shape[0] != rows + 1) {
        return damaged(context, "set_labels and set_offsets must be int64, and one offset more "
                                "than there are rows");
    }
    const int64_t *offset = c->set_offsets->data;
    bool right = offset[0] == 0 && (uint64_t)offset[rows] == c->set_labels->count;
    for (size_t r = 0; right && r < rows; r++) right = offset[r] <= offset[r + 1];
    return right ? NF_OK : damaged(context, "set_offsets do not ascend to the number of labels");
}

static nf_status read_targets(nf_context *context, const nf_safetensors *file, contents *c) {
    const size_t rows = c->x->shape[0];
    c->groups = find_tensor(file, "groups", 1);
    c->weights = find_tensor(file, "weights", 1);
    c->set_labels = find_tensor(file, "set_labels", 1);
    c->set_offsets = find_tensor(file, "set_offsets", 1);
    if (!is_per_row(c->groups, NF_DTYPE_I64, rows) || !is_per_row(c->weights, NF_DTYPE_F64, rows)) {
        return damaged(context, "groups must be int64 and weights float64, one per row");
    }
    nf_status status = c->weights != NULL ? read_weights(context, c) : NF_OK;
    if (status == NF_OK && (c->set_labels != NULL || c->set_offsets != NULL)) {
        status = read_sets(context, c);
    }
    return status;
}

static size_t tensors_known(const contents *c) {
    return 3 + (size_t)(c->groups != NULL) + (c->weights != NULL) + (c->set_labels != NULL) +
           (c->set_offsets != NULL);
}

static nf_status read_tensors(nf_context *context, const nf_safetensors *file, contents *c) {
    c->x = find_tensor(file, "embeddings", 2);
    c->labels = find_tensor(file, "labels", 1);
    c->ids = find_tensor(file, "ids", 1);
    if (c->x == NULL || c->labels == NULL || c->ids == NULL) {
        return damaged(context, "it must hold embeddings (n, d), labels (n) and ids (n)");
    }
    size_t rows = c->x->shape[0];
    if ((c->x->dtype != NF_DTYPE_F32 && c->x->dtype != NF_DTYPE_F64) || c->x->shape[1] == 0) {
        return damaged(context, "embeddings must be float32 or float64 with at least 1 column");
    }
    if (!is_per_row(c->labels, NF_DTYPE_I64, rows) || !is_per_row(c->ids, NF_DTYPE_I64, rows)) {
        return damaged(context, "labels and ids must be int64, one per row");
    }
    bool full = rows == c->capacity;
    if (rows > c->capacity || c->pushed < rows ||
        (full ? c->next >= c->capacity : c->next != rows)) {
        return damaged(context, "capacity, next and pushed do not fit the number of rows");
    }
    for (size_t i = 0; i < c->x->count; i++) {
        double v = c->x->dtype == NF_DTYPE_F32 ? (double)((const float *)c->x->data)[i]
                                               : ((const double *)c->x->data)[i];
        if (!isfinite(v)) return damaged(context, "an embedding is not finite");
    }
    nf_status status = read_targets(context, file, c);
    if (status != NF_OK || file->tensors == tensors_known(c)) return status;
    return damaged(context, "it holds a tensor that no bank has");
}

/* The rows of the file, in the order of their places, as a batch for an empty bank. */
static nf_status push_rows(nf_context *context, const contents *c, nf_bank *bank) {
    const size_t rows = c->x->shape[0];
    nf_label_sets sets = {NULL, c->set_labels != NULL ? c->set_labels->data : NULL};
    nf_row_targets targets = {.group = c->groups != NULL ? c->groups->data : NULL,
                              .row_weight = c->weights != NULL ? c->weights->data : NULL};
    size_t *offset = NULL;
    nf_status status = NF_OK;
    if (c->set_offsets != NULL) {
        status = nf_scratch(context, &offset, rows + 1, sizeof *offset, "offsets");
        for (size_t r = 0; status == NF_OK && r <= rows; r++) {
            offset[r] = (size_t)((const int64_t *)c->set_offsets->data)[r];
        }
        sets.offset = offset;
        targets.sets = &sets;
    }
    nf_labels labels = {NULL, 0, (int)c->has_unlabelled};
    if (targets.sets == NULL) labels = (nf_labels){c->labels->data, rows, (int)c->has_unlabelled};
    if (status != NF_OK) return status;
    return nf_bank_push_targets(context, bank,
                                (nf_matrix){c->x->data, bank->type, rows, bank->d, bank->d}, labels,
                                c->ids->data, &targets);
}

static nf_status build(nf_context *context, const nf_safetensors *file, nf_bank **out) {
    contents c = {0};
    nf_bank *bank = NULL;
    nf_status status = read_header(context, file, &c);
    if (status == NF_OK) status = read_tensors(context, file, &c);
    if (status != NF_OK) return status;
    status = nf_bank_blank(context, (size_t)c.capacity, c.x->shape[1],
                           c.x->dtype == NF_DTYPE_F32 ? NF_FLOAT32 : NF_FLOAT64, &bank);
    if (status == NF_ERR_RANGE) return damaged(context, "capacity is beyond the address space");
    if (status != NF_OK) return status;
    status = push_rows(context, &c, bank);
    if (status != NF_OK) {
        nf_bank_free(context, bank);
        return status;
    }
    bank->next = (size_t)c.next;
    bank->pushed = (int64_t)c.pushed;
    *out = bank;
    return NF_OK;
}

nf_status nf_bank_parse(nf_context *context, const void *bytes, size_t size, nf_bank **bank) {
    nf_scope scope = nf_scope_enter(context);
    nf_safetensors *file = NULL;
    nf_status status = nf_safetensors_parse(context, bytes, size, &file);
    if (status == NF_OK) status = build(context, file, bank);
    nf_safetensors_free(context, file);
    return nf_scope_leave(context, scope, status);
}

nf_status nf_bank_load(nf_context *context, const char *path, nf_bank **bank) {
    nf_scope scope = nf_scope_enter(context);
    void *bytes = NULL;
    size_t size = 0;
    nf_status status = nf_file_read(context, path, 0, 0, &bytes, &size);
    if (status == NF_OK) status = nf_bank_parse(context, bytes, size, bank);
    nf_bytes_free(context, bytes);
    return nf_scope_leave(context, scope, status);
}
