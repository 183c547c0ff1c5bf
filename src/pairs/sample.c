#include "nearfar/pairs.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "base/random.h"
#include "pairs/pairs.h"

/* Each side's pairs are numbered 0 .. P - 1 class by class, so a uniform number is a uniform pair:
 * no rejection, and drawing without replacement is drawing numbers without replacement.
 *   positives  class c owns n_c (n_c - 1) / 2 numbers, in condensed order inside the class
 *   negatives  class c owns n_c * (rows of later classes) numbers
 * A draw is positive number + 0 or negative number + positive_pairs. */
typedef struct pair_numbers {
    const nf_partition *partition;
    const uint64_t *positive_start, *negative_start; /* (classes + 1) */
} pair_numbers;

static nf_status number_pairs(nf_context *context, const nf_partition *partition,
                              pair_numbers *numbers) {
    size_t classes = partition->classes;
    uint64_t *positive, *negative;
    nf_status status =
        nf_scratch(context, &positive, classes + 1, sizeof *positive, "pairs of classes");
    if (status == NF_OK) {
        status = nf_scratch(context, &negative, classes + 1, sizeof *negative, "pairs of classes");
    }
    if (status != NF_OK) return status;
    positive[0] = negative[0] = 0;
    for (size_t c = 0; c < classes; c++) {
        uint64_t rows = partition->offset[c + 1] - partition->offset[c];
        uint64_t later = partition->labelled - partition->offset[c + 1];
        positive[c + 1] = positive[c] + rows * (rows - 1) / 2;
        negative[c + 1] = negative[c] + rows * later;
    }
    *numbers = (pair_numbers){partition, positive, negative};
    return NF_OK;
}

/* The class c with start[c] <= number < start[c + 1]. */
static size_t find_class(const uint64_t *start, size_t classes, uint64_t number) {
    size_t low = 0, high = classes;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (start[middle] <= number) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool pair_of_draw(const pair_numbers *numbers, uint64_t draw, int64_t *i, int64_t *j) {
    const nf_partition *partition = numbers->partition;
    bool positive = draw < partition->positive_pairs;
    uint64_t number = positive ? draw : draw - partition->positive_pairs;
    const uint64_t *start = positive ? numbers->positive_start : numbers->negative_start;
    size_t c = find_class(start, partition->classes, number);
    size_t begin = partition->offset[c], end = partition->offset[c + 1];
    number -= start[c];
    uint64_t a, b;
    if (positive) {
        nf_pair_unrank(end - begin, number, &a, &b);
        a += begin;
        b += begin;
    } else {
        uint64_t later = partition->labelled - end;
        a = begin + number / later;
        b = end + number % later;
    }
    size_t first = partition->row[a], second = partition->row[b];
    *i = (int64_t)nf_min_size(first, second);
    *j = (int64_t)nf_max_size(first, second);
    return positive;
}

/* ---- numbers without replacement ------------------------------------------------------------ */

typedef struct number_set {
    uint64_t *slot; /* number + 1; 0: free */
    size_t mask;
} number_set;

/* Fibonacci hashing: numbers are random already, only their spread matters. */
static bool insert_number(number_set *set, uint64_t number) {
    size_t at = (size_t)(number * 0x9E3779B97F4A7C15u >> 20) & set->mask;
    for (; set->slot[at] != 0; at = (at + 1) & set->mask) {
        if (set->slot[at] == number + 1) return false;
    }
    set->slot[at] = number + 1;
    return true;
}

/* Floyd's algorithm (Bentley & Floyd, Programming Pearls: a sample of brilliance, CACM 1987): every
 * subset of `count` of `total` numbers is equally likely, one random number each. */
static void draw_distinct(number_set *set, uint64_t seed, uint64_t stream, uint64_t total,
                          uint64_t *draw, size_t count) {
    memset(set->slot, 0, (set->mask + 1) * sizeof *set->slot);
    for (size_t k = 0; k < count; k++) {
        uint64_t top = total - count + k;
        uint64_t number = nf_random_below(seed, stream, k, top + 1);
        if (!insert_number(set, number)) {
            number = top;
            (void)insert_number(set, number);
        }
        draw[k] = number;
    }
}

static nf_status make_set(nf_context *context, size_t count, number_set *set) {
    size_t size = 16;
    while (size / 2 < count && size <= SIZE_MAX / 4) size *= 2;
    set->mask = size - 1;
    return nf_scratch(context, &set->slot, size, sizeof *set->slot, "drawn pairs");
}

/* ---- the sampler ---------------------------------------------------------------------------- */

nf_pair_sample_options nf_pair_sample_defaults(void) {
    return (nf_pair_sample_options){.count = 0, .positive_fraction = 0.5, .replace = 1, .seed = 0};
}

/* Sides of a sample: index 0 negatives, 1 positives. */
typedef struct sample_plan {
    uint64_t total[2]; /* pairs there are */
    size_t draws[2];
} sample_plan;

static nf_status plan_sample(nf_context *context, const nf_partition *partition,
                             const nf_pair_sample_options *options, sample_plan *plan) {
    if (!(options->positive_fraction >= 0 && options->positive_fraction <= 1)) {
        return nf_fail(context, NF_ERR_ARG, "positive_fraction is %g: it must be from 0 to 1",
                       options->positive_fraction);
    }
    double wanted = floor((double)options->count * options->positive_fraction + 0.5);
    size_t positives = wanted >= (double)options->count ? options->count : (size_t)wanted;
    plan->total[0] = partition->negative_pairs;
    plan->total[1] = partition->positive_pairs;
    plan->draws[0] = options->count - positives;
    plan->draws[1] = positives;
    for (int side = 0; side < 2; side++) {
        const char *name = side == 1 ? "positive" : "negative";
        if (plan->draws[side] > 0 && plan->total[side] == 0) {
            return nf_fail(context, NF_ERR_DATA,
                           "there is no %s pair (%zu labelled rows, %zu classes) but "
                           "positive_fraction %g asks for %zu; set it to %d",
                           name, partition->labelled, partition->classes,
                           options->positive_fraction, plan->draws[side], 1 - side);
        }
        if (!options->replace && plan->draws[side] > plan->total[side]) {
            return nf_fail(context, NF_ERR_DATA,
                           "count asks for %zu %s pairs without replacement: there are %" PRIu64
                           "; ask for fewer or set replace",
                           plan->draws[side], name, plan->total[side]);
        }
    }
    return NF_OK;
}

/* Fisher-Yates, so that the sides come shuffled together. */
static void shuffle_draws(uint64_t seed, uint64_t stream, uint64_t *draw, size_t count) {
    for (size_t k = count; k > 1; k--) {
        size_t other = (size_t)nf_random_below(seed, stream, k, k);
        uint64_t value = draw[k - 1];
        draw[k - 1] = draw[other];
        draw[other] = value;
    }
}

static nf_status draw_numbers(nf_context *context, const nf_pair_sample_options *options,
                              const sample_plan *plan, uint64_t *draw) {
    number_set set = {NULL, 0};
    if (!options->replace) {
        nf_status status = make_set(context, nf_max_size(plan->draws[0], plan->draws[1]), &set);
        if (status != NF_OK) return status;
    }
    uint64_t *part = draw;
    for (int side = 1; side >= 0; side--) {
        uint64_t stream = nf_random_stream(NF_STREAM_PAIRS, (uint64_t)side);
        size_t count = plan->draws[side];
        if (!options->replace) {
            draw_distinct(&set, options->seed, stream, plan->total[side], part, count);
        } else {
            for (size_t k = 0; k < count; k++) {
                part[k] = nf_random_below(options->seed, stream, k, plan->total[side]);
            }
        }
        for (size_t k = 0; k < count && side == 0; k++) part[k] += plan->total[1];
        part += count;
    }
    shuffle_draws(options->seed, nf_random_stream(NF_STREAM_PAIRS, 2), draw, options->count);
    return NF_OK;
}

nf_status nf_pairs_sample(nf_context *context, const nf_partition *partition,
                          const nf_pair_sample_options *options, int64_t *i, int64_t *j,
                          uint8_t *same, double *weight) {
    nf_scope scope = nf_scope_enter(context);
    nf_pair_sample_options chosen = options != NULL ? *options : nf_pair_sample_defaults();
    sample_plan plan;
    pair_numbers numbers;
    uint64_t *draw = NULL;
    nf_status status = NF_OK;
    if (chosen.count > 0 && (i == NULL || j == NULL || same == NULL)) {
        status = nf_fail(context, NF_ERR_ARG, "%s is NULL: it must hold %zu values",
                         i == NULL   ? "i"
                         : j == NULL ? "j"
                                     : "same",
                         chosen.count);
    }
    if (status == NF_OK) status = plan_sample(context, partition, &chosen, &plan);
    if (status == NF_OK) status = number_pairs(context, partition, &numbers);
    if (status == NF_OK) {
        status = nf_scratch(context, &draw, chosen.count, sizeof *draw, "drawn pairs");
    }
    if (status == NF_OK) status = draw_numbers(context, &chosen, &plan, draw);
    if (status == NF_OK) {
        /* 1 / (P p) with p = (draws / count) / total of the pair's side. */
        double side_weight[2], all = (double)(plan.total[0] + plan.total[1]);
        for (int side = 0; side < 2; side++) {
            side_weight[side] =
                (double)plan.total[side] / all * ((double)chosen.count / (double)plan.draws[side]);
        }
        for (size_t k = 0; k < chosen.count; k++) {
            same[k] = pair_of_draw(&numbers, draw[k], &i[k], &j[k]);
            if (weight != NULL) weight[k] = side_weight[same[k]];
        }
    }
    return nf_scope_leave(context, scope, status);
}
