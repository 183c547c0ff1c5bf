#include "eval/order.h"

#include <math.h>

#define NF_DIGIT_BITS 11
#define NF_DIGITS ((size_t)1 << NF_DIGIT_BITS)
#define NF_INSERTION 32

static void insertion_sort(nf_ranked *item, size_t count) {
    for (size_t i = 1; i < count; i++) {
        nf_ranked moved = item[i];
        size_t at = i;
        for (; at > 0 && item[at - 1].key > moved.key; at--) item[at] = item[at - 1];
        item[at] = moved;
    }
}

static int bit_length(uint64_t value) { return value == 0 ? 0 : 64 - __builtin_clzll(value); }

/* Radix sort, least digit first, on the digits in which the keys differ. */
void nf_sort_ranked(nf_ranked *item, nf_ranked *spare, size_t count) {
    if (count <= NF_INSERTION) {
        insertion_sort(item, count);
        return;
    }
    uint64_t low = UINT64_MAX, high = 0;
    for (size_t i = 0; i < count; i++) {
        low = item[i].key < low ? item[i].key : low;
        high = item[i].key > high ? item[i].key : high;
    }
    nf_ranked *from = item, *to = spare;
    for (int shift = 0; shift < bit_length(high - low); shift += NF_DIGIT_BITS) {
        uint32_t start[NF_DIGITS] = {0}, sum = 0;
        for (size_t i = 0; i < count; i++) start[(from[i].key - low) >> shift & (NF_DIGITS - 1)]++;
        for (size_t digit = 0; digit < NF_DIGITS; digit++) {
            uint32_t here = start[digit];
            start[digit] = sum;
            sum += here;
        }
        for (size_t i = 0; i < count; i++) {
            to[start[(from[i].key - low) >> shift & (NF_DIGITS - 1)]++] = from[i];
        }
        nf_ranked *swap = from;
        from = to;
        to = swap;
    }
    if (from != item) memcpy(item, from, count * sizeof *item);
}

const nf_ranked *nf_sort_spread(nf_ranked *item, nf_ranked *spare, size_t count, uint32_t *bins) {
    uint64_t low = UINT64_MAX, high = 0;
    for (size_t i = 0; i < count; i++) {
        low = item[i].key < low ? item[i].key : low;
        high = item[i].key > high ? item[i].key : high;
    }
    if (count <= NF_INSERTION || low == high) {
        if (low != high) insertion_sort(item, count);
        return item;
    }
    const int most = bit_length(nf_min_size(count, NF_RANK_BINS / 2)),
              bits = bit_length(high - low);
    const int shift = bits > most ? bits - most : 0;
    const size_t used = (size_t)((high - low) >> shift) + 1;
    memset(bins, 0, used * sizeof *bins);
    for (size_t i = 0; i < count; i++) bins[(item[i].key - low) >> shift]++;
    for (size_t bin = 0, sum = 0; bin < used; bin++) {
        const size_t here = bins[bin];
        bins[bin] = (uint32_t)sum;
        sum += here;
    }
    for (size_t i = 0; i < count; i++) spare[bins[(item[i].key - low) >> shift]++] = item[i];
    for (size_t bin = 0, begin = 0; bin < used && shift > 0; begin = bins[bin++]) {
        const size_t here = bins[bin] - begin;
        if (here > 1) nf_sort_ranked(spare + begin, item + begin, here);
    }
    return spare;
}

/* ---- the smallest numbers --------------------------------------------------------------------- */

#define NF_LIST_STEP ((uint32_t)1 << 19) /* of keys: a sixteenth of a number */

/* A limit is looked for between keys: `few` is too low, `many` is not. */
typedef struct nf_limit_search {
    uint32_t few, many;
    size_t few_found, many_found;
    bool few_seen, many_seen; /* by counting */
} nf_limit_search;

static uint32_t next_key(const nf_limit_search *search, uint32_t key, uint32_t step, size_t target,
                         int probes) {
    const uint32_t gap = search->many - search->few;
    if (!search->few_seen) return gap / 2 > step ? search->many - step : search->many - gap / 2;
    if (!search->many_seen) return gap / 2 > step ? search->few + step : search->few + gap / 2;
    if (probes % 3 == 2) return search->few + gap / 2; /* where numbers crowd */
    const double share =
        (double)(target - search->few_found) / (double)(search->many_found - search->few_found);
    key = search->few + (uint32_t)(share * (double)gap);
    return key <= search->few ? search->few + 1 : key >= search->many ? search->many - 1 : key;
}

/* NaN passes every limit, but Inf comes before it. */
static bool any_nan(const nf_row_values *values, const uint32_t *index, size_t found) {
    const float *f = values->value;
    const double *g = values->value;
    int some = 0;
    for (size_t p = 0; p < found; p++) {
        some |=
            values->type == NF_FLOAT32 ? f[index[p]] != f[index[p]] : g[index[p]] != g[index[p]];
    }
    return some != 0;
}

static size_t list_up_to(const nf_row_values *values, float limit, uint32_t *index) {
    return values->kernels->not_above(index, values->value, values->count, (double)limit,
                                      (double)INFINITY, false);
}

static float limit_of_smallest(const nf_row_values *values, size_t wanted, uint32_t *index) {
    const size_t most = wanted + wanted / 8 + NF_INSERTION, target = wanted + wanted / 16 + 8;
    nf_limit_search search = {nf_key_f32(-INFINITY), nf_key_f32(INFINITY), 0, values->count, 0, 0};
    uint32_t key = nf_key_f32(*values->guess), step = NF_LIST_STEP;
    if (key <= search.few || key >= search.many) key = nf_key_f32(1);
    for (int probes = 0; search.many - search.few > 1 && values->count > most; probes++) {
        const size_t found = list_up_to(values, nf_key_f32_value(key), index);
        if (found >= wanted && found <= most) return nf_key_f32_value(key);
        if (found < wanted) {
            search.few = key, search.few_found = found, search.few_seen = true;
        } else {
            search.many = key, search.many_found = found, search.many_seen = true;
        }
        key = next_key(&search, key, step, nf_min_size(target, search.many_found), probes);
        step *= step < UINT32_MAX / 8 ? 4 : 1;
    }
    return nf_key_f32_value(search.many);
}

size_t nf_list_smallest(const nf_row_values *values, size_t wanted, uint32_t *index) {
    const float limit = limit_of_smallest(values, wanted, index);
    const size_t found = list_up_to(values, limit, index);
    *values->guess = limit;
    return any_nan(values, index, found) ? list_up_to(values, INFINITY, index) : found;
}
