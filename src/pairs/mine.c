#include "pairs/mine.h"

#include <string.h>

#include "base/pool.h"
#include "pairs/pairs.h"

typedef struct nf_mine_state {
    const nf_mine_job *job;
    nf_panel_set set;
    nf_panels panels;
    const size_t *order; /* labelled rows, ascending */
    int64_t *class_of;   /* of those */
    uint64_t *offset;    /* (labelled + 1) finds before an anchor's */
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

static void anchor_task(void *argument, size_t r, int worker) {
    nf_mine_state *state = argument;
    const size_t a = state->panels.first + r, columns = state->set.rows.count;
    unsigned char *scratch = state->scratch + (size_t)worker * state->worker_bytes;
    nf_anchor anchor;
    nf_anchor_place(&anchor, columns, scratch);
    anchor.item = state->order;
    nf_panels_row(&state->panels, r, anchor.t);
    for (size_t c = 0; c < columns; c++) {
        if (anchor.t[c] - anchor.t[c] == 0 || c == a) continue;
        atomic_store_explicit(&state->infinite, true, memory_order_relaxed);
    }
    nf_anchor_split(&anchor, state->class_of, state->class_of[a]);
    nf_finds finds = {0};
    if (state->write) finds = finds_at(&state->finds, state->offset[a]);
    size_t found = state->job->miner(state->job->options, &anchor, state->order[a],
                                     state->write ? &finds : NULL, scratch + state->anchor_bytes);
    if (!state->write) state->offset[a + 1] = found;
}

static nf_status pass(nf_context *context, nf_mine_state *state) {
    const size_t anchors = state->set.rows.count;
    nf_status status = NF_OK;
    for (size_t first = 0; first < anchors && status == NF_OK; first += state->panels.block) {
        size_t rows = nf_min_size(state->panels.block, anchors - first);
        bool wake = (double)rows * (double)anchors > 1 << 14;
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

static nf_status begin(nf_context *context, nf_mine_state *state, nf_matrix x, nf_labels labels) {
    nf_partition *partition;
    size_t *order, count = 0;
    nf_status status = nf_check_matrix(context, x, "x");
    if (status == NF_OK && labels.n != x.rows) {
        status =
            nf_fail(context, NF_ERR_ARG,
                    "labels has %zu entries and x has %zu rows: they must agree", labels.n, x.rows);
    }
    if (status == NF_OK) status = nf_check_finite(context, x, "x");
    if (status == NF_OK) status = nf_partition_scratch(context, labels, &partition);
    if (status != NF_OK) return status;
    const size_t n = partition->labelled;
    status = nf_scratch(context, &order, n, sizeof *order, "row order");
    if (status == NF_OK) {
        status = nf_scratch(context, &state->class_of, n, sizeof(int64_t), "classes");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &state->offset, n + 1, sizeof(uint64_t), "counts of finds");
    }
    for (size_t r = 0; r < x.rows && status == NF_OK; r++) {
        if (partition->class_of[r] < 0) continue;
        order[count] = r;
        state->class_of[count++] = partition->class_of[r];
    }
    if (status != NF_OK) return status;
    state->order = order;
    state->set = (nf_panel_set){.rows = {.x = x, .order = n < x.rows ? order : NULL, .count = n}};
    if (state->job->normalize || state->job->metric == NF_COSINE) {
        status = nf_rows_make_unit(context, &state->set.rows);
    }
    if (status == NF_OK) {
        status = nf_panels_begin(context, &state->panels, state->job->metric, &state->set,
                                 &state->set, false);
    }
    state->anchor_bytes = nf_anchor_bytes(n);
    state->worker_bytes = state->anchor_bytes + nf_round_up(state->job->room, NF_ALIGNMENT);
    if (status == NF_OK) {
        status = nf_scratch(context, &state->scratch, (size_t)context->threads, state->worker_bytes,
                            "an anchor's distances");
    }
    return status;
}

nf_status nf_mine_run(nf_context *context, const nf_mine_job *job, nf_matrix x, nf_labels labels,
                      nf_mined **mined) {
    nf_mine_state state = {.job = job};
    nf_mined *made = NULL;
    atomic_init(&state.infinite, false);
    if (nf_metric_name(job->metric) == NULL) {
        return nf_fail(context, NF_ERR_ARG, "metric is %d: it must be an nf_metric value",
                       (int)job->metric);
    }
    nf_status status = begin(context, &state, x, labels);
    if (status != NF_OK) return status;
    const size_t anchors = state.set.rows.count;
    nf_progress_start(context, 2 * nf_panels_count(&state.panels));
    status = pass(context, &state);
    if (status != NF_OK) return status;
    state.offset[0] = 0;
    for (size_t a = 0; a < anchors; a++) state.offset[a + 1] += state.offset[a];
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
