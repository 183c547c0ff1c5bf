/* The four forms: which pairs they see, weights, terms, upstream, ids, and what they refuse. */
#include "support.h"

#include <math.h>

#define N 12
#define D 5

typedef struct fixture {
    nf_context *context;
    double x[N * D], y[N * D], gx[N * D], gy[N * D], other[N * D];
    int64_t label[N];
    uint8_t same[N];
    nf_loss loss;
    nf_loss_result r;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    f->context = test_context(1);
    test_random_f64(1, f->x, N * D, -0.5, 0.5);
    test_random_f64(2, f->y, N * D, -0.5, 0.5);
    test_random_labels(3, f->label, N, 0, 3);
    for (size_t k = 0; k < N; k++) f->same[k] = (uint8_t)(k % 2);
    f->loss = nf_loss_weston();
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    nf_context_free(f->context);
    free(f);
    return 0;
}

static nf_matrix mx(fixture *f) { return nf_matrix_f64(f->x, N, D); }
static nf_matrix my(fixture *f) { return nf_matrix_f64(f->y, N, D); }
static nf_matrix_out ox(fixture *f) { return nf_matrix_out_f64(f->gx, N, D); }
static nf_matrix_out oy(fixture *f) { return nf_matrix_out_f64(f->gy, N, D); }
static const nf_matrix_out none = {0};

static void assert_near(const double *a, const double *b, size_t count, double tolerance) {
    for (size_t k = 0; k < count; k++) assert_true(fabs(a[k] - b[k]) <= tolerance);
}

/* ---- the forms are one loss --------------------------------------------------------------------- */

static void a_list_of_all_pairs_is_the_batch(void **state) {
    fixture *f = *state;
    int64_t i[N * N], j[N * N];
    uint8_t same[N * N];
    size_t count = 0;
    for (size_t a = 0; a < N; a++) {
        for (size_t b = a + 1; b < N; b++, count++) {
            int swap = (a + b) % 2; /* (j, i) is the pair (i, j) */
            i[count] = (int64_t)(swap ? b : a);
            j[count] = (int64_t)(swap ? a : b);
            same[count] = f->label[a] == f->label[b];
        }
    }
    for (int reduction = NF_REDUCE_MEAN; reduction < NF_REDUCE_NONE; reduction++) {
        f->loss.reduction = (nf_reduction)reduction;
        assert_ok(f->context, nf_loss_batch(f->context, &f->loss, mx(f),
                                            (nf_labels){f->label, N, 1}, &f->r, ox(f)));
        double value = f->r.value;
        memcpy(f->other, f->gx, sizeof f->other);
        nf_pairs pairs = {count, i, j, same, NULL};
        assert_ok(f->context,
                  nf_loss_pairs(f->context, &f->loss, mx(f), pairs, NULL, &f->r, ox(f)));
        assert_true(fabs(f->r.value - value) <= 1e-14 * (1 + value));
        assert_near(f->gx, f->other, N * D, 1e-13);
    }
}

static void rows_are_a_list_into_both(void **state) {
    fixture *f = *state;
    double both[2 * N * D], gradient[2 * N * D], weight[N];
    int64_t i[N], j[N];
    memcpy(both, f->x, sizeof f->x);
    memcpy(both + N * D, f->y, sizeof f->y);
    for (size_t k = 0; k < N; k++) i[k] = (int64_t)k, j[k] = (int64_t)(N + k);
    test_random_f64(5, weight, N, 0, 2);
    assert_ok(f->context, nf_loss_rows(f->context, &f->loss, mx(f), my(f), f->same, weight, NULL,
                                       &f->r, ox(f), oy(f)));
    double value = f->r.value;
    nf_pairs pairs = {N, i, j, f->same, weight};
    assert_ok(f->context, nf_loss_pairs(f->context, &f->loss, nf_matrix_f64(both, 2 * N, D), pairs,
                                        NULL, &f->r, nf_matrix_out_f64(gradient, 2 * N, D)));
    assert_true(f->r.value == value);
    assert_memory_equal(gradient, f->gx, sizeof f->gx);
    assert_memory_equal(gradient + N * D, f->gy, sizeof f->gy);
}

static void a_reference_of_the_batch_with_ids_is_twice_the_batch(void **state) {
    fixture *f = *state;
    int64_t ids[N];
    for (size_t k = 0; k < N; k++) ids[k] = 100 - (int64_t)k;
    nf_labels labels = {f->label, N, 1};
    memcpy(f->y, f->x, sizeof f->x);
    f->loss.reduction = NF_REDUCE_SUM;
    assert_ok(f->context, nf_loss_batch(f->context, &f->loss, mx(f), labels, &f->r, ox(f)));
    nf_loss_result batch = f->r;
    memcpy(f->other, f->gx, sizeof f->other);
    nf_loss_sets sets = {mx(f), my(f), labels, labels, ids, ids};
    assert_ok(f->context, nf_loss_reference(f->context, &f->loss, &sets, &f->r, ox(f), oy(f)));
    assert_int_equal(f->r.positive_pairs, 2 * batch.positive_pairs);
    assert_int_equal(f->r.negative_pairs, 2 * batch.negative_pairs);
    assert_int_equal(f->r.active_negative, 2 * batch.active_negative);
    assert_int_equal(f->r.coincident_negatives, 0);
    assert_true(fabs(f->r.value - 2 * batch.value) < 1e-13 * batch.value);
    assert_near(f->gx, f->other, N * D, 1e-12);
    assert_near(f->gy, f->other, N * D, 1e-12);
}

/* ---- lists --------------------------------------------------------------------------------------- */

static void a_pair_listed_twice_counts_twice(void **state) {
    fixture *f = *state;
    const int64_t i[4] = {0, 0, 3, 5}, j[4] = {1, 1, 2, 4};
    const uint8_t same[4] = {1, 1, 0, 0};
    const double weight[3] = {2, 1, 1};
    f->loss.reduction = NF_REDUCE_SUM;
    nf_pairs twice = {4, i, j, same, NULL}, heavy = {3, i + 1, j + 1, same + 1, weight};
    assert_ok(f->context, nf_loss_pairs(f->context, &f->loss, mx(f), twice, NULL, &f->r, ox(f)));
    assert_int_equal(f->r.positive_pairs, 2);
    double value = f->r.value;
    memcpy(f->other, f->gx, sizeof f->other);
    assert_ok(f->context, nf_loss_pairs(f->context, &f->loss, mx(f), heavy, NULL, &f->r, ox(f)));
    assert_int_equal(f->r.positive_pairs, 1);
    assert_true(fabs(f->r.value - value) < 1e-15);
    assert_near(f->gx, f->other, N * D, 1e-15);
}

/* Negatives at distance 0 have loss without gradient, and are counted; dot has no such distance. */
static void coincident_negatives_of_lists_are_counted(void **state) {
    fixture *f = *state;
    const int64_t i[3] = {0, 2, 4}, j[3] = {1, 3, 5};
    const uint8_t same[3] = {0, 1, 0};
    memcpy(f->x + D, f->x, D * sizeof *f->x);             /* 0 and 1: negative */
    memcpy(f->x + 3 * D, f->x + 2 * D, D * sizeof *f->x); /* 2 and 3: positive */
    memcpy(f->y, f->x, sizeof f->x);
    for (int metric = NF_EUCLIDEAN; metric <= NF_CITYBLOCK; metric++) {
        f->loss.pos_metric = f->loss.neg_metric = (nf_metric)metric;
        nf_pairs pairs = {3, i, j, same, NULL};
        assert_ok(f->context,
                  nf_loss_pairs(f->context, &f->loss, mx(f), pairs, NULL, &f->r, ox(f)));
        assert_int_equal(f->r.coincident_negatives, metric == NF_DOT ? 0 : 1);
        assert_ok(f->context, nf_loss_rows(f->context, &f->loss, mx(f), my(f), f->same, NULL, NULL,
                                           &f->r, ox(f), oy(f)));
        assert_int_equal(f->r.coincident_negatives, metric == NF_DOT ? 0 : N / 2);
        for (size_t k = 0; metric != NF_DOT && k < N * D; k++) {
            assert_true(f->gx[k] == 0 && f->gy[k] == 0);
        }
    }
}

static void terms_sum_to_the_value(void **state) {
    fixture *f = *state;
    double terms[N], weight[N], sum = 0, weights = 0;
    test_random_f64(7, weight, N, 0, 3);
    weight[4] = 0;
    nf_pair_terms extras = {terms, NULL};
    f->loss.reduction = NF_REDUCE_SUM;
    assert_ok(f->context, nf_loss_rows(f->context, &f->loss, mx(f), my(f), f->same, weight, &extras,
                                       &f->r, none, none));
    for (size_t k = 0; k < N; k++) sum += terms[k], weights += weight[k];
    assert_true(terms[4] == 0);
    assert_true(fabs(f->r.value - sum) < 1e-14);
    f->loss.reduction = NF_REDUCE_MEAN;
    assert_ok(f->context, nf_loss_rows(f->context, &f->loss, mx(f), my(f), f->same, weight, NULL,
                                       &f->r, none, none));
    assert_true(fabs(f->r.value - sum / N) < 1e-14);
    f->loss.reduction = NF_REDUCE_WEIGHTED_MEAN;
    assert_ok(f->context, nf_loss_rows(f->context, &f->loss, mx(f), my(f), f->same, weight, NULL,
                                       &f->r, none, none));
    assert_true(fabs(f->r.value - sum / weights) < 1e-14);
    memset(weight, 0, sizeof weight); /* nothing weighs anything */
    assert_ok(f->context, nf_loss_rows(f->context, &f->loss, mx(f), my(f), f->same, weight, NULL,
                                       &f->r, ox(f), oy(f)));
    assert_true(f->r.value == 0);
    for (size_t k = 0; k < N * D; k++) assert_true(f->gx[k] == 0 && f->gy[k] == 0);
}

static void upstream_scales_pair_by_pair_or_as_a_whole(void **state) {
    fixture *f = *state;
    double upstream[N], sum[N * D] = {0};
    test_random_f64(8, upstream, N, -2, 2);
    f->loss.reduction = NF_REDUCE_NONE;
    for (size_t k = 0; k < N; k++) { /* pair by pair, with weight as the factor */
        double one[N] = {0};
        one[k] = 1;
        nf_pair_terms extras = {NULL, one};
        assert_ok(f->context, nf_loss_rows(f->context, &f->loss, mx(f), my(f), f->same, NULL,
                                           &extras, &f->r, ox(f), none));
        for (size_t c = 0; c < N * D; c++) sum[c] += upstream[k] * f->gx[c];
    }
    nf_pair_terms extras = {NULL, upstream};
    assert_ok(f->context, nf_loss_rows(f->context, &f->loss, mx(f), my(f), f->same, NULL, &extras,
                                       &f->r, ox(f), none));
    assert_near(f->gx, sum, N * D, 1e-15);
    f->loss.reduction = NF_REDUCE_MEAN;
    assert_ok(f->context, nf_loss_rows(f->context, &f->loss, mx(f), my(f), f->same, NULL, NULL,
                                       &f->r, ox(f), none));
    double value = f->r.value;
    memcpy(f->other, f->gx, sizeof f->other);
    assert_ok(f->context, nf_loss_rows(f->context, &f->loss, mx(f), my(f), f->same, NULL, &extras,
                                       &f->r, ox(f), none));
    assert_true(f->r.value == value); /* only upstream[0], only on the gradient */
    for (size_t c = 0; c < N * D; c++) {
        assert_true(fabs(f->gx[c] - upstream[0] * f->other[c]) < 1e-15);
    }
}

/* ---- gradients asked for one by one ---------------------------------------------------------------- */

static void each_gradient_may_be_left_out(void **state) {
    fixture *f = *state;
    nf_labels labels = {f->label, N, 1};
    nf_loss_sets sets = {mx(f), my(f), labels, labels, NULL, NULL};
    for (int form = 0; form < 2; form++) {
        nf_loss_result r[4];
        double gx[2][N * D], gy[2][N * D];
        for (int c = 0; c < 4; c++) {
            nf_matrix_out a = c & 1 ? nf_matrix_out_f64(gx[c / 2], N, D) : none;
            nf_matrix_out b = c & 2 ? nf_matrix_out_f64(gy[c & 1], N, D) : none;
            assert_ok(f->context,
                      form ? nf_loss_rows(f->context, &f->loss, mx(f), my(f), f->same, NULL, NULL,
                                          &r[c], a, b)
                           : nf_loss_reference(f->context, &f->loss, &sets, &r[c], a, b));
            assert_true(r[c].value == r[0].value);
        }
        assert_memory_equal(gx[0], gx[1], sizeof gx[0]);
        assert_memory_equal(gy[0], gy[1], sizeof gy[0]);
    }
}

/* ---- refusals ------------------------------------------------------------------------------------- */

static void bad_lists_are_refused_by_position(void **state) {
    fixture *f = *state;
    int64_t i[3] = {0, 1, 2}, j[3] = {1, 2, 3};
    uint8_t same[3] = {1, 0, 1};
    double weight[3] = {1, 1, 1};
    nf_pairs pairs = {3, i, j, same, weight};
    memset(f->gx, 0xA5, sizeof f->gx);
#define LIST_REFUSED(text)                                                              \
    assert_fails(f->context,                                                            \
                 nf_loss_pairs(f->context, &f->loss, mx(f), pairs, NULL, &f->r, ox(f)), \
                 NF_ERR_ARG, text)
    j[2] = 2;
    LIST_REFUSED("(2, 2)");
    j[2] = N;
    LIST_REFUSED("j[2] is 12");
    j[2] = 3;
    i[1] = -1;
    LIST_REFUSED("i[1] is -1");
    i[1] = 1;
    same[1] = 2;
    LIST_REFUSED("same[1] is 2");
    same[1] = 255;
    LIST_REFUSED("same[1] is 255");
    same[1] = 0;
    const double bad[] = {-1, NAN, INFINITY, -INFINITY};
    for (size_t k = 0; k < 4; k++) {
        weight[2] = bad[k];
        LIST_REFUSED("weight[2]");
    }
    weight[2] = 1;
    pairs.same = NULL;
    LIST_REFUSED("same");
    pairs.same = same;
    pairs.i = NULL;
    LIST_REFUSED("i is NULL");
#undef LIST_REFUSED
    for (size_t k = 0; k < sizeof f->gx; k++) assert_int_equal(((unsigned char *)f->gx)[k], 0xA5);
}

static void bad_rows_and_extras_are_refused(void **state) {
    fixture *f = *state;
    double upstream[N] = {0}, weight[N] = {0};
    nf_pair_terms extras = {NULL, upstream};
#define ROWS_REFUSED(text)                                                                         \
    assert_fails(f->context,                                                                       \
                 nf_loss_rows(f->context, &f->loss, mx(f), my(f), f->same, weight, &extras, &f->r, \
                              none, none),                                                         \
                 NF_ERR_ARG, text)
    f->loss.reduction = NF_REDUCE_NONE;
    upstream[5] = NAN;
    ROWS_REFUSED("upstream[5]");
    f->loss.reduction = NF_REDUCE_MEAN;
    upstream[0] = INFINITY;
    ROWS_REFUSED("upstream[0]");
    upstream[0] = 0;
    weight[3] = -0.5;
    ROWS_REFUSED("weight[3] is -0.5");
    weight[3] = 0;
    f->same[4] = 3;
    ROWS_REFUSED("same[4] is 3");
#undef ROWS_REFUSED
    f->same[4] = 0;
    nf_matrix shorter = nf_matrix_f64(f->y, N - 1, D), narrower = nf_matrix_f64(f->y, N, D - 1);
    assert_fails(
        f->context,
        nf_loss_rows(f->context, &f->loss, mx(f), shorter, f->same, NULL, NULL, &f->r, none, none),
        NF_ERR_ARG, "right");
    assert_fails(
        f->context,
        nf_loss_rows(f->context, &f->loss, mx(f), narrower, f->same, NULL, NULL, &f->r, none, none),
        NF_ERR_ARG, "right");
    assert_fails(
        f->context,
        nf_loss_rows(f->context, &f->loss, mx(f), my(f), NULL, NULL, NULL, &f->r, none, none),
        NF_ERR_ARG, "same");
}

static void bad_sets_are_refused(void **state) {
    fixture *f = *state;
    nf_labels labels = {f->label, N, 1}, shorter = {f->label, N - 1, 1}, missing = {NULL, N, 1};
    int64_t ids[N] = {0};
    nf_loss_sets sets = {mx(f), my(f), labels, labels, ids, NULL};
#define SETS_REFUSED(text)                                                                      \
    assert_fails(f->context, nf_loss_reference(f->context, &f->loss, &sets, &f->r, none, none), \
                 NF_ERR_ARG, text)
    SETS_REFUSED("ids");
    sets.query_ids = NULL;
    sets.reference_labels = shorter;
    SETS_REFUSED("reference_labels");
    sets.reference_labels = missing;
    SETS_REFUSED("reference_labels");
    sets.reference_labels = labels;
    sets.reference.cols = D - 1;
    SETS_REFUSED("columns");
    sets.reference.cols = D;
    sets.reference.type = NF_FLOAT32;
    SETS_REFUSED("reference");
    sets.reference.type = NF_FLOAT64;
    f->loss.reduction = NF_REDUCE_NONE;
    SETS_REFUSED("none");
#undef SETS_REFUSED
    assert_fails(f->context, nf_loss_batch(f->context, &f->loss, mx(f), labels, &f->r, none),
                 NF_ERR_ARG, "none");
    f->loss.reduction = NF_REDUCE_MEAN;
    assert_fails(f->context, nf_loss_batch(f->context, &f->loss, mx(f), shorter, &f->r, none),
                 NF_ERR_ARG, "labels");
    assert_fails(f->context, nf_loss_batch(f->context, &f->loss, mx(f), missing, &f->r, none),
                 NF_ERR_ARG, "labels");
    assert_fails(f->context, nf_loss_batch(f->context, NULL, mx(f), labels, &f->r, none),
                 NF_ERR_ARG, "loss");
    assert_fails(f->context, nf_loss_batch(f->context, &f->loss, mx(f), labels, NULL, none),
                 NF_ERR_ARG, "result");
    float narrow[N * D];
    assert_fails(
        f->context,
        nf_loss_batch(f->context, &f->loss, mx(f), labels, &f->r, nf_matrix_out_f32(narrow, N, D)),
        NF_ERR_ARG, "float64");
    assert_fails(f->context,
                 nf_loss_batch(f->context, &f->loss, mx(f), labels, &f->r,
                               nf_matrix_out_f64(f->gx, N, D - 1)),
                 NF_ERR_ARG, "12 x 4");
}

/* Outputs must not overlap inputs or each other. */
static void overlapping_outputs_are_refused(void **state) {
    fixture *f = *state;
    nf_labels labels = {f->label, N, 1};
    nf_loss_sets sets = {mx(f), my(f), labels, labels, NULL, NULL};
    nf_matrix_out in_x = nf_matrix_out_f64(f->x, N, D), in_y = nf_matrix_out_f64(f->y, N, D);
    const int64_t i[1] = {0}, j[1] = {1};
    nf_pairs pairs = {1, i, j, f->same, NULL};
    double kept[N * D];
    memcpy(kept, f->x, sizeof kept);
    nf_context *c = f->context;
    nf_loss_result *r = &f->r;
    assert_fails(c, nf_loss_batch(c, &f->loss, mx(f), labels, r, in_x), NF_ERR_ARG, "overlap");
    assert_fails(c, nf_loss_pairs(c, &f->loss, mx(f), pairs, NULL, r, in_x), NF_ERR_ARG, "overlap");
    const nf_matrix_out cases[][2] = {
        {in_x, none}, {in_y, none}, {none, in_x}, {none, in_y}, {ox(f), ox(f)}};
    for (size_t k = 0; k < 5; k++) {
        assert_fails(c,
                     nf_loss_rows(c, &f->loss, mx(f), my(f), f->same, NULL, NULL, r, cases[k][0],
                                  cases[k][1]),
                     NF_ERR_ARG, "overlap");
        assert_fails(c, nf_loss_reference(c, &f->loss, &sets, r, cases[k][0], cases[k][1]),
                     NF_ERR_ARG, "overlap");
    }
    nf_pair_terms extras = {f->x + 3, NULL};
    assert_fails(c, nf_loss_rows(c, &f->loss, mx(f), my(f), f->same, NULL, &extras, r, none, none),
                 NF_ERR_ARG, "overlap");
    extras.terms = f->gx;
    assert_fails(c, nf_loss_rows(c, &f->loss, mx(f), my(f), f->same, NULL, &extras, r, ox(f), none),
                 NF_ERR_ARG, "overlap");
    assert_memory_equal(kept, f->x, sizeof kept);
}

/* ---- progress ----------------------------------------------------------------------------------- */

typedef struct progress_log {
    uint64_t last, total;
    int calls, went_back;
} progress_log;

static int log_progress(void *user, uint64_t done, uint64_t total) {
    progress_log *log = user;
    if (log->calls++ > 0) log->went_back |= done < log->last || total != log->total;
    log->went_back |= done > total;
    log->last = done;
    log->total = total;
    return 0;
}

/* Counting passes, statistics and sides of two metric families are one piece of work to the caller. */
static void progress_of_several_passes_never_goes_back(void **state) {
    fixture *f = *state;
    enum { rows = 1900, cols = 64 };
    nf_context *slow = test_context_isa(1, NF_ISA_SCALAR); /* calls come every 20 ms */
    float *x = malloc(rows * cols * sizeof *x);
    int64_t *labels = malloc(rows * sizeof *labels);
    test_random_f32(5, x, rows * cols, 0, 1);
    test_random_labels(6, labels, rows, 0, 9);
    f->loss.stats = 1;
    for (int variant = 0; variant < 3; variant++) {
        f->loss.reduction = variant == 1 ? NF_REDUCE_MEAN_NONZERO : NF_REDUCE_MEAN;
        f->loss.neg_metric = variant == 2 ? NF_COSINE : NF_EUCLIDEAN;
        progress_log log = {0};
        nf_context_set_progress(slow, log_progress, &log);
        assert_ok(slow, nf_loss_batch(slow, &f->loss, nf_matrix_f32(x, rows, cols),
                                      (nf_labels){labels, rows, 0}, &f->r, none));
        assert_true(log.calls > 2);
        assert_false(log.went_back);
        /* A pass over one side skips most tiles, so the last call may come well before the end. */
        assert_true(log.last > log.total / 5);
    }
    nf_context_free(slow);
    free(x);
    free(labels);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_list_of_all_pairs_is_the_batch),
        TEST(rows_are_a_list_into_both),
        TEST(a_reference_of_the_batch_with_ids_is_twice_the_batch),
        TEST(a_pair_listed_twice_counts_twice),
        TEST(coincident_negatives_of_lists_are_counted),
        TEST(terms_sum_to_the_value),
        TEST(upstream_scales_pair_by_pair_or_as_a_whole),
        TEST(each_gradient_may_be_left_out),
        TEST(bad_lists_are_refused_by_position),
        TEST(bad_rows_and_extras_are_refused),
        TEST(bad_sets_are_refused),
        TEST(overlapping_outputs_are_refused),
        TEST(progress_of_several_passes_never_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
