/* Numbers as integers in the same order, for what sorts and counts them. */
#ifndef NF_BASE_KEY_H
#define NF_BASE_KEY_H

#include <stdint.h>
#include <string.h>

/* Key of a row that takes no part; above every key of a number. */
#define NF_KEY_EXCLUDED UINT64_MAX

/* Ascending keys are ascending numbers; -0 is 0, and every NaN is one value after Inf. */
static inline uint32_t nf_key_f32(float value) {
    uint32_t bits;
    value += 0.0f; /* -0 becomes 0 */
    memcpy(&bits, &value, sizeof bits);
    if (value != value) return UINT32_MAX;
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

static inline uint64_t nf_key_f64(double value) {
    uint64_t bits;
    value += 0.0;
    memcpy(&bits, &value, sizeof bits);
    if (value != value) return UINT64_MAX - 1;
    return bits >> 63 ? ~bits : bits | 0x8000000000000000u;
}

/* The number of a key; NaN for that of NaN. */
static inline float nf_key_f32_value(uint32_t key) {
    uint32_t bits = key >> 31 ? key & 0x7FFFFFFFu : ~key;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline double nf_key_f64_value(uint64_t key) {
    uint64_t bits = key >> 63 ? key & 0x7FFFFFFFFFFFFFFFu : ~key;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#endif
