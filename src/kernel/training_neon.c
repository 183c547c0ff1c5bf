#define NF_ISA_SUFFIX neon
#include "kernel/training.inc"
