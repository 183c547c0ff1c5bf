/* Schedules spans of blocks so that no two tasks of a round share one: a round-robin tournament within
 * a set, a rotation between two sets. Each span receives its updates in one fixed order, so the bits
 * do not depend on the number of threads; a task waits for its two spans, never for a whole round. */
#include "loss/pass.h"

#include <sched.h>

#include "base/pool.h"
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

size_t nf_pass_span_blocks(const nf_pass_set *a, const nf_pass_set *b) {
    const size_t block = nf_pass_block_rows(a->rows.x.cols) * nf_span_stride(a->rows.x) *
                         nf_type_size(a->rows.x.type);
    size_t blocks = nf_min_size(NF_SPAN_BYTES / nf_max_size(block, 1), NF_SPAN_BLOCKS);
    blocks = nf_min_size(blocks, nf_max_size(a->blocks, b->blocks) / NF_FEW_SPANS);
    return nf_max_size(blocks, 1);
}

static size_t spans(const nf_pass_set *set, size_t span_blocks) {
    return (set->blocks + span_blocks - 1) / span_blocks;
}

size_t nf_pass_stride(nf_matrix x) { return nf_pad(x.type, x.cols); }

double nf_pass_factor(nf_metric metric) { return nf_metric_family(metric) == NF_SQUARED ? 2 : 1; }

typedef struct nf_schedule_state {
    nf_tile_engine engine;
    nf_pass *pass;
    const atomic_int *cancelled;
    nf_tile_result *of_span; /* (spans[0]) partial results, each written by one task of a round */
    atomic_size_t *met;      /* (spans[0]) rounds each has been through */
    size_t spans[2];
    size_t players; /* spans of the tournament, even; or of the rotation */
    size_t tasks;   /* of a round after the diagonal */
    bool within;
} nf_schedule_state;

/* A meeting of two spans. Round 0 of a tournament is the diagonal, every span with itself. */
typedef struct nf_meeting {
    size_t round, i, j;
    bool bye; /* only i exists */
} nf_meeting;

static nf_meeting meeting(const nf_schedule_state *state, size_t task) {
    const size_t count = state->spans[0];
    nf_meeting own = {0};
    if (!state->within) {
        own.round = task / count;
        own.i = task % count;
        own.j = (own.i + own.round) % state->players;
        own.bye = own.j >= state->spans[1];
        return own;
    }
    if (task < count) {
        own.i = own.j = task;
        return own;
    }
    const size_t round = (task - count) / state->tasks, at = (task - count) % state->tasks;
    const size_t ring = state->players - 1; /* the circle method: one span stays, others rotate */
    size_t one = at == 0 ? ring : (round + at) % ring;
    size_t other = (round + ring - at) % ring;
    own.round = round + 1;
    own.i = nf_min_size(one, other);
    own.j = nf_max_size(one, other);
    own.bye = own.j >= count;
    return own;
}

/* Wait until span i has been through `rounds`; false when the run is cancelled. */
static bool wait_for(const nf_schedule_state *state, size_t i, size_t rounds) {
    for (unsigned spin = 1; atomic_load_explicit(&state->met[i], memory_order_acquire) < rounds;
         spin++) {
        if (atomic_load_explicit(state->cancelled, memory_order_relaxed)) return false;
        if (spin % 64 == 0) sched_yield();
    }
    return true;
}

/* Both spans have met all they meet before. In the rotation a span of b met the next span of a that
 * exists, so many rounds ago as that one is away. */
static bool wait_turn(const nf_schedule_state *state, nf_meeting own) {
    if (!wait_for(state, own.i, own.round)) return false;
    if (own.bye) return true;
    if (state->within) return wait_for(state, own.j, own.round);
    const bool last = own.i + 1 == state->spans[0];
    const size_t next = last ? 0 : own.i + 1, ago = last ? state->players - own.i : 1;
    return own.round < ago || wait_for(state, next, own.round - ago + 1);
}

/* Tasks are begun in their order, so the earliest unfinished one never waits. */
static void meet(void *argument, size_t task, int worker) {
    nf_schedule_state *state = argument;
    const nf_meeting own = meeting(state, task);
    if (!wait_turn(state, own)) return;
    if (!own.bye) nf_tile_run(&state->engine, own.i, own.j, worker, &state->of_span[own.i]);
    atomic_store_explicit(&state->met[own.i], own.round + 1, memory_order_release);
    if (state->within && !own.bye && own.j != own.i) {
        atomic_store_explicit(&state->met[own.j], own.round + 1, memory_order_release);
    }
}

uint64_t nf_pass_work(const nf_pass_set *a, const nf_pass_set *b) {
    if (a->blocks == 0 || b->blocks == 0) return 0;
    const size_t each = nf_pass_span_blocks(a, b), count = spans(a, each);
    if (a != b) return (uint64_t)nf_max_size(count, spans(b, each)) * count;
    size_t players = count + count % 2;
    return count + (uint64_t)(players - 1) * (players / 2);
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

static nf_status make_state(nf_context *context, nf_pass *pass, nf_schedule_state *state) {
    const size_t each = nf_pass_span_blocks(pass->a, pass->b), count = spans(pass->a, each);
    *state = (nf_schedule_state){.pass = pass,
                                 .cancelled = &context->cancelled,
                                 .within = pass->a == pass->b,
                                 .spans = {count, spans(pass->b, each)}};
    state->players = state->within ? count + count % 2 : nf_max_size(count, state->spans[1]);
    state->tasks = state->within ? state->players / 2 : count;
    nf_status status = nf_tile_engine_init(context, &state->engine, pass);
    if (status == NF_OK) {
        status = nf_scratch(context, &state->of_span, count, sizeof *state->of_span, "span sums");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &state->met, count, sizeof *state->met, "span rounds");
    }
    for (size_t i = 0; status == NF_OK && i < count; i++) {
        state->of_span[i] = (nf_tile_result){0};
        atomic_init(&state->met[i], 0);
    }
    return status;
}

nf_status nf_pass_run(nf_context *context, nf_pass *pass) {
    nf_schedule_state state;
    if (pass->a->blocks == 0 || pass->b->blocks == 0) return NF_OK;
    nf_status status = make_state(context, pass, &state);
    if (status == NF_OK) {
        double work = 2.0 * (double)pass->a->rows.count * (double)pass->b->rows.count *
                      (double)pass->a->rows.x.cols;
        status = nf_parallel(context, nf_pass_work(pass->a, pass->b), work > NF_WAKE_FLOPS, 1, meet,
                             &state);
    }
    for (size_t i = 0; status == NF_OK && i < state.spans[0]; i++) {
        add_result(pass, &state.of_span[i]);
    }
    return status;
}
