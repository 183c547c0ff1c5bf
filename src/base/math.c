#include "base/math.h"

#include <stdint.h>
#include <string.h>

/* exp(r) - 1 for |r| <= ln(2) / 2 + 2^-30 by its Taylor series; the first term left out is below
 * 2^-53 of the result. */
static double expm1_small(double r) {
    double p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    return r + r * r * p;
}

/* 2^-k for 0 <= k <= 1022. */
static double power_of_half(int64_t k) {
    uint64_t bits = (uint64_t)(1023 - k) << 52;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* tanh(x) = -e / (e + 2) with e = exp(-2|x|) - 1; for k = 0 the series gives e without
 * cancellation, otherwise e <= 2^-1/2 - 1. */
double nf_tanh(double x) {
    double a = x < 0 ? -x : x;
    if (!(a < 20)) return x != x ? x : x < 0 ? -1.0 : 1.0;
    double t = 2 * a;
    int64_t k = (int64_t)(t * 1.4426950408889634074 + 0.5); /* t / ln 2, rounded */
    double n = (double)k;
    /* ln 2 in two parts; the first has 21 trailing zeros, so n times it is exact. */
    double r = (n * 6.93147180369123816490e-01 - t) + n * 1.90821492927058770002e-10;
    double e = expm1_small(r);
    if (k != 0) {
        double scale = power_of_half(k);
        e = scale * e + (scale - 1);
    }
    double y = -e / (e + 2);
    return x < 0 ? -y : x == 0 ? x : y;
}

float nf_tanhf(float x) { return (float)nf_tanh((double)x); }

/* sin(t) and cos(t) for |t| <= pi / 4 by Taylor series. */
static double sin_small(double t) {
    double s = t * t, p = -1.0 / 1307674368000.0;
    p = p * s + 1.0 / 6227020800.0;
    p = p * s - 1.0 / 39916800.0;
    p = p * s + 1.0 / 362880.0;
    p = p * s - 1.0 / 5040.0;
    p = p * s + 1.0 / 120.0;
    p = p * s - 1.0 / 6.0;
    return t + t * s * p;
}

static double cos_small(double t) {
    double s = t * t, p = 1.0 / 20922789888000.0;
    p = p * s - 1.0 / 87178291200.0;
    p = p * s + 1.0 / 479001600.0;
    p = p * s - 1.0 / 3628800.0;
    p = p * s + 1.0 / 40320.0;
    p = p * s - 1.0 / 720.0;
    p = p * s + 1.0 / 24.0;
    p = p * s - 0.5;
    return 1 + s * p;
}

double nf_cospi(double x) {
    const double pi = 3.14159265358979323846;
    double a = x < 0 ? -x : x;
    if (!(a <= 0x1p50)) return (x - x) / (x - x);
    /* Quarter turns: a = q / 2 + f with |f| <= 1/4; both exact. */
    int64_t q = (int64_t)(2 * a + 0.5);
    double f = a - (double)q * 0.5;
    switch (q & 3) {
    case 0: return cos_small(pi * f);
    case 1: return f == 0 ? 0.0 : -sin_small(pi * f);
    case 2: return -cos_small(pi * f);
    default: return sin_small(pi * f);
    }
}
