#include <immintrin.h>
#define NAME ceiling_avx512
#define V __m512
#define SET1(x) _mm512_set1_ps(x)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define CHAINS 12
#include "ceiling.inc"
