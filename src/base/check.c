#include "base/base.h"

#include <math.h>

size_t nf_type_size(nf_type type) {
    return type == NF_FLOAT32 ? sizeof(float) : type == NF_FLOAT64 ? sizeof(double) : 0;
}

nf_matrix nf_matrix_f32(const float *data, size_t rows, size_t cols) {
    return (nf_matrix){data, NF_FLOAT32, rows, cols, cols};
}

nf_matrix nf_matrix_f64(const double *data, size_t rows, size_t cols) {
    return (nf_matrix){data, NF_FLOAT64, rows, cols, cols};
}

nf_matrix_out nf_matrix_out_f32(float *data, size_t rows, size_t cols) {
    return (nf_matrix_out){data, NF_FLOAT32, rows, cols, cols};
}

nf_matrix_out nf_matrix_out_f64(double *data, size_t rows, size_t cols) {
    return (nf_matrix_out){data, NF_FLOAT64, rows, cols, cols};
}

static nf_status check_view(nf_context *context, const void *data, nf_type type, size_t rows,
                            size_t cols, size_t ld, const char *name) {
    if (nf_type_size(type) == 0) {
        return nf_fail(context, NF_ERR_ARG, "%s has type %d: it must be NF_FLOAT32 or NF_FLOAT64",
                       name, (int)type);
    }
    if (ld < cols) {
        return nf_fail(context, NF_ERR_ARG,
                       "%s has leading dimension %zu: it must be at least its %zu columns", name,
                       ld, cols);
    }
    size_t elements, bytes;
    if (nf_mul_overflows(rows, ld, &elements) ||
        nf_mul_overflows(elements, nf_type_size(type), &bytes) || bytes > PTRDIFF_MAX) {
        return nf_fail(context, NF_ERR_RANGE, "%s (%zu x %zu) exceeds the address space", name,
                       rows, ld);
    }
    if (data == NULL && rows > 0 && cols > 0) {
        return nf_fail(context, NF_ERR_ARG, "%s (%zu x %zu) has no data: pass a pointer to it",
                       name, rows, cols);
    }
    return NF_OK;
}

nf_status nf_check_matrix(nf_context *context, nf_matrix x, const char *name) {
    return check_view(context, x.data, x.type, x.rows, x.cols, x.ld, name);
}

nf_status nf_check_out(nf_context *context, nf_matrix_out out, const char *name, size_t rows,
                       size_t cols, nf_type type) {
    nf_status status = check_view(context, out.data, out.type, out.rows, out.cols, out.ld, name);
    if (status != NF_OK) return status;
    if (out.rows != rows || out.cols != cols) {
        return nf_fail(context, NF_ERR_ARG, "%s is %zu x %zu: it must be %zu x %zu", name, out.rows,
                       out.cols, rows, cols);
    }
    if (out.type != type) {
        return nf_fail(context, NF_ERR_ARG, "%s must have the input's type, %s", name,
                       type == NF_FLOAT32 ? "float32" : "float64");
    }
    return NF_OK;
}

nf_status nf_check_overlap(nf_context *context, nf_matrix_out out, const char *out_name,
                           nf_matrix in, const char *in_name) {
    if (out.data == NULL || out.rows == 0 || out.cols == 0) return NF_OK;
    if (in.data == NULL || in.rows == 0 || in.cols == 0) return NF_OK;
    uintptr_t out_start = (uintptr_t)out.data, in_start = (uintptr_t)in.data;
    uintptr_t out_end = out_start + ((out.rows - 1) * out.ld + out.cols) * nf_type_size(out.type);
    uintptr_t in_end = in_start + ((in.rows - 1) * in.ld + in.cols) * nf_type_size(in.type);
    if (out_start < in_end && in_start < out_end) {
        return nf_fail(context, NF_ERR_ARG, "%s overlaps %s: give it memory of its own", out_name,
                       in_name);
    }
    return NF_OK;
}

nf_status nf_check_finite(nf_context *context, nf_matrix x, const char *name) {
    size_t bad = 0, first_row = 0, first_col = 0;
    for (size_t r = 0; r < x.rows; r++) {
        /* x - x is 0 for finite values and NaN otherwise; the sum of a clean row is 0. */
        const float *f = nf_matrix_row(x, r);
        const double *g = nf_matrix_row(x, r);
        int dirty = 0;
        for (size_t c = 0; c < x.cols; c++) {
            dirty |= x.type == NF_FLOAT32 ? !(f[c] - f[c] == 0) : !(g[c] - g[c] == 0);
        }
        if (!dirty) continue;
        for (size_t c = 0; c < x.cols; c++) {
            if (isfinite(nf_matrix_get(x, r, c))) continue;
            if (bad++ == 0) first_row = r, first_col = c;
        }
    }
    if (bad == 0) return NF_OK;
    return nf_fail(
        context, NF_ERR_DATA,
        "%s has %zu NaN or infinite value%s, the first at row %zu, column %zu; remove or "
        "replace them",
        name, bad, bad == 1 ? "" : "s", first_row, first_col);
}
