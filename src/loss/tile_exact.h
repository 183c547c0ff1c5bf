/* Pairs a tile cannot hold, for raw numbers outside the trusted range or a zero row under cosine: they
 * are taken out of it and done in double, one by one; see distance/exact.h. */
#ifndef NF_LOSS_TILE_EXACT_H
#define NF_LOSS_TILE_EXACT_H

#include "loss/tile_step.h"

/* Finds them among the tile's raw numbers. */
void nf_tile_mark_exact(nf_tile *tile);

/* Their terms to sums, their gradients to the gradient sums of both blocks. */
void nf_tile_exact_pairs(const nf_tile *tile, nf_contrast_sums *sums);

/* The weights of a tile that has some, pair by pair: differences of rows in an exact pair may overflow
 * in T, and 0 * inf would poison the others. */
void nf_tile_exact_update(const nf_tile *tile);

#endif
