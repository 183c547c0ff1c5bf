/* Which spans of blocks meet when: every pair of spans once, in a round-robin tournament within a set,
 * in a rotation between two sets, so that no two tasks of a round share a span. A span has its
 * meetings in one fixed order, so sums that only meetings of the span add to have the same bits for
 * any number of threads; a task waits for its two spans, never for a whole round. */
#ifndef NF_LOSS_SCHEDULE_H
#define NF_LOSS_SCHEDULE_H

#include "base/base.h"

typedef struct nf_schedule {
    size_t spans[2]; /* of the rows and of the columns; the same within a set */
    bool within;     /* spans i <= j of one set; else all i with all j */
    void (*meet)(void *user, size_t i, size_t j, int worker);
    void *user;
} nf_schedule;

/* Units of progress of a run. */
uint64_t nf_schedule_work(const nf_schedule *schedule);

/* The spans that meet in task `task` of so many; false when it is a bye. Within a set i <= j. */
bool nf_schedule_pair(const nf_schedule *schedule, size_t task, size_t *i, size_t *j);

/* All meetings, by all threads with `wake`; ends early when the call is cancelled. */
nf_status nf_schedule_run(nf_context *context, const nf_schedule *schedule, bool wake) NF_MUST_USE;

#endif
