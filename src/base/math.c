#include "base/math.h"

#include <math.h>
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

/* exp(x) = 2^k (1 + e); 2^k in two factors, so that neither overflows. */
double nf_exp(double x) {
    if (x != x) return x;
    if (x < -746) return 0;
    if (x > 710) return HUGE_VAL;
    int64_t k = (int64_t)(x * 1.4426950408889634074 + (x < 0 ? -0.5 : 0.5));
    double n = (double)k;
    double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    double e = 1 + expm1_small(r);
    int64_t half = k / 2;
    double first = half < 0 ? power_of_half(-half) : 1 / power_of_half(half);
    double second = k - half < 0 ? power_of_half(half - k) : 1 / power_of_half(k - half);
    return e * first * second;
}

/* 2 atanh(z) = log((1 + z) / (1 - z)) for |z| <= 1/3 by its Taylor series; the first term left out is
 * below 2^-57 of the result. */
static double twice_atanh(double z) {
    double s = z * z, p = 1.0 / 35.0;
    for (int odd = 33; odd >= 3; odd -= 2) p = p * s + 1.0 / odd;
    return 2 * (z + z * (s * p));
}

double nf_log(double x) {
    uint64_t bits;
    int64_t exponent = 0;
    if (x != x || x < 0) return (x - x) / (x - x);
    if (x == 0) return -1 / x;
    if (!(x - x == 0)) return x;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        exponent = -54;
    }
    memcpy(&bits, &x, sizeof bits);
    exponent += (int64_t)(bits >> 52) - 1022;
    bits = (bits & 0xFFFFFFFFFFFFFu) | (uint64_t)1022 << 52;
    memcpy(&x, &bits, sizeof x); /* in [1/2, 1) */
    if (x < 0.70710678118654752440) {
        x *= 2;
        exponent--;
    }
    double n = (double)exponent, log_x = twice_atanh((x - 1) / (x + 1));
    return n * 6.93147180369123816490e-01 + (log_x + n * 1.90821492927058770002e-10);
}

double nf_softplus(double x, double *slope) {
    double a = x < 0 ? -x : x, e = 0;
    if (x != x) return *slope = x;
    if (a < 700) {
        int64_t k = (int64_t)(a * 1.4426950408889634074 + 0.5);
        double n = (double)k;
        double r = (n * 6.93147180369123816490e-01 - a) + n * 1.90821492927058770002e-10;
        e = power_of_half(k) * (1 + expm1_small(r)); /* exp(-|x|) */
    }
    *slope = (x < 0 ? e : 1) / (1 + e);
    return (x > 0 ? x : 0) + twice_atanh(e / (2 + e));
}
