/* Contract: nf_csv_parse, under every combination of options (chosen by the first byte), refuses
 * the text or gives a table whose counts agree; numbers are finite; memory stays below
 * 16 x length + 4 KiB. A table of numbers is also read as an array. */
#include "fuzz.h"

#include <math.h>

static nf_csv_options choose(uint8_t byte) {
    static const char separators[4] = {0, ',', ' ', ';'};
    static const char *const labels[4] = {NULL, NULL, "0", "name"};
    nf_csv_options options = nf_csv_defaults();
    options.separator = separators[byte & 3];
    options.header = (byte >> 2 & 3) == 3 ? -1 : (byte >> 2 & 3) - 1;
    options.label_column = labels[byte >> 4 & 3];
    options.labels_only = byte >> 6 & 1;
    options.require_labels = byte >> 7;
    options.features_only = byte == 0xff;
    return options;
}

static void check(const nf_table *table, const nf_csv_options *options) {
    FUZZ_ASSERT((table->x == NULL) == (options->labels_only != 0));
    if (table->x != NULL && table->labels != NULL) {
        FUZZ_ASSERT(table->x->shape[0] == table->labels->count);
    }
    const double *x = table->x != NULL ? table->x->data : NULL;
    for (size_t i = 0; x != NULL && i < table->x->count; i++) FUZZ_ASSERT(isfinite(x[i]));
    const int64_t *labels = table->labels != NULL ? table->labels->data : NULL;
    for (size_t i = 0; labels != NULL && i < table->labels->count; i++) {
        if (table->class_names != NULL) {
            FUZZ_ASSERT(labels[i] >= -1 && labels[i] < (int64_t)table->classes);
        }
        if (labels[i] == -1) FUZZ_ASSERT(table->has_unlabelled);
    }
    for (size_t c = 0; c < table->classes; c++) FUZZ_ASSERT(table->class_names[c][0] != '\0');
    for (size_t c = 0; table->columns != NULL && c < table->x->shape[1]; c++) {
        FUZZ_ASSERT(table->columns[c] != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    nf_context *context = fuzz_begin();
    if (size == 0) return 0;
    nf_csv_options options = choose(data[0]);
    nf_table *table = NULL;
    nf_status status = nf_csv_parse(context, data + 1, size - 1, &options, &table);
    fuzz_status(context, status);
    if (status == NF_OK) check(table, &options);
    nf_table_free(context, table);
    fuzz_end(16 * size + 4096);
    return 0;
}
