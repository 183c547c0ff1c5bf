/* Arguments of the distance functions: names, shapes, empty matrices, overlaps, indices, gaps. */
#include "support.h"

#include <math.h>

static void metrics_have_names(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const char *names[] = {"euclidean", "sqeuclidean", "cosine", "dot", "cityblock"};
    for (int k = 0; k < 5; k++) {
        nf_metric metric;
        assert_string_equal(nf_metric_name((nf_metric)k), names[k]);
        assert_ok(context, nf_metric_parse(context, names[k], &metric));
        assert_int_equal(metric, k);
    }
    assert_null(nf_metric_name((nf_metric)5));
    assert_null(nf_metric_name((nf_metric)-1));
    nf_metric metric = NF_DOT;
    assert_fails(context, nf_metric_parse(context, "euclid", &metric), NF_ERR_ARG, "euclid");
    for (int k = 0; k < 5; k++) {
        test_assert_contains(nf_context_error(context)->message, names[k], __FILE__, __LINE__);
    }
    assert_fails(context, nf_metric_parse(context, "", &metric), NF_ERR_ARG, "");
    assert_int_equal(metric, NF_DOT);
    nf_context_free(context);
}

static void empty_and_small_shapes(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const size_t dims[] = {0, 1, 2, 3, 15, 16, 17};
    float x[3 * 17], y[3 * 17], out[9];
    test_random_f32(1, x, 51, 1, 2);
    test_random_f32(2, y, 51, -2, -1);
    for (size_t t = 0; t < 7 * 16 * 10; t++) {
        size_t d = dims[t % 7], n = t / 7 % 4, m = t / 28 % 4;
        nf_distance_options o = nf_distance_defaults();
        o.metric = (nf_metric)(t / 112 % 5);
        o.normalize = t / 560 != 0;
        nf_matrix vx = nf_matrix_f32(n * d > 0 ? x : NULL, n, d);
        nf_matrix vy = nf_matrix_f32(m * d > 0 ? y : NULL, m, d);
        memset(out, 0xA5, sizeof out);
        nf_matrix_out view = nf_matrix_out_f32(n * m > 0 ? out : NULL, n, m);
        assert_ok(context, nf_distances_full(context, &o, vx, vy, view));
        for (size_t k = 0; k < n * m; k++) {
            assert_true(isfinite(out[k]));
            if (d == 0 && o.metric != NF_COSINE) assert_true(out[k] == 0);
        }
        assert_ok(context, nf_distances_condensed(context, &o, vx, n > 1 ? out : NULL));
        assert_ok(context, nf_distances_pairs(context, &o, vx, vy, NULL, NULL, 0, NULL));
    }
    nf_context_free(context);
}

static void bad_arguments_are_named(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    float x[12] = {0}, y[12] = {1}, out[16];
    double wide[12] = {0};
    nf_matrix vx = nf_matrix_f32(x, 3, 4), vy = nf_matrix_f32(y, 4, 3);
    nf_matrix_out view = nf_matrix_out_f32(out, 3, 3);
    assert_fails(context, nf_distances_full(context, NULL, vx, vy, view), NF_ERR_ARG, "column");
    assert_fails(context, nf_distances_full(context, NULL, vx, nf_matrix_f64(wide, 3, 4), view),
                 NF_ERR_ARG, "y");
    view.rows = 2;
    assert_fails(context, nf_distances_full(context, NULL, vx, vx, view), NF_ERR_ARG, "2 x 3");
    view = nf_matrix_out_f32(x + 2, 3, 3);
    assert_fails(context, nf_distances_full(context, NULL, vx, vx, view), NF_ERR_ARG, "overlap");
    assert_fails(context, nf_distances_condensed(context, NULL, vx, x + 11), NF_ERR_ARG, "overlap");
    const int64_t index[3] = {0, 1, 2};
    assert_fails(context, nf_distances_pairs(context, NULL, vx, vx, index, index, 3, x + 10),
                 NF_ERR_ARG, "overlap");
    assert_fails(context, nf_distances_pairs(context, NULL, vx, vx, index, index, 3, NULL),
                 NF_ERR_ARG, "out");
    assert_fails(context, nf_distances_condensed(context, NULL, vx, NULL), NF_ERR_ARG, "out");
    view = (nf_matrix_out){out, NF_FLOAT64, 3, 3, 3};
    assert_fails(context, nf_distances_full(context, NULL, vx, vx, view), NF_ERR_ARG, "float32");
    nf_distance_options o = nf_distance_defaults();
    o.metric = (nf_metric)17;
    view = nf_matrix_out_f32(out, 3, 3);
    assert_fails(context, nf_distances_full(context, &o, vx, vx, view), NF_ERR_ARG, "17");
    assert_fails(context, nf_distances_condensed(context, &o, vx, out), NF_ERR_ARG, "17");
    vx.ld = 3;
    assert_fails(context, nf_distances_full(context, NULL, vx, vx, view), NF_ERR_ARG, "x");
    nf_context_free(context);
}

static void bad_indices_are_named_by_position(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    float x[12] = {0}, y[8] = {1}, out[4] = {42, 42, 42, 42};
    nf_matrix vx = nf_matrix_f32(x, 3, 4), vy = nf_matrix_f32(y, 2, 4);
    const int64_t bad[] = {3, -1, INT64_MAX, INT64_MIN};
    for (size_t k = 0; k < 4; k++) {
        int64_t i[4] = {0, 1, 2, 0}, j[4] = {0, 1, 1, 1};
        char value[32];
        snprintf(value, sizeof value, "%lld", (long long)bad[k]);
        i[2] = bad[k];
        assert_fails(context, nf_distances_pairs(context, NULL, vx, vy, i, j, 4, out), NF_ERR_ARG,
                     value);
        test_assert_contains(nf_context_error(context)->message, "2", __FILE__, __LINE__);
        i[2] = 0;
        j[3] = bad[k] == 3 ? 2 : bad[k]; /* y has fewer rows */
        assert_fails(context, nf_distances_pairs(context, NULL, vx, vy, i, j, 4, out), NF_ERR_ARG,
                     "3");
    }
    assert_true(out[0] == 42 && out[3] == 42);
    nf_context_free(context);
}

/* The gaps between rows of the output are the caller's. */
static void gaps_of_the_output_are_kept(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    float x[20 * 3], out[20 * 25];
    test_random_f32(4, x, 60, -1, 1);
    for (size_t k = 0; k < 500; k++) out[k] = 42;
    nf_matrix v = nf_matrix_f32(x, 20, 3);
    assert_ok(context,
              nf_distances_full(context, NULL, v, v, (nf_matrix_out){out, NF_FLOAT32, 20, 20, 25}));
    for (size_t r = 0; r < 20; r++) {
        for (size_t c = 0; c < 25; c++) assert_int_equal(out[r * 25 + c] == 42, c >= 20);
    }
    nf_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_have_names),
        cmocka_unit_test(empty_and_small_shapes),
        cmocka_unit_test(bad_arguments_are_named),
        cmocka_unit_test(bad_indices_are_named_by_position),
        cmocka_unit_test(gaps_of_the_output_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
