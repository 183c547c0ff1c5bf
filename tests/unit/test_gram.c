/* Distances with `fast`: within the bound of distance.h of the true value at every offset, exactly 0
 * for equal rows, near pairs with the bits of the direct form, and the same bits for any number of
 * threads and every instruction set. */
#include "probe.h"
#include "reference.h"
#include "support.h"

#include <float.h>
#include <math.h>

#include "base/random.h"
#include "distance/gram.h"

enum { N = 130, M = 70 }; /* more than one block, and no multiple of a line */

/* Rows of normal size about `offset`; every fourth row of y is a near duplicate of one of x, every
 * seventh an exact one. */
typedef struct data {
    nf_matrix x, y;
} data;

static void put(nf_matrix x, size_t r, size_t k, double value) {
    if (x.type == NF_FLOAT32) {
        ((float *)(uintptr_t)x.data)[r * x.ld + k] = (float)value;
    } else {
        ((double *)(uintptr_t)x.data)[r * x.ld + k] = value;
    }
}

static double get(nf_type type, const void *values, size_t at) {
    return type == NF_FLOAT32 ? (double)((const float *)values)[at] : ((const double *)values)[at];
}

static data make(nf_type type, size_t d, double offset) {
    const size_t ld = d + 3;
    data in = {{malloc(N * ld * 8), type, N, d, ld}, {malloc(M * ld * 8), type, M, d, ld}};
    for (size_t r = 0; r < N; r++) {
        for (size_t k = 0; k < d; k++) put(in.x, r, k, offset + 2 * nf_random_unit(d, r, k) - 1);
    }
    for (size_t r = 0; r < M; r++) {
        for (size_t k = 0; k < d; k++) {
            double near = get(type, in.x.data, r * ld + k);
            double value = offset + 2 * nf_random_unit(d + 1, r, k) - 1;
            if (r % 4 == 0) value = near + 1e-3 * nf_random_unit(d + 2, r, k);
            put(in.y, r, k, r % 7 == 0 ? near : value);
        }
    }
    return in;
}

static void drop(data in) {
    free((void *)(uintptr_t)in.x.data);
    free((void *)(uintptr_t)in.y.data);
}

static void *full(nf_context *context, nf_distance_options o, nf_matrix x, nf_matrix y) {
    void *out = malloc(x.rows * y.rows * 8);
    assert_ok(context, nf_distances_full(context, &o, x, y,
                                         (nf_matrix_out){out, x.type, x.rows, y.rows, y.rows}));
    return out;
}

/* What may be off: the header's share of |a - b|^2 or half of it, and the rounding of the root and of
 * the result. Unit rows differ from the true ones by their own rounding too. */
static double allowed(nf_distance_options o, nf_type type, size_t d, double want) {
    const double u = type == NF_FLOAT32 ? FLT_EPSILON / 2 : DBL_EPSILON / 2;
    double share = 40 * ((double)d + 2) * (o.precise ? DBL_EPSILON / 2 : u) + (o.precise ? u : 0);
    if (o.metric == NF_EUCLIDEAN) share = share / 2 + 2 * u;
    const double unit = o.metric == NF_COSINE ? 4 * ((double)d + 8) * u : 0;
    return share * want + unit;
}

static size_t check_full(nf_context *context, nf_distance_options o, data in) {
    const nf_type type = in.x.type;
    const size_t size = nf_type_size(type);
    void *direct = full(context, o, in.x, in.y);
    o.fast = 1;
    void *fast = full(context, o, in.x, in.y);
    double *a = ref_widen(in.x), *b = ref_widen(in.y);
    size_t changed = 0;
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < M; j++) {
            const size_t at = i * M + j;
            const int same =
                memcmp((char *)fast + at * size, (char *)direct + at * size, size) == 0;
            changed += !same;
            if (i == j && j % 4 == 0) assert_true(same); /* a near pair */
            if (i != j && at % 23 != 0) continue;
            const double want =
                (double)ref_distance(o.metric, 0, a + i * in.x.cols, b + j * in.x.cols, in.x.cols);
            const double got = get(type, fast, at), limit = allowed(o, type, in.x.cols, want);
            if (!(fabs(got - want) <= limit)) {
                fail_msg("%s, type %d, precise %d, d %zu, pair (%zu, %zu): got %.17g, want %.17g, "
                         "off by %g over %g",
                         nf_metric_name(o.metric), (int)type, o.precise, in.x.cols, i, j, got, want,
                         fabs(got - want), limit);
            }
            if (i == j && j % 7 == 0) assert_true(got == 0);
        }
    }
    free(a);
    free(b);
    free(direct);
    free(fast);
    return changed;
}

static void every_pair_meets_the_bound(void **state) {
    (void)state;
    static const double offsets[] = {0, 1, 100, 10000};
    static const size_t wide[] = {1, 2, 3, 17, 64, 129, 700};
    static const nf_metric metrics[] = {NF_EUCLIDEAN, NF_SQEUCLIDEAN, NF_COSINE};
    nf_context *context = test_context(2);
    for (int c = 0; c < 4 * 7 * 2; c++) {
        const nf_type type = c % 2 == 0 ? NF_FLOAT32 : NF_FLOAT64;
        const double offset = offsets[c / 2 % 4];
        data in = make(type, wide[c / 8], offset);
        for (int m = 0; m < 3; m++) {
            nf_distance_options o = nf_distance_defaults();
            o.metric = metrics[m];
            const size_t changed = check_full(context, o, in);
            /* At the origin most pairs are taken in the other form, far away none is. */
            if (offset == 0 && wide[c / 8] >= 64) assert_true(changed > N * M / 4);
            if (offset >= 100) assert_int_equal(changed, 0);
            o.precise = 1;
            check_full(context, o, in);
        }
        drop(in);
    }
    nf_context_free(context);
}

static void bits_depend_on_the_two_rows_only(void **state) {
    (void)state;
    nf_isa isa[4];
    const size_t isas = probe_isas(isa);
    for (int c = 0; c < 4; c++) {
        const nf_type type = c % 2 == 0 ? NF_FLOAT32 : NF_FLOAT64;
        const size_t size = nf_type_size(type), d = c < 2 ? 33 : 128;
        data in = make(type, d, 0.5);
        nf_distance_options o = nf_distance_defaults();
        o.fast = 1;
        nf_context *context = test_context(1);
        void *want = full(context, o, in.x, in.y), *turned = full(context, o, in.y, in.x);
        for (size_t i = 0; i < N; i++) {
            for (size_t j = 0; j < M; j++) {
                assert_memory_equal((char *)want + (i * M + j) * size,
                                    (char *)turned + (j * N + i) * size, size);
            }
        }
        nf_matrix part = in.x; /* any rows of it */
        part.data = (const char *)in.x.data + 77 * in.x.ld * size;
        part.rows = 5;
        void *some = full(context, o, part, in.y);
        assert_memory_equal(some, (char *)want + 77 * M * size, 5 * M * size);
        for (size_t k = 0; k < isas; k++) {
            for (int threads = 1; threads <= 7; threads += 3) {
                nf_context *other = test_context_isa(threads, isa[k]);
                void *got = full(other, o, in.x, in.y);
                assert_memory_equal(got, want, N * M * size);
                free(got);
                nf_context_free(other);
            }
        }
        free(want);
        free(turned);
        free(some);
        nf_context_free(context);
        drop(in);
    }
}

static void all_forms_have_the_same_bits(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    enum { D = 20, K = 9 };
    data in = make(NF_FLOAT32, D, 0);
    nf_distance_options o = nf_distance_defaults();
    o.fast = 1;
    float *square = full(context, o, in.x, in.x), *condensed = malloc(N * (N - 1) / 2 * 4);
    assert_ok(context, nf_distances_condensed(context, &o, in.x, condensed));
    size_t at = 0;
    for (size_t i = 0; i < N; i++) {
        assert_true(square[i * N + i] == 0);
        for (size_t j = i + 1; j < N; j++) {
            assert_memory_equal(&condensed[at++], &square[i * N + j], sizeof(float));
        }
    }
    int64_t index[N * K];
    float distance[N * K];
    assert_ok(context, nf_knn(context, &o, in.x, in.x, K, 1, index, distance));
    for (size_t p = 0; p < N * K; p++) {
        assert_memory_equal(&distance[p], &square[p / K * N + (size_t)index[p]], sizeof(float));
    }
    /* A listed pair is computed directly. */
    nf_distance_options direct = nf_distance_defaults();
    float listed[2][N];
    int64_t i[N], j[N];
    for (size_t p = 0; p < N; p++) i[p] = (int64_t)p, j[p] = (int64_t)(p * 7 % N);
    assert_ok(context, nf_distances_pairs(context, &o, in.x, in.x, i, j, N, listed[0]));
    assert_ok(context, nf_distances_pairs(context, &direct, in.x, in.x, i, j, N, listed[1]));
    assert_memory_equal(listed[0], listed[1], sizeof listed[0]);
    free(square);
    free(condensed);
    drop(in);
    nf_context_free(context);
}

/* Lengths that overflow, vanish or are not numbers leave the pair to the direct form. */
static void extremes_are_as_without_it(void **state) {
    (void)state;
    static const float rows[] = {0,        0,      1e30f, -1e30f, 1e-30f, 2e-30f,   1e19f,
                                 -1.2e19f, 1e-44f, 0,     NAN,    1,      INFINITY, 3};
    enum { ROWS = 7 };
    nf_context *context = test_context(1);
    nf_matrix x = nf_matrix_f32(rows, ROWS, 2);
    nf_distance_options o = nf_distance_defaults();
    o.allow_nonfinite = 1;
    float *direct = full(context, o, x, x);
    o.fast = 1;
    float *fast = full(context, o, x, x);
    for (size_t p = 0; p < ROWS * ROWS; p++) {
        if (isnan(direct[p])) {
            assert_true(isnan(fast[p]));
        } else if (isinf(direct[p])) {
            assert_true(fast[p] == direct[p]);
        } else {
            assert_true(fabs((double)fast[p] - (double)direct[p]) <= 1e-5 * (double)direct[p]);
        }
    }
    free(direct);
    free(fast);
    nf_context_free(context);
}

static void other_metrics_and_too_many_columns_are_refused(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const float two[2] = {1, 2};
    float out = -1;
    nf_matrix_out one = nf_matrix_out_f32(&out, 1, 1);
    nf_matrix x = nf_matrix_f32(two, 1, 2);
    nf_distance_options o = nf_distance_defaults();
    o.fast = 1;
    o.metric = NF_DOT;
    assert_fails(context, nf_distances_full(context, &o, x, x, one), NF_ERR_ARG,
                 "metric is dot: it applies to euclidean");
    o.metric = NF_CITYBLOCK;
    assert_fails(context, nf_distances_condensed(context, &o, x, &out), NF_ERR_ARG, "cityblock");
    o.metric = NF_EUCLIDEAN;
    float *row = calloc(32767, sizeof *row);
    assert_fails(context,
                 nf_distances_full(context, &o, nf_matrix_f32(row, 1, 32767),
                                   nf_matrix_f32(row, 1, 32767), one),
                 NF_ERR_ARG, "32767 columns: float32 allows 32766");
    assert_true(out == -1);
    assert_ok(context, nf_distances_full(context, &o, nf_matrix_f32(row, 1, 32766),
                                         nf_matrix_f32(row, 1, 32766), one));
    assert_true(out == 0);
    free(row);
    nf_context_free(context);
}

/* What may be skipped is what is beyond a reach by more than the bound allows a distance to be off. */
static void the_reach_grows_by_the_bound(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    data in = make(NF_FLOAT32, 64, 0);
    nf_rows rows = nf_rows_plain(in.x);
    assert_true(nf_gram_reach(&rows, 1.5) == 1.5);
    nf_scope scope = nf_scope_enter(context);
    assert_ok(context, nf_gram_make_norms(context, &rows, NF_FLOAT32));
    const double bound = 40 * (64 + 2) * 0x1p-24;
    assert_true(nf_gram_reach(&rows, 1.5) * (1 - bound) > 1.5);
    assert_true(nf_gram_reach(&rows, 1.5) < 1.5 * (1 + 2 * bound));
    assert_ok(context, nf_scope_leave(context, scope, NF_OK));
    drop(in);
    nf_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_meets_the_bound),
        cmocka_unit_test(bits_depend_on_the_two_rows_only),
        cmocka_unit_test(all_forms_have_the_same_bits),
        cmocka_unit_test(extremes_are_as_without_it),
        cmocka_unit_test(the_reach_grows_by_the_bound),
        cmocka_unit_test(other_metrics_and_too_many_columns_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
