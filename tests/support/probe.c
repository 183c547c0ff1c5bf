#define _GNU_SOURCE
#include "probe.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/cpu.h"

probe_guard probe_guard_make(size_t bytes, int at_end) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = (bytes + page - 1) / page * page;
    probe_guard guard = {.map_bytes = room + 2 * page};
    guard.map =
        mmap(NULL, guard.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (guard.map == MAP_FAILED) abort();
    char *start = guard.map;
    if (mprotect(start, page, PROT_NONE) != 0) abort();
    if (mprotect(start + page + room, page, PROT_NONE) != 0) abort();
    guard.data = start + page + (at_end ? room - bytes : 0);
    return guard;
}

void probe_guard_read_only(probe_guard *guard) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (guard->map_bytes == 2 * page) return;
    if (mprotect((char *)guard->map + page, guard->map_bytes - 2 * page, PROT_READ) != 0) abort();
}

void probe_guard_free(probe_guard *guard) {
    munmap(guard->map, guard->map_bytes);
    guard->data = guard->map = NULL;
}

size_t probe_isas(nf_isa isa[4]) {
    size_t count = 0;
    for (nf_isa level = NF_ISA_SCALAR; level <= NF_ISA_NEON; level++) {
        if (nf_cpu_supports(level)) isa[count++] = level;
    }
    return count;
}

#if defined(__x86_64__)
unsigned probe_fp_get(void) { return __builtin_ia32_stmxcsr(); }

unsigned probe_fp_set(int environment) {
    static const unsigned bits[PROBE_ENVIRONMENTS] = {0,      0x8000, 0x0040, 0x8040,
                                                      0x2000, 0x4000, 0x6000};
    unsigned control = probe_fp_get();
    __builtin_ia32_ldmxcsr(0x1f80u | bits[environment]);
    return control;
}

void probe_fp_restore(unsigned control) { __builtin_ia32_ldmxcsr(control); }
#else
#include <fenv.h>

unsigned probe_fp_get(void) { return (unsigned)fegetround(); }

unsigned probe_fp_set(int environment) {
    static const int modes[PROBE_ENVIRONMENTS] = {FE_TONEAREST, FE_TONEAREST, FE_TONEAREST,
                                                  FE_TONEAREST, FE_DOWNWARD,  FE_UPWARD,
                                                  FE_TOWARDZERO};
    unsigned control = probe_fp_get();
    fesetround(modes[environment]);
    return control;
}

void probe_fp_restore(unsigned control) { fesetround((int)control); }
#endif

uint64_t probe_hash(uint64_t hash, const void *data, size_t bytes) {
    const unsigned char *byte = data;
    for (size_t k = 0; k < bytes; k++) hash = (hash ^ byte[k]) * 1099511628211u;
    return hash;
}

double probe_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int probe_long(void) {
    const char *text = getenv("NF_TEST_LONG");
    return text != NULL && text[0] != '\0' && text[0] != '0';
}
