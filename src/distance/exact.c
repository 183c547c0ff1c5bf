#include "distance/exact.h"

#include <math.h>
#include <string.h>

static inline double at(nf_type type, const void *row, size_t k) {
    return type == NF_FLOAT32 ? (double)((const float *)row)[k] : ((const double *)row)[k];
}

static double largest_difference(nf_type type, const void *a, const void *b, size_t d,
                                 double factor) {
    double largest = 0;
    for (size_t k = 0; k < d; k++) {
        largest = fmax(largest, fabs(at(type, a, k) * factor - at(type, b, k) * factor));
    }
    return largest;
}

/* sqrt(sum (a-b)^2) as root * 2^exponent, from differences scaled by the largest one. */
static double scaled_root(nf_type type, const void *a, const void *b, size_t d, int *exponent) {
    double factor = 1;
    double largest = largest_difference(type, a, b, d, factor);
    if (isinf(largest)) { /* differences of numbers near the top overflow: halve both */
        factor = 0.5;
        largest = largest_difference(type, a, b, d, factor);
    }
    *exponent = 0;
    bool scale = largest > 0 && !isinf(largest);
    if (scale) frexp(largest, exponent);
    double sum = 0;
    for (size_t k = 0; k < d; k++) {
        double difference = at(type, a, k) * factor - at(type, b, k) * factor;
        if (scale) difference = ldexp(difference, -*exponent);
        sum = fma(difference, difference, sum);
    }
    if (factor < 1) *exponent += 1;
    return sqrt(sum);
}

/* sum a b with each row scaled to below 1 by a power of two. */
static double scaled_dot(nf_type type, const void *a, const void *b, size_t d) {
    double largest_a = 0, largest_b = 0;
    for (size_t k = 0; k < d; k++) {
        largest_a = fmax(largest_a, fabs(at(type, a, k)));
        largest_b = fmax(largest_b, fabs(at(type, b, k)));
    }
    int exponent_a = 0, exponent_b = 0;
    if (isfinite(largest_a)) frexp(largest_a, &exponent_a);
    if (isfinite(largest_b)) frexp(largest_b, &exponent_b);
    double sum = 0;
    for (size_t k = 0; k < d; k++) {
        sum = fma(ldexp(at(type, a, k), -exponent_a), ldexp(at(type, b, k), -exponent_b), sum);
    }
    return ldexp(sum, exponent_a + exponent_b);
}

static double halved_cityblock(nf_type type, const void *a, const void *b, size_t d) {
    double sum = 0;
    for (size_t k = 0; k < d; k++) sum += fabs(at(type, a, k) * 0.5 - at(type, b, k) * 0.5);
    return 2 * sum;
}

double nf_exact_distance(nf_metric metric, nf_type type, const void *a, const void *b, size_t d) {
    int exponent;
    double root;
    switch (metric) {
    case NF_EUCLIDEAN: root = scaled_root(type, a, b, d, &exponent); return ldexp(root, exponent);
    case NF_SQEUCLIDEAN:
    case NF_COSINE:
        root = scaled_root(type, a, b, d, &exponent);
        return ldexp(root * root, 2 * exponent - (metric == NF_COSINE ? 1 : 0));
    case NF_DOT: return 0 - scaled_dot(type, a, b, d); /* never -0, as the kernels */
    case NF_CITYBLOCK: return halved_cityblock(type, a, b, d);
    }
    return NAN;
}

void nf_trusted_range(nf_family family, nf_type type, size_t d, double power, double *low,
                      double *high) {
    double limit = (type == NF_FLOAT32 ? 120.0 : 1000.0) / power;
    *high = ldexp(1.0, (int)limit);
    *low = -*high;
    if (family == NF_SQUARED) *low = ldexp((double)d, type == NF_FLOAT32 ? -100 : -960);
    if (family == NF_ABSOLUTE) *low = 0;
}

bool nf_rows_equal(nf_type type, const void *a, const void *b, size_t d) {
    return d == 0 || memcmp(a, b, d * nf_type_size(type)) == 0;
}
