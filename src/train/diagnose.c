/* What can be said before the first step: typical distances against the margin, and labels that
 * look reversed. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/sort.h"
#include "loss/kinds.h"
#include "train/bank.h"
#include "train/train.h"

void nf_warn(nf_run *run, const char *format, ...) {
    size_t length = strlen(run->warning);
    if (length > 0 && length + 1 < NF_WARNING_SIZE) run->warning[length++] = ' ';
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(run->warning + length, NF_WARNING_SIZE - length, format, arguments);
    va_end(arguments);
}

/* Area under the ROC curve, P(d+ < d-) + P(d+ = d-) / 2, of two ascending arrays. */
static double area_under_curve(const double *positive, size_t p, const double *negative, size_t n) {
    double area = 0;
    size_t below = 0, equal = 0; /* positives < and <= the current negative */
    for (size_t k = 0; k < n; k++) {
        while (below < p && positive[below] < negative[k]) below++;
        equal = nf_max_size(equal, below);
        while (equal < p && positive[equal] <= negative[k]) equal++;
        area += (double)below + 0.5 * (double)(equal - below);
    }
    return area / ((double)p * (double)n);
}

/* Standard error of the area when labels mean nothing (Mann & Whitney 1947). */
static double chance_error(double p, double n) { return sqrt((p + n + 1) / (12 * p * n)); }

static void judge_distances(nf_run *run, double *positive, size_t p, double *negative, size_t n) {
    nf_sort_doubles(positive, p);
    nf_sort_doubles(negative, n);
    if (p > 0 && n > 0) {
        double area = area_under_curve(positive, p, negative, n);
        if (area < 0.5 - 3 * chance_error((double)p, (double)n)) {
            nf_warn(
                run,
                "labels look reversed: before training, pairs called the same are farther apart "
                "than the others (AUC %.2f).",
                area);
        }
    }
    if (n == 0) return;
    double median = (negative[(n - 1) / 2] + negative[n / 2]) / 2;
    double margin = run->options.loss.neg_margin;
    run->report.median_distance = median;
    if (run->options.loss.kind != NF_KIND_CONTRASTIVE) return; /* whose margins are no distances */
    if (!(median > 0 && margin > 0)) return;                   /* dot products, or all rows equal */
    if (median > 3 * margin || median < margin / 3) {
        run->report.suggested_margin = median;
        nf_warn(
            run,
            "the margin %.3g is far from the typical distance of a negative pair, %.3g: %s; try "
            "a margin of %.2g.",
            margin, median,
            median > margin ? "few negatives are pushed" : "nearly all negatives are pushed",
            median);
    }
}

static nf_status split_sides(nf_run *run, const float *distance, const nf_sample *sample) {
    double *side[2];
    size_t count[2] = {0, 0};
    nf_status status = NF_OK;
    for (int s = 0; status == NF_OK && s < 2; s++) {
        status = nf_scratch(run->context, &side[s], sample->count, sizeof(double), "distances");
    }
    if (status != NF_OK) return status;
    for (size_t k = 0; k < sample->count; k++) {
        int s = sample->same[k];
        side[s][count[s]++] = (double)distance[k];
    }
    judge_distances(run, side[1], count[1], side[0], count[0]);
    return NF_OK;
}

/* Distances under the metric of negatives of row k of left and row k of right. */
static nf_status distances(nf_run *run, nf_matrix left, nf_matrix right, float *out) {
    int64_t *index = NULL;
    nf_status status = nf_scratch(run->context, &index, left.rows, sizeof *index, "sampled pairs");
    if (status != NF_OK) return status;
    for (size_t k = 0; k < left.rows; k++) index[k] = (int64_t)k;
    nf_distance_options options = nf_distance_defaults();
    options.metric = run->options.loss.neg_metric;
    options.normalize = run->options.loss.normalize;
    return nf_distances_pairs(run->context, &options, left, right, index, index, left.rows, out);
}

static void fill_event(nf_run *run, const nf_loss_result *result, nf_train_event *event) {
    event->loss = result->value;
    if (result->positive_pairs > 0) {
        event->active_positive = (double)result->active_positive / (double)result->positive_pairs;
    }
    if (result->negative_pairs > 0) {
        event->active_negative = (double)result->active_negative / (double)result->negative_pairs;
    }
    event->mean_positive_distance = result->mean_positive_distance;
    event->mean_negative_distance = result->mean_negative_distance;
    run->first_positive = result->mean_positive_distance;
    run->first_negative = result->mean_negative_distance;
}

/* A loss that has terms for sampled pairs: of another one only the distances are looked at. */
static nf_loss loss_of_pairs(const nf_loss *loss) {
    if (nf_kind_has_pair_terms(loss->kind)) return *loss;
    nf_loss pairs = nf_loss_weston();
    pairs.pos_metric = pairs.neg_metric = loss->pos_metric;
    pairs.normalize = loss->normalize;
    pairs.stats = 1;
    return pairs;
}

/* The loss at the start is that of the first batch. */
static nf_status first_batch(nf_run *run, nf_train_event *event) {
    nf_loss_result result;
    nf_status status = run->source.load(run, 0);
    if (status == NF_OK) {
        status = nf_model_forward(run->context, run->model, run->parameter, &run->a, run->rows);
    }
    if (status == NF_OK) status = run->source.loss(run, &result);
    if (status != NF_OK) return status;
    event->loss = result.value;
    if (run->source.bank != NULL)
        nf_bank_reset(run->source.bank); /* which meets it again in step 0 */
    return NF_OK;
}

nf_status nf_diagnose(nf_run *run, nf_train_event *event) {
    nf_context *context = run->context;
    nf_scope scope = nf_scope_enter(context);
    nf_sample sample;
    float *y[2] = {NULL, NULL}, *distance = NULL;
    size_t d = run->model->options.outputs;
    nf_status status = nf_source_sample(run, &sample);
    for (int k = 0; status == NF_OK && k < 2; k++) {
        status = nf_scratch(context, &y[k], sample.count, d * sizeof(float), "sampled embeddings");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &distance, sample.count, sizeof(float), "sampled distances");
    }
    for (int k = 0; status == NF_OK && k < 2; k++) {
        status = nf_model_embed_rows(context, run->model, run->parameter, run->mean, run->std,
                                     k == 0 ? run->source.x : sample.right_x,
                                     k == 0 ? sample.left : sample.right, sample.count, &run->a,
                                     y[k], d);
    }
    if (status == NF_OK) {
        nf_matrix left = nf_matrix_f32(y[0], sample.count, d);
        nf_matrix right = nf_matrix_f32(y[1], sample.count, d);
        nf_loss_result result;
        nf_matrix_out none = {0};
        const nf_loss loss = loss_of_pairs(&run->options.loss);
        status =
            nf_loss_rows(context, &loss, left, right, sample.same, NULL, NULL, &result, none, none);
        if (status == NF_OK) fill_event(run, &result, event);
        if (status == NF_OK && !nf_kind_has_pair_terms(run->options.loss.kind))
            status = first_batch(run, event);
        if (status == NF_OK) status = distances(run, left, right, distance);
        if (status == NF_OK) status = split_sides(run, distance, &sample);
    }
    return nf_scope_leave(context, scope, status);
}
