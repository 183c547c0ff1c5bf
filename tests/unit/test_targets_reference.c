/* Targets of query x reference, and the terms of rows as anchors: against plain loops, against the forms
 * that say the same, and at the edges. */
#include "probe.h"
#include "support.h"
#include "target_reference.h"

#include <math.h>
#include <stdbool.h>

enum { MOST = 330, D = 3, LABELS, SETS, SOFT, HARD, SOURCES };
enum { ROW = 1, PAIR = 2, GROUP = 4, CLASS = 8, ID = 16 };

/* Rows of both sets, the n queries first. */
typedef struct problem {
    size_t n, m, all;
    double x[MOST * D], upstream[MOST];
    float narrow[MOST * D];
    int64_t label[MOST], group[MOST], id[MOST], set_label[4 * MOST];
    double *soft, *pair_weight, row_weight[MOST]; /* matrices (n, m) */
    size_t offset[2][MOST + 1];
    nf_label_sets sets[2];
    nf_loss_sets rows[2]; /* float32, float64 */
    nf_reference_targets targets;
    /* for the oracle, (all, all) */
    double *y, *u, v[MOST], terms[MOST];
    int in[MOST], anchor[MOST];
} problem;

static const nf_class_weight class_weights[] = {{0, 0.5}, {3, 2}, {-1, 7}, {99, 4}};

static void make_sets(problem *p, uint64_t seed) {
    int64_t size[MOST];
    test_random_labels(seed, size, p->all, 0, 2);
    test_random_labels(seed + 1, p->set_label, 4 * p->all, 0, 7);
    for (size_t s = 0; s < 2; s++) {
        const size_t first = s * p->n, rows = s == 0 ? p->n : p->m;
        for (size_t i = 0; i < rows; i++) {
            p->offset[s][i + 1] = p->offset[s][i] + (size_t)size[first + i];
        }
        p->sets[s] = (nf_label_sets){p->offset[s], p->set_label + 4 * first};
    }
}

static problem *make(uint64_t seed, size_t n, size_t m) {
    problem *p = calloc(1, sizeof *p);
    const size_t all = p->all = n + m;
    p->n = n;
    p->m = m;
    p->soft = calloc(n * m + 1, sizeof(double));
    p->pair_weight = calloc(n * m + 1, sizeof(double));
    p->y = calloc(all * all + 1, sizeof(double));
    p->u = calloc(all * all + 1, sizeof(double));
    test_random_f32(seed, p->narrow, all * D, -0.7, 0.7);
    for (size_t k = 0; k < all * D; k++) p->x[k] = (double)p->narrow[k];
    test_random_labels(seed, p->label, all, -1, 3);
    test_random_labels(seed + 1, p->group, all, 0, (int64_t)all / 3);
    test_random_labels(seed + 2, p->id, all, 0, (int64_t)all / 2);
    test_random_f64(seed, p->soft, n * m, 0, 1);
    for (size_t k = 0; k < n * m; k += 3) p->soft[k] = k % 2 == 0 ? 0 : 1;
    test_random_f64(seed + 3, p->pair_weight, n * m, 0, 2);
    for (size_t k = 0; k < n * m; k += 5) p->pair_weight[k] = 0;
    test_random_f64(seed + 4, p->row_weight, all, 0, 2);
    test_random_f64(seed + 5, p->upstream, n, -1, 2);
    if (n > 2) p->row_weight[2] = 0;
    make_sets(p, seed + 6);
    return p;
}

static void drop(problem *p) {
    free(p->soft);
    free(p->pair_weight);
    free(p->y);
    free(p->u);
    free(p);
}

static size_t offset_of(const problem *p, size_t row) {
    return row < p->n ? p->offset[0][row] : 4 * p->n + p->offset[1][row - p->n];
}

static size_t stop_of(const problem *p, size_t row) {
    return row < p->n ? p->offset[0][row + 1] : 4 * p->n + p->offset[1][row - p->n + 1];
}

static double target_of(const problem *p, int source, size_t q, size_t r) {
    const size_t other = p->n + r;
    if (source == LABELS) return p->label[q] == p->label[other];
    if (source != SETS) return p->soft[q * p->m + r];
    for (size_t a = offset_of(p, q); a < stop_of(p, q); a++) {
        for (size_t b = offset_of(p, other); b < stop_of(p, other); b++) {
            if (p->set_label[a] == p->set_label[b]) return 1;
        }
    }
    return 0;
}

static double weight_of_class(int64_t label) { return label == 0 ? 0.5 : label == 3 ? 2 : 1; }

static bool is_separable(const nf_loss *loss) { return loss->kind == NF_KIND_CONTRASTIVE; }

static nf_row_targets rows_of(const problem *p, int s, int source, int extras, bool weighted) {
    const size_t first = s == 0 ? 0 : p->n;
    nf_row_targets rows = {0};
    if (source == SETS) rows.sets = &p->sets[s];
    if ((extras & ROW) && weighted) rows.row_weight = p->row_weight + first;
    if (extras & GROUP) rows.group = p->group + first;
    if ((extras & CLASS) && weighted && source == LABELS) {
        rows.class_weight = class_weights;
        rows.class_weights = sizeof class_weights / sizeof class_weights[0];
    }
    return rows;
}

static void tell_oracle(problem *p, const nf_loss *loss, int source, int extras) {
    for (size_t i = 0; i < p->all; i++) {
        const bool weighted = i < p->n || is_separable(loss);
        p->in[i] = source == LABELS ? p->label[i] != -1
                   : source == SETS ? offset_of(p, i) < stop_of(p, i)
                                    : 1;
        p->anchor[i] = i < p->n;
        p->v[i] = (extras & ROW) && weighted ? p->row_weight[i] : 1;
        if ((extras & CLASS) && source == LABELS && weighted) {
            p->v[i] *= weight_of_class(p->label[i]);
        }
    }
    for (size_t k = 0; k < p->all * p->all; k++) p->y[k] = -1, p->u[k] = 1;
    for (size_t q = 0; q < p->n; q++) {
        for (size_t r = 0; r < p->m; r++) {
            const size_t i = q, j = p->n + r, at = i * p->all + j, back = j * p->all + i;
            const bool none = !p->in[i] || !p->in[j] ||
                              ((extras & GROUP) && p->group[i] == p->group[j]) ||
                              ((extras & ID) && p->id[i] == p->id[j]);
            p->y[at] = p->y[back] = none ? -1 : target_of(p, source, q, r);
            p->u[at] = p->u[back] = (extras & PAIR) ? p->pair_weight[q * p->m + r] : 1;
        }
    }
}

/* The targets, and what the oracle is told of them. */
static void choose(problem *p, const nf_loss *loss, int source, int extras) {
    const size_t n = p->n, m = p->m;
    for (size_t k = 0; k < n * m && source == HARD; k++) p->soft[k] = p->soft[k] < 0.3;
    p->targets = (nf_reference_targets){
        .query = rows_of(p, 0, source, extras, true),
        .reference = rows_of(p, 1, source, extras, is_separable(loss)),
    };
    if (source >= SOFT) p->targets.soft = nf_matrix_f64(p->soft, n, m);
    if (extras & PAIR) p->targets.pair_weight = nf_matrix_f64(p->pair_weight, n, m);
    for (int type = NF_FLOAT32; type <= NF_FLOAT64; type++) {
        nf_loss_sets *rows = &p->rows[type == NF_FLOAT64];
        *rows = (nf_loss_sets){0};
        rows->query =
            type == NF_FLOAT64 ? nf_matrix_f64(p->x, n, D) : nf_matrix_f32(p->narrow, n, D);
        rows->reference = type == NF_FLOAT64 ? nf_matrix_f64(p->x + n * D, m, D)
                                             : nf_matrix_f32(p->narrow + n * D, m, D);
        if (extras & ID) rows->query_ids = p->id, rows->reference_ids = p->id + n;
        if (source != LABELS) continue;
        rows->query_labels = (nf_labels){p->label, n, 1};
        rows->reference_labels = (nf_labels){p->label + n, m, 1};
    }
    tell_oracle(p, loss, source, extras);
}

static const char *const names[] = {"triplet",
                                    "tfa-semihard",
                                    "tfa-hard",
                                    "margin",
                                    "nt-xent",
                                    "supcon",
                                    "nca",
                                    "multi-similarity",
                                    "circle",
                                    "lifted",
                                    "generalized-lifted",
                                    "weston",
                                    "pml",
                                    "sbert"};
#define NAMES (sizeof names / sizeof names[0])
enum { ANCHORED = 11 }; /* of them, the first */

static nf_loss loss_of(nf_context *context, const char *name, nf_reduction reduction) {
    nf_loss loss;
    assert_ok(context, nf_loss_preset(context, name, &loss));
    loss.reduction = reduction;
    if (loss.temperature > 0) loss.temperature = 0.4;
    if (loss.beta > 3) loss.beta = 7;
    if (loss.gamma > 0) loss.gamma = 6;
    if (loss.kind == NF_KIND_MARGIN) loss.beta = 0.8;
    if (strcmp(name, "sbert") == 0) loss.neg_metric = NF_CITYBLOCK;
    loss.scale = 1.5;
    loss.divisor = reduction == NF_REDUCE_DIVISOR ? 7.25 : 0;
    return loss;
}

static bool is_hard_only(nf_loss_kind kind) {
    return kind == NF_KIND_TRIPLET || kind == NF_KIND_MARGIN;
}

static bool takes(const nf_loss *loss) {
    if (loss->reduction == NF_REDUCE_MEAN_ANCHORS) {
        return loss->kind == NF_KIND_NT_XENT || loss->kind == NF_KIND_LIFTED;
    }
    if (loss->reduction == NF_REDUCE_NONE) return !is_separable(loss);
    return loss->reduction != NF_REDUCE_MEAN_SIDES || is_separable(loss);
}

/* Gradients of both sets, one after the other. */
static nf_loss_result run(nf_context *context, const nf_loss *loss, const problem *p, nf_type type,
                          const nf_row_terms *extras, double *gradient) {
    const bool wide = type == NF_FLOAT64;
    float narrow[MOST * D];
    nf_loss_result result;
    nf_matrix_out out[2];
    for (size_t s = 0; s < 2; s++) {
        const size_t at = s * p->n * D, rows = s == 0 ? p->n : p->m;
        out[s] = wide ? nf_matrix_out_f64(gradient + at, rows, D)
                      : nf_matrix_out_f32(narrow + at, rows, D);
    }
    assert_ok(context, nf_loss_targets_reference(context, loss, &p->rows[wide], &p->targets, extras,
                                                 &result, out[0], out[1]));
    for (size_t k = 0; !wide && k < p->all * D; k++) gradient[k] = (double)narrow[k];
    return result;
}

/* ---- plain loops ------------------------------------------------------------------------------- */

static void compare(nf_context *context, const nf_loss *loss, problem *p, bool differences) {
    double got[MOST * D], want[MOST * D], terms[MOST];
    const bool none = loss->reduction == NF_REDUCE_NONE;
    const nf_row_terms extras = {terms, none ? p->upstream : NULL};
    target_problem oracle = {.loss = *loss,
                             .n = p->all,
                             .d = D,
                             .x = p->x,
                             .y = p->y,
                             .u = p->u,
                             .v = p->v,
                             .in = p->in,
                             .anchor = p->anchor,
                             .terms = p->terms};
    const double value = (double)target_reference(&oracle);
    oracle.terms = NULL;
    oracle.upstream = none ? p->upstream : NULL;
    if (differences) target_reference_gradient(&oracle, want);
    for (int type = NF_FLOAT32; type <= NF_FLOAT64; type++) {
        const bool near =
            loss->triplets != NF_TRIPLETS_ALL && p->all > 100; /* choices by rounding */
        const double unit = type == NF_FLOAT64 ? 1e-13 : near ? 1e-3 : 1e-5;
        const nf_loss_result result =
            run(context, loss, p, (nf_type)type, is_separable(loss) ? NULL : &extras, got);
        target_assert_near(loss, "value", result.value, value, unit * fmax(fabs(value), 1));
        for (size_t i = 0; !is_separable(loss) && !near && i < p->n; i++) {
            target_assert_near(loss, "a term", terms[i], p->terms[i],
                               (type == NF_FLOAT64 ? 1e-12 : 2e-4) * fmax(fabs(p->terms[i]), 1));
        }
        const double slack =
            (type == NF_FLOAT32 ? 2e-5 : 2e-9) * fmax(target_largest(want, p->all * D), 0.1);
        for (size_t k = 0; differences && k < p->all * D; k++) {
            target_assert_near(loss, "a derivative", got[k], want[k], slack);
        }
    }
}

static void plain_loops_agree(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    size_t compared = 0;
    for (size_t k = 0; k < NAMES; k++) {
        for (int source = LABELS; source < SOURCES; source++) {
            for (int extras = 0; extras < 32; extras++) {
                nf_loss loss = loss_of(context, names[k], (nf_reduction)((extras + source) % 8));
                if (!takes(&loss)) loss.reduction = NF_REDUCE_WEIGHTED_MEAN;
                loss.divisor = loss.reduction == NF_REDUCE_DIVISOR ? 7.25 : 0;
                if (source == SOFT && is_hard_only(loss.kind)) continue;
                if ((extras & CLASS) && source != LABELS) continue;
                if (extras % 3 == 0 && loss.kind == NF_KIND_TRIPLET) loss.smooth = 1;
                problem *p = make(17 * (uint64_t)extras + (uint64_t)source, 5 + (size_t)extras % 5,
                                  4 + (size_t)extras % 7);
                choose(p, &loss, source, extras);
                compare(context, &loss, p, true);
                compared++;
                drop(p);
            }
        }
    }
    assert_true(compared > 1000);
    nf_context_free(context);
}

static void plain_loops_agree_on_many_rows(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    for (size_t k = 0; k < NAMES; k++) {
        nf_loss loss = loss_of(context, names[k], NF_REDUCE_MEAN);
        problem *p = make(900 + k, 130, 200);
        choose(p, &loss, is_hard_only(loss.kind) ? SETS : SOFT, ROW | PAIR | GROUP | ID);
        compare(context, &loss, p, false);
        drop(p);
    }
    nf_context_free(context);
}

static void other_metrics(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    for (size_t k = 0; k < NAMES; k++) {
        for (int metric = NF_EUCLIDEAN; nf_metric_name((nf_metric)metric) != NULL; metric++) {
            nf_loss loss = loss_of(context, names[k], NF_REDUCE_WEIGHTED_MEAN);
            if (loss.kind == NF_KIND_CIRCLE) continue;
            loss.pos_metric = loss.neg_metric = (nf_metric)metric;
            loss.normalize = metric % 2;
            problem *p = make(60 + (uint64_t)metric, 7, 9);
            choose(p, &loss, is_hard_only(loss.kind) ? SETS : SOFT, ROW | PAIR | GROUP);
            compare(context, &loss, p, true);
            drop(p);
        }
    }
    nf_context_free(context);
}

/* Targets within one set, with the terms of its rows. */
static void terms_of_a_batch(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    enum { N = 14 };
    for (size_t k = 0; k <= ANCHORED; k++) {
        const char *name = k < ANCHORED ? names[k] : "n-pairs";
        for (int reduction = 0; nf_reduction_name((nf_reduction)reduction) != NULL; reduction++) {
            nf_loss loss = loss_of(context, name, (nf_reduction)reduction);
            if (!takes(&loss)) continue;
            problem *p = make(300 + k, N, 0);
            double u[N * N], terms[N], want[N * D], got[N * D];
            nf_loss_result result;
            choose(p, &loss, LABELS, ROW);
            test_random_f64(5, u, N * N, 0, 2);
            for (size_t i = 0; i < N; i++) {
                for (size_t j = 0; j < N; j++) {
                    const bool pair = i != j && p->in[i] && p->in[j];
                    p->y[i * N + j] = pair ? p->label[i] == p->label[j] : -1;
                    p->u[i * N + j] = u[i < j ? i * N + j : j * N + i];
                }
            }
            const bool none = loss.reduction == NF_REDUCE_NONE;
            const nf_row_terms extras = {terms, none ? p->upstream : NULL};
            const nf_targets targets = {.labels = {p->label, N, 1},
                                        .row_weight = p->row_weight,
                                        .pair_weight = nf_matrix_f64(u, N, N)};
            target_problem oracle = {.loss = loss,
                                     .n = N,
                                     .d = D,
                                     .x = p->x,
                                     .y = p->y,
                                     .u = p->u,
                                     .v = p->v,
                                     .in = p->in,
                                     .terms = p->terms};
            const double value = (double)target_reference(&oracle);
            oracle.terms = NULL;
            oracle.upstream = extras.upstream;
            target_reference_gradient(&oracle, want);
            assert_ok(context,
                      nf_loss_targets_anchors(context, &loss, nf_matrix_f64(p->x, N, D), &targets,
                                              &extras, &result, nf_matrix_out_f64(got, N, D)));
            target_assert_near(&loss, "value", result.value, value, 1e-12 * fmax(fabs(value), 1));
            for (size_t i = 0; i < N; i++) {
                target_assert_near(&loss, "a term", terms[i], p->terms[i], 1e-12 * fmax(value, 10));
            }
            for (size_t e = 0; e < N * D; e++) {
                target_assert_near(&loss, "a derivative", got[e], want[e],
                                   2e-9 * fmax(target_largest(want, N * D), 0.1));
            }
            drop(p);
        }
    }
    nf_context_free(context);
}

/* ---- other forms ------------------------------------------------------------------------------- */

static void assert_same_counts(const nf_loss_result *a, const nf_loss_result *b) {
    assert_int_equal(a->positive_pairs, b->positive_pairs);
    assert_int_equal(a->negative_pairs, b->negative_pairs);
    assert_int_equal(a->active_positive, b->active_positive);
    assert_int_equal(a->active_negative, b->active_negative);
    assert_int_equal(a->coincident_negatives, b->coincident_negatives);
    assert_int_equal(a->terms, b->terms);
    assert_int_equal(a->active_terms, b->active_terms);
}

/* One class, all classes different, duplicates, zero rows, nothing at all. */
static void harden(problem *p, uint64_t seed) {
    if (seed % 5 == 1) memset(p->label, 0, sizeof p->label);
    for (size_t i = 0; i < p->all && seed % 5 == 2; i++) p->label[i] = (int64_t)i;
    if (p->n < 4 || p->m < 4) return;
    if (seed % 2 == 0) memset(p->x + 3 * D, 0, D * sizeof *p->x);
    memcpy(p->x + (p->n + 1) * D, p->x, D * sizeof *p->x);
    memcpy(p->x + (p->n + 2) * D, p->x + D, D * sizeof *p->x);
    for (size_t k = 0; k < p->all * D; k++) p->narrow[k] = (float)p->x[k];
}

/* Labels of plain sets, with the terms of queries and without: the forms without targets. */
static void plain_labels_are_the_reference_form(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    double got[MOST * D], want[MOST * D], terms[MOST], plain[MOST];
    for (size_t k = 0; k < NAMES; k++) {
        for (uint64_t seed = 0; seed < 15; seed++) {
            const bool anchored = k < ANCHORED, none = anchored && seed % 3 == 0;
            nf_loss loss = loss_of(context, names[k], none ? NF_REDUCE_NONE : NF_REDUCE_MEAN);
            problem *p = make(seed, seed % 4 == 3 ? 0 : 3 * seed, seed == 9 ? 0 : 2 + 9 * seed);
            const nf_row_terms own = {terms, none ? p->upstream : NULL},
                               other = {plain, none ? p->upstream : NULL};
            nf_loss_result form, result;
            loss.stats = 1;
            harden(p, seed);
            choose(p, &loss, LABELS, ID);
            const nf_matrix_out query = nf_matrix_out_f64(want, p->n, D),
                                reference = nf_matrix_out_f64(want + p->n * D, p->m, D);
            assert_ok(context, anchored ? nf_loss_anchors_reference(context, &loss, &p->rows[1],
                                                                    &other, &form, query, reference)
                                        : nf_loss_reference(context, &loss, &p->rows[1], &form,
                                                            query, reference));
            result = run(context, &loss, p, NF_FLOAT64, anchored ? &own : NULL, got);
            target_assert_near(&loss, "value", result.value, form.value,
                               1e-12 * fmax(form.value, 1));
            assert_same_counts(&result, &form);
            const double slack = 1e-11 * fmax(target_largest(want, p->all * D), 1e-2);
            for (size_t e = 0; e < p->all * D; e++) {
                target_assert_near(&loss, "a derivative", got[e], want[e], slack);
            }
            for (size_t i = 0; anchored && i < p->n; i++) {
                target_assert_near(&loss, "a term", terms[i], plain[i],
                                   1e-11 * fmax(form.value, 1));
            }
            drop(p);
        }
    }
    nf_context_free(context);
}

/* ---- bits, errors ------------------------------------------------------------------------------ */

static void bits_do_not_depend_on_threads_or_isa(void **state) {
    (void)state;
    static const int threads[] = {1, 2, 3, 7};
    nf_isa isa[4];
    const size_t isas = probe_isas(isa);
    for (size_t k = 0; k < NAMES; k++) {
        double first[MOST * D], other[MOST * D], terms[2][MOST];
        nf_loss_result one, result;
        problem *p = make(5 + k, 150, 180);
        for (size_t i = 0; i < isas; i++) {
            for (size_t t = 0; t < 4; t++) {
                nf_context *context = test_context_isa(threads[t], isa[i]);
                const bool anchored = k < ANCHORED, begins = i == 0 && t == 0;
                nf_loss loss =
                    loss_of(context, names[k], anchored ? NF_REDUCE_NONE : NF_REDUCE_MEAN_NONZERO);
                const nf_row_terms extras = {terms[begins ? 0 : 1], p->upstream};
                choose(p, &loss, is_hard_only(loss.kind) ? SETS : SOFT, ROW | PAIR | GROUP);
                result = run(context, &loss, p, NF_FLOAT32, anchored ? &extras : NULL,
                             begins ? first : other);
                if (begins) {
                    one = result;
                } else {
                    assert_memory_equal(&one, &result, sizeof one);
                    assert_memory_equal(first, other, p->all * D * sizeof *first);
                    if (anchored) assert_memory_equal(terms[0], terms[1], p->n * sizeof(double));
                }
                nf_context_free(context);
            }
        }
        drop(p);
    }
}

static nf_status call(nf_context *context, const nf_loss *loss, const problem *p,
                      const nf_row_terms *extras) {
    nf_loss_result result;
    return nf_loss_targets_reference(context, loss, &p->rows[1], &p->targets, extras, &result,
                                     (nf_matrix_out){0}, (nf_matrix_out){0});
}

static void what_has_no_meaning_is_refused_by_name(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    problem *p = make(4, 6, 8);
    double terms[6];
    const nf_row_terms extras = {terms, p->upstream};
    nf_loss supcon = loss_of(context, "supcon", NF_REDUCE_MEAN);
    nf_loss weston = loss_of(context, "weston", NF_REDUCE_NONE);
    nf_loss pairs = loss_of(context, "n-pairs", NF_REDUCE_MEAN);
    nf_loss triplet = loss_of(context, "triplet", NF_REDUCE_MEAN);
    choose(p, &supcon, LABELS, 0);
    assert_fails(context, call(context, &weston, p, NULL), NF_ERR_ARG, "terms of pairs");
    weston.reduction = NF_REDUCE_MEAN;
    assert_fails(context, call(context, &weston, p, &extras), NF_ERR_ARG, "terms of pairs");
    assert_fails(context, call(context, &pairs, p, NULL), NF_ERR_ARG, "n-pairs");
    assert_fails(context, call(context, &supcon, p, &extras), NF_ERR_ARG, "upstream");
    p->targets.reference.row_weight = p->row_weight;
    assert_ok(context, call(context, &weston, p, NULL));
    assert_fails(context, call(context, &supcon, p, NULL), NF_ERR_ARG,
                 "targets.reference.row_weight");
    p->targets.reference.row_weight = NULL;
    p->targets.reference.class_weights = 1;
    assert_fails(context, call(context, &supcon, p, NULL), NF_ERR_ARG, "reference.class_weights");
    choose(p, &supcon, SOFT, 0);
    p->soft[0] = 0.5;
    assert_fails(context, call(context, &triplet, p, NULL), NF_ERR_ARG, "pair (0, 0) is 0.5");
    p->soft[47] = 1.5;
    assert_fails(context, call(context, &supcon, p, NULL), NF_ERR_DATA, "pair (5, 7) is 1.5");
    p->targets.soft.rows = 5;
    assert_fails(context, call(context, &supcon, p, NULL), NF_ERR_ARG, "it must be (6, 8)");
    choose(p, &supcon, LABELS, GROUP);
    p->targets.reference.group = NULL;
    assert_fails(context, call(context, &supcon, p, NULL), NF_ERR_ARG, "only the query has groups");
    choose(p, &supcon, SETS, 0);
    p->rows[1].query_labels = (nf_labels){p->label, 6, 0};
    assert_fails(context, call(context, &supcon, p, NULL), NF_ERR_ARG, "only the query has labels");
    p->rows[1].reference_labels = (nf_labels){p->label, 8, 0};
    assert_fails(context, call(context, &supcon, p, NULL), NF_ERR_ARG, "give exactly one");
    p->targets.reference.sets = NULL;
    assert_fails(context, call(context, &supcon, p, NULL), NF_ERR_ARG,
                 "only the query has label sets");
    drop(p);
    nf_context_free(context);
}

typedef struct output {
    double gradient[3][NAMES][16], terms[3][NAMES][3];
    nf_loss_result result[3][NAMES];
} output;

static size_t now, form; /* the loss and the form under test */

static nf_status small_loss(nf_context *context, void *user) {
    output *out = user;
    static const double x[16] = {0, 0, 1, 0, 0, 1, 1, 1, 0.5, 0.25, 2, 1, 0.5, 1, 1.5, 0};
    static const int64_t label[8] = {0, 1, 1, 2, 0, 2, 1, 0}, rows[8] = {0, 1, 1, 0, 1, 0, 2, 1};
    static const size_t offset[6] = {0, 1, 3, 4, 5, 7};
    static const double weight[15] = {1, 1, 2, 1, 1, 1, 0.5, 2, 1, 2, 3, 1, 1, 1, 2};
    const nf_label_sets of[2] = {{offset, label}, {offset, label + 1}};
    double *gradient = out->gradient[form][now];
    nf_loss_result *result = &out->result[form][now];
    const nf_matrix query = nf_matrix_f64(x, 3, 2), other = nf_matrix_f64(x + 6, 5, 2);
    const nf_matrix_out first = nf_matrix_out_f64(gradient, 3, 2);
    const nf_matrix_out second = nf_matrix_out_f64(gradient + 6, 5, 2);
    nf_row_terms extras = {out->terms[form][now], NULL};
    nf_loss loss;
    nf_status status = nf_loss_preset(context, names[now], &loss);
    if (status != NF_OK) return status;
    if (form == 0) {
        const nf_loss_sets sets = {query, other, {rows, 3, 0}, {rows + 3, 5, 0}, NULL, NULL};
        return nf_loss_anchors_reference(context, &loss, &sets, &extras, result, first, second);
    }
    if (form == 1) {
        const nf_targets targets = {.labels = {rows, 3, 0}, .row_weight = weight};
        return nf_loss_targets_anchors(context, &loss, query, &targets, &extras, result, first);
    }
    const nf_loss_sets sets = {.query = query, .reference = other};
    const nf_reference_targets targets = {.query = {.sets = &of[0], .row_weight = weight},
                                          .reference = {.sets = &of[1]},
                                          .pair_weight = nf_matrix_f64(weight, 3, 5)};
    return nf_loss_targets_reference(context, &loss, &sets, &targets,
                                     now < ANCHORED ? &extras : NULL, result, first, second);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    static output out;
    for (form = 0; form < 3; form++) {
        for (now = 0; now < (form == 2 ? NAMES : ANCHORED); now++) {
            assert_true(test_fail_every_allocation(2, small_loss, &out, &out, sizeof out) > 0);
            assert_true(out.result[form][now].value > 0);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_loops_agree),
        cmocka_unit_test(plain_loops_agree_on_many_rows),
        cmocka_unit_test(other_metrics),
        cmocka_unit_test(terms_of_a_batch),
        cmocka_unit_test(plain_labels_are_the_reference_form),
        cmocka_unit_test(bits_do_not_depend_on_threads_or_isa),
        cmocka_unit_test(what_has_no_meaning_is_refused_by_name),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
