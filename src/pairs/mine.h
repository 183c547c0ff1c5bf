/* The loop behind the miners: every anchor is asked how much it gives, then to write it. */
#ifndef NF_PAIRS_MINE_H
#define NF_PAIRS_MINE_H

#include "distance/panels.h"
#include "nearfar/mine.h"
#include "pairs/anchor.h"

/* Where an anchor's finds go, NULL while they are counted: i, j, same of pairs or anchor, positive,
 * negative of triplets. */
typedef struct nf_finds {
    int64_t *first, *second, *third;
    uint8_t *same;
} nf_finds;

/* How many finds the anchor in row anchor_row has; written to `finds` unless that is NULL, the same
 * both times. Called from workers. `room` is scratch of the worker, job->room bytes. */
typedef size_t (*nf_miner_fn)(const void *options, const nf_anchor *anchor, size_t anchor_row,
                              const nf_finds *finds, void *room);

typedef struct nf_mine_job {
    nf_metric metric;
    int normalize;
    nf_miner_fn miner;
    const void *options;
    size_t room; /* bytes of a worker */
    bool triplets;
} nf_mine_job;

/* The two sets; within one, anchors and others are the same rows and `reference` is empty. */
typedef struct nf_mine_data {
    nf_mine_sets sets;
    bool within;
} nf_mine_data;

nf_mine_data nf_mine_within(nf_matrix x, nf_labels labels);
/* Refuses NULL. */
nf_status nf_mine_between(nf_context *context, const nf_mine_sets *sets,
                          nf_mine_data *data) NF_MUST_USE;

/* `mined` may be NULL, which is refused. */
nf_status nf_mine_run(nf_context *context, const nf_mine_job *job, const nf_mine_data *data,
                      nf_mined **mined) NF_MUST_USE;

/* Refuses NULL and values outside their limits. */
nf_status nf_mine_check(nf_context *context, const nf_mine_options *options) NF_MUST_USE;
/* Whether a miner gives triplets, not pairs. */
bool nf_mine_gives_triplets(nf_miner miner);

/* Options of the distance-weighted miner: d is the dimension of the sphere's space, extra what an
 * anchor draws beyond one for each positive. */
typedef struct nf_mine_weighted {
    const nf_mine_options *options;
    double d;
    size_t extra;
} nf_mine_weighted;

/* The finds of each miner; `options` are nf_mine_options, or nf_mine_weighted. The first gives pairs
 * within one set once, the second those of two sets. */
size_t nf_mine_pair_margin(const void *options, const nf_anchor *anchor, size_t row,
                           const nf_finds *finds, void *room);
size_t nf_mine_pair_margin_between(const void *options, const nf_anchor *anchor, size_t row,
                                   const nf_finds *finds, void *room);
size_t nf_mine_multi_similarity(const void *options, const nf_anchor *anchor, size_t row,
                                const nf_finds *finds, void *room);
size_t nf_mine_batch_hard(const void *options, const nf_anchor *anchor, size_t row,
                          const nf_finds *finds, void *room);
size_t nf_mine_easy_positive(const void *options, const nf_anchor *anchor, size_t row,
                             const nf_finds *finds, void *room);
size_t nf_mine_triplet_margin(const void *options, const nf_anchor *anchor, size_t row,
                              const nf_finds *finds, void *room);
size_t nf_mine_distance_weighted(const void *options, const nf_anchor *anchor, size_t row,
                                 const nf_finds *finds, void *room);

#endif
