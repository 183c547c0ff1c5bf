/* All triplets of an anchor.
 *
 * A negative is in an active triplet with the positives whose thresholds fl(t(a, p) + margin) exceed
 * it; how many these are is its rank, and its slope is minus that. The positive whose threshold is the
 * k-th largest is active with the negatives of rank k and more. With distances taken from the largest
 * threshold, so that sums cancel against the spread of the active ones only, the sum of all terms is
 *
 *     sum of rank (top - t) over negatives - sum of (negatives it is active with) (top - threshold). */
#include <math.h>
#include <string.h>

#include "loss/triplet.h"

#define NF_AT_ONCE 512 /* columns */
#define NF_CROWD 8     /* thresholds in a bin from which merging sorts faster than insertion */

/* Thresholds, descending, by the bins they are in: those of an earlier bin exceed a number, those of a
 * later one do not, and only its own are compared. Bin 0 is for numbers that none exceeds. */
typedef struct nf_thresholds {
    nf_bin_rule rule;
    double *value;   /* (count) */
    uint32_t *start; /* (bins + 1) thresholds in earlier bins */
    uint32_t *own;   /* (count) bin of each positive's */
    size_t count;
} nf_thresholds;

/* Width of the bins: an eighth of what the thresholds need on average, as far as there is room. */
static size_t choose_bins(const nf_anchor *anchor, const double *value, nf_bin_rule *rule) {
    double top = value[0], low = value[0];
    size_t count = 2;
    for (size_t k = 1; k < anchor->positives; k++) {
        top = value[k] > top ? value[k] : top;
        low = value[k] < low ? value[k] : low;
    }
    while (count < 8 * anchor->positives && 2 * count <= anchor->m && count < (size_t)1 << 21) {
        count *= 2;
    }
    const double scale = (double)(count - 2) / (top - low);
    *rule = (nf_bin_rule){top, scale < HUGE_VAL ? scale : 0, (double)(count - 1)};
    return count;
}

static void insertion(double *value, size_t count) {
    for (size_t i = 1; i < count; i++) {
        const double moved = value[i];
        size_t at = i;
        for (; at > 0 && value[at - 1] < moved; at--) value[at] = value[at - 1];
        value[at] = moved;
    }
}

static nf_thresholds make_thresholds(const nf_anchor *anchor, double margin) {
    double *unsorted = anchor->work[1];
    nf_thresholds of = {.value = anchor->work[0],
                        .start = (uint32_t *)(void *)anchor->columns,
                        .count = anchor->positives};
    for (size_t k = 0; k < of.count; k++) unsorted[k] = anchor->t[anchor->positive[k]] + margin;
    const size_t bins = choose_bins(anchor, unsorted, &of.rule);
    of.own = of.start + bins + 1;
    anchor->kernels->bins(&of.rule, unsorted, of.count, of.own);
    /* Counts, to where each bin begins, to where it ends, and back. */
    uint32_t most = 0;
    memset(of.start, 0, (bins + 1) * sizeof *of.start);
    for (size_t k = 0; k < of.count; k++) {
        const uint32_t count = ++of.start[of.own[k] + 1];
        most = count > most ? count : most;
    }
    for (size_t b = 0; b < bins; b++) of.start[b + 1] += of.start[b];
    for (size_t k = 0; k < of.count; k++) of.value[of.start[of.own[k]]++] = unsorted[k];
    memmove(of.start + 1, of.start, bins * sizeof *of.start);
    of.start[0] = 0;
    if (most > NF_CROWD) {
        nf_sort_descending(of.value, of.count, unsorted);
    } else {
        insertion(of.value, of.count);
    }
    return of;
}

/* How many thresholds exceed t, a number of this bin. */
static inline uint32_t rank_in(const nf_thresholds *of, uint32_t bin, double t) {
    const uint32_t first = of->start[bin], stop = of->start[bin + 1];
    if (first == stop) return first;
    const uint32_t one = first + (of->value[first] > t);
    return stop - first == 1 ? one
                             : first + (uint32_t)nf_count_above(of->value + first, stop - first, t);
}

/* Ranks of a few columns. Most bins have no threshold, and those of the others are looked at later,
 * so that no branch is in the way. */
static void rank_columns(const nf_thresholds *of, const nf_kernels *kernels, const double *t,
                         size_t count, int32_t *rank) {
    uint32_t bin[NF_AT_ONCE], later[NF_AT_ONCE] = {0};
    size_t pending = 0;
    kernels->bins(&of->rule, t, count, bin);
    for (size_t i = 0; i < count; i++) {
        const uint32_t b = bin[i], first = of->start[b];
        rank[i] = (int32_t)first;
        later[pending] = (uint32_t)i;
        pending += (of->start[b + 1] != first) & (b != 0);
    }
    for (size_t k = 0; k < pending; k++) {
        const uint32_t i = later[k];
        rank[i] = (int32_t)rank_in(of, bin[i], t[i]);
    }
}

static double tree(double lane[8]) {
    for (size_t half = 4; half > 0; half /= 2) {
        for (size_t l = 0; l < half; l++) lane[l] += lane[l + half];
    }
    return lane[0];
}

/* Values and slopes of the negatives; of_rank[k] is how many have rank k. */
static double rank_negatives(const nf_anchor *anchor, const nf_thresholds *of, uint64_t *of_rank,
                             double *slope) {
    double lane[8] = {0};
    int32_t rank[NF_AT_ONCE];
    for (size_t first = 0; first < anchor->m; first += NF_AT_ONCE) {
        const size_t count = nf_min_size(NF_AT_ONCE, anchor->m - first);
        const double *t = anchor->negative + first;
        rank_columns(of, anchor->kernels, t, count, rank);
        for (size_t i = 0; i < count; i++) of_rank[rank[i]]++;
        anchor->kernels->rank_sums(rank, t, of->rule.top, count, slope + first, lane);
    }
    return tree(lane);
}

void nf_triplet_all(const void *terms, const nf_anchor *anchor, nf_anchor_terms *out) {
    const nf_triplet_terms *loss = terms;
    const size_t positives = anchor->positives;
    uint64_t *active = anchor->counts;
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
    const nf_thresholds of = make_thresholds(anchor, loss->margin);
    memset(active, 0, (positives + 2) * sizeof *active);
    out->value = rank_negatives(anchor, &of, active, out->slope);
    /* From the negatives of a rank to those of that rank and more. */
    for (size_t k = positives; k > 0; k--) {
        active[k] += active[k + 1];
        out->active += active[k];
        out->value -= (double)active[k] * (of.rule.top - of.value[k - 1]);
    }
    for (size_t k = 0; k < positives; k++) {
        const double own = anchor->t[anchor->positive[k]] + loss->margin;
        out->slope[anchor->positive[k]] = (double)active[rank_in(&of, of.own[k], own) + 1];
    }
}
