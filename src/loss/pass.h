/* One pass over tiles of two sets of rows (or of one set with itself): distances, terms, weights and
 * gradient sums. A loss whose sides need different rows or kernels takes two passes. */
#ifndef NF_LOSS_PASS_H
#define NF_LOSS_PASS_H

#include "distance/rows.h"
#include "distance/tiles.h"
#include "loss/term.h"

#define NF_BLOCK_ROWS 96 /* = 6*16 = 12*8 = 8*12: every register tile divides it */

#define NF_SPAN_BLOCKS 16 /* at most, of a span: blocks that a worker holds at a time */

/* Rows in engine order, cut in blocks. */
typedef struct nf_pass_set {
    nf_rows rows;
    const int64_t *class_of; /* (rows.count), in engine order, >= 0 */
    const int64_t *ids;      /* (rows.count), in engine order; NULL: none */
    size_t blocks;
    const size_t *block; /* (blocks + 1) first rows */
    double *sum;         /* (rows.count, d) gradient sums in, out; NULL: value only */
} nf_pass_set;

typedef struct nf_pass {
    nf_contrast contrast; /* coefficients at most 1 */
    nf_metric metric[2];
    nf_pass_set *a, *b; /* the same set: all unordered pairs within it */
    bool prune;         /* skip what holds no active negative; distance sums then miss it */
    uint64_t tiles, tiles_skipped, updates, updates_skipped;
    nf_contrast_sums sums;
} nf_pass;

/* Rows per block for d columns, a function of d only. */
size_t nf_pass_block_rows(size_t d);

/* Blocks of a span, a function of the number of blocks and the bytes of one. */
size_t nf_pass_span_blocks(const nf_pass_set *a, const nf_pass_set *b);

/* Spans of so many blocks that a set has. */
static inline size_t nf_pass_spans(const nf_pass_set *set, size_t span_blocks) {
    return (set->blocks + span_blocks - 1) / span_blocks;
}

/* d padded to whole lines of the type. */
size_t nf_pass_stride(nf_matrix x);

/* Factor between a gradient sum and dphi/dx: 2 for squared distances, whose sums are of w (a - b). */
double nf_pass_factor(nf_metric metric);

/* Units of progress a pass counts for. */
uint64_t nf_pass_work(const nf_pass_set *a, const nf_pass_set *b);

/* Run all tiles; fills sums and work counts. The caller has started the progress. */
nf_status nf_pass_run(nf_context *context, nf_pass *pass) NF_MUST_USE;

#endif
