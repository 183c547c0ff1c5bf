#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "distance/order.h"
#include "distance/search.h"

#define NF_SEED_SPARE 16 /* more than k, so that the search for a limit may end early */
#define NF_SEED_STEPS 24
#define NF_EXACT_PAIRS 256

/* ---- images ----------------------------------------------------------------------------------- */

typedef struct image_job {
    const nf_search *search;
    const nf_rows *rows;
    size_t first, count;
    nf_images out;
} image_job;

static void image_task(void *argument, size_t task, int worker) {
    const image_job *job = argument;
    const nf_search *search = job->search;
    const size_t start = task * search->block;
    const nf_images out = {job->out.coarse + start * search->filter->coarse_ld,
                           job->out.fine + start * search->filter->fine_ld,
                           job->out.slack + 2 * start};
    nf_filter_project(search->filter, job->rows, job->first + start,
                      nf_min_size(search->block, job->count - start), out, worker);
}

static nf_status make_images(nf_context *context, const nf_search *search, const nf_rows *rows,
                             size_t first, size_t count, nf_images out) {
    image_job job = {search, rows, first, count, out};
    return nf_parallel(context, (count + search->block - 1) / search->block, true, 0, image_task,
                       &job);
}

static nf_status image_scratch(nf_context *context, const nf_filter *filter, size_t rows,
                               nf_images *images) {
    const char *what = "images of rows";
    const size_t number = sizeof(float);
    nf_status status = nf_scratch(context, &images->fine, rows, filter->fine_ld * number, what);
    if (status == NF_OK) {
        status = nf_scratch(context, &images->coarse, rows, filter->coarse_ld * number, what);
    }
    if (status == NF_OK) status = nf_scratch(context, &images->slack, rows, 2 * number, what);
    return status;
}

/* Whether all rows are both, so that one set of images does. */
static bool one_set(const nf_search *search) {
    const nf_distance_job *job = search->job;
    return job->self && search->part >= job->x.count && search->chunk >= job->y.count;
}

nf_status nf_search_filter_begin(nf_context *context, nf_search *search) {
    const nf_filter *filter = search->filter;
    const size_t blocks = search->chunk / search->block;
    nf_status status = image_scratch(context, filter, search->part, &search->query);
    search->reference = search->query;
    if (status == NF_OK && !one_set(search)) {
        status = image_scratch(context, filter, search->chunk, &search->reference);
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &search->query_order, search->part, sizeof(size_t),
                            "order of rows");
    }
    if (status == NF_OK) {
        status =
            nf_scratch(context, &search->order, search->chunk, sizeof(size_t), "order of rows");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &search->center, blocks, filter->coarse_ld * sizeof(float),
                            "blocks of rows");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &search->slack, blocks, 2 * sizeof(float), "blocks of rows");
    }
    return status;
}

nf_status nf_search_filter_part(nf_context *context, nf_search *search) {
    const size_t ld = search->filter->coarse_ld;
    nf_status status = make_images(context, search, &search->job->x, search->part_first,
                                   search->part_count, search->query);
    if (status != NF_OK) return status;
    nf_order_points(search->query.coarse, ld, ld, search->part_count, search->task_rows,
                    search->query_order);
    return NF_OK;
}

static void pack_task(void *argument, size_t block, int worker) {
    const nf_search *search = argument;
    const size_t ld = search->filter->coarse_ld, columns = nf_search_columns(search, block);
    const nf_search_scratch scratch = nf_search_layout(search, worker);
    float *center = search->center + block * ld, *slack = search->slack + 2 * block;
    memset(center, 0, ld * sizeof *center);
    slack[0] = slack[1] = 0;
    for (size_t c = 0; c < columns; c++) {
        const size_t column = search->order[block * search->block + c];
        const float *image = search->reference.coarse + column * ld;
        memcpy(scratch.seeds + c * ld, image, ld * sizeof *image);
        for (size_t k = 0; k < ld; k++) center[k] += image[k] / (float)columns;
        for (size_t side = 0; side < 2; side++) {
            const float own = search->reference.slack[2 * column + side];
            slack[side] = own > slack[side] ? own : slack[side];
        }
    }
    search->filter->kernels->pack(search->panels + block * search->panel_bytes, scratch.seeds, ld,
                                  columns, ld);
}

nf_status nf_search_filter_chunk(nf_context *context, nf_search *search) {
    const nf_filter *filter = search->filter;
    nf_status status = NF_OK;
    if (!one_set(search)) {
        status = make_images(context, search, &search->job->y, search->first, search->count,
                             search->reference);
    }
    if (status != NF_OK) return status;
    nf_order_points(search->reference.coarse, filter->coarse_ld, filter->coarse_ld, search->count,
                    search->block, search->order);
    return nf_parallel(context, nf_search_blocks(search), true, 0, pack_task, search);
}

/* ---- pairs that are left ---------------------------------------------------------------------- */

/* Distances of the pairs' rows, in chains as the tiles have them. */
static void offer_pairs(const nf_search *search, const nf_search_scratch *scratch, size_t pairs) {
    const size_t element = nf_type_size(search->work);
    const void *a[NF_EXACT_PAIRS], *b[NF_EXACT_PAIRS];
    for (size_t start = 0; start < pairs; start += NF_EXACT_PAIRS) {
        const size_t some = nf_min_size(NF_EXACT_PAIRS, pairs - start);
        for (size_t p = 0; p < some; p++) {
            a[p] = nf_search_query_row(search, scratch, scratch->pair_row[start + p]);
            b[p] = nf_search_reference_row(search, scratch->pair_column[start + p]);
        }
        nf_family_rows(search->kernels, search->family)(scratch->pair_value + start * element, a, b,
                                                        some, search->d);
    }
    nf_search_offer(search, scratch, pairs);
}

/* Of scratch->index, columns of the chunk, those whose fine images are within a limit of the
 * query's. */
static size_t keep_fine(const nf_search *search, const nf_search_scratch *scratch, size_t own,
                        size_t found, float limit) {
    const nf_filter *filter = search->filter;
    const float *sum = scratch->sums;
    size_t kept = 0;
    filter->kernels->gather_sqdist(scratch->sums, search->query.fine + own * filter->fine_ld,
                                   search->reference.fine, filter->fine_ld, scratch->index, found,
                                   filter->fine_ld);
    for (size_t f = 0; f < found; f++) {
        scratch->index[kept] = scratch->index[f];
        kept += sum[f] <= limit;
    }
    return kept;
}

/* The same by the rows themselves, in whole lines, and in sums of many lanes: nearly the distance, at
 * a fraction of the time that one chain takes. */
static size_t keep_near(const nf_search *search, const nf_search_scratch *scratch, size_t r,
                        size_t found, float limit) {
    const size_t lanes = nf_lanes(search->work);
    const float *narrow = scratch->sums;
    const double *wide = scratch->sums;
    size_t kept = 0;
    search->kernels->gather_sqdist(scratch->sums, nf_search_query_row(search, scratch, r),
                                   nf_search_reference_row(search, 0),
                                   search->copy ? search->d : search->job->y.x.ld, scratch->index,
                                   found, search->d / lanes * lanes);
    for (size_t f = 0; f < found; f++) {
        const double sum = search->work == NF_FLOAT32 ? (double)narrow[f] : wide[f];
        scratch->index[kept] = scratch->index[f];
        kept += sum <= (double)limit;
    }
    return kept;
}

/* Columns of the chunk that are in a block and may be among the nearest of the task's query r, to
 * scratch->index. Squared distances of coarse images up to `done` are done. */
static size_t candidates(const nf_search *search, const nf_search_scratch *scratch, size_t r,
                         size_t block, const float *coarse, float done) {
    const nf_filter *filter = search->filter;
    const size_t own = nf_search_own(search, scratch, r);
    const size_t *order = search->order + block * search->block;
    const float *slack = search->query.slack + 2 * own, *other = search->slack + 2 * block;
    const double bar = nf_nearest_bar(search->nearest, search->part_first + own);
    const float far = nf_filter_limit(filter, search->job, bar, (double)slack[0] + (double)other[0],
                                      filter->coarse_ld);
    const size_t found =
        filter->kernels->not_above(scratch->index, coarse, nf_search_columns(search, block),
                                   (double)far, (double)INFINITY, false);
    size_t kept = 0;
    for (size_t f = 0; f < found; f++) {
        const uint32_t column = scratch->index[f];
        scratch->index[kept] = (uint32_t)order[column];
        kept += coarse[column] > done;
    }
    if (kept == 0) return 0;
    const float farther = nf_filter_limit(filter, search->job, bar,
                                          (double)slack[1] + (double)other[1], filter->fine_ld);
    kept = keep_fine(search, scratch, own, kept, farther);
    if (kept == 0) return 0;
    return keep_near(search, scratch, r, kept,
                     nf_filter_limit(filter, search->job, bar, 0, search->d));
}

static size_t add_pairs(const nf_search_scratch *scratch, size_t pairs, size_t r, size_t found) {
    for (size_t f = 0; f < found; f++) {
        scratch->pair_row[pairs] = (uint32_t)r;
        scratch->pair_column[pairs++] = scratch->index[f];
    }
    return pairs;
}

static void search_block(const nf_search *search, const nf_search_scratch *scratch, size_t start,
                         size_t rows, size_t block, bool seeded) {
    const nf_filter *filter = search->filter;
    float *coarse = (float *)(void *)scratch->values;
    size_t pairs = 0;
    filter->kernels->sqdist(coarse, search->block, scratch->coarse + start * filter->coarse_ld,
                            filter->coarse_ld, search->panels + block * search->panel_bytes, rows,
                            nf_search_columns(search, block), filter->coarse_ld);
    for (size_t r = 0; r < rows; r++) {
        size_t found = candidates(search, scratch, start + r, block, coarse + r * search->block,
                                  seeded ? scratch->seeded[start + r] : -1);
        pairs = add_pairs(scratch, pairs, start + r, found);
    }
    offer_pairs(search, scratch, pairs);
}

/* ---- the first bar ---------------------------------------------------------------------------- */

/* A limit that `wanted` to `most` of the values do not exceed; -1 when none is found. */
static float limit_of_smallest(const nf_kernels *kernels, uint32_t *index, const float *values,
                               size_t count, size_t wanted, size_t most) {
    float low = values[0], high = 0;
    for (size_t c = 0; c < count; c++) {
        low = values[c] < low ? values[c] : low;
        high = values[c] > high && values[c] < INFINITY ? values[c] : high;
    }
    for (int step = 0; step < NF_SEED_STEPS; step++) {
        const float middle = low + (high - low) / 2;
        size_t found =
            kernels->not_above(index, values, count, (double)middle, (double)INFINITY, false);
        if (found >= wanted && found <= most) return middle;
        if (found < wanted) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return -1;
}

/* The nearest, by coarse images, of the blocks a task begins with become neighbours at once. */
static void seed(const nf_search *search, const nf_search_scratch *scratch, size_t start,
                 size_t rows, size_t blocks) {
    const nf_filter *filter = search->filter;
    const size_t wanted = search->nearest->k + search->exclude, ld = blocks * search->block;
    const size_t most = wanted + wanted / 4 + NF_SEED_SPARE;
    size_t count = 0;
    for (size_t b = 0; b < blocks; b++) { /* only the last block of a chunk is not full */
        const size_t block = scratch->blocks[b], columns = nf_search_columns(search, block);
        filter->kernels->sqdist(scratch->seeds + b * search->block, ld,
                                scratch->coarse + start * filter->coarse_ld, filter->coarse_ld,
                                search->panels + block * search->panel_bytes, rows, columns,
                                filter->coarse_ld);
        for (size_t r = 0; r < rows; r++) {
            float *values = scratch->seeds + r * ld + b * search->block;
            for (size_t c = columns; c < search->block; c++) values[c] = INFINITY;
        }
        count += columns;
    }
    for (size_t r = 0; r < rows; r++) {
        const float *values = scratch->seeds + r * ld;
        scratch->seeded[start + r] = -1;
        if (wanted > count || most > NF_SEARCH_ROWS * search->block) continue;
        const float limit =
            limit_of_smallest(filter->kernels, scratch->index, values, ld, wanted, most);
        if (limit < 0) continue;
        size_t found = filter->kernels->not_above(scratch->index, values, ld, (double)limit,
                                                  (double)INFINITY, false);
        for (size_t f = 0; f < found; f++) {
            const size_t at = scratch->index[f];
            scratch->index[f] =
                (uint32_t)search->order[scratch->blocks[at / search->block] * search->block +
                                        at % search->block];
        }
        offer_pairs(search, scratch, add_pairs(scratch, 0, start + r, found));
        scratch->seeded[start + r] = limit;
    }
}

/* ---- a task ----------------------------------------------------------------------------------- */

/* Blocks by the distance of their centers from the task's. */
static void order_blocks(const nf_search *search, const nf_search_scratch *scratch) {
    const size_t ld = search->filter->coarse_ld;
    float *center = scratch->seeds;
    memset(center, 0, ld * sizeof *center);
    for (size_t r = 0; r < scratch->count; r++) {
        const float *image = scratch->coarse + r * ld;
        for (size_t k = 0; k < ld; k++) center[k] += image[k] / (float)scratch->count;
    }
    for (size_t block = 0; block < nf_search_blocks(search); block++) {
        const float *other = search->center + block * ld;
        float sum = 0;
        for (size_t k = 0; k < ld; k++) sum += (center[k] - other[k]) * (center[k] - other[k]);
        size_t at = block;
        for (; at > 0 && scratch->apart[at - 1] > sum; at--) {
            scratch->apart[at] = scratch->apart[at - 1];
            scratch->blocks[at] = scratch->blocks[at - 1];
        }
        scratch->apart[at] = sum;
        scratch->blocks[at] = block;
    }
}

void nf_search_filter_task(const nf_search *search, nf_search_scratch *scratch) {
    const size_t ld = search->filter->coarse_ld, blocks = nf_search_blocks(search);
    const size_t seeds = search->first == 0 ? nf_min_size(search->seed_blocks, blocks) : 0;
    for (size_t r = 0; r < scratch->count; r++) {
        const size_t own = nf_search_own(search, scratch, r);
        memcpy(scratch->coarse + r * ld, search->query.coarse + own * ld, ld * sizeof(float));
    }
    order_blocks(search, scratch);
    for (size_t start = 0; start < scratch->count && seeds > 0; start += NF_SEARCH_ROWS) {
        seed(search, scratch, start, nf_min_size(NF_SEARCH_ROWS, scratch->count - start), seeds);
    }
    for (size_t b = 0; b < blocks; b++) {
        for (size_t start = 0; start < scratch->count; start += NF_SEARCH_ROWS) {
            search_block(search, scratch, start,
                         nf_min_size(NF_SEARCH_ROWS, scratch->count - start), scratch->blocks[b],
                         b < seeds);
        }
    }
}
