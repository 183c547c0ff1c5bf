/* Rows as the kernels want them: taken in some order, optionally of unit length, in their own type
 * or widened to double, packed per block in scratch so that no second copy of the matrix exists. */
#ifndef NF_DISTANCE_ROWS_H
#define NF_DISTANCE_ROWS_H

#include "base/base.h"

typedef struct nf_rows {
    nf_matrix x;
    const size_t *order; /* row r here is row order[r] of x; NULL: the same */
    size_t count;
    const double *scale;   /* unit rows: u = (x * scale) * inverse, both indexed by x's row; */
    const double *inverse; /* NULL: rows as they are. A zero row stays zero, inverse 0 */
    size_t zero_rows;      /* unit rows: how many of x's rows are zero */
    const void *norm;  /* |row|^2, indexed by x's row, for distances in Gram form; NULL: direct */
    nf_type norm_type; /* of the kernels that made them */
} nf_rows;

nf_rows nf_rows_plain(nf_matrix x);

/* Make `rows` give unit rows; factors are scratch. The norm is computed in double, scaled by a power
 * of two for rows beyond the safe range, so no row overflows or vanishes. */
nf_status nf_rows_make_unit(nf_context *context, nf_rows *rows) NF_MUST_USE;

static inline size_t nf_rows_source(const nf_rows *rows, size_t r) {
    return rows->order != NULL ? rows->order[r] : r;
}

static inline bool nf_rows_is_zero(const nf_rows *rows, size_t r) {
    return rows->inverse != NULL && rows->inverse[nf_rows_source(rows, r)] == 0;
}

/* Row r in x's type: where it is, or its unit row in `buffer` (x.cols elements). */
const void *nf_rows_view(const nf_rows *rows, size_t r, void *buffer);

/* Copy rows [first, first + count) to out (count, ldo) of `type` (x's type, or NF_FLOAT64 to widen),
 * columns past d set to 0. */
void nf_rows_copy(const nf_rows *rows, size_t first, size_t count, nf_type type, void *out,
                  size_t ldo);

#endif
