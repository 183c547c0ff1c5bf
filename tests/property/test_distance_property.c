/* What distances promise about bits: exact zeros, symmetry, and independence of batch, block, thread,
 * instruction set, layout and form; exactness under translation and scaling by powers of two. */
#include "probe.h"
#include "support.h"

#include <float.h>
#include <math.h>

#include "base/random.h"

#define METRICS 5

/* Rows that make a single tile hold everything: ordinary rows, duplicates, zero rows, rows so large
 * or so small that squares leave the float range, near duplicates. */
static void hostile_rows(uint64_t seed, float *x, size_t n, size_t d) {
    test_random_f32(seed, x, n * d, -1, 1);
    for (size_t i = 1; i < n; i++) {
        float *row = x + i * d;
        uint64_t kind = nf_random_below(seed, 7, i, 12);
        if (kind == 0) memcpy(row, x + nf_random_below(seed, 8, i, i) * d, d * sizeof *x);
        if (kind == 1) memset(row, 0, d * sizeof *x);
        for (size_t k = 0; k < d && kind >= 2 && kind < 6; k++) {
            if (kind == 2) row[k] *= 1e18f;
            if (kind == 3) row[k] *= 1e-25f;
            if (kind == 4) row[k] *= 1e-41f;
            if (kind == 5) row[k] = nextafterf(x[k], 2);
        }
    }
}

static nf_distance_options options_of(int metric, int normalize) {
    nf_distance_options o = nf_distance_defaults();
    o.metric = (nf_metric)metric;
    o.normalize = normalize;
    return o;
}

static void the_diagonal_is_zero_and_the_matrix_symmetric(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    enum { N = 203, D = 19 };
    float *x = malloc(N * D * 4), *out = malloc(N * N * 4);
    double *wide = malloc(N * D * 8), *out_wide = malloc(N * N * 8);
    hostile_rows(1, x, N, D);
    for (size_t k = 0; k < N * D; k++) wide[k] = (double)x[k] * 1.000000001;
    for (int c = 0; c < 2 * METRICS; c++) {
        nf_distance_options o = options_of(c % METRICS, c / METRICS);
        nf_matrix v = nf_matrix_f32(x, N, D), w = nf_matrix_f64(wide, N, D);
        o.allow_nonfinite = o.metric == NF_SQEUCLIDEAN || o.metric == NF_DOT; /* overflow to Inf */
        assert_ok(context, nf_distances_full(context, &o, v, v, nf_matrix_out_f32(out, N, N)));
        assert_ok(context, nf_distances_full(context, &o, w, w, nf_matrix_out_f64(out_wide, N, N)));
        for (size_t i = 0; i < N; i++) {
            for (size_t j = 0; j <= i; j++) {
                assert_memory_equal(&out[i * N + j], &out[j * N + i], 4);
                assert_memory_equal(&out_wide[i * N + j], &out_wide[j * N + i], 8);
                int same = memcmp(x + i * D, x + j * D, D * 4) == 0;
                int zero = i != j && o.metric == NF_COSINE && x[i * D] == 0;
                if (!same || zero || o.metric == NF_DOT) continue;
                assert_true(out[i * N + j] == 0 && !signbit(out[i * N + j]));
                assert_true(out_wide[i * N + j] == 0);
            }
        }
    }
    free(x);
    free(out);
    free(wide);
    free(out_wide);
    nf_context_free(context);
}

/* Every way to ask for one distance gives the same bits. */
static void check_forms(nf_context *context, const nf_distance_options *o, nf_type type,
                        const void *x, size_t n, size_t d) {
    size_t size = nf_type_size(type), pairs = n * (n - 1) / 2;
    char *full = malloc(n * n * size), *condensed = malloc(pairs * size + 1);
    char *listed = malloc(n * n * size), one[8];
    int64_t *i = malloc(n * n * sizeof *i), *j = malloc(n * n * sizeof *j);
    for (size_t k = 0; k < n * n; k++) { /* a scattered order */
        size_t p = (k * 7919 + 13) % (n * n);
        i[k] = (int64_t)(p / n);
        j[k] = (int64_t)(p % n);
    }
    nf_matrix v = {x, type, n, d, d};
    assert_ok(context, nf_distances_full(context, o, v, v, (nf_matrix_out){full, type, n, n, n}));
    assert_ok(context, nf_distances_condensed(context, o, v, condensed));
    assert_ok(context, nf_distances_pairs(context, o, v, v, i, j, n * n, listed));
    for (size_t k = 0; k < n * n; k++) {
        size_t a = (size_t)i[k], b = (size_t)j[k];
        const char *want = full + (a * n + b) * size;
        if (memcmp(listed + k * size, want, size) != 0) {
            fail_msg("%s: pair list (%zu, %zu) differs from full", nf_metric_name(o->metric), a, b);
        }
        if (a < b && memcmp(condensed + nf_pair_rank(n, a, b) * size, want, size) != 0) {
            fail_msg("%s: condensed (%zu, %zu) differs from full", nf_metric_name(o->metric), a, b);
        }
        if (k % 17 != 0) continue;
        nf_matrix va = {(const char *)x + a * d * size, type, 1, d, d};
        nf_matrix vb = {(const char *)x + b * d * size, type, 1, d, d};
        assert_ok(context,
                  nf_distances_full(context, o, va, vb, (nf_matrix_out){one, type, 1, 1, 1}));
        if (memcmp(one, want, size) != 0) {
            fail_msg("%s: a batch of 1 (%zu, %zu) differs", nf_metric_name(o->metric), a, b);
        }
    }
    free(full);
    free(condensed);
    free(listed);
    free(i);
    free(j);
}

static void every_form_gives_the_same_bits(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    const size_t sizes[][2] = {{2, 1}, {3, 5}, {17, 16}, {96, 7}, {97, 33}, {131, 20}};
    for (size_t s = 0; s < 6; s++) {
        size_t n = sizes[s][0], d = sizes[s][1];
        float *x = malloc(n * d * 4);
        double *wide = malloc(n * d * 8);
        hostile_rows(s + 10, x, n, d);
        for (size_t k = 0; k < n * d; k++) wide[k] = (double)x[k] * 1e140;
        for (int c = 0; c < 4 * METRICS; c++) {
            nf_distance_options o = options_of(c % METRICS, c / METRICS % 2);
            o.precise = c / (2 * METRICS);
            o.allow_nonfinite = 1;
            check_forms(context, &o, NF_FLOAT32, x, n, d);
            check_forms(context, &o, NF_FLOAT64, wide, n, d);
        }
        free(x);
        free(wide);
    }
    nf_context_free(context);
}

/* ---- instruction sets, threads, layouts ------------------------------------------------------ */

typedef struct probe_case {
    size_t n, m, d, ldx, ldy;
    nf_type type;
} probe_case;

/* All metrics on guarded, read-only arrays of which not one byte outside may be read. */
static uint64_t hash_case(nf_context *context, const probe_case *c, int at_end) {
    size_t size = nf_type_size(c->type);
    size_t x_bytes = ((c->n - 1) * c->ldx + c->d) * size,
           y_bytes = ((c->m - 1) * c->ldy + c->d) * size;
    probe_guard gx = probe_guard_make(x_bytes, at_end), gy = probe_guard_make(y_bytes, at_end);
    probe_guard out = probe_guard_make(c->n * c->m * size, at_end);
    for (size_t k = 0; k < x_bytes / 4; k++)
        ((float *)gx.data)[k] = (float)sin((double)k * 1.7) + 1;
    for (size_t k = 0; k < y_bytes / 4; k++)
        ((float *)gy.data)[k] = (float)cos((double)k * 0.9) + 1;
    if (c->type == NF_FLOAT64) {
        for (size_t k = 0; k < x_bytes / 8; k++) ((double *)gx.data)[k] = sin((double)k * 1.7);
        for (size_t k = 0; k < y_bytes / 8; k++) ((double *)gy.data)[k] = cos((double)k * 0.9);
    }
    probe_guard_read_only(&gx);
    probe_guard_read_only(&gy);
    nf_matrix x = {gx.data, c->type, c->n, c->d, c->ldx},
              y = {gy.data, c->type, c->m, c->d, c->ldy};
    uint64_t hash = PROBE_HASH;
    for (int k = 0; k < 2 * METRICS; k++) {
        nf_distance_options o = options_of(k % METRICS, k / METRICS);
        nf_matrix_out view = {out.data, c->type, c->n, c->m, c->m};
        assert_ok(context, nf_distances_full(context, &o, x, y, view));
        hash = probe_hash(hash, out.data, c->n * c->m * size);
    }
    probe_guard_free(&gx);
    probe_guard_free(&gy);
    probe_guard_free(&out);
    return hash;
}

static void instruction_sets_and_threads_give_the_same_bits(void **state) {
    (void)state;
    nf_isa isa[4];
    size_t isas = probe_isas(isa);
    nf_context *contexts[8];
    size_t count = 0;
    for (size_t k = 0; k < isas; k++) contexts[count++] = test_context_isa(1, isa[k]);
    contexts[count++] = test_context(2);
    contexts[count++] = test_context(3);
    contexts[count++] = test_context(7);
    const size_t rows[] = {1, 2, 5, 6, 7, 8, 12, 13, 16, 17, 31, 33};
    size_t dims[71];
    for (size_t k = 0; k < 68; k++) dims[k] = k;
    dims[68] = 96, dims[69] = 129, dims[70] = 515;
    for (size_t t = 0; t < 71 * 4; t++) {
        size_t d = dims[t / 4];
        probe_case c = {rows[t % 12],
                        rows[(t * 5 + 3) % 12],
                        d,
                        d + t % 3,
                        d + t % 2,
                        t % 4 < 2 ? NF_FLOAT32 : NF_FLOAT64};
        if (t % 40 == 7) c.n = 97, c.m = 193;
        uint64_t want = hash_case(contexts[0], &c, 1);
        for (size_t k = 0; k < count; k++) {
            if (hash_case(contexts[k], &c, (int)(t + k) % 2) == want) continue;
            fail_msg("%s, %d threads, n %zu m %zu d %zu: other bits than scalar",
                     nf_context_isa(contexts[k]), nf_context_threads(contexts[k]), c.n, c.m, d);
        }
    }
    for (size_t k = 0; k < count; k++) nf_context_free(contexts[k]);
}

static void many_rows_on_many_threads(void **state) {
    (void)state;
    enum { N = 700, D = 70 }; /* far above the threshold that wakes threads */
    float *x = malloc(N * D * 4), *out = malloc(N * N * 4);
    hostile_rows(77, x, N, D);
    for (int metric = 0; metric < METRICS; metric++) {
        uint64_t want = 0;
        const int threads[] = {1, 2, 3, 7};
        for (size_t t = 0; t < 4; t++) {
            nf_context *context = test_context(threads[t]);
            nf_distance_options o = options_of(metric, 0);
            o.allow_nonfinite = 1;
            nf_matrix v = nf_matrix_f32(x, N, D);
            assert_ok(context, nf_distances_full(context, &o, v, v, nf_matrix_out_f32(out, N, N)));
            uint64_t hash = probe_hash(PROBE_HASH, out, N * N * 4);
            assert_ok(context, nf_distances_condensed(context, &o, v, out));
            hash = probe_hash(hash, out, N * (N - 1) / 2 * 4);
            if (t == 0) want = hash;
            assert_true(hash == want);
            nf_context_free(context);
        }
    }
    free(x);
    free(out);
}

/* ---- exact transformations ------------------------------------------------------------------- */

static void translation_on_a_grid_is_exact(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    enum { N = 20, D = 11 };
    float x[N * D], moved[N * D], want[N * N], got[N * N];
    for (size_t k = 0; k < N * D; k++) x[k] = (float)nf_random_below(5, 1, k, 512) / 256;
    for (int metric = 0; metric < METRICS; metric++) {
        if (metric == NF_DOT || metric == NF_COSINE) continue;
        nf_distance_options o = options_of(metric, 0);
        nf_matrix v = nf_matrix_f32(x, N, D), w = nf_matrix_f32(moved, N, D);
        assert_ok(context, nf_distances_full(context, &o, v, v, nf_matrix_out_f32(want, N, N)));
        for (int power = 0; power <= 13; power++) {
            for (size_t k = 0; k < N * D; k++) moved[k] = x[k] + ldexpf(1, power);
            assert_ok(context, nf_distances_full(context, &o, w, w, nf_matrix_out_f32(got, N, N)));
            assert_memory_equal(got, want, sizeof want);
        }
    }
    nf_context_free(context);
}

static void scaling_by_powers_of_two_is_exact(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    enum { N = 20, D = 11 };
    float x[N * D], scaled[N * D], want[N * N], got[N * N];
    double g[N * D], scaled_d[N * D], want_d[N * N], got_d[N * N];
    test_random_f32(6, x, N * D, -1, 1);
    test_random_f64(6, g, N * D, -1, 1);
    for (int metric = 0; metric < METRICS; metric++) {
        int degree = metric == NF_COSINE ? 0 : metric == NF_SQEUCLIDEAN || metric == NF_DOT ? 2 : 1;
        nf_distance_options o = options_of(metric, 0);
        nf_matrix v = nf_matrix_f32(x, N, D), w = nf_matrix_f32(scaled, N, D);
        nf_matrix vd = nf_matrix_f64(g, N, D), wd = nf_matrix_f64(scaled_d, N, D);
        assert_ok(context, nf_distances_full(context, &o, v, v, nf_matrix_out_f32(want, N, N)));
        assert_ok(context, nf_distances_full(context, &o, vd, vd, nf_matrix_out_f64(want_d, N, N)));
        for (int power = -40; power <= 50; power += 3) { /* squares stay in [2^-100, 2^120] */
            for (size_t k = 0; k < N * D; k++) {
                scaled[k] = ldexpf(x[k], power);
                scaled_d[k] = ldexp(g[k], 9 * power);
            }
            assert_ok(context, nf_distances_full(context, &o, w, w, nf_matrix_out_f32(got, N, N)));
            assert_ok(context,
                      nf_distances_full(context, &o, wd, wd, nf_matrix_out_f64(got_d, N, N)));
            for (size_t k = 0; k < N * N; k++) {
                assert_true(got[k] == ldexpf(want[k], degree * power));
                assert_true(got_d[k] == ldexp(want_d[k], degree * 9 * power));
            }
        }
    }
    nf_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_diagonal_is_zero_and_the_matrix_symmetric),
        cmocka_unit_test(every_form_gives_the_same_bits),
        cmocka_unit_test(instruction_sets_and_threads_give_the_same_bits),
        cmocka_unit_test(many_rows_on_many_threads),
        cmocka_unit_test(translation_on_a_grid_is_exact),
        cmocka_unit_test(scaling_by_powers_of_two_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
