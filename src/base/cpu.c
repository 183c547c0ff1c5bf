#define _GNU_SOURCE
#include "base/cpu.h"

#include <sched.h>
#include <stddef.h>
#include <unistd.h>

const char *nf_isa_name(nf_isa isa) {
    switch (isa) {
    case NF_ISA_SCALAR: return "scalar";
    case NF_ISA_AVX2: return "avx2";
    case NF_ISA_AVX512: return "avx512";
    case NF_ISA_NEON: return "neon";
    case NF_ISA_AUTO: break;
    }
    return NULL;
}

int nf_cpu_supports(nf_isa isa) {
    switch (isa) {
    case NF_ISA_SCALAR: return 1;
#if defined(__x86_64__)
    case NF_ISA_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case NF_ISA_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("fma");
#elif defined(__aarch64__)
    case NF_ISA_NEON: return 1; /* part of the base architecture */
#endif
    default: return 0;
    }
}

nf_isa nf_cpu_best(void) {
    static const nf_isa strongest_first[] = {NF_ISA_AVX512, NF_ISA_AVX2, NF_ISA_NEON};
    for (size_t i = 0; i < sizeof strongest_first / sizeof strongest_first[0]; i++) {
        if (nf_cpu_supports(strongest_first[i])) return strongest_first[i];
    }
    return NF_ISA_SCALAR;
}

int nf_cpu_count(void) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
        int count = CPU_COUNT(&allowed);
        if (count > 0) return count;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}
