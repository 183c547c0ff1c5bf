/* What the loss promises about bits and under transformations: threads, instruction sets, statistics,
 * relabelling, rotation, permutation, duplication, sums of gradients. */
#include "loss_case.h"
#include "probe.h"

#include <math.h>

#include "base/random.h"

/* ---- bits --------------------------------------------------------------------------------------- */

static size_t make_contexts(nf_context *contexts[8]) {
    nf_isa isa[4];
    size_t isas = probe_isas(isa), count = 0;
    for (size_t k = 0; k < isas; k++) contexts[count++] = test_context_isa(1, isa[k]);
    const int threads[] = {2, 3, 7};
    for (size_t k = 0; k < 3; k++) contexts[count++] = test_context(threads[k]);
    return count;
}

static void threads_and_instruction_sets_give_the_same_bits(void **state) {
    (void)state;
    nf_context *contexts[8];
    size_t count = make_contexts(contexts);
    for (uint64_t seed = 0; seed < 160; seed++) {
        nf_loss loss = loss_random(seed + 31);
        loss_case c = loss_case_make(seed, (loss_form)(seed % 4),
                                     seed / 4 % 2 ? NF_FLOAT64 : NF_FLOAT32, loss, 1);
        uint64_t want = 0;
        for (size_t k = 0; k < count; k++) {
            assert_ok(contexts[k], loss_case_run(contexts[k], &c));
            uint64_t hash = loss_case_hash(&c);
            if (k == 0) want = hash;
            if (hash != want) {
                fail_msg("%s, seed %llu: other bits on %s with %d threads", loss_form_names[c.form],
                         (unsigned long long)seed, nf_context_isa(contexts[k]),
                         nf_context_threads(contexts[k]));
            }
        }
        loss_case_free(&c);
    }
    for (size_t k = 0; k < count; k++) nf_context_free(contexts[k]);
}

/* Rows enough for many blocks and for threads to be woken. */
static void many_rows_give_the_same_bits(void **state) {
    (void)state;
    size_t n = probe_long() ? 5000 : 1300, d = 24;
    float *x = malloc(n * d * sizeof *x), *gradient = malloc(n * d * sizeof *gradient);
    int64_t *label = malloc(n * sizeof *label);
    nf_context *contexts[8];
    size_t count = make_contexts(contexts);
    test_random_f32(5, x, n * d, -1, 1);
    for (size_t k = 0; k < n; k++)
        label[k] = k < 300 ? 3 : (int64_t)nf_random_below(6, 6, k, 9) - 1;
    memset(x + 40 * d, 0, d * sizeof *x);          /* a zero row */
    memcpy(x + 90 * d, x + 77 * d, d * sizeof *x); /* a duplicate */
    for (int c = 0; c < 8; c++) {
        nf_loss loss = nf_loss_weston();
        loss.neg_margin = 3.2;
        loss.pos_metric = loss.neg_metric = (nf_metric)(c % 5);
        if (c == 5) loss.normalize = 1;
        if (c == 6) loss.neg_metric = NF_CITYBLOCK, loss.neg_margin = 14;
        if (c == 7) loss.reduction = NF_REDUCE_MEAN_NONZERO;
        loss.stats = c % 2;
        uint64_t want = 0;
        for (size_t k = 0; k < count; k++) {
            nf_loss_result r;
            assert_ok(contexts[k], nf_loss_batch(contexts[k], &loss, nf_matrix_f32(x, n, d),
                                                 (nf_labels){label, n, 1}, &r,
                                                 nf_matrix_out_f32(gradient, n, d)));
            uint64_t hash = probe_hash(probe_hash(PROBE_HASH, &r, sizeof r), gradient, n * d * 4);
            if (k == 0) want = hash;
            assert_true(hash == want);
        }
    }
    for (size_t k = 0; k < count; k++) nf_context_free(contexts[k]);
    free(x);
    free(gradient);
    free(label);
}

static void statistics_and_gradients_never_change_bits(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    for (uint64_t seed = 0; seed < 200; seed++) {
        nf_loss loss = loss_random(seed + 900);
        loss.stats = 0;
        loss_case c =
            loss_case_make(seed + 40, (loss_form)(seed % 4), (nf_type)(seed / 4 % 2), loss, 1);
        assert_ok(context, loss_case_run(context, &c));
        uint64_t plain = loss_case_hash(&c);
        double value = c.result.value;
        assert_int_equal(c.result.has_stats, 0);
        c.loss.stats = 1;
        assert_ok(context, loss_case_run(context, &c));
        assert_true(loss_case_hash(&c) == plain);
        assert_int_equal(c.result.has_stats, 1);
        assert_ok(context, loss_case_value(context, &c));
        assert_memory_equal(&c.result.value, &value, sizeof value);
        loss_case_free(&c);
    }
    nf_context_free(context);
}

static void any_injective_relabelling_gives_the_same_bytes(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    const int64_t names[][7] = {
        {0, 1, 2, 3, 4, 5, 6},
        {-128, 255, INT64_MAX, INT64_MIN, (INT64_C(1) << 53), (INT64_C(1) << 53) + 1, -2},
        {6, 5, 4, 3, 2, 1, 0},
    };
    for (uint64_t seed = 0; seed < 60; seed++) {
        loss_form form = seed % 2 ? FORM_BATCH : FORM_REFERENCE;
        loss_case c = loss_case_make(seed + 400, form, NF_FLOAT32, loss_random(seed), 1);
        int64_t *x = malloc(c.n * sizeof *x), *y = malloc(c.m * sizeof *y);
        test_random_labels(seed, x, c.n, -1, 6);
        test_random_labels(seed + 1, y, c.m, -1, 6);
        c.has_unlabelled = 1;
        uint64_t want = 0;
        for (size_t k = 0; k < 3; k++) {
            for (size_t r = 0; r < c.n; r++) c.labels_x[r] = x[r] < 0 ? -1 : names[k][x[r]];
            for (size_t r = 0; r < c.m; r++) c.labels_y[r] = y[r] < 0 ? -1 : names[k][y[r]];
            nf_status status = loss_case_run(context, &c);
            if (status == NF_ERR_DATA) break; /* exactly {-1, 1} by chance */
            assert_ok(context, status);
            uint64_t hash = loss_case_hash(&c);
            if (k == 0) want = hash;
            assert_true(hash == want);
        }
        free(x);
        free(y);
        loss_case_free(&c);
    }
    nf_context_free(context);
}

static void a_leading_dimension_changes_nothing(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    enum { N = 50, D = 9, LD = 13 };
    float x[N * D], wide[N * LD], gradient[N * D], wide_gradient[N * LD];
    int64_t label[N];
    test_random_f32(1, x, N * D, -1, 1);
    test_random_labels(1, label, N, -1, 3);
    for (size_t k = 0; k < N * LD; k++) {
        wide[k] = k % LD < D ? x[k / LD * D + k % LD] : NAN;
        wide_gradient[k] = 42;
    }
    nf_loss loss = nf_loss_weston();
    nf_loss_result a, b;
    nf_labels labels = {label, N, 1};
    assert_ok(context, nf_loss_batch(context, &loss, nf_matrix_f32(x, N, D), labels, &a,
                                     nf_matrix_out_f32(gradient, N, D)));
    assert_ok(context,
              nf_loss_batch(context, &loss, (nf_matrix){wide, NF_FLOAT32, N, D, LD}, labels, &b,
                            (nf_matrix_out){wide_gradient, NF_FLOAT32, N, D, LD}));
    assert_memory_equal(&a, &b, sizeof a);
    for (size_t k = 0; k < N * LD; k++) {
        if (k % LD < D)
            assert_true(wide_gradient[k] == gradient[k / LD * D + k % LD]);
        else
            assert_true(wide_gradient[k] == 42);
    }
    nf_context_free(context);
}

/* ---- transformations ----------------------------------------------------------------------------- */

#define N 60
#define D 6

typedef struct outcome {
    double value, gradient[4 * N * D];
} outcome;

static outcome run_batch(nf_context *context, const nf_loss *loss, const double *x, size_t n,
                         const int64_t *label) {
    outcome o;
    nf_loss_result r;
    assert_ok(context,
              nf_loss_batch(context, loss, nf_matrix_f64(x, n, D), (nf_labels){label, n, 1}, &r,
                            nf_matrix_out_f64(o.gradient, n, D)));
    o.value = r.value;
    return o;
}

static void assert_close(double a, double b) { assert_true(fabs(a - b) <= 1e-12 * (1 + fabs(b))); }

/* Losses of euclidean families, which rotations leave alone. */
static nf_loss rotated_loss(int c) {
    static const nf_metric metrics[] = {NF_EUCLIDEAN, NF_SQEUCLIDEAN, NF_COSINE, NF_DOT};
    nf_loss loss = nf_loss_weston();
    loss.pos_metric = metrics[c % 4];
    loss.neg_metric = metrics[(c / 4 + c) % 4];
    loss.pos_margin = loss.pos_metric == NF_DOT ? -1 : 0.05 * (c % 3);
    loss.neg_margin = loss.neg_metric == NF_DOT ? 0.1 : 0.9;
    loss.normalize = c % 5 == 0;
    loss.reduction = (nf_reduction)(c % 5);
    return loss;
}

static void rotate(const double *x, double *out, size_t n) {
    memcpy(out, x, n * D * sizeof *x);
    for (size_t a = 0; a + 1 < D; a++) { /* a chain of plane rotations */
        double cosine = cos(0.3 + (double)a), sine = sin(0.3 + (double)a);
        for (size_t r = 0; r < n; r++) {
            double u = out[r * D + a], v = out[r * D + a + 1];
            out[r * D + a] = cosine * u - sine * v;
            out[r * D + a + 1] = sine * u + cosine * v;
        }
    }
}

static void rotation_rotates_the_gradient(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    double x[N * D], turned[N * D], want[N * D];
    int64_t label[N];
    test_random_f64(1, x, N * D, -0.5, 0.5);
    test_random_labels(1, label, N, -1, 3);
    rotate(x, turned, N);
    for (int c = 0; c < 20; c++) {
        nf_loss loss = rotated_loss(c);
        outcome a = run_batch(context, &loss, x, N, label),
                b = run_batch(context, &loss, turned, N, label);
        assert_close(b.value, a.value);
        rotate(a.gradient, want, N);
        for (size_t k = 0; k < N * D; k++) assert_close(b.gradient[k], want[k]);
    }
    nf_context_free(context);
}

static void permuting_rows_permutes_the_gradient(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    double x[N * D], moved[N * D];
    int64_t label[N], moved_label[N];
    size_t order[N];
    test_random_f64(2, x, N * D, -0.5, 0.5);
    test_random_labels(2, label, N, -1, 3);
    for (size_t k = 0; k < N; k++) order[k] = k;
    nf_random_shuffle(3, 3, order, N);
    for (size_t k = 0; k < N; k++) {
        memcpy(moved + k * D, x + order[k] * D, D * sizeof *x);
        moved_label[k] = label[order[k]];
    }
    for (int c = 0; c < 20; c++) {
        nf_loss loss = rotated_loss(c);
        outcome a = run_batch(context, &loss, x, N, label);
        outcome b = run_batch(context, &loss, moved, N, moved_label);
        assert_close(b.value, a.value);
        for (size_t k = 0; k < N * D; k++) {
            assert_close(b.gradient[k], a.gradient[order[k / D] * D + k % D]);
        }
    }
    nf_context_free(context);
}

/* Twice the data: each of the C pairs appears four times, and N positives at distance 0 are new. */
static void duplicated_data_has_the_expected_mean(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    double x[2 * N * D];
    int64_t label[2 * N];
    test_random_f64(4, x, N * D, -0.5, 0.5);
    test_random_labels(4, label, N, 0, 3);
    memcpy(x + N * D, x, N * D * sizeof *x);
    memcpy(label + N, label, N * sizeof *label);
    nf_loss loss = nf_loss_weston();
    loss.reduction = NF_REDUCE_SUM;
    double sum = run_batch(context, &loss, x, N, label).value, pairs = N * (N - 1) / 2;
    loss.reduction = NF_REDUCE_MEAN;
    assert_close(run_batch(context, &loss, x, 2 * N, label).value, 4 * sum / (4 * pairs + N));
    nf_context_free(context);
}

/* Distances do not see a translation, so gradients sum to 0. */
static void gradients_sum_to_zero(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    for (uint64_t seed = 0; seed < 30; seed++) {
        float x[N * D], gradient[N * D];
        int64_t label[N];
        test_random_f32(seed, x, N * D, -0.5, 0.5);
        test_random_labels(seed, label, N, -1, 2);
        nf_loss loss = nf_loss_weston();
        loss.pos_metric = (nf_metric)(seed % 2);
        loss.neg_metric = seed % 3 == 2 ? NF_CITYBLOCK : loss.pos_metric;
        loss.neg_margin = seed % 3 == 2 ? 2 : 1;
        loss.pos_margin = 0.05 * (double)(seed % 2);
        nf_loss_result r;
        assert_ok(context,
                  nf_loss_batch(context, &loss, nf_matrix_f32(x, N, D), (nf_labels){label, N, 1},
                                &r, nf_matrix_out_f32(gradient, N, D)));
        for (size_t k = 0; k < D; k++) {
            double sum = 0, absolute = 0;
            for (size_t i = 0; i < N; i++) {
                sum += (double)gradient[i * D + k];
                absolute += fabs((double)gradient[i * D + k]);
            }
            assert_true(fabs(sum) <= 4 * N * 0x1p-24 * absolute);
        }
    }
    nf_context_free(context);
}

/* The closed form of positives is the same function as their tiles: a margin too small to matter
 * switches it off. */
static void the_closed_form_is_the_sum_over_pairs(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    double x[N * D];
    int64_t label[N];
    for (uint64_t seed = 0; seed < 10; seed++) {
        test_random_f64(seed, x, N * D, 99, 101);
        test_random_labels(seed, label, N, 0, (int64_t)seed);
        nf_loss closed = nf_loss_weston();
        if (seed % 2) closed.pos_metric = NF_SQEUCLIDEAN, closed.pos_exponent = 1;
        nf_loss tiled = closed;
        tiled.pos_margin = 1e-300;
        outcome a = run_batch(context, &closed, x, N, label),
                b = run_batch(context, &tiled, x, N, label);
        assert_close(a.value, b.value);
        for (size_t k = 0; k < N * D; k++) assert_close(a.gradient[k], b.gradient[k]);
    }
    nf_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_and_instruction_sets_give_the_same_bits),
        cmocka_unit_test(many_rows_give_the_same_bits),
        cmocka_unit_test(statistics_and_gradients_never_change_bits),
        cmocka_unit_test(any_injective_relabelling_gives_the_same_bytes),
        cmocka_unit_test(a_leading_dimension_changes_nothing),
        cmocka_unit_test(rotation_rotates_the_gradient),
        cmocka_unit_test(permuting_rows_permutes_the_gradient),
        cmocka_unit_test(duplicated_data_has_the_expected_mean),
        cmocka_unit_test(gradients_sum_to_zero),
        cmocka_unit_test(the_closed_form_is_the_sum_over_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
