#include "base/random.h"

static void philox_round(uint32_t c[4], const uint32_t key[2]) {
    uint64_t low = (uint64_t)0xD2511F53u * c[0];
    uint64_t high = (uint64_t)0xCD9E8D57u * c[2];
    uint32_t c0 = (uint32_t)(high >> 32) ^ c[1] ^ key[0];
    uint32_t c2 = (uint32_t)(low >> 32) ^ c[3] ^ key[1];
    c[1] = (uint32_t)high;
    c[3] = (uint32_t)low;
    c[0] = c0;
    c[2] = c2;
}

void nf_random_pair(uint64_t seed, uint64_t stream, uint64_t index, uint64_t out[2]) {
    uint32_t c[4] = {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream,
                     (uint32_t)(stream >> 32)};
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int round = 0; round < 10; round++) {
        philox_round(c, key);
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
    out[0] = (uint64_t)c[1] << 32 | c[0];
    out[1] = (uint64_t)c[3] << 32 | c[2];
}

uint64_t nf_random(uint64_t seed, uint64_t stream, uint64_t index) {
    uint64_t pair[2];
    nf_random_pair(seed, stream, index, pair);
    return pair[0];
}

double nf_random_unit(uint64_t seed, uint64_t stream, uint64_t index) {
    return (double)(nf_random(seed, stream, index) >> 11) * 0x1p-53;
}

uint64_t nf_random_stream(uint64_t stream, uint64_t a) {
    uint64_t pair[2];
    nf_random_pair(stream, UINT64_MAX, a, pair);
    return pair[0];
}

uint64_t nf_random_below(uint64_t seed, uint64_t stream, uint64_t index, uint64_t bound) {
    /* Reject the incomplete last cycle of 2^64 / bound; a second draw is needed with probability
     * bound / 2^64, so 64 misses in a row cannot happen in practice, and the loop is bounded. */
    uint64_t limit = UINT64_MAX - (UINT64_MAX % bound + 1) % bound;
    uint64_t value = nf_random(seed, stream, index);
    for (uint64_t attempt = 1; value > limit && attempt < 64; attempt++) {
        value = nf_random(seed, nf_random_stream(stream, attempt), index);
    }
    return value % bound;
}

void nf_random_shuffle(uint64_t seed, uint64_t stream, size_t *values, size_t count) {
    for (size_t i = count; i > 1; i--) {
        size_t other = (size_t)nf_random_below(seed, stream, i, i);
        size_t value = values[i - 1];
        values[i - 1] = values[other];
        values[other] = value;
    }
}
