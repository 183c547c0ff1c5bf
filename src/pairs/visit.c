#include "nearfar/pairs.h"

#include <inttypes.h>

#include "base/base.h"
#include "pairs/pairs.h"

#define NF_VISIT_BLOCK 4096

static nf_status visit_blocks(nf_context *context, nf_pair_walk *walk, int64_t *i, int64_t *j,
                              uint8_t *same, nf_pair_fn visit, void *user) {
    uint64_t seen = 0;
    size_t count;
    while ((count = nf_pair_walk_next(walk, NF_VISIT_BLOCK, i, j, same)) > 0) {
        int answer = visit(user, count, i, j, same);
        if (answer != 0) {
            return nf_fail(context, NF_ERR_CALLBACK,
                           "the pair callback returned %d for the block after pair %" PRIu64,
                           answer, seen);
        }
        seen += count;
        nf_progress_add(context, count);
        nf_status status = nf_progress_status(context);
        if (status != NF_OK) return status;
    }
    return NF_OK;
}

nf_status nf_pairs_visit(nf_context *context, const nf_partition *partition, nf_pair_kind kind,
                         nf_pair_fn visit, void *user) {
    nf_scope scope = nf_scope_enter(context);
    nf_pair_walk walk;
    uint64_t total;
    int64_t *i = NULL, *j = NULL;
    uint8_t *same = NULL;
    nf_status status = nf_pair_walk_begin(context, partition, kind, &walk, &total);
    if (status == NF_OK) status = nf_scratch(context, &i, NF_VISIT_BLOCK, sizeof *i, "pair block");
    if (status == NF_OK) status = nf_scratch(context, &j, NF_VISIT_BLOCK, sizeof *j, "pair block");
    if (status == NF_OK) {
        status = nf_scratch(context, &same, NF_VISIT_BLOCK, sizeof *same, "pair block");
    }
    if (status == NF_OK) {
        nf_progress_start(context, total);
        status = visit_blocks(context, &walk, i, j, same, visit, user);
    }
    return nf_scope_leave(context, scope, status);
}
