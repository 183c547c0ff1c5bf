/* An order of points in which those of a block of `leaf` lie near one another. */
#ifndef NF_DISTANCE_ORDER_H
#define NF_DISTANCE_ORDER_H

#include "base/base.h"

/* order (count): the numbers 0 .. count-1 of points (count, ld), d numbers each, halved again and
 * again where they spread most, at multiples of `leaf`. */
void nf_order_points(const float *points, size_t ld, size_t d, size_t count, size_t leaf,
                     size_t *order);

#endif
