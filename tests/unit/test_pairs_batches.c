/* Batches of an epoch: every labelled row once, sizes, the dealing of classes, determinism. */
#include "support.h"

#include "base/random.h"

static nf_partition *partition_of(nf_context *context, const int64_t *data, size_t n) {
    nf_partition *partition;
    assert_ok(context, nf_partition_create(context, (nf_labels){data, n, 1}, &partition));
    return partition;
}

static nf_batches *batches_of(nf_context *context, const nf_partition *p, nf_batch_kind kind,
                              size_t size, size_t m, uint64_t epoch) {
    nf_batch_options options = nf_batch_defaults();
    options.kind = kind;
    options.batch_size = size;
    options.per_class = m;
    options.epoch = epoch;
    options.seed = 17;
    nf_batches *batches;
    assert_ok(context, nf_batches_create(context, p, &options, &batches));
    return batches;
}

/* The number of batches by the rule: a last batch shorter than half is folded. */
static size_t expected_batches(size_t rows, size_t size) {
    size_t count = (rows + size - 1) / size, last = rows % size;
    if (last != 0 && 2 * last < size && count > 1) count--;
    return count;
}

static void check_epoch(const nf_batches *b, const nf_partition *p) {
    int *seen = calloc(p->n + 1, sizeof *seen);
    assert_int_equal(b->offset[0], 0);
    assert_int_equal(b->offset[b->batches], p->labelled);
    for (size_t k = 0; k < b->batches; k++) assert_true(b->offset[k] < b->offset[k + 1]);
    for (size_t k = 0; k < p->labelled; k++) seen[b->row[k]]++;
    for (size_t r = 0; r < p->n; r++) assert_int_equal(seen[r], p->class_of[r] >= 0);
    free(seen);
}

/* Rows of each class in each batch: groups of m with at most one smaller, dealt evenly. */
static void check_dealing(const nf_batches *b, const nf_partition *p, size_t m) {
    size_t least = SIZE_MAX, most = 0;
    size_t *in_batch = calloc(b->batches * p->classes + 1, sizeof *in_batch);
    for (size_t k = 0; k < b->batches; k++) {
        size_t size = b->offset[k + 1] - b->offset[k];
        least = size < least ? size : least;
        most = size > most ? size : most;
        for (size_t at = b->offset[k]; at < b->offset[k + 1]; at++) {
            in_batch[k * p->classes + (size_t)p->class_of[b->row[at]]]++;
        }
    }
    if (b->batches > 0) assert_true(most - least <= m);
    for (size_t c = 0; c < p->classes; c++) {
        size_t rows = p->offset[c + 1] - p->offset[c], groups = (rows + m - 1) / m;
        size_t low = groups / b->batches, short_groups = 0;
        for (size_t k = 0; k < b->batches; k++) {
            size_t here = in_batch[k * p->classes + c], held = (here + m - 1) / m;
            assert_true(held == low || held == low + (groups % b->batches != 0));
            short_groups += here % m != 0;
        }
        assert_int_equal(short_groups, rows % m != 0);
    }
    free(in_batch);
}

static void every_labelled_row_is_seen_once(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    int64_t labels[700];
    for (uint64_t seed = 0; seed < 150; seed++) {
        size_t n = seed < 6 ? (size_t)seed : (size_t)nf_random_below(seed, 1, 0, 701);
        int64_t top = 1 + (int64_t)nf_random_below(seed, 1, 1, seed % 2 == 0 ? 12 : 600);
        test_random_labels(seed, labels, n, -1, top);
        for (size_t r = 0; r < n; r++) labels[r] *= labels[r] == -1 ? 1 : 10;
        size_t size = 2 + (size_t)nf_random_below(seed, 1, 2, 99);
        size_t m = 1 + (size_t)nf_random_below(seed, 1, 3, size < 9 ? size : 9);
        nf_partition *p = partition_of(context, labels, n);
        nf_batches *all = batches_of(context, p, NF_BATCH_ALL, size, m, 0);
        check_epoch(all, p);
        assert_int_equal(all->batches, p->labelled > 0);
        for (size_t k = 1; k < p->labelled; k++) assert_true(all->row[k - 1] < all->row[k]);
        nf_batches *random = batches_of(context, p, NF_BATCH_RANDOM, size, m, 0);
        check_epoch(random, p);
        assert_int_equal(random->batches, expected_batches(p->labelled, size));
        for (size_t k = 0; k + 1 < random->batches; k++) {
            assert_int_equal(random->offset[k + 1] - random->offset[k], size);
        }
        nf_batches *dealt = batches_of(context, p, NF_BATCH_M_PER_CLASS, size, m, 0);
        check_epoch(dealt, p);
        check_dealing(dealt, p, m);
        assert_int_equal(dealt->batches, expected_batches(p->labelled, size));
        nf_batches_free(context, all);
        nf_batches_free(context, random);
        nf_batches_free(context, dealt);
        nf_partition_free(context, p);
    }
    nf_batches_free(context, NULL);
    nf_context_free(context);
}

/* One class of 1000 rows beside one of 100: no batch lacks negatives. */
static void a_large_class_never_has_a_batch_alone(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    int64_t labels[1100] = {0};
    for (size_t r = 0; r < 100; r++) labels[r * 11] = 1;
    nf_partition *p = partition_of(context, labels, 1100);
    nf_batches *b = batches_of(context, p, NF_BATCH_M_PER_CLASS, 64, 4, 0);
    assert_int_equal(b->batches, 17);
    check_epoch(b, p);
    for (size_t k = 0; k < b->batches; k++) {
        size_t rare = 0;
        for (size_t at = b->offset[k]; at < b->offset[k + 1]; at++) rare += labels[b->row[at]] == 1;
        assert_true(rare == 4 || rare == 8);
    }
    nf_batches_free(context, b);
    nf_partition_free(context, p);
    nf_context_free(context);
}

/* Over many epochs a row meets every row of another class about equally often. */
static void epochs_mix_rows_and_classes(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    int64_t labels[80];
    for (size_t r = 0; r < 80; r++) labels[r] = (int64_t)(r % 20);
    nf_partition *p = partition_of(context, labels, 80);
    static uint32_t met[80][80];
    const size_t epochs = 4000;
    memset(met, 0, sizeof met);
    for (uint64_t epoch = 0; epoch < epochs; epoch++) {
        nf_batches *b = batches_of(context, p, NF_BATCH_M_PER_CLASS, 16, 2, epoch);
        for (size_t k = 0; k < b->batches; k++) {
            for (size_t x = b->offset[k]; x < b->offset[k + 1]; x++) {
                for (size_t y = b->offset[k]; y < b->offset[k + 1]; y++) {
                    met[b->row[x]][b->row[y]]++;
                }
            }
        }
        nf_batches_free(context, b);
    }
    for (size_t r = 0; r < 80; r++) {
        for (size_t q = 0; q < 80; q++) {
            /* A mate is in the same group of two with probability 1/3 (the class's two groups go
             * to different batches); another class shares a batch with probability about 0.175. */
            double share = (double)met[r][q] / (double)epochs;
            if (r == q) {
                assert_true(share == 1);
            } else if (labels[r] == labels[q]) {
                assert_true(share > 0.28 && share < 0.39);
            } else {
                assert_true(share > 0.14 && share < 0.22);
            }
        }
    }
    nf_partition_free(context, p);
    nf_context_free(context);
}

static void an_epoch_depends_on_seed_and_epoch_only(void **state) {
    (void)state;
    nf_context *one = test_context(1), *three = test_context(3);
    int64_t labels[300];
    test_random_labels(2, labels, 300, -1, 9);
    nf_partition *p = partition_of(one, labels, 300), *q = partition_of(three, labels, 300);
    const nf_batch_kind kinds[] = {NF_BATCH_RANDOM, NF_BATCH_M_PER_CLASS};
    for (int k = 0; k < 2; k++) {
        nf_batches *a = batches_of(one, p, kinds[k], 32, 4, 5);
        nf_batches *b = batches_of(three, q, kinds[k], 32, 4, 5);
        nf_batches *c = batches_of(one, p, kinds[k], 32, 4, 6);
        assert_int_equal(a->batches, b->batches);
        assert_memory_equal(a->offset, b->offset, (a->batches + 1) * sizeof *a->offset);
        assert_memory_equal(a->row, b->row, p->labelled * sizeof *a->row);
        assert_memory_not_equal(a->row, c->row, p->labelled * sizeof *a->row);
        nf_batches_free(one, a), nf_batches_free(three, b), nf_batches_free(one, c);
    }
    nf_partition_free(one, p), nf_partition_free(three, q);
    nf_context_free(one), nf_context_free(three);
}

static void bad_options_are_named(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const int64_t labels[] = {0, 1, 0, 1};
    nf_partition *p = partition_of(context, labels, 4);
    nf_batches *b = NULL;
    nf_batch_options options = nf_batch_defaults();
    options.batch_size = 1;
    assert_fails(context, nf_batches_create(context, p, &options, &b), NF_ERR_ARG, "batch_size");
    options.batch_size = 3;
    assert_fails(context, nf_batches_create(context, p, &options, &b), NF_ERR_ARG, "per_class");
    options.per_class = 0;
    assert_fails(context, nf_batches_create(context, p, &options, &b), NF_ERR_ARG, "per_class");
    options.kind = (nf_batch_kind)3;
    assert_fails(context, nf_batches_create(context, p, &options, &b), NF_ERR_ARG, "kind");
    assert_null(b);
    assert_ok(context, nf_batches_create(context, p, NULL, &b));
    assert_int_equal(b->batches, 1); /* fewer rows than a batch: one short batch */
    nf_batches_free(context, b);
    nf_partition_free(context, p);
    nf_context_free(context);
}

typedef struct memory_case {
    int64_t labels[60];
    size_t row[60];
} memory_case;

static nf_status batches_body(nf_context *context, void *user) {
    memory_case *c = user;
    nf_partition *p;
    nf_status status = nf_partition_create(context, (nf_labels){c->labels, 60, 0}, &p);
    if (status != NF_OK) return status;
    nf_batch_options options = nf_batch_defaults();
    options.batch_size = 8;
    nf_batches *b = NULL;
    status = nf_batches_create(context, p, &options, &b);
    if (status == NF_OK) memcpy(c->row, b->row, sizeof c->row);
    nf_batches_free(context, b);
    nf_partition_free(context, p);
    return status;
}

static void out_of_memory_is_clean(void **state) {
    (void)state;
    memory_case c;
    test_random_labels(5, c.labels, 60, 0, 6);
    assert_true(test_fail_every_allocation(1, batches_body, &c, c.row, sizeof c.row) >= 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_labelled_row_is_seen_once),
        cmocka_unit_test(a_large_class_never_has_a_batch_alone),
        cmocka_unit_test(epochs_mix_rows_and_classes),
        cmocka_unit_test(an_epoch_depends_on_seed_and_epoch_only),
        cmocka_unit_test(bad_options_are_named),
        cmocka_unit_test(out_of_memory_is_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
