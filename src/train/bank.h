/* The memory bank's inside. */
#ifndef NF_TRAIN_BANK_H
#define NF_TRAIN_BANK_H

#include "base/base.h"
#include "nearfar/bank.h"

struct nf_bank {
    size_t capacity, d, rows;
    size_t room;    /* rows that the arrays hold; they grow up to the capacity */
    size_t next;    /* place of the next row: rows until full, then the oldest row's */
    int64_t pushed; /* rows ever pushed: the next id the bank gives */
    nf_type type;
    int has_unlabelled;
    unsigned char *x; /* (room, d) */
    int64_t *labels, *ids;
};

/* An empty bank; arguments as those of nf_bank_create. */
nf_status nf_bank_blank(nf_context *context, size_t capacity, size_t d, nf_type type,
                        nf_bank **out) NF_MUST_USE;

/* nf_loss_bank; with beta for kind margin, whose gradient it then gives, else NULL. */
nf_status nf_bank_loss(nf_context *context, const nf_loss *loss, nf_bank *bank, nf_matrix x,
                       nf_labels labels, const int64_t *ids, const nf_margin_beta *beta,
                       nf_loss_result *result, nf_matrix_out gradient) NF_MUST_USE;

/* Room for `rows` rows, at most the capacity. On failure the bank is as before. */
nf_status nf_bank_make_room(nf_context *context, nf_bank *bank, size_t rows) NF_MUST_USE;

#endif
