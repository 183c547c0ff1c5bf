#define _DEFAULT_SOURCE /* madvise, which POSIX has only as advice that may do nothing */
#include <sys/mman.h>
#include <unistd.h>

#include "base/base.h"

/* Less is kept: it is soon used again, and the system's part would take longer than it is worth. */
#define NF_FORGET_LEAST ((size_t)16 << 20)

void nf_scratch_forget(nf_context *context, void *start, size_t bytes) {
    const unsigned char *reserve = context->reserve;
    const unsigned char *first = start;
    if (!nf_memory_is_malloc(context) || bytes < NF_FORGET_LEAST) return;
    if (reserve != NULL && first >= reserve && first < reserve + context->reserve_size) return;
    const long page_size = sysconf(_SC_PAGESIZE);
    if (page_size <= 0) return;
    const size_t page = (size_t)page_size, before = (page - (uintptr_t)first % page) % page;
    const size_t whole = (bytes - before) / page * page;
    (void)madvise((unsigned char *)start + before, whole, MADV_DONTNEED);
}
