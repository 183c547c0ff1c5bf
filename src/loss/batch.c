/* All pairs of labelled rows. */
#include "loss/batch.h"

#include "loss/arguments.h"
#include "loss/kinds.h"
#include "pairs/pairs.h"

nf_status nf_batch_check(nf_context *context, const nf_loss *loss, nf_matrix x, nf_labels labels,
                         const nf_loss_result *result, nf_matrix_out gradient) {
    nf_status status = nf_loss_check(context, loss);
    if (status == NF_OK) status = nf_check_result(context, result);
    if (status == NF_OK) status = nf_check_features(context, x, "x");
    if (status == NF_OK) status = nf_check_labels(context, labels, "labels", x.rows, "x");
    if (status == NF_OK) status = nf_check_gradient(context, gradient, "gradient", x, "x");
    return status;
}

nf_status nf_batch_side(nf_context *context, nf_matrix x, nf_labels labels, nf_matrix_out gradient,
                        nf_partition **partition, nf_tiled_side *side) {
    int64_t *class_of;
    nf_status status = nf_partition_scratch(context, labels, partition);
    if (status != NF_OK) return status;
    const nf_partition *own = *partition;
    status = nf_scratch(context, &class_of, own->labelled, sizeof *class_of, "classes");
    if (status != NF_OK) return status;
    for (size_t r = 0; r < own->labelled; r++) class_of[r] = own->class_of[own->row[r]];
    *side = (nf_tiled_side){.x = x,
                            .order = own->row,
                            .count = own->labelled,
                            .class_of = class_of,
                            .gradient = gradient};
    return NF_OK;
}

nf_status nf_batch_run(nf_context *context, const nf_loss *loss, nf_matrix x, nf_labels labels,
                       const nf_row_terms *rows, nf_loss_result *result, nf_matrix_out gradient) {
    nf_partition *partition;
    nf_tiled_side side;
    nf_status status = nf_batch_side(context, x, labels, gradient, &partition, &side);
    if (status != NF_OK) return status;
    nf_tiled_job job = {.loss = loss,
                        .a = &side,
                        .b = &side,
                        .pairs = {partition->negative_pairs, partition->positive_pairs},
                        .rows = rows};
    return nf_kind_run(loss->kind)(context, &job, result);
}

nf_status nf_loss_batch(nf_context *context, const nf_loss *loss, nf_matrix x, nf_labels labels,
                        nf_loss_result *result, nf_matrix_out gradient) {
    nf_scope scope = nf_scope_enter(context);
    nf_status status = nf_batch_check(context, loss, x, labels, result, gradient);
    if (status == NF_OK) status = nf_kind_check_reduced(context, loss);
    if (status == NF_OK) status = nf_batch_run(context, loss, x, labels, NULL, result, gradient);
    return nf_scope_leave(context, scope, status);
}
