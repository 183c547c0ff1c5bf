#include "eval/order.h"

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

/* Largest bin that the `wanted` smallest keys reach into. */
static uint64_t last_bin(const uint64_t *key, size_t count, uint64_t low, int shift, size_t wanted,
                         uint32_t *bins) {
    memset(bins, 0, NF_RANK_BINS * sizeof *bins);
    /* Excluded keys fall into the last bin, which is only reached when every key is wanted. */
    for (size_t c = 0; c < count; c++) {
        uint64_t bin = (key[c] - low) >> shift;
        bins[bin < NF_RANK_BINS ? bin : NF_RANK_BINS - 1]++;
    }
    size_t bin = 0;
    for (size_t sum = bins[0]; sum < wanted; sum += bins[bin]) bin++;
    return bin;
}

void nf_rank_nearest(const uint64_t *key, size_t count, size_t present, uint64_t low, uint64_t high,
                     size_t wanted, nf_ranked *item, nf_ranked *spare, uint32_t *bins) {
    if (wanted == 0) return;
    int bits = bit_length(high - low), shift = bits > 12 ? bits - 12 : 0;
    uint64_t last = NF_RANK_BINS;
    if (wanted < present) last = last_bin(key, count, low, shift, wanted, bins);
    size_t kept = 0;
    for (size_t c = 0; c < count; c++) {
        if (key[c] == NF_KEY_EXCLUDED || (key[c] - low) >> shift > last) continue;
        item[kept++] = (nf_ranked){key[c], (uint32_t)c};
    }
    nf_sort_ranked(item, spare, kept); /* stable: positions ascend among equal keys */
}
