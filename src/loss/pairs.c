/* A pair list into one matrix. */
#include "loss/arguments.h"
#include "loss/kinds.h"
#include "loss/list.h"

nf_status nf_loss_pairs(nf_context *context, const nf_loss *loss, nf_matrix x, nf_pairs pairs,
                        const nf_pair_terms *extras, nf_loss_result *result,
                        nf_matrix_out gradient) {
    nf_scope scope = nf_scope_enter(context);
    nf_status status = nf_loss_check(context, loss);
    if (status == NF_OK) status = nf_kind_check_separable(context, loss);
    if (status == NF_OK) status = nf_check_result(context, result);
    if (status == NF_OK) status = nf_check_features(context, x, "x");
    if (status == NF_OK) status = nf_pairs_check(context, pairs, x.rows);
    if (status == NF_OK) status = nf_check_gradient(context, gradient, "gradient", x, "x");
    if (status == NF_OK) {
        status = nf_list_check_extras(context, pairs.weight, extras, pairs.count, loss->reduction);
    }
    if (status == NF_OK && extras != NULL) {
        const nf_matrix inputs[2] = {x, {0}};
        const nf_matrix_out gradients[2] = {gradient, {0}};
        const char *const x_name[2] = {"x", ""}, *const name[2] = {"gradient", ""};
        status =
            nf_check_terms(context, extras->terms, pairs.count, gradients, name, inputs, x_name);
    }
    if (status == NF_OK) {
        nf_list_job job = {.loss = loss,
                           .x = x,
                           .y = x,
                           .within = true,
                           .i = pairs.i,
                           .j = pairs.j,
                           .count = pairs.count,
                           .same = pairs.same,
                           .weight = pairs.weight,
                           .extras = extras,
                           .gradient = {gradient}};
        status = nf_list_run(context, &job, result);
    }
    return nf_scope_leave(context, scope, status);
}
