/* Data, models and a listener for the suites of the trainer. */
#ifndef NF_TEST_TRAIN_DATA_H
#define NF_TEST_TRAIN_DATA_H

#include "support.h"

#define D 12

/* Rows of `classes` classes whose centres differ in few of D columns, under noise. */
typedef struct dataset {
    size_t n;
    double *x;
    int64_t *labels;
} dataset;

static inline dataset make_data(uint64_t seed, size_t n, int64_t classes) {
    dataset data = {n, malloc(n * D * sizeof(double)), malloc(n * sizeof(int64_t))};
    test_random_f64(seed, data.x, n * D, -2, 2);
    for (size_t r = 0; r < n; r++) {
        int64_t label = (int64_t)r % classes;
        data.labels[r] = label;
        data.x[r * D + (size_t)label % 3] += 4 * (double)(label / 3 + 1);
    }
    return data;
}

static inline void free_data(dataset *data) {
    free(data->x);
    free(data->labels);
}

static inline nf_train_data view(const dataset *data) {
    return (nf_train_data){.x = nf_matrix_f64(data->x, data->n, D),
                           .labels = {data->labels, data->n, 0}};
}

static inline nf_model *new_model(nf_context *context, size_t hidden, size_t outputs,
                                  int standardize) {
    nf_model_options o = nf_model_defaults();
    o.inputs = D;
    o.hidden_layers = hidden > 0;
    o.hidden[0] = hidden;
    o.outputs = outputs;
    o.standardize = standardize;
    nf_model *model = NULL;
    assert_ok(context, nf_model_create(context, &o, &model));
    return model;
}

static inline double map_at_r(nf_context *context, const nf_model *model, const dataset *data) {
    size_t k = nf_model_get_options(model)->outputs;
    float *y = malloc(data->n * k * sizeof *y);
    assert_ok(context, nf_model_embed(context, model, nf_matrix_f64(data->x, data->n, D),
                                      nf_matrix_out_f32(y, data->n, k)));
    nf_eval_options options = nf_eval_defaults();
    options.verification = 0;
    nf_eval_result result;
    assert_ok(context, nf_eval(context, &options, nf_matrix_f32(y, data->n, k),
                               (nf_labels){data->labels, data->n, 0}, &result));
    free(y);
    return result.map_at_r;
}

static inline double raw_map_at_r(nf_context *context, const dataset *data) {
    nf_eval_options options = nf_eval_defaults();
    options.verification = 0;
    nf_eval_result result;
    assert_ok(context, nf_eval(context, &options, nf_matrix_f64(data->x, data->n, D),
                               (nf_labels){data->labels, data->n, 0}, &result));
    return result.map_at_r;
}

typedef struct log {
    size_t events;
    double map[200];
    double best;
    size_t stop_after; /* return non-zero at this epoch; 0: never */
    char warnings[4096];
    nf_train_event last, first;
} event_log;

static inline int record(void *user, const nf_train_event *event) {
    event_log *log = user;
    if (log->events == 0) log->first = *event;
    log->map[log->events++] = event->map_at_r;
    log->last = *event;
    if (event->warning != NULL) {
        size_t length = strlen(log->warnings);
        snprintf(log->warnings + length, sizeof log->warnings - length, "%s\n", event->warning);
    }
    return log->stop_after != 0 && event->epoch >= log->stop_after;
}

#endif
