#include "base/pool.h"
#include "eval/eval.h"

#define NF_FINE_KEYS ((size_t)65536) /* of one coarse bin */
#define NF_KEY_CHUNK 256

nf_eval_limits nf_eval_default_limits(void) {
    return (nf_eval_limits){.collect = (size_t)1 << 20,
                            .fine_bytes = (size_t)56 << 20,
                            .fine_slots = NF_FINE_SLOTS,
                            .list = 65536,
                            .narrow = (uint64_t)1 << 30,
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
                          size_t strip, nf_verify *verify) {
    *verify = (nf_verify){.sets = sets, .limits = limits, .strip = strip, .mode = NF_VERIFY_COARSE};
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
        case NF_VERIFY_FINE:
            nf_fine_put(&verify->fine, worker, chunk.key, chunk.same, chunk.count);
            break;
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

/* What is behind the counters of a narrow bin. */
static uint32_t *carries_of(void *data) {
    return (uint32_t *)((unsigned char *)data + 2 * NF_FINE_KEYS * sizeof(uint16_t));
}

/* A run of pairs of one side to the counts of its bin. */
static void count_run(const nf_verify *verify, nf_bin_place *place, uint32_t side,
                      const nf_fine_run *run) {
    void *data = verify->arena + place->base;
    if (place->kind == NF_BIN_LIST) {
        uint32_t *list = (uint32_t *)data + place->length;
        for (size_t e = 0; e < run->count; e++) list[e] = run->entry[e] * 2u + side;
        place->length += run->count;
    } else if (place->kind == NF_BIN_NARROW) {
        uint16_t *counts = (uint16_t *)data + side * NF_FINE_KEYS;
        for (size_t e = 0; e < run->count; e++) {
            if (++counts[run->entry[e]] != 0) continue;
            carries_of(data)[place->length++] = run->entry[e] * 2u + side;
        }
    } else {
        uint64_t *counts = (uint64_t *)data + side * NF_FINE_KEYS;
        for (size_t e = 0; e < run->count; e++) counts[run->entry[e]]++;
    }
}

static void drain_task(void *argument, size_t slot, int worker) {
    nf_verify *verify = argument;
    (void)worker;
    for (uint32_t side = 0; side < 2; side++) {
        nf_fine_run run;
        nf_fine_first(&verify->fine, slot, side, &run);
        do {
            count_run(verify, &verify->place[slot], side, &run);
        } while (nf_fine_next(&verify->fine, slot, side, &run));
    }
}

/* Count all pairs that are gathered. */
static nf_status drain(nf_context *context, nf_verify *verify) {
    nf_status status = nf_parallel(context, verify->fine.slots, verify->fine.pending > (1 << 16), 0,
                                   drain_task, verify);
    nf_fine_reset(&verify->fine);
    return status;
}

nf_status nf_verify_strip(nf_context *context, nf_verify *verify, uint64_t pairs) {
    nf_status status = NF_OK;
    if (verify->mode == NF_VERIFY_COARSE) {
        if (verify->local_pairs + pairs > UINT32_MAX) gather_local(context, verify);
        verify->local_pairs += pairs;
    } else if (verify->mode == NF_VERIFY_FINE) {
        if (verify->fine.pending + pairs > verify->fine.capacity) status = drain(context, verify);
        verify->fine.pending += (size_t)pairs;
    }
    return status;
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
    const size_t pairs = (size_t)bin_pairs(verify, bin);
    switch (kind_of_bin(verify, bin)) {
    case NF_BIN_ABSENT: return 0;
    case NF_BIN_LIST: return nf_round_up(pairs * sizeof(uint32_t), sizeof(uint64_t));
    case NF_BIN_NARROW:
        return nf_round_up(2 * NF_FINE_KEYS * sizeof(uint16_t) + (pairs >> 16) * sizeof(uint32_t),
                           sizeof(uint64_t));
    case NF_BIN_WIDE: return 2 * NF_FINE_KEYS * sizeof(uint64_t);
    }
    return 0;
}

/* Refined bins from `begin` on, as many as fit, and the bytes they take; `end` is the bin after. */
typedef struct bin_group {
    size_t bins, bytes, end;
} bin_group;

static bin_group next_group(const nf_verify *verify, size_t begin) {
    bin_group group = {0, 0, begin};
    for (; group.end < NF_COARSE_BINS; group.end++) {
        const size_t more = bytes_of_bin(verify, group.end);
        if (more == 0) continue;
        if (group.bins > 0 && (group.bytes + more > verify->limits.fine_bytes ||
                               group.bins >= verify->limits.fine_slots)) {
            break;
        }
        group.bytes += more;
        group.bins++;
    }
    return group;
}

size_t nf_verify_passes_left(const nf_verify *verify) {
    size_t passes = 0;
    bin_group group = {.end = verify->bins_done};
    if (verify->mode != NF_VERIFY_FINE) return 0;
    while ((group = next_group(verify, group.end)).bins > 0) passes++;
    return passes;
}

static void walk_list(nf_verify *verify, const nf_bin_place *place) {
    const uint32_t *list = (const void *)(verify->arena + place->base);
    for (size_t p = 0; p < place->length; p++) {
        verify->pair[p] = (nf_ranked){list[p] >> 1, list[p] & 1};
    }
    nf_sort_ranked(verify->pair, verify->spare, place->length);
    add_sorted(&verify->curve, verify->pair, place->length, (uint32_t)place->bin);
}

/* Whole counts of a narrow bin. */
static const uint64_t *widen(const nf_verify *verify, const nf_bin_place *place) {
    void *data = verify->arena + place->base;
    const uint16_t *narrow = data;
    for (size_t at = 0; at < 2 * NF_FINE_KEYS; at++) verify->counts[at] = narrow[at];
    for (size_t carry = 0; carry < place->length; carry++) {
        const uint32_t word = carries_of(data)[carry];
        verify->counts[(word & 1) * NF_FINE_KEYS + (word >> 1)] += (uint64_t)1 << 16;
    }
    return verify->counts;
}

static void walk_counts(nf_verify *verify, const nf_bin_place *place) {
    const void *data = verify->arena + place->base;
    const uint64_t *negatives = place->kind == NF_BIN_NARROW ? widen(verify, place) : data;
    const uint64_t *positives = negatives + NF_FINE_KEYS;
    for (size_t low = 0; low < NF_FINE_KEYS; low++) {
        if (negatives[low] == 0 && positives[low] == 0) continue;
        const float distance = nf_key_f32_value((uint32_t)(place->bin << 16 | low));
        nf_curve_add(&verify->curve, distance, positives[low], negatives[low]);
    }
}

/* Bins [bins_done, bins_end) to the curve. */
static void walk_bins(nf_verify *verify) {
    const nf_bin_place *place = verify->place;
    for (size_t bin = verify->bins_done; bin < verify->bins_end; bin++) {
        if (!verify->refined[bin]) {
            nf_curve_skip(&verify->curve, verify->coarse[2 * bin + 1], verify->coarse[2 * bin]);
        } else if (place->kind == NF_BIN_LIST) {
            walk_list(verify, place++);
        } else {
            walk_counts(verify, place++);
        }
    }
    verify->bins_done = verify->bins_end;
}

/* Lay out the next pass; *again is false when no refined bin is left. */
static void prepare_pass(nf_verify *verify, bool *again) {
    const bin_group group = next_group(verify, verify->bins_done);
    nf_bin_place *place = verify->place;
    size_t used = 0;
    verify->bins_end = group.end;
    *again = group.bins > 0;
    if (!*again) {
        walk_bins(verify); /* what is left has one side only */
        return;
    }
    memset(verify->arena, 0, group.bytes);
    verify->fine.slots = group.bins;
    for (size_t bin = 0; bin < NF_COARSE_BINS; bin++) {
        const bool absent = bin < verify->bins_done || bin >= group.end || !verify->refined[bin];
        verify->fine.slot[bin] = (uint16_t)(absent ? group.bins : (size_t)(place - verify->place));
        if (absent) continue;
        *place++ = (nf_bin_place){bin, kind_of_bin(verify, bin), used, 0};
        used += bytes_of_bin(verify, bin);
    }
    nf_fine_reset(&verify->fine);
}

/* Memory of the largest pass and of the longest list. */
static nf_status make_arena(nf_context *context, nf_verify *verify) {
    size_t bytes = 0, slots = 0, longest = 0;
    bin_group group = {0};
    while ((group = next_group(verify, group.end)).bins > 0) {
        bytes = nf_max_size(bytes, group.bytes);
        slots = nf_max_size(slots, group.bins);
    }
    for (size_t bin = 0; bin < NF_COARSE_BINS; bin++) {
        if (kind_of_bin(verify, bin) != NF_BIN_LIST) continue;
        longest = nf_max_size(longest, (size_t)bin_pairs(verify, bin));
    }
    nf_status status = nf_scratch(context, &verify->arena, bytes, 1, "fine counts of distances");
    if (status == NF_OK) {
        status = nf_scratch(context, &verify->place, slots, sizeof(nf_bin_place), "bins");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &verify->counts, 2 * NF_FINE_KEYS, sizeof(uint64_t),
                            "fine counts of distances");
    }
    if (status == NF_OK) status = nf_fine_begin(context, slots, verify->strip, &verify->fine);
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
        status = drain(context, verify);
        if (status == NF_OK) walk_bins(verify);
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
