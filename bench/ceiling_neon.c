#include <arm_neon.h>
#define NAME ceiling_neon
#define V float32x4_t
#define SET1(x) vdupq_n_f32(x)
#define FMA(a, b, c) vfmaq_f32(c, a, b)
#define CHAINS 12
#include "ceiling.inc"
