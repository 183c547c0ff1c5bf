/* Row k of left with row k of right: loss(x1, x2, y). */
#include "loss/arguments.h"
#include "loss/kinds.h"
#include "loss/list.h"

static nf_status check_same(nf_context *context, const uint8_t *same, size_t count) {
    if (same == NULL && count > 0) {
        return nf_fail(context, NF_ERR_ARG, "same is NULL: it must hold %zu values", count);
    }
    for (size_t p = 0; p < count; p++) {
        if (same[p] <= 1) continue;
        return nf_fail(context, NF_ERR_ARG,
                       "same[%zu] is %u: it must be 1 (same label) or 0 (different)", p,
                       (unsigned)same[p]);
    }
    return NF_OK;
}

static nf_status check_outputs(nf_context *context, nf_matrix left, nf_matrix right,
                               const nf_pair_terms *extras, nf_matrix_out left_gradient,
                               nf_matrix_out right_gradient) {
    const nf_matrix x[2] = {left, right};
    const nf_matrix_out gradient[2] = {left_gradient, right_gradient};
    const char *const x_name[2] = {"left", "right"};
    const char *const name[2] = {"left_gradient", "right_gradient"};
    nf_status status = nf_check_gradients(context, gradient, name, x, x_name);
    if (status != NF_OK || extras == NULL) return status;
    return nf_check_terms(context, extras->terms, left.rows, gradient, name, x, x_name);
}

nf_status nf_loss_rows(nf_context *context, const nf_loss *loss, nf_matrix left, nf_matrix right,
                       const uint8_t *same, const double *weight, const nf_pair_terms *extras,
                       nf_loss_result *result, nf_matrix_out left_gradient,
                       nf_matrix_out right_gradient) {
    nf_scope scope = nf_scope_enter(context);
    nf_status status = nf_loss_check(context, loss);
    if (status == NF_OK) status = nf_kind_check_separable(context, loss);
    if (status == NF_OK) status = nf_check_result(context, result);
    if (status == NF_OK) status = nf_check_features(context, left, "left");
    if (status == NF_OK) status = nf_check_features(context, right, "right");
    if (status == NF_OK &&
        (left.rows != right.rows || left.cols != right.cols || left.type != right.type)) {
        status =
            nf_fail(context, NF_ERR_ARG, "left is %zu x %zu and right %zu x %zu%s: they must agree",
                    left.rows, left.cols, right.rows, right.cols,
                    left.type != right.type ? " of another type" : "");
    }
    if (status == NF_OK) status = check_same(context, same, left.rows);
    if (status == NF_OK) {
        status = nf_list_check_extras(context, weight, extras, left.rows, loss->reduction);
    }
    if (status == NF_OK) {
        status = check_outputs(context, left, right, extras, left_gradient, right_gradient);
    }
    if (status == NF_OK) {
        nf_list_job job = {.loss = loss,
                           .x = left,
                           .y = right,
                           .count = left.rows,
                           .same = same,
                           .weight = weight,
                           .extras = extras,
                           .gradient = {left_gradient, right_gradient}};
        status = nf_list_run(context, &job, result);
    }
    return nf_scope_leave(context, scope, status);
}
