/* nearfar: embeddings learned from pairs, same label near and different label far, exactly over all
 * pairs at any batch size, on a CPU.
 *
 * Conventions of every header:
 *   - Functions return nf_status; 0 is success, and on failure nf_context_error() tells which
 *     argument, which value, the limit and the remedy. Outputs are written on success only.
 *   - Matrices are row-major views {data, type, rows, cols, ld}; nothing is copied or kept.
 *   - Long-lived objects have create and free; free takes NULL.
 *   - Memory comes from the context's allocator. A context serves one thread at a time.
 *   - Results are the same bits for any number of threads and on every instruction set.
 */
#ifndef NEARFAR_NEARFAR_H
#define NEARFAR_NEARFAR_H

#include "nearfar/bank.h"
#include "nearfar/context.h"
#include "nearfar/distance.h"
#include "nearfar/eval.h"
#include "nearfar/io.h"
#include "nearfar/loss.h"
#include "nearfar/matrix.h"
#include "nearfar/mine.h"
#include "nearfar/model.h"
#include "nearfar/pairs.h"
#include "nearfar/status.h"
#include "nearfar/targets.h"
#include "nearfar/train.h"

#define NF_VERSION_MAJOR 0
#define NF_VERSION_MINOR 1
#define NF_VERSION_PATCH 0
#define NF_VERSION_STRING "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/* Version of the library in use, e.g. "0.1.0". */
NF_API const char *nf_version(void);

#ifdef __cplusplus
}
#endif
#endif
