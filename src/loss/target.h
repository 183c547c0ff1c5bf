/* Target and weight of a pair. */
#ifndef NF_LOSS_TARGET_H
#define NF_LOSS_TARGET_H

#include "nearfar/targets.h"
#include "pairs/anchor.h"

typedef struct nf_target_rule {
    nf_label_sets sets;   /* with labels ascending within a row; offset NULL: not sets */
    const int64_t *label; /* NULL: not labels */
    bool has_unlabelled;  /* label -1 makes no pair */
    nf_matrix soft, pair_weight;
    const double *row_weight; /* of rows and classes, or NULL */
    const int64_t *group;     /* or NULL */
    const size_t *row; /* of the data above, that rows asked about stand for; NULL: themselves */
} nf_target_rule;

/* Check targets of `n` rows and make the rule, which borrows from them. */
nf_status nf_target_rule_make(nf_context *context, const nf_targets *targets, size_t n,
                              nf_target_rule *rule) NF_MUST_USE;

/* y of the pair (i, j) in either order, and its own weight; false: no pair. */
bool nf_target_of(const nf_target_rule *rule, size_t i, size_t j, double *y, double *weight);

/* Weight of a row and its class. */
static inline double nf_target_row_weight(const nf_target_rule *rule, size_t i) {
    if (rule->row_weight == NULL) return 1;
    return rule->row_weight[rule->row != NULL ? rule->row[i] : i];
}

/* Whether the row is in any pair, but for groups. */
bool nf_target_is_labelled(const nf_target_rule *rule, size_t i);

/* An nf_split_fn: the anchor's columns are rows of the set that the rule is about. */
void nf_target_split(const void *rule, nf_anchor *anchor);

/* Targets of `n` rows that a loss can take: all 0 or 1 where it compares one positive with one
 * negative. */
nf_status nf_target_check_kind(nf_context *context, const nf_loss *loss, const nf_target_rule *rule,
                               size_t n) NF_MUST_USE;

/* targets.c: the loss of rows x under a rule whose targets it can take. */
nf_status nf_target_loss(nf_context *context, const nf_loss *loss, nf_matrix x,
                         const nf_target_rule *rule, nf_loss_result *result,
                         nf_matrix_out gradient) NF_MUST_USE;

#endif
