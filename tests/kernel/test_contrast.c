/* The kernel of terms and weights: every instruction set gives the scalar one's bits, and those are
 * the contrastive family's formulas pair by pair; pairs that are none leave no trace, whatever their
 * numbers. */
#include "probe.h"
#include "support.h"

#include <math.h>

#include "base/random.h"
#include "kernel/kernel.h"

#define ROWS 21
#define LD 96

typedef struct tile_data {
    nf_type type;
    size_t cols;
    nf_contrast contrast;
    double raw[ROWS * LD];
    int64_t row_class[ROWS], col_class[LD];
    unsigned char skip[ROWS * LD];
    int use_skip, upper;
} tile_data;

typedef struct tile_result {
    double weight[ROWS * LD];
    nf_contrast_sums sums;
    double row_sum[ROWS], col_sum[LD], row_near, col_near[LD]; /* row_near: of the first strip */
    uint64_t weighted[ROWS * NF_BIT_WORDS];
} tile_result;

static tile_data make_tile(uint64_t seed) {
    static const int exponents[] = {2, 3, 4, 5, 6, 16};
    static const nf_transform transforms[] = {NF_T_RAW, NF_T_SQRT, NF_T_HALF, NF_T_NEGATED};
    tile_data t = {.type = seed % 2 ? NF_FLOAT64 : NF_FLOAT32, .cols = 1 + seed * 7 % LD};
    bool dot = seed % 8 == 7; /* dot never shares raw numbers with the others */
    for (int s = 0; s < 2; s++) {
        nf_contrast_side *side = &t.contrast.side[s];
        side->on = seed % 11 == 0 ? s == 0 : seed % 11 == 1 ? s == 1 : true;
        side->transform = dot ? NF_T_NEGATED : transforms[nf_random_below(seed, 1, (uint64_t)s, 3)];
        side->twice_exponent = exponents[nf_random_below(seed, 2, (uint64_t)s, 6)];
        side->margin = s == NF_POSITIVE ? (double)(seed % 3) * 0.25 : 0.75;
        side->coefficient = s == NF_POSITIVE ? 1 : 0.37;
    }
    t.use_skip = (int)(seed % 3 == 0);
    for (size_t k = 0; k < ROWS * LD; k++) {
        t.raw[k] = nf_random_unit(seed, 3, k) * 2 - (dot ? 1 : 0);
        if (nf_random_below(seed, 4, k, 10) == 0) t.raw[k] = 0;
        t.skip[k] = (unsigned char)(nf_random_below(seed, 5, k, 5) == 0 ? 1 + k % 2 : 0);
        if (t.use_skip && t.skip[k]) t.raw[k] = k % 3 == 0 ? NAN : k % 3 == 1 ? INFINITY : 1e300;
    }
    for (size_t r = 0; r < ROWS; r++) t.row_class[r] = (int64_t)nf_random_below(seed, 6, r, 3);
    for (size_t c = 0; c < LD; c++) {
        t.col_class[c] = c < t.cols ? (int64_t)nf_random_below(seed, 7, c, 3) : -1;
    }
    return t;
}

static double element(nf_type type, const void *values, size_t at) {
    return type == NF_FLOAT32 ? (double)((const float *)values)[at] : ((const double *)values)[at];
}

static tile_result run_tile(nf_context *context, const tile_data *t) {
    tile_result result = {.sums = {{0}, {0}, {0}, 0, false}, .row_near = INFINITY};
    float narrow[ROWS * LD], work_f[6 * LD];
    double wide[ROWS * LD], work_d[6 * LD];
    int32_t row32[ROWS], col32[LD];
    for (size_t k = 0; k < ROWS * LD; k++) narrow[k] = (float)t->raw[k], wide[k] = t->raw[k];
    for (size_t r = 0; r < ROWS; r++) row32[r] = (int32_t)t->row_class[r];
    for (size_t c = 0; c < LD; c++) col32[c] = (int32_t)t->col_class[c];
    bool f32 = t->type == NF_FLOAT32;
    nf_contrast_tile tile = {.tile = f32 ? (void *)narrow : (void *)wide,
                             .ld = LD,
                             .rows = ROWS,
                             .cols = t->cols,
                             .row_class = f32 ? (const void *)row32 : (const void *)t->row_class,
                             .col_class = f32 ? (const void *)col32 : (const void *)t->col_class,
                             .skip = t->use_skip ? t->skip : NULL,
                             .upper = t->upper,
                             .work = f32 ? (void *)work_f : (void *)work_d};
    double sums[2][LD], nears[2][LD]; /* of either type */
    memset(sums, 0, sizeof sums);
    nf_weight_facts facts = {sums[0], sums[1], nears[0], nears[1], result.weighted};
    tile.facts = &facts;
    nf_kernels_get(context, t->type)->contrast(&t->contrast, &tile, &result.sums);
    for (size_t k = 0; k < ROWS * LD; k++) {
        if (k % LD < t->cols) result.weight[k] = f32 ? (double)narrow[k] : wide[k];
    }
    for (size_t r = 0; r < ROWS; r++) result.row_sum[r] = element(t->type, sums[0], r);
    for (size_t c = 0; c < t->cols; c++) {
        result.col_sum[c] = element(t->type, sums[1], c);
        result.col_near[c] = element(t->type, nears[1], c);
    }
    result.row_near = element(t->type, nears[0], 0);
    return result;
}

/* The same from the formulas, in double. */
static tile_result expected(const tile_data *t) {
    tile_result result = {.sums = {{0}, {0}, {0}, 0, false}, .row_near = INFINITY};
    for (size_t c = 0; c < t->cols; c++) result.col_near[c] = INFINITY;
    for (size_t k = 0; k < ROWS * LD; k++) {
        size_t r = k / LD, c = k % LD;
        if (c >= t->cols || (t->use_skip && t->skip[k])) continue;
        int positive = t->row_class[r] == t->col_class[c];
        const nf_contrast_side *side = &t->contrast.side[positive];
        if (!side->on) continue;
        double raw = t->type == NF_FLOAT32 ? (double)(float)t->raw[k] : t->raw[k];
        double distance = side->transform == NF_T_SQRT      ? sqrt(raw)
                          : side->transform == NF_T_HALF    ? raw / 2
                          : side->transform == NF_T_NEGATED ? -raw
                                                            : raw;
        double e = positive ? distance - side->margin : side->margin - distance;
        double p = side->twice_exponent / 2.0;
        result.sums.distance[positive] += distance;
        result.sums.coincident += !positive && distance == 0 && side->transform != NF_T_NEGATED;
        if (!(e > 0)) continue;
        result.sums.phi[positive] += side->coefficient * pow(e, p);
        result.sums.active[positive]++;
        double slope = side->coefficient * p * pow(e, p - 1) * (positive ? 1 : -1);
        double inner = side->transform == NF_T_SQRT      ? (distance > 0 ? 0.5 / distance : 0)
                       : side->transform == NF_T_HALF    ? 0.5
                       : side->transform == NF_T_NEGATED ? -1
                                                         : 1;
        result.weight[k] = slope * inner;
        result.sums.any_weight |= result.weight[k] != 0;
    }
    return result;
}

static void assert_near(double got, double want, double tolerance, uint64_t seed) {
    if (fabs(got - want) <= tolerance * (1 + fabs(want))) return;
    fail_msg("tile %llu: %.17g for %.17g", (unsigned long long)seed, got, want);
}

/* What updates rely on, from the weights of the same run. */
static void assert_facts(const tile_data *t, const tile_result *got, uint64_t seed) {
    double row_near = INFINITY;
    for (size_t c = 0; c < t->cols; c++) {
        double near = INFINITY, sum = 0;
        for (size_t r = 0; r < ROWS; r++) {
            double w = got->weight[r * LD + c], raw = t->raw[r * LD + c];
            if (t->type == NF_FLOAT32) raw = (double)(float)raw;
            sum += w;
            if (w != 0) near = fmin(near, raw);
            if (w != 0 && r < NF_STRIP_HEIGHT) row_near = fmin(row_near, raw);
            uint64_t bit = got->weighted[r * NF_BIT_WORDS + c / 64] >> c % 64 & 1;
            assert_int_equal(bit, w != 0);
        }
        assert_true(got->col_near[c] == near);
        assert_near(got->col_sum[c], sum, t->type == NF_FLOAT32 ? 1e-4 : 1e-12, seed);
    }
    assert_true(got->row_near == row_near);
    for (size_t r = 0; r < ROWS; r++) {
        double sum = 0;
        for (size_t c = 0; c < t->cols; c++) sum += got->weight[r * LD + c];
        assert_near(got->row_sum[r], sum, t->type == NF_FLOAT32 ? 1e-4 : 1e-12, seed);
    }
}

/* Without distance sums, lines beyond the margin are left out, and nothing else changes a bit. */
static void assert_unmeasured_is_the_same(nf_context **contexts, size_t isas, tile_data t,
                                          const tile_result *measured) {
    t.contrast.unmeasured = true;
    for (size_t k = 0; k < isas; k++) {
        tile_result other = run_tile(contexts[k], &t);
        assert_memory_equal(other.weight, measured->weight, sizeof other.weight);
        assert_memory_equal(other.weighted, measured->weighted, sizeof other.weighted);
        assert_memory_equal(other.row_sum, measured->row_sum, sizeof other.row_sum);
        assert_memory_equal(other.col_sum, measured->col_sum, sizeof other.col_sum);
        assert_memory_equal(other.col_near, measured->col_near, sizeof other.col_near);
        assert_true(other.row_near == measured->row_near);
        for (int s = 0; s < 2; s++) {
            assert_true(other.sums.phi[s] == measured->sums.phi[s]);
            assert_int_equal(other.sums.active[s], measured->sums.active[s]);
        }
        assert_int_equal(other.sums.coincident, measured->sums.coincident);
    }
}

static void assert_same_bits(const tile_result *a, const tile_result *b) {
    assert_memory_equal(a->weight, b->weight, sizeof a->weight);
    assert_memory_equal(a->weighted, b->weighted, sizeof a->weighted);
    assert_memory_equal(a->row_sum, b->row_sum, sizeof a->row_sum);
    assert_memory_equal(a->col_sum, b->col_sum, sizeof a->col_sum);
    assert_memory_equal(a->col_near, b->col_near, sizeof a->col_near);
    assert_true(a->row_near == b->row_near);
    assert_memory_equal(a->sums.phi, b->sums.phi, sizeof a->sums.phi);
    assert_memory_equal(a->sums.distance, b->sums.distance, sizeof a->sums.distance);
    assert_memory_equal(a->sums.active, b->sums.active, sizeof a->sums.active);
    assert_int_equal(a->sums.coincident, b->sums.coincident);
    assert_int_equal(a->sums.any_weight, b->sums.any_weight);
}

/* The upper half of a tile is the tile with the other half marked, whatever that half holds. */
static void the_upper_half_leaves_the_other_out(void **state) {
    (void)state;
    nf_isa isa[4];
    size_t isas = probe_isas(isa);
    for (size_t k = 0; k < isas; k++) {
        nf_context *context = test_context_isa(1, isa[k]);
        for (uint64_t seed = 0; seed < 200; seed++) {
            tile_data t = make_tile(seed), marked = t;
            if (t.cols < ROWS) continue; /* on a diagonal there are as many columns as rows */
            marked.use_skip = t.upper = 1;
            t.use_skip = (int)(seed % 2) && t.use_skip;
            if (!t.use_skip) memset(marked.skip, 0, sizeof marked.skip);
            for (size_t i = 0; i < ROWS * LD; i++) {
                if (i % LD > i / LD) {
                    if (!t.use_skip && !isfinite(t.raw[i])) t.raw[i] = marked.raw[i] = 0.5;
                } else {
                    marked.skip[i] = 1;
                    t.raw[i] = NAN;
                }
            }
            tile_result upper = run_tile(context, &t), whole = run_tile(context, &marked);
            assert_same_bits(&upper, &whole);
        }
        nf_context_free(context);
    }
}

static void weights_and_sums_follow_the_formulas(void **state) {
    (void)state;
    nf_isa isa[4];
    size_t isas = probe_isas(isa);
    nf_context *contexts[4];
    for (size_t k = 0; k < isas; k++) contexts[k] = test_context_isa(1, isa[k]);
    for (uint64_t seed = 0; seed < 1200; seed++) {
        tile_data t = make_tile(seed);
        tile_result want = expected(&t), scalar = run_tile(contexts[0], &t);
        double tolerance = t.type == NF_FLOAT32 ? 2e-5 : 1e-13;
        for (int s = 0; s < 2; s++) {
            assert_near(scalar.sums.phi[s], want.sums.phi[s], tolerance, seed);
            if (t.contrast.side[s].on) {
                assert_near(scalar.sums.distance[s], want.sums.distance[s], tolerance, seed);
            }
            assert_int_equal(scalar.sums.active[s], want.sums.active[s]);
        }
        assert_facts(&t, &scalar, seed);
        assert_unmeasured_is_the_same(contexts, isas, t, &scalar);
        assert_int_equal(scalar.sums.coincident, want.sums.coincident);
        assert_int_equal(scalar.sums.any_weight, want.sums.any_weight);
        for (size_t k = 0; k < ROWS * LD; k++) {
            /* Near the margin a weight is as good as the distance. */
            assert_near(scalar.weight[k], want.weight[k], 20 * tolerance, seed);
        }
        for (size_t k = 1; k < isas; k++) {
            tile_result other = run_tile(contexts[k], &t);
            assert_memory_equal(other.weight, scalar.weight, sizeof scalar.weight);
            for (int s = 0; s < 2; s++) {
                assert_true(other.sums.phi[s] == scalar.sums.phi[s]);
                assert_true(other.sums.distance[s] == scalar.sums.distance[s]);
                assert_int_equal(other.sums.active[s], scalar.sums.active[s]);
            }
            assert_memory_equal(other.row_sum, scalar.row_sum, sizeof scalar.row_sum);
            assert_memory_equal(other.col_sum, scalar.col_sum, sizeof scalar.col_sum);
            assert_int_equal(other.sums.coincident, scalar.sums.coincident);
            assert_int_equal(other.sums.any_weight, scalar.sums.any_weight);
        }
    }
    for (size_t k = 0; k < isas; k++) nf_context_free(contexts[k]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(weights_and_sums_follow_the_formulas),
                                       cmocka_unit_test(the_upper_half_leaves_the_other_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
