/* The boundary of the margin loss learnt with the weights. */
#include "support.h"

#include <math.h>
#include <stdbool.h>

#include "train_data.h"

enum { ROWS = 60, CLASSES = 4, OUT = 3 };

static nf_train_options options_of(nf_context *context, nf_learn_beta learn) {
    nf_train_options o = nf_train_defaults();
    assert_ok(context, nf_loss_preset(context, "margin", &o.loss));
    o.loss.beta = 0.9;
    o.learn_beta = learn;
    o.beta_lr = 0.05;
    o.sampling = NF_SAMPLE_ALL;
    o.optimizer = NF_SGD;
    o.momentum = 0;
    o.schedule = NF_SCHEDULE_CONSTANT;
    o.valid_fraction = 0;
    o.epochs = 1;
    return o;
}

/* Labels that are not the numbers of their classes. */
static dataset labelled(uint64_t seed, size_t n) {
    dataset data = make_data(seed, n, CLASSES);
    for (size_t r = 0; r < n; r++) data.labels[r] = 100 - 7 * data.labels[r];
    return data;
}

/* Gradient of beta of the loss over all rows as the model embeds them, by label. */
static void gradient_of(nf_context *context, const nf_model *model, const dataset *data,
                        const nf_train_options *o, const double *beta, size_t count,
                        double *gradient) {
    float y[ROWS * OUT];
    nf_loss_result result;
    const nf_margin_beta own = {beta, count, o->nu, gradient, 0};
    assert_ok(context, nf_model_embed(context, model, nf_matrix_f64(data->x, data->n, D),
                                      nf_matrix_out_f32(y, data->n, OUT)));
    assert_ok(context, nf_loss_margin(context, &o->loss, nf_matrix_f32(y, data->n, OUT),
                                      (nf_labels){data->labels, data->n, 0}, &own, &result,
                                      (nf_matrix_out){0}));
}

/* The numbers of an entry of the metadata. */
static size_t numbers_of(const nf_model *model, const char *key, double *out) {
    const char *text = nf_model_metadata(model, key);
    size_t count = 0;
    for (char *end; text != NULL; text = *end == ',' ? end + 1 : NULL) {
        out[count++] = strtod(text, &end);
        assert_true(*end == ',' || *end == '\0');
    }
    return count;
}

/* Two runs of one step each: the second goes on from the weights and betas of the first. */
static void a_step_follows_the_gradient_of_beta(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    for (int k = 0; k < 4; k++) {
        const size_t count = k < 2 ? 1 : CLASSES;
        dataset data = labelled(3 + (uint64_t)k, ROWS);
        nf_model *model = new_model(context, 0, OUT, 0);
        nf_train_options o =
            options_of(context, k < 2 ? NF_LEARN_BETA_GLOBAL : NF_LEARN_BETA_CLASS);
        o.nu = k % 2 ? 0.3 : 0;
        if (k == 1) o.beta_lr = 0; /* that of the weights */
        const double lr = k == 1 ? o.lr : o.beta_lr;
        const nf_train_data d = view(&data);
        double beta[CLASSES] = {0.9, 0.9, 0.9, 0.9}, gradient[CLASSES], found[CLASSES];
        for (int step = 0; step < 2; step++) {
            nf_train_report report;
            double mean = 0, low = 9, high = -9;
            gradient_of(context, model, &data, &o, beta, count, gradient);
            assert_ok(context, nf_train(context, model, &d, &o, NULL, NULL, &report));
            assert_int_equal(numbers_of(model, "train.beta", found), count);
            for (size_t c = 0; c < count; c++) {
                beta[c] -= lr * gradient[c];
                assert_true(fabs(gradient[c]) > 1e-3);
                assert_true(fabs(found[c] - beta[c]) <= 1e-9);
                beta[c] = found[c];
                mean += found[c] / (double)count;
                low = fmin(low, found[c]), high = fmax(high, found[c]);
            }
            assert_true(fabs(report.beta - mean) < 1e-15);
            assert_true(report.smallest_beta == low && report.largest_beta == high);
        }
        assert_string_equal(nf_model_metadata(model, "train.learn_beta"),
                            count == 1 ? "global" : "class");
        const char *labels = nf_model_metadata(model, "train.beta_labels");
        if (count == 1) assert_null(labels);
        if (count > 1) assert_string_equal(labels, "100,93,86,79");
        nf_model_free(context, model);
        free_data(&data);
    }
    nf_context_free(context);
}

/* Adam's first step is lr in the direction of the gradient; schedules scale it. */
static void adam_takes_betas_too(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    dataset data = labelled(9, ROWS);
    nf_model *model = new_model(context, 0, OUT, 0);
    nf_train_options o = options_of(context, NF_LEARN_BETA_CLASS);
    o.optimizer = NF_ADAM;
    o.schedule = NF_SCHEDULE_COSINE; /* one step: at its full rate */
    const nf_train_data d = view(&data);
    const double beta[CLASSES] = {0.9, 0.9, 0.9, 0.9};
    double gradient[CLASSES], found[CLASSES];
    gradient_of(context, model, &data, &o, beta, CLASSES, gradient);
    assert_ok(context, nf_train(context, model, &d, &o, NULL, NULL, NULL));
    assert_int_equal(numbers_of(model, "train.beta", found), CLASSES);
    for (int c = 0; c < CLASSES; c++) {
        assert_true(fabs(found[c] - (0.9 - copysign(0.05, gradient[c]))) < 1e-6);
    }
    nf_model_free(context, model);
    free_data(&data);
    nf_context_free(context);
}

/* Betas of other labels wait in vain; new labels start from one beta, or from loss.beta. */
static void betas_go_on_by_label(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    dataset data = labelled(4, ROWS);
    nf_model *model = new_model(context, 0, OUT, 0);
    nf_train_options o = options_of(context, NF_LEARN_BETA_CLASS);
    o.beta_lr = 1e-12; /* so that they stay where they start */
    const nf_train_data d = view(&data);
    const struct {
        const char *beta, *labels;
        double want[CLASSES];
    } cases[] = {{"1.5,0.25,7", "79,100,5", {0.25, 0.9, 0.9, 1.5}},
                 {"1.125", NULL, {1.125, 1.125, 1.125, 1.125}},
                 {"0.5,0.75,1,1.25", "100,93,86,79", {0.5, 0.75, 1, 1.25}}};
    for (int k = 0; k < 3; k++) {
        double found[CLASSES];
        nf_model *own = new_model(context, 0, OUT, 0);
        assert_ok(context, nf_model_set_metadata(context, own, "train.beta", cases[k].beta));
        if (cases[k].labels != NULL) {
            assert_ok(context,
                      nf_model_set_metadata(context, own, "train.beta_labels", cases[k].labels));
        }
        assert_ok(context, nf_train(context, own, &d, &o, NULL, NULL, NULL));
        assert_int_equal(numbers_of(own, "train.beta", found), CLASSES);
        for (int c = 0; c < CLASSES; c++) assert_true(fabs(found[c] - cases[k].want[c]) < 1e-9);
        nf_model_free(context, own);
    }
    const char *bad[][2] = {
        {"1,x", "3,4"}, {"1,2", NULL}, {"1,2", "3"}, {"1,2", "3,4.5"}, {"", NULL}};
    for (int k = 0; k < 5; k++) {
        nf_model *own = new_model(context, 0, OUT, 0);
        assert_ok(context, nf_model_set_metadata(context, own, "train.beta", bad[k][0]));
        if (bad[k][1] != NULL) {
            assert_ok(context, nf_model_set_metadata(context, own, "train.beta_labels", bad[k][1]));
        }
        assert_fails(context, nf_train(context, own, &d, &o, NULL, NULL, NULL), NF_ERR_DATA,
                     "train.beta");
        nf_model_free(context, own);
    }
    nf_model_free(context, model);
    free_data(&data);
    nf_context_free(context);
}

typedef struct betas {
    double of[64];
} betas;

static int keep(void *user, const nf_train_event *event) {
    ((betas *)user)->of[event->epoch] = event->beta;
    return 0;
}

/* Batches with and without a memory bank, validation and a hidden layer: the betas of the best epoch
 * are kept, the same bits for any number of threads, and training is the better for them. */
static void betas_of_the_best_epoch_are_kept(void **state) {
    (void)state;
    for (int bank = 0; bank < 2; bank++) {
        char text[3][512] = {"", "", ""};
        for (int threads = 1; threads <= 3; threads++) {
            nf_context *context = test_context(threads);
            dataset data = labelled(6, 300);
            nf_model *model = new_model(context, 20, OUT, 1);
            nf_train_options o = options_of(context, NF_LEARN_BETA_GLOBAL);
            o.sampling = NF_SAMPLE_M_PER_CLASS;
            o.batch_size = 40;
            o.optimizer = NF_ADAM;
            o.memory_bank = bank ? 100 : 0;
            o.epochs = 12;
            o.valid_fraction = 0.3;
            o.loss.beta = 0.2;
            const nf_train_data d = view(&data);
            nf_train_report report;
            betas seen;
            assert_ok(context, nf_train(context, model, &d, &o, keep, &seen, &report));
            assert_true(seen.of[0] == 0.2 && report.best_epoch > 0);
            assert_true(report.beta == seen.of[report.best_epoch] && report.beta > 0.3);
            snprintf(text[threads - 1], sizeof text[0], "%s %.17g",
                     nf_model_metadata(model, "train.beta"), seen.of[12]);
            nf_model_free(context, model);
            free_data(&data);
            nf_context_free(context);
        }
        assert_string_equal(text[0], text[1]);
        assert_string_equal(text[0], text[2]);
    }
}

static void wrong_options_are_named(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    dataset data = labelled(5, ROWS);
    nf_model *model = new_model(context, 0, OUT, 0);
    const nf_train_data d = view(&data);
    const nf_train_options good = options_of(context, NF_LEARN_BETA_GLOBAL);
#define REFUSED(text, ...)                                                                    \
    do {                                                                                      \
        nf_train_options o = good;                                                            \
        __VA_ARGS__;                                                                          \
        assert_fails(context, nf_train(context, model, &d, &o, NULL, NULL, NULL), NF_ERR_ARG, \
                     text);                                                                   \
    } while (0)
    REFUSED("learn_beta is 3", o.learn_beta = (nf_learn_beta)3);
    REFUSED("kind margin", o.loss = nf_loss_weston());
    REFUSED("beta_lr", o.beta_lr = -1);
    REFUSED("beta_lr", o.beta_lr = NAN);
    REFUSED("nu", o.nu = -1);
    REFUSED("0 without learn_beta", o.learn_beta = NF_LEARN_BETA_NONE);
    REFUSED("nu", o.learn_beta = NF_LEARN_BETA_NONE, o.beta_lr = 0, o.nu = 1);
    nf_model_free(context, model);
    free_data(&data);
    nf_context_free(context);
}

typedef struct memory_job {
    dataset data;
    nf_learn_beta learn;
    size_t bank;
    char out[512];
} memory_job;

static nf_status memory_body(nf_context *context, void *user) {
    memory_job *job = user;
    nf_model_options mo = nf_model_defaults();
    mo.inputs = D;
    mo.outputs = OUT;
    nf_model *model = NULL;
    nf_train_options o = nf_train_defaults();
    const nf_train_data d = view(&job->data);
    nf_status status = nf_loss_preset(context, "margin", &o.loss);
    o.learn_beta = job->learn;
    o.memory_bank = job->bank;
    o.epochs = 2;
    o.batch_size = 16;
    o.valid_fraction = 0.3;
    if (status == NF_OK) status = nf_model_create(context, &mo, &model);
    if (status == NF_OK) {
        status = nf_model_set_metadata(context, model, "train.beta", "1.25");
    }
    if (status == NF_OK) {
        status = nf_train(context, model, &d, &o, NULL, NULL, NULL);
        if (status != NF_OK) assert_string_equal(nf_model_metadata(model, "train.beta"), "1.25");
    }
    if (status == NF_OK) strcpy(job->out, nf_model_metadata(model, "train.beta"));
    nf_model_free(context, model);
    return status;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    for (int k = 0; k < 2; k++) {
        memory_job job = {.data = make_data(13, 40, 3),
                          .learn = k ? NF_LEARN_BETA_CLASS : NF_LEARN_BETA_GLOBAL,
                          .bank = k ? 20 : 0};
        assert_true(test_fail_every_allocation(2, memory_body, &job, job.out, sizeof job.out) > 50);
        assert_true(strlen(job.out) > 4);
        free_data(&job.data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_follows_the_gradient_of_beta),
        cmocka_unit_test(adam_takes_betas_too),
        cmocka_unit_test(betas_go_on_by_label),
        cmocka_unit_test(betas_of_the_best_epoch_are_kept),
        cmocka_unit_test(wrong_options_are_named),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
