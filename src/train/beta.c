/* The boundary beta of the margin loss as something to learn: where it starts, and what becomes of it. */
#include <math.h>
#include <string.h>

#include "train/list.h"
#include "train/train.h"

/* ---- start ------------------------------------------------------------------------------------ */

static nf_status bad_entry(nf_context *context, const char *key, const char *text) {
    return nf_fail(
        context, NF_ERR_DATA,
        "the model's metadata has %s '%.60s': it must be numbers with commas between, as "
        "training writes them; remove it to start from loss.beta",
        key, text);
}

/* The place of a label; those of an earlier run mostly come in the order of this one. */
static size_t place_of(const nf_learnt_beta *beta, int64_t label, size_t guess) {
    if (guess < beta->count && beta->label[guess] == label) return guess;
    for (size_t k = 0; k < beta->count; k++) {
        if (beta->label[k] == label) return k;
    }
    return beta->count;
}

/* What an earlier run has learnt: one beta for all, or those of labels; classes that are not among
 * them keep theirs. Betas of classes start no beta of all. */
static nf_status restore(nf_run *run) {
    nf_context *context = run->context;
    nf_learnt_beta *beta = &run->beta;
    const char *text = nf_entries_get(&run->model->metadata, "train.beta");
    const char *labels = nf_entries_get(&run->model->metadata, "train.beta_labels");
    double *value;
    int64_t *label;
    bool good;
    if (text == NULL || (labels != NULL && beta->label == NULL)) return NF_OK;
    const size_t count = nf_list_count(text);
    nf_status status = nf_scratch(context, &value, count, sizeof *value, "earlier betas");
    if (status == NF_OK) {
        status = nf_scratch(context, &label, count, sizeof *label, "labels of earlier betas");
    }
    if (status == NF_OK) status = nf_list_numbers(context, text, value, &good);
    if (status != NF_OK) return status;
    if (!good || (labels == NULL && count != 1)) return bad_entry(context, "train.beta", text);
    if (labels == NULL) {
        for (size_t k = 0; k < beta->count; k++) beta->value[k] = value[0];
        return NF_OK;
    }
    if (nf_list_count(labels) != count || !nf_list_integers(labels, label)) {
        return bad_entry(context, "train.beta_labels", labels);
    }
    for (size_t k = 0; k < count; k++) {
        const size_t place = place_of(beta, label[k], k);
        if (place < beta->count) beta->value[place] = value[k];
    }
    return NF_OK;
}

static nf_status take_arrays(nf_run *run, size_t count) {
    nf_learnt_beta *beta = &run->beta;
    double *all;
    nf_status status = nf_scratch(run->context, &all, count, 5 * sizeof *all, "betas");
    if (status != NF_OK) return status;
    memset(all, 0, 5 * count * sizeof *all);
    beta->count = count;
    beta->value = all;
    beta->gradient = all + count;
    beta->best = all + 2 * count;
    beta->moment[0] = all + 3 * count;
    beta->moment[1] = all + 4 * count;
    for (size_t k = 0; k < count; k++) beta->value[k] = run->options.loss.beta;
    return NF_OK;
}

nf_status nf_beta_begin(nf_run *run) {
    const nf_partition *partition = run->source.partition;
    const bool of_classes = run->options.learn_beta == NF_LEARN_BETA_CLASS;
    int64_t *label = NULL;
    nf_status status = take_arrays(run, of_classes ? partition->classes : 1);
    if (status == NF_OK && of_classes) {
        status = nf_scratch(run->context, &label, run->beta.count, sizeof *label, "beta labels");
        for (size_t k = 0; status == NF_OK && k < run->beta.count; k++) {
            label[k] = run->class_label[partition->label[k]];
        }
        run->beta.label = label;
    }
    if (status == NF_OK) status = restore(run);
    if (status == NF_OK) {
        memcpy(run->beta.best, run->beta.value, run->beta.count * sizeof *run->beta.best);
    }
    return status;
}

nf_margin_beta nf_beta_view(const nf_run *run) {
    return (nf_margin_beta){.beta = run->beta.value,
                            .count = run->beta.count,
                            .nu = run->options.nu,
                            .gradient = run->beta.gradient,
                            .by_label = run->beta.label != NULL};
}

/* ---- end -------------------------------------------------------------------------------------- */

const double *nf_beta_result(const nf_run *run) {
    return run->valid_rows > 0 ? run->beta.best : run->beta.value;
}

double nf_beta_mean(const nf_learnt_beta *beta, const double *value) {
    double sum = 0;
    for (size_t k = 0; k < beta->count; k++) sum += value[k];
    return beta->count > 0 ? sum / (double)beta->count : 0;
}

void nf_beta_report(nf_run *run) {
    const nf_learnt_beta *beta = &run->beta;
    const double *value = nf_beta_result(run);
    nf_train_report *report = &run->report;
    if (beta->count == 0) return;
    report->beta = nf_beta_mean(beta, value);
    report->smallest_beta = report->largest_beta = value[0];
    for (size_t k = 1; k < beta->count; k++) {
        report->smallest_beta = fmin(report->smallest_beta, value[k]);
        report->largest_beta = fmax(report->largest_beta, value[k]);
    }
}
