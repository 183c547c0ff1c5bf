/* The bundled digits: data/digits.npy, built into the library. Columns 0 .. 63 are pixels, 64 the
 * digit, 65 the half (0 train, 1 test). */
#include "io/internal.h"

#include <sys/stat.h>

#define PIXELS 64
#define COLUMNS 66

extern const unsigned char nf_digits_npy[];
extern const size_t nf_digits_npy_size;

/* The half a name stands for; 2 for all rows, -1 for another name. */
static int half_of(const char *source) {
    if (strcmp(source, "digits") == 0) return 2;
    if (strcmp(source, "digits-train") == 0) return 0;
    return strcmp(source, "digits-test") == 0 ? 1 : -1;
}

bool nf_digits_known(const char *source) {
    struct stat info;
    return source != NULL && half_of(source) >= 0 && stat(source, &info) != 0;
}

nf_status nf_digits_load(nf_context *context, const char *source, nf_table **out) {
    nf_array *all = NULL;
    nf_table *table = NULL;
    int half = half_of(source);
    nf_status status = nf_npy_parse(context, nf_digits_npy, nf_digits_npy_size, &all);
    if (status != NF_OK) return status;
    const uint8_t *rows = all->data;
    size_t shape[2] = {0, PIXELS};
    for (size_t r = 0; r < all->shape[0]; r++) {
        shape[0] += half == 2 || rows[r * COLUMNS + 65] == half;
    }
    status = nf_table_new(context, &table);
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
            if (half != 2 && rows[65] != half) continue;
            for (size_t c = 0; c < PIXELS; c++) *x++ = rows[c];
            *label++ = rows[64];
        }
        *out = table;
    } else {
        nf_table_free(context, table);
    }
    nf_array_free(context, all);
    return status;
}
