/* The offline pair sampler: validity, uniformity (chi-square), weights, very unbalanced classes. */
#include "support.h"

#include <math.h>
#include <time.h>

#include "base/random.h"

typedef struct sample {
    size_t count;
    int64_t *i, *j;
    uint8_t *same;
    double *weight;
} sample;

static sample sample_make(size_t count) {
    sample s = {count, malloc((count + 1) * sizeof(int64_t)), malloc((count + 1) * sizeof(int64_t)),
                malloc(count + 1), malloc((count + 1) * sizeof(double))};
    return s;
}

static void sample_free(sample *s) { free(s->i), free(s->j), free(s->same), free(s->weight); }

static nf_partition *partition_of(nf_context *context, const int64_t *data, size_t n) {
    nf_partition *partition;
    assert_ok(context, nf_partition_create(context, (nf_labels){data, n, 1}, &partition));
    return partition;
}

static nf_pair_sample_options options_of(size_t count, double fraction, int replace,
                                         uint64_t seed) {
    nf_pair_sample_options options = nf_pair_sample_defaults();
    options.count = count;
    options.positive_fraction = fraction;
    options.replace = replace;
    options.seed = seed;
    return options;
}

static nf_status draw(nf_context *context, const nf_partition *p, nf_pair_sample_options options,
                      sample *s) {
    return nf_pairs_sample(context, p, &options, s->i, s->j, s->same, s->weight);
}

/* Deviation of a chi-square statistic in standard normal units (Wilson & Hilferty 1931). */
static double chi_square_deviation(const uint64_t *seen, size_t cells, double expected) {
    double sum = 0, k = (double)(cells - 1);
    for (size_t c = 0; c < cells; c++) {
        double difference = (double)seen[c] - expected;
        sum += difference * difference / expected;
    }
    return (cbrt(sum / k) - (1 - 2 / (9 * k))) / sqrt(2 / (9 * k));
}

/* p > 1e-6 on either side: neither too uneven nor too even. */
static void assert_uniform(const uint64_t *seen, size_t cells, double expected) {
    double z = chi_square_deviation(seen, cells, expected);
    if (fabs(z) > 4.75) fail_msg("chi-square over %zu cells is %g deviations off", cells, z);
}

static void check_sample(const sample *s, const int64_t *labels, size_t n, size_t positives) {
    size_t found = 0;
    for (size_t k = 0; k < s->count; k++) {
        assert_true(0 <= s->i[k] && s->i[k] < s->j[k] && (size_t)s->j[k] < n);
        assert_true(labels[s->i[k]] != -1 && labels[s->j[k]] != -1);
        assert_int_equal(s->same[k], labels[s->i[k]] == labels[s->j[k]]);
        found += s->same[k];
    }
    assert_int_equal(found, positives);
}

static void every_pair_is_equally_likely(void **state) {
    (void)state;
    /* 10^6 draws in the quick suite; NF_TEST_LONG makes it 10^7. */
    size_t count = getenv("NF_TEST_LONG") != NULL ? 10000000 : 1000000;
    nf_context *context = test_context(1);
    /* Classes of 1, 2, 3, 7, 15 and 24 rows interleaved, and unlabelled rows. */
    const size_t sizes[] = {1, 2, 3, 7, 15, 24};
    int64_t labels[60];
    size_t n = 0, order[60];
    for (int c = 0; c < 6; c++) {
        for (size_t k = 0; k < sizes[c]; k++) labels[n++] = c;
    }
    while (n < 60) labels[n++] = -1;
    for (size_t k = 0; k < 60; k++) order[k] = (size_t)labels[k];
    nf_random_shuffle(1, 1, order, 60);
    for (size_t k = 0; k < 60; k++) labels[k] = (int64_t)order[k];

    nf_partition *p = partition_of(context, labels, 60);
    sample s = sample_make(count);
    assert_ok(context, draw(context, p, options_of(count, 0.3, 1, 7), &s));
    check_sample(&s, labels, 60, count / 10 * 3);
    uint64_t seen[60 * 60] = {0}, cell[2][60 * 60];
    for (size_t k = 0; k < count; k++) seen[s.i[k] * 60 + s.j[k]]++;
    size_t cells[2] = {0, 0};
    for (size_t i = 0; i < 60; i++) {
        for (size_t j = i + 1; j < 60; j++) {
            if (labels[i] == -1 || labels[j] == -1) continue;
            int same = labels[i] == labels[j];
            assert_true(seen[i * 60 + j] > 0); /* all pairs are reachable */
            cell[same][cells[same]++] = seen[i * 60 + j];
        }
    }
    assert_true(cells[1] == p->positive_pairs && cells[0] == p->negative_pairs);
    assert_uniform(cell[1], cells[1], 0.3 * (double)count / (double)cells[1]);
    assert_uniform(cell[0], cells[0], 0.7 * (double)count / (double)cells[0]);
    sample_free(&s);
    nf_partition_free(context, p);
    nf_context_free(context);
}

/* Every ordered triple of distinct negatives is equally likely, so every subset is. */
static void subsets_without_replacement_are_equally_likely(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const int64_t labels[] = {0, 1, 0, 1, 1, 2};
    nf_partition *p = partition_of(context, labels, 6);
    assert_true(p->negative_pairs == 11);
    size_t pairs = 11, cells = pairs * pairs * pairs;
    uint64_t *seen = calloc(cells, sizeof *seen), *distinct = calloc(cells, sizeof *distinct);
    int64_t number[6][6];
    int64_t next = 0;
    for (int i = 0; i < 6; i++) {
        for (int j = i + 1; j < 6; j++) number[i][j] = labels[i] != labels[j] ? next++ : -1;
    }
    sample s = sample_make(3);
    for (uint64_t seed = 0; seed < 99000; seed++) {
        assert_ok(context, draw(context, p, options_of(3, 0, 0, seed), &s));
        size_t a = (size_t)number[s.i[0]][s.j[0]], b = (size_t)number[s.i[1]][s.j[1]];
        size_t c = (size_t)number[s.i[2]][s.j[2]];
        assert_true(a != b && b != c && a != c);
        seen[(a * pairs + b) * pairs + c]++;
    }
    size_t used = 0;
    for (size_t a = 0; a < pairs; a++) {
        for (size_t b = 0; b < pairs; b++) {
            for (size_t c = 0; c < pairs; c++) {
                if (a == b || b == c || a == c) continue;
                distinct[used++] = seen[(a * pairs + b) * pairs + c];
            }
        }
    }
    assert_uniform(distinct, used, 99000.0 / (double)used);
    sample_free(&s);
    free(seen), free(distinct);
    nf_partition_free(context, p);
    nf_context_free(context);
}

static void sides_come_shuffled_together(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    int64_t labels[40];
    test_random_labels(3, labels, 40, 0, 4);
    nf_partition *p = partition_of(context, labels, 40);
    sample s = sample_make(5);
    for (int replace = 0; replace < 2; replace++) {
        uint64_t seen[32] = {0}, patterns[10];
        for (uint64_t seed = 0; seed < 20000; seed++) {
            assert_ok(context, draw(context, p, options_of(5, 0.4, replace, seed), &s));
            unsigned pattern = 0;
            for (int k = 0; k < 5; k++) pattern |= (unsigned)s.same[k] << k;
            seen[pattern]++;
        }
        size_t used = 0;
        for (unsigned m = 0; m < 32; m++) {
            if (__builtin_popcount(m) == 2) patterns[used++] = seen[m];
        }
        assert_uniform(patterns, 10, 2000);
    }
    sample_free(&s);
    nf_partition_free(context, p);
    nf_context_free(context);
}

/* All pairs drawn without replacement: each exactly once, and all weights 1. */
static void drawing_everything_gives_everything(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    int64_t labels[80];
    test_random_labels(3, labels, 80, -1, 6);
    nf_partition *p = partition_of(context, labels, 80);
    size_t total = (size_t)(p->positive_pairs + p->negative_pairs);
    sample s = sample_make(total);
    double fraction = (double)p->positive_pairs / (double)total;
    assert_ok(context, draw(context, p, options_of(total, fraction, 0, 9), &s));
    check_sample(&s, labels, 80, (size_t)p->positive_pairs);
    uint8_t seen[80 * 80] = {0};
    for (size_t k = 0; k < total; k++) {
        assert_int_equal(seen[s.i[k] * 80 + s.j[k]]++, 0);
        assert_true(fabs(s.weight[k] - 1) < 1e-12);
    }
    /* One more than there are cannot be drawn. */
    s.i[0] = -5;
    assert_fails(context, draw(context, p, options_of((size_t)p->negative_pairs + 1, 0, 0, 9), &s),
                 NF_ERR_DATA, "without replacement");
    assert_int_equal(s.i[0], -5);
    sample_free(&s);
    nf_partition_free(context, p);
    nf_context_free(context);
}

/* (1 / count) sum weight phi estimates the mean of phi over all pairs, whatever the fraction. */
static void weights_make_the_mean_unbiased(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    int64_t labels[50];
    test_random_labels(8, labels, 50, -1, 3);
    double value[50 * 50], mean = 0, top = 0;
    test_random_f64(4, value, 50 * 50, 0, 1);
    nf_partition *p = partition_of(context, labels, 50);
    double total = (double)(p->positive_pairs + p->negative_pairs);
    for (size_t i = 0; i < 50; i++) {
        for (size_t j = i + 1; j < 50; j++) {
            if (labels[i] == -1 || labels[j] == -1) continue;
            value[i * 50 + j] += labels[i] == labels[j] ? 10 : 0; /* sides differ much */
            mean += value[i * 50 + j] / total;
        }
    }
    const double fractions[] = {0.02, 0.5, 0.9};
    sample s = sample_make(200000);
    for (size_t f = 0; f < 3; f++) {
        assert_ok(context, draw(context, p, options_of(s.count, fractions[f], 1, f), &s));
        double estimate = 0, weights = 0;
        for (size_t k = 0; k < s.count; k++) {
            estimate += s.weight[k] * value[s.i[k] * 50 + s.j[k]] / (double)s.count;
            weights += s.weight[k] / (double)s.count;
            top = fmax(top, s.weight[k]);
        }
        assert_true(fabs(weights - 1) < 1e-9);
        /* Within a side phi varies by 0.29; five deviations of the estimate. */
        assert_true(fabs(estimate - mean) < 5 * 0.29 * top / sqrt((double)s.count));
    }
    sample_free(&s);
    nf_partition_free(context, p);
    nf_context_free(context);
}

static void the_draw_depends_on_labels_and_options_only(void **state) {
    (void)state;
    nf_context *one = test_context(1), *three = test_context(3);
    int64_t labels[500];
    test_random_labels(8, labels, 500, -1, 9);
    sample a = sample_make(1000), b = sample_make(1000);
    for (int replace = 0; replace < 2; replace++) {
        nf_partition *p = partition_of(one, labels, 500), *q = partition_of(three, labels, 500);
        assert_ok(one, draw(one, p, options_of(1000, 0.5, replace, 11), &a));
        assert_ok(three, draw(three, q, options_of(1000, 0.5, replace, 11), &b));
        assert_memory_equal(a.i, b.i, 1000 * sizeof *a.i);
        assert_memory_equal(a.j, b.j, 1000 * sizeof *a.j);
        assert_memory_equal(a.same, b.same, 1000);
        assert_memory_equal(a.weight, b.weight, 1000 * sizeof *a.weight);
        assert_ok(three, draw(three, q, options_of(1000, 0.5, replace, 12), &b));
        assert_memory_not_equal(a.i, b.i, 1000 * sizeof *a.i);
        nf_partition_free(one, p);
        nf_partition_free(three, q);
    }
    sample_free(&a), sample_free(&b);
    nf_context_free(one), nf_context_free(three);
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* L6: 10^6 against 1, 10^6 against 2, 10^6 singletons and one pair: a fifth of a second each, where a
 * sampler that draws until it hits would take hours. */
static void very_unbalanced_classes_are_quick(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    size_t large = 1000000;
    int64_t *labels = malloc((large + 2) * sizeof *labels);
    sample s = sample_make(200000);
    for (int kind = 0; kind < 3; kind++) {
        size_t n = large + (kind == 0 ? 1 : 2);
        for (size_t r = 0; r < n; r++) labels[r] = kind == 2 ? (int64_t)r : r >= large;
        if (kind == 2) labels[n - 1] = labels[n - 2];
        double start = seconds();
        nf_partition *p = partition_of(context, labels, n);
        assert_ok(context, draw(context, p, options_of(s.count, 0.5, 1, 3), &s));
        double spent = seconds() - start;
        check_sample(&s, labels, n, s.count / 2);
        if (kind < 2) assert_true(p->negative_pairs == large * (n - large));
        if (kind == 2) assert_true(p->positive_pairs == 1);
        assert_ok(context, draw(context, p, options_of(1000, 0, 0, 3), &s));
        assert_true(spent < 5.0);
        nf_partition_free(context, p);
    }
    free(labels);
    sample_free(&s);
    nf_context_free(context);
}

static void impossible_requests_are_refused(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const int64_t one_class[] = {4, 4, 4}, distinct[] = {1, 2, 3};
    sample s = sample_make(10);
    memset(s.i, 0x77, 10 * sizeof *s.i);
    nf_partition *p = partition_of(context, one_class, 3), *q = partition_of(context, distinct, 3);
    nf_partition *none = partition_of(context, NULL, 0);
    assert_fails(context, draw(context, p, options_of(10, 0.5, 1, 0), &s), NF_ERR_DATA,
                 "no negative pair");
    assert_fails(context, draw(context, q, options_of(10, 0.5, 1, 0), &s), NF_ERR_DATA,
                 "no positive pair");
    assert_fails(context, draw(context, none, options_of(1, 0, 1, 0), &s), NF_ERR_DATA,
                 "no negative pair");
    const double bad[] = {-0.1, 1.1, (double)NAN};
    for (int b = 0; b < 3; b++) {
        assert_fails(context, draw(context, p, options_of(10, bad[b], 1, 0), &s), NF_ERR_ARG,
                     "positive_fraction");
    }
    nf_pair_sample_options options = options_of(10, 1, 1, 0);
    assert_fails(context, nf_pairs_sample(context, p, &options, s.i, NULL, s.same, NULL),
                 NF_ERR_ARG, "j is NULL");
    for (size_t k = 0; k < 10; k++) assert_true(s.i[k] == 0x7777777777777777);
    /* One-sided samples of one-sided partitions, the empty sample, and no weights are fine. */
    assert_ok(context, draw(context, p, options_of(10, 1, 1, 0), &s));
    check_sample(&s, one_class, 3, 10);
    assert_true(s.weight[0] == 1);
    assert_ok(context, draw(context, q, options_of(10, 0, 1, 0), &s));
    check_sample(&s, distinct, 3, 0);
    assert_ok(context, draw(context, none, options_of(0, 0.5, 1, 0), &s));
    assert_ok(context, nf_pairs_sample(context, none, NULL, NULL, NULL, NULL, NULL));
    assert_ok(context, nf_pairs_sample(context, p, &options, s.i, s.j, s.same, NULL));
    nf_partition_free(context, p), nf_partition_free(context, q), nf_partition_free(context, none);
    sample_free(&s);
    nf_context_free(context);
}

typedef struct memory_case {
    int64_t labels[60];
    struct {
        int64_t i[100], j[100];
        uint8_t same[104];
        double weight[100];
    } out;
} memory_case;

static nf_status sample_body(nf_context *context, void *user) {
    memory_case *c = user;
    nf_partition *p;
    nf_status status = nf_partition_create(context, (nf_labels){c->labels, 60, 1}, &p);
    if (status != NF_OK) return status;
    nf_pair_sample_options options = options_of(100, 0.5, 0, 5);
    status = nf_pairs_sample(context, p, &options, c->out.i, c->out.j, c->out.same, c->out.weight);
    nf_partition_free(context, p);
    return status;
}

static void out_of_memory_is_clean(void **state) {
    (void)state;
    static memory_case c;
    test_random_labels(5, c.labels, 60, -1, 6);
    assert_true(test_fail_every_allocation(1, sample_body, &c, &c.out, sizeof c.out) >= 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_is_equally_likely),
        cmocka_unit_test(subsets_without_replacement_are_equally_likely),
        cmocka_unit_test(sides_come_shuffled_together),
        cmocka_unit_test(drawing_everything_gives_everything),
        cmocka_unit_test(weights_make_the_mean_unbiased),
        cmocka_unit_test(the_draw_depends_on_labels_and_options_only),
        cmocka_unit_test(very_unbalanced_classes_are_quick),
        cmocka_unit_test(impossible_requests_are_refused),
        cmocka_unit_test(out_of_memory_is_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
