#define NF_ISA_SUFFIX avx512
#include "kernel/training.inc"
