/* Losses with `fast`: value and gradient of every kind keep to the direct form's, also far from the
 * origin; one set of bits for every number of threads, instruction set, and with or without what is
 * skipped; and the metrics it is not for are refused. */
#include "loss_case.h"
#include "probe.h"

#include <math.h>

#include "base/random.h"

typedef struct problem {
    size_t n, d;
    nf_type type;
    void *x;
    int64_t *labels;
} problem;

/* Classes around centres of about unit size, some pairs within the margins of the presets. */
static problem make(nf_type type, size_t n, size_t d, double spread, double offset) {
    problem p = {n, d, type, malloc(n * d * 8), malloc(n * sizeof(int64_t))};
    for (size_t r = 0; r < n; r++) {
        const uint64_t own = nf_random_below(n, 1, r, 5);
        p.labels[r] = (int64_t)own;
        for (size_t k = 0; k < d; k++) {
            double centre = (2 * nf_random_unit(7, own, k) - 1) / sqrt((double)d);
            double value = centre + spread * (nf_random_unit(8, r, k) - 0.5) / sqrt((double)d);
            if (type == NF_FLOAT32) {
                ((float *)p.x)[r * d + k] = (float)(offset + value);
            } else {
                ((double *)p.x)[r * d + k] = offset + value;
            }
        }
    }
    return p;
}

static void drop(problem *p) {
    free(p->x);
    free(p->labels);
}

/* Value and the widened gradient; with `reference`, of the set against itself. */
static nf_loss_result run(nf_context *context, const problem *p, nf_loss loss, int reference,
                          double *gradient) {
    nf_loss_result result;
    const size_t size = nf_type_size(p->type);
    void *g = malloc(2 * p->n * p->d * size);
    nf_matrix x = {p->x, p->type, p->n, p->d, p->d};
    nf_matrix_out a = {g, p->type, p->n, p->d, p->d};
    nf_matrix_out b = {(char *)g + p->n * p->d * size, p->type, p->n, p->d, p->d};
    nf_labels labels = {p->labels, p->n, 0};
    if (reference) {
        nf_loss_sets sets = {x, x, labels, labels, NULL, NULL};
        assert_ok(context, nf_loss_reference(context, &loss, &sets, &result, a, b));
    } else {
        assert_ok(context, nf_loss_batch(context, &loss, x, labels, &result, a));
    }
    for (size_t k = 0; k < p->n * p->d * (reference ? 2 : 1); k++) {
        gradient[k] = p->type == NF_FLOAT32 ? (double)((float *)g)[k] : ((double *)g)[k];
    }
    free(g);
    return result;
}

static double apart(const double *a, const double *b, size_t count) {
    double wrong = 0, norm = 0;
    for (size_t k = 0; k < count; k++) {
        wrong += (a[k] - b[k]) * (a[k] - b[k]);
        norm += b[k] * b[k];
    }
    return norm > 0 ? sqrt(wrong / norm) : sqrt(wrong);
}

/* Hard margins jump at pairs that another rounding moves across: those losses are compared through
 * presets whose terms go to 0 there, or in float64, where no pair of these data is that close. */
static void check_kind(nf_context *context, const char *name, nf_type type, double offset,
                       int reference) {
    problem p = make(type, 210, 24, 4, offset);
    nf_loss loss;
    assert_ok(context, nf_loss_preset(context, name, &loss));
    if (loss.pos_metric == NF_DOT) loss.pos_metric = loss.neg_metric = NF_SQEUCLIDEAN;
    double *want = malloc(2 * p.n * p.d * 8), *got = malloc(2 * p.n * p.d * 8);
    nf_loss_result direct = run(context, &p, loss, reference, want);
    loss.fast = 1;
    nf_loss_result fast = run(context, &p, loss, reference, got);
    const double near = type == NF_FLOAT32 ? 2e-4 : 1e-12;
    const double gradient = apart(got, want, p.n * p.d * (reference ? 2 : 1));
    if (!(fabs(fast.value - direct.value) <= near * fabs(direct.value)) || !(gradient <= near)) {
        fail_msg("%s, type %d, offset %g, reference %d: value %.17g for %.17g, gradient off by %g",
                 name, (int)type, offset, reference, fast.value, direct.value, gradient);
    }
    assert_true(direct.value > 0);
    free(want);
    free(got);
    drop(&p);
}

static void every_kind_keeps_to_the_direct_form(void **state) {
    (void)state;
    static const double offsets[] = {0, 1, 100, 10000};
    nf_context *context = test_context(2);
    for (size_t i = 0; i < nf_loss_presets(); i++) {
        const char *name = nf_loss_preset_name(i);
        for (int o = 0; o < 4; o++) {
            check_kind(context, name, NF_FLOAT64, offsets[o], 0);
            if (strcmp(name, "n-pairs") != 0) check_kind(context, name, NF_FLOAT64, offsets[o], 1);
        }
        if (strcmp(name, "weston") == 0 || strcmp(name, "nca") == 0) {
            for (int o = 0; o < 2; o++) check_kind(context, name, NF_FLOAT32, offsets[o], 0);
        }
    }
    nf_context_free(context);
}

static void it_is_the_other_form(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    problem p = make(NF_FLOAT32, 210, 24, 1, 0);
    nf_loss loss = nf_loss_weston();
    double *one = malloc(p.n * p.d * 8), *other = malloc(p.n * p.d * 8);
    run(context, &p, loss, 0, one);
    loss.fast = 1;
    run(context, &p, loss, 0, other);
    assert_true(apart(one, other, p.n * p.d) > 0);
    free(one);
    free(other);
    drop(&p);
    nf_context_free(context);
}

/* Far from the origin every pair is near: the gradient keeps the digits of the direct form. */
static void gradients_keep_their_digits_far_away(void **state) {
    (void)state;
    static const double offsets[] = {1, 100, 10000};
    static const double spreads[] = {1e-4, 1e-2, 1};
    nf_context *context = test_context(2);
    for (int c = 0; c < 9; c++) {
        problem p = make(NF_FLOAT32, 900, 8, spreads[c % 3], offsets[c / 3]);
        problem wide = make(NF_FLOAT64, 900, 8, 1, 0);
        for (size_t k = 0; k < p.n * p.d; k++) ((double *)wide.x)[k] = (double)((float *)p.x)[k];
        nf_loss loss = nf_loss_weston();
        double *want = malloc(p.n * p.d * 8), *got = malloc(p.n * p.d * 8);
        run(context, &wide, loss, 0, want);
        loss.fast = 1;
        run(context, &p, loss, 0, got);
        const double error = apart(got, want, p.n * p.d);
        if (!(error <= 1e-5)) {
            fail_msg("offset %g, spread %g: off by %g", offsets[c / 3], spreads[c % 3], error);
        }
        free(want);
        free(got);
        drop(&p);
        drop(&wide);
    }
    nf_context_free(context);
}

static void check_bits(const problem *p, nf_loss loss, int reference) {
    static const int threads[] = {1, 2, 3, 7};
    nf_isa isa[4];
    const size_t isas = probe_isas(isa), count = p->n * p->d * (reference ? 2 : 1);
    double *want = malloc(count * 8), *got = malloc(count * 8);
    nf_loss_result first = {0};
    for (size_t k = 0; k < 4 * isas * 2; k++) {
        nf_context *context = test_context_isa(threads[k % 4], isa[k / 8]);
        loss.stats = (int)(k / 4 % 2);
        nf_loss_result result = run(context, p, loss, reference, k == 0 ? want : got);
        nf_context_free(context);
        if (k == 0) first = result;
        if (k == 0) continue;
        if (memcmp(&result.value, &first.value, 8) != 0 || memcmp(got, want, count * 8) != 0) {
            fail_msg("n %zu, d %zu, isa %d, threads %d, stats %d, kind %s: other bits", p->n, p->d,
                     (int)isa[k / 8], threads[k % 4], loss.stats, nf_loss_kind_name(loss.kind));
        }
    }
    free(want);
    free(got);
}

static void one_set_of_bits(void **state) {
    (void)state;
    static const size_t rows[] = {1, 2, 95, 96, 97, 700}, wide[] = {1, 3, 16, 33, 64};
    static const char *const presets[] = {"weston", "sbert", "pml", "nt-xent", "triplet"};
    nf_context *context = test_context(1);
    for (size_t c = 0; c < 30; c++) {
        nf_loss loss;
        assert_ok(context, nf_loss_preset(context, presets[c % 5], &loss));
        loss.fast = 1;
        problem p = make(c % 2 == 0 ? NF_FLOAT32 : NF_FLOAT64, rows[c / 5], wide[(c + c / 5) % 5],
                         c % 3 == 0 ? 1 : 0.1, 0);
        check_bits(&p, loss, 0);
        if (c % 5 < 2) check_bits(&p, loss, 1);
        drop(&p);
    }
    nf_context_free(context);
}

/* Two blocks of equal rows a hair farther apart than the margin, which the other form may round to
 * either side of it. */
static void skipping_at_the_margin_changes_no_bit(void **state) {
    (void)state;
    enum { D = 8, PER = 96 };
    nf_context *context = test_context(1);
    problem p = make(NF_FLOAT32, 2 * PER, D, 0, 0);
    uint64_t skipped = 0;
    for (uint64_t trial = 0; trial < 400; trial++) {
        const float start = -(float)(1 + nf_random_below(2, trial, 0, 512)) * 0x1p-10f;
        const float place[2] = {start, start + (1 + (float)trial * 0x1p-23f)};
        for (size_t r = 0; r < p.n; r++) {
            p.labels[r] = (int64_t)(r / PER);
            for (size_t k = 0; k < D; k++) {
                const double shared = 0.9 + 0.1 * nf_random_unit(1, trial, k);
                ((float *)p.x)[r * D + k] = k == 0 ? place[r / PER] : (float)shared;
            }
        }
        nf_loss loss = nf_loss_weston();
        loss.fast = 1;
        double got[2][2 * PER * D];
        nf_loss_result pruned = run(context, &p, loss, 0, got[0]);
        loss.stats = 1;
        nf_loss_result all = run(context, &p, loss, 0, got[1]);
        assert_memory_equal(&pruned.value, &all.value, sizeof pruned.value);
        assert_memory_equal(got[0], got[1], sizeof got[0]);
        assert_int_equal(pruned.active_negative, all.active_negative);
        skipped += pruned.tiles_skipped - all.tiles_skipped;
    }
    assert_true(skipped > 0);
    drop(&p);
    nf_context_free(context);
}

static void other_metrics_are_refused(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    nf_loss loss = nf_loss_weston();
    loss.fast = 1;
    assert_ok(context, nf_loss_check(context, &loss));
    loss.neg_metric = NF_CITYBLOCK;
    assert_fails(context, nf_loss_check(context, &loss), NF_ERR_ARG,
                 "neg_metric is cityblock: it applies to euclidean, sqeuclidean and cosine only");
    assert_ok(context, nf_loss_preset(context, "n-pairs", &loss));
    loss.fast = 1;
    assert_fails(context, nf_loss_check(context, &loss), NF_ERR_ARG, "pos_metric is dot");
    float *x = calloc(2 * 40000, sizeof *x);
    int64_t labels[2] = {0, 1};
    nf_loss_result result = {.value = -1};
    loss = nf_loss_weston();
    loss.fast = 1;
    assert_fails(context,
                 nf_loss_batch(context, &loss, nf_matrix_f32(x, 2, 40000),
                               (nf_labels){labels, 2, 0}, &result, (nf_matrix_out){0}),
                 NF_ERR_ARG, "40000 columns");
    assert_true(result.value == -1);
    free(x);
    nf_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_keeps_to_the_direct_form),
        cmocka_unit_test(it_is_the_other_form),
        cmocka_unit_test(gradients_keep_their_digits_far_away),
        cmocka_unit_test(one_set_of_bits),
        cmocka_unit_test(skipping_at_the_margin_changes_no_bit),
        cmocka_unit_test(other_metrics_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
