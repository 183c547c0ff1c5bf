/* An anchor's distances, sorted into those to its positives and to its negatives: what triplet losses
 * and miners look at. */
#ifndef NF_PAIRS_ANCHOR_H
#define NF_PAIRS_ANCHOR_H

#include "kernel/kernel.h"

typedef struct nf_anchor {
    size_t m;                  /* columns */
    const nf_kernels *kernels; /* of float64 */
    size_t row;                /* row number of the anchor, where targets say what is a pair */
    int64_t class_of;
    const size_t *item; /* (m) row number of a column: ties go to the smaller one */
    double *t;          /* (m) distances, NaN where there is no pair */
    double *negative;   /* (m) those of negatives, NaN elsewhere */
    size_t *positive;   /* (positives) columns of the positives, ascending */
    size_t positives, negatives;
    double *work[2];  /* (m + 2) each */
    uint64_t *counts; /* (m + 2) */
    size_t *columns;  /* (m + 2) */
    /* With targets only, else NULL: */
    double *target;  /* (m) 1 of a positive, 0 of a negative, between them of one that is both */
    double *weight;  /* (m) of the pairs; NULL: 1 */
    double *sums[2]; /* (m + 2) each, beside weights */
} nf_anchor;

/* Bytes of an anchor's arrays for m columns, and the anchor laid out in them. */
size_t nf_anchor_bytes(size_t m);
void nf_anchor_place(nf_anchor *anchor, size_t m, void *scratch);

/* Further bytes of one with targets, and of one with weights too. */
size_t nf_anchor_target_bytes(size_t m, bool weighted);
void nf_anchor_place_targets(nf_anchor *anchor, bool weighted, void *scratch);

static inline double nf_anchor_weight(const nf_anchor *anchor, size_t c) {
    return anchor->weight != NULL ? anchor->weight[c] : 1;
}

/* Sort anchor->t, already filled, by the columns' classes; -1 is no class and in no pair. */
void nf_anchor_split(nf_anchor *anchor, const int64_t *class_of, int64_t own);

/* The same where the columns of the anchor's class are [first, stop) and all have one. */
void nf_anchor_split_range(nf_anchor *anchor, size_t first, size_t stop, int64_t own);

/* Descending merge sort; scratch holds `count` values. No NaN. */
void nf_sort_descending(double *values, size_t count, double *scratch);

/* How many of the descending values exceed t; none for a NaN. */
static inline size_t nf_count_above(const double *descending, size_t count, double t) {
    size_t base = 0, left = count;
    while (left > 1) {
        size_t half = left / 2;
        base += descending[base + half - 1] > t ? half : 0;
        left -= half;
    }
    return base + (left == 1 && descending[base] > t);
}

/* Column of the nearest negative (positive), of the farthest with `far`; m when there is none. */
size_t nf_anchor_negative(const nf_anchor *anchor, bool far);
size_t nf_anchor_positive(const nf_anchor *anchor, bool far);

/* Column of the nearest negative farther than `t`; m when there is none. */
size_t nf_anchor_beyond(const nf_anchor *anchor, double t);

/* That of every positive at once: columns[k] belongs to positive[k]. O(m log positives). */
void nf_anchor_semi_hard(const nf_anchor *anchor);

#endif
