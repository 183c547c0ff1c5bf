/* From slopes to weights: the chain rule pair by pair, the facts of the weights that come out, and the
 * same bits on every instruction set. Slopes of 0 leave no trace, whatever their distance. */
#include "probe.h"
#include "support.h"

#include <math.h>

#include "base/random.h"
#include "kernel/kernel.h"

#define ROWS 14 /* two strips */
#define LD 112

typedef struct slopes {
    nf_type type;
    nf_transform transform;
    size_t cols;
    double slope[ROWS * LD], t[ROWS * LD];
} slopes;

typedef struct weights {
    double weight[ROWS * LD], row_sum[ROWS], col_sum[LD], row_near[2], col_near[LD];
    uint64_t weighted[ROWS * NF_BIT_WORDS];
    bool any;
} weights;

static slopes make_slopes(uint64_t seed) {
    static const nf_transform transforms[] = {NF_T_RAW, NF_T_SQRT, NF_T_HALF, NF_T_NEGATED};
    slopes s = {.type = seed % 2 ? NF_FLOAT64 : NF_FLOAT32,
                .transform = transforms[seed / 2 % 4],
                .cols = 1 + seed * 7 % LD};
    const uint64_t zeros = seed % 5 == 0 ? 1 : 1 + seed % 5; /* every one, or one in few */
    for (size_t k = 0; k < ROWS * LD; k++) {
        const double t = nf_random_unit(seed, 1, k) * 2, slope = nf_random_unit(seed, 2, k) - 0.5;
        const bool none = nf_random_below(seed, 3, k, zeros) == 0;
        s.slope[k] = none ? 0 : (double)(float)slope;
        s.t[k] = none && k % 2 ? (k % 3 ? NAN : INFINITY) : k % 17 == 0 ? 0 : (double)(float)t;
    }
    return s;
}

static double element(nf_type type, const void *values, size_t at) {
    return type == NF_FLOAT32 ? (double)((const float *)values)[at] : ((const double *)values)[at];
}

static weights run(nf_context *context, const slopes *s) {
    weights out = {.any = false};
    float slope_f[ROWS * LD], t_f[ROWS * LD];
    double slope_d[ROWS * LD], facts_of[4][LD];
    const bool f32 = s->type == NF_FLOAT32;
    for (size_t k = 0; k < ROWS * LD; k++) {
        slope_f[k] = (float)s->slope[k], slope_d[k] = s->slope[k], t_f[k] = (float)s->t[k];
        if (k % LD >= s->cols) slope_f[k] = NAN, slope_d[k] = NAN; /* no one's */
    }
    memset(facts_of, 0, sizeof facts_of);
    const nf_weight_facts facts = {facts_of[0], facts_of[1], facts_of[2], facts_of[3],
                                   out.weighted};
    const nf_slope_tile tile = {.slope = f32 ? (void *)slope_f : (void *)slope_d,
                                .t = f32 ? (const void *)t_f : (const void *)s->t,
                                .ld = LD,
                                .rows = ROWS,
                                .cols = s->cols,
                                .transform = s->transform,
                                .facts = &facts};
    out.any = nf_kernels_get(context, s->type)->weigh(&tile);
    const size_t padded = nf_pad(s->type, s->cols);
    for (size_t k = 0; k < ROWS * LD; k++) {
        if (k % LD < padded) out.weight[k] = element(s->type, tile.slope, k);
    }
    for (size_t r = 0; r < ROWS; r++) out.row_sum[r] = element(s->type, facts_of[0], r);
    for (size_t c = 0; c < s->cols; c++) {
        out.col_sum[c] = element(s->type, facts_of[1], c);
        out.col_near[c] = element(s->type, facts_of[3], c);
    }
    for (size_t k = 0; k < 2; k++) out.row_near[k] = element(s->type, facts_of[2], k);
    return out;
}

static double weight_of(const slopes *s, size_t k) {
    const double slope = s->slope[k], t = s->t[k];
    if (slope == 0) return 0;
    switch (s->transform) {
    case NF_T_SQRT: return t > 0 ? slope / (2 * t) : 0;
    case NF_T_HALF: return slope / 2;
    case NF_T_NEGATED: return -slope;
    default: return slope;
    }
}

static double raw_of(const slopes *s, size_t k) {
    switch (s->transform) {
    case NF_T_SQRT: return s->t[k] * s->t[k];
    case NF_T_HALF: return 2 * s->t[k];
    case NF_T_NEGATED: return -s->t[k];
    default: return s->t[k];
    }
}

static void assert_near(double got, double want, const slopes *s) {
    const double tolerance = s->type == NF_FLOAT32 ? 1e-5 : 1e-13;
    if (got == want || fabs(got - want) <= tolerance * (1 + fabs(want))) return;
    fail_msg("transform %d, %zu columns: %.17g for %.17g", (int)s->transform, s->cols, got, want);
}

static void assert_follows(const slopes *s, const weights *got) {
    double near[2] = {INFINITY, INFINITY}, row_sum[ROWS] = {0};
    bool any = false;
    for (size_t c = 0; c < nf_pad(s->type, s->cols); c++) {
        double col_sum = 0, col_near = INFINITY;
        for (size_t r = 0; r < ROWS; r++) {
            const size_t k = r * LD + c;
            const double want = c < s->cols ? weight_of(s, k) : 0;
            assert_near(got->weight[k], want, s);
            assert_int_equal(got->weighted[r * NF_BIT_WORDS + c / 64] >> c % 64 & 1, want != 0);
            if (want == 0) continue;
            any = true;
            col_sum += want;
            row_sum[r] += want;
            col_near = fmin(col_near, raw_of(s, k));
            near[r / NF_STRIP_HEIGHT] = fmin(near[r / NF_STRIP_HEIGHT], raw_of(s, k));
        }
        if (c >= s->cols) continue;
        assert_near(got->col_sum[c], col_sum, s);
        assert_near(got->col_near[c], col_near, s);
    }
    for (size_t r = 0; r < ROWS; r++) assert_near(got->row_sum[r], row_sum[r], s);
    for (size_t k = 0; k < 2; k++) assert_near(got->row_near[k], near[k], s);
    assert_int_equal(got->any, any);
}

static void weights_follow_the_chain_rule(void **state) {
    (void)state;
    nf_isa isa[4];
    const size_t isas = probe_isas(isa);
    nf_context *contexts[4] = {NULL};
    for (size_t k = 0; k < isas; k++) contexts[k] = test_context_isa(1, isa[k]);
    for (uint64_t seed = 0; seed < 400; seed++) {
        const slopes s = make_slopes(seed);
        const weights scalar = run(contexts[0], &s);
        assert_follows(&s, &scalar);
        for (size_t k = 1; k < isas; k++) {
            const weights other = run(contexts[k], &s);
            assert_memory_equal(other.weight, scalar.weight, sizeof scalar.weight);
            assert_memory_equal(other.weighted, scalar.weighted, sizeof scalar.weighted);
            assert_memory_equal(other.row_sum, scalar.row_sum, sizeof scalar.row_sum);
            assert_memory_equal(other.col_sum, scalar.col_sum, sizeof scalar.col_sum);
            assert_memory_equal(other.row_near, scalar.row_near, sizeof scalar.row_near);
            assert_memory_equal(other.col_near, scalar.col_near, sizeof scalar.col_near);
        }
    }
    for (size_t k = 0; k < isas; k++) nf_context_free(contexts[k]);
}

/* A slope that is not a number must reach the sums, where it is found. */
static void a_nan_slope_stays(void **state) {
    (void)state;
    nf_context *context = test_context_isa(1, NF_ISA_AUTO);
    slopes s = make_slopes(6);
    s.slope[LD + 3] = NAN;
    s.t[LD + 3] = 1;
    s.cols = 20;
    const weights got = run(context, &s);
    assert_true(isnan(got.weight[LD + 3]) && got.any);
    assert_true(got.weighted[NF_BIT_WORDS] >> 3 & 1);
    nf_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(weights_follow_the_chain_rule),
                                       cmocka_unit_test(a_nan_slope_stays)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
