#include "loss/margin.h"

#include <math.h>
#include <string.h>

#include "loss/batch.h"

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

static nf_status check_beta(nf_context *context, const nf_margin_beta *beta, size_t classes) {
    if (beta->count != 1 && beta->count != classes) {
        return nf_fail(context, NF_ERR_ARG,
                       "beta has %zu entries: it must have 1, or one for each of the %zu classes",
                       beta->count, classes);
    }
    for (size_t c = 0; c < beta->count; c++) {
        if (isfinite(beta->beta[c])) continue;
        return nf_fail(context, NF_ERR_ARG, "beta[%zu] is %g: it must be finite", c, beta->beta[c]);
    }
    if (isfinite(beta->nu) && beta->nu >= 0) return NF_OK;
    return nf_fail(context, NF_ERR_ARG, "nu is %g: it must be finite and at least 0", beta->nu);
}

/* From sums over the anchors of each class to the gradient of beta; the value of the regularizer. */
static double add_regularizer(const nf_loss *loss, const nf_margin_beta *beta, size_t classes,
                              const nf_loss_result *result, const uint64_t *class_terms,
                              double *slope) {
    const bool per_class = beta->count == classes && classes != 1;
    double value = 0;
    for (size_t c = 1; c < classes && !per_class; c++) slope[0] += slope[c];
    if (result->terms == 0) return 0;
    if (!per_class) {
        slope[0] += beta->nu;
        return beta->nu * beta->beta[0];
    }
    const uint64_t count = loss->reduction == NF_REDUCE_SUM            ? 1
                           : loss->reduction == NF_REDUCE_MEAN_NONZERO ? result->active_terms
                                                                       : result->terms;
    for (size_t c = 0; c < classes && count > 0; c++) {
        double share = beta->nu * (double)class_terms[c] / (double)count;
        value += share * beta->beta[c];
        slope[c] += share;
    }
    return value;
}

static nf_status run_margin(nf_context *context, const nf_loss *loss, nf_matrix x, nf_labels labels,
                            const nf_margin_beta *beta, nf_loss_result *result,
                            nf_matrix_out gradient) {
    nf_tiled_side side;
    nf_partition *partition;
    uint64_t *class_terms;
    double *slope;
    nf_loss_result made;
    nf_status status = nf_batch_side(context, x, labels, gradient, &partition, &side);
    if (status != NF_OK) return status;
    const size_t classes = partition->classes, room = nf_max_size(classes, 1);
    status = check_beta(context, beta, classes);
    if (status == NF_OK) status = nf_scratch(context, &slope, room, sizeof *slope, "beta slopes");
    if (status == NF_OK) {
        status = nf_scratch(context, &class_terms, room, sizeof *class_terms, "class triplets");
    }
    if (status != NF_OK) return status;
    memset(slope, 0, room * sizeof *slope);
    memset(class_terms, 0, room * sizeof *class_terms);
    const nf_margin_terms terms = {loss->neg_margin, beta->beta, beta->count > 1};
    const nf_tiled_job job = {.loss = loss,
                              .a = &side,
                              .b = &side,
                              .pairs = {partition->negative_pairs, partition->positive_pairs}};
    nf_anchored_job anchored = nf_anchored_of(&job, nf_margin_anchor, &terms);
    anchored.extra = slope;
    anchored.class_terms = class_terms;
    status = nf_anchored_run(context, &anchored, &made);
    if (status != NF_OK) return status;
    made.value += add_regularizer(loss, beta, classes, &made, class_terms, slope);
    *result = made;
    if (beta->gradient != NULL) memcpy(beta->gradient, slope, beta->count * sizeof *slope);
    return NF_OK;
}

nf_status nf_loss_margin(nf_context *context, const nf_loss *loss, nf_matrix x, nf_labels labels,
                         const nf_margin_beta *beta, nf_loss_result *result,
                         nf_matrix_out gradient) {
    nf_scope scope = nf_scope_enter(context);
    nf_status status = nf_batch_check(context, loss, x, labels, result, gradient);
    if (status == NF_OK && loss->kind != NF_KIND_MARGIN) {
        status = nf_fail(context, NF_ERR_ARG, "the loss is of kind %s: beta belongs to kind margin",
                         nf_loss_kind_name(loss->kind));
    }
    if (status == NF_OK && (beta == NULL || beta->beta == NULL)) {
        status =
            nf_fail(context, NF_ERR_ARG, "beta is NULL: pass an nf_margin_beta with its values");
    }
    if (status == NF_OK) status = run_margin(context, loss, x, labels, beta, result, gradient);
    return nf_scope_leave(context, scope, status);
}
