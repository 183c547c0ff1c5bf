/* Distances as integers in the same order, and the nearest of a row in exact order. */
#ifndef NF_EVAL_ORDER_H
#define NF_EVAL_ORDER_H

#include "base/base.h"
#include "base/key.h"
#include "kernel/kernel.h"

typedef struct nf_ranked {
    uint64_t key;
    uint32_t index;
} nf_ranked;

/* Stable sort by key; `spare` holds count elements. */
void nf_sort_ranked(nf_ranked *item, nf_ranked *spare, size_t count);

#define NF_RANK_BINS 4096

/* The same order, for keys that spread: first into bins (NF_RANK_BINS) by their leading digits.
 * Returns item or spare, whichever holds the result. */
const nf_ranked *nf_sort_spread(nf_ranked *item, nf_ranked *spare, size_t count, uint32_t *bins);

/* Numbers of one query, of the kernels' type, and where to look first for a limit (in and out). */
typedef struct nf_row_values {
    const nf_kernels *kernels;
    nf_type type;
    const void *value; /* (count), read to whole lines */
    size_t count;
    float *guess; /* NaN: nowhere */
} nf_row_values;

/* The positions of at least `wanted` smallest numbers, ascending, to index (count and a line); NaN is
 * largest. With a number all its equals are listed. Returns how many: not many more than wanted, if
 * numbers differ. */
size_t nf_list_smallest(const nf_row_values *values, size_t wanted, uint32_t *index);

#endif
