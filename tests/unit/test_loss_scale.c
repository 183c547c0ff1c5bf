/* Scales and places of the data: far origins, huge, tiny and denormal numbers, many columns, single
 * huge rows. A result is the oracle's, or NF_ERR_RANGE with the outputs untouched. */
#include "reference.h"
#include "support.h"

#include <math.h>

#include "base/random.h"

static int all_finite_f32(const float *values, size_t count) {
    int finite = 1;
    for (size_t k = 0; k < count; k++) finite &= isfinite(values[k]);
    return finite;
}

static int untouched(const void *values, size_t bytes) {
    const unsigned char *byte = values;
    for (size_t k = 0; k < bytes; k++) {
        if (byte[k] != 0xA5) return 0;
    }
    return 1;
}

static const char *const names[] = {"weston", "drlim", "hinge", "pml", "sbert"};

static void a_far_origin_keeps_the_digits(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    enum { N = 400, D = 16, CLASSES = 4 };
    float *x = malloc(N * D * sizeof *x), *gradient = malloc(N * D * sizeof *gradient);
    int64_t label[N];
    double centre[CLASSES * D];
    test_random_f64(1, centre, CLASSES * D, 99.7, 100.3);
    for (size_t r = 0; r < N; r++) {
        label[r] = (int64_t)(r % CLASSES);
        for (size_t k = 0; k < D; k++) {
            double noise = 2 * nf_random_unit(4, 4, r * D + k) - 1;
            x[r * D + k] = (float)(centre[(r % CLASSES) * D + k] + 0.01 * noise);
        }
    }
    for (int c = 0; c < 6; c++) {
        nf_loss loss = nf_loss_weston();
        loss.neg_margin = 3;
        loss.pos_margin = c == 1 ? 1e-3 : 0; /* tiles instead of the closed form */
        if (c == 2) loss.pos_metric = loss.neg_metric = NF_SQEUCLIDEAN;
        if (c == 3) loss.pos_metric = loss.neg_metric = NF_CITYBLOCK;
        if (c == 4) loss.neg_metric = NF_SQEUCLIDEAN, loss.neg_exponent = 1, loss.neg_margin = 9;
        if (c == 5) loss.reduction = NF_REDUCE_MEAN_NONZERO;
        nf_loss_result r;
        assert_ok(context,
                  nf_loss_batch(context, &loss, nf_matrix_f32(x, N, D), (nf_labels){label, N, 1},
                                &r, nf_matrix_out_f32(gradient, N, D)));
        double *wide = ref_widen(nf_matrix_f32(x, N, D));
        ref_problem p = ref_batch(loss, wide, N, D, (nf_labels){label, N, 1});
        ref_result want = ref_evaluate(&p);
        double error = ref_relative_error(nf_matrix_out_f32(gradient, N, D), want.gradient_x);
        if (!(error < 3e-6)) fail_msg("case %d: gradient off by %g", c, error);
        assert_true(fabs(r.value - (double)want.value) < 3e-6 * (double)want.value);
        assert_true(r.active_negative > 0);
        ref_result_free(&want);
        ref_problem_free(&p);
        free(wide);
    }
    free(x);
    free(gradient);
    nf_context_free(context);
}

/* Any scale: a result close to the oracle's, or NF_ERR_RANGE with the outputs untouched. */
static void every_scale_is_right_or_refused(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    enum { N = 20, D = 3 };
    const float scales[] = {1e-44f, 1e-38f, 1e-30f, 1e-18f, 1e18f, 1e20f, 1e25f, 3e38f};
    size_t finite = 0, refused = 0;
    for (size_t t = 0; t < 8 * 5 * 4; t++) {
        float x[N * D], gradient[N * D];
        int64_t label[N];
        test_random_f32(t, x, N * D, -1, 1);
        test_random_labels(t, label, N, 0, 2);
        for (size_t k = 0; k < N * D; k++) x[k] *= scales[t % 8];
        nf_loss loss;
        assert_ok(context, nf_loss_preset(context, names[t / 8 % 5], &loss));
        if (t / 40 == 1) loss.neg_margin = (double)scales[t % 8];
        if (t / 40 == 2) loss.pos_margin = 1e-3;
        if (t / 40 == 3)
            loss.pos_metric = loss.neg_metric = NF_CITYBLOCK, loss.reduction = NF_REDUCE_SUM;
        loss.stats = 1;
        nf_loss_result r;
        memset(&r, 0xA5, sizeof r);
        memset(gradient, 0xA5, sizeof gradient);
        nf_status status =
            nf_loss_batch(context, &loss, nf_matrix_f32(x, N, D), (nf_labels){label, N, 1}, &r,
                          nf_matrix_out_f32(gradient, N, D));
        if (status != NF_OK) {
            assert_int_equal(status, NF_ERR_RANGE);
            assert_true(untouched(&r, sizeof r) && untouched(gradient, sizeof gradient));
            refused++;
            continue;
        }
        finite++;
        assert_true(isfinite(r.value) && all_finite_f32(gradient, N * D));
        double *wide = ref_widen(nf_matrix_f32(x, N, D));
        ref_problem p = ref_batch(loss, wide, N, D, (nf_labels){label, N, 1});
        ref_result want = ref_evaluate(&p);
        const double mean = (double)want.mean_negative_distance;
        assert_true(fabs(r.mean_negative_distance - mean) <= 1e-5 * mean + 0x1p-149);
        assert_true(fabs(r.mean_positive_distance - (double)want.mean_positive_distance) <=
                    1e-5 * (double)want.mean_positive_distance + 0x1p-149);
        double error = ref_relative_error(nf_matrix_out_f32(gradient, N, D), want.gradient_x);
        double norm = (double)ref_norm(want.gradient_x, N * D);
        if (norm < 1e-36) error = 0; /* below float32's normal range digits run out */
        double off = fabs(r.value - (double)want.value);
        if (!(error < 1e-5) || !(off <= 1e-5 * (double)want.value)) {
            fail_msg("%s at scale %g, variant %zu: value %g for %g, gradient off by %g of %g",
                     names[t / 8 % 5], (double)scales[t % 8], t / 40, r.value, (double)want.value,
                     error, norm);
        }
        ref_result_free(&want);
        ref_problem_free(&p);
        free(wide);
    }
    assert_true(finite > 100 && refused > 0);
    nf_context_free(context);
}

static void every_scale_of_float64_is_right_or_refused(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    enum { N = 20, D = 3 };
    const double scales[] = {1e-320, 1e-305, 1e-200, 1e-150, 1e-100,
                             1e100,  1e140,  1e155,  1e200,  1.7e308};
    size_t finite = 0, refused = 0;
    for (size_t t = 0; t < 10 * 5 * 3; t++) {
        double x[N * D], gradient[N * D], scale = scales[t % 10];
        int64_t label[N];
        test_random_f64(t, x, N * D, -1, 1);
        test_random_labels(t, label, N, 0, 2);
        for (size_t k = 0; k < N * D; k++) x[k] *= scale;
        nf_loss loss;
        assert_ok(context, nf_loss_preset(context, names[t / 10 % 5], &loss));
        if (t / 50 == 1) loss.neg_margin = scale;
        if (t / 50 == 2) loss.pos_metric = loss.neg_metric = NF_CITYBLOCK;
        nf_loss_result r;
        memset(&r, 0xA5, sizeof r);
        memset(gradient, 0xA5, sizeof gradient);
        nf_labels labels = {label, N, 1};
        nf_status status = nf_loss_batch(context, &loss, nf_matrix_f64(x, N, D), labels, &r,
                                         nf_matrix_out_f64(gradient, N, D));
        if (status != NF_OK) {
            assert_int_equal(status, NF_ERR_RANGE);
            assert_true(untouched(&r, sizeof r) && untouched(gradient, sizeof gradient));
            refused++;
            continue;
        }
        finite++;
        ref_problem p = ref_batch(loss, x, N, D, labels);
        ref_result want = ref_evaluate(&p);
        double error = ref_relative_error(nf_matrix_out_f64(gradient, N, D), want.gradient_x);
        double norm = (double)ref_norm(want.gradient_x, N * D), value = (double)want.value;
        if (norm < 1e-290) error = 0; /* below float64's normal range digits run out */
        double limit = value < 1e-290 ? 1e-290 : 1e-12 * value;
        /* Denormal distances have few digits; their direction still shows. */
        if (!(error < (scale < 1e-310 ? 1e-3 : 1e-12)) || !(fabs(r.value - value) <= limit)) {
            fail_msg("%s at scale %g, variant %zu: value %g for %g, gradient off by %g of %g",
                     names[t / 10 % 5], scale, t / 50, r.value, value, error, norm);
        }
        ref_result_free(&want);
        ref_problem_free(&p);
    }
    assert_true(finite > 80 && refused > 0);
    nf_context_free(context);
}

/* So many columns that blocks have fewer rows. */
static void wide_rows_are_right(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    enum { N = 50, D = 40000 };
    float *x = malloc((size_t)N * D * 4), *gradient = malloc((size_t)N * D * 4);
    int64_t label[N];
    test_random_f32(1, x, (size_t)N * D, -1, 1);
    test_random_labels(1, label, N, -1, 2);
    nf_loss loss = nf_loss_weston();
    loss.neg_margin = 165; /* distances are near sqrt(2 D / 3) = 163 */
    loss.pos_margin = 1;
    nf_loss_result r;
    nf_labels labels = {label, N, 1};
    assert_ok(context, nf_loss_batch(context, &loss, nf_matrix_f32(x, N, D), labels, &r,
                                     nf_matrix_out_f32(gradient, N, D)));
    double *wide = ref_widen(nf_matrix_f32(x, N, D));
    ref_problem p = ref_batch(loss, wide, N, D, labels);
    ref_result want = ref_evaluate(&p);
    assert_true(r.active_negative > 100);
    assert_true(fabs(r.value - (double)want.value) < 1e-5 * (double)want.value);
    assert_true(ref_relative_error(nf_matrix_out_f32(gradient, N, D), want.gradient_x) < 1e-5);
    ref_result_free(&want);
    ref_problem_free(&p);
    free(wide);
    free(x);
    free(gradient);
    nf_context_free(context);
}

/* One huge row among ordinary ones must not spoil the others' tile. */
static void one_huge_row_spoils_nothing(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    enum { N = 100, D = 5 };
    float x[N * D], gradient[N * D];
    int64_t label[N];
    test_random_f32(12, x, N * D, -0.5, 0.5);
    test_random_labels(12, label, N, 0, 3);
    for (size_t k = 0; k < D; k++) x[50 * D + k] = k % 2 ? 3e38f : -3e38f;
    label[50] = 99; /* its class has no other member: its negatives are far, no gradient */
    for (int c = 0; c < 4; c++) {
        nf_loss loss = nf_loss_weston();
        loss.pos_margin = c % 2 ? 0.01 : 0;
        loss.pos_metric = loss.neg_metric = c < 2 ? NF_EUCLIDEAN : NF_CITYBLOCK;
        nf_loss_result r;
        assert_ok(context,
                  nf_loss_batch(context, &loss, nf_matrix_f32(x, N, D), (nf_labels){label, N, 1},
                                &r, nf_matrix_out_f32(gradient, N, D)));
        double *wide = ref_widen(nf_matrix_f32(x, N, D));
        ref_problem p = ref_batch(loss, wide, N, D, (nf_labels){label, N, 1});
        ref_result want = ref_evaluate(&p);
        assert_true(ref_relative_error(nf_matrix_out_f32(gradient, N, D), want.gradient_x) < 1e-5);
        assert_true(fabs(r.value - (double)want.value) < 1e-5 * (double)want.value);
        for (size_t k = 0; k < D; k++) assert_true(gradient[50 * D + k] == 0);
        ref_result_free(&want);
        ref_problem_free(&p);
        free(wide);
    }
    nf_context_free(context);
}

/* A pair taken out by its ids must not poison the tile it lies in, however far its rows are apart. */
static void excluded_pairs_leave_no_trace(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const float query[4] = {3e38f, 0, 3e38f, 1}, reference[4] = {-3e38f, 0, 3e38f, 0};
    const int64_t ids[2] = {1, 2}, reference_ids[2] = {1, 3}, label[2] = {1, 2}, other[2] = {3, 4};
    float gq[4], gr[4];
    /* Pairs left: (0, 1), (1, 1); (1, 0) is far beyond the margin. */
    for (int c = 0; c < 2; c++) {
        nf_loss loss = nf_loss_weston();
        if (c == 1) loss.neg_metric = loss.pos_metric = NF_SQEUCLIDEAN, loss.neg_exponent = 1;
        loss.neg_margin = 4;
        nf_loss_sets sets = {nf_matrix_f32(query, 2, 2),
                             nf_matrix_f32(reference, 2, 2),
                             {label, 2, 1},
                             {other, 2, 1},
                             ids,
                             reference_ids};
        nf_loss_result r;
        assert_ok(context, nf_loss_reference(context, &loss, &sets, &r, nf_matrix_out_f32(gq, 2, 2),
                                             nf_matrix_out_f32(gr, 2, 2)));
        assert_int_equal(r.negative_pairs, 3);
        assert_int_equal(r.active_negative, 2);
        double each = c == 0 ? (16 + 9) / 3.0 : (4 + 3) / 3.0;
        assert_true(fabs(r.value - each) < 1e-5);
        assert_true(all_finite_f32(gq, 4) && all_finite_f32(gr, 4));
    }
    /* The excluded pair alone in a tile that is updated. */
    const int64_t both[1] = {7}, two[2] = {7, 8}, labels[2] = {1, 1};
    nf_loss loss = nf_loss_weston();
    loss.pos_metric = loss.neg_metric = NF_SQEUCLIDEAN;
    loss.neg_exponent = 1;
    nf_loss_sets sets = {nf_matrix_f32(query, 1, 2),
                         nf_matrix_f32(reference, 2, 2),
                         {label + 1, 1, 1},
                         {labels, 2, 1},
                         both,
                         two};
    nf_loss_result r;
    assert_ok(context, nf_loss_reference(context, &loss, &sets, &r, nf_matrix_out_f32(gq, 1, 2),
                                         nf_matrix_out_f32(gr, 2, 2)));
    assert_true(r.value == 1 && gq[0] == 0 && gr[0] == 0 && gr[2] == 0);
    nf_context_free(context);
}

/* The gradient of a cosine grows as 1 / |x|: of a denormal row it leaves float32, the terms do not. */
static void list_forms_write_nothing_out_of_range(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const float left[8] = {1, 2, 3, 1, 1e-41f, 2e-41f, 0.5f, 1},
                right[8] = {2, 1, 1, 4, 1, 0, 0, 1};
    const uint8_t same[4] = {1, 1, 1, 1};
    const int64_t i[3] = {0, 1, 2}, j[3] = {1, 3, 1};
    struct {
        nf_loss_result r;
        float gl[8], gr[8];
        double terms[4];
    } out;
    nf_loss loss;
    assert_ok(context, nf_loss_preset(context, "sbert", &loss));
    nf_pair_terms extras = {out.terms, NULL};
    nf_matrix l = nf_matrix_f32(left, 4, 2), r = nf_matrix_f32(right, 4, 2);
    nf_matrix_out gl = nf_matrix_out_f32(out.gl, 4, 2), gr = nf_matrix_out_f32(out.gr, 4, 2);
    memset(&out, 0xA5, sizeof out);
    assert_fails(context, nf_loss_rows(context, &loss, l, r, same, NULL, &extras, &out.r, gl, gr),
                 NF_ERR_RANGE, "row 2");
    assert_true(untouched(&out, sizeof out));
    nf_pairs pairs = {3, i, j, same, NULL};
    assert_fails(context, nf_loss_pairs(context, &loss, l, pairs, &extras, &out.r, gl),
                 NF_ERR_RANGE, "row 2");
    assert_true(untouched(&out, sizeof out));
    /* The value alone, and the other side's gradient, have an answer. */
    assert_ok(context, nf_loss_rows(context, &loss, l, r, same, NULL, &extras, &out.r,
                                    (nf_matrix_out){0}, gr));
    assert_true(isfinite(out.r.value) && all_finite_f32(out.gr, 8));
    nf_context_free(context);
}

/* Weights far apart: a side without pairs does not scale the other out of range, and the smaller of
 * two sides survives beside the larger. */
static void weights_far_apart_do_not_drown_each_other(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const float x[6] = {0, 0, 0.5f, 0, 0, 0.25f};
    const int64_t different[3] = {1, 2, 3}, pair[3] = {1, 1, 2};
    float gradient[6];
    nf_loss loss = nf_loss_weston();
    nf_loss_result r;
    loss.pos_weight = 1e200;
    loss.neg_weight = 1e-30;
    loss.reduction = NF_REDUCE_SUM;
    assert_ok(context,
              nf_loss_batch(context, &loss, nf_matrix_f32(x, 3, 2), (nf_labels){different, 3, 1},
                            &r, nf_matrix_out_f32(gradient, 3, 2)));
    const double third = 1 - sqrt(0.3125), want = 0.25 + 0.5625 + third * third;
    assert_true(fabs(r.value / 1e-30 - want) < 1e-6);
    assert_true(gradient[2] != 0);
    loss.pos_weight = 1;
    loss.neg_weight = 1e-12;
    assert_ok(context,
              nf_loss_batch(context, &loss, nf_matrix_f32(x, 3, 2), (nf_labels){pair, 3, 1}, &r,
                            nf_matrix_out_f32(gradient, 3, 2)));
    /* Only negatives reach row 2: d phi / dx = 2 w (d - 1) (x - y) / d. */
    const double d1 = 0.25, d2 = sqrt(0.3125), w = 1e-12;
    const double y = 2 * w * (d1 - 1) + 2 * w * (d2 - 1) * 0.25 / d2;
    assert_true(fabs((double)gradient[5] - y) < 1e-6 * w);
    assert_int_equal(r.active_negative, 2);
    nf_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_far_origin_keeps_the_digits),
        cmocka_unit_test(every_scale_is_right_or_refused),
        cmocka_unit_test(every_scale_of_float64_is_right_or_refused),
        cmocka_unit_test(wide_rows_are_right),
        cmocka_unit_test(one_huge_row_spoils_nothing),
        cmocka_unit_test(excluded_pairs_leave_no_trace),
        cmocka_unit_test(list_forms_write_nothing_out_of_range),
        cmocka_unit_test(weights_far_apart_do_not_drown_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
