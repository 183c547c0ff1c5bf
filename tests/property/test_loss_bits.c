/* The batch loss has one set of bits for every number of threads, every instruction set, and with or
 * without what is skipped; and its gradient keeps its digits for tight classes far from the origin. */
#include "probe.h"
#include "support.h"

#include <math.h>

#include "base/random.h"

typedef struct problem {
    size_t n, d;
    float *x;
    int64_t *labels;
} problem;

/* Classes around centres within a margin or two of each other, so that some pairs have a term. */
static problem make_problem(size_t n, size_t d, size_t classes, double spread, double offset) {
    problem p = {n, d, malloc(n * d * sizeof(float)), malloc(n * sizeof(int64_t))};
    const double apart = 1.5 / sqrt((double)d);
    for (size_t r = 0; r < n; r++) {
        const uint64_t own = nf_random_below(n + d, 1, r, classes);
        p.labels[r] = (int64_t)own;
        for (size_t k = 0; k < d; k++) {
            double centre = apart * nf_random_unit(7, own, k);
            double noise = spread * apart * (nf_random_unit(8, r, k) - 0.5);
            p.x[r * d + k] = (float)(offset + centre + noise);
        }
    }
    return p;
}

static void free_problem(problem *p) {
    free(p->x);
    free(p->labels);
}

static nf_loss_result run(const problem *p, nf_loss loss, nf_isa isa, int threads,
                          float *gradient) {
    nf_context *context = test_context_isa(threads, isa);
    nf_loss_result result;
    assert_ok(context, nf_loss_batch(context, &loss, nf_matrix_f32(p->x, p->n, p->d),
                                     (nf_labels){p->labels, p->n, 0}, &result,
                                     nf_matrix_out_f32(gradient, p->n, p->d)));
    nf_context_free(context);
    return result;
}

static void assert_same(const problem *p, nf_loss loss, nf_isa isa, int threads,
                        const nf_loss_result *want, const float *gradient) {
    float *other = malloc(p->n * p->d * sizeof *other);
    nf_loss_result got = run(p, loss, isa, threads, other);
    if (memcmp(&got.value, &want->value, sizeof got.value) != 0 ||
        got.active_negative != want->active_negative ||
        memcmp(other, gradient, p->n * p->d * sizeof *other) != 0) {
        fail_msg("n %zu, d %zu, isa %d, threads %d, stats %d: other bits", p->n, p->d, (int)isa,
                 threads, loss.stats);
    }
    free(other);
}

static void check_bits(size_t n, size_t d, int every_isa) {
    static const int threads[] = {1, 2, 3, 7};
    nf_isa isa[4];
    const size_t isas = probe_isas(isa);
    problem p = make_problem(n, d, 1 + n / 24, 0.5, 0);
    float *gradient = malloc(n * d * sizeof *gradient);
    nf_loss loss = nf_loss_weston();
    nf_loss_result want = run(&p, loss, isa[isas - 1], 1, gradient);
    for (size_t t = 0; t < 4; t++) {
        assert_same(&p, loss, isa[isas - 1], threads[t], &want, gradient);
    }
    loss.stats = 1; /* every distance is computed, and nothing skipped */
    assert_same(&p, loss, isa[isas - 1], 2, &want, gradient);
    for (size_t k = every_isa ? 0 : 1; k + 1 < isas; k++) {
        loss.stats = (int)(k % 2);
        assert_same(&p, loss, isa[k], threads[(n + d + k) % 4], &want, gradient);
    }
    free(gradient);
    free_problem(&p);
}

static void one_set_of_bits(void **state) {
    (void)state;
    static const size_t rows[] = {1, 2, 95, 96, 97};
    static const size_t wide[] = {63, 64, 65, 512};
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        for (size_t d = 1; d <= 33; d++) check_bits(rows[r], d, 1);
        for (size_t k = 0; k < 4; k++) check_bits(rows[r], wide[k], 1);
    }
    for (size_t d = 1; d <= 33; d += probe_long() ? 1 : 8) check_bits(1000, d, probe_long());
    for (size_t k = 0; k < 4; k++) check_bits(1000, wide[k], probe_long());
}

/* Around the numbers of rows at which blocks change their size and spans are no longer kept. */
static void one_set_of_bits_in_middle_sets(void **state) {
    (void)state;
    static const size_t rows[] = {191, 192, 193, 256, 300, 767, 768, 1536, 1537};
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        check_bits(rows[r], 3, 1);
        check_bits(rows[r], 64, probe_long() || rows[r] < 300);
    }
}

/* So many rows that spans hold several blocks. */
static void one_set_of_bits_in_large_sets(void **state) {
    (void)state;
    check_bits(1700, 5, 1);
    check_bits(3100, 33, 0);
    if (probe_long()) check_bits(20000, 64, 0);
}

/* The gradient of row i, unscaled, in double: 2 (x - y) for positives, 2 (1 - m / t)(x - y) for
 * negatives within the margin. */
static void row_gradient(const problem *p, size_t i, double margin, double *out) {
    memset(out, 0, p->d * sizeof *out);
    for (size_t j = 0; j < p->n; j++) {
        double t2 = 0;
        for (size_t k = 0; k < p->d; k++) {
            double apart = (double)p->x[i * p->d + k] - (double)p->x[j * p->d + k];
            t2 += apart * apart;
        }
        const int same = p->labels[i] == p->labels[j];
        if (!same && (t2 == 0 || t2 >= margin * margin)) continue;
        const double w = same ? 2 : 2 * (1 - margin / sqrt(t2));
        for (size_t k = 0; k < p->d; k++) {
            out[k] += w * ((double)p->x[i * p->d + k] - (double)p->x[j * p->d + k]);
        }
    }
}

/* Relative error over some rows. */
static double gradient_error(const problem *p, nf_loss loss, size_t rows) {
    nf_isa isa[4];
    const size_t isas = probe_isas(isa);
    float *gradient = malloc(p->n * p->d * sizeof *gradient);
    double *row = malloc(p->d * sizeof *row), wrong = 0, norm = 0;
    loss.reduction = NF_REDUCE_SUM;
    (void)run(p, loss, isa[isas - 1], 2, gradient);
    for (size_t r = 0; r < rows; r++) {
        const size_t i = nf_random_below(3, 3, r, p->n);
        row_gradient(p, i, loss.neg_margin, row);
        for (size_t k = 0; k < p->d; k++) {
            double apart = (double)gradient[i * p->d + k] - row[k];
            wrong += apart * apart;
            norm += row[k] * row[k];
        }
    }
    free(row);
    free(gradient);
    return sqrt(wrong / norm);
}

static void tight_classes_far_away_keep_their_digits(void **state) {
    (void)state;
    static const double offsets[] = {0, 1, 100, 10000};
    static const double spreads[] = {1e-4, 1e-2, 1};
    const size_t n = probe_long() ? 100000 : 5000;
    for (size_t o = 0; o < 4; o++) {
        for (size_t s = 0; s < 3; s++) {
            problem p = make_problem(n, 8, 10, spreads[s], offsets[o]);
            double error = gradient_error(&p, nf_loss_weston(), 200);
            if (!(error <= 1e-5)) {
                fail_msg("offset %g, spread %g: off by %g", offsets[o], spreads[s], error);
            }
            free_problem(&p);
        }
    }
}

/* Classes of one strip's rows far apart, other classes at a hair's breadth from each. */
static void strips_across_far_classes_keep_their_digits(void **state) {
    (void)state;
    enum { N = 960, D = 4 };
    problem p = make_problem(N, D, 2, 1, 0);
    for (size_t r = 0; r < N; r++) {
        p.labels[r] = (int64_t)(r % 480);
        for (size_t k = 0; k < D; k++) {
            double place = 1000.0 * (double)(r % 7) * (k == 0);
            p.x[r * D + k] = (float)(place + 0.01 * nf_random_unit(5, r, k));
        }
    }
    double error = gradient_error(&p, nf_loss_weston(), N);
    if (!(error <= 1e-5)) fail_msg("off by %g", error);
    free_problem(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_set_of_bits),
        cmocka_unit_test(one_set_of_bits_in_middle_sets),
        cmocka_unit_test(one_set_of_bits_in_large_sets),
        cmocka_unit_test(tight_classes_far_away_keep_their_digits),
        cmocka_unit_test(strips_across_far_classes_keep_their_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
