#include "nearfar/pairs.h"

#include <math.h>

/* Rank of (i, i + 1): i (2n - i - 1) / 2. The product is even and below 2^64 for i < n < 2^32. */
static uint64_t row_start(uint64_t n, uint64_t i) { return i * (2 * n - i - 1) / 2; }

uint64_t nf_pair_rank(uint64_t n, uint64_t i, uint64_t j) { return row_start(n, i) + (j - i - 1); }

/* Largest t with t (t + 1) / 2 <= position. The square root of a double is within one of it; the
 * integer steps make it exact. */
static uint64_t triangle_root(uint64_t position) {
    uint64_t t = (uint64_t)sqrt(2.0 * (double)position);
    while (t * (t + 1) / 2 > position) t--;
    while ((t + 1) * (t + 2) / 2 <= position) t++;
    return t;
}

void nf_pair_unrank(uint64_t n, uint64_t rank, uint64_t *i, uint64_t *j) {
    /* Counted from the last pair, row n - 2 - t has t + 1 pairs after t (t + 1) / 2 others. */
    uint64_t from_end = row_start(n, n - 1) - 1 - rank;
    *i = n - 2 - triangle_root(from_end);
    *j = *i + 1 + (rank - row_start(n, *i));
}
