#include <math.h>
#define NAME ceiling_scalar
#define V float
#define SET1(x) (x)
#define FMA(a, b, c) fmaf(a, b, c)
#define CHAINS 8
#include "ceiling.inc"
