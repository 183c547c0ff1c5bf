/* Stratified hold-out: every class gives the same share of its rows. */
#include <math.h>

#include "base/random.h"
#include "train/train.h"

/* Rows a class of n keeps for validation. */
static size_t held_out(size_t n, double fraction) {
    size_t count = (size_t)floor((double)n * fraction + 0.5);
    return n > 0 ? nf_min_size(count, n - 1) : 0;
}

nf_status nf_split(nf_context *context, const nf_partition *partition, double fraction,
                   uint64_t seed, size_t *train, size_t *train_rows, size_t *valid,
                   size_t *valid_rows) {
    bool *held = NULL;
    size_t *order = NULL;
    nf_status status = nf_scratch(context, &held, partition->n, sizeof *held, "split");
    if (status == NF_OK) {
        status = nf_scratch(context, &order, partition->labelled, sizeof *order, "split order");
    }
    if (status != NF_OK) return status;
    for (size_t r = 0; r < partition->n; r++) held[r] = false;
    for (size_t c = 0; c < partition->classes; c++) {
        size_t first = partition->offset[c], n = partition->offset[c + 1] - first;
        for (size_t k = 0; k < n; k++) order[k] = partition->row[first + k];
        nf_random_shuffle(seed, nf_random_stream(NF_STREAM_SPLIT, c), order, n);
        for (size_t k = 0; k < held_out(n, fraction); k++) held[order[k]] = true;
    }
    *train_rows = *valid_rows = 0;
    for (size_t r = 0; r < partition->n; r++) {
        if (partition->class_of[r] < 0) continue;
        if (held[r]) {
            valid[(*valid_rows)++] = r;
        } else {
            train[(*train_rows)++] = r;
        }
    }
    return NF_OK;
}
