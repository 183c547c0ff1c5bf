/* Pairs of blocks: distances, terms and weights on the register tiles, then both updates. */
#ifndef NF_LOSS_TILE_H
#define NF_LOSS_TILE_H

#include "loss/bounds.h"
#include "loss/span.h"
#include "loss/update.h"

typedef struct nf_tile_result {
    nf_contrast_sums sums;
    uint64_t tiles, tiles_skipped;
    nf_update_work updates;
} nf_tile_result;

typedef struct nf_tile_engine {
    const nf_pass *pass;
    const nf_kernels *kernels;
    nf_family family;
    nf_type type;
    bool within, gradient;
    bool zero_rows; /* some pair may have a zero row under cosine */
    double low, high;
    bool prune; /* skip tiles beyond `reach` */
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

/* Scratch for all workers is taken here, so that running tiles allocates nothing. */
nf_status nf_tile_engine_init(nf_context *context, nf_tile_engine *engine,
                              const nf_pass *pass) NF_MUST_USE;

/* All tiles of span i of the pass's set a with span j of b. Adds to result and to the gradient sums
 * of both. */
void nf_tile_run(const nf_tile_engine *engine, size_t i, size_t j, int worker,
                 nf_tile_result *result);

/* A tile's sums to those of the tiles before. */
void nf_tile_add_sums(nf_contrast_sums *total, const nf_contrast_sums *part);

/* The same in two steps, for tiles of one block with another of kept spans of one set. A record holds
 * a tile's weights between them. */
typedef struct nf_tile_record {
    size_t i, j;           /* spans, i <= j */
    unsigned char *weight; /* (block rows, ld) */
    nf_weight_facts facts;
    nf_contrast_sums sums;
    bool skipped, exact; /* exact: some pair is none of the kernels', and the record is of no use */
} nf_tile_record;

/* Lays a record out from `base` (NULL: only measured); returns its bytes. */
size_t nf_tile_record_layout(const nf_tile_engine *engine, unsigned char *base,
                             nf_tile_record *record);

/* Spans like those that are kept, (spans), for one worker: nothing that it writes moves to the cache of
 * another. Laid out from `base` (NULL: only measured); returns bytes. */
size_t nf_tile_copies_layout(const nf_tile_engine *engine, unsigned char *base, nf_span *copies);

/* Terms and weights of the tile of record->i and j, by the worker's copies. */
void nf_tile_weigh(const nf_tile_engine *engine, nf_span *copies, nf_tile_record *record,
                   int worker);

/* What they do to the rows of span `own`, one of the two. */
void nf_tile_apply(const nf_tile_engine *engine, nf_span *copies, const nf_tile_record *record,
                   size_t own, nf_update_work *work);

/* After all spans have met: what they have kept, to the gradient sums. */
void nf_tile_settle(const nf_tile_engine *engine);

#endif
