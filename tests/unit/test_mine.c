/* Miners against plain loops over the full distance matrix, written from the definitions. */
#include "support.h"

#include <math.h>
#include <stdbool.h>

typedef struct found {
    size_t count;
    int64_t (*row)[4]; /* i, j, same or anchor, positive, negative */
} found;

typedef struct problem {
    nf_type type;
    size_t n, d;
    void *x;
    int64_t *labels;
    double *t; /* (n, n) */
} problem;

static nf_matrix view(const problem *p) { return (nf_matrix){p->x, p->type, p->n, p->d, p->d}; }

static problem make(uint64_t seed, nf_type type, size_t n, size_t d, int64_t classes) {
    problem p = {.type = type, .n = n, .d = d};
    double *wide = malloc((n * d + 1) * sizeof *wide);
    p.x = malloc(n * d * nf_type_size(type) + 1);
    p.labels = malloc((n + 1) * sizeof *p.labels);
    p.t = malloc((n * n + 1) * sizeof *p.t);
    test_random_f64(seed, wide, n * d, -1, 1);
    test_random_labels(seed + 1, p.labels, n, seed % 3 == 0 ? -1 : 0, classes - 1);
    for (size_t k = 0; n > 8 && k < d; k++) {
        wide[3 * d + k] = wide[5 * d + k]; /* duplicates */
        wide[7 * d + k] = 0;               /* a zero row */
    }
    for (size_t e = 0; e < n * d; e++) {
        if (type == NF_FLOAT32) {
            ((float *)p.x)[e] = (float)wide[e];
        } else {
            ((double *)p.x)[e] = wide[e];
        }
    }
    free(wide);
    return p;
}

static void release(problem *p) { free(p->x), free(p->labels), free(p->t); }

static void measure(nf_context *context, problem *p, nf_metric metric, int normalize) {
    nf_distance_options options = nf_distance_defaults();
    options.metric = metric;
    options.normalize = normalize;
    void *t = malloc(p->n * p->n * nf_type_size(p->type) + 1);
    nf_matrix_out out = {t, p->type, p->n, p->n, p->n};
    assert_ok(context, nf_distances_full(context, &options, view(p), view(p), out));
    for (size_t e = 0; e < p->n * p->n; e++) {
        p->t[e] = p->type == NF_FLOAT32 ? (double)((float *)t)[e] : ((double *)t)[e];
    }
    free(t);
}

/* 1 positive, 0 negative, -1 no pair. */
static int kind_of(const problem *p, size_t i, size_t j) {
    if (i == j || p->labels[i] == -1 || p->labels[j] == -1) return -1;
    return p->labels[i] == p->labels[j];
}

static void add(found *f, int64_t a, int64_t b, int64_t c) {
    if ((f->count & (f->count - 1)) == 0) { /* full at powers of two */
        f->row = realloc(f->row, (2 * f->count + 1) * sizeof *f->row);
    }
    f->row[f->count][0] = a, f->row[f->count][1] = b, f->row[f->count][2] = c;
    f->row[f->count++][3] = 0;
}

/* The nearest or farthest of a kind from row i, beyond `beyond`; n if none. */
static size_t extreme(const problem *p, size_t i, int kind, int far, double beyond) {
    size_t best = p->n;
    for (size_t j = 0; j < p->n; j++) {
        double t = p->t[i * p->n + j];
        if (kind_of(p, i, j) != kind || !(t > beyond)) continue;
        if (best == p->n || (far ? t > p->t[i * p->n + best] : t < p->t[i * p->n + best])) best = j;
    }
    return best;
}

static found by_loops(const problem *p, const nf_mine_options *o) {
    found f = {0};
    const size_t n = p->n;
    for (size_t a = 0; a < n; a++) {
        const double *t = p->t + a * n;
        size_t near = extreme(p, a, 0, 0, -HUGE_VAL), far = extreme(p, a, 1, 1, -HUGE_VAL);
        size_t easy = extreme(p, a, 1, 0, -HUGE_VAL);
        size_t beyond = easy < n ? extreme(p, a, 0, 0, t[easy]) : n;
        for (size_t j = 0; j < n; j++) {
            int kind = kind_of(p, a, j);
            if (kind < 0) continue;
            if (o->miner == NF_MINE_PAIR_MARGIN && j > a &&
                (kind ? t[j] > o->pos_margin : t[j] < o->neg_margin)) {
                add(&f, (int64_t)a, (int64_t)j, kind);
            }
            if (o->miner == NF_MINE_MULTI_SIMILARITY && near < n && far < n &&
                (kind ? t[j] + o->epsilon > t[near] : t[j] - o->epsilon < t[far])) {
                add(&f, (int64_t)a, (int64_t)j, kind);
            }
            for (size_t k = 0; k < n; k++) {
                bool triplets = o->miner == NF_MINE_TRIPLET_MARGIN || o->miner == NF_MINE_SEMI_HARD;
                if (!triplets || kind != 1 || kind_of(p, a, k) != 0) continue;
                double gap = t[k] - t[j];
                bool violation = gap <= o->margin;
                bool keep = o->miner == NF_MINE_SEMI_HARD || o->violation == NF_VIOLATION_SEMI_HARD
                                ? violation && gap > 0
                            : o->violation == NF_VIOLATION_ALL  ? violation
                            : o->violation == NF_VIOLATION_HARD ? violation && gap <= 0
                                                                : !violation;
                if (keep) add(&f, (int64_t)a, (int64_t)j, (int64_t)k);
            }
        }
        if (o->miner == NF_MINE_BATCH_HARD && near < n && far < n) {
            add(&f, (int64_t)a, (int64_t)far, (int64_t)near);
        }
        if (o->miner == NF_MINE_EASY_POSITIVE && beyond < n) {
            add(&f, (int64_t)a, (int64_t)easy, (int64_t)beyond);
        }
    }
    return f;
}

static void assert_found(const nf_mined *mined, const found *f) {
    size_t count = mined->pairs.count + mined->triplets;
    assert_int_equal(count, f->count);
    for (size_t k = 0; k < count; k++) {
        bool pairs = mined->triplets == 0;
        assert_int_equal(pairs ? mined->pairs.i[k] : mined->anchor[k], f->row[k][0]);
        assert_int_equal(pairs ? mined->pairs.j[k] : mined->positive[k], f->row[k][1]);
        assert_int_equal(pairs ? mined->pairs.same[k] : mined->negative[k], f->row[k][2]);
    }
}

static void every_miner_finds_what_loops_find(void **state) {
    (void)state;
    nf_context *contexts[2] = {test_context(1), test_context(3)};
    const nf_metric metrics[] = {NF_EUCLIDEAN, NF_SQEUCLIDEAN, NF_COSINE, NF_DOT, NF_CITYBLOCK};
    const size_t sizes[] = {0, 1, 2, 9, 40, 130};
    size_t most = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        problem p =
            make(seed, seed % 2 ? NF_FLOAT32 : NF_FLOAT64, sizes[seed % 6], 1 + seed * 7 % 19,
                 seed % 5 == 0   ? 1
                 : seed % 7 == 0 ? 1000
                                 : 5);
        for (int miner = NF_MINE_PAIR_MARGIN; miner <= NF_MINE_SEMI_HARD; miner++) {
            nf_mine_options o = nf_mine_defaults((nf_miner)miner);
            if (seed >= 5) o.metric = metrics[seed % 5];
            if (seed >= 5) o.normalize = seed % 4 == 1;
            o.violation = (nf_violation)(seed % 4);
            measure(contexts[0], &p, o.metric, o.normalize);
            nf_labels labels = {p.labels, p.n, 1};
            found f = by_loops(&p, &o);
            for (int c = 0; c < 2; c++) {
                nf_mined *mined;
                assert_ok(contexts[c], nf_mine(contexts[c], &o, view(&p), labels, &mined));
                assert_found(mined, &f);
                nf_mined_free(contexts[c], mined);
            }
            if (f.count > most) most = f.count;
            free(f.row);
        }
        release(&p);
    }
    assert_true(most > 10000);
    nf_context_free(contexts[0]);
    nf_context_free(contexts[1]);
}

/* ---- distance-weighted ------------------------------------------------------------------------ */

/* Drawn negatives follow 1 / q(t), by the formula in long double. */
static void weighted_draws_follow_the_density(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    problem p = make(11, NF_FLOAT64, 24, 6, 3);
    nf_mine_options o = nf_mine_defaults(NF_MINE_DISTANCE_WEIGHTED);
    o.per_anchor = 40000;
    nf_mined *mined;
    measure(context, &p, NF_EUCLIDEAN, 1);
    assert_ok(context, nf_mine(context, &o, view(&p), (nf_labels){p.labels, p.n, 1}, &mined));
    size_t at = 0, cells = 0;
    for (size_t a = 0; a < p.n; a++) {
        size_t negative[24] = {0}, positive[24] = {0}, positives = 0;
        long double weight[24] = {0}, total = 0;
        for (size_t j = 0; j < p.n; j++) {
            long double t = fmax(p.t[a * p.n + j], o.cutoff);
            positives += kind_of(&p, a, j) == 1;
            if (kind_of(&p, a, j) != 0 || t >= o.nonzero_loss_cutoff) continue;
            weight[j] = powl(t, 2 - 6) * powl(1 - t * t / 4, -(6 - 3) / 2.0L);
            total += weight[j];
        }
        if (total == 0 || positives == 0) continue;
        for (size_t k = 0; k < o.per_anchor; k++, at++) {
            assert_int_equal(mined->anchor[at], a);
            negative[mined->negative[at]]++;
            positive[mined->positive[at]]++;
        }
        for (size_t j = 0; j < p.n; j++) {
            double share = (double)(weight[j] / total), n = (double)o.per_anchor;
            double deviation = sqrt(n * share * (1 - share)) + 1e-9;
            assert_true(fabs((double)negative[j] - n * share) <= 5.5 * deviation);
            share = kind_of(&p, a, j) == 1 ? 1 / (double)positives : 0;
            deviation = sqrt(n * share * (1 - share)) + 1e-9;
            assert_true(fabs((double)positive[j] - n * share) <= 5.5 * deviation);
            cells++;
        }
    }
    assert_int_equal(at, mined->triplets);
    assert_true(cells > 100);
    nf_mined_free(context, mined);
    release(&p);
    nf_context_free(context);
}

/* In 512 dimensions weights span hundreds of orders of magnitude: every anchor that has a negative
 * within the cutoff gives triplets all the same, as many as its class has rows. */
static void weighted_never_loses_an_anchor(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    enum { N = 60, D = 512 };
    float *x = malloc(N * D * sizeof *x);
    int64_t labels[N];
    test_random_f32(3, x, N * D, -1, 1);
    for (int r = 0; r < N; r++) {
        labels[r] = r % 10;
        x[r * D] += r < 30 ? 40 : 15; /* two cones: distances small within, larger in the second */
    }
    for (int k = 0; k < D; k++) x[k] = k == 1 ? -1 : 0; /* one with no negative within 1.4 */
    nf_mine_options o = nf_mine_defaults(NF_MINE_DISTANCE_WEIGHTED);
    o.nonzero_loss_cutoff = 1.35;
    nf_matrix view = {x, NF_FLOAT32, N, D, D};
    nf_mined *mined;
    assert_ok(context, nf_mine(context, &o, view, (nf_labels){labels, N, 1}, &mined));
    assert_int_equal(mined->triplets, (N - 1) * 6);
    for (size_t k = 0; k < mined->triplets; k++) {
        assert_int_equal(mined->anchor[k], 1 + k / 6);
        assert_int_equal(labels[mined->positive[k]], labels[mined->anchor[k]]);
        assert_int_not_equal(labels[mined->negative[k]], labels[mined->anchor[k]]);
        assert_int_not_equal(mined->positive[k], mined->anchor[k]);
        assert_int_not_equal(mined->negative[k], 0);
    }
    nf_mined *again;
    assert_ok(context, nf_mine(context, &o, view, (nf_labels){labels, N, 1}, &again));
    assert_memory_equal(mined->negative, again->negative, mined->triplets * sizeof(int64_t));
    nf_mined_free(context, again);
    o.seed = 1;
    assert_ok(context, nf_mine(context, &o, view, (nf_labels){labels, N, 1}, &again));
    assert_memory_not_equal(mined->negative, again->negative, mined->triplets * sizeof(int64_t));
    nf_mined_free(context, again);
    nf_mined_free(context, mined);
    free(x);
    nf_context_free(context);
}

/* ---- hard negatives of a data set -------------------------------------------------------------- */

typedef struct ranked {
    double t;
    size_t item;
} ranked;

static int by_distance(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->t != y->t) return x->t < y->t ? -1 : 1;
    return x->item < y->item ? -1 : 1;
}

static size_t rank_kind(const problem *p, size_t a, int kind, ranked *out) {
    size_t count = 0;
    for (size_t j = 0; j < p->n; j++) {
        double t = p->t[a * p->n + j];
        if (kind_of(p, a, j) == kind) out[count++] = (ranked){kind ? -t : t, j};
    }
    qsort(out, count, sizeof *out, by_distance);
    return count;
}

/* The negatives that range_max, the filters and range_min leave, in order. */
static size_t candidates(const problem *p, const nf_mine_hard_options *o, size_t a, ranked *out) {
    ranked *positive = malloc((p->n + 1) * sizeof *positive);
    size_t count = rank_kind(p, a, 0, out), positives = rank_kind(p, a, 1, positive), kept = 0;
    bool filter = !isnan(o->absolute_margin) || !isnan(o->relative_margin) ||
                  !isnan(o->min_distance) || !isnan(o->max_distance);
    size_t range =
        o->range_max > 0 ? o->range_max : o->range_min + (filter ? 10 : 1) * o->negatives;
    for (size_t k = 0; k < count && k < range; k++) {
        double t = out[k].t, worst = positives > 0 ? -positive[0].t : NAN;
        double s = o->metric == NF_COSINE ? 1 - t : -t,
               best = o->metric == NF_COSINE ? 1 - worst : -worst;
        bool keep = true;
        if (positives > 0 && !isnan(o->absolute_margin)) keep &= t >= worst + o->absolute_margin;
        if (positives > 0 && !isnan(o->relative_margin)) {
            keep &= s <= best - fabs(best) * o->relative_margin;
        }
        if (!isnan(o->min_distance)) keep &= t >= o->min_distance;
        if (!isnan(o->max_distance)) keep &= t <= o->max_distance;
        if (keep) out[kept++] = out[k];
    }
    free(positive);
    size_t first = o->range_min < kept ? o->range_min : kept;
    memmove(out, out + first, (kept - first) * sizeof *out);
    return kept - first;
}

static size_t check_anchor(const problem *p, const nf_mine_hard_options *o, size_t a,
                           const nf_mined *mined, size_t at) {
    ranked *rank = malloc((p->n + 1) * sizeof *rank);
    size_t left = candidates(p, o, a, rank), taken = left < o->negatives ? left : o->negatives;
    size_t positives = 0, seen = 0;
    ranked *positive = malloc((p->n + 1) * sizeof *positive);
    size_t known = rank_kind(p, a, 1, positive);
    if (p->labels[a] != -1 && taken > 0) positives = known < o->positives ? known : o->positives;
    if (p->labels[a] == -1) taken = 0;
    for (size_t k = 0; k < positives; k++, at++) {
        assert_int_equal(mined->pairs.i[at], a);
        assert_int_equal(mined->pairs.j[at], positive[k].item);
        assert_int_equal(mined->pairs.same[at], 1);
    }
    for (size_t k = 0; k < taken; k++, at++) {
        assert_int_equal(mined->pairs.i[at], a);
        assert_int_equal(mined->pairs.same[at], 0);
        while (seen < left && rank[seen].item != (size_t)mined->pairs.j[at]) seen++;
        assert_true(seen < left); /* a candidate, in the candidates' order */
        if (!o->random) assert_int_equal(seen, k);
        seen++;
    }
    free(rank), free(positive);
    return at;
}

static void hard_negatives_are_the_filtered_nearest(void **state) {
    (void)state;
    nf_context *contexts[2] = {test_context(1), test_context(3)};
    const nf_metric metrics[] = {NF_COSINE, NF_EUCLIDEAN, NF_DOT, NF_SQEUCLIDEAN, NF_CITYBLOCK};
    size_t pairs = 0;
    for (uint64_t seed = 0; seed < 80; seed++) {
        problem p = make(seed, seed % 2 ? NF_FLOAT32 : NF_FLOAT64, seed % 9 == 0 ? seed % 3 : 120,
                         2 + seed % 17, seed % 11 == 0 ? 1 : 30);
        nf_mine_hard_options o = nf_mine_hard_defaults();
        o.metric = metrics[seed % 5];
        o.negatives = 1 + seed % 6;
        o.range_min = seed % 3 == 0 ? seed % 8 : 0;
        if (seed % 4 == 1) o.range_max = o.range_min + o.negatives + 12;
        if (seed % 5 < 2) o.absolute_margin = seed % 2 ? 0.02 : -0.3;
        if (seed % 7 < 2) o.relative_margin = 0.05;
        if (seed % 6 == 0) o.min_distance = 0.2;
        if (seed % 6 == 3) o.max_distance = 0.9;
        o.random = seed % 8 >= 5;
        o.seed = seed;
        o.positives = seed % 4;
        measure(contexts[0], &p, o.metric, o.normalize);
        for (int c = 0; c < 2; c++) {
            nf_mined *mined;
            nf_labels labels = {p.labels, p.n, 1};
            assert_ok(contexts[c], nf_mine_hard(contexts[c], &o, view(&p), labels, &mined));
            size_t at = 0;
            for (size_t a = 0; a < p.n; a++) at = check_anchor(&p, &o, a, mined, at);
            assert_int_equal(at, mined->pairs.count);
            assert_ok(contexts[c], nf_pairs_check(contexts[c], mined->pairs, p.n));
            pairs += mined->pairs.count;
            nf_mined_free(contexts[c], mined);
        }
        release(&p);
    }
    assert_true(pairs > 10000);
    nf_context_free(contexts[0]);
    nf_context_free(contexts[1]);
}

/* Each subset of three of five candidates is as likely as any other. */
static void random_negatives_are_uniform(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const double x[6] = {0, 1, 2, 3, 4, 5};
    const int64_t labels[6] = {0, 1, 1, 1, 1, 1};
    nf_mine_hard_options o = nf_mine_hard_defaults();
    o.metric = NF_EUCLIDEAN;
    o.range_max = 5;
    o.random = 1;
    size_t seen[64] = {0};
    enum { DRAWS = 20000 };
    for (o.seed = 0; o.seed < DRAWS; o.seed++) {
        nf_mined *mined;
        nf_matrix view = {x, NF_FLOAT64, 6, 1, 1};
        assert_ok(context, nf_mine_hard(context, &o, view, (nf_labels){labels, 6, 1}, &mined));
        size_t subset = 0;
        for (size_t k = 0; k < 3; k++) subset |= (size_t)1 << mined->pairs.j[k];
        seen[subset]++;
        nf_mined_free(context, mined);
    }
    for (size_t subset = 0; subset < 64; subset++) {
        size_t size = 0;
        for (size_t k = 0; k < 6; k++) size += subset >> k & 1;
        if (size != 3 || (subset & 1)) {
            assert_int_equal(seen[subset], 0);
        } else {
            assert_true(fabs((double)seen[subset] - DRAWS / 10.0) < 5 * sqrt(DRAWS / 10.0));
        }
    }
    nf_context_free(context);
}

/* ---- arguments and memory ----------------------------------------------------------------------- */

static void wrong_arguments_are_named(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const float x[4] = {0, 1, 2, NAN};
    const int64_t labels[4] = {0, 0, 1, 1}, signs[4] = {-1, 1, -1, 1};
    nf_matrix good = {x, NF_FLOAT32, 3, 1, 1}, bad = {x, NF_FLOAT32, 4, 1, 1};
    nf_mined *mined = NULL;
    nf_mine_options o = nf_mine_defaults(NF_MINE_PAIR_MARGIN);
    nf_labels three = {labels, 3, 1};
    assert_fails(context, nf_mine(context, NULL, good, three, &mined), NF_ERR_ARG, "options");
    assert_fails(context, nf_mine(context, &o, good, three, NULL), NF_ERR_ARG, "mined");
    assert_fails(context, nf_mine(context, &o, bad, (nf_labels){labels, 4, 1}, &mined), NF_ERR_DATA,
                 "x");
    assert_fails(context, nf_mine(context, &o, good, (nf_labels){labels, 4, 1}, &mined), NF_ERR_ARG,
                 "labels");
    assert_fails(context, nf_mine(context, &o, good, (nf_labels){signs, 3, 1}, &mined), NF_ERR_DATA,
                 "-1 and +1");
    o.pos_margin = NAN;
    assert_fails(context, nf_mine(context, &o, good, three, &mined), NF_ERR_ARG, "pos_margin");
    o = nf_mine_defaults(NF_MINE_DISTANCE_WEIGHTED);
    o.metric = NF_COSINE;
    assert_fails(context, nf_mine(context, &o, good, three, &mined), NF_ERR_ARG, "euclidean");
    nf_miner miner;
    assert_fails(context, nf_miner_parse(context, "hard", &miner), NF_ERR_ARG, "batch-hard");
    assert_ok(context, nf_miner_parse(context, "easy-positive", &miner));
    assert_int_equal(miner, NF_MINE_EASY_POSITIVE);
    nf_mine_hard_options h = nf_mine_hard_defaults();
    h.range_min = 5, h.range_max = 7;
    assert_fails(context, nf_mine_hard(context, &h, good, three, &mined), NF_ERR_ARG, "range_max");
    h = nf_mine_hard_defaults();
    h.negatives = 0;
    assert_fails(context, nf_mine_hard(context, &h, good, three, &mined), NF_ERR_ARG, "negatives");
    const float huge[3] = {-3e38f, 3e38f, 0};
    nf_matrix wide = {huge, NF_FLOAT32, 3, 1, 1};
    o = nf_mine_defaults(NF_MINE_BATCH_HARD);
    o.normalize = 0;
    assert_fails(context, nf_mine(context, &o, wide, three, &mined), NF_ERR_RANGE, "float64");
    assert_null(mined);
    nf_context_free(context);
}

typedef struct memory_case {
    int hard;
    nf_miner miner;
    float x[50 * 3];
    int64_t labels[50];
    uint64_t out[2];
} memory_case;

static nf_status mine_once(nf_context *context, void *user) {
    memory_case *c = user;
    nf_matrix x = {c->x, NF_FLOAT32, 50, 3, 3};
    nf_labels labels = {c->labels, 50, 1};
    nf_mine_options o = nf_mine_defaults(c->miner);
    nf_mined *mined;
    nf_status status = c->hard ? nf_mine_hard(context, NULL, x, labels, &mined)
                               : nf_mine(context, &o, x, labels, &mined);
    if (status != NF_OK) return status;
    uint64_t hash = 1469598103934665603u;
    for (size_t k = 0; k < mined->pairs.count; k++) {
        hash = (hash ^ (uint64_t)(mined->pairs.i[k] * 1000 + mined->pairs.j[k])) * 1099511628211u;
    }
    for (size_t k = 0; k < mined->triplets; k++) {
        hash = (hash ^ (uint64_t)(mined->positive[k] * 1000 + mined->negative[k])) * 1099511628211u;
    }
    c->out[0] = mined->pairs.count + mined->triplets;
    c->out[1] = hash;
    nf_mined_free(context, mined);
    return NF_OK;
}

static void failed_allocations_leave_nothing(void **state) {
    (void)state;
    for (int miner = 0; miner <= NF_MINE_DISTANCE_WEIGHTED + 1; miner++) {
        memory_case c = {.hard = miner > NF_MINE_DISTANCE_WEIGHTED,
                         .miner = miner > NF_MINE_DISTANCE_WEIGHTED ? 0 : (nf_miner)miner};
        test_random_f32(4, c.x, 150, -1, 1);
        test_random_labels(5, c.labels, 50, 0, 6);
        assert_true(test_fail_every_allocation(2, mine_once, &c, c.out, sizeof c.out) > 5);
        assert_true(c.out[0] > 10);
    }
}

/* nf_miner_parse allocates nothing, so that it cannot run out of memory. */
static nf_status parse_once(nf_context *context, void *user) {
    return nf_miner_parse(context, "semi-hard", user);
}

static void parsing_needs_no_memory(void **state) {
    (void)state;
    nf_miner miner = NF_MINE_PAIR_MARGIN;
    test_fail_every_allocation(1, parse_once, &miner, &miner, sizeof miner);
    assert_int_equal(miner, NF_MINE_SEMI_HARD);
}

/* Four anchors of 2^62 triplets each are 2^64 in all, which 64 bits count as none. */
static void more_triplets_than_can_be_counted_are_refused(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const float x[] = {1, 0, 0.8f, 0.6f, 0.6f, 0.8f, 0, 1};
    const int64_t labels[] = {0, 1, 0, 1};
    nf_mine_options o = nf_mine_defaults(NF_MINE_DISTANCE_WEIGHTED);
    o.nonzero_loss_cutoff = 1.9;
    nf_mined *mined = NULL;
    for (int bits = 61; bits <= 63; bits++) {
        o.per_anchor = (size_t)1 << bits;
        assert_fails(
            context,
            nf_mine(context, &o, nf_matrix_f32(x, 4, 2), (nf_labels){labels, 4, 1}, &mined),
            NF_ERR_RANGE, "mined");
    }
    assert_null(mined);
    nf_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_triplets_than_can_be_counted_are_refused),
        cmocka_unit_test(every_miner_finds_what_loops_find),
        cmocka_unit_test(weighted_draws_follow_the_density),
        cmocka_unit_test(weighted_never_loses_an_anchor),
        cmocka_unit_test(hard_negatives_are_the_filtered_nearest),
        cmocka_unit_test(random_negatives_are_uniform),
        cmocka_unit_test(wrong_arguments_are_named),
        cmocka_unit_test(failed_allocations_leave_nothing),
        cmocka_unit_test(parsing_needs_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
