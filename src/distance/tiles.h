/* Distances block by block: the loop behind the full and the condensed matrix. */
#ifndef NF_DISTANCE_TILES_H
#define NF_DISTANCE_TILES_H

#include "distance/exact.h"
#include "distance/rows.h"

/* Receives distances of row i of x to rows [first, first + count) of y, in x's type. Called from
 * workers, for different (i, first) at once. */
typedef void (*nf_emit_fn)(void *user, size_t i, size_t first, size_t count, const void *values);

typedef struct nf_distance_job {
    nf_distance_options options;
    nf_rows x, y;
    bool self;  /* y is x: item i is at distance 0 of itself even when its row is zero */
    bool upper; /* only pairs with i < j are wanted */
    nf_emit_fn emit;
    void *user;
} nf_distance_job;

/* Check options, x and y (shapes, types, finite unless allowed) and make the job's rows. */
nf_status nf_distance_prepare(nf_context *context, const nf_distance_options *options, nf_matrix x,
                              nf_matrix y, nf_distance_job *job) NF_MUST_USE;

/* What tiles need beyond single pairs: the norms of the Gram form, where it is wanted. */
nf_status nf_distance_prepare_tiles(nf_context *context, nf_distance_job *job) NF_MUST_USE;

/* Run the job. NF_ERR_RANGE when a distance exceeds the type is found before anything is emitted. */
nf_status nf_distance_run(nf_context *context, nf_distance_job *job) NF_MUST_USE;

/* The kernels of a family. */
typedef void (*nf_tile_fn)(void *out, size_t ldo, const void *a, size_t lda, const void *panel,
                           size_t rows, size_t cols, size_t d);
nf_tile_fn nf_family_tile(const nf_kernels *kernels, nf_family family);
typedef void (*nf_row_fn)(void *out, const void *const *a, const void *const *b, size_t count,
                          size_t d);
nf_row_fn nf_family_rows(const nf_kernels *kernels, nf_family family);

/* The largest |x[r][c]| of finite rows. */
double nf_largest_value(nf_matrix x);

/* Whether finite rows of these matrices could have a distance beyond the type. */
bool nf_distance_may_overflow(nf_metric metric, nf_matrix x, nf_matrix y);

nf_status nf_distance_range_error(nf_context *context, nf_metric metric, nf_type type);

#endif
