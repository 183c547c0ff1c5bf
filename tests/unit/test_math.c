/* Own elementary functions against the C library. */
#include "support.h"

#include <math.h>

#include "base/math.h"
#include "base/sort.h"

static double ulp(double x) { return nextafter(fabs(x), INFINITY) - fabs(x); }

static void tanh_is_right_to_three_ulp(void **state) {
    (void)state;
    for (int i = -200000; i <= 200000; i++) {
        double x = i * 1.1e-4;
        for (int k = 0; k < 3; k++, x *= 0x1p-20) {
            double t = tanh(x);
            assert_true(fabs(nf_tanh(x) - t) <= 4 * ulp(t)); /* libm's own error is 1 */
            assert_true(nf_tanh(-x) == -nf_tanh(x));
            assert_true(fabs((double)nf_tanhf((float)x) - tanh((double)(float)x)) <=
                        0.51 * (double)(nextafterf(fabsf((float)t), INFINITY) - fabsf((float)t)));
        }
    }
    assert_true(nf_tanh(1e300) == 1 && nf_tanh(-INFINITY) == -1 && isnan(nf_tanh(NAN)));
    assert_true(nf_tanh(0x1p-1070) == 0x1p-1070);
    assert_true(signbit(nf_tanh(-0.0)) && nf_tanh(-0.0) == 0);
}

static void cospi_is_right_to_two_ulp_of_one(void **state) {
    (void)state;
    const double pi = 3.14159265358979323846;
    for (int i = -40000; i <= 40000; i++) {
        double x = i * 0x1.1p-13;
        assert_true(fabs(nf_cospi(x) - cos(pi * x)) <= 1e-15 * (1 + fabs(x)));
    }
    for (int q = -9; q < 9; q++) {
        double exact = q % 2 != 0 ? 0 : q % 4 == 0 ? 1 : -1;
        assert_true(nf_cospi(q * 0.5) == exact);
    }
    assert_true(isnan(nf_cospi(NAN)) && isnan(nf_cospi(INFINITY)));
}

static void exp_and_log_are_right_to_two_ulp(void **state) {
    (void)state;
    for (int i = -400000; i <= 400000; i++) {
        double x = i * 1.77e-3, e = exp(x);
        assert_true(fabs(nf_exp(x) - e) <= 3 * ulp(e)); /* libm's own error is 1 */
        double y = ldexp(1 + (i + 400000) * 1.2e-6, i / 400), l = log(y);
        assert_true(fabs(nf_log(y) - l) <= 3 * ulp(l));
    }
    for (int i = -1000; i <= 1000; i++) {
        double l = log1p(i * 0x1p-50);
        assert_true(fabs(nf_log(1 + i * 0x1p-50) - l) <= 3 * ulp(l));
    }
    assert_true(nf_exp(0) == 1 && nf_exp(-INFINITY) == 0 && nf_exp(INFINITY) == INFINITY);
    assert_true(nf_exp(709.7) < INFINITY && nf_exp(710) == INFINITY && nf_exp(-750) == 0);
    assert_true(nf_exp(-745) == 0x1p-1074 && isnan(nf_exp(NAN)));
    assert_true(nf_log(1) == 0 && nf_log(0) == -INFINITY && nf_log(INFINITY) == INFINITY);
    assert_true(isnan(nf_log(-1)) && isnan(nf_log(NAN)));
    assert_true(fabs(nf_log(0x1p-1074) - log(0x1p-1074)) <= 2e-13);
}

static void softplus_is_right_and_so_is_its_slope(void **state) {
    (void)state;
    for (int i = -200000; i <= 200000; i++) {
        double x = i * 4.1e-3, slope, value = nf_softplus(x, &slope);
        double want = fmax(x, 0) + log1p(exp(-fabs(x)));
        double steep = x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
        if (fabs(x) > 690) continue; /* below, results leave the normal range */
        assert_true(fabs(value - want) <= 5 * ulp(want));
        assert_true(fabs(slope - steep) <= 5 * ulp(steep));
    }
    double slope;
    assert_true(nf_softplus(1e300, &slope) == 1e300 && slope == 1);
    assert_true(nf_softplus(-1e300, &slope) == 0 && slope == 0);
    assert_true(isnan(nf_softplus(NAN, &slope)) && isnan(slope));
}

static void sort_orders_every_length(void **state) {
    (void)state;
    double values[40];
    for (size_t n = 0; n <= 40; n++) {
        test_random_f64(n, values, n, -2, 2);
        for (size_t i = 0; i < n; i++) values[i] = floor(values[i] * 4);
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += values[i];
        nf_sort_doubles(values, n);
        for (size_t i = 0; i < n; i++) sum -= values[i];
        assert_true(sum == 0);
        for (size_t i = 1; i < n; i++) assert_true(values[i - 1] <= values[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tanh_is_right_to_three_ulp),
        cmocka_unit_test(cospi_is_right_to_two_ulp_of_one),
        cmocka_unit_test(exp_and_log_are_right_to_two_ulp),
        cmocka_unit_test(softplus_is_right_and_so_is_its_slope),
        cmocka_unit_test(sort_orders_every_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
