/* Hard inputs of the loss: coincident and zero rows, the kink, one class, all labels different, no
 * rows, no active pair, NaN. */
#include "reference.h"
#include "support.h"

#include <float.h>
#include <math.h>

#include "base/random.h"

static int all_finite_f32(const float *values, size_t count) {
    int finite = 1;
    for (size_t k = 0; k < count; k++) finite &= isfinite(values[k]);
    return finite;
}

static int all_zero(const void *values, size_t bytes) {
    const unsigned char *byte = values;
    for (size_t k = 0; k < bytes; k++) {
        if (byte[k] != 0) return 0;
    }
    return 1;
}

static int all_zero_f32(const float *values, size_t count) {
    int zero = 1;
    for (size_t k = 0; k < count; k++) zero &= values[k] == 0;
    return zero;
}

static int untouched(const void *values, size_t bytes) {
    const unsigned char *byte = values;
    for (size_t k = 0; k < bytes; k++) {
        if (byte[k] != 0xA5) return 0;
    }
    return 1;
}

static const char *const names[] = {"weston", "drlim", "hinge", "pml", "sbert"};

/* ---- D1: coincident points -------------------------------------------------------------------- */

static void a_collapsed_batch_has_loss_without_gradient(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    enum { N = 64, D = 7 };
    float x[N * D], gradient[N * D];
    int64_t label[N];
    for (size_t k = 0; k < N * D; k++) x[k] = 0.3f + (float)(k % D);
    for (size_t k = 0; k < N; k++) label[k] = (int64_t)(k % 2);
    for (size_t p = 0; p < 5; p++) {
        nf_loss loss;
        nf_loss_result r;
        assert_ok(context, nf_loss_preset(context, names[p], &loss));
        loss.reduction = NF_REDUCE_MEAN;
        assert_ok(context,
                  nf_loss_batch(context, &loss, nf_matrix_f32(x, N, D), (nf_labels){label, N, 1},
                                &r, nf_matrix_out_f32(gradient, N, D)));
        double m = loss.neg_margin, each = loss.scale * (loss.neg_exponent == 2 ? m * m : m);
        assert_true(fabs(r.value - each * 1024 / 2016) < 1e-6);
        assert_int_equal(r.coincident_negatives, 1024);
        assert_int_equal(r.active_negative, 1024);
        for (size_t k = 0; k < N * D; k++) assert_true(gradient[k] == 0);
    }
    nf_context_free(context);
}

static void planted_duplicates_keep_gradients_finite(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    enum { N = 120, D = 5 };
    float x[N * D], gradient[N * D];
    int64_t label[N];
    for (uint64_t seed = 0; seed < 60; seed++) {
        test_random_f32(seed, x, N * D, -1, 1);
        test_random_labels(seed, label, N, 0, 3);
        for (size_t k = 40; k < N; k++) { /* copies, and copies one step or one denormal off */
            memcpy(x + k * D, x + (k % 40) * D, D * sizeof *x);
            if (k % 3 == 0) x[k * D] = nextafterf(x[k * D], 9);
            if (k % 3 == 1) x[k * D] = x[(k % 40) * D] = (float)(k % 2) * 0x1p-149f;
        }
        nf_loss loss;
        nf_loss_result r;
        assert_ok(context, nf_loss_preset(context, names[seed % 5], &loss));
        loss.reduction = (nf_reduction)(seed / 5 % 5);
        assert_ok(context,
                  nf_loss_batch(context, &loss, nf_matrix_f32(x, N, D), (nf_labels){label, N, 1},
                                &r, nf_matrix_out_f32(gradient, N, D)));
        assert_true(isfinite(r.value));
        assert_true(all_finite_f32(gradient, N * D));
    }
    nf_context_free(context);
}

/* Rows that differ by the smallest step: the direction survives. */
static void the_smallest_difference_has_a_direction(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const float steps[] = {0x1p-149f, 1e-42f, 1e-30f, 1e-20f, 1e-10f};
    const uint8_t same[1] = {0};
    for (size_t k = 0; k < 5; k++) {
        float left[2] = {0, 0}, right[2] = {steps[k], 0}, gl[2], gr[2];
        nf_loss loss = nf_loss_weston();
        nf_loss_result r;
        assert_ok(context, nf_loss_rows(context, &loss, nf_matrix_f32(left, 1, 2),
                                        nf_matrix_f32(right, 1, 2), same, NULL, NULL, &r,
                                        nf_matrix_out_f32(gl, 1, 2), nf_matrix_out_f32(gr, 1, 2)));
        assert_true(fabsf(gl[0] - 2) < 1e-5f && fabsf(gr[0] + 2) < 1e-5f && gl[1] == 0);
        float x[4] = {0, 0, steps[k], 0}, gradient[4];
        int64_t label[2] = {1, 2};
        assert_ok(context,
                  nf_loss_batch(context, &loss, nf_matrix_f32(x, 2, 2), (nf_labels){label, 2, 1},
                                &r, nf_matrix_out_f32(gradient, 2, 2)));
        assert_true(fabsf(gradient[0] - 2) < 1e-5f && fabsf(gradient[2] + 2) < 1e-5f);
        assert_int_equal(r.coincident_negatives, 0);
    }
    nf_context_free(context);
}

/* t equal to the margin, exactly: no term, not active, no gradient, for every exponent and metric. */
static void the_kink_itself_has_no_gradient(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const float x[4] = {0, 0, 3, 4};
    const struct {
        nf_metric metric;
        double at;
    } cases[] = {{NF_EUCLIDEAN, 5}, {NF_SQEUCLIDEAN, 25}, {NF_CITYBLOCK, 7}, {NF_DOT, 0}};
    for (size_t c = 0; c < 4 * 4; c++) {
        nf_loss loss = nf_loss_weston();
        loss.pos_metric = loss.neg_metric = cases[c % 4].metric;
        loss.pos_exponent = loss.neg_exponent = 1 + 0.5 * (double)(c / 4);
        loss.pos_margin = loss.neg_margin = cases[c % 4].at;
        loss.stats = 1;
        for (int64_t same = 0; same < 2; same++) {
            const int64_t label[2] = {1, 2 - same};
            const uint8_t flag[1] = {(uint8_t)same};
            float gradient[4] = {1, 1, 1, 1}, left[2] = {1, 1}, right[2] = {1, 1};
            nf_loss_result r;
            assert_ok(context, nf_loss_batch(context, &loss, nf_matrix_f32(x, 2, 2),
                                             (nf_labels){label, 2, 1}, &r,
                                             nf_matrix_out_f32(gradient, 2, 2)));
            assert_true(r.value == 0 && all_zero_f32(gradient, 4));
            assert_int_equal(r.active_negative + r.active_positive, 0);
            assert_ok(context,
                      nf_loss_rows(context, &loss, nf_matrix_f32(x, 1, 2),
                                   nf_matrix_f32(x + 2, 1, 2), flag, NULL, NULL, &r,
                                   nf_matrix_out_f32(left, 1, 2), nf_matrix_out_f32(right, 1, 2)));
            assert_true(r.value == 0 && all_zero_f32(left, 2) && all_zero_f32(right, 2));
            assert_int_equal(r.active_negative + r.active_positive, 0);
        }
    }
    nf_context_free(context);
}

/* ---- D7: zero rows ---------------------------------------------------------------------------- */

static void zero_rows_have_no_gradient(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    enum { N = 30, D = 4 };
    double x[N * D], gradient[N * D];
    int64_t label[N];
    test_random_f64(3, x, N * D, -1, 1);
    test_random_labels(3, label, N, 0, 1);
    const size_t zeros[] = {0, 7, 8, 29};
    for (size_t k = 0; k < 4; k++) memset(x + zeros[k] * D, 0, D * sizeof *x);
    x[7 * D + 1] = -0.0;
    for (int c = 0; c < 10; c++) {
        nf_loss loss = nf_loss_weston();
        loss.normalize = c % 2 == 0;
        loss.pos_metric = loss.neg_metric = c % 2 == 0 ? (nf_metric)(c / 2) : NF_COSINE;
        loss.pos_margin = -2;
        loss.neg_margin = 3;
        loss.stats = 1;
        nf_loss_result r;
        assert_ok(context,
                  nf_loss_batch(context, &loss, nf_matrix_f64(x, N, D), (nf_labels){label, N, 1},
                                &r, nf_matrix_out_f64(gradient, N, D)));
        assert_int_equal(r.zero_rows, 4);
        for (size_t k = 0; k < 4; k++) {
            for (size_t c2 = 0; c2 < D; c2++) assert_true(gradient[zeros[k] * D + c2] == 0);
        }
        ref_problem p = ref_batch(loss, x, N, D, (nf_labels){label, N, 1});
        ref_result want = ref_evaluate(&p);
        assert_true(fabs(r.value - (double)want.value) <= 1e-13 * fabs((double)want.value));
        assert_true(ref_relative_error(nf_matrix_out_f64(gradient, N, D), want.gradient_x) < 1e-12);
        assert_int_equal(r.coincident_negatives,
                         loss.neg_metric == NF_DOT ? 0 : want.coincident_negatives);
        ref_result_free(&want);
        ref_problem_free(&p);
    }
    nf_context_free(context);
}

/* ---- D9, L1, L2, L3 ---------------------------------------------------------------------------- */

static void no_active_pair_is_value_zero(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    enum { N = 50, D = 64 };
    float x[N * D], gradient[N * D];
    int64_t label[N];
    test_random_f32(5, x, N * D, 0, 1);                   /* squared distances of 9 to 14 */
    for (size_t k = 0; k < N; k++) label[k] = (int64_t)k; /* all different */
    for (int reduction = NF_REDUCE_MEAN; reduction < NF_REDUCE_NONE; reduction++) {
        nf_loss loss = nf_loss_weston();
        loss.reduction = (nf_reduction)reduction;
        loss.stats = 1;
        nf_loss_result r;
        memset(gradient, 0xA5, sizeof gradient);
        assert_ok(context,
                  nf_loss_batch(context, &loss, nf_matrix_f32(x, N, D), (nf_labels){label, N, 1},
                                &r, nf_matrix_out_f32(gradient, N, D)));
        assert_true(r.value == 0 && !signbit(r.value));
        for (size_t k = 0; k < N * D; k++) assert_true(gradient[k] == 0);
        assert_int_equal(r.positive_pairs, 0);
        assert_int_equal(r.negative_pairs, 1225);
        assert_int_equal(r.active_negative, 0);
        assert_int_equal(r.active_positive, 0);
        assert_true(r.mean_positive_distance == 0);
        assert_true(r.mean_negative_distance > 3 && r.mean_negative_distance < 4);
    }
    nf_context_free(context);
}

static void one_class_and_unlabelled_only(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    float x[15], gradient[15];
    test_random_f32(6, x, 15, -1, 1);
    const int64_t one[5] = {7, 7, 7, 7, 7}, none[5] = {-1, -1, -1, -1, -1};
    nf_loss loss = nf_loss_weston();
    for (size_t n = 0; n <= 5; n++) {
        nf_loss_result r;
        nf_matrix_out out = nf_matrix_out_f32(gradient, n, 3);
        assert_ok(context, nf_loss_batch(context, &loss, nf_matrix_f32(x, n, 3),
                                         (nf_labels){one, n, 1}, &r, out));
        assert_int_equal(r.positive_pairs, n < 2 ? 0 : n * (n - 1) / 2);
        assert_int_equal(r.negative_pairs, 0);
        assert_int_equal(r.value > 0, n > 1);
        memset(gradient, 0xA5, sizeof gradient);
        assert_ok(context, nf_loss_batch(context, &loss, nf_matrix_f32(x, n, 3),
                                         (nf_labels){none, n, 1}, &r, out));
        assert_int_equal(r.positive_pairs + r.negative_pairs, 0);
        assert_true(r.value == 0 && all_zero(gradient, n * 3 * sizeof *gradient));
        /* -1 is an ordinary class when nothing is unlabelled. */
        assert_ok(context, nf_loss_batch(context, &loss, nf_matrix_f32(x, n, 3),
                                         (nf_labels){none, n, 0}, &r, out));
        assert_int_equal(r.positive_pairs, n < 2 ? 0 : n * (n - 1) / 2);
    }
    const int64_t signs[4] = {-1, 1, 1, -1};
    nf_loss_result r;
    memset(&r, 0xA5, sizeof r);
    assert_fails(context,
                 nf_loss_batch(context, &loss, nf_matrix_f32(x, 4, 3), (nf_labels){signs, 4, 1}, &r,
                               (nf_matrix_out){0}),
                 NF_ERR_DATA, "-1");
    assert_true(untouched(&r, sizeof r));
    assert_ok(context, nf_loss_batch(context, &loss, nf_matrix_f32(x, 4, 3),
                                     (nf_labels){signs, 4, 0}, &r, (nf_matrix_out){0}));
    nf_context_free(context);
}

static void every_form_takes_every_small_shape(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const size_t dims[] = {0, 1, 2, 3, 15, 16, 17};
    const int64_t labels[3] = {4, 4, 8}, i[2] = {0, 1}, j[2] = {1, 0};
    const uint8_t same[3] = {1, 0, 1};
    float x[51], y[51], gx[51], gy[51];
    test_random_f32(8, x, 51, 0, 1);
    test_random_f32(9, y, 51, 0, 1);
    for (size_t t = 0; t < 7 * 16 * 5 * 2; t++) {
        size_t d = dims[t % 7], n = t / 7 % 4, m = t / 28 % 4;
        nf_loss loss = nf_loss_weston(), rows_loss;
        loss.pos_metric = loss.neg_metric = (nf_metric)(t / 112 % 5);
        loss.normalize = (int)(t / 560);
        loss.stats = (int)(t % 2);
        loss.reduction = (nf_reduction)(t % 5);
        rows_loss = loss;
        if (t % 3 == 0) rows_loss.reduction = NF_REDUCE_NONE;
        nf_matrix vx = nf_matrix_f32(n * d > 0 ? x : NULL, n, d);
        nf_matrix vy = nf_matrix_f32(m * d > 0 ? y : NULL, m, d);
        nf_matrix vz = nf_matrix_f32(n * d > 0 ? y : NULL, n, d);
        nf_matrix_out ox = nf_matrix_out_f32(n * d > 0 ? gx : NULL, n, d);
        nf_matrix_out oy = nf_matrix_out_f32(m * d > 0 ? gy : NULL, m, d);
        nf_matrix_out oz = nf_matrix_out_f32(n * d > 0 ? gy : NULL, n, d);
        nf_labels lx = {n > 0 ? labels : NULL, n, 1}, ly = {m > 0 ? labels : NULL, m, 1};
        nf_loss_result r;
        assert_ok(context, nf_loss_batch(context, &loss, vx, lx, &r, ox));
        assert_true(isfinite(r.value));
        assert_int_equal(r.positive_pairs + r.negative_pairs, n * (n > 0 ? n - 1 : 0) / 2);
        nf_loss_sets sets = {vx, vy, lx, ly, NULL, NULL};
        assert_ok(context, nf_loss_reference(context, &loss, &sets, &r, ox, oy));
        assert_true(isfinite(r.value));
        assert_int_equal(r.positive_pairs + r.negative_pairs, n * m);
        assert_ok(context, nf_loss_rows(context, &rows_loss, vx, vz, n > 0 ? same : NULL, NULL,
                                        NULL, &r, ox, oz));
        assert_true(isfinite(r.value));
        size_t count = n >= 2 ? 2 : 0;
        nf_pairs pairs = {count, count > 0 ? i : NULL, count > 0 ? j : NULL,
                          count > 0 ? same : NULL, NULL};
        assert_ok(context, nf_loss_pairs(context, &rows_loss, vx, pairs, NULL, &r, ox));
        assert_true(isfinite(r.value));
        if (d > 0)
            assert_true(all_finite_f32(gx, n * d) && all_finite_f32(gy, (m < n ? m : n) * d));
    }
    nf_context_free(context);
}

/* ---- D6 ---------------------------------------------------------------------------------------- */

static void nonfinite_rows_are_refused_in_every_form(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    float x[12], y[12], gx[12], gy[12];
    const int64_t labels[3] = {1, 1, 2}, i[1] = {0}, j[1] = {1};
    const uint8_t same[3] = {1, 0, 1};
    const float bad[] = {NAN, INFINITY, -INFINITY};
    nf_loss loss = nf_loss_weston();
    for (size_t at = 0; at < 12; at++) {
        test_random_f32(1, x, 12, -1, 1);
        test_random_f32(2, y, 12, -1, 1);
        y[at] = bad[at % 3];
        char place[64];
        snprintf(place, sizeof place, "row %zu, column %zu", at / 4, at % 4);
        memset(gx, 0xA5, sizeof gx);
        memset(gy, 0xA5, sizeof gy);
        nf_matrix vx = nf_matrix_f32(x, 3, 4), vy = nf_matrix_f32(y, 3, 4);
        nf_matrix_out ox = nf_matrix_out_f32(gx, 3, 4), oy = nf_matrix_out_f32(gy, 3, 4);
        nf_labels l = {labels, 3, 1};
        nf_loss_result r;
        assert_fails(context, nf_loss_batch(context, &loss, vy, l, &r, oy), NF_ERR_DATA, place);
        nf_pairs pairs = {1, i, j, same, NULL};
        assert_fails(context, nf_loss_pairs(context, &loss, vy, pairs, NULL, &r, oy), NF_ERR_DATA,
                     place);
        assert_fails(context, nf_loss_rows(context, &loss, vx, vy, same, NULL, NULL, &r, ox, oy),
                     NF_ERR_DATA, place);
        test_assert_contains(nf_context_error(context)->message, "right", __FILE__, __LINE__);
        nf_loss_sets sets = {vy, vx, l, l, NULL, NULL};
        assert_fails(context, nf_loss_reference(context, &loss, &sets, &r, oy, ox), NF_ERR_DATA,
                     place);
        test_assert_contains(nf_context_error(context)->message, "query", __FILE__, __LINE__);
        assert_true(untouched(gx, sizeof gx) && untouched(gy, sizeof gy));
    }
    nf_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_collapsed_batch_has_loss_without_gradient),
        cmocka_unit_test(planted_duplicates_keep_gradients_finite),
        cmocka_unit_test(the_smallest_difference_has_a_direction),
        cmocka_unit_test(the_kink_itself_has_no_gradient),
        cmocka_unit_test(zero_rows_have_no_gradient),
        cmocka_unit_test(no_active_pair_is_value_zero),
        cmocka_unit_test(one_class_and_unlabelled_only),
        cmocka_unit_test(every_form_takes_every_small_shape),
        cmocka_unit_test(nonfinite_rows_are_refused_in_every_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
