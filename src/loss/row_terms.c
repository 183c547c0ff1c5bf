#include "loss/row_terms.h"

#include <math.h>

#include "loss/arguments.h"
#include "loss/batch.h"
#include "loss/kinds.h"
#include "loss/reference.h"

void nf_row_terms_clear(const nf_row_terms *rows, const nf_tiled_side *side) {
    if (rows == NULL || rows->terms == NULL) return;
    for (size_t r = 0; r < side->x.rows; r++) rows->terms[r] = 0;
}

static nf_status check_kind(nf_context *context, const nf_loss *loss) {
    if (!nf_kind_has_pair_terms(loss->kind)) return NF_OK;
    nf_status status = nf_kind_check_reduced(context, loss);
    if (status != NF_OK) return status;
    return nf_fail(context, NF_ERR_ARG,
                   "a loss of kind %s has terms of pairs, not of rows: use nf_loss_batch, or "
                   "nf_loss_pairs for the terms",
                   nf_loss_kind_name(loss->kind));
}

nf_status nf_row_terms_check(nf_context *context, const nf_loss *loss, const nf_row_terms *extras,
                             const nf_matrix x[2], const char *const x_name[2],
                             const nf_matrix_out gradient[2], const char *const name[2]) {
    if (extras == NULL) return NF_OK;
    if (extras->upstream != NULL && loss->reduction != NF_REDUCE_NONE) {
        return nf_fail(context, NF_ERR_ARG,
                       "upstream has a number per row and reduction is %s: it goes with none",
                       nf_reduction_name(loss->reduction));
    }
    for (size_t r = 0; extras->upstream != NULL && r < x[0].rows; r++) {
        if (isfinite(extras->upstream[r])) continue;
        return nf_fail(context, NF_ERR_ARG, "upstream[%zu] is %g: it must be finite", r,
                       extras->upstream[r]);
    }
    if (extras->terms == NULL) return NF_OK;
    return nf_check_terms(context, extras->terms, x[0].rows, gradient, name, x, x_name);
}

nf_status nf_loss_anchors(nf_context *context, const nf_loss *loss, nf_matrix x, nf_labels labels,
                          const nf_row_terms *extras, nf_loss_result *result,
                          nf_matrix_out gradient) {
    nf_scope scope = nf_scope_enter(context);
    const nf_matrix inputs[2] = {x, {0}};
    const nf_matrix_out gradients[2] = {gradient, {0}};
    const char *const x_name[2] = {"x", ""}, *const name[2] = {"gradient", ""};
    nf_status status = nf_batch_check(context, loss, x, labels, result, gradient);
    if (status == NF_OK) status = check_kind(context, loss);
    if (status == NF_OK) {
        status = nf_row_terms_check(context, loss, extras, inputs, x_name, gradients, name);
    }
    if (status == NF_OK) status = nf_batch_run(context, loss, x, labels, extras, result, gradient);
    return nf_scope_leave(context, scope, status);
}

nf_status nf_loss_anchors_reference(nf_context *context, const nf_loss *loss,
                                    const nf_loss_sets *sets, const nf_row_terms *extras,
                                    nf_loss_result *result, nf_matrix_out query_gradient,
                                    nf_matrix_out reference_gradient) {
    nf_scope scope = nf_scope_enter(context);
    nf_sets_state state;
    nf_status status = nf_sets_prepare(context, loss, sets, extras, result, query_gradient,
                                       reference_gradient, &state);
    if (status == NF_OK) status = check_kind(context, loss);
    if (status == NF_OK) {
        nf_tiled_job job = nf_sets_job(loss, &state);
        job.rows = extras;
        status = nf_kind_run(loss->kind)(context, &job, result);
    }
    return nf_scope_leave(context, scope, status);
}
