#include "nearfar/pairs.h"

#include <inttypes.h>
#include <string.h>

#include "base/base.h"

static nf_status check_index(nf_context *context, const int64_t *index, size_t count, size_t n) {
    if (index == NULL && count > 0) {
        return nf_fail(context, NF_ERR_ARG, "index is NULL: it must hold %zu row numbers", count);
    }
    for (size_t p = 0; p < count; p++) {
        if (index[p] >= 0 && (uint64_t)index[p] < n) continue;
        return nf_fail(context, NF_ERR_ARG,
                       "index[%zu] is %" PRId64 ": row numbers must be from 0 to n - 1 for the "
                       "n = %zu rows of x",
                       p, index[p], n);
    }
    return NF_OK;
}

nf_status nf_rows_gather(nf_context *context, nf_matrix x, const int64_t *index, size_t count,
                         nf_matrix_out out) {
    nf_scope scope = nf_scope_enter(context);
    nf_status status = nf_check_matrix(context, x, "x");
    if (status == NF_OK) status = nf_check_out(context, out, "out", count, x.cols, x.type);
    if (status == NF_OK) status = nf_check_overlap(context, out, "out", x, "x");
    if (status == NF_OK) status = check_index(context, index, count, x.rows);
    size_t bytes = x.cols * nf_type_size(x.type);
    for (size_t p = 0; p < count && bytes > 0 && status == NF_OK; p++) {
        memcpy(nf_matrix_out_row(out, p), nf_matrix_row(x, (size_t)index[p]), bytes);
    }
    return nf_scope_leave(context, scope, status);
}
