/* Hard inputs of distances: cancellation, overflow, denormals, NaN and Inf, zero rows. */
#include "probe.h"
#include "reference.h"
#include "support.h"

#include <float.h>
#include <math.h>

static nf_distance_options with_metric(nf_metric metric) {
    nf_distance_options o = nf_distance_defaults();
    o.metric = metric;
    return o;
}

static nf_status one_f32(nf_context *context, nf_metric metric, const float *a, const float *b,
                         size_t d, float *out) {
    nf_distance_options o = with_metric(metric);
    return nf_distances_full(context, &o, nf_matrix_f32(a, 1, d), nf_matrix_f32(b, 1, d),
                             nf_matrix_out_f32(out, 1, 1));
}

static nf_status one_f64(nf_context *context, nf_metric metric, const double *a, const double *b,
                         size_t d, double *out) {
    nf_distance_options o = with_metric(metric);
    return nf_distances_full(context, &o, nf_matrix_f64(a, 1, d), nf_matrix_f64(b, 1, d),
                             nf_matrix_out_f64(out, 1, 1));
}

static void near_points_do_not_cancel(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    float out;
    assert_ok(context, one_f32(context, NF_EUCLIDEAN, (float[]){10000}, (float[]){10001}, 1, &out));
    assert_true(out == 1);
    assert_ok(context,
              one_f32(context, NF_EUCLIDEAN, (float[]){512695}, (float[]){512804}, 1, &out));
    assert_true(out == 109);
    const struct {
        float a, b;
        size_t d;
    } cases[] = {{1, 1.001f, 1000}, {1, 1.1f, 1000000}};
    for (size_t c = 0; c < 2; c++) {
        size_t d = cases[c].d;
        float *a = malloc(d * sizeof *a), *b = malloc(d * sizeof *b);
        for (size_t k = 0; k < d; k++) a[k] = cases[c].a, b[k] = cases[c].b;
        assert_ok(context, one_f32(context, NF_EUCLIDEAN, a, b, d, &out));
        double want = sqrt((double)d) * ((double)cases[c].b - (double)cases[c].a);
        assert_true(ref_ulps(NF_FLOAT32, (double)out, (ref_quad)want) <= (double)d + 2);
        nf_distance_options precise = with_metric(NF_EUCLIDEAN);
        precise.precise = 1;
        assert_ok(context,
                  nf_distances_full(context, &precise, nf_matrix_f32(a, 1, d),
                                    nf_matrix_f32(b, 1, d), nf_matrix_out_f32(&out, 1, 1)));
        assert_true(ref_ulps(NF_FLOAT32, (double)out, (ref_quad)want) <= 0.52);
        free(a);
        free(b);
    }
    nf_context_free(context);
}

static void values_out_of_range_in_between_are_right(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const float zero[4] = {0}, big[4] = {1e20f, 1e20f, 1e20f, 1e20f};
    const double zero_d[4] = {0};
    float out;
    double wide;
    assert_ok(context, one_f32(context, NF_EUCLIDEAN, big, zero, 4, &out));
    assert_true(ref_ulps(NF_FLOAT32, (double)out, 2 * (ref_quad)1e20f) <= 1);
    const double scales[] = {1e154, 1e200, 4e307, 1e-160, 1e-200, 1e-300, 0x1p-1074};
    for (size_t k = 0; k < sizeof scales / sizeof *scales; k++) {
        double a[4] = {scales[k], scales[k], scales[k], scales[k]};
        assert_ok(context, one_f64(context, NF_EUCLIDEAN, a, zero_d, 4, &wide));
        assert_true(ref_ulps(NF_FLOAT64, wide, 2 * (ref_quad)scales[k]) <= 1);
    }
    const float tiny[] = {1e-20f, 1e-30f, 1e-38f, 1e-42f, 0x1p-149f};
    for (size_t k = 0; k < sizeof tiny / sizeof *tiny; k++) {
        assert_ok(context, one_f32(context, NF_EUCLIDEAN, &tiny[k], zero, 1, &out));
        assert_true(out == tiny[k]);
        assert_ok(context, one_f32(context, NF_CITYBLOCK, &tiny[k], zero, 1, &out));
        assert_true(out == tiny[k]);
    }
    const float denormal_square = 1e-21f; /* squares to a denormal */
    assert_ok(context, one_f32(context, NF_SQEUCLIDEAN, &denormal_square, zero, 1, &out));
    assert_true(out == (float)((double)denormal_square * (double)denormal_square));
    /* Products that overflow one by one and cancel in sum. */
    const float p[2] = {1e30f, 1e30f}, q[2] = {1e30f, -1e30f};
    assert_ok(context, one_f32(context, NF_DOT, p, q, 2, &out));
    assert_true(out == 0);
    const double u[2] = {0x1p600, 0x1p600}, v[2] = {0x1p600, -0x1p600};
    assert_ok(context, one_f64(context, NF_DOT, u, v, 2, &wide));
    assert_true(wide == 0);
    double large[8], signs[8];
    for (size_t k = 0; k < 8; k++) large[k] = 0x1p1023, signs[k] = k < 4 ? 0x1p1023 : -0x1p1023;
    assert_ok(context, one_f64(context, NF_DOT, large, signs, 8, &wide));
    assert_true(wide == 0);
    const double r[2] = {3e200, 4e200}, s[2] = {4e200, -3e200};
    assert_ok(context, one_f64(context, NF_COSINE, r, s, 2, &wide));
    assert_true(fabs(wide - 1) < 1e-15);
    assert_ok(context, one_f64(context, NF_COSINE, r, r, 2, &wide));
    assert_true(wide == 0);
    nf_context_free(context);
}

static void values_beyond_the_type_are_refused(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const float high[2] = {3e38f, 3e38f}, low[2] = {-3e38f, -3e38f}, big[1] = {1e20f},
                zero[1] = {0};
    const double high_d[1] = {1.7e308}, low_d[1] = {-1.7e308};
    float out = 42;
    double wide = 42;
    assert_fails(context, one_f32(context, NF_EUCLIDEAN, high, low, 1, &out), NF_ERR_RANGE, "");
    assert_fails(context, one_f32(context, NF_CITYBLOCK, high, low, 2, &out), NF_ERR_RANGE, "");
    assert_fails(context, one_f32(context, NF_SQEUCLIDEAN, big, zero, 1, &out), NF_ERR_RANGE, "");
    assert_fails(context, one_f32(context, NF_DOT, high, high, 1, &out), NF_ERR_RANGE, "");
    assert_fails(context, one_f64(context, NF_EUCLIDEAN, high_d, low_d, 1, &wide), NF_ERR_RANGE,
                 "");
    assert_true(strlen(nf_context_error(context)->message) > 10);
    assert_true(out == 42 && wide == 42);
    nf_distance_options o = with_metric(NF_EUCLIDEAN);
    o.allow_nonfinite = 1;
    assert_ok(context, nf_distances_full(context, &o, nf_matrix_f32(high, 1, 1),
                                         nf_matrix_f32(low, 1, 1), nf_matrix_out_f32(&out, 1, 1)));
    assert_true(isinf(out) && out > 0);
    nf_context_free(context);
}

/* ---- NaN and Inf ---------------------------------------------------------------------------- */

#define ROWS 9
#define COLS 21
#define LD 24

static void nonfinite_input_is_refused_by_place(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const size_t places[][2] = {{0, 0}, {ROWS - 1, COLS - 1}, {0, COLS - 1}, {4, 16}, {3, 7},
                                {8, 0}};
    const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    float x[ROWS * LD], y[ROWS * LD], out[ROWS * ROWS];
    test_random_f32(1, y, ROWS * LD, -1, 1);
    for (size_t p = 0; p < 6; p++) {
        for (size_t b = 0; b < 4; b++) {
            test_random_f32(2, x, ROWS * LD, -1, 1);
            x[2 * LD + COLS] = NAN; /* in the gap: not part of x */
            x[places[p][0] * LD + places[p][1]] = bad[b];
            memset(out, 0xA5, sizeof out);
            nf_matrix vx = {x, NF_FLOAT32, ROWS, COLS, LD}, vy = {y, NF_FLOAT32, ROWS, COLS, LD};
            char text[64];
            snprintf(text, sizeof text, "row %zu, column %zu", places[p][0], places[p][1]);
            nf_matrix_out view = nf_matrix_out_f32(out, ROWS, ROWS);
            assert_fails(context, nf_distances_full(context, NULL, vx, vy, view), NF_ERR_DATA,
                         text);
            assert_fails(context, nf_distances_full(context, NULL, vy, vx, view), NF_ERR_DATA,
                         text);
            assert_fails(context, nf_distances_condensed(context, NULL, vx, out), NF_ERR_DATA,
                         text);
            for (size_t k = 0; k < sizeof out; k++) {
                assert_int_equal(((unsigned char *)out)[k], 0xA5);
            }
        }
    }
    nf_context_free(context);
}

static void allowed_nonfinite_values_propagate(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    float x[ROWS * COLS], out[ROWS * ROWS], clean[ROWS * ROWS];
    test_random_f32(3, x, ROWS * COLS, -1, 1);
    const nf_metric metrics[] = {NF_EUCLIDEAN, NF_SQEUCLIDEAN, NF_CITYBLOCK};
    for (size_t m = 0; m < 3; m++) {
        float dirty[ROWS * COLS];
        memcpy(dirty, x, sizeof x);
        dirty[2 * COLS + 5] = NAN;
        dirty[5 * COLS + COLS - 1] = INFINITY;
        dirty[7 * COLS + COLS - 1] = INFINITY;
        nf_distance_options o = with_metric(metrics[m]);
        nf_matrix v = nf_matrix_f32(x, ROWS, COLS), w = nf_matrix_f32(dirty, ROWS, COLS);
        assert_ok(context,
                  nf_distances_full(context, &o, v, v, nf_matrix_out_f32(clean, ROWS, ROWS)));
        o.allow_nonfinite = 1;
        assert_ok(context,
                  nf_distances_full(context, &o, w, w, nf_matrix_out_f32(out, ROWS, ROWS)));
        for (size_t i = 0; i < ROWS; i++) {
            for (size_t j = 0; j < ROWS; j++) {
                float got = out[i * ROWS + j];
                int infinite_i = i == 5 || i == 7, infinite_j = j == 5 || j == 7;
                if (i == 2 || j == 2 || (infinite_i && infinite_j))
                    assert_true(isnan(got));
                else if (infinite_i || infinite_j)
                    assert_true(isinf(got) && got > 0);
                else
                    assert_memory_equal(&got, &clean[i * ROWS + j], sizeof got);
            }
        }
    }
    nf_context_free(context);
}

static void infinite_rows_are_not_zero_rows(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const float x[4] = {INFINITY, 1, 1, 2};
    float out[4];
    for (int normalize = 0; normalize < 2; normalize++) {
        nf_distance_options o = with_metric(normalize ? NF_EUCLIDEAN : NF_COSINE);
        o.normalize = normalize;
        o.allow_nonfinite = 1;
        nf_matrix v = nf_matrix_f32(x, 2, 2);
        assert_ok(context, nf_distances_full(context, &o, v, v, nf_matrix_out_f32(out, 2, 2)));
        assert_true(isnan(out[0]) && isnan(out[1]) && isnan(out[2])); /* Inf / Inf */
        assert_true(out[3] == 0);
    }
    nf_context_free(context);
}

/* ---- zero rows and cosine -------------------------------------------------------------------- */

static void zero_rows_are_at_cosine_distance_one(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    float out;
    const float zero[3] = {0, -0.0f, 0}, minus[3] = {-0.0f, -0.0f, -0.0f}, a[3] = {1, -2, 3};
    assert_ok(context, one_f32(context, NF_COSINE, zero, a, 3, &out));
    assert_true(out == 1);
    assert_ok(context, one_f32(context, NF_COSINE, a, minus, 3, &out));
    assert_true(out == 1);
    /* Tiny rows are not zero rows. */
    const float scales[] = {1e-38f, 1e-30f, 1e-20f, 1e-3f, 1e20f, 1e30f, 1e38f};
    const float b[3] = {0.5f, 1, 2};
    float want;
    assert_ok(context, one_f32(context, NF_COSINE, a, b, 3, &want));
    for (size_t k = 0; k < sizeof scales / sizeof *scales; k++) {
        float c[3] = {a[0] * scales[k], a[1] * scales[k], a[2] * scales[k]};
        assert_ok(context, one_f32(context, NF_COSINE, c, b, 3, &out));
        assert_true(fabsf(out - want) <= 4 * FLT_EPSILON);
        assert_ok(context, one_f32(context, NF_COSINE, c, c, 3, &out));
        assert_true(out == 0);
    }
    const double smallest[2] = {0x1p-1074, 0}, other[2] = {0, 5};
    double wide;
    assert_ok(context, one_f64(context, NF_COSINE, smallest, other, 2, &wide));
    assert_true(fabs(wide - 1) < 1e-15);
    const double unit[2] = {1, 0};
    assert_ok(context, one_f64(context, NF_COSINE, smallest, unit, 2, &wide));
    assert_true(fabs(wide) < 1e-15);
    nf_distance_options o = with_metric(NF_EUCLIDEAN);
    o.normalize = 1; /* a zero row stays zero: at distance 1 from unit rows */
    assert_ok(context, nf_distances_full(context, &o, nf_matrix_f32(zero, 1, 3),
                                         nf_matrix_f32(a, 1, 3), nf_matrix_out_f32(&out, 1, 1)));
    assert_true(fabsf(out - 1) <= FLT_EPSILON);
    assert_ok(context,
              nf_distances_full(context, &o, nf_matrix_f32(zero, 1, 3), nf_matrix_f32(minus, 1, 3),
                                nf_matrix_out_f32(&out, 1, 1)));
    assert_true(out == 0);
    nf_context_free(context);
}

/* ---- the caller's floating-point environment -------------------------------------------------- */

static uint64_t hash_distances(nf_context *context, nf_metric metric, const float *x,
                               const double *g) {
    float out[40 * 40];
    double wide[40 * 40];
    nf_distance_options o = with_metric(metric);
    nf_matrix v = nf_matrix_f32(x, 40, 5), w = nf_matrix_f64(g, 40, 5);
    assert_ok(context, nf_distances_full(context, &o, v, v, nf_matrix_out_f32(out, 40, 40)));
    assert_ok(context, nf_distances_full(context, &o, w, w, nf_matrix_out_f64(wide, 40, 40)));
    return probe_hash(probe_hash(PROBE_HASH, out, sizeof out), wide, sizeof wide);
}

static void the_callers_environment_changes_nothing(void **state) {
    (void)state;
    float x[40 * 5];
    double g[40 * 5];
    for (size_t k = 0; k < 200; k++) { /* from denormals to large */
        x[k] = ldexpf((float)(k % 17) - 8.3f, (int)(k % 9) * 15 - 100 - (int)(k % 40));
        g[k] = ldexp((double)(k % 17) - 8.3, (int)(k % 9) * 60 - 500 - (int)(k % 40) * 14);
    }
    for (int threads = 1; threads <= 2; threads++) {
        nf_context *context = test_context(threads);
        for (int metric = NF_EUCLIDEAN; metric <= NF_CITYBLOCK; metric++) {
            uint64_t want = 0;
            for (int environment = 0; environment < PROBE_ENVIRONMENTS; environment++) {
                unsigned before = probe_fp_set(environment);
                uint64_t got = hash_distances(context, (nf_metric)metric, x, g);
                probe_fp_restore(before);
                if (environment == 0) want = got;
                assert_int_equal(got, want);
            }
        }
        nf_context_free(context);
    }
}

static void the_control_word_is_left_alone(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    float x[6] = {1, 1e-42f, 3, 1e30f, 5, 6}, out[4];
    nf_matrix v = nf_matrix_f32(x, 2, 3);
    for (int environment = 0; environment < PROBE_ENVIRONMENTS; environment++) {
        unsigned before = probe_fp_set(environment), inside = probe_fp_get();
        nf_status ok = nf_distances_full(context, NULL, v, v, nf_matrix_out_f32(out, 2, 2));
        unsigned after = probe_fp_get();
        x[0] = NAN;
        nf_status refused = nf_distances_full(context, NULL, v, v, nf_matrix_out_f32(out, 2, 2));
        unsigned after_failure = probe_fp_get();
        x[0] = 1;
        probe_fp_restore(before);
        assert_int_equal(ok, NF_OK);
        assert_int_equal(refused, NF_ERR_DATA);
        assert_int_equal(after, inside);
        assert_int_equal(after_failure, inside);
    }
    nf_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(near_points_do_not_cancel),
        cmocka_unit_test(values_out_of_range_in_between_are_right),
        cmocka_unit_test(values_beyond_the_type_are_refused),
        cmocka_unit_test(nonfinite_input_is_refused_by_place),
        cmocka_unit_test(allowed_nonfinite_values_propagate),
        cmocka_unit_test(infinite_rows_are_not_zero_rows),
        cmocka_unit_test(zero_rows_are_at_cosine_distance_one),
        cmocka_unit_test(the_callers_environment_changes_nothing),
        cmocka_unit_test(the_control_word_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
