/* A list of triplets into one matrix. */
#include "loss/triplet_list.h"

#include <inttypes.h>

#include "loss/arguments.h"
#include "loss/kinds.h"
#include "loss/triplet.h"

/* ---- terms ------------------------------------------------------------------------------------ */

static nf_listed_triplet margin_term(const nf_loss *loss, double beta, double positive,
                                     double negative) {
    const double pull = (positive - beta) + loss->neg_margin;
    const double push = (beta - negative) + loss->neg_margin;
    nf_listed_triplet term = {.active = (unsigned)(pull > 0) + (unsigned)(push > 0)};
    term.value = loss->scale * ((pull > 0 ? pull : 0) + (push > 0 ? push : 0));
    term.slope[NF_POSITIVE] = pull > 0 ? loss->scale : 0;
    term.slope[NF_NEGATIVE] = push > 0 ? -loss->scale : 0;
    return term;
}

nf_listed_triplet nf_triplet_listed(const nf_loss *loss, double beta, double positive,
                                    double negative) {
    if (loss->kind == NF_KIND_MARGIN) return margin_term(loss, beta, positive, negative);
    const nf_triplet_terms terms = {loss->neg_margin, loss->smooth != 0};
    double slope;
    const double value = nf_triplet_term(&terms, (positive + terms.margin) - negative, &slope);
    return (nf_listed_triplet){
        .value = loss->scale * value,
        .slope = {[NF_POSITIVE] = loss->scale * slope, [NF_NEGATIVE] = -loss->scale * slope},
        .active = value > 0};
}

double nf_triplet_list_scale(const nf_loss *loss, uint64_t terms, uint64_t active_terms) {
    if (loss->reduction == NF_REDUCE_SUM) return 1;
    if (loss->reduction == NF_REDUCE_DIVISOR) return 1 / loss->divisor;
    const uint64_t count = loss->reduction == NF_REDUCE_MEAN_NONZERO ? active_terms : terms;
    return count > 0 ? 1 / (double)count : 0;
}

/* ---- checks ----------------------------------------------------------------------------------- */

static nf_status check_loss(nf_context *context, const nf_loss *loss) {
    const bool of_triplets = loss->kind == NF_KIND_TRIPLET || loss->kind == NF_KIND_MARGIN;
    if (!nf_kind_has_pair_terms(loss->kind) && !of_triplets) {
        return nf_fail(context, NF_ERR_ARG,
                       "a loss of kind %s compares all pairs of a row with each other and has no "
                       "terms for listed triplets: use nf_loss_batch, or a loss of kind triplet, "
                       "margin or contrastive",
                       nf_loss_kind_name(loss->kind));
    }
    if (loss->triplets != NF_TRIPLETS_ALL) {
        return nf_fail(context, NF_ERR_ARG,
                       "triplets is %s: a list says itself which triplets there are; use all",
                       nf_triplets_name(loss->triplets));
    }
    if (loss->reduction != NF_REDUCE_NONE) return NF_OK;
    return nf_fail(context, NF_ERR_ARG,
                   "reduction none keeps the terms of listed pairs or of rows: choose another "
                   "reduction for listed triplets");
}

static nf_status check_rows(nf_context *context, const int64_t *row, const char *name, size_t count,
                            size_t n) {
    if (count > 0 && row == NULL) {
        return nf_fail(context, NF_ERR_ARG, "triplets: %s is NULL: it must hold %zu values", name,
                       count);
    }
    for (size_t k = 0; k < count; k++) {
        if (row[k] >= 0 && (uint64_t)row[k] < n) continue;
        return nf_fail(context, NF_ERR_ARG,
                       "triplets: %s[%zu] is %" PRId64 ": row numbers must be from 0 to n - 1 for "
                       "n = %zu rows",
                       name, k, row[k], n);
    }
    return NF_OK;
}

static nf_status check_triplets(nf_context *context, nf_triplet_list list, size_t n) {
    nf_status status = check_rows(context, list.anchor, "anchor", list.count, n);
    if (status == NF_OK) status = check_rows(context, list.positive, "positive", list.count, n);
    if (status == NF_OK) status = check_rows(context, list.negative, "negative", list.count, n);
    for (size_t k = 0; k < list.count && status == NF_OK; k++) {
        const int64_t a = list.anchor[k], p = list.positive[k], q = list.negative[k];
        if (a != p && a != q && p != q) continue;
        status = nf_fail(context, NF_ERR_ARG,
                         "triplets: triplet %zu is (%" PRId64 ", %" PRId64 ", %" PRId64
                         "): its rows must differ; remove it",
                         k, a, p, q);
    }
    return status;
}

/* ---- the form --------------------------------------------------------------------------------- */

/* Of each triplet (anchor, positive), then (anchor, negative). */
static nf_status split(nf_context *context, nf_triplet_list list, nf_list_job *job) {
    int64_t *row;
    uint8_t *same;
    if (nf_mul_overflows(list.count, 2, &job->count)) {
        return nf_fail(context, NF_ERR_RANGE, "%zu triplets exceed the address space", list.count);
    }
    nf_status status = nf_scratch(context, &row, job->count, 2 * sizeof *row, "pairs of triplets");
    if (status == NF_OK) {
        status = nf_scratch(context, &same, job->count, sizeof *same, "pairs of triplets");
    }
    if (status != NF_OK) return status;
    int64_t *other = row + job->count;
    for (size_t k = 0; k < list.count; k++) {
        row[2 * k] = row[2 * k + 1] = list.anchor[k];
        other[2 * k] = list.positive[k];
        other[2 * k + 1] = list.negative[k];
        same[2 * k] = 1;
        same[2 * k + 1] = 0;
    }
    job->i = row;
    job->j = other;
    job->same = same;
    return NF_OK;
}

nf_status nf_triplet_list_prepare(nf_context *context, const nf_loss *loss, nf_matrix x,
                                  nf_triplet_list triplets, const nf_loss_result *result,
                                  nf_matrix_out gradient, nf_list_job *job) {
    nf_status status = nf_loss_check(context, loss);
    if (status == NF_OK) status = check_loss(context, loss);
    if (status == NF_OK) status = nf_check_result(context, result);
    if (status == NF_OK) status = nf_check_features(context, x, "x");
    if (status == NF_OK) status = check_triplets(context, triplets, x.rows);
    if (status == NF_OK) status = nf_check_gradient(context, gradient, "gradient", x, "x");
    if (status != NF_OK) return status;
    *job = (nf_list_job){.loss = loss,
                         .x = x,
                         .y = x,
                         .within = true,
                         .triplets = !nf_kind_has_pair_terms(loss->kind),
                         .gradient = {gradient}};
    return split(context, triplets, job);
}

nf_status nf_loss_triplets(nf_context *context, const nf_loss *loss, nf_matrix x,
                           nf_triplet_list triplets, nf_loss_result *result,
                           nf_matrix_out gradient) {
    nf_scope scope = nf_scope_enter(context);
    nf_list_job job;
    nf_status status = nf_triplet_list_prepare(context, loss, x, triplets, result, gradient, &job);
    if (status == NF_OK) status = nf_list_run(context, &job, result);
    return nf_scope_leave(context, scope, status);
}
