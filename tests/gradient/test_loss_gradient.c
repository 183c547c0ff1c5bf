/* Value, counts, terms, statistics and gradient of all four forms against the oracle: presets and
 * random combinations of everything a loss can be; float64 to 1e-12 and float32 to 1e-5 of the
 * gradient's norm. */
#include "loss_case.h"
#include "probe.h"

#include <math.h>

static const double tolerances[] = {1e-5, 1e-12}; /* by nf_type */

static void check_random(loss_form form, nf_type type, uint64_t first, uint64_t cases) {
    nf_context *context = test_context(2);
    if (probe_long()) cases *= 20;
    for (uint64_t seed = first; seed < first + cases; seed++) {
        nf_loss loss = loss_random(seed);
        if (form == FORM_PAIRS || form == FORM_ROWS) {
            if (seed % 6 == 5) loss.reduction = NF_REDUCE_NONE, loss.divisor = 0;
        }
        loss_case c = loss_case_make(seed, form, type, loss, 1);
        loss_case_check(context, &c, tolerances[type]);
        loss_case_free(&c);
    }
    nf_context_free(context);
}

#define RANDOM_TEST(name, form, type, first)  \
    static void name(void **state) {          \
        (void)state;                          \
        check_random(form, type, first, 300); \
    }

RANDOM_TEST(batch_f64, FORM_BATCH, NF_FLOAT64, 0)
RANDOM_TEST(batch_f32, FORM_BATCH, NF_FLOAT32, 100000)
RANDOM_TEST(pairs_f64, FORM_PAIRS, NF_FLOAT64, 200000)
RANDOM_TEST(pairs_f32, FORM_PAIRS, NF_FLOAT32, 300000)
RANDOM_TEST(rows_f64, FORM_ROWS, NF_FLOAT64, 400000)
RANDOM_TEST(rows_f32, FORM_ROWS, NF_FLOAT32, 500000)
RANDOM_TEST(reference_f64, FORM_REFERENCE, NF_FLOAT64, 600000)
RANDOM_TEST(reference_f32, FORM_REFERENCE, NF_FLOAT32, 700000)

static void presets_in_every_form(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    for (size_t p = 0; p < nf_loss_presets(); p++) {
        for (uint64_t seed = 0; seed < 40; seed++) {
            nf_loss loss;
            assert_ok(context, nf_loss_preset(context, nf_loss_preset_name(p), &loss));
            if (loss.kind != NF_KIND_CONTRASTIVE)
                continue; /* other kinds have suites of their own */
            loss.stats = (int)(seed % 2);
            nf_type type = seed % 3 == 0 ? NF_FLOAT64 : NF_FLOAT32;
            loss_case c = loss_case_make(seed + 900, (loss_form)(seed % 4), type, loss, 0);
            loss_case_check(context, &c, tolerances[type]);
            loss_case_free(&c);
        }
    }
    nf_context_free(context);
}

/* The engine's own value, differenced: value and gradient belong together. */
static void gradients_match_differences_of_the_engines_value(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    for (uint64_t seed = 0; seed < 40; seed++) {
        nf_loss loss = loss_random(seed + 70);
        loss.stats = 0;
        loss_case c = loss_case_make(seed + 3000, (loss_form)(seed % 4), NF_FLOAT64, loss, 1);
        free(c.upstream);
        c.upstream = NULL;
        assert_ok(context, loss_case_run(context, &c));
        double *gradient = malloc(c.n * c.d * sizeof *gradient), norm = 0, worst = 0;
        memcpy(gradient, c.gradient_x, c.n * c.d * sizeof *gradient);
        for (size_t k = 0; k < c.n * c.d; k++) norm += gradient[k] * gradient[k];
        for (size_t k = 0; k < c.n * c.d; k += 1 + c.n * c.d / 20) {
            double *at = (double *)c.x + k / c.d * c.ldx + k % c.d, kept = *at, slope[3];
            double h = 0x1p-14;
            for (int level = 0; level < 3; level++, h /= 2) {
                *at = kept + h;
                assert_ok(context, loss_case_value(context, &c));
                double above = c.result.value;
                *at = kept - h;
                assert_ok(context, loss_case_value(context, &c));
                slope[level] = (above - c.result.value) / (2 * h);
            }
            *at = kept;
            double first = (4 * slope[1] - slope[0]) / 3, second = (4 * slope[2] - slope[1]) / 3;
            double difference = (16 * second - first) / 15;
            worst = fmax(worst, fabs(difference - gradient[k]));
        }
        /* A kink within h of a pair spoils a difference by at most the jump; few seeds have one. */
        ref_problem p = loss_case_problem(&c);
        ref_result r = ref_evaluate(&p);
        if (r.kink > 1e-3) assert_true(worst < 1e-8 * (sqrt(norm) + 1e-3));
        ref_result_free(&r);
        ref_problem_free(&p);
        free(gradient);
        loss_case_free(&c);
    }
    nf_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batch_f64),
        cmocka_unit_test(batch_f32),
        cmocka_unit_test(pairs_f64),
        cmocka_unit_test(pairs_f32),
        cmocka_unit_test(rows_f64),
        cmocka_unit_test(rows_f32),
        cmocka_unit_test(reference_f64),
        cmocka_unit_test(reference_f32),
        cmocka_unit_test(presets_in_every_form),
        cmocka_unit_test(gradients_match_differences_of_the_engines_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
