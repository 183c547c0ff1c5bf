/* All triplets with weights of pairs: a triplet (a, p, n) has the weight w(a, p) w(a, n). */
#include <math.h>

#include "base/math.h"
#include "loss/triplet.h"

static double weight_of_side(const nf_anchor *anchor, bool positive) {
    double weight = 0;
    for (size_t c = 0; c < anchor->m; c++) {
        if (isnan(anchor->t[c]) || (anchor->target[c] > 0) != positive) continue;
        weight += anchor->weight[c];
    }
    return weight;
}

static void smooth(const nf_triplet_terms *loss, const nf_anchor *anchor, nf_anchor_terms *out) {
    for (size_t k = 0; k < anchor->positives; k++) {
        const size_t p = anchor->positive[k];
        const double threshold = anchor->t[p] + loss->margin, own = anchor->weight[p];
        double value = 0, pull = 0;
        for (size_t c = 0; c < anchor->m; c++) {
            double slope, t = anchor->negative[c];
            if (isnan(t)) continue;
            const double term = nf_softplus(threshold - t, &slope),
                         weight = own * anchor->weight[c];
            value += weight * term;
            pull += weight * slope;
            out->active += weight * term > 0;
            out->slope[c] -= weight * slope;
        }
        out->value += value;
        out->slope[p] = pull;
    }
}

/* For every k the weight of the positives whose thresholds are among the k largest: a negative is
 * never between equal thresholds, so only the totals at the ends of their runs are looked at. */
static void add_positives(const nf_triplet_terms *loss, const nf_anchor *anchor,
                          const double *threshold, double *weight) {
    const size_t positives = anchor->positives;
    for (size_t k = 0; k <= positives; k++) weight[k] = 0;
    for (size_t k = 0; k < positives; k++) {
        const size_t p = anchor->positive[k];
        const size_t rank = nf_count_above(threshold, positives, anchor->t[p] + loss->margin);
        weight[rank + 1] += anchor->weight[p];
    }
    for (size_t k = 1; k <= positives; k++) weight[k] += weight[k - 1];
}

/* As nf_triplet_all, with sums of weights where that one counts: a negative falls into the bucket of
 * the positives whose thresholds exceed it. */
static void hinge(const nf_triplet_terms *loss, const nf_anchor *anchor, nf_anchor_terms *out) {
    const size_t positives = anchor->positives;
    double *threshold = anchor->work[0], *sum = anchor->work[1];
    double *before = anchor->sums[0], *weight = anchor->sums[1];
    uint64_t *count = anchor->counts;
    for (size_t k = 0; k < positives; k++) {
        threshold[k] = anchor->t[anchor->positive[k]] + loss->margin;
    }
    nf_sort_descending(threshold, positives, sum);
    add_positives(loss, anchor, threshold, before);
    for (size_t k = 0; k <= positives; k++) sum[k] = weight[k] = 0, count[k] = 0;
    const double top = threshold[0];
    for (size_t c = 0; c < anchor->m; c++) {
        const double t = anchor->negative[c], own = anchor->weight[c];
        const size_t above = nf_count_above(threshold, positives, t);
        if (above == 0 || !(own > 0)) continue;
        out->slope[c] = -own * before[above];
        count[above]++;
        weight[above] += own;
        sum[above] += own * (top - t);
    }
    for (size_t k = positives; k-- > 0;) {
        count[k] += count[k + 1];
        weight[k] += weight[k + 1];
        sum[k] += sum[k + 1];
    }
    for (size_t k = 0; k < positives; k++) {
        const size_t p = anchor->positive[k];
        const double own = anchor->weight[p], at = anchor->t[p] + loss->margin;
        const size_t bucket = nf_count_above(threshold, positives, at) + 1;
        out->slope[p] = own * weight[bucket];
        out->active += own > 0 ? count[bucket] : 0;
        out->value += own * (sum[bucket] - weight[bucket] * (top - at));
    }
}

void nf_triplet_all_weighted(const nf_triplet_terms *loss, const nf_anchor *anchor,
                             nf_anchor_terms *out) {
    out->weight = weight_of_side(anchor, true) * weight_of_side(anchor, false);
    if (loss->smooth) {
        smooth(loss, anchor, out);
    } else {
        hinge(loss, anchor, out);
    }
}
