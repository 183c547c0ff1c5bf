/* Arrays as class labels: equality is all that matters, so values are kept exactly. */
#include "io/internal.h"

#include <math.h>

/* Floats only if integral and within int64; -0.0 is 0. */
static nf_status labels_from_float(nf_context *context, const nf_array *array, const char *name,
                                   int64_t *labels) {
    for (size_t i = 0; i < array->count; i++) {
        double value = nf_array_value(array, i);
        if (isnan(value)) {
            return nf_fail(context, NF_ERR_DATA,
                           "%s[%zu] is NaN: a label must be a whole number; use -1 for unlabelled "
                           "rows",
                           name, i);
        }
        if (value != floor(value) || value < -0x1p63 || value >= 0x1p63) {
            return nf_fail(context, NF_ERR_DATA,
                           "%s[%zu] is %.9g: a label must be a whole number within int64; give "
                           "each class a number",
                           name, i, value);
        }
        labels[i] = (int64_t)value;
    }
    return NF_OK;
}

/* Beyond int64 values cannot be kept: number the classes, comparing all 64 bits. */
static nf_status labels_from_u64(nf_context *context, const nf_array *array, int64_t *labels) {
    const uint64_t *values = array->data;
    bool fits = true;
    for (size_t i = 0; i < array->count; i++) fits &= values[i] <= INT64_MAX;
    if (fits) {
        for (size_t i = 0; i < array->count; i++) labels[i] = (int64_t)values[i];
        return NF_OK;
    }
    nf_classes classes;
    nf_status status = nf_classes_init(context, &classes, array->count, array->count * 8);
    if (status != NF_OK) return status;
    for (size_t i = 0; i < array->count; i++) {
        char bytes[8];
        memcpy(bytes, &values[i], 8);
        labels[i] = nf_classes_intern(&classes, bytes, 8, false);
    }
    return NF_OK;
}

nf_status nf_array_to_labels(nf_context *context, const nf_array *array, const char *name,
                             nf_array **out) {
    nf_scope scope = nf_scope_enter(context);
    nf_array *made = NULL;
    nf_status status = nf_check_vector(context, array, name);
    if (status == NF_OK) {
        status = nf_array_new(context, NF_DTYPE_I64, 1, array->shape, name, &made);
    }
    if (status != NF_OK) return nf_scope_leave(context, scope, status);
    int64_t *labels = made->data;
    if (nf_dtype_is_float(array->dtype)) {
        status = labels_from_float(context, array, name, labels);
    } else if (array->dtype == NF_DTYPE_U64) {
        status = labels_from_u64(context, array, labels);
    } else if (array->dtype == NF_DTYPE_I64) {
        nf_decode(labels, array->data, array->count, 8, false);
    } else {
        for (size_t i = 0; i < array->count; i++) labels[i] = (int64_t)nf_array_value(array, i);
    }
    if (status == NF_OK) {
        *out = made;
    } else {
        nf_array_free(context, made);
    }
    return nf_scope_leave(context, scope, status);
}
