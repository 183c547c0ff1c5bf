#include <math.h>

#include "eval/eval.h"

/* One worker's scratch for one query. */
typedef struct row_scratch {
    uint32_t *index; /* (references and a line) */
    nf_ranked *item, *spare;
    uint32_t *votes; /* (classes or labels), all 0 between queries */
    uint32_t *bins;
    float *guess; /* (classes) limits of their queries' nearest so far, 0 at first */
} row_scratch;

static size_t layout(const nf_eval_sets *sets, unsigned char *base, row_scratch *scratch) {
    const size_t rows = sets->reference.rows;
    const size_t votes = sets->relation != NULL ? sets->relation->labels : sets->classes;
    size_t sizes[6] = {(rows + NF_LINE) * sizeof(uint32_t),
                       rows * sizeof(nf_ranked),
                       rows * sizeof(nf_ranked),
                       votes * sizeof(uint32_t),
                       NF_RANK_BINS * sizeof(uint32_t),
                       sets->classes * sizeof(float)};
    unsigned char *slots[6];
    size_t used = 0;
    for (int s = 0; s < 6; s++) {
        slots[s] = base != NULL ? base + used : NULL;
        used += nf_round_up(sizes[s], NF_ALIGNMENT);
    }
    *scratch = (row_scratch){(void *)slots[0], (void *)slots[1], (void *)slots[2],
                             (void *)slots[3], (void *)slots[4], (void *)slots[5]};
    return used;
}

nf_status nf_retrieval_begin(nf_context *context, const nf_eval_sets *sets,
                             const nf_eval_options *options, nf_retrieval *retrieval) {
    size_t n = sets->query.rows;
    row_scratch unused;
    *retrieval = (nf_retrieval){.sets = sets,
                                .options = options,
                                .kernels = nf_kernels_get(context, sets->query.type),
                                .worker_bytes = layout(sets, NULL, &unused)};
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

/* How many references there are for a query, and how many of them are relevant. */
typedef struct row_facts {
    const uint8_t *related; /* (classes) whether they are, or NULL: only those of its own class */
    size_t present, relevant;
} row_facts;

static inline bool is_relevant(const row_facts *facts, uint32_t class, uint32_t other) {
    return facts->related != NULL ? facts->related[other] != 0 : other == class;
}

static row_facts facts_of(const nf_retrieval *retrieval, int worker, size_t i) {
    const nf_eval_sets *sets = retrieval->sets;
    const uint32_t class = sets->query_class[i];
    row_facts facts = {nf_eval_related(sets, worker, class), sets->reference.rows, 0};
    facts.relevant =
        sets->relation != NULL ? sets->relation->relevant[worker] : sets->class_rows[class];
    if (sets->self) {
        facts.present--;
        facts.relevant--;
    }
    for (size_t j = 0; sets->query_id != NULL && j < sets->reference.rows; j++) {
        if (sets->query_id[i] != sets->reference_id[j]) continue;
        facts.present--;
        facts.relevant -= is_relevant(&facts, class, sets->reference_class[j]);
    }
    return facts;
}

/* The nearest references of query i in order, `wanted` at least, which there are. */
static const nf_ranked *rank_nearest(const nf_retrieval *retrieval, const row_scratch *scratch,
                                     size_t i, nf_type type, const void *distance, size_t wanted,
                                     size_t excluded) {
    const nf_eval_sets *sets = retrieval->sets;
    const nf_row_values values = {retrieval->kernels, type, distance, sets->reference.rows,
                                  scratch->guess + sets->query_class[i]};
    const float *f = distance;
    const double *g = distance;
    size_t found = nf_list_smallest(&values, wanted + excluded, scratch->index), kept = 0;
    for (size_t p = 0; p < found; p++) {
        const uint32_t j = scratch->index[p];
        const uint64_t key = type == NF_FLOAT32 ? nf_key_f32(f[j]) : nf_key_f64(g[j]);
        scratch->item[kept] = (nf_ranked){key, j};
        kept += !nf_eval_excluded(sets, i, j);
    }
    return nf_sort_spread(scratch->item, scratch->spare, kept, scratch->bins);
}

/* Labels of a row that votes: with one label each its class. */
static size_t labels_of(const nf_eval_sets *sets, const uint32_t *class, const uint32_t **label) {
    *label = class;
    if (sets->relation == NULL) return 1;
    const size_t first = sets->relation->class_offset[*class];
    *label = sets->relation->class_label + first;
    return sets->relation->class_offset[*class + 1] - first;
}

/* The most frequent label among the nearest; of labels with equal counts the one that comes first. */
static uint32_t winner_of(const nf_eval_sets *sets, const nf_ranked *item, size_t count,
                          uint32_t *votes) {
    const uint32_t *label;
    uint32_t most = 0, winner = 0;
    for (size_t p = 0; p < count; p++) {
        const size_t labels = labels_of(sets, &sets->reference_class[item[p].index], &label);
        for (size_t l = 0; l < labels; l++) votes[label[l]]++;
    }
    for (size_t p = 0; p < count; p++) {
        const size_t labels = labels_of(sets, &sets->reference_class[item[p].index], &label);
        for (size_t l = 0; l < labels; l++) {
            if (votes[label[l]] <= most) continue;
            most = votes[label[l]];
            winner = label[l];
        }
    }
    for (size_t p = 0; p < count; p++) {
        const size_t labels = labels_of(sets, &sets->reference_class[item[p].index], &label);
        for (size_t l = 0; l < labels; l++) votes[label[l]] = 0;
    }
    return winner;
}

/* Whether the query has the label that wins. */
static bool vote(const nf_eval_sets *sets, size_t i, const nf_ranked *item, size_t count,
                 uint32_t *votes) {
    const uint32_t *label, winner = winner_of(sets, item, count, votes);
    const size_t labels = labels_of(sets, &sets->query_class[i], &label);
    bool has = false;
    for (size_t l = 0; l < labels; l++) has |= label[l] == winner;
    return has;
}

void nf_retrieval_row(nf_retrieval *retrieval, int worker, size_t i, nf_type type,
                      const void *distance) {
    const nf_eval_sets *sets = retrieval->sets;
    const row_facts facts = facts_of(retrieval, worker, i);
    row_scratch scratch;
    layout(sets, retrieval->scratch + (size_t)worker * retrieval->worker_bytes, &scratch);
    retrieval->dropped[i] = facts.relevant == 0;
    if (facts.relevant == 0) return;
    size_t wanted = nf_min_size(facts.present, nf_max_size(facts.relevant, retrieval->largest_k));
    const nf_ranked *item = rank_nearest(retrieval, &scratch, i, type, distance, wanted,
                                         sets->reference.rows - facts.present);
    uint32_t class = sets->query_class[i], first = 0;
    size_t hits = 0;
    double sum = 0;
    for (size_t p = 0; p < wanted; p++) {
        if (!is_relevant(&facts, class, sets->reference_class[item[p].index])) continue;
        if (first == 0) first = (uint32_t)p + 1;
        if (p >= facts.relevant) break; /* past R only the first hit counts */
        hits++;
        sum += (double)hits / (double)(p + 1);
    }
    retrieval->first[i] = first != 0 ? first : UINT32_MAX;
    retrieval->precision[i] = (double)hits / (double)facts.relevant;
    retrieval->average[i] = sum / (double)facts.relevant;
    retrieval->voted[i] =
        vote(sets, i, item, nf_min_size(wanted, retrieval->options->knn_k), scratch.votes);
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
