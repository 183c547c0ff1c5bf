#define NF_ISA_SUFFIX neon
#define NF_VECTOR_BYTES 16
#define NF_TILE_ROWS 6
#define NF_UPDATE_ROWS 3
#include "kernel/types.inc"
