/* Targets for losses that compare the pairs of an anchor: against plain loops, against the batch form and
 * the query x reference form where those say the same, and at the edges. */
#include "probe.h"
#include "support.h"
#include "target_reference.h"

#include <math.h>
#include <stdbool.h>

enum { MOST = 230, D = 3, LABELS, SETS, SOFT, HARD, SOURCES };

typedef struct problem {
    size_t n;
    double x[MOST * D];
    float narrow[MOST * D];
    int64_t label[MOST], group[MOST];
    double soft[MOST * MOST], pair_weight[MOST * MOST], row_weight[MOST];
    size_t offset[MOST + 1];
    int64_t set_label[4 * MOST];
    nf_label_sets sets;
    nf_targets targets;
    /* for the oracle */
    double y[MOST * MOST], u[MOST * MOST], v[MOST];
    int in[MOST];
} problem;

static const nf_class_weight class_weights[] = {{0, 0.5}, {3, 2}, {-1, 7}, {99, 4}};

static problem *make(uint64_t seed, size_t n) {
    problem *p = calloc(1, sizeof *p);
    int64_t size[MOST];
    p->n = n;
    test_random_f32(seed, p->narrow, n * D, -0.7, 0.7);
    for (size_t k = 0; k < n * D; k++) p->x[k] = (double)p->narrow[k];
    test_random_labels(seed, p->label, n, -1, 3);
    test_random_labels(seed + 1, p->group, n, 0, (int64_t)n / 3);
    test_random_f64(seed, p->soft, n * n, 0, 1);
    for (size_t k = 0; k < n * n; k += 3) p->soft[k] = k % 2 == 0 ? 0 : 1; /* some are hard */
    test_random_f64(seed + 2, p->pair_weight, n * n, 0, 2);
    test_random_f64(seed + 3, p->row_weight, n, 0, 2);
    for (size_t k = 0; k < n * n; k += 5) p->pair_weight[k] = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j <= i; j++) p->soft[i * n + j] = p->pair_weight[i * n + j] = NAN;
    }
    if (n > 2) p->row_weight[2] = 0;
    test_random_labels(seed + 4, size, n, 0, 2);
    test_random_labels(seed + 5, p->set_label, 4 * n, 0, 7);
    for (size_t i = 0; i < n; i++) p->offset[i + 1] = p->offset[i] + (size_t)size[i];
    p->sets = (nf_label_sets){p->offset, p->set_label};
    return p;
}

static int share_a_label(const problem *p, size_t i, size_t j) {
    for (size_t a = p->offset[i]; a < p->offset[i + 1]; a++) {
        for (size_t b = p->offset[j]; b < p->offset[j + 1]; b++) {
            if (p->set_label[a] == p->set_label[b]) return 1;
        }
    }
    return 0;
}

static double target_of(const problem *p, int source, size_t i, size_t j) {
    const double y = p->soft[i < j ? i * p->n + j : j * p->n + i];
    if (i == j) return -1;
    switch (source) {
    case LABELS: return p->label[i] == -1 || p->label[j] == -1 ? -1 : p->label[i] == p->label[j];
    case SETS: return share_a_label(p, i, j);
    default: return y;
    }
}

static double weight_of_class(int64_t label) { return label == 0 ? 0.5 : label == 3 ? 2 : 1; }

/* The targets, and what the oracle is told of them. Extras: 1 row weights, 2 pair weights, 4 groups,
 * 8 class weights. */
static void choose(problem *p, int source, int extras) {
    const size_t n = p->n;
    p->targets = (nf_targets){0};
    if (source == HARD) {
        for (size_t i = 0; i < n; i++) {
            for (size_t j = i + 1; j < n; j++) p->soft[i * n + j] = p->soft[i * n + j] < 0.3;
        }
    }
    if (source == LABELS) p->targets.labels = (nf_labels){p->label, n, 1};
    if (source == SETS) p->targets.sets = &p->sets;
    if (source >= SOFT) p->targets.soft = nf_matrix_f64(p->soft, n, n);
    if (extras & 1) p->targets.row_weight = p->row_weight;
    if (extras & 2) p->targets.pair_weight = nf_matrix_f64(p->pair_weight, n, n);
    if (extras & 4) p->targets.group = p->group;
    if ((extras & 8) && source == LABELS) {
        p->targets.class_weight = class_weights;
        p->targets.class_weights = sizeof class_weights / sizeof class_weights[0];
    }
    for (size_t i = 0; i < n; i++) {
        p->in[i] = source == LABELS ? p->label[i] != -1
                   : source == SETS ? p->offset[i] < p->offset[i + 1]
                                    : 1;
        p->v[i] = (extras & 1) ? p->row_weight[i] : 1;
        if (p->targets.class_weights > 0) p->v[i] *= weight_of_class(p->label[i]);
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            const size_t at = i * n + j;
            const bool together = (extras & 4) && p->group[i] == p->group[j];
            p->y[at] = !p->in[i] || !p->in[j] || together ? -1 : target_of(p, source, i, j);
            p->u[at] = (extras & 2) ? p->pair_weight[i < j ? at : j * n + i] : 1;
        }
    }
}

static const char *const names[] = {"triplet", "tfa-semihard", "tfa-hard", "margin",
                                    "nt-xent", "supcon",       "nca",      "multi-similarity",
                                    "circle",  "lifted",       "n-pairs",  "generalized-lifted"};
#define NAMES (sizeof names / sizeof names[0])

static nf_loss loss_of(nf_context *context, const char *name, nf_reduction reduction) {
    nf_loss loss;
    assert_ok(context, nf_loss_preset(context, name, &loss));
    loss.reduction = reduction;
    if (loss.temperature > 0) loss.temperature = 0.4;
    if (loss.beta > 3) loss.beta = 7;
    if (loss.gamma > 0) loss.gamma = 6;
    if (loss.kind == NF_KIND_MARGIN) loss.beta = 0.8;
    loss.scale = 1.5;
    loss.divisor = reduction == NF_REDUCE_DIVISOR ? 7.25 : 0;
    return loss;
}

static bool is_hard_only(nf_loss_kind kind) {
    return kind == NF_KIND_TRIPLET || kind == NF_KIND_MARGIN || kind == NF_KIND_N_PAIRS;
}

static bool is_of_pairs(nf_loss_kind kind) {
    return kind == NF_KIND_NT_XENT || kind == NF_KIND_LIFTED;
}

static nf_loss_result run(nf_context *context, const nf_loss *loss, const problem *p, nf_type type,
                          double *gradient) {
    const bool wide = type == NF_FLOAT64;
    float narrow[MOST * D];
    nf_loss_result result;
    nf_matrix x = wide ? nf_matrix_f64(p->x, p->n, D) : nf_matrix_f32(p->narrow, p->n, D);
    nf_matrix_out out =
        wide ? nf_matrix_out_f64(gradient, p->n, D) : nf_matrix_out_f32(narrow, p->n, D);
    assert_ok(context, nf_loss_targets(context, loss, x, &p->targets, &result, out));
    for (size_t k = 0; !wide && k < p->n * D; k++) gradient[k] = (double)narrow[k];
    return result;
}

/* ---- plain loops ------------------------------------------------------------------------------- */

static void compare(nf_context *context, const nf_loss *loss, const problem *p, bool differences) {
    double got[MOST * D], want[MOST * D];
    const target_problem oracle = {
        .loss = *loss, .n = p->n, .d = D, .x = p->x, .y = p->y, .u = p->u, .v = p->v, .in = p->in};
    const double value = (double)target_reference(&oracle);
    if (differences) target_reference_gradient(&oracle, want);
    for (int type = NF_FLOAT32; type <= NF_FLOAT64; type++) {
        /* Among many rows a choice may differ by rounding. */
        const bool near = loss->triplets != NF_TRIPLETS_ALL && p->n == MOST;
        const double unit = type == NF_FLOAT64 ? 1e-13 : near ? 1e-3 : 1e-5;
        const nf_loss_result result = run(context, loss, p, (nf_type)type, got);
        target_assert_near(loss, "value", result.value, value, unit * fmax(fabs(value), 1));
        if (!differences) continue;
        const double slack =
            (type == NF_FLOAT32 ? 2e-5 : 2e-9) * fmax(target_largest(want, p->n * D), 0.1);
        for (size_t k = 0; k < p->n * D; k++) {
            target_assert_near(loss, "a derivative", got[k], want[k], slack);
        }
    }
}

static void plain_loops_agree(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    static const nf_reduction reductions[] = {NF_REDUCE_SUM,           NF_REDUCE_MEAN,
                                              NF_REDUCE_WEIGHTED_MEAN, NF_REDUCE_MEAN_NONZERO,
                                              NF_REDUCE_MEAN_ANCHORS,  NF_REDUCE_DIVISOR};
    for (size_t k = 0; k < NAMES; k++) {
        for (int source = LABELS; source < SOURCES; source++) {
            for (int extras = 0; extras < 16; extras++) {
                nf_loss loss = loss_of(context, names[k], reductions[(extras + source) % 6]);
                if (loss.reduction == NF_REDUCE_MEAN_ANCHORS && !is_of_pairs(loss.kind)) continue;
                if (source == SOFT && is_hard_only(loss.kind)) continue;
                if ((extras & 8) && source != LABELS) continue;
                if (extras % 3 == 0 && loss.kind == NF_KIND_TRIPLET) loss.smooth = 1;
                problem *p = make((uint64_t)(17 * extras + source), 9 + (size_t)extras % 5);
                choose(p, source, extras);
                compare(context, &loss, p, true);
                free(p);
            }
        }
    }
    nf_context_free(context);
}

/* More rows than a panel or a chunk holds. */
static void plain_loops_agree_on_many_rows(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    for (size_t k = 0; k < NAMES; k++) {
        for (int source = LABELS; source < SOURCES; source += 3 - (source > SETS)) {
            nf_loss loss = loss_of(context, names[k], NF_REDUCE_MEAN);
            if (source == SOFT && is_hard_only(loss.kind)) continue;
            problem *p = make(900 + k, MOST);
            choose(p, source, 7);
            compare(context, &loss, p, false);
            free(p);
        }
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
            problem *p = make(60 + (uint64_t)metric, 11);
            choose(p, is_hard_only(loss.kind) ? SETS : SOFT, 7);
            compare(context, &loss, p, true);
            free(p);
        }
    }
    nf_context_free(context);
}

/* ---- other forms ------------------------------------------------------------------------------- */

static void assert_same_result(const nf_loss *loss, const nf_loss_result *a,
                               const nf_loss_result *b) {
    const double unit = 1e-12 * fmax(fabs(b->value), 1);
    target_assert_near(loss, "value", a->value, b->value, unit);
    target_assert_near(loss, "mean t+", a->mean_positive_distance, b->mean_positive_distance,
                       1e-13);
    target_assert_near(loss, "mean t-", a->mean_negative_distance, b->mean_negative_distance,
                       1e-13);
    assert_int_equal(a->positive_pairs, b->positive_pairs);
    assert_int_equal(a->negative_pairs, b->negative_pairs);
    assert_int_equal(a->active_positive, b->active_positive);
    assert_int_equal(a->active_negative, b->active_negative);
    assert_int_equal(a->coincident_negatives, b->coincident_negatives);
    assert_int_equal(a->zero_rows, b->zero_rows);
    assert_int_equal(a->terms, b->terms);
    assert_int_equal(a->active_terms, b->active_terms);
}

/* Labels, the same as sets of one, and as 0 and 1 of every pair: all are the batch form. */
static void plain_labels_are_the_batch_form(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    double got[MOST * D], want[MOST * D];
    for (size_t k = 0; k < NAMES; k++) {
        for (uint64_t seed = 0; seed < 12; seed++) {
            const size_t n = seed < 6 ? seed : 40 * seed / 2;
            nf_loss loss;
            assert_ok(context, nf_loss_preset(context, names[k], &loss));
            loss.stats = 1;
            problem *p = make(seed, n < MOST ? n : MOST);
            if (seed % 4 == 1) memset(p->label, 0, sizeof p->label);
            if (seed % 4 == 2) {
                for (size_t i = 0; i < p->n; i++) p->label[i] = (int64_t)i;
            }
            if (p->n > 9) memset(p->x + 3 * D, 0, D * sizeof *p->x);
            const nf_matrix x = nf_matrix_f64(p->x, p->n, D);
            nf_loss_result batch, result;
            assert_ok(context, nf_loss_batch(context, &loss, x, (nf_labels){p->label, p->n, 1},
                                             &batch, nf_matrix_out_f64(want, p->n, D)));
            for (int source = LABELS; source <= SETS; source++) {
                for (size_t i = 0; i < p->n; i++) {
                    p->offset[i + 1] = p->offset[i] + (p->label[i] != -1);
                    p->set_label[p->offset[i]] = p->label[i];
                }
                choose(p, source, 0);
                result = run(context, &loss, p, NF_FLOAT64, got);
                assert_same_result(&loss, &result, &batch);
                const double slack = 1e-11 * fmax(target_largest(want, p->n * D), 1e-2);
                for (size_t e = 0; e < p->n * D; e++) {
                    target_assert_near(&loss, "a derivative", got[e], want[e], slack);
                }
            }
            free(p);
        }
    }
    nf_context_free(context);
}

/* Groups are the ids of the query x reference form, with a set as its own reference. */
static void groups_are_ids(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    double got[MOST * D], query[MOST * D], reference[MOST * D];
    for (size_t k = 0; k < NAMES; k++) {
        nf_loss loss;
        assert_ok(context, nf_loss_preset(context, names[k], &loss));
        if (loss.kind == NF_KIND_N_PAIRS) continue; /* of one set only */
        problem *p = make(70 + k, 120);
        choose(p, LABELS, 4);
        const nf_matrix x = nf_matrix_f64(p->x, p->n, D);
        const nf_labels labels = {p->label, p->n, 1};
        const nf_loss_sets sets = {x, x, labels, labels, p->group, p->group};
        nf_loss_result apart;
        assert_ok(context, nf_loss_reference(context, &loss, &sets, &apart,
                                             nf_matrix_out_f64(query, p->n, D),
                                             nf_matrix_out_f64(reference, p->n, D)));
        const nf_loss_result result = run(context, &loss, p, NF_FLOAT64, got);
        target_assert_near(&loss, "value", result.value, apart.value, 1e-12 * fmax(apart.value, 1));
        assert_int_equal(result.terms, apart.terms);
        assert_int_equal(2 * result.positive_pairs, apart.positive_pairs);
        assert_int_equal(2 * result.negative_pairs, apart.negative_pairs);
        const double slack = 1e-11 * fmax(target_largest(got, p->n * D), 1e-2);
        for (size_t e = 0; e < p->n * D; e++) {
            target_assert_near(&loss, "a derivative", got[e], query[e] + reference[e], slack);
        }
        free(p);
    }
    nf_context_free(context);
}

/* Rows of the same item, forbidden from pairing, against one row of a larger weight. */
static void a_weight_is_a_number_of_copies(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    enum { ROWS = 12, COPIES = 2 * ROWS };
    for (size_t k = 0; k < NAMES; k++) {
        nf_loss loss = loss_of(context, names[k], NF_REDUCE_SUM);
        if (loss.kind == NF_KIND_N_PAIRS || loss.triplets == NF_TRIPLETS_HARD) continue;
        problem *p = make(80, ROWS), *twice = make(80, COPIES);
        double got[MOST * D];
        choose(p, LABELS, 0);
        for (size_t i = 0; i < ROWS; i++) {
            p->row_weight[i] = 2;
            for (size_t j = 0; j < ROWS; j++) p->pair_weight[i * ROWS + j] = 2;
            for (size_t c = 0; c < 2; c++) {
                twice->label[2 * i + c] = p->label[i];
                twice->group[2 * i + c] = (int64_t)i;
                memcpy(twice->x + (2 * i + c) * D, p->x + i * D, D * sizeof(double));
            }
        }
        choose(p, LABELS, 3);
        choose(twice, LABELS, 4);
        const double of_weights = run(context, &loss, p, NF_FLOAT64, got).value;
        const double of_copies = run(context, &loss, twice, NF_FLOAT64, got).value;
        /* Every positive of each copy of an anchor takes one negative, of weight 4 or not. */
        const double factor = loss.triplets == NF_TRIPLETS_SEMI_HARD ? 2 : 1;
        target_assert_near(&loss, "value", of_weights, factor * of_copies,
                           1e-11 * fmax(of_copies, 1));
        free(p);
        free(twice);
    }
    nf_context_free(context);
}

/* ---- bits, errors ------------------------------------------------------------------------------ */

static void bits_do_not_depend_on_threads_or_isa(void **state) {
    (void)state;
    nf_isa isa[4];
    const size_t isas = probe_isas(isa);
    for (size_t k = 0; k < NAMES; k++) {
        double first[MOST * D], other[MOST * D];
        nf_loss_result one, result;
        problem *p = make(5 + k, MOST);
        for (size_t i = 0; i < isas; i++) {
            for (int threads = 1; threads <= 3; threads++) {
                nf_context *context = test_context_isa(threads, isa[i]);
                nf_loss loss = loss_of(context, names[k], NF_REDUCE_MEAN);
                choose(p, is_hard_only(loss.kind) ? SETS : SOFT, 7);
                result = run(context, &loss, p, NF_FLOAT32, other);
                if (i == 0 && threads == 1) {
                    one = result;
                    memcpy(first, other, sizeof first);
                }
                assert_memory_equal(&one, &result, sizeof one);
                assert_memory_equal(first, other, p->n * D * sizeof *first);
                nf_context_free(context);
            }
        }
        free(p);
    }
}

static void nothing_to_compare_is_a_zero(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    static const nf_reduction reductions[] = {NF_REDUCE_SUM, NF_REDUCE_MEAN,
                                              NF_REDUCE_WEIGHTED_MEAN, NF_REDUCE_MEAN_NONZERO};
    for (size_t k = 0; k < NAMES; k++) {
        for (size_t r = 0; r < 4; r++) {
            for (int how = 0; how < 4; how++) {
                problem *p = make(3, how == 0 ? 0 : 6);
                double gradient[6 * D];
                nf_loss loss = loss_of(context, names[k], reductions[r]);
                memset(p->group, 0, sizeof p->group);
                memset(p->offset, 0, sizeof p->offset);
                memset(p->row_weight, 0, sizeof p->row_weight);
                choose(p, how == 2 ? SETS : LABELS, how == 1 ? 4 : how == 3 ? 1 : 0);
                memset(gradient, 1, sizeof gradient);
                const nf_loss_result result = run(context, &loss, p, NF_FLOAT64, gradient);
                assert_true(result.value == 0);
                if (how != 3) assert_int_equal(result.positive_pairs + result.negative_pairs, 0);
                for (size_t e = 0; e < p->n * D; e++) assert_true(gradient[e] == 0);
                free(p);
            }
        }
    }
    nf_context_free(context);
}

static void what_has_no_meaning_is_refused_by_name(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    problem *p = make(4, 8);
    nf_loss_result result;
    choose(p, SOFT, 0);
    for (size_t k = 0; k < NAMES; k++) {
        nf_loss loss = loss_of(context, names[k], NF_REDUCE_MEAN);
        if (!is_hard_only(loss.kind)) continue;
        p->soft[9] = 0.25; /* of pair (1, 1), which is never read */
        p->soft[1] = 0.5;
        assert_fails(context,
                     nf_loss_targets(context, &loss, nf_matrix_f64(p->x, 8, D), &p->targets,
                                     &result, (nf_matrix_out){0}),
                     NF_ERR_ARG, nf_loss_kind_name(loss.kind));
        assert_true(strstr(nf_context_error(context)->message, "pair (0, 1) is 0.5") != NULL);
        loss.reduction = NF_REDUCE_MEAN_SIDES;
        assert_fails(context,
                     nf_loss_targets(context, &loss, nf_matrix_f64(p->x, 8, D), &p->targets,
                                     &result, (nf_matrix_out){0}),
                     NF_ERR_ARG, "reduction is mean-sides");
    }
    free(p);
    nf_context_free(context);
}

/* Exponents that no double holds are summed from their peak; what is left over is an error. */
static void numbers_at_the_edge(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    for (size_t k = 0; k < NAMES; k++) {
        nf_loss loss = loss_of(context, names[k], NF_REDUCE_MEAN);
        double gradient[MOST * D];
        problem *p = make(6, 30);
        if (loss.temperature > 0) loss.temperature = 1e-4;
        if (loss.kind == NF_KIND_MULTI_SIMILARITY) loss.alpha = loss.beta = 1e5;
        if (loss.gamma > 0) loss.gamma = 1e5;
        if (nf_loss_takes(loss.kind, "pos_margin")) loss.neg_margin = 5000;
        choose(p, is_hard_only(loss.kind) ? SETS : SOFT, 7);
        assert_true(isfinite(run(context, &loss, p, NF_FLOAT64, gradient).value));
        for (size_t e = 0; e < p->n * D; e++) assert_true(isfinite(gradient[e]));
        p->narrow[4] = 3e38f;
        p->narrow[9] = -3e38f;
        loss.normalize = 0;
        loss.pos_metric = loss.neg_metric = NF_SQEUCLIDEAN;
        /* A distance that float32 cannot hold counts nothing, or there is no answer. */
        float narrow[MOST * D];
        nf_loss_result result;
        if (loss.kind == NF_KIND_CIRCLE) loss = loss_of(context, "nca", NF_REDUCE_MEAN);
        const nf_status status =
            nf_loss_targets(context, &loss, nf_matrix_f32(p->narrow, p->n, D), &p->targets, &result,
                            nf_matrix_out_f32(narrow, p->n, D));
        assert_true(status == NF_OK || status == NF_ERR_RANGE);
        assert_true(status == NF_ERR_RANGE || loss.kind != NF_KIND_SUPCON);
        for (size_t e = 0; status == NF_OK && e < p->n * D; e++) assert_true(isfinite(narrow[e]));
        free(p);
    }
    nf_context_free(context);
}

typedef struct output {
    double gradient[NAMES][12];
    nf_loss_result result[NAMES];
} output;

static size_t now; /* the loss under test */

static nf_status small_loss(nf_context *context, void *user) {
    output *out = user;
    static const double x[12] = {0, 0, 1, 0, 0, 1, 1, 1, 0.5, 0.25, 2, 1};
    static const int64_t label[8] = {0, 1, 1, 2, 0, 2, 1, 0}, group[6] = {0, 1, 2, 3, 4, 4};
    static const size_t offset[7] = {0, 1, 3, 4, 5, 7, 8};
    static const double row_weight[6] = {1, 2, 1, 0.5, 1, 1},
                        pair_weight[36] = {0, 1, 2, 1, 1, 1, 0, 0, 1, 2, 3, 1, 0, 0, 0,
                                           1, 2, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 1};
    const nf_label_sets sets = {offset, label};
    const nf_targets targets = {.sets = &sets,
                                .row_weight = row_weight,
                                .pair_weight = nf_matrix_f64(pair_weight, 6, 6),
                                .group = group};
    nf_loss loss;
    nf_status status = nf_loss_preset(context, names[now], &loss);
    if (status != NF_OK) return status;
    return nf_loss_targets(context, &loss, nf_matrix_f64(x, 6, 2), &targets, &out->result[now],
                           nf_matrix_out_f64(out->gradient[now], 6, 2));
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    static output out;
    for (now = 0; now < NAMES; now++) {
        assert_true(test_fail_every_allocation(2, small_loss, &out, &out, sizeof out) > 0);
        assert_true(out.result[now].value > 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_loops_agree),
        cmocka_unit_test(plain_loops_agree_on_many_rows),
        cmocka_unit_test(other_metrics),
        cmocka_unit_test(plain_labels_are_the_batch_form),
        cmocka_unit_test(groups_are_ids),
        cmocka_unit_test(a_weight_is_a_number_of_copies),
        cmocka_unit_test(bits_do_not_depend_on_threads_or_isa),
        cmocka_unit_test(nothing_to_compare_is_a_zero),
        cmocka_unit_test(what_has_no_meaning_is_refused_by_name),
        cmocka_unit_test(numbers_at_the_edge),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
