/* A tile in two steps, of one block with another of kept spans of one set: a record holds its weights
 * in between. */
#ifndef NF_LOSS_TILE_RECORD_H
#define NF_LOSS_TILE_RECORD_H

#include "loss/tile_engine.h"
#include "loss/update.h"

typedef struct nf_tile_record {
    size_t i, j;           /* spans, i <= j */
    unsigned char *weight; /* (block rows, ld) */
    nf_weight_facts facts;
    nf_contrast_sums sums;
    bool skipped, exact; /* exact: some pair is none of the kernels', and the record is of no use */
} nf_tile_record;

/* Lays a record out from `base` (NULL: only measured); returns its bytes. */
size_t nf_tile_record_layout(const nf_tile_engine *engine, unsigned char *base,
                             nf_tile_record *record);

/* Spans like those that are kept, (spans), for one worker: nothing that it writes moves to the cache of
 * another. Laid out from `base` (NULL: only measured); returns bytes. */
size_t nf_tile_copies_layout(const nf_tile_engine *engine, unsigned char *base, nf_span *copies);

/* Terms and weights of the tile of record->i and j, by the worker's copies. */
void nf_tile_record_weigh(const nf_tile_engine *engine, nf_span *copies, nf_tile_record *record,
                          int worker);

/* What they do to the rows of span `own`, one of the two. */
void nf_tile_record_apply(const nf_tile_engine *engine, nf_span *copies,
                          const nf_tile_record *record, size_t own, nf_update_work *work);

#endif
