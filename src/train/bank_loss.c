/* The loss of a batch against a memory bank. */
#include "loss/kinds.h"
#include "train/bank.h"

/* Targets of the batch and of the rows held. Where only queries are anchors, weights of rows held count
 * for nothing: none of the terms starts from them. */
static nf_status run_targets(nf_context *context, const nf_bank_loss *call, nf_loss_sets sets,
                             const nf_row_targets *targets, const nf_bank_rows *held) {
    const bool of_pairs = call->loss != NULL && nf_kind_has_pair_terms(call->loss->kind);
    const nf_reference_targets both = {
        .query = *targets,
        .reference = {.sets = held->sets.offset != NULL ? &held->sets : NULL,
                      .row_weight = of_pairs ? held->row_weight : NULL,
                      .group = held->group}};
    return nf_loss_targets_reference(context, call->loss, &sets, &both, call->terms, call->result,
                                     call->gradient, (nf_matrix_out){0});
}

/* Targets of the data set that batch and bank come from. */
static nf_status run_rule(nf_context *context, const nf_bank_loss *call, nf_loss_sets sets) {
    nf_target_rule rule = *call->rule;
    size_t *row;
    nf_status status =
        nf_scratch(context, &row, sets.reference.rows, sizeof *row, "rows of the bank");
    if (status != NF_OK) return status;
    for (size_t r = 0; r < sets.reference.rows; r++) {
        row[r] = call->row_of_id[sets.reference_ids[r]];
    }
    rule.side[1].row = row;
    const nf_target_job job = {.loss = call->loss,
                               .rule = &rule,
                               .sets = 2,
                               .x = {sets.query, sets.reference},
                               .gradient = {call->gradient}};
    return nf_target_loss(context, &job, call->result);
}

static nf_status run(nf_context *context, const nf_bank_loss *call, const nf_bank_batch *batch,
                     const nf_bank *after) {
    const nf_bank_rows held = nf_bank_get_rows(after);
    const nf_loss_sets sets = {batch->x, held.x, batch->labels, held.labels, batch->ids, held.ids};
    const nf_matrix_out none = {0};
    if (call->rule != NULL) return run_rule(context, call, sets);
    if (batch->targets != NULL) return run_targets(context, call, sets, batch->targets, &held);
    if (call->beta != NULL) {
        return nf_loss_margin_reference(context, call->loss, &sets, call->beta, call->result,
                                        call->gradient, none);
    }
    if (call->terms != NULL) {
        return nf_loss_anchors_reference(context, call->loss, &sets, call->terms, call->result,
                                         call->gradient, none);
    }
    return nf_loss_reference(context, call->loss, &sets, call->result, call->gradient, none);
}

static nf_status number_rows(nf_context *context, const nf_bank *bank, nf_bank_batch *batch) {
    int64_t *ids;
    if (batch->ids != NULL) return NF_OK;
    nf_status status = nf_scratch(context, &ids, batch->x.rows, sizeof *ids, "ids of the batch");
    for (size_t r = 0; status == NF_OK && r < batch->x.rows; r++) {
        ids[r] = bank->pushed + (int64_t)r;
    }
    batch->ids = ids;
    return status;
}

/* A loss that fails leaves the bank alone, and so it sees a copy. */
nf_status nf_bank_loss_run(nf_context *context, nf_bank *bank, nf_bank_batch batch,
                           const nf_bank_loss *call) {
    nf_scope scope = nf_scope_enter(context);
    nf_bank after;
    nf_status status = number_rows(context, bank, &batch);
    if (status == NF_OK) status = nf_bank_begin_push(context, bank, &batch);
    if (status != NF_OK) return nf_scope_leave(context, scope, status);
    status = nf_bank_copy_to_scratch(context, bank, batch.x.rows, &after);
    if (status == NF_OK) {
        nf_bank_push_to_copy(&after, &batch);
        status = run(context, call, &batch, &after);
    }
    if (status == NF_OK) {
        nf_bank_end_push(context, bank, &batch);
    } else {
        nf_bank_drop(context, &batch);
    }
    return nf_scope_leave(context, scope, status);
}

nf_status nf_loss_bank(nf_context *context, const nf_loss *loss, nf_bank *bank, nf_matrix x,
                       nf_labels labels, const int64_t *ids, nf_loss_result *result,
                       nf_matrix_out gradient) {
    const nf_bank_loss call = {.loss = loss, .result = result, .gradient = gradient};
    return nf_bank_loss_run(context, bank, (nf_bank_batch){.x = x, .labels = labels, .ids = ids},
                            &call);
}

nf_status nf_loss_anchors_bank(nf_context *context, const nf_loss *loss, nf_bank *bank, nf_matrix x,
                               nf_labels labels, const int64_t *ids, const nf_row_terms *extras,
                               nf_loss_result *result, nf_matrix_out gradient) {
    const nf_row_terms none = {0};
    const nf_bank_loss call = {.loss = loss,
                               .terms = extras != NULL ? extras : &none,
                               .result = result,
                               .gradient = gradient};
    return nf_bank_loss_run(context, bank, (nf_bank_batch){.x = x, .labels = labels, .ids = ids},
                            &call);
}

nf_status nf_loss_targets_bank(nf_context *context, const nf_loss *loss, nf_bank *bank, nf_matrix x,
                               nf_labels labels, const int64_t *ids, const nf_row_targets *targets,
                               const nf_row_terms *extras, nf_loss_result *result,
                               nf_matrix_out gradient) {
    const nf_row_targets none = {0};
    const nf_bank_loss call = {
        .loss = loss, .terms = extras, .result = result, .gradient = gradient};
    return nf_bank_loss_run(
        context, bank,
        (nf_bank_batch){
            .x = x, .labels = labels, .ids = ids, .targets = targets != NULL ? targets : &none},
        &call);
}

nf_status nf_loss_margin_bank(nf_context *context, const nf_loss *loss, nf_bank *bank, nf_matrix x,
                              nf_labels labels, const int64_t *ids, const nf_margin_beta *beta,
                              nf_loss_result *result, nf_matrix_out gradient) {
    const nf_margin_beta none = {0};
    const nf_bank_loss call = {
        .loss = loss, .beta = beta != NULL ? beta : &none, .result = result, .gradient = gradient};
    return nf_bank_loss_run(context, bank, (nf_bank_batch){.x = x, .labels = labels, .ids = ids},
                            &call);
}
