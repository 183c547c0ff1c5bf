/* Distances against the quadruple-precision oracle: (d + 2) ulp for euclidean, sqeuclidean and
 * cityblock, 0.51 ulp with `precise`, absolute bounds for dot, cosine and normalised rows. */
#include "reference.h"
#include "support.h"

#include <float.h>
#include <math.h>

#include "base/random.h"

#define N 5
#define M 7

/* A matrix with gaps between rows. `spread` 0: values in [-1, 1]; 1: magnitudes 2^-20 .. 2^20;
 * 2: near duplicates far from the origin. */
static nf_matrix random_matrix(uint64_t seed, nf_type type, size_t rows, size_t d, int spread) {
    size_t ld = d + seed % 3;
    nf_matrix x = {malloc(rows * ld * 8 + 8), type, rows, d, ld};
    for (size_t k = 0; k < rows * ld; k++) {
        double u = 2 * nf_random_unit(seed, 1, k) - 1;
        if (spread == 1) u = ldexp(u, (int)nf_random_below(seed, 2, k, 41) - 20);
        if (spread == 2) u = 1000 + u * 1e-3;
        if (type == NF_FLOAT32)
            ((float *)(uintptr_t)x.data)[k] = (float)u;
        else
            ((double *)(uintptr_t)x.data)[k] = u;
    }
    return x;
}

static double unit_roundoff(nf_type type) {
    return type == NF_FLOAT32 ? FLT_EPSILON / 2 : DBL_EPSILON / 2;
}

/* The error allowed, in ulp of the result for the relative metrics (negative: absolute). */
static double allowed(const nf_distance_options *o, nf_type type, const double *a, const double *b,
                      size_t d) {
    double u = unit_roundoff(type), k = (double)d;
    if (o->metric == NF_DOT) {
        double sum = 0, na = 0, nb = 0;
        for (size_t c = 0; c < d; c++) {
            sum += fabs(a[c] * b[c]);
            na += a[c] * a[c];
            nb += b[c] * b[c];
        }
        if (!o->normalize) return -(k + 2) * u * sum;
        return na > 0 && nb > 0 ? -(2 * k + 8) * u * sum / sqrt(na * nb) : -DBL_MIN;
    }
    if (o->metric == NF_COSINE) return -4 * (k + 8) * u;
    if (o->normalize) return -(o->metric == NF_EUCLIDEAN ? 4 : 16) * (k + 8) * u * sqrt(k + 1);
    return o->precise && type == NF_FLOAT32 ? 0.51 : k + 2;
}

static void check_one(const nf_distance_options *o, nf_type type, double got, const double *a,
                      const double *b, size_t d) {
    ref_quad want = ref_distance(o->metric, o->normalize, a, b, d);
    double limit = allowed(o, type, a, b, d);
    double error = limit >= 0 ? ref_ulps(type, got, want)
                              : (double)((ref_quad)got - want > 0 ? (ref_quad)got - want
                                                                  : want - (ref_quad)got);
    if (!(error <= fabs(limit))) {
        fail_msg(
            "%s type %d normalize %d precise %d d %zu: got %.17g, want %.17g, error %g over %g",
            nf_metric_name(o->metric), (int)type, o->normalize, o->precise, d, got, (double)want,
            error, fabs(limit));
    }
}

static void check_matrices(nf_context *context, const nf_distance_options *o, nf_matrix x,
                           nf_matrix y) {
    double wide[N * M];
    float narrow[N * M];
    void *out = x.type == NF_FLOAT32 ? (void *)narrow : (void *)wide;
    nf_matrix_out view = {out, x.type, N, M, M};
    assert_ok(context, nf_distances_full(context, o, x, y, view));
    double *a = ref_widen(x), *b = ref_widen(y);
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < M; j++) {
            double got = x.type == NF_FLOAT32 ? (double)narrow[i * M + j] : wide[i * M + j];
            check_one(o, x.type, got, a + i * x.cols, b + j * x.cols, x.cols);
        }
    }
    free(a);
    free(b);
}

static void every_metric_meets_its_bound(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    size_t extra[] = {100, 128, 257, 1000};
    for (size_t step = 0; step < 72; step++) {
        size_t d = step < 68 ? step : extra[step - 68];
        for (int c = 0; c < 60; c++) {
            nf_distance_options o = nf_distance_defaults();
            o.metric = (nf_metric)(c % 5);
            o.normalize = c / 5 % 2;
            int spread = c / 10 % 3;
            nf_type type = c / 30 == 0 ? NF_FLOAT32 : NF_FLOAT64;
            uint64_t seed = (uint64_t)c * 100 + step;
            nf_matrix x = random_matrix(seed, type, N, d, spread);
            nf_matrix y = random_matrix(seed + 5000, type, M, d, spread);
            check_matrices(context, &o, x, y);
            o.precise = 1;
            check_matrices(context, &o, x, y);
            free((void *)(uintptr_t)x.data);
            free((void *)(uintptr_t)y.data);
        }
    }
    nf_context_free(context);
}

/* Any finite bit pattern: the true value within (d + 2) ulp, or NF_ERR_RANGE when it is beyond the
 * type. */
static void check_pattern(nf_context *context, nf_metric metric, nf_type type, const void *a,
                          const void *b, size_t d) {
    nf_distance_options o = nf_distance_defaults();
    o.metric = metric;
    double wide = 0, wide_a[8], wide_b[8];
    float narrow = 0;
    void *out = type == NF_FLOAT32 ? (void *)&narrow : (void *)&wide;
    for (size_t k = 0; k < d; k++) {
        wide_a[k] = type == NF_FLOAT32 ? (double)((const float *)a)[k] : ((const double *)a)[k];
        wide_b[k] = type == NF_FLOAT32 ? (double)((const float *)b)[k] : ((const double *)b)[k];
    }
    nf_matrix x = {a, type, 1, d, d}, y = {b, type, 1, d, d};
    nf_status status = nf_distances_full(context, &o, x, y, (nf_matrix_out){out, type, 1, 1, 1});
    ref_quad want = ref_distance(metric, 0, wide_a, wide_b, d);
    ref_quad largest = type == NF_FLOAT32 ? (ref_quad)FLT_MAX : (ref_quad)DBL_MAX;
    ref_quad slack = largest * (ref_quad)(unit_roundoff(type) * 2 * (double)(d + 2));
    if (want > largest + slack) {
        assert_int_equal(status, NF_ERR_RANGE);
        assert_true(narrow == 0 && wide == 0);
    } else if (want < largest - slack) {
        assert_ok(context, status);
        check_one(&o, type, type == NF_FLOAT32 ? (double)narrow : wide, wide_a, wide_b, d);
    }
}

static void every_bit_pattern_is_right_or_refused(void **state) {
    (void)state;
    const nf_metric metrics[] = {NF_EUCLIDEAN, NF_SQEUCLIDEAN, NF_CITYBLOCK};
    nf_context *context = test_context(1);
    for (uint64_t round = 0; round < 6000; round++) {
        size_t d = 1 + round % 8;
        float a[8], b[8];
        double g[8], h[8];
        for (size_t k = 0; k < d; k++) {
            uint32_t bits[2] = {(uint32_t)nf_random(round, 3, k), (uint32_t)nf_random(round, 4, k)};
            uint64_t wide[2] = {nf_random(round, 5, k), nf_random(round, 6, k)};
            memcpy(a + k, bits, 4);
            memcpy(b + k, bits + 1, 4);
            memcpy(g + k, wide, 8);
            memcpy(h + k, wide + 1, 8);
            if (!isfinite(a[k])) a[k] = 0x1p-149f;
            if (!isfinite(b[k])) b[k] = FLT_MAX;
            if (!isfinite(g[k])) g[k] = 0x1p-1074;
            if (!isfinite(h[k])) h[k] = DBL_MAX;
            if (round % 5 == 0) b[k] = a[k], h[k] = g[k]; /* mostly coincident */
        }
        if (round % 10 == 0) b[0] = nextafterf(a[0], 0), h[0] = nextafter(g[0], 0);
        check_pattern(context, metrics[round % 3], NF_FLOAT32, a, b, d);
        check_pattern(context, metrics[round % 3], NF_FLOAT64, g, h, d);
    }
    nf_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_metric_meets_its_bound),
        cmocka_unit_test(every_bit_pattern_is_right_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
