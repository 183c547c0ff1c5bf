/* The kernels between rows and double, on every instruction set: the bits of plain loops, with sums in
 * eight lanes; nothing read or written outside the arrays. */
#include "probe.h"
#include "support.h"

#include <math.h>

#include "base/random.h"
#include "kernel/kernel.h"

typedef struct rows_case {
    const nf_kernels *table;
    nf_type type;
    size_t count;
    probe_guard x, origin;
    double *wide, *mean;
} rows_case;

static void put(nf_type type, void *out, size_t k, double value) {
    if (type == NF_FLOAT32)
        ((float *)out)[k] = (float)value;
    else
        ((double *)out)[k] = value;
}

static double get(nf_type type, const void *in, size_t k) {
    return type == NF_FLOAT32 ? (double)((const float *)in)[k] : ((const double *)in)[k];
}

static probe_guard filled(nf_type type, size_t count, uint64_t seed) {
    probe_guard guard = probe_guard_make(count * nf_type_size(type), 1);
    for (size_t k = 0; k < count; k++) put(type, guard.data, k, nf_random_unit(seed, 1, k) - 0.5);
    probe_guard_read_only(&guard);
    return guard;
}

static double sum_in_lanes(const double *squares, size_t count) {
    double lane[8] = {0};
    for (size_t k = 0; k < count; k++) lane[k % 8] += squares[k];
    for (size_t width = 4; width > 0; width /= 2) {
        for (size_t l = 0; l < width; l++) lane[l] += lane[l + width];
    }
    return lane[0];
}

/* ---- checks of one case ------------------------------------------------------------------------ */

static void check_sums(const rows_case *c) {
    probe_guard sum = probe_guard_make(c->count * sizeof(double), 1);
    double *held = sum.data;
    for (size_t k = 0; k < c->count; k++) held[k] = c->wide[k];
    c->table->accumulate_from(held, c->x.data, c->origin.data, c->count);
    for (size_t k = 0; k < c->count; k++) {
        double own = get(c->type, c->x.data, k) - get(c->type, c->origin.data, k);
        assert_true(held[k] == c->wide[k] + own);
    }
    probe_guard_free(&sum);
}

static void check_deviations(const rows_case *c, double *squares) {
    probe_guard out = probe_guard_make(c->count * sizeof(double), 1);
    double *deviation = out.data;
    for (size_t k = 0; k < c->count; k++) {
        double own = (get(c->type, c->x.data, k) - get(c->type, c->origin.data, k)) - c->mean[k];
        squares[k] = own * own;
    }
    double want = sum_in_lanes(squares, c->count);
    assert_true(want ==
                c->table->deviations(NULL, c->x.data, c->origin.data, c->mean, 3, c->count));
    assert_true(want ==
                c->table->deviations(deviation, c->x.data, c->origin.data, c->mean, 3, c->count));
    for (size_t k = 0; k < c->count; k++) {
        double own = (get(c->type, c->x.data, k) - get(c->type, c->origin.data, k)) - c->mean[k];
        assert_true(deviation[k] == own * 3);
        squares[k] = get(c->type, c->x.data, k) - c->mean[k];
        squares[k] *= squares[k];
    }
    assert_true(sum_in_lanes(squares, c->count) ==
                c->table->center_sqdist(c->x.data, c->mean, c->count));
    probe_guard_free(&out);
}

/* Rounded beside and in place; one number that T cannot hold is told. */
static void check_narrow(const rows_case *c) {
    const size_t size = nf_type_size(c->type);
    probe_guard out = probe_guard_make(c->count * size, 1);
    probe_guard in = probe_guard_make(c->count * sizeof(double), 1);
    double *own = in.data;
    for (size_t k = 0; k < c->count; k++) own[k] = c->wide[k];
    assert_true(c->table->narrow(out.data, own, 0.3, c->count));
    assert_true(c->table->narrow(own, own, 0.3, c->count));
    for (size_t k = 0; k < c->count; k++) {
        double want = c->wide[k] * 0.3;
        if (c->type == NF_FLOAT32) want = (double)(float)want;
        assert_true(get(c->type, out.data, k) == want);
        assert_true(get(c->type, own, k) == want);
    }
    for (size_t bad = 0; bad < c->count; bad++) {
        const double lost[] = {NAN, INFINITY, c->type == NF_FLOAT32 ? 1e39 : -INFINITY};
        for (size_t k = 0; k < c->count; k++) own[k] = k == bad ? lost[bad % 3] : c->wide[k];
        assert_false(c->table->narrow(out.data, own, 1, c->count));
    }
    probe_guard_free(&in);
    probe_guard_free(&out);
}

/* ---- grids ------------------------------------------------------------------------------------- */

static void rows_have_the_bits_of_plain_loops(void **state) {
    (void)state;
    nf_isa isa[4];
    const size_t isas = probe_isas(isa);
    for (size_t i = 0; i < isas; i++) {
        nf_context *context = test_context_isa(1, isa[i]);
        for (size_t t = 0; t < 2 * 70; t++) {
            rows_case c = {.type = t % 2 == 0 ? NF_FLOAT32 : NF_FLOAT64, .count = t / 2};
            c.table = nf_kernels_get(context, c.type);
            c.x = filled(c.type, c.count, 2 * t);
            c.origin = filled(c.type, c.count, 2 * t + 1);
            double wide[70], mean[70], squares[70];
            for (size_t k = 0; k < c.count; k++) {
                wide[k] = nf_random_unit(t, 2, k) * 100 - 50;
                mean[k] = nf_random_unit(t, 3, k);
            }
            c.wide = wide;
            c.mean = mean;
            check_sums(&c);
            check_deviations(&c, squares);
            check_narrow(&c);
            probe_guard_free(&c.x);
            probe_guard_free(&c.origin);
        }
        nf_context_free(context);
    }
}

/* The radius is a measure, so near the one in double is enough; but the same everywhere. */
static void a_strip_has_one_radius(void **state) {
    (void)state;
    nf_isa isa[4];
    const size_t isas = probe_isas(isa);
    for (size_t t = 0; t < 2 * 70; t++) {
        const nf_type type = t % 2 == 0 ? NF_FLOAT32 : NF_FLOAT64;
        const size_t d = t / 2, rows = 1 + t % NF_STRIP_HEIGHT;
        probe_guard x = filled(type, rows * d, t);
        const void *row[NF_STRIP_HEIGHT];
        double want = 0, first = 0;
        for (size_t r = 0; r < rows; r++) {
            double sum = 0;
            row[r] = (char *)x.data + r * d * nf_type_size(type);
            for (size_t k = 0; k < d; k++) {
                double own = get(type, x.data, r * d + k) - get(type, x.data, k);
                sum += own * own;
            }
            want = fmax(want, sum);
        }
        for (size_t i = 0; i < isas; i++) {
            nf_context *context = test_context_isa(1, isa[i]);
            double got = nf_kernels_get(context, type)->strip_radius2(row, rows, d);
            if (i == 0) first = got;
            assert_true(got == first);
            assert_true(fabs(got - want) <= 1e-5 * want);
            nf_context_free(context);
        }
        probe_guard_free(&x);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_have_the_bits_of_plain_loops),
        cmocka_unit_test(a_strip_has_one_radius),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
