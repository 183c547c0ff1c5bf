/* Distances of single pairs, for lists and row pairs. */
#ifndef NF_DISTANCE_PAIR_LIST_H
#define NF_DISTANCE_PAIR_LIST_H

#include "distance/exact.h"
#include "distance/rows.h"

#define NF_PAIRS_AT_ONCE 8

typedef struct nf_pair_distances {
    nf_rows x, y;
    nf_metric metric;
    nf_family family;
    nf_transform transform;
    nf_type type; /* of the arithmetic */
    bool copy;
    const nf_kernels *kernels;
    double low, high;
} nf_pair_distances;

void nf_pair_distances_init(nf_context *context, nf_pair_distances *pairs, nf_metric metric,
                            nf_rows x, nf_rows y, bool precise);

/* Scratch bytes nf_pair_distances_of needs per worker. */
size_t nf_pair_distances_scratch(const nf_pair_distances *pairs);

/* out[p] = distance of row i[p] of x and row j[p] of y, p < count <= NF_PAIRS_AT_ONCE: the number a
 * tile gives, widened; pairs a tile cannot hold to the accuracy of double. */
void nf_pair_distances_of(const nf_pair_distances *pairs, const size_t *i, const size_t *j,
                          size_t count, void *scratch, double *out);

/* NF_ERR_ARG with the first position outside [0, rows). */
nf_status nf_check_indices(nf_context *context, const int64_t *index, size_t count, size_t rows,
                           const char *name, const char *matrix) NF_MUST_USE;

#endif
