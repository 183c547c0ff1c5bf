/* All pairs as blocks and arrays, checks of pair lists, gathering of rows. */
#include "support.h"

#include <math.h>
#include <stdbool.h>

#include "base/random.h"

static nf_partition *partition_of(nf_context *context, const int64_t *data, size_t n) {
    nf_partition *partition;
    assert_ok(context, nf_partition_create(context, (nf_labels){data, n, 1}, &partition));
    return partition;
}

/* Compares a visit with the double loop over rows. */
typedef struct expectation {
    const int64_t *labels;
    size_t n;
    nf_pair_kind kind;
    size_t i, j; /* where the double loop is */
    uint64_t seen;
    int stop_after; /* blocks; 0: never */
    int blocks;
} expectation;

static bool advance(expectation *e) {
    for (;;) {
        if (++e->j >= e->n) {
            e->i++;
            e->j = e->i + 1;
        }
        if (e->i + 1 >= e->n) return false;
        if (e->labels[e->i] == -1 || e->labels[e->j] == -1) continue;
        bool same = e->labels[e->i] == e->labels[e->j];
        if (e->kind & (same ? NF_PAIRS_POSITIVE : NF_PAIRS_NEGATIVE)) return true;
    }
}

static int compare_block(void *user, size_t count, const int64_t *i, const int64_t *j,
                         const uint8_t *same) {
    expectation *e = user;
    assert_true(count > 0);
    for (size_t p = 0; p < count; p++) {
        assert_true(advance(e));
        assert_int_equal(i[p], e->i);
        assert_int_equal(j[p], e->j);
        assert_int_equal(same[p], e->labels[e->i] == e->labels[e->j]);
        e->seen++;
    }
    return ++e->blocks == e->stop_after ? 42 : 0;
}

static const nf_pair_kind kinds[] = {NF_PAIRS_POSITIVE, NF_PAIRS_NEGATIVE, NF_PAIRS_BOTH};

static uint64_t pairs_of_kind(const nf_partition *p, nf_pair_kind kind) {
    return (kind & NF_PAIRS_POSITIVE ? p->positive_pairs : 0) +
           (kind & NF_PAIRS_NEGATIVE ? p->negative_pairs : 0);
}

static void check_all_pairs(nf_context *context, const int64_t *labels, size_t n) {
    nf_partition *p = partition_of(context, labels, n);
    for (size_t k = 0; k < 3; k++) {
        expectation e = {labels, n, kinds[k], 0, 0, 0, 0, 0};
        assert_ok(context, nf_pairs_visit(context, p, kinds[k], compare_block, &e));
        assert_false(advance(&e));
        size_t total = (size_t)pairs_of_kind(p, kinds[k]);
        assert_int_equal(e.seen, total);
        int64_t *i = malloc((total + 1) * sizeof *i), *j = malloc((total + 1) * sizeof *j);
        uint8_t *same = malloc(total + 1);
        assert_ok(context, nf_pairs_list(context, p, kinds[k], total, i, j, same));
        e = (expectation){labels, n, kinds[k], 0, 0, 0, 0, 0};
        if (total > 0) compare_block(&e, total, i, j, same);
        assert_ok(context, nf_pairs_list(context, p, kinds[k], total + 1, i, j, NULL));
        assert_ok(context, nf_pairs_check(context, (nf_pairs){total, i, j, same, NULL}, n));
        if (total > 0) {
            i[0] = j[0] = -7;
            assert_fails(context, nf_pairs_list(context, p, kinds[k], total - 1, i, j, same),
                         NF_ERR_RANGE, "capacity");
            assert_fails(context, nf_pairs_list(context, p, kinds[k], total, NULL, j, same),
                         NF_ERR_ARG, "i is NULL");
            assert_true(i[0] == -7 && j[0] == -7);
        } else {
            assert_ok(context, nf_pairs_list(context, p, kinds[k], 0, NULL, NULL, NULL));
        }
        free(i), free(j), free(same);
    }
    nf_partition_free(context, p);
}

static void pairs_match_the_double_loop(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    int64_t labels[250];
    for (uint64_t seed = 0; seed < 60; seed++) {
        size_t n = seed < 12 ? (size_t)seed / 3 : (size_t)nf_random_below(seed, 1, 0, 251);
        /* 5 for ordinary sets, 0 for one class with unlabelled rows, n for mostly singletons */
        int64_t top = seed % 3 == 0 ? 5 : seed % 3 == 1 ? 0 : (int64_t)n + 3;
        test_random_labels(seed, labels, n, -1, top);
        for (size_t r = 0; r < n; r++) labels[r] *= labels[r] == -1 ? 1 : 10;
        check_all_pairs(context, labels, n);
    }
    const int64_t runs[] = {2, 2, 2, -1, 2, 2, 3, 2, -1, 2, 2}; /* one lone negative */
    check_all_pairs(context, runs, 11);
    nf_context_free(context);
}

static int count_block(void *user, size_t count, const int64_t *i, const int64_t *j,
                       const uint8_t *same) {
    (void)i, (void)j, (void)same;
    *(uint64_t *)user += count;
    return 0;
}

/* 10^6 rows of one class and two others: as quick as the pairs are few. */
static void visiting_few_negatives_is_quick(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    size_t n = 1000002;
    int64_t *labels = calloc(n, sizeof *labels);
    labels[n - 1] = 1, labels[0] = 1;
    nf_partition *p = partition_of(context, labels, n);
    uint64_t seen = 0;
    assert_ok(context, nf_pairs_visit(context, p, NF_PAIRS_NEGATIVE, count_block, &seen));
    assert_true(seen == 2000000 && seen == p->negative_pairs);
    nf_partition_free(context, p);
    free(labels);
    nf_context_free(context);
}

static int cancel_after(void *user, uint64_t done, uint64_t total) {
    assert_true(done <= total);
    return ++*(int *)user > 1;
}

static void a_visit_can_be_stopped(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    size_t n = 20000;
    int64_t *labels = calloc(n, sizeof *labels);
    nf_partition *p = partition_of(context, labels, n);
    expectation e = {labels, n, NF_PAIRS_BOTH, 0, 0, 0, 3, 0};
    assert_fails(context, nf_pairs_visit(context, p, NF_PAIRS_BOTH, compare_block, &e),
                 NF_ERR_CALLBACK, "42");
    assert_int_equal(e.blocks, 3);
    int polls = 0;
    uint64_t seen = 0;
    nf_context_set_progress(context, cancel_after, &polls);
    assert_fails(context, nf_pairs_visit(context, p, NF_PAIRS_POSITIVE, count_block, &seen),
                 NF_ERR_CANCELLED, "progress");
    assert_true(seen > 0 && seen < p->positive_pairs);
    assert_fails(context, nf_pairs_visit(context, p, (nf_pair_kind)4, count_block, &seen),
                 NF_ERR_ARG, "kind");
    nf_partition_free(context, p);
    free(labels);
    nf_context_free(context);
}

/* L7 */
static void bad_pairs_are_named_with_their_position(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    int64_t i[] = {0, 2, 1, 1}, j[] = {1, 0, 3, 3};
    uint8_t same[] = {1, 0, 1, 1};
    double weight[] = {1, 0, 2.5, 1};
    nf_pairs pairs = {4, i, j, same, weight};
    assert_ok(context, nf_pairs_check(context, pairs, 4)); /* (2, 0) and a duplicate are fine */
    assert_fails(context, nf_pairs_check(context, pairs, 3), NF_ERR_ARG, "j[2] is 3");
    i[1] = -1;
    assert_fails(context, nf_pairs_check(context, pairs, 4), NF_ERR_ARG, "i[1] is -1");
    i[1] = INT64_MAX;
    assert_fails(context, nf_pairs_check(context, pairs, 4), NF_ERR_ARG, "i[1]");
    i[1] = 0;
    assert_fails(context, nf_pairs_check(context, pairs, 4), NF_ERR_ARG, "(0, 0)");
    i[1] = 2, same[3] = 2;
    assert_fails(context, nf_pairs_check(context, pairs, 4), NF_ERR_ARG, "same[3] is 2");
    same[3] = 0;
    const double bad[] = {-1e-300, (double)NAN, (double)INFINITY, -(double)INFINITY};
    for (size_t b = 0; b < 4; b++) {
        weight[2] = bad[b];
        assert_fails(context, nf_pairs_check(context, pairs, 4), NF_ERR_ARG, "weight[2]");
    }
    pairs.weight = NULL;
    assert_ok(context, nf_pairs_check(context, pairs, 4));
    pairs.same = NULL;
    assert_fails(context, nf_pairs_check(context, pairs, 4), NF_ERR_ARG, "same is NULL");
    assert_ok(context, nf_pairs_check(context, (nf_pairs){0, NULL, NULL, NULL, NULL}, 0));
    nf_context_free(context);
}

static void rows_are_gathered(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    for (size_t d = 0; d <= 17; d += d == 3 ? 12 : 1) {
        size_t ld = d + 2;
        double x[7 * 19], out[5 * 20];
        float xf[7 * 19], outf[5 * 20];
        test_random_f64(d, x, 7 * 19, -1, 1);
        test_random_f32(d, xf, 7 * 19, -1, 1);
        const int64_t index[5] = {6, 0, 3, 3, 5};
        nf_matrix m = {x, NF_FLOAT64, 7, d, ld}, mf = {xf, NF_FLOAT32, 7, d, ld};
        nf_matrix_out o = {out, NF_FLOAT64, 5, d, d + 3}, of = {outf, NF_FLOAT32, 5, d, d + 3};
        memset(out, 0x5A, sizeof out);
        memset(outf, 0x5A, sizeof outf);
        assert_ok(context, nf_rows_gather(context, m, index, 5, o));
        assert_ok(context, nf_rows_gather(context, mf, index, 5, of));
        for (size_t p = 0; p < 5; p++) {
            size_t r = (size_t)index[p];
            assert_memory_equal(out + p * (d + 3), x + r * ld, d * sizeof *x);
            assert_memory_equal(outf + p * (d + 3), xf + r * ld, d * sizeof *xf);
            for (size_t c = d; c < d + 3; c++) { /* the gap between rows is the caller's */
                assert_true(((unsigned char *)&out[p * (d + 3) + c])[0] == 0x5A);
            }
        }
        assert_ok(context,
                  nf_rows_gather(context, m, NULL, 0, (nf_matrix_out){NULL, NF_FLOAT64, 0, d, d}));
    }
    double x[6] = {0}, out[6];
    int64_t index[3] = {1, 2, 0};
    nf_matrix m = nf_matrix_f64(x, 2, 3);
    nf_matrix_out o = nf_matrix_out_f64(out, 3, 2);
    assert_fails(context, nf_rows_gather(context, m, index, 3, o), NF_ERR_ARG, "out is 3 x 2");
    double big[9];
    o = nf_matrix_out_f64(big, 3, 3);
    assert_fails(context, nf_rows_gather(context, m, index, 3, o), NF_ERR_ARG, "index[1] is 2");
    index[1] = -1;
    assert_fails(context, nf_rows_gather(context, m, index, 3, o), NF_ERR_ARG, "index[1] is -1");
    assert_fails(context, nf_rows_gather(context, m, NULL, 3, o), NF_ERR_ARG, "index is NULL");
    o = nf_matrix_out_f64(x, 2, 3);
    assert_fails(context, nf_rows_gather(context, m, index, 2, o), NF_ERR_ARG, "overlaps");
    nf_context_free(context);
}

typedef struct memory_case {
    int64_t labels[60];
    struct {
        int64_t i[2000], j[2000];
        uint8_t same[2000];
        uint64_t seen;
    } out;
} memory_case;

static nf_status visit_body(nf_context *context, void *user) {
    memory_case *c = user;
    nf_partition *p;
    nf_status status = nf_partition_create(context, (nf_labels){c->labels, 60, 1}, &p);
    if (status != NF_OK) return status;
    uint64_t seen = 0;
    static const nf_pair_kind order[] = {NF_PAIRS_POSITIVE, NF_PAIRS_NEGATIVE, NF_PAIRS_BOTH};
    for (int k = 0; k < 3 && status == NF_OK; k++) {
        status = nf_pairs_visit(context, p, order[k], count_block, &seen);
    }
    nf_partition_free(context, p);
    if (status == NF_OK) c->out.seen = seen;
    return status;
}

static nf_status list_body(nf_context *context, void *user) {
    memory_case *c = user;
    nf_partition *p;
    nf_status status = nf_partition_create(context, (nf_labels){c->labels, 60, 1}, &p);
    if (status != NF_OK) return status;
    status = nf_pairs_list(context, p, NF_PAIRS_BOTH, 2000, c->out.i, c->out.j, c->out.same);
    nf_partition_free(context, p);
    return status;
}

static void out_of_memory_is_clean(void **state) {
    (void)state;
    static memory_case c;
    test_random_labels(5, c.labels, 60, -1, 6);
    assert_true(test_fail_every_allocation(1, visit_body, &c, &c.out.seen, sizeof c.out.seen) >=
                12);
    assert_true(test_fail_every_allocation(1, list_body, &c, &c.out, sizeof c.out) >= 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_match_the_double_loop),
        cmocka_unit_test(visiting_few_negatives_is_quick),
        cmocka_unit_test(a_visit_can_be_stopped),
        cmocka_unit_test(bad_pairs_are_named_with_their_position),
        cmocka_unit_test(rows_are_gathered),
        cmocka_unit_test(out_of_memory_is_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
