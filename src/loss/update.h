/* From the weights of a tile to the gradient sums of its rows and columns.
 *
 * Rows are updated in strips, over the columns that have a weight in the strip; zero weights add
 * nothing, so leaving them out never changes a bit. For squared distances, whose gradient is
 * sum w (x - b), a strip is taken about its first row c:
 *
 *     sum w (x - b) = (sum w) (x - c) + sum w (c - b)
 *
 * with half the work of differences. That loses digits only where |x - c| is much larger than
 * |x - b|: a strip with a pair nearer than 1/16 of the strip's radius is done by differences. */
#ifndef NF_LOSS_UPDATE_H
#define NF_LOSS_UPDATE_H

#include "loss/span.h"

typedef struct nf_update_side {
    const unsigned char *x; /* (rows, stride) */
    unsigned char *part;    /* (rows, stride) added to; NULL: this side has no gradient */
    double *weight;         /* (rows) weights taken about the strips' first rows, added to */
    const double *radius2;  /* (strips) */
} nf_update_side;

typedef struct nf_update {
    const nf_kernels *kernels;
    nf_family family;
    nf_type type;
    size_t d, stride, ld;
    const unsigned char *weights; /* (rows, ld) */
    const nf_weight_facts *facts;
    size_t rows, cols;
    nf_update_side a, b; /* of the rows, of the columns; the same memory on a diagonal */
} nf_update;

/* Strips of rows that had a gradient to be updated, and those of them without a weight. */
typedef struct nf_update_work {
    uint64_t strips, skipped;
} nf_update_work;

static inline uint64_t nf_update_strips(size_t rows) {
    return (rows + NF_STRIP_HEIGHT - 1) / NF_STRIP_HEIGHT;
}

/* Adds to work. */
void nf_update_run(const nf_update *update, nf_update_work *work);

/* Lays out facts of `rows` rows of `ld` weights from `base` (NULL: only measured); returns bytes. */
size_t nf_weight_facts_layout(nf_type type, size_t rows, size_t ld, unsigned char *base,
                              nf_weight_facts *facts);

#endif
