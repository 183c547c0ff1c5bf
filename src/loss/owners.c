#include "loss/owners.h"

#include "base/pool.h"

#define NF_RECORD_BYTES ((size_t)6 << 20) /* of all tiles at most */
#define NF_FEWEST_BLOCKS 4

typedef struct nf_owners {
    const nf_tile_engine *engine;
    nf_tile_record *record; /* (tasks of the schedule); weight NULL: a bye */
    size_t tasks;
    nf_update_work *work; /* (blocks) */
} nf_owners;

bool nf_owners_apply(const nf_context *context, const nf_tile_engine *engine) {
    const size_t blocks = engine->spans[0];
    nf_tile_record record;
    return context->threads > 1 && engine->within && engine->gradient && engine->kept[0] != NULL &&
           engine->span_blocks == 1 && blocks >= NF_FEWEST_BLOCKS &&
           nf_tile_record_layout(engine, NULL, &record) <=
               NF_RECORD_BYTES / (blocks * (blocks + 1) / 2);
}

static nf_status make_records(nf_context *context, const nf_schedule *schedule,
                              nf_owners *owners) {
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
    for (size_t t = 0; status == NF_OK && t < owners->tasks; t++) {
        size_t i, j;
        nf_tile_record *own = &owners->record[t];
        *own = (nf_tile_record){0};
        if (!nf_schedule_pair(schedule, t, &i, &j)) continue;
        base += nf_tile_record_layout(engine, base, own);
        own->i = i;
        own->j = j;
    }
    return status;
}

/* Everything of a block that several tasks read. */
static void prepare(void *argument, size_t block, int worker) {
    const nf_owners *owners = argument;
    (void)worker;
    (void)nf_span_panel(&owners->engine->kept[0][block], 0);
}

static void weigh(void *argument, size_t task, int worker) {
    const nf_owners *owners = argument;
    nf_tile_record *record = &owners->record[task];
    if (record->weight != NULL) nf_tile_weigh(owners->engine, record, worker);
}

static void own(void *argument, size_t block, int worker) {
    const nf_owners *owners = argument;
    (void)worker;
    owners->work[block] = (nf_update_work){0};
    for (size_t t = 0; t < owners->tasks; t++) {
        const nf_tile_record *record = &owners->record[t];
        if (record->weight == NULL || (record->i != block && record->j != block)) continue;
        nf_tile_apply(owners->engine, record, block, &owners->work[block]);
    }
    nf_span_settle(&owners->engine->kept[0][block]);
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
    nf_owners owners = {.engine = engine, .tasks = (size_t)nf_schedule_work(schedule)};
    *done = false;
    nf_status status = make_records(context, schedule, &owners);
    if (status == NF_OK) status = nf_parallel(context, blocks, true, 0, prepare, &owners);
    if (status == NF_OK) status = nf_parallel(context, owners.tasks, true, 1, weigh, &owners);
    if (status != NF_OK || any_exact(&owners)) return status;
    status = nf_parallel(context, blocks, true, 0, own, &owners);
    if (status != NF_OK) return status;
    take_results(&owners, of_span);
    *done = true;
    return NF_OK;
}
