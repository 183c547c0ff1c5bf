/* Triplet and margin losses: degenerate batches, large counts, arguments and memory. */
#include "support.h"

#include <math.h>

static void degenerate_batches_are_zero(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const char *names[] = {"triplet", "tfa-semihard", "tfa-hard", "margin"};
    const float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const int64_t labels[3][4] = {{0, 1, 2, 3}, {7, 7, 7, 7}, {-1, -1, 2, -1}};
    for (int k = 0; k < 4; k++) {
        nf_loss loss;
        assert_ok(context, nf_loss_preset(context, names[k], &loss));
        for (int l = 0; l < 3; l++) {
            for (size_t n = 0; n <= 4; n++) {
                float gradient[8] = {9, 9, 9, 9, 9, 9, 9, 9};
                nf_loss_result r;
                nf_matrix view = {x, NF_FLOAT32, n, 2, 2};
                nf_matrix_out out = {gradient, NF_FLOAT32, n, 2, 2};
                assert_ok(context, nf_loss_batch(context, &loss, view, (nf_labels){labels[l], n, 1},
                                                 &r, out));
                assert_true(r.value == 0 && r.terms == 0 && r.active_terms == 0);
                for (size_t e = 0; e < 2 * n; e++) assert_true(gradient[e] == 0);
            }
        }
    }
    /* All rows coincide: every triplet violates by the margin, and no gradient can part them. */
    const float same[6] = {1, 1, 1, 1, 1, 1};
    const int64_t two[3] = {0, 0, 1};
    float gradient[6];
    nf_loss loss;
    nf_loss_result r;
    assert_ok(context, nf_loss_preset(context, "triplet", &loss));
    assert_ok(context,
              nf_loss_batch(context, &loss, nf_matrix_f32(same, 3, 2), (nf_labels){two, 3, 1}, &r,
                            (nf_matrix_out){gradient, NF_FLOAT32, 3, 2, 2}));
    assert_true(fabs(r.value - 0.05) < 1e-15 && r.terms == 2 && r.active_terms == 2);
    assert_int_equal(r.coincident_negatives, 2);
    for (int e = 0; e < 6; e++) assert_true(gradient[e] == 0);
    nf_context_free(context);
}

/* Two classes of 1500 make 6.7e9 triplets: more than 32 bits count. On a line with the classes apart
 * by less than the margin, every triplet is active and the sum is known in closed form. */
static void counts_have_64_bits(void **state) {
    (void)state;
    nf_context *context = test_context(0);
    enum { HALF = 1500 };
    float *x = calloc(2 * HALF, sizeof *x);
    int64_t *labels = calloc(2 * HALF, sizeof *labels);
    for (int r = 0; r < HALF; r++) x[HALF + r] = 0.25f, labels[HALF + r] = 1;
    nf_loss loss;
    nf_loss_result r;
    assert_ok(context, nf_loss_preset(context, "triplet", &loss));
    loss.normalize = 0;
    loss.neg_margin = 1;
    loss.reduction = NF_REDUCE_SUM;
    assert_ok(context, nf_loss_batch(context, &loss, nf_matrix_f32(x, 2 * HALF, 1),
                                     (nf_labels){labels, 2 * HALF, 1}, &r, (nf_matrix_out){0}));
    uint64_t triplets = (uint64_t)2 * HALF * (HALF - 1) * HALF;
    assert_true(triplets > UINT32_MAX);
    assert_int_equal(r.terms, triplets);
    assert_int_equal(r.active_terms, triplets);
    assert_true(fabs(r.value / (0.75 * (double)triplets) - 1) < 1e-12);
    free(x), free(labels);
    nf_context_free(context);
}

static void wrong_arguments_are_named(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const float x[4] = {1, 2, 3, 4};
    const int64_t i[1] = {0}, j[1] = {1};
    const uint8_t same[1] = {1};
    nf_matrix view = nf_matrix_f32(x, 2, 2);
    nf_loss_result r;
    nf_loss triplet, margin, loss;
    assert_ok(context, nf_loss_preset(context, "triplet", &triplet));
    assert_ok(context, nf_loss_preset(context, "margin", &margin));
    nf_pairs pairs = {1, i, j, same, NULL};
    assert_fails(context,
                 nf_loss_pairs(context, &triplet, view, pairs, NULL, &r, (nf_matrix_out){0}),
                 NF_ERR_ARG, "triplet");
    loss = triplet, loss.reduction = NF_REDUCE_MEAN_SIDES;
    assert_fails(context, nf_loss_check(context, &loss), NF_ERR_ARG, "mean-sides");
    loss = triplet, loss.pos_metric = NF_DOT;
    assert_fails(context, nf_loss_check(context, &loss), NF_ERR_ARG, "pos_metric");
    loss = triplet, loss.neg_margin = NAN;
    assert_fails(context, nf_loss_check(context, &loss), NF_ERR_ARG, "neg_margin");
    loss = triplet, loss.pos_margin = 1;
    assert_fails(context, nf_loss_check(context, &loss), NF_ERR_ARG, "pos_margin");
    loss = triplet, loss.triplets = (nf_triplets)3;
    assert_fails(context, nf_loss_check(context, &loss), NF_ERR_ARG, "triplets");
    loss = margin, loss.triplets = NF_TRIPLETS_HARD;
    assert_fails(context, nf_loss_check(context, &loss), NF_ERR_ARG, "triplets");
    nf_context_free(context);
}

typedef struct memory_case {
    int form;
    float x[40 * 3];
    int64_t labels[40];
    struct {
        nf_loss_result result;
        float gradient[40 * 3], other[40 * 3];
    } out;
} memory_case;

static nf_status run_once(nf_context *context, void *user) {
    memory_case *c = user;
    nf_loss loss;
    nf_matrix x = {c->x, NF_FLOAT32, 40, 3, 3};
    nf_labels labels = {c->labels, 40, 1};
    nf_matrix_out first = {c->out.gradient, NF_FLOAT32, 40, 3, 3};
    nf_matrix_out second = {c->out.other, NF_FLOAT32, 40, 3, 3};
    nf_status status = nf_loss_preset(context, "triplet", &loss);
    if (status != NF_OK) return status;
    if (c->form == 0) return nf_loss_batch(context, &loss, x, labels, &c->out.result, first);
    nf_loss_sets sets = {x, x, labels, labels, c->labels, c->labels};
    return nf_loss_reference(context, &loss, &sets, &c->out.result, first, second);
}

static void failed_allocations_change_nothing(void **state) {
    (void)state;
    for (int form = 0; form < 2; form++) {
        memory_case c = {.form = form};
        test_random_f32(1, c.x, 120, -1, 1);
        test_random_labels(2, c.labels, 40, 0, 4);
        assert_true(test_fail_every_allocation(2, run_once, &c, &c.out, sizeof c.out) > 8);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(degenerate_batches_are_zero),
        cmocka_unit_test(counts_have_64_bits),
        cmocka_unit_test(wrong_arguments_are_named),
        cmocka_unit_test(failed_allocations_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
