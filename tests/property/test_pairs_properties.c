/* Properties that hold for any input: names of labels, order of rows, scale of the data and the form
 * of a call do not matter. */
#include "support.h"

#include <math.h>
#include <stdbool.h>

#include "base/random.h"

#define N 120
#define D 5

typedef struct set {
    float x[N * D];
    int64_t labels[N];
    size_t n;
} set;

/* Labels are classes 0 .. and -1; `whole` data has many equal distances. */
static void fill(uint64_t seed, bool whole, set *s) {
    s->n = 2 + (size_t)nf_random_below(seed, 1, 0, N - 1);
    test_random_labels(seed, s->labels, s->n, -1, 1 + (int64_t)nf_random_below(seed, 1, 1, 20));
    for (size_t r = 0; r < s->n; r++) s->labels[r] *= s->labels[r] == -1 ? 1 : 10;
    for (size_t c = 0; c < s->n * D; c++) {
        double value = 3 * nf_random_unit(seed, 2, c) + (double)(s->labels[c / D] % 30) / 30;
        s->x[c] = (float)(whole ? floor(value) : value);
    }
}

static nf_labels labels_of(const set *s) { return (nf_labels){s->labels, s->n, 1}; }
static nf_matrix matrix_of(const set *s) { return nf_matrix_f32(s->x, s->n, D); }

/* An injective renaming that keeps -1. */
static int64_t renamed(int64_t label) {
    return label == -1 ? -1 : (int64_t)(0x9E3779B97F4A7C15u * ((uint64_t)label + 77) | 2);
}

static nf_partition *partition_of(nf_context *context, const set *s) {
    nf_partition *p;
    assert_ok(context, nf_partition_create(context, labels_of(s), &p));
    return p;
}

static void names_of_labels_do_not_matter(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    for (uint64_t seed = 0; seed < 100; seed++) {
        set a, b;
        fill(seed, seed % 2 == 0, &a);
        b = a;
        for (size_t r = 0; r < b.n; r++) b.labels[r] = renamed(a.labels[r]);
        nf_partition *p = partition_of(context, &a), *q = partition_of(context, &b);
        assert_memory_equal(p->class_of, q->class_of, a.n * sizeof *p->class_of);
        assert_memory_equal(p->row, q->row, p->labelled * sizeof *p->row);
        assert_true(p->positive_pairs == q->positive_pairs &&
                    p->negative_pairs == q->negative_pairs);
        nf_batches *u, *v;
        assert_ok(context, nf_batches_create(context, p, NULL, &u));
        assert_ok(context, nf_batches_create(context, q, NULL, &v));
        assert_memory_equal(u->row, v->row, p->labelled * sizeof *u->row);
        nf_eval_result r, t;
        assert_ok(context, nf_eval(context, NULL, matrix_of(&a), labels_of(&a), &r));
        assert_ok(context, nf_eval(context, NULL, matrix_of(&b), labels_of(&b), &t));
        assert_memory_equal(&r, &t, sizeof r);
        nf_batches_free(context, u), nf_batches_free(context, v);
        nf_partition_free(context, p), nf_partition_free(context, q);
    }
    nf_context_free(context);
}

/* Verification figures rest on counts, so their bits do not depend on the order of rows. */
static void order_of_rows_does_not_matter(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    for (uint64_t seed = 0; seed < 100; seed++) {
        set a, b;
        bool whole = seed % 2 == 0;
        fill(seed, whole, &a);
        b = a;
        size_t order[N];
        for (size_t r = 0; r < a.n; r++) order[r] = r;
        nf_random_shuffle(seed, 9, order, a.n);
        for (size_t r = 0; r < a.n; r++) {
            b.labels[r] = a.labels[order[r]];
            memcpy(b.x + r * D, a.x + order[r] * D, D * sizeof *b.x);
        }
        nf_eval_result r, t;
        assert_ok(context, nf_eval(context, NULL, matrix_of(&a), labels_of(&a), &r));
        assert_ok(context, nf_eval(context, NULL, matrix_of(&b), labels_of(&b), &t));
        assert_memory_equal(&r.positive_pairs, &t.positive_pairs,
                            sizeof r - offsetof(nf_eval_result, positive_pairs));
        assert_true(r.queries == t.queries && r.dropped == t.dropped);
        /* Without equal distances ranks are the same too; means are sums in another order. */
        if (whole || r.queries == 0) continue;
        assert_true(fabs(r.map_at_r - t.map_at_r) < 1e-12);
        assert_true(fabs(r.r_precision - t.r_precision) < 1e-12);
        assert_memory_equal(r.recall, t.recall, sizeof r.recall);
        assert_true(r.knn_accuracy == t.knn_accuracy);
    }
    nf_context_free(context);
}

/* A power of two changes distances exactly, and thresholds with them. */
static void scale_does_not_matter(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    for (uint64_t seed = 0; seed < 60; seed++) {
        set a, b;
        fill(seed, seed % 2 == 0, &a);
        b = a;
        for (size_t c = 0; c < b.n * D; c++) b.x[c] *= 0x1p-9f;
        nf_eval_result r, t;
        assert_ok(context, nf_eval(context, NULL, matrix_of(&a), labels_of(&a), &r));
        assert_ok(context, nf_eval(context, NULL, matrix_of(&b), labels_of(&b), &t));
        if (r.positive_pairs > 0 && r.negative_pairs > 0) {
            assert_true(t.best_threshold == r.best_threshold * 0x1p-9);
            assert_true(t.eer_threshold == r.eer_threshold * 0x1p-9);
        }
        t.best_threshold = r.best_threshold;
        t.eer_threshold = r.eer_threshold;
        assert_memory_equal(&r, &t, sizeof r);
    }
    nf_context_free(context);
}

/* A set against itself is query x reference with row numbers as ids: the same rankings, and every
 * pair twice. */
static void a_set_with_itself_is_a_reference_set_with_ids(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    int64_t ids[N];
    for (int64_t i = 0; i < N; i++) ids[i] = 1000 - i;
    for (uint64_t seed = 0; seed < 60; seed++) {
        set a;
        fill(seed, seed % 2 == 0, &a);
        nf_eval_result r, t;
        assert_ok(context, nf_eval(context, NULL, matrix_of(&a), labels_of(&a), &r));
        assert_ok(context, nf_eval_reference(context, NULL, matrix_of(&a), labels_of(&a), ids,
                                             matrix_of(&a), labels_of(&a), ids, &t));
        assert_true(t.positive_pairs == 2 * r.positive_pairs);
        assert_true(t.negative_pairs == 2 * r.negative_pairs);
        t.positive_pairs /= 2, t.negative_pairs /= 2;
        assert_memory_equal(&r, &t, sizeof r);
    }
    nf_context_free(context);
}

/* Exchanging the sides leaves the pairs as they are. */
static void sides_can_be_exchanged(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    nf_eval_options options = nf_eval_defaults();
    options.retrieval = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        set a, b;
        fill(seed, seed % 2 == 0, &a);
        fill(seed + 500, seed % 2 == 0, &b);
        nf_eval_result r, t;
        assert_ok(context, nf_eval_reference(context, &options, matrix_of(&a), labels_of(&a), NULL,
                                             matrix_of(&b), labels_of(&b), NULL, &r));
        assert_ok(context, nf_eval_reference(context, &options, matrix_of(&b), labels_of(&b), NULL,
                                             matrix_of(&a), labels_of(&a), NULL, &t));
        t.n = r.n;
        assert_memory_equal(&r, &t, sizeof r);
    }
    nf_context_free(context);
}

/* With k = 1 the neighbour graph and recall@1 say the same. */
static void nearest_neighbours_agree_with_recall(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    for (uint64_t seed = 0; seed < 60; seed++) {
        set a;
        fill(seed, seed % 2 == 0, &a);
        for (size_t r = 0; r < a.n; r++) a.labels[r] = a.labels[r] == -1 ? 0 : a.labels[r];
        int64_t index[N];
        nf_eval_result r;
        assert_ok(context, nf_knn(context, NULL, matrix_of(&a), matrix_of(&a), 1, 1, index, NULL));
        assert_ok(context, nf_eval(context, NULL, matrix_of(&a), labels_of(&a), &r));
        double hits = 0;
        for (size_t i = 0; i < a.n; i++) hits += a.labels[index[i]] == a.labels[i];
        if (r.queries > 0) assert_true(r.recall[0] == hits / (double)r.queries);
    }
    nf_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_labels_do_not_matter),
        cmocka_unit_test(order_of_rows_does_not_matter),
        cmocka_unit_test(scale_does_not_matter),
        cmocka_unit_test(a_set_with_itself_is_a_reference_set_with_ids),
        cmocka_unit_test(sides_can_be_exchanged),
        cmocka_unit_test(nearest_neighbours_agree_with_recall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
