#include "nearfar/pairs.h"

#include "base/base.h"
#include "base/random.h"
#include "pairs/pairs.h"

nf_batch_options nf_batch_defaults(void) {
    return (nf_batch_options){
        .kind = NF_BATCH_M_PER_CLASS, .batch_size = 128, .per_class = 4, .seed = 0, .epoch = 0};
}

static nf_status check_options(nf_context *context, const nf_batch_options *options) {
    if (options->kind != NF_BATCH_ALL && options->kind != NF_BATCH_RANDOM &&
        options->kind != NF_BATCH_M_PER_CLASS) {
        return nf_fail(context, NF_ERR_ARG, "kind is %d: it must be an nf_batch_kind",
                       (int)options->kind);
    }
    if (options->kind == NF_BATCH_ALL) return NF_OK;
    if (options->batch_size < 2) {
        return nf_fail(context, NF_ERR_ARG,
                       "batch_size is %zu: it must be at least 2, a batch of one row has no pair",
                       options->batch_size);
    }
    if (options->kind != NF_BATCH_M_PER_CLASS) return NF_OK;
    if (options->per_class < 1 || options->per_class > options->batch_size) {
        return nf_fail(context, NF_ERR_ARG,
                       "per_class is %zu: it must be from 1 to batch_size (%zu)",
                       options->per_class, options->batch_size);
    }
    return NF_OK;
}

/* Batches of about batch_size rows: a last one shorter than half is not made. */
static size_t count_batches(const nf_batch_options *options, size_t rows) {
    if (rows == 0) return 0;
    if (options->kind == NF_BATCH_ALL) return 1;
    size_t whole = rows / options->batch_size, rest = rows % options->batch_size;
    return nf_max_size(1, whole + (rest >= options->batch_size - rest));
}

static void list_labelled(const nf_partition *partition, size_t *row) {
    size_t at = 0;
    for (size_t r = 0; r < partition->n; r++) {
        if (partition->class_of[r] >= 0) row[at++] = r;
    }
}

/* Runs of batch_size rows; the last one takes what is left. */
static void cut_runs(const nf_batch_options *options, size_t rows, size_t batches, size_t *offset) {
    for (size_t b = 0; b < batches; b++) offset[b] = b * options->batch_size;
    offset[batches] = rows;
}

/* ---- m per class ---------------------------------------------------------------------------- */

/* Batches by rows dealt so far, least first; equal ones in random order, drawn anew each time. */
typedef struct deal_entry {
    size_t load;
    uint64_t tie;
    size_t batch;
} deal_entry;

typedef struct deal {
    deal_entry *heap; /* (batches) binary heap */
    size_t heap_size, batches;
    size_t *batch_of; /* (labelled) batch of each place in `row` */
    uint64_t seed, stream, ties;
    deal_entry *taken; /* (batches) entries out of the heap */
} deal;

static bool before(const deal_entry *a, const deal_entry *b) {
    if (a->load != b->load) return a->load < b->load;
    if (a->tie != b->tie) return a->tie < b->tie;
    return a->batch < b->batch;
}

static void heap_push(deal *d, deal_entry entry) {
    entry.tie = nf_random(d->seed, d->stream, d->ties++);
    size_t at = d->heap_size++;
    for (; at > 0 && before(&entry, &d->heap[(at - 1) / 2]); at = (at - 1) / 2) {
        d->heap[at] = d->heap[(at - 1) / 2];
    }
    d->heap[at] = entry;
}

static deal_entry heap_pop(deal *d) {
    deal_entry least = d->heap[0], last = d->heap[--d->heap_size];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < d->heap_size) {
        if (child + 1 < d->heap_size && before(&d->heap[child + 1], &d->heap[child])) child++;
        if (!before(&d->heap[child], &last)) break;
        d->heap[at] = d->heap[child];
        at = child;
    }
    d->heap[at] = last;
    return least;
}

/* One group to each of the least loaded batches, at most one per batch; the short group, if it is
 * among them, comes last and so goes to the fullest. Loads then never differ by more than m rows,
 * and a class is never twice in a batch while another batch lacks it. */
static void deal_groups(deal *d, size_t begin, size_t end, size_t m) {
    size_t taken = 0;
    for (size_t at = begin; at < end; at += m, taken++) {
        size_t size = nf_min_size(m, end - at);
        deal_entry entry = heap_pop(d);
        for (size_t k = 0; k < size; k++) d->batch_of[at + k] = entry.batch;
        entry.load += size;
        d->taken[taken] = entry;
    }
    for (size_t k = 0; k < taken; k++) heap_push(d, d->taken[k]);
}

/* Places begin .. end of one class, in rounds of one group per batch. */
static void deal_class(deal *d, size_t begin, size_t end, size_t m) {
    while (begin < end) {
        size_t rows = end - begin;
        if (rows / m >= d->batches) rows = d->batches * m;
        deal_groups(d, begin, begin + rows, m);
        begin += rows;
    }
}

/* Counting sort of the rows by batch, in the order they were dealt: class by class. */
static void sort_by_batch(const deal *d, const nf_partition *partition, const size_t *order,
                          const size_t *shuffled, size_t *offset, size_t *row) {
    for (size_t b = 0; b <= d->batches; b++) offset[b] = 0;
    for (size_t p = 0; p < partition->labelled; p++) offset[d->batch_of[p] + 1]++;
    for (size_t b = 0; b < d->batches; b++) offset[b + 1] += offset[b];
    for (size_t k = 0; k < partition->classes; k++) {
        size_t c = order[k];
        for (size_t p = partition->offset[c]; p < partition->offset[c + 1]; p++) {
            row[offset[d->batch_of[p]]++] = shuffled[p];
        }
    }
    for (size_t b = d->batches; b > 0; b--) offset[b] = offset[b - 1];
    offset[0] = 0;
}

static nf_status deal_classes(nf_context *context, const nf_partition *partition,
                              const nf_batch_options *options, uint64_t stream, size_t batches,
                              size_t *offset, size_t *row) {
    deal d = {.batches = batches, .seed = options->seed, .stream = nf_random_stream(stream, 1)};
    size_t *order = NULL, *shuffled = NULL;
    nf_status status =
        nf_scratch(context, &order, partition->classes, sizeof *order, "order of classes");
    if (status == NF_OK) {
        status =
            nf_scratch(context, &shuffled, partition->labelled, sizeof *shuffled, "shuffled rows");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &d.batch_of, partition->labelled, sizeof *d.batch_of,
                            "batch of each row");
    }
    if (status == NF_OK) status = nf_scratch(context, &d.heap, batches, sizeof *d.heap, "batches");
    if (status == NF_OK) {
        status = nf_scratch(context, &d.taken, batches, sizeof *d.taken, "batches");
    }
    if (status != NF_OK) return status;
    for (size_t b = 0; b < batches; b++) heap_push(&d, (deal_entry){.load = 0, .batch = b});
    for (size_t c = 0; c < partition->classes; c++) order[c] = c;
    nf_random_shuffle(options->seed, nf_random_stream(stream, 0), order, partition->classes);
    for (size_t p = 0; p < partition->labelled; p++) shuffled[p] = partition->row[p];
    for (size_t k = 0; k < partition->classes; k++) {
        size_t c = order[k], begin = partition->offset[c], end = partition->offset[c + 1];
        nf_random_shuffle(options->seed, nf_random_stream(stream, 2 + (uint64_t)c),
                          shuffled + begin, end - begin);
        deal_class(&d, begin, end, options->per_class);
    }
    sort_by_batch(&d, partition, order, shuffled, offset, row);
    return NF_OK;
}

/* ---- one epoch ------------------------------------------------------------------------------ */

static nf_status build(nf_context *context, const nf_partition *partition,
                       const nf_batch_options *options, nf_batches **out) {
    size_t rows = partition->labelled, batches = count_batches(options, rows);
    uint64_t stream = nf_random_stream(NF_STREAM_BATCHES, options->epoch);
    char *block;
    nf_status status =
        nf_allocate(context, &block, sizeof(nf_batches) + 8 * (batches + 1 + rows), 1, "batches");
    if (status != NF_OK) return status;
    nf_batches *made = (nf_batches *)(void *)block;
    size_t *offset = (size_t *)(void *)(block + sizeof *made), *row = offset + batches + 1;
    if (options->kind == NF_BATCH_M_PER_CLASS && batches > 0) {
        status = deal_classes(context, partition, options, stream, batches, offset, row);
    } else {
        list_labelled(partition, row);
        if (options->kind == NF_BATCH_RANDOM) nf_random_shuffle(options->seed, stream, row, rows);
        cut_runs(options, rows, batches, offset);
    }
    if (status != NF_OK) {
        nf_release(context, block);
        return status;
    }
    *made = (nf_batches){batches, offset, row};
    *out = made;
    return NF_OK;
}

nf_status nf_batches_create(nf_context *context, const nf_partition *partition,
                            const nf_batch_options *options, nf_batches **batches) {
    nf_scope scope = nf_scope_enter(context);
    nf_batch_options chosen = options != NULL ? *options : nf_batch_defaults();
    nf_status status = check_options(context, &chosen);
    if (status == NF_OK) status = build(context, partition, &chosen, batches);
    return nf_scope_leave(context, scope, status);
}

void nf_batches_free(nf_context *context, nf_batches *batches) { nf_release(context, batches); }
