/* What a run of anchors holds, for those who take part in it. */
#ifndef NF_LOSS_ANCHORED_STATE_H
#define NF_LOSS_ANCHORED_STATE_H

#include "loss/anchored.h"
#include "loss/update.h"

typedef struct nf_anchor_sums {
    double value, extra, distance[2], weight, mass, active_mass;
    uint64_t terms, active, active_of[2], coincident;
} nf_anchor_sums;

typedef struct nf_anchored {
    const nf_anchored_job *job;
    nf_panel_set set[2];
    nf_panels panels;
    const nf_kernels *wide; /* of float64, for an anchor's numbers */
    unsigned char *slope;   /* (block, ld) of the panel's distances; later, weights */
    nf_span_shape shape;
    nf_block_facts rows[2]; /* of blocks of NF_PANEL_COLUMNS rows */
    int sets;               /* 1 within one set, else 2 */
    double *sum[2];         /* (rows, d) gradient sums over nf_pass_factor, or NULL */
    bool gradient;
    nf_anchor_sums *of; /* (anchors) */
    size_t columns, chunks;
    nf_weight_facts *facts; /* (chunks) of the panel's weights in a chunk of columns */
    bool *used;             /* (chunks) some of them is not 0 */
    size_t worker_bytes;
    unsigned char *scratch;
    uint64_t tiles;
    atomic_ullong updates, updates_skipped; /* strips, see nf_update_work */
} nf_anchored;

static inline unsigned char *nf_anchored_scratch(const nf_anchored *run, int worker) {
    return run->scratch + (size_t)worker * run->worker_bytes;
}

static inline const nf_tiled_side *nf_anchored_side(const nf_anchored *run, int s) {
    return s == 0 ? run->job->a : run->job->b;
}

#endif
