#include "loss/margin.h"

#include <math.h>
#include <string.h>

#include "loss/arguments.h"
#include "loss/batch.h"
#include "loss/kinds.h"
#include "loss/reference.h"
#include "loss/triplet_list.h"

/* Sums over the pairs of one side; `count` and `active` are of pairs with a weight. */
typedef struct nf_part {
    double value, weight, active_weight;
    uint64_t count, active;
} nf_part;

static void add_part(double excess, double weight, nf_part *part) {
    part->weight += weight;
    part->count += weight > 0;
    if (!(excess > 0)) return;
    part->value += weight * excess;
    part->active_weight += weight;
    part->active += weight > 0;
}

void nf_margin_anchor(const void *terms, const nf_anchor *anchor, nf_anchor_terms *out) {
    const nf_margin_terms *loss = terms;
    const double beta = loss->beta[loss->per_class ? anchor->class_of : 0];
    nf_part pull = {0}, push = {0};
    for (size_t k = 0; k < anchor->positives; k++) {
        const size_t c = anchor->positive[k];
        add_part((anchor->t[c] - beta) + loss->margin, nf_anchor_weight(anchor, c), &pull);
    }
    for (size_t c = 0; c < anchor->m; c++) {
        if (isnan(anchor->negative[c])) continue;
        add_part((beta - anchor->negative[c]) + loss->margin, nf_anchor_weight(anchor, c), &push);
    }
    for (size_t k = 0; k < anchor->positives; k++) {
        const size_t c = anchor->positive[k];
        if (!((anchor->t[c] - beta) + loss->margin > 0)) continue;
        out->slope[c] = push.weight * nf_anchor_weight(anchor, c);
    }
    for (size_t c = 0; c < anchor->m; c++) {
        if (!((beta - anchor->negative[c]) + loss->margin > 0)) continue;
        out->slope[c] = -pull.weight * nf_anchor_weight(anchor, c);
    }
    out->value = push.weight * pull.value + pull.weight * push.value;
    out->weight = pull.weight * push.weight;
    out->terms = (uint64_t)anchor->positives * anchor->negatives;
    out->active = pull.active * push.count + push.active * pull.count;
    out->extra = pull.weight * push.active_weight - push.weight * pull.active_weight;
}

nf_status nf_margin_run(nf_context *context, const nf_tiled_job *job, nf_loss_result *result) {
    const nf_margin_terms terms = {job->loss->neg_margin, &job->loss->beta, false};
    nf_anchored_job anchored = nf_anchored_of(job, nf_margin_anchor, &terms);
    return nf_anchored_run(context, &anchored, result);
}

/* ---- beta to learn ----------------------------------------------------------------------------- */

/* beta as the anchors of a batch see it. */
typedef struct margin_beta {
    const nf_margin_beta *given;
    const nf_partition *partition;
    const double *of; /* one for all, or one for each class of the partition */
    bool per_class;
    double *slope;         /* (classes, at least 1) sums over the anchors of a class */
    uint64_t *class_terms; /* (classes, at least 1) */
} margin_beta;

static nf_status check_beta(nf_context *context, const nf_margin_beta *beta,
                            const nf_partition *partition) {
    const size_t classes = partition->classes;
    if (!beta->by_label && beta->count != 1 && beta->count != classes) {
        return nf_fail(context, NF_ERR_ARG,
                       "beta has %zu entries: it must have 1, or one for each of the %zu classes",
                       beta->count, classes);
    }
    for (size_t c = 0; c < beta->count; c++) {
        if (isfinite(beta->beta[c])) continue;
        return nf_fail(context, NF_ERR_ARG, "beta[%zu] is %g: it must be finite", c, beta->beta[c]);
    }
    for (size_t c = 0; c < classes && beta->by_label; c++) {
        const int64_t label = partition->label[c];
        if (label >= 0 && (uint64_t)label < beta->count) continue;
        return nf_fail(
            context, NF_ERR_ARG,
            "label %lld has no beta: with one beta per label, labels are 0 .. count - 1, "
            "and count is %zu",
            (long long)label, beta->count);
    }
    if (isfinite(beta->nu) && beta->nu >= 0) return NF_OK;
    return nf_fail(context, NF_ERR_ARG, "nu is %g: it must be finite and at least 0", beta->nu);
}

static nf_status prepare_beta(nf_context *context, const nf_margin_beta *given,
                              const nf_partition *partition, margin_beta *beta) {
    const size_t classes = partition->classes, room = nf_max_size(classes, 1);
    double *own;
    *beta = (margin_beta){.given = given, .partition = partition, .of = given->beta};
    beta->per_class = given->by_label || given->count > 1;
    nf_status status = check_beta(context, given, partition);
    if (status == NF_OK) {
        status = nf_scratch(context, &beta->slope, room, sizeof *beta->slope, "beta slopes");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &beta->class_terms, room, sizeof *beta->class_terms,
                            "class triplets");
    }
    if (status == NF_OK && given->by_label) {
        status = nf_scratch(context, &own, room, sizeof *own, "betas of classes");
        for (size_t c = 0; c < classes && status == NF_OK; c++) {
            own[c] = given->beta[partition->label[c]];
        }
        if (status == NF_OK) beta->of = own;
    }
    if (status != NF_OK) return status;
    memset(beta->slope, 0, room * sizeof *beta->slope);
    memset(beta->class_terms, 0, room * sizeof *beta->class_terms);
    return NF_OK;
}

/* From sums over the anchors of each class to the gradient of beta; the value of the regularizer. */
static double add_regularizer(const nf_loss *loss, const margin_beta *beta,
                              const nf_loss_result *result) {
    const size_t classes = beta->partition->classes;
    const double nu = beta->given->nu;
    double value = 0;
    for (size_t c = 1; c < classes && !beta->per_class; c++) beta->slope[0] += beta->slope[c];
    if (result->terms == 0) return 0;
    if (!beta->per_class) {
        beta->slope[0] += nu;
        return nu * beta->of[0];
    }
    const double count = loss->reduction == NF_REDUCE_SUM            ? 1
                         : loss->reduction == NF_REDUCE_DIVISOR      ? loss->divisor
                         : loss->reduction == NF_REDUCE_MEAN_NONZERO ? (double)result->active_terms
                                                                     : (double)result->terms;
    for (size_t c = 0; c < classes && count > 0; c++) {
        double share = nu * (double)beta->class_terms[c] / count;
        value += share * beta->of[c];
        beta->slope[c] += share;
    }
    return value;
}

static void write_slopes(const margin_beta *beta) {
    const nf_margin_beta *given = beta->given;
    if (given->gradient == NULL) return;
    if (!given->by_label) {
        memcpy(given->gradient, beta->slope, given->count * sizeof *beta->slope);
        return;
    }
    memset(given->gradient, 0, given->count * sizeof *given->gradient);
    for (size_t c = 0; c < beta->partition->classes; c++) {
        given->gradient[beta->partition->label[c]] = beta->slope[c];
    }
}

static nf_status run_margin(nf_context *context, const nf_tiled_job *job,
                            const nf_partition *partition, const nf_margin_beta *given,
                            nf_loss_result *result) {
    margin_beta beta;
    nf_loss_result made;
    nf_status status = prepare_beta(context, given, partition, &beta);
    if (status != NF_OK) return status;
    const nf_margin_terms terms = {job->loss->neg_margin, beta.of, beta.per_class};
    nf_anchored_job anchored = nf_anchored_of(job, nf_margin_anchor, &terms);
    anchored.extra = beta.slope;
    anchored.class_terms = beta.class_terms;
    status = nf_anchored_run(context, &anchored, &made);
    if (status != NF_OK) return status;
    made.value += add_regularizer(job->loss, &beta, &made);
    *result = made;
    write_slopes(&beta);
    return NF_OK;
}

static nf_status check_learnable(nf_context *context, const nf_loss *loss,
                                 const nf_margin_beta *beta) {
    if (loss->kind != NF_KIND_MARGIN) {
        return nf_fail(context, NF_ERR_ARG, "the loss is of kind %s: beta belongs to kind margin",
                       nf_loss_kind_name(loss->kind));
    }
    if (beta != NULL && beta->beta != NULL) return NF_OK;
    return nf_fail(context, NF_ERR_ARG, "beta is NULL: pass an nf_margin_beta with its values");
}

nf_status nf_loss_margin(nf_context *context, const nf_loss *loss, nf_matrix x, nf_labels labels,
                         const nf_margin_beta *beta, nf_loss_result *result,
                         nf_matrix_out gradient) {
    nf_scope scope = nf_scope_enter(context);
    nf_tiled_side side;
    nf_partition *partition;
    nf_status status = nf_batch_check(context, loss, x, labels, result, gradient);
    if (status == NF_OK) status = nf_kind_check_reduced(context, loss);
    if (status == NF_OK) status = check_learnable(context, loss, beta);
    if (status == NF_OK) status = nf_batch_side(context, x, labels, gradient, &partition, &side);
    if (status == NF_OK) {
        const nf_tiled_job job = {.loss = loss,
                                  .a = &side,
                                  .b = &side,
                                  .pairs = {partition->negative_pairs, partition->positive_pairs}};
        status = run_margin(context, &job, partition, beta, result);
    }
    return nf_scope_leave(context, scope, status);
}

nf_status nf_loss_margin_reference(nf_context *context, const nf_loss *loss,
                                   const nf_loss_sets *sets, const nf_margin_beta *beta,
                                   nf_loss_result *result, nf_matrix_out query_gradient,
                                   nf_matrix_out reference_gradient) {
    nf_scope scope = nf_scope_enter(context);
    nf_sets_state state;
    nf_status status = nf_sets_prepare(context, loss, sets, NULL, result, query_gradient,
                                       reference_gradient, &state);
    if (status == NF_OK) status = nf_kind_check_reduced(context, loss);
    if (status == NF_OK) status = check_learnable(context, loss, beta);
    if (status == NF_OK) {
        const nf_tiled_job job = nf_sets_job(loss, &state);
        status = run_margin(context, &job, state.partition, beta, result);
    }
    return nf_scope_leave(context, scope, status);
}

/* ---- listed triplets --------------------------------------------------------------------------- */

/* Each row's beta, and how many triplets the anchors of each class have. */
static nf_status spread_beta(nf_context *context, const margin_beta *beta, nf_triplet_list list,
                             double *of_row) {
    const int64_t *class_of = beta->partition->class_of;
    for (size_t r = 0; r < beta->partition->n; r++) {
        const size_t c = class_of[r] >= 0 ? (size_t)class_of[r] : 0;
        of_row[r] = beta->of[beta->per_class ? c : 0];
    }
    for (size_t k = 0; k < list.count; k++) {
        const int64_t c = class_of[list.anchor[k]];
        if (c < 0) {
            return nf_fail(context, NF_ERR_ARG,
                           "triplets: anchor[%zu] is row %lld, which has no label and so no beta",
                           k, (long long)list.anchor[k]);
        }
        beta->class_terms[c]++;
    }
    return NF_OK;
}

static nf_status run_listed(nf_context *context, nf_list_job *job, nf_triplet_list list,
                            const nf_partition *partition, const nf_margin_beta *given,
                            nf_loss_result *result) {
    margin_beta beta;
    nf_loss_result made;
    double *rows;
    nf_status status = prepare_beta(context, given, partition, &beta);
    if (status == NF_OK) {
        status = nf_scratch(context, &rows, job->x.rows, 2 * sizeof *rows, "betas of rows");
    }
    if (status == NF_OK) status = spread_beta(context, &beta, list, rows);
    if (status != NF_OK) return status;
    job->beta = rows;
    job->beta_slope = rows + job->x.rows;
    status = nf_list_run(context, job, &made);
    if (status != NF_OK) return status;
    for (size_t r = 0; r < job->x.rows; r++) {
        if (partition->class_of[r] >= 0) beta.slope[partition->class_of[r]] += job->beta_slope[r];
    }
    made.value += add_regularizer(job->loss, &beta, &made);
    *result = made;
    write_slopes(&beta);
    return NF_OK;
}

nf_status nf_loss_margin_triplets(nf_context *context, const nf_loss *loss, nf_matrix x,
                                  nf_labels labels, nf_triplet_list triplets,
                                  const nf_margin_beta *beta, nf_loss_result *result,
                                  nf_matrix_out gradient) {
    nf_scope scope = nf_scope_enter(context);
    nf_partition *partition = NULL;
    nf_list_job job;
    nf_status status = nf_triplet_list_prepare(context, loss, x, triplets, result, gradient, &job);
    if (status == NF_OK) status = check_learnable(context, loss, beta);
    if (status == NF_OK) status = nf_check_labels(context, labels, "labels", x.rows, "x");
    if (status == NF_OK) status = nf_partition_create(context, labels, &partition);
    if (status == NF_OK) status = run_listed(context, &job, triplets, partition, beta, result);
    nf_partition_free(context, partition);
    return nf_scope_leave(context, scope, status);
}
