/* Exponentials of an array: exp to 2 ulp, the same bits on every instruction set and wherever a number
 * stands, nothing touched beside the array. */
#include "probe.h"
#include "support.h"

#include <math.h>

#include "kernel/kernel.h"

enum { MOST = 70 };

static double value_at(nf_type type, const void *values, size_t k) {
    return type == NF_FLOAT32 ? (double)((const float *)values)[k] : ((const double *)values)[k];
}

static void put(nf_type type, void *values, size_t k, double value) {
    if (type == NF_FLOAT32) {
        ((float *)values)[k] = (float)value;
    } else {
        ((double *)values)[k] = value;
    }
}

/* From far below what counts as 0 up to the largest that does not overflow. */
static void fill(nf_type type, void *values, size_t count, uint64_t seed) {
    const double low = type == NF_FLOAT32 ? -100 : -750, high = type == NF_FLOAT32 ? 88 : 709;
    double u[MOST];
    test_random_f64(seed, u, count, 0, 1);
    for (size_t k = 0; k < count; k++) put(type, values, k, low + (high - low) * u[k]);
    if (count > 3) put(type, values, 3, -INFINITY);
    if (count > 5) put(type, values, 5, 0);
}

static void check_values(nf_type type, const void *x, const void *e, size_t count) {
    const double unit = type == NF_FLOAT32 ? 0x1p-23 : 0x1p-52;
    for (size_t k = 0; k < count; k++) {
        const double at = value_at(type, x, k), got = value_at(type, e, k);
        if (!(at > (type == NF_FLOAT32 ? -87 : -708))) {
            assert_true(got == 0);
            continue;
        }
        const long double want = expl((long double)at);
        if (!(fabsl((long double)got - want) <= 2 * (long double)unit * want)) {
            fail_msg("exp(%.17g) is %.17g, not %.17Lg", at, got, want);
        }
    }
}

static void they_are_exp_with_one_set_of_bits(void **state) {
    (void)state;
    nf_isa isa[4];
    const size_t isas = probe_isas(isa);
    for (size_t i = 0; i < isas; i++) {
        nf_context *context = test_context_isa(1, isa[i]), *scalar = test_context_isa(1, isa[0]);
        for (int type = NF_FLOAT32; type <= NF_FLOAT64; type++) {
            for (size_t count = 0; count <= MOST; count++) {
                const size_t bytes = count * nf_type_size((nf_type)type);
                double x[MOST] = {0}, want[MOST];
                fill((nf_type)type, x, count, count);
                memcpy(want, x, sizeof want);
                nf_kernels_get(scalar, (nf_type)type)->exponentials(want, count);
                check_values((nf_type)type, x, want, count);
                for (int at_end = 0; at_end < 2; at_end++) {
                    probe_guard guard = probe_guard_make(bytes, at_end);
                    memcpy(guard.data, x, bytes);
                    nf_kernels_get(context, (nf_type)type)->exponentials(guard.data, count);
                    assert_memory_equal(guard.data, want, bytes);
                    probe_guard_free(&guard);
                }
            }
        }
        nf_context_free(context);
        nf_context_free(scalar);
    }
}

static void a_nan_is_none(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    double x[3] = {NAN, 0, -INFINITY};
    nf_kernels_get(context, NF_FLOAT64)->exponentials(x, 3);
    assert_true(x[0] == 0 && x[1] == 1 && x[2] == 0);
    nf_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_are_exp_with_one_set_of_bits),
        cmocka_unit_test(a_nan_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
