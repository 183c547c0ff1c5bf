/* Balls around blocks: a tile whose balls are farther apart than the margin holds no active negative,
 * and need not be computed. The bound is rounded so that a skipped tile is one whose terms the kernels
 * would have found to be 0: skipping changes no bit. */
#ifndef NF_LOSS_BOUNDS_H
#define NF_LOSS_BOUNDS_H

#include "loss/pass.h"

typedef struct nf_bounds {
    const double *center; /* (blocks, d); NULL: no bounds */
    const double *radius; /* (blocks) */
} nf_bounds;

/* Centres and radii of a set's blocks, in double, in scratch. O(n d). */
nf_status nf_bounds_make(nf_context *context, const nf_pass_set *set,
                         nf_bounds *bounds) NF_MUST_USE;

/* The raw distance |a - b| beyond which a negative of this side is not active; -1 when its terms do
 * not vanish with distance (dot, cityblock). */
double nf_bounds_reach(nf_metric metric, double margin);

/* Whether every row of block i is farther than `reach` from every row of block j, by distances as
 * kernels of `type` compute them. */
bool nf_bounds_apart(const nf_bounds *a, size_t i, const nf_bounds *b, size_t j, size_t d,
                     nf_type type, double reach);

#endif
