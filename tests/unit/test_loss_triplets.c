/* Losses of a triplet list, against plain loops over its terms, against the batch form over the list of
 * all triplets and against the pair list. */
#include "support.h"

#include <math.h>

enum {
    N = 40,
    D = 7,
    LISTED = 701,
    ROOM = N * N * N / 4
}; /* more pairs than one chunk of partial sums */

typedef struct data {
    double x[N * D];
    float x32[N * D];
    int64_t label[N], anchor[ROOM], positive[ROOM], negative[ROOM];
    size_t count;
} data;

static nf_triplet_list list_of(const data *t) {
    return (nf_triplet_list){t->count, t->anchor, t->positive, t->negative};
}

static void fill_rows(data *t, uint64_t seed) {
    test_random_f64(seed, t->x, N * D, -1, 1);
    for (size_t k = 0; k < D; k++) {
        t->x[3 * D + k] = t->x[9 * D + k]; /* rows at distance 0 */
        t->x[5 * D + k] = 0;
    }
    for (size_t e = 0; e < N * D; e++) t->x32[e] = (float)t->x[e];
}

/* Any triplets, whatever the labels. */
static data *drawn(uint64_t seed) {
    data *t = calloc(1, sizeof *t);
    int64_t rows[3 * LISTED];
    fill_rows(t, seed);
    test_random_labels(seed + 1, rows, 3 * LISTED, 0, N - 1);
    for (size_t k = 0; k < LISTED; k++) {
        const int64_t a = rows[3 * k];
        t->anchor[k] = a;
        t->positive[k] = (a + 1 + rows[3 * k + 1] % (N / 2)) % N;
        t->negative[k] = (a + N / 2 + 1 + rows[3 * k + 2] % (N / 2 - 1)) % N;
    }
    t->count = LISTED;
    return t;
}

/* All triplets of random labels. */
static data *complete(uint64_t seed) {
    data *t = calloc(1, sizeof *t);
    fill_rows(t, seed);
    test_random_labels(seed + 1, t->label, N, 0, 4);
    for (int64_t a = 0; a < N; a++) {
        for (int64_t p = 0; p < N; p++) {
            for (int64_t n = 0; n < N; n++) {
                if (p == a || t->label[p] != t->label[a] || t->label[n] == t->label[a]) continue;
                assert_true(t->count < ROOM);
                t->anchor[t->count] = a;
                t->positive[t->count] = p;
                t->negative[t->count++] = n;
            }
        }
    }
    return t;
}

static double distance(const double *x, int64_t a, int64_t b, const nf_loss *loss) {
    double dot = 0, square[2] = {0, 0}, sum = 0;
    for (size_t k = 0; k < D; k++) {
        square[0] += x[a * D + (int64_t)k] * x[a * D + (int64_t)k];
        square[1] += x[b * D + (int64_t)k] * x[b * D + (int64_t)k];
        dot += x[a * D + (int64_t)k] * x[b * D + (int64_t)k];
    }
    const double length[2] = {sqrt(square[0]), sqrt(square[1])};
    if (loss->pos_metric == NF_COSINE) {
        return length[0] > 0 && length[1] > 0 ? 1 - dot / (length[0] * length[1]) : 1;
    }
    if (loss->pos_metric == NF_DOT) {
        return !loss->normalize                 ? -dot
               : length[0] > 0 && length[1] > 0 ? -dot / (length[0] * length[1])
                                                : 0;
    }
    for (size_t k = 0; k < D; k++) {
        double p = x[a * D + (int64_t)k], q = x[b * D + (int64_t)k];
        if (loss->normalize) p = length[0] > 0 ? p / length[0] : 0;
        if (loss->normalize) q = length[1] > 0 ? q / length[1] : 0;
        sum += loss->pos_metric == NF_CITYBLOCK ? fabs(p - q) : (p - q) * (p - q);
    }
    return loss->pos_metric == NF_EUCLIDEAN ? sqrt(sum) : sum;
}

/* Value by the formulas of loss.h. */
static double by_loops(const data *t, const double *x, const nf_loss *loss, uint64_t *active) {
    double sum = 0;
    *active = 0;
    for (size_t k = 0; k < t->count; k++) {
        const double p = distance(x, t->anchor[k], t->positive[k], loss);
        const double n = distance(x, t->anchor[k], t->negative[k], loss);
        double part[2] = {p + loss->neg_margin - n, 0};
        if (loss->kind == NF_KIND_MARGIN) {
            part[0] = p - loss->beta + loss->neg_margin;
            part[1] = loss->beta - n + loss->neg_margin;
        }
        if (loss->smooth) part[0] = log1p(exp(part[0]));
        sum += fmax(part[0], 0) + fmax(part[1], 0);
        *active += (uint64_t)(part[0] > 0) + (uint64_t)(part[1] > 0);
    }
    const double count = loss->reduction == NF_REDUCE_SUM            ? 1
                         : loss->reduction == NF_REDUCE_DIVISOR      ? loss->divisor
                         : loss->reduction == NF_REDUCE_MEAN_NONZERO ? (double)*active
                                                                     : (double)t->count;
    return loss->scale * sum / count;
}

/* Losses of both kinds over metrics and reductions. */
static nf_loss loss_number(nf_context *context, int k) {
    static const nf_metric metrics[] = {NF_EUCLIDEAN, NF_SQEUCLIDEAN, NF_COSINE, NF_DOT,
                                        NF_CITYBLOCK};
    static const nf_reduction reductions[] = {NF_REDUCE_MEAN, NF_REDUCE_SUM, NF_REDUCE_MEAN_NONZERO,
                                              NF_REDUCE_DIVISOR};
    nf_loss loss;
    assert_ok(context, nf_loss_preset(context, k % 2 ? "margin" : "triplet", &loss));
    loss.pos_metric = loss.neg_metric = metrics[k % 5];
    loss.reduction = reductions[k % 4];
    loss.divisor = loss.reduction == NF_REDUCE_DIVISOR ? 3.5 : 0;
    loss.normalize = k % 3 == 0;
    loss.neg_margin = 0.3;
    loss.smooth = k % 2 == 0 && k % 7 == 0;
    loss.scale = k % 3 == 1 ? 2 : 1;
    loss.stats = 1;
    return loss;
}

static void value_and_gradient_are_those_of_the_terms(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    for (int k = 0; k < 40; k++) {
        data *t = drawn((uint64_t)k);
        /* Duplicates and zero rows have no derivative. */
        test_random_f64(99 + (uint64_t)k, t->x, N * D, -1, 1);
        const nf_loss loss = loss_number(context, k);
        double gradient[N * D];
        nf_loss_result result;
        uint64_t active, ignored;
        assert_ok(context, nf_loss_triplets(context, &loss, nf_matrix_f64(t->x, N, D), list_of(t),
                                            &result, nf_matrix_out_f64(gradient, N, D)));
        const double value = by_loops(t, t->x, &loss, &active);
        assert_true(fabs(result.value - value) <= 1e-12 * fabs(value));
        assert_int_equal(result.terms, t->count);
        assert_int_equal(result.active_terms, active);
        assert_int_equal(result.positive_pairs, t->count);
        assert_int_equal(result.negative_pairs, t->count);
        double error = 0, norm = 0;
        for (size_t e = 0; e < N * D; e++) {
            const double kept = t->x[e], h = 1e-7;
            t->x[e] = kept + h;
            const double up = by_loops(t, t->x, &loss, &ignored);
            t->x[e] = kept - h;
            const double slope = (up - by_loops(t, t->x, &loss, &ignored)) / (2 * h);
            t->x[e] = kept;
            error += (slope - gradient[e]) * (slope - gradient[e]);
            norm += slope * slope;
        }
        /* mean-nonzero jumps where a triplet becomes active, which h = 1e-7 hardly ever meets. */
        assert_true(norm > 0 && sqrt(error) <= 1e-5 * sqrt(norm));
        free(t);
    }
    nf_context_free(context);
}

static void all_triplets_are_the_batch(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    for (int k = 0; k < 20; k++) {
        data *t = complete((uint64_t)k);
        nf_loss loss = loss_number(context, k);
        float listed[N * D], whole[N * D];
        nf_loss_result a, b;
        const nf_matrix x = nf_matrix_f32(t->x32, N, D);
        assert_ok(context, nf_loss_triplets(context, &loss, x, list_of(t), &a,
                                            nf_matrix_out_f32(listed, N, D)));
        assert_ok(context, nf_loss_batch(context, &loss, x, (nf_labels){t->label, N, 0}, &b,
                                         nf_matrix_out_f32(whole, N, D)));
        assert_true(fabs(a.value - b.value) <= 2e-6 * fabs(b.value));
        assert_int_equal(a.terms, b.terms);
        double error = 0, norm = 0;
        for (size_t e = 0; e < N * D; e++) {
            error += pow((double)listed[e] - (double)whole[e], 2);
            norm += pow((double)whole[e], 2);
        }
        assert_true(norm > 0 && sqrt(error) <= 1e-3 * sqrt(norm));
        free(t);
    }
    nf_context_free(context);
}

static void pair_losses_take_both_pairs(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    data *t = drawn(5);
    int64_t i[2 * LISTED], j[2 * LISTED];
    uint8_t same[2 * LISTED];
    for (size_t k = 0; k < LISTED; k++) {
        i[2 * k] = i[2 * k + 1] = t->anchor[k];
        j[2 * k] = t->positive[k], j[2 * k + 1] = t->negative[k];
        same[2 * k] = 1, same[2 * k + 1] = 0;
    }
    const nf_pairs pairs = {2 * LISTED, i, j, same, NULL};
    const nf_matrix x = nf_matrix_f32(t->x32, N, D);
    for (size_t k = 0; nf_loss_preset_name(k) != NULL; k++) {
        nf_loss loss;
        float g[2][N * D];
        nf_loss_result r[2];
        memset(r, 0, sizeof r);
        assert_ok(context, nf_loss_preset(context, nf_loss_preset_name(k), &loss));
        if (loss.kind != NF_KIND_CONTRASTIVE) continue;
        assert_ok(context, nf_loss_triplets(context, &loss, x, list_of(t), &r[0],
                                            nf_matrix_out_f32(g[0], N, D)));
        assert_ok(context, nf_loss_pairs(context, &loss, x, pairs, NULL, &r[1],
                                         nf_matrix_out_f32(g[1], N, D)));
        assert_memory_equal(&r[0], &r[1], sizeof r[0]);
        assert_memory_equal(g[0], g[1], sizeof g[0]);
    }
    free(t);
    nf_context_free(context);
}

/* ---- beta to learn ---------------------------------------------------------------------------- */

/* The class of each label, in the order of first appearance. */
static size_t classes_of(const data *t, size_t class_of[N]) {
    int64_t seen[N];
    size_t count = 0;
    for (size_t r = 0; r < N; r++) {
        size_t c = 0;
        while (c < count && seen[c] != t->label[r]) c++;
        if (c == count) seen[count++] = t->label[r];
        class_of[r] = c;
    }
    return count;
}

/* Value by the formulas, with each anchor's beta and the regularizer. */
static double margin_by_loops(const data *t, const nf_loss *loss, const nf_margin_beta *beta,
                              const size_t class_of[N]) {
    double sum = 0, own = 0;
    uint64_t active = 0;
    for (size_t k = 0; k < t->count; k++) {
        const size_t c = beta->count > 1 ? class_of[t->anchor[k]] : 0;
        const double pull = distance(t->x, t->anchor[k], t->positive[k], loss) - beta->beta[c];
        const double push = beta->beta[c] - distance(t->x, t->anchor[k], t->negative[k], loss);
        sum += fmax(pull + loss->neg_margin, 0) + fmax(push + loss->neg_margin, 0);
        active += (uint64_t)(pull + loss->neg_margin > 0) + (uint64_t)(push + loss->neg_margin > 0);
        own += beta->beta[c];
    }
    const double count = loss->reduction == NF_REDUCE_SUM            ? 1
                         : loss->reduction == NF_REDUCE_DIVISOR      ? loss->divisor
                         : loss->reduction == NF_REDUCE_MEAN_NONZERO ? (double)active
                                                                     : (double)t->count;
    const double regular = beta->count > 1 ? own / count : beta->beta[0];
    return loss->scale * sum / count + beta->nu * regular;
}

static void a_boundary_has_the_gradient_of_its_triplets(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    for (int k = 1; k < 40; k += 2) {
        data *t = drawn((uint64_t)k);
        size_t class_of[N];
        double beta[N], slope[N], gradient[N * D];
        test_random_labels((uint64_t)k, t->label, N, 3, 6);
        test_random_f64((uint64_t)k, beta, N, 0.5, 1.5);
        const size_t classes = classes_of(t, class_of);
        const nf_loss loss = loss_number(context, k);
        const nf_margin_beta own = {beta, k % 4 == 1 ? 1 : classes, k % 3 ? 0.2 : 0, slope, 0};
        nf_loss_result result;
        assert_ok(context, nf_loss_margin_triplets(context, &loss, nf_matrix_f64(t->x, N, D),
                                                   (nf_labels){t->label, N, 0}, list_of(t), &own,
                                                   &result, nf_matrix_out_f64(gradient, N, D)));
        const double value = margin_by_loops(t, &loss, &own, class_of);
        assert_true(fabs(result.value - value) <= 1e-12 * fabs(value));
        for (size_t c = 0; c < own.count; c++) {
            const double kept = beta[c], h = 1e-6;
            beta[c] = kept + h;
            const double up = margin_by_loops(t, &loss, &own, class_of);
            beta[c] = kept - h;
            const double want = (up - margin_by_loops(t, &loss, &own, class_of)) / (2 * h);
            beta[c] = kept;
            assert_true(fabs(slope[c] - want) <= 1e-4 * (1 + fabs(want)));
        }
        free(t);
    }
    nf_context_free(context);
}

static void one_boundary_for_all_changes_nothing_else(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    data *t = complete(2);
    const nf_loss loss = loss_number(context, 5);
    const nf_matrix x = nf_matrix_f32(t->x32, N, D);
    const nf_labels labels = {t->label, N, 0};
    nf_margin_beta own = {&loss.beta, 1, 0, NULL, 0};
    float g[2][N * D];
    nf_loss_result r[2];
    memset(r, 0, sizeof r);
    assert_ok(context, nf_loss_triplets(context, &loss, x, list_of(t), &r[0],
                                        nf_matrix_out_f32(g[0], N, D)));
    assert_ok(context, nf_loss_margin_triplets(context, &loss, x, labels, list_of(t), &own, &r[1],
                                               nf_matrix_out_f32(g[1], N, D)));
    assert_memory_equal(&r[0], &r[1], sizeof r[0]);
    assert_memory_equal(g[0], g[1], sizeof g[0]);
    /* The gradient of all triplets is that of the batch. */
    double slope[2];
    own.gradient = &slope[0];
    own.nu = 0.5;
    assert_ok(context, nf_loss_margin_triplets(context, &loss, x, labels, list_of(t), &own, &r[0],
                                               (nf_matrix_out){0}));
    own.gradient = &slope[1];
    assert_ok(context, nf_loss_margin(context, &loss, x, labels, &own, &r[1], (nf_matrix_out){0}));
    assert_true(fabs(slope[0] - slope[1]) <= 1e-9 * fabs(slope[1]));
    assert_true(fabs(r[0].value - r[1].value) <= 1e-5 * r[1].value);
    free(t);
    nf_context_free(context);
}

static void bits_do_not_depend_on_threads(void **state) {
    (void)state;
    data *t = complete(3);
    float g[3][N * D];
    nf_loss_result r[3];
    memset(r, 0, sizeof r);
    for (int threads = 1; threads <= 3; threads++) {
        nf_context *context = test_context(threads);
        const nf_loss loss = loss_number(context, 0);
        assert_ok(context,
                  nf_loss_triplets(context, &loss, nf_matrix_f32(t->x32, N, D), list_of(t),
                                   &r[threads - 1], nf_matrix_out_f32(g[threads - 1], N, D)));
        nf_context_free(context);
    }
    for (int k = 1; k < 3; k++) {
        assert_memory_equal(&r[0], &r[k], sizeof r[0]);
        assert_memory_equal(g[0], g[k], sizeof g[0]);
    }
    free(t);
}

static void no_triplet_is_zero(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    data *t = drawn(1);
    for (int k = 0; k < 8; k++) {
        const nf_loss loss = loss_number(context, k);
        nf_loss_result result;
        float g[N * D];
        memset(g, 1, sizeof g);
        assert_ok(context,
                  nf_loss_triplets(context, &loss, nf_matrix_f32(t->x32, N, D),
                                   (nf_triplet_list){0}, &result, nf_matrix_out_f32(g, N, D)));
        assert_true(result.value == 0 && result.terms == 0);
        for (size_t e = 0; e < N * D; e++) assert_true(g[e] == 0);
    }
    free(t);
    nf_context_free(context);
}

static void misuse_is_named(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    data *t = drawn(1);
    nf_loss loss = loss_number(context, 0);
    nf_loss_result result;
    float g[N * D];
    const nf_matrix x = nf_matrix_f32(t->x32, N, D);
    const nf_matrix_out out = nf_matrix_out_f32(g, N, D);
#define REFUSED(change, text)                                                                      \
    do {                                                                                           \
        nf_triplet_list list = list_of(t);                                                         \
        const nf_loss kept = loss;                                                                 \
        change;                                                                                    \
        memset(&result, 7, sizeof result);                                                         \
        memset(g, 7, sizeof g);                                                                    \
        assert_fails(context, nf_loss_triplets(context, &loss, x, list, &result, out), NF_ERR_ARG, \
                     text);                                                                        \
        for (size_t b = 0; b < sizeof g; b++) assert_int_equal(((unsigned char *)g)[b], 7);        \
        loss = kept;                                                                               \
    } while (0)
    int64_t bad[LISTED];
    memcpy(bad, t->negative, sizeof bad);
    bad[7] = N;
    REFUSED(list.negative = bad, "negative[7] is 40");
    bad[7] = -1;
    REFUSED(list.positive = bad, "positive[7] is -1");
    bad[7] = t->anchor[7];
    REFUSED(list.negative = bad, "triplet 7 is");
    REFUSED(list.negative = list.positive, "its rows must differ");
    REFUSED(list.anchor = NULL, "anchor is NULL");
    REFUSED(loss.triplets = NF_TRIPLETS_HARD, "triplets is hard");
    REFUSED(loss.reduction = NF_REDUCE_NONE, "reduction none");
    REFUSED(assert_ok(context, nf_loss_preset(context, "supcon", &loss)), "a loss of kind supcon");
#undef REFUSED
    const double beta[2] = {1, 1};
    nf_margin_beta own = {beta, 1, 0, NULL, 0};
    nf_labels labels = {t->label, N, 1};
    for (int64_t r = 0; r < N; r++) t->label[r] = r % 3;
    assert_fails(context,
                 nf_loss_margin_triplets(context, &loss, x, labels, list_of(t), &own, &result, out),
                 NF_ERR_ARG, "the loss is of kind triplet");
    loss = loss_number(context, 1);
    own.count = 2;
    assert_fails(context,
                 nf_loss_margin_triplets(context, &loss, x, labels, list_of(t), &own, &result, out),
                 NF_ERR_ARG, "beta has 2 entries");
    own.count = 1;
    t->label[t->anchor[0]] = -1;
    assert_fails(context,
                 nf_loss_margin_triplets(context, &loss, x, labels, list_of(t), &own, &result, out),
                 NF_ERR_ARG, "anchor[0] is row");
    labels.n = 3;
    assert_fails(context,
                 nf_loss_margin_triplets(context, &loss, x, labels, list_of(t), &own, &result, out),
                 NF_ERR_ARG, "labels");
    t->x32[2] = INFINITY;
    assert_fails(context, nf_loss_triplets(context, &loss, x, list_of(t), &result, out),
                 NF_ERR_DATA, "");
    free(t);
    nf_context_free(context);
}

typedef struct memory_job {
    data *t;
    int k;
    struct {
        nf_loss_result result;
        float gradient[N * D];
        double beta[3];
    } out;
} memory_job;

static nf_status memory_body(nf_context *context, void *user) {
    memory_job *job = user;
    nf_loss loss;
    static const char *const presets[] = {"triplet", "margin", "pml", "margin"};
    nf_status status = nf_loss_preset(context, presets[job->k], &loss);
    if (status != NF_OK) return status;
    if (job->k == 3) {
        const double beta[3] = {0.9, 1, 1.1};
        const nf_margin_beta own = {beta, 3, 0.1, job->out.beta, 1};
        return nf_loss_margin_triplets(
            context, &loss, nf_matrix_f32(job->t->x32, N, D), (nf_labels){job->t->label, N, 0},
            list_of(job->t), &own, &job->out.result, nf_matrix_out_f32(job->out.gradient, N, D));
    }
    return nf_loss_triplets(context, &loss, nf_matrix_f32(job->t->x32, N, D), list_of(job->t),
                            &job->out.result, nf_matrix_out_f32(job->out.gradient, N, D));
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    memory_job job = {.t = drawn(8)};
    for (int64_t r = 0; r < N; r++) job.t->label[r] = r % 3;
    for (job.k = 0; job.k < 4; job.k++) {
        memset(&job.out, 0, sizeof job.out);
        assert_true(test_fail_every_allocation(2, memory_body, &job, &job.out, sizeof job.out) > 3);
    }
    free(job.t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(value_and_gradient_are_those_of_the_terms),
        cmocka_unit_test(all_triplets_are_the_batch),
        cmocka_unit_test(pair_losses_take_both_pairs),
        cmocka_unit_test(a_boundary_has_the_gradient_of_its_triplets),
        cmocka_unit_test(one_boundary_for_all_changes_nothing_else),
        cmocka_unit_test(bits_do_not_depend_on_threads),
        cmocka_unit_test(no_triplet_is_zero),
        cmocka_unit_test(misuse_is_named),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
