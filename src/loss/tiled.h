/* A loss over all pairs of two sets of rows (or within one): what the batch and the reference form
 * share. Decides the passes, the reduction's scales and the closed form, and writes the results. */
#ifndef NF_LOSS_TILED_H
#define NF_LOSS_TILED_H

#include "loss/pass.h"

typedef struct nf_tiled_side {
    nf_matrix x;
    const size_t *order; /* labelled rows in class order */
    size_t count;
    const int64_t *class_of; /* (count), in that order */
    const int64_t *ids;      /* (count), in that order, or NULL */
    nf_matrix_out gradient;  /* data NULL: not wanted */
} nf_tiled_side;

typedef struct nf_tiled_job {
    const nf_loss *loss;
    nf_tiled_side *a, *b;            /* the same: all pairs within it */
    uint64_t pairs[2];               /* negative, positive */
    const struct nf_row_terms *rows; /* of the rows of a->x, or NULL */
} nf_tiled_job;

/* Run; result and gradients are written on success only. */
nf_status nf_tiled_run(nf_context *context, const nf_tiled_job *job,
                       nf_loss_result *result) NF_MUST_USE;

#endif
