/* All tiles of two spans of blocks: distances, terms and weights on the register tiles, then both
 * updates. */
#ifndef NF_LOSS_TILE_H
#define NF_LOSS_TILE_H

#include "loss/tile_engine.h"
#include "loss/update.h"

typedef struct nf_tile_result {
    nf_contrast_sums sums;
    uint64_t tiles, tiles_skipped;
    nf_update_work updates;
} nf_tile_result;

/* All tiles of span i of the pass's set a with span j of b. Adds to result and to the gradient sums
 * of both. */
void nf_tile_run(const nf_tile_engine *engine, size_t i, size_t j, int worker,
                 nf_tile_result *result);

/* A tile's sums to those of the tiles before. */
void nf_tile_add_sums(nf_contrast_sums *total, const nf_contrast_sums *part);

/* After all spans have met: what they have kept, to the gradient sums. */
void nf_tile_settle(const nf_tile_engine *engine);

#endif
