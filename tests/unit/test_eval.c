/* Evaluation against definitions written out naively: full sorts, every threshold in turn. */
#include "support.h"

#include <math.h>
#include <stdbool.h>

#include "base/random.h"
#include "eval/eval.h"

/* ---- the oracle ----------------------------------------------------------------------------- */

typedef struct problem {
    nf_eval_options options;
    nf_eval_input input;
} problem;

typedef struct entry {
    double distance;
    size_t index;
    bool same;
} entry;

static int by_distance(const void *pa, const void *pb) {
    const entry *a = pa, *b = pb;
    if (isnan(a->distance) != isnan(b->distance)) return isnan(a->distance) ? 1 : -1;
    if (a->distance < b->distance) return -1;
    if (a->distance > b->distance) return 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

typedef struct oracle {
    const problem *p;
    size_t n, m;
    void *full;
    entry *pair; /* all pairs of the verification, distances as float32 */
    size_t pairs;
} oracle;

static bool unlabelled(nf_labels l, size_t r) { return l.has_unlabelled && l.data[r] == -1; }

static nf_matrix reference_of(const nf_eval_input *input) {
    return input->self ? input->query : input->reference;
}

static nf_labels reference_labels_of(const nf_eval_input *input) {
    return input->self ? input->query_labels : input->reference_labels;
}

/* Whether i is compared with j. */
static bool compared(const nf_eval_input *input, size_t i, size_t j) {
    if (unlabelled(input->query_labels, i) || unlabelled(reference_labels_of(input), j))
        return false;
    if (input->self) return i != j;
    return input->query_ids == NULL || input->query_ids[i] != input->reference_ids[j];
}

static double distance_at(const oracle *o, size_t i, size_t j) {
    return o->p->input.query.type == NF_FLOAT32 ? (double)((float *)o->full)[i * o->m + j]
                                                : ((double *)o->full)[i * o->m + j];
}

static bool same_at(const oracle *o, size_t i, size_t j) {
    return o->p->input.query_labels.data[i] == reference_labels_of(&o->p->input).data[j];
}

static bool knn_vote(const oracle *o, const entry *list, size_t count, size_t i) {
    nf_labels labels = reference_labels_of(&o->p->input);
    size_t most = 0;
    int64_t winner = 0;
    for (size_t a = 0; a < count; a++) {
        size_t votes = 0;
        for (size_t b = 0; b < count; b++) {
            votes += labels.data[list[b].index] == labels.data[list[a].index];
        }
        if (votes > most) most = votes, winner = labels.data[list[a].index];
    }
    return winner == o->p->input.query_labels.data[i];
}

static void oracle_retrieval(const oracle *o, nf_eval_result *r) {
    const nf_eval_options *options = &o->p->options;
    entry *list = malloc((o->m + 1) * sizeof *list);
    double recall[NF_EVAL_MAX_K] = {0}, precision = 0, map = 0, votes = 0;
    for (size_t i = 0; i < o->n; i++) {
        if (unlabelled(o->p->input.query_labels, i)) continue;
        size_t count = 0, relevant = 0;
        for (size_t j = 0; j < o->m; j++) {
            if (!compared(&o->p->input, i, j)) continue;
            list[count++] = (entry){distance_at(o, i, j), j, same_at(o, i, j)};
            relevant += same_at(o, i, j);
        }
        if (relevant == 0) {
            r->dropped++;
            continue;
        }
        r->queries++;
        qsort(list, count, sizeof *list, by_distance);
        for (size_t q = 0; q < options->k_count; q++) {
            bool hit = false;
            for (size_t p = 0; p < options->k[q] && p < count; p++) hit |= list[p].same;
            recall[q] += hit;
        }
        double hits = 0, sum = 0;
        for (size_t p = 0; p < relevant; p++) {
            hits += list[p].same;
            if (list[p].same) sum += hits / (double)(p + 1);
        }
        precision += hits / (double)relevant;
        map += sum / (double)relevant;
        votes += knn_vote(o, list, options->knn_k < count ? options->knn_k : count, i);
    }
    free(list);
    double queries = (double)r->queries; /* 0 / 0 is NaN, as documented */
    for (size_t q = 0; q < options->k_count; q++) r->recall[q] = recall[q] / queries;
    r->r_precision = precision / queries;
    r->map_at_r = map / queries;
    r->knn_accuracy = votes / queries;
}

/* AUC by comparing every positive with every negative. */
static double oracle_auc(const oracle *o, double positives, double negatives) {
    double sum = 0;
    for (size_t a = 0; a < o->pairs; a++) {
        for (size_t b = 0; b < o->pairs && o->pair[a].same; b++) {
            if (o->pair[b].same) continue;
            double near = o->pair[a].distance, far = o->pair[b].distance;
            bool tied = near == far || (isnan(near) && isnan(far));
            sum += tied ? 0.5 : near < far || (isnan(far) && !isnan(near));
        }
    }
    return sum / (positives * negatives);
}

static void oracle_verification(oracle *o, nf_eval_result *r) {
    double P = 0, N = 0;
    for (size_t p = 0; p < o->pairs; p++) P += o->pair[p].same, N += !o->pair[p].same;
    r->positive_pairs = (uint64_t)P;
    r->negative_pairs = (uint64_t)N;
    if (P == 0 || N == 0) return;
    r->roc_auc = oracle_auc(o, P, N);
    qsort(o->pair, o->pairs, sizeof *o->pair, by_distance);
    double far0 = 0, frr0 = 1, last = 0, tp = 0, fp = 0;
    bool first = true;
    r->tar_at_far_1e2 = r->tar_at_far_1e3 = 0;
    r->best_accuracy = N / (P + N);
    r->best_threshold = -(double)INFINITY;
    for (size_t p = 0; p < o->pairs;) {
        double t = o->pair[p].distance;
        for (; p < o->pairs && (o->pair[p].distance == t || isnan(t)); p++) {
            tp += o->pair[p].same;
            fp += !o->pair[p].same;
        }
        double far = fp / N, frr = (P - tp) / P;
        if (isnan(r->eer) && fp * P >= (P - tp) * N) {
            double share = (frr0 - far0) / ((frr0 - far0) + (far - frr));
            r->eer = far0 + share * (far - far0);
            r->eer_threshold = first || !isfinite(t) ? t : last + share * (t - last);
        }
        if (far <= 0.01) r->tar_at_far_1e2 = tp / P;
        if (far <= 0.001) r->tar_at_far_1e3 = tp / P;
        if ((tp + N - fp) / (P + N) > r->best_accuracy) {
            r->best_accuracy = (tp + N - fp) / (P + N);
            r->best_threshold = t;
        }
        far0 = far, frr0 = frr, last = t, first = false;
    }
}

static nf_eval_result oracle_run(nf_context *context, const problem *p) {
    nf_matrix x = p->input.query, y = reference_of(&p->input);
    oracle o = {.p = p, .n = x.rows, .m = y.rows};
    o.full = malloc(o.n * o.m * 8 + 8);
    o.pair = malloc((o.n * o.m + 1) * sizeof *o.pair);
    nf_matrix_out out = {o.full, x.type, o.n, o.m, o.m};
    assert_ok(context, nf_distances_full(context, &p->options.distance, x, y, out));
    nf_eval_result r;
    const double none = (double)NAN;
    memset(&r, 0, sizeof r);
    for (int q = 0; q < NF_EVAL_MAX_K; q++) r.recall[q] = none;
    r.r_precision = r.map_at_r = r.knn_accuracy = r.roc_auc = r.eer = r.eer_threshold = none;
    r.tar_at_far_1e2 = r.tar_at_far_1e3 = r.best_accuracy = r.best_threshold = none;
    for (size_t i = 0; i < o.n; i++) {
        r.n += !unlabelled(p->input.query_labels, i);
        for (size_t j = p->input.self ? i + 1 : 0; j < o.m; j++) {
            if (!compared(&p->input, i, j)) continue;
            o.pair[o.pairs++] = (entry){(double)(float)distance_at(&o, i, j), 0, same_at(&o, i, j)};
        }
    }
    if (p->options.retrieval) oracle_retrieval(&o, &r);
    if (p->options.verification) oracle_verification(&o, &r);
    free(o.full), free(o.pair);
    return r;
}

static void assert_near(double got, double want, const char *name) {
    if (isnan(got) && isnan(want)) return;
    if (got == want || fabs(got - want) <= 1e-12 * (1 + fabs(want))) return;
    fail_msg("%s is %.17g, expected %.17g", name, got, want);
}

static void assert_results(const nf_eval_result *got, const nf_eval_result *want) {
    assert_int_equal(got->n, want->n);
    assert_int_equal(got->queries, want->queries);
    assert_int_equal(got->dropped, want->dropped);
    assert_int_equal(got->positive_pairs, want->positive_pairs);
    assert_int_equal(got->negative_pairs, want->negative_pairs);
    for (int q = 0; q < NF_EVAL_MAX_K; q++) assert_near(got->recall[q], want->recall[q], "recall");
    assert_near(got->r_precision, want->r_precision, "r_precision");
    assert_near(got->map_at_r, want->map_at_r, "map_at_r");
    assert_near(got->knn_accuracy, want->knn_accuracy, "knn_accuracy");
    assert_near(got->roc_auc, want->roc_auc, "roc_auc");
    assert_near(got->eer, want->eer, "eer");
    assert_near(got->eer_threshold, want->eer_threshold, "eer_threshold");
    assert_near(got->tar_at_far_1e2, want->tar_at_far_1e2, "tar_at_far_1e2");
    assert_near(got->tar_at_far_1e3, want->tar_at_far_1e3, "tar_at_far_1e3");
    assert_near(got->best_accuracy, want->best_accuracy, "best_accuracy");
    assert_near(got->best_threshold, want->best_threshold, "best_threshold");
}

static nf_status run_public(nf_context *context, const problem *p, nf_eval_result *result) {
    const nf_eval_input *in = &p->input;
    if (in->self) return nf_eval(context, &p->options, in->query, in->query_labels, result);
    return nf_eval_reference(context, &p->options, in->query, in->query_labels, in->query_ids,
                             in->reference, in->reference_labels, in->reference_ids, result);
}

/* ---- random problems ------------------------------------------------------------------------ */

#define MOST 90
#define MOST_D 9

typedef struct data {
    double x[MOST * MOST_D], y[MOST * MOST_D];
    float xf[MOST * MOST_D], yf[MOST * MOST_D];
    int64_t x_labels[MOST], y_labels[MOST], x_ids[MOST], y_ids[MOST];
} data;

/* Classes that are separated more or less, with many equal distances in half of the problems. */
static void fill_side(uint64_t seed, double *x, float *xf, int64_t *labels, int64_t *ids,
                      int64_t classes) {
    test_random_labels(seed, labels, MOST, -1, classes);
    double pull = (double)nf_random_below(seed, 5, 0, 4);
    for (size_t r = 0; r < MOST; r++) {
        ids[r] = (int64_t)nf_random_below(seed, 6, r, 2 * MOST);
        labels[r] *= labels[r] == -1 ? 1 : 10;
        for (size_t c = 0; c < MOST_D; c++) {
            double value = 4 * nf_random_unit(seed, 7, r * MOST_D + c) +
                           pull * (double)(labels[r] * (int64_t)(c + 1) % 7) / 3;
            if (seed % 2 == 0) value = floor(value);
            x[r * MOST_D + c] = value;
            xf[r * MOST_D + c] = (float)value;
        }
    }
}

static problem random_problem(uint64_t seed, data *d) {
    problem p = {.options = nf_eval_defaults()};
    int64_t classes = seed % 4 == 3 ? MOST : 1 + (int64_t)(seed % 4) * 3;
    fill_side(seed, d->x, d->xf, d->x_labels, d->x_ids, classes);
    fill_side(seed + 1000, d->y, d->yf, d->y_labels, d->y_ids, classes);
    size_t n = (size_t)nf_random_below(seed, 8, 0, MOST + 1), cols = 1 + seed % MOST_D;
    size_t m = (size_t)nf_random_below(seed, 8, 1, MOST + 1);
    p.options.distance.metric = (nf_metric)(seed % 5);
    p.options.distance.normalize = seed % 13 == 0;
    p.options.knn_k = 1 + (size_t)nf_random_below(seed, 8, 2, 20);
    p.options.k_count = (size_t)nf_random_below(seed, 8, 3, NF_EVAL_MAX_K + 1);
    for (size_t q = 0; q < p.options.k_count; q++) {
        p.options.k[q] = 1 + (size_t)nf_random_below(seed, 9, q, 2 * MOST);
    }
    bool f32 = seed % 3 != 0;
    nf_matrix x = f32 ? nf_matrix_f32(d->xf, n, cols) : nf_matrix_f64(d->x, n, cols);
    nf_matrix y = f32 ? nf_matrix_f32(d->yf, m, cols) : nf_matrix_f64(d->y, m, cols);
    int marked = seed % 7 != 0; /* else -1 is an ordinary class */
    p.input = (nf_eval_input){.query = x,
                              .query_labels = {d->x_labels, n, marked},
                              .self = seed % 5 < 3 || seed % 2 == 1};
    if (!p.input.self) {
        p.input.reference = y;
        p.input.reference_labels = (nf_labels){d->y_labels, m, marked};
        if (seed % 4 < 2) p.input.query_ids = d->x_ids, p.input.reference_ids = d->y_ids;
    }
    return p;
}

static void figures_match_their_definitions(void **state) {
    (void)state;
    nf_context *contexts[2] = {test_context(1), test_context(3)};
    static data d;
    size_t with_ids = 0, rectangular = 0;
    for (uint64_t seed = 0; seed < 400; seed++) {
        problem p = random_problem(seed, &d);
        rectangular += !p.input.self;
        with_ids += p.input.query_ids != NULL;
        nf_context *context = contexts[seed % 2];
        nf_eval_result want = oracle_run(context, &p), got;
        assert_ok(context, run_public(context, &p, &got));
        assert_results(&got, &want);
    }
    assert_true(rectangular > 50 && with_ids > 20);
    nf_context_free(contexts[0]), nf_context_free(contexts[1]);
}

/* Bins of distances, one at a time, as lists and as counters of 32 and 64 bits, one-row strips: the
 * same bits. */
static void memory_limits_change_nothing(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    static data d;
    const nf_eval_limits limits[] = {
        {.collect = 0, .fine_bytes = 0, .list = UINT32_MAX, .strip_elements = 1},
        {.collect = 0,
         .fine_bytes = (size_t)3 << 20,
         .fine_slots = 2,
         .list = 0,
         .strip_elements = 500},
        {.collect = 0,
         .fine_bytes = (size_t)3 << 20,
         .fine_slots = NF_FINE_SLOTS,
         .list = 5,
         .narrow = 20,
         .strip_elements = 9},
    };
    for (uint64_t seed = 0; seed < 60; seed++) {
        problem p = random_problem(seed, &d);
        p.options.retrieval = seed % 2 == 0;
        nf_eval_result plain, limited;
        assert_ok(context, run_public(context, &p, &plain));
        memset(&limited, 0x55, sizeof limited);
        assert_ok(context, nf_eval_run(context, &p.options, &p.input, limits[seed % 3], &limited));
        assert_memory_equal(&plain, &limited, sizeof plain);
    }
    nf_context_free(context);
}

/* Few distances, each of many pairs: counters of 16 bits overflow. */
static void counts_of_equal_distances_are_exact(void **state) {
    (void)state;
    nf_context *contexts[2] = {test_context(1), test_context(3)};
    static float x[1500];
    static int64_t labels[1500];
    nf_eval_options options = nf_eval_defaults();
    options.retrieval = 0;
    for (uint64_t seed = 0; seed < 6; seed++) {
        const size_t n = 1000 + 100 * (size_t)seed;
        for (size_t r = 0; r < n; r++) {
            labels[r] = (int64_t)nf_random_below(seed, 1, r, 2);
            x[r] = (float)nf_random_below(seed, 2, r, 2 + seed / 2) + (float)labels[r] / 4;
        }
        nf_eval_input input = {
            .query = nf_matrix_f32(x, n, 1), .query_labels = {labels, n, 0}, .self = true};
        nf_eval_limits limits = nf_eval_default_limits();
        nf_eval_result collected, narrow, wide;
        limits.collect = SIZE_MAX;
        assert_ok(contexts[0], nf_eval_run(contexts[0], &options, &input, limits, &collected));
        limits.collect = limits.list = 0;
        limits.fine_slots = 1 + (size_t)seed;
        assert_ok(contexts[1], nf_eval_run(contexts[1], &options, &input, limits, &narrow));
        limits.narrow = 0;
        assert_ok(contexts[1], nf_eval_run(contexts[1], &options, &input, limits, &wide));
        assert_memory_equal(&narrow, &collected, sizeof narrow);
        assert_memory_equal(&wide, &collected, sizeof wide);
        assert_true(collected.positive_pairs > 3 * 65536);
    }
    nf_context_free(contexts[0]), nf_context_free(contexts[1]);
}

/* One query and references at powers of two: each distance has a bin of its own, so that most bins
 * hold one side only and thresholds fall between bins. */
static void bins_of_one_side_keep_thresholds_exact(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const float query = 0;
    const int64_t query_label = 1;
    for (uint64_t seed = 0; seed < 600; seed++) {
        float x[12];
        int64_t labels[12];
        size_t m = 2 + (size_t)nf_random_below(seed, 1, 0, 11);
        uint64_t spread = 2 + nf_random_below(seed, 1, 1, 30);
        for (size_t j = 0; j < m; j++) {
            x[j] = (float)((uint64_t)1 << nf_random_below(seed, 2, j, spread));
            if (seed % 3 == 0) x[j] *= 1 + (float)nf_random_unit(seed, 3, j) / 200;
            labels[j] = (int64_t)nf_random_below(seed, 4, j, 2);
        }
        problem p = {.options = nf_eval_defaults()};
        p.input = (nf_eval_input){.query = nf_matrix_f32(&query, 1, 1),
                                  .query_labels = {&query_label, 1, 0},
                                  .reference = nf_matrix_f32(x, m, 1),
                                  .reference_labels = {labels, m, 0}};
        nf_eval_limits limits = {
            .collect = 0, .fine_bytes = 1 << 20, .fine_slots = 3, .list = 4, .strip_elements = 100};
        nf_eval_result want = oracle_run(context, &p), plain, binned;
        assert_ok(context, run_public(context, &p, &plain));
        assert_ok(context, nf_eval_run(context, &p.options, &p.input, limits, &binned));
        assert_results(&binned, &want);
        assert_memory_equal(&plain, &binned, sizeof plain);
    }
    nf_context_free(context);
}

static void results_do_not_depend_on_threads(void **state) {
    (void)state;
    size_t n = 2500, cols = 8;
    float *x = malloc(n * cols * sizeof *x);
    int64_t *labels = malloc(n * sizeof *labels);
    test_random_labels(4, labels, n, -1, 8);
    for (size_t r = 0; r < n; r++) {
        for (size_t c = 0; c < cols; c++) {
            x[r * cols + c] = (float)(nf_random_unit(1, 1, r * cols + c) +
                                      0.08 * (double)((labels[r] + 1) * (int64_t)(c + 1) % 5));
        }
    }
    nf_eval_result first, other;
    const int threads[] = {1, 2, 3, 7};
    for (int t = 0; t < 4; t++) {
        nf_context *context = test_context(threads[t]);
        assert_ok(context, nf_eval(context, NULL, nf_matrix_f32(x, n, cols),
                                   (nf_labels){labels, n, 1}, t == 0 ? &first : &other));
        if (t > 0) assert_memory_equal(&first, &other, sizeof first);
        nf_context_free(context);
    }
    /* Pairs are too many to be collected here; the two ways agree at this size too. */
    nf_context *context = test_context(2);
    nf_eval_options options = nf_eval_defaults();
    nf_eval_input input = {
        .query = nf_matrix_f32(x, n, cols), .query_labels = {labels, n, 1}, .self = true};
    nf_eval_limits limits = nf_eval_default_limits();
    assert_true(first.positive_pairs + first.negative_pairs > limits.collect);
    limits.collect = SIZE_MAX;
    assert_ok(context, nf_eval_run(context, &options, &input, limits, &other));
    assert_memory_equal(&first, &other, sizeof first);
    assert_true(first.roc_auc > 0.5 && first.roc_auc < 1);
    nf_context_free(context);
    free(x), free(labels);
}

/* ---- degenerate input ----------------------------------------------------------------------- */

static void small_shapes(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const size_t dims[] = {0, 1, 2, 3, 15, 16, 17};
    float x[3 * 17], y[3 * 17];
    test_random_f32(1, x, 3 * 17, -1, 1);
    test_random_f32(2, y, 3 * 17, -1, 1);
    const int64_t labels[][3] = {{0, 0, 0}, {0, 1, 2}, {0, 1, 0}, {-1, 2, 2}}, ids[] = {0, 1, 2};
    for (size_t s = 0; s < 7; s++) {
        for (size_t n = 0; n <= 3; n++) {
            for (size_t m = 0; m <= 3; m++) {
                for (size_t l = 0; l < 4; l++) {
                    problem p = {.options = nf_eval_defaults()};
                    p.options.distance.metric = (nf_metric)((s + l) % 5);
                    p.input.query = nf_matrix_f32(n * dims[s] > 0 ? x : NULL, n, dims[s]);
                    p.input.query_labels = (nf_labels){n > 0 ? labels[l] : NULL, n, 1};
                    p.input.self = m == 3 && l % 2 == 0;
                    p.input.reference = nf_matrix_f32(m * dims[s] > 0 ? y : NULL, m, dims[s]);
                    p.input.reference_labels = (nf_labels){m > 0 ? labels[l] : NULL, m, 1};
                    if (l >= 2) p.input.query_ids = p.input.reference_ids = ids;
                    nf_eval_result want = oracle_run(context, &p), got;
                    assert_ok(context, run_public(context, &p, &got));
                    assert_results(&got, &want);
                }
            }
        }
    }
    nf_context_free(context);
}

static void nan_ranks_last(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const float values[] = {0, NAN, 1, INFINITY, 2, -1, NAN, 3, 0.5f};
    const int64_t labels[] = {0, 1, 0, 1, 1, 0, 0, 1, 0};
    problem p = {.options = nf_eval_defaults()};
    p.options.distance.allow_nonfinite = 1;
    p.input = (nf_eval_input){
        .query = nf_matrix_f32(values, 9, 1), .query_labels = {labels, 9, 1}, .self = true};
    nf_eval_result want = oracle_run(context, &p), got, limited;
    assert_ok(context, run_public(context, &p, &got));
    assert_results(&got, &want);
    nf_eval_limits limits = {
        .collect = 0, .fine_bytes = 0, .list = 1, .narrow = 2, .strip_elements = 1};
    assert_ok(context, nf_eval_run(context, &p.options, &p.input, limits, &limited));
    assert_memory_equal(&got, &limited, sizeof got);
    nf_context_free(context);
}

/* ---- memory --------------------------------------------------------------------------------- */

typedef struct memory_case {
    data data;
    problem p;
    nf_eval_limits limits;
    nf_eval_result result;
} memory_case;

static nf_status public_body(nf_context *context, void *user) {
    memory_case *c = user;
    return run_public(context, &c->p, &c->result);
}

static nf_status limited_body(nf_context *context, void *user) {
    memory_case *c = user;
    return nf_eval_run(context, &c->p.options, &c->p.input, c->limits, &c->result);
}

static void out_of_memory_is_clean(void **state) {
    (void)state;
    static memory_case c;
    c.limits = (nf_eval_limits){.collect = 0,
                                .fine_bytes = 1 << 20,
                                .fine_slots = 9,
                                .list = 4,
                                .narrow = 9,
                                .strip_elements = 4000};
    const uint64_t seeds[] = {1, 8}; /* a set with itself; query x reference with ids */
    for (int s = 0; s < 2; s++) {
        c.p = random_problem(seeds[s], &c.data);
        assert_true(c.p.input.self == (s == 0) && (c.p.input.query_ids != NULL) == (s == 1));
        assert_true(test_fail_every_allocation(2, public_body, &c, &c.result, sizeof c.result) >
                    12);
        assert_true(test_fail_every_allocation(2, limited_body, &c, &c.result, sizeof c.result) >
                    12);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_match_their_definitions),
        cmocka_unit_test(memory_limits_change_nothing),
        cmocka_unit_test(counts_of_equal_distances_are_exact),
        cmocka_unit_test(bins_of_one_side_keep_thresholds_exact),
        cmocka_unit_test(results_do_not_depend_on_threads),
        cmocka_unit_test(small_shapes),
        cmocka_unit_test(nan_ranks_last),
        cmocka_unit_test(out_of_memory_is_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
