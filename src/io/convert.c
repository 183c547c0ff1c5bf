/* Arrays of any type as what the library computes with. */
#include "io/internal.h"

#include <math.h>

nf_status nf_array_to_matrix(nf_context *context, const nf_array *array, const char *name,
                             nf_array **out) {
    if (array->ndim == 0) {
        return nf_fail(context, NF_ERR_DATA,
                       "%s is a single number: it must have rows and columns, shape (n, d)", name);
    }
    bool wide = array->dtype == NF_DTYPE_F64 ||
                (nf_dtype_size(array->dtype) >= 4 && !nf_dtype_is_float(array->dtype));
    size_t shape[2] = {array->shape[0], 1};
    if (nf_shape_overflows(array->shape + 1, array->ndim - 1, &shape[1])) {
        return nf_fail(context, NF_ERR_RANGE, "%s: its columns exceed the address space", name);
    }
    nf_array *made = NULL;
    nf_status status =
        nf_array_new(context, wide ? NF_DTYPE_F64 : NF_DTYPE_F32, 2, shape, name, &made);
    if (status != NF_OK) return status;
    if (array->dtype == made->dtype) {
        nf_decode(made->data, array->data, array->count, nf_dtype_size(made->dtype), false);
    } else if (wide) {
        double *values = made->data;
        for (size_t i = 0; i < array->count; i++) values[i] = nf_array_value(array, i);
    } else {
        float *values = made->data;
        for (size_t i = 0; i < array->count; i++) values[i] = (float)nf_array_value(array, i);
    }
    *out = made;
    return NF_OK;
}

nf_status nf_array_to_f64(nf_context *context, const nf_array *array, const char *name,
                          nf_array **out) {
    nf_status status = nf_check_vector(context, array, name);
    if (status != NF_OK) return status;
    for (size_t i = 0; i < array->count; i++) {
        double value = nf_array_value(array, i);
        if (!isfinite(value)) {
            return nf_fail(context, NF_ERR_DATA, "%s[%zu] is %g: every value must be finite", name,
                           i, value);
        }
    }
    nf_array *made = NULL;
    status = nf_array_new(context, NF_DTYPE_F64, 1, array->shape, name, &made);
    if (status != NF_OK) return status;
    double *values = made->data;
    for (size_t i = 0; i < array->count; i++) values[i] = nf_array_value(array, i);
    *out = made;
    return NF_OK;
}

nf_status nf_array_to_index(nf_context *context, const nf_array *array, const char *name,
                            nf_array **out) {
    nf_status status = nf_check_vector(context, array, name);
    if (status != NF_OK) return status;
    if (nf_dtype_is_float(array->dtype) || array->dtype == NF_DTYPE_BOOL) {
        return nf_fail(context, NF_ERR_DATA,
                       "%s has type %s: indices must be integers; convert them, e.g. with "
                       "astype('int64')",
                       name, nf_dtype_name(array->dtype));
    }
    const uint64_t *large = array->dtype == NF_DTYPE_U64 ? array->data : NULL;
    for (size_t i = 0; large != NULL && i < array->count; i++) {
        if (large[i] > INT64_MAX) {
            return nf_fail(context, NF_ERR_DATA, "%s[%zu] is %llu: an index must be below 2^63",
                           name, i, (unsigned long long)large[i]);
        }
    }
    nf_array *made = NULL;
    status = nf_array_new(context, NF_DTYPE_I64, 1, array->shape, name, &made);
    if (status != NF_OK) return status;
    int64_t *values = made->data;
    if (nf_dtype_size(array->dtype) == 8) {
        nf_decode(values, array->data, array->count, 8, false);
    } else {
        for (size_t i = 0; i < array->count; i++) values[i] = (int64_t)nf_array_value(array, i);
    }
    *out = made;
    return NF_OK;
}

/* Name the first value that is not allowed, with the remedy that fits. */
static nf_status bad_same(nf_context *context, const nf_array *array, const char *name,
                          nf_same_encoding encoding, size_t at) {
    double value = nf_array_value(array, at);
    if (encoding == NF_SAME_PM1) {
        return nf_fail(context, NF_ERR_DATA,
                       "%s[%zu] is %g: with same_encoding pm1 the values must be +1 (same) and -1 "
                       "(different); leave same_encoding out for 1 and 0",
                       name, at, value);
    }
    bool signs = true;
    for (size_t i = 0; i < array->count; i++) signs &= fabs(nf_array_value(array, i)) == 1;
    return nf_fail(context, NF_ERR_DATA,
                   "%s[%zu] is %g: the values must be 1 (same) and 0 (different)%s", name, at,
                   value, signs ? "; for +1 and -1 set same_encoding to pm1" : "");
}

nf_status nf_array_to_same(nf_context *context, const nf_array *array, const char *name,
                           nf_same_encoding encoding, nf_array **out) {
    if (encoding != NF_SAME_01 && encoding != NF_SAME_PM1) {
        return nf_fail(context, NF_ERR_ARG,
                       "same_encoding is %d: it must be NF_SAME_01 or NF_SAME_PM1", (int)encoding);
    }
    nf_status status = nf_check_vector(context, array, name);
    if (status != NF_OK) return status;
    double negative = encoding == NF_SAME_PM1 ? -1 : 0;
    for (size_t i = 0; i < array->count; i++) {
        double value = nf_array_value(array, i);
        if (value != 1 && value != negative) return bad_same(context, array, name, encoding, i);
    }
    nf_array *made = NULL;
    status = nf_array_new(context, NF_DTYPE_U8, 1, array->shape, name, &made);
    if (status != NF_OK) return status;
    uint8_t *values = made->data;
    for (size_t i = 0; i < array->count; i++) values[i] = nf_array_value(array, i) == 1;
    *out = made;
    return NF_OK;
}
