#include "loss/tile_step.h"

#include <string.h>

#include "distance/gram.h"
#include "loss/tile_exact.h"

nf_tile nf_tile_make(const nf_tile_engine *engine, nf_tile_scratch *scratch, nf_span *a, nf_span *b,
                     size_t r, size_t c) {
    const nf_pass *pass = engine->pass;
    const size_t p = a->first + r, q = b->first + c;
    return (nf_tile){.engine = engine,
                     .a = pass->a,
                     .b = pass->b,
                     .contrast = pass->contrast,
                     .scratch = scratch,
                     .span = {a, b},
                     .block = {r, c},
                     .i = pass->a->block[p],
                     .j = pass->b->block[q],
                     .rows = pass->a->block[p + 1] - pass->a->block[p],
                     .cols = pass->b->block[q + 1] - pass->b->block[q],
                     .diagonal = engine->within && p == q};
}

/* Switch sides off that no pair of the two blocks can be on. */
static void narrow_sides(nf_tile *tile, size_t i, size_t j) {
    const nf_block_facts *a = &tile->engine->facts[0], *b = &tile->engine->facts[1];
    if (a->high[i] < b->low[j] || b->high[j] < a->low[i]) {
        tile->contrast.side[NF_POSITIVE].on = false;
    }
    if (a->low[i] == a->high[i] && b->low[j] == b->high[j] && a->low[i] == b->low[j]) {
        tile->contrast.side[NF_NEGATIVE].on = false;
    }
}

bool nf_tile_is_empty(nf_tile *tile) {
    const nf_tile_engine *engine = tile->engine;
    const size_t i = tile->span[0]->first + tile->block[0];
    const size_t j = tile->span[1]->first + tile->block[1];
    nf_contrast_side *side = tile->contrast.side;
    narrow_sides(tile, i, j);
    if (engine->prune && !tile->diagonal && !side[NF_POSITIVE].on &&
        nf_bounds_apart(&engine->bounds[0], i, &engine->bounds[1], j, engine->d, engine->type,
                        engine->reach)) {
        return true;
    }
    return !side[NF_NEGATIVE].on && !side[NF_POSITIVE].on;
}

static void distances(nf_tile *tile) {
    const nf_tile_engine *engine = tile->engine;
    tile->x = nf_span_rows(tile->span[0], tile->block[0]);
    tile->y = nf_span_rows(tile->span[1], tile->block[1]);
    const unsigned char *panel = nf_span_panel(tile->span[1], tile->block[1]);
    nf_raw_tile raw = {.kernels = engine->kernels,
                       .family = engine->family,
                       .d = engine->d,
                       .x = &tile->a->rows,
                       .y = &tile->b->rows,
                       .i = tile->i,
                       .j = tile->j,
                       .rows = tile->rows,
                       .cols = tile->cols,
                       .out = tile->scratch->tile,
                       .ldo = engine->ld,
                       .a = tile->x,
                       .lda = engine->stride,
                       .panel = panel};
    if (!tile->diagonal) {
        nf_raw_tile_run(&raw);
        return;
    }
    /* Only the pairs above the diagonal, to whole lines. */
    const size_t lanes = nf_lanes(engine->type), element = nf_type_size(engine->type);
    for (size_t c = 0; c < tile->cols; c += lanes) {
        raw.j = tile->j + c;
        raw.rows = nf_min_size(tile->rows, c + lanes);
        raw.cols = nf_min_size(lanes, tile->cols - c);
        raw.out = tile->scratch->tile + c * element;
        raw.panel = panel + c * engine->d * element;
        nf_raw_tile_run(&raw);
    }
}

static void fill_classes(nf_tile *tile) {
    const nf_tile_engine *engine = tile->engine;
    const int64_t *a = tile->a->class_of + tile->i, *b = tile->b->class_of + tile->j;
    if (engine->type == NF_FLOAT32) {
        int32_t *rows = (int32_t *)(void *)tile->scratch->row_class,
                *cols = (int32_t *)(void *)tile->scratch->col_class;
        for (size_t r = 0; r < tile->rows; r++) rows[r] = (int32_t)a[r];
        for (size_t c = 0; c < engine->ld; c++) cols[c] = c < tile->cols ? (int32_t)b[c] : -1;
    } else {
        int64_t *rows = (int64_t *)(void *)tile->scratch->row_class,
                *cols = (int64_t *)(void *)tile->scratch->col_class;
        for (size_t r = 0; r < tile->rows; r++) rows[r] = a[r];
        for (size_t c = 0; c < engine->ld; c++) cols[c] = c < tile->cols ? b[c] : -1;
    }
}

/* Pairs of equal ids. */
static void mark_not_pairs(nf_tile *tile) {
    const size_t ld = tile->engine->ld;
    tile->has_skip = tile->a->ids != NULL && tile->b->ids != NULL;
    if (!tile->has_skip) return;
    memset(tile->scratch->skip, NF_PAIR_VALID, tile->rows * ld);
    for (size_t r = 0; r < tile->rows; r++) {
        for (size_t c = 0; c < tile->cols; c++) {
            if (tile->a->ids[tile->i + r] == tile->b->ids[tile->j + c]) {
                tile->scratch->skip[r * ld + c] = NF_PAIR_NONE;
            }
        }
    }
}

void nf_tile_measure(nf_tile *tile) {
    distances(tile);
    fill_classes(tile);
    mark_not_pairs(tile);
    nf_tile_mark_exact(tile);
}

void nf_tile_weigh(const nf_tile *tile, nf_contrast_sums *sums) {
    const nf_tile_engine *engine = tile->engine;
    nf_contrast_tile terms = {.tile = tile->scratch->tile,
                              .ld = engine->ld,
                              .rows = tile->rows,
                              .cols = tile->cols,
                              .row_class = tile->scratch->row_class,
                              .col_class = tile->scratch->col_class,
                              .skip = tile->has_skip ? tile->scratch->skip : NULL,
                              .upper = tile->diagonal,
                              .work = tile->scratch->work,
                              .facts = engine->gradient ? &tile->scratch->facts : NULL};
    engine->kernels->contrast(&tile->contrast, &terms, sums);
}

/* One side of the update; without gradient, or if it is not wanted, its part is NULL. */
static nf_update_side side_of(const nf_tile *tile, int s, bool wanted) {
    const nf_tile_engine *engine = tile->engine;
    const size_t b = tile->block[s];
    nf_span *span = tile->span[s];
    nf_update_side side = {.x = s == 0 ? tile->x : tile->y};
    if (!wanted || span->set->sum == NULL) return side;
    side.part = nf_span_part(span, b);
    side.weight = span->weight + b * engine->block_rows;
    side.radius2 = engine->facts[s].radius2 + (span->first + b) * NF_STRIPS;
    return side;
}

void nf_tile_update(const nf_tile *tile, const bool wanted[2], nf_update_work *work) {
    const nf_tile_engine *engine = tile->engine;
    nf_update job = {.kernels = engine->kernels,
                     .family = engine->family,
                     .type = engine->type,
                     .d = engine->d,
                     .stride = engine->stride,
                     .ld = engine->ld,
                     .weights = tile->scratch->tile,
                     .facts = &tile->scratch->facts,
                     .rows = tile->rows,
                     .cols = tile->cols,
                     .a = side_of(tile, 0, wanted[0]),
                     .b = side_of(tile, 1, wanted[1])};
    nf_update_run(&job, work);
}

uint64_t nf_tile_strips(const nf_tile *tile, const bool wanted[2]) {
    return (wanted[0] && tile->a->sum != NULL ? nf_update_strips(tile->rows) : 0) +
           (wanted[1] && tile->b->sum != NULL ? nf_update_strips(tile->cols) : 0);
}
