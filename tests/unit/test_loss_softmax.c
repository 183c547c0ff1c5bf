/* Losses of exponentials over the pairs of a row (NT-Xent, SupCon, NCA, multi-similarity, circle, lifted
 * structure, generalised lifted structure, N-pairs) against plain loops, in both forms and types. */
#include "softmax_reference.h"
#include "support.h"

#include <math.h>
#include <stdbool.h>

#include "base/random.h"

static const char *const names[] = {
    "nt-xent", "supcon", "nca", "multi-similarity", "circle", "lifted", "generalized-lifted",
    "n-pairs"};
#define COUNT (sizeof names / sizeof *names)

enum { MOST = 512, COLUMNS = 8 };

typedef struct problem {
    softmax_problem of;
    double x[MOST * COLUMNS], y[MOST * COLUMNS];
    float narrow_x[MOST * COLUMNS], narrow_y[MOST * COLUMNS];
    int64_t label[MOST], other[MOST], ids[MOST], other_ids[MOST];
    double gradient[2][MOST * COLUMNS], expected[2][MOST * COLUMNS];
    float narrow_gradient[2][MOST * COLUMNS];
    nf_loss_result result;
} problem;

/* Values are floats, so that both types see the same rows. */
static problem *make_problem(nf_loss loss, size_t n, size_t m, size_t d, uint64_t seed) {
    problem *p = calloc(1, sizeof *p);
    p->of = (softmax_problem){.loss = loss, .n = n, .m = m, .d = d, .x = p->x, .label = p->label};
    test_random_f32(seed, p->narrow_x, n * d, -1, 1);
    test_random_f32(seed + 1, p->narrow_y, m * d, -1, 1);
    for (size_t k = 0; k < n * d; k++) p->x[k] = (double)p->narrow_x[k];
    for (size_t k = 0; k < m * d; k++) p->y[k] = (double)p->narrow_y[k];
    test_random_labels(seed, p->label, n, -1, 4);
    test_random_labels(seed + 1, p->other, m, -1, 4);
    if (m > 0) {
        p->of.y = p->y;
        p->of.other = p->other;
    }
    return p;
}

static void use_ids(problem *p) {
    for (size_t k = 0; k < p->of.n; k++) p->ids[k] = (int64_t)k;
    for (size_t k = 0; k < p->of.m; k++) p->other_ids[k] = (int64_t)(2 * k);
    p->of.ids = p->ids;
    p->of.other_ids = p->other_ids;
}

static void copy_row(problem *p, size_t from, size_t to) {
    for (size_t k = 0; k < p->of.d; k++) {
        p->x[to * p->of.d + k] = p->x[from * p->of.d + k];
        p->narrow_x[to * p->of.d + k] = p->narrow_x[from * p->of.d + k];
    }
}

static void zero_row(problem *p, size_t row) {
    for (size_t k = 0; k < p->of.d; k++) {
        p->x[row * p->of.d + k] = 0;
        p->narrow_x[row * p->of.d + k] = 0;
    }
}

static nf_status run(nf_context *context, problem *p, nf_type type) {
    const size_t n = p->of.n, m = p->of.m, d = p->of.d;
    const bool wide = type == NF_FLOAT64;
    nf_matrix x = wide ? nf_matrix_f64(p->x, n, d) : nf_matrix_f32(p->narrow_x, n, d);
    nf_matrix y = wide ? nf_matrix_f64(p->y, m, d) : nf_matrix_f32(p->narrow_y, m, d);
    nf_matrix_out gx = wide ? nf_matrix_out_f64(p->gradient[0], n, d)
                            : nf_matrix_out_f32(p->narrow_gradient[0], n, d);
    nf_matrix_out gy = wide ? nf_matrix_out_f64(p->gradient[1], m, d)
                            : nf_matrix_out_f32(p->narrow_gradient[1], m, d);
    nf_labels labels = {p->label, n, 1};
    nf_status status;
    if (p->of.y == NULL) {
        status = nf_loss_batch(context, &p->of.loss, x, labels, &p->result, gx);
    } else {
        nf_loss_sets sets = {x, y, labels, {p->other, m, 1}, p->of.ids, p->of.other_ids};
        status = nf_loss_reference(context, &p->of.loss, &sets, &p->result, gx, gy);
    }
    for (int s = 0; !wide && s < 2; s++) {
        for (size_t k = 0; k < (s == 0 ? n : m) * d; k++) {
            p->gradient[s][k] = (double)p->narrow_gradient[s][k];
        }
    }
    return status;
}

static void assert_near(const problem *p, const char *what, double got, double want,
                        double tolerance) {
    if (fabs(got - want) <= tolerance) return;
    fail_msg("kind %s, %zu x %zu x %zu, metric %s: %s is %.17g, not %.17g",
             nf_loss_kind_name(p->of.loss.kind), p->of.n, p->of.m, p->of.d,
             nf_metric_name(p->of.loss.pos_metric), what, got, want);
}

/* Exponents are up to `steep` times a distance, and so is their relative error. */
static double steepness(const nf_loss *loss) {
    double steep = fmax(fmax(loss->alpha, loss->beta), 2 * loss->gamma);
    return fmax(steep, loss->temperature > 0 ? 1 / loss->temperature : 1);
}

/* `zero`: a row without direction, or SIZE_MAX; `slack`: what differences of the oracle may be off
 * by, relatively, where a distance has a kink. */
static void check(nf_context *context, problem *p, size_t zero, double slack) {
    const double value = (double)softmax_reference(&p->of);
    softmax_reference_gradient(&p->of, p->expected[0], p->of.y != NULL ? p->expected[1] : NULL);
    for (size_t k = 0; k < p->of.d && zero < p->of.n; k++) p->expected[0][zero * p->of.d + k] = 0;
    double norm = 0;
    for (int s = 0; s < 2; s++) {
        for (size_t k = 0; k < (s == 0 ? p->of.n : p->of.m) * p->of.d; k++) {
            norm = fmax(norm, fabs(p->expected[s][k]));
        }
    }
    const double steep = steepness(&p->of.loss);
    for (int type = NF_FLOAT32; type <= NF_FLOAT64; type++) {
        const double unit = type == NF_FLOAT32 ? 0x1p-24 : 0x1p-53;
        const double relative = 40 * steep * unit + (type == NF_FLOAT64 ? 2e-9 : 0) + slack;
        assert_ok(context, run(context, p, (nf_type)type));
        assert_near(p, "value", p->result.value, value,
                    20 * steep * unit * fmax(fabs(value), p->of.loss.scale));
        for (int s = 0; s < 2; s++) {
            for (size_t k = 0; k < (s == 0 ? p->of.n : p->of.m) * p->of.d; k++) {
                assert_near(p, "a derivative", p->gradient[s][k], p->expected[s][k],
                            relative * fmax(norm, 1e-3 * p->of.loss.scale));
            }
        }
    }
}

/* Every field at random; the metric is the preset's in one case of two. */
static nf_loss vary(nf_context *context, const char *name, uint64_t seed) {
    nf_loss loss;
    double u[8];
    assert_ok(context, nf_loss_preset(context, name, &loss));
    test_random_f64(seed, u, 8, 0, 1);
    if (seed % 2 == 0) return loss;
    if (loss.temperature > 0) loss.temperature = 0.1 + u[0];
    if (loss.alpha > 0) loss.alpha = 0.5 + 3 * u[1];
    if (loss.beta > 0) loss.beta = 0.5 + 20 * u[2];
    if (loss.base != 0) loss.base = u[3];
    if (loss.gamma > 0) loss.gamma = 1 + 20 * u[4];
    if (nf_loss_takes(loss.kind, "neg_margin")) loss.neg_margin = u[5];
    if (nf_loss_takes(loss.kind, "pos_margin")) loss.pos_margin = u[6] / 2;
    loss.scale = 0.25 + u[7];
    if (loss.kind != NF_KIND_CIRCLE) {
        loss.pos_metric = loss.neg_metric = (nf_metric)(seed / 2 % 5);
        loss.normalize = seed % 3 == 0;
    }
    static const nf_reduction how[] = {NF_REDUCE_MEAN, NF_REDUCE_SUM, NF_REDUCE_MEAN_NONZERO,
                                       NF_REDUCE_DIVISOR};
    loss.reduction = how[seed % 3 == 1 && seed % 5 == 0 ? 3 : seed % 3];
    bool of_pairs = loss.kind == NF_KIND_NT_XENT || loss.kind == NF_KIND_LIFTED;
    if (of_pairs && seed % 4 == 1) loss.reduction = NF_REDUCE_MEAN_ANCHORS;
    if (loss.reduction == NF_REDUCE_DIVISOR) loss.divisor = 0.5 + 30 * u[7];
    return loss;
}

static void all_pairs(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    for (size_t k = 0; k < COUNT; k++) {
        for (uint64_t seed = 0; seed < 20; seed++) {
            problem *p = make_problem(vary(context, names[k], seed), 5 + seed % 9, 0, 3, 90 + seed);
            check(context, p, SIZE_MAX, 0);
            free(p);
        }
    }
    nf_context_free(context);
}

static void query_and_reference(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    for (size_t k = 0; k + 1 < COUNT; k++) {
        for (uint64_t seed = 0; seed < 20; seed++) {
            problem *p = make_problem(vary(context, names[k], seed), 6, 9, 3, 190 + seed);
            if (seed % 3 == 1) use_ids(p);
            check(context, p, SIZE_MAX, 0);
            free(p);
        }
    }
    nf_context_free(context);
}

/* More than one block of rows and columns, and a share of each that is not whole. */
static void several_blocks(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    for (size_t k = 0; k < COUNT; k++) {
        for (uint64_t seed = 0; seed < 2; seed++) {
            nf_loss loss = vary(context, names[k], seed);
            size_t m = seed == 1 && k + 1 < COUNT ? 130 : 0;
            problem *p = make_problem(loss, m > 0 ? 110 : 205, m, 2, 290 + seed);
            const double value = (double)softmax_reference(&p->of);
            assert_ok(context, run(context, p, NF_FLOAT64));
            assert_near(p, "value", p->result.value, value, 1e-12 * fmax(fabs(value), 1));
            /* One directional derivative of the oracle against the gradient. */
            double direction[MOST * COLUMNS], along = 0, h = 0x1p-12, f[2];
            test_random_f64(seed + 5, direction, p->of.n * 2, -1, 1);
            for (size_t i = 0; i < p->of.n * 2; i++) along += direction[i] * p->gradient[0][i];
            if (loss.kind != NF_KIND_CIRCLE) { /* whose gradient holds factors constant */
                for (int s = 0; s < 2; s++) {
                    for (size_t i = 0; i < p->of.n * 2; i++) {
                        p->x[i] = (double)p->narrow_x[i] + (s == 0 ? h : -h) * direction[i];
                    }
                    f[s] = (double)softmax_reference(&p->of);
                }
                assert_near(p, "a derivative", along, (f[0] - f[1]) / (2 * h),
                            1e-3 * fmax(fabs(along), 1));
            }
            free(p);
        }
    }
    nf_context_free(context);
}

static void duplicates_and_zero_rows(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    for (size_t k = 0; k < COUNT; k++) {
        nf_loss loss;
        assert_ok(context, nf_loss_preset(context, names[k], &loss));
        problem *p = make_problem(loss, 10, 0, 3, 390 + k);
        const int64_t label[10] = {0, 0, 1, 1, 2, 2, 3, 0, 1, 2};
        memcpy(p->label, label, sizeof label);
        copy_row(p, 0, 1); /* positives that coincide */
        copy_row(p, 2, 4); /* negatives that coincide */
        check(context, p, SIZE_MAX, 1e-4);
        zero_row(p, 5);
        check(context, p, 5, 1e-4);
        assert_int_equal(p->result.zero_rows, 1);
        free(p);
    }
    nf_context_free(context);
}

/* Nothing to compare: 0 and zeros. What is left for a loss of one side is finite. */
static void labels_at_the_edge(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    static const int64_t labels[][6] = {{0, 0, 0, 0, 0, 0},     {0, 1, 2, 3, 4, 5},
                                        {0, 0, 1, 2, 3, 4},     {-1, -1, -1, -1, -1, -1},
                                        {-1, 7, -1, -1, 7, -1}, {-1, 7, -1, -1, 8, -1}};
    for (size_t k = 0; k < COUNT; k++) {
        for (size_t l = 0; l < 6; l++) {
            for (size_t n = 0; n <= 6; n++) {
                nf_loss loss;
                assert_ok(context, nf_loss_preset(context, names[k], &loss));
                problem *p = make_problem(loss, n, 0, 3, 490 + l);
                memcpy(p->label, labels[l], n * sizeof(int64_t));
                check(context, p, SIZE_MAX, 0);
                if (p->result.positive_pairs + p->result.negative_pairs == 0) {
                    assert_true(p->result.value == 0);
                    for (size_t i = 0; i < n * 3; i++) assert_true(p->gradient[0][i] == 0);
                }
                free(p);
            }
        }
    }
    nf_context_free(context);
}

static void counts_and_statistics(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const int64_t label[7] = {3, 3, 3, 4, 4, 9, -1};
    for (size_t k = 0; k < COUNT; k++) {
        nf_loss loss;
        assert_ok(context, nf_loss_preset(context, names[k], &loss));
        loss.stats = 1;
        problem *p = make_problem(loss, 7, 0, 3, 590);
        memcpy(p->label, label, sizeof label);
        assert_ok(context, run(context, p, NF_FLOAT64));
        bool n_pairs = loss.kind == NF_KIND_N_PAIRS;
        bool of_pairs = loss.kind == NF_KIND_NT_XENT || loss.kind == NF_KIND_LIFTED;
        assert_int_equal(p->result.positive_pairs, n_pairs ? 2 : 4);
        assert_int_equal(p->result.negative_pairs, n_pairs ? 2 : 11);
        assert_int_equal(p->result.terms, n_pairs                    ? 2
                                          : of_pairs                 ? 8
                                          : loss.kind == NF_KIND_NCA ? 5
                                                                     : 6);
        assert_true(p->result.active_terms > 0 && p->result.active_terms <= p->result.terms);
        assert_int_equal(p->result.has_stats, 1);
        double sum = 0;
        nf_distance_options options = {.metric = loss.pos_metric, .normalize = loss.normalize};
        const int64_t i[4] = {0, 0, 1, 3}, j[4] = {1, 2, 2, 4};
        double t[4];
        assert_ok(context, nf_distances_pairs(context, &options, nf_matrix_f64(p->x, 7, 3),
                                              nf_matrix_f64(p->x, 7, 3), i, j, 4, t));
        for (int q = 0; q < 4; q++) sum += t[q];
        if (!n_pairs) assert_near(p, "mean", p->result.mean_positive_distance, sum / 4, 1e-14);
        nf_loss_result with = p->result;
        p->of.loss.stats = 0;
        assert_ok(context, run(context, p, NF_FLOAT64));
        assert_memory_equal(&with.value, &p->result.value, sizeof(double));
        free(p);
    }
    nf_context_free(context);
}

/* Values no float exponent could hold: sums are taken from their peak. */
static void extreme_numbers(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    for (size_t k = 0; k < COUNT; k++) {
        for (int variant = 0; variant < 2; variant++) {
            nf_loss loss;
            assert_ok(context, nf_loss_preset(context, names[k], &loss));
            if (loss.temperature > 0) loss.temperature = variant == 0 ? 1e-3 : 1e3;
            if (loss.alpha > 0) loss.alpha = loss.beta = variant == 0 ? 1e4 : 1e-3;
            if (loss.gamma > 0) loss.gamma = variant == 0 ? 1e4 : 1e-3;
            if (nf_loss_takes(loss.kind, "pos_margin")) loss.neg_margin = variant == 0 ? 500 : -500;
            problem *p = make_problem(loss, 30, 0, 4, 690 + k);
            const double value = (double)softmax_reference(&p->of);
            for (int type = NF_FLOAT32; type <= NF_FLOAT64; type++) {
                assert_ok(context, run(context, p, (nf_type)type));
                assert_near(p, "value", p->result.value, value,
                            (type == NF_FLOAT32 ? 1e-4 : 1e-12) * fmax(fabs(value), 1e-3));
                for (size_t i = 0; i < 30 * 4; i++) assert_true(isfinite(p->gradient[0][i]));
            }
            free(p);
        }
    }
    nf_context_free(context);
}

/* Rows so large or so small that tiles cannot hold their squared distances. */
static void extreme_rows(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    static const char *const plain[] = {"lifted", "generalized-lifted", "nt-xent"};
    for (size_t k = 0; k < 3; k++) {
        for (int variant = 0; variant < 2; variant++) {
            nf_loss loss;
            const float factor = variant == 0 ? 1e25f : 1e-30f;
            assert_ok(context, nf_loss_preset(context, plain[k], &loss));
            loss.normalize = 0;
            loss.pos_metric = loss.neg_metric = NF_EUCLIDEAN;
            if (loss.temperature > 0) {
                loss.temperature = (double)factor;
            } else {
                loss.scale = 1 / (double)factor;
            }
            problem *p = make_problem(loss, 12, 0, 3, 790 + k);
            for (size_t i = 0; i < 12 * 3; i++) {
                p->narrow_x[i] *= factor;
                p->x[i] = (double)p->narrow_x[i];
            }
            double value[2];
            for (int type = NF_FLOAT32; type <= NF_FLOAT64; type++) {
                assert_ok(context, run(context, p, (nf_type)type));
                value[type] = p->result.value;
                for (size_t i = 0; i < 12 * 3; i++) assert_true(isfinite(p->gradient[0][i]));
            }
            assert_near(p, "value", value[0], value[1], 2e-6 * fabs(value[1]));
            const double oracle = (double)softmax_reference(&p->of);
            assert_near(p, "value", value[1], oracle, 1e-12 * fabs(oracle));
            free(p);
        }
    }
    nf_context_free(context);
}

/* A number of the loss beyond the rows' type ends the call, whatever the reduction: a mean of the terms
 * above 0 must not take NaN for no term. */
static void numbers_beyond_the_type_are_refused(void **state) {
    (void)state;
    static const int64_t label[6] = {0, 0, 0, 1, 1, 1};
    nf_context *context = test_context(1);
    float x[12], gradient[12] = {7};
    test_random_f32(1, x, 12, -1, 1);
    for (int k = 0; k < 6; k++) {
        nf_loss loss;
        nf_loss_result result = {.value = 7};
        assert_ok(context, nf_loss_preset(context,
                                          k < 2   ? "circle"
                                          : k < 4 ? "generalized-lifted"
                                                  : "supcon",
                                          &loss));
        loss.reduction = k % 2 ? NF_REDUCE_MEAN_NONZERO : NF_REDUCE_MEAN;
        if (k < 2) loss.gamma = 1e39;
        if (k >= 2 && k < 4) loss.neg_margin = 1e39;
        if (k >= 4) loss.temperature = 1e-60;
        assert_fails(context,
                     nf_loss_batch(context, &loss, nf_matrix_f32(x, 6, 2), (nf_labels){label, 6, 0},
                                   &result, (nf_matrix_out){0}),
                     NF_ERR_RANGE, "exceed");
        assert_fails(context,
                     nf_loss_batch(context, &loss, nf_matrix_f32(x, 6, 2), (nf_labels){label, 6, 0},
                                   &result, nf_matrix_out_f32(gradient, 6, 2)),
                     NF_ERR_RANGE, "exceed");
        assert_true(result.value == 7 && gradient[0] == 7);
    }
    nf_context_free(context);
}

static void same_bits_for_threads_and_instruction_sets(void **state) {
    (void)state;
    for (size_t k = 0; k < COUNT; k++) {
        for (int type = NF_FLOAT32; type <= NF_FLOAT64; type++) {
            problem *first = NULL;
            for (int variant = 0; variant < 4; variant++) {
                nf_context *context =
                    variant < 3 ? test_context(variant + 1) : test_context_isa(1, NF_ISA_SCALAR);
                nf_loss loss;
                assert_ok(context, nf_loss_preset(context, names[k], &loss));
                problem *p = make_problem(loss, 300, k % 2 == 0 ? 200 : 0, 5, 890);
                assert_ok(context, run(context, p, (nf_type)type));
                nf_context_free(context);
                if (first == NULL) {
                    first = p;
                    continue;
                }
                assert_memory_equal(&p->result, &first->result, sizeof p->result);
                assert_memory_equal(p->gradient, first->gradient, sizeof p->gradient);
                free(p);
            }
            free(first);
        }
    }
}

#define REFUSED(name, field, bad, text)                                          \
    do {                                                                         \
        nf_loss loss_;                                                           \
        assert_ok(context, nf_loss_preset(context, name, &loss_));               \
        loss_.field = bad;                                                       \
        assert_fails(context, nf_loss_check(context, &loss_), NF_ERR_ARG, text); \
    } while (0)

static void fields_a_kind_does_not_take(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    REFUSED("nt-xent", temperature, 0, "temperature is 0");
    REFUSED("nt-xent", temperature, (double)NAN, "temperature is nan");
    REFUSED("nt-xent", neg_margin, 1, "kind nt-xent takes no neg_margin");
    REFUSED("supcon", pos_weight, 2, "takes no pos_weight");
    REFUSED("supcon", neg_exponent, 2, "takes no neg_exponent");
    REFUSED("supcon", neg_metric, NF_DOT, "one metric");
    REFUSED("supcon", reduction, NF_REDUCE_MEAN_ANCHORS, "mean, sum, weighted-mean, mean-nonzero");
    REFUSED("multi-similarity", alpha, -1, "alpha is -1");
    REFUSED("multi-similarity", beta, 0, "beta is 0");
    REFUSED("multi-similarity", base, (double)INFINITY, "base is inf");
    REFUSED("circle", gamma, 0, "gamma is 0");
    REFUSED("lifted", temperature, 1, "takes no temperature");
    REFUSED("nca", triplets, NF_TRIPLETS_HARD, "takes no triplets");
    REFUSED("nca", smooth, 1, "takes no smooth");
    nf_loss loss;
    assert_ok(context, nf_loss_preset(context, "circle", &loss));
    loss.pos_metric = loss.neg_metric = NF_EUCLIDEAN;
    assert_fails(context, nf_loss_check(context, &loss), NF_ERR_ARG, "cosine only");
    loss = nf_loss_weston();
    loss.kind = (nf_loss_kind)77;
    assert_fails(context, nf_loss_check(context, &loss), NF_ERR_ARG, "kind is 77");
    nf_context_free(context);
}

static void lists_need_terms_of_their_own(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    double x[6] = {1, 2, 3, 4, 5, 6};
    const int64_t i[1] = {0}, j[1] = {1};
    const uint8_t same[3] = {1, 0, 1};
    nf_loss_result result;
    nf_matrix rows = nf_matrix_f64(x, 3, 2);
    for (size_t k = 0; k < COUNT; k++) {
        nf_loss loss;
        assert_ok(context, nf_loss_preset(context, names[k], &loss));
        assert_fails(context,
                     nf_loss_pairs(context, &loss, rows, (nf_pairs){1, i, j, same, NULL}, NULL,
                                   &result, (nf_matrix_out){0}),
                     NF_ERR_ARG, "nf_loss_batch");
        assert_fails(context,
                     nf_loss_rows(context, &loss, rows, rows, same, NULL, NULL, &result,
                                  (nf_matrix_out){0}, (nf_matrix_out){0}),
                     NF_ERR_ARG, names[k]);
    }
    nf_loss loss;
    assert_ok(context, nf_loss_preset(context, "n-pairs", &loss));
    nf_loss_sets sets = {rows, rows, {i, 3, 0}, {i, 3, 0}, NULL, NULL};
    const int64_t label[3] = {0, 0, 1};
    sets.query_labels.data = sets.reference_labels.data = label;
    assert_fails(
        context,
        nf_loss_reference(context, &loss, &sets, &result, (nf_matrix_out){0}, (nf_matrix_out){0}),
        NF_ERR_ARG, "one set");
    nf_context_free(context);
}

/* Strided input and output, and the value alone. */
static void layouts(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    for (size_t k = 0; k < COUNT; k++) {
        nf_loss loss;
        assert_ok(context, nf_loss_preset(context, names[k], &loss));
        problem *p = make_problem(loss, 40, 0, 3, 990);
        assert_ok(context, run(context, p, NF_FLOAT64));
        double wide[40 * 5], gradient[40 * 4];
        for (size_t c = 0; c < 40 * 4; c++) gradient[c] = 77;
        for (size_t r = 0; r < 40; r++) memcpy(wide + 5 * r, p->x + 3 * r, 3 * sizeof(double));
        nf_loss_result result, alone;
        nf_matrix x = {wide, NF_FLOAT64, 40, 3, 5};
        nf_matrix_out out = {gradient, NF_FLOAT64, 40, 3, 4};
        nf_labels labels = {p->label, 40, 1};
        assert_ok(context, nf_loss_batch(context, &loss, x, labels, &result, out));
        assert_ok(context, nf_loss_batch(context, &loss, x, labels, &alone, (nf_matrix_out){0}));
        assert_true(result.value == p->result.value && alone.value == result.value);
        for (size_t r = 0; r < 40; r++) {
            assert_memory_equal(gradient + 4 * r, p->gradient[0] + 3 * r, 3 * sizeof(double));
            assert_true(gradient[4 * r + 3] == 77);
        }
        free(p);
    }
    nf_context_free(context);
}

static nf_status torture_run(nf_context *context, void *user) {
    return run(context, user, NF_FLOAT32);
}

static void failing_allocations(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    for (size_t k = 0; k < COUNT; k++) {
        for (size_t m = 0; m <= 70; m += 70) {
            nf_loss loss;
            assert_ok(context, nf_loss_preset(context, names[k], &loss));
            if (m > 0 && loss.kind == NF_KIND_N_PAIRS) continue;
            problem *p = make_problem(loss, 120, m, 4, 1090);
            for (int threads = 1; threads <= 2; threads++) {
                assert_true(test_fail_every_allocation(threads, torture_run, p, p->narrow_gradient,
                                                       sizeof p->narrow_gradient) > 0);
            }
            free(p);
        }
    }
    nf_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_pairs),
                                       cmocka_unit_test(query_and_reference),
                                       cmocka_unit_test(several_blocks),
                                       cmocka_unit_test(duplicates_and_zero_rows),
                                       cmocka_unit_test(labels_at_the_edge),
                                       cmocka_unit_test(counts_and_statistics),
                                       cmocka_unit_test(extreme_numbers),
                                       cmocka_unit_test(extreme_rows),
                                       cmocka_unit_test(numbers_beyond_the_type_are_refused),
                                       cmocka_unit_test(same_bits_for_threads_and_instruction_sets),
                                       cmocka_unit_test(fields_a_kind_does_not_take),
                                       cmocka_unit_test(lists_need_terms_of_their_own),
                                       cmocka_unit_test(layouts),
                                       cmocka_unit_test(failing_allocations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
