#include <immintrin.h>
#define NAME ceiling_avx2
#define V __m256
#define SET1(x) _mm256_set1_ps(x)
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define CHAINS 12
#include "ceiling.inc"
