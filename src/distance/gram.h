/* Squared distances in Gram form, |a|^2 + |b|^2 - 2 ab, wherever that keeps its digits.
 *
 * Let u be the rounding unit of the type, n the sum of the two computed norms, v = fma(-2, ab, n) and
 * D the true squared distance of the rows as the kernels take them. Norms and ab are chains of d fused
 * multiply-adds, so with g = (d + 1) u / (1 - (d + 1) u)
 *
 *     |n - (|a|^2 + |b|^2)| <= g (|a|^2 + |b|^2),    2 |fl(ab) - ab| <= 2 g |a| |b| <= g (|a|^2 + |b|^2)
 *
 * and v is rounded once more: |v - D| <= 2 g (|a|^2 + |b|^2) (1 + u) + u v. A pair is taken from v only
 * if v > n / 16, when |a|^2 + |b|^2 < 16 v / (1 - g), so that
 *
 *     |v - D| <= (32 g (1 + u) / (1 - g) + u) v <= 40 (d + 2) u D    for (d + 2) u <= 2^-9.
 *
 * Every other pair is near: it is computed directly, and has the bits of the direct form. So are pairs
 * whose norms overflow or are not numbers. Which form a pair gets depends on its own two rows only. */
#ifndef NF_DISTANCE_GRAM_H
#define NF_DISTANCE_GRAM_H

#include "distance/exact.h"
#include "distance/rows.h"

/* The Gram form is for squared distances: NF_ERR_ARG for the others, named `field`. */
nf_status nf_gram_check(nf_context *context, nf_metric metric, const char *field) NF_MUST_USE;

/* Norms of the rows as kernels of `type` take them, in scratch. NF_ERR_ARG where rows are so wide that
 * the bound above does not hold. */
nf_status nf_gram_make_norms(nf_context *context, nf_rows *rows, nf_type type) NF_MUST_USE;

/* A raw distance, root or square, such that rows beyond it are beyond `reach` by the numbers that these
 * rows get: `reach` itself in the direct form, whose rounding its users look after. */
double nf_gram_reach(const nf_rows *rows, double reach);

/* A tile of raw numbers: rows [i, i + rows) of x by rows [j, j + cols) of y. */
typedef struct nf_raw_tile {
    const nf_kernels *kernels;
    nf_family family;
    size_t d;
    const nf_rows *x, *y; /* both with norms: in Gram form */
    size_t i, j, rows, cols;
    void *out; /* (rows, ldo), columns to whole lines */
    size_t ldo;
    const void *a; /* (rows, lda), the rows as the kernels take them; */
    size_t lda;
    const void *panel; /* those of y packed */
} nf_raw_tile;

void nf_raw_tile_run(const nf_raw_tile *tile);

#endif
