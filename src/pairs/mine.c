#include "pairs/mine.h"

#include <string.h>

#include "base/pool.h"
#include "pairs/pairs.h"

/* The labelled rows of a set. */
typedef struct nf_mine_side {
    nf_panel_set set;
    const size_t *order;     /* ascending */
    const int64_t *class_of; /* of those */
} nf_mine_side;

typedef struct nf_mine_state {
    const nf_mine_job *job;
    nf_mine_side side[2];
    const nf_mine_side *others; /* what anchors, those of side[0], are compared with */
    nf_panels panels;
    uint64_t *offset; /* (anchors + 1) finds before an anchor's */
    size_t worker_bytes, anchor_bytes;
    unsigned char *scratch;
    bool write;
    nf_finds finds;
    atomic_bool infinite;
} nf_mine_state;

static nf_finds finds_at(const nf_finds *finds, uint64_t at) {
    return (nf_finds){finds->first + at, finds->second + at,
                      finds->third != NULL ? finds->third + at : NULL,
                      finds->same != NULL ? finds->same + at : NULL};
}

/* Whether anchor a and column c are one item, whose distance is NaN. */
static bool same_item(const nf_mine_state *state, size_t a, size_t c) {
    const nf_panel_set *own = &state->side[0].set, *others = &state->others->set;
    if (own == others) return a == c;
    return own->ids != NULL && own->ids[a] == others->ids[c];
}

static void anchor_task(void *argument, size_t r, int worker) {
    nf_mine_state *state = argument;
    const nf_mine_side *own = &state->side[0], *others = state->others;
    const size_t a = state->panels.first + r, columns = others->set.rows.count;
    unsigned char *scratch = state->scratch + (size_t)worker * state->worker_bytes;
    nf_anchor anchor;
    nf_anchor_place(&anchor, columns, scratch);
    anchor.item = others->order;
    nf_panels_row(&state->panels, r, anchor.t);
    for (size_t c = 0; c < columns; c++) {
        if (anchor.t[c] - anchor.t[c] == 0 || same_item(state, a, c)) continue;
        atomic_store_explicit(&state->infinite, true, memory_order_relaxed);
    }
    nf_anchor_split(&anchor, others->class_of, own->class_of[a]);
    nf_finds finds = {0};
    if (state->write) finds = finds_at(&state->finds, state->offset[a]);
    size_t found = state->job->miner(state->job->options, &anchor, own->order[a],
                                     state->write ? &finds : NULL, scratch + state->anchor_bytes);
    if (!state->write) state->offset[a + 1] = found;
}

static nf_status pass(nf_context *context, nf_mine_state *state) {
    const size_t anchors = state->side[0].set.rows.count;
    const size_t columns = state->others->set.rows.count;
    nf_status status = NF_OK;
    for (size_t first = 0; first < anchors && status == NF_OK; first += state->panels.block) {
        size_t rows = nf_min_size(state->panels.block, anchors - first);
        bool wake = (double)rows * (double)columns > 1 << 14;
        bool kept = state->write && rows == anchors; /* the one panel of the pass before */
        if (!kept) status = nf_panels_compute(context, &state->panels, first, rows);
        if (status == NF_OK) status = nf_parallel(context, rows, wake, 0, anchor_task, state);
        nf_progress_add(context, 1);
        if (status == NF_OK) status = nf_progress_status(context);
    }
    if (status == NF_OK && atomic_load(&state->infinite)) {
        status = nf_fail(context, NF_ERR_RANGE, "a %s distance exceeds %s: scale the data down%s",
                         nf_metric_name(state->job->metric),
                         state->panels.type == NF_FLOAT32 ? "float32" : "float64",
                         state->panels.type == NF_FLOAT32 ? ", or pass float64" : "");
    }
    return status;
}

/* ---- the result ------------------------------------------------------------------------------- */

/* One block: the struct, then its arrays. */
static nf_status make_result(nf_context *context, nf_mine_state *state, uint64_t count,
                             nf_mined **mined) {
    const size_t head = nf_round_up(sizeof **mined, NF_ALIGNMENT);
    const size_t wide = state->job->triplets ? 3 * sizeof(int64_t) : 2 * sizeof(int64_t) + 1;
    size_t bytes;
    if (count > SIZE_MAX || nf_mul_overflows((size_t)count, wide, &bytes) ||
        nf_add_overflows(bytes, head, &bytes)) {
        bytes = SIZE_MAX;
    }
    unsigned char *block;
    nf_status status = nf_allocate(context, &block, bytes, 1, "what was mined");
    if (status != NF_OK) return status;
    const size_t n = (size_t)count;
    nf_mined *made = (nf_mined *)(void *)block;
    int64_t *first = (int64_t *)(void *)(block + head);
    memset(made, 0, sizeof *made);
    state->finds = (nf_finds){.first = first, .second = first + n};
    if (state->job->triplets) {
        state->finds.third = first + 2 * n;
        made->triplets = n;
        made->anchor = first;
        made->positive = first + n;
        made->negative = first + 2 * n;
    } else {
        state->finds.same = (uint8_t *)(first + 2 * n);
        made->pairs = (nf_pairs){n, first, first + n, state->finds.same, NULL};
    }
    *mined = made;
    return NF_OK;
}

void nf_mined_free(nf_context *context, nf_mined *mined) { nf_release(context, mined); }

/* ---- the run ---------------------------------------------------------------------------------- */

nf_mine_data nf_mine_within(nf_matrix x, nf_labels labels) {
    return (nf_mine_data){{.query = x, .query_labels = labels}, true};
}

nf_status nf_mine_between(nf_context *context, const nf_mine_sets *sets, nf_mine_data *data) {
    if (sets == NULL) return nf_fail(context, NF_ERR_ARG, "sets is NULL: pass an nf_mine_sets");
    *data = (nf_mine_data){*sets, false};
    return NF_OK;
}

static nf_status check_set(nf_context *context, nf_matrix x, nf_labels labels, const char *x_name,
                           const char *name) {
    nf_status status = nf_check_matrix(context, x, x_name);
    if (status == NF_OK && labels.n != x.rows) {
        status =
            nf_fail(context, NF_ERR_ARG, "%s has %zu entries and %s has %zu rows: they must agree",
                    name, labels.n, x_name, x.rows);
    }
    if (status == NF_OK && labels.data == NULL && labels.n > 0) {
        status =
            nf_fail(context, NF_ERR_ARG, "%s is NULL: it must hold %zu labels", name, labels.n);
    }
    return status == NF_OK ? nf_check_finite(context, x, x_name) : status;
}

static nf_status check_match(nf_context *context, const nf_mine_sets *sets) {
    const nf_matrix query = sets->query, reference = sets->reference;
    if (query.cols != reference.cols || query.type != reference.type) {
        return nf_fail(
            context, NF_ERR_ARG,
            "query has %zu columns of %zu bytes and reference %zu of %zu: they must agree",
            query.cols, nf_type_size(query.type), reference.cols, nf_type_size(reference.type));
    }
    if (!sets->query_labels.has_unlabelled != !sets->reference_labels.has_unlabelled) {
        return nf_fail(context, NF_ERR_ARG,
                       "query_labels and reference_labels differ in has_unlabelled: set both to 0 "
                       "or both to 1");
    }
    if ((sets->query_ids == NULL) == (sets->reference_ids == NULL)) return NF_OK;
    return nf_fail(context, NF_ERR_ARG,
                   "only one of query_ids and reference_ids is given: pass both or neither");
}

static nf_status check_data(nf_context *context, const nf_mine_data *data) {
    const nf_mine_sets *sets = &data->sets;
    if (data->within) return check_set(context, sets->query, sets->query_labels, "x", "labels");
    nf_status status = check_set(context, sets->query, sets->query_labels, "query", "query_labels");
    if (status == NF_OK) {
        status = check_set(context, sets->reference, sets->reference_labels, "reference",
                           "reference_labels");
    }
    return status == NF_OK ? check_match(context, sets) : status;
}

/* Labels of both sets, numbered together. */
static nf_status number_labels(nf_context *context, const nf_mine_data *data,
                               nf_partition **partition) {
    const nf_labels a = data->sets.query_labels, b = data->sets.reference_labels;
    if (data->within) return nf_partition_scratch(context, a, partition);
    size_t total;
    int64_t *joint;
    if (nf_add_overflows(a.n, b.n, &total)) total = SIZE_MAX;
    nf_status status = nf_scratch(context, &joint, total, sizeof *joint, "labels");
    if (status != NF_OK) return status;
    if (a.n > 0) memcpy(joint, a.data, a.n * sizeof *joint);
    if (b.n > 0) memcpy(joint + a.n, b.data, b.n * sizeof *joint);
    return nf_partition_scratch(context, (nf_labels){joint, total, a.has_unlabelled}, partition);
}

/* The labelled rows of x; class_of has their classes. */
static nf_status make_side(nf_context *context, const nf_mine_job *job, nf_matrix x,
                           const int64_t *class_of, const int64_t *ids, nf_mine_side *side) {
    size_t *order, count = 0;
    int64_t *own_class, *own_ids = NULL;
    nf_status status = nf_scratch(context, &order, x.rows, sizeof *order, "row order");
    if (status == NF_OK) {
        status = nf_scratch(context, &own_class, x.rows, sizeof *own_class, "classes");
    }
    if (status == NF_OK && ids != NULL) {
        status = nf_scratch(context, &own_ids, x.rows, sizeof *own_ids, "ids");
    }
    if (status != NF_OK) return status;
    for (size_t r = 0; r < x.rows; r++) {
        if (class_of[r] < 0) continue;
        order[count] = r;
        own_class[count] = class_of[r];
        if (ids != NULL) own_ids[count] = ids[r];
        count++;
    }
    side->order = order;
    side->class_of = own_class;
    side->set = (nf_panel_set){
        .rows = {.x = x, .order = count < x.rows ? order : NULL, .count = count}, .ids = own_ids};
    if (!job->normalize && job->metric != NF_COSINE) return NF_OK;
    return nf_rows_make_unit(context, &side->set.rows);
}

static nf_status begin(nf_context *context, nf_mine_state *state, const nf_mine_data *data) {
    const nf_mine_sets *sets = &data->sets;
    nf_partition *partition;
    nf_status status = check_data(context, data);
    if (status == NF_OK) status = number_labels(context, data, &partition);
    if (status != NF_OK) return status;
    status = make_side(context, state->job, sets->query, partition->class_of, sets->query_ids,
                       &state->side[0]);
    if (status == NF_OK && !data->within) {
        status =
            make_side(context, state->job, sets->reference, partition->class_of + sets->query.rows,
                      sets->reference_ids, &state->side[1]);
    }
    if (status != NF_OK) return status;
    state->others = &state->side[data->within ? 0 : 1];
    const size_t anchors = state->side[0].set.rows.count, columns = state->others->set.rows.count;
    status =
        nf_scratch(context, &state->offset, anchors + 1, sizeof *state->offset, "counts of finds");
    if (status == NF_OK) {
        status = nf_panels_begin(context, &state->panels, state->job->metric, &state->side[0].set,
                                 &state->others->set, false);
    }
    state->anchor_bytes = nf_anchor_bytes(columns);
    state->worker_bytes = state->anchor_bytes + nf_round_up(state->job->room, NF_ALIGNMENT);
    if (status == NF_OK) {
        status = nf_scratch(context, &state->scratch, (size_t)context->threads, state->worker_bytes,
                            "an anchor's distances");
    }
    return status;
}

nf_status nf_mine_run(nf_context *context, const nf_mine_job *job, const nf_mine_data *data,
                      nf_mined **mined) {
    nf_mine_state state = {.job = job};
    nf_mined *made = NULL;
    atomic_init(&state.infinite, false);
    if (mined == NULL) {
        return nf_fail(context, NF_ERR_ARG, "mined is NULL: pass the address of a pointer");
    }
    if (nf_metric_name(job->metric) == NULL) {
        return nf_fail(context, NF_ERR_ARG, "metric is %d: it must be an nf_metric value",
                       (int)job->metric);
    }
    nf_status status = begin(context, &state, data);
    if (status != NF_OK) return status;
    const size_t anchors = state.side[0].set.rows.count;
    nf_progress_start(context, 2 * nf_panels_count(&state.panels));
    status = pass(context, &state);
    if (status != NF_OK) return status;
    state.offset[0] = 0;
    for (size_t a = 0; a < anchors; a++) {
        const uint64_t before = state.offset[a], own = state.offset[a + 1];
        /* Beyond counting is beyond memory as well. */
        state.offset[a + 1] = own > UINT64_MAX - before ? UINT64_MAX : before + own;
    }
    status = make_result(context, &state, state.offset[anchors], &made);
    if (status != NF_OK) return status;
    state.write = true;
    status = pass(context, &state);
    if (status == NF_OK) {
        *mined = made;
    } else {
        nf_mined_free(context, made);
    }
    return status;
}
