/* The memory bank's inside. */
#ifndef NF_TRAIN_BANK_H
#define NF_TRAIN_BANK_H

#include "base/base.h"
#include "loss/target.h"
#include "nearfar/bank.h"

/* What rows bring besides a label; all rows of a bank bring the same. */
enum { NF_CARRIES_SETS = 1, NF_CARRIES_WEIGHTS = 2, NF_CARRIES_GROUPS = 4 };

struct nf_bank {
    size_t capacity, d, rows;
    size_t room;    /* rows that the arrays hold; they grow up to the capacity */
    size_t next;    /* place of the next row: rows until full, then the oldest row's */
    int64_t pushed; /* rows ever pushed: the next id the bank gives */
    nf_type type;
    int has_unlabelled;
    unsigned carries;
    unsigned char *x; /* (room, d) */
    int64_t *labels, *ids, *groups;
    double *weights;
    size_t *offset; /* (rows + 1) where rows carry label sets: made anew by every push */
    int64_t *set_label;
};

/* An empty bank; arguments as those of nf_bank_create. */
nf_status nf_bank_blank(nf_context *context, size_t capacity, size_t d, nf_type type,
                        nf_bank **out) NF_MUST_USE;

/* Room for `rows` rows, at most the capacity. On failure the bank is as before. */
nf_status nf_bank_make_room(nf_context *context, nf_bank *bank, size_t rows) NF_MUST_USE;

/* Rows to push. */
typedef struct nf_bank_batch {
    nf_matrix x;
    nf_labels labels;
    const int64_t *ids;            /* NULL: the bank numbers them */
    const nf_row_targets *targets; /* or NULL */
    /* nf_bank_begin_push: */
    unsigned carries;
    nf_target_rows rows;
    size_t *offset; /* label sets of the bank afterwards, which take the place of its own */
    int64_t *set_label;
} nf_bank_batch;

/* Check the batch, make room for it in the bank and merge label sets. Then push it once to the bank, or
 * drop it; before that it may be pushed to a copy of the bank. */
nf_status nf_bank_begin_push(nf_context *context, nf_bank *bank, nf_bank_batch *batch) NF_MUST_USE;
void nf_bank_end_push(nf_context *context, nf_bank *bank, const nf_bank_batch *batch);
void nf_bank_drop(nf_context *context, const nf_bank_batch *batch);
void nf_bank_push_to_copy(nf_bank *copy, const nf_bank_batch *batch);

/* The bank with room for `n` rows more, in scratch. */
nf_status nf_bank_copy_to_scratch(nf_context *context, const nf_bank *bank, size_t n,
                                  nf_bank *copy) NF_MUST_USE;

/* A loss of a batch against a bank with the batch in it; what is NULL is not asked for. */
typedef struct nf_bank_loss {
    const nf_loss *loss;
    const nf_margin_beta *beta; /* of kind margin, whose gradient it then gives */
    const nf_row_terms *terms;
    const nf_target_rule
        *rule; /* about the data set that ids are row numbers of; rows of the batch are
                                   rule->side[0].row */
    const size_t *row_of_id; /* with a rule: row of the data set by id */
    nf_loss_result *result;
    nf_matrix_out gradient;
} nf_bank_loss;

nf_status nf_bank_loss_run(nf_context *context, nf_bank *bank, nf_bank_batch batch,
                           const nf_bank_loss *call) NF_MUST_USE;

#endif
