/* Counter-based random numbers: Philox 4x32-10 (Salmon et al., Parallel random numbers: as easy as
 * 1, 2, 3, SC 2011). A number depends on (seed, stream, index) only, so results do not depend on
 * threads or on where a run was interrupted. */
#ifndef NF_BASE_RANDOM_H
#define NF_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Streams keep uses of one seed apart. */
typedef enum nf_stream {
    NF_STREAM_WEIGHTS = 1,
    NF_STREAM_BATCHES = 2,
    NF_STREAM_PAIRS = 3,
    NF_STREAM_SPLIT = 4,
    NF_STREAM_DIAGNOSTICS = 5,
    NF_STREAM_MINING = 6
} nf_stream;

/* Two 64-bit numbers of one counter. */
void nf_random_pair(uint64_t seed, uint64_t stream, uint64_t index, uint64_t out[2]);

/* One 64-bit number. */
uint64_t nf_random(uint64_t seed, uint64_t stream, uint64_t index);

/* Uniform in [0, 1), 53 bits. */
double nf_random_unit(uint64_t seed, uint64_t stream, uint64_t index);

/* Uniform in [0, bound), bound > 0, without bias (bounded rejection inside one counter's own
 * sub-stream). */
uint64_t nf_random_below(uint64_t seed, uint64_t stream, uint64_t index, uint64_t bound);

/* A sub-stream for (stream, a): streams of streams, e.g. one per epoch. */
uint64_t nf_random_stream(uint64_t stream, uint64_t a);

/* Fisher-Yates shuffle of `count` size_t values. */
void nf_random_shuffle(uint64_t seed, uint64_t stream, size_t *values, size_t count);

#endif
