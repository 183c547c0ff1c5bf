/* nf_train and nf_train_rows: checks, split and standardisation, then the loop. */
#include "train/train.h"

#include <math.h>
#include <string.h>

static nf_run new_run(nf_context *context, nf_model *model, const nf_train_options *options,
                      nf_train_fn on_event, void *user) {
    return (nf_run){.context = context,
                    .model = model,
                    .options = options != NULL ? *options : nf_train_defaults(),
                    .on_event = on_event,
                    .user = user};
}

static nf_status check_inputs(nf_context *context, const nf_model *model, nf_matrix x,
                              const char *name) {
    nf_status status = nf_check_matrix(context, x, name);
    if (status == NF_OK && x.cols != model->options.inputs) {
        status = nf_fail(context, NF_ERR_ARG, "%s has %zu columns: the model takes %zu", name,
                         x.cols, model->options.inputs);
    }
    if (status == NF_OK) status = nf_check_finite(context, x, name);
    return status;
}

/* Means and deviations: those the model has, else fitted on the training rows. */
static nf_status standardize(nf_run *run, nf_matrix x, const nf_matrix *right, const size_t *row,
                             size_t rows) {
    nf_model *model = run->model;
    size_t d = model->options.inputs;
    if (!model->options.standardize) return NF_OK;
    nf_status status = nf_scratch(run->context, &run->mean, d, sizeof(double), "column means");
    if (status == NF_OK) {
        status = nf_scratch(run->context, &run->std, d, sizeof(double), "column deviations");
    }
    if (status != NF_OK) return status;
    if (!model->fitted) {
        return nf_standardization_fit(run->context, x, right, row, rows, run->mean, run->std);
    }
    memcpy(run->mean, model->mean, d * sizeof(double));
    memcpy(run->std, model->std, d * sizeof(double));
    return NF_OK;
}

/* ---- labelled rows -------------------------------------------------------------------------- */

static nf_status check_labels(nf_context *context, nf_matrix x, nf_labels labels,
                              const char *name) {
    if (labels.n == x.rows) return NF_OK;
    return nf_fail(context, NF_ERR_ARG, "%s has %zu entries for %zu rows: they must be as many",
                   name, labels.n, x.rows);
}

/* Pairs of both sides. */
static nf_status check_partition(nf_context *context, const nf_partition *partition) {
    if (partition->labelled < 2) {
        return nf_fail(context, NF_ERR_DATA, "%zu labelled row%s: training needs at least 2",
                       partition->labelled, partition->labelled == 1 ? "" : "s");
    }
    if (partition->classes < 2) {
        return nf_fail(context, NF_ERR_DATA,
                       "all %zu labels equal: contrastive loss has no negative pairs",
                       partition->labelled);
    }
    if (partition->positive_pairs == 0) {
        return nf_fail(context, NF_ERR_DATA,
                       "all %zu labels differ: contrastive loss has no positive pairs",
                       partition->labelled);
    }
    return NF_OK;
}

typedef struct split {
    size_t *train, *valid; /* rows of x */
    size_t train_rows, valid_rows;
    int64_t *train_class, *valid_class;
} split;

static bool has_both_sides(const int64_t *classes, size_t n, size_t *count, size_t class_count) {
    memset(count, 0, class_count * sizeof *count);
    size_t seen = 0, most = 0;
    for (size_t k = 0; k < n; k++) {
        size_t members = ++count[classes[k]];
        seen += members == 1;
        most = nf_max_size(most, members);
    }
    return seen > 1 && most > 1;
}

static void take_classes(const nf_partition *partition, const size_t *row, size_t n,
                         int64_t *classes) {
    for (size_t k = 0; k < n; k++) classes[k] = partition->class_of[row[k]];
}

/* Hold rows out unless that leaves a side without pairs to learn from or to measure. */
static nf_status split_rows(nf_run *run, const nf_partition *partition, double fraction, split *s) {
    nf_context *context = run->context;
    size_t n = partition->labelled, *count = NULL;
    nf_status status = nf_scratch(context, &s->train, n, sizeof(size_t), "training rows");
    if (status == NF_OK) status = nf_scratch(context, &s->valid, n, sizeof(size_t), "split");
    if (status == NF_OK) status = nf_scratch(context, &s->train_class, n, sizeof(int64_t), "split");
    if (status == NF_OK) status = nf_scratch(context, &s->valid_class, n, sizeof(int64_t), "split");
    if (status == NF_OK) {
        status = nf_scratch(context, &count, partition->classes, sizeof(size_t), "class sizes");
    }
    for (int attempt = 0; status == NF_OK && attempt < 2; attempt++) {
        status = nf_split(context, partition, attempt == 0 ? fraction : 0, run->options.seed,
                          s->train, &s->train_rows, s->valid, &s->valid_rows);
        if (status != NF_OK) break;
        take_classes(partition, s->train, s->train_rows, s->train_class);
        take_classes(partition, s->valid, s->valid_rows, s->valid_class);
        if (has_both_sides(s->train_class, s->train_rows, count, partition->classes) &&
            has_both_sides(s->valid_class, s->valid_rows, count, partition->classes)) {
            break;
        }
    }
    return status;
}

/* Validation rows the caller gave: labelled ones, with at least one positive pair. */
static nf_status use_given_validation(nf_run *run, const nf_train_data *data) {
    nf_context *context = run->context;
    nf_partition *partition = NULL;
    size_t *row = NULL;
    int64_t *classes = NULL;
    nf_status status = check_inputs(context, run->model, data->valid_x, "valid_x");
    if (status == NF_OK) {
        status = check_labels(context, data->valid_x, data->valid_labels, "valid_labels");
    }
    if (status == NF_OK) status = nf_partition_create(context, data->valid_labels, &partition);
    if (status == NF_OK && partition->positive_pairs == 0) {
        status = nf_fail(context, NF_ERR_DATA,
                         "the validation set has no positive pair: MAP@R needs one; give more rows "
                         "or none");
    }
    size_t n = partition != NULL ? partition->labelled : 0;
    if (status == NF_OK) status = nf_scratch(context, &row, n, sizeof *row, "validation rows");
    if (status == NF_OK) {
        status = nf_scratch(context, &classes, n, sizeof *classes, "validation classes");
    }
    if (status == NF_OK) {
        size_t at = 0;
        for (size_t r = 0; r < partition->n; r++) {
            if (partition->class_of[r] < 0) continue;
            row[at] = r;
            classes[at++] = partition->class_of[r];
        }
        run->valid_x = data->valid_x;
        run->valid_row = row;
        run->valid_labels = classes;
        run->valid_rows = n;
    }
    nf_partition_free(context, partition);
    return status;
}

static nf_status prepare_labels(nf_run *run, const nf_train_data *data,
                                const nf_partition *partition) {
    bool given = data->valid_x.rows > 0;
    split s = {0};
    nf_status status = NF_OK;
    if (given) status = use_given_validation(run, data);
    if (status == NF_OK) {
        status = split_rows(run, partition, given ? 0 : run->options.valid_fraction, &s);
    }
    if (status != NF_OK) return status;
    if (!given) {
        run->valid_x = data->x;
        run->valid_row = s.valid;
        run->valid_labels = s.valid_class;
        run->valid_rows = s.valid_rows;
    }
    status = standardize(run, data->x, NULL, s.train, s.train_rows);
    if (status == NF_OK) {
        status = nf_source_labels(run, data->x, s.train, s.train_rows, s.train_class);
    }
    return status;
}

/* Rows whose targets say what is positive: all of them train. */
static nf_status prepare_targets(nf_run *run, const nf_train_data *data) {
    nf_status status = NF_OK;
    run->options.valid_fraction = 0;
    if (data->valid_x.rows > 0) status = use_given_validation(run, data);
    if (status == NF_OK) status = nf_source_targets(run, data->x);
    if (status != NF_OK) return status;
    return standardize(run, data->x, NULL, run->source.row, run->source.rows);
}

static nf_status prepare(nf_run *run, const nf_train_data *data) {
    const nf_targets *targets = data->targets;
    nf_partition *partition = NULL;
    nf_status status = NF_OK;
    run->source.own_positives =
        targets != NULL && (targets->sets != NULL || targets->soft.data != NULL);
    if (!run->source.own_positives) {
        status = check_labels(run->context, data->x, data->labels, "labels");
    }
    if (status == NF_OK) status = nf_source_targets_make(run, data);
    if (status == NF_OK && run->source.own_positives) return prepare_targets(run, data);
    if (status == NF_OK) status = nf_partition_create(run->context, data->labels, &partition);
    if (status == NF_OK) status = check_partition(run->context, partition);
    run->class_label = partition != NULL ? partition->label : NULL;
    if (status == NF_OK) status = prepare_labels(run, data, partition);
    run->class_label = NULL;
    nf_partition_free(run->context, partition);
    return status;
}

nf_status nf_train(nf_context *context, nf_model *model, const nf_train_data *data,
                   const nf_train_options *options, nf_train_fn on_event, void *user,
                   nf_train_report *report) {
    nf_scope scope = nf_scope_enter(context);
    nf_run run = new_run(context, model, options, on_event, user);
    nf_status status = nf_train_options_check(context, &run.options, true);
    if (status == NF_OK) status = check_inputs(context, model, data->x, "x");
    if (status == NF_OK) status = prepare(&run, data);
    if (status == NF_OK) status = nf_run_train(&run, report);
    nf_run_free(&run);
    return nf_scope_leave(context, scope, status);
}

/* ---- offline pairs -------------------------------------------------------------------------- */

static nf_status check_pairs(nf_context *context, nf_matrix left, nf_matrix right,
                             const uint8_t *same, const double *weight) {
    size_t n = left.rows, positives = 0;
    if (right.rows != n) {
        return nf_fail(context, NF_ERR_ARG,
                       "right has %zu rows and left %zu: a pair needs one of "
                       "each",
                       right.rows, n);
    }
    if (n > 0 && same == NULL) {
        return nf_fail(context, NF_ERR_ARG, "same is NULL: give 1 or 0 for each of %zu pairs", n);
    }
    for (size_t k = 0; k < n; k++) {
        if (same[k] > 1) {
            return nf_fail(context, NF_ERR_ARG,
                           "same[%zu] is %u: it must be 1 (positive) or 0 (negative)", k,
                           (unsigned)same[k]);
        }
        if (weight != NULL && !(isfinite(weight[k]) && weight[k] >= 0)) {
            return nf_fail(context, NF_ERR_ARG, "weight[%zu] is %g: it must be finite and >= 0", k,
                           weight[k]);
        }
        positives += same[k];
    }
    if (n < 2) {
        return nf_fail(context, NF_ERR_DATA,
                       "%zu pair%s: training needs at least one positive and "
                       "one negative pair",
                       n, n == 1 ? "" : "s");
    }
    if (positives == 0 || positives == n) {
        return nf_fail(context, NF_ERR_DATA,
                       "all %zu pairs are %s: contrastive loss has no %s "
                       "pairs",
                       n, positives == 0 ? "negative" : "positive",
                       positives == 0 ? "positive" : "negative");
    }
    return NF_OK;
}

nf_status nf_train_rows(nf_context *context, nf_model *model, nf_matrix left, nf_matrix right,
                        const uint8_t *same, const double *weight, const nf_train_options *options,
                        nf_train_fn on_event, void *user, nf_train_report *report) {
    nf_scope scope = nf_scope_enter(context);
    nf_run run = new_run(context, model, options, on_event, user);
    nf_status status = nf_train_options_check(context, &run.options, false);
    if (status == NF_OK) status = check_inputs(context, model, left, "left");
    if (status == NF_OK) status = check_inputs(context, model, right, "right");
    if (status == NF_OK) status = check_pairs(context, left, right, same, weight);
    if (status == NF_OK) status = standardize(&run, left, &right, NULL, left.rows);
    if (status == NF_OK) status = nf_source_rows(&run, left, right, same, weight);
    if (status == NF_OK) status = nf_run_train(&run, report);
    nf_run_free(&run);
    return nf_scope_leave(context, scope, status);
}
