#include "distance/search.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "distance/gram.h"

#define NF_SEARCH_BLOCK 256
#define NF_SEARCH_BLOCK_BYTES ((size_t)1 << 20)
#define NF_SEARCH_CHUNK_BYTES ((size_t)4 << 20)
#define NF_SEARCH_CHUNK 4096 /* references, at most */
#define NF_SEARCH_TASK 384   /* queries of a task, at most */
#define NF_SEARCH_TASKS 6    /* of a thread, at least, when there are queries enough */
#define NF_SEARCH_SEEDS 2048 /* references that a first bar is found among, at least */

/* ---- scratch ---------------------------------------------------------------------------------- */

static size_t place(const nf_search *search, unsigned char *base, nf_search_scratch *scratch) {
    const size_t element = nf_type_size(search->work), pairs = NF_SEARCH_ROWS * search->block;
    const bool filtered = search->filter != NULL;
    const size_t image = filtered ? search->filter->coarse_ld * sizeof(float) : 0;
    const size_t seeds = filtered ? search->seed_blocks * search->block : 0;
    const size_t task = filtered ? search->task_rows : 0, blocks = search->chunk / search->block;
    const size_t sizes[13] = {
        search->copy ? search->task_rows * search->d * element : 0,
        pairs * nf_max_size(element, sizeof(float)),
        (nf_max_size(seeds, search->block) + NF_LINE) * sizeof(uint32_t),
        pairs * sizeof(uint32_t),
        pairs * sizeof(uint32_t),
        pairs * element,
        task * image,
        nf_max_size(NF_SEARCH_ROWS * seeds * sizeof(float), search->block * image),
        task * sizeof(float),
        filtered ? search->block * element : 0,
        filtered ? search->block * sizeof(size_t) : 0,
        filtered ? blocks * sizeof(size_t) : 0,
        filtered ? blocks * sizeof(float) : 0};
    unsigned char *slots[13];
    size_t used = 0;
    for (int s = 0; s < 13; s++) {
        slots[s] = base != NULL ? base + used : NULL;
        used += nf_round_up(sizes[s], NF_ALIGNMENT);
    }
    *scratch = (nf_search_scratch){.rows = slots[0],
                                   .values = slots[1],
                                   .index = (void *)slots[2],
                                   .pair_row = (void *)slots[3],
                                   .pair_column = (void *)slots[4],
                                   .pair_value = slots[5],
                                   .coarse = (void *)slots[6],
                                   .seeds = (void *)slots[7],
                                   .seeded = (void *)slots[8],
                                   .sums = slots[9],
                                   .reference = (void *)slots[10],
                                   .blocks = (void *)slots[11],
                                   .apart = (void *)slots[12]};
    return used;
}

nf_search_scratch nf_search_layout(const nf_search *search, int worker) {
    nf_search_scratch scratch;
    place(search, search->scratch + (size_t)worker * search->worker_bytes, &scratch);
    return scratch;
}

/* ---- distances -------------------------------------------------------------------------------- */

/* Pairs one by one, where some raw number is not to be trusted. */
static void finish_each(const nf_search *search, const nf_search_scratch *scratch, size_t pairs) {
    for (size_t p = 0; p < pairs; p++) {
        const unsigned char *a = nf_search_query_row(search, scratch, scratch->pair_row[p]);
        const unsigned char *b = nf_search_reference_row(search, scratch->pair_column[p]);
        unsigned char *value = scratch->pair_value + p * nf_type_size(search->work);
        const double raw = nf_element_get(search->work, value, 0);
        if ((raw >= search->low && raw <= search->high) ||
            (raw == 0 && nf_rows_equal(search->work, a, b, search->d))) {
            search->kernels->distance(value, 1, search->transform);
        } else {
            nf_element_set(
                search->work, value, 0,
                nf_exact_distance(search->job->options.metric, search->work, a, b, search->d));
        }
    }
}

/* With cosine a zero row is at distance 1 of every row but itself. */
static bool is_one(const nf_search *search, size_t query, size_t reference) {
    const nf_distance_job *job = search->job;
    if (job->options.metric != NF_COSINE || (job->self && query == reference)) return false;
    return nf_rows_is_zero(&job->x, query) || nf_rows_is_zero(&job->y, reference);
}

void nf_search_offer(const nf_search *search, const nf_search_scratch *scratch, size_t pairs) {
    if (search->kernels->outside(scratch->pair_value, pairs, search->low, search->high)) {
        finish_each(search, scratch, pairs);
    } else {
        search->kernels->distance(scratch->pair_value, pairs, search->transform);
    }
    for (size_t p = 0; p < pairs; p++) {
        const size_t query = nf_search_query(search, scratch, scratch->pair_row[p]);
        const size_t reference = search->first + scratch->pair_column[p];
        if (search->exclude && query == reference) continue;
        double value = nf_element_get(search->work, scratch->pair_value, p);
        if (is_one(search, query, reference)) value = 1;
        nf_nearest_offer(search->nearest, query, value, reference);
    }
}

/* ---- without a filter ------------------------------------------------------------------------- */

/* The largest raw number (negated for dot) whose distance may be `bar` or less. */
static double raw_limit(const nf_search *search, double bar) {
    const double unit = search->type == NF_FLOAT32 ? FLT_EPSILON : DBL_EPSILON;
    const double least = search->type == NF_FLOAT32 ? 0x1p-148 : 0;
    double limit = bar + (4 * unit * fabs(bar) + least);
    if (search->transform == NF_T_SQRT) limit = limit * limit * (1 + 4 * unit);
    if (search->transform == NF_T_HALF) limit = 2 * limit;
    return fmax(limit, search->family == NF_PRODUCT ? -search->high : search->low);
}

/* Queries [start, start + rows) of the task against a block. */
static void search_block(const nf_search *search, const nf_search_scratch *scratch, size_t start,
                         size_t rows, size_t block) {
    const size_t element = nf_type_size(search->work), columns = nf_search_columns(search, block);
    size_t pairs = 0;
    nf_raw_tile_run(&(nf_raw_tile){.kernels = search->kernels,
                                   .family = search->family,
                                   .d = search->d,
                                   .x = &search->job->x,
                                   .y = &search->job->y,
                                   .i = scratch->first + start,
                                   .j = search->first + block * search->block,
                                   .rows = rows,
                                   .cols = columns,
                                   .out = scratch->values,
                                   .ldo = search->block,
                                   .a = nf_search_query_row(search, scratch, start),
                                   .lda = search->copy ? search->d : search->job->x.x.ld,
                                   .panel = search->panels + block * search->panel_bytes});
    for (size_t r = 0; r < rows; r++) {
        const unsigned char *values = scratch->values + r * search->block * element;
        const double limit =
            raw_limit(search, nf_nearest_bar(search->nearest, scratch->first + start + r));
        size_t found = search->kernels->not_above(scratch->index, values, columns, limit,
                                                  search->high, search->family == NF_PRODUCT);
        for (size_t f = 0; f < found; f++) {
            scratch->pair_row[pairs] = (uint32_t)(start + r);
            scratch->pair_column[pairs] = (uint32_t)(block * search->block) + scratch->index[f];
            memcpy(scratch->pair_value + pairs * element, values + scratch->index[f] * element,
                   element);
            pairs++;
        }
    }
    nf_search_offer(search, scratch, pairs);
}

static void search_task(void *argument, size_t task, int worker) {
    const nf_search *search = argument;
    const size_t element = nf_type_size(search->work);
    nf_search_scratch scratch = nf_search_layout(search, worker);
    scratch.first = task * search->task_rows;
    scratch.count = nf_min_size(search->task_rows, search->part_count - scratch.first);
    for (size_t r = 0; search->copy && r < scratch.count; r++) {
        nf_rows_copy(&search->job->x, nf_search_query(search, &scratch, r), 1, search->work,
                     scratch.rows + r * search->d * element, search->d);
    }
    if (search->filter != NULL) {
        nf_search_filter_task(search, &scratch);
        return;
    }
    for (size_t block = 0; block < nf_search_blocks(search); block++) {
        for (size_t start = 0; start < scratch.count; start += NF_SEARCH_ROWS) {
            const size_t rows = nf_min_size(NF_SEARCH_ROWS, scratch.count - start);
            search_block(search, &scratch, start, rows, block);
        }
    }
}

/* ---- a chunk ---------------------------------------------------------------------------------- */

static void prepare_task(void *argument, size_t block, int worker) {
    const nf_search *search = argument;
    const size_t begin = block * search->block, columns = nf_search_columns(search, block);
    (void)worker;
    if (search->copy) {
        nf_rows_copy(&search->job->y, search->first + begin, columns, search->work,
                     search->rows + begin * search->d * nf_type_size(search->work), search->d);
    }
    if (search->filter != NULL) return;
    search->kernels->pack(search->panels + block * search->panel_bytes,
                          nf_search_reference_row(search, begin),
                          search->copy ? search->d : search->job->y.x.ld, columns, search->d);
}

static void sort_task(void *argument, size_t row, int worker) {
    const nf_search *search = argument;
    (void)worker;
    nf_nearest_sort(search->nearest, search->part_first + row);
}

/* ---- the run ---------------------------------------------------------------------------------- */

static void choose_sizes(nf_search *search, size_t threads, size_t image_bytes) {
    const size_t n = search->job->x.count, m = search->job->y.count;
    const size_t row_bytes = nf_max_size(search->d * nf_type_size(search->work), 1);
    const size_t lanes = nf_lanes(search->work), tasks = NF_SEARCH_TASKS * threads;
    size_t block = nf_min_size(NF_SEARCH_BLOCK, NF_SEARCH_BLOCK_BYTES / row_bytes / lanes * lanes);
    block = nf_max_size(nf_min_size(block, nf_round_up(m, lanes)), lanes);
    size_t chunk = nf_min_size(NF_SEARCH_CHUNK_BYTES / row_bytes, NF_SEARCH_CHUNK);
    if (search->filter != NULL) {
        block = NF_SEARCH_BLOCK;
        chunk = image_bytes / sizeof(float) / search->filter->fine_ld;
    }
    search->part = search->filter != NULL ? nf_min_size(n, nf_max_size(chunk, block)) : n;
    if (search->filter != NULL && search->copy) chunk = nf_min_size(chunk, image_bytes / row_bytes);
    search->block = block;
    search->chunk = nf_round_up(nf_min_size(nf_max_size(chunk, block), m), block);
    size_t rows = nf_round_up((n + tasks - 1) / tasks, NF_SEARCH_ROWS / 4);
    if (search->copy) { /* of which there are some megabytes at most */
        rows = nf_min_size(rows, NF_SEARCH_CHUNK_BYTES / row_bytes);
    }
    if (search->filter != NULL) rows = nf_min_size(rows, NF_SEARCH_ROWS);
    search->task_rows = nf_max_size(nf_min_size(rows, NF_SEARCH_TASK), 1);
    size_t seeds = nf_max_size(4 * search->nearest->k, NF_SEARCH_SEEDS);
    search->seed_blocks = nf_min_size((seeds + block - 1) / block, search->chunk / block);
}

static nf_status make_scratch(nf_context *context, nf_search *search) {
    size_t row_bytes;
    nf_status status = NF_OK;
    if (nf_mul_overflows(search->d, nf_type_size(search->work), &row_bytes)) row_bytes = SIZE_MAX;
    if (search->copy) {
        status = nf_scratch(context, &search->rows, search->chunk, row_bytes, "copies of rows");
    }
    size_t panel = search->filter != NULL ? search->filter->coarse_ld * sizeof(float) : row_bytes;
    if (nf_mul_overflows(search->block, panel, &search->panel_bytes)) {
        search->panel_bytes = SIZE_MAX;
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &search->panels, search->chunk / search->block,
                            search->panel_bytes, "packed rows");
    }
    nf_search_scratch unused;
    search->worker_bytes = place(search, NULL, &unused);
    if (status == NF_OK) {
        status = nf_scratch(context, &search->scratch, (size_t)context->threads,
                            search->worker_bytes, "pairs of rows");
    }
    return status;
}

static nf_status run_chunk(nf_context *context, nf_search *search, bool wake) {
    const size_t tasks = (search->part_count + search->task_rows - 1) / search->task_rows;
    const uint64_t pairs = (uint64_t)search->part_count * search->count, units = pairs / tasks;
    nf_status status = NF_OK;
    if (search->copy || search->filter == NULL) {
        status = nf_parallel(context, nf_search_blocks(search), wake, 0, prepare_task, search);
    }
    if (status == NF_OK && search->filter != NULL) {
        status = nf_search_filter_chunk(context, search);
    }
    if (status == NF_OK) status = nf_parallel(context, tasks, wake, units, search_task, search);
    nf_progress_add(context, pairs - units * tasks);
    return status == NF_OK ? nf_progress_status(context) : status;
}

static nf_status run_part(nf_context *context, nf_search *search) {
    const size_t n = search->part_count, m = search->job->y.count;
    const double work = 2 * (double)n * (double)nf_min_size(m, search->chunk) * (double)search->d;
    const bool wake = work > NF_WAKE_FLOPS;
    nf_status status = NF_OK;
    if (search->filter != NULL) status = nf_search_filter_part(context, search);
    for (search->first = 0; search->first < m && status == NF_OK; search->first += search->count) {
        search->count = nf_min_size(search->chunk, m - search->first);
        status = run_chunk(context, search, wake);
    }
    if (status == NF_OK) status = nf_parallel(context, n, wake, 0, sort_task, search);
    return status;
}

static nf_status run_parts(nf_context *context, nf_search *search) {
    const size_t n = search->job->x.count;
    nf_status status = NF_OK;
    if (search->filter != NULL) status = nf_search_filter_begin(context, search);
    for (size_t first = 0; first < n && status == NF_OK; first += search->part) {
        search->part_first = first;
        search->part_count = nf_min_size(search->part, n - first);
        status = run_part(context, search);
    }
    return status;
}

nf_status nf_search_run(nf_context *context, const nf_distance_job *job, bool exclude,
                        size_t image_bytes, nf_nearest *nearest) {
    const nf_metric metric = job->options.metric;
    nf_filter filter;
    bool pays = false;
    nf_progress_start(context, (uint64_t)job->x.count * job->y.count);
    if (job->x.count == 0) return NF_OK;
    nf_status status = nf_filter_begin(context, &filter, job, nearest->k, &pays);
    if (status != NF_OK) return status;
    nf_search search = {.job = job,
                        .nearest = nearest,
                        .exclude = exclude,
                        .family = nf_metric_family(metric),
                        .transform = nf_metric_transform(metric),
                        .type = job->x.x.type,
                        .work = job->options.precise ? NF_FLOAT64 : job->x.x.type,
                        .d = job->x.x.cols,
                        .filter = pays ? &filter : NULL};
    search.kernels = nf_kernels_get(context, search.work);
    search.copy = search.work != search.type || job->x.inverse != NULL;
    nf_trusted_range(search.family, search.work, search.d, 1, &search.low, &search.high);
    choose_sizes(&search, (size_t)context->threads, image_bytes);
    status = make_scratch(context, &search);
    if (status == NF_OK) status = run_parts(context, &search);
    return status;
}
