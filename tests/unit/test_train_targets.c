/* Training under targets: what it learns from label sets, soft targets, weights and groups, and that they
 * are those of the rows of each batch. */
#include "train_data.h"

#include <math.h>

enum { N = 240, CLASSES = 6 };

/* The labels as sets, and as 0 and 1 of every pair. */
typedef struct told {
    size_t offset[N + 1];
    nf_label_sets sets;
    double *soft, ones[N];
    int64_t group[N];
} told;

static told *tell(const dataset *data) {
    told *t = calloc(1, sizeof *t);
    t->soft = malloc(data->n * data->n * sizeof *t->soft);
    for (size_t i = 0; i < data->n; i++) {
        t->offset[i + 1] = i + 1;
        t->ones[i] = 1;
        t->group[i] = (int64_t)i;
        for (size_t j = 0; j < data->n; j++) {
            t->soft[i * data->n + j] = data->labels[i] == data->labels[j];
        }
    }
    t->sets = (nf_label_sets){t->offset, data->labels};
    return t;
}

static void free_told(told *t) {
    free(t->soft);
    free(t);
}

static nf_train_options short_run(nf_sampling sampling) {
    nf_train_options o = nf_train_defaults();
    o.sampling = sampling;
    o.epochs = 199;
    o.lr = 0.01;
    o.weight_decay = 0.01;
    return o;
}

static void label_sets_and_soft_targets_teach(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    dataset data = make_data(1, N, CLASSES), held_out = make_data(2, N, CLASSES);
    const double raw = raw_map_at_r(context, &held_out);
    told *t = tell(&data);
    static const char *const losses[] = {NULL, "supcon", "multi-similarity"};
    for (int source = 0; source < 2; source++) {
        for (int l = 0; l < 3; l++) {
            nf_train_options o = short_run(l == 1 ? NF_SAMPLE_ALL : NF_SAMPLE_RANDOM);
            nf_targets targets = {.sets = source == 0 ? &t->sets : NULL};
            if (source == 1) targets.soft = nf_matrix_f64(t->soft, N, N);
            o.memory_bank = l == 0 ? 100 : 0;
            nf_train_data d = {.x = nf_matrix_f64(data.x, N, D), .targets = &targets};
            if (losses[l] != NULL) assert_ok(context, nf_loss_preset(context, losses[l], &o.loss));
            nf_model *model = new_model(context, 16, 4, 1);
            nf_train_report report;
            event_log log = {0};
            assert_ok(context, nf_train(context, model, &d, &o, record, &log, &report));
            const double trained = map_at_r(context, model, &held_out);
            if (!(trained > raw + 0.05))
                fail_msg("%d %d: MAP@R %g, raw %g", source, l, trained, raw);
            assert_true(report.last_loss < report.first_loss);
            assert_int_equal(report.train_rows, N);
            assert_int_equal(report.valid_rows, 0);
            assert_true(log.first.mean_negative_distance > 0 && report.median_distance > 0);
            nf_model_free(context, model);
        }
    }
    free_told(t);
    free_data(&data);
    free_data(&held_out);
    nf_context_free(context);
}

/* Weights after a few steps of plain gradient descent: full ones, so that rows come in no order, or with
 * a memory bank random batches. */
static float *descend_with(nf_context *context, nf_train_data d, const char *preset, int threads,
                           size_t bank) {
    nf_train_options o = nf_train_defaults();
    o.sampling = bank > 0 ? NF_SAMPLE_RANDOM : NF_SAMPLE_ALL;
    o.batch_size = 20;
    o.memory_bank = bank;
    o.optimizer = NF_SGD;
    o.momentum = o.valid_fraction = o.weight_decay = 0;
    o.epochs = 4;
    o.lr = 1e-3;
    o.schedule = NF_SCHEDULE_CONSTANT;
    assert_ok(context, nf_loss_preset(context, preset, &o.loss));
    o.loss.reduction = NF_REDUCE_WEIGHTED_MEAN;
    nf_model *model = new_model(context, 0, 4, 0);
    nf_context *own = test_context(threads);
    assert_ok(own, nf_train(own, model, &d, &o, NULL, NULL, NULL));
    nf_context_free(own);
    float *parameters = malloc(4 * D * sizeof *parameters);
    memcpy(parameters, nf_model_weight(model, 0, NULL, NULL), 4 * D * sizeof *parameters);
    nf_model_free(context, model);
    return parameters;
}

static float *descend(nf_context *context, nf_train_data d, const char *preset, int threads) {
    return descend_with(context, d, preset, threads, 0);
}

static void assert_near_weights(const float *a, const float *b, size_t count) {
    for (size_t k = 0; k < count; k++) {
        if (!(fabsf(a[k] - b[k]) <= 2e-6f)) fail_msg("weight %zu: %g, not %g", k, a[k], b[k]);
    }
}

/* Targets that say what labels say, and rows of weight 0 that are as good as absent. */
static void targets_of_labels_are_labels(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    dataset data = make_data(3, 60, CLASSES), fewer = data;
    told *t = tell(&data);
    static const char *const presets[] = {"weston", "supcon", "lifted"};
    for (int l = 0; l < 3; l++) {
        float *want = descend(context, view(&data), presets[l], 1);
        for (int how = 0; how < 3; how++) {
            nf_targets targets = {.sets = how == 0 ? &t->sets : NULL};
            if (how == 1) targets.soft = nf_matrix_f64(t->soft, 60, 60);
            if (how == 2) targets.group = t->group;
            if (how == 2) targets.row_weight = t->ones;
            nf_train_data d = view(&data);
            d.targets = &targets;
            if (how < 2) d.labels = (nf_labels){0};
            float *got = descend(context, d, presets[l], 2);
            assert_near_weights(got, want, 4 * D);
            free(got);
        }
        free(want);
        /* Rows held have the targets of the rows of the data set that they are. */
        nf_targets targets = {.group = t->group, .row_weight = t->ones};
        nf_train_data d = view(&data);
        d.targets = &targets;
        want = descend_with(context, view(&data), presets[l], 1, 50);
        float *got = descend_with(context, d, presets[l], 2, 50);
        assert_near_weights(got, want, 4 * D);
        free(got);
        free(want);
    }
    fewer.n = 40;
    double weight[60];
    for (size_t i = 0; i < 60; i++) weight[i] = i < 40 ? 1 : 0;
    nf_targets targets = {.row_weight = weight};
    nf_train_data d = view(&data);
    d.targets = &targets;
    float *got = descend(context, d, "weston", 1),
          *want = descend(context, view(&fewer), "weston", 1);
    assert_near_weights(got, want, 4 * D);
    free(got);
    free(want);
    free_told(t);
    free_data(&data);
    nf_context_free(context);
}

static void bits_do_not_depend_on_threads(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    dataset data = make_data(4, N, CLASSES);
    told *t = tell(&data);
    nf_targets targets = {.sets = &t->sets, .row_weight = t->ones, .group = t->group};
    nf_train_data d = {.x = nf_matrix_f64(data.x, N, D), .targets = &targets};
    float *one = descend(context, d, "supcon", 1);
    for (int threads = 2; threads <= 5; threads++) {
        float *other = descend(context, d, "supcon", threads);
        assert_memory_equal(one, other, 4 * D * sizeof *one);
        free(other);
    }
    free(one);
    free_told(t);
    free_data(&data);
    nf_context_free(context);
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    dataset data = make_data(5, 30, CLASSES);
    told *t = tell(&data);
    nf_model *model = new_model(context, 0, 4, 1);
    nf_train_options o = nf_train_defaults();
    nf_targets targets = {.sets = &t->sets};
    nf_train_data d = {.x = nf_matrix_f64(data.x, 30, D), .targets = &targets};
#define REFUSED(status, text) \
    assert_fails(context, nf_train(context, model, &d, &o, NULL, NULL, NULL), status, text)
    REFUSED(NF_ERR_ARG, "use random or all");
    o.sampling = NF_SAMPLE_PAIRS;
    REFUSED(NF_ERR_ARG, "targets go with batches");
    o.sampling = NF_SAMPLE_RANDOM;
    assert_ok(context, nf_loss_preset(context, "margin", &o.loss));
    o.learn_beta = NF_LEARN_BETA_GLOBAL;
    REFUSED(NF_ERR_ARG, "learn_beta is set");
    o = nf_train_defaults();
    o.sampling = NF_SAMPLE_RANDOM;
    d.labels = (nf_labels){data.labels, 30, 0};
    REFUSED(NF_ERR_ARG, "labels and targets.sets are given");
    d.labels = (nf_labels){0};
    memset(t->offset, 0, sizeof t->offset);
    REFUSED(NF_ERR_DATA, "0 labelled rows");
    targets = (nf_targets){.soft = nf_matrix_f64(t->soft, 30, 30)};
    for (size_t k = 0; k < 900; k++) t->soft[k] = 0.75;
    REFUSED(NF_ERR_DATA, "at most 1/2");
    for (size_t k = 0; k < 900; k++) t->soft[k] = 0.25;
    REFUSED(NF_ERR_DATA, "above 1/2");
    t->soft[1] = 0.75;
    assert_ok(context, nf_loss_preset(context, "triplet", &o.loss));
    REFUSED(NF_ERR_ARG, "0 and 1 only");
    targets = (nf_targets){.labels = {data.labels, 30, 0}};
    d.labels = targets.labels;
    REFUSED(NF_ERR_ARG, "data.labels");
    targets = (nf_targets){.row_weight = t->ones};
    t->ones[3] = -1;
    REFUSED(NF_ERR_DATA, "row_weight[3] is -1");
    d.labels.n = 29;
    REFUSED(NF_ERR_ARG, "labels has 29 entries");
#undef REFUSED
    nf_model_free(context, model);
    free_told(t);
    free_data(&data);
    nf_context_free(context);
}

typedef struct small_run {
    dataset data;
    told *t;
    double loss;
} small_run;

static nf_status train_small(nf_context *context, void *user) {
    small_run *run = user;
    nf_targets targets = {.sets = &run->t->sets, .row_weight = run->t->ones};
    nf_train_data d = {.x = nf_matrix_f64(run->data.x, run->data.n, D), .targets = &targets};
    nf_train_options o = nf_train_defaults();
    nf_model_options shape = nf_model_defaults();
    nf_train_report report;
    nf_model *model = NULL;
    o.sampling = NF_SAMPLE_RANDOM;
    o.epochs = 2;
    o.batch_size = 16;
    shape.inputs = D;
    nf_status status = nf_model_create(context, &shape, &model);
    if (status == NF_OK) status = nf_loss_preset(context, "nt-xent", &o.loss);
    if (status == NF_OK) status = nf_train(context, model, &d, &o, NULL, NULL, &report);
    if (status == NF_OK) run->loss = report.last_loss;
    nf_model_free(context, model);
    return status;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    small_run run = {.data = make_data(6, 40, CLASSES)};
    run.t = tell(&run.data);
    assert_true(test_fail_every_allocation(2, train_small, &run, &run.loss, sizeof run.loss) > 0);
    assert_true(run.loss > 0);
    free_told(run.t);
    free_data(&run.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(label_sets_and_soft_targets_teach),
        cmocka_unit_test(targets_of_labels_are_labels),
        cmocka_unit_test(bits_do_not_depend_on_threads),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
