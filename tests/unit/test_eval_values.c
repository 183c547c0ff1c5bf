/* Figures of evaluation worked out by hand, and those that are not defined. */
#include "support.h"

#include <math.h>

#include "nearfar/eval.h"

static void assert_near(double got, double want, const char *name) {
    if (isnan(got) && isnan(want)) return;
    if (got == want || fabs(got - want) <= 1e-12 * (1 + fabs(want))) return;
    fail_msg("%s is %.17g, expected %.17g", name, got, want);
}

static nf_eval_result eval_line(nf_context *context, const float *x, const int64_t *labels,
                                size_t n) {
    nf_eval_result r;
    nf_eval_options options = nf_eval_defaults();
    options.k[0] = 1, options.k[1] = 2, options.k_count = 2;
    options.knn_k = 3;
    assert_ok(context,
              nf_eval(context, &options, nf_matrix_f32(x, n, 1), (nf_labels){labels, n, 1}, &r));
    return r;
}

static void figures_worked_out_by_hand(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    /* On a line: A 0, B 1, A 3, A 7, B 8.5, C 20; R = 2, 1, 2, 2, 1, 0.
     *   A0: B1 A3 A7 B8.5 C        first 2, R-precision 1/2, average (1/2)(1/2) = 1/4
     *   B1: A0 A3 A7 B8.5          first 4, 0, 0
     *   A3: B1 A0 A7 ..            first 2, 1/2, 1/4   (distances 2, 3, 4)
     *   A7: B8.5 A3 B1 A0          first 2, 1/2, 1/4
     *   B8.5: A7 A3 B1             first 3, 0, 0
     * kNN with 3: A0 sees B A A: right; B1 sees A A A: wrong; A3 sees B A A: right; A7 sees B A B:
     * wrong; B8.5 sees A A B: wrong. */
    const float x[] = {0, 1, 3, 7, 8.5f, 20};
    const int64_t labels[] = {5, 2, 5, 5, 2, 9};
    nf_eval_result r = eval_line(context, x, labels, 6);
    assert_true(r.n == 6 && r.queries == 5 && r.dropped == 1);
    assert_near(r.recall[0], 0, "recall@1");
    assert_near(r.recall[1], 3.0 / 5, "recall@2");
    assert_near(r.r_precision, 1.5 / 5, "r_precision");
    assert_near(r.map_at_r, 0.75 / 5, "map_at_r");
    assert_near(r.knn_accuracy, 2.0 / 5, "knn_accuracy");
    /* Positives 3, 4, 7, 7.5; negatives 1, 1.5, 2, 5.5, 6, 8.5, 11.5, 13, 17, 19, 20: of the eleven,
     * 8, 8, 6 and 6 lie above the positives. */
    assert_true(r.positive_pairs == 4 && r.negative_pairs == 11);
    assert_near(r.roc_auc, 28.0 / 44, "roc_auc");
    /* FAR = 1 - TAR between 6 (5/11 against 1/2) and 7 (5/11 against 1/4). */
    assert_near(r.eer, 5.0 / 11, "eer");
    assert_near(r.tar_at_far_1e2, 0, "tar_at_far_1e2");
    /* Best is to accept nothing: 11 of 15. Up to 7.5, 4 + 6 = 10. */
    assert_near(r.best_accuracy, 11.0 / 15, "best_accuracy");
    assert_true(r.best_threshold == -(double)INFINITY);
    nf_context_free(context);
}

static void extremes_of_separation(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const float apart[] = {0, 1, 100, 101, 102}, mixed[] = {0, 10, 10, 0}, same[] = {7, 7, 7, 7};
    const int64_t labels[] = {0, 0, 1, 1, 1}, four[] = {0, 0, 1, 1};
    nf_eval_result r = eval_line(context, apart, labels, 5);
    assert_true(r.roc_auc == 1 && r.eer == 0 && r.tar_at_far_1e3 == 1 && r.map_at_r == 1);
    assert_true(r.best_accuracy == 1 && r.best_threshold == 2 && r.recall[0] == 1);
    assert_true(r.eer_threshold == 2);
    r = eval_line(context, mixed, four, 4); /* positives at 10, negatives at 0, 0, 10, 10 */
    assert_true(r.roc_auc == 0.25 && r.recall[0] == 0 && r.map_at_r == 0);
    r = eval_line(context, same, four, 4); /* one threshold: no information */
    assert_true(r.roc_auc == 0.5 && r.eer == 0.5 && r.tar_at_far_1e2 == 0);
    nf_context_free(context);
}

static void undefined_figures_are_nan_with_counts(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const float x[5] = {1, 2, 4, 8, 16};
    const int64_t one[5] = {3, 3, 3, 3, 3}, distinct[5] = {1, 2, 3, 4, 5},
                  none[5] = {-1, -1, -1, -1, -1};
    const int64_t mixed[4] = {0, 1, 1, 3};
    const size_t sizes[] = {0, 1, 2, 5};
    for (size_t s = 0; s < 4; s++) {
        size_t n = sizes[s];
        nf_eval_result r = eval_line(context, x, one, n);
        assert_true(r.negative_pairs == 0 && isnan(r.roc_auc) && isnan(r.best_accuracy));
        assert_true(r.queries == (n < 2 ? 0 : n) && r.dropped == n - r.queries);
        assert_true(n < 2 ? isnan(r.map_at_r) && isnan(r.recall[0]) : r.map_at_r == 1);
        r = eval_line(context, x, distinct, n);
        assert_true(r.queries == 0 && r.dropped == n && r.positive_pairs == 0);
        assert_true(isnan(r.map_at_r) && isnan(r.recall[1]) && isnan(r.eer) &&
                    isnan(r.knn_accuracy));
        r = eval_line(context, x, none, n);
        assert_true(r.n == 0 && r.queries == 0 && r.positive_pairs + r.negative_pairs == 0);
    }
    nf_eval_result r = eval_line(context, x, mixed, 4);
    assert_true(r.queries == 2 && r.dropped == 2 && !isnan(r.roc_auc) && !isnan(r.map_at_r));
    assert_true(isnan(r.recall[2]));
    nf_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_worked_out_by_hand),
        cmocka_unit_test(extremes_of_separation),
        cmocka_unit_test(undefined_figures_are_nan_with_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
