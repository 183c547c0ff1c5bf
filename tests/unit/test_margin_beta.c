/* Betas of the margin loss that are found by label. */
#include "support.h"

#include <math.h>

enum { N = 30, D = 3, LABELS = 6 };

typedef struct labelled_case {
    float x[N * D];
    int64_t labels[N];
    struct {
        nf_loss_result result;
        float gradient[N * D], other[N * D];
        double beta[LABELS];
    } out;
} labelled_case;

static const double betas[LABELS] = {1.1, 0.9, 1.3, 1.0, 1.2, 0.8};

/* Labels 1, 2, 3 and 5, none of 0 and 4; the first row's is 5. */
static void fill(labelled_case *c) {
    static const int64_t some[4] = {5, 3, 1, 2};
    test_random_f32(1, c->x, N * D, -1, 1);
    for (int r = 0; r < N; r++) c->labels[r] = some[(r + r / 7) % 4];
}

static nf_status run_by_label(nf_context *context, void *user) {
    labelled_case *c = user;
    nf_loss loss;
    nf_status status = nf_loss_preset(context, "margin", &loss);
    if (status != NF_OK) return status;
    const nf_margin_beta beta = {betas, LABELS, 0.1, c->out.beta, 1};
    return nf_loss_margin(context, &loss, nf_matrix_f32(c->x, N, D), (nf_labels){c->labels, N, 1},
                          &beta, &c->out.result,
                          (nf_matrix_out){c->out.gradient, NF_FLOAT32, N, D, D});
}

static void betas_by_label_are_those_of_the_classes(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    labelled_case by_label = {0}, by_class = {0};
    fill(&by_label);
    fill(&by_class);
    by_label.out.beta[0] = by_label.out.beta[4] = 7; /* written all the same */
    assert_ok(context, run_by_label(context, &by_label));

    nf_loss loss;
    assert_ok(context, nf_loss_preset(context, "margin", &loss));
    const double in_order[4] = {betas[5], betas[3], betas[1], betas[2]};
    const nf_margin_beta beta = {in_order, 4, 0.1, by_class.out.beta, 0};
    assert_ok(context,
              nf_loss_margin(context, &loss, nf_matrix_f32(by_class.x, N, D),
                             (nf_labels){by_class.labels, N, 1}, &beta, &by_class.out.result,
                             (nf_matrix_out){by_class.out.gradient, NF_FLOAT32, N, D, D}));
    assert_true(by_class.out.result.active_terms > 0);
    assert_memory_equal(&by_label.out.result, &by_class.out.result, sizeof by_class.out.result);
    assert_memory_equal(by_label.out.gradient, by_class.out.gradient, sizeof by_class.out.gradient);
    const double *slope = by_label.out.beta, *expected = by_class.out.beta;
    assert_true(slope[5] == expected[0] && slope[3] == expected[1] && slope[1] == expected[2] &&
                slope[2] == expected[3] && slope[5] != 0);
    assert_true(slope[0] == 0 && slope[4] == 0);
    nf_context_free(context);
}

static void labels_without_a_beta_are_refused(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    labelled_case c = {0};
    fill(&c);
    c.labels[9] = LABELS;
    assert_fails(context, run_by_label(context, &c), NF_ERR_ARG, "label 6 has no beta");
    c.labels[9] = -2;
    assert_fails(context, run_by_label(context, &c), NF_ERR_ARG, "label -2 has no beta");
    c.labels[9] = -1; /* unlabelled */
    assert_ok(context, run_by_label(context, &c));
    nf_context_free(context);
}

/* ---- query x reference -------------------------------------------------------------------------- */

static nf_status run_reference(nf_context *context, void *user) {
    labelled_case *c = user;
    nf_loss loss;
    nf_status status = nf_loss_preset(context, "margin", &loss);
    if (status != NF_OK) return status;
    const nf_matrix x = nf_matrix_f32(c->x, N, D);
    const nf_labels labels = {c->labels, N, 1};
    int64_t ids[N];
    for (int r = 0; r < N; r++) ids[r] = r;
    const nf_loss_sets sets = {x, x, labels, labels, ids, ids};
    const nf_margin_beta beta = {betas, LABELS, 0.1, c->out.beta, 1};
    return nf_loss_margin_reference(context, &loss, &sets, &beta, &c->out.result,
                                    (nf_matrix_out){c->out.gradient, NF_FLOAT32, N, D, D},
                                    (nf_matrix_out){c->out.other, NF_FLOAT32, N, D, D});
}

/* A set against itself, without pairs of a row with itself, is the batch. */
static void a_set_against_itself_is_the_batch(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    labelled_case batch = {0}, sets = {0};
    fill(&batch);
    fill(&sets);
    assert_ok(context, run_by_label(context, &batch));
    assert_ok(context, run_reference(context, &sets));
    assert_true(fabs(sets.out.result.value - batch.out.result.value) <= 1e-12);
    assert_int_equal(sets.out.result.terms, batch.out.result.terms);
    for (int k = 0; k < LABELS; k++) {
        assert_true(fabs(sets.out.beta[k] - batch.out.beta[k]) <= 1e-12);
    }
    for (int e = 0; e < N * D; e++) {
        const float sum = sets.out.gradient[e] + sets.out.other[e];
        assert_true(fabsf(sum - batch.out.gradient[e]) <= 1e-6f);
    }
    nf_context_free(context);
}

static void references_of_another_kind_are_refused(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    labelled_case c = {0};
    fill(&c);
    nf_loss triplet;
    nf_loss_result r;
    const nf_matrix x = nf_matrix_f32(c.x, N, D);
    const nf_labels labels = {c.labels, N, 1};
    const nf_loss_sets sets = {x, x, labels, labels, NULL, NULL};
    const nf_matrix_out none = {0};
    const nf_margin_beta beta = {betas, LABELS, 0, NULL, 1};
    assert_ok(context, nf_loss_preset(context, "triplet", &triplet));
    assert_fails(context, nf_loss_margin_reference(context, &triplet, &sets, &beta, &r, none, none),
                 NF_ERR_ARG, "kind triplet");
    nf_loss margin;
    assert_ok(context, nf_loss_preset(context, "margin", &margin));
    assert_fails(context, nf_loss_margin_reference(context, &margin, NULL, &beta, &r, none, none),
                 NF_ERR_ARG, "sets");
    assert_fails(context, nf_loss_margin_reference(context, &margin, &sets, NULL, &r, none, none),
                 NF_ERR_ARG, "beta");
    nf_context_free(context);
}

static void failed_allocations_change_nothing(void **state) {
    (void)state;
    const test_body_fn forms[] = {run_by_label, run_reference};
    for (int form = 0; form < 2; form++) {
        labelled_case c = {0};
        fill(&c);
        assert_true(test_fail_every_allocation(2, forms[form], &c, &c.out, sizeof c.out) > 8);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(betas_by_label_are_those_of_the_classes),
        cmocka_unit_test(labels_without_a_beta_are_refused),
        cmocka_unit_test(a_set_against_itself_is_the_batch),
        cmocka_unit_test(references_of_another_kind_are_refused),
        cmocka_unit_test(failed_allocations_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
