/* Distances strip by strip: some rows of x against some rows of y at a time in one buffer, for what
 * looks at every distance without keeping the matrix. Any split gives the bits of the full matrix. */
#ifndef NF_DISTANCE_STRIPS_H
#define NF_DISTANCE_STRIPS_H

#include "distance/tiles.h"

typedef struct nf_strips {
    nf_distance_job job;
    nf_type type;
    bool allow_nonfinite;
    size_t capacity; /* elements of values */
    void *values;    /* the last strip, row-major and contiguous, and room for a line */
} nf_strips;

/* Check both matrices under their names and make a job of them: distances that exceed the type
 * become Inf, and are for the caller to find. */
nf_status nf_strips_check(nf_context *context, const nf_distance_options *options, nf_matrix x,
                          const char *x_name, nf_matrix y, const char *y_name,
                          nf_distance_job *job) NF_MUST_USE;

/* As nf_strips_check, and make the buffer of rows x columns. */
nf_status nf_strips_begin(nf_context *context, const nf_distance_options *options, nf_matrix x,
                          const char *x_name, nf_matrix y, const char *y_name, size_t capacity,
                          nf_strips *strips) NF_MUST_USE;

/* A strip: rows x columns, from (row, column) of the full matrix on. */
typedef struct nf_strip {
    size_t row, rows, column, columns;
    bool upper; /* only values with column > row are wanted, the others are not defined */
} nf_strip;

/* Fill strips->values (rows, columns). NF_ERR_RANGE when a distance exceeds the type, unless Inf is
 * allowed. */
nf_status nf_strips_compute(nf_context *context, nf_strips *strips, nf_strip strip) NF_MUST_USE;

static inline const void *nf_strips_row(const nf_strips *strips, nf_strip strip, size_t r) {
    return (const char *)strips->values + r * strip.columns * nf_type_size(strips->type);
}

#endif
