/* Miners over query x reference, against plain loops over the matrix of distances, and against the
 * same set on both sides. */
#include "support.h"

#include <math.h>
#include <stdbool.h>

enum { MOST = 90, MOST_D = 13 };

typedef struct problem {
    nf_type type;
    size_t n, m, d;
    unsigned char x[MOST * MOST_D * sizeof(double)], y[MOST * MOST_D * sizeof(double)];
    int64_t label_x[MOST], label_y[MOST], id_x[MOST], id_y[MOST];
    bool ids;
    double t[MOST * MOST];
} problem;

static void fill(uint64_t seed, nf_type type, size_t count, void *out) {
    double wide[MOST * MOST_D];
    test_random_f64(seed, wide, count, -1, 1);
    for (size_t e = 0; e < count; e++) {
        if (type == NF_FLOAT32) {
            ((float *)out)[e] = (float)wide[e];
        } else {
            ((double *)out)[e] = wide[e];
        }
    }
}

static nf_mine_sets sets_of(const problem *p) {
    return (nf_mine_sets){{p->x, p->type, p->n, p->d, p->d},
                          {p->y, p->type, p->m, p->d, p->d},
                          {p->label_x, p->n, 1},
                          {p->label_y, p->m, 1},
                          p->ids ? p->id_x : NULL,
                          p->ids ? p->id_y : NULL};
}

static void make(uint64_t seed, size_t n, size_t m, int64_t classes, problem *p) {
    *p =
        (problem){.type = seed % 2 ? NF_FLOAT32 : NF_FLOAT64, .n = n, .m = m, .ids = seed % 3 == 0};
    p->d = 1 + seed * 5 % MOST_D;
    fill(seed, p->type, n * p->d, p->x);
    fill(seed + 100, p->type, m * p->d, p->y);
    test_random_labels(seed + 1, p->label_x, n, -1, classes - 1);
    test_random_labels(seed + 2, p->label_y, m, -1, classes);
    test_random_labels(seed + 3, p->id_x, n, 0, 15);
    test_random_labels(seed + 4, p->id_y, m, 0, 15);
}

static void measure(nf_context *context, problem *p, nf_metric metric, int normalize) {
    nf_distance_options options = nf_distance_defaults();
    const nf_mine_sets sets = sets_of(p);
    float narrow[MOST * MOST];
    options.metric = metric;
    options.normalize = normalize;
    void *out = p->type == NF_FLOAT32 ? (void *)narrow : (void *)p->t;
    assert_ok(context, nf_distances_full(context, &options, sets.query, sets.reference,
                                         (nf_matrix_out){out, p->type, p->n, p->m, p->m}));
    for (size_t e = 0; p->type == NF_FLOAT32 && e < p->n * p->m; e++) p->t[e] = (double)narrow[e];
}

/* 1 positive, 0 negative, -1 no pair. */
static int kind_of(const problem *p, size_t i, size_t j) {
    if (p->label_x[i] == -1 || p->label_y[j] == -1) return -1;
    if (p->ids && p->id_x[i] == p->id_y[j]) return -1;
    return p->label_x[i] == p->label_y[j];
}

static size_t extreme(const problem *p, size_t i, int kind, int far, double beyond) {
    size_t best = p->m;
    for (size_t j = 0; j < p->m; j++) {
        const double t = p->t[i * p->m + j];
        if (kind_of(p, i, j) != kind || !(t > beyond)) continue;
        if (best == p->m || (far ? t > p->t[i * p->m + best] : t < p->t[i * p->m + best])) best = j;
    }
    return best;
}

/* ---- the oracle: what is next is compared with what was mined ---------------------------------- */

typedef struct check {
    const nf_mined *mined;
    size_t at;
} check;

static void expect(check *c, size_t a, size_t b, size_t third) {
    const nf_mined *mined = c->mined;
    const bool pairs = mined->triplets == 0;
    assert_true(c->at < mined->pairs.count + mined->triplets);
    assert_int_equal(pairs ? mined->pairs.i[c->at] : mined->anchor[c->at], a);
    assert_int_equal(pairs ? mined->pairs.j[c->at] : mined->positive[c->at], b);
    assert_int_equal(pairs ? mined->pairs.same[c->at] : mined->negative[c->at], third);
    c->at++;
}

static void expect_pairs(check *c, const problem *p, const nf_mine_options *o, size_t a) {
    const double *t = p->t + a * p->m;
    const size_t near = extreme(p, a, 0, 0, -HUGE_VAL), far = extreme(p, a, 1, 1, -HUGE_VAL);
    for (size_t j = 0; j < p->m; j++) {
        const int kind = kind_of(p, a, j);
        if (kind < 0) continue;
        if (o->miner == NF_MINE_PAIR_MARGIN) {
            if (kind ? t[j] > o->pos_margin : t[j] < o->neg_margin) expect(c, a, j, (size_t)kind);
        } else if (near < p->m && far < p->m &&
                   (kind ? t[j] + o->epsilon > t[near] : t[j] - o->epsilon < t[far])) {
            expect(c, a, j, (size_t)kind);
        }
    }
}

static void expect_triplets(check *c, const problem *p, const nf_mine_options *o, size_t a) {
    const double *t = p->t + a * p->m;
    for (size_t j = 0; j < p->m; j++) {
        for (size_t k = 0; k < p->m; k++) {
            if (kind_of(p, a, j) != 1 || kind_of(p, a, k) != 0) continue;
            const double gap = t[k] - t[j];
            const bool semi =
                o->miner == NF_MINE_SEMI_HARD || o->violation == NF_VIOLATION_SEMI_HARD;
            const bool keep = semi                                ? gap > 0 && gap <= o->margin
                              : o->violation == NF_VIOLATION_HARD ? gap <= 0 && gap <= o->margin
                              : o->violation == NF_VIOLATION_EASY ? gap > o->margin
                                                                  : gap <= o->margin;
            if (keep) expect(c, a, j, k);
        }
    }
}

static void expect_one(check *c, const problem *p, const nf_mine_options *o, size_t a) {
    const bool hard = o->miner == NF_MINE_BATCH_HARD;
    const size_t positive = extreme(p, a, 1, hard, -HUGE_VAL);
    if (positive == p->m) return;
    const double beyond = hard ? -HUGE_VAL : p->t[a * p->m + positive];
    const size_t negative = extreme(p, a, 0, 0, beyond);
    if (negative < p->m) expect(c, a, positive, negative);
}

static size_t compare(const problem *p, const nf_mine_options *o, const nf_mined *mined) {
    check c = {mined, 0};
    for (size_t a = 0; a < p->n; a++) {
        switch (o->miner) {
        case NF_MINE_PAIR_MARGIN:
        case NF_MINE_MULTI_SIMILARITY: expect_pairs(&c, p, o, a); break;
        case NF_MINE_BATCH_HARD:
        case NF_MINE_EASY_POSITIVE: expect_one(&c, p, o, a); break;
        default: expect_triplets(&c, p, o, a);
        }
    }
    assert_int_equal(c.at, mined->pairs.count + mined->triplets);
    return c.at;
}

static void every_miner_finds_what_loops_find(void **state) {
    (void)state;
    nf_context *contexts[2] = {test_context(1), test_context(3)};
    const size_t n[] = {0, 1, 30, 7, 80, 40}, m[] = {20, 0, 50, 90, 5, 40};
    size_t most = 0;
    static problem p;
    for (uint64_t seed = 0; seed < 48; seed++) {
        make(seed, n[seed % 6], m[seed / 2 % 6], seed % 7 == 0 ? 1 : 5, &p);
        for (int miner = NF_MINE_PAIR_MARGIN; miner <= NF_MINE_SEMI_HARD; miner++) {
            nf_mine_options o = nf_mine_defaults((nf_miner)miner);
            const nf_mine_sets sets = sets_of(&p);
            if (seed >= 5) o.metric = (nf_metric)(seed % 5);
            if (seed >= 5) o.normalize = seed % 4 == 1;
            o.violation = (nf_violation)(seed % 4);
            measure(contexts[0], &p, o.metric, o.normalize);
            for (int c = 0; c < 2; c++) {
                nf_mined *mined;
                assert_ok(contexts[c], nf_mine_reference(contexts[c], &o, &sets, &mined));
                size_t found = compare(&p, &o, mined);
                most = found > most ? found : most;
                nf_mined_free(contexts[c], mined);
            }
        }
    }
    assert_true(most > 10000);
    nf_context_free(contexts[0]), nf_context_free(contexts[1]);
}

static void assert_same(const nf_mined *a, const nf_mined *b, bool once) {
    assert_int_equal(a->triplets, b->triplets);
    if (a->triplets > 0) {
        assert_memory_equal(a->anchor, b->anchor, 3 * a->triplets * sizeof *a->anchor);
    }
    assert_int_equal(a->pairs.count, (once ? 2 : 1) * b->pairs.count);
    for (size_t k = 0, at = 0; k < a->pairs.count; k++) {
        if (once && a->pairs.i[k] > a->pairs.j[k]) continue;
        assert_int_equal(a->pairs.i[k], b->pairs.i[at]);
        assert_int_equal(a->pairs.j[k], b->pairs.j[at]);
        assert_int_equal(a->pairs.same[k], b->pairs.same[at]);
        at++;
    }
}

/* A set against itself, with its row numbers as ids, is that set. */
static void a_set_against_itself_is_one_set(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    static problem p;
    for (uint64_t seed = 0; seed < 8; seed++) {
        make(seed, 60, 60, 4, &p);
        for (size_t r = 0; r < 60; r++) p.id_x[r] = (int64_t)r;
        nf_matrix x = {p.x, p.type, 60, p.d, p.d};
        const nf_labels labels = {p.label_x, 60, 1};
        const nf_mine_sets sets = {x, x, labels, labels, p.id_x, p.id_x};
        nf_mined *both, *one;
        for (int miner = NF_MINE_PAIR_MARGIN; miner <= NF_MINE_DISTANCE_WEIGHTED; miner++) {
            nf_mine_options o = nf_mine_defaults((nf_miner)miner);
            if (miner == NF_MINE_DISTANCE_WEIGHTED) o.per_anchor = 7;
            assert_ok(context, nf_mine_reference(context, &o, &sets, &both));
            assert_ok(context, nf_mine(context, &o, x, labels, &one));
            assert_same(both, one, miner == NF_MINE_PAIR_MARGIN);
            nf_mined_free(context, both);
            nf_mined_free(context, one);
        }
        nf_mine_hard_options hard = nf_mine_hard_defaults();
        hard.absolute_margin = -0.2, hard.range_min = seed % 3, hard.positives = 2;
        hard.random = seed % 2;
        assert_ok(context, nf_mine_hard_reference(context, &hard, &sets, &both));
        assert_ok(context, nf_mine_hard(context, &hard, x, labels, &one));
        assert_true(one->pairs.count > 50);
        assert_same(both, one, false);
        nf_mined_free(context, both);
        nf_mined_free(context, one);
    }
    nf_context_free(context);
}

/* The nearest negatives of a corpus, after the farthest positives. */
static void hard_negatives_of_a_corpus(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const float x[3] = {0, 10, 20}, y[6] = {1, -2, 4, 11, 30, 0.5f};
    const int64_t label_x[3] = {0, 1, -1}, label_y[6] = {0, 0, 1, 1, 0, 2};
    nf_mine_hard_options o = nf_mine_hard_defaults();
    o.metric = NF_EUCLIDEAN;
    o.negatives = 2;
    const nf_mine_sets sets = {nf_matrix_f32(x, 3, 1),
                               nf_matrix_f32(y, 6, 1),
                               {label_x, 3, 1},
                               {label_y, 6, 1},
                               NULL,
                               NULL};
    nf_mined *mined;
    assert_ok(context, nf_mine_hard_reference(context, &o, &sets, &mined));
    const int64_t i[6] = {0, 0, 0, 1, 1, 1}, j[6] = {4, 5, 2, 2, 0, 5};
    const uint8_t same[6] = {1, 0, 0, 1, 0, 0};
    assert_int_equal(mined->pairs.count, 6);
    assert_memory_equal(mined->pairs.i, i, sizeof i);
    assert_memory_equal(mined->pairs.j, j, sizeof j);
    assert_memory_equal(mined->pairs.same, same, sizeof same);
    nf_mined_free(context, mined);
    nf_context_free(context);
}

/* By default as many triplets as the anchor has positives in the reference set, of its own class each. */
static void weighted_draws_once_for_each_positive(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    static problem p;
    make(3, 20, 60, 3, &p);
    const nf_mine_sets sets = sets_of(&p);
    nf_mine_options o = nf_mine_defaults(NF_MINE_DISTANCE_WEIGHTED);
    o.nonzero_loss_cutoff = 3;
    nf_mined *mined;
    size_t at = 0;
    assert_ok(context, nf_mine_reference(context, &o, &sets, &mined));
    for (size_t a = 0; a < p.n; a++) {
        size_t positives = 0, negatives = 0;
        for (size_t j = 0; j < p.m; j++) {
            positives += kind_of(&p, a, j) == 1, negatives += kind_of(&p, a, j) == 0;
        }
        for (size_t k = 0; negatives > 0 && k < positives; k++, at++) {
            assert_int_equal(mined->anchor[at], a);
            assert_int_equal(kind_of(&p, a, (size_t)mined->positive[at]), 1);
            assert_int_equal(kind_of(&p, a, (size_t)mined->negative[at]), 0);
        }
    }
    assert_int_equal(mined->triplets, at);
    assert_true(at > 100);
    nf_mined_free(context, mined);
    nf_context_free(context);
}

/* ---- arguments and memory ----------------------------------------------------------------------- */

static void wrong_arguments_are_named(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    float x[4] = {0, 1, 2, 3}, bad[2] = {NAN, 1};
    const int64_t labels[4] = {0, 0, 1, 1};
    const nf_mine_sets good = {nf_matrix_f32(x, 4, 1),
                               nf_matrix_f32(x, 4, 1),
                               {labels, 4, 1},
                               {labels, 4, 1},
                               labels,
                               labels};
    nf_mine_options o = nf_mine_defaults(NF_MINE_BATCH_HARD);
    nf_mined *mined = NULL;
    assert_fails(context, nf_mine_reference(context, &o, NULL, &mined), NF_ERR_ARG, "sets");
    assert_fails(context, nf_mine_reference(context, NULL, &good, &mined), NF_ERR_ARG, "options");
    assert_fails(context, nf_mine_reference(context, &o, &good, NULL), NF_ERR_ARG, "mined");
    assert_fails(context, nf_mine_hard_reference(context, NULL, NULL, &mined), NF_ERR_ARG, "sets");
    assert_fails(context, nf_mine_hard_reference(context, NULL, &good, NULL), NF_ERR_ARG, "mined");
#define REFUSED(status, text, ...)                                                                 \
    do {                                                                                           \
        nf_mine_sets sets = good;                                                                  \
        __VA_ARGS__;                                                                               \
        assert_fails(context, nf_mine_reference(context, &o, &sets, &mined), status, text);        \
        assert_fails(context, nf_mine_hard_reference(context, NULL, &sets, &mined), status, text); \
    } while (0)
    REFUSED(NF_ERR_ARG, "only one of", sets.query_ids = NULL);
    REFUSED(NF_ERR_ARG, "has_unlabelled", sets.query_labels.has_unlabelled = 0);
    REFUSED(NF_ERR_ARG, "columns", sets.reference = nf_matrix_f32(x, 2, 2),
            sets.reference_labels.n = 2);
    REFUSED(NF_ERR_ARG, "reference_labels", sets.reference_labels.n = 3);
    REFUSED(NF_ERR_ARG, "query_labels is NULL", sets.query_labels.data = NULL);
    REFUSED(NF_ERR_DATA, "reference", sets.reference = nf_matrix_f32(bad, 2, 1),
            sets.reference_labels.n = 2);
    const float far[2] = {3e38f, 0}, near[2] = {-3e38f, 0};
    o.normalize = 0;
    nf_mine_sets huge = good;
    huge.query = nf_matrix_f32(far, 2, 1), huge.query_labels.n = 2;
    huge.reference = nf_matrix_f32(near, 2, 1), huge.reference_labels.n = 2;
    huge.query_ids = huge.reference_ids = NULL;
    assert_fails(context, nf_mine_reference(context, &o, &huge, &mined), NF_ERR_RANGE, "float64");
    assert_null(mined);
    nf_context_free(context);
}

typedef struct memory_case {
    int hard;
    nf_miner miner;
    problem p;
    uint64_t out[2];
} memory_case;

static nf_status mine_once(nf_context *context, void *user) {
    memory_case *c = user;
    const nf_mine_sets sets = sets_of(&c->p);
    nf_mine_options o = nf_mine_defaults(c->miner);
    nf_mined *mined;
    nf_status status = c->hard ? nf_mine_hard_reference(context, NULL, &sets, &mined)
                               : nf_mine_reference(context, &o, &sets, &mined);
    if (status != NF_OK) return status;
    uint64_t sum = 0;
    for (size_t k = 0; k < mined->pairs.count; k++) {
        sum = sum * 31 + (uint64_t)(mined->pairs.i[k] * 1000 + mined->pairs.j[k]);
    }
    for (size_t k = 0; k < mined->triplets; k++) {
        sum = sum * 31 + (uint64_t)(mined->positive[k] * 1000 + mined->negative[k]);
    }
    c->out[0] = mined->pairs.count + mined->triplets;
    c->out[1] = sum;
    nf_mined_free(context, mined);
    return NF_OK;
}

static void failed_allocations_leave_nothing(void **state) {
    (void)state;
    static memory_case c;
    for (int miner = 0; miner <= NF_MINE_DISTANCE_WEIGHTED + 1; miner++) {
        c.hard = miner > NF_MINE_DISTANCE_WEIGHTED;
        c.miner = c.hard ? NF_MINE_PAIR_MARGIN : (nf_miner)miner;
        make(9, 40, 50, 5, &c.p);
        assert_true(test_fail_every_allocation(2, mine_once, &c, c.out, sizeof c.out) > 8);
        assert_true(c.out[0] > 10);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_miner_finds_what_loops_find),
        cmocka_unit_test(a_set_against_itself_is_one_set),
        cmocka_unit_test(hard_negatives_of_a_corpus),
        cmocka_unit_test(weighted_draws_once_for_each_positive),
        cmocka_unit_test(wrong_arguments_are_named),
        cmocka_unit_test(failed_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
