/* Pairs on their way to fine counts. Counts of one bin fill a cache, those of all bins do not: pairs are
 * first gathered by bin and side, a worker on its own, and counted when many of a bin are together,
 * each bin by one worker. */
#ifndef NF_EVAL_FINE_H
#define NF_EVAL_FINE_H

#include <stdatomic.h>

#include "base/base.h"

#define NF_COARSE_BINS 65536 /* upper half of a float32 key; the lower half is the fine part */
#define NF_FINE_SLOTS 512    /* bins of a pass, at most */
#define NF_FINE_CHUNK 256    /* pairs */

/* A list is a chain of chunks that are full, but the last. Every worker has two lists, of negatives
 * and of positives, for each slot and for pairs of no slot, which are forgotten. */
typedef struct nf_fine {
    size_t slots;             /* in this pass */
    uint16_t *slot;           /* (NF_COARSE_BINS); `slots`: not in this pass */
    size_t capacity, pending; /* pairs between drains */
    size_t workers, stride;   /* stride: lists of a worker */
    size_t *cursor;           /* (workers, stride) where the next pair goes */
    uint16_t *entry;          /* (chunks, NF_FINE_CHUNK) lower halves of keys */
    uint32_t *before;         /* (chunks) the chunk before in its list */
    atomic_size_t used;       /* chunks */
} nf_fine;

/* Room for at most `slots` slots a pass, and for `strip` pairs at least between drains. */
nf_status nf_fine_begin(nf_context *context, size_t slots, size_t strip, nf_fine *fine) NF_MUST_USE;

/* Empty lists; slot[] and `slots` are the pass's. */
void nf_fine_reset(nf_fine *fine);

/* From workers. */
void nf_fine_put(nf_fine *fine, int worker, const uint32_t *key, const uint8_t *same, size_t count);

/* Pairs of a list, in runs: those of list(s) in turn. */
typedef struct nf_fine_run {
    const uint16_t *entry;
    size_t count;
    size_t worker, chunk; /* where to go on */
} nf_fine_run;

/* The first run of a slot's side (it may be empty), and the one after; false: no more. */
void nf_fine_first(const nf_fine *fine, size_t slot, size_t side, nf_fine_run *run);
bool nf_fine_next(const nf_fine *fine, size_t slot, size_t side, nf_fine_run *run);

#endif
