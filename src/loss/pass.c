/* Schedules tiles so that no two tasks of a round share a block: a round-robin tournament within a
 * set, a rotation between two sets. Each block receives its updates in one fixed order, so the bits
 * do not depend on the number of threads. */
#include "loss/pass.h"

#include "base/pool.h"
#include "loss/tile.h"

size_t nf_pass_block_rows(size_t d) {
    const size_t whole = 16384; /* columns up to which a block has all its rows */
    if (d <= whole) return NF_BLOCK_ROWS;
    return nf_max_size(NF_BLOCK_ROWS * whole / d / 8 * 8, 8);
}

size_t nf_pass_stride(nf_matrix x) { return nf_pad(x.type, x.cols); }

double nf_pass_factor(nf_metric metric) { return nf_metric_family(metric) == NF_SQUARED ? 2 : 1; }

typedef struct nf_schedule_state {
    nf_tile_engine engine;
    nf_pass *pass;
    nf_tile_result *of_block; /* (a->blocks) partial results, each written by one task of a round */
    size_t round, players;    /* players: blocks of the tournament, even; or of the rotation */
    bool within, diagonal;
} nf_schedule_state;

/* Blocks that meet in task `task` of the current round; false for a bye. */
static bool meet(const nf_schedule_state *state, size_t task, size_t *i, size_t *j) {
    const nf_pass *pass = state->pass;
    if (state->diagonal) {
        *i = *j = task;
        return true;
    }
    if (!state->within) {
        *i = task;
        *j = (task + state->round) % state->players;
        return *j < pass->b->blocks;
    }
    size_t ring = state->players - 1; /* the circle method: one block stays, the others rotate */
    size_t one = task == 0 ? ring : (state->round + task) % ring;
    size_t other = (state->round + ring - task) % ring;
    *i = nf_min_size(one, other);
    *j = nf_max_size(one, other);
    return *j < pass->a->blocks;
}

static void tile_task(void *argument, size_t task, int worker) {
    nf_schedule_state *state = argument;
    size_t i, j;
    if (meet(state, task, &i, &j)) nf_tile_run(&state->engine, i, j, worker, &state->of_block[i]);
}

static nf_status run_rounds(nf_context *context, nf_schedule_state *state, bool wake) {
    nf_pass *pass = state->pass;
    size_t blocks = pass->a->blocks;
    nf_status status = NF_OK;
    if (state->within) {
        state->players = blocks + blocks % 2;
        state->diagonal = true;
        status = nf_parallel(context, blocks, wake, 1, tile_task, state);
        state->diagonal = false;
        for (state->round = 0; status == NF_OK && state->round + 1 < state->players;
             state->round++) {
            status = nf_parallel(context, state->players / 2, wake, 1, tile_task, state);
        }
        return status;
    }
    state->players = nf_max_size(blocks, pass->b->blocks);
    for (state->round = 0; status == NF_OK && state->round < state->players; state->round++) {
        status = nf_parallel(context, blocks, wake, 1, tile_task, state);
    }
    return status;
}

uint64_t nf_pass_work(const nf_pass_set *a, const nf_pass_set *b) {
    if (a->blocks == 0 || b->blocks == 0) return 0;
    if (a != b) return (uint64_t)nf_max_size(a->blocks, b->blocks) * a->blocks;
    size_t players = a->blocks + a->blocks % 2;
    return a->blocks + (uint64_t)(players - 1) * (players / 2);
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
    pass->updates_skipped += part->updates_skipped;
}

nf_status nf_pass_run(nf_context *context, nf_pass *pass) {
    nf_schedule_state state = {.pass = pass, .within = pass->a == pass->b};
    size_t blocks = pass->a->blocks;
    nf_status status = NF_OK;
    if (blocks > 0 && pass->b->blocks > 0) {
        status = nf_tile_engine_init(context, &state.engine, pass);
        if (status == NF_OK) {
            status =
                nf_scratch(context, &state.of_block, blocks, sizeof *state.of_block, "block sums");
        }
        if (status == NF_OK) {
            for (size_t i = 0; i < blocks; i++) state.of_block[i] = (nf_tile_result){0};
            double work = 2.0 * (double)pass->a->rows.count * (double)pass->b->rows.count *
                          (double)pass->a->rows.x.cols;
            status = run_rounds(context, &state, work > NF_WAKE_FLOPS);
        }
        for (size_t i = 0; status == NF_OK && i < blocks; i++) {
            add_result(pass, &state.of_block[i]);
        }
    }
    return status;
}
