/* Operands and results of a handler as the engine's views. */
#include <stdio.h>
#include <stdlib.h>

#include "jax/xla.h"

size_t xla_count(const xla_buffer *buffer) {
    size_t count = 1;
    for (int64_t k = 0; k < buffer->rank; k++) count *= (size_t)buffer->dims[k];
    return count;
}

static nf_status refuse(xla_call *call, const char *name, const char *expected) {
    char message[128];
    snprintf(message, sizeof message, "%s must be %s", name, expected);
    return xla_fail(call, message);
}

nf_status xla_allocate(xla_call *call, size_t count, size_t size, void **data) {
    *data = NULL;
    if (count == 0) return NF_OK;
    if (call->block_count < XLA_MAX_OWNED) *data = calloc(count, size);
    if (*data == NULL) {
        xla_fail(call, "out of memory for a list of pairs: give fewer of them");
        return NF_ERR_NOMEM;
    }
    call->block[call->block_count++] = *data;
    return NF_OK;
}

/* ---- matrices ------------------------------------------------------------------------------- */

static int is_float(const xla_buffer *buffer) {
    return buffer->type == XLA_F32 || buffer->type == XLA_F64;
}

nf_status xla_matrix(xla_call *call, int64_t k, const char *name, nf_matrix *matrix) {
    const xla_buffer *buffer = xla_arg(call, k);
    if (buffer->rank != 2 || !is_float(buffer)) {
        return refuse(call, name, "a float32 or float64 matrix (n, d)");
    }
    *matrix = (nf_matrix){.data = buffer->data,
                          .type = buffer->type == XLA_F32 ? NF_FLOAT32 : NF_FLOAT64,
                          .rows = (size_t)buffer->dims[0],
                          .cols = (size_t)buffer->dims[1],
                          .ld = (size_t)buffer->dims[1]};
    return NF_OK;
}

nf_status xla_gradient(xla_call *call, int64_t k, nf_matrix like, nf_matrix_out *out) {
    *out = (nf_matrix_out){0};
    if (k >= call->frame->rets.size) return NF_OK;
    const xla_buffer *buffer = call->frame->rets.buffer[k];
    int type = like.type == NF_FLOAT32 ? XLA_F32 : XLA_F64;
    if (buffer->type != type || xla_count(buffer) != like.rows * like.cols) {
        return refuse(call, "a gradient", "of its matrix's shape and type");
    }
    *out = (nf_matrix_out){buffer->data, like.type, like.rows, like.cols, like.cols};
    return NF_OK;
}

/* ---- vectors -------------------------------------------------------------------------------- */

static int engine_type(int type, nf_dtype *out) {
    static const struct {
        xla_type xla;
        nf_dtype engine;
    } types[] = {{XLA_PRED, NF_DTYPE_BOOL}, {XLA_S8, NF_DTYPE_I8},   {XLA_S16, NF_DTYPE_I16},
                 {XLA_S32, NF_DTYPE_I32},   {XLA_S64, NF_DTYPE_I64}, {XLA_U8, NF_DTYPE_U8},
                 {XLA_U16, NF_DTYPE_U16},   {XLA_U32, NF_DTYPE_U32}, {XLA_U64, NF_DTYPE_U64},
                 {XLA_F16, NF_DTYPE_F16},   {XLA_F32, NF_DTYPE_F32}, {XLA_F64, NF_DTYPE_F64}};
    for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
        if ((int)types[k].xla == type) {
            *out = types[k].engine;
            return 1;
        }
    }
    return 0;
}

/* Operand k as an engine array that borrows its data. */
static nf_status borrow(xla_call *call, int64_t k, const char *name, nf_array *array) {
    const xla_buffer *buffer = xla_arg(call, k);
    *array = (nf_array){.ndim = 1, .count = xla_count(buffer), .data = buffer->data};
    array->shape[0] = array->count;
    if (buffer->rank == 1 && engine_type(buffer->type, &array->dtype)) return NF_OK;
    return refuse(call, name, "a vector of a plain type");
}

/* Keep a converted array until the call ends. */
static const void *own(xla_call *call, nf_array *array) {
    call->owned[call->owned_count++] = array;
    return array->data;
}

nf_status xla_labels(xla_call *call, int64_t k, const char *name, nf_labels *labels) {
    nf_array given, *made;
    nf_status status = borrow(call, k, name, &given);
    if (status != NF_OK) return status;
    labels->n = given.count;
    labels->data = given.data;
    if (given.dtype == NF_DTYPE_I64) return NF_OK;
    status = nf_array_to_labels(call->context, &given, name, &made);
    if (status == NF_OK) labels->data = own(call, made);
    return status;
}

nf_status xla_index(xla_call *call, int64_t k, const char *name, const int64_t **index,
                    size_t *count) {
    nf_array given, *made;
    nf_status status = borrow(call, k, name, &given);
    if (status != NF_OK) return status;
    *count = given.count;
    *index = given.data;
    if (given.dtype == NF_DTYPE_I64) return NF_OK;
    status = nf_array_to_index(call->context, &given, name, &made);
    if (status == NF_OK) *index = own(call, made);
    return status;
}

nf_status xla_same(xla_call *call, int64_t k, nf_same_encoding encoding, const uint8_t **same,
                   size_t *count) {
    nf_array given, *made;
    nf_status status = borrow(call, k, "same", &given);
    if (status != NF_OK) return status;
    status = nf_array_to_same(call->context, &given, "same", encoding, &made);
    if (status != NF_OK) return status;
    *count = given.count;
    *same = own(call, made);
    return NF_OK;
}

nf_status xla_doubles(xla_call *call, int64_t k, const char *name, size_t expected,
                      const double **values) {
    nf_array given, *made;
    *values = NULL;
    nf_status status = borrow(call, k, name, &given);
    if (status != NF_OK || given.count == 0) return status;
    if (given.count != expected) return refuse(call, name, "one number per pair");
    status = nf_array_to_f64(call->context, &given, name, &made);
    if (status == NF_OK) *values = own(call, made);
    return status;
}

/* ---- results -------------------------------------------------------------------------------- */

nf_status xla_write_doubles(xla_call *call, int64_t k, const double *values, size_t count) {
    const xla_buffer *buffer = call->frame->rets.buffer[k];
    if (!is_float(buffer) || xla_count(buffer) != count) {
        return refuse(call, "a result", "float32 or float64 and of the right size");
    }
    if (buffer->type == XLA_F64) {
        for (size_t p = 0; p < count; p++) ((double *)buffer->data)[p] = values[p];
    } else {
        for (size_t p = 0; p < count; p++) ((float *)buffer->data)[p] = (float)values[p];
    }
    return NF_OK;
}
