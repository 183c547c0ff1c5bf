/* Rows of a large class in an order that keeps near rows in the same block, so that blocks are small
 * balls and few of them touch. */
#ifndef NF_LOSS_CLUSTER_H
#define NF_LOSS_CLUSTER_H

#include "base/base.h"

/* Rows of the blocks that a class of `count` rows is cut into, none longer than `most`. */
size_t nf_cluster_block(size_t count, size_t most);

/* Reorder order[first .. first + count), rows of one class, and ids (or NULL) with them: halves along
 * the line between two rows far apart, again and again until a part fits a block. The result depends
 * on the rows alone. `key` holds `count` numbers. */
void nf_cluster_class(const nf_context *context, nf_matrix x, size_t *order, int64_t *ids,
                      size_t first, size_t count, size_t block, double *key);

#endif
