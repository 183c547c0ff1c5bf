/* Internals of the pair module. */
#ifndef NF_PAIRS_PAIRS_H
#define NF_PAIRS_PAIRS_H

#include "base/base.h"
#include "nearfar/pairs.h"

/* Largest number of rows for which every pair count and rank fits 64 bits. */
#define NF_MAX_ROWS UINT32_MAX

/* Data there, not too many rows, and not exactly {-1, +1} while -1 means unlabelled (partition.c). */
nf_status nf_labels_check(nf_context *context, nf_labels labels, const char *name) NF_MUST_USE;

/* nf_partition_create in scratch: it ends with the caller's scope (partition.c). */
nf_status nf_partition_scratch(nf_context *context, nf_labels labels,
                               nf_partition **partition) NF_MUST_USE;

/* Check the sets of `n` rows and copy their labels, ascending within a row, to scratch
 * (label_sets.c). */
nf_status nf_label_sets_sort(nf_context *context, const nf_label_sets *sets, size_t n,
                             const char *name, const int64_t **sorted) NF_MUST_USE;

/* ---- walk (walk.c) -------------------------------------------------------------------------- */

/* A position in the ascending sequence of all pairs of one kind. Time per pair is O(1) whatever the
 * classes' sizes; memory is O(n) scratch of the scope in which it began. */
typedef struct nf_pair_walk {
    const nf_partition *partition;
    nf_pair_kind kind;
    const size_t *labelled; /* labelled rows, ascending */
    const size_t *skip;     /* negatives: the next position of another class */
    const size_t *place;    /* positives: index in partition->row of each labelled row */
    size_t first;           /* position in `labelled` of the pair's first row */
    size_t second;          /* next candidate: index in partition->row (positives) or `labelled` */
} nf_pair_walk;

/* The kind is checked here; `total` is the number of pairs the walk will give. */
nf_status nf_pair_walk_begin(nf_context *context, const nf_partition *partition, nf_pair_kind kind,
                             nf_pair_walk *walk, uint64_t *total) NF_MUST_USE;

/* The next at most `capacity` pairs; fewer only at the end. `same` may be NULL. */
size_t nf_pair_walk_next(nf_pair_walk *walk, size_t capacity, int64_t *i, int64_t *j,
                         uint8_t *same);

#endif
