/* The model: values, gradients, standardisation, limits. */
#include "support.h"

#include <math.h>

#include "base/base.h"
#include "model/model.h"
#include "model_reference.h"

#define N 37
#define D 11

typedef struct shape {
    size_t hidden[2], hidden_layers, outputs;
    nf_activation activation;
    int bias, normalize;
} shape;

static const shape shapes[] = {
    {{0}, 0, 1, NF_RELU, 0, 0},     {{0}, 0, 7, NF_RELU, 1, 0},    {{0}, 0, 7, NF_RELU, 0, 1},
    {{13}, 1, 5, NF_RELU, 1, 0},    {{13}, 1, 5, NF_TANH, 1, 0},   {{9, 17}, 2, 3, NF_TANH, 1, 1},
    {{9, 17}, 2, 3, NF_RELU, 0, 1}, {{1, 1}, 2, 1, NF_TANH, 1, 0},
};
#define SHAPES (sizeof shapes / sizeof shapes[0])

static nf_model_options options_of(const shape *s, size_t inputs, int standardize) {
    nf_model_options o = nf_model_defaults();
    o.inputs = inputs;
    memcpy(o.hidden, s->hidden, sizeof s->hidden);
    o.hidden_layers = s->hidden_layers;
    o.outputs = s->outputs;
    o.activation = s->activation;
    o.bias = s->bias;
    o.normalize = s->normalize;
    o.standardize = standardize;
    o.seed = 7;
    return o;
}

/* A model whose biases are not all 0. */
static nf_model *make_model(nf_context *context, const shape *s, int standardize) {
    nf_model_options o = options_of(s, D, standardize);
    nf_model *model = NULL;
    assert_ok(context, nf_model_create(context, &o, &model));
    for (size_t l = 0; s->bias && l < nf_model_layers(model); l++) {
        size_t out;
        float bias[32];
        (void)nf_model_weight(model, l, &out, NULL);
        test_random_f32(50 + l, bias, out, -0.5, 0.5);
        assert_ok(context, nf_model_set_layer(context, model, l, NULL, bias));
    }
    return model;
}

static void embedding_equals_the_formula(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    double x[N * D];
    test_random_f64(1, x, N * D, -3, 5);
    for (size_t s = 0; s < SHAPES; s++) {
        nf_model *model = make_model(context, &shapes[s], 1);
        assert_ok(context, nf_model_fit_standardization(context, model, nf_matrix_f64(x, N, D)));
        size_t k = shapes[s].outputs;
        float y[N * 7];
        assert_ok(context, nf_model_embed(context, model, nf_matrix_f64(x, N, D),
                                          nf_matrix_out_f32(y, N, k)));
        double *p = reference_parameters(model);
        for (size_t r = 0; r < N; r++) {
            double z[D], expected[7];
            for (size_t c = 0; c < D; c++) {
                z[c] = (x[r * D + c] - nf_model_mean(model)[c]) / nf_model_std(model)[c];
            }
            reference_embed(model, p, z, expected);
            for (size_t c = 0; c < k; c++) {
                assert_true(fabs((double)y[r * k + c] - expected[c]) <= 4e-6);
            }
        }
        free(p);
        nf_model_free(context, model);
    }
    nf_context_free(context);
}

/* A row alone, among others, in another block, with padding columns and on other threads and
 * instruction sets has the same bits. */
static void bits_of_a_row_depend_on_the_row_only(void **state) {
    (void)state;
    enum { ROWS = 2100, LD = D + 3 };
    float *x = malloc(ROWS * LD * sizeof *x), *all = malloc(ROWS * 7 * sizeof *all);
    test_random_f32(2, x, ROWS * LD, -3, 5);
    for (size_t s = 0; s < SHAPES; s++) {
        size_t k = shapes[s].outputs;
        for (int threads = 1; threads <= 3; threads++) {
            for (nf_isa isa = NF_ISA_AUTO; isa <= NF_ISA_NEON; isa++) {
                nf_context_options o = {.threads = threads, .isa = isa};
                nf_context *context;
                if (nf_context_create(&context, &o, NULL) != NF_OK) continue;
                nf_model *model = make_model(context, &shapes[s], 1);
                nf_matrix view = {x, NF_FLOAT32, ROWS, D, LD};
                if (threads == 1 && isa == NF_ISA_AUTO) {
                    assert_ok(context, nf_model_embed(context, model, view,
                                                      nf_matrix_out_f32(all, ROWS, k)));
                }
                for (size_t r = 0; r < ROWS; r += 397) {
                    float one[7];
                    nf_matrix row = {x + r * LD, NF_FLOAT32, 1, D, LD};
                    assert_ok(context,
                              nf_model_embed(context, model, row, nf_matrix_out_f32(one, 1, k)));
                    assert_memory_equal(one, all + r * k, k * sizeof *one);
                }
                float *again = malloc(ROWS * 7 * sizeof *again);
                assert_ok(context,
                          nf_model_embed(context, model, view, nf_matrix_out_f32(again, ROWS, k)));
                assert_memory_equal(again, all, ROWS * k * sizeof *again);
                free(again);
                nf_model_free(context, model);
                nf_context_free(context);
            }
        }
    }
    free(x);
    free(all);
}

/* f(p) = sum_rk g_rk y_rk(p) in double. */
static double functional(const nf_model *model, const double *p, const float *x, const float *g) {
    size_t k = nf_model_get_options(model)->outputs;
    double sum = 0;
    for (size_t r = 0; r < N; r++) {
        double z[D], y[7];
        for (size_t c = 0; c < D; c++) z[c] = (double)x[r * D + c];
        reference_embed(model, p, z, y);
        for (size_t c = 0; c < k; c++) sum += (double)g[r * k + c] * y[c];
    }
    return sum;
}

/* Parameter gradients of the whole stack against central differences of the double oracle, with
 * Richardson extrapolation. relu kinks are avoided by a step far below any pre-activation. */
static void gradient_equals_finite_differences(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    float x[N * D], g[N * 7];
    test_random_f32(3, x, N * D, -1, 1);
    test_random_f32(4, g, N * 7, -1, 1);
    for (size_t s = 0; s < SHAPES; s++) {
        nf_model *model = make_model(context, &shapes[s], 0);
        nf_scope scope = nf_scope_enter(context);
        nf_activations a;
        assert_ok(context, nf_activations_scratch(context, model, N, true, &a));
        assert_ok(context,
                  nf_model_gather(context, NULL, NULL, nf_matrix_f32(x, N, D), NULL, N, &a, 0));
        assert_ok(context, nf_model_forward(context, model, model->parameter, &a, N));
        memcpy(a.gradient[0], g, N * shapes[s].outputs * sizeof *g);
        float *gradient = malloc(model->parameters * sizeof *gradient);
        assert_ok(context, nf_model_backward(context, model, model->parameter, &a, N, gradient));

        double *p = reference_parameters(model), error = 0, norm = 0;
        for (size_t i = 0; i < model->parameters; i++) {
            double kept = p[i], d[2], h = 1e-5;
            for (int half = 0; half < 2; half++, h /= 2) {
                p[i] = kept + h;
                double up = functional(model, p, x, g);
                p[i] = kept - h;
                d[half] = (up - functional(model, p, x, g)) / (2 * h);
            }
            p[i] = kept;
            double expected = (4 * d[1] - d[0]) / 3, miss = (double)gradient[i] - expected;
            error += miss * miss;
            norm += expected * expected;
        }
        assert_true(norm > 0);
        if (!(sqrt(error) <= 1e-5 * sqrt(norm))) {
            fail_msg("shape %zu: relative error %g", s, sqrt(error / norm));
        }
        free(p);
        free(gradient);
        assert_int_equal(nf_scope_leave(context, scope, NF_OK), NF_OK);
        nf_model_free(context, model);
    }
    nf_context_free(context);
}

/* A zero row under normalisation: embedding 0, gradient 0, no NaN; rows far from 1 keep a unit
 * embedding. */
static void normalisation_of_zero_and_extreme_rows(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    nf_model_options o = nf_model_defaults();
    o.inputs = o.outputs = 2;
    o.bias = o.standardize = 0;
    o.normalize = 1;
    nf_model *model = NULL;
    assert_ok(context, nf_model_create(context, &o, &model));
    const float identity[4] = {1, 0, 0, 1};
    assert_ok(context, nf_model_set_layer(context, model, 0, identity, NULL));
    const float x[] = {0, 0, 3e-30f, 4e-30f, 3e30f, -4e30f, -0.0f, 1e-44f};
    float y[8], expected[8] = {0, 0, 0.6f, 0.8f, 0.6f, -0.8f, -0.0f, 1};
    assert_ok(context,
              nf_model_embed(context, model, nf_matrix_f32(x, 4, 2), nf_matrix_out_f32(y, 4, 2)));
    for (size_t i = 0; i < 8; i++) assert_true(fabsf(y[i] - expected[i]) <= 1e-7f);

    nf_scope scope = nf_scope_enter(context);
    nf_activations a;
    float gradient[4];
    assert_ok(context, nf_activations_scratch(context, model, 1, true, &a));
    a.h[0][0] = a.h[0][1] = 0;
    assert_ok(context, nf_model_forward(context, model, model->parameter, &a, 1));
    a.gradient[0][0] = a.gradient[0][1] = 1;
    assert_ok(context, nf_model_backward(context, model, model->parameter, &a, 1, gradient));
    for (size_t i = 0; i < 4; i++) assert_true(gradient[i] == 0);
    assert_int_equal(nf_scope_leave(context, scope, NF_OK), NF_OK);
    nf_model_free(context, model);
    nf_context_free(context);
}

static void standardisation_ignores_the_unit(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const shape linear = {{0}, 0, 7, NF_RELU, 1, 0};
    double x[N * D], scaled[N * D];
    float y[N * 7], other[N * 7];
    test_random_f64(5, x, N * D, 0, 16);
    for (size_t r = 0; r < N; r++) x[r * D] = 4; /* a constant column */
    const double units[] = {1, 1.0 / 16, 1000, 1e-150, 1e150};
    for (size_t u = 0; u < 5; u++) {
        for (size_t i = 0; i < N * D; i++) scaled[i] = x[i] * units[u];
        nf_model *model = make_model(context, &linear, 1);
        nf_matrix view = nf_matrix_f64(scaled, N, D);
        assert_ok(context, nf_model_fit_standardization(context, model, view));
        assert_true(nf_model_mean(model)[0] == scaled[0]);
        assert_ok(context, nf_model_embed(context, model, view,
                                          nf_matrix_out_f32(u == 0 ? y : other, N, 7)));
        for (size_t i = 0; u > 0 && i < N * 7; i++) assert_true(fabsf(y[i] - other[i]) <= 2e-6f);
        nf_model_free(context, model);
    }
    nf_context_free(context);
}

static void initial_weights_depend_on_the_seed_only(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const shape s = {{64}, 1, 32, NF_RELU, 1, 0};
    nf_model_options o = options_of(&s, 100, 1);
    nf_model *a = NULL, *b = NULL, *c = NULL;
    assert_ok(context, nf_model_create(context, &o, &a));
    assert_ok(context, nf_model_create(context, &o, &b));
    o.seed++;
    assert_ok(context, nf_model_create(context, &o, &c));
    assert_memory_equal(a->parameter, b->parameter, a->parameters * sizeof(float));
    assert_memory_not_equal(a->parameter, c->parameter, a->parameters * sizeof(float));
    assert_int_equal(nf_model_parameters(a), 100 * 64 + 64 + 64 * 32 + 32);
    size_t out, in;
    for (size_t l = 0; l < 2; l++) {
        const float *w = nf_model_weight(a, l, &out, &in);
        double bound = l == 0 ? sqrt(6.0 / 100) : sqrt(1.5 / (64 * 32)), sum = 0, most = 0;
        for (size_t i = 0; i < out * in; i++) {
            sum += (double)w[i];
            most = fmax(most, fabs((double)w[i]));
        }
        assert_true(most <= bound * 1.0000001 && most > bound * 0.99);
        assert_true(fabs(sum) / (double)(out * in) < bound * 0.05);
        for (size_t i = 0; i < out; i++) assert_true(nf_model_bias(a, l)[i] == 0);
    }
    assert_null(nf_model_weight(a, 2, NULL, NULL));
    nf_model_free(context, a);
    nf_model_free(context, b);
    nf_model_free(context, c);
    nf_model_free(context, NULL);
    nf_context_free(context);
}

static void bad_arguments_are_named(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    nf_model_options o = nf_model_defaults();
    nf_model *model = NULL;
    assert_fails(context, nf_model_create(context, &o, &model), NF_ERR_ARG, "inputs is 0");
    o.inputs = D;
    o.outputs = 0;
    assert_fails(context, nf_model_create(context, &o, &model), NF_ERR_ARG, "outputs");
    o.outputs = 3;
    o.hidden_layers = 17;
    assert_fails(context, nf_model_create(context, &o, &model), NF_ERR_ARG, "hidden_layers is 17");
    o.hidden_layers = 1;
    assert_fails(context, nf_model_create(context, &o, &model), NF_ERR_ARG, "hidden[0] is 0");
    o.hidden[0] = SIZE_MAX / 4;
    assert_fails(context, nf_model_create(context, &o, &model), NF_ERR_RANGE, "address space");
    o.hidden[0] = 4;
    o.activation = (nf_activation)9;
    assert_fails(context, nf_model_create(context, &o, &model), NF_ERR_ARG, "activation is 9");
    assert_null(model);
    o.activation = NF_TANH;
    o.bias = o.standardize = 0;
    assert_ok(context, nf_model_create(context, &o, &model));

    float x[2 * D] = {0}, y[6], bias[4] = {0}, weight[4 * D] = {0};
    nf_matrix view = nf_matrix_f32(x, 2, D);
    assert_fails(context, nf_model_fit_standardization(context, model, view), NF_ERR_ARG,
                 "standardize = 0");
    assert_fails(context, nf_model_set_layer(context, model, 2, weight, NULL), NF_ERR_ARG,
                 "layer is 2");
    assert_fails(context, nf_model_set_layer(context, model, 0, weight, bias), NF_ERR_ARG, "bias");
    weight[5] = NAN;
    assert_fails(context, nf_model_set_layer(context, model, 0, weight, NULL), NF_ERR_DATA,
                 "position 5");
    assert_fails(
        context,
        nf_model_embed(context, model, nf_matrix_f32(x, 2, D - 1), nf_matrix_out_f32(y, 2, 3)),
        NF_ERR_ARG, "x has 10 columns: the model takes 11");
    assert_fails(context, nf_model_embed(context, model, view, nf_matrix_out_f32(y, 3, 2)),
                 NF_ERR_ARG, "out is 3 x 2");
    assert_fails(context, nf_model_embed(context, model, view, nf_matrix_out_f32(x, 2, 3)),
                 NF_ERR_ARG, "overlaps");
    memset(y, 0x5A, sizeof y);
    x[D + 2] = INFINITY;
    assert_fails(context, nf_model_embed(context, model, view, nf_matrix_out_f32(y, 2, 3)),
                 NF_ERR_DATA, "row 1, column 2");
    x[D + 2] = 3e38f;
    float big[4 * D];
    for (size_t i = 0; i < 4 * D; i++) big[i] = 100;
    assert_ok(context, nf_model_embed(context, model, view, nf_matrix_out_f32(y, 2, 3)));
    nf_model *linear = NULL;
    o.hidden_layers = 0;
    assert_ok(context, nf_model_create(context, &o, &linear));
    assert_ok(context, nf_model_set_layer(context, linear, 0, big, NULL));
    assert_fails(context, nf_model_embed(context, linear, view, nf_matrix_out_f32(y, 2, 3)),
                 NF_ERR_RANGE, "exceeds float32");
    assert_ok(context, nf_model_embed(context, model, nf_matrix_f32(NULL, 0, D),
                                      nf_matrix_out_f32(NULL, 0, 3)));
    nf_model_free(context, linear);
    nf_model_free(context, model);
    nf_context_free(context);
}

static int stop_at_once(void *user, uint64_t done, uint64_t total) {
    (void)user, (void)done, (void)total;
    return 1;
}

static void embedding_can_be_cancelled(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    nf_model *model = make_model(context, &shapes[3], 1);
    enum { ROWS = 4000 };
    float *x = calloc(ROWS * D, sizeof *x), *y = calloc(ROWS * 5, sizeof *y);
    nf_context_set_progress(context, stop_at_once, NULL);
    assert_fails(
        context,
        nf_model_embed(context, model, nf_matrix_f32(x, ROWS, D), nf_matrix_out_f32(y, ROWS, 5)),
        NF_ERR_CANCELLED, "cancelled");
    nf_context_set_progress(context, NULL, NULL);
    assert_ok(context, nf_model_embed(context, model, nf_matrix_f32(x, ROWS, D),
                                      nf_matrix_out_f32(y, ROWS, 5)));
    free(x);
    free(y);
    nf_model_free(context, model);
    nf_context_free(context);
}

static void metadata_is_kept_in_key_order(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    nf_model *model = make_model(context, &shapes[0], 0);
    char key[16];
    for (int i = 99; i >= 0; i--) {
        snprintf(key, sizeof key, "k%02d", i * 37 % 100);
        assert_ok(context, nf_model_set_metadata(context, model, key, "old"));
        assert_ok(context, nf_model_set_metadata(context, model, key, key));
    }
    const char *value;
    for (size_t i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "k%02zu", i);
        assert_string_equal(nf_model_metadata_at(model, i, &value), key);
        assert_string_equal(value, key);
        assert_string_equal(nf_model_metadata(model, key), key);
    }
    assert_null(nf_model_metadata_at(model, 100, NULL));
    assert_null(nf_model_metadata(model, "missing"));
    assert_fails(context, nf_model_set_metadata(context, model, "seed", "1"), NF_ERR_ARG, "'seed'");
    assert_fails(context, nf_model_set_metadata(context, model, "", "1"), NF_ERR_ARG, "key");
    assert_fails(context, nf_model_set_metadata(context, model, "a", NULL), NF_ERR_ARG, "value");
    nf_model_free(context, model);
    nf_context_free(context);
}

static nf_status whole_job(nf_context *context, void *user) {
    float *y = user, x[N * D];
    test_random_f32(6, x, N * D, -1, 1);
    nf_model_options o = options_of(&shapes[5], D, 1);
    nf_model *model = NULL;
    nf_status status = nf_model_create(context, &o, &model);
    if (status == NF_OK) {
        status = nf_model_fit_standardization(context, model, nf_matrix_f32(x, N, D));
    }
    if (status == NF_OK) status = nf_model_set_metadata(context, model, "a", "1");
    if (status == NF_OK) status = nf_model_set_metadata(context, model, "a", "2");
    if (status == NF_OK) {
        status = nf_model_embed(context, model, nf_matrix_f32(x, N, D), nf_matrix_out_f32(y, N, 3));
    }
    nf_model_free(context, model);
    return status;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    float y[N * 3];
    assert_true(test_fail_every_allocation(2, whole_job, y, y, sizeof y) > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embedding_equals_the_formula),
        cmocka_unit_test(bits_of_a_row_depend_on_the_row_only),
        cmocka_unit_test(gradient_equals_finite_differences),
        cmocka_unit_test(normalisation_of_zero_and_extreme_rows),
        cmocka_unit_test(standardisation_ignores_the_unit),
        cmocka_unit_test(initial_weights_depend_on_the_seed_only),
        cmocka_unit_test(bad_arguments_are_named),
        cmocka_unit_test(embedding_can_be_cancelled),
        cmocka_unit_test(metadata_is_kept_in_key_order),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
