/* Memory bank: the last `capacity` embeddings with their labels and ids, as reference rows of a loss
 * (cross-batch memory; Wang et al., Cross-Batch Memory for Embedding Learning, CVPR 2020).
 *
 * A batch then meets rows of earlier batches, so that a small batch sees many negatives. Rows of
 * earlier batches are constants: they take no gradient. A bank may be read by several contexts at
 * once, but not while one of them changes it.
 */
#ifndef NEARFAR_BANK_H
#define NEARFAR_BANK_H

#include "nearfar/targets.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nf_bank nf_bank;

/* An empty bank for `capacity` >= 1 rows of `d` >= 1 columns of `type`. Memory grows with the rows,
 * up to capacity (d elements + 32 bytes), and that of label sets. Errors: NF_ERR_ARG, NF_ERR_RANGE, NF_ERR_NOMEM. */
NF_API NF_MUST_USE nf_status nf_bank_create(nf_context *context, size_t capacity, size_t d,
                                            nf_type type, nf_bank **bank);
NF_API void nf_bank_free(nf_context *context, nf_bank *bank); /* NULL allowed */

/* Forget all rows; ids given by the bank start again at 0. */
NF_API void nf_bank_reset(nf_bank *bank);

NF_API size_t nf_bank_capacity(const nf_bank *bank);

/* The rows held: views into the bank, valid until it changes. A row keeps its place until it is the
 * oldest and a new one replaces it, so that after more than `capacity` rows the oldest is somewhere
 * in the middle. */
typedef struct nf_bank_rows {
    nf_matrix x;        /* (rows, d), rows <= capacity */
    nf_labels labels;   /* data NULL where rows came with label sets */
    const int64_t *ids; /* (rows) */
    /* NULL where rows came without: */
    nf_label_sets sets;
    const double *row_weight; /* (rows), with those of the rows' classes */
    const int64_t *group;     /* (rows) */
} nf_bank_rows;
NF_API nf_bank_rows nf_bank_get_rows(const nf_bank *bank);

/* Append the rows of x (n, d) with labels (n), replacing the oldest; of more rows than the capacity
 * the last stay. ids (n), or NULL: the bank numbers rows as they come, from 0. Equal ids are the same
 * item, which makes no pair with itself. Whether -1 means unlabelled must be the same for all rows.
 * Errors: NF_ERR_ARG, NF_ERR_DATA (NaN, Inf), NF_ERR_NOMEM. */
NF_API NF_MUST_USE nf_status nf_bank_push(nf_context *context, nf_bank *bank, nf_matrix x,
                                          nf_labels labels, const int64_t *ids);

/* nf_bank_push of rows that bring more than a label, which stays with them: label sets (instead of
 * labels, data NULL then), row and class weights, groups. What they bring must be the same for all rows
 * until the bank is reset. */
NF_API NF_MUST_USE nf_status nf_bank_push_targets(nf_context *context, nf_bank *bank, nf_matrix x,
                                                  nf_labels labels, const int64_t *ids,
                                                  const nf_row_targets *targets);

/* nf_bank_push, then the loss of every row of the batch against every row of the bank, the batch
 * itself included, except those with equal ids: nf_loss_reference with the bank as reference. A pair
 * within the batch is met from both ends. gradient (n, d) is that of the batch's rows, or data NULL;
 * the bank's rows are constants. On an error the bank is as before. Memory: a copy of the bank, and
 * that of nf_loss_reference, whose errors it has. */
NF_API NF_MUST_USE nf_status nf_loss_bank(nf_context *context, const nf_loss *loss, nf_bank *bank,
                                          nf_matrix x, nf_labels labels, const int64_t *ids,
                                          nf_loss_result *result, nf_matrix_out gradient);

/* The same with the terms of the batch's rows as anchors: nf_loss_anchors_reference. */
NF_API NF_MUST_USE nf_status nf_loss_anchors_bank(nf_context *context, const nf_loss *loss,
                                                  nf_bank *bank, nf_matrix x, nf_labels labels,
                                                  const int64_t *ids, const nf_row_terms *extras,
                                                  nf_loss_result *result, nf_matrix_out gradient);

/* The same for kind margin with the gradient of beta: nf_loss_margin_reference. With one beta per class
 * let it be by label: the classes of a bank change. */
NF_API NF_MUST_USE nf_status nf_loss_margin_bank(nf_context *context, const nf_loss *loss,
                                                 nf_bank *bank, nf_matrix x, nf_labels labels,
                                                 const int64_t *ids, const nf_margin_beta *beta,
                                                 nf_loss_result *result, nf_matrix_out gradient);

/* nf_bank_push_targets, then the loss under the targets of both, the batch's rows and those held:
 * nf_loss_targets_reference. Weights of rows held count for kinds contrastive and user; of the others no
 * term starts from a row held. There are no soft targets and no weights of pairs, which belong to no
 * row. extras: of the batch's rows, or NULL. */
NF_API NF_MUST_USE nf_status nf_loss_targets_bank(nf_context *context, const nf_loss *loss,
                                                  nf_bank *bank, nf_matrix x, nf_labels labels,
                                                  const int64_t *ids, const nf_row_targets *targets,
                                                  const nf_row_terms *extras,
                                                  nf_loss_result *result, nf_matrix_out gradient);

/* Save as safetensors: tensors embeddings (rows, d), labels (rows) and ids (rows), where rows came with
 * them weights (rows), groups (rows), set_offsets (rows + 1) and set_labels, and in the metadata what is
 * needed to go on where the bank left off. Written to a temporary and renamed; the same bank gives the
 * same bytes. Load gives a bank that behaves as the saved one; a damaged or
 * foreign file is NF_ERR_DATA saying what is wrong. */
NF_API NF_MUST_USE nf_status nf_bank_save(nf_context *context, const nf_bank *bank,
                                          const char *path);
NF_API NF_MUST_USE nf_status nf_bank_load(nf_context *context, const char *path, nf_bank **bank);
NF_API NF_MUST_USE nf_status nf_bank_parse(nf_context *context, const void *bytes, size_t size,
                                           nf_bank **bank);

#ifdef __cplusplus
}
#endif
#endif
