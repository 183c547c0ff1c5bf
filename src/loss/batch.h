/* What the forms over all pairs of labelled rows share. */
#ifndef NF_LOSS_BATCH_H
#define NF_LOSS_BATCH_H

#include "loss/tiled.h"
#include "nearfar/pairs.h"

nf_status nf_batch_check(nf_context *context, const nf_loss *loss, nf_matrix x, nf_labels labels,
                         const nf_loss_result *result, nf_matrix_out gradient) NF_MUST_USE;

/* The labelled rows in class order, and their partition; both are scratch. */
nf_status nf_batch_side(nf_context *context, nf_matrix x, nf_labels labels, nf_matrix_out gradient,
                        nf_partition **partition, nf_tiled_side *side) NF_MUST_USE;

/* The loss over all pairs; `rows` may be NULL. */
nf_status nf_batch_run(nf_context *context, const nf_loss *loss, nf_matrix x, nf_labels labels,
                       const nf_row_terms *rows, nf_loss_result *result,
                       nf_matrix_out gradient) NF_MUST_USE;

#endif
