#include "loss/pass.h"

#include "base/pool.h"
#include "loss/owners.h"
#include "loss/schedule.h"
#include "loss/span.h"
#include "loss/tile.h"

size_t nf_pass_block_rows(size_t d) {
    const size_t whole = 16384; /* columns up to which a block has all its rows */
    if (d <= whole) return NF_BLOCK_ROWS;
    return nf_max_size(NF_BLOCK_ROWS * whole / d / 8 * 8, 8);
}

/* A span and its partner, with panels and parts of sums, are about five times this. */
#define NF_SPAN_BYTES ((size_t)450 << 10)
#define NF_FEW_SPANS 8 /* spans a set is cut into at least, for threads to share */
#define NF_MANY_SPANS \
    32 /* so many are enough for them: spans may be twice as long, which halves what
                            is copied and settled for every meeting */

size_t nf_pass_span_blocks(const nf_pass_set *a, const nf_pass_set *b) {
    const size_t block = nf_pass_block_rows(a->rows.x.cols) * nf_span_stride(a->rows.x) *
                         nf_type_size(a->rows.x.type);
    const size_t fit = NF_SPAN_BYTES / nf_max_size(block, 1);
    const size_t most = nf_max_size(a->blocks, b->blocks);
    const size_t usual = nf_min_size(fit, most / NF_FEW_SPANS);
    const size_t wide = nf_min_size(2 * fit, most / NF_MANY_SPANS);
    return nf_max_size(nf_min_size(nf_max_size(usual, wide), NF_SPAN_BLOCKS), 1);
}

size_t nf_pass_stride(nf_matrix x) { return nf_pad(x.type, x.cols); }

double nf_pass_factor(nf_metric metric) { return nf_metric_family(metric) == NF_SQUARED ? 2 : 1; }

typedef struct nf_pass_state {
    nf_tile_engine engine;
    nf_tile_result *of_span; /* (spans of a) partial results, each written by one task of a round */
} nf_pass_state;

static void meet(void *user, size_t i, size_t j, int worker) {
    nf_pass_state *state = user;
    nf_tile_run(&state->engine, i, j, worker, &state->of_span[i]);
}

static nf_schedule schedule_of(const nf_pass_set *a, const nf_pass_set *b) {
    const size_t each = nf_pass_span_blocks(a, b);
    return (nf_schedule){
        .spans = {nf_pass_spans(a, each), nf_pass_spans(b, each)}, .within = a == b, .meet = meet};
}

uint64_t nf_pass_work(const nf_pass_set *a, const nf_pass_set *b) {
    const nf_schedule schedule = schedule_of(a, b);
    return nf_schedule_work(&schedule);
}

static void add_result(nf_pass *pass, const nf_tile_result *part) {
    for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
        pass->sums.phi[side] += part->sums.phi[side];
        pass->sums.distance[side] += part->sums.distance[side];
        pass->sums.active[side] += part->sums.active[side];
    }
    pass->sums.coincident += part->sums.coincident;
    pass->tiles += part->tiles;
    pass->tiles_skipped += part->tiles_skipped;
    pass->updates += part->updates.strips;
    pass->updates_skipped += part->updates.skipped;
}

static nf_status run_tiles(nf_context *context, nf_pass_state *state, nf_schedule *schedule) {
    const nf_pass *pass = state->engine.pass;
    const bool wake = 2.0 * (double)pass->a->rows.count * (double)pass->b->rows.count *
                          (double)pass->a->rows.x.cols >
                      NF_WAKE_FLOPS;
    bool done = false;
    nf_status status = NF_OK;
    if (wake && nf_owners_apply(context, &state->engine)) {
        status = nf_owners_run(context, &state->engine, schedule, state->of_span, &done);
    }
    if (status != NF_OK || done) return status;
    status = nf_schedule_run(context, schedule, wake);
    if (status == NF_OK) nf_tile_settle(&state->engine);
    return status;
}

nf_status nf_pass_run(nf_context *context, nf_pass *pass) {
    nf_pass_state state = {0};
    nf_schedule schedule = schedule_of(pass->a, pass->b);
    const size_t count = schedule.spans[0];
    if (count == 0 || schedule.spans[1] == 0) return NF_OK;
    schedule.user = &state;
    nf_status status = nf_tile_engine_init(context, &state.engine, pass);
    if (status == NF_OK) {
        status = nf_scratch(context, &state.of_span, count, sizeof *state.of_span, "span sums");
    }
    for (size_t i = 0; status == NF_OK && i < count; i++) state.of_span[i] = (nf_tile_result){0};
    if (status == NF_OK) status = run_tiles(context, &state, &schedule);
    for (size_t i = 0; status == NF_OK && i < count; i++) add_result(pass, &state.of_span[i]);
    return status;
}
