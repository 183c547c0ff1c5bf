#include "distance/gram.h"

#include <float.h>
#include <string.h>

#include "distance/tiles.h"

#define NF_GRAM_ROWS 256 /* rows or columns whose norms are laid side by side at a time */
#define NF_NORMS_AT_ONCE 8

static double rounding_unit(nf_type type) {
    return (type == NF_FLOAT32 ? (double)FLT_EPSILON : DBL_EPSILON) / 2;
}

nf_status nf_gram_check(nf_context *context, nf_metric metric, const char *field) {
    if (nf_metric_family(metric) == NF_SQUARED) return NF_OK;
    return nf_fail(context, NF_ERR_ARG,
                   "fast is set and %s is %s: it applies to euclidean, sqeuclidean and cosine only",
                   field, nf_metric_name(metric));
}

nf_status nf_gram_make_norms(nf_context *context, nf_rows *rows, nf_type type) {
    const size_t n = rows->x.rows, d = rows->x.cols, element = nf_type_size(type);
    const double most = 0x1p-9 / rounding_unit(type) - 2;
    unsigned char *norm, *copy;
    if ((double)d > most) {
        return nf_fail(context, NF_ERR_ARG,
                       "fast is set and there are %zu columns: %s allows %.0f, leave it off", d,
                       type == NF_FLOAT32 ? "float32" : "float64", most);
    }
    nf_status status = nf_scratch(context, &norm, n, element, "squared row lengths");
    if (status == NF_OK) {
        status = nf_scratch(context, &copy, NF_NORMS_AT_ONCE * element, d, "rows to measure");
    }
    if (status != NF_OK) return status;
    const nf_kernels *kernels = nf_kernels_get(context, type);
    nf_rows all = *rows;
    all.order = NULL;
    for (size_t first = 0; first < n; first += NF_NORMS_AT_ONCE) {
        const size_t count = nf_min_size(NF_NORMS_AT_ONCE, n - first);
        const void *row[NF_NORMS_AT_ONCE];
        nf_rows_copy(&all, first, count, type, copy, d);
        for (size_t r = 0; r < count; r++) row[r] = copy + r * d * element;
        kernels->row_dot(norm + first * element, row, row, count, d);
    }
    rows->norm = norm;
    rows->norm_type = type;
    return NF_OK;
}

double nf_gram_reach(const nf_rows *rows, double reach) {
    if (rows->norm == NULL) return reach;
    return reach * (1 + 44 * ((double)rows->x.cols + 2) * rounding_unit(rows->norm_type));
}

/* Norms of rows [first, first + count), side by side. */
static const void *norms_of(const nf_rows *rows, size_t first, size_t count, double *room) {
    const size_t element = nf_type_size(rows->norm_type);
    unsigned char *out = (unsigned char *)room;
    const size_t padded = nf_pad(rows->norm_type, count);
    for (size_t r = 0; r < count; r++) {
        memcpy(out + r * element,
               (const char *)rows->norm + nf_rows_source(rows, first + r) * element, element);
    }
    memset(out + count * element, 0, (padded - count) * element);
    return room;
}

void nf_raw_tile_run(const nf_raw_tile *tile) {
    if (tile->x->norm == NULL || tile->y->norm == NULL) {
        nf_family_tile(tile->kernels, tile->family)(tile->out, tile->ldo, tile->a, tile->lda,
                                                    tile->panel, tile->rows, tile->cols, tile->d);
        return;
    }
    const size_t element = nf_type_size(tile->x->norm_type);
    for (size_t r = 0; r < tile->rows; r += NF_GRAM_ROWS) {
        const size_t rows = nf_min_size(NF_GRAM_ROWS, tile->rows - r);
        double a_room[NF_GRAM_ROWS], b_room[NF_GRAM_ROWS];
        const void *a_norm = norms_of(tile->x, tile->i + r, rows, a_room);
        for (size_t c = 0; c < tile->cols; c += NF_GRAM_ROWS) {
            const size_t cols = nf_min_size(NF_GRAM_ROWS, tile->cols - c);
            tile->kernels->gram((char *)tile->out + (r * tile->ldo + c) * element, tile->ldo,
                                (const char *)tile->a + r * tile->lda * element, tile->lda,
                                (const char *)tile->panel + c * tile->d * element, rows, cols,
                                tile->d, a_norm, norms_of(tile->y, tile->j + c, cols, b_room));
        }
    }
}
