/* Margin loss with beta to learn. */
#include "support.h"

#include <math.h>

static void beta_has_the_gradient_of_differences(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    enum { N = 40, D = 5, C = 4 };
    double x[N * D];
    int64_t labels[N];
    test_random_f64(8, x, N * D, -1, 1);
    for (int r = 0; r < N; r++) labels[r] = 10 * ((r * r + r / 3) % C);
    const nf_reduction reductions[] = {NF_REDUCE_MEAN_NONZERO, NF_REDUCE_MEAN, NF_REDUCE_SUM,
                                       NF_REDUCE_DIVISOR};
    for (int k = 0; k < 16; k++) {
        nf_loss loss;
        assert_ok(context, nf_loss_preset(context, "margin", &loss));
        loss.reduction = reductions[k % 4];
        if (loss.reduction == NF_REDUCE_DIVISOR) loss.divisor = 50;
        double values[C] = {1.1, 1.25, 0.9, 1.3}, slope[C], unused[C];
        nf_margin_beta beta = {values, k < 8 ? 1 : C, k / 4 % 2 ? 0.3 : 0, slope, 0};
        nf_matrix view = nf_matrix_f64(x, N, D);
        nf_labels own = {labels, N, 1};
        nf_loss_result r, up, down;
        assert_ok(context,
                  nf_loss_margin(context, &loss, view, own, &beta, &r, (nf_matrix_out){0}));
        const double h = 1e-7;
        for (size_t c = 0; c < beta.count; c++) {
            double kept = values[c];
            beta.gradient = unused;
            values[c] = kept + h;
            assert_ok(context,
                      nf_loss_margin(context, &loss, view, own, &beta, &up, (nf_matrix_out){0}));
            values[c] = kept - h;
            assert_ok(context,
                      nf_loss_margin(context, &loss, view, own, &beta, &down, (nf_matrix_out){0}));
            values[c] = kept;
            assert_int_equal(up.active_terms, down.active_terms); /* no kink between */
            assert_true(fabs((up.value - down.value) / (2 * h) - slope[c]) <=
                        1e-6 * (1 + fabs(slope[c])));
        }
        if (beta.count > 1 || beta.nu > 0) continue;
        loss.beta = values[0];
        assert_ok(context, nf_loss_batch(context, &loss, view, own, &up, (nf_matrix_out){0}));
        assert_memory_equal(&r, &up, sizeof r);
    }
    nf_context_free(context);
}

/* One beta per class, all the same, is one beta; its gradient is the sum. */
static void equal_betas_are_one(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    float x[60];
    int64_t labels[30];
    test_random_f32(9, x, 60, -1, 1);
    test_random_labels(10, labels, 30, 0, 2);
    nf_loss loss;
    assert_ok(context, nf_loss_preset(context, "margin", &loss));
    double one = 1.2, three[3] = {1.2, 1.2, 1.2}, slope, slopes[3];
    float gradient[2][60];
    nf_loss_result r[2];
    nf_margin_beta beta[2] = {{&one, 1, 0, &slope, 0}, {three, 3, 0, slopes, 0}};
    for (int k = 0; k < 2; k++) {
        assert_ok(context, nf_loss_margin(context, &loss, nf_matrix_f32(x, 30, 2),
                                          (nf_labels){labels, 30, 1}, &beta[k], &r[k],
                                          (nf_matrix_out){gradient[k], NF_FLOAT32, 30, 2, 2}));
    }
    assert_memory_equal(&r[0], &r[1], sizeof r[0]);
    assert_memory_equal(gradient[0], gradient[1], sizeof gradient[0]);
    assert_true(fabs(slope - (slopes[0] + slopes[1] + slopes[2])) <= 1e-14);
    nf_context_free(context);
}

static void wrong_arguments_are_named(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const float x[4] = {1, 2, 3, 4};
    const int64_t labels[2] = {0, 1};
    nf_matrix view = nf_matrix_f32(x, 2, 2);
    nf_labels own = {labels, 2, 1};
    nf_loss_result r;
    nf_loss triplet, margin;
    assert_ok(context, nf_loss_preset(context, "triplet", &triplet));
    assert_ok(context, nf_loss_preset(context, "margin", &margin));
    double values[3] = {1, NAN, 2};
    nf_margin_beta beta = {values, 3, 0, NULL, 0};
    nf_matrix_out none = {0};
    assert_fails(context, nf_loss_margin(context, &margin, view, own, &beta, &r, none), NF_ERR_ARG,
                 "2 classes");
    beta.count = 2;
    assert_fails(context, nf_loss_margin(context, &margin, view, own, &beta, &r, none), NF_ERR_ARG,
                 "beta[1]");
    beta.count = 1, beta.nu = -1;
    assert_fails(context, nf_loss_margin(context, &margin, view, own, &beta, &r, none), NF_ERR_ARG,
                 "nu");
    beta.nu = 0;
    assert_fails(context, nf_loss_margin(context, &triplet, view, own, &beta, &r, none), NF_ERR_ARG,
                 "kind triplet");
    assert_fails(context, nf_loss_margin(context, &margin, view, own, NULL, &r, none), NF_ERR_ARG,
                 "beta");
    nf_context_free(context);
}

typedef struct memory_case {
    float x[40 * 3];
    int64_t labels[40];
    struct {
        nf_loss_result result;
        float gradient[40 * 3];
        double beta;
    } out;
} memory_case;

static nf_status run_once(nf_context *context, void *user) {
    memory_case *c = user;
    nf_loss loss;
    nf_status status = nf_loss_preset(context, "margin", &loss);
    if (status != NF_OK) return status;
    const double value = 1.1;
    nf_margin_beta beta = {&value, 1, 0, &c->out.beta, 0};
    return nf_loss_margin(context, &loss, nf_matrix_f32(c->x, 40, 3), (nf_labels){c->labels, 40, 1},
                          &beta, &c->out.result, nf_matrix_out_f32(c->out.gradient, 40, 3));
}

static void failed_allocations_change_nothing(void **state) {
    (void)state;
    memory_case c = {0};
    test_random_f32(1, c.x, 120, -1, 1);
    test_random_labels(2, c.labels, 40, 0, 4);
    assert_true(test_fail_every_allocation(2, run_once, &c, &c.out, sizeof c.out) > 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beta_has_the_gradient_of_differences),
        cmocka_unit_test(equal_betas_are_one),
        cmocka_unit_test(wrong_arguments_are_named),
        cmocka_unit_test(failed_allocations_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
