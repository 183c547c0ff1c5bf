#include "distance/rows.h"

#include <math.h>
#include <string.h>

nf_rows nf_rows_plain(nf_matrix x) {
    /* Rows without columns may have no data; kernels get a valid address all the same. */
    static const double nothing = 0;
    if (x.cols == 0) {
        x.data = &nothing;
        x.ld = 0;
    }
    return (nf_rows){.x = x, .count = x.rows};
}

static double row_norm(nf_matrix x, size_t r, double scale) {
    double sum = 0;
    for (size_t k = 0; k < x.cols; k++) {
        double value = nf_matrix_get(x, r, k) * scale;
        sum += value * value;
    }
    return sqrt(sum);
}

/* A power of two that brings the largest element of a row well inside double's range. */
static double safe_scale(nf_matrix x, size_t r) {
    double largest = 0;
    for (size_t k = 0; k < x.cols; k++) largest = fmax(largest, fabs(nf_matrix_get(x, r, k)));
    if (largest > 0x1p400) return 0x1p-700;
    if (largest < 0x1p-400 && largest > 0) return 0x1p700;
    return 1;
}

nf_status nf_rows_make_unit(nf_context *context, nf_rows *rows) {
    nf_matrix x = rows->x;
    double *scale, *inverse;
    nf_status status = nf_scratch(context, &scale, x.rows, 2 * sizeof(double), "row norms");
    if (status != NF_OK) return status;
    inverse = scale + x.rows;
    rows->zero_rows = 0;
    for (size_t r = 0; r < x.rows; r++) {
        scale[r] = x.type == NF_FLOAT32 ? 1 : safe_scale(x, r);
        double norm = row_norm(x, r, scale[r]);
        /* An infinite row has no direction: NaN, not the inverse 0 of a zero row. */
        inverse[r] = x.cols == 0 ? 1 : norm == 0 ? 0 : isfinite(norm) ? 1 / norm : (double)NAN;
        rows->zero_rows += inverse[r] == 0;
    }
    rows->scale = scale;
    rows->inverse = inverse;
    return NF_OK;
}

#define DEFINE_COPY(name, FROM, TO)                                                          \
    static void name(const nf_rows *rows, size_t source, TO *restrict out, size_t padded) {  \
        const size_t d = rows->x.cols;                                                       \
        const FROM *restrict in = (const FROM *)rows->x.data + source * rows->x.ld;          \
        if (rows->inverse == NULL) {                                                         \
            for (size_t k = 0; k < d; k++) out[k] = (TO)in[k];                               \
        } else if (rows->inverse[source] == 0) {                                             \
            for (size_t k = 0; k < d; k++) out[k] = 0;                                       \
        } else {                                                                             \
            const double scale = rows->scale[source], inverse = rows->inverse[source];       \
            for (size_t k = 0; k < d; k++) out[k] = (TO)(((double)in[k] * scale) * inverse); \
        }                                                                                    \
        for (size_t k = d; k < padded; k++) out[k] = 0;                                      \
    }

DEFINE_COPY(copy_f32_f32, float, float)
DEFINE_COPY(copy_f32_f64, float, double)
DEFINE_COPY(copy_f64_f64, double, double)

/* Rows in another order than the matrix's come from anywhere in memory, where no machine would look
 * for the next one by itself. */
#define NF_AHEAD 6 /* rows */

static void prefetch_row(const nf_rows *rows, size_t r) {
    const char *row = nf_matrix_row(rows->x, nf_rows_source(rows, r));
    const size_t bytes = rows->x.cols * nf_type_size(rows->x.type);
    for (size_t at = 0; at < bytes && at < 4096; at += NF_ALIGNMENT) __builtin_prefetch(row + at);
}

const void *nf_rows_view(const nf_rows *rows, size_t r, void *buffer) {
    if (rows->x.cols == 0) return buffer;
    if (rows->inverse == NULL) return nf_matrix_row(rows->x, nf_rows_source(rows, r));
    nf_rows_copy(rows, r, 1, rows->x.type, buffer, rows->x.cols);
    return buffer;
}

/* A row as it is. */
static void copy_plain(const nf_rows *rows, size_t source, void *out, size_t ldo) {
    const size_t size = nf_type_size(rows->x.type), bytes = rows->x.cols * size;
    memcpy(out, nf_matrix_row(rows->x, source), bytes);
    memset((char *)out + bytes, 0, ldo * size - bytes);
}

void nf_rows_copy(const nf_rows *rows, size_t first, size_t count, nf_type type, void *out,
                  size_t ldo) {
    if (rows->x.cols == 0) { /* data may be NULL, to which not even 0 can be added */
        memset(out, 0, count * ldo * nf_type_size(type));
        return;
    }
    const bool scattered = rows->order != NULL && count > NF_AHEAD;
    for (size_t r = 0; r < count; r++) {
        size_t source = nf_rows_source(rows, first + r);
        if (scattered) prefetch_row(rows, first + nf_min_size(r + NF_AHEAD, count - 1));
        if (rows->inverse == NULL && rows->x.type == type) {
            copy_plain(rows, source, (char *)out + r * ldo * nf_type_size(type), ldo);
        } else if (rows->x.type == NF_FLOAT64) {
            copy_f64_f64(rows, source, (double *)out + r * ldo, ldo);
        } else if (type == NF_FLOAT64) {
            copy_f32_f64(rows, source, (double *)out + r * ldo, ldo);
        } else {
            copy_f32_f32(rows, source, (float *)out + r * ldo, ldo);
        }
    }
}
