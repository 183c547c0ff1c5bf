#include "nearfar/pairs.h"

#include <inttypes.h>
#include <math.h>

#include "base/base.h"
#include "pairs/pairs.h"

nf_status nf_pairs_list(nf_context *context, const nf_partition *partition, nf_pair_kind kind,
                        size_t capacity, int64_t *i, int64_t *j, uint8_t *same) {
    nf_scope scope = nf_scope_enter(context);
    nf_pair_walk walk;
    uint64_t total = 0;
    nf_status status = nf_pair_walk_begin(context, partition, kind, &walk, &total);
    if (status == NF_OK && capacity < total) {
        status = nf_fail(context, NF_ERR_RANGE,
                         "capacity is %zu: there are %" PRIu64 " pairs; give larger arrays or use "
                         "nf_pairs_visit",
                         capacity, total);
    }
    if (status == NF_OK && total > 0 && (i == NULL || j == NULL)) {
        status = nf_fail(context, NF_ERR_ARG, "%s is NULL: it must hold %" PRIu64 " row numbers",
                         i == NULL ? "i" : "j", total);
    }
    if (status == NF_OK && total > 0) (void)nf_pair_walk_next(&walk, (size_t)total, i, j, same);
    return nf_scope_leave(context, scope, status);
}

static nf_status check_pair(nf_context *context, nf_pairs pairs, size_t p, size_t n) {
    const int64_t row[2] = {pairs.i[p], pairs.j[p]};
    for (int side = 0; side < 2; side++) {
        if (row[side] < 0 || (uint64_t)row[side] >= n) {
            return nf_fail(context, NF_ERR_ARG,
                           "pairs: %c[%zu] is %" PRId64 ": row numbers must be from 0 to n - 1 for "
                           "n = %zu rows",
                           side == 0 ? 'i' : 'j', p, row[side], n);
        }
    }
    if (row[0] == row[1]) {
        return nf_fail(context, NF_ERR_ARG,
                       "pairs: pair %zu is (%" PRId64 ", %" PRId64 "): a row cannot be paired with "
                       "itself; remove it",
                       p, row[0], row[1]);
    }
    if (pairs.same[p] > 1) {
        return nf_fail(context, NF_ERR_ARG,
                       "pairs: same[%zu] is %u: it must be 1 (same label) or 0 (different label)",
                       p, (unsigned)pairs.same[p]);
    }
    if (pairs.weight != NULL && !(pairs.weight[p] >= 0 && isfinite(pairs.weight[p]))) {
        return nf_fail(context, NF_ERR_ARG,
                       "pairs: weight[%zu] is %g: weights must be finite and at least 0", p,
                       pairs.weight[p]);
    }
    return NF_OK;
}

nf_status nf_pairs_check(nf_context *context, nf_pairs pairs, size_t n) {
    nf_scope scope = nf_scope_enter(context);
    nf_status status = NF_OK;
    if (pairs.count > 0 && (pairs.i == NULL || pairs.j == NULL || pairs.same == NULL)) {
        const char *name = pairs.i == NULL ? "i" : pairs.j == NULL ? "j" : "same";
        status = nf_fail(context, NF_ERR_ARG, "pairs: %s is NULL: it must hold %zu values", name,
                         pairs.count);
    }
    for (size_t p = 0; p < pairs.count && status == NF_OK; p++) {
        status = check_pair(context, pairs, p, n);
    }
    return nf_scope_leave(context, scope, status);
}
