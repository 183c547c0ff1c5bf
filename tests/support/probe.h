/* What the suites probe the engine with: arrays against guard pages, every instruction set, other
 * floating-point environments, hashes of results. */
#ifndef NF_TEST_PROBE_H
#define NF_TEST_PROBE_H

#include <stddef.h>
#include <stdint.h>

#include "nearfar/nearfar.h"

/* `bytes` of memory between two pages that may not be touched: ending right at the second with
 * `at_end`, else starting right after the first. */
typedef struct probe_guard {
    void *data;
    void *map;
    size_t map_bytes;
} probe_guard;

probe_guard probe_guard_make(size_t bytes, int at_end);
/* No write is allowed from here on. */
void probe_guard_read_only(probe_guard *guard);
void probe_guard_free(probe_guard *guard);

/* Instruction sets of this machine, scalar first; returns their number. */
size_t probe_isas(nf_isa isa[4]);

/* Other floating-point environments than the default: 0 is the default, then flush to zero,
 * denormals are zero, both, and the three other rounding modes. */
#define PROBE_ENVIRONMENTS 7
/* Set one; returns the control word to restore. */
unsigned probe_fp_set(int environment);
/* The control word as it is. */
unsigned probe_fp_get(void);
void probe_fp_restore(unsigned control);

/* FNV-1a over bytes, chained. */
#define PROBE_HASH 14695981039346656037u
uint64_t probe_hash(uint64_t hash, const void *data, size_t bytes);

double probe_seconds(void);

/* NF_TEST_LONG is set: run the long tier too. */
int probe_long(void);

#endif
