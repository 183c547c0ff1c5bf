#include "pairs/anchor.h"

#include <math.h>

#include <string.h>

#define NF_ANCHOR_ARRAYS 7

static size_t array_bytes(size_t m) {
    size_t bytes;
    if (nf_add_overflows(m, 2, &bytes) || nf_mul_overflows(bytes, sizeof(double), &bytes) ||
        bytes > SIZE_MAX / 16) {
        return SIZE_MAX / 16;
    }
    return nf_round_up(bytes, NF_ALIGNMENT);
}

size_t nf_anchor_bytes(size_t m) { return NF_ANCHOR_ARRAYS * array_bytes(m); }

void nf_anchor_place(nf_anchor *anchor, size_t m, void *scratch) {
    void *slot[NF_ANCHOR_ARRAYS];
    for (size_t i = 0; i < NF_ANCHOR_ARRAYS; i++) {
        slot[i] = (unsigned char *)scratch + i * array_bytes(m);
    }
    *anchor = (nf_anchor){.m = m,
                          .t = slot[0],
                          .negative = slot[1],
                          .positive = slot[2],
                          .work = {slot[3], slot[4]},
                          .counts = slot[5],
                          .columns = slot[6]};
}

size_t nf_anchor_target_bytes(size_t m, bool weighted) {
    return (weighted ? 4 : 1) * array_bytes(m);
}

void nf_anchor_place_targets(nf_anchor *anchor, bool weighted, void *scratch) {
    double *first = scratch;
    const size_t step = array_bytes(anchor->m) / sizeof *first;
    anchor->target = first;
    if (!weighted) return;
    anchor->weight = first + step;
    anchor->sums[0] = first + 2 * step;
    anchor->sums[1] = first + 3 * step;
}

void nf_anchor_split(nf_anchor *anchor, const int64_t *class_of, int64_t own) {
    size_t positives = 0, negatives = 0;
    for (size_t c = 0; c < anchor->m; c++) {
        const double t = anchor->t[c];
        const bool pair = !(t != t) && class_of[c] >= 0, same = class_of[c] == own;
        anchor->positive[positives] = c;
        positives += pair && same;
        negatives += pair && !same;
        anchor->negative[c] = pair && !same ? t : (double)NAN;
    }
    anchor->class_of = own;
    anchor->positives = positives;
    anchor->negatives = negatives;
}

void nf_anchor_split_range(nf_anchor *anchor, size_t first, size_t stop, int64_t own) {
    uint64_t sign[3];
    anchor->class_of = own;
    anchor->positives = 0;
    memcpy(anchor->negative, anchor->t, anchor->m * sizeof *anchor->negative);
    for (size_t c = first; c < stop; c++) {
        anchor->negative[c] = (double)NAN;
        anchor->positive[anchor->positives] = c;
        anchor->positives += anchor->t[c] == anchor->t[c];
    }
    anchor->kernels->tally(anchor->negative, anchor->m, sign);
    anchor->negatives = (size_t)(sign[0] + sign[1] + sign[2]);
}

/* ---- order ------------------------------------------------------------------------------------ */

#define NF_RUN 12 /* values that insertion sorts */

static void insertion(double *values, size_t count) {
    for (size_t i = 1; i < count; i++) {
        const double moved = values[i];
        size_t at = i;
        for (; at > 0 && values[at - 1] < moved; at--) values[at] = values[at - 1];
        values[at] = moved;
    }
}

/* Two runs of `from`, [0, middle) and [middle, count), to one of `to`. */
static void merge(const double *from, size_t middle, size_t count, double *to) {
    size_t left = 0, right = middle, out = 0;
    while (left < middle && right < count) {
        const bool second = from[right] > from[left];
        to[out++] = second ? from[right] : from[left];
        left += !second;
        right += second;
    }
    memcpy(to + out, from + left, (middle - left) * sizeof *to);
    memcpy(to + out + (middle - left), from + right, (count - right) * sizeof *to);
}

void nf_sort_descending(double *values, size_t count, double *scratch) {
    double *from = values, *to = scratch;
    for (size_t i = 0; i < count; i += NF_RUN) {
        insertion(values + i, nf_min_size(NF_RUN, count - i));
    }
    for (size_t run = NF_RUN; run < count; run *= 2) {
        for (size_t i = 0; i < count; i += 2 * run) {
            const size_t both = nf_min_size(2 * run, count - i);
            merge(from + i, nf_min_size(run, both), both, to + i);
        }
        double *swapped = from;
        from = to;
        to = swapped;
    }
    if (from != values) memcpy(values, from, count * sizeof *values);
}

/* ---- choices ---------------------------------------------------------------------------------- */

static bool precedes(const nf_anchor *anchor, size_t c, size_t other, bool far) {
    const double t = anchor->t[c], best = anchor->t[other];
    if (t != best) return far ? t > best : t < best;
    return anchor->item[c] < anchor->item[other];
}

size_t nf_anchor_negative(const nf_anchor *anchor, bool far) {
    size_t best = anchor->m;
    for (size_t c = 0; c < anchor->m; c++) {
        const double t = anchor->negative[c];
        if (t != t) continue;
        if (best == anchor->m || precedes(anchor, c, best, far)) best = c;
    }
    return best;
}

size_t nf_anchor_positive(const nf_anchor *anchor, bool far) {
    size_t best = anchor->m;
    for (size_t k = 0; k < anchor->positives; k++) {
        const size_t c = anchor->positive[k];
        if (best == anchor->m || precedes(anchor, c, best, far)) best = c;
    }
    return best;
}

size_t nf_anchor_beyond(const nf_anchor *anchor, double t) {
    size_t best = anchor->m;
    for (size_t c = 0; c < anchor->m; c++) {
        if (!(anchor->negative[c] > t)) continue;
        if (best == anchor->m || precedes(anchor, c, best, false)) best = c;
    }
    return best;
}

/* A negative falls into the bucket of the positives it is farther than, where the nearest is kept; the
 * negative of a positive is that of the first bucket beyond its rank that holds one. */
void nf_anchor_semi_hard(const nf_anchor *anchor) {
    const size_t positives = anchor->positives, none = anchor->m;
    double *descending = anchor->work[0]; /* -t(a, p), so that `above` is `farther than` */
    uint64_t *nearest = anchor->counts;
    for (size_t k = 0; k < positives; k++) descending[k] = -anchor->t[anchor->positive[k]];
    nf_sort_descending(descending, positives, anchor->work[1]);
    for (size_t k = 0; k <= positives; k++) nearest[k] = none;
    for (size_t c = 0; c < none; c++) {
        const double t = anchor->negative[c];
        if (t != t) continue;
        uint64_t *best = &nearest[nf_count_above(descending, positives, -t)];
        if (*best == none || precedes(anchor, c, (size_t)*best, false)) *best = c;
    }
    for (size_t k = positives; k-- > 0;) {
        if (nearest[k] == none) nearest[k] = nearest[k + 1];
    }
    for (size_t k = 0; k < positives; k++) {
        size_t rank = nf_count_above(descending, positives, -anchor->t[anchor->positive[k]]);
        anchor->columns[k] = (size_t)nearest[rank + 1];
    }
}
