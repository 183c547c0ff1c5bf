/* N-pairs: of every class with two rows or more its first is an anchor and its second the positive;
 * an anchor's negatives are the other classes' positives. */
#ifndef NF_LOSS_NPAIRS_H
#define NF_LOSS_NPAIRS_H

#include "loss/tiled.h"

nf_status nf_npairs_run(nf_context *context, const nf_tiled_job *job,
                        nf_loss_result *result) NF_MUST_USE;

#endif
