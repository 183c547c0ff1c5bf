#include <math.h>

#include "eval/eval.h"

/* One worker's scratch for one query. */
typedef struct row_scratch {
    uint64_t *key; /* (references) */
    nf_ranked *item, *spare;
    uint32_t *votes; /* (classes), all 0 between queries */
    uint32_t *bins;
} row_scratch;

static size_t layout(const nf_eval_sets *sets, unsigned char *base, row_scratch *scratch) {
    size_t rows = sets->reference.rows;
    size_t sizes[5] = {rows * sizeof(uint64_t), rows * sizeof(nf_ranked), rows * sizeof(nf_ranked),
                       sets->classes * sizeof(uint32_t), NF_RANK_BINS * sizeof(uint32_t)};
    unsigned char *slots[5];
    size_t used = 0;
    for (int s = 0; s < 5; s++) {
        slots[s] = base != NULL ? base + used : NULL;
        used += nf_round_up(sizes[s], NF_ALIGNMENT);
    }
    *scratch = (row_scratch){(void *)slots[0], (void *)slots[1], (void *)slots[2], (void *)slots[3],
                             (void *)slots[4]};
    return used;
}

nf_status nf_retrieval_begin(nf_context *context, const nf_eval_sets *sets,
                             const nf_eval_options *options, nf_retrieval *retrieval) {
    size_t n = sets->query.rows;
    row_scratch unused;
    *retrieval = (nf_retrieval){
        .sets = sets, .options = options, .worker_bytes = layout(sets, NULL, &unused)};
    retrieval->largest_k = options->knn_k;
    for (size_t q = 0; q < options->k_count; q++) {
        retrieval->largest_k = nf_max_size(retrieval->largest_k, options->k[q]);
    }
    nf_status status = nf_scratch(context, &retrieval->dropped, n, sizeof(bool), "queries");
    if (status == NF_OK) {
        status = nf_scratch(context, &retrieval->first, n, sizeof(uint32_t), "queries");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &retrieval->precision, n, sizeof(double), "queries");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &retrieval->average, n, sizeof(double), "queries");
    }
    if (status == NF_OK)
        status = nf_scratch(context, &retrieval->voted, n, sizeof(bool), "queries");
    size_t workers = (size_t)context->threads;
    if (status == NF_OK) {
        status =
            nf_scratch(context, &retrieval->scratch, workers, retrieval->worker_bytes, "rankings");
    }
    if (status == NF_OK) memset(retrieval->scratch, 0, workers * retrieval->worker_bytes);
    return status;
}

typedef struct row_facts {
    size_t present, relevant;
    uint64_t low, high;
} row_facts;

static void facts_of_range(const nf_eval_sets *sets, uint32_t class, const uint64_t *key,
                           size_t begin, size_t end, row_facts *facts) {
    for (size_t j = begin; j < end; j++) {
        facts->relevant += sets->reference_class[j] == class;
        facts->low = key[j] < facts->low ? key[j] : facts->low;
        facts->high = key[j] > facts->high ? key[j] : facts->high;
    }
    facts->present += end - begin;
}

static row_facts make_keys(const nf_eval_sets *sets, size_t i, nf_type type, const void *distance,
                           uint64_t *key) {
    size_t count = sets->reference.rows, begin = 0;
    const float *f = distance;
    const double *g = distance;
    for (size_t j = 0; j < count && type == NF_FLOAT32; j++) key[j] = nf_key_f32(f[j]);
    for (size_t j = 0; j < count && type == NF_FLOAT64; j++) key[j] = nf_key_f64(g[j]);
    row_facts facts = {0, 0, UINT64_MAX, 0};
    size_t first = sets->self ? i : 0;
    size_t last = sets->self ? i + 1 : sets->query_id != NULL ? count : 0;
    for (size_t j = first; j < last; j++) { /* where something may be excluded */
        if (!nf_eval_excluded(sets, i, j)) continue;
        facts_of_range(sets, sets->query_class[i], key, begin, j, &facts);
        key[j] = NF_KEY_EXCLUDED;
        begin = j + 1;
    }
    facts_of_range(sets, sets->query_class[i], key, begin, count, &facts);
    return facts;
}

/* Whether the most frequent class among the nearest is the query's; of classes with equal counts,
 * the one that comes first. */
static bool vote(const nf_eval_sets *sets, uint32_t class, const nf_ranked *item, size_t count,
                 uint32_t *votes) {
    for (size_t p = 0; p < count; p++) votes[sets->reference_class[item[p].index]]++;
    uint32_t most = 0, winner = 0;
    for (size_t p = 0; p < count; p++) {
        uint32_t candidate = sets->reference_class[item[p].index];
        if (votes[candidate] > most) {
            most = votes[candidate];
            winner = candidate;
        }
    }
    for (size_t p = 0; p < count; p++) votes[sets->reference_class[item[p].index]] = 0;
    return winner == class;
}

void nf_retrieval_row(nf_retrieval *retrieval, int worker, size_t i, nf_type type,
                      const void *distance) {
    const nf_eval_sets *sets = retrieval->sets;
    row_scratch scratch;
    layout(sets, retrieval->scratch + (size_t)worker * retrieval->worker_bytes, &scratch);
    row_facts facts = make_keys(sets, i, type, distance, scratch.key);
    retrieval->dropped[i] = facts.relevant == 0;
    if (facts.relevant == 0) return;
    size_t wanted = nf_min_size(facts.present, nf_max_size(facts.relevant, retrieval->largest_k));
    nf_rank_nearest(scratch.key, sets->reference.rows, facts.present, facts.low, facts.high, wanted,
                    scratch.item, scratch.spare, scratch.bins);
    uint32_t class = sets->query_class[i], first = 0;
    size_t hits = 0;
    double sum = 0;
    for (size_t p = 0; p < wanted; p++) {
        if (sets->reference_class[scratch.item[p].index] != class) continue;
        if (first == 0) first = (uint32_t)p + 1;
        if (p >= facts.relevant) break; /* past R only the first hit counts */
        hits++;
        sum += (double)hits / (double)(p + 1);
    }
    retrieval->first[i] = first != 0 ? first : UINT32_MAX;
    retrieval->precision[i] = (double)hits / (double)facts.relevant;
    retrieval->average[i] = sum / (double)facts.relevant;
    retrieval->voted[i] = vote(sets, class, scratch.item,
                               nf_min_size(wanted, retrieval->options->knn_k), scratch.votes);
}

void nf_retrieval_result(const nf_retrieval *retrieval, nf_eval_result *result) {
    const nf_eval_options *options = retrieval->options;
    size_t n = retrieval->sets->query.rows, queries = 0, voted = 0, hits[NF_EVAL_MAX_K] = {0};
    double precision = 0, average = 0;
    for (size_t i = 0; i < n; i++) {
        if (retrieval->dropped[i]) continue;
        queries++;
        voted += retrieval->voted[i];
        precision += retrieval->precision[i];
        average += retrieval->average[i];
        for (size_t q = 0; q < options->k_count; q++)
            hits[q] += retrieval->first[i] <= options->k[q];
    }
    result->queries = queries;
    result->dropped = n - queries;
    if (queries == 0) return;
    for (size_t q = 0; q < options->k_count; q++) {
        result->recall[q] = (double)hits[q] / (double)queries;
    }
    result->r_precision = precision / (double)queries;
    result->map_at_r = average / (double)queries;
    result->knn_accuracy = (double)voted / (double)queries;
}
