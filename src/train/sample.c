/* Pairs to look at before training. */
#include "base/random.h"
#include "train/train.h"

static nf_status sample_labels(nf_run *run, nf_sample *sample) {
    nf_source *s = &run->source;
    nf_context *context = run->context;
    nf_pair_sample_options options = nf_pair_sample_defaults();
    int64_t *i = NULL, *j = NULL;
    sample->count = options.count = 2 * NF_DIAGNOSE_SIDE;
    options.seed = nf_random(run->options.seed, NF_STREAM_DIAGNOSTICS, 0);
    nf_status status = nf_scratch(context, &i, sample->count, sizeof *i, "sampled pairs");
    if (status == NF_OK)
        status = nf_scratch(context, &j, sample->count, sizeof *j, "sampled pairs");
    if (status == NF_OK) {
        status = nf_pairs_sample(context, s->partition, &options, i, j, sample->same, NULL);
    }
    for (size_t k = 0; status == NF_OK && k < sample->count; k++) {
        sample->left[k] = s->row[i[k]];
        sample->right[k] = s->row[j[k]];
    }
    sample->right_x = s->x;
    return status;
}

static nf_status sample_rows(nf_run *run, nf_sample *sample) {
    nf_source *s = &run->source;
    size_t taken[2] = {0, 0};
    for (size_t k = 0; k < s->rows; k++) s->order[k] = k;
    nf_random_shuffle(run->options.seed, NF_STREAM_DIAGNOSTICS, s->order, s->rows);
    sample->count = 0;
    for (size_t k = 0; k < s->rows; k++) {
        size_t pair = s->order[k];
        if (taken[s->same[pair]] == NF_DIAGNOSE_SIDE) continue;
        taken[s->same[pair]]++;
        sample->left[sample->count] = sample->right[sample->count] = pair;
        sample->same[sample->count++] = s->same[pair];
    }
    sample->right_x = s->right;
    return NF_OK;
}

nf_status nf_source_sample(nf_run *run, nf_sample *sample) {
    nf_context *context = run->context;
    size_t room = 2 * NF_DIAGNOSE_SIDE;
    nf_status status = nf_scratch(context, &sample->left, room, sizeof(size_t), "sampled pairs");
    if (status == NF_OK) {
        status = nf_scratch(context, &sample->right, room, sizeof(size_t), "sampled pairs");
    }
    if (status == NF_OK) status = nf_scratch(context, &sample->same, room, 1, "sampled pairs");
    if (status != NF_OK) return status;
    if (run->source.own_positives) return nf_source_targets_sample(run, sample);
    return run->source.partition != NULL ? sample_labels(run, sample) : sample_rows(run, sample);
}
