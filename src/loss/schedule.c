#include "loss/schedule.h"

#include <sched.h>
#include <stdatomic.h>

#include "base/pool.h"

typedef struct nf_schedule_state {
    const nf_schedule *schedule;
    const atomic_int *cancelled;
    atomic_size_t *met; /* (spans[0]) rounds each has been through */
    size_t players;     /* see players_of */
} nf_schedule_state;

/* Spans of the tournament, even; or of the rotation. */
static size_t players_of(const nf_schedule *schedule) {
    const size_t count = schedule->spans[0];
    return schedule->within ? count + count % 2 : nf_max_size(count, schedule->spans[1]);
}

/* A meeting of two spans. Round 0 of a tournament is the diagonal, every span with itself. */
typedef struct nf_meeting {
    size_t round, i, j;
    bool bye; /* only i exists */
} nf_meeting;

static nf_meeting meeting(const nf_schedule *schedule, size_t task) {
    const size_t count = schedule->spans[0], players = players_of(schedule);
    nf_meeting own = {0};
    if (!schedule->within) {
        own.round = task / count;
        own.i = task % count;
        own.j = (own.i + own.round) % players;
        own.bye = own.j >= schedule->spans[1];
        return own;
    }
    if (task < count) {
        own.i = own.j = task;
        return own;
    }
    const size_t tasks = players / 2; /* of a round */
    const size_t round = (task - count) / tasks, at = (task - count) % tasks;
    const size_t ring = players - 1; /* the circle method: one span stays, others rotate */
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
    if (state->schedule->within) return wait_for(state, own.j, own.round);
    const bool last = own.i + 1 == state->schedule->spans[0];
    const size_t next = last ? 0 : own.i + 1, ago = last ? state->players - own.i : 1;
    return own.round < ago || wait_for(state, next, own.round - ago + 1);
}

/* Tasks are begun in their order, so the earliest unfinished one never waits. */
static void meet(void *argument, size_t task, int worker) {
    nf_schedule_state *state = argument;
    const nf_meeting own = meeting(state->schedule, task);
    if (!wait_turn(state, own)) return;
    if (!own.bye) state->schedule->meet(state->schedule->user, own.i, own.j, worker);
    atomic_store_explicit(&state->met[own.i], own.round + 1, memory_order_release);
    if (state->schedule->within && !own.bye && own.j != own.i) {
        atomic_store_explicit(&state->met[own.j], own.round + 1, memory_order_release);
    }
}

uint64_t nf_schedule_work(const nf_schedule *schedule) {
    const size_t count = schedule->spans[0], players = players_of(schedule);
    if (count == 0 || schedule->spans[1] == 0) return 0;
    if (!schedule->within) return (uint64_t)players * count;
    return count + (uint64_t)(players - 1) * (players / 2);
}

bool nf_schedule_pair(const nf_schedule *schedule, size_t task, size_t *i, size_t *j) {
    const nf_meeting own = meeting(schedule, task);
    *i = own.i;
    *j = own.j;
    return !own.bye;
}

nf_status nf_schedule_run(nf_context *context, const nf_schedule *schedule, bool wake) {
    const size_t count = schedule->spans[0];
    nf_schedule_state state = {
        .schedule = schedule, .cancelled = &context->cancelled, .players = players_of(schedule)};
    nf_status status = nf_scratch(context, &state.met, count, sizeof *state.met, "span rounds");
    for (size_t i = 0; status == NF_OK && i < count; i++) atomic_init(&state.met[i], 0);
    if (status != NF_OK) return status;
    return nf_parallel(context, nf_schedule_work(schedule), wake, 1, meet, &state);
}
