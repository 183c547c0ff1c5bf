/* Training on labelled rows: warnings, refusals, cancelling and memory. */
#include "train_data.h"

#include <math.h>
#include <time.h>

#include "model_reference.h"
#include "train/train.h"

/* ---- warnings ------------------------------------------------------------------------------- */

static void log_run(nf_context *context, const dataset *data, const nf_train_options *o,
                    int standardize, event_log *log, nf_train_report *report) {
    nf_model *model = new_model(context, 0, 4, standardize);
    nf_train_data d = view(data);
    assert_ok(context, nf_train(context, model, &d, o, record, log, report));
    nf_model_free(context, model);
}

static void margin_far_from_typical_distances_is_told(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    dataset data = make_data(7, 200, 5);
    nf_train_options o = nf_train_defaults();
    o.epochs = 1;
    nf_train_report report;
    event_log fits = {0};
    log_run(context, &data, &o, 1, &fits, &report);
    assert_string_equal(fits.warnings, "");
    assert_true(report.suggested_margin == 0 && report.median_distance > 1.0 / 3);
    assert_true(fits.first.epoch == 0 && fits.first.mean_negative_distance > 0);

    for (size_t i = 0; i < data.n * D; i++) data.x[i] *= 50;
    event_log far = {0};
    log_run(context, &data, &o, 0, &far, &report);
    test_assert_contains(far.warnings, "the margin 1 is far from the typical distance", __FILE__,
                         __LINE__);
    assert_true(report.suggested_margin == report.median_distance && report.median_distance > 3);
    assert_true(far.first.active_negative < 0.2);
    o.loss.neg_margin = report.suggested_margin; /* the remedy works */
    event_log cured = {0};
    log_run(context, &data, &o, 0, &cured, &report);
    assert_string_equal(cured.warnings, "");
    free_data(&data);
    nf_context_free(context);
}

static void lone_rows_and_reversed_labels_are_told(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    dataset data = make_data(8, 120, 2);
    nf_train_options o = nf_train_defaults();
    o.epochs = 1;
    nf_train_report report;
    /* Same label at opposite ends, different labels near: row r and r + 60 differ only in label. */
    for (size_t r = 0; r < 60; r++) {
        double end = r % 2 == 0 ? 40 : -40;
        for (size_t c = 0; c < D; c++)
            data.x[r * D + c] = data.x[(r + 60) * D + c] = end + (double)c;
        data.labels[r] = (int64_t)(r / 2);
        data.labels[r + 60] = 30 + (int64_t)(r / 2);
    }
    event_log log = {0};
    log_run(context, &data, &o, 1, &log, &report);
    test_assert_contains(log.warnings, "labels look reversed", __FILE__, __LINE__);
    data.labels[3] = 1000;
    data.labels[119] = 1001;
    event_log lone = {0};
    log_run(context, &data, &o, 1, &lone, &report);
    test_assert_contains(lone.warnings, "4 of 62 classes have one training row", __FILE__,
                         __LINE__);
    free_data(&data);
    nf_context_free(context);
}

/* Positives only pull: with no weight on negatives everything shrinks to a point. */
static void collapse_is_told_once(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    dataset data = make_data(9, 200, 4);
    nf_train_options o = nf_train_defaults();
    o.loss.neg_weight = 0;
    o.loss.pos_weight = 1;
    o.optimizer = NF_SGD;
    o.lr = 0.3;
    o.schedule = NF_SCHEDULE_CONSTANT;
    o.patience = 0;
    o.epochs = 150;
    nf_train_report report;
    event_log log = {0};
    log_run(context, &data, &o, 1, &log, &report);
    assert_int_equal(report.collapsed, 1);
    char *first = strstr(log.warnings, "collapsed");
    assert_non_null(first);
    assert_null(strstr(first + 1, "collapsed"));
    free_data(&data);
    nf_context_free(context);
}

/* ---- refusals ------------------------------------------------------------------------------- */

static void useless_labels_are_refused(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    nf_model *model = new_model(context, 0, 4, 1);
    const float *w = nf_model_weight(model, 0, NULL, NULL);
    float before[D * 4];
    memcpy(before, w, sizeof before);
    dataset data = make_data(10, 5, 5);
    nf_train_data d = view(&data);
    nf_train_report report;
    assert_fails(context, nf_train(context, model, &d, NULL, NULL, NULL, &report), NF_ERR_DATA,
                 "all 5 labels differ: contrastive loss has no positive pairs");
    for (size_t r = 0; r < 5; r++) data.labels[r] = 3;
    assert_fails(context, nf_train(context, model, &d, NULL, NULL, NULL, &report), NF_ERR_DATA,
                 "all 5 labels equal: contrastive loss has no negative pairs");
    d.x.rows = d.labels.n = 1;
    assert_fails(context, nf_train(context, model, &d, NULL, NULL, NULL, &report), NF_ERR_DATA,
                 "training needs at least 2");
    d.x.rows = d.labels.n = 0;
    assert_fails(context, nf_train(context, model, &d, NULL, NULL, NULL, &report), NF_ERR_DATA,
                 "0 labelled rows");
    d.x.rows = 5;
    assert_fails(context, nf_train(context, model, &d, NULL, NULL, NULL, &report), NF_ERR_ARG,
                 "labels has 0 entries for 5 rows");
    d.labels.n = 5;
    data.labels[1] = 4;
    data.x[17] = NAN;
    assert_fails(context, nf_train(context, model, &d, NULL, NULL, NULL, &report), NF_ERR_DATA,
                 "row 1, column 5");
    data.x[17] = 0;
    d.x.cols = d.x.ld = 4;
    assert_fails(context, nf_train(context, model, &d, NULL, NULL, NULL, &report), NF_ERR_ARG,
                 "x has 4 columns: the model takes 12");
    assert_memory_equal(before, w, sizeof before);
    assert_null(nf_model_metadata_at(model, 0, NULL));
    nf_model_free(context, model);
    free_data(&data);
    nf_context_free(context);
}

static void bad_options_are_named(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    nf_model *model = new_model(context, 0, 4, 1);
    dataset data = make_data(10, 20, 5);
    nf_train_data d = view(&data);
#define REFUSED(change, text)                                                                 \
    do {                                                                                      \
        nf_train_options o = nf_train_defaults();                                             \
        change;                                                                               \
        assert_fails(context, nf_train(context, model, &d, &o, NULL, NULL, NULL), NF_ERR_ARG, \
                     text);                                                                   \
    } while (0)
    REFUSED(o.lr = 0, "lr is 0");
    REFUSED(o.lr = NAN, "lr is nan");
    REFUSED(o.epochs = 0, "epochs is 0");
    REFUSED(o.batch_size = 1, "batch_size is 1");
    REFUSED(o.per_class = 1, "per_class is 1");
    REFUSED(o.batch_size = 3, "per_class is 4");
    REFUSED((o.optimizer = NF_SGD, o.momentum = 1), "momentum is 1");
    REFUSED(o.weight_decay = -1, "weight_decay is -1");
    REFUSED(o.valid_fraction = 1, "valid_fraction is 1");
    REFUSED((o.sampling = NF_SAMPLE_PAIRS, o.positive_fraction = 0), "positive_fraction is 0");
    REFUSED(o.sampling = (nf_sampling)7, "sampling is 7");
    REFUSED((o.memory_bank = 8, o.sampling = NF_SAMPLE_PAIRS), "memory_bank is 8");
    REFUSED((o.memory_bank = 8, o.sampling = NF_SAMPLE_ALL), "memory_bank is 8");
    REFUSED(o.optimizer = (nf_optimizer)7, "optimizer is 7");
    REFUSED(o.schedule = (nf_schedule)7, "schedule is 7");
    REFUSED(o.loss.reduction = NF_REDUCE_NONE, "reduction is none");
    REFUSED(o.loss.scale = 0, "scale");
#undef REFUSED
    nf_model_free(context, model);
    free_data(&data);
    nf_context_free(context);
}

static void divergence_stops_with_finite_weights(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    dataset data = make_data(11, 120, 3);
    for (int validation = 0; validation < 2; validation++) {
        nf_model *model = new_model(context, 8, 4, 1);
        nf_train_options o = nf_train_defaults();
        o.optimizer = NF_SGD;
        o.lr = 1e12;
        o.weight_decay = 1;
        o.valid_fraction = validation ? 0.2 : 0;
        nf_train_data d = view(&data);
        nf_train_report report;
        assert_fails(context, nf_train(context, model, &d, &o, NULL, NULL, &report),
                     NF_ERR_DIVERGED, "diverged at step");
        double *p = reference_parameters(model);
        for (size_t i = 0; i < nf_model_parameters(model); i++) assert_true(isfinite(p[i]));
        free(p);
        nf_model_free(context, model);
    }
    free_data(&data);
    nf_context_free(context);
}

/* ---- cancelling ----------------------------------------------------------------------------- */

static void callback_stops_with_the_best_weights(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    dataset data = make_data(12, 300, 6);
    nf_model *model = new_model(context, 8, 4, 1);
    nf_train_data d = view(&data);
    event_log log = {.stop_after = 50};
    nf_train_report report;
    assert_fails(context, nf_train(context, model, &d, NULL, record, &log, &report),
                 NF_ERR_CANCELLED, "after epoch 50 of 60");
    assert_int_equal(log.events, 51);
    assert_int_equal(report.epochs_run, 50);
    assert_true(report.map_at_r == log.map[report.best_epoch] && report.map_at_r > log.map[0]);
    assert_true(nf_model_mean(model)[0] != 0);
    assert_string_equal(nf_model_metadata(model, "train.epochs_run"), "50");
    nf_model_free(context, model);
    free_data(&data);
    nf_context_free(context);
}

static int stop_now(void *user, const nf_train_event *event) {
    (void)user, (void)event;
    return 1;
}

/* Stopped before its first step, a run gives the initial weights and the scale of the inputs. */
static void callback_stops_before_the_first_step(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    dataset data = make_data(12, 300, 6);
    for (int validation = 0; validation < 2; validation++) {
        nf_model *model = new_model(context, 8, 4, 1);
        double *initial = reference_parameters(model);
        nf_train_options o = nf_train_defaults();
        o.valid_fraction = validation ? 0.2 : 0;
        nf_train_data d = view(&data);
        assert_fails(context, nf_train(context, model, &d, &o, stop_now, NULL, NULL),
                     NF_ERR_CANCELLED, "after epoch 0 of 60");
        double *after = reference_parameters(model);
        assert_memory_equal(after, initial, nf_model_parameters(model) * sizeof(double));
        assert_true(nf_model_mean(model)[0] != 0 && nf_model_std(model)[0] != 1);
        assert_string_equal(nf_model_metadata(model, "train.epochs_run"), "0");
        free(initial);
        free(after);
        nf_model_free(context, model);
    }
    free_data(&data);
    nf_context_free(context);
}

static int count_down(void *user, uint64_t done, uint64_t total) {
    int *left = user;
    assert_true(done <= total);
    return --*left < 0;
}

static void context_progress_stops_within_a_step(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    dataset data = make_data(12, 600, 6);
    nf_model *model = new_model(context, 64, 16, 1);
    nf_train_options o = nf_train_defaults();
    o.epochs = 100000;
    o.patience = 0;
    nf_train_data d = view(&data);
    int left = 3;
    nf_context_set_progress(context, count_down, &left);
    assert_fails(context, nf_train(context, model, &d, &o, NULL, NULL, NULL), NF_ERR_CANCELLED,
                 "cancelled");
    assert_int_equal(left, -1);
    nf_model_free(context, model);
    free_data(&data);
    nf_context_free(context);
}

/* One step of the full batch takes seconds; a request to stop is answered within it. Processor time,
 * of two threads, because the machine may be busy. */
typedef struct request {
    int left;
    clock_t asked;
} request;

static int ask(void *user, uint64_t done, uint64_t total) {
    (void)done, (void)total;
    request *r = user;
    if (--r->left != 0) return r->left < 0;
    r->asked = clock();
    return 1;
}

static void a_long_step_is_interrupted(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    enum { ROWS = 12000 };
    dataset data = make_data(12, ROWS, 6);
    nf_model *model = new_model(context, 1500, 32, 1);
    nf_train_options o = nf_train_defaults();
    o.sampling = NF_SAMPLE_ALL;
    o.valid_fraction = 0;
    nf_train_data d = view(&data);
    for (int left = 1; left < 40; left = left * 3 + 1) {
        request r = {left, 0};
        nf_context_set_progress(context, ask, &r);
        assert_fails(context, nf_train(context, model, &d, &o, NULL, NULL, NULL), NF_ERR_CANCELLED,
                     "cancelled");
        double seconds = (double)(clock() - r.asked) / CLOCKS_PER_SEC;
        if (!(seconds < 0.4)) fail_msg("request %d answered after %g s", left, seconds);
    }
    nf_model_free(context, model);
    free_data(&data);
    nf_context_free(context);
}

typedef struct steps_seen {
    uint64_t last, total;
    size_t calls;
} steps_seen;

static int follow(void *user, uint64_t done, uint64_t total) {
    steps_seen *seen = user;
    assert_true(done >= seen->last && done <= total);
    seen->last = done;
    seen->total = total;
    seen->calls++;
    return 0;
}

static void progress_counts_steps(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    dataset data = make_data(12, 600, 6);
    nf_model *model = new_model(context, 64, 16, 1);
    nf_train_options o = nf_train_defaults();
    o.epochs = 400;
    o.patience = 0;
    nf_train_data d = view(&data);
    steps_seen seen = {0};
    nf_train_report report;
    nf_context_set_progress(context, follow, &seen);
    assert_ok(context, nf_train(context, model, &d, &o, NULL, NULL, &report));
    assert_int_equal(seen.total, report.steps);
    assert_true(seen.calls > 1);
    nf_model_free(context, model);
    free_data(&data);
    nf_context_free(context);
}

/* ---- memory --------------------------------------------------------------------------------- */

typedef struct memory_job {
    dataset data;
    nf_sampling sampling;
    struct {
        float weights[D * 4];
        double map;
    } out;
} memory_job;

static nf_status memory_body(nf_context *context, void *user) {
    memory_job *job = user;
    nf_model_options mo = nf_model_defaults();
    mo.inputs = D;
    mo.outputs = 4;
    mo.bias = 0;
    nf_model *model = NULL;
    nf_train_report report;
    nf_train_options o = nf_train_defaults();
    o.sampling = job->sampling;
    o.epochs = 2;
    o.batch_size = 16;
    o.valid_fraction = 0.3;
    nf_train_data d = view(&job->data);
    nf_status status = nf_model_create(context, &mo, &model);
    if (status == NF_OK) {
        float before[D * 4];
        memcpy(before, nf_model_weight(model, 0, NULL, NULL), sizeof before);
        status = nf_train(context, model, &d, &o, NULL, NULL, &report);
        if (status != NF_OK) { /* the model is as it was */
            assert_memory_equal(before, nf_model_weight(model, 0, NULL, NULL), sizeof before);
            assert_null(nf_model_metadata_at(model, 0, NULL));
            assert_true(nf_model_mean(model)[0] == 0);
        }
    }
    if (status == NF_OK) {
        memcpy(job->out.weights, nf_model_weight(model, 0, NULL, NULL), sizeof job->out.weights);
        job->out.map = report.map_at_r;
    }
    nf_model_free(context, model);
    return status;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    memory_job job = {.data = make_data(13, 40, 3)};
    job.sampling = NF_SAMPLE_M_PER_CLASS;
    assert_true(test_fail_every_allocation(2, memory_body, &job, &job.out, sizeof job.out) > 50);
    job.sampling = NF_SAMPLE_PAIRS;
    assert_true(test_fail_every_allocation(1, memory_body, &job, &job.out, sizeof job.out) > 50);
    free_data(&job.data);
}

static size_t allocations(size_t epochs, nf_sampling sampling) {
    test_allocator allocator;
    test_allocator_init(&allocator);
    nf_context_options options = {.allocator = &allocator.hooks, .threads = 2};
    nf_context *context;
    assert_int_equal(nf_context_create(&context, &options, NULL), NF_OK);
    dataset data = make_data(14, 240, 4);
    nf_model *model = new_model(context, 300, 8, 1);
    nf_train_options o = nf_train_defaults();
    o.sampling = sampling;
    o.epochs = epochs;
    o.batch_size = 8;
    o.patience = 0;
    nf_train_data d = view(&data);
    assert_ok(context, nf_train(context, model, &d, &o, NULL, NULL, NULL));
    nf_model_free(context, model);
    nf_context_free(context);
    assert_int_equal(allocator.live, 0);
    free_data(&data);
    return allocator.calls;
}

/* Epochs of 27 steps cost a few allocations each, steps none. */
static void steps_do_not_allocate(void **state) {
    (void)state;
    for (int sampling = NF_SAMPLE_M_PER_CLASS; sampling <= NF_SAMPLE_PAIRS; sampling++) {
        size_t few = allocations(1, (nf_sampling)sampling);
        size_t many = allocations(11, (nf_sampling)sampling);
        assert_true(many - few <= 50);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(margin_far_from_typical_distances_is_told),
        cmocka_unit_test(lone_rows_and_reversed_labels_are_told),
        cmocka_unit_test(collapse_is_told_once),
        cmocka_unit_test(useless_labels_are_refused),
        cmocka_unit_test(bad_options_are_named),
        cmocka_unit_test(divergence_stops_with_finite_weights),
        cmocka_unit_test(callback_stops_with_the_best_weights),
        cmocka_unit_test(callback_stops_before_the_first_step),
        cmocka_unit_test(context_progress_stops_within_a_step),
        cmocka_unit_test(a_long_step_is_interrupted),
        cmocka_unit_test(progress_counts_steps),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(steps_do_not_allocate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
