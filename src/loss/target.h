/* Target and weight of a pair. */
#ifndef NF_LOSS_TARGET_H
#define NF_LOSS_TARGET_H

#include "base/base.h"
#include "nearfar/targets.h"

typedef struct nf_target_rule {
    nf_label_sets sets;   /* with labels ascending within a row; offset NULL: not sets */
    const int64_t *label; /* NULL: not labels */
    bool has_unlabelled;  /* label -1 makes no pair */
    nf_matrix soft, pair_weight;
    const double *row_weight; /* of rows and classes, or NULL */
    const int64_t *group;     /* or NULL */
} nf_target_rule;

/* Check targets of `n` rows and make the rule, which borrows from them. */
nf_status nf_target_rule_make(nf_context *context, const nf_targets *targets, size_t n,
                              nf_target_rule *rule) NF_MUST_USE;

/* y of the pair (i, j) in either order, and its weight; false: no pair. */
bool nf_target_of(const nf_target_rule *rule, size_t i, size_t j, double *y, double *weight);

#endif
