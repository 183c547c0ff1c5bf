#define NF_ISA_SUFFIX scalar
#include "kernel/training.inc"
