/* The memory bank: a ring of rows, and the loss of a batch against it. */
#include "train/bank.h"

#include <string.h>

#include "loss/arguments.h"

static void release_arrays(nf_context *context, nf_bank *bank) {
    nf_release(context, bank->ids);
    nf_release(context, bank->labels);
    nf_release(context, bank->x);
}

static void copy_rows(nf_bank *to, const nf_bank *from) {
    if (from->rows == 0) return; /* no array yet */
    memcpy(to->x, from->x, from->rows * from->d * nf_type_size(from->type));
    memcpy(to->labels, from->labels, from->rows * sizeof(int64_t));
    memcpy(to->ids, from->ids, from->rows * sizeof(int64_t));
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
    grown.labels = grown.ids = NULL;
    nf_status status = nf_allocate(context, &grown.x, wanted, bytes, "bank rows");
    if (status == NF_OK) {
        status = nf_allocate(context, &grown.labels, wanted, sizeof(int64_t), "bank labels");
    }
    if (status == NF_OK) {
        status = nf_allocate(context, &grown.ids, wanted, sizeof(int64_t), "bank ids");
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
    release_arrays(context, bank);
    nf_release(context, bank);
}

void nf_bank_reset(nf_bank *bank) {
    bank->rows = bank->next = 0;
    bank->pushed = 0;
}

size_t nf_bank_capacity(const nf_bank *bank) { return bank->capacity; }

nf_bank_rows nf_bank_get_rows(const nf_bank *bank) {
    return (nf_bank_rows){.x = {bank->x, bank->type, bank->rows, bank->d, bank->d},
                          .labels = {bank->labels, bank->rows, bank->has_unlabelled},
                          .ids = bank->ids};
}

/* ---- pushing -------------------------------------------------------------------------------- */

static nf_status check_push(nf_context *context, const nf_bank *bank, nf_matrix x,
                            nf_labels labels) {
    nf_status status = nf_check_features(context, x, "x");
    if (status == NF_OK) status = nf_check_labels(context, labels, "labels", x.rows, "x");
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
    if (bank->rows > 0 && (labels.has_unlabelled != 0) != (bank->has_unlabelled != 0)) {
        return nf_fail(context, NF_ERR_ARG,
                       "labels.has_unlabelled is %d and that of the bank's rows %d: use one "
                       "meaning of -1, or reset the bank",
                       labels.has_unlabelled, bank->has_unlabelled);
    }
    return NF_OK;
}

/* Cannot fail: arguments are checked. */
static void push(nf_bank *bank, nf_matrix x, nf_labels labels, const int64_t *ids) {
    size_t bytes = bank->d * nf_type_size(bank->type);
    size_t first = x.rows > bank->capacity ? x.rows - bank->capacity : 0;
    bank->has_unlabelled = labels.has_unlabelled != 0;
    for (size_t r = first; r < x.rows; r++) {
        size_t place = bank->next;
        memcpy(bank->x + place * bytes, nf_matrix_row(x, r), bytes);
        bank->labels[place] = labels.data[r];
        bank->ids[place] = ids != NULL ? ids[r] : bank->pushed + (int64_t)r;
        bank->next = place + 1 < bank->capacity ? place + 1 : 0;
        bank->rows = nf_max_size(bank->rows, place + 1);
    }
    bank->pushed += (int64_t)x.rows;
}

nf_status nf_bank_push(nf_context *context, nf_bank *bank, nf_matrix x, nf_labels labels,
                       const int64_t *ids) {
    nf_scope scope = nf_scope_enter(context);
    nf_status status = check_push(context, bank, x, labels);
    if (status == NF_OK) status = nf_bank_make_room(context, bank, bank->rows + x.rows);
    if (status == NF_OK) push(bank, x, labels, ids);
    return nf_scope_leave(context, scope, status);
}

/* ---- loss ----------------------------------------------------------------------------------- */

/* The bank with room for the batch, in scratch: a loss that fails leaves the bank alone. */
static nf_status copy_to_scratch(nf_context *context, const nf_bank *bank, size_t n,
                                 nf_bank *copy) {
    size_t room = nf_min_size(bank->capacity, bank->rows + n);
    *copy = *bank;
    nf_status status =
        nf_scratch(context, &copy->x, room, bank->d * nf_type_size(bank->type), "copy of the bank");
    if (status == NF_OK) {
        status = nf_scratch(context, &copy->labels, room, sizeof(int64_t), "bank labels");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &copy->ids, room, sizeof(int64_t), "bank ids");
    }
    if (status == NF_OK) copy_rows(copy, bank);
    return status;
}

nf_status nf_bank_loss(nf_context *context, const nf_loss *loss, nf_bank *bank, nf_matrix x,
                       nf_labels labels, const int64_t *ids, const nf_margin_beta *beta,
                       nf_loss_result *result, nf_matrix_out gradient) {
    nf_scope scope = nf_scope_enter(context);
    nf_bank after;
    int64_t *numbered = NULL;
    nf_status status = check_push(context, bank, x, labels);
    if (status == NF_OK) status = nf_bank_make_room(context, bank, bank->rows + x.rows);
    if (status == NF_OK) status = copy_to_scratch(context, bank, x.rows, &after);
    if (status == NF_OK && ids == NULL) {
        status = nf_scratch(context, &numbered, x.rows, sizeof *numbered, "ids of the batch");
    }
    for (size_t r = 0; status == NF_OK && ids == NULL && r < x.rows; r++) {
        numbered[r] = bank->pushed + (int64_t)r;
    }
    if (status == NF_OK) {
        const int64_t *own = ids != NULL ? ids : numbered;
        push(&after, x, labels, own);
        nf_bank_rows rows = nf_bank_get_rows(&after);
        nf_loss_sets sets = {x, rows.x, labels, rows.labels, own, rows.ids};
        const nf_matrix_out none = {0};
        status = beta != NULL
                     ? nf_loss_margin_reference(context, loss, &sets, beta, result, gradient, none)
                     : nf_loss_reference(context, loss, &sets, result, gradient, none);
        if (status == NF_OK) push(bank, x, labels, own);
    }
    return nf_scope_leave(context, scope, status);
}

nf_status nf_loss_bank(nf_context *context, const nf_loss *loss, nf_bank *bank, nf_matrix x,
                       nf_labels labels, const int64_t *ids, nf_loss_result *result,
                       nf_matrix_out gradient) {
    return nf_bank_loss(context, loss, bank, x, labels, ids, NULL, result, gradient);
}
