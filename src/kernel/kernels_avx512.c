#define NF_ISA_SUFFIX avx512
#define NF_VECTOR_BYTES 64
#define NF_TILE_ROWS 12
#define NF_UPDATE_ROWS 12
#include "kernel/types.inc"
