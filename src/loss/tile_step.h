/* The steps of one tile, a block of rows against a block of columns: raw numbers, terms and weights,
 * then what the weights do to both. */
#ifndef NF_LOSS_TILE_STEP_H
#define NF_LOSS_TILE_STEP_H

#include "loss/tile_engine.h"
#include "loss/update.h"

typedef enum nf_tile_pair {
    NF_PAIR_VALID = 0,
    NF_PAIR_NONE, /* equal ids */
    NF_PAIR_EXACT /* none of the kernels', see loss/tile_exact.h */
} nf_tile_pair;

typedef struct nf_tile {
    const nf_tile_engine *engine;
    const nf_pass_set *a, *b;
    nf_contrast contrast; /* its sides are on if a pair of the tile can be on them */
    nf_tile_scratch *scratch;
    nf_span *span[2];
    size_t block[2]; /* of its span */
    size_t i, j;     /* first rows */
    size_t rows, cols;
    bool diagonal;
    const unsigned char *x, *y; /* rows of both blocks, as copied */
    bool has_skip, has_exact;   /* scratch->skip is filled; some pair is NF_PAIR_EXACT */
} nf_tile;

/* Of block r of span a with block c of span b. */
nf_tile nf_tile_make(const nf_tile_engine *engine, nf_tile_scratch *scratch, nf_span *a, nf_span *b,
                     size_t r, size_t c);

/* Whether no pair of the tile has a term; narrows the sides that may have one. */
bool nf_tile_is_empty(nf_tile *tile);

/* Raw numbers, and which pairs are none of the kernels'. */
void nf_tile_measure(nf_tile *tile);

/* From raw numbers to weights; adds to sums. */
void nf_tile_weigh(const nf_tile *tile, nf_contrast_sums *sums);

/* What the weights do to the parts of the wanted blocks; adds to work. */
void nf_tile_update(const nf_tile *tile, const bool wanted[2], nf_update_work *work);

/* Strips of the wanted blocks that have a gradient. */
uint64_t nf_tile_strips(const nf_tile *tile, const bool wanted[2]);

static inline const unsigned char *nf_tile_row(const nf_tile *tile, size_t r) {
    return tile->x + r * tile->engine->stride * nf_type_size(tile->engine->type);
}

static inline const unsigned char *nf_tile_column(const nf_tile *tile, size_t c) {
    return tile->y + c * tile->engine->stride * nf_type_size(tile->engine->type);
}

#endif
