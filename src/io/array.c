#include "io/internal.h"

#include <stdio.h>

const char *nf_dtype_name(nf_dtype dtype) {
    switch (dtype) {
#define XX(name, value, code, bytes) \
    case NF_DTYPE_##name: return code;
        NF_DTYPE_MAP(XX)
#undef XX
    }
    return NULL;
}

size_t nf_dtype_size(nf_dtype dtype) {
    switch (dtype) {
#define XX(name, value, code, bytes) \
    case NF_DTYPE_##name: return bytes;
        NF_DTYPE_MAP(XX)
#undef XX
    }
    return 0;
}

bool nf_dtype_is_float(nf_dtype dtype) {
    return dtype == NF_DTYPE_F16 || dtype == NF_DTYPE_F32 || dtype == NF_DTYPE_F64;
}

bool nf_shape_overflows(const size_t *shape, int ndim, size_t *count) {
    size_t product = 1;
    bool empty = false;
    for (int k = 0; k < ndim; k++) {
        if (shape[k] == 0) {
            empty = true;
        } else if (nf_mul_overflows(product, shape[k], &product)) {
            return true;
        }
    }
    *count = empty ? 0 : product;
    return false;
}

nf_status nf_array_new(nf_context *context, nf_dtype dtype, int ndim, const size_t *shape,
                       const char *what, nf_array **out) {
    nf_array *array = NULL;
    nf_status status = nf_allocate_zeroed(context, &array, 1, sizeof *array, what);
    if (status != NF_OK) return status;
    array->dtype = dtype;
    array->ndim = ndim;
    if (ndim > 0) memcpy(array->shape, shape, (size_t)ndim * sizeof *shape);
    if (nf_shape_overflows(shape, ndim, &array->count)) {
        status = nf_fail(context, NF_ERR_RANGE, "%s: its shape exceeds the address space", what);
    }
    if (status == NF_OK) {
        status = nf_allocate(context, &array->data, array->count, nf_dtype_size(dtype), what);
    }
    if (status != NF_OK) {
        nf_array_free(context, array);
        return status;
    }
    *out = array;
    return NF_OK;
}

void nf_array_free(nf_context *context, nf_array *array) {
    if (array == NULL) return;
    nf_release(context, array->data);
    nf_release(context, array);
}

nf_matrix nf_array_view(const nf_array *array) {
    return (nf_matrix){.data = array->data,
                       .type = array->dtype == NF_DTYPE_F64 ? NF_FLOAT64 : NF_FLOAT32,
                       .rows = array->shape[0],
                       .cols = array->shape[1],
                       .ld = array->shape[1]};
}

bool nf_swap_little(void) { return __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__; }

bool nf_swap_big(void) { return __BYTE_ORDER__ != __ORDER_BIG_ENDIAN__; }

void nf_decode(void *out, const void *in, size_t count, size_t size, bool swap) {
    if (count == 0) return;
    if (!swap || size == 1) {
        memcpy(out, in, count * size);
        return;
    }
    unsigned char *to = out;
    const unsigned char *from = in;
    for (size_t i = 0; i < count; i++, to += size, from += size) {
        for (size_t b = 0; b < size; b++) to[b] = from[size - 1 - b];
    }
}

const char *nf_shape_text(char buffer[NF_SHAPE_TEXT], const size_t *shape, int ndim) {
    size_t used = (size_t)snprintf(buffer, NF_SHAPE_TEXT, "(");
    for (int k = 0; k < ndim && used < NF_SHAPE_TEXT; k++) {
        used += (size_t)snprintf(buffer + used, NF_SHAPE_TEXT - used, "%s%zu", k > 0 ? ", " : "",
                                 shape[k]);
    }
    if (used < NF_SHAPE_TEXT) {
        snprintf(buffer + used, NF_SHAPE_TEXT - used, "%s", ndim == 1 ? ",)" : ")");
    }
    return buffer;
}

double nf_half_to_double(uint16_t half) {
    uint64_t sign = (uint64_t)(half >> 15) << 63;
    uint64_t exponent = (half >> 10) & 31, fraction = half & 1023;
    if (exponent == 0) { /* zero or subnormal: fraction * 2^-24 */
        double value = (double)fraction * 0x1p-24;
        return sign != 0 ? -value : value;
    }
    uint64_t biased = exponent == 31 ? 2047 : exponent + (1023 - 15);
    uint64_t bits = sign | biased << 52 | fraction << 42;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

double nf_array_value(const nf_array *array, size_t index) {
    const void *data = array->data;
    switch (array->dtype) {
    case NF_DTYPE_BOOL: return ((const uint8_t *)data)[index];
    case NF_DTYPE_I8: return ((const int8_t *)data)[index];
    case NF_DTYPE_U8: return ((const uint8_t *)data)[index];
    case NF_DTYPE_I16: return ((const int16_t *)data)[index];
    case NF_DTYPE_U16: return ((const uint16_t *)data)[index];
    case NF_DTYPE_I32: return ((const int32_t *)data)[index];
    case NF_DTYPE_U32: return ((const uint32_t *)data)[index];
    case NF_DTYPE_I64: return (double)((const int64_t *)data)[index];
    case NF_DTYPE_U64: return (double)((const uint64_t *)data)[index];
    case NF_DTYPE_F16: return nf_half_to_double(((const uint16_t *)data)[index]);
    case NF_DTYPE_F32: return (double)((const float *)data)[index];
    case NF_DTYPE_F64: return ((const double *)data)[index];
    }
    return 0;
}

nf_status nf_check_vector(nf_context *context, const nf_array *array, const char *name) {
    if (array->ndim == 1 || (array->ndim == 2 && array->shape[1] == 1)) return NF_OK;
    char shape[NF_SHAPE_TEXT];
    return nf_fail(context, NF_ERR_DATA,
                   "%s has shape %s: it must be (n,) or (n, 1), one value for each row", name,
                   nf_shape_text(shape, array->shape, array->ndim));
}
