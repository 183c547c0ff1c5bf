#include "kernel/kernel.h"
#include "kernel/training.h"

const nf_kernels *nf_kernels_get(const nf_context *context, nf_type type) {
    bool f32 = type == NF_FLOAT32;
    switch (context->isa) {
#if defined(__x86_64__)
    case NF_ISA_AVX2: return f32 ? &nf_k_f32_avx2 : &nf_k_f64_avx2;
    case NF_ISA_AVX512: return f32 ? &nf_k_f32_avx512 : &nf_k_f64_avx512;
#elif defined(__aarch64__)
    case NF_ISA_NEON: return f32 ? &nf_k_f32_neon : &nf_k_f64_neon;
#endif
    default: return f32 ? &nf_k_f32_scalar : &nf_k_f64_scalar;
    }
}

const nf_training_kernels *nf_training_kernels_get(const nf_context *context) {
    switch (context->isa) {
#if defined(__x86_64__)
    case NF_ISA_AVX2: return &nf_training_avx2;
    case NF_ISA_AVX512: return &nf_training_avx512;
#elif defined(__aarch64__)
    case NF_ISA_NEON: return &nf_training_neon;
#endif
    default: return &nf_training_scalar;
    }
}
