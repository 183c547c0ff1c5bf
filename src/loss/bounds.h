/* Balls around blocks, and the places of blocks on the lines between the centres of classes: a tile
 * whose blocks are farther apart than the margin, by one or the other, holds no active negative and
 * need not be computed. Bounds are rounded so that a skipped tile is one whose terms the kernels would
 * have found to be 0: skipping changes no bit. */
#ifndef NF_LOSS_BOUNDS_H
#define NF_LOSS_BOUNDS_H

#include "loss/pass.h"

typedef struct nf_bounds {
    const nf_kernels *kernels; /* of double */
    const double *center;      /* (blocks, d); NULL: no bounds */
    const double *radius;      /* (blocks) */
    size_t classes;            /* with blocks of their own; 0: no lines */
    const size_t *own;         /* (blocks) which of these the block is of; `classes`: none */
    const double *beyond; /* (blocks, classes): how far, at least, the block's rows are beyond the
                             middle of the line from that class's centre to their own */
} nf_bounds;

/* Centres and radii of a set's blocks, in double, in scratch. O(n d). */
nf_status nf_bounds_make(nf_context *context, const nf_pass_set *set,
                         nf_bounds *bounds) NF_MUST_USE;

/* Lines too, to bounds made before, for tiles within the set and negatives nearer than `reach`, unless
 * balls leave too little for them to pay. O(n d classes). */
nf_status nf_bounds_add_lines(nf_context *context, const nf_pass_set *set, double reach,
                              nf_bounds *bounds) NF_MUST_USE;

/* The raw distance |a - b| beyond which a negative of this side is not active; -1 when its terms do
 * not vanish with distance (dot, cityblock). */
double nf_bounds_reach(nf_metric metric, double margin);

/* Whether every row of block i is farther than `reach` from every row of block j, by distances as
 * kernels of `type` compute them. */
bool nf_bounds_apart(const nf_bounds *a, size_t i, const nf_bounds *b, size_t j, size_t d,
                     nf_type type, double reach);

#endif
