#include "eval/eval.h"

#define NF_FINE_COUNTS ((size_t)65536 * 2) /* of one coarse bin */
#define NF_KEY_CHUNK 256

nf_eval_limits nf_eval_default_limits(void) {
    return (nf_eval_limits){.collect = (size_t)1 << 20,
                            .fine_bytes = (size_t)64 << 20,
                            .list = 65536,
                            .narrow = UINT32_MAX,
                            .strip_elements = (size_t)1 << 22};
}

static uint64_t all_pairs(const nf_eval_sets *sets) {
    uint64_t n = sets->query.rows;
    if (!sets->self) return n * (uint64_t)sets->reference.rows;
    return n % 2 == 0 ? n / 2 * (n - 1) : n * ((n - 1) / 2);
}

static nf_status begin_collect(nf_context *context, nf_verify *verify, size_t pairs) {
    verify->mode = NF_VERIFY_COLLECT;
    verify->pairs = pairs;
    nf_status status =
        nf_scratch(context, &verify->pair, pairs, sizeof(nf_ranked), "distances of all pairs");
    if (status != NF_OK) return status;
    return nf_scratch(context, &verify->spare, pairs, sizeof(nf_ranked), "distances of all pairs");
}

nf_status nf_verify_begin(nf_context *context, const nf_eval_sets *sets, nf_eval_limits limits,
                          nf_verify *verify) {
    *verify = (nf_verify){.sets = sets, .limits = limits, .mode = NF_VERIFY_COARSE};
    uint64_t pairs = all_pairs(sets);
    if (pairs <= limits.collect) return begin_collect(context, verify, (size_t)pairs);
    size_t workers = (size_t)context->threads, counts = (size_t)NF_COARSE_BINS * 2;
    nf_status status =
        nf_scratch(context, &verify->coarse, counts, sizeof(uint64_t), "counts of distances");
    if (status == NF_OK) {
        status = nf_scratch(context, &verify->local, workers * counts, sizeof(uint32_t),
                            "counts of distances");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &verify->refined, NF_COARSE_BINS, sizeof(bool), "bins");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &verify->kind, NF_COARSE_BINS, sizeof(uint8_t), "bins");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &verify->place, NF_COARSE_BINS, sizeof(nf_bin_place), "bins");
    }
    if (status != NF_OK) return status;
    memset(verify->coarse, 0, counts * sizeof(uint64_t));
    memset(verify->local, 0, workers * counts * sizeof(uint32_t));
    memset(verify->refined, 0, NF_COARSE_BINS * sizeof(bool));
    return NF_OK;
}

/* ---- taking distances ----------------------------------------------------------------------- */

/* Keys and sameness of pairs of one query; pairs that take no part are left out. */
typedef struct key_chunk {
    uint32_t key[NF_KEY_CHUNK];
    uint8_t same[NF_KEY_CHUNK];
    size_t count;
} key_chunk;

/* The queries' rows [j, j + count) of the reference. A row is not paired with itself: of a set with
 * itself only j > i are asked for. */
static void fill_chunk(const nf_eval_sets *sets, const uint8_t *related, size_t i, size_t j,
                       size_t count, nf_type type, const void *distance, key_chunk *chunk) {
    const float *f = distance;
    const double *g = distance;
    const uint32_t class = sets->query_class[i], *other = sets->reference_class + j;
    chunk->count = count;
    if (type == NF_FLOAT32) {
        for (size_t c = 0; c < count; c++) chunk->key[c] = nf_key_f32(f[c]);
    } else {
        for (size_t c = 0; c < count; c++) chunk->key[c] = nf_key_f32((float)g[c]);
    }
    if (related == NULL) {
        for (size_t c = 0; c < count; c++) chunk->same[c] = other[c] == class;
    } else {
        for (size_t c = 0; c < count; c++) chunk->same[c] = related[other[c]];
    }
    if (sets->query_id == NULL) return;
    size_t kept = 0;
    for (size_t c = 0; c < count; c++) {
        if (sets->query_id[i] == sets->reference_id[j + c]) continue;
        chunk->key[kept] = chunk->key[c];
        chunk->same[kept++] = chunk->same[c];
    }
    chunk->count = kept;
}

/* Each pair has its place; those left out are marked at the end of the chunk's. */
static void collect(nf_verify *verify, size_t i, size_t j, size_t count, const key_chunk *chunk) {
    const nf_eval_sets *sets = verify->sets;
    size_t place =
        sets->self ? (size_t)nf_pair_rank(sets->query.rows, i, j) : i * sets->reference.rows + j;
    for (size_t c = 0; c < count; c++) {
        verify->pair[place + c] = c < chunk->count ? (nf_ranked){chunk->key[c], chunk->same[c]}
                                                   : (nf_ranked){NF_KEY_EXCLUDED, 0};
    }
}

static void count_coarse(uint32_t *local, const key_chunk *chunk) {
    for (size_t c = 0; c < chunk->count; c++) {
        local[(chunk->key[c] >> 16) * 2 + chunk->same[c]]++;
    }
}

/* A counter is a cache miss as a rule: the addresses of a chunk are fetched together before the
 * locked additions, which would otherwise wait for memory one after the other. */
static void count_fine(nf_verify *verify, const key_chunk *chunk) {
    _Atomic uint32_t *narrow[NF_KEY_CHUNK];
    size_t counted = 0;
    for (size_t c = 0; c < chunk->count; c++) {
        uint32_t bin = chunk->key[c] >> 16;
        uint32_t fine = (chunk->key[c] & 0xFFFF) * 2 + chunk->same[c];
        uint8_t kind = verify->kind[bin];
        if (kind == NF_BIN_ABSENT) continue;
        nf_bin_place *place = &verify->place[bin];
        void *data = verify->arena + place->base;
        if (kind == NF_BIN_NARROW) {
            narrow[counted] = (_Atomic uint32_t *)data + fine;
            __builtin_prefetch(narrow[counted++], 1);
        } else if (kind == NF_BIN_LIST) {
            unsigned at = atomic_fetch_add_explicit(&place->length, 1, memory_order_relaxed);
            ((uint32_t *)data)[at] = fine;
        } else {
            atomic_fetch_add_explicit((_Atomic uint64_t *)data + fine, 1, memory_order_relaxed);
        }
    }
    for (size_t c = 0; c < counted; c++) {
        atomic_fetch_add_explicit(narrow[c], 1, memory_order_relaxed);
    }
}

void nf_verify_row(nf_verify *verify, int worker, size_t i, size_t first, size_t count,
                   nf_type type, const void *distance) {
    const nf_verify_mode mode = verify->mode;
    const uint8_t *related = nf_eval_related(verify->sets, worker, verify->sets->query_class[i]);
    key_chunk chunk;
    uint32_t *local = NULL;
    if (mode == NF_VERIFY_COARSE) local = verify->local + (size_t)worker * NF_COARSE_BINS * 2;
    for (size_t done = 0; done < count; done += NF_KEY_CHUNK) {
        size_t size = nf_min_size(NF_KEY_CHUNK, count - done);
        fill_chunk(verify->sets, related, i, first + done, size, type,
                   (const char *)distance + done * nf_type_size(type), &chunk);
        switch (mode) {
        case NF_VERIFY_COLLECT: collect(verify, i, first + done, size, &chunk); break;
        case NF_VERIFY_COARSE: count_coarse(local, &chunk); break;
        case NF_VERIFY_FINE: count_fine(verify, &chunk); break;
        }
    }
}

static void gather_local(nf_context *context, nf_verify *verify) {
    size_t counts = (size_t)NF_COARSE_BINS * 2;
    for (size_t w = 0; w < (size_t)context->threads; w++) {
        uint32_t *local = verify->local + w * counts;
        for (size_t b = 0; b < counts; b++) verify->coarse[b] += local[b];
        memset(local, 0, counts * sizeof *local);
    }
    verify->local_pairs = 0;
}

void nf_verify_strip(nf_context *context, nf_verify *verify, uint64_t pairs) {
    if (verify->mode != NF_VERIFY_COARSE) return;
    if (verify->local_pairs + pairs > UINT32_MAX) gather_local(context, verify);
    verify->local_pairs += pairs;
}

/* ---- between passes ------------------------------------------------------------------------- */

/* Sorted pairs of keys below 2^32 to the curve; `bin` is the upper half of keys of 16 bits. */
static void add_sorted(nf_curve *curve, const nf_ranked *pair, size_t count, uint32_t bin) {
    for (size_t p = 0; p < count;) {
        uint64_t key = pair[p].key, side[2] = {0, 0};
        for (; p < count && pair[p].key == key; p++) side[pair[p].index]++;
        nf_curve_add(curve, nf_key_f32_value(bin << 16 | (uint32_t)key), side[1], side[0]);
    }
}

static void finish_collected(nf_verify *verify) {
    size_t kept = 0;
    uint64_t side[2] = {0, 0};
    for (size_t p = 0; p < verify->pairs; p++) {
        if (verify->pair[p].key == NF_KEY_EXCLUDED) continue;
        side[verify->pair[p].index]++;
        verify->pair[kept++] = verify->pair[p];
    }
    nf_curve_begin(&verify->curve, side[1], side[0]);
    if (side[0] == 0 || side[1] == 0) return;
    nf_sort_ranked(verify->pair, verify->spare, kept);
    add_sorted(&verify->curve, verify->pair, kept, 0);
}

/* Bins whose distances matter one by one: those with both sides, the one where FAR passes 1 - TAR
 * with the last one before it, and of the bins with positives only, where accuracy rises, the one
 * whose end is best. */
static void choose_refined(nf_verify *verify) {
    uint64_t positives = 0, negatives = 0, best = verify->curve.negatives;
    size_t previous = NF_COARSE_BINS, best_bin = NF_COARSE_BINS;
    bool crossed = false;
    for (size_t bin = 0; bin < NF_COARSE_BINS; bin++) {
        uint64_t here_negatives = verify->coarse[2 * bin];
        uint64_t here_positives = verify->coarse[2 * bin + 1];
        if (here_negatives == 0 && here_positives == 0) continue;
        positives += here_positives;
        negatives += here_negatives;
        verify->refined[bin] = here_positives > 0 && here_negatives > 0;
        if (!crossed && nf_curve_crosses(&verify->curve, positives, negatives)) {
            crossed = true;
            verify->refined[bin] = true;
            if (previous != NF_COARSE_BINS) verify->refined[previous] = true;
        }
        uint64_t correct = positives + (verify->curve.negatives - negatives);
        if (here_negatives == 0 && correct > best) {
            best = correct;
            best_bin = bin;
        }
        previous = bin;
    }
    if (best_bin != NF_COARSE_BINS) verify->refined[best_bin] = true;
}

static uint64_t bin_pairs(const nf_verify *verify, size_t bin) {
    return verify->coarse[2 * bin] + verify->coarse[2 * bin + 1];
}

static nf_bin_kind kind_of_bin(const nf_verify *verify, size_t bin) {
    uint64_t pairs = bin_pairs(verify, bin);
    if (!verify->refined[bin]) return NF_BIN_ABSENT;
    return pairs <= verify->limits.list     ? NF_BIN_LIST
           : pairs <= verify->limits.narrow ? NF_BIN_NARROW
                                            : NF_BIN_WIDE;
}

static size_t bytes_of_bin(const nf_verify *verify, size_t bin) {
    switch (kind_of_bin(verify, bin)) {
    case NF_BIN_ABSENT: return 0;
    case NF_BIN_LIST: return nf_round_up((size_t)bin_pairs(verify, bin) * 4, 8);
    case NF_BIN_NARROW: return NF_FINE_COUNTS * sizeof(uint32_t);
    case NF_BIN_WIDE: return NF_FINE_COUNTS * sizeof(uint64_t);
    }
    return 0;
}

/* Refined bins from `begin` on, as many as fit: the bytes they take (0: none left), *end the bin
 * after. */
static size_t next_group(const nf_verify *verify, size_t begin, size_t *end) {
    size_t bytes = 0, bin = begin;
    for (; bin < NF_COARSE_BINS; bin++) {
        size_t more = bytes_of_bin(verify, bin);
        if (bytes > 0 && more > 0 && bytes + more > verify->limits.fine_bytes) break;
        bytes += more;
    }
    *end = bin;
    return bytes;
}

size_t nf_verify_passes_left(const nf_verify *verify) {
    size_t passes = 0, begin = verify->bins_done;
    if (verify->mode != NF_VERIFY_FINE) return 0;
    while (next_group(verify, begin, &begin) > 0) passes++;
    return passes;
}

static void walk_list(nf_verify *verify, size_t bin) {
    const uint32_t *list = (const void *)(verify->arena + verify->place[bin].base);
    size_t length = atomic_load(&verify->place[bin].length);
    for (size_t p = 0; p < length; p++) verify->pair[p] = (nf_ranked){list[p] >> 1, list[p] & 1};
    nf_sort_ranked(verify->pair, verify->spare, length);
    add_sorted(&verify->curve, verify->pair, length, (uint32_t)bin);
}

static void walk_counts(nf_verify *verify, size_t bin) {
    void *data = verify->arena + verify->place[bin].base;
    const _Atomic uint32_t *narrow = data;
    const _Atomic uint64_t *wide = data;
    bool is_wide = verify->kind[bin] == NF_BIN_WIDE;
    for (size_t low = 0; low < 65536; low++) {
        uint64_t side[2];
        for (size_t s = 0; s < 2; s++) {
            size_t at = 2 * low + s;
            side[s] = is_wide ? atomic_load_explicit(&wide[at], memory_order_relaxed)
                              : atomic_load_explicit(&narrow[at], memory_order_relaxed);
        }
        if (side[0] == 0 && side[1] == 0) continue;
        float distance = nf_key_f32_value((uint32_t)(bin << 16 | low));
        nf_curve_add(&verify->curve, distance, side[1], side[0]);
    }
}

/* Bins [bins_done, bins_end) to the curve. */
static void walk_bins(nf_verify *verify) {
    for (size_t bin = verify->bins_done; bin < verify->bins_end; bin++) {
        switch (kind_of_bin(verify, bin)) {
        case NF_BIN_ABSENT:
            nf_curve_skip(&verify->curve, verify->coarse[2 * bin + 1], verify->coarse[2 * bin]);
            break;
        case NF_BIN_LIST: walk_list(verify, bin); break;
        case NF_BIN_NARROW:
        case NF_BIN_WIDE: walk_counts(verify, bin); break;
        }
    }
    verify->bins_done = verify->bins_end;
}

/* Lay out the next pass; *again is false when no refined bin is left. */
static void prepare_pass(nf_verify *verify, bool *again) {
    size_t bytes = next_group(verify, verify->bins_done, &verify->bins_end), used = 0;
    *again = bytes > 0;
    if (!*again) {
        walk_bins(verify); /* what is left has one side only */
        return;
    }
    memset(verify->kind, NF_BIN_ABSENT, NF_COARSE_BINS * sizeof *verify->kind);
    memset(verify->arena, 0, bytes);
    for (size_t bin = verify->bins_done; bin < verify->bins_end; bin++) {
        verify->kind[bin] = (uint8_t)kind_of_bin(verify, bin);
        verify->place[bin].base = used;
        atomic_init(&verify->place[bin].length, 0);
        used += bytes_of_bin(verify, bin);
    }
}

/* Memory of the largest pass and of the longest list. */
static nf_status make_arena(nf_context *context, nf_verify *verify) {
    size_t largest = 0, longest = 0, begin = 0, bytes;
    while ((bytes = next_group(verify, begin, &begin)) > 0) largest = nf_max_size(largest, bytes);
    for (size_t bin = 0; bin < NF_COARSE_BINS; bin++) {
        if (kind_of_bin(verify, bin) != NF_BIN_LIST) continue;
        longest = nf_max_size(longest, (size_t)bin_pairs(verify, bin));
    }
    nf_status status = nf_scratch(context, &verify->arena, largest, 1, "fine counts of distances");
    if (status == NF_OK) {
        status = nf_scratch(context, &verify->pair, longest, sizeof(nf_ranked), "pairs of a bin");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &verify->spare, longest, sizeof(nf_ranked), "pairs of a bin");
    }
    return status;
}

static nf_status finish_coarse(nf_context *context, nf_verify *verify) {
    gather_local(context, verify);
    uint64_t side[2] = {0, 0};
    for (size_t bin = 0; bin < NF_COARSE_BINS; bin++) {
        side[0] += verify->coarse[2 * bin];
        side[1] += verify->coarse[2 * bin + 1];
    }
    nf_curve_begin(&verify->curve, side[1], side[0]);
    verify->mode = NF_VERIFY_FINE;
    if (side[0] == 0 || side[1] == 0) {
        verify->bins_done = NF_COARSE_BINS;
        return NF_OK;
    }
    choose_refined(verify);
    return make_arena(context, verify);
}

nf_status nf_verify_pass_done(nf_context *context, nf_verify *verify, bool *again) {
    *again = false;
    nf_status status = NF_OK;
    if (verify->mode == NF_VERIFY_COLLECT) {
        finish_collected(verify);
        return NF_OK;
    }
    if (verify->mode == NF_VERIFY_COARSE) {
        status = finish_coarse(context, verify);
    } else {
        walk_bins(verify);
    }
    if (status == NF_OK && verify->bins_done < NF_COARSE_BINS) prepare_pass(verify, again);
    return status;
}

void nf_verify_result(const nf_verify *verify, nf_eval_result *result) {
    result->positive_pairs = verify->curve.positives;
    result->negative_pairs = verify->curve.negatives;
    if (verify->curve.positives > 0 && verify->curve.negatives > 0) {
        nf_curve_result(&verify->curve, result);
    }
}
