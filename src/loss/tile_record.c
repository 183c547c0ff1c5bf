#include "loss/tile_record.h"

#include "loss/tile_step.h"

size_t nf_tile_record_layout(const nf_tile_engine *engine, unsigned char *base,
                             nf_tile_record *record) {
    const size_t bytes =
        nf_round_up(engine->block_rows * engine->ld * nf_type_size(engine->type), NF_ALIGNMENT);
    *record = (nf_tile_record){.weight = base};
    return bytes + nf_weight_facts_layout(engine->type, engine->block_rows, engine->ld,
                                          base != NULL ? base + bytes : NULL, &record->facts);
}

size_t nf_tile_copies_layout(const nf_tile_engine *engine, unsigned char *base, nf_span *copies) {
    size_t used = 0;
    nf_span measured;
    for (size_t i = 0; i < engine->spans[0]; i++) {
        nf_span *copy = base != NULL ? &copies[i] : &measured;
        used += nf_span_layout(&engine->shape, 1, base != NULL ? base + used : NULL, copy);
        nf_tile_begin_span(engine, engine->pass->a, i, copy);
    }
    return used;
}

void nf_tile_record_weigh(const nf_tile_engine *engine, nf_span *copies, nf_tile_record *record,
                          int worker) {
    nf_tile_scratch scratch;
    nf_tile_scratch_of(engine, worker, &scratch);
    scratch.tile = record->weight;
    scratch.facts = record->facts;
    nf_tile tile = nf_tile_make(engine, &scratch, &copies[record->i], &copies[record->j], 0, 0);
    record->skipped = nf_tile_is_empty(&tile);
    if (record->skipped) return;
    nf_tile_measure(&tile);
    record->exact = tile.has_exact;
    if (!record->exact) nf_tile_weigh(&tile, &record->sums);
}

void nf_tile_record_apply(const nf_tile_engine *engine, nf_span *copies,
                          const nf_tile_record *record, size_t own, nf_update_work *work) {
    nf_span *a = &copies[record->i], *b = &copies[record->j];
    nf_tile_scratch scratch = {.tile = record->weight, .facts = record->facts};
    nf_tile tile = nf_tile_make(engine, &scratch, a, b, 0, 0);
    const bool wanted[2] = {record->i == own, record->j == own};
    if (record->skipped) return;
    if (!record->sums.any_weight) {
        work->strips += nf_tile_strips(&tile, wanted);
        work->skipped += nf_tile_strips(&tile, wanted);
        return;
    }
    tile.x = nf_span_rows(a, 0);
    tile.y = nf_span_rows(b, 0);
    nf_tile_update(&tile, wanted, work);
}
