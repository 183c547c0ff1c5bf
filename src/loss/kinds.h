/* What differs between kinds of loss: the fields they take and how they run over all pairs. */
#ifndef NF_LOSS_KINDS_H
#define NF_LOSS_KINDS_H

#include "loss/tiled.h"

typedef nf_status (*nf_kind_run_fn)(nf_context *context, const nf_tiled_job *job,
                                    nf_loss_result *result);

/* The run of a kind over all pairs of two sets, or within one. NULL outside the enum. */
nf_kind_run_fn nf_kind_run(nf_loss_kind kind);

/* The fields of a kind: those it takes within their limits, the others neutral. */
nf_status nf_kind_check(nf_context *context, const nf_loss *loss) NF_MUST_USE;

/* Whether terms are those of single pairs. */
bool nf_kind_has_pair_terms(nf_loss_kind kind);

/* A kind whose terms are those of single pairs, which lists of pairs and rows need. */
nf_status nf_kind_check_separable(nf_context *context, const nf_loss *loss) NF_MUST_USE;

/* The batch and the reference form reduce to one number. */
nf_status nf_kind_check_reduced(nf_context *context, const nf_loss *loss) NF_MUST_USE;

#endif
