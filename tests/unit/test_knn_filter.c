/* Nearest neighbours where bounds from a few directions leave out most pairs: nothing that belongs
 * to the result may be lost, whatever the data. */
#include "probe.h"
#include "support.h"

#include <math.h>
#include <stdbool.h>

#include "base/random.h"
#include "distance/basis.h"
#include "distance/filter.h"
#include "distance/order.h"
#include "distance/search.h"

/* Rows on a surface of few dimensions, with a little noise in all of them: what the filter is for. */
static void surface(uint64_t seed, double *x, size_t n, size_t d, double noise, double offset) {
    enum { INNER = 6 };
    double *mix = malloc(d * INNER * sizeof *mix);
    for (size_t c = 0; c < d * INNER; c++) mix[c] = nf_random_unit(77, 2, c) - 0.5;
    for (size_t r = 0; r < n; r++) {
        double inner[INNER];
        for (size_t i = 0; i < INNER; i++) {
            inner[i] = nf_random_unit(seed, 1, r * INNER + i) - 0.5;
        }
        for (size_t k = 0; k < d; k++) {
            double value = 0;
            for (size_t i = 0; i < INNER; i++) value += inner[i] * mix[k * INNER + i];
            x[r * d + k] = value + noise * (nf_random_unit(seed, 3, r * d + k) - 0.5) + offset;
        }
    }
    free(mix);
}

typedef struct found {
    double distance;
    int64_t index;
} found;

static int nearest_first(const void *pa, const void *pb) {
    const found *a = pa, *b = pb;
    if (a->distance != b->distance) return a->distance < b->distance ? -1 : 1;
    return a->index < b->index ? -1 : 1;
}

typedef struct problem {
    nf_distance_options options;
    nf_matrix query, reference;
    size_t k;
    int exclude_self;
} problem;

static bool filter_is_used(nf_context *context, const problem *p) {
    nf_distance_job job;
    nf_filter filter;
    bool pays = false;
    nf_scope scope = nf_scope_enter(context);
    nf_status status = nf_distance_prepare(context, &p->options, p->query, p->reference, &job);
    if (status == NF_OK) status = nf_filter_begin(context, &filter, &job, p->k, &pays);
    assert_ok(context, nf_scope_leave(context, scope, status));
    return pays;
}

/* The result of the call and that of sorting rows of the full matrix: every fifth one. */
static void check_knn(nf_context *context, const problem *p) {
    const size_t n = p->query.rows, m = p->reference.rows, k = p->k;
    const size_t size = nf_type_size(p->query.type);
    int64_t *index = malloc(n * k * sizeof *index);
    char *distance = malloc(n * k * size), *full = malloc(n * m * size);
    found *all = malloc(m * sizeof *all);
    assert_ok(context, nf_distances_full(context, &p->options, p->query, p->reference,
                                         (nf_matrix_out){full, p->query.type, n, m, m}));
    assert_ok(context, nf_knn(context, &p->options, p->query, p->reference, k, p->exclude_self,
                              index, distance));
    for (size_t i = p->k % 5; i < n; i += 5) {
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
            assert_memory_equal(distance + (i * k + r) * size,
                                full + (i * m + (size_t)all[r].index) * size, size);
        }
    }
    free(index), free(distance), free(full), free(all);
}

#define ROWS 1500
#define OTHERS 2000

typedef struct data {
    double x[OTHERS * 225];
    float f[OTHERS * 225];
    double y[ROWS * 225];
    float g[ROWS * 225];
} data;

static void nothing_is_lost(void **state) {
    (void)state;
    nf_context *contexts[2] = {test_context(1), test_context(3)};
    data *all = malloc(sizeof *all);
    const size_t dims[] = {160, 161, 192, 224};
    const nf_metric metrics[] = {NF_EUCLIDEAN, NF_SQEUCLIDEAN, NF_COSINE};
    size_t used = 0;
    for (uint64_t seed = 0; seed < 18; seed++) {
        problem p = {.options = nf_distance_defaults()};
        const size_t d = dims[seed % 4], ld = d + seed % 2;
        const bool self = seed % 3 == 0;
        const double noise = seed % 5 == 4 ? 1e-7 : 1e-2, offset = seed % 4 == 1 ? 50 : 0;
        surface(seed, all->x, OTHERS, ld, noise, offset);
        surface(seed + 100, all->y, ROWS, ld, noise, offset);
        if (seed % 6 >= 4) { /* copies of rows, zero rows: ties everywhere */
            for (size_t r = 0; r < OTHERS; r++) {
                memcpy(all->x + r * ld, all->x + r / 3 * 3 * ld, ld * sizeof(double));
                if (r % 50 == 7) memset(all->x + r * ld, 0, ld * sizeof(double));
            }
        }
        for (size_t c = 0; c < OTHERS * ld; c++) all->f[c] = (float)all->x[c];
        for (size_t c = 0; c < ROWS * ld; c++) all->g[c] = (float)all->y[c];
        p.options.metric = metrics[seed / 2 % 3];
        p.options.normalize = seed % 8 == 7;
        nf_type type = seed % 7 == 3 ? NF_FLOAT64 : NF_FLOAT32;
        const void *x = type == NF_FLOAT32 ? (const void *)all->f : all->x;
        const void *y = type == NF_FLOAT32 ? (const void *)all->g : all->y;
        p.reference = (nf_matrix){x, type, OTHERS, d, ld};
        p.query = self ? p.reference : (nf_matrix){y, type, ROWS, d, ld};
        p.exclude_self = self && seed % 2 == 1;
        const size_t wanted[] = {1, 7, 30, 200};
        p.k = wanted[seed / 3 % 4];
        used += filter_is_used(contexts[seed % 2], &p);
        check_knn(contexts[seed % 2], &p);
    }
    assert_true(used >= 9); /* else nothing has been tested here */
    free(all);
    nf_context_free(contexts[0]), nf_context_free(contexts[1]);
}

/* All threads and instruction sets find the same; the filter is used. */
static void the_same_bits_everywhere(void **state) {
    (void)state;
    const size_t n = 3000, d = 128, k = 20;
    double *wide = malloc(n * d * sizeof *wide);
    float *x = malloc(n * d * sizeof *x);
    surface(5, wide, n, d, 0.05, 3);
    for (size_t c = 0; c < n * d; c++) x[c] = (float)wide[c];
    int64_t *index = malloc(n * k * sizeof *index);
    float *distance = malloc(n * k * sizeof *distance);
    nf_isa isas[4];
    const size_t count = probe_isas(isas);
    const int threads[] = {1, 2, 3, 7};
    uint64_t first = 0;
    for (size_t run = 0; run < count + 4; run++) {
        nf_context *context =
            run < count ? test_context_isa(2, isas[run]) : test_context(threads[run - count]);
        problem p = {nf_distance_defaults(), nf_matrix_f32(x, n, d), nf_matrix_f32(x, n, d), k, 1};
        assert_true(filter_is_used(context, &p));
        assert_ok(context, nf_knn(context, NULL, p.query, p.reference, k, 1, index, distance));
        uint64_t hash = probe_hash(PROBE_HASH, index, n * k * sizeof *index);
        hash = probe_hash(hash, distance, n * k * sizeof *distance);
        if (run == 0) first = hash;
        assert_true(hash == first);
        nf_context_free(context);
    }
    free(wide), free(x), free(index), free(distance);
}

/* Little memory for images: queries in many parts, references in many chunks. */
static void parts_and_chunks_leave_no_trace(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    const size_t n = 1900, d = 192, k = 9;
    double *wide = malloc(n * d * sizeof *wide);
    float *x = malloc(n * d * sizeof *x);
    surface(15, wide, n, d, 0.01, 0);
    for (size_t c = 0; c < n * d; c++) x[c] = (float)wide[c];
    int64_t *want = malloc(n * k * sizeof *want), *index = malloc(n * k * sizeof *index);
    for (int metric = 0; metric < 3; metric++) {
        nf_distance_options options = nf_distance_defaults();
        options.metric = (nf_metric)metric;
        problem p = {options, nf_matrix_f32(x, n, d), nf_matrix_f32(x, n, d), k, 1};
        assert_true(filter_is_used(context, &p));
        assert_ok(context, nf_knn(context, &options, p.query, p.reference, k, 1, want, NULL));
        for (size_t kilobytes = 1; kilobytes < 600; kilobytes *= 5) {
            nf_distance_job job;
            nf_nearest nearest;
            nf_scope scope = nf_scope_enter(context);
            assert_ok(context, nf_distance_prepare(context, &options, p.query, p.reference, &job));
            assert_ok(context, nf_nearest_begin(context, &nearest, NF_FLOAT32, n, k, n));
            assert_ok(context, nf_search_run(context, &job, true, kilobytes << 10, &nearest));
            nf_nearest_write(&nearest, index, NULL);
            assert_ok(context, nf_scope_leave(context, scope, NF_OK));
            assert_memory_equal(index, want, n * k * sizeof *index);
        }
    }
    free(wide), free(x), free(want), free(index);
    nf_context_free(context);
}

/* Noise in all directions has no few that matter; the answer is as right without a filter. */
static void noise_is_not_filtered(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    const size_t n = 1200, d = 100;
    float *x = malloc(n * d * sizeof *x);
    test_random_f32(9, x, n * d, -1, 1);
    problem p = {nf_distance_defaults(), nf_matrix_f32(x, n, d), nf_matrix_f32(x, n, d), 5, 1};
    assert_false(filter_is_used(context, &p));
    check_knn(context, &p);
    free(x);
    nf_context_free(context);
}

/* |image a - image b| is at most |a - b| and what is said about rounding. */
static void images_are_no_farther_apart(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const size_t n = 2500, d = 260;
    double *x = malloc(n * d * sizeof *x);
    float *f = malloc(n * d * sizeof *f);
    const double offsets[] = {0, 1000};
    for (int run = 0; run < 2; run++) {
        surface(8 + (uint64_t)run, x, n, d, run == 0 ? 0.1 : 1e-4, offsets[run]);
        for (size_t c = 0; c < n * d; c++) f[c] = (float)x[c];
        nf_matrix matrix = nf_matrix_f32(f, n, d);
        nf_distance_options options = nf_distance_defaults();
        nf_scope scope = nf_scope_enter(context);
        nf_distance_job job;
        nf_filter filter;
        bool pays;
        assert_ok(context, nf_distance_prepare(context, &options, matrix, matrix, &job));
        assert_ok(context, nf_filter_begin(context, &filter, &job, 5, &pays));
        assert_true(pays);
        nf_images images = {malloc(n * filter.coarse_ld * sizeof(float)),
                            malloc(n * filter.fine_ld * sizeof(float)),
                            malloc(n * 2 * sizeof(float))};
        nf_filter_project(&filter, &job.x, 0, n, images, 0);
        const size_t ld[2] = {filter.coarse_ld, filter.fine_ld};
        const float *image[2] = {images.coarse, images.fine};
        for (size_t p = 0; p < 20000; p++) {
            size_t i = (size_t)nf_random_below(1, 1, p, n), j = (size_t)nf_random_below(1, 2, p, n);
            double distance2 = 0;
            for (size_t k = 0; k < d; k++) {
                double difference = (double)f[i * d + k] - (double)f[j * d + k];
                distance2 += difference * difference;
            }
            for (int side = 0; side < 2; side++) {
                double apart2 = 0;
                for (size_t k = 0; k < ld[side]; k++) {
                    double difference = (double)image[side][i * ld[side] + k] -
                                        (double)image[side][j * ld[side] + k];
                    apart2 += difference * difference;
                }
                double slack = (double)images.slack[2 * i + (size_t)side] +
                               (double)images.slack[2 * j + (size_t)side];
                assert_true(sqrt(apart2) <= sqrt(distance2) * (1 + 1e-12) + slack);
                /* and the bound is of use: rounding takes little of it away */
                assert_true(slack < 1e-2 * sqrt((double)filter.d));
            }
        }
        free(images.coarse), free(images.fine), free(images.slack);
        assert_ok(context, nf_scope_leave(context, scope, NF_OK));
    }
    free(x), free(f);
    nf_context_free(context);
}

static void a_basis_makes_nothing_longer(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    const size_t rows = 300, d = 40, ld = 48, count = 31;
    float sample[300 * 48] = {0}, basis[31 * 48];
    for (int run = 0; run < 3; run++) { /* full rank, three directions, none */
        for (size_t r = 0; r < rows; r++) {
            for (size_t k = 0; k < d; k++) {
                double value = 0;
                for (size_t i = 0; i < 3; i++) {
                    value += nf_random_unit(3, 1, r * 3 + i) * nf_random_unit(3, 2, k * 3 + i);
                }
                if (run == 0) value = nf_random_unit(3, 3, r * d + k);
                sample[r * ld + k] = run == 2 ? 0 : (float)value - 0.5F;
            }
        }
        nf_scope scope = nf_scope_enter(context);
        assert_ok(context, nf_basis_make(context, sample, rows, d, ld, count, basis));
        assert_ok(context, nf_scope_leave(context, scope, NF_OK));
        double kept = 0, all = 0;
        for (size_t r = 0; r < rows + d; r++) { /* the sample's rows, and single coordinates */
            double before = 0, after = 0, v[40];
            for (size_t k = 0; k < d; k++) {
                v[k] = r < rows ? (double)sample[r * ld + k] : (double)(k == r - rows);
                before += v[k] * v[k];
            }
            for (size_t b = 0; b < count; b++) {
                double product = 0;
                for (size_t k = 0; k < d; k++) product += (double)basis[b * ld + k] * v[k];
                after += product * product;
            }
            assert_true(after <= before);
            if (r < rows) kept += after, all += before;
        }
        if (run == 0) assert_true(kept > 0.75 * all);
        if (run == 1) assert_true(kept > 0.999 * all);
    }
    nf_context_free(context);
}

static void an_order_is_a_permutation_of_near_points(void **state) {
    (void)state;
    float point[1000 * 3];
    size_t order[1000];
    const size_t counts[] = {0, 1, 5, 16, 17, 999, 1000};
    for (int same = 0; same < 2; same++) {
        test_random_f32(4, point, 3000, 0, same ? 0 : 1);
        for (size_t c = 0; c < 7; c++) {
            bool seen[1000] = {0};
            nf_order_points(point, 3, 3, counts[c], 16, order);
            for (size_t p = 0; p < counts[c]; p++) {
                assert_true(order[p] < counts[c] && !seen[order[p]]);
                seen[order[p]] = true;
            }
        }
        double near = 0, far = 0; /* neighbours in the order, and in the array */
        for (size_t p = 0; p + 1 < 1000; p++) {
            for (size_t k = 0; k < 3; k++) {
                near += fabs((double)point[order[p] * 3 + k] - (double)point[order[p + 1] * 3 + k]);
                far += fabs((double)point[p * 3 + k] - (double)point[(p + 1) * 3 + k]);
            }
        }
        assert_true(same || near < 0.6 * far);
    }
}

/* 12,000 rows: their matrix of distances would be 576 MB. */
static void memory_is_bounded(void **state) {
    (void)state;
    const size_t n = 12000, d = 128, k = 2;
    double *wide = malloc(n * d * sizeof *wide);
    float *x = malloc(n * d * sizeof *x);
    surface(6, wide, n, d, 0.02, 0);
    for (size_t c = 0; c < n * d; c++) x[c] = (float)wide[c];
    int64_t *index = malloc(n * k * sizeof *index);
    test_allocator allocator;
    test_allocator_init(&allocator);
    nf_context_options options = {.allocator = &allocator.hooks, .threads = 2};
    nf_context *context;
    assert_int_equal(nf_context_create(&context, &options, NULL), NF_OK);
    problem p = {nf_distance_defaults(), nf_matrix_f32(x, n, d), nf_matrix_f32(x, n, d), k, 1};
    assert_true(filter_is_used(context, &p));
    assert_ok(context, nf_knn(context, NULL, p.query, p.reference, k, 1, index, NULL));
    nf_context_free(context);
    assert_true(allocator.peak_bytes < (size_t)12 << 20);
    assert_int_equal(allocator.live, 0);
    free(wide), free(x), free(index);
}

typedef struct memory_case {
    float x[1600 * 160];
    struct {
        int64_t index[1600 * 4];
        float distance[1600 * 4];
    } out;
} memory_case;

static nf_status knn_body(nf_context *context, void *user) {
    memory_case *c = user;
    nf_distance_options options = nf_distance_defaults();
    options.metric = NF_COSINE;
    nf_matrix x = nf_matrix_f32(c->x, 1600, 160);
    return nf_knn(context, &options, x, x, 4, 1, c->out.index, c->out.distance);
}

static void out_of_memory_is_clean(void **state) {
    (void)state;
    static memory_case c;
    static double wide[1600 * 160];
    surface(2, wide, 1600, 160, 0.01, 0.1);
    for (size_t i = 0; i < 1600 * 160; i++) c.x[i] = (float)wide[i];
    nf_context *context = test_context(2);
    problem p = {nf_distance_defaults(), nf_matrix_f32(c.x, 1600, 160),
                 nf_matrix_f32(c.x, 1600, 160), 4, 1};
    p.options.metric = NF_COSINE;
    assert_true(filter_is_used(context, &p));
    nf_context_free(context);
    assert_true(test_fail_every_allocation(2, knn_body, &c, &c.out, sizeof c.out) >= 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost),
        cmocka_unit_test(the_same_bits_everywhere),
        cmocka_unit_test(parts_and_chunks_leave_no_trace),
        cmocka_unit_test(noise_is_not_filtered),
        cmocka_unit_test(images_are_no_farther_apart),
        cmocka_unit_test(a_basis_makes_nothing_longer),
        cmocka_unit_test(an_order_is_a_permutation_of_near_points),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(out_of_memory_is_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
