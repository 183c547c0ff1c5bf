/* Exact nearest neighbours: arguments and results of the search. */
#include "distance/search.h"
#include "distance/strips.h"

static nf_status check_k(nf_context *context, nf_matrix query, nf_matrix reference, size_t k,
                         bool exclude_self) {
    if (exclude_self && query.rows != reference.rows) {
        return nf_fail(context, NF_ERR_ARG,
                       "exclude_self needs query and reference of the same rows: they have %zu and "
                       "%zu",
                       query.rows, reference.rows);
    }
    size_t most = reference.rows - (exclude_self && reference.rows > 0);
    if (k >= 1 && k <= most) return NF_OK;
    return nf_fail(context, NF_ERR_ARG,
                   "k is %zu: it must be from 1 to %zu, the %sreference rows there are", k, most,
                   exclude_self ? "other " : "");
}

static nf_status check_output(nf_context *context, nf_matrix query, nf_matrix reference, size_t k,
                              const int64_t *index, void *distance) {
    size_t count, bytes;
    if (nf_mul_overflows(query.rows, k, &count) || nf_mul_overflows(count, 8, &bytes) ||
        bytes > PTRDIFF_MAX) {
        return nf_fail(context, NF_ERR_RANGE, "index (%zu x %zu) exceeds the address space",
                       query.rows, k);
    }
    if (index == NULL && query.rows > 0) {
        return nf_fail(context, NF_ERR_ARG, "index is NULL: it must hold %zu x %zu numbers",
                       query.rows, k);
    }
    nf_matrix_out view = {distance, query.type, query.rows, k, k};
    nf_status status = nf_check_overlap(context, view, "distance", query, "query");
    if (status == NF_OK)
        status = nf_check_overlap(context, view, "distance", reference, "reference");
    return status;
}

static void emit_nothing(void *user, size_t i, size_t first, size_t count, const void *values) {
    (void)user, (void)i, (void)first, (void)count, (void)values;
}

/* A distance beyond the type is an error wherever it is, not only among the nearest. Few matrices
 * can have one; where they can, all distances are looked at. */
static nf_status check_range(nf_context *context, const nf_distance_job *job) {
    const nf_metric metric = job->options.metric;
    if (job->x.inverse != NULL || !nf_distance_may_overflow(metric, job->x.x, job->y.x)) {
        return NF_OK;
    }
    nf_distance_job all = *job;
    all.options.allow_nonfinite = 0;
    all.emit = emit_nothing;
    nf_scope scope = nf_scope_enter(context);
    return nf_scope_leave(context, scope, nf_distance_run(context, &all));
}

nf_status nf_knn(nf_context *context, const nf_distance_options *options, nf_matrix query,
                 nf_matrix reference, size_t k, int exclude_self, int64_t *index, void *distance) {
    nf_scope scope = nf_scope_enter(context);
    nf_distance_job job;
    nf_nearest nearest;
    nf_status status = check_k(context, query, reference, k, exclude_self != 0);
    if (status == NF_OK) {
        status = nf_strips_check(context, options, query, "query", reference, "reference", &job);
    }
    if (status == NF_OK) status = check_output(context, query, reference, k, index, distance);
    if (status == NF_OK) {
        nf_progress_start(context, (uint64_t)query.rows * reference.rows);
        job.options.allow_nonfinite = options != NULL && options->allow_nonfinite;
        if (!job.options.allow_nonfinite) status = check_range(context, &job);
    }
    if (status == NF_OK) {
        status = nf_nearest_begin(context, &nearest, query.type, query.rows, k, reference.rows);
    }
    if (status == NF_OK) {
        status = nf_search_run(context, &job, exclude_self != 0, NF_SEARCH_IMAGE_BYTES, &nearest);
    }
    /* Only now are the outputs touched: an error or a cancel leaves them as they were. */
    if (status == NF_OK && query.rows > 0) nf_nearest_write(&nearest, index, distance);
    return nf_scope_leave(context, scope, status);
}
