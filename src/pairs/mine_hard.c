/* Hard negatives of a whole data set, and the farthest positives with them. */
#include <math.h>

#include "base/random.h"
#include "pairs/mine.h"

typedef struct nf_ranked {
    double key; /* t of a negative, -t of a positive: the smaller the harder */
    size_t item;
} nf_ranked;

typedef struct nf_hard {
    const nf_mine_hard_options *options;
    size_t candidates, positives; /* at most so many */
} nf_hard;

/* ---- the smallest few, in a bounded heap with the largest at its root -------------------------- */

static bool before(nf_ranked a, nf_ranked b) {
    return a.key != b.key ? a.key < b.key : a.item < b.item;
}

static void sift_down(nf_ranked *heap, size_t count) {
    const nf_ranked moved = heap[0];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && before(heap[child], heap[child + 1])) child++;
        if (!before(moved, heap[child])) break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

static void offer(nf_ranked *heap, size_t *count, size_t limit, nf_ranked added) {
    if (*count == limit) {
        if (limit == 0 || !before(added, heap[0])) return;
        heap[0] = added;
        sift_down(heap, limit);
        return;
    }
    size_t at = (*count)++;
    for (; at > 0 && before(heap[(at - 1) / 2], added); at = (at - 1) / 2) {
        heap[at] = heap[(at - 1) / 2];
    }
    heap[at] = added;
}

static void sort(nf_ranked *heap, size_t count) {
    for (size_t end = count; end > 1; end--) {
        const nf_ranked largest = heap[0];
        heap[0] = heap[end - 1];
        sift_down(heap, end - 1);
        heap[end - 1] = largest;
    }
}

/* ---- filters ---------------------------------------------------------------------------------- */

static double score(nf_metric metric, double t) { return metric == NF_COSINE ? 1 - t : -t; }

/* Whether a negative at distance t stays; `farthest` is the anchor's farthest positive's, NaN without
 * one. Comparisons with NaN are false, so a filter that is not set removes nothing. */
static bool stays(const nf_mine_hard_options *options, double farthest, double t) {
    const double best = score(options->metric, farthest);
    const double most = best - fabs(best) * options->relative_margin;
    return !(t < farthest + options->absolute_margin) && !(score(options->metric, t) > most) &&
           !(t < options->min_distance) && !(t > options->max_distance);
}

/* Filters, range_min and the choice, in place; returns how many are left. */
static size_t choose(const nf_mine_hard_options *options, size_t row, double farthest,
                     nf_ranked *negative, size_t count) {
    const uint64_t stream = nf_random_stream(NF_STREAM_MINING, row);
    size_t kept = 0, taken = 0;
    for (size_t k = 0; k < count; k++) {
        if (stays(options, farthest, negative[k].key)) negative[kept++] = negative[k];
    }
    const size_t first = nf_min_size(options->range_min, kept), rest = kept - first;
    const size_t wanted = nf_min_size(options->negatives, rest);
    for (size_t k = 0; k < rest && taken < wanted; k++) {
        /* Selection sampling: each subset is equally likely, and the order is kept. */
        bool take = !options->random ||
                    nf_random_below(options->seed, stream, k, rest - k) < wanted - taken;
        if (take) negative[taken++] = negative[first + k];
    }
    return taken;
}

static size_t mine_hard(const void *user, const nf_anchor *anchor, size_t row,
                        const nf_finds *finds, void *room) {
    const nf_hard *hard = user;
    nf_ranked *negative = room, *positive = negative + hard->candidates;
    size_t negatives = 0, positives = 0;
    double farthest = NAN;
    for (size_t c = 0; c < anchor->m; c++) {
        const double t = anchor->negative[c];
        if (isnan(t)) continue;
        offer(negative, &negatives, hard->candidates, (nf_ranked){t, anchor->item[c]});
    }
    if (anchor->positives > 0) farthest = anchor->t[nf_anchor_positive(anchor, true)];
    sort(negative, negatives);
    negatives = choose(hard->options, row, farthest, negative, negatives);
    if (negatives == 0) return 0;
    if (finds == NULL) return negatives + nf_min_size(hard->positives, anchor->positives);
    for (size_t k = 0; k < anchor->positives; k++) {
        const size_t c = anchor->positive[k];
        offer(positive, &positives, hard->positives, (nf_ranked){-anchor->t[c], anchor->item[c]});
    }
    sort(positive, positives);
    for (size_t k = 0; k < positives + negatives; k++) {
        const bool same = k < positives;
        finds->first[k] = (int64_t)row;
        finds->second[k] = (int64_t)(same ? positive[k] : negative[k - positives]).item;
        finds->same[k] = same;
    }
    return positives + negatives;
}

/* ---- options ---------------------------------------------------------------------------------- */

nf_mine_hard_options nf_mine_hard_defaults(void) {
    return (nf_mine_hard_options){.metric = NF_COSINE,
                                  .absolute_margin = NAN,
                                  .relative_margin = NAN,
                                  .min_distance = NAN,
                                  .max_distance = NAN,
                                  .negatives = 3,
                                  .positives = 1};
}

static nf_status check_filter(nf_context *context, double value, const char *name) {
    if (!isinf(value)) return NF_OK;
    return nf_fail(context, NF_ERR_ARG, "%s is %g: it must be finite, or NaN for none", name,
                   value);
}

static size_t default_range(const nf_mine_hard_options *options) {
    const bool filtered = !isnan(options->absolute_margin) || !isnan(options->relative_margin) ||
                          !isnan(options->min_distance) || !isnan(options->max_distance);
    size_t looked_at, range;
    if (nf_mul_overflows(options->negatives, filtered ? 10 : 1, &looked_at) ||
        nf_add_overflows(looked_at, options->range_min, &range)) {
        return SIZE_MAX;
    }
    return range;
}

static nf_status check_options(nf_context *context, const nf_mine_hard_options *options) {
    nf_status status = check_filter(context, options->absolute_margin, "absolute_margin");
    if (status == NF_OK)
        status = check_filter(context, options->relative_margin, "relative_margin");
    if (status == NF_OK) status = check_filter(context, options->min_distance, "min_distance");
    if (status == NF_OK) status = check_filter(context, options->max_distance, "max_distance");
    if (status != NF_OK) return status;
    if (options->negatives < 1) {
        return nf_fail(context, NF_ERR_ARG, "negatives is 0: it must be at least 1");
    }
    if (options->range_max == 0) return NF_OK;
    if (options->range_min >= options->range_max ||
        options->negatives > options->range_max - options->range_min) {
        return nf_fail(context, NF_ERR_ARG,
                       "range_max is %zu: it must be at least range_min + negatives = %zu + %zu",
                       options->range_max, options->range_min, options->negatives);
    }
    return NF_OK;
}

static nf_status mine(nf_context *context, const nf_mine_hard_options *options,
                      const nf_mine_data *data, nf_mined **mined) {
    nf_mine_hard_options chosen = options != NULL ? *options : nf_mine_hard_defaults();
    nf_status status = check_options(context, &chosen);
    if (status != NF_OK) return status;
    const size_t columns = data->within ? data->sets.query.rows : data->sets.reference.rows;
    const size_t range = chosen.range_max > 0 ? chosen.range_max : default_range(&chosen);
    nf_hard hard = {&chosen, nf_min_size(range, columns), nf_min_size(chosen.positives, columns)};
    nf_mine_job job = {.metric = chosen.metric,
                       .normalize = chosen.normalize,
                       .miner = mine_hard,
                       .options = &hard,
                       .room = (hard.candidates + hard.positives) * sizeof(nf_ranked)};
    return nf_mine_run(context, &job, data, mined);
}

nf_status nf_mine_hard(nf_context *context, const nf_mine_hard_options *options, nf_matrix x,
                       nf_labels labels, nf_mined **mined) {
    nf_scope scope = nf_scope_enter(context);
    const nf_mine_data data = nf_mine_within(x, labels);
    return nf_scope_leave(context, scope, mine(context, options, &data, mined));
}

nf_status nf_mine_hard_reference(nf_context *context, const nf_mine_hard_options *options,
                                 const nf_mine_sets *sets, nf_mined **mined) {
    nf_scope scope = nf_scope_enter(context);
    nf_mine_data data;
    nf_status status = nf_mine_between(context, sets, &data);
    if (status == NF_OK) status = mine(context, options, &data, mined);
    return nf_scope_leave(context, scope, status);
}
