/* Floating-point control of the current thread. Results must not depend on a host that switched
 * to flush-to-zero or another rounding mode, and the host must get its own setting back. */
#include "base/base.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define NF_MXCSR_DEFAULT 0x1f80u /* round to nearest, all exceptions masked, no FTZ or DAZ */

unsigned nf_fp_default(void) {
    unsigned control = _mm_getcsr();
    if (control != NF_MXCSR_DEFAULT) _mm_setcsr(NF_MXCSR_DEFAULT);
    return control;
}

/* Restores status flags too: a call leaves no trace of its inexact results. */
void nf_fp_restore(unsigned control) {
    if (_mm_getcsr() != control) _mm_setcsr(control);
}

#elif defined(__aarch64__)

unsigned nf_fp_default(void) {
    uint64_t control;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    if (control != 0) __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
    return (unsigned)control;
}

void nf_fp_restore(unsigned control) {
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)control));
}

#else
#include <fenv.h>

unsigned nf_fp_default(void) {
    int rounding = fegetround();
    fesetround(FE_TONEAREST);
    return (unsigned)rounding;
}

void nf_fp_restore(unsigned control) { fesetround((int)control); }
#endif
