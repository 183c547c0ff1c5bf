/* The terms of each row as anchor, and the gradient that comes down to them. */
#ifndef NF_LOSS_ROW_TERMS_H
#define NF_LOSS_ROW_TERMS_H

#include "loss/tiled.h"

/* What the terms of the r-th anchor count for in the gradient. */
static inline double nf_upstream_of(const nf_row_terms *rows, const nf_tiled_side *side, size_t r) {
    return rows != NULL && rows->upstream != NULL ? rows->upstream[side->order[r]] : 1;
}

/* Check extras of the rows of x[0]; x[1] and the gradients are what terms must not overlap. */
nf_status nf_row_terms_check(nf_context *context, const nf_loss *loss, const nf_row_terms *extras,
                             const nf_matrix x[2], const char *const x_name[2],
                             const nf_matrix_out gradient[2],
                             const char *const name[2]) NF_MUST_USE;

/* Zeros for all rows, for the terms of anchors to follow; does nothing if they are not wanted. */
void nf_row_terms_clear(const nf_row_terms *rows, const nf_tiled_side *side);

/* The r-th anchor's term. */
static inline void nf_row_terms_put(const nf_row_terms *rows, const nf_tiled_side *side, size_t r,
                                    double term) {
    if (rows != NULL && rows->terms != NULL) rows->terms[side->order[r]] = term;
}

#endif
