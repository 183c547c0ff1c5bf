#include "eval/eval.h"

#include <math.h>

#include "base/pool.h"

nf_eval_options nf_eval_defaults(void) {
    return (nf_eval_options){.distance = nf_distance_defaults(),
                             .k = {1, 5, 10},
                             .k_count = 3,
                             .retrieval = 1,
                             .verification = 1,
                             .knn_k = 5};
}

static nf_status check_options(nf_context *context, const nf_eval_options *options) {
    if (options->k_count > NF_EVAL_MAX_K) {
        return nf_fail(context, NF_ERR_ARG, "k_count is %zu: at most %d values of k are possible",
                       options->k_count, NF_EVAL_MAX_K);
    }
    for (size_t q = 0; q < options->k_count; q++) {
        if (options->k[q] == 0) {
            return nf_fail(context, NF_ERR_ARG, "k[%zu] is 0: it must be at least 1", q);
        }
    }
    if (options->knn_k == 0) {
        return nf_fail(context, NF_ERR_ARG, "knn_k is 0: it must be at least 1");
    }
    return NF_OK;
}

typedef struct eval_pass {
    const nf_eval_sets *sets;
    nf_strips strips;
    nf_strip strip;
    nf_retrieval *retrieval; /* NULL: not in this pass */
    nf_verify *verify;
} eval_pass;

static void row_task(void *argument, size_t r, int worker) {
    eval_pass *pass = argument;
    size_t i = pass->strip.row + r, column = pass->strip.column, count = pass->strip.columns;
    const char *row = nf_strips_row(&pass->strips, pass->strip, r);
    nf_type type = pass->strips.type;
    if (pass->retrieval != NULL) nf_retrieval_row(pass->retrieval, worker, i, type, row);
    if (pass->verify == NULL) return;
    size_t skip = pass->sets->self ? i + 1 - column : 0; /* pairs are i < j */
    nf_verify_row(pass->verify, worker, i, column + skip, count - skip, type,
                  row + skip * nf_type_size(type));
}

/* Retrieval ranks whole rows; verification of a set with itself needs the upper half only. */
static nf_strip next_strip(const eval_pass *pass, size_t row, size_t elements) {
    bool upper = pass->sets->self && pass->retrieval == NULL;
    size_t column = upper ? row : 0, columns = pass->sets->reference.rows - column;
    size_t rows = nf_max_size(elements / nf_max_size(columns, 1), 1);
    return (nf_strip){row, nf_min_size(nf_min_size(rows, 4096), pass->sets->query.rows - row),
                      column, columns, upper};
}

static nf_status run_pass(nf_context *context, eval_pass *pass) {
    nf_status status = NF_OK;
    size_t elements = pass->strips.capacity;
    for (size_t row = 0; row < pass->sets->query.rows && status == NF_OK; row += pass->strip.rows) {
        pass->strip = next_strip(pass, row, elements);
        uint64_t work = (uint64_t)pass->strip.rows * pass->strip.columns;
        if (pass->verify != NULL) status = nf_verify_strip(context, pass->verify, work);
        if (status == NF_OK) status = nf_strips_compute(context, &pass->strips, pass->strip);
        if (status == NF_OK) {
            status = nf_parallel(context, pass->strip.rows, work > (1 << 14), 0, row_task, pass);
        }
        nf_progress_add(context, work);
        if (status == NF_OK) status = nf_progress_status(context);
    }
    return status;
}

/* Work of one verification pass, and a new total once the number of passes is known. */
static void expect_passes(nf_context *context, const eval_pass *pass) {
    if (context->progress_depth != context->depth) return;
    uint64_t n = pass->sets->query.rows, each = n * pass->sets->reference.rows;
    if (pass->sets->self) each = (each + n) / 2;
    context->progress_total = context->progress_done + each * nf_verify_passes_left(pass->verify);
}

static nf_status run_passes(nf_context *context, eval_pass *pass) {
    uint64_t all = (uint64_t)pass->sets->query.rows * pass->sets->reference.rows;
    nf_progress_start(context, pass->verify == NULL || pass->verify->mode == NF_VERIFY_COLLECT
                                   ? all
                                   : 4 * all /* a guess, put right after the first pass */);
    nf_status status = run_pass(context, pass);
    bool again = pass->verify != NULL;
    if (status == NF_OK && again) status = nf_verify_pass_done(context, pass->verify, &again);
    pass->retrieval = NULL;
    if (status == NF_OK && again) expect_passes(context, pass);
    while (status == NF_OK && again) {
        status = run_pass(context, pass);
        if (status == NF_OK) status = nf_verify_pass_done(context, pass->verify, &again);
    }
    return status;
}

static nf_eval_result empty_result(size_t n) {
    const double none = (double)NAN;
    nf_eval_result result = {.n = n,
                             .r_precision = none,
                             .map_at_r = none,
                             .knn_accuracy = none,
                             .roc_auc = none,
                             .eer = none,
                             .eer_threshold = none,
                             .tar_at_far_1e2 = none,
                             .tar_at_far_1e3 = none,
                             .best_accuracy = none,
                             .best_threshold = none};
    for (int q = 0; q < NF_EVAL_MAX_K; q++) result.recall[q] = none;
    return result;
}

/* Elements of the strip buffer: a whole row of distances at least. */
static size_t strip_capacity(const nf_eval_sets *sets, nf_eval_limits limits) {
    size_t columns = nf_max_size(sets->reference.rows, 1), all;
    size_t capacity = nf_max_size(limits.strip_elements, columns);
    if (!nf_mul_overflows(columns, sets->query.rows, &all)) capacity = nf_min_size(capacity, all);
    return capacity;
}

nf_status nf_eval_run(nf_context *context, const nf_eval_options *options,
                      const nf_eval_input *input, nf_eval_limits limits, nf_eval_result *result) {
    nf_scope scope = nf_scope_enter(context);
    nf_eval_options chosen = options != NULL ? *options : nf_eval_defaults();
    nf_eval_sets sets;
    nf_retrieval retrieval;
    nf_verify verify;
    eval_pass pass = {.sets = &sets};
    nf_status status = check_options(context, &chosen);
    if (status == NF_OK) status = nf_eval_sets_make(context, input, &sets);
    if (status == NF_OK) {
        status = nf_strips_begin(context, &chosen.distance, sets.query, input->self ? "x" : "query",
                                 sets.reference, "reference", strip_capacity(&sets, limits),
                                 &pass.strips);
    }
    if (status == NF_OK && chosen.retrieval) {
        pass.retrieval = &retrieval;
        status = nf_retrieval_begin(context, &sets, &chosen, &retrieval);
    }
    if (status == NF_OK && chosen.verification) {
        pass.verify = &verify;
        status = nf_verify_begin(context, &sets, limits, pass.strips.capacity, &verify);
    }
    if (status == NF_OK) status = run_passes(context, &pass);
    if (status == NF_OK) {
        nf_eval_result made = empty_result(sets.query.rows);
        if (chosen.retrieval) nf_retrieval_result(&retrieval, &made);
        if (chosen.verification) nf_verify_result(&verify, &made);
        *result = made;
    }
    return nf_scope_leave(context, scope, status);
}

nf_status nf_eval(nf_context *context, const nf_eval_options *options, nf_matrix x,
                  nf_labels labels, nf_eval_result *result) {
    nf_eval_input input = {.query = x, .query_labels = labels, .self = true};
    return nf_eval_run(context, options, &input, nf_eval_default_limits(), result);
}

nf_status nf_eval_reference(nf_context *context, const nf_eval_options *options, nf_matrix query,
                            nf_labels query_labels, const int64_t *query_ids, nf_matrix reference,
                            nf_labels reference_labels, const int64_t *reference_ids,
                            nf_eval_result *result) {
    nf_eval_input input = {.query = query,
                           .reference = reference,
                           .query_labels = query_labels,
                           .reference_labels = reference_labels,
                           .query_ids = query_ids,
                           .reference_ids = reference_ids};
    return nf_eval_run(context, options, &input, nf_eval_default_limits(), result);
}

nf_status nf_eval_label_sets(nf_context *context, const nf_eval_options *options, nf_matrix x,
                             const nf_label_sets *sets, nf_eval_result *result) {
    nf_eval_input input = {.query = x, .self = true, .several = true, .query_sets = sets};
    return nf_eval_run(context, options, &input, nf_eval_default_limits(), result);
}

nf_status nf_eval_label_sets_reference(nf_context *context, const nf_eval_options *options,
                                       nf_matrix query, const nf_label_sets *query_sets,
                                       const int64_t *query_ids, nf_matrix reference,
                                       const nf_label_sets *reference_sets,
                                       const int64_t *reference_ids, nf_eval_result *result) {
    nf_eval_input input = {.query = query,
                           .reference = reference,
                           .query_ids = query_ids,
                           .reference_ids = reference_ids,
                           .several = true,
                           .query_sets = query_sets,
                           .reference_sets = reference_sets};
    return nf_eval_run(context, options, &input, nf_eval_default_limits(), result);
}
