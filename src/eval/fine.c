#include "eval/fine.h"

#define NF_FINE_PAIRS ((size_t)1 << 23) /* between drains, if strips are smaller */
#define NF_FIRST_CHUNK UINT32_MAX

nf_status nf_fine_begin(nf_context *context, size_t slots, size_t strip, nf_fine *fine) {
    *fine = (nf_fine){.capacity = nf_max_size(strip, NF_FINE_PAIRS),
                      .workers = (size_t)context->threads,
                      .stride = nf_round_up(2 * (slots + 1), NF_ALIGNMENT / sizeof(size_t))};
    /* Every list has a chunk from the start, and a further one for every chunk that is full. */
    const size_t lists = fine->workers * fine->stride;
    const size_t chunks = lists + fine->capacity / NF_FINE_CHUNK + 1;
    nf_status status = nf_scratch(context, &fine->slot, NF_COARSE_BINS, sizeof *fine->slot, "bins");
    if (status == NF_OK) {
        status = nf_scratch(context, &fine->cursor, lists, sizeof *fine->cursor, "pairs of bins");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &fine->entry, chunks, NF_FINE_CHUNK * sizeof *fine->entry,
                            "pairs of bins");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &fine->before, chunks, sizeof *fine->before, "pairs of bins");
    }
    return status;
}

void nf_fine_reset(nf_fine *fine) {
    const size_t lists = fine->workers * fine->stride;
    for (size_t l = 0; l < lists; l++) {
        fine->cursor[l] = l * NF_FINE_CHUNK;
        fine->before[l] = NF_FIRST_CHUNK;
    }
    atomic_init(&fine->used, lists);
    fine->pending = 0;
}

/* Where a list goes on whose chunk is full; pairs of no slot overwrite one another. */
static size_t next_chunk(nf_fine *fine, size_t list, size_t full) {
    if (list >= 2 * fine->slots) return full * NF_FINE_CHUNK;
    const size_t chunk = atomic_fetch_add_explicit(&fine->used, 1, memory_order_relaxed);
    fine->before[chunk] = (uint32_t)full;
    return chunk * NF_FINE_CHUNK;
}

void nf_fine_put(nf_fine *fine, int worker, const uint32_t *key, const uint8_t *same,
                 size_t count) {
    size_t *cursor = fine->cursor + (size_t)worker * fine->stride;
    const uint16_t *slot = fine->slot;
    uint16_t *entry = fine->entry;
    for (size_t c = 0; c < count; c++) {
        const size_t list = (size_t)slot[key[c] >> 16] * 2 + same[c];
        size_t at = cursor[list];
        entry[at++] = (uint16_t)key[c];
        if (at % NF_FINE_CHUNK == 0) at = next_chunk(fine, list, at / NF_FINE_CHUNK - 1);
        cursor[list] = at;
    }
}

/* The last chunk of a worker's list. */
static void enter_list(const nf_fine *fine, size_t slot, size_t side, nf_fine_run *run) {
    const size_t at = fine->cursor[run->worker * fine->stride + 2 * slot + side];
    run->chunk = at / NF_FINE_CHUNK;
    run->entry = fine->entry + run->chunk * NF_FINE_CHUNK;
    run->count = at % NF_FINE_CHUNK;
}

void nf_fine_first(const nf_fine *fine, size_t slot, size_t side, nf_fine_run *run) {
    run->worker = 0;
    enter_list(fine, slot, side, run);
}

bool nf_fine_next(const nf_fine *fine, size_t slot, size_t side, nf_fine_run *run) {
    const uint32_t before = fine->before[run->chunk];
    if (before != NF_FIRST_CHUNK) {
        run->chunk = before;
        run->entry = fine->entry + run->chunk * NF_FINE_CHUNK;
        run->count = NF_FINE_CHUNK;
        return true;
    }
    if (++run->worker == fine->workers) return false;
    enter_list(fine, slot, side, run);
    return true;
}
