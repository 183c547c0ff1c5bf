/* Partition of labels into classes: order, counts, unlabelled rows, degenerate sizes. */
#include "support.h"

#include "base/random.h"

static nf_labels labels_of(const int64_t *data, size_t n, int has_unlabelled) {
    return (nf_labels){data, n, has_unlabelled};
}

static nf_partition *partition_of(nf_context *context, const int64_t *data, size_t n,
                                  int has_unlabelled) {
    nf_partition *partition;
    assert_ok(context,
              nf_partition_create(context, labels_of(data, n, has_unlabelled), &partition));
    return partition;
}

/* Every field against a quadratic recount. */
static void check_partition(const nf_partition *p, const int64_t *data, size_t n, int unlabelled) {
    size_t labelled = 0, classes = 0, singletons = 0;
    uint64_t positive = 0, negative = 0;
    assert_int_equal(p->n, n);
    for (size_t r = 0; r < n; r++) {
        if (unlabelled && data[r] == -1) {
            assert_int_equal(p->class_of[r], -1);
            continue;
        }
        size_t earlier = 0, total = 0;
        for (size_t q = 0; q < n; q++) {
            if (data[q] == data[r]) earlier += q < r, total++;
            if (q > r && !(unlabelled && data[q] == -1)) {
                positive += data[q] == data[r];
                negative += data[q] != data[r];
            }
        }
        labelled++;
        if (earlier == 0) { /* a new class, numbered by first appearance */
            assert_int_equal(p->class_of[r], classes);
            assert_int_equal(p->label[classes], data[r]);
            assert_int_equal(p->offset[classes + 1] - p->offset[classes], total);
            singletons += total == 1;
            classes++;
        }
        size_t c = (size_t)p->class_of[r];
        assert_int_equal(p->label[c], data[r]);
        assert_int_equal(p->row[p->offset[c] + earlier], r); /* members ascend */
    }
    assert_int_equal(p->labelled, labelled);
    assert_int_equal(p->classes, classes);
    assert_int_equal(p->singletons, singletons);
    assert_int_equal(p->offset[0], 0);
    assert_int_equal(p->offset[classes], labelled);
    assert_true(p->positive_pairs == positive);
    assert_true(p->negative_pairs == negative);
}

static void random_labels_match_a_recount(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    int64_t data[300];
    for (uint64_t seed = 0; seed < 200; seed++) {
        size_t n = (size_t)nf_random_below(seed, 1, 0, 301);
        int64_t range = (int64_t)nf_random_below(seed, 1, 1, 400);
        test_random_labels(seed, data, n, -1, range);
        for (int unlabelled = 0; unlabelled < 2; unlabelled++) {
            nf_partition *p;
            nf_labels labels = labels_of(data, n, unlabelled);
            nf_status status = nf_partition_create(context, labels, &p);
            if (status == NF_ERR_DATA) { /* a tiny list of -1 and 1 only */
                assert_true(unlabelled);
                for (size_t r = 0; r < n; r++) assert_true(data[r] == -1 || data[r] == 1);
                continue;
            }
            assert_ok(context, status);
            check_partition(p, data, n, unlabelled);
            nf_partition_free(context, p);
        }
    }
    nf_context_free(context);
}

static void extreme_label_values_are_classes(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const int64_t data[] = {INT64_MIN, 9007199254740992, 9007199254740993, INT64_MAX, -128,
                            255,       INT64_MIN,        9007199254740993, 0,         -1,
                            INT64_MAX};
    nf_partition *p = partition_of(context, data, 11, 0);
    check_partition(p, data, 11, 0);
    assert_int_equal(p->classes, 8);
    nf_partition_free(context, p);
    nf_context_free(context);
}

/* L1: N = 0, 1, 2, 5 rows of one class. L2: all labels distinct, and singletons mixed in. */
static void degenerate_classes(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const int64_t same[5] = {7, 7, 7, 7, 7}, distinct[5] = {4, 3, 2, 1, 0}, mixed[4] = {0, 1, 1, 3};
    const size_t sizes[] = {0, 1, 2, 5};
    for (size_t s = 0; s < 4; s++) {
        size_t n = sizes[s];
        nf_partition *p = partition_of(context, same, n, 1);
        check_partition(p, same, n, 1);
        assert_true(p->negative_pairs == 0 && p->positive_pairs == n * (n - (n > 0)) / 2);
        nf_partition_free(context, p);
        p = partition_of(context, distinct, n, 1);
        check_partition(p, distinct, n, 1);
        assert_true(p->positive_pairs == 0 && p->singletons == n);
        nf_partition_free(context, p);
    }
    nf_partition *p = partition_of(context, mixed, 4, 1);
    check_partition(p, mixed, 4, 1);
    assert_int_equal(p->singletons, 2);
    nf_partition_free(context, p);
    p = partition_of(context, NULL, 0, 1);
    assert_int_equal(p->classes, 0);
    nf_partition_free(context, p);
    nf_partition_free(context, NULL);
    nf_context_free(context);
}

static void binary_labels_do_not_vanish(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const int64_t data[] = {1, -1, -1, 1};
    nf_partition *p = NULL;
    assert_fails(context, nf_partition_create(context, labels_of(data, 4, 1), &p), NF_ERR_DATA,
                 "has_unlabelled");
    assert_null(p);
    p = partition_of(context, data, 4, 0);
    check_partition(p, data, 4, 0);
    assert_int_equal(p->classes, 2);
    nf_partition_free(context, p);
    /* Only one of the two values, or a third class beside them, is not a binary problem. */
    const int64_t all_minus[] = {-1, -1}, all_plus[] = {1, 1}, three[] = {-1, 1, 0};
    p = partition_of(context, all_minus, 2, 1);
    assert_int_equal(p->labelled, 0);
    nf_partition_free(context, p);
    p = partition_of(context, all_plus, 2, 1);
    assert_int_equal(p->classes, 1);
    nf_partition_free(context, p);
    p = partition_of(context, three, 3, 1);
    assert_int_equal(p->labelled, 2);
    nf_partition_free(context, p);
    nf_context_free(context);
}

static void bad_arguments_are_named(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    nf_partition *p = NULL;
    int64_t one = 0;
    assert_fails(context, nf_partition_create(context, labels_of(NULL, 3, 1), &p), NF_ERR_ARG,
                 "labels");
    assert_fails(context, nf_partition_create(context, labels_of(&one, (size_t)1 << 32, 1), &p),
                 NF_ERR_RANGE, "2^32 - 1");
    assert_null(p);
    nf_context_free(context);
}

/* 65,537 rows of one class have more than 2^31 pairs; 10^6 singletons and two members more. */
static void large_counts_are_exact(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    size_t n = 1000002;
    int64_t *data = malloc(n * sizeof *data);
    for (size_t r = 0; r < n; r++) data[r] = 3;
    nf_partition *p = partition_of(context, data, 65537, 1);
    assert_true(p->positive_pairs == 2147516416u && p->negative_pairs == 0);
    nf_partition_free(context, p);
    p = partition_of(context, data, n, 1);
    assert_true(p->positive_pairs == 500001500001u);
    nf_partition_free(context, p);
    /* Labels a multiple of 2^32 apart defeat a hash that looks at low bits only. */
    for (size_t r = 0; r < n; r++) data[r] = (int64_t)((uint64_t)r << 32);
    data[n - 1] = data[0];
    p = partition_of(context, data, n, 1);
    assert_int_equal(p->classes, n - 1);
    assert_int_equal(p->singletons, n - 2);
    assert_true(p->positive_pairs == 1 && p->negative_pairs == 500001500000u);
    nf_partition_free(context, p);
    free(data);
    nf_context_free(context);
}

typedef struct memory_case {
    int64_t labels[200];
    uint64_t out[4];
} memory_case;

static nf_status partition_body(nf_context *context, void *user) {
    memory_case *c = user;
    nf_partition *p;
    nf_status status = nf_partition_create(context, labels_of(c->labels, 200, 1), &p);
    if (status != NF_OK) return status;
    c->out[0] = p->classes;
    c->out[1] = p->labelled;
    c->out[2] = p->positive_pairs;
    c->out[3] = p->negative_pairs;
    nf_partition_free(context, p);
    return NF_OK;
}

static void out_of_memory_is_clean(void **state) {
    (void)state;
    memory_case c;
    test_random_labels(5, c.labels, 200, -1, 80);
    assert_true(test_fail_every_allocation(1, partition_body, &c, c.out, sizeof c.out) >= 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_labels_match_a_recount),
        cmocka_unit_test(extreme_label_values_are_classes),
        cmocka_unit_test(degenerate_classes),
        cmocka_unit_test(binary_labels_do_not_vanish),
        cmocka_unit_test(bad_arguments_are_named),
        cmocka_unit_test(large_counts_are_exact),
        cmocka_unit_test(out_of_memory_is_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
