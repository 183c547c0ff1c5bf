#include "pairs/pairs.h"

static nf_status list_labelled(nf_context *context, nf_pair_walk *walk) {
    size_t *labelled, at = 0;
    nf_status status = nf_scratch(context, &labelled, walk->partition->labelled, sizeof *labelled,
                                  "labelled rows");
    if (status != NF_OK) return status;
    for (size_t r = 0; r < walk->partition->n; r++) {
        if (walk->partition->class_of[r] >= 0) labelled[at++] = r;
    }
    walk->labelled = labelled;
    return NF_OK;
}

/* skip[p]: first position after p whose class is not that of p. Jumping over runs of one class keeps
 * the cost of finding negatives in proportion to their number: after a run there is always one. */
static nf_status list_skips(nf_context *context, nf_pair_walk *walk) {
    size_t count = walk->partition->labelled, *skip;
    nf_status status = nf_scratch(context, &skip, count, sizeof *skip, "class runs");
    if (status != NF_OK) return status;
    const int64_t *class_of = walk->partition->class_of;
    for (size_t p = count; p-- > 0;) {
        bool same = p + 1 < count && class_of[walk->labelled[p]] == class_of[walk->labelled[p + 1]];
        skip[p] = same ? skip[p + 1] : p + 1;
    }
    walk->skip = skip;
    return NF_OK;
}

static nf_status list_places(nf_context *context, nf_pair_walk *walk) {
    const nf_partition *partition = walk->partition;
    size_t *place, *cursor;
    nf_status status =
        nf_scratch(context, &place, partition->labelled, sizeof *place, "places of rows");
    if (status == NF_OK) {
        status = nf_scratch(context, &cursor, partition->classes, sizeof *cursor, "class cursors");
    }
    if (status != NF_OK) return status;
    for (size_t c = 0; c < partition->classes; c++) cursor[c] = partition->offset[c];
    for (size_t p = 0; p < partition->labelled; p++) {
        place[p] = cursor[partition->class_of[walk->labelled[p]]]++;
    }
    walk->place = place;
    return NF_OK;
}

nf_status nf_pair_walk_begin(nf_context *context, const nf_partition *partition, nf_pair_kind kind,
                             nf_pair_walk *walk, uint64_t *total) {
    if (kind != NF_PAIRS_POSITIVE && kind != NF_PAIRS_NEGATIVE && kind != NF_PAIRS_BOTH) {
        return nf_fail(context, NF_ERR_ARG,
                       "kind is %d: it must be NF_PAIRS_POSITIVE, NF_PAIRS_NEGATIVE or "
                       "NF_PAIRS_BOTH",
                       (int)kind);
    }
    *walk = (nf_pair_walk){.partition = partition, .kind = kind};
    *total = (kind & NF_PAIRS_POSITIVE ? partition->positive_pairs : 0) +
             (kind & NF_PAIRS_NEGATIVE ? partition->negative_pairs : 0);
    nf_status status = list_labelled(context, walk);
    if (status == NF_OK && kind == NF_PAIRS_NEGATIVE) status = list_skips(context, walk);
    if (status == NF_OK && kind == NF_PAIRS_POSITIVE) status = list_places(context, walk);
    if (status == NF_OK && partition->labelled > 0) {
        walk->second = kind == NF_PAIRS_POSITIVE ? walk->place[0] + 1 : 1;
    }
    return status;
}

/* Pairs of the current first row, from its `second` on; returns how many were written. */
static size_t positives_of_row(nf_pair_walk *walk, size_t capacity, int64_t *i, int64_t *j) {
    const nf_partition *partition = walk->partition;
    size_t row = walk->labelled[walk->first];
    size_t end = partition->offset[partition->class_of[row] + 1], count = 0;
    for (; walk->second < end && count < capacity; walk->second++, count++) {
        i[count] = (int64_t)row;
        j[count] = (int64_t)partition->row[walk->second];
    }
    if (walk->second == end && ++walk->first < partition->labelled) {
        walk->second = walk->place[walk->first] + 1;
    }
    return count;
}

static size_t others_of_row(nf_pair_walk *walk, size_t capacity, int64_t *i, int64_t *j,
                            uint8_t *same) {
    const nf_partition *partition = walk->partition;
    size_t row = walk->labelled[walk->first], count = 0;
    int64_t class = partition->class_of[row];
    while (walk->second < partition->labelled && count < capacity) {
        size_t other = walk->labelled[walk->second];
        bool positive = partition->class_of[other] == class;
        if (positive && walk->skip != NULL) {
            walk->second = walk->skip[walk->second];
            continue;
        }
        i[count] = (int64_t)row;
        j[count] = (int64_t)other;
        if (same != NULL) same[count] = positive;
        count++;
        walk->second++;
    }
    if (walk->second == partition->labelled) walk->second = ++walk->first + 1;
    return count;
}

size_t nf_pair_walk_next(nf_pair_walk *walk, size_t capacity, int64_t *i, int64_t *j,
                         uint8_t *same) {
    size_t count = 0;
    while (count < capacity && walk->first < walk->partition->labelled) {
        size_t left = capacity - count;
        if (walk->kind == NF_PAIRS_POSITIVE) {
            size_t added = positives_of_row(walk, left, i + count, j + count);
            for (size_t p = 0; same != NULL && p < added; p++) same[count + p] = 1;
            count += added;
        } else {
            count +=
                others_of_row(walk, left, i + count, j + count, same != NULL ? same + count : NULL);
        }
    }
    return count;
}
