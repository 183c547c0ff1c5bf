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

nf_status nf_bank_save(nf_context *context, const nf_bank *bank, const char *path) {
    nf_scope scope = nf_scope_enter(context);
    char capacity[24], next[24], pushed[24];
    snprintf(capacity, sizeof capacity, "%zu", bank->capacity);
    snprintf(next, sizeof next, "%zu", bank->next);
    snprintf(pushed, sizeof pushed, "%" PRId64, bank->pushed);
    nf_tensor tensor[] = {{.name = "embeddings",
                           .dtype = dtype_of(bank->type),
                           .ndim = 2,
                           .shape = {bank->rows, bank->d},
                           .count = bank->rows * bank->d,
                           .data = bank->x},
                          {.name = "ids",
                           .dtype = NF_DTYPE_I64,
                           .ndim = 1,
                           .shape = {bank->rows},
                           .count = bank->rows,
                           .data = bank->ids},
                          {.name = "labels",
                           .dtype = NF_DTYPE_I64,
                           .ndim = 1,
                           .shape = {bank->rows},
                           .count = bank->rows,
                           .data = bank->labels}};
    nf_metadata metadata[] = {{"capacity", capacity},
                              {"format", NF_BANK_FORMAT},
                              {"has_unlabelled", bank->has_unlabelled ? "1" : "0"},
                              {"next", next},
                              {"pushed", pushed},
                              {"version", NF_BANK_VERSION}};
    nf_status status = nf_safetensors_write(context, path, tensor, 3, metadata, 6);
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

static nf_status read_tensors(nf_context *context, const nf_safetensors *file, contents *c) {
    c->x = find_tensor(file, "embeddings", 2);
    c->labels = find_tensor(file, "labels", 1);
    c->ids = find_tensor(file, "ids", 1);
    if (file->tensors != 3 || c->x == NULL || c->labels == NULL || c->ids == NULL) {
        return damaged(context, "it must hold embeddings (n, d), labels (n) and ids (n)");
    }
    size_t rows = c->x->shape[0];
    if ((c->x->dtype != NF_DTYPE_F32 && c->x->dtype != NF_DTYPE_F64) || c->x->shape[1] == 0) {
        return damaged(context, "embeddings must be float32 or float64 with at least 1 column");
    }
    if (c->labels->dtype != NF_DTYPE_I64 || c->ids->dtype != NF_DTYPE_I64 ||
        c->labels->shape[0] != rows || c->ids->shape[0] != rows) {
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
    return NF_OK;
}

static nf_status build(nf_context *context, const nf_safetensors *file, nf_bank **out) {
    contents c = {0};
    nf_bank *bank = NULL;
    nf_status status = read_header(context, file, &c);
    if (status == NF_OK) status = read_tensors(context, file, &c);
    if (status != NF_OK) return status;
    size_t rows = c.x->shape[0];
    status = nf_bank_blank(context, (size_t)c.capacity, c.x->shape[1],
                           c.x->dtype == NF_DTYPE_F32 ? NF_FLOAT32 : NF_FLOAT64, &bank);
    if (status == NF_ERR_RANGE) return damaged(context, "capacity is beyond the address space");
    if (status != NF_OK) return status;
    status = nf_bank_make_room(context, bank, rows);
    if (status != NF_OK) {
        nf_bank_free(context, bank);
        return status;
    }
    bank->rows = rows;
    bank->next = (size_t)c.next;
    bank->pushed = (int64_t)c.pushed;
    bank->has_unlabelled = (int)c.has_unlabelled;
    if (rows > 0) {
        memcpy(bank->x, c.x->data, c.x->count * nf_dtype_size(c.x->dtype));
        memcpy(bank->labels, c.labels->data, rows * sizeof(int64_t));
        memcpy(bank->ids, c.ids->data, rows * sizeof(int64_t));
    }
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
