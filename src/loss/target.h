/* Target and weight of a pair. */
#ifndef NF_LOSS_TARGET_H
#define NF_LOSS_TARGET_H

#include "nearfar/targets.h"
#include "pairs/anchor.h"

/* What is known of rows; NULL: not given. */
typedef struct nf_target_rows {
    nf_label_sets sets;   /* with labels ascending within a row; offset NULL: not sets */
    const int64_t *label; /* NULL: not labels */
    const double *weight; /* of rows and classes */
    const int64_t *group;
    const int64_t *id;
    const size_t *row; /* of the data above, that rows asked about stand for; NULL: themselves */
} nf_target_rows;

typedef struct nf_target_rule {
    nf_target_rows side[2]; /* of the first and the second row of a pair; within one set the same */
    bool within; /* one set: matrices are read above the diagonal, no row pairs with itself */
    bool turned; /* matrices have a pair's second row first */
    bool has_unlabelled; /* label -1 makes no pair */
    nf_matrix soft, pair_weight;
} nf_target_rule;

/* Rows as they are given; `of` names them in messages. */
typedef struct nf_given_rows {
    const char *of;
    size_t n;
    nf_labels labels; /* data NULL: not given */
    const nf_row_targets *targets;
} nf_given_rows;

/* Check them, but for how many labels there are; what is made is scratch. */
nf_status nf_target_rows_make(nf_context *context, const nf_given_rows *given,
                              nf_target_rows *rows) NF_MUST_USE;

/* Check targets of `n` rows and make the rule, which borrows from them. */
nf_status nf_target_rule_make(nf_context *context, const nf_targets *targets, size_t n,
                              nf_target_rule *rule) NF_MUST_USE;

/* The same of the rows of two sets, whose matrices and ids are checked. */
nf_status nf_target_rule_make_sets(nf_context *context, const nf_loss_sets *sets,
                                   const nf_reference_targets *targets,
                                   nf_target_rule *rule) NF_MUST_USE;

/* The rule with the other side first. */
nf_target_rule nf_target_turned(const nf_target_rule *rule);

/* y of the pair (i, j), and its own weight; false: no pair. */
bool nf_target_of(const nf_target_rule *rule, size_t i, size_t j, double *y, double *weight);

/* Weight of a row of side s and its class. */
static inline double nf_target_weight(const nf_target_rule *rule, int s, size_t i) {
    const nf_target_rows *rows = &rule->side[s];
    if (rows->weight == NULL) return 1;
    return rows->weight[rows->row != NULL ? rows->row[i] : i];
}

/* Whether a row of side s is in any pair, but for groups and ids. */
bool nf_target_is_labelled(const nf_target_rule *rule, int s, size_t i);

/* An nf_split_fn: anchors are rows of the rule's first side, columns rows of its second. */
void nf_target_split(const void *rule, nf_anchor *anchor);

/* Targets of `n` rows with `m` rows that a loss can take: all 0 or 1 where it compares one positive
 * with one negative. */
nf_status nf_target_check_kind(nf_context *context, const nf_loss *loss, const nf_target_rule *rule,
                               size_t n, size_t m) NF_MUST_USE;

/* A loss under a rule whose targets it can take. */
typedef struct nf_target_job {
    const nf_loss *loss;
    const nf_target_rule *rule;
    int sets; /* 1: pairs within x[0]; 2: of a row of x[0] and one of x[1] */
    nf_matrix x[2];
    nf_matrix_out gradient[2];
    const nf_row_terms *rows; /* of x[0], or NULL */
} nf_target_job;

/* targets.c */
nf_status nf_target_loss(nf_context *context, const nf_target_job *job,
                         nf_loss_result *result) NF_MUST_USE;

#endif
