/* What every pair of blocks of a pass is run with: kernels, sizes, bounds, and scratch for all workers,
 * made before the first tile. */
#ifndef NF_LOSS_TILE_ENGINE_H
#define NF_LOSS_TILE_ENGINE_H

#include "loss/bounds.h"
#include "loss/span.h"

typedef struct nf_tile_engine {
    const nf_pass *pass;
    const nf_kernels *kernels;
    nf_family family;
    nf_type type;
    bool within, gradient;
    bool zero_rows;   /* some pair may have a zero row under cosine */
    double low, high; /* raw numbers the kernels are trusted with */
    bool prune;       /* skip tiles beyond `reach` */
    double reach;
    nf_bounds bounds[2];
    nf_block_facts facts[2];
    nf_span_shape shape;
    size_t d, stride, ld, block_rows, span_blocks;
    nf_span *kept[2]; /* all spans of each set, when there is room for them; else workers copy */
    size_t spans[2];
    size_t worker_bytes;
    unsigned char *scratch;
} nf_tile_engine;

/* What a worker needs for any tile. */
typedef struct nf_tile_scratch {
    unsigned char *tile; /* (block rows, ld) raw numbers, then weights */
    unsigned char *work, *row_class, *col_class;
    unsigned char *skip; /* (block rows, ld) nf_tile_pair */
    double *wide;        /* two rows in double */
    nf_weight_facts facts;
    nf_span span[2]; /* where none are kept */
} nf_tile_scratch;

/* Scratch for all workers is taken here, so that running tiles allocates nothing. */
nf_status nf_tile_engine_init(nf_context *context, nf_tile_engine *engine,
                              const nf_pass *pass) NF_MUST_USE;

void nf_tile_scratch_of(const nf_tile_engine *engine, int worker, nf_tile_scratch *scratch);

/* Points a span with memory at the blocks of span `number` of a set. */
void nf_tile_begin_span(const nf_tile_engine *engine, const nf_pass_set *set, size_t number,
                        nf_span *span);

#endif
