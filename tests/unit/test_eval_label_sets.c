/* Evaluation of rows with several labels each, against plain loops in double over small whole numbers,
 * whose distances are exact; and against the evaluation of single labels. */
#include "support.h"

#include <math.h>
#include <stdbool.h>

#include "base/random.h"
#include "eval/eval.h"

#define MOST 70
#define MOST_D 5
#define MOST_SET 5

typedef struct side {
    size_t n;
    double x[MOST * MOST_D];
    float xf[MOST * MOST_D];
    size_t offset[MOST + 1];
    int64_t label[MOST * MOST_SET];
    int64_t id[MOST];
    nf_label_sets sets;
} side;

typedef struct problem {
    side query, reference;
    bool self, ids, single;
    nf_type type;
    size_t d;
    nf_eval_options options;
} problem;

/* ---- random problems ------------------------------------------------------------------------ */

/* Sets of up to `longest` labels of `labels`, with repeats, empty ones and the label -1. */
static void fill_side(uint64_t seed, side *s, size_t d, size_t labels, size_t longest) {
    size_t count = 0;
    s->offset[0] = 0;
    for (size_t r = 0; r < s->n; r++) {
        const size_t size = (size_t)nf_random_below(seed, 1, r, longest + 1);
        for (size_t l = 0; l < size; l++) {
            s->label[count] = (int64_t)nf_random_below(seed, 2, count, labels) * 3 - 1;
            count++;
        }
        s->offset[r + 1] = count;
        s->id[r] = (int64_t)nf_random_below(seed, 3, r, MOST);
        for (size_t c = 0; c < d; c++) {
            double value = (double)nf_random_below(seed, 4, r * d + c, 4);
            if (size > 0) value += (double)(s->label[count - 1] % 4);
            s->x[r * d + c] = value;
            s->xf[r * d + c] = (float)value;
        }
    }
    s->sets = (nf_label_sets){s->offset, s->label};
}

static void fill_problem(uint64_t seed, problem *p) {
    const size_t labels = 1 + (size_t)nf_random_below(seed, 5, 0, 24);
    p->single = seed % 6 == 5;
    const size_t longest = p->single ? 1 : 1 + (size_t)nf_random_below(seed, 5, 1, MOST_SET);
    p->d = 1 + seed % MOST_D;
    p->query.n = (size_t)nf_random_below(seed, 5, 2, MOST + 1);
    p->reference.n = (size_t)nf_random_below(seed, 5, 3, MOST + 1);
    fill_side(seed, &p->query, p->d, labels, longest);
    fill_side(seed + 1000, &p->reference, p->d, labels, longest);
    p->self = seed % 3 != 0;
    p->ids = !p->self && seed % 2 == 0;
    p->type = seed % 4 < 2 ? NF_FLOAT32 : NF_FLOAT64;
    p->options = nf_eval_defaults();
    p->options.knn_k = 1 + (size_t)nf_random_below(seed, 5, 4, 9);
    p->options.k[1] = 3;
}

static nf_matrix rows_of(const problem *p, const side *s) {
    return p->type == NF_FLOAT32 ? nf_matrix_f32(s->xf, s->n, p->d)
                                 : nf_matrix_f64(s->x, s->n, p->d);
}

static nf_status run(nf_context *context, const problem *p, nf_eval_result *result) {
    if (p->self) {
        return nf_eval_label_sets(context, &p->options, rows_of(p, &p->query), &p->query.sets,
                                  result);
    }
    return nf_eval_label_sets_reference(
        context, &p->options, rows_of(p, &p->query), &p->query.sets, p->ids ? p->query.id : NULL,
        rows_of(p, &p->reference), &p->reference.sets, p->ids ? p->reference.id : NULL, result);
}

/* ---- the oracle ----------------------------------------------------------------------------- */

static bool has(const side *s, size_t r, int64_t label) {
    for (size_t l = s->offset[r]; l < s->offset[r + 1]; l++) {
        if (s->label[l] == label) return true;
    }
    return false;
}

static bool share(const side *a, size_t i, const side *b, size_t j) {
    for (size_t l = a->offset[i]; l < a->offset[i + 1]; l++) {
        if (has(b, j, a->label[l])) return true;
    }
    return false;
}

static bool empty(const side *s, size_t r) { return s->offset[r] == s->offset[r + 1]; }

typedef struct near {
    double distance;
    size_t index;
    bool same;
} near;

/* The others of query i by distance, then index; returns how many. */
static size_t rank(const problem *p, size_t i, near *list) {
    const side *other = p->self ? &p->query : &p->reference;
    size_t count = 0;
    for (size_t j = 0; j < other->n; j++) {
        if (empty(&p->query, i) || empty(other, j) || (p->self && i == j) ||
            (p->ids && p->query.id[i] == p->reference.id[j])) {
            continue;
        }
        double sum = 0;
        for (size_t c = 0; c < p->d; c++) {
            const double difference = p->query.x[i * p->d + c] - other->x[j * p->d + c];
            sum += difference * difference;
        }
        const double distance = p->type == NF_FLOAT32 ? (double)sqrtf((float)sum) : sqrt(sum);
        size_t at = count++;
        for (; at > 0 && list[at - 1].distance > distance; at--) list[at] = list[at - 1];
        list[at] = (near){distance, j, share(&p->query, i, other, j)};
    }
    return count;
}

/* Every label of every neighbour in turn; a tie is won by the one that is met first, labels of a row
 * in ascending order. */
static bool vote(const problem *p, size_t i, const near *list, size_t count) {
    const side *other = p->self ? &p->query : &p->reference;
    size_t most = 0;
    int64_t winner = 0;
    for (size_t a = 0; a < count && a < p->options.knn_k; a++) {
        for (int64_t label = -1; label < 80; label++) {
            size_t votes = 0;
            if (!has(other, list[a].index, label)) continue;
            for (size_t b = 0; b < count && b < p->options.knn_k; b++) {
                votes += has(other, list[b].index, label);
            }
            if (votes > most) most = votes, winner = label;
        }
    }
    return has(&p->query, i, winner);
}

typedef struct figures {
    size_t n, queries;
    double recall[3], precision, map, votes;
} figures;

static void add_query(const problem *p, size_t i, const near *list, size_t count, figures *f) {
    size_t relevant = 0;
    for (size_t a = 0; a < count; a++) relevant += list[a].same;
    if (relevant == 0) return;
    double hits = 0, sum = 0;
    f->queries++;
    for (size_t q = 0; q < 3; q++) {
        bool hit = false;
        for (size_t a = 0; a < count && a < p->options.k[q]; a++) hit |= list[a].same;
        f->recall[q] += hit;
    }
    for (size_t a = 0; a < relevant; a++) {
        hits += list[a].same;
        if (list[a].same) sum += hits / (double)(a + 1);
    }
    f->precision += hits / (double)relevant;
    f->map += sum / (double)relevant;
    f->votes += vote(p, i, list, count);
}

/* Pairs once each: with itself those to larger indices. */
static double auc(const problem *p, uint64_t *positives, uint64_t *negatives) {
    near *pair = malloc((MOST * MOST + 1) * sizeof *pair),
         *list = malloc((MOST + 1) * sizeof *list);
    size_t pairs = 0;
    double sum = 0;
    *positives = *negatives = 0;
    for (size_t i = 0; i < p->query.n; i++) {
        const size_t count = rank(p, i, list);
        for (size_t a = 0; a < count; a++) {
            if (!p->self || list[a].index > i) pair[pairs++] = list[a];
        }
    }
    for (size_t a = 0; a < pairs; a++) {
        *(pair[a].same ? positives : negatives) += 1;
        for (size_t b = 0; b < pairs && pair[a].same; b++) {
            if (pair[b].same) continue;
            sum += pair[a].distance == pair[b].distance ? 0.5 : pair[a].distance < pair[b].distance;
        }
    }
    free(pair), free(list);
    return sum / ((double)*positives * (double)*negatives);
}

static void assert_near(double got, double want, const char *name) {
    if ((isnan(got) && isnan(want)) || fabs(got - want) <= 1e-12) return;
    fail_msg("%s is %.17g, expected %.17g", name, got, want);
}

static void assert_figures(const problem *p, const nf_eval_result *got) {
    static near list[MOST + 1];
    figures f = {0};
    for (size_t i = 0; i < p->query.n; i++) {
        f.n += !empty(&p->query, i);
        add_query(p, i, list, rank(p, i, list), &f);
    }
    const double queries = (double)f.queries;
    assert_int_equal(got->n, f.n);
    assert_int_equal(got->queries, f.queries);
    assert_int_equal(got->dropped, f.n - f.queries);
    for (size_t q = 0; q < 3; q++) assert_near(got->recall[q], f.recall[q] / queries, "recall");
    assert_near(got->r_precision, f.precision / queries, "r_precision");
    assert_near(got->map_at_r, f.map / queries, "map_at_r");
    assert_near(got->knn_accuracy, f.votes / queries, "knn_accuracy");
    uint64_t positives, negatives;
    const double area = auc(p, &positives, &negatives);
    assert_int_equal(got->positive_pairs, positives);
    assert_int_equal(got->negative_pairs, negatives);
    assert_near(got->roc_auc, area, "roc_auc");
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void figures_match_their_definitions(void **state) {
    (void)state;
    nf_context *contexts[2] = {test_context(1), test_context(3)};
    static problem p;
    size_t dropped = 0, left_out = 0;
    for (uint64_t seed = 0; seed < 300; seed++) {
        nf_eval_result got;
        fill_problem(seed, &p);
        assert_ok(contexts[seed % 2], run(contexts[seed % 2], &p, &got));
        assert_figures(&p, &got);
        dropped += got.dropped;
        left_out += p.query.n - got.n;
    }
    assert_true(dropped > 100 && left_out > 100);
    nf_context_free(contexts[0]), nf_context_free(contexts[1]);
}

static void one_label_each_is_the_same_bits(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    static problem p;
    for (uint64_t seed = 5; seed < 600; seed += 6) {
        nf_eval_result sets, labels;
        int64_t label[2][MOST];
        fill_problem(seed, &p);
        assert_true(p.single);
        p.self = seed % 4 == 1, p.ids = !p.self && seed % 8 < 4;
        p.options.distance.metric = (nf_metric)(seed % 5);
        const side *sides[2] = {&p.query, &p.reference};
        for (int s = 0; s < 2; s++) { /* -1 is a label of sets: others stand for it */
            for (size_t r = 0; r < sides[s]->n; r++) {
                label[s][r] = empty(sides[s], r) ? -1 : sides[s]->label[sides[s]->offset[r]] + 10;
            }
        }
        const nf_labels query = {label[0], p.query.n, 1}, reference = {label[1], p.reference.n, 1};
        assert_ok(context, run(context, &p, &sets));
        if (p.self) {
            assert_ok(context, nf_eval(context, &p.options, rows_of(&p, &p.query), query, &labels));
        } else {
            assert_ok(context,
                      nf_eval_reference(context, &p.options, rows_of(&p, &p.query), query,
                                        p.ids ? p.query.id : NULL, rows_of(&p, &p.reference),
                                        reference, p.ids ? p.reference.id : NULL, &labels));
        }
        assert_memory_equal(&sets, &labels, sizeof sets);
    }
    nf_context_free(context);
}

/* Beyond what is collected, so that bins are counted, with many sets that differ. */
static void threads_and_order_change_nothing(void **state) {
    (void)state;
    const size_t n = 1700, d = 6, size = 4;
    float *x = malloc(n * d * sizeof *x);
    int64_t *label = malloc(n * size * sizeof *label), *reversed = malloc(n * size * sizeof *label);
    size_t *offset = malloc((n + 1) * sizeof *offset);
    test_random_labels(3, label, n * size, 0, 60);
    for (size_t r = 0; r <= n; r++) offset[r] = r * size;
    for (size_t r = 0; r < n; r++) {
        for (size_t c = 0; c < d; c++) {
            x[r * d + c] = (float)(nf_random_unit(1, 1, r * d + c) +
                                   0.02 * (double)label[r * size + c % size]);
        }
        for (size_t l = 0; l < size; l++) reversed[r * size + l] = label[(r + 1) * size - 1 - l];
    }
    const nf_label_sets sets = {offset, label}, other_order = {offset, reversed};
    nf_eval_result first, other;
    const int threads[] = {1, 2, 3, 7};
    for (int t = 0; t < 4; t++) {
        nf_context *context = test_context(threads[t]);
        assert_ok(context,
                  nf_eval_label_sets(context, NULL, nf_matrix_f32(x, n, d),
                                     t % 2 == 0 ? &sets : &other_order, t == 0 ? &first : &other));
        if (t > 0) assert_memory_equal(&first, &other, sizeof first);
        nf_context_free(context);
    }
    assert_true(first.positive_pairs + first.negative_pairs > nf_eval_default_limits().collect);
    assert_true(first.roc_auc > 0.5 && first.positive_pairs > 100000);
    nf_eval_limits limits = nf_eval_default_limits();
    limits.collect = SIZE_MAX;
    nf_context *context = test_context(2);
    nf_eval_options options = nf_eval_defaults();
    nf_eval_input input = {
        .query = nf_matrix_f32(x, n, d), .self = true, .several = true, .query_sets = &sets};
    assert_ok(context, nf_eval_run(context, &options, &input, limits, &other));
    assert_memory_equal(&first, &other, sizeof first);
    nf_context_free(context);
    free(x), free(label), free(reversed), free(offset);
}

/* Sets that begin alike or hold the same labels split differently are not one set. */
static void sets_are_told_apart(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const float x[] = {0, 1, 2, 3, 4, 5};
    const int64_t label[] = {1, 2, 1, 2, INT64_MAX, INT64_MIN, 2, 2, 2};
    const size_t offset[] = {0, 1, 2, 4, 5, 6, 9}; /* {1}, {2}, {1, 2}, {max}, {min}, {2} */
    nf_eval_result got;
    assert_ok(context, nf_eval_label_sets(context, NULL, nf_matrix_f32(x, 6, 1),
                                          &(nf_label_sets){offset, label}, &got));
    assert_int_equal(got.n, 6);
    assert_int_equal(got.dropped, 2);
    assert_int_equal(got.positive_pairs, 4); /* (0, 2), (1, 2), (1, 5), (2, 5) */
    assert_int_equal(got.negative_pairs, 11);
    nf_context_free(context);
}

static void long_sets_and_empty_ones(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    const size_t n = 4, size = 5000;
    int64_t *label = malloc(n * size * sizeof *label);
    for (size_t l = 0; l < n * size; l++) label[l] = (int64_t)l; /* nothing in common */
    label[n * size - 1] = 4999;                                  /* but the last with the first */
    const float x[] = {0, 1, 2, 3, 4};
    const size_t offset[] = {0, size, 2 * size, 2 * size, 3 * size, 4 * size}, none[6] = {0};
    nf_eval_result got;
    assert_ok(context, nf_eval_label_sets(context, NULL, nf_matrix_f32(x, 5, 1),
                                          &(nf_label_sets){offset, label}, &got));
    assert_int_equal(got.n, 4);
    assert_int_equal(got.queries, 2);
    assert_int_equal(got.positive_pairs, 1);
    assert_int_equal(got.negative_pairs, 5);
    for (size_t rows = 0; rows <= 5; rows++) {
        assert_ok(context, nf_eval_label_sets(context, NULL, nf_matrix_f32(x, rows, 1),
                                              &(nf_label_sets){none, NULL}, &got));
        assert_int_equal(got.n, 0);
        assert_true(isnan(got.map_at_r) && isnan(got.roc_auc));
    }
    free(label);
    nf_context_free(context);
}

static void wrong_arguments_are_named(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const float x[] = {0, 1, 2};
    const int64_t label[] = {1, 2, 3}, id[] = {0, 1, 2};
    const size_t offset[] = {0, 1, 2, 3}, descending[] = {0, 2, 1, 3}, late[] = {1, 1, 2, 3};
    const nf_matrix rows = nf_matrix_f32(x, 3, 1);
    const nf_label_sets good = {offset, label}, no_label = {offset, NULL}, no_offset = {0};
    nf_eval_result got, before;
    memset(&got, 0x55, sizeof got);
    before = got;
    assert_fails(context, nf_eval_label_sets(context, NULL, rows, NULL, &got), NF_ERR_ARG,
                 "sets is NULL");
    assert_fails(context, nf_eval_label_sets(context, NULL, rows, &no_offset, &got), NF_ERR_ARG,
                 "sets.offset is NULL");
    assert_fails(context, nf_eval_label_sets(context, NULL, rows, &no_label, &got), NF_ERR_ARG,
                 "sets.label is NULL");
    assert_fails(context,
                 nf_eval_label_sets(context, NULL, rows, &(nf_label_sets){descending, label}, &got),
                 NF_ERR_DATA, "sets.offset[2] is 1");
    assert_fails(context,
                 nf_eval_label_sets(context, NULL, rows, &(nf_label_sets){late, label}, &got),
                 NF_ERR_DATA, "sets.offset[0] is 1");
    assert_fails(
        context,
        nf_eval_label_sets_reference(context, NULL, rows, &good, NULL, rows, NULL, NULL, &got),
        NF_ERR_ARG, "reference_sets is NULL");
    assert_fails(
        context,
        nf_eval_label_sets_reference(context, NULL, rows, &good, id, rows, &good, NULL, &got),
        NF_ERR_ARG, "reference_ids is NULL");
    assert_memory_equal(&got, &before, sizeof got);
    nf_context_free(context);
}

/* ---- memory --------------------------------------------------------------------------------- */

typedef struct memory_case {
    problem p;
    nf_eval_result result;
} memory_case;

static nf_status body(nf_context *context, void *user) {
    memory_case *c = user;
    return run(context, &c->p, &c->result);
}

static void out_of_memory_is_clean(void **state) {
    (void)state;
    static memory_case c;
    const uint64_t seeds[] = {7, 18}; /* nf_eval_label_sets; nf_eval_label_sets_reference */
    for (int s = 0; s < 2; s++) {
        fill_problem(seeds[s], &c.p);
        assert_true(c.p.self == (s == 0) && c.p.ids == (s == 1) && c.p.query.n > 5);
        assert_true(test_fail_every_allocation(2, body, &c, &c.result, sizeof c.result) > 20);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_match_their_definitions),
        cmocka_unit_test(one_label_each_is_the_same_bits),
        cmocka_unit_test(threads_and_order_change_nothing),
        cmocka_unit_test(sets_are_told_apart),
        cmocka_unit_test(long_sets_and_empty_ones),
        cmocka_unit_test(wrong_arguments_are_named),
        cmocka_unit_test(out_of_memory_is_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
