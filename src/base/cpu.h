#ifndef NF_BASE_CPU_H
#define NF_BASE_CPU_H

#include "nearfar/context.h"

/* Whether this build and this machine can run an instruction set. */
int nf_cpu_supports(nf_isa isa);
/* The fastest supported one. */
nf_isa nf_cpu_best(void);
/* "scalar", "avx2", ..; NULL outside the enum. */
const char *nf_isa_name(nf_isa isa);
/* CPUs this process may run on, >= 1. */
int nf_cpu_count(void);

#endif
