/* The loss of hard pairs is the contrastive loss of the pairs that plain loops choose, in every form
 * and type; a side alone is judged by its mean; pairs without weight have no say. */
#include "support.h"

#include <math.h>
#include <stdbool.h>

enum { N = 131, M = 67, D = 5, CROSS = N * M };

typedef struct data {
    double x[N * D], y[M * D];
    float narrow[N * D];
    int64_t label[N], other[M], ids[N], other_ids[M];
} data;

/* Rows that lie about a centre of their class, so that some pairs are hard and others are not. */
static data *make_data(uint64_t seed) {
    data *d = calloc(1, sizeof *d);
    test_random_f32(seed, d->narrow, N * D, -1, 1);
    test_random_f64(seed + 1, d->y, M * D, -1, 1);
    test_random_labels(seed, d->label, N, -1, 2);
    test_random_labels(seed + 1, d->other, M, -1, 2);
    for (size_t k = 0; k < N * D; k++) {
        if ((int64_t)(k % D) == d->label[k / D]) d->narrow[k] += 1.5f;
        d->x[k] = (double)d->narrow[k];
    }
    for (size_t k = 0; k < M * D; k++) d->y[k] += (int64_t)(k % D) == d->other[k / D] ? 1.5 : 0;
    for (size_t k = 0; k < N; k++) d->ids[k] = (int64_t)k;
    for (size_t k = 0; k < M; k++) d->other_ids[k] = (int64_t)(2 * k);
    return d;
}

static nf_loss online(nf_metric metric, double margin) {
    nf_loss loss;
    nf_context *context = test_context(1);
    assert_ok(context, nf_loss_preset(context, "online-contrastive", &loss));
    nf_context_free(context);
    loss.pos_metric = loss.neg_metric = metric;
    loss.neg_margin = margin;
    return loss;
}

/* The same terms of every pair of a list. */
static nf_loss plain(const nf_loss *loss) {
    nf_loss all = nf_loss_weston();
    all.pos_metric = all.neg_metric = loss->pos_metric;
    all.neg_margin = loss->neg_margin;
    all.normalize = loss->normalize;
    all.scale = loss->scale;
    all.reduction = NF_REDUCE_SUM;
    return all;
}

/* ---- the choice, by loops ---------------------------------------------------------------------- */

typedef struct list {
    size_t count;
    int64_t i[CROSS], j[CROSS];
    uint8_t same[CROSS];
    double weight[CROSS], t[CROSS];
} list;

static void choose(list *all, list *hard) {
    double nearest = INFINITY, farthest = -INFINITY, sum[2] = {0, 0};
    size_t count[2] = {0, 0};
    for (size_t p = 0; p < all->count; p++) {
        if (all->weight[p] == 0) continue;
        if (all->same[p]) farthest = fmax(farthest, all->t[p]);
        if (!all->same[p]) nearest = fmin(nearest, all->t[p]);
        sum[all->same[p]] += all->t[p];
        count[all->same[p]]++;
    }
    if (count[0] == 0) nearest = sum[1] / (double)count[1];
    if (count[1] == 0) farthest = sum[0] / (double)count[0];
    hard->count = 0;
    for (size_t p = 0; p < all->count; p++) {
        if (all->same[p] ? !(all->t[p] > nearest) : !(all->t[p] < farthest)) continue;
        hard->i[hard->count] = all->i[p];
        hard->j[hard->count] = all->j[p];
        hard->same[hard->count] = all->same[p];
        hard->weight[hard->count++] = all->weight[p];
    }
}

static void distances(nf_context *context, const nf_loss *loss, nf_matrix x, nf_matrix y,
                      list *all) {
    nf_distance_options options = nf_distance_defaults();
    options.metric = loss->pos_metric;
    options.normalize = loss->normalize;
    assert_ok(context,
              nf_distances_pairs(context, &options, x, y, all->i, all->j, all->count, all->t));
}

static nf_pairs pairs_of(const list *pairs) {
    return (nf_pairs){pairs->count, pairs->i, pairs->j, pairs->same, pairs->weight};
}

static void add_pair(list *all, size_t i, size_t j, bool same) {
    all->i[all->count] = (int64_t)i;
    all->j[all->count] = (int64_t)j;
    all->same[all->count] = same;
    all->weight[all->count++] = 1;
}

static list *pairs_of_batch(const data *d) {
    list *all = calloc(1, sizeof *all);
    for (size_t i = 0; i < N; i++) {
        for (size_t j = i + 1; j < N; j++) {
            if (d->label[i] >= 0 && d->label[j] >= 0)
                add_pair(all, i, j, d->label[i] == d->label[j]);
        }
    }
    return all;
}

static void assert_near(double a, double b, double tolerance) {
    if (!(fabs(a - b) <= tolerance)) fail_msg("%.17g is not %.17g", a, b);
}

static void assert_gradient(const double *a, const double *b, size_t count, double tolerance) {
    double largest = 0;
    for (size_t k = 0; k < count; k++) largest = fmax(largest, fabs(b[k]));
    assert_true(largest > 0);
    for (size_t k = 0; k < count; k++) assert_near(a[k], b[k], tolerance * largest);
}

/* ---- forms -------------------------------------------------------------------------------------- */

static void check_batch(nf_context *context, data *d, const nf_loss *loss) {
    list *all = pairs_of_batch(d), *hard = calloc(1, sizeof *hard);
    const nf_loss terms = plain(loss);
    nf_matrix x = nf_matrix_f64(d->x, N, D);
    nf_loss_result a, b, c;
    double ga[N * D], gb[N * D], wide[N * D];
    float narrow[N * D];
    const nf_labels labels = {d->label, N, 1};
    distances(context, loss, x, x, all);
    choose(all, hard);
    assert_in_range(hard->count, 1, all->count - 1);
    assert_ok(context, nf_loss_pairs(context, &terms, x, pairs_of(hard), NULL, &b,
                                     nf_matrix_out_f64(gb, N, D)));
    assert_ok(context, nf_loss_batch(context, loss, x, labels, &a, nf_matrix_out_f64(ga, N, D)));
    assert_near(a.value, b.value, 1e-12 * b.value);
    assert_int_equal(a.active_negative, b.active_negative);
    assert_int_equal(a.positive_pairs + a.negative_pairs, all->count);
    assert_gradient(ga, gb, N * D, 1e-12);
    assert_ok(context, nf_loss_pairs(context, loss, x, pairs_of(all), NULL, &c,
                                     nf_matrix_out_f64(wide, N, D)));
    assert_near(c.value, b.value, 1e-12 * b.value);
    assert_int_equal(c.active_negative, b.active_negative);
    assert_gradient(wide, gb, N * D, 1e-12);
    assert_ok(context, nf_loss_batch(context, loss, nf_matrix_f32(d->narrow, N, D), labels, &a,
                                     nf_matrix_out_f32(narrow, N, D)));
    assert_near(a.value, b.value, 2e-6 * b.value);
    for (size_t k = 0; k < N * D; k++) wide[k] = (double)narrow[k];
    assert_gradient(wide, gb, N * D, 2e-5);
    free(hard);
    free(all);
}

static void check_reference(nf_context *context, data *d, const nf_loss *loss) {
    list *all = calloc(1, sizeof *all), *hard = calloc(1, sizeof *hard);
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < M; j++) {
            if (d->label[i] < 0 || d->other[j] < 0 || d->ids[i] == d->other_ids[j]) continue;
            add_pair(all, i, j, d->label[i] == d->other[j]);
        }
    }
    nf_matrix x = nf_matrix_f64(d->x, N, D), y = nf_matrix_f64(d->y, M, D);
    const nf_loss_sets sets = {x, y, {d->label, N, 1}, {d->other, M, 1}, d->ids, d->other_ids};
    distances(context, loss, x, y, all);
    choose(all, hard);
    /* Both sets below each other make one matrix for the list. */
    double both[(N + M) * D], expected[(N + M) * D], ga[N * D], gb[M * D];
    memcpy(both, d->x, sizeof d->x);
    memcpy(both + N * D, d->y, sizeof d->y);
    for (size_t p = 0; p < hard->count; p++) hard->j[p] += N;
    const nf_loss terms = plain(loss);
    nf_loss_result a, b;
    assert_ok(context, nf_loss_pairs(context, &terms, nf_matrix_f64(both, N + M, D), pairs_of(hard),
                                     NULL, &b, nf_matrix_out_f64(expected, N + M, D)));
    assert_ok(context, nf_loss_reference(context, loss, &sets, &a, nf_matrix_out_f64(ga, N, D),
                                         nf_matrix_out_f64(gb, M, D)));
    assert_near(a.value, b.value, 1e-12 * b.value);
    assert_int_equal(a.active_negative, b.active_negative);
    assert_gradient(ga, expected, N * D, 1e-12);
    assert_gradient(gb, expected + N * D, M * D, 1e-12);
    free(hard);
    free(all);
}

static void test_forms(void **unused) {
    (void)unused;
    static const nf_metric metrics[] = {NF_COSINE, NF_EUCLIDEAN, NF_SQEUCLIDEAN, NF_CITYBLOCK};
    static const double margins[] = {0.5, 2, 4, 4};
    nf_context *context = test_context(2);
    for (uint64_t seed = 1; seed <= 3; seed++) {
        data *d = make_data(seed);
        for (size_t k = 0; k < 4; k++) {
            nf_loss loss = online(metrics[k], margins[k]);
            loss.scale = seed == 2 ? 0.25 : 1;
            loss.normalize = seed == 3;
            check_batch(context, d, &loss);
            check_reference(context, d, &loss);
        }
        free(d);
    }
    nf_context_free(context);
}

/* ---- sides that are alone, weights, terms ------------------------------------------------------- */

static void test_one_side(void **unused) {
    (void)unused;
    /* Euclidean distances 1, 2 and 4 from the origin, on a line. */
    const double left[] = {0, 0, 0}, right[] = {1, 2, 4};
    const uint8_t positive[] = {1, 1, 1}, negative[] = {0, 0, 0};
    nf_context *context = test_context(1);
    nf_loss loss = online(NF_EUCLIDEAN, 3);
    nf_loss_result result;
    const nf_matrix a = nf_matrix_f64(left, 3, 1), b = nf_matrix_f64(right, 3, 1);
    const nf_matrix_out none = {0};
    assert_ok(context,
              nf_loss_rows(context, &loss, a, b, positive, NULL, NULL, &result, none, none));
    assert_true(result.value == 16); /* the mean is 7/3 */
    assert_ok(context,
              nf_loss_rows(context, &loss, a, b, negative, NULL, NULL, &result, none, none));
    assert_true(result.value == 4 + 1);
    /* One pair alone is its own mean, and so is not hard; no pair at all is 0. */
    for (size_t count = 0; count <= 1; count++) {
        assert_ok(context, nf_loss_rows(context, &loss, nf_matrix_f64(left, count, 1),
                                        nf_matrix_f64(right, count, 1), positive, NULL, NULL,
                                        &result, none, none));
        assert_true(result.value == 0);
    }
    nf_context_free(context);
}

static void test_weights_and_terms(void **unused) {
    (void)unused;
    const double left[] = {0, 0, 0, 0}, right[] = {1, 2, 1.5, 0.5};
    const uint8_t same[] = {1, 1, 0, 0};
    double weight[] = {1, 2, 3, 0}, terms[4], upstream[] = {1, 2, 4, 8}, gradient[4];
    nf_context *context = test_context(1);
    nf_loss loss = online(NF_EUCLIDEAN, 3);
    const nf_matrix a = nf_matrix_f64(left, 4, 1), b = nf_matrix_f64(right, 4, 1);
    const nf_matrix_out none = {0};
    const nf_pair_terms extras = {terms, upstream};
    nf_loss_result result;
    loss.reduction = NF_REDUCE_NONE;
    /* The pair at 0.5 has no weight, so that the positive at 1 is no farther than any negative. */
    assert_ok(context, nf_loss_rows(context, &loss, a, b, same, weight, &extras, &result, none,
                                    nf_matrix_out_f64(gradient, 4, 1)));
    const double expected[] = {0, 2 * 4, 3 * 1.5 * 1.5, 0};
    const double slope[] = {0, 2 * 2 * 2 * 2, -4 * 3 * 2 * 1.5, 0};
    for (size_t p = 0; p < 4; p++) {
        assert_true(terms[p] == expected[p]);
        assert_true(gradient[p] == slope[p]);
    }
    weight[3] = 1;
    assert_ok(context,
              nf_loss_rows(context, &loss, a, b, same, weight, &extras, &result, none, none));
    assert_true(terms[0] == 1 && terms[3] == 2.5 * 2.5);
    nf_context_free(context);
}

/* Weights of rows and labels that share: as the list of the same pairs with the same weights. */
static void test_targets(void **unused) {
    (void)unused;
    nf_context *context = test_context(2);
    data *d = make_data(5);
    double row_weight[N], ga[N * D], gb[N * D];
    for (size_t r = 0; r < N; r++) row_weight[r] = r % 7 == 0 ? 0 : 0.5 + (double)(r % 3);
    list *all = pairs_of_batch(d), *hard = calloc(1, sizeof *hard);
    nf_loss loss = online(NF_COSINE, 0.5);
    const nf_loss terms = plain(&loss);
    nf_matrix x = nf_matrix_f64(d->x, N, D);
    for (size_t p = 0; p < all->count; p++) {
        all->weight[p] = row_weight[all->i[p]] * row_weight[all->j[p]];
    }
    distances(context, &loss, x, x, all);
    choose(all, hard);
    nf_targets targets = {.labels = {d->label, N, 1}, .row_weight = row_weight};
    nf_loss_result a, b;
    assert_ok(context,
              nf_loss_targets(context, &loss, x, &targets, &a, nf_matrix_out_f64(ga, N, D)));
    assert_ok(context, nf_loss_pairs(context, &terms, x, pairs_of(hard), NULL, &b,
                                     nf_matrix_out_f64(gb, N, D)));
    assert_near(a.value, b.value, 1e-12 * b.value);
    assert_gradient(ga, gb, N * D, 1e-12);
    /* The rows against others, by targets and by labels. */
    const nf_loss_sets sets = {
        x, nf_matrix_f64(d->y, M, D), {d->label, N, 1}, {d->other, M, 1}, NULL, NULL};
    const nf_reference_targets between = {.soft = {0}};
    double ra[M * D], rb[M * D];
    assert_ok(context,
              nf_loss_targets_reference(context, &loss, &sets, &between, NULL, &a,
                                        nf_matrix_out_f64(ga, N, D), nf_matrix_out_f64(ra, M, D)));
    assert_ok(context, nf_loss_reference(context, &loss, &sets, &b, nf_matrix_out_f64(gb, N, D),
                                         nf_matrix_out_f64(rb, M, D)));
    assert_near(a.value, b.value, 1e-12 * b.value);
    assert_gradient(ga, gb, N * D, 1e-12);
    assert_gradient(ra, rb, M * D, 1e-12);
    free(hard);
    free(all);
    free(d);
    nf_context_free(context);
}

/* ---- bits, refusals, allocations ---------------------------------------------------------------- */

static void test_threads(void **unused) {
    (void)unused;
    data *d = make_data(7);
    float first[N * D], other[N * D];
    nf_loss_result results[2];
    for (int threads = 1; threads <= 4; threads++) {
        nf_context *context = test_context(threads);
        nf_loss loss = online(NF_COSINE, 0.5);
        loss.reduction = NF_REDUCE_MEAN_NONZERO;
        loss.stats = 1;
        assert_ok(context, nf_loss_batch(context, &loss, nf_matrix_f32(d->narrow, N, D),
                                         (nf_labels){d->label, N, 1}, &results[threads > 1],
                                         nf_matrix_out_f32(threads > 1 ? other : first, N, D)));
        if (threads > 1) {
            assert_memory_equal(&results[0], &results[1], sizeof results[0]);
            assert_memory_equal(first, other, sizeof first);
        }
        nf_context_free(context);
    }
    assert_true(results[0].has_stats && results[0].active_positive > 0);
    free(d);
}

static void test_refusals(void **unused) {
    (void)unused;
    nf_context *context = test_context(1);
    data *d = make_data(9);
    nf_loss loss = online(NF_DOT, 0.5);
    nf_loss_result result;
    const nf_labels labels = {d->label, N, 1};
    assert_fails(context, nf_loss_check(context, &loss), NF_ERR_ARG, "metric is dot");
    loss = online(NF_COSINE, 0.5);
    loss.pos_margin = 0.1;
    assert_fails(context, nf_loss_check(context, &loss), NF_ERR_ARG, "takes no pos_margin");
    loss.pos_margin = 0;
    assert_fails(context,
                 nf_loss_anchors(context, &loss, nf_matrix_f64(d->x, N, D), labels, NULL, &result,
                                 (nf_matrix_out){0}),
                 NF_ERR_ARG, "terms of pairs");
    free(d);
    nf_context_free(context);
}

typedef struct output {
    nf_loss_result batch, listed;
    double gradient[2][N * D];
} output;

typedef struct call {
    const data *d;
    const list *all;
    output out;
} call;

static nf_status both_forms(nf_context *context, void *user) {
    call *c = user;
    nf_matrix x = nf_matrix_f64(c->d->x, N, D);
    nf_loss loss = online(NF_COSINE, 0.5);
    output made = {0};
    nf_status status = nf_loss_batch(context, &loss, x, (nf_labels){c->d->label, N, 1}, &made.batch,
                                     nf_matrix_out_f64(made.gradient[0], N, D));
    if (status == NF_OK) {
        status = nf_loss_pairs(context, &loss, x, pairs_of(c->all), NULL, &made.listed,
                               nf_matrix_out_f64(made.gradient[1], N, D));
    }
    if (status == NF_OK) c->out = made;
    return status;
}

static void test_allocations(void **unused) {
    (void)unused;
    data *d = make_data(11);
    list *all = pairs_of_batch(d);
    call *c = calloc(1, sizeof *c);
    *c = (call){.d = d, .all = all};
    assert_true(test_fail_every_allocation(2, both_forms, c, &c->out, sizeof c->out) > 0);
    free(c);
    free(all);
    free(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_one_side),
        cmocka_unit_test(test_weights_and_terms),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
