#define NF_ISA_SUFFIX avx2
#include "kernel/training.inc"
