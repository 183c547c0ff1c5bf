/* A span: consecutive blocks of a set as one worker sees them, with their rows, panels and parts of
 * the gradient sums in the worker's scratch. Everything is made when it is first asked for, so a
 * block whose tiles are all skipped costs nothing.
 *
 * A part of a row's gradient sum is kept in T, over all tiles of a pair of spans, and settled in
 * double: sum += part + weight (x - c), where c is the first row of the row's strip and `weight` sums
 * the weights that were taken about c (see loss/update.h). */
#ifndef NF_LOSS_SPAN_H
#define NF_LOSS_SPAN_H

#include "loss/pass.h"

#define NF_STRIPS (NF_BLOCK_ROWS / NF_STRIP_HEIGHT)

/* What tiles need to know of the blocks of a set, made once a pass. */
typedef struct nf_block_facts {
    const int64_t *low, *high; /* (blocks) least and greatest class */
    const double *radius2; /* (blocks, NF_STRIPS): largest squared distance of a strip's rows from
                                  its first; NULL without gradients */
} nf_block_facts;

nf_status nf_block_facts_make(nf_context *context, const nf_pass_set *set, bool gradient,
                              nf_block_facts *facts) NF_MUST_USE;

/* Row stride of a span's rows: an odd number of lines, so that a column of lines is spread over all
 * sets of a cache. */
static inline size_t nf_span_stride(nf_matrix x) {
    const size_t lanes = nf_lanes(x.type);
    return (nf_pad(x.type, x.cols) / lanes | 1) * lanes;
}

typedef struct nf_span_shape {
    const nf_kernels *kernels;
    nf_type type;
    size_t d, stride, block_rows;
    size_t block_bytes, panel_bytes;
    bool gradient;
    bool borrows; /* rows and panels are the caller's, who points a span at them */
} nf_span_shape;

typedef struct nf_span {
    const nf_span_shape *shape;
    const nf_pass_set *set;
    size_t first, count; /* blocks */
    unsigned char *rows, *panel, *part;
    double *weight; /* (count, block_rows) */
    bool copied[NF_SPAN_BLOCKS], packed[NF_SPAN_BLOCKS], touched[NF_SPAN_BLOCKS];
} nf_span;

/* Lays a span of `blocks` blocks out from `base` (NULL: only measured); returns its bytes. */
size_t nf_span_layout(const nf_span_shape *shape, size_t blocks, unsigned char *base,
                      nf_span *span);

/* Of block `b` of the span: its rows (block_rows, stride), its panel, and its part, which the caller
 * is going to add to. */
const unsigned char *nf_span_rows(nf_span *span, size_t b);
const unsigned char *nf_span_panel(nf_span *span, size_t b);
unsigned char *nf_span_part(nf_span *span, size_t b);

/* Add the parts to the set's sums; they are empty then. */
void nf_span_settle(nf_span *span);

/* Adds parts of `count` rows x, from a strip's first row on, to their sums (count, d). */
void nf_settle_rows(const nf_span_shape *shape, const unsigned char *x, const unsigned char *part,
                    const double *weight, size_t count, double *sum);

#endif
