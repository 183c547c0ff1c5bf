#include "eval/eval.h"

#define NF_FINE_COUNTS ((size_t)65536 * 2) /* of one coarse bin */
#define NF_KEY_CHUNK 256

nf_eval_limits nf_eval_default_limits(void) {
    return (nf_eval_limits){.collect = (size_t)1 << 20,
                            .fine_bytes = (size_t)64 << 20,
                            .narrow = UINT32_MAX,
                            .strip_elements = (size_t)1 << 22};
}

/* ---- places --------------------------------------------------------------------------------- */

static uint64_t all_pairs(const nf_eval_sets *sets) {
    uint64_t n = sets->query.rows;
    return sets->self ? sets->positive_pairs + sets->negative_pairs
                      : n * (uint64_t)sets->reference.rows;
}

static size_t pair_place(const nf_eval_sets *sets, size_t i, size_t j) {
    return sets->self ? (size_t)nf_pair_rank(sets->query.rows, i, j)
                      : i * sets->reference.rows + j;
}

nf_status nf_verify_begin(nf_context *context, const nf_eval_sets *sets, nf_eval_limits limits,
                          nf_verify *verify) {
    *verify = (nf_verify){.sets = sets, .limits = limits, .mode = NF_VERIFY_COARSE};
    uint64_t pairs = all_pairs(sets);
    if (pairs <= limits.collect) {
        verify->mode = NF_VERIFY_COLLECT;
        verify->pairs = (size_t)pairs;
        nf_status status = nf_scratch(context, &verify->pair, verify->pairs, sizeof(nf_ranked),
                                      "distances of all pairs");
        if (status != NF_OK) return status;
        return nf_scratch(context, &verify->spare, verify->pairs, sizeof(nf_ranked),
                          "distances of all pairs");
    }
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
        status = nf_scratch(context, &verify->slot, NF_COARSE_BINS, sizeof(uint32_t), "bins");
    }
    if (status != NF_OK) return status;
    memset(verify->coarse, 0, counts * sizeof(uint64_t));
    memset(verify->local, 0, workers * counts * sizeof(uint32_t));
    memset(verify->refined, 0, NF_COARSE_BINS * sizeof(bool));
    return NF_OK;
}

/* ---- taking distances ----------------------------------------------------------------------- */

static void collect(nf_verify *verify, size_t i, size_t j, size_t count, const uint32_t *key) {
    const nf_eval_sets *sets = verify->sets;
    for (size_t c = 0; c < count; c++) {
        bool same = sets->reference_class[j + c] == sets->query_class[i];
        verify->pair[pair_place(sets, i, j + c)] =
            nf_eval_excluded(sets, i, j + c) ? (nf_ranked){NF_KEY_EXCLUDED, 0}
                                             : (nf_ranked){key[c], same};
    }
}

static void count_coarse(nf_verify *verify, uint32_t *local, size_t i, size_t j, size_t count,
                         const uint32_t *key) {
    const nf_eval_sets *sets = verify->sets;
    uint32_t class = sets->query_class[i];
    for (size_t c = 0; c < count; c++) {
        if (nf_eval_excluded(sets, i, j + c)) continue;
        local[(key[c] >> 16) * 2 + (sets->reference_class[j + c] == class)]++;
    }
}

static void count_fine(nf_verify *verify, size_t i, size_t j, size_t count, const uint32_t *key) {
    const nf_eval_sets *sets = verify->sets;
    uint32_t class = sets->query_class[i];
    for (size_t c = 0; c < count; c++) {
        uint32_t slot = verify->slot[key[c] >> 16];
        if (slot == 0 || nf_eval_excluded(sets, i, j + c)) continue;
        size_t at = (size_t)(slot - 1) * NF_FINE_COUNTS + (size_t)(key[c] & 0xFFFF) * 2 +
                    (sets->reference_class[j + c] == class);
        if (verify->wide) {
            _Atomic uint64_t *fine = verify->fine;
            atomic_fetch_add_explicit(&fine[at], 1, memory_order_relaxed);
        } else {
            _Atomic uint32_t *fine = verify->fine;
            atomic_fetch_add_explicit(&fine[at], 1, memory_order_relaxed);
        }
    }
}

void nf_verify_row(nf_verify *verify, int worker, size_t i, size_t first, size_t count,
                   nf_type type, const void *distance) {
    uint32_t key[NF_KEY_CHUNK];
    const float *f = distance;
    const double *g = distance;
    for (size_t done = 0; done < count; done += NF_KEY_CHUNK) {
        size_t size = nf_min_size(NF_KEY_CHUNK, count - done), j = first + done;
        if (type == NF_FLOAT32) {
            for (size_t c = 0; c < size; c++) key[c] = nf_key_f32(f[done + c]);
        } else {
            for (size_t c = 0; c < size; c++) key[c] = nf_key_f32((float)g[done + c]);
        }
        switch (verify->mode) {
        case NF_VERIFY_COLLECT: collect(verify, i, j, size, key); break;
        case NF_VERIFY_COARSE:
            count_coarse(verify, verify->local + (size_t)worker * NF_COARSE_BINS * 2, i, j, size,
                         key);
            break;
        case NF_VERIFY_FINE: count_fine(verify, i, j, size, key); break;
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
    for (size_t p = 0; p < kept;) {
        uint64_t key = verify->pair[p].key, here[2] = {0, 0};
        for (; p < kept && verify->pair[p].key == key; p++) here[verify->pair[p].index]++;
        nf_curve_add(&verify->curve, nf_key_f32_value((uint32_t)key), here[1], here[0]);
    }
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

static bool is_wide(const nf_verify *verify, size_t bin) {
    return verify->coarse[2 * bin] + verify->coarse[2 * bin + 1] >= verify->limits.narrow;
}

/* The next refined bins, as many of one width as fit: returns how many, *end the bin after. */
static size_t next_group(const nf_verify *verify, size_t begin, bool *wide, size_t *end) {
    size_t taken = 0, most = 1, bin = begin;
    *wide = false;
    for (; bin < NF_COARSE_BINS; bin++) {
        if (!verify->refined[bin]) continue;
        if (taken == 0) {
            *wide = is_wide(verify, bin);
            size_t bytes = NF_FINE_COUNTS * (*wide ? sizeof(uint64_t) : sizeof(uint32_t));
            most = nf_max_size(verify->limits.fine_bytes / bytes, 1);
        } else if (taken == most || is_wide(verify, bin) != *wide) {
            break;
        }
        taken++;
    }
    *end = bin;
    return taken;
}

size_t nf_verify_passes_left(const nf_verify *verify) {
    size_t passes = 0, begin = verify->bins_done;
    bool wide;
    if (verify->mode != NF_VERIFY_FINE) return 0;
    while (next_group(verify, begin, &wide, &begin) > 0) passes++;
    return passes;
}

static uint64_t fine_count(const nf_verify *verify, size_t at) {
    _Atomic uint64_t *wide = verify->fine;
    _Atomic uint32_t *narrow = verify->fine;
    return verify->wide ? atomic_load_explicit(&wide[at], memory_order_relaxed)
                        : atomic_load_explicit(&narrow[at], memory_order_relaxed);
}

/* Bins [bins_done, bins_end) to the curve. */
static void walk_bins(nf_verify *verify) {
    for (size_t bin = verify->bins_done; bin < verify->bins_end; bin++) {
        if (!verify->refined[bin]) {
            nf_curve_skip(&verify->curve, verify->coarse[2 * bin + 1], verify->coarse[2 * bin]);
            continue;
        }
        size_t base = (size_t)(verify->slot[bin] - 1) * NF_FINE_COUNTS;
        for (size_t low = 0; low < 65536; low++) {
            uint64_t negatives = fine_count(verify, base + 2 * low);
            uint64_t positives = fine_count(verify, base + 2 * low + 1);
            if (negatives == 0 && positives == 0) continue;
            float distance = nf_key_f32_value((uint32_t)(bin << 16 | low));
            nf_curve_add(&verify->curve, distance, positives, negatives);
        }
    }
    verify->bins_done = verify->bins_end;
}

/* Lay out the next pass; *again is false when no refined bin is left. */
static void prepare_pass(nf_verify *verify, bool *again) {
    size_t taken = next_group(verify, verify->bins_done, &verify->wide, &verify->bins_end);
    *again = taken > 0;
    if (!*again) {
        walk_bins(verify); /* what is left has one side only */
        return;
    }
    memset(verify->slot, 0, NF_COARSE_BINS * sizeof *verify->slot);
    uint32_t slot = 0;
    for (size_t bin = verify->bins_done; bin < verify->bins_end; bin++) {
        if (verify->refined[bin]) verify->slot[bin] = ++slot;
    }
    size_t element = verify->wide ? sizeof(uint64_t) : sizeof(uint32_t);
    memset(verify->fine, 0, taken * NF_FINE_COUNTS * element);
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
    size_t largest = 0, begin = 0, taken;
    bool wide;
    while ((taken = next_group(verify, begin, &wide, &begin)) > 0) {
        largest = nf_max_size(largest, taken * (wide ? sizeof(uint64_t) : sizeof(uint32_t)));
    }
    return nf_scratch(context, &verify->fine, largest, NF_FINE_COUNTS, "fine counts of distances");
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
