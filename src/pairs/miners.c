/* What each miner takes of an anchor. */
#include <math.h>

#include "base/math.h"
#include "base/random.h"
#include "pairs/mine.h"

static void write_pair(const nf_finds *finds, size_t at, size_t i, size_t j, bool same) {
    if (finds == NULL) return;
    finds->first[at] = (int64_t)i;
    finds->second[at] = (int64_t)j;
    finds->same[at] = same;
}

static void write_triplet(const nf_finds *finds, size_t at, const nf_anchor *anchor, size_t row,
                          size_t positive, size_t negative) {
    if (finds == NULL) return;
    finds->first[at] = (int64_t)row;
    finds->second[at] = (int64_t)anchor->item[positive];
    finds->third[at] = (int64_t)anchor->item[negative];
}

/* ---- pairs ------------------------------------------------------------------------------------ */

/* Pairs in ascending order of columns: positives with t > positive_above, negatives with
 * t < negative_below; only columns from `first` on. */
static size_t pairs_between(const nf_anchor *anchor, size_t row, size_t first,
                            double positive_above, double negative_below, const nf_finds *finds) {
    size_t found = 0, next = 0;
    for (size_t c = first; c < anchor->m; c++) {
        while (next < anchor->positives && anchor->positive[next] < c) next++;
        bool same = next < anchor->positives && anchor->positive[next] == c;
        if (same ? !(anchor->t[c] > positive_above) : !(anchor->negative[c] < negative_below)) {
            continue;
        }
        write_pair(finds, found++, row, anchor->item[c], same);
    }
    return found;
}

/* Rows are in ascending order, so the columns of later rows follow the anchor's own. */
static size_t first_after(const nf_anchor *anchor, size_t row) {
    size_t low = 0, high = anchor->m;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (anchor->item[middle] <= row) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

size_t nf_mine_pair_margin(const void *user, const nf_anchor *anchor, size_t row,
                           const nf_finds *finds, void *room) {
    const nf_mine_options *options = user;
    (void)room;
    return pairs_between(anchor, row, first_after(anchor, row), options->pos_margin,
                         options->neg_margin, finds);
}

size_t nf_mine_pair_margin_between(const void *user, const nf_anchor *anchor, size_t row,
                                   const nf_finds *finds, void *room) {
    const nf_mine_options *options = user;
    (void)room;
    return pairs_between(anchor, row, 0, options->pos_margin, options->neg_margin, finds);
}

size_t nf_mine_multi_similarity(const void *user, const nf_anchor *anchor, size_t row,
                                const nf_finds *finds, void *room) {
    const nf_mine_options *options = user;
    (void)room;
    if (anchor->positives == 0 || anchor->negatives == 0) return 0;
    const double nearest = anchor->t[nf_anchor_negative(anchor, false)];
    const double farthest = anchor->t[nf_anchor_positive(anchor, true)];
    size_t found = 0, next = 0;
    for (size_t c = 0; c < anchor->m; c++) {
        bool same = next < anchor->positives && anchor->positive[next] == c;
        next += same;
        if (same ? !(anchor->t[c] + options->epsilon > nearest)
                 : !(anchor->negative[c] - options->epsilon < farthest)) {
            continue;
        }
        write_pair(finds, found++, row, anchor->item[c], same);
    }
    return found;
}

/* ---- triplets --------------------------------------------------------------------------------- */

size_t nf_mine_batch_hard(const void *user, const nf_anchor *anchor, size_t row,
                          const nf_finds *finds, void *room) {
    (void)user, (void)room;
    if (anchor->positives == 0 || anchor->negatives == 0) return 0;
    if (finds == NULL) return 1;
    write_triplet(finds, 0, anchor, row, nf_anchor_positive(anchor, true),
                  nf_anchor_negative(anchor, false));
    return 1;
}

size_t nf_mine_easy_positive(const void *user, const nf_anchor *anchor, size_t row,
                             const nf_finds *finds, void *room) {
    (void)user, (void)room;
    if (anchor->positives == 0 || anchor->negatives == 0) return 0;
    const size_t positive = nf_anchor_positive(anchor, false);
    const size_t negative = nf_anchor_beyond(anchor, anchor->t[positive]);
    if (negative == anchor->m) return 0;
    write_triplet(finds, 0, anchor, row, positive, negative);
    return 1;
}

static bool violates(const nf_mine_options *options, double gap) {
    const bool violation = gap <= options->margin;
    switch (options->violation) {
    case NF_VIOLATION_ALL: return violation;
    case NF_VIOLATION_HARD: return violation && gap <= 0;
    case NF_VIOLATION_SEMI_HARD: return violation && gap > 0;
    case NF_VIOLATION_EASY: return gap > options->margin;
    }
    return false;
}

size_t nf_mine_triplet_margin(const void *user, const nf_anchor *anchor, size_t row,
                              const nf_finds *finds, void *room) {
    const nf_mine_options *options = user;
    size_t found = 0;
    (void)room;
    for (size_t k = 0; k < anchor->positives; k++) {
        const size_t p = anchor->positive[k];
        for (size_t c = 0; c < anchor->m; c++) {
            if (!violates(options, anchor->negative[c] - anchor->t[p])) continue;
            write_triplet(finds, found++, anchor, row, p, c);
        }
    }
    return found;
}

/* ---- distance-weighted ------------------------------------------------------------------------ */

/* log 1 / q(t) = (2 - d) log t - (d - 3) / 2 log(1 - t^2 / 4) up to a constant; -Inf where nothing is
 * drawn. */
static double log_weight(const nf_mine_weighted *weighted, double t) {
    const nf_mine_options *options = weighted->options;
    const double d = weighted->d;
    t = fmax(t, options->cutoff); /* NaN becomes the cutoff: the caller leaves those out */
    if (!(t < options->nonzero_loss_cutoff) || !(t < 2)) return -INFINITY;
    return (2 - d) * nf_log(t) - 0.5 * (d - 3) * nf_log(1 - 0.25 * t * t);
}

/* Cumulative weights of the negatives' columns, relative to the largest, so that none overflows and the
 * largest is 1; returns how many columns have one. */
static size_t accumulate(const nf_mine_weighted *weighted, const nf_anchor *anchor) {
    double *cumulative = anchor->work[0], largest = -INFINITY, total = 0;
    size_t count = 0;
    for (size_t c = 0; c < anchor->m; c++) {
        if (isnan(anchor->negative[c])) continue;
        const double weight = log_weight(weighted, anchor->negative[c]);
        if (isinf(weight)) continue;
        largest = fmax(largest, weight);
        cumulative[count] = weight;
        anchor->columns[count++] = c;
    }
    for (size_t k = 0; k < count; k++) {
        total += nf_exp(cumulative[k] - largest);
        cumulative[k] = total;
    }
    return count;
}

/* The first column whose cumulative weight exceeds `mark`. */
static size_t pick(const double *cumulative, size_t count, double mark) {
    size_t low = 0, high = count - 1;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (cumulative[middle] > mark) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

size_t nf_mine_distance_weighted(const void *user, const nf_anchor *anchor, size_t row,
                                 const nf_finds *finds, void *room) {
    const nf_mine_weighted *weighted = user;
    const nf_mine_options *options = weighted->options;
    const uint64_t stream = nf_random_stream(NF_STREAM_MINING, row);
    (void)room;
    if (anchor->positives == 0 || anchor->negatives == 0) return 0;
    size_t count = accumulate(weighted, anchor);
    if (count == 0) return 0;
    const size_t draws =
        options->per_anchor > 0 ? options->per_anchor : anchor->positives + weighted->extra;
    for (size_t k = 0; k < draws && finds != NULL; k++) {
        const double total = anchor->work[0][count - 1];
        size_t p = (size_t)nf_random_below(options->seed, stream, 2 * k, anchor->positives);
        double mark = total * nf_random_unit(options->seed, stream, 2 * k + 1);
        write_triplet(finds, k, anchor, row, anchor->positive[p],
                      anchor->columns[pick(anchor->work[0], count, mark)]);
    }
    return draws;
}
