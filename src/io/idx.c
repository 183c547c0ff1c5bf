/* IDX, the format of MNIST: two zero bytes, type, number of dimensions, dimensions as big-endian
 * 32-bit numbers, elements. */
#include "io/internal.h"

static bool idx_type(unsigned char code, nf_dtype *dtype) {
    static const struct {
        unsigned char code;
        nf_dtype dtype;
    } types[] = {{0x08, NF_DTYPE_U8},  {0x09, NF_DTYPE_I8},  {0x0B, NF_DTYPE_I16},
                 {0x0C, NF_DTYPE_I32}, {0x0D, NF_DTYPE_F32}, {0x0E, NF_DTYPE_F64}};
    for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
        if (types[k].code != code) continue;
        *dtype = types[k].dtype;
        return true;
    }
    return false;
}

static nf_status check_magic(nf_context *context, const unsigned char *b, size_t size,
                             nf_dtype *dtype) {
    if (size >= 2 && b[0] == 0x1f && b[1] == 0x8b) {
        return nf_fail(context, NF_ERR_DATA, "IDX data is gzipped: inflate it first");
    }
    if (size < 4 || b[0] != 0 || b[1] != 0) {
        return nf_fail(context, NF_ERR_DATA, "not an IDX file: it must start with two zero bytes");
    }
    if (!idx_type(b[2], dtype)) {
        return nf_fail(context, NF_ERR_DATA,
                       "IDX type 0x%02X (byte 2) is unknown: it must be 08, 09, 0B, 0C, 0D or 0E",
                       b[2]);
    }
    if (b[3] == 0 || b[3] > NF_MAX_DIMS) {
        return nf_fail(context, NF_ERR_DATA, "IDX has %d dimensions (byte 3): it must have 1 to %d",
                       b[3], NF_MAX_DIMS);
    }
    return NF_OK;
}

nf_status nf_idx_parse(nf_context *context, const void *bytes, size_t size, nf_array **out) {
    nf_scope scope = nf_scope_enter(context);
    const unsigned char *b = bytes;
    nf_dtype dtype = NF_DTYPE_U8;
    size_t shape[NF_MAX_DIMS] = {0}, count = 0, need = 0;
    nf_array *array = NULL;
    nf_status status = check_magic(context, b, size, &dtype);
    if (status != NF_OK) return nf_scope_leave(context, scope, status);
    int ndim = b[3];
    size_t header = 4 + 4 * (size_t)ndim, element = nf_dtype_size(dtype);
    for (int k = 0; size >= header && k < ndim; k++) {
        const unsigned char *d = b + 4 + 4 * k;
        shape[k] = (size_t)d[0] << 24 | (size_t)d[1] << 16 | (size_t)d[2] << 8 | d[3];
    }
    char text[NF_SHAPE_TEXT];
    if (size < header) {
        status = nf_fail(context, NF_ERR_DATA,
                         "IDX file of %zu bytes ends within its header of %zu: it is cut off", size,
                         header);
    } else if (nf_shape_overflows(shape, ndim, &count) || nf_mul_overflows(count, element, &need) ||
               need != size - header) {
        status =
            nf_fail(context, NF_ERR_DATA,
                    "IDX of shape %s with %zu bytes an element does not match its %zu bytes of "
                    "data: it is cut off or damaged",
                    nf_shape_text(text, shape, ndim), element, size - header);
    }
    if (status == NF_OK) status = nf_array_new(context, dtype, ndim, shape, "array", &array);
    if (status == NF_OK) {
        nf_decode(array->data, b + header, count, element, nf_swap_big());
        *out = array;
    }
    return nf_scope_leave(context, scope, status);
}
