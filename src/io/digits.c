/* The bundled digits: data/digits.npy, built into the library. Columns 0 .. 63 are pixels, 64 the
 * digit, 65 the half (0 train, 1 test). */
#include "io/internal.h"

#include <sys/stat.h>

#define PIXELS 64
#define COLUMNS 66

extern const unsigned char nf_digits_npy[];
extern const size_t nf_digits_npy_size;

static const char *const names[] = {"digits", "digits-train", "digits-test"};

#define SUBSETS (sizeof names / sizeof names[0])

/* Index in names, or SUBSETS. */
static size_t subset_of(const char *source) {
    size_t subset = 0;
    while (subset < SUBSETS && strcmp(source, names[subset]) != 0) subset++;
    return subset;
}

bool nf_digits_known(const char *source) {
    struct stat info;
    return source != NULL && subset_of(source) < SUBSETS && stat(source, &info) != 0;
}

nf_digits nf_digits_subset(const char *source) { return (nf_digits)subset_of(source); }

static bool is_in(nf_digits subset, const uint8_t *row) {
    return subset == NF_DIGITS_ALL || (row[65] == 1) == (subset == NF_DIGITS_TEST);
}

static nf_status choose(nf_context *context, nf_digits subset, const nf_array *all,
                        nf_table **out) {
    nf_table *table = NULL;
    const uint8_t *rows = all->data;
    size_t shape[2] = {0, PIXELS};
    for (size_t r = 0; r < all->shape[0]; r++) shape[0] += is_in(subset, rows + r * COLUMNS);
    nf_status status = nf_table_new(context, &table);
    if (status == NF_OK) {
        status = nf_array_new(context, NF_DTYPE_F32, 2, shape, "digits", &table->x);
    }
    if (status == NF_OK) {
        status = nf_array_new(context, NF_DTYPE_I64, 1, shape, "digits", &table->labels);
    }
    if (status == NF_OK) {
        float *x = table->x->data;
        int64_t *label = table->labels->data;
        for (size_t r = 0; r < all->shape[0]; r++, rows += COLUMNS) {
            if (!is_in(subset, rows)) continue;
            for (size_t c = 0; c < PIXELS; c++) *x++ = rows[c];
            *label++ = rows[64];
        }
        *out = table;
    } else {
        nf_table_free(context, table);
    }
    return status;
}

nf_status nf_digits_load(nf_context *context, nf_digits subset, nf_table **out) {
    nf_scope scope = nf_scope_enter(context);
    nf_array *all = NULL;
    nf_status status = NF_OK;
    if ((size_t)subset >= SUBSETS) {
        status =
            nf_fail(context, NF_ERR_ARG, "subset is %d: it must be one of nf_digits", (int)subset);
    }
    if (status == NF_OK) {
        status = nf_npy_parse(context, nf_digits_npy, nf_digits_npy_size, &all);
    }
    if (status == NF_OK) status = choose(context, subset, all, out);
    nf_array_free(context, all);
    return nf_scope_leave(context, scope, status);
}
