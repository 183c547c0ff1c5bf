#include "io/internal.h"

nf_status nf_table_new(nf_context *context, nf_table **table) {
    return nf_allocate_zeroed(context, table, 1, sizeof **table, "table");
}

void nf_table_free(nf_context *context, nf_table *table) {
    if (table == NULL) return;
    nf_array_free(context, table->x);
    nf_array_free(context, table->labels);
    nf_release(context, table->class_names);
    nf_release(context, table->columns);
    nf_release(context, table->label_column);
    nf_release(context, table);
}
