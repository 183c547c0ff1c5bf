/* A loss of one's own: the built-in terms written as a function give the built-in loss, in every form
 * and type; each side has its own metric; failures and promises are kept. */
#include "support.h"

#include <math.h>

#include "base/random.h"

enum { N = 211, M = 57, D = 7 };

typedef struct data {
    double x[N * D], y[M * D];
    float narrow_x[N * D], narrow_y[M * D];
    int64_t label[N], other[M], ids[N], other_ids[M];
} data;

static data *make_data(uint64_t seed) {
    data *d = calloc(1, sizeof *d);
    test_random_f32(seed, d->narrow_x, N * D, -1, 1);
    test_random_f32(seed + 1, d->narrow_y, M * D, -1, 1);
    for (size_t k = 0; k < N * D; k++) d->x[k] = (double)d->narrow_x[k];
    for (size_t k = 0; k < M * D; k++) d->y[k] = (double)d->narrow_y[k];
    test_random_labels(seed, d->label, N, -1, 4);
    test_random_labels(seed + 1, d->other, M, -1, 4);
    for (size_t k = 0; k < N; k++) d->ids[k] = (int64_t)k;
    for (size_t k = 0; k < M; k++) d->other_ids[k] = (int64_t)(2 * k);
    return d;
}

/* The contrastive terms with margin 1 and exponent 2, by hand. */
static int contrast_f64(void *user, int same, size_t n, const double *t, double *value,
                        double *slope) {
    (void)user;
    for (size_t k = 0; k < n; k++) {
        double e = same ? t[k] : fmax(0, 1 - t[k]);
        value[k] = e * e;
        slope[k] = same ? 2 * e : -2 * e;
    }
    return 0;
}

static int contrast_f32(void *user, int same, size_t n, const float *t, float *value,
                        float *slope) {
    (void)user;
    for (size_t k = 0; k < n; k++) {
        float e = same ? t[k] : fmaxf(0, 1 - t[k]);
        value[k] = e * e;
        slope[k] = same ? 2 * e : -2 * e;
    }
    return 0;
}

static void assert_near(double a, double b, double tolerance) {
    if (!(fabs(a - b) <= tolerance * fmax(1, fabs(b)))) fail_msg("%.17g is not %.17g", a, b);
}

static void same_result(const nf_loss_result *a, const nf_loss_result *b, double tolerance) {
    assert_near(a->value, b->value, tolerance);
    assert_int_equal(a->positive_pairs, b->positive_pairs);
    assert_int_equal(a->negative_pairs, b->negative_pairs);
    assert_int_equal(a->active_negative, b->active_negative);
    assert_int_equal(a->coincident_negatives, b->coincident_negatives);
    assert_int_equal(a->zero_rows, b->zero_rows);
    assert_int_equal(a->has_stats, b->has_stats);
    assert_int_equal(a->active_positive, b->active_positive);
    assert_near(a->mean_positive_distance, b->mean_positive_distance, tolerance);
    assert_near(a->mean_negative_distance, b->mean_negative_distance, tolerance);
}

static const nf_pair_function contrast = {contrast_f32, contrast_f64, NULL, 0};
static const nf_pair_function wide_only = {NULL, contrast_f64, NULL, 0};

static void check_batch(nf_context *context, data *d, nf_loss built_in, nf_loss own) {
    nf_loss_result a, b;
    double ga[N * D], gb[N * D];
    float fa[N * D], fb[N * D];
    nf_labels labels = {d->label, N, 1};
    assert_ok(context, nf_loss_batch(context, &built_in, nf_matrix_f64(d->x, N, D), labels, &a,
                                     nf_matrix_out_f64(ga, N, D)));
    assert_ok(context, nf_loss_batch(context, &own, nf_matrix_f64(d->x, N, D), labels, &b,
                                     nf_matrix_out_f64(gb, N, D)));
    same_result(&b, &a, 1e-12);
    for (size_t k = 0; k < N * D; k++) assert_near(gb[k], ga[k], 1e-13);
    assert_ok(context, nf_loss_batch(context, &built_in, nf_matrix_f32(d->narrow_x, N, D), labels,
                                     &a, nf_matrix_out_f32(fa, N, D)));
    assert_ok(context, nf_loss_batch(context, &own, nf_matrix_f32(d->narrow_x, N, D), labels, &b,
                                     nf_matrix_out_f32(fb, N, D)));
    same_result(&b, &a, 1e-6);
    double largest = 0; /* float32 gradients are sums that cancel */
    for (size_t k = 0; k < N * D; k++) largest = fmax(largest, fabs((double)fa[k]));
    for (size_t k = 0; k < N * D; k++) assert_near((double)fb[k], (double)fa[k], 4e-6 * largest);
}

static void check_reference(nf_context *context, data *d, nf_loss built_in, nf_loss own) {
    nf_loss_result a, b;
    double ga[N * D], gb[N * D], ra[M * D], rb[M * D];
    nf_loss_sets sets = {nf_matrix_f64(d->x, N, D),
                         nf_matrix_f64(d->y, M, D),
                         {d->label, N, 1},
                         {d->other, M, 1},
                         d->ids,
                         d->other_ids};
    assert_ok(context, nf_loss_reference(context, &built_in, &sets, &a, nf_matrix_out_f64(ga, N, D),
                                         nf_matrix_out_f64(ra, M, D)));
    assert_ok(context, nf_loss_reference(context, &own, &sets, &b, nf_matrix_out_f64(gb, N, D),
                                         nf_matrix_out_f64(rb, M, D)));
    same_result(&b, &a, 1e-12);
    for (size_t k = 0; k < N * D; k++) assert_near(gb[k], ga[k], 1e-13);
    for (size_t k = 0; k < M * D; k++) assert_near(rb[k], ra[k], 1e-13);
}

static void test_built_in(void **unused) {
    (void)unused;
    nf_context *context = test_context(2);
    data *d = make_data(1);
    static const nf_reduction how[] = {NF_REDUCE_MEAN, NF_REDUCE_SUM, NF_REDUCE_MEAN_SIDES,
                                       NF_REDUCE_MEAN_NONZERO};
    for (size_t r = 0; r < 4; r++) {
        for (int metric = NF_EUCLIDEAN; metric <= NF_CITYBLOCK; metric++) {
            for (int other = metric; other <= NF_CITYBLOCK; other += 2) {
                for (int wide = 0; wide < 2; wide++) {
                    nf_loss built_in = nf_loss_weston();
                    nf_loss own = nf_loss_user(wide ? &wide_only : &contrast);
                    built_in.pos_metric = own.pos_metric = (nf_metric)metric;
                    built_in.neg_metric = own.neg_metric = (nf_metric)other;
                    built_in.pos_margin = metric == NF_DOT ? -100 : 0; /* never cut off */
                    if (metric == NF_DOT) continue;
                    built_in.reduction = own.reduction = how[r];
                    built_in.stats = own.stats = 1;
                    built_in.scale = own.scale = 0.75;
                    built_in.normalize = own.normalize = metric == NF_SQEUCLIDEAN;
                    check_batch(context, d, built_in, own);
                    check_reference(context, d, built_in, own);
                }
            }
        }
    }
    free(d);
    nf_context_free(context);
}

static void test_lists(void **unused) {
    (void)unused;
    nf_context *context = test_context(1);
    data *d = make_data(3);
    int64_t i[M], j[M];
    uint8_t same[M];
    double weight[M], terms[2][M], gx[2][N * D], gy[2][M * D];
    for (size_t k = 0; k < M; k++) {
        i[k] = (int64_t)k;
        j[k] = (int64_t)(k + 3);
        same[k] = k % 3 == 0;
        weight[k] = 0.5 * (double)(k % 4);
    }
    nf_loss losses[2] = {nf_loss_weston(), nf_loss_user(&contrast)};
    nf_loss_result result[2];
    losses[0].stats = losses[1].stats = 1;
    for (int l = 0; l < 2; l++) {
        nf_pairs pairs = {M, i, j, same, weight};
        nf_pair_terms extras = {terms[l], NULL};
        assert_ok(context, nf_loss_pairs(context, &losses[l], nf_matrix_f64(d->x, N, D), pairs,
                                         &extras, &result[l], nf_matrix_out_f64(gx[l], N, D)));
    }
    same_result(&result[1], &result[0], 1e-13);
    for (size_t k = 0; k < M; k++) assert_near(terms[1][k], terms[0][k], 1e-14);
    for (size_t k = 0; k < N * D; k++) assert_near(gx[1][k], gx[0][k], 1e-14);
    for (int l = 0; l < 2; l++) {
        assert_ok(context,
                  nf_loss_rows(context, &losses[l], nf_matrix_f64(d->x, M, D),
                               nf_matrix_f64(d->y, M, D), same, weight, NULL, &result[l],
                               nf_matrix_out_f64(gx[l], M, D), nf_matrix_out_f64(gy[l], M, D)));
    }
    same_result(&result[1], &result[0], 1e-13);
    for (size_t k = 0; k < M * D; k++) assert_near(gx[1][k], gx[0][k], 1e-14);
    for (size_t k = 0; k < M * D; k++) assert_near(gy[1][k], gy[0][k], 1e-14);
    free(d);
    nf_context_free(context);
}

/* A function that knows float32 only serves float32 rows and lists. */
static void test_narrow_only(void **unused) {
    (void)unused;
    nf_context *context = test_context(1);
    data *d = make_data(5);
    const nf_pair_function narrow = {contrast_f32, NULL, NULL, 0};
    nf_loss own = nf_loss_user(&narrow);
    nf_loss_result result;
    nf_labels labels = {d->label, N, 1};
    assert_ok(context, nf_loss_batch(context, &own, nf_matrix_f32(d->narrow_x, N, D), labels,
                                     &result, (nf_matrix_out){0}));
    assert_fails(context,
                 nf_loss_batch(context, &own, nf_matrix_f64(d->x, N, D), labels, &result,
                               (nf_matrix_out){0}),
                 NF_ERR_ARG, "no f64");
    uint8_t same[M] = {0};
    assert_ok(context,
              nf_loss_rows(context, &own, nf_matrix_f64(d->x, M, D), nf_matrix_f64(d->y, M, D),
                           same, NULL, NULL, &result, (nf_matrix_out){0}, (nf_matrix_out){0}));
    free(d);
    nf_context_free(context);
}

static int refuse(void *user, int same, size_t n, const double *t, double *value, double *slope) {
    (void)same, (void)t, (void)value, (void)slope;
    return n > 0 ? *(const int *)user : 0;
}

static int poison(void *user, int same, size_t n, const double *t, double *value, double *slope) {
    (void)user, (void)same, (void)t;
    for (size_t k = 0; k < n; k++) value[k] = slope[k] = (double)NAN;
    return 0;
}

static void test_failures(void **unused) {
    (void)unused;
    nf_context *context = test_context(2);
    data *d = make_data(7);
    int code = 42;
    nf_pair_function function = {NULL, refuse, &code, 0};
    nf_loss own = nf_loss_user(&function);
    nf_loss_result result = {.value = 7};
    double gradient[N * D] = {5};
    nf_matrix x = nf_matrix_f64(d->x, N, D);
    nf_labels labels = {d->label, N, 1};
    uint8_t same[N] = {0};
    assert_fails(
        context,
        nf_loss_batch(context, &own, x, labels, &result, nf_matrix_out_f64(gradient, N, D)),
        NF_ERR_CALLBACK, "returned 42");
    assert_fails(context,
                 nf_loss_rows(context, &own, x, x, same, NULL, NULL, &result, (nf_matrix_out){0},
                              (nf_matrix_out){0}),
                 NF_ERR_CALLBACK, "returned 42");
    function.f64 = poison;
    assert_fails(
        context,
        nf_loss_batch(context, &own, x, labels, &result, nf_matrix_out_f64(gradient, N, D)),
        NF_ERR_RANGE, "");
    assert_true(result.value == 7 && gradient[0] == 5);
    function.radius = -1;
    assert_fails(context, nf_loss_check(context, &own), NF_ERR_ARG, "radius is -1");
    function = (nf_pair_function){0};
    assert_fails(context, nf_loss_check(context, &own), NF_ERR_ARG, "without f32 and f64");
    own.function = NULL;
    assert_fails(context, nf_loss_check(context, &own), NF_ERR_ARG, "function is NULL");
    own = nf_loss_user(&contrast);
    own.pos_weight = 2;
    assert_fails(context, nf_loss_check(context, &own), NF_ERR_ARG, "takes no pos_weight");
    own = nf_loss_weston();
    own.temperature = 1;
    assert_fails(context, nf_loss_check(context, &own), NF_ERR_ARG, "takes no temperature");
    own = nf_loss_weston();
    own.function = &contrast;
    assert_fails(context, nf_loss_check(context, &own), NF_ERR_ARG, "takes no function");
    free(d);
    nf_context_free(context);
}

/* With the promise that far negatives count nothing, blocks are skipped and the bits stay. */
static void test_radius(void **unused) {
    (void)unused;
    enum { ROWS = 4000 };
    nf_context *context = test_context(2);
    double *x = malloc(ROWS * 2 * sizeof *x), *g[2];
    int64_t *label = malloc(ROWS * sizeof *label);
    nf_loss_result result[2];
    test_random_f64(11, x, ROWS * 2, -1, 1);
    for (size_t r = 0; r < ROWS; r++) {
        label[r] = (int64_t)(r / 400);
        x[2 * r] += 3 * (double)label[r];
    }
    for (int k = 0; k < 2; k++) {
        nf_pair_function function = contrast;
        function.radius = k;
        nf_loss own = nf_loss_user(&function);
        g[k] = calloc(ROWS * 2, sizeof(double));
        assert_ok(context, nf_loss_batch(context, &own, nf_matrix_f64(x, ROWS, 2),
                                         (nf_labels){label, ROWS, 0}, &result[k],
                                         nf_matrix_out_f64(g[k], ROWS, 2)));
    }
    assert_true(result[1].tiles_skipped > result[0].tiles_skipped + result[0].tiles_total / 3);
    assert_memory_equal(&result[0].value, &result[1].value, sizeof(double));
    assert_memory_equal(g[0], g[1], ROWS * 2 * sizeof(double));
    assert_int_equal(result[0].active_negative, result[1].active_negative);
    free(x);
    free(label);
    free(g[0]);
    free(g[1]);
    nf_context_free(context);
}

static void test_threads(void **unused) {
    (void)unused;
    data *d = make_data(13);
    nf_loss own = nf_loss_user(&contrast);
    own.neg_metric = NF_CITYBLOCK;
    float gradient[3][N * D];
    nf_loss_result result[3];
    for (int threads = 1; threads <= 3; threads++) {
        nf_context *context = test_context(threads);
        assert_ok(context, nf_loss_batch(context, &own, nf_matrix_f32(d->narrow_x, N, D),
                                         (nf_labels){d->label, N, 1}, &result[threads - 1],
                                         nf_matrix_out_f32(gradient[threads - 1], N, D)));
        nf_context_free(context);
    }
    for (int k = 1; k < 3; k++) {
        assert_memory_equal(&result[k], &result[0], sizeof result[0]);
        assert_memory_equal(gradient[k], gradient[0], sizeof gradient[0]);
    }
    free(d);
}

typedef struct outputs {
    nf_loss_result result;
    float gradient[N * D], other[M * D];
} outputs;

typedef struct job {
    data *in;
    outputs out;
} job;

static nf_status batch(nf_context *context, void *user) {
    job *j = user;
    nf_loss own = nf_loss_user(&contrast);
    own.neg_metric = NF_COSINE;
    return nf_loss_batch(context, &own, nf_matrix_f32(j->in->narrow_x, N, D),
                         (nf_labels){j->in->label, N, 1}, &j->out.result,
                         nf_matrix_out_f32(j->out.gradient, N, D));
}

static nf_status reference(nf_context *context, void *user) {
    job *j = user;
    nf_loss own = nf_loss_user(&contrast);
    own.reduction = NF_REDUCE_MEAN_NONZERO;
    nf_loss_sets sets = {nf_matrix_f32(j->in->narrow_x, N, D),
                         nf_matrix_f32(j->in->narrow_y, M, D),
                         {j->in->label, N, 1},
                         {j->in->other, M, 1},
                         j->in->ids,
                         j->in->other_ids};
    return nf_loss_reference(context, &own, &sets, &j->out.result,
                             nf_matrix_out_f32(j->out.gradient, N, D),
                             nf_matrix_out_f32(j->out.other, M, D));
}

static void test_allocations(void **unused) {
    (void)unused;
    job j = {.in = make_data(17)};
    for (int threads = 1; threads <= 2; threads++) {
        assert_true(test_fail_every_allocation(threads, batch, &j, &j.out, sizeof j.out) > 0);
        assert_true(test_fail_every_allocation(threads, reference, &j, &j.out, sizeof j.out) > 0);
    }
    free(j.in);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_built_in),    cmocka_unit_test(test_lists),
        cmocka_unit_test(test_narrow_only), cmocka_unit_test(test_failures),
        cmocka_unit_test(test_radius),      cmocka_unit_test(test_threads),
        cmocka_unit_test(test_allocations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
