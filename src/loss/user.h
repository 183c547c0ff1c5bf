/* A loss whose terms come from a function of the caller's. */
#ifndef NF_LOSS_USER_H
#define NF_LOSS_USER_H

#include "loss/tiled.h"

/* All pairs of two sets, or within one. */
nf_status nf_user_run(nf_context *context, const nf_tiled_job *job,
                      nf_loss_result *result) NF_MUST_USE;

/* One pair in double: phi(t) in *value and dphi/dt in *slope. Not 0: what the function returned. */
int nf_user_term(const nf_pair_function *function, int same, double t, double *value,
                 double *slope);

#endif
