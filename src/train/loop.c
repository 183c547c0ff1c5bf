/* The training loop. */
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "nearfar/eval.h"
#include "train/train.h"

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* ---- start and end -------------------------------------------------------------------------- */

static nf_status take_scratch(nf_run *run) {
    nf_context *context = run->context;
    size_t count = run->model->parameters;
    bool adam = run->options.optimizer == NF_ADAM;
    struct {
        float **to;
        const char *what;
        bool wanted;
    } arrays[] = {{&run->parameter, "parameters", true},
                  {&run->next, "updated parameters", true},
                  {&run->gradient, "gradient", true},
                  {&run->moment[0], "optimiser state", true},
                  {&run->moment[1], "optimiser state", adam},
                  {&run->best, "best parameters", run->valid_rows > 0}};
    nf_status status = NF_OK;
    for (size_t i = 0; status == NF_OK && i < sizeof arrays / sizeof arrays[0]; i++) {
        if (!arrays[i].wanted) continue;
        status = nf_scratch(context, arrays[i].to, count, sizeof(float), arrays[i].what);
        if (status == NF_OK) memset(*arrays[i].to, 0, count * sizeof(float));
    }
    if (status == NF_OK) {
        status = nf_activations_scratch(context, run->model, run->source.capacity, true, &run->a);
    }
    if (status == NF_OK && run->valid_rows > 0) {
        status = nf_scratch(context, &run->valid_y, run->valid_rows,
                            run->model->options.outputs * sizeof(float), "validation embeddings");
    }
    if (status != NF_OK) return status;
    memcpy(run->parameter, run->model->parameter, count * sizeof(float));
    if (run->best != NULL) memcpy(run->best, run->parameter, count * sizeof(float));
    return NF_OK;
}

/* Working memory of one step, from above: a dense product holds a padded operand and a tile of 96 rows
 * per thread, the loss a few copies of the embedding and its tiles. */
static size_t step_bytes(const nf_run *run) {
    const nf_model *model = run->model;
    size_t n = run->source.capacity, threads = (size_t)run->context->threads, most = 0;
    for (size_t l = 0; l < model->layers; l++) {
        size_t in = model->width[l] + 16, out = model->width[l + 1] + 16;
        size_t wide = nf_max_size(in, out);
        size_t forward = in * out, backward = nf_max_size(n * in, out * in);
        most = nf_max_size(most, nf_max_size(forward, backward) + 96 * threads * wide);
    }
    size_t bank = nf_min_size(run->options.memory_bank, PTRDIFF_MAX / 65536);
    size_t loss = 8 * (n + bank) * (model->options.outputs + 32) + threads * 65536;
    return sizeof(float) * (most + loss) + 65536;
}

/* Keep a step's working memory in the context unless it has a reserve already, so that steps do not
 * call the allocator. Where it is too small the allocator helps out. */
static nf_status take_reserve(nf_run *run) {
    if (run->context->reserve_size > 0) return NF_OK;
    run->owns_reserve = true;
    return nf_context_reserve(run->context, step_bytes(run));
}

static void give_reserve_back(nf_run *run) {
    if (!run->owns_reserve) return;
    nf_status status = nf_context_reserve(run->context, 0); /* giving back cannot fail */
    (void)status;
}

/* Put the run's result into the model. */
static void commit(nf_run *run) {
    nf_model *model = run->model;
    const float *result = run->valid_rows > 0 ? run->best : run->parameter;
    memcpy(model->parameter, result, model->parameters * sizeof(float));
    if (run->mean != NULL) {
        memcpy(model->mean, run->mean, model->options.inputs * sizeof(double));
        memcpy(model->std, run->std, model->options.inputs * sizeof(double));
        model->fitted = true;
    }
    nf_train_config_results(run);
    nf_entries old = model->metadata;
    model->metadata = run->metadata;
    run->metadata = old;
}

void nf_run_free(nf_run *run) {
    nf_source_free(run);
    nf_entries_free(run->context, &run->metadata);
}

/* ---- events --------------------------------------------------------------------------------- */

static nf_status send_event(nf_run *run, nf_train_event *event) {
    event->epochs = run->options.epochs;
    event->step = run->step;
    event->seconds = now() - run->started;
    event->beta = nf_beta_mean(&run->beta, run->beta.value);
    event->warning = run->warning[0] != '\0' ? run->warning : NULL;
    int stop = run->on_event != NULL ? run->on_event(run->user, event) : 0;
    run->warning[0] = '\0';
    if (stop == 0) return NF_OK;
    return nf_fail(run->context, NF_ERR_CANCELLED,
                   "training stopped by its callback after epoch "
                   "%zu of %zu",
                   event->epoch, event->epochs);
}

/* MAP@R of the validation rows; keeps the best weights (train.h tells which). */
static nf_status validate(nf_run *run, nf_train_event *event) {
    if (run->valid_rows == 0) return NF_OK;
    nf_context *context = run->context;
    nf_scope scope = nf_scope_enter(context); /* its rows are not counted as steps */
    size_t d = run->model->options.outputs;
    nf_eval_options options = nf_eval_defaults();
    options.verification = 0;
    options.k_count = 0;
    options.distance.metric = run->options.loss.pos_metric;
    options.distance.normalize = run->options.loss.normalize;
    nf_eval_result result;
    nf_status status =
        nf_model_embed_rows(context, run->model, run->parameter, run->mean, run->std, run->valid_x,
                            run->valid_row, run->valid_rows, &run->a, run->valid_y, d);
    if (status == NF_OK) {
        status = nf_eval(context, &options, nf_matrix_f32(run->valid_y, run->valid_rows, d),
                         (nf_labels){run->valid_labels, run->valid_rows, 0}, &result);
    }
    status = nf_scope_leave(context, scope, status);
    if (status != NF_OK) return status;
    nf_train_report *report = &run->report;
    run->highest = report->has_validation ? fmax(run->highest, result.map_at_r) : result.map_at_r;
    if (result.map_at_r >= run->highest - 1 / (double)result.queries) {
        report->has_validation = 1;
        report->map_at_r = result.map_at_r;
        report->best_epoch = event->epoch;
        memcpy(run->best, run->parameter, run->model->parameters * sizeof(float));
        for (size_t k = 0; k < run->beta.count; k++) run->beta.best[k] = run->beta.value[k];
    }
    event->has_validation = 1;
    event->map_at_r = result.map_at_r;
    event->best_map_at_r = report->map_at_r;
    return NF_OK;
}

static double share(uint64_t part, uint64_t whole) {
    return whole > 0 ? (double)part / (double)whole : 0;
}

/* All distances shrank towards 0 since the beginning: the loss has nothing left to push apart. */
static void check_collapse(nf_run *run, const nf_train_event *event) {
    if (run->report.collapsed || !(run->first_negative > 0)) return;
    if (event->mean_negative_distance < 1e-3 * run->first_negative &&
        event->mean_positive_distance <= 1e-3 * run->first_positive) {
        run->report.collapsed = 1;
        nf_warn(run,
                "the embedding collapsed: the mean distance of negative pairs fell from %.3g to "
                "%.3g; use a smaller lr, a larger margin or less weight on positives.",
                run->first_negative, event->mean_negative_distance);
    }
}

/* ---- steps ---------------------------------------------------------------------------------- */

static nf_status diverged(nf_run *run, size_t epoch, const char *what) {
    return nf_fail(run->context, NF_ERR_DIVERGED,
                   "training diverged at step %" PRIu64 " (epoch %zu): %s; the model keeps its %s "
                   "weights. Use a smaller lr (now %g) or input standardisation",
                   run->step + 1, epoch, what, run->valid_rows > 0 ? "best" : "last finite",
                   run->options.lr);
}

/* Triplet losses count active pairs from each end, of which all pairs of a batch have two. */
static uint64_t ends_of(const nf_run *run) {
    const nf_loss_kind kind = run->options.loss.kind;
    const bool triplets = kind == NF_KIND_TRIPLET || kind == NF_KIND_MARGIN;
    return triplets && run->source.bank == NULL && run->options.mine == NULL ? 2 : 1;
}

static void add_sums(nf_epoch_sums *sums, const nf_run *run, const nf_loss_result *result) {
    sums->steps++;
    sums->mined += run->mined;
    sums->empty_steps += run->options.mine != NULL && run->mined == 0;
    sums->loss += result->value;
    sums->positive += result->positive_pairs;
    sums->negative += result->negative_pairs;
    sums->active_positive += result->active_positive;
    sums->active_negative += result->active_negative;
    sums->positive_distance += result->mean_positive_distance * (double)result->positive_pairs;
    sums->negative_distance += result->mean_negative_distance * (double)result->negative_pairs;
}

static nf_status run_step(nf_run *run, size_t epoch, size_t step, nf_epoch_sums *sums) {
    nf_context *context = run->context;
    nf_model *model = run->model;
    nf_loss_result result;
    bool finite = true;
    nf_status status = run->source.load(run, step);
    if (status == NF_OK) {
        status = nf_model_forward(context, model, run->parameter, &run->a, run->rows);
    }
    if (status != NF_OK) return status;
    if (!nf_all_finite(run->a.y, run->rows * model->options.outputs)) {
        return diverged(run, epoch, "an embedding is not finite");
    }
    status = run->source.loss(run, &result);
    if (status == NF_ERR_RANGE || (status == NF_OK && !isfinite(result.value))) {
        return diverged(run, epoch, "the loss or its gradient exceeds float32");
    }
    if (status != NF_OK) return status;
    status = nf_model_backward(context, model, run->parameter, &run->a, run->rows, run->gradient);
    if (status == NF_OK) status = nf_optimizer_step(run, &finite);
    if (status != NF_OK) return status;
    if (!finite) return diverged(run, epoch, "a weight is not finite");
    if (!nf_optimizer_step_beta(run)) return diverged(run, epoch, "a beta is not finite");
    run->step++;
    add_sums(sums, run, &result);
    nf_progress_add(context, 1);
    return nf_progress_status(context);
}

/* What the miner found in an epoch. */
static void tell_mined(nf_run *run, const nf_epoch_sums *sums, nf_train_event *event) {
    if (run->options.mine == NULL) return;
    event->mined = (double)sums->mined / (double)sums->steps;
    event->empty_steps = sums->empty_steps;
    run->report.mined += sums->mined;
    run->report.empty_steps += sums->empty_steps;
    if (sums->mined > 0 || run->warned_empty) return;
    run->warned_empty = true;
    nf_warn(run,
            "the miner %s found nothing in any step of epoch %zu: the loss is 0 and nothing is "
            "learnt; widen its limits, or use larger batches or another miner.",
            nf_miner_name(run->options.mine->miner), event->epoch);
}

static nf_status run_epoch(nf_run *run, size_t epoch) {
    nf_epoch_sums sums = {0};
    nf_train_event event = {.epoch = epoch};
    event.lr = nf_learning_rate(&run->options, run->step, run->total_steps);
    nf_status status = run->source.begin_epoch(run, epoch);
    for (size_t step = 0; status == NF_OK && step < run->source.steps; step++) {
        status = run_step(run, epoch, step, &sums);
    }
    if (status != NF_OK) return status;
    event.loss = sums.loss / (double)sums.steps;
    event.active_positive = share(sums.active_positive, ends_of(run) * sums.positive);
    event.active_negative = share(sums.active_negative, ends_of(run) * sums.negative);
    if (sums.positive > 0) {
        event.mean_positive_distance = sums.positive_distance / (double)sums.positive;
    }
    if (sums.negative > 0) {
        event.mean_negative_distance = sums.negative_distance / (double)sums.negative;
    }
    if (epoch == 1) run->report.first_loss = event.loss;
    run->report.last_loss = event.loss;
    run->report.epochs_run = epoch;
    if (run->valid_rows == 0) run->report.best_epoch = epoch;
    tell_mined(run, &sums, &event);
    if (sums.positive > 0 && sums.negative > 0) check_collapse(run, &event);
    status = validate(run, &event);
    if (status == NF_ERR_RANGE)
        return diverged(run, epoch, "a validation row's embedding is not finite");
    if (status == NF_OK) status = send_event(run, &event);
    return status;
}

static nf_status before_training(nf_run *run) {
    nf_train_event event = {.lr = nf_learning_rate(&run->options, 0, 1)};
    const nf_partition *partition = run->source.partition;
    if (partition != NULL && partition->singletons > 0) {
        nf_warn(run, "%zu of %zu classes have one training row: they have no positive pair.",
                partition->singletons, partition->classes);
    }
    nf_status status = nf_diagnose(run, &event);
    if (status == NF_OK) status = validate(run, &event);
    if (status == NF_OK) status = send_event(run, &event);
    return status;
}

static nf_status run_epochs(nf_run *run) {
    const nf_train_options *o = &run->options;
    for (size_t epoch = 1; epoch <= o->epochs; epoch++) {
        nf_status status = run_epoch(run, epoch);
        if (status != NF_OK) return status;
        if (run->valid_rows > 0 && o->patience > 0 && epoch < o->epochs &&
            epoch - run->report.best_epoch >= o->patience) {
            run->report.stopped_early = 1;
            break;
        }
    }
    return NF_OK;
}

nf_status nf_run_train(nf_run *run, nf_train_report *report) {
    run->started = now();
    run->power[0] = run->power[1] = 1;
    run->options.loss.stats = 1; /* cheap at the size of a batch */
    run->report.valid_rows = run->valid_rows;
    run->report.train_rows = run->source.rows;
    if (nf_mul_overflows(run->source.steps, run->options.epochs, &run->total_steps)) {
        return nf_fail(run->context, NF_ERR_RANGE, "epochs is %zu: too many steps",
                       run->options.epochs);
    }
    nf_status status = take_scratch(run);
    if (status == NF_OK) status = nf_train_config_write(run);
    if (status != NF_OK) return status;
    nf_progress_start(run->context, run->total_steps);
    status = take_reserve(run);
    if (status == NF_OK) status = before_training(run);
    if (status == NF_OK) status = run_epochs(run);
    give_reserve_back(run);
    run->report.steps = run->step;
    nf_beta_report(run);
    bool partial = status == NF_ERR_CANCELLED || status == NF_ERR_DIVERGED;
    if (status == NF_OK || partial) commit(run);
    if (report != NULL && (status == NF_OK || partial)) *report = run->report;
    return status;
}
