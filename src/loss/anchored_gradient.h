/* Gradients of a run of anchors: from the slopes of a panel to weights, and from them to the sums of the
 * anchors and of the columns. */
#ifndef NF_LOSS_ANCHORED_GRADIENT_H
#define NF_LOSS_ANCHORED_GRADIENT_H

#include "loss/anchored_state.h"

/* Sums of the sets that want a gradient, and what a panel's slopes take. */
nf_status nf_anchored_begin_gradients(nf_context *context, nf_anchored *run) NF_MUST_USE;

/* Adds what the slopes of the panel do to both sets. */
nf_status nf_anchored_update(nf_context *context, nf_anchored *run) NF_MUST_USE;

/* Sums to gradients in place; NF_ERR_RANGE when one does not fit its type. */
nf_status nf_anchored_finish_gradients(nf_context *context, const nf_anchored *run,
                                       double factor) NF_MUST_USE;

/* To the caller's memory. */
void nf_anchored_write_gradients(const nf_anchored *run);

#endif
