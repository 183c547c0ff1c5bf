#include "loss/npairs.h"

#include <string.h>

#include "loss/gradient.h"
#include "loss/softmax.h"

/* Anchors and positives as two sets of rows of one matrix. */
static nf_status choose_rows(nf_context *context, const nf_tiled_side *all, nf_tiled_side side[2]) {
    size_t *order;
    int64_t *class_of;
    nf_status status = nf_scratch(context, &order, all->count + 1, sizeof *order, "anchors");
    if (status == NF_OK) {
        status = nf_scratch(context, &class_of, all->count / 2 + 1, sizeof *class_of, "anchors");
    }
    if (status != NF_OK) return status;
    const size_t half = all->count / 2;
    size_t chosen = 0;
    for (size_t first = 0, stop; first < all->count; first = stop) {
        for (stop = first + 1; stop < all->count; stop++) {
            if (all->class_of[stop] != all->class_of[first]) break;
        }
        if (stop - first < 2) continue;
        order[chosen] = all->order[first];
        order[half + chosen] = all->order[first + 1];
        class_of[chosen] = (int64_t)chosen;
        chosen++;
    }
    for (size_t s = 0; s < 2; s++) {
        side[s] = (nf_tiled_side){.x = all->x,
                                  .order = order + s * half,
                                  .count = chosen,
                                  .class_of = class_of,
                                  .gradient = all->gradient};
    }
    return NF_OK;
}

nf_status nf_npairs_run(nf_context *context, const nf_tiled_job *job, nf_loss_result *result) {
    if (job->a != job->b) {
        return nf_fail(context, NF_ERR_ARG,
                       "a loss of kind n-pairs takes its pairs from one set: use nf_loss_batch");
    }
    nf_tiled_side side[2];
    nf_status status = choose_rows(context, job->a, side);
    if (status != NF_OK) return status;
    const uint64_t chosen = side[0].count;
    nf_tiled_job own = {.loss = job->loss,
                        .a = &side[0],
                        .b = &side[1],
                        .pairs = {chosen > 0 ? chosen * (chosen - 1) : 0, chosen},
                        .rows = job->rows};
    nf_softmax_state state;
    status = nf_softmax_compute(context, &own, &state);
    if (status != NF_OK) return status;
    if (job->loss->normalize) { /* both sets are rows of one matrix: its zero rows, once */
        state.result.zero_rows /= 2;
    }
    nf_strip_write_gradient(&side[0], state.side[0].set.set.sum);
    for (size_t r = 0; state.side[1].set.set.sum != NULL && r < side[1].count; r++) {
        nf_gradient_store(side[1].gradient, side[1].order[r],
                          state.side[1].set.set.sum + r * side[1].x.cols);
    }
    nf_softmax_write_terms(&state);
    *result = state.result;
    return NF_OK;
}
