/* Training on labelled rows: what it learns, the formulas of a step, its promises about bits. */
#include "train_data.h"

#include <math.h>

#include "model_reference.h"
#include "train/train.h"

/* ---- learning ------------------------------------------------------------------------------- */

static void every_way_of_training_beats_the_raw_rows(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    dataset data = make_data(1, 240, 6), held_out = make_data(2, 240, 6);
    double raw = raw_map_at_r(context, &held_out);
    for (int sampling = NF_SAMPLE_M_PER_CLASS; sampling <= NF_SAMPLE_PAIRS; sampling++) {
        for (int optimizer = NF_ADAM; optimizer <= NF_SGD; optimizer++) {
            nf_model *model = new_model(context, optimizer == NF_ADAM ? 16 : 0, 4, 1);
            nf_train_options o = nf_train_defaults();
            o.sampling = (nf_sampling)sampling;
            o.optimizer = (nf_optimizer)optimizer;
            o.lr = optimizer == NF_ADAM ? 0.01 : 0.1;
            o.weight_decay = 0.01;
            o.schedule = sampling % 2 == 0 ? NF_SCHEDULE_COSINE : NF_SCHEDULE_CONSTANT;
            o.epochs = 200;
            nf_train_data d = view(&data);
            nf_train_report report;
            assert_ok(context, nf_train(context, model, &d, &o, NULL, NULL, &report));
            double trained = map_at_r(context, model, &held_out);
            if (!(trained > raw + 0.05)) {
                fail_msg("sampling %d optimizer %d: MAP@R %g, raw %g", sampling, optimizer, trained,
                         raw);
            }
            assert_true(report.last_loss < report.first_loss);
            assert_int_equal(report.train_rows, 216);
            assert_int_equal(report.valid_rows, 24);
            nf_model_free(context, model);
        }
    }
    free_data(&data);
    free_data(&held_out);
    nf_context_free(context);
}

/* The unit of the data must not matter. */
static void scaled_inputs_give_the_same_quality(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    dataset data = make_data(1, 240, 6), held_out = make_data(2, 240, 6);
    const double units[] = {1, 1.0 / 16, 1000};
    double first = 0, applied = 1;
    for (int u = 0; u < 3; u++) {
        for (size_t i = 0; i < data.n * D; i++) {
            data.x[i] *= units[u] / applied;
            held_out.x[i] *= units[u] / applied;
        }
        applied = units[u];
        nf_model *model = new_model(context, 16, 4, 1);
        nf_train_data d = view(&data);
        nf_train_options o = nf_train_defaults();
        o.epochs = 200; /* two steps each */
        assert_ok(context, nf_train(context, model, &d, &o, NULL, NULL, NULL));
        double trained = map_at_r(context, model, &held_out);
        if (u == 0) first = trained;
        assert_true(fabs(trained - first) < 0.01);
        assert_true(trained > raw_map_at_r(context, &held_out));
        nf_model_free(context, model);
    }
    free_data(&data);
    free_data(&held_out);
    nf_context_free(context);
}

static int check_shares(void *user, const nf_train_event *event) {
    (void)user;
    if (event->epoch == 0) return 0;
    assert_true(event->active_positive > 0 && event->active_positive <= 1);
    assert_true(event->active_negative > 0 && event->active_negative <= 1);
    return 0;
}

static void active_pairs_are_shares_with_every_loss(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    dataset data = make_data(5, 120, 4);
    static const char *const presets[] = {"weston", "triplet", "tfa-hard", "margin", "supcon"};
    for (int k = 0; k < 10; k++) {
        nf_model *model = new_model(context, 0, 4, 1);
        nf_train_options o = nf_train_defaults();
        nf_train_data d = view(&data);
        assert_ok(context, nf_loss_preset(context, presets[k / 2], &o.loss));
        o.memory_bank = k % 2 == 0 ? 0 : 50;
        o.batch_size = 40;
        o.epochs = 2;
        assert_ok(context, nf_train(context, model, &d, &o, check_shares, NULL, NULL));
        nf_model_free(context, model);
    }
    free_data(&data);
    nf_context_free(context);
}

/* ---- bits ----------------------------------------------------------------------------------- */

typedef struct trained {
    size_t parameters;
    float *parameter;
    double mean[D];
    char metadata[4096];
} trained;

static trained train_once(int threads, nf_isa isa, nf_sampling sampling, bool *ran) {
    trained result = {0};
    nf_context_options options = {.threads = threads, .isa = isa};
    nf_context *context;
    *ran = nf_context_create(&context, &options, NULL) == NF_OK;
    if (!*ran) return result;
    dataset data = make_data(3, 700, 5);
    nf_model *model = new_model(context, 130, 33, 1);
    nf_train_options o = nf_train_defaults();
    o.sampling = sampling;
    o.batch_size = 256;
    o.memory_bank = sampling == NF_SAMPLE_RANDOM ? 300 : 0;
    o.epochs = 3;
    nf_train_data d = view(&data);
    assert_ok(context, nf_train(context, model, &d, &o, NULL, NULL, NULL));
    result.parameters = nf_model_parameters(model);
    result.parameter = malloc(result.parameters * sizeof(float));
    memcpy(result.parameter, nf_model_weight(model, 0, NULL, NULL),
           result.parameters * sizeof(float));
    memcpy(result.mean, nf_model_mean(model), sizeof result.mean);
    const char *key, *value;
    for (size_t i = 0; (key = nf_model_metadata_at(model, i, &value)) != NULL; i++) {
        size_t length = strlen(result.metadata);
        snprintf(result.metadata + length, sizeof result.metadata - length, "%s=%s\n", key, value);
    }
    nf_model_free(context, model);
    free_data(&data);
    nf_context_free(context);
    return result;
}

static void bits_do_not_depend_on_threads_or_instruction_set(void **state) {
    (void)state;
    for (int sampling = NF_SAMPLE_M_PER_CLASS; sampling <= NF_SAMPLE_PAIRS; sampling++) {
        bool ran;
        trained first = train_once(1, NF_ISA_SCALAR, (nf_sampling)sampling, &ran);
        assert_true(ran);
        for (int threads = 1; threads <= 3; threads++) {
            for (nf_isa isa = NF_ISA_AUTO; isa <= NF_ISA_NEON; isa++) {
                trained other = train_once(threads, isa, (nf_sampling)sampling, &ran);
                if (!ran) continue;
                assert_memory_equal(first.parameter, other.parameter,
                                    first.parameters * sizeof(float));
                assert_memory_equal(first.mean, other.mean, sizeof first.mean);
                assert_string_equal(first.metadata, other.metadata);
                free(other.parameter);
            }
        }
        free(first.parameter);
    }
}

static void seed_changes_the_result(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    dataset data = make_data(3, 120, 3);
    float kept[2][D * 4];
    for (int k = 0; k < 2; k++) {
        nf_model *model = new_model(context, 0, 4, 1);
        nf_train_options o = nf_train_defaults();
        o.epochs = 2;
        o.batch_size = 32;
        o.seed = (uint64_t)k;
        nf_train_data d = view(&data);
        assert_ok(context, nf_train(context, model, &d, &o, NULL, NULL, NULL));
        memcpy(kept[k], nf_model_weight(model, 0, NULL, NULL), sizeof kept[k]);
        nf_model_free(context, model);
    }
    assert_memory_not_equal(kept[0], kept[1], sizeof kept[0]);
    free_data(&data);
    nf_context_free(context);
}

/* ---- one step against the formulas ---------------------------------------------------------- */

/* mean-sides of the weston loss over all pairs, in double. */
static double reference_loss(const nf_model *model, const double *p, const dataset *data) {
    double sum[2] = {0, 0}, pairs[2] = {0, 0}, y[200][4];
    for (size_t r = 0; r < data->n; r++) reference_embed(model, p, data->x + r * D, y[r]);
    for (size_t i = 0; i < data->n; i++) {
        for (size_t j = i + 1; j < data->n; j++) {
            double d2 = 0;
            for (size_t k = 0; k < 4; k++) d2 += (y[i][k] - y[j][k]) * (y[i][k] - y[j][k]);
            int same = data->labels[i] == data->labels[j];
            double short_of = fmax(1 - sqrt(d2), 0);
            sum[same] += same ? 0.1 * d2 : short_of * short_of;
            pairs[same]++;
        }
    }
    return sum[0] / pairs[0] + sum[1] / pairs[1];
}

/* Full batch, one SGD step without momentum: W - lr dL/dW with the gradient of the whole chain
 * (loss, layers) by central differences in double. */
static void a_step_follows_the_gradient_of_the_whole_stack(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    dataset data = make_data(4, 40, 4);
    for (int linear = 0; linear < 2; linear++) {
        nf_model *model = new_model(context, linear ? 0 : 7, 4, 0);
        nf_train_options o = nf_train_defaults();
        o.sampling = NF_SAMPLE_ALL;
        o.optimizer = NF_SGD;
        o.momentum = 0;
        o.weight_decay = 0.5;
        o.lr = 0.25;
        o.epochs = 1;
        o.valid_fraction = 0;
        double *p = reference_parameters(model);
        size_t count = nf_model_parameters(model), at = 0;
        double *expected = malloc(count * sizeof *expected);
        for (size_t i = 0; i < count; i++) {
            double kept = p[i], d[2], h = 1e-5;
            for (int half = 0; half < 2; half++, h /= 2) {
                p[i] = kept + h;
                double up = reference_loss(model, p, &data);
                p[i] = kept - h;
                d[half] = (up - reference_loss(model, p, &data)) / (2 * h);
            }
            p[i] = kept;
            expected[i] = (4 * d[1] - d[0]) / 3;
        }
        nf_train_data d = view(&data);
        nf_train_report report;
        assert_ok(context, nf_train(context, model, &d, &o, NULL, NULL, &report));
        assert_true(fabs(report.first_loss - reference_loss(model, p, &data)) <
                    1e-5 * report.first_loss);
        double error = 0, norm = 0;
        for (size_t l = 0; l < nf_model_layers(model); l++) {
            size_t out, in;
            const float *w = nf_model_weight(model, l, &out, &in), *b = nf_model_bias(model, l);
            for (size_t i = 0; i < out * in + out; i++, at++) {
                double got = (double)(i < out * in ? w[i] : b[i - out * in]);
                double decay = i < out * in ? 0.25 * 0.5 * p[at] : 0;
                double step = (p[at] - decay - got) / 0.25;
                error += (step - expected[at]) * (step - expected[at]);
                norm += expected[at] * expected[at];
            }
        }
        assert_true(norm > 0 && sqrt(error) <= 2e-5 * sqrt(norm));
        free(expected);
        free(p);
        nf_model_free(context, model);
    }
    free_data(&data);
    nf_context_free(context);
}

/* Adam's first step moves every parameter with a gradient by lr against its sign; the rate falls
 * as half a cosine. */
static void adam_and_the_cosine(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    dataset data = make_data(4, 40, 4);
    nf_model *model = new_model(context, 0, 4, 0);
    nf_train_options o = nf_train_defaults();
    o.sampling = NF_SAMPLE_ALL;
    o.weight_decay = 0;
    o.valid_fraction = 0;
    o.epochs = 1;
    o.lr = 0.125;
    double *p = reference_parameters(model);
    nf_train_data d = view(&data);
    assert_ok(context, nf_train(context, model, &d, &o, NULL, NULL, NULL));
    const float *w = nf_model_weight(model, 0, NULL, NULL);
    for (size_t i = 0; i < D * 4; i++) assert_true(fabs(fabs(p[i] - (double)w[i]) - 0.125) < 1e-4);
    /* all pairs ignore a common shift: the bias has no gradient but rounding */
    free(p);
    assert_true(nf_learning_rate(&o, 0, 10) == 0.125);
    assert_true(fabs(nf_learning_rate(&o, 5, 10) - 0.0625) < 1e-17);
    assert_true(nf_learning_rate(&o, 9, 10) > 0 && nf_learning_rate(&o, 9, 10) < 0.004);
    o.schedule = NF_SCHEDULE_CONSTANT;
    assert_true(nf_learning_rate(&o, 9, 10) == 0.125);
    nf_model_free(context, model);
    free_data(&data);
    nf_context_free(context);
}

/* ---- validation ----------------------------------------------------------------------------- */

static void best_weights_are_kept_and_patience_stops(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    dataset data = make_data(5, 300, 6), valid = make_data(6, 90, 6);
    nf_model *model = new_model(context, 8, 4, 1);
    nf_train_options o = nf_train_defaults();
    o.patience = 3;
    o.lr = 0.05;
    nf_train_data d = view(&data);
    d.valid_x = nf_matrix_f64(valid.x, valid.n, D);
    d.valid_labels = (nf_labels){valid.labels, valid.n, 0};
    event_log log = {0};
    nf_train_report report;
    assert_ok(context, nf_train(context, model, &d, &o, record, &log, &report));
    assert_int_equal(log.events, report.epochs_run + 1);
    assert_int_equal(report.steps, 2 * report.epochs_run); /* 300 rows in batches of 128 */
    assert_int_equal(report.train_rows, 300);
    assert_int_equal(report.valid_rows, 90);
    assert_true(report.has_validation && log.last.has_validation);
    double best = 0, highest = 0;
    size_t best_epoch = 0;
    for (size_t e = 0; e < log.events; e++) {
        highest = fmax(highest, log.map[e]);
        if (log.map[e] >= highest - 1.0 / 90) best = log.map[e], best_epoch = e;
    }
    assert_true(report.map_at_r == best && report.best_epoch == best_epoch);
    assert_true(log.last.best_map_at_r == best);
    assert_true(report.stopped_early ? report.epochs_run - best_epoch == 3
                                     : report.epochs_run == o.epochs);
    /* the model is the best one, not the last one */
    assert_true(map_at_r(context, model, &valid) == best);
    assert_string_equal(nf_model_metadata(model, "train.lr"), "0.05");
    assert_string_equal(nf_model_metadata(model, "train.sampling"), "m-per-class");
    assert_int_equal(atoi(nf_model_metadata(model, "train.best_epoch")), best_epoch);
    assert_true(strtod(nf_model_metadata(model, "train.map_at_r"), NULL) == best);
    nf_model_free(context, model);
    free_data(&data);
    free_data(&valid);
    nf_context_free(context);
}

static void split_is_stratified_and_seeded(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    enum { N = 127 };
    int64_t labels[N];
    for (size_t r = 0; r < N; r++)
        labels[r] = r < 100 ? (int64_t)r % 2 : r < 125 ? 2 : 3 + (int64_t)r;
    labels[50] = -1;
    nf_partition *partition = NULL;
    assert_ok(context, nf_partition_create(context, (nf_labels){labels, N, 1}, &partition));
    nf_scope scope = nf_scope_enter(context);
    size_t train[N], valid[N], train_rows, valid_rows, other[N];
    assert_ok(context,
              nf_split(context, partition, 0.1, 9, train, &train_rows, valid, &valid_rows));
    /* 49 -> 5, 50 -> 5, 25 -> 3 (2.5 rounded up), lone rows stay */
    assert_int_equal(valid_rows, 13);
    assert_int_equal(train_rows, 126 - 13);
    size_t per_label[3] = {0};
    for (size_t k = 0; k < valid_rows; k++) per_label[labels[valid[k]]]++;
    assert_true(per_label[0] == 5 && per_label[1] == 5 && per_label[2] == 3);
    uint8_t seen[N] = {0};
    for (size_t k = 0; k < train_rows; k++) seen[train[k]]++;
    for (size_t k = 0; k < valid_rows; k++) seen[valid[k]]++;
    for (size_t r = 0; r < N; r++) assert_int_equal(seen[r], r != 50);
    assert_ok(context,
              nf_split(context, partition, 0.1, 10, train, &train_rows, other, &valid_rows));
    assert_memory_not_equal(valid, other, valid_rows * sizeof *valid);
    assert_int_equal(nf_scope_leave(context, scope, NF_OK), NF_OK);
    nf_partition_free(context, partition);
    nf_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_of_training_beats_the_raw_rows),
        cmocka_unit_test(scaled_inputs_give_the_same_quality),
        cmocka_unit_test(active_pairs_are_shares_with_every_loss),
        cmocka_unit_test(bits_do_not_depend_on_threads_or_instruction_set),
        cmocka_unit_test(seed_changes_the_result),
        cmocka_unit_test(a_step_follows_the_gradient_of_the_whole_stack),
        cmocka_unit_test(adam_and_the_cosine),
        cmocka_unit_test(best_weights_are_kept_and_patience_stops),
        cmocka_unit_test(split_is_stratified_and_seeded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
