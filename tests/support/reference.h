/* The oracle: naive double-precision distances, losses and gradients, written from the formulas in
 * the public headers with nothing shared with the engine. */
#ifndef NF_TEST_REFERENCE_H
#define NF_TEST_REFERENCE_H

#include "nearfar/nearfar.h"

#endif
