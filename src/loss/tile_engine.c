#include "loss/tile_engine.h"

#include <math.h>

#include "distance/gram.h"
#include "loss/update.h"

static size_t layout(const nf_tile_engine *engine, unsigned char *base, nf_tile_scratch *out) {
    const size_t element = nf_type_size(engine->type), block = engine->block_rows;
    const size_t row = engine->ld * element;
    unsigned char *wide;
    size_t used = 0;
    const size_t sizes[6] = {
        block * row, 2 * row, row, row, block * engine->ld, 2 * engine->stride * sizeof(double)};
    unsigned char **slots[6] = {&out->tile,      &out->work, &out->row_class,
                                &out->col_class, &out->skip, &wide};
    for (int i = 0; i < 6; i++) {
        *slots[i] = base != NULL ? base + used : NULL;
        used += nf_round_up(sizes[i], NF_ALIGNMENT);
    }
    out->wide = (double *)(void *)wide;
    used += nf_weight_facts_layout(engine->type, block, engine->ld,
                                   base != NULL ? base + used : NULL, &out->facts);
    for (int s = 0; s < 2 && engine->kept[0] == NULL; s++) {
        used += nf_span_layout(&engine->shape, engine->span_blocks,
                               base != NULL ? base + used : NULL, &out->span[s]);
    }
    return used;
}

void nf_tile_scratch_of(const nf_tile_engine *engine, int worker, nf_tile_scratch *scratch) {
    layout(engine, engine->scratch + (size_t)worker * engine->worker_bytes, scratch);
}

void nf_tile_begin_span(const nf_tile_engine *engine, const nf_pass_set *set, size_t number,
                        nf_span *span) {
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
            nf_tile_begin_span(engine, sets[s], i, &engine->kept[s][i]);
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

/* The metric of a side that has terms: all such are of one family. */
static nf_metric some_metric(const nf_pass *pass) {
    return pass->metric[pass->contrast.side[NF_POSITIVE].on ? NF_POSITIVE : NF_NEGATIVE];
}

static bool has_zero_rows(const nf_pass *pass) {
    bool cosine = false;
    for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
        cosine |= pass->contrast.side[side].on && pass->metric[side] == NF_COSINE;
    }
    return cosine && pass->a->rows.x.cols > 0 &&
           (pass->a->rows.zero_rows > 0 || pass->b->rows.zero_rows > 0);
}

static void choose_range(nf_tile_engine *engine) {
    const nf_contrast_side *side = engine->pass->contrast.side;
    double power = fmax(raw_power(&side[NF_NEGATIVE]), raw_power(&side[NF_POSITIVE]));
    nf_trusted_range(engine->family, engine->type, engine->d, power, &engine->low, &engine->high);
}

static void choose_sizes(nf_tile_engine *engine) {
    const nf_pass_set *a = engine->pass->a, *b = engine->pass->b;
    const nf_matrix x = a->rows.x;
    const size_t element = nf_type_size(x.type);
    engine->d = x.cols;
    engine->stride = nf_span_stride(x);
    engine->block_rows = nf_max_size(longest_block(a), longest_block(b));
    engine->ld = nf_pad(x.type, engine->block_rows);
    engine->span_blocks = nf_pass_span_blocks(a, b);
    engine->spans[0] = nf_pass_spans(a, engine->span_blocks);
    engine->spans[1] = nf_pass_spans(b, engine->span_blocks);
    engine->shape = (nf_span_shape){.kernels = engine->kernels,
                                    .type = x.type,
                                    .d = x.cols,
                                    .stride = engine->stride,
                                    .block_rows = engine->block_rows,
                                    .block_bytes = engine->block_rows * engine->stride * element,
                                    .panel_bytes = engine->ld * x.cols * element,
                                    .gradient = engine->gradient};
}

nf_status nf_tile_engine_init(nf_context *context, nf_tile_engine *engine, const nf_pass *pass) {
    const nf_type type = pass->a->rows.x.type;
    nf_tile_scratch unused;
    *engine = (nf_tile_engine){.pass = pass,
                               .kernels = nf_kernels_get(context, type),
                               .family = nf_metric_family(some_metric(pass)),
                               .type = type,
                               .within = pass->a == pass->b,
                               .gradient = pass->a->sum != NULL || pass->b->sum != NULL,
                               .zero_rows = has_zero_rows(pass)};
    choose_sizes(engine);
    choose_range(engine);
    nf_status status = make_bounds(context, engine);
    if (status == NF_OK) status = make_facts(context, engine);
    if (status == NF_OK) status = keep_spans(context, engine);
    if (status != NF_OK) return status;
    engine->worker_bytes = layout(engine, NULL, &unused);
    return nf_scratch(context, &engine->scratch, (size_t)context->threads, engine->worker_bytes,
                      "loss tiles");
}
