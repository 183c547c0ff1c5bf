/* Distances as integers in the same order, and the nearest of a row in exact order. */
#ifndef NF_EVAL_ORDER_H
#define NF_EVAL_ORDER_H

#include "base/base.h"
#include "base/key.h"

typedef struct nf_ranked {
    uint64_t key;
    uint32_t index;
} nf_ranked;

/* Stable sort by key; `spare` holds count elements. */
void nf_sort_ranked(nf_ranked *item, nf_ranked *spare, size_t count);

#define NF_RANK_BINS 4096

/* The first `wanted` of key[0 .. count) by (key, position), into item, in order; positions with
 * NF_KEY_EXCLUDED are left out. There are `present` others, with keys in [low, high], and
 * wanted <= present. item and spare hold `present` elements, bins NF_RANK_BINS. */
void nf_rank_nearest(const uint64_t *key, size_t count, size_t present, uint64_t low, uint64_t high,
                     size_t wanted, nf_ranked *item, nf_ranked *spare, uint32_t *bins);

#endif
