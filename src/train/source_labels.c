/* Pairs from labelled rows: all pairs of a batch, or pairs drawn for the epoch. */
#include "base/random.h"
#include "train/bank.h"
#include "train/train.h"

/* ---- batches -------------------------------------------------------------------------------- */

static nf_status begin_batches(nf_run *run, size_t epoch) {
    nf_source *s = &run->source;
    const nf_train_options *o = &run->options;
    nf_batch_options options = nf_batch_defaults();
    options.kind = o->sampling == NF_SAMPLE_ALL      ? NF_BATCH_ALL
                   : o->sampling == NF_SAMPLE_RANDOM ? NF_BATCH_RANDOM
                                                     : NF_BATCH_M_PER_CLASS;
    if (options.kind != NF_BATCH_ALL) options.batch_size = o->batch_size;
    options.per_class = options.kind == NF_BATCH_M_PER_CLASS ? o->per_class : 1;
    options.seed = o->seed;
    options.epoch = epoch;
    nf_batches_free(run->context, s->batches);
    s->batches = NULL;
    return nf_batches_create(run->context, s->partition, &options, &s->batches);
}

static nf_status load_batch(nf_run *run, size_t step) {
    nf_source *s = &run->source;
    size_t first = s->batches->offset[step], n = s->batches->offset[step + 1] - first;
    for (size_t k = 0; k < n; k++) {
        size_t row = s->batches->row[first + k];
        s->step_row[k] = s->row[row];
        s->step_labels[k] = s->partition->class_of[row];
        if (s->bank != NULL) s->step_ids[k] = (int64_t)row;
    }
    run->rows = n;
    return nf_model_gather(run->context, run->mean, run->std, s->x, s->step_row, n, &run->a, 0);
}

static nf_status loss_batch(nf_run *run, nf_loss_result *result) {
    size_t d = run->model->options.outputs;
    nf_labels labels = {run->source.step_labels, run->rows, 0};
    if (run->beta.count > 0) {
        const nf_margin_beta beta = nf_beta_view(run);
        return nf_loss_margin(run->context, &run->options.loss,
                              nf_matrix_f32(run->a.y, run->rows, d), labels, &beta, result,
                              nf_matrix_out_f32(run->a.gradient[0], run->rows, d));
    }
    return nf_loss_batch(run->context, &run->options.loss, nf_matrix_f32(run->a.y, run->rows, d),
                         labels, result, nf_matrix_out_f32(run->a.gradient[0], run->rows, d));
}

/* The batch against the bank. A row that comes again replaces nothing, but its ids keep it from
 * meeting its older self. */
static nf_status loss_bank(nf_run *run, nf_loss_result *result) {
    nf_source *s = &run->source;
    const size_t d = run->model->options.outputs;
    const nf_margin_beta beta = nf_beta_view(run);
    const nf_bank_batch batch = {.x = nf_matrix_f32(run->a.y, run->rows, d),
                                 .labels = {s->step_labels, run->rows, 0},
                                 .ids = s->step_ids};
    nf_target_rule rule;
    nf_bank_loss call = {.loss = &run->options.loss,
                         .beta = run->beta.count > 0 ? &beta : NULL,
                         .result = result,
                         .gradient = nf_matrix_out_f32(run->a.gradient[0], run->rows, d)};
    if (s->targets != NULL) {
        rule = *s->targets;
        rule.side[0].row = s->step_row;
        call.rule = &rule;
        call.row_of_id = s->row;
    }
    return nf_bank_loss_run(run->context, s->bank, batch, &call);
}

/* With all its memory, so that no step allocates. */
static nf_status plan_bank(nf_run *run) {
    nf_source *s = &run->source;
    size_t capacity = run->options.memory_bank;
    nf_status status =
        nf_bank_blank(run->context, capacity, run->model->options.outputs, NF_FLOAT32, &s->bank);
    if (status == NF_OK) status = nf_bank_make_room(run->context, s->bank, capacity);
    s->loss = run->options.mine != NULL ? nf_source_mined_loss : loss_bank;
    return status == NF_OK ? nf_scratch(run->context, &s->step_ids, s->capacity, sizeof(int64_t),
                                        "ids of the batch")
                           : status;
}

/* The number of batches is the same in every epoch and their sizes differ by at most a group, so
 * the first epoch's batches tell the largest. */
static nf_status plan_batches(nf_run *run) {
    nf_source *s = &run->source;
    nf_status status = begin_batches(run, 1);
    if (status != NF_OK) return status;
    size_t largest = 0;
    for (size_t b = 0; b < s->batches->batches; b++) {
        largest = nf_max_size(largest, s->batches->offset[b + 1] - s->batches->offset[b]);
    }
    size_t spare = run->options.sampling == NF_SAMPLE_M_PER_CLASS ? run->options.per_class : 0;
    s->steps = s->batches->batches;
    s->capacity = nf_min_size(s->rows, largest + spare);
    s->begin_epoch = begin_batches;
    s->load = load_batch;
    s->loss = s->targets != NULL          ? nf_source_targets_loss
              : run->options.mine != NULL ? nf_source_mined_loss
                                          : loss_batch;
    if (run->options.memory_bank > 0) status = plan_bank(run);
    if (status == NF_OK && run->options.learn_beta != NF_LEARN_BETA_NONE) {
        status = nf_beta_begin(run);
    }
    if (status != NF_OK) return status;
    return nf_scratch(run->context, &s->step_labels, s->capacity, sizeof(int64_t), "batch labels");
}

/* ---- drawn pairs ---------------------------------------------------------------------------- */

static nf_status begin_pairs(nf_run *run, size_t epoch) {
    nf_source *s = &run->source;
    nf_pair_sample_options options = nf_pair_sample_defaults();
    options.count = s->steps * run->options.batch_size;
    options.positive_fraction = run->options.positive_fraction;
    options.seed = nf_random(run->options.seed, NF_STREAM_PAIRS, epoch);
    return nf_pairs_sample(run->context, s->partition, &options, s->i, s->j, s->drawn_same, NULL);
}

static nf_status load_pairs(nf_run *run, size_t step) {
    nf_source *s = &run->source;
    size_t n = run->options.batch_size, first = step * n;
    for (size_t k = 0; k < n; k++) {
        s->step_row[k] = s->row[s->i[first + k]];
        s->step_row[n + k] = s->row[s->j[first + k]];
        s->step_same[k] = s->drawn_same[first + k];
    }
    run->rows = 2 * n;
    return nf_model_gather(run->context, run->mean, run->std, s->x, s->step_row, 2 * n, &run->a, 0);
}

static nf_status plan_pairs(nf_run *run) {
    nf_source *s = &run->source;
    nf_context *context = run->context;
    size_t batch = run->options.batch_size, count;
    s->steps = nf_max_size(1, s->rows / batch + (s->rows % batch >= batch - batch / 2));
    if (nf_mul_overflows(batch, 2, &s->capacity) || nf_mul_overflows(s->steps, batch, &count)) {
        return nf_fail(context, NF_ERR_RANGE, "batch_size %zu exceeds the address space", batch);
    }
    nf_status status = nf_scratch(context, &s->i, count, sizeof *s->i, "drawn pairs");
    if (status == NF_OK) status = nf_scratch(context, &s->j, count, sizeof *s->j, "drawn pairs");
    if (status == NF_OK) status = nf_scratch(context, &s->drawn_same, count, 1, "drawn pairs");
    if (status == NF_OK) status = nf_scratch(context, &s->step_same, batch, 1, "step pairs");
    s->begin_epoch = begin_pairs;
    s->load = load_pairs;
    s->loss = nf_source_loss_pairs;
    return status;
}

nf_status nf_source_labels(nf_run *run, nf_matrix x, const size_t *row, size_t rows,
                           const int64_t *classes) {
    nf_source *s = &run->source;
    s->x = x;
    s->row = row;
    s->rows = rows;
    nf_status status =
        nf_partition_create(run->context, (nf_labels){classes, rows, 0}, &s->partition);
    if (status != NF_OK) return status;
    status = run->options.sampling == NF_SAMPLE_PAIRS ? plan_pairs(run) : plan_batches(run);
    if (status != NF_OK) return status;
    return nf_scratch(run->context, &s->step_row, s->capacity, sizeof(size_t), "step rows");
}

void nf_source_free(nf_run *run) {
    nf_bank_free(run->context, run->source.bank);
    run->source.bank = NULL;
    nf_batches_free(run->context, run->source.batches);
    nf_partition_free(run->context, run->source.partition);
    run->source.batches = NULL;
    run->source.partition = NULL;
}
