#include "nearfar/pairs.h"

#include <inttypes.h>
#include <string.h>

#include "base/base.h"
#include "pairs/pairs.h"

/* Open-addressing hash from label to class number. The key of the mixing function is folded from
 * the labels themselves, so a fixed list of labels that collide under one key is of no use. */
typedef struct label_table {
    size_t *slot; /* class + 1; 0: free */
    size_t mask;
    uint64_t key;
} label_table;

/* Finaliser of MurmurHash3 (Appleby): every input bit changes every output bit. */
static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 33) * 0xFF51AFD7ED558CCDu;
    x = (x ^ x >> 33) * 0xC4CEB9FE1A85EC53u;
    return x ^ x >> 33;
}

static size_t *find_slot(const label_table *table, const int64_t *class_label, int64_t label) {
    size_t at = (size_t)mix((uint64_t)label ^ table->key) & table->mask;
    while (table->slot[at] != 0 && class_label[table->slot[at] - 1] != label) {
        at = (at + 1) & table->mask;
    }
    return &table->slot[at];
}

/* A table of twice the size holding the classes so far; the old one is scratch and freed with it. */
static nf_status grow(nf_context *context, label_table *table, const int64_t *class_label,
                      size_t classes) {
    size_t size = 2 * (table->mask + 1);
    nf_status status = nf_scratch(context, &table->slot, size, sizeof *table->slot, "label table");
    if (status != NF_OK) return status;
    memset(table->slot, 0, size * sizeof *table->slot);
    table->mask = size - 1;
    for (size_t c = 0; c < classes; c++) *find_slot(table, class_label, class_label[c]) = c + 1;
    return NF_OK;
}

nf_status nf_labels_check(nf_context *context, nf_labels labels, const char *name) {
    if (labels.n > NF_MAX_ROWS) {
        return nf_fail(context, NF_ERR_RANGE,
                       "%s has %zu rows: 64-bit pair counts hold for at most 2^32 - 1", name,
                       labels.n);
    }
    if (labels.data == NULL && labels.n > 0) {
        return nf_fail(context, NF_ERR_ARG, "%s has %zu rows but no data: pass a pointer to it",
                       name, labels.n);
    }
    if (!labels.has_unlabelled) return NF_OK;
    bool minus = false, plus = false;
    for (size_t r = 0; r < labels.n; r++) {
        if (labels.data[r] != -1 && labels.data[r] != 1) return NF_OK;
        minus |= labels.data[r] == -1;
        plus |= labels.data[r] == 1;
    }
    if (!minus || !plus) return NF_OK;
    return nf_fail(
        context, NF_ERR_DATA,
        "%s are exactly -1 and +1 while -1 means unlabelled, so half of them would vanish: "
        "set has_unlabelled = 0 if -1 is a class, or number the classes from 0",
        name);
}

/* Class number of each row (-1: unlabelled) and the label of each class, by first appearance. */
static nf_status number_classes(nf_context *context, nf_labels labels, int64_t *class_of,
                                int64_t *class_label, size_t *classes) {
    label_table table = {NULL, 31, 0};
    for (size_t r = 0; r < labels.n; r++) table.key = mix(table.key + (uint64_t)labels.data[r]) + r;
    nf_status status = grow(context, &table, class_label, 0);
    *classes = 0;
    for (size_t r = 0; r < labels.n && status == NF_OK; r++) {
        int64_t label = labels.data[r];
        if (labels.has_unlabelled && label == -1) {
            class_of[r] = -1;
            continue;
        }
        size_t *slot = find_slot(&table, class_label, label);
        if (*slot == 0) {
            class_label[*classes] = label;
            *slot = ++*classes;
        }
        class_of[r] = (int64_t)(*slot - 1);
        /* At most half full, so that probes stay short. */
        if (2 * *classes > table.mask) status = grow(context, &table, class_label, *classes);
    }
    return status;
}

/* n (n - 1) / 2 without overflow for n <= 2^32. */
static uint64_t pairs_of(uint64_t n) { return n % 2 == 0 ? n / 2 * (n - 1) : (n - 1) / 2 * n; }

/* Counting sort of the rows by class; fills the counts. `offset` has classes + 1 elements. */
static void sort_rows(nf_partition *partition, size_t *offset, size_t *row) {
    memset(offset, 0, (partition->classes + 1) * sizeof *offset);
    for (size_t r = 0; r < partition->n; r++) {
        if (partition->class_of[r] >= 0) offset[partition->class_of[r] + 1]++;
    }
    for (size_t c = 0; c < partition->classes; c++) {
        uint64_t count = offset[c + 1];
        partition->positive_pairs += pairs_of(count);
        partition->singletons += count == 1;
        offset[c + 1] += offset[c];
    }
    partition->labelled = offset[partition->classes];
    partition->negative_pairs = pairs_of(partition->labelled) - partition->positive_pairs;
    /* offset[c] serves as the cursor of class c and ends as the start of class c + 1. */
    for (size_t r = 0; r < partition->n; r++) {
        if (partition->class_of[r] >= 0) row[offset[partition->class_of[r]]++] = r;
    }
    for (size_t c = partition->classes; c > 0; c--) offset[c] = offset[c - 1];
    offset[0] = 0;
}

/* One block: the struct, then label, class_of (int64), offset, row (size_t). */
static nf_status build(nf_context *context, const int64_t *class_of, size_t n,
                       const int64_t *class_label, size_t classes, bool scratch,
                       nf_partition **partition) {
    size_t words = 2 * n + 2 * classes + 1; /* n <= 2^32 and classes <= n: no overflow */
    char *block;
    nf_status status = (scratch ? nf_scratch : nf_allocate)(
        context, &block, nf_round_up(sizeof(nf_partition), 8) + 8 * words, 1,
        "partition of the labels");
    if (status != NF_OK) return status;
    nf_partition *made = (nf_partition *)(void *)block;
    int64_t *label = (int64_t *)(void *)(block + nf_round_up(sizeof *made, 8));
    int64_t *of = label + classes;
    size_t *offset = (size_t *)(void *)(of + n);
    size_t *row = offset + classes + 1;
    if (classes > 0) memcpy(label, class_label, classes * sizeof *label);
    if (n > 0) memcpy(of, class_of, n * sizeof *of);
    *made = (nf_partition){
        .n = n, .classes = classes, .label = label, .offset = offset, .row = row, .class_of = of};
    sort_rows(made, offset, row);
    *partition = made;
    return NF_OK;
}

static nf_status make(nf_context *context, nf_labels labels, bool scratch,
                      nf_partition **partition) {
    int64_t *class_of = NULL, *class_label = NULL;
    size_t classes = 0;
    nf_status status = nf_labels_check(context, labels, "labels");
    if (status == NF_OK) {
        status = nf_scratch(context, &class_of, labels.n, sizeof *class_of, "class of each row");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &class_label, labels.n, sizeof *class_label, "class labels");
    }
    if (status == NF_OK) {
        status = number_classes(context, labels, class_of, class_label, &classes);
    }
    if (status == NF_OK) {
        status = build(context, class_of, labels.n, class_label, classes, scratch, partition);
    }
    return status;
}

nf_status nf_partition_create(nf_context *context, nf_labels labels, nf_partition **partition) {
    nf_scope scope = nf_scope_enter(context);
    return nf_scope_leave(context, scope, make(context, labels, false, partition));
}

nf_status nf_partition_scratch(nf_context *context, nf_labels labels, nf_partition **partition) {
    return make(context, labels, true, partition);
}

void nf_partition_free(nf_context *context, nf_partition *partition) {
    nf_release(context, partition);
}
