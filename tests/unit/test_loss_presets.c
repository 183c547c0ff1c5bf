/* Presets, names and the check of a loss. */
#include "support.h"

#include <math.h>

static void presets_are_the_table_of_the_header(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const struct {
        const char *name;
        nf_metric metric;
        double exponent, margin, scale;
        int normalize;
        nf_reduction reduction;
    } table[] = {
        {"weston", NF_EUCLIDEAN, 2, 1, 1, 0, NF_REDUCE_MEAN},
        {"tfa", NF_EUCLIDEAN, 2, 1, 1, 0, NF_REDUCE_MEAN},
        {"drlim", NF_EUCLIDEAN, 2, 1, 0.5, 0, NF_REDUCE_MEAN},
        {"hinge", NF_SQEUCLIDEAN, 1, 1, 1, 0, NF_REDUCE_MEAN},
        {"pml", NF_EUCLIDEAN, 1, 1, 1, 1, NF_REDUCE_MEAN_NONZERO},
        {"sbert", NF_COSINE, 2, 0.5, 0.5, 0, NF_REDUCE_MEAN},
    };
    for (size_t k = 0; k < sizeof table / sizeof *table; k++) {
        nf_loss loss;
        memset(&loss, 0xA5, sizeof loss);
        assert_ok(context, nf_loss_preset(context, table[k].name, &loss));
        assert_int_equal(loss.pos_metric, table[k].metric);
        assert_int_equal(loss.neg_metric, table[k].metric);
        assert_true(loss.pos_exponent == table[k].exponent &&
                    loss.neg_exponent == table[k].exponent);
        assert_true(loss.pos_margin == 0 && loss.neg_margin == table[k].margin);
        assert_true(loss.pos_weight == 1 && loss.neg_weight == 1 && loss.scale == table[k].scale);
        assert_int_equal(loss.reduction, table[k].reduction);
        assert_int_equal(loss.stats, 0);
        if (table[k].metric != NF_COSINE) assert_int_equal(loss.normalize, table[k].normalize);
        assert_ok(context, nf_loss_check(context, &loss));
    }
    nf_loss weston = nf_loss_weston(), again;
    assert_ok(context, nf_loss_preset(context, "weston", &again));
    assert_memory_equal(&weston, &again, sizeof again);
    nf_context_free(context);
}

static void the_list_of_presets_is_complete(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    size_t count = nf_loss_presets();
    nf_loss loss;
    assert_true(count >= 5);
    for (size_t k = 0; k < count; k++) {
        assert_ok(context, nf_loss_preset(context, nf_loss_preset_name(k), &loss));
        assert_true(strlen(nf_loss_preset_formula(k)) > 5);
    }
    assert_null(nf_loss_preset_name(count));
    assert_null(nf_loss_preset_formula(count));
    assert_null(nf_loss_preset_name(SIZE_MAX));
    assert_fails(context, nf_loss_preset(context, "westen", &loss), NF_ERR_ARG, "westen");
    const char *names[] = {"weston", "tfa", "drlim", "hinge", "pml", "sbert"};
    for (size_t k = 0; k < 6; k++) {
        test_assert_contains(nf_context_error(context)->message, names[k], __FILE__, __LINE__);
    }
    nf_context_free(context);
}

static void reductions_have_names(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const char *names[] = {"mean",         "sum",  "weighted-mean", "mean-sides",
                           "mean-nonzero", "none", "mean-anchors",  "divisor"};
    for (int k = 0; k < 8; k++) {
        nf_reduction reduction;
        assert_string_equal(nf_reduction_name((nf_reduction)k), names[k]);
        assert_ok(context, nf_reduction_parse(context, names[k], &reduction));
        assert_int_equal(reduction, k);
    }
    assert_null(nf_reduction_name((nf_reduction)8));
    assert_null(nf_reduction_name((nf_reduction)-1));
    nf_reduction kept = NF_REDUCE_SUM;
    assert_fails(context, nf_reduction_parse(context, "average", &kept), NF_ERR_ARG, "average");
    assert_int_equal(kept, NF_REDUCE_SUM);
    nf_context_free(context);
}

#define REFUSED(field, bad, text)                                                             \
    do {                                                                                      \
        nf_loss loss_ = nf_loss_weston();                                                     \
        loss_.field = bad;                                                                    \
        assert_fails(context, nf_loss_check(context, &loss_), NF_ERR_ARG, #field);            \
        test_assert_contains(nf_context_error(context)->message, text, __FILE__, __LINE__);   \
        nf_loss_result result_;                                                               \
        assert_fails(context,                                                                 \
                     nf_loss_batch(context, &loss_, x, labels, &result_, (nf_matrix_out){0}), \
                     NF_ERR_ARG, #field);                                                     \
    } while (0)

static void fields_out_of_range_are_named(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    float data[4] = {1, 2, 3, 4};
    int64_t label[2] = {0, 1};
    nf_matrix x = nf_matrix_f32(data, 2, 2);
    nf_labels labels = {label, 2, 1};
    REFUSED(pos_metric, (nf_metric)5, "5");
    REFUSED(neg_metric, (nf_metric)-1, "-1");
    const double exponents[] = {0, 0.5, 0.99, 1.25, 8.5, -2, 1e300};
    for (size_t k = 0; k < 7; k++) {
        char text[32];
        snprintf(text, sizeof text, "%g", exponents[k]);
        REFUSED(pos_exponent, exponents[k], text);
        REFUSED(neg_exponent, exponents[k], text);
    }
    REFUSED(pos_exponent, NAN, "nan");
    REFUSED(neg_exponent, INFINITY, "inf");
    REFUSED(pos_margin, NAN, "nan");
    REFUSED(neg_margin, INFINITY, "inf");
    REFUSED(neg_margin, -INFINITY, "inf");
    REFUSED(pos_weight, -1, "-1");
    REFUSED(neg_weight, NAN, "nan");
    REFUSED(neg_weight, INFINITY, "inf");
    REFUSED(scale, 0, "0");
    REFUSED(scale, -2, "-2");
    REFUSED(scale, NAN, "nan");
    REFUSED(reduction, (nf_reduction)9, "9");
    REFUSED(reduction, NF_REDUCE_DIVISOR, "divisor is 0");
    REFUSED(divisor, 3, "0 unless the reduction is divisor");
    const double divisors[] = {-1, NAN, INFINITY};
    for (size_t k = 0; k < 3; k++) {
        nf_loss loss = nf_loss_weston();
        loss.reduction = NF_REDUCE_DIVISOR;
        loss.divisor = divisors[k];
        assert_fails(context, nf_loss_check(context, &loss), NF_ERR_ARG, "above 0");
    }
    for (double exponent = 1; exponent <= 8; exponent += 0.5) {
        nf_loss loss = nf_loss_weston();
        loss.pos_exponent = loss.neg_exponent = exponent;
        assert_ok(context, nf_loss_check(context, &loss));
    }
    nf_context_free(context);
}

/* The issue's own example: eq. (3) on one positive and one negative pair, by hand. */
static void presets_worked_out_by_hand(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    /* Rows at 0, 0.6 and 1 on a line: one positive at 0.6, negatives at 1 and 0.4. */
    const double data[] = {0, 0.6, 1};
    const int64_t label[] = {5, 5, 9};
    const struct {
        const char *name;
        double value;
    } table[] = {
        {"weston", (0.36 + 0 + 0.36) / 3},
        {"drlim", (0.36 + 0 + 0.36) / 6},
        {"hinge", (0.36 + 0 + 0.84) / 3},
    };
    for (size_t k = 0; k < 3; k++) {
        nf_loss loss;
        nf_loss_result r;
        assert_ok(context, nf_loss_preset(context, table[k].name, &loss));
        assert_ok(context, nf_loss_batch(context, &loss, nf_matrix_f64(data, 3, 1),
                                         (nf_labels){label, 3, 1}, &r, (nf_matrix_out){0}));
        assert_true(fabs(r.value - table[k].value) < 1e-15);
    }
    /* Unit vectors at 60 degrees: distance 1, cosine 0.5; a positive and, to the third, negatives. */
    const double unit[] = {2, 0, 1.5, 1.5 * 1.7320508075688772, 0, -3};
    const int64_t pair[] = {1, 1, 2};
    nf_loss loss;
    nf_loss_result r;
    assert_ok(context, nf_loss_preset(context, "pml", &loss));
    assert_ok(context, nf_loss_batch(context, &loss, nf_matrix_f64(unit, 3, 2),
                                     (nf_labels){pair, 3, 1}, &r, (nf_matrix_out){0}));
    assert_true(fabs(r.value - 1) < 1e-15); /* mean over non-zero: the negatives are beyond 1 */
    assert_ok(context, nf_loss_preset(context, "sbert", &loss));
    assert_ok(context, nf_loss_batch(context, &loss, nf_matrix_f64(unit, 3, 2),
                                     (nf_labels){pair, 3, 1}, &r, (nf_matrix_out){0}));
    assert_true(fabs(r.value - 0.125 / 3) < 1e-15);
    nf_context_free(context);
}

/* Equal results are equal bytes: nothing of a result is left to chance. */
static void a_result_has_no_padding(void **state) {
    (void)state;
    assert_int_equal(sizeof(nf_loss_result), 16 * sizeof(uint64_t));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_has_no_padding),
        cmocka_unit_test(presets_are_the_table_of_the_header),
        cmocka_unit_test(the_list_of_presets_is_complete),
        cmocka_unit_test(reductions_have_names),
        cmocka_unit_test(fields_out_of_range_are_named),
        cmocka_unit_test(presets_worked_out_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
