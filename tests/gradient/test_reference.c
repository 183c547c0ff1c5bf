/* The oracle against itself: analytic gradients against central differences of separate
 * quadruple-precision code, and values worked out by hand. */
#include "reference.h"
#include "support.h"

#include <math.h>

#define ROWS 7
#define COLS 3

/* Eq. (3), spelled out here so that the oracle needs nothing of the engine. */
static nf_loss weston(void) {
    return (nf_loss){.pos_metric = NF_EUCLIDEAN,
                     .neg_metric = NF_EUCLIDEAN,
                     .pos_exponent = 2,
                     .neg_exponent = 2,
                     .neg_margin = 1,
                     .pos_weight = 1,
                     .neg_weight = 1,
                     .scale = 1,
                     .reduction = NF_REDUCE_MEAN};
}

/* The c-th of a grid of losses: every metric pair, exponents, reductions, normalised or not. */
static nf_loss grid_loss(uint64_t c) {
    static const double exponents[] = {1, 1.5, 2, 3, 2.5};
    nf_loss loss = weston();
    loss.pos_metric = (nf_metric)(c % 5);
    loss.neg_metric = (nf_metric)(c / 5 % 5);
    loss.pos_exponent = exponents[c % 5];
    loss.neg_exponent = exponents[(c + c / 5) % 5];
    loss.pos_margin = loss.pos_metric == NF_DOT ? -1.1 : 0.17;
    loss.neg_margin = loss.neg_metric == NF_DOT ? 0.9 : 1.9;
    loss.pos_weight = 1.25;
    loss.neg_weight = 0.75;
    loss.scale = 0.5;
    loss.normalize = (int)(c / 25 % 2);
    loss.reduction = (nf_reduction)(c % 6);
    return loss;
}

/* Returns whether the problem was far enough from a kink to be checked. */
static size_t check_differences(const ref_problem *problem) {
    ref_result result = ref_evaluate(problem);
    size_t nx = problem->n * problem->d, ny = problem->y != NULL ? problem->m * problem->d : 0;
    long double norm = ref_norm(result.gradient_x, nx), worst = 0;
    for (size_t k = 0; k < nx + ny; k++) {
        long double exact = k < nx ? result.gradient_x[k] : result.gradient_y[k - nx];
        worst = fmaxl(worst, fabsl(exact - ref_difference(problem, k)));
    }
    size_t checked = result.kink > 1e-4;
    if (checked) assert_true(worst <= 1e-15L * (norm + 1e-3L));
    ref_result_free(&result);
    return checked;
}

static void analytic_gradients_match_differences(void **state) {
    (void)state;
    size_t checked = 0;
    for (uint64_t c = 0; c < 50; c++) {
        double x[ROWS * COLS], y[ROWS * COLS], weight[ROWS], upstream[ROWS];
        int64_t label[ROWS];
        uint8_t same[ROWS];
        test_random_f64(c, x, ROWS * COLS, -1, 1);
        test_random_f64(c + 100, y, ROWS * COLS, -1, 1);
        test_random_f64(c + 200, weight, ROWS, 0, 2);
        test_random_f64(c + 300, upstream, ROWS, -1, 2);
        test_random_labels(c, label, ROWS, -1, 2);
        for (size_t k = 0; k < ROWS; k++) same[k] = (uint8_t)(label[k] > 0);
        ref_problem batch = ref_batch(grid_loss(c), x, ROWS, COLS, (nf_labels){label, ROWS, 1});
        checked += check_differences(&batch);
        ref_problem_free(&batch);
        ref_problem rows = ref_rows(grid_loss(c), x, y, ROWS, COLS, same, weight, upstream);
        checked += check_differences(&rows);
        ref_problem_free(&rows);
    }
    assert_true(checked > 90); /* of 100 */
}

static void values_worked_out_by_hand(void **state) {
    (void)state;
    /* Rows 0, 0.6 and 1 on a line, the first two of one class, weston:
     * 0.36 + (1 - 0.4)^2 + (1 - 1)^2 = 0.72, mean 0.24. */
    const double x[] = {0, 0.6, 1};
    const int64_t label[] = {5, 5, 9};
    ref_problem p = ref_batch(weston(), x, 3, 1, (nf_labels){label, 3, 1});
    ref_result r = ref_evaluate(&p);
    assert_true(fabsl(r.value - 0.24L) < 1e-16L);
    assert_true(fabsl(r.gradient_x[2] + 2 * 0.6L / 3) < 1e-16L); /* -2 (1 - 0.4) / 3 */
    assert_int_equal(r.positive_pairs, 1);
    assert_int_equal(r.negative_pairs, 2);
    assert_int_equal(r.active_negative, 1);
    ref_result_free(&r);
    ref_problem_free(&p);
}

static void distances_worked_out_by_hand(void **state) {
    (void)state;
    const double a[] = {3, 0}, b[] = {0, 4}, zero[] = {0, 0};
    assert_true(ref_distance(NF_EUCLIDEAN, 0, a, b, 2) == 5);
    assert_true(ref_distance(NF_SQEUCLIDEAN, 0, a, b, 2) == 25);
    assert_true(ref_distance(NF_CITYBLOCK, 0, a, b, 2) == 7);
    assert_true(ref_distance(NF_DOT, 0, a, a, 2) == -9);
    assert_true(ref_distance(NF_COSINE, 0, a, b, 2) == 1);
    assert_true(ref_distance(NF_COSINE, 0, a, zero, 2) == 1);
    assert_true(ref_distance(NF_SQEUCLIDEAN, 1, a, b, 2) == 2);
    assert_true(ref_ulps(NF_FLOAT32, 1 + 0x1p-23, 1) == 1);
    assert_true(ref_ulps(NF_FLOAT64, 0x1p-1074, 0) == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(analytic_gradients_match_differences),
        cmocka_unit_test(values_worked_out_by_hand),
        cmocka_unit_test(distances_worked_out_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
