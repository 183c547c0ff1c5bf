/* The k nearest by exact distances. References come in chunks; queries are split into tasks, each
 * of which compares its queries with the whole chunk, block by block. A block of raw numbers is
 * compared with what the k-th nearest so far would have, and only what is not above it becomes a
 * distance. With a filter only pairs that its bounds leave are computed at all; then the queries of
 * a task and the references of a block are such that lie near one another, and a task begins with
 * the blocks nearest to it, so that few are left. */
#ifndef NF_DISTANCE_SEARCH_H
#define NF_DISTANCE_SEARCH_H

#include "distance/filter.h"
#include "distance/nearest.h"

#define NF_SEARCH_ROWS 48 /* queries of a block: register tiles divide it */

typedef struct nf_search {
    const nf_distance_job *job;
    nf_nearest *nearest;
    bool exclude; /* row i is no neighbour of query i */

    const nf_kernels *kernels; /* of the type that distances are computed in */
    nf_family family;
    nf_transform transform;
    nf_type type, work;
    bool copy; /* rows are copied to become unit or wider */
    size_t d;
    double low, high;

    size_t part, part_first, part_count; /* queries: of a part, of this one */
    size_t task_rows;
    size_t block, chunk, first, count; /* references: of a block, of a chunk, of this one */
    unsigned char *rows;               /* (chunk, d) copies, if they are needed */
    unsigned char *panels;             /* blocks of the chunk: rows, or coarse images */
    size_t panel_bytes;
    unsigned char *scratch;
    size_t worker_bytes;

    const nf_filter *filter;    /* NULL: none, and what follows is not used */
    nf_images query, reference; /* of the part; of the chunk */
    size_t *query_order;        /* (part) */
    size_t *order;              /* (chunk) */
    float *center, *slack;      /* (blocks, coarse_ld); (blocks, 2) largest of a row */
    size_t seed_blocks;         /* that a task begins with */
} nf_search;

/* One worker's scratch: some queries against a block of references. */
typedef struct nf_search_scratch {
    size_t first, count;              /* the task's queries */
    unsigned char *rows;              /* (task) copies of them */
    unsigned char *values;            /* (rows, block) raw numbers of a tile */
    uint32_t *index;                  /* (block or seeds) */
    uint32_t *pair_row, *pair_column; /* (rows * block) what is left: numbers in task and chunk */
    unsigned char *pair_value;        /* raw numbers, then distances */
    float *coarse;                    /* (task, coarse_ld) images of its queries */
    float *seeds;                     /* (rows, seeds) squared distances of coarse images, or
                                         images of a block before they are packed */
    float *seeded;                    /* (task) which of them are done: up to this */
    void *sums;                       /* (block), float32 or the work type */
    size_t *reference;                /* (block) */
    size_t *blocks;                   /* in the order of the task */
    float *apart;                     /* (blocks) how far away they are */
} nf_search_scratch;

nf_search_scratch nf_search_layout(const nf_search *search, int worker);

/* Query r of a task, in the part. */
static inline size_t nf_search_own(const nf_search *search, const nf_search_scratch *scratch,
                                   size_t r) {
    return search->filter != NULL ? search->query_order[scratch->first + r] : scratch->first + r;
}

/* The same, of all. */
static inline size_t nf_search_query(const nf_search *search, const nf_search_scratch *scratch,
                                     size_t r) {
    return search->part_first + nf_search_own(search, scratch, r);
}

static inline const unsigned char *nf_search_query_row(const nf_search *search,
                                                       const nf_search_scratch *scratch, size_t r) {
    if (!search->copy) return nf_matrix_row(search->job->x.x, nf_search_query(search, scratch, r));
    return scratch->rows + r * search->d * nf_type_size(search->work);
}

/* Row `column` of the chunk. */
static inline const unsigned char *nf_search_reference_row(const nf_search *search, size_t column) {
    if (!search->copy) return nf_matrix_row(search->job->y.x, search->first + column);
    return search->rows + column * search->d * nf_type_size(search->work);
}

static inline size_t nf_search_blocks(const nf_search *search) {
    return (search->count + search->block - 1) / search->block;
}

static inline size_t nf_search_columns(const nf_search *search, size_t block) {
    return nf_min_size(search->block, search->count - block * search->block);
}

/* Raw numbers of scratch's first `pairs` pairs to distances, and these to their queries' heaps. */
void nf_search_offer(const nf_search *search, const nf_search_scratch *scratch, size_t pairs);

#define NF_SEARCH_IMAGE_BYTES ((size_t)64 << 20)

/* Fill the heaps with the `k` nearest of all queries, sorted. Counts progress, queries x references
 * in all. A filter's images of queries and those of references may take some image_bytes each. */
nf_status nf_search_run(nf_context *context, const nf_distance_job *job, bool exclude,
                        size_t image_bytes, nf_nearest *nearest) NF_MUST_USE;

/* ---- with a filter (search_filtered.c) -------------------------------------------------------- */

nf_status nf_search_filter_begin(nf_context *context, nf_search *search) NF_MUST_USE;

/* Images of a part of the queries, in the order of tasks. */
nf_status nf_search_filter_part(nf_context *context, nf_search *search) NF_MUST_USE;

/* Images of a chunk, in blocks. */
nf_status nf_search_filter_chunk(nf_context *context, nf_search *search) NF_MUST_USE;

/* A task against the chunk. */
void nf_search_filter_task(const nf_search *search, nf_search_scratch *scratch);

#endif
