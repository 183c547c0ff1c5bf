#include "io/internal.h"

#include <stdio.h>

struct nf_npy_writer {
    nf_sink *sink;
    nf_dtype dtype;
    size_t expected, written;
};

nf_status nf_npy_check(nf_context *context, nf_dtype dtype, int ndim, const size_t *shape,
                       size_t *count) {
    size_t bytes;
    if (nf_dtype_name(dtype) == NULL) {
        return nf_fail(context, NF_ERR_ARG, "dtype is %d: it must be an nf_dtype value",
                       (int)dtype);
    }
    if (ndim < 0 || ndim > NF_MAX_DIMS) {
        return nf_fail(context, NF_ERR_ARG, "ndim is %d: it must be 0 to %d", ndim, NF_MAX_DIMS);
    }
    if (nf_shape_overflows(shape, ndim, count) ||
        nf_mul_overflows(*count, nf_dtype_size(dtype), &bytes)) {
        return nf_fail(context, NF_ERR_RANGE, "shape: its elements exceed the address space");
    }
    return NF_OK;
}

/* As NumPy writes it: padded with spaces so that the data starts at a multiple of 64. */
size_t nf_npy_header(char out[NF_NPY_HEADER_MAX], nf_dtype dtype, int ndim, const size_t *shape) {
    char order = nf_dtype_size(dtype) == 1 ? '|' : '<';
    size_t at = 10, room = NF_NPY_HEADER_MAX;
    at += (size_t)snprintf(out + at, room - at,
                           "{'descr': '%c%s', 'fortran_order': False, 'shape': (", order,
                           nf_dtype_name(dtype));
    for (int k = 0; k < ndim; k++) {
        at += (size_t)snprintf(out + at, room - at, k == 0 ? "%zu" : ", %zu", shape[k]);
    }
    at += (size_t)snprintf(out + at, room - at, ndim == 1 ? ",), }" : "), }");
    size_t total = nf_round_up(at + 1, 64);
    memset(out + at, ' ', total - at - 1);
    out[total - 1] = '\n';
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (char)((total - 10) & 255);
    out[9] = (char)((total - 10) >> 8);
    return total;
}

nf_status nf_npy_open(nf_context *context, const char *path, nf_dtype dtype, int ndim,
                      const size_t *shape, nf_npy_writer **out) {
    nf_scope scope = nf_scope_enter(context);
    nf_npy_writer *writer = NULL;
    size_t count = 0;
    nf_status status = nf_npy_check(context, dtype, ndim, shape, &count);
    if (status == NF_OK) {
        status = nf_allocate_zeroed(context, &writer, 1, sizeof *writer, "array writer");
    }
    if (status == NF_OK) {
        writer->dtype = dtype;
        writer->expected = count;
        status = nf_sink_open(context, path, &writer->sink);
    }
    if (status == NF_OK) {
        char header[NF_NPY_HEADER_MAX];
        size_t size = nf_npy_header(header, dtype, ndim, shape);
        status = nf_sink_write(context, writer->sink, header, size);
    }
    if (status == NF_OK) {
        *out = writer;
    } else {
        nf_npy_close(context, writer);
    }
    return nf_scope_leave(context, scope, status);
}

nf_status nf_npy_append(nf_context *context, nf_npy_writer *writer, const void *elements,
                        size_t count) {
    if (count > writer->expected - writer->written) {
        return nf_fail(context, NF_ERR_ARG,
                       "appending %zu elements to %zu exceeds the %zu of the array's shape", count,
                       writer->written, writer->expected);
    }
    size_t size = nf_dtype_size(writer->dtype);
    const unsigned char *from = elements;
    nf_status status = NF_OK;
    if (!nf_swap_little() || size == 1) {
        status = nf_sink_write(context, writer->sink, from, count * size);
    }
    for (size_t i = 0; nf_swap_little() && size > 1 && status == NF_OK && i < count; i++) {
        unsigned char element[8];
        nf_decode(element, from + i * size, 1, size, true);
        status = nf_sink_write(context, writer->sink, element, size);
    }
    if (status == NF_OK) writer->written += count;
    return status;
}

nf_status nf_npy_commit(nf_context *context, nf_npy_writer *writer) {
    if (writer->written != writer->expected) {
        return nf_fail(context, NF_ERR_ARG,
                       "%zu elements were appended but the array's shape holds %zu",
                       writer->written, writer->expected);
    }
    return nf_sink_commit(context, writer->sink);
}

void nf_npy_close(nf_context *context, nf_npy_writer *writer) {
    if (writer == NULL) return;
    nf_sink_close(context, writer->sink);
    nf_release(context, writer);
}

nf_status nf_npy_write(nf_context *context, const char *path, nf_dtype dtype, int ndim,
                       const size_t *shape, const void *data) {
    nf_scope scope = nf_scope_enter(context);
    nf_npy_writer *writer = NULL;
    nf_status status = nf_npy_open(context, path, dtype, ndim, shape, &writer);
    if (status == NF_OK) status = nf_npy_append(context, writer, data, writer->expected);
    if (status == NF_OK) status = nf_npy_commit(context, writer);
    nf_npy_close(context, writer);
    return nf_scope_leave(context, scope, status);
}
