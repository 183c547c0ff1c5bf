/* Triplet margin losses. A triplet (a, p, n) has the violation t(a, p) + margin - t(a, n) and the term
 * max(0, violation), or log(1 + exp(violation)) with `smooth`. doc/math/triplet.md. */
#ifndef NF_LOSS_TRIPLET_H
#define NF_LOSS_TRIPLET_H

#include "loss/anchored.h"

typedef struct nf_triplet_terms {
    double margin;
    bool smooth;
} nf_triplet_terms;

/* The term of a violation and its slope. */
double nf_triplet_term(const nf_triplet_terms *loss, double violation, double *slope);

/* Functions of an anchor (nf_anchor_fn) with an nf_triplet_terms:
 *   all        every positive with every negative. Sorting and suffix sums: time O(m log P) and
 *              memory O(m); with `smooth` every triplet is visited: O(P m) time, O(m) memory
 *   semi_hard  every positive with the nearest negative farther than it, or, if there is none, with
 *              the farthest negative (Schroff, Kalenichenko & Philbin, FaceNet, CVPR 2015)
 *   hard       the farthest positive with the nearest negative (Hermans, Beyer & Leibe, In defense of
 *              the triplet loss, 2017)
 * Ties go to the smaller row. A triplet is active if and only if fl(t(a, p) + margin) > t(a, n). */
void nf_triplet_all(const void *loss, const nf_anchor *anchor, nf_anchor_terms *out);
void nf_triplet_semi_hard(const void *loss, const nf_anchor *anchor, nf_anchor_terms *out);
void nf_triplet_hard(const void *loss, const nf_anchor *anchor, nf_anchor_terms *out);

/* `all` with smooth terms; out->terms is set. */
void nf_triplet_all_smooth(const nf_triplet_terms *loss, const nf_anchor *anchor,
                           nf_anchor_terms *out);

/* `all` with weights of pairs; out->terms is set. O(m log P). */
void nf_triplet_all_weighted(const nf_triplet_terms *loss, const nf_anchor *anchor,
                             nf_anchor_terms *out);

/* The one of them that a loss wants. */
nf_anchor_fn nf_triplet_choice(nf_triplets triplets);

/* The kind `triplet` over all pairs of two sets, or within one. */
nf_status nf_triplet_run(nf_context *context, const nf_tiled_job *job,
                         nf_loss_result *result) NF_MUST_USE;

#endif
