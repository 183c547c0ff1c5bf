/* The k nearest of every row, kept in heaps while distances come in any order. Numbers and indices
 * make one integer in the order (distance, index), a total one: what is kept does not depend on the
 * order of the offers. */
#ifndef NF_DISTANCE_NEAREST_H
#define NF_DISTANCE_NEAREST_H

#include "base/base.h"

typedef struct nf_nearest {
    nf_type type;
    bool wide; /* keys of 128 bits: float64, or more rows than 32 bits count */
    size_t rows, k;
    void *heap;     /* (rows, k) keys, farthest first */
    size_t *filled; /* (rows) */
} nf_nearest;

/* Empty heaps for `rows` rows; `references` is how many indices there are. */
nf_status nf_nearest_begin(nf_context *context, nf_nearest *nearest, nf_type type, size_t rows,
                           size_t k, size_t references) NF_MUST_USE;

/* Distance of a row's k-th nearest so far: what is farther is not kept. Inf until there are k, NaN
 * when NaN is among them (and everything may be kept). */
double nf_nearest_bar(const nf_nearest *nearest, size_t row);

/* Keep it if it is among the k nearest so far. Different rows may be offered to at once. */
void nf_nearest_offer(nf_nearest *nearest, size_t row, double distance, size_t index);

/* Sort a row's neighbours, nearest first; it must hold k of them. */
void nf_nearest_sort(nf_nearest *nearest, size_t row);

/* Sorted rows to index (rows, k) and, unless NULL, distance (rows, k) of the type. */
void nf_nearest_write(const nf_nearest *nearest, int64_t *index, void *distance);

#endif
