/* Rows as the strips of loss/strip.h take them, and gradients from the sums that strips leave. */
#ifndef NF_LOSS_STRIP_SET_H
#define NF_LOSS_STRIP_SET_H

#include "loss/span.h"
#include "loss/tiled.h"

/* In class order, cut into blocks, copied once in their own type. Sums of gradients are zeros where the
 * side wants a gradient. */
typedef struct nf_strip_set {
    nf_pass_set set;
    size_t stride;        /* elements of a copied row */
    size_t block_bytes;   /* of the rows of a block */
    unsigned char *row;   /* (count, stride) */
    unsigned char *panel; /* the blocks, packed for the distance kernels */
    size_t panel_bytes;   /* of a block */
    nf_block_facts facts;
} nf_strip_set;

/* `unit`: rows of length 1. `fast`: distances in Gram form. */
nf_status nf_strip_set_make(nf_context *context, const nf_tiled_side *side, bool unit, bool fast,
                            nf_strip_set *set) NF_MUST_USE;

/* Sums times `factor` to gradients, in place, through the normalisation of the rows. */
nf_status nf_strip_finish(nf_context *context, const nf_strip_set *set, nf_metric metric,
                          double factor) NF_MUST_USE;

/* Finished sums (NULL: nothing wanted) to a side's gradient: first both sides are checked, then both
 * are written. */
nf_status nf_strip_check_gradient(nf_context *context, const nf_tiled_side *side,
                                  const double *sum) NF_MUST_USE;
void nf_strip_write_gradient(const nf_tiled_side *side, const double *sum);

#endif
