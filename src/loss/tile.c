#include "loss/tile.h"

#include "loss/tile_exact.h"
#include "loss/tile_step.h"

void nf_tile_add_sums(nf_contrast_sums *total, const nf_contrast_sums *part) {
    for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
        total->phi[side] += part->phi[side];
        total->distance[side] += part->distance[side];
        total->active[side] += part->active[side];
    }
    total->coincident += part->coincident;
}

static void run_tile(nf_tile *tile, nf_tile_result *result) {
    static const bool both[2] = {true, true};
    nf_contrast_sums sums = {0};
    nf_tile_measure(tile);
    nf_tile_weigh(tile, &sums);
    if (tile->has_exact) nf_tile_exact_pairs(tile, &sums);
    nf_tile_add_sums(&result->sums, &sums);
    if (!tile->engine->gradient) return;
    if (sums.any_weight && !tile->has_exact) {
        nf_tile_update(tile, both, &result->updates);
        return;
    }
    result->updates.strips += nf_tile_strips(tile, both);
    if (sums.any_weight) {
        nf_tile_exact_update(tile);
    } else {
        result->updates.skipped += nf_tile_strips(tile, both);
    }
}

void nf_tile_run(const nf_tile_engine *engine, size_t i, size_t j, int worker,
                 nf_tile_result *result) {
    const nf_pass *pass = engine->pass;
    const bool diagonal = engine->within && i == j;
    nf_tile_scratch scratch;
    nf_tile_scratch_of(engine, worker, &scratch);
    nf_span *a = &scratch.span[0], *b = diagonal ? a : &scratch.span[1];
    if (engine->kept[0] != NULL) {
        a = &engine->kept[0][i];
        b = &engine->kept[1][j];
    } else {
        nf_tile_begin_span(engine, pass->a, i, a);
        nf_tile_begin_span(engine, pass->b, j, b);
    }
    for (size_t r = 0; r < a->count; r++) {
        for (size_t c = diagonal ? r : 0; c < b->count; c++) {
            nf_tile tile = nf_tile_make(engine, &scratch, a, b, r, c);
            result->tiles++;
            if (nf_tile_is_empty(&tile)) {
                result->tiles_skipped++;
            } else {
                run_tile(&tile, result);
            }
        }
    }
    if (engine->kept[0] != NULL) return;
    if (a->set->sum != NULL) nf_span_settle(a);
    if (!diagonal && b->set->sum != NULL) nf_span_settle(b);
}

void nf_tile_settle(const nf_tile_engine *engine) {
    for (int s = 0; engine->kept[0] != NULL && s < (engine->within ? 1 : 2); s++) {
        for (size_t i = 0; i < engine->spans[s]; i++) {
            if (engine->kept[s][i].set->sum != NULL) nf_span_settle(&engine->kept[s][i]);
        }
    }
}
