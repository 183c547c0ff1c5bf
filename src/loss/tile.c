/* Pairs a tile cannot hold (raw numbers outside the trusted range, zero rows under cosine) are taken
 * out of it and done in double, one by one; see distance/exact.h. */
#include "loss/tile.h"

#include <math.h>
#include <string.h>

#include "distance/gram.h"
#include "loss/update.h"

enum { NF_VALID = 0, NF_NOT_A_PAIR = 1, NF_EXACT = 2 };

/* What a worker needs for any tile. */
typedef struct nf_tile_scratch {
    unsigned char *tile, *work, *row_class, *col_class, *skip;
    double *wide; /* two rows in double */
    nf_weight_facts facts;
    nf_span span[2];
} nf_tile_scratch;

typedef struct nf_tile {
    const nf_tile_engine *engine;
    const nf_pass_set *a, *b;
    nf_contrast contrast;
    nf_tile_scratch *scratch;
    nf_span *span[2];
    size_t block[2]; /* of its span */
    size_t i, j;     /* first rows */
    size_t rows, cols;
    bool diagonal;
    const unsigned char *x, *y;
    unsigned char *tile, *skip;
    bool has_skip, has_exact;
} nf_tile;

static size_t layout(const nf_tile_engine *engine, unsigned char *base, nf_tile_scratch *out) {
    const size_t element = nf_type_size(engine->type), block = engine->block_rows;
    const size_t row = engine->ld * element;
    unsigned char *wide, *row_sum, *col_sum, *row_near, *col_near, *weighted;
    size_t used = 0;
    const size_t sizes[11] = {block * row,
                              2 * row,
                              row,
                              row,
                              block * engine->ld,
                              2 * engine->stride * sizeof(double),
                              row,
                              row,
                              row,
                              row,
                              block * NF_BIT_WORDS * sizeof(uint64_t)};
    unsigned char **slots[11] = {&out->tile, &out->work, &out->row_class, &out->col_class,
                                 &out->skip, &wide,      &row_sum,        &col_sum,
                                 &row_near,  &col_near,  &weighted};
    for (int i = 0; i < 11; i++) {
        *slots[i] = base != NULL ? base + used : NULL;
        used += nf_round_up(sizes[i], NF_ALIGNMENT);
    }
    out->wide = (double *)(void *)wide;
    out->facts =
        (nf_weight_facts){row_sum, col_sum, row_near, col_near, (uint64_t *)(void *)weighted};
    for (int s = 0; s < 2 && engine->kept[0] == NULL; s++) {
        used += nf_span_layout(&engine->shape, engine->span_blocks,
                               base != NULL ? base + used : NULL, &out->span[s]);
    }
    return used;
}

static void begin_span(nf_span *span, const nf_tile_engine *engine, const nf_pass_set *set,
                       size_t number) {
    span->set = set;
    span->first = number * engine->span_blocks;
    span->count = nf_min_size(engine->span_blocks, set->blocks - span->first);
}

#define NF_KEPT_BYTES ((size_t)2 << 20)

/* Rows, panels and parts of sums of all spans, when the faster caches hold them: copied, packed and
 * settled once, not in every meeting. No more blocks than a span may have, lest parts lose digits. */
static nf_status keep_spans(nf_context *context, nf_tile_engine *engine) {
    const nf_pass_set *sets[2] = {engine->pass->a, engine->pass->b};
    const int count = engine->within ? 1 : 2;
    nf_span span;
    const size_t bytes = nf_span_layout(&engine->shape, engine->span_blocks, NULL, &span);
    const size_t spans = engine->spans[0] + (engine->within ? 0 : engine->spans[1]);
    unsigned char *base;
    if (spans > NF_KEPT_BYTES / nf_max_size(bytes, 1) || sets[0]->blocks > NF_SPAN_BLOCKS ||
        sets[1]->blocks > NF_SPAN_BLOCKS) {
        return NF_OK;
    }
    nf_status status = nf_scratch(context, &engine->kept[0], spans, sizeof span, "spans");
    if (status == NF_OK) status = nf_scratch(context, &base, spans, bytes, "rows of spans");
    if (status != NF_OK) return status;
    engine->kept[1] = engine->kept[0] + (engine->within ? 0 : engine->spans[0]);
    for (int s = 0; s < count; s++) {
        for (size_t i = 0; i < engine->spans[s]; i++) {
            base += nf_span_layout(&engine->shape, engine->span_blocks, base, &engine->kept[s][i]);
            begin_span(&engine->kept[s][i], engine, sets[s], i);
        }
    }
    return NF_OK;
}

/* The largest power of a raw number that a side takes, for the trusted range. */
static double raw_power(const nf_contrast_side *side) {
    if (!side->on) return 1;
    double exponent = 0.5 * side->twice_exponent;
    return fmax(1, side->transform == NF_T_SQRT ? exponent / 2 : exponent);
}

/* Bounds pay when there is more than one block to keep apart. A zero row is at cosine distance 1 of
 * every row, whatever its place. */
static nf_status make_bounds(nf_context *context, nf_tile_engine *engine) {
    const nf_pass *pass = engine->pass;
    const nf_contrast_side *negative = &pass->contrast.side[NF_NEGATIVE];
    engine->reach = nf_bounds_reach(pass->metric[NF_NEGATIVE], negative->margin);
    engine->reach = nf_gram_reach(&pass->a->rows, engine->reach);
    engine->prune = pass->prune && negative->on && engine->reach >= 0 && !engine->zero_rows &&
                    pass->a->blocks + pass->b->blocks > 2;
    if (!engine->prune) return NF_OK;
    nf_status status = nf_bounds_make(context, pass->a, &engine->bounds[0]);
    if (status == NF_OK && engine->within) {
        status = nf_bounds_add_lines(context, pass->a, engine->reach, &engine->bounds[0]);
    }
    engine->bounds[1] = engine->bounds[0];
    if (status == NF_OK && !engine->within) {
        status = nf_bounds_make(context, pass->b, &engine->bounds[1]);
    }
    return status;
}

static nf_status make_facts(nf_context *context, nf_tile_engine *engine) {
    const nf_pass *pass = engine->pass;
    nf_status status = nf_block_facts_make(context, pass->a, engine->gradient, &engine->facts[0]);
    engine->facts[1] = engine->facts[0];
    if (status == NF_OK && !engine->within) {
        status = nf_block_facts_make(context, pass->b, engine->gradient, &engine->facts[1]);
    }
    return status;
}

static size_t longest_block(const nf_pass_set *set) {
    size_t rows = 0;
    for (size_t b = 0; b < set->blocks; b++) {
        rows = nf_max_size(rows, set->block[b + 1] - set->block[b]);
    }
    return rows;
}

nf_status nf_tile_engine_init(nf_context *context, nf_tile_engine *engine, const nf_pass *pass) {
    nf_matrix x = pass->a->rows.x;
    int some_side = pass->contrast.side[NF_POSITIVE].on ? NF_POSITIVE : NF_NEGATIVE;
    bool cosine = false;
    for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
        cosine |= pass->contrast.side[side].on && pass->metric[side] == NF_COSINE;
    }
    *engine =
        (nf_tile_engine){.pass = pass,
                         .kernels = nf_kernels_get(context, x.type),
                         .family = nf_metric_family(pass->metric[some_side]),
                         .type = x.type,
                         .within = pass->a == pass->b,
                         .gradient = pass->a->sum != NULL || pass->b->sum != NULL,
                         .d = x.cols,
                         .stride = nf_span_stride(x),
                         .block_rows = nf_max_size(longest_block(pass->a), longest_block(pass->b)),
                         .span_blocks = nf_pass_span_blocks(pass->a, pass->b)};
    engine->spans[0] = nf_pass_spans(pass->a, engine->span_blocks);
    engine->spans[1] = nf_pass_spans(pass->b, engine->span_blocks);
    engine->ld = nf_pad(x.type, engine->block_rows);
    engine->zero_rows =
        cosine && x.cols > 0 && (pass->a->rows.zero_rows > 0 || pass->b->rows.zero_rows > 0);
    double power = fmax(raw_power(&pass->contrast.side[NF_NEGATIVE]),
                        raw_power(&pass->contrast.side[NF_POSITIVE]));
    nf_trusted_range(engine->family, x.type, x.cols, power, &engine->low, &engine->high);
    const size_t element = nf_type_size(x.type);
    engine->shape = (nf_span_shape){.kernels = engine->kernels,
                                    .type = x.type,
                                    .d = x.cols,
                                    .stride = engine->stride,
                                    .block_rows = engine->block_rows,
                                    .block_bytes = engine->block_rows * engine->stride * element,
                                    .panel_bytes = engine->ld * x.cols * element,
                                    .gradient = engine->gradient};
    nf_status status = make_bounds(context, engine);
    if (status == NF_OK) status = make_facts(context, engine);
    if (status != NF_OK) return status;
    status = keep_spans(context, engine);
    if (status != NF_OK) return status;
    nf_tile_scratch unused;
    engine->worker_bytes = layout(engine, NULL, &unused);
    return nf_scratch(context, &engine->scratch, (size_t)context->threads, engine->worker_bytes,
                      "loss tiles");
}

/* ---- which pairs ------------------------------------------------------------------------------ */

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
    memset(tile->skip, NF_VALID, tile->rows * ld);
    for (size_t r = 0; r < tile->rows; r++) {
        for (size_t c = 0; c < tile->cols; c++) {
            if (tile->a->ids[tile->i + r] == tile->b->ids[tile->j + c]) {
                tile->skip[r * ld + c] = NF_NOT_A_PAIR;
            }
        }
    }
}

static double raw_at(const nf_tile *tile, size_t r, size_t c) {
    size_t at = r * tile->engine->ld + c;
    return tile->engine->type == NF_FLOAT32 ? (double)((const float *)(void *)tile->tile)[at]
                                            : ((const double *)(void *)tile->tile)[at];
}

static const unsigned char *row_x(const nf_tile *tile, size_t r) {
    return tile->x + r * tile->engine->stride * nf_type_size(tile->engine->type);
}

static const unsigned char *row_y(const nf_tile *tile, size_t c) {
    return tile->y + c * tile->engine->stride * nf_type_size(tile->engine->type);
}

static bool pair_is_zero_row(const nf_tile *tile, size_t r, size_t c) {
    return tile->engine->zero_rows && (nf_rows_is_zero(&tile->a->rows, tile->i + r) ||
                                       nf_rows_is_zero(&tile->b->rows, tile->j + c));
}

/* Find the pairs to be done in double. */
static void mark_exact(nf_tile *tile) {
    const nf_tile_engine *engine = tile->engine;
    const size_t element = nf_type_size(engine->type);
    for (size_t r = 0; r < tile->rows; r++) {
        const size_t first = tile->diagonal ? r + 1 : 0;
        const unsigned char *raw = tile->tile + (r * engine->ld + first) * element;
        if (first >= tile->cols) break;
        if (!engine->zero_rows &&
            !engine->kernels->outside(raw, tile->cols - first, engine->low, engine->high)) {
            continue;
        }
        for (size_t c = first; c < tile->cols; c++) {
            double value = raw_at(tile, r, c);
            bool trusted = value >= engine->low && value <= engine->high;
            if (trusted && !engine->zero_rows) continue;
            if (value == 0 &&
                nf_rows_equal(engine->type, row_x(tile, r), row_y(tile, c), engine->d))
                trusted = true;
            if (trusted && !pair_is_zero_row(tile, r, c)) continue;
            if (!tile->has_skip) {
                memset(tile->skip, NF_VALID, tile->rows * engine->ld);
                tile->has_skip = true;
            }
            unsigned char *skip = &tile->skip[r * engine->ld + c];
            /* Even a pair that is none must be kept out of the kernels' updates: its difference may
             * overflow, and 0 * inf is NaN. */
            tile->has_exact = true;
            if (*skip == NF_VALID) *skip = NF_EXACT;
        }
    }
}

/* ---- gradients -------------------------------------------------------------------------------- */

static void widen(const nf_tile *tile, const unsigned char *row, double *out) {
    for (size_t k = 0; k < tile->engine->d; k++) {
        out[k] = tile->engine->type == NF_FLOAT32 ? (double)((const float *)(const void *)row)[k]
                                                  : ((const double *)(const void *)row)[k];
    }
}

static double *sum_a(const nf_tile *tile, size_t r) {
    return tile->a->sum != NULL ? tile->a->sum + (tile->i + r) * tile->engine->d : NULL;
}

static double *sum_b(const nf_tile *tile, size_t c) {
    return tile->b->sum != NULL ? tile->b->sum + (tile->j + c) * tile->engine->d : NULL;
}

/* Gradient of one pair into both sums, which are in units of dphi/dx over nf_pass_factor. */
static void add_pair(const nf_tile *tile, size_t r, size_t c, nf_metric metric, double slope,
                     double t) {
    const size_t d = tile->engine->d;
    double *x = tile->scratch->wide, *y = x + tile->engine->stride;
    widen(tile, row_x(tile, r), x);
    widen(tile, row_y(tile, c), y);
    slope /= nf_pass_factor(metric);
    if (sum_a(tile, r) != NULL) nf_term_gradient(metric, slope, t, x, y, d, sum_a(tile, r));
    if (sum_b(tile, c) != NULL) nf_term_gradient(metric, slope, t, y, x, d, sum_b(tile, c));
}

static void exact_pairs(nf_tile *tile, nf_contrast_sums *sums) {
    const nf_tile_engine *engine = tile->engine;
    for (size_t r = 0; r < tile->rows; r++) {
        for (size_t c = 0; c < tile->cols; c++) {
            if (tile->skip[r * engine->ld + c] != NF_EXACT) continue;
            bool same = tile->a->class_of[tile->i + r] == tile->b->class_of[tile->j + c];
            int which = same ? NF_POSITIVE : NF_NEGATIVE;
            const nf_contrast_side *side = &tile->contrast.side[which];
            if (!side->on) continue;
            nf_metric metric = engine->pass->metric[which];
            bool zero = metric == NF_COSINE && pair_is_zero_row(tile, r, c);
            double t = zero ? 1
                            : nf_exact_distance(metric, engine->type, row_x(tile, r),
                                                row_y(tile, c), engine->d);
            double slope;
            double phi = nf_term(side, which, t, &slope);
            sums->phi[which] += phi;
            sums->distance[which] += t;
            sums->active[which] += phi > 0;
            sums->coincident += !same && t == 0 && metric != NF_DOT;
            if (engine->gradient && !zero) add_pair(tile, r, c, metric, slope, t);
        }
    }
}

/* The whole tile's weights pair by pair: differences of rows in an exact pair may overflow in T, and
 * 0 * inf would poison the others. */
static void update_slowly(const nf_tile *tile) {
    const nf_family family = tile->engine->family;
    const nf_metric metric = family == NF_SQUARED   ? NF_SQEUCLIDEAN
                             : family == NF_PRODUCT ? NF_DOT
                                                    : NF_CITYBLOCK;
    for (size_t r = 0; r < tile->rows; r++) {
        for (size_t c = 0; c < tile->cols; c++) {
            double w = raw_at(tile, r, c);
            if (w != 0) add_pair(tile, r, c, metric, family == NF_PRODUCT ? -w : w, 1);
        }
    }
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

static void update(const nf_tile *tile, const bool wanted[2], nf_update_work *work) {
    const nf_tile_engine *engine = tile->engine;
    nf_update job = {.kernels = engine->kernels,
                     .family = engine->family,
                     .type = engine->type,
                     .d = engine->d,
                     .stride = engine->stride,
                     .ld = engine->ld,
                     .weights = tile->tile,
                     .facts = &tile->scratch->facts,
                     .rows = tile->rows,
                     .cols = tile->cols,
                     .a = side_of(tile, 0, wanted[0]),
                     .b = side_of(tile, 1, wanted[1])};
    nf_update_run(&job, work);
}

/* ---- the tile --------------------------------------------------------------------------------- */

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
                       .out = tile->tile,
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
        raw.out = tile->tile + c * element;
        raw.panel = panel + c * engine->d * element;
        nf_raw_tile_run(&raw);
    }
}

void nf_tile_add_sums(nf_contrast_sums *total, const nf_contrast_sums *part) {
    for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
        total->phi[side] += part->phi[side];
        total->distance[side] += part->distance[side];
        total->active[side] += part->active[side];
    }
    total->coincident += part->coincident;
}

/* Whether no pair of the tile has a term; narrows the sides that may have one. */
static bool is_empty(nf_tile *tile, size_t i, size_t j) {
    const nf_tile_engine *engine = tile->engine;
    nf_contrast_side *side = tile->contrast.side;
    narrow_sides(tile, i, j);
    if (engine->prune && !tile->diagonal && !side[NF_POSITIVE].on &&
        nf_bounds_apart(&engine->bounds[0], i, &engine->bounds[1], j, engine->d, engine->type,
                        engine->reach)) {
        return true;
    }
    return !side[NF_NEGATIVE].on && !side[NF_POSITIVE].on;
}

/* Raw numbers, and which pairs are none of the kernels'. */
static void measure(nf_tile *tile) {
    distances(tile);
    fill_classes(tile);
    mark_not_pairs(tile);
    mark_exact(tile);
}

/* From raw numbers to weights. */
static void weigh(nf_tile *tile, nf_contrast_sums *sums) {
    const nf_tile_engine *engine = tile->engine;
    nf_contrast_tile terms = {.tile = tile->tile,
                              .ld = engine->ld,
                              .rows = tile->rows,
                              .cols = tile->cols,
                              .row_class = tile->scratch->row_class,
                              .col_class = tile->scratch->col_class,
                              .skip = tile->has_skip ? tile->skip : NULL,
                              .upper = tile->diagonal,
                              .work = tile->scratch->work,
                              .facts = engine->gradient ? &tile->scratch->facts : NULL};
    engine->kernels->contrast(&tile->contrast, &terms, sums);
}

static uint64_t strips_of(const nf_tile *tile, const bool wanted[2]) {
    return (wanted[0] && tile->a->sum != NULL ? nf_update_strips(tile->rows) : 0) +
           (wanted[1] && tile->b->sum != NULL ? nf_update_strips(tile->cols) : 0);
}

static void run_tile(nf_tile *tile, nf_tile_result *result) {
    static const bool both[2] = {true, true};
    nf_contrast_sums sums = {0};
    measure(tile);
    weigh(tile, &sums);
    if (tile->has_exact) exact_pairs(tile, &sums);
    nf_tile_add_sums(&result->sums, &sums);
    if (!tile->engine->gradient) return;
    if (sums.any_weight && !tile->has_exact) {
        update(tile, both, &result->updates);
        return;
    }
    result->updates.strips += strips_of(tile, both);
    if (sums.any_weight) {
        update_slowly(tile);
    } else {
        result->updates.skipped += strips_of(tile, both);
    }
}

/* Of block r of span a with block c of span b. */
static nf_tile make_tile(const nf_tile_engine *engine, nf_tile_scratch *scratch, nf_span *a,
                         nf_span *b, size_t r, size_t c) {
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
                     .diagonal = engine->within && p == q,
                     .tile = scratch->tile,
                     .skip = scratch->skip};
}

void nf_tile_run(const nf_tile_engine *engine, size_t i, size_t j, int worker,
                 nf_tile_result *result) {
    const nf_pass *pass = engine->pass;
    const bool diagonal = engine->within && i == j;
    nf_tile_scratch scratch;
    layout(engine, engine->scratch + (size_t)worker * engine->worker_bytes, &scratch);
    nf_span *a = &scratch.span[0], *b = diagonal ? a : &scratch.span[1];
    if (engine->kept[0] != NULL) {
        a = &engine->kept[0][i];
        b = &engine->kept[1][j];
    } else {
        begin_span(a, engine, pass->a, i);
        begin_span(b, engine, pass->b, j);
    }
    for (size_t r = 0; r < a->count; r++) {
        for (size_t c = diagonal ? r : 0; c < b->count; c++) {
            nf_tile tile = make_tile(engine, &scratch, a, b, r, c);
            result->tiles++;
            if (is_empty(&tile, a->first + r, b->first + c)) {
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

/* ---- in two steps ----------------------------------------------------------------------------- */

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
        begin_span(copy, engine, engine->pass->a, i);
    }
    return used;
}

void nf_tile_weigh(const nf_tile_engine *engine, nf_span *copies, nf_tile_record *record,
                   int worker) {
    nf_tile_scratch scratch;
    layout(engine, engine->scratch + (size_t)worker * engine->worker_bytes, &scratch);
    scratch.tile = record->weight;
    scratch.facts = record->facts;
    nf_tile tile = make_tile(engine, &scratch, &copies[record->i], &copies[record->j], 0, 0);
    record->skipped = is_empty(&tile, record->i, record->j);
    if (record->skipped) return;
    measure(&tile);
    record->exact = tile.has_exact;
    if (!record->exact) weigh(&tile, &record->sums);
}

void nf_tile_apply(const nf_tile_engine *engine, nf_span *copies, const nf_tile_record *record,
                   size_t own, nf_update_work *work) {
    nf_span *a = &copies[record->i], *b = &copies[record->j];
    nf_tile_scratch scratch = {.tile = record->weight, .facts = record->facts};
    nf_tile tile = make_tile(engine, &scratch, a, b, 0, 0);
    const bool wanted[2] = {record->i == own, record->j == own};
    if (record->skipped) return;
    if (!record->sums.any_weight) {
        work->strips += strips_of(&tile, wanted);
        work->skipped += strips_of(&tile, wanted);
        return;
    }
    tile.x = nf_span_rows(a, 0);
    tile.y = nf_span_rows(b, 0);
    update(&tile, wanted, work);
}

void nf_tile_settle(const nf_tile_engine *engine) {
    for (int s = 0; engine->kept[0] != NULL && s < (engine->within ? 1 : 2); s++) {
        for (size_t i = 0; i < engine->spans[s]; i++) {
            if (engine->kept[s][i].set->sum != NULL) nf_span_settle(&engine->kept[s][i]);
        }
    }
}
