/* Training on pairs made offline: left, right, same. */
#include "support.h"

#include <math.h>
#include <stdbool.h>

#include "base/random.h"
#include "model_reference.h"

#define N 64
#define D 6

typedef struct pairs {
    float left[N * D], right[N * D];
    uint8_t same[N];
    double weight[N];
} pairs;

static void make_pairs(uint64_t seed, pairs *p) {
    test_random_f32(seed, p->left, N * D, 0, 1);
    test_random_f32(seed + 1, p->right, N * D, 0, 1);
    test_random_f64(seed + 2, p->weight, N, 0, 2);
    for (size_t k = 0; k < N; k++) {
        p->same[k] = (uint8_t)(nf_random(seed, 5, k) & 1);
        for (size_t c = 0; p->same[k] && c < D; c += 2) {
            p->right[k * D + c] = p->left[k * D + c] + 0.1f * (p->right[k * D + c] - 0.5f);
        }
    }
    p->same[0] = 1;
    p->same[1] = 0;
}

static nf_model *linear(nf_context *context, size_t inputs, size_t outputs, int standardize) {
    nf_model_options o = nf_model_defaults();
    o.inputs = inputs;
    o.outputs = outputs;
    o.bias = 0;
    o.standardize = standardize;
    nf_model *model = NULL;
    assert_ok(context, nf_model_create(context, &o, &model));
    return model;
}

static nf_train_options seed_options(nf_context *context) {
    nf_train_options o = nf_train_defaults();
    assert_ok(context, nf_loss_preset(context, "hinge", &o.loss));
    o.optimizer = NF_SGD;
    o.momentum = 0;
    o.weight_decay = 0;
    o.schedule = NF_SCHEDULE_CONSTANT;
    o.sampling = NF_SAMPLE_ALL;
    return o;
}

/* One SGD step in double of mean(y d2 + (1 - y) relu(margin - d2)), d2 = |W l - W r|^2, W (out, in):
 * dL/dW = mean of 2 (y - (1 - y) [d2 < margin]) W (l - r) (l - r)'. Returns the loss before. */
static double sgd_step(double *w, size_t out, size_t in, const pairs *p, double margin,
                       const double *weight, double lr) {
    double gradient[8 * D] = {0}, loss = 0;
    for (size_t k = 0; k < N; k++) {
        double u[D], z[8] = {0}, d2 = 0;
        for (size_t c = 0; c < in; c++) {
            u[c] = (double)p->left[k * in + c] - (double)p->right[k * in + c];
        }
        for (size_t o = 0; o < out; o++) {
            for (size_t c = 0; c < in; c++) z[o] += w[o * in + c] * u[c];
            d2 += z[o] * z[o];
        }
        double y = p->same[k], factor = weight != NULL ? weight[k] : 1;
        loss += factor * (y * d2 + (1 - y) * fmax(margin - d2, 0)) / N;
        double slope = factor * (y - (1 - y) * (d2 < margin)) / N;
        for (size_t o = 0; o < out; o++) {
            for (size_t c = 0; c < in; c++) gradient[o * in + c] += 2 * slope * z[o] * u[c];
        }
    }
    for (size_t i = 0; i < out * in; i++) w[i] -= lr * gradient[i];
    return loss;
}

static void check_against_formula(size_t in, size_t out, double margin, bool weighted) {
    nf_context *context = test_context(2);
    pairs p;
    make_pairs(20 + in, &p);
    nf_model *model = linear(context, in, out, 0);
    double *w = reference_parameters(model), loss = 0, first = 0;
    const double *weight = weighted ? p.weight : NULL;
    for (int step = 0; step < 25; step++) {
        loss = sgd_step(w, out, in, &p, margin, weight, 0.2);
        if (step == 0) first = loss;
    }
    nf_train_options o = seed_options(context);
    o.loss.neg_margin = margin;
    o.lr = 0.2;
    o.epochs = 25;
    nf_train_report report;
    assert_ok(context, nf_train_rows(context, model, nf_matrix_f32(p.left, N, in),
                                     nf_matrix_f32(p.right, N, in), p.same, weight, &o, NULL, NULL,
                                     &report));
    const float *got = nf_model_weight(model, 0, NULL, NULL);
    double error = 0, norm = 0;
    for (size_t i = 0; i < out * in; i++) {
        error += pow((double)got[i] - w[i], 2);
        norm += w[i] * w[i];
    }
    assert_true(sqrt(error) <= 2e-5 * sqrt(norm));
    assert_true(fabs(report.first_loss - first) <= 1e-5 * first);
    assert_true(fabs(report.last_loss - loss) <= 1e-4 * loss && loss < first);
    assert_int_equal(report.steps, 25);
    free(w);
    nf_model_free(context, model);
    nf_context_free(context);
}

/* The recipe left W, right W, relu(margin - d2), mean, for columns and for shape (n, 1). */
static void steps_equal_the_formula(void **state) {
    (void)state;
    check_against_formula(D, 3, 1, false);
    check_against_formula(D, 8, 0.5, true);
    check_against_formula(1, 1, 1, false);
    check_against_formula(1, 4, 0.2, true);
}

static void batches_see_every_pair_once(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    pairs p;
    make_pairs(40, &p);
    /* 64 pairs in steps of 10: six whole steps, the last four folded into the sixth */
    const struct {
        size_t batch, steps;
    } cases[] = {{10, 6}, {12, 5}, {11, 6}, {64, 1}, {1000, 1}, {40, 2}, {50, 1}, {2, 32}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        nf_model *model = linear(context, D, 3, 1);
        nf_train_options o = seed_options(context);
        o.sampling = NF_SAMPLE_M_PER_CLASS;
        o.batch_size = cases[i].batch;
        o.epochs = 2;
        nf_train_report report;
        assert_ok(context, nf_train_rows(context, model, nf_matrix_f32(p.left, N, D),
                                         nf_matrix_f32(p.right, N, D), p.same, NULL, &o, NULL, NULL,
                                         &report));
        assert_int_equal(report.steps, 2 * cases[i].steps);
        assert_int_equal(report.train_rows, N);
        assert_int_equal(report.has_validation, 0);
        assert_string_equal(nf_model_metadata(model, "train.data"), "pairs");
        nf_model_free(context, model);
    }
    nf_context_free(context);
}

/* Without any trick the standardisation of left and right is that of both together. */
static void standardisation_covers_both_sides(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    pairs p;
    make_pairs(50, &p);
    float both[2 * N * D];
    memcpy(both, p.left, sizeof p.left);
    memcpy(both + N * D, p.right, sizeof p.right);
    nf_model *model = linear(context, D, 3, 1), *other = linear(context, D, 3, 1);
    nf_train_options o = seed_options(context);
    o.epochs = 1;
    assert_ok(context,
              nf_train_rows(context, model, nf_matrix_f32(p.left, N, D),
                            nf_matrix_f32(p.right, N, D), p.same, NULL, &o, NULL, NULL, NULL));
    assert_ok(context, nf_model_fit_standardization(context, other, nf_matrix_f32(both, 2 * N, D)));
    assert_memory_equal(nf_model_mean(model), nf_model_mean(other), D * sizeof(double));
    assert_memory_equal(nf_model_std(model), nf_model_std(other), D * sizeof(double));
    nf_model_free(context, model);
    nf_model_free(context, other);
    nf_context_free(context);
}

typedef struct told {
    char text[1024];
} told;

static int listen(void *user, const nf_train_event *event) {
    told *t = user;
    if (event->warning != NULL) snprintf(t->text, sizeof t->text, "%s", event->warning);
    return 0;
}

static void reversed_flags_are_told(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    pairs p;
    make_pairs(60, &p);
    for (int reversed = 0; reversed < 2; reversed++) {
        nf_model *model = linear(context, D, 3, 1);
        nf_train_options o = seed_options(context);
        o.epochs = 1;
        told t = {""};
        assert_ok(context,
                  nf_train_rows(context, model, nf_matrix_f32(p.left, N, D),
                                nf_matrix_f32(p.right, N, D), p.same, NULL, &o, listen, &t, NULL));
        assert_int_equal(strstr(t.text, "labels look reversed") != NULL, reversed);
        for (size_t k = 0; k < N; k++) p.same[k] = !p.same[k];
        nf_model_free(context, model);
    }
    nf_context_free(context);
}

static void bad_pairs_are_refused(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    pairs p;
    make_pairs(70, &p);
    nf_model *model = linear(context, D, 3, 0);
    nf_matrix left = nf_matrix_f32(p.left, N, D), right = nf_matrix_f32(p.right, N, D);
#define REFUSED(status, text, l, r, same, weight)                                           \
    assert_fails(context,                                                                   \
                 nf_train_rows(context, model, l, r, same, weight, NULL, NULL, NULL, NULL), \
                 status, text)
    nf_matrix fewer = nf_matrix_f32(p.right, N - 1, D), narrow = nf_matrix_f32(p.left, N, D - 1);
    REFUSED(NF_ERR_ARG, "right has 63 rows and left 64", left, fewer, p.same, NULL);
    REFUSED(NF_ERR_ARG, "left has 5 columns: the model takes 6", narrow, right, p.same, NULL);
    REFUSED(NF_ERR_ARG, "same is NULL", left, right, NULL, NULL);
    p.same[9] = 255;
    REFUSED(NF_ERR_ARG, "same[9] is 255", left, right, p.same, NULL);
    p.same[9] = 1;
    p.weight[3] = -1;
    REFUSED(NF_ERR_ARG, "weight[3] is -1", left, right, p.same, p.weight);
    p.right[7] = NAN;
    REFUSED(NF_ERR_DATA, "right has 1 NaN", left, right, p.same, NULL);
    p.right[7] = 0;
    memset(p.same, 1, sizeof p.same);
    REFUSED(NF_ERR_DATA, "all 64 pairs are positive: contrastive loss has no negative pairs", left,
            right, p.same, NULL);
    memset(p.same, 0, sizeof p.same);
    REFUSED(NF_ERR_DATA, "all 64 pairs are negative: contrastive loss has no positive pairs", left,
            right, p.same, NULL);
    nf_matrix one = nf_matrix_f32(p.left, 1, D);
    REFUSED(NF_ERR_DATA, "1 pair", one, one, p.same, NULL);
#undef REFUSED
    nf_model_free(context, model);
    nf_context_free(context);
}

typedef struct memory_job {
    pairs p;
    float out[D * 3];
} memory_job;

static nf_status memory_body(nf_context *context, void *user) {
    memory_job *job = user;
    nf_model_options mo = nf_model_defaults();
    mo.inputs = D;
    mo.outputs = 3;
    mo.bias = 0;
    nf_model *model = NULL;
    nf_train_options o = nf_train_defaults();
    o.epochs = 2;
    o.batch_size = 20;
    nf_status status = nf_model_create(context, &mo, &model);
    if (status == NF_OK) {
        status = nf_train_rows(context, model, nf_matrix_f32(job->p.left, N, D),
                               nf_matrix_f32(job->p.right, N, D), job->p.same, job->p.weight, &o,
                               NULL, NULL, NULL);
    }
    if (status == NF_OK) {
        memcpy(job->out, nf_model_weight(model, 0, NULL, NULL), sizeof job->out);
    }
    nf_model_free(context, model);
    return status;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    memory_job job;
    make_pairs(80, &job.p);
    assert_true(test_fail_every_allocation(2, memory_body, &job, job.out, sizeof job.out) > 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_equal_the_formula),
        cmocka_unit_test(batches_see_every_pair_once),
        cmocka_unit_test(standardisation_covers_both_sides),
        cmocka_unit_test(reversed_flags_are_told),
        cmocka_unit_test(bad_pairs_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
