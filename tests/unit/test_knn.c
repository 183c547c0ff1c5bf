/* Exact nearest neighbours against a full sort of the full distance matrix. */
#include "support.h"

#include <math.h>
#include <stdbool.h>

#include "base/random.h"

typedef struct found {
    double distance;
    int64_t index;
} found;

static int nearest_first(const void *pa, const void *pb) {
    const found *a = pa, *b = pb;
    if (isnan(a->distance) != isnan(b->distance)) return isnan(a->distance) ? 1 : -1;
    if (a->distance < b->distance) return -1;
    if (a->distance > b->distance) return 1;
    return a->index < b->index ? -1 : 1;
}

typedef struct problem {
    nf_distance_options options;
    nf_matrix query, reference;
    size_t k;
    int exclude_self;
} problem;

static nf_matrix_out out_of(void *data, nf_type type, size_t rows, size_t cols) {
    return (nf_matrix_out){data, type, rows, cols, cols};
}

/* The call against the oracle: indices, and distances bit for bit. */
static void check_knn(nf_context *context, const problem *p) {
    size_t n = p->query.rows, m = p->reference.rows, k = p->k, size = nf_type_size(p->query.type);
    int64_t *index = malloc(n * k * sizeof *index + 1);
    char *distance = malloc(n * k * size + 1), *full = malloc(n * m * size + 1);
    found *all = malloc((m + 1) * sizeof *all);
    assert_ok(context, nf_distances_full(context, &p->options, p->query, p->reference,
                                         out_of(full, p->query.type, n, m)));
    assert_ok(context, nf_knn(context, &p->options, p->query, p->reference, k, p->exclude_self,
                              index, distance));
    for (size_t i = 0; i < n; i++) {
        size_t count = 0;
        for (size_t j = 0; j < m; j++) {
            if (p->exclude_self && i == j) continue;
            const char *at = full + (i * m + j) * size;
            double value = size == 4 ? (double)*(const float *)(const void *)at
                                     : *(const double *)(const void *)at;
            all[count++] = (found){value, (int64_t)j};
        }
        qsort(all, count, sizeof *all, nearest_first);
        for (size_t r = 0; r < k; r++) {
            if (index[i * k + r] != all[r].index) {
                fail_msg("query %zu rank %zu: got %lld, expected %lld", i, r,
                         (long long)index[i * k + r], (long long)all[r].index);
            }
            const char *got = distance + (i * k + r) * size;
            if (isnan(all[r].distance)) continue; /* any NaN will do */
            assert_memory_equal(got, full + (i * m + (size_t)all[r].index) * size, size);
        }
    }
    free(index), free(distance), free(full), free(all);
}

/* Small whole coordinates give many ties; some rows are zero, some are copies. */
static void tied_data(uint64_t seed, double *x, size_t n, size_t d) {
    for (size_t c = 0; c < n * d; c++) x[c] = (double)nf_random_below(seed, 1, c, 4) - 1;
    for (size_t r = 0; r < n; r++) {
        if (nf_random_below(seed, 2, r, 6) == 0) memset(x + r * d, 0, d * sizeof *x);
    }
}

static void neighbours_match_a_full_sort(void **state) {
    (void)state;
    nf_context *contexts[2] = {test_context(1), test_context(3)};
    double x[150 * 17], y[150 * 17];
    float xf[150 * 17], yf[150 * 17];
    const size_t dims[] = {1, 2, 3, 15, 16, 17};
    for (uint64_t seed = 0; seed < 240; seed++) {
        problem p = {.options = nf_distance_defaults()};
        size_t d = dims[seed % 6], n = 1 + (size_t)nf_random_below(seed, 3, 0, 149);
        size_t m = 2 + (size_t)nf_random_below(seed, 3, 1, 149);
        p.options.metric = (nf_metric)(seed % 5);
        p.options.normalize = seed % 7 == 0;
        p.options.precise = seed % 11 == 0;
        p.options.fast = seed % 13 == 0 && p.options.metric <= NF_COSINE;
        p.exclude_self = seed % 3 == 1;
        bool self = p.exclude_self || seed % 3 == 2;
        if (seed % 4 < 2) {
            tied_data(seed, x, 150, d), tied_data(seed + 1, y, 150, d);
        } else {
            test_random_f64(seed, x, 150 * 17, -1, 1),
                test_random_f64(seed + 1, y, 150 * 17, -1, 1);
        }
        for (size_t c = 0; c < 150 * 17; c++) xf[c] = (float)x[c], yf[c] = (float)y[c];
        if (seed % 2 == 0) {
            p.query = nf_matrix_f32(xf, self ? m : n, d);
            p.reference = self ? p.query : nf_matrix_f32(yf, m, d);
        } else {
            p.query = nf_matrix_f64(x, self ? m : n, d);
            p.reference = self ? p.query : nf_matrix_f64(y, m, d);
        }
        size_t most = m - (size_t)p.exclude_self;
        p.k = seed % 5 == 0 ? most : 1 + (size_t)nf_random_below(seed, 3, 2, most);
        check_knn(contexts[seed % 2], &p);
    }
    nf_context_free(contexts[0]), nf_context_free(contexts[1]);
}

/* More references than one strip of columns holds, and ties across strips. */
static void many_references_are_cut_without_trace(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    size_t m = 20000, n = 150, d = 3;
    float *y = malloc(m * d * sizeof *y), *x = malloc(n * d * sizeof *x);
    for (size_t c = 0; c < m * d; c++) y[c] = (float)nf_random_below(5, 1, c, 12);
    for (size_t c = 0; c < n * d; c++) x[c] = (float)nf_random_below(6, 1, c, 12);
    problem p = {nf_distance_defaults(), nf_matrix_f32(x, n, d), nf_matrix_f32(y, m, d), 37, 0};
    check_knn(context, &p);
    free(x), free(y);
    nf_context_free(context);
}

static void results_do_not_depend_on_threads(void **state) {
    (void)state;
    size_t n = 9000, d = 5, k = 7;
    float *x = malloc(n * d * sizeof *x);
    for (size_t c = 0; c < n * d; c++) x[c] = (float)nf_random_below(5, 1, c, 9);
    int64_t *index = malloc(n * k * sizeof *index), *first = malloc(n * k * sizeof *first);
    float *distance = malloc(n * k * sizeof *distance), *first_distance = malloc(n * k * 4);
    const int threads[] = {1, 2, 3, 7};
    for (int t = 0; t < 4; t++) {
        nf_context *context = test_context(threads[t]);
        assert_ok(context, nf_knn(context, NULL, nf_matrix_f32(x, n, d), nf_matrix_f32(x, n, d), k,
                                  1, index, distance));
        if (t == 0) {
            memcpy(first, index, n * k * sizeof *index);
            memcpy(first_distance, distance, n * k * sizeof *distance);
        }
        assert_memory_equal(index, first, n * k * sizeof *index);
        assert_memory_equal(distance, first_distance, n * k * sizeof *distance);
        nf_context_free(context);
    }
    free(x), free(index), free(first), free(distance), free(first_distance);
}

static void nan_comes_last(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const float inf = INFINITY;
    const float x[] = {0, NAN, 1, inf, NAN, -1, -inf, 2};
    problem p = {nf_distance_defaults(), nf_matrix_f32(x, 8, 1), nf_matrix_f32(x, 8, 1), 8, 0};
    p.options.allow_nonfinite = 1;
    check_knn(context, &p);
    for (p.k = 1; p.k < 8; p.k++) {
        p.exclude_self = 1;
        check_knn(context, &p);
    }
    int64_t index[8];
    float distance[8];
    assert_ok(context, nf_knn(context, &p.options, nf_matrix_f32(x, 1, 1), p.reference, 8, 0, index,
                              distance));
    const int64_t expected[] = {0, 2, 5, 7, 3, 6, 1, 4};
    assert_memory_equal(index, expected, sizeof expected);
    nf_context_free(context);
}

static void small_shapes(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const size_t dims[] = {0, 1, 2, 3, 15, 16, 17};
    float x[3 * 17];
    test_random_f32(1, x, 3 * 17, -1, 1);
    for (size_t s = 0; s < 7; s++) {
        for (size_t n = 0; n <= 3; n++) {
            for (size_t m = 0; m <= 3; m++) {
                nf_matrix q = nf_matrix_f32(n * dims[s] > 0 ? x : NULL, n, dims[s]);
                nf_matrix r = nf_matrix_f32(m * dims[s] > 0 ? x : NULL, m, dims[s]);
                for (size_t k = 1; k <= m; k++) {
                    problem p = {nf_distance_defaults(), q, r, k, 0};
                    p.options.metric = (nf_metric)(s % 5);
                    if (n > 0) check_knn(context, &p);
                    p.exclude_self = 1;
                    if (n == m && k < m) check_knn(context, &p);
                    assert_ok(context, nf_knn(context, NULL, nf_matrix_f32(NULL, 0, dims[s]), r, k,
                                              0, NULL, NULL));
                }
                int64_t index[12];
                assert_fails(context, nf_knn(context, NULL, q, r, m + 1, 0, index, NULL),
                             NF_ERR_ARG, "k is");
                assert_fails(context, nf_knn(context, NULL, q, r, 0, 0, index, NULL), NF_ERR_ARG,
                             "k is 0");
            }
        }
    }
    nf_context_free(context);
}

static void bad_arguments_are_named(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    float x[6] = {0, 1, 2, 3, 4, 5}, big[2] = {-3e38f, 3e38f};
    double y[6] = {0};
    int64_t index[6] = {-7, -7, -7, -7, -7, -7};
    nf_matrix q = nf_matrix_f32(x, 3, 2), r = nf_matrix_f32(x, 2, 3);
    assert_fails(context, nf_knn(context, NULL, q, r, 1, 0, index, NULL), NF_ERR_ARG, "columns");
    assert_fails(context, nf_knn(context, NULL, q, nf_matrix_f64(y, 3, 2), 1, 0, index, NULL),
                 NF_ERR_ARG, "float64");
    assert_fails(context, nf_knn(context, NULL, q, nf_matrix_f32(x, 2, 2), 1, 1, index, NULL),
                 NF_ERR_ARG, "exclude_self");
    assert_fails(context, nf_knn(context, NULL, q, q, 3, 1, index, NULL), NF_ERR_ARG,
                 "from 1 to 2");
    assert_fails(context, nf_knn(context, NULL, q, q, 1, 0, NULL, NULL), NF_ERR_ARG,
                 "index is NULL");
    assert_fails(context, nf_knn(context, NULL, q, q, 1, 0, index, x), NF_ERR_ARG, "overlaps");
    nf_distance_options options = nf_distance_defaults();
    options.metric = (nf_metric)9;
    assert_fails(context, nf_knn(context, &options, q, q, 1, 0, index, NULL), NF_ERR_ARG, "metric");
    x[3] = NAN;
    assert_fails(context, nf_knn(context, NULL, q, q, 1, 0, index, NULL), NF_ERR_DATA,
                 "query has 1 NaN");
    x[3] = 3;
    y[0] = NAN;
    nf_matrix d = nf_matrix_f64(y + 2, 2, 2);
    assert_fails(context, nf_knn(context, NULL, d, nf_matrix_f64(y, 3, 2), 1, 0, index, NULL),
                 NF_ERR_DATA, "reference has 1 NaN");
    /* A distance beyond float32 is an error, or Inf when allowed. */
    nf_matrix wide = nf_matrix_f32(big, 2, 1);
    assert_fails(context, nf_knn(context, NULL, wide, wide, 1, 1, index, NULL), NF_ERR_RANGE,
                 "float32");
    for (int i = 0; i < 6; i++) assert_int_equal(index[i], -7);
    options = nf_distance_defaults();
    options.allow_nonfinite = 1;
    assert_ok(context, nf_knn(context, &options, wide, wide, 1, 1, index, NULL));
    assert_true(index[0] == 1 && index[1] == 0);
    nf_context_free(context);
}

static int stop_at_once(void *user, uint64_t done, uint64_t total) {
    *(uint64_t *)user = total;
    assert_true(done <= total);
    return 1;
}

static void a_cancelled_call_writes_nothing(void **state) {
    (void)state;
    size_t n = 12000, d = 16;
    float *x = malloc(n * d * sizeof *x);
    test_random_f32(1, x, n * d, -1, 1);
    int64_t *index = malloc(n * sizeof *index);
    for (size_t i = 0; i < n; i++) index[i] = -7;
    uint64_t total = 0;
    nf_context *context = test_context(2);
    nf_context_set_progress(context, stop_at_once, &total);
    assert_fails(
        context,
        nf_knn(context, NULL, nf_matrix_f32(x, n, d), nf_matrix_f32(x, n, d), 1, 1, index, NULL),
        NF_ERR_CANCELLED, "cancelled");
    assert_true(total == n * n);
    for (size_t i = 0; i < n; i++) assert_int_equal(index[i], -7);
    nf_context_free(context);
    free(x), free(index);
}

/* 12,000 rows: the matrix would be 576 MB. */
static void memory_is_bounded(void **state) {
    (void)state;
    size_t n = 12000, d = 4, k = 2;
    float *x = malloc(n * d * sizeof *x);
    test_random_f32(1, x, n * d, -1, 1);
    int64_t *index = malloc(n * k * sizeof *index);
    test_allocator allocator;
    test_allocator_init(&allocator);
    nf_context_options options = {.allocator = &allocator.hooks, .threads = 2};
    nf_context *context;
    assert_int_equal(nf_context_create(&context, &options, NULL), NF_OK);
    assert_ok(context, nf_knn(context, NULL, nf_matrix_f32(x, n, d), nf_matrix_f32(x, n, d), k, 1,
                              index, NULL));
    nf_context_free(context);
    assert_true(allocator.peak_bytes < (size_t)12 << 20);
    assert_int_equal(allocator.live, 0);
    free(x), free(index);
}

typedef struct memory_case {
    float x[300 * 3];
    struct {
        int64_t index[300 * 4];
        float distance[300 * 4];
    } out;
} memory_case;

static nf_status knn_body(nf_context *context, void *user) {
    memory_case *c = user;
    nf_distance_options options = nf_distance_defaults();
    options.metric = NF_COSINE;
    nf_matrix x = nf_matrix_f32(c->x, 300, 3);
    return nf_knn(context, &options, x, x, 4, 1, c->out.index, c->out.distance);
}

static void out_of_memory_is_clean(void **state) {
    (void)state;
    static memory_case c;
    test_random_f32(1, c.x, 300 * 3, -1, 1);
    assert_true(test_fail_every_allocation(2, knn_body, &c, &c.out, sizeof c.out) >= 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_match_a_full_sort),
        cmocka_unit_test(many_references_are_cut_without_trace),
        cmocka_unit_test(results_do_not_depend_on_threads),
        cmocka_unit_test(nan_comes_last),
        cmocka_unit_test(small_shapes),
        cmocka_unit_test(bad_arguments_are_named),
        cmocka_unit_test(a_cancelled_call_writes_nothing),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(out_of_memory_is_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
