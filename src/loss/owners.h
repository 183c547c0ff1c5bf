/* A pass over few blocks by several threads, in two steps: the weights of all tiles, which need
 * nothing of each other; then, for every block, what they do to its rows, in the order in which the
 * schedule would have had it. The bits are the schedule's, but no thread waits for another in the
 * midst, and no sum moves from one to the other. Weights of all pairs are held in between, which is
 * why it is for few blocks. */
#ifndef NF_LOSS_OWNERS_H
#define NF_LOSS_OWNERS_H

#include "loss/schedule.h"
#include "loss/tile.h"
#include "loss/tile_record.h"

/* Whether the pass is one for it. */
bool nf_owners_apply(const nf_context *context, const nf_tile_engine *engine);

/* Fills of_span, (spans), and settles the gradient sums; or leaves both alone and sets *done to false
 * when some pair is none of the kernels'. */
nf_status nf_owners_run(nf_context *context, const nf_tile_engine *engine,
                        const nf_schedule *schedule, nf_tile_result *of_span,
                        bool *done) NF_MUST_USE;

#endif
