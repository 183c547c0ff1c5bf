/* The memory bank: a ring of rows. */
#include "train/bank.h"

#include <string.h>

#include "loss/arguments.h"

static void release_arrays(nf_context *context, nf_bank *bank) {
    nf_release(context, bank->weights);
    nf_release(context, bank->groups);
    nf_release(context, bank->ids);
    nf_release(context, bank->labels);
    nf_release(context, bank->x);
}

static void copy_rows(nf_bank *to, const nf_bank *from) {
    const size_t rows = from->rows;
    if (rows == 0) return; /* no array yet */
    memcpy(to->x, from->x, rows * from->d * nf_type_size(from->type));
    memcpy(to->labels, from->labels, rows * sizeof(int64_t));
    memcpy(to->ids, from->ids, rows * sizeof(int64_t));
    memcpy(to->groups, from->groups, rows * sizeof(int64_t));
    memcpy(to->weights, from->weights, rows * sizeof(double));
}

nf_status nf_bank_blank(nf_context *context, size_t capacity, size_t d, nf_type type,
                        nf_bank **out) {
    size_t elements, bytes;
    if (capacity == 0 || d == 0) {
        return nf_fail(context, NF_ERR_ARG, "%s is 0: a bank needs at least 1",
                       capacity == 0 ? "capacity" : "d");
    }
    if (nf_type_size(type) == 0) {
        return nf_fail(context, NF_ERR_ARG, "type is %d: it must be NF_FLOAT32 or NF_FLOAT64",
                       (int)type);
    }
    if (nf_mul_overflows(capacity, d, &elements) ||
        nf_mul_overflows(elements, nf_type_size(type), &bytes)) {
        return nf_fail(context, NF_ERR_RANGE,
                       "capacity %zu of rows of %zu columns exceeds the address space", capacity,
                       d);
    }
    nf_bank *bank = NULL;
    nf_status status = nf_allocate_zeroed(context, &bank, 1, sizeof *bank, "bank");
    if (status != NF_OK) return status;
    *bank = (nf_bank){.capacity = capacity, .d = d, .type = type};
    *out = bank;
    return NF_OK;
}

nf_status nf_bank_make_room(nf_context *context, nf_bank *bank, size_t rows) {
    size_t wanted = nf_min_size(rows, bank->capacity), bytes = bank->d * nf_type_size(bank->type);
    if (wanted <= bank->room) return NF_OK;
    if (wanted < 2 * bank->room) wanted = nf_min_size(2 * bank->room, bank->capacity);
    nf_bank grown = *bank;
    grown.x = NULL;
    grown.labels = grown.ids = grown.groups = NULL;
    grown.weights = NULL;
    nf_status status = nf_allocate(context, &grown.x, wanted, bytes, "bank rows");
    if (status == NF_OK) {
        status = nf_allocate(context, &grown.labels, wanted, sizeof(int64_t), "bank labels");
    }
    if (status == NF_OK) {
        status = nf_allocate(context, &grown.ids, wanted, sizeof(int64_t), "bank ids");
    }
    if (status == NF_OK) {
        status = nf_allocate(context, &grown.groups, wanted, sizeof(int64_t), "bank groups");
    }
    if (status == NF_OK) {
        status = nf_allocate(context, &grown.weights, wanted, sizeof(double), "bank weights");
    }
    if (status != NF_OK) {
        release_arrays(context, &grown);
        return status;
    }
    copy_rows(&grown, bank);
    release_arrays(context, bank);
    grown.room = wanted;
    *bank = grown;
    return NF_OK;
}

nf_status nf_bank_create(nf_context *context, size_t capacity, size_t d, nf_type type,
                         nf_bank **bank) {
    nf_scope scope = nf_scope_enter(context);
    return nf_scope_leave(context, scope, nf_bank_blank(context, capacity, d, type, bank));
}

void nf_bank_free(nf_context *context, nf_bank *bank) {
    if (bank == NULL) return;
    nf_release(context, bank->offset);
    nf_release(context, bank->set_label);
    release_arrays(context, bank);
    nf_release(context, bank);
}

void nf_bank_reset(nf_bank *bank) {
    bank->rows = bank->next = 0;
    bank->pushed = 0;
    bank->carries = 0;
}

size_t nf_bank_capacity(const nf_bank *bank) { return bank->capacity; }

nf_bank_rows nf_bank_get_rows(const nf_bank *bank) {
    nf_bank_rows rows = {.x = {bank->x, bank->type, bank->rows, bank->d, bank->d},
                         .labels = {bank->labels, bank->rows, bank->has_unlabelled},
                         .ids = bank->ids};
    if ((bank->carries & NF_CARRIES_SETS) != 0) {
        rows.labels = (nf_labels){NULL, 0, bank->has_unlabelled};
        rows.sets = (nf_label_sets){bank->offset, bank->set_label};
    }
    if ((bank->carries & NF_CARRIES_WEIGHTS) != 0) rows.row_weight = bank->weights;
    if ((bank->carries & NF_CARRIES_GROUPS) != 0) rows.group = bank->groups;
    return rows;
}

/* ---- what a batch may bring ------------------------------------------------------------------- */

static unsigned carried_by(const nf_row_targets *targets) {
    unsigned carries = 0;
    if (targets == NULL) return 0;
    if (targets->sets != NULL) carries |= NF_CARRIES_SETS;
    if (targets->row_weight != NULL || targets->class_weights > 0) carries |= NF_CARRIES_WEIGHTS;
    if (targets->group != NULL) carries |= NF_CARRIES_GROUPS;
    return carries;
}

static nf_status check_carried(nf_context *context, const nf_bank *bank, unsigned carries) {
    static const char *const names[] = {"label sets", "row weights", "groups"};
    for (unsigned k = 0; bank->rows > 0 && k < 3; k++) {
        const unsigned own = carries >> k & 1, held = bank->carries >> k & 1;
        if (own == held) continue;
        return nf_fail(context, NF_ERR_ARG,
                       "the rows come %s %s and those of the bank %s: give all rows the same, or "
                       "reset the bank",
                       own ? "with" : "without", names[k], held ? "with them" : "without");
    }
    return NF_OK;
}

static nf_status check_labels(nf_context *context, const nf_bank *bank,
                              const nf_bank_batch *batch) {
    const nf_labels labels = batch->labels;
    if ((batch->carries & NF_CARRIES_SETS) != 0) {
        if (labels.data == NULL) return NF_OK;
        return nf_fail(
            context, NF_ERR_ARG,
            "labels and targets.sets are given: keep the one that says what is positive");
    }
    nf_status status = nf_check_labels(context, labels, "labels", batch->x.rows, "x");
    if (status != NF_OK || bank->rows == 0) return status;
    if ((labels.has_unlabelled != 0) == (bank->has_unlabelled != 0)) return NF_OK;
    return nf_fail(context, NF_ERR_ARG,
                   "labels.has_unlabelled is %d and that of the bank's rows %d: use one "
                   "meaning of -1, or reset the bank",
                   labels.has_unlabelled, bank->has_unlabelled);
}

static nf_status check_push(nf_context *context, const nf_bank *bank, nf_bank_batch *batch) {
    const nf_matrix x = batch->x;
    nf_status status = nf_check_features(context, x, "x");
    if (status == NF_OK) status = check_labels(context, bank, batch);
    if (status != NF_OK) return status;
    if (x.cols != bank->d) {
        return nf_fail(context, NF_ERR_ARG, "x has %zu columns: the bank's rows have %zu", x.cols,
                       bank->d);
    }
    if (x.type != bank->type) {
        return nf_fail(context, NF_ERR_ARG, "x is %s: the bank holds %s",
                       x.type == NF_FLOAT32 ? "float32" : "float64",
                       bank->type == NF_FLOAT32 ? "float32" : "float64");
    }
    status = check_carried(context, bank, batch->carries);
    if (status != NF_OK || batch->targets == NULL) return status;
    const nf_given_rows rows = {"targets", x.rows, batch->labels, batch->targets};
    return nf_target_rows_make(context, &rows, &batch->rows);
}

/* ---- label sets ------------------------------------------------------------------------------- */

/* Rows of the batch that stay, the last ones, go to places from `next` on. */
static size_t rows_kept(const nf_bank *bank, size_t n) { return nf_min_size(n, bank->capacity); }

static size_t rows_after(const nf_bank *bank, size_t n) {
    return nf_min_size(bank->capacity, nf_max_size(bank->rows, bank->next + rows_kept(bank, n)));
}

/* The label set of the row at a place once the batch is in. */
static const int64_t *set_at(const nf_bank *bank, const nf_bank_batch *batch, size_t place,
                             size_t *count) {
    const size_t n = batch->x.rows, kept = rows_kept(bank, n);
    const size_t from_next =
        place >= bank->next ? place - bank->next : place + bank->capacity - bank->next;
    const bool own = from_next < kept;
    const size_t row = own ? n - kept + from_next : place;
    const size_t *offset = own ? batch->rows.sets.offset : bank->offset;
    *count = offset[row + 1] - offset[row];
    return (own ? batch->rows.sets.label : bank->set_label) + offset[row];
}

static nf_status merge_sets(nf_context *context, const nf_bank *bank, nf_bank_batch *batch) {
    const size_t rows = rows_after(bank, batch->x.rows);
    size_t total = 0, count;
    for (size_t place = 0; place < rows; place++) {
        (void)set_at(bank, batch, place, &count);
        total += count;
    }
    nf_status status = nf_allocate(context, &batch->offset, rows + 1, sizeof(size_t), "bank sets");
    if (status == NF_OK) {
        status = nf_allocate(context, &batch->set_label, total + 1, sizeof(int64_t), "bank sets");
    }
    if (status != NF_OK) {
        nf_release(context, batch->offset);
        return status;
    }
    batch->offset[0] = 0;
    for (size_t place = 0; place < rows; place++) {
        const int64_t *set = set_at(bank, batch, place, &count);
        if (count > 0) memcpy(batch->set_label + batch->offset[place], set, count * sizeof *set);
        batch->offset[place + 1] = batch->offset[place] + count;
    }
    return NF_OK;
}

/* ---- pushing -------------------------------------------------------------------------------- */

nf_status nf_bank_begin_push(nf_context *context, nf_bank *bank, nf_bank_batch *batch) {
    batch->carries = carried_by(batch->targets);
    batch->rows = (nf_target_rows){0};
    batch->offset = NULL;
    batch->set_label = NULL;
    nf_status status = check_push(context, bank, batch);
    if (status == NF_OK) status = nf_bank_make_room(context, bank, bank->rows + batch->x.rows);
    if (status != NF_OK || (batch->carries & NF_CARRIES_SETS) == 0) return status;
    return merge_sets(context, bank, batch);
}

void nf_bank_drop(nf_context *context, const nf_bank_batch *batch) {
    nf_release(context, batch->offset);
    nf_release(context, batch->set_label);
}

void nf_bank_push_to_copy(nf_bank *bank, const nf_bank_batch *batch) {
    const nf_matrix x = batch->x;
    const size_t bytes = bank->d * nf_type_size(bank->type);
    const bool sets = (batch->carries & NF_CARRIES_SETS) != 0;
    if (x.rows > 0 || bank->rows > 0) bank->carries = batch->carries;
    bank->has_unlabelled = batch->labels.has_unlabelled != 0;
    for (size_t r = x.rows - rows_kept(bank, x.rows); r < x.rows; r++) {
        const size_t place = bank->next;
        memcpy(bank->x + place * bytes, nf_matrix_row(x, r), bytes);
        bank->labels[place] = sets ? 0 : batch->labels.data[r];
        bank->ids[place] = batch->ids != NULL ? batch->ids[r] : bank->pushed + (int64_t)r;
        bank->groups[place] = batch->rows.group != NULL ? batch->rows.group[r] : 0;
        bank->weights[place] = batch->rows.weight != NULL ? batch->rows.weight[r] : 1;
        bank->next = place + 1 < bank->capacity ? place + 1 : 0;
        bank->rows = nf_max_size(bank->rows, place + 1);
    }
    bank->pushed += (int64_t)x.rows;
    if (!sets) return;
    bank->offset = batch->offset;
    bank->set_label = batch->set_label;
}

void nf_bank_end_push(nf_context *context, nf_bank *bank, const nf_bank_batch *batch) {
    const nf_bank_batch before = {.offset = bank->offset, .set_label = bank->set_label};
    nf_bank_push_to_copy(bank, batch);
    if (bank->offset != before.offset) nf_bank_drop(context, &before);
}

nf_status nf_bank_push_targets(nf_context *context, nf_bank *bank, nf_matrix x, nf_labels labels,
                               const int64_t *ids, const nf_row_targets *targets) {
    nf_scope scope = nf_scope_enter(context);
    nf_bank_batch batch = {.x = x, .labels = labels, .ids = ids, .targets = targets};
    nf_status status = nf_bank_begin_push(context, bank, &batch);
    if (status == NF_OK) nf_bank_end_push(context, bank, &batch);
    return nf_scope_leave(context, scope, status);
}

nf_status nf_bank_push(nf_context *context, nf_bank *bank, nf_matrix x, nf_labels labels,
                       const int64_t *ids) {
    return nf_bank_push_targets(context, bank, x, labels, ids, NULL);
}

/* The bank with room for `n` rows more, in scratch. */
nf_status nf_bank_copy_to_scratch(nf_context *context, const nf_bank *bank, size_t n,
                                  nf_bank *copy) {
    const size_t room = nf_min_size(bank->capacity, bank->rows + n);
    *copy = *bank;
    nf_status status =
        nf_scratch(context, &copy->x, room, bank->d * nf_type_size(bank->type), "copy of the bank");
    if (status == NF_OK) {
        status = nf_scratch(context, &copy->labels, room, sizeof(int64_t), "bank labels");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &copy->ids, room, sizeof(int64_t), "bank ids");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &copy->groups, room, sizeof(int64_t), "bank groups");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &copy->weights, room, sizeof(double), "bank weights");
    }
    if (status == NF_OK) copy_rows(copy, bank);
    return status;
}
