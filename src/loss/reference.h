/* Query x reference: the sides of a loss over two sets. */
#ifndef NF_LOSS_REFERENCE_H
#define NF_LOSS_REFERENCE_H

#include "loss/tiled.h"
#include "nearfar/pairs.h"

typedef struct nf_sets_state {
    nf_partition *partition; /* of query labels followed by reference labels */
    nf_tiled_side side[2];
    uint64_t pairs[2]; /* negative, positive */
} nf_sets_state;

/* Check the sets; without `labels` they may have none. */
nf_status nf_sets_check(nf_context *context, const nf_loss_sets *sets, bool labels) NF_MUST_USE;

/* Check what a loss over them writes, and the upstream of the query rows. */
nf_status nf_sets_check_outputs(nf_context *context, const nf_loss *loss, const nf_loss_sets *sets,
                                const nf_row_terms *extras, nf_matrix_out query_gradient,
                                nf_matrix_out reference_gradient) NF_MUST_USE;

/* Check all arguments of the form but the reduction and lay out both sides; everything in *state is
 * scratch. */
nf_status nf_sets_prepare(nf_context *context, const nf_loss *loss, const nf_loss_sets *sets,
                          const nf_row_terms *extras, const nf_loss_result *result,
                          nf_matrix_out query_gradient, nf_matrix_out reference_gradient,
                          nf_sets_state *state) NF_MUST_USE;

/* The job over them. */
nf_tiled_job nf_sets_job(const nf_loss *loss, nf_sets_state *state);

#endif
