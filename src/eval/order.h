/* Distances as integers in the same order, and the nearest of a row in exact order. */
#ifndef NF_EVAL_ORDER_H
#define NF_EVAL_ORDER_H

#include <string.h>

#include "base/base.h"

/* Key of a row that takes no part; above every key of a number. */
#define NF_KEY_EXCLUDED UINT64_MAX

/* Ascending keys are ascending numbers; -0 is 0, and every NaN is one value after Inf. */
static inline uint32_t nf_key_f32(float value) {
    uint32_t bits;
    value += 0.0f; /* -0 becomes 0 */
    memcpy(&bits, &value, sizeof bits);
    if (value != value) return UINT32_MAX;
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

static inline uint64_t nf_key_f64(double value) {
    uint64_t bits;
    value += 0.0;
    memcpy(&bits, &value, sizeof bits);
    if (value != value) return UINT64_MAX - 1;
    return bits >> 63 ? ~bits : bits | 0x8000000000000000u;
}

/* The number of a float32 key; NaN for UINT32_MAX. */
static inline float nf_key_f32_value(uint32_t key) {
    uint32_t bits = key >> 31 ? key & 0x7FFFFFFFu : ~key;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

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
