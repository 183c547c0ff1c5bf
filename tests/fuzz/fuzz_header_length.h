/* A mutator for files that start with the length of their JSON header. */
#ifndef NF_FUZZ_HEADER_LENGTH_H
#define NF_FUZZ_HEADER_LENGTH_H

#include <stddef.h>
#include <stdint.h>

#ifdef NF_LIBFUZZER
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

/* Mostly repair the header length: up to the last '}'. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    size = LLVMFuzzerMutate(data, size, max_size);
    if (size < 10 || seed % 8 == 0) return size;
    size_t end = size;
    while (end > 9 && data[end - 1] != '}') end--;
    if (end == 9) return size;
    for (size_t b = 0; b < 8; b++) data[b] = (uint8_t)((uint64_t)(end - 8) >> 8 * b);
    return size;
}
#endif

#endif
