#include "loss/strip.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "distance/gram.h"
#include "loss/schedule.h"
#include "loss/update.h"

typedef struct nf_strip_state {
    nf_strip_pass *pass;
    const nf_kernels *kernels;
    nf_family family;
    nf_transform transform;
    nf_type type;
    size_t d, stride, ld, block_rows, span_blocks, worker_bytes;
    bool within, zero_rows, prune;
    double low, high, reach;
    nf_bounds bounds[2];
    nf_span_shape shape;
    unsigned char *scratch;
    uint64_t *skipped; /* (own blocks) */
    atomic_int failure, overflow;
    atomic_ullong updates, updates_skipped;
} nf_strip_state;

typedef struct nf_strip_tile {
    nf_strip strip;
    unsigned char *t, *slope, *row_class, *col_class, *skip;
    nf_span span[2]; /* of the rows and of the columns */
    size_t block[2]; /* the strip's, of its span */
    nf_weight_facts facts;
    double *wide; /* two rows in double */
    bool diagonal, has_exact;
} nf_strip_tile;

static size_t layout(const nf_strip_state *state, unsigned char *base, nf_strip_tile *tile) {
    size_t element = nf_type_size(state->type), block = state->block_rows, used = 0;
    size_t sizes[7] = {block * state->ld * element,  block * state->ld * element,
                       4 * state->ld * element,      state->ld * element,
                       state->ld * element,          block * state->ld,
                       2 * state->d * sizeof(double)};
    unsigned char *wide = NULL, *work = NULL;
    unsigned char **slots[7] = {&tile->t,         &tile->slope, &work, &tile->row_class,
                                &tile->col_class, &tile->skip,  &wide};
    for (int i = 0; i < 7; i++) {
        *slots[i] = base != NULL ? base + used : NULL;
        used += nf_round_up(sizes[i], NF_ALIGNMENT);
    }
    tile->wide = (double *)(void *)wide;
    tile->strip.work = work;
    used += nf_weight_facts_layout(state->type, block, state->ld, base != NULL ? base + used : NULL,
                                   &tile->facts);
    for (int s = 0; s < 2; s++) {
        used += nf_span_layout(&state->shape, state->span_blocks, base != NULL ? base + used : NULL,
                               &tile->span[s]);
    }
    return used;
}

static const unsigned char *row_of(const nf_strip_set *set, size_t r) {
    return set->row + r * set->stride * nf_type_size(set->set.rows.x.type);
}

/* ---- which pairs ------------------------------------------------------------------------------ */

static void find_sides(const nf_strip_pass *pass, size_t i, size_t j, nf_strip *strip) {
    const nf_block_facts *a = &pass->own->facts, *b = &pass->other->facts;
    strip->any[NF_POSITIVE] = strip->any[NF_NEGATIVE] = true;
    if (pass->anywhere) return;
    strip->any[NF_POSITIVE] = a->low[i] <= b->high[j] && b->low[j] <= a->high[i];
    strip->any[NF_NEGATIVE] =
        !(a->low[i] == a->high[i] && b->low[j] == b->high[j] && a->low[i] == b->low[j]);
}

static int64_t class_at(nf_type type, const void *classes, size_t at) {
    return type == NF_FLOAT32 ? ((const int32_t *)classes)[at] : ((const int64_t *)classes)[at];
}

void nf_strip_positives(const nf_strip *strip, size_t r, size_t *first, size_t *stop) {
    const int64_t own = class_at(strip->type, strip->row_class, r);
    *first = 0;
    while (*first < strip->cols && class_at(strip->type, strip->col_class, *first) < own) ++*first;
    *stop = *first;
    while (*stop < strip->cols && class_at(strip->type, strip->col_class, *stop) == own) ++*stop;
}

static void fill_classes(const nf_strip_state *state, nf_strip_tile *tile) {
    const nf_strip *strip = &tile->strip;
    const int64_t *a = state->pass->own->set.class_of + strip->i;
    const int64_t *b = state->pass->other->set.class_of + strip->j;
    int32_t *narrow_row = (int32_t *)(void *)tile->row_class,
            *narrow_col = (int32_t *)(void *)tile->col_class;
    int64_t *row = (int64_t *)(void *)tile->row_class, *col = (int64_t *)(void *)tile->col_class;
    if (state->type == NF_FLOAT32) {
        for (size_t r = 0; r < strip->rows; r++) narrow_row[r] = (int32_t)a[r];
        for (size_t c = 0; c < state->ld; c++) {
            narrow_col[c] = c < strip->cols ? (int32_t)b[c] : -1;
        }
    } else {
        for (size_t r = 0; r < strip->rows; r++) row[r] = a[r];
        for (size_t c = 0; c < state->ld; c++) col[c] = c < strip->cols ? b[c] : -1;
    }
}

static void mark_not_pairs(const nf_strip_state *state, nf_strip_tile *tile) {
    nf_strip *strip = &tile->strip;
    const int64_t *a = state->pass->own->set.ids, *b = state->pass->other->set.ids;
    const bool ids = a != NULL && b != NULL;
    strip->skip = NULL;
    if (!tile->diagonal && !ids) return;
    memset(tile->skip, 0, strip->rows * state->ld);
    for (size_t r = 0; r < strip->rows; r++) {
        unsigned char *skip = tile->skip + r * state->ld;
        if (tile->diagonal) skip[r] = 1;
        for (size_t c = 0; ids && c < strip->cols; c++) {
            if (a[strip->i + r] == b[strip->j + c]) skip[c] = 1;
        }
    }
    strip->skip = tile->skip;
}

/* ---- distances -------------------------------------------------------------------------------- */

static bool is_zero_row(const nf_strip_state *state, const nf_strip *strip, size_t r, size_t c) {
    return state->zero_rows && (nf_rows_is_zero(&state->pass->own->set.rows, strip->i + r) ||
                                nf_rows_is_zero(&state->pass->other->set.rows, strip->j + c));
}

/* The pair's distance as it is when the raw number of the tile cannot be trusted. */
static void exact_pair(nf_strip_state *state, nf_strip_tile *tile, size_t r, size_t c) {
    const nf_strip *strip = &tile->strip;
    const size_t at = r * state->ld + c;
    const nf_metric metric = state->pass->metric;
    double t = 1;
    if (!is_zero_row(state, strip, r, c)) {
        t = nf_exact_distance(metric, state->type, row_of(state->pass->own, strip->i + r),
                              row_of(state->pass->other, strip->j + c), state->d);
    }
    if (state->type == NF_FLOAT32) {
        ((float *)(void *)tile->t)[at] = (float)t;
        if (!(fabs(t) <= (double)FLT_MAX)) atomic_store(&state->overflow, 1);
    } else {
        ((double *)(void *)tile->t)[at] = t;
        if (!(fabs(t) <= DBL_MAX)) atomic_store(&state->overflow, 1);
    }
    tile->has_exact = true;
}

static void finish_distances(nf_strip_state *state, nf_strip_tile *tile, size_t r) {
    const nf_strip *strip = &tile->strip;
    unsigned char *row = tile->t + r * state->ld * nf_type_size(state->type);
    if (!state->zero_rows && !state->kernels->outside(row, strip->cols, state->low, state->high)) {
        state->kernels->distance(row, strip->cols, state->transform);
        return;
    }
    const size_t element = nf_type_size(state->type);
    for (size_t c = 0; c < strip->cols; c++) {
        const double raw = nf_element_get(state->type, row, c);
        const bool trusted =
            (raw >= state->low && raw <= state->high) ||
            (raw == 0 && nf_rows_equal(state->type, row_of(state->pass->own, strip->i + r),
                                       row_of(state->pass->other, strip->j + c), state->d));
        if (trusted && !is_zero_row(state, strip, r, c)) {
            state->kernels->distance(row + c * element, 1, state->transform);
        } else if (!(tile->diagonal && r == c)) { /* which is no pair */
            exact_pair(state, tile, r, c);
        }
    }
}

static void distances(nf_strip_state *state, nf_strip_tile *tile, size_t j) {
    const nf_strip *strip = &tile->strip;
    const nf_strip_set *other = state->pass->other;
    nf_raw_tile_run(&(nf_raw_tile){.kernels = state->kernels,
                                   .family = state->family,
                                   .d = state->d,
                                   .x = &state->pass->own->set.rows,
                                   .y = &other->set.rows,
                                   .i = strip->i,
                                   .j = strip->j,
                                   .rows = strip->rows,
                                   .cols = strip->cols,
                                   .out = tile->t,
                                   .ldo = state->ld,
                                   .a = row_of(state->pass->own, strip->i),
                                   .lda = state->stride,
                                   .panel = other->panel + j * other->panel_bytes});
    tile->has_exact = false;
    for (size_t r = 0; r < strip->rows; r++) finish_distances(state, tile, r);
}

/* ---- gradients -------------------------------------------------------------------------------- */

static void widen(const nf_strip_state *state, const unsigned char *row, double *out) {
    for (size_t k = 0; k < state->d; k++) out[k] = nf_element_get(state->type, row, k);
}

/* Differences of rows that are far apart may overflow in the type, and 0 * inf would poison the
 * others: the whole strip pair by pair in double. */
static void update_slowly(const nf_strip_state *state, nf_strip_tile *tile) {
    const nf_strip *strip = &tile->strip;
    const double factor = nf_pass_factor(state->pass->metric);
    double *x = tile->wide, *y = x + state->d;
    for (size_t r = 0; r < strip->rows; r++) {
        widen(state, row_of(state->pass->own, strip->i + r), x);
        for (size_t c = 0; c < strip->cols; c++) {
            double slope = nf_element_get(state->type, tile->slope, r * state->ld + c) / factor;
            if (slope == 0 || is_zero_row(state, strip, r, c)) continue;
            const double t = nf_element_get(state->type, tile->t, r * state->ld + c);
            widen(state, row_of(state->pass->other, strip->j + c), y);
            nf_term_gradient(state->pass->metric, slope, t, x, y, state->d,
                             state->pass->own->set.sum + (strip->i + r) * state->d);
            if (!strip->mirrored) continue;
            nf_term_gradient(state->pass->metric, slope, t, y, x, state->d,
                             state->pass->other->set.sum + (strip->j + c) * state->d);
        }
    }
}

/* One side of an update; without gradient its part is NULL. */
static nf_update_side side_of(nf_strip_tile *tile, int s, const nf_strip_set *set, bool gradient) {
    nf_span *span = &tile->span[s];
    const size_t b = tile->block[s];
    nf_update_side side = {.x = nf_span_rows(span, b)};
    if (!gradient) return side;
    side.part = nf_span_part(span, b);
    side.weight = span->weight + b * span->shape->block_rows;
    side.radius2 = set->facts.radius2 + (span->first + b) * NF_STRIPS;
    return side;
}

static void update(nf_strip_state *state, nf_strip_tile *tile) {
    const nf_strip_pass *pass = state->pass;
    const nf_strip *strip = &tile->strip;
    const uint64_t strips =
        nf_update_strips(strip->rows) + (strip->mirrored ? nf_update_strips(strip->cols) : 0);
    nf_update_work work = {0};
    atomic_fetch_add_explicit(&state->updates, strips, memory_order_relaxed);
    if (tile->has_exact) {
        update_slowly(state, tile);
        return;
    }
    const nf_slope_tile slopes = {.slope = tile->slope,
                                  .t = tile->t,
                                  .ld = state->ld,
                                  .rows = strip->rows,
                                  .cols = strip->cols,
                                  .transform = state->transform,
                                  .facts = &tile->facts};
    if (!state->kernels->weigh(&slopes)) {
        atomic_fetch_add_explicit(&state->updates_skipped, strips, memory_order_relaxed);
        return;
    }
    const nf_update job = {.kernels = state->kernels,
                           .family = state->family,
                           .type = state->type,
                           .d = state->d,
                           .stride = state->stride,
                           .ld = state->ld,
                           .weights = tile->slope,
                           .facts = &tile->facts,
                           .rows = strip->rows,
                           .cols = strip->cols,
                           .a = side_of(tile, 0, pass->own, true),
                           .b = side_of(tile, 1, pass->other, strip->mirrored)};
    nf_update_run(&job, &work);
    atomic_fetch_add_explicit(&state->updates_skipped, work.skipped, memory_order_relaxed);
}

/* ---- the run ---------------------------------------------------------------------------------- */

/* Whether the strip has a pair of a side that is wanted. */
static bool wanted(const nf_strip_state *state, const nf_strip *strip, size_t i, size_t j) {
    const nf_strip_pass *pass = state->pass;
    if (pass->side[NF_POSITIVE] && strip->any[NF_POSITIVE]) return true;
    if (!pass->side[NF_NEGATIVE] || !strip->any[NF_NEGATIVE]) return false;
    return !(state->prune && nf_bounds_apart(&state->bounds[0], i, &state->bounds[1], j, state->d,
                                             state->type, state->reach));
}

/* Block r of the span of rows against block c of that of columns. */
static void run_strip(nf_strip_state *state, nf_strip_tile *tile, size_t r, size_t c) {
    const nf_strip_pass *pass = state->pass;
    const size_t i = tile->span[0].first + r, j = tile->span[1].first + c;
    const nf_pass_set *own = &pass->own->set, *other = &pass->other->set;
    nf_strip *strip = &tile->strip;
    tile->block[0] = r;
    tile->block[1] = c;
    strip->block = i;
    strip->i = own->block[i];
    strip->rows = own->block[i + 1] - strip->i;
    strip->j = other->block[j];
    strip->cols = other->block[j + 1] - strip->j;
    tile->diagonal = state->within && i == j;
    strip->mirrored = pass->once && i != j;
    find_sides(pass, i, j, strip);
    if (!wanted(state, strip, i, j)) {
        state->skipped[i]++;
        return;
    }
    distances(state, tile, j);
    fill_classes(state, tile);
    mark_not_pairs(state, tile);
    int failure = pass->run(pass->user, strip);
    if (failure != 0) atomic_store(&state->failure, failure);
    if (failure == 0 && pass->gradient) update(state, tile);
}

static void begin_tile(const nf_strip_state *state, int worker, nf_strip_tile *tile) {
    layout(state, state->scratch + (size_t)worker * state->worker_bytes, tile);
    tile->strip.ld = state->ld;
    tile->strip.type = state->type;
    tile->strip.t = tile->t;
    tile->strip.slope = tile->slope;
    tile->strip.row_class = tile->row_class;
    tile->strip.col_class = tile->col_class;
}

static void begin_span(const nf_strip_state *state, const nf_strip_set *set, size_t number,
                       nf_span *span) {
    span->set = &set->set;
    span->first = number * state->span_blocks;
    span->count = nf_min_size(state->span_blocks, set->set.blocks - span->first);
    span->rows = set->row + span->first * set->block_bytes;
    span->panel = set->panel + span->first * set->panel_bytes;
    for (size_t b = 0; b < span->count; b++) span->copied[b] = span->packed[b] = true;
}

static void meet(void *user, size_t i, size_t j, int worker) {
    nf_strip_state *state = user;
    const nf_strip_pass *pass = state->pass;
    nf_strip_tile tile;
    begin_tile(state, worker, &tile);
    nf_span *a = &tile.span[0], *b = &tile.span[1];
    begin_span(state, pass->own, i, a);
    begin_span(state, pass->other, j, b);
    for (size_t r = 0; r < a->count; r++) {
        for (size_t c = pass->once && i == j ? r : 0; c < b->count; c++) {
            if (atomic_load_explicit(&state->failure, memory_order_relaxed) != 0) return;
            run_strip(state, &tile, r, c);
            /* At once: sums over more than one strip are in double. */
            nf_span_settle(a);
            nf_span_settle(b);
        }
    }
}

static nf_status make_bounds(nf_context *context, nf_strip_state *state) {
    const nf_strip_pass *pass = state->pass;
    state->reach = nf_gram_reach(&pass->own->set.rows, pass->reach);
    state->prune = pass->reach >= 0 && !state->zero_rows &&
                   pass->own->set.blocks + pass->other->set.blocks > 2;
    if (!state->prune) return NF_OK;
    nf_status status = nf_bounds_make(context, &pass->own->set, &state->bounds[0]);
    state->bounds[1] = state->bounds[0];
    if (status == NF_OK && !state->within) {
        status = nf_bounds_make(context, &pass->other->set, &state->bounds[1]);
    }
    return status;
}

static nf_status prepare(nf_context *context, nf_strip_state *state) {
    const nf_strip_pass *pass = state->pass;
    const nf_rows *own = &pass->own->set.rows, *other = &pass->other->set.rows;
    state->within = pass->own == pass->other;
    state->type = own->x.type;
    state->d = own->x.cols;
    state->stride = pass->own->stride;
    state->block_rows = nf_pass_block_rows(state->d);
    state->ld = nf_pad(state->type, state->block_rows);
    state->kernels = nf_kernels_get(context, state->type);
    state->family = nf_metric_family(pass->metric);
    state->transform = nf_metric_transform(pass->metric);
    state->zero_rows =
        pass->metric == NF_COSINE && state->d > 0 && (own->zero_rows > 0 || other->zero_rows > 0);
    nf_trusted_range(state->family, state->type, state->d, 1, &state->low, &state->high);
    atomic_init(&state->failure, 0);
    atomic_init(&state->overflow, 0);
    atomic_init(&state->updates, 0);
    atomic_init(&state->updates_skipped, 0);
    state->span_blocks = nf_pass_span_blocks(&pass->own->set, &pass->other->set);
    state->shape = (nf_span_shape){.kernels = state->kernels,
                                   .type = state->type,
                                   .d = state->d,
                                   .stride = state->stride,
                                   .block_rows = state->block_rows,
                                   .block_bytes = pass->own->block_bytes,
                                   .panel_bytes = pass->own->panel_bytes,
                                   .gradient = pass->gradient,
                                   .borrows = true};
    nf_strip_tile unused;
    state->worker_bytes = layout(state, NULL, &unused);
    nf_status status = make_bounds(context, state);
    if (status == NF_OK) {
        status = nf_scratch(context, &state->scratch, (size_t)context->threads, state->worker_bytes,
                            "strips");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &state->skipped, pass->own->set.blocks, sizeof(uint64_t),
                            "strip counts");
    }
    if (status != NF_OK) return status;
    memset(state->skipped, 0, pass->own->set.blocks * sizeof(uint64_t));
    return NF_OK;
}

static nf_schedule schedule_of(const nf_strip_set *own, const nf_strip_set *other, bool once) {
    const size_t each = nf_pass_span_blocks(&own->set, &other->set);
    return (nf_schedule){
        .spans = {(own->set.blocks + each - 1) / each, (other->set.blocks + each - 1) / each},
        .within = once,
        .meet = meet};
}

uint64_t nf_strip_work(const nf_strip_set *own, const nf_strip_set *other, bool once) {
    const nf_schedule schedule = schedule_of(own, other, once);
    return nf_schedule_work(&schedule);
}

nf_status nf_strip_run(nf_context *context, nf_strip_pass *pass) {
    const uint64_t blocks = pass->own->set.blocks, others = pass->other->set.blocks;
    if (blocks == 0 || others == 0) return NF_OK;
    nf_strip_state state = {.pass = pass};
    nf_schedule schedule = schedule_of(pass->own, pass->other, pass->once);
    schedule.user = &state;
    nf_status status = prepare(context, &state);
    if (status == NF_OK) {
        double work = 2.0 * (double)pass->own->set.rows.count *
                      (double)pass->other->set.rows.count * (double)state.d;
        status = nf_schedule_run(context, &schedule, work > NF_WAKE_FLOPS);
    }
    if (status == NF_OK && atomic_load(&state.failure) != 0) {
        status = nf_fail(context, NF_ERR_CALLBACK, "the pair function returned %d",
                         atomic_load(&state.failure));
    }
    if (status == NF_OK && atomic_load(&state.overflow) != 0) {
        status = nf_fail(context, NF_ERR_RANGE, "a %s distance exceeds %s: %s",
                         nf_metric_name(pass->metric),
                         state.type == NF_FLOAT32 ? "float32 (3.4e38)" : "float64",
                         state.type == NF_FLOAT32 ? "pass float64" : "scale the data down");
    }
    for (size_t b = 0; status == NF_OK && b < blocks; b++) pass->tiles_skipped += state.skipped[b];
    pass->updates += atomic_load(&state.updates);
    pass->updates_skipped += atomic_load(&state.updates_skipped);
    pass->tiles += pass->once ? blocks * (blocks + 1) / 2 : blocks * others;
    return status;
}
