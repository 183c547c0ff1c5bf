/* Query x reference. Both sets' labels are numbered together; each set is taken in class order. */
#include "loss/reference.h"

#include "loss/arguments.h"
#include "loss/kinds.h"
#include "loss/row_terms.h"
#include "pairs/pairs.h"

#include <string.h>

/* ---- pairs excluded by equal ids -------------------------------------------------------------- */

typedef struct nf_item {
    int64_t id, class_of;
    size_t set;
} nf_item;

static bool item_before(nf_item a, nf_item b) {
    return a.id != b.id ? a.id < b.id : a.set != b.set ? a.set < b.set : a.class_of < b.class_of;
}

static void sift_down(nf_item *items, size_t root, size_t count) {
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && item_before(items[child], items[child + 1])) child++;
        if (!item_before(items[root], items[child])) return;
        nf_item item = items[root];
        items[root] = items[child];
        items[child] = item;
    }
}

/* Heap sort: in place, so that sorting cannot run out of memory. */
static void sort_items(nf_item *items, size_t count) {
    for (size_t root = count / 2; root-- > 0;) sift_down(items, root, count);
    for (size_t end = count; end > 1; end--) {
        nf_item item = items[0];
        items[0] = items[end - 1];
        items[end - 1] = item;
        sift_down(items, 0, end - 1);
    }
}

/* Take pairs with equal ids out of the counts. Items come sorted by (id, set, class). */
static void subtract_excluded(const nf_item *items, size_t count, uint64_t pairs[2]) {
    for (size_t first = 0, stop; first < count; first = stop) {
        for (stop = first + 1; stop < count && items[stop].id == items[first].id;) stop++;
        size_t middle = first;
        while (middle < stop && items[middle].set == 0) middle++;
        uint64_t all = (uint64_t)(middle - first) * (stop - middle), same = 0;
        size_t r = middle; /* both halves ascend by class: merge them */
        for (size_t q = first; q < middle && r < stop;) {
            if (items[q].class_of != items[r].class_of) {
                if (items[q].class_of < items[r].class_of) {
                    q++;
                } else {
                    r++;
                }
                continue;
            }
            int64_t class_of = items[q].class_of;
            uint64_t queries = 0, references = 0;
            while (q < middle && items[q].class_of == class_of) q++, queries++;
            while (r < stop && items[r].class_of == class_of) r++, references++;
            same += queries * references;
        }
        pairs[NF_POSITIVE] -= same;
        pairs[NF_NEGATIVE] -= all - same;
    }
}

/* ---- sets ------------------------------------------------------------------------------------- */

static nf_status number_labels(nf_context *context, const nf_loss_sets *sets,
                               nf_sets_state *state) {
    size_t n = sets->query_labels.n, m = sets->reference_labels.n, total;
    if (nf_add_overflows(n, m, &total)) total = SIZE_MAX;
    int64_t *labels;
    nf_status status = nf_scratch(context, &labels, total, sizeof *labels, "labels");
    if (status != NF_OK) return status;
    if (n > 0) memcpy(labels, sets->query_labels.data, n * sizeof *labels);
    if (m > 0) memcpy(labels + n, sets->reference_labels.data, m * sizeof *labels);
    nf_labels both = {labels, total, sets->query_labels.has_unlabelled};
    return nf_partition_scratch(context, both, &state->partition);
}

/* The members of one set (rows [first, stop) of the joint numbering) in class order. */
static nf_status collect(nf_context *context, const nf_partition *partition, size_t first,
                         size_t stop, const int64_t *ids, nf_tiled_side *side) {
    size_t *order;
    int64_t *class_of, *own_ids = NULL;
    nf_status status = nf_scratch(context, &order, stop - first, sizeof *order, "row order");
    if (status == NF_OK) {
        status = nf_scratch(context, &class_of, stop - first, sizeof *class_of, "classes");
    }
    if (status == NF_OK && ids != NULL) {
        status = nf_scratch(context, &own_ids, stop - first, sizeof *own_ids, "ids");
    }
    if (status != NF_OK) return status;
    for (size_t c = 0; c < partition->classes; c++) {
        for (size_t p = partition->offset[c]; p < partition->offset[c + 1]; p++) {
            size_t row = partition->row[p];
            if (row < first || row >= stop) continue;
            order[side->count] = row - first;
            class_of[side->count] = (int64_t)c;
            if (ids != NULL) own_ids[side->count] = ids[row - first];
            side->count++;
        }
    }
    side->order = order;
    side->class_of = class_of;
    side->ids = own_ids;
    return NF_OK;
}

static nf_status count_pairs(nf_context *context, nf_sets_state *state) {
    const nf_tiled_side *query = &state->side[0], *reference = &state->side[1];
    uint64_t same = 0;
    for (size_t q = 0, r = 0; q < query->count && r < reference->count;) {
        int64_t class_of = query->class_of[q];
        uint64_t queries = 0, references = 0;
        while (q < query->count && query->class_of[q] == class_of) q++, queries++;
        while (r < reference->count && reference->class_of[r] < class_of) r++;
        while (r < reference->count && reference->class_of[r] == class_of) r++, references++;
        same += queries * references;
    }
    state->pairs[NF_POSITIVE] = same;
    state->pairs[NF_NEGATIVE] = (uint64_t)query->count * reference->count - same;
    if (query->ids == NULL) return NF_OK;
    nf_item *items;
    nf_status status =
        nf_scratch(context, &items, query->count + reference->count, sizeof *items, "ids");
    if (status != NF_OK) return status;
    size_t count = 0;
    for (size_t s = 0; s < 2; s++) {
        for (size_t r = 0; r < state->side[s].count; r++) {
            items[count++] = (nf_item){state->side[s].ids[r], state->side[s].class_of[r], s};
        }
    }
    sort_items(items, count);
    subtract_excluded(items, count, state->pairs);
    return NF_OK;
}

/* ---- the form --------------------------------------------------------------------------------- */

static nf_status check_set_labels(nf_context *context, const nf_loss_sets *sets, bool needed) {
    const nf_labels labels[2] = {sets->query_labels, sets->reference_labels};
    const size_t rows[2] = {sets->query.rows, sets->reference.rows};
    const char *const name[2] = {"query_labels", "reference_labels"};
    const char *const x_name[2] = {"query", "reference"};
    for (int s = 0; s < 2; s++) {
        if (!needed && labels[s].data == NULL && labels[s].n == 0) continue;
        nf_status status = nf_check_labels(context, labels[s], name[s], rows[s], x_name[s]);
        if (status != NF_OK) return status;
    }
    if (!labels[0].has_unlabelled == !labels[1].has_unlabelled) return NF_OK;
    return nf_fail(context, NF_ERR_ARG,
                   "query_labels and reference_labels differ in has_unlabelled: set both to 0 "
                   "or both to 1");
}

nf_status nf_sets_check(nf_context *context, const nf_loss_sets *sets, bool labels) {
    if (sets == NULL) return nf_fail(context, NF_ERR_ARG, "sets is NULL: pass an nf_loss_sets");
    nf_matrix query = sets->query, reference = sets->reference;
    nf_status status = nf_check_features(context, query, "query");
    if (status == NF_OK) status = nf_check_features(context, reference, "reference");
    if (status == NF_OK && (query.cols != reference.cols || query.type != reference.type)) {
        status = nf_fail(context, NF_ERR_ARG,
                         "query has %zu columns of %zu bytes and reference %zu of %zu: they must "
                         "agree",
                         query.cols, nf_type_size(query.type), reference.cols,
                         nf_type_size(reference.type));
    }
    if (status == NF_OK) status = check_set_labels(context, sets, labels);
    if (status == NF_OK && (sets->query_ids == NULL) != (sets->reference_ids == NULL)) {
        status = nf_fail(context, NF_ERR_ARG,
                         "only one of query_ids and reference_ids is given: pass both or neither");
    }
    return status;
}

nf_status nf_sets_check_outputs(nf_context *context, const nf_loss *loss, const nf_loss_sets *sets,
                                const nf_row_terms *extras, nf_matrix_out query_gradient,
                                nf_matrix_out reference_gradient) {
    const nf_matrix x[2] = {sets->query, sets->reference};
    const nf_matrix_out gradient[2] = {query_gradient, reference_gradient};
    const char *const x_name[2] = {"query", "reference"};
    const char *const name[2] = {"query_gradient", "reference_gradient"};
    nf_status status = nf_check_gradients(context, gradient, name, x, x_name);
    if (status != NF_OK) return status;
    return nf_row_terms_check(context, loss, extras, x, x_name, gradient, name);
}

nf_status nf_sets_prepare(nf_context *context, const nf_loss *loss, const nf_loss_sets *sets,
                          const nf_row_terms *extras, const nf_loss_result *result,
                          nf_matrix_out query_gradient, nf_matrix_out reference_gradient,
                          nf_sets_state *state) {
    *state = (nf_sets_state){0};
    nf_status status = nf_loss_check(context, loss);
    if (status == NF_OK) status = nf_check_result(context, result);
    if (status == NF_OK) status = nf_sets_check(context, sets, true);
    if (status == NF_OK) {
        status =
            nf_sets_check_outputs(context, loss, sets, extras, query_gradient, reference_gradient);
    }
    if (status == NF_OK) status = number_labels(context, sets, state);
    if (status != NF_OK) return status;
    size_t n = sets->query.rows, total = n + sets->reference.rows;
    state->side[0] = (nf_tiled_side){.x = sets->query, .gradient = query_gradient};
    state->side[1] = (nf_tiled_side){.x = sets->reference, .gradient = reference_gradient};
    status = collect(context, state->partition, 0, n, sets->query_ids, &state->side[0]);
    if (status == NF_OK) {
        status = collect(context, state->partition, n, total, sets->reference_ids, &state->side[1]);
    }
    return status == NF_OK ? count_pairs(context, state) : status;
}

nf_tiled_job nf_sets_job(const nf_loss *loss, nf_sets_state *state) {
    return (nf_tiled_job){.loss = loss,
                          .a = &state->side[0],
                          .b = &state->side[1],
                          .pairs = {state->pairs[0], state->pairs[1]}};
}

nf_status nf_loss_reference(nf_context *context, const nf_loss *loss, const nf_loss_sets *sets,
                            nf_loss_result *result, nf_matrix_out query_gradient,
                            nf_matrix_out reference_gradient) {
    nf_scope scope = nf_scope_enter(context);
    nf_sets_state state;
    nf_status status = nf_sets_prepare(context, loss, sets, NULL, result, query_gradient,
                                       reference_gradient, &state);
    if (status == NF_OK) status = nf_kind_check_reduced(context, loss);
    if (status == NF_OK) {
        const nf_tiled_job job = nf_sets_job(loss, &state);
        status = nf_kind_run(loss->kind)(context, &job, result);
    }
    return nf_scope_leave(context, scope, status);
}
