#include "loss/triplet.h"

#include <math.h>

#include "base/math.h"

/* The term of a violation and its slope. */
static double term_of(const nf_triplet_terms *loss, double violation, double *slope) {
    if (loss->smooth) return nf_softplus(violation, slope);
    *slope = violation > 0;
    return violation > 0 ? violation : 0;
}

/* Add triplet (p, n), columns both. */
static void add_triplet(const nf_triplet_terms *loss, const nf_anchor *anchor, size_t p, size_t n,
                        nf_anchor_terms *out) {
    double slope;
    const double weight = nf_anchor_weight(anchor, p) * nf_anchor_weight(anchor, n);
    double term = term_of(loss, (anchor->t[p] + loss->margin) - anchor->t[n], &slope);
    out->value += weight * term;
    out->weight += weight;
    out->terms++;
    out->active += weight * term > 0;
    out->slope[p] += weight * slope;
    out->slope[n] -= weight * slope;
}

/* ---- all -------------------------------------------------------------------------------------- */

/* Thresholds fl(t(a, p) + margin) of the positives, descending. */
static void thresholds(const nf_triplet_terms *loss, const nf_anchor *anchor, double *out) {
    for (size_t k = 0; k < anchor->positives; k++) {
        out[k] = anchor->t[anchor->positive[k]] + loss->margin;
    }
    nf_sort_descending(out, anchor->positives, anchor->work[1]);
}

/* Bins of equal width over the thresholds, so that a search is a look-up and `most` comparisons. The
 * bin of a number falls as the number grows, in floating point too, so it is exact: thresholds of an
 * earlier bin exceed the number, those of a later one do not, and its own are compared. */
typedef struct nf_bins {
    size_t *start; /* (count) thresholds in earlier bins */
    double top, scale, last;
    size_t most; /* thresholds of the fullest bin; 0: bins do not pay, search instead */
} nf_bins;

#define NF_MOST_IN_BIN 6

static size_t bin_of(const nf_bins *bins, double t) {
    double x = t < bins->top ? (bins->top - t) * bins->scale : 0; /* 0 for a NaN too */
    x = x < bins->last ? x : bins->last;
    return (size_t)(int64_t)x;
}

/* Thresholds are padded with -Inf for the comparisons past the last one. */
static nf_bins make_bins(const nf_anchor *anchor, double *threshold) {
    const size_t positives = anchor->positives;
    nf_bins bins = {.start = anchor->columns, .top = threshold[0]};
    size_t count = 16, most = 0, before = 0;
    while (count < 4 * positives) count *= 2;
    bins.last = (double)(count - 1);
    bins.scale = (double)count / (bins.top - threshold[positives - 1]);
    if (count > anchor->m || !(bins.scale > 0 && bins.scale < HUGE_VAL)) return bins;
    for (size_t b = 0; b < count; b++) bins.start[b] = 0;
    for (size_t k = 0; k < positives; k++) bins.start[bin_of(&bins, threshold[k])]++;
    for (size_t b = 0; b < count; b++) {
        const size_t own = bins.start[b];
        bins.start[b] = before;
        before += own;
        most = nf_max_size(most, own);
    }
    if (most > NF_MOST_IN_BIN || positives + most > anchor->m) return bins;
    for (size_t k = 0; k < most; k++) threshold[positives + k] = -HUGE_VAL;
    bins.most = most;
    return bins;
}

static void search(const nf_bins *bins, const double *threshold, size_t positives,
                   const double t[NF_SEARCHES], size_t above[NF_SEARCHES]) {
    const double *own[NF_SEARCHES];
    if (bins->most == 0) {
        nf_count_above_each(threshold, positives, t, above);
        return;
    }
    for (size_t i = 0; i < NF_SEARCHES; i++) {
        above[i] = bins->start[bin_of(bins, t[i])];
        own[i] = threshold + above[i];
    }
    for (size_t k = 0; k < bins->most; k++) {
        for (size_t i = 0; i < NF_SEARCHES; i++) above[i] += own[i][k] > t[i];
    }
}

/* A negative is in an active triplet with the `above` positives whose thresholds exceed it: its slope
 * is -above, and it falls into bucket `above`. The positive of rank k is active with the negatives of
 * the buckets beyond k, whose number and sum are suffix sums. Distances are taken from the largest
 * threshold, so that the sums cancel against the spread of the active ones only. */
void nf_triplet_all(const void *terms, const nf_anchor *anchor, nf_anchor_terms *out) {
    const nf_triplet_terms *loss = terms;
    const size_t positives = anchor->positives;
    double *threshold = anchor->work[0], *sum = anchor->work[1];
    uint64_t *count = anchor->counts;
    out->terms = (uint64_t)positives * anchor->negatives;
    if (anchor->weight != NULL) {
        nf_triplet_all_weighted(loss, anchor, out);
        return;
    }
    out->weight = (double)out->terms;
    if (loss->smooth) {
        nf_triplet_all_smooth(loss, anchor, out);
        return;
    }
    thresholds(loss, anchor, threshold);
    for (size_t k = 0; k <= positives; k++) sum[k] = 0, count[k] = 0;
    const nf_bins bins = make_bins(anchor, threshold);
    const double top = threshold[0];
    for (size_t first = 0; first < anchor->m; first += NF_SEARCHES) {
        const size_t width = nf_min_size(NF_SEARCHES, anchor->m - first);
        double t[NF_SEARCHES];
        size_t above[NF_SEARCHES];
        for (size_t i = 0; i < NF_SEARCHES; i++) {
            t[i] = anchor->negative[first + (i < width ? i : 0)];
        }
        search(&bins, threshold, positives, t, above);
        for (size_t i = 0; i < width; i++) {
            if (above[i] == 0) continue;
            out->slope[first + i] = -(double)above[i];
            count[above[i]]++;
            sum[above[i]] += top - t[i];
        }
    }
    for (size_t k = positives; k-- > 0;) {
        count[k] += count[k + 1];
        sum[k] += sum[k + 1];
    }
    for (size_t k = 0; k < positives; k++) {
        out->active += count[k + 1];
        out->value += sum[k + 1] - (double)count[k + 1] * (top - threshold[k]);
    }
    for (size_t k = 0; k < positives; k++) {
        const double own = anchor->t[anchor->positive[k]] + loss->margin;
        size_t rank = nf_count_above(threshold, positives, own);
        out->slope[anchor->positive[k]] = (double)count[rank + 1];
    }
}

/* ---- one negative per positive or per anchor --------------------------------------------------- */

void nf_triplet_semi_hard(const void *loss, const nf_anchor *anchor, nf_anchor_terms *out) {
    nf_anchor_semi_hard(anchor);
    const size_t farthest = nf_anchor_negative(anchor, true);
    for (size_t k = 0; k < anchor->positives; k++) {
        size_t negative = anchor->columns[k] < anchor->m ? anchor->columns[k] : farthest;
        add_triplet(loss, anchor, anchor->positive[k], negative, out);
    }
}

void nf_triplet_hard(const void *loss, const nf_anchor *anchor, nf_anchor_terms *out) {
    add_triplet(loss, anchor, nf_anchor_positive(anchor, true), nf_anchor_negative(anchor, false),
                out);
}

nf_anchor_fn nf_triplet_choice(nf_triplets triplets) {
    static const nf_anchor_fn choices[] = {[NF_TRIPLETS_ALL] = nf_triplet_all,
                                           [NF_TRIPLETS_SEMI_HARD] = nf_triplet_semi_hard,
                                           [NF_TRIPLETS_HARD] = nf_triplet_hard};
    return choices[triplets];
}

nf_status nf_triplet_run(nf_context *context, const nf_tiled_job *job, nf_loss_result *result) {
    const nf_triplet_terms terms = {job->loss->neg_margin, job->loss->smooth != 0};
    nf_anchored_job anchored = nf_anchored_of(job, nf_triplet_choice(job->loss->triplets), &terms);
    return nf_anchored_run(context, &anchored, result);
}
