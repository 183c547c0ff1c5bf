#include "loss/owners.h"

#include "base/pool.h"

#define NF_OWNERS_BYTES ((size_t)8 << 20) /* at most, of all tiles and of what workers copy */
#define NF_FEWEST_BLOCKS 4

typedef struct nf_owners {
    const nf_tile_engine *engine;
    nf_span *copies;        /* (threads, blocks) */
    nf_tile_record *record; /* (tasks of the schedule); weight NULL: a bye */
    size_t tasks;
    nf_update_work *work; /* (blocks) */
    size_t *order;        /* (tiles) tasks, by what blocks they are of: first the first ones */
    size_t tiles, threads;
    atomic_bool *taken; /* (tiles) of the step, whichever it is of */
} nf_owners;

bool nf_owners_apply(const nf_context *context, const nf_tile_engine *engine) {
    const size_t blocks = engine->spans[0];
    if (context->threads < 2 || !engine->within || !engine->gradient || engine->kept[0] == NULL ||
        engine->span_blocks > 1 || blocks < NF_FEWEST_BLOCKS) {
        return false;
    }
    nf_tile_record record;
    const size_t tiles = blocks * (blocks + 1) / 2;
    const size_t bytes = tiles * nf_tile_record_layout(engine, NULL, &record);
    return bytes <= NF_OWNERS_BYTES && nf_tile_copies_layout(engine, NULL, NULL) <=
                                           (NF_OWNERS_BYTES - bytes) / (size_t)context->threads;
}

/* Tasks of a step are taken from places of the worker's own on, so that a core finds in its cache what
 * it had there the step before, and the call before. Which worker it is changes nothing else. */
static size_t take(const nf_owners *owners, size_t count, int worker) {
    size_t at = count * (size_t)worker / owners->threads;
    while (atomic_exchange_explicit(&owners->taken[at], true, memory_order_relaxed)) {
        at = at + 1 < count ? at + 1 : 0;
    }
    return at;
}

static nf_status run_step(nf_context *context, nf_owners *owners, size_t count, uint64_t units,
                          nf_task_fn task) {
    for (size_t i = 0; i < count; i++) atomic_init(&owners->taken[i], false);
    return nf_parallel(context, count, true, units, task, owners);
}

static void order_tiles(nf_owners *owners) {
    for (size_t sum = 0; sum < 2 * owners->engine->spans[0]; sum++) {
        for (size_t t = 0; t < owners->tasks; t++) {
            const nf_tile_record *record = &owners->record[t];
            if (record->weight == NULL || record->i + record->j != sum) continue;
            owners->order[owners->tiles++] = t;
        }
    }
}

static nf_status make_copies(nf_context *context, nf_owners *owners) {
    const nf_tile_engine *engine = owners->engine;
    const size_t bytes = nf_tile_copies_layout(engine, NULL, NULL), blocks = engine->spans[0];
    unsigned char *base;
    nf_status status = nf_scratch(context, &base, owners->threads, bytes, "rows of workers");
    if (status == NF_OK) {
        status = nf_scratch(context, &owners->copies, owners->threads,
                            blocks * sizeof *owners->copies, "spans of workers");
    }
    for (size_t t = 0; status == NF_OK && t < owners->threads; t++) {
        (void)nf_tile_copies_layout(engine, base + t * bytes, owners->copies + t * blocks);
    }
    return status;
}

static nf_status make_records(nf_context *context, const nf_schedule *schedule, nf_owners *owners) {
    const nf_tile_engine *engine = owners->engine;
    const size_t blocks = engine->spans[0];
    nf_tile_record unused;
    const size_t bytes = nf_tile_record_layout(engine, NULL, &unused);
    unsigned char *base;
    nf_status status = nf_scratch(context, &base, blocks * (blocks + 1) / 2, bytes, "weights");
    if (status == NF_OK) {
        status = nf_scratch(context, &owners->record, owners->tasks, sizeof unused, "tiles");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &owners->work, blocks, sizeof *owners->work, "block work");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &owners->order, owners->tasks, sizeof(size_t), "tile order");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &owners->taken, owners->tasks, sizeof *owners->taken, "tiles");
    }
    for (size_t t = 0; status == NF_OK && t < owners->tasks; t++) {
        size_t i, j;
        nf_tile_record *own = &owners->record[t];
        *own = (nf_tile_record){0};
        if (!nf_schedule_pair(schedule, t, &i, &j)) continue;
        base += nf_tile_record_layout(engine, base, own);
        own->i = i;
        own->j = j;
    }
    if (status == NF_OK) order_tiles(owners);
    return status;
}

static nf_span *copies_of(const nf_owners *owners, int worker) {
    return owners->copies + (size_t)worker * owners->engine->spans[0];
}

static void weigh(void *argument, size_t task, int worker) {
    const nf_owners *owners = argument;
    (void)task;
    const size_t tile = owners->order[take(owners, owners->tiles, worker)];
    nf_tile_record_weigh(owners->engine, copies_of(owners, worker), &owners->record[tile], worker);
}

static void own(void *argument, size_t task, int worker) {
    const nf_owners *owners = argument;
    const size_t block = take(owners, owners->engine->spans[0], worker);
    nf_span *copies = copies_of(owners, worker);
    (void)task;
    owners->work[block] = (nf_update_work){0};
    for (size_t t = 0; t < owners->tasks; t++) {
        const nf_tile_record *record = &owners->record[t];
        if (record->weight == NULL || (record->i != block && record->j != block)) continue;
        nf_tile_record_apply(owners->engine, copies, record, block, &owners->work[block]);
    }
    nf_span_settle(&copies[block]);
}

static bool any_exact(const nf_owners *owners) {
    bool exact = false;
    for (size_t t = 0; t < owners->tasks; t++) exact |= owners->record[t].exact;
    return exact;
}

static void take_results(const nf_owners *owners, nf_tile_result *of_span) {
    for (size_t t = 0; t < owners->tasks; t++) {
        const nf_tile_record *record = &owners->record[t];
        if (record->weight == NULL) continue;
        nf_tile_result *result = &of_span[record->i];
        result->tiles++;
        result->tiles_skipped += record->skipped;
        nf_tile_add_sums(&result->sums, &record->sums);
    }
    for (size_t b = 0; b < owners->engine->spans[0]; b++) {
        of_span[b].updates.strips += owners->work[b].strips;
        of_span[b].updates.skipped += owners->work[b].skipped;
    }
}

nf_status nf_owners_run(nf_context *context, const nf_tile_engine *engine,
                        const nf_schedule *schedule, nf_tile_result *of_span, bool *done) {
    const size_t blocks = engine->spans[0];
    nf_owners owners = {.engine = engine,
                        .tasks = (size_t)nf_schedule_work(schedule),
                        .threads = (size_t)context->threads};
    *done = false;
    nf_status status = make_records(context, schedule, &owners);
    if (status == NF_OK) status = make_copies(context, &owners);
    if (status == NF_OK) status = run_step(context, &owners, owners.tiles, 1, weigh);
    if (status != NF_OK || any_exact(&owners)) return status;
    status = run_step(context, &owners, blocks, 0, own);
    if (status != NF_OK) return status;
    take_results(&owners, of_span);
    *done = true;
    return NF_OK;
}
