#include "io/internal.h"

#include <stdio.h>

/* A name in quotes where it needs them. */
static nf_status write_name(nf_context *context, nf_sink *sink, const char *name) {
    if (strpbrk(name, ",\t;\"\r\n") == NULL && name[0] != ' ' && name[0] != '\0') {
        return nf_sink_write(context, sink, name, strlen(name));
    }
    nf_status status = nf_sink_write(context, sink, "\"", 1);
    for (; status == NF_OK && *name != '\0'; name++) {
        status = nf_sink_write(context, sink, *name == '"' ? "\"\"" : name, *name == '"' ? 2 : 1);
    }
    return status == NF_OK ? nf_sink_write(context, sink, "\"", 1) : status;
}

static nf_status write_header(nf_context *context, nf_sink *sink, const char *const *header,
                              size_t cols) {
    nf_status status = NF_OK;
    for (size_t c = 0; status == NF_OK && c < cols; c++) {
        status = write_name(context, sink, header[c]);
        if (status == NF_OK) status = nf_sink_write(context, sink, c + 1 < cols ? "," : "\n", 1);
    }
    return status;
}

static nf_status write_rows(nf_context *context, nf_sink *sink, nf_matrix x) {
    /* 9 and 17 digits tell any two float32 and float64 apart. */
    int digits = x.type == NF_FLOAT32 ? 9 : 17;
    char cell[40];
    for (size_t r = 0; r < x.rows; r++) {
        for (size_t c = 0; c < x.cols; c++) {
            int length = snprintf(cell, sizeof cell, "%.*g%c", digits, nf_matrix_get(x, r, c),
                                  c + 1 < x.cols ? ',' : '\n');
            nf_status status = nf_sink_write(context, sink, cell, (size_t)length);
            if (status != NF_OK) return status;
        }
    }
    return NF_OK;
}

nf_status nf_csv_write(nf_context *context, const char *path, nf_matrix x,
                       const char *const *header) {
    nf_scope scope = nf_scope_enter(context);
    nf_sink *sink = NULL;
    nf_c_locale locale;
    nf_status status = nf_check_matrix(context, x, "x");
    if (status == NF_OK && x.cols == 0) {
        status = nf_fail(context, NF_ERR_ARG, "x has no columns: a CSV needs at least one");
    }
    if (status == NF_OK) status = nf_check_finite(context, x, "x");
    if (status == NF_OK) status = nf_sink_open(context, path, &sink);
    if (status == NF_OK) status = nf_c_locale_enter(context, &locale);
    if (status != NF_OK) {
        nf_sink_close(context, sink);
        return nf_scope_leave(context, scope, status);
    }
    if (header != NULL) status = write_header(context, sink, header, x.cols);
    if (status == NF_OK) status = write_rows(context, sink, x);
    nf_c_locale_leave(&locale);
    if (status == NF_OK) status = nf_sink_commit(context, sink);
    nf_sink_close(context, sink);
    return nf_scope_leave(context, scope, status);
}
