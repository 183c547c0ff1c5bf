/* N-pairs under targets. Rows in order become anchors: one that makes no positive pair with a row
 * already chosen, and has a later row of that kind to be its positive. Among what is chosen the
 * positives are the pairs (a_k, p_k) and the negatives the pairs (a_k, p_l). With labels these are the
 * first two rows of every class. */
#include <math.h>

#include "loss/target_terms.h"

typedef struct nf_npairs_rule {
    const nf_target_rule *of;
    const size_t *place; /* (n) of a chosen row: 2 k for a_k, 2 k + 1 for p_k */
} nf_npairs_rule;

static bool is_positive(const nf_target_rule *rule, size_t i, size_t j) {
    double y, weight;
    return nf_target_of(rule, i, j, &y, &weight) && y > 0;
}

static bool apart(const nf_target_rule *rule, size_t i, const size_t *chosen, size_t count) {
    for (size_t k = 0; k < count; k++) {
        if (chosen[k] == i || is_positive(rule, i, chosen[k])) return false;
    }
    return true;
}

/* The positive of row a; n when it has none. */
static size_t positive_of(const nf_target_rule *rule, size_t a, size_t n, const size_t *chosen,
                          size_t count) {
    for (size_t p = a + 1; p < n; p++) {
        if (is_positive(rule, a, p) && apart(rule, p, chosen, count)) return p;
    }
    return n;
}

static size_t choose(const nf_target_rule *rule, size_t n, size_t *chosen) {
    size_t count = 0;
    for (size_t a = 0; a < n; a++) {
        if (!apart(rule, a, chosen, count)) continue;
        const size_t p = positive_of(rule, a, n, chosen, count);
        if (p == n) continue;
        chosen[count++] = a;
        chosen[count++] = p;
    }
    return count;
}

/* Anchors have their positive and the other anchors' as negatives; positives have nothing. */
static void split(const void *user, nf_anchor *anchor) {
    const nf_npairs_rule *rule = user;
    const size_t own = rule->place[anchor->row];
    anchor->positives = anchor->negatives = 0;
    for (size_t c = 0; c < anchor->m; c++) {
        const size_t place = rule->place[anchor->item[c]];
        double y = 0, weight = 0;
        const bool pair = own % 2 == 0 && place % 2 == 1 &&
                          nf_target_of(rule->of, anchor->row, anchor->item[c], &y, &weight);
        const bool positive = pair && place == own + 1;
        if (!pair) anchor->t[c] = (double)NAN;
        anchor->negative[c] = pair && !positive ? anchor->t[c] : (double)NAN;
        anchor->target[c] = positive ? 1 : 0;
        if (anchor->weight != NULL) anchor->weight[c] = weight;
        if (positive) anchor->positive[anchor->positives++] = c;
        anchor->negatives += pair && !positive;
    }
}

static uint64_t count_negatives(const nf_target_rule *rule, const size_t *chosen, size_t count) {
    uint64_t pairs = 0;
    for (size_t a = 0; a < count; a += 2) {
        for (size_t p = 1; p < count; p += 2) {
            double y, weight;
            pairs += p != a + 1 && nf_target_of(rule, chosen[a], chosen[p], &y, &weight);
        }
    }
    return pairs;
}

nf_status nf_target_run_npairs(nf_context *context, const nf_tiled_job *job,
                               const nf_target_rule *rule, nf_loss_result *result) {
    const size_t n = job->a->x.rows;
    size_t *chosen, *place;
    if (job->a != job->b) {
        return nf_fail(context, NF_ERR_ARG,
                       "a loss of kind n-pairs takes its pairs from one set: use nf_loss_targets");
    }
    nf_status status = nf_scratch(context, &chosen, n, sizeof *chosen, "chosen rows");
    if (status == NF_OK) status = nf_scratch(context, &place, n, sizeof *place, "chosen rows");
    if (status != NF_OK) return status;
    nf_tiled_side side = *job->a;
    side.order = chosen;
    side.count = choose(rule, n, chosen);
    for (size_t k = 0; k < side.count; k++) place[chosen[k]] = k;
    nf_tiled_job own = {.loss = job->loss,
                        .a = &side,
                        .b = &side,
                        .pairs = {count_negatives(rule, chosen, side.count), side.count / 2},
                        .rows = job->rows};
    const nf_npairs_rule choice = {rule, place};
    nf_target_terms terms = {
        .loss = job->loss, .rule = rule, .softmax = nf_softmax_exponents(job->loss)};
    nf_anchored_job anchored = nf_anchored_of(&own, nf_target_pair_terms, &terms);
    anchored.split = split;
    anchored.rule = &choice;
    anchored.weighted = rule->pair_weight.data != NULL;
    anchored.by_mass = true;
    anchored.lone = nf_softmax_has_terms(job->loss, own.pairs);
    nf_row_terms rows;
    status = nf_target_begin_terms(context, &own, true, &terms, &anchored, &rows);
    if (status == NF_OK) status = nf_anchored_run(context, &anchored, result);
    if (status != NF_OK) return status;
    nf_target_count(&own, result);
    nf_target_write_terms(&own, &terms);
    result->mean_positive_distance *= 2; /* halved as if both ends had met the pair */
    result->mean_negative_distance *= 2;
    return NF_OK;
}
