#define NF_ISA_SUFFIX scalar
#define NF_VECTOR_BYTES 0
#define NF_TILE_ROWS 2
#define NF_UPDATE_ROWS 2
#include "kernel/types.inc"
