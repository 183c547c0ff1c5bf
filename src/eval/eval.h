/* Internals of the evaluation. */
#ifndef NF_EVAL_EVAL_H
#define NF_EVAL_EVAL_H

#include "distance/strips.h"
#include "eval/curve.h"
#include "eval/fine.h"
#include "eval/order.h"
#include "eval/relation.h"
#include "nearfar/eval.h"

/* ---- the rows (sets.c) ---------------------------------------------------------------------- */

/* What is compared: labelled rows only, classes numbered across both sides. */
typedef struct nf_eval_sets {
    nf_matrix query, reference; /* compact: every row has a class */
    const uint32_t *query_class, *reference_class;
    const int64_t *query_id, *reference_id; /* NULL: nothing is excluded by id */
    bool self; /* reference is the query set: row i is not compared with itself, pairs are i < j */
    size_t classes;
    const size_t *class_rows; /* (classes) references of each */
    nf_relation *relation;    /* with several labels a row: classes that share one; else NULL */
} nf_eval_sets;

/* Names of the arguments in messages, and the arguments; reference side unused when self. */
typedef struct nf_eval_input {
    nf_matrix query, reference;
    nf_labels query_labels, reference_labels;
    const int64_t *query_ids, *reference_ids;
    bool self;
    bool several; /* labels a row: sets are given instead of labels */
    const nf_label_sets *query_sets, *reference_sets;
} nf_eval_input;

nf_status nf_eval_sets_make(nf_context *context, const nf_eval_input *input,
                            nf_eval_sets *sets) NF_MUST_USE;

/* For each class whether its rows are relevant to queries of `class`; NULL: only those of the same. */
static inline const uint8_t *nf_eval_related(const nf_eval_sets *sets, int worker, uint32_t class) {
    return sets->relation != NULL ? nf_relation_of(sets->relation, worker, class) : NULL;
}

/* Whether query i is not compared with reference j. */
static inline bool nf_eval_excluded(const nf_eval_sets *sets, size_t i, size_t j) {
    if (sets->self) return i == j;
    return sets->query_id != NULL && sets->query_id[i] == sets->reference_id[j];
}

/* ---- retrieval (retrieval.c) ---------------------------------------------------------------- */

typedef struct nf_retrieval {
    const nf_eval_sets *sets;
    const nf_eval_options *options;
    const nf_kernels *kernels;
    size_t largest_k;  /* of recall and kNN */
    bool *dropped;     /* per query: no relevant row */
    uint32_t *first;   /* per query: rank of the first relevant row, from 1 */
    double *precision; /* per query: R-precision */
    double *average;   /* per query: average precision at R */
    bool *voted;       /* per query: the kNN vote is right */
    unsigned char *scratch;
    size_t worker_bytes;
} nf_retrieval;

nf_status nf_retrieval_begin(nf_context *context, const nf_eval_sets *sets,
                             const nf_eval_options *options, nf_retrieval *retrieval) NF_MUST_USE;

/* Distances of query i to every reference row, readable to a whole line. From workers, each query
 * once. */
void nf_retrieval_row(nf_retrieval *retrieval, int worker, size_t i, nf_type type,
                      const void *distance);

void nf_retrieval_result(const nf_retrieval *retrieval, nf_eval_result *result);

/* ---- verification (verify.c) ---------------------------------------------------------------- */

/* Limits of memory; results do not depend on them. */
typedef struct nf_eval_limits {
    size_t collect;    /* pairs that are simply collected and sorted */
    size_t fine_bytes; /* counts of a fine pass, at least those of one bin */
    size_t fine_slots; /* bins of a fine pass, at most NF_FINE_SLOTS; one at least */
    uint64_t list;     /* bins with at most so many pairs are listed, larger ones counted */
    uint64_t narrow;   /* bins with at most so many pairs are counted in 16 bits */
    size_t strip_elements;
} nf_eval_limits;

nf_eval_limits nf_eval_default_limits(void);

typedef enum nf_verify_mode { NF_VERIFY_COLLECT, NF_VERIFY_COARSE, NF_VERIFY_FINE } nf_verify_mode;

/* How the pairs of a coarse bin are held in a fine pass. */
typedef enum nf_bin_kind {
    NF_BIN_ABSENT, /* not in this pass */
    NF_BIN_LIST,   /* 32-bit words: lower half of the key * 2 + sameness */
    NF_BIN_NARROW, /* (2, 65536) counters of 16 bits: negatives, positives; then words as in a list for
                      every 65536 that a counter has passed */
    NF_BIN_WIDE    /* counters of 64 bits */
} nf_bin_kind;

typedef struct nf_bin_place {
    size_t bin;
    nf_bin_kind kind;
    size_t base;   /* byte in the arena */
    size_t length; /* words of a list, or after narrow counters */
} nf_bin_place;

/* Exact order statistics of all pairs in bounded memory. Coarse bins of distances are counted first;
 * a bin with pairs of one side only is settled by its counts, any other needs its distances one by
 * one, in passes over as many bins as memory allows. */
typedef struct nf_verify {
    const nf_eval_sets *sets;
    nf_eval_limits limits;
    size_t strip; /* pairs */
    nf_verify_mode mode;
    nf_ranked *pair, *spare; /* key and, as index, sameness: all pairs, or those of a list */
    size_t pairs;
    uint64_t *coarse;     /* (bins, 2) negatives, positives */
    uint32_t *local;      /* (workers, bins, 2), not yet in coarse */
    uint64_t local_pairs; /* at most this many are in local */
    bool *refined;        /* (bins) needs its distances one by one */
    nf_fine fine;
    nf_bin_place *place; /* (slots) bins of this pass, ascending */
    unsigned char *arena;
    uint64_t *counts; /* (2, 65536) those of a bin whose counters are narrow */
    size_t bins_done; /* bins below are in the curve */
    size_t bins_end;  /* end of this pass */
    nf_curve curve;
} nf_verify;

/* Strips have at most `strip` pairs. */
nf_status nf_verify_begin(nf_context *context, const nf_eval_sets *sets, nf_eval_limits limits,
                          size_t strip, nf_verify *verify) NF_MUST_USE;

/* Distances of query i to reference rows [first, first + count). From workers, each pair once a
 * pass. */
void nf_verify_row(nf_verify *verify, int worker, size_t i, size_t first, size_t count,
                   nf_type type, const void *distance);

/* Called between strips, before one of `pairs` pairs. */
nf_status nf_verify_strip(nf_context *context, nf_verify *verify, uint64_t pairs) NF_MUST_USE;

/* End of a pass over all pairs; *again when another is needed. */
nf_status nf_verify_pass_done(nf_context *context, nf_verify *verify, bool *again) NF_MUST_USE;

/* Passes still to come, when the coarse counts are there. */
size_t nf_verify_passes_left(const nf_verify *verify);

void nf_verify_result(const nf_verify *verify, nf_eval_result *result);

/* ---- the run (eval.c) ----------------------------------------------------------------------- */

nf_status nf_eval_run(nf_context *context, const nf_eval_options *options,
                      const nf_eval_input *input, nf_eval_limits limits,
                      nf_eval_result *result) NF_MUST_USE;

#endif
