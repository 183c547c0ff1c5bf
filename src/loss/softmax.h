/* Losses that are sums of exponentials over the pairs of an anchor: a pass for the statistics of every
 * row, one over positives where terms are pairs, and one for the gradient. See doc/math/softmax.md. */
#ifndef NF_LOSS_SOFTMAX_H
#define NF_LOSS_SOFTMAX_H

#include "loss/strip.h"

/* Numbers of one anchor per side: its weights are factor exp(z - shift) dz/dt + constant. */
typedef struct nf_anchor_numbers {
    double shift[2], factor[2], constant[2];
} nf_anchor_numbers;

/* Rows that take gradient; `anchor` says whether terms start from them. */
typedef struct nf_anchors {
    nf_strip_set set;
    size_t count;
    bool anchor;
    nf_softmax_row *stats[2];  /* (count) */
    nf_softmax_anchors number; /* of the element type */
    /* Losses whose terms are positive pairs (positives.c): */
    nf_positive_ends end; /* log sum of the negatives' exp(z), -INFINITY without any, and weight of
                             every term of the row in the gradient */
    double *pull;         /* derivative of the loss with respect to the log sum */
    double *term;         /* the row's terms, summed; NULL where the loss has none */
} nf_anchors;

typedef struct nf_term_sums {
    double value; /* weighted */
    uint64_t terms, active;
} nf_term_sums;

typedef struct nf_softmax_state {
    const nf_tiled_job *job;
    const nf_kernels *kernels;
    nf_type type;
    nf_softmax softmax;
    bool of_pairs; /* terms are positive pairs, not anchors */
    int sets;      /* 1 within one set, else 2 */
    nf_anchors side[2];
    nf_anchors *own, *other;   /* of the pass that runs */
    nf_positive_rule positive; /* of positives.c */
    nf_term_sums *block;       /* (blocks) counts */
    nf_term_sums total;
    double common; /* factor of value and gradient */
    nf_loss_result result;
} nf_softmax_state;

/* Everything but the outputs: value and counts in state->result, finished gradient sums of both
 * sides, checked against the type. */
nf_status nf_softmax_compute(nf_context *context, const nf_tiled_job *job,
                             nf_softmax_state *state) NF_MUST_USE;

nf_status nf_softmax_run(nf_context *context, const nf_tiled_job *job,
                         nf_loss_result *result) NF_MUST_USE;

/* The terms of the rows, where they are wanted. */
void nf_softmax_write_terms(const nf_softmax_state *state);

/* The sides' exponents, of every kind. */
nf_softmax nf_softmax_exponents(const nf_loss *loss);

/* values[at] = value, in T */
static inline void nf_set_number(nf_type type, void *values, size_t at, double value) {
    if (type == NF_FLOAT32) {
        ((float *)values)[at] = (float)value;
    } else {
        ((double *)values)[at] = value;
    }
}

double nf_log_sum(const nf_softmax_row *row);

/* anchors.c: the term of an anchor from its statistics (negatives, positives) and its numbers for
 * weight 1; *counts tells whether it is one of the terms a mean is over. */
double nf_anchor_term(const nf_loss *loss, const nf_softmax_row *negative,
                      const nf_softmax_row *positive, nf_anchor_numbers *numbers, bool *counts);

/* What one ordered positive pair (anchor i, other j) adds. */
typedef struct nf_positive {
    double value;   /* phi, of weight 1 */
    double slope;   /* dphi/dt */
    double pull[2]; /* dphi/dL of the anchor and of the other, L the log sum of its negatives */
} nf_positive;

/* positives.c: the term of a pair at distance t, of NT-Xent (and N-pairs) or lifted structure. */
nf_positive nf_positive_term(const nf_loss *loss, const nf_softmax *softmax, double t,
                             double anchor_log, double other_log);

/* Losses that compare positives with negatives have no term when either is missing. */
bool nf_softmax_has_terms(const nf_loss *loss, const uint64_t pairs[2]);

/* positives.c: ends are made, then the terms of all positive pairs with `pull`. */
nf_status nf_positives_gather(nf_context *context, nf_softmax_state *state) NF_MUST_USE;
/* Slopes of the strip's positive pairs. */
void nf_positives_slopes(const nf_softmax_state *state, const nf_strip *strip);

nf_softmax_tile nf_softmax_tile_of(const nf_strip *strip);

#endif
