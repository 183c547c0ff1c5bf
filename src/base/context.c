#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/pool.h"
#include "nearfar/nearfar.h"

#define NF_MAX_THREADS 1024

static void *default_allocate(void *user, size_t size) {
    (void)user;
    return malloc(size);
}

static void default_release(void *user, void *block) {
    (void)user;
    free(block);
}

bool nf_memory_is_malloc(const nf_context *context) {
    return context->allocator.allocate == default_allocate;
}

static nf_status parse_threads(nf_context *context, const char *text, int *threads) {
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end != '\0' || value < 1 || value > NF_MAX_THREADS) {
        return nf_fail(context, NF_ERR_ARG,
                       "NF_NUM_THREADS is '%.40s': it must be a whole number from 1 to %d; unset "
                       "it to use every CPU",
                       text, NF_MAX_THREADS);
    }
    *threads = (int)value;
    return NF_OK;
}

static nf_status choose_threads(nf_context *context, int requested) {
    if (requested < 0 || requested > NF_MAX_THREADS) {
        return nf_fail(context, NF_ERR_ARG, "threads is %d: it must be 0 (automatic) or 1 to %d",
                       requested, NF_MAX_THREADS);
    }
    context->threads = requested;
    if (requested > 0) return NF_OK;
    const char *text = getenv("NF_NUM_THREADS");
    if (text != NULL && text[0] != '\0') return parse_threads(context, text, &context->threads);
    context->threads = nf_cpu_count();
    if (context->threads > NF_MAX_THREADS) context->threads = NF_MAX_THREADS;
    return NF_OK;
}

static nf_status parse_isa(nf_context *context, const char *text, nf_isa *isa) {
    for (nf_isa level = NF_ISA_SCALAR; nf_isa_name(level) != NULL; level++) {
        if (strcmp(text, nf_isa_name(level)) == 0) {
            *isa = level;
            return NF_OK;
        }
    }
    return nf_fail(context, NF_ERR_ARG,
                   "NF_ISA is '%.40s': it must be scalar, avx2, avx512 or neon; unset it to choose "
                   "automatically",
                   text);
}

static nf_status choose_isa(nf_context *context, nf_isa requested) {
    nf_isa isa = requested;
    const char *text = getenv("NF_ISA");
    if (isa == NF_ISA_AUTO && text != NULL && text[0] != '\0') {
        nf_status status = parse_isa(context, text, &isa);
        if (status != NF_OK) return status;
    }
    if (isa == NF_ISA_AUTO) isa = nf_cpu_best();
    if (nf_isa_name(isa) == NULL) {
        return nf_fail(context, NF_ERR_ARG, "isa is %d: it must be an nf_isa value", (int)isa);
    }
    if (!nf_cpu_supports(isa)) {
        return nf_fail(
            context, NF_ERR_UNSUPPORTED,
            "instruction set %s is not available here: this machine has %s; unset NF_ISA "
            "to use that",
            nf_isa_name(isa), nf_isa_name(nf_cpu_best()));
    }
    context->isa = isa;
    return NF_OK;
}

nf_status nf_context_create(nf_context **context, const nf_context_options *options,
                            nf_error *error) {
    nf_context_options chosen = options != NULL ? *options : (nf_context_options){0};
    nf_allocator allocator = {default_allocate, default_release, NULL};
    if (chosen.allocator != NULL) allocator = *chosen.allocator;
    if (error != NULL) *error = (nf_error){NF_OK, ""};
    *context = NULL;

    /* Errors before there is a context are recorded in one on the stack. */
    nf_context early;
    memset(&early, 0, sizeof early);
    early.allocator = allocator;
    early.progress = chosen.progress;
    early.progress_user = chosen.progress_user;
    nf_status status = choose_threads(&early, chosen.threads);
    if (status == NF_OK) status = choose_isa(&early, chosen.isa);
    nf_context *made = NULL;
    if (status == NF_OK) status = nf_allocate(&early, &made, 1, sizeof *made, "context");
    if (status != NF_OK) {
        if (error != NULL) *error = early.error;
        return status;
    }
    memcpy(made, &early, sizeof *made);
    atomic_init(&made->cancelled, 0);
    *context = made;
    return NF_OK;
}

void nf_context_free(nf_context *context) {
    if (context == NULL) return;
    nf_pool_free(context);
    nf_release(context, context->reserve);
    nf_release(context, context);
}

const nf_error *nf_context_error(const nf_context *context) { return &context->error; }

int nf_context_threads(const nf_context *context) { return context->threads; }

const char *nf_context_isa(const nf_context *context) { return nf_isa_name(context->isa); }

void nf_context_set_progress(nf_context *context, nf_progress_fn progress, void *user) {
    context->progress = progress;
    context->progress_user = user;
}

nf_status nf_context_reserve(nf_context *context, size_t bytes) {
    unsigned char *reserve = NULL;
    if (bytes > 0) {
        nf_status status = nf_allocate(context, &reserve, bytes, 1, "reserve");
        if (status != NF_OK) return status;
    }
    nf_release(context, context->reserve);
    context->reserve = reserve;
    context->reserve_size = bytes;
    context->reserve_used = 0;
    return NF_OK;
}

const char *nf_version(void) { return NF_VERSION_STRING; }
