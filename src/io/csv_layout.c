#include "io/csv.h"

#include <stdio.h>

static const char *const label_names[] = {"label", "class", "target", "y"};

nf_csv_options nf_csv_defaults(void) { return (nf_csv_options){.header = -1}; }

/* The separator the first line has most of, outside quotes; blanks if it has none of them. */
static char find_separator(const nf_csv_cursor *cursor, bool labels_only) {
    static const char candidates[3] = {',', '\t', ';'};
    size_t count[3] = {0, 0, 0};
    bool quoted = false, blank = false, inner_blank = false, text = false;
    for (const char *p = cursor->at; p < cursor->end; p++) {
        if (*p == '"') quoted = !quoted;
        if (quoted) continue;
        if (*p == '\n') break;
        for (int k = 0; k < 3; k++) count[k] += *p == candidates[k];
        if (*p == ' ') {
            blank = text;
        } else if (*p != '\r') {
            inner_blank |= blank;
            text = true;
        }
    }
    int best = count[1] > count[0] ? 1 : 0;
    if (count[2] > count[best]) best = 2;
    if (count[best] == 0 && inner_blank && !labels_only) return ' ';
    return candidates[best];
}

static nf_status count_columns(nf_csv_layout *layout) {
    nf_csv_cursor cursor = layout->first;
    nf_csv_cell cell;
    do {
        nf_status status = nf_csv_next(layout->context, &cursor, &cell);
        if (status != NF_OK) return status;
        layout->columns++;
    } while (!cell.last);
    return NF_OK;
}

static bool is_label_name(const nf_csv_layout *layout, const nf_csv_cell *cell) {
    const char *wanted = layout->options->label_column;
    if (layout->options->features_only) return false;
    if (wanted != NULL) return nf_csv_cell_is(cell, wanted, false);
    for (size_t k = 0; k < sizeof label_names / sizeof *label_names; k++) {
        if (nf_csv_cell_is(cell, label_names[k], true)) return true;
    }
    return false;
}

typedef enum cell_kind { CELL_EMPTY, CELL_NUMBER, CELL_TEXT } cell_kind;

/* "?" and missing values are data, not names. */
static cell_kind kind_of(const nf_csv_cell *cell) {
    double value;
    if (cell->length == 0) return CELL_EMPTY;
    if (nf_number_parse(cell->text, cell->length, &value)) return CELL_NUMBER;
    if (nf_csv_cell_is(cell, "?", false) || nf_csv_cell_is(cell, "nan", true) ||
        nf_csv_cell_is(cell, "inf", true) || nf_csv_cell_is(cell, "-inf", true)) {
        return CELL_NUMBER;
    }
    return CELL_TEXT;
}

/* A first line is a header if it names a label column, or if no cell of it is a number and some
 * cell is text. A list of labels in one column has one only if text stands above a number. */
static nf_status detect_header(nf_csv_layout *layout) {
    nf_csv_cursor cursor = layout->first;
    nf_csv_cell cell = {0};
    bool named = false, numbers = false, text = false;
    do {
        nf_status status = nf_csv_next(layout->context, &cursor, &cell);
        if (status != NF_OK) return status;
        cell_kind kind = kind_of(&cell);
        named |= kind == CELL_TEXT && is_label_name(layout, &cell);
        numbers |= kind == CELL_NUMBER;
        text |= kind == CELL_TEXT;
    } while (!cell.last);
    layout->header = named || (text && !numbers);
    if (layout->columns == 1 && layout->options->labels_only && !named && cursor.at < cursor.end) {
        nf_status status = nf_csv_next(layout->context, &cursor, &cell);
        if (status != NF_OK) return status;
        layout->header &= kind_of(&cell) == CELL_NUMBER;
    } else if (layout->columns == 1 && layout->options->labels_only && !named) {
        layout->header = false;
    }
    if (layout->options->header >= 0) layout->header = layout->options->header != 0;
    return NF_OK;
}

/* The columns as a list for messages. */
static const char *list_columns(const nf_csv_layout *layout, char buffer[256]) {
    nf_csv_cursor cursor = layout->first;
    nf_csv_cell cell;
    size_t used = 0, column = 0;
    if (!layout->header) {
        snprintf(buffer, 256, "0 to %zu (the file has no header)", layout->columns - 1);
        return buffer;
    }
    do {
        if (nf_csv_next(layout->context, &cursor, &cell) != NF_OK) break;
        int put = snprintf(buffer + used, 256 - used, "%s%.*s", column++ > 0 ? ", " : "",
                           (int)nf_min_size(cell.length, 60), cell.text);
        if (put > 0) used += (size_t)put;
    } while (!cell.last && used < 240);
    if (!cell.last && used < 252) snprintf(buffer + used, 256 - used, ", ..");
    return buffer;
}

/* By name where there is a header; *twice tells a second match. */
static nf_status label_by_name(nf_csv_layout *layout, size_t *twice) {
    nf_csv_cursor cursor = layout->first;
    nf_csv_cell cell;
    size_t column = 0;
    do {
        nf_status status = nf_csv_next(layout->context, &cursor, &cell);
        if (status != NF_OK) return status;
        if (is_label_name(layout, &cell)) {
            if (layout->label != NF_CSV_NONE)
                *twice = column;
            else
                layout->label = column;
        }
        column++;
    } while (!cell.last);
    return NF_OK;
}

static nf_status find_label(nf_csv_layout *layout) {
    const nf_csv_options *options = layout->options;
    const char *wanted = options->label_column;
    size_t twice = NF_CSV_NONE, number;
    char list[256];
    layout->label = NF_CSV_NONE;
    if (options->features_only) return NF_OK;
    if (layout->header) {
        nf_status status = label_by_name(layout, &twice);
        if (status != NF_OK) return status;
    }
    if (twice != NF_CSV_NONE) {
        return nf_fail(layout->context, NF_ERR_DATA,
                       "columns %zu and %zu may both be labels: choose the label column by name or "
                       "number; the columns are %s",
                       layout->label, twice, list_columns(layout, list));
    }
    if (layout->label != NF_CSV_NONE) return NF_OK;
    if (wanted != NULL) {
        if (nf_size_parse(wanted, strlen(wanted), &number) && number < layout->columns) {
            layout->label = number;
            return NF_OK;
        }
        return nf_fail(layout->context, NF_ERR_DATA,
                       "there is no label column '%.60s': the columns are %s", wanted,
                       list_columns(layout, list));
    }
    if (options->labels_only && layout->columns == 1) {
        layout->label = 0;
    } else if (options->labels_only || options->require_labels) {
        return nf_fail(layout->context, NF_ERR_DATA,
                       "no column is called label, class, target or y: choose the label column by "
                       "name or number; the columns are %s",
                       list_columns(layout, list));
    }
    return NF_OK;
}

/* A first column without a name beside named ones is an index a data frame left behind; it must
 * not become a feature unseen. */
static nf_status check_index_column(const nf_csv_layout *layout) {
    nf_csv_cursor cursor = layout->first;
    nf_csv_cell cell;
    if (!layout->header || layout->options->labels_only || layout->columns == 1) return NF_OK;
    nf_status status = nf_csv_next(layout->context, &cursor, &cell);
    if (status != NF_OK || cell.length > 0 || layout->label == 0) return status;
    return nf_fail(layout->context, NF_ERR_DATA,
                   "line 1: the first column has no name, as when a data frame writes its index: "
                   "save without it (index=False), or name the column");
}

nf_status nf_csv_layout_find(nf_context *context, const void *bytes, size_t size,
                             const nf_csv_options *options, nf_csv_layout *layout) {
    *layout = (nf_csv_layout){.context = context, .options = options};
    nf_status status = nf_csv_start(context, bytes, size, options->separator, &layout->first);
    if (status != NF_OK) return status;
    if (layout->first.at == layout->first.end) {
        return nf_fail(context, NF_ERR_DATA, "the file is empty: it needs at least one row");
    }
    if (options->separator == 0) {
        layout->first.separator = find_separator(&layout->first, options->labels_only != 0);
    }
    status = count_columns(layout);
    if (status == NF_OK) status = detect_header(layout);
    if (status == NF_OK) status = find_label(layout);
    if (status == NF_OK) status = check_index_column(layout);
    layout->body = layout->first;
    nf_csv_cell cell = {.last = !layout->header};
    while (status == NF_OK && !cell.last) status = nf_csv_next(context, &layout->body, &cell);
    return status;
}

const char *nf_csv_column_text(const nf_csv_layout *layout, size_t column,
                               char buffer[NF_CSV_NAME]) {
    nf_csv_cursor cursor = layout->first;
    nf_csv_cell cell = {0};
    buffer[0] = '\0';
    if (!layout->header || column >= layout->columns) return buffer;
    for (size_t k = 0; k <= column; k++) {
        if (nf_csv_next(layout->context, &cursor, &cell) != NF_OK) return buffer;
    }
    snprintf(buffer, NF_CSV_NAME, " ('%.*s')", (int)nf_min_size(cell.length, 50), cell.text);
    return buffer;
}

static size_t copy_cell(char *to, const nf_csv_cell *cell) {
    size_t used = 0;
    for (size_t i = 0; i < cell->length; i++) {
        to[used++] = cell->text[i];
        if (cell->unquote && cell->text[i] == '"') i++;
    }
    to[used] = '\0';
    return used + 1;
}

nf_status nf_csv_column_names(const nf_csv_layout *layout, size_t skip, char ***names) {
    size_t line = (size_t)(layout->body.at - layout->first.at);
    size_t pointers = (layout->columns + 1) * sizeof(char *), column = 0, kept = 0;
    char *block = NULL;
    /* Each name needs its bytes and a NUL, which the separator or line end made room for; the last
     * line of a file may lack its end. */
    nf_status status = nf_allocate(layout->context, &block, pointers + line + 1, 1, "column names");
    char **list = (char **)(void *)block, *at = block + pointers;
    nf_csv_cursor cursor = layout->first;
    nf_csv_cell cell = {.last = false};
    for (; status == NF_OK && !cell.last; column++) {
        status = nf_csv_next(layout->context, &cursor, &cell);
        if (status != NF_OK || column == skip) continue;
        list[kept++] = at;
        at += copy_cell(at, &cell);
    }
    if (status == NF_OK) {
        list[kept] = NULL;
        *names = list;
    } else {
        nf_release(layout->context, block);
    }
    return status;
}

nf_status nf_csv_column_name(const nf_csv_layout *layout, size_t column, char **name) {
    nf_csv_cursor cursor = layout->first;
    nf_csv_cell cell = {.length = 0};
    nf_status status = NF_OK;
    for (size_t k = 0; status == NF_OK && k <= column; k++) {
        status = nf_csv_next(layout->context, &cursor, &cell);
    }
    if (status == NF_OK) {
        status = nf_allocate(layout->context, name, cell.length + 1, 1, "column name");
    }
    if (status == NF_OK) (void)copy_cell(*name, &cell);
    return status;
}

nf_status nf_csv_bad_cell(const nf_csv_layout *layout, const nf_csv_cell *cell, size_t column) {
    char name[NF_CSV_NAME];
    bool first = cell->line == layout->first.line;
    return nf_fail(layout->context, NF_ERR_DATA, "line %zu, column %zu%s: '%.*s' is %s%s",
                   cell->line, column, nf_csv_column_text(layout, column, name),
                   (int)nf_min_size(cell->length, 40), cell->text,
                   nf_number_problem(cell->text, cell->length),
                   layout->label == NF_CSV_NONE && !layout->options->features_only
                       ? "; if the column holds labels, choose it as the label column"
                   : first ? "; if line 1 is a header, say so"
                           : "");
}

nf_status nf_csv_row(const nf_csv_layout *layout, nf_csv_cursor *cursor, nf_csv_visit visit,
                     void *user) {
    nf_csv_cell cell = {0};
    size_t column = 0, line = cursor->line;
    for (; !cell.last; column++) {
        nf_status status = nf_csv_next(layout->context, cursor, &cell);
        if (status != NF_OK) return status;
        if (cell.last && column == 0 && layout->columns > 1 && cell.length == 0) {
            return nf_fail(layout->context, NF_ERR_DATA, "line %zu is empty: remove it", line);
        }
        if (column < layout->columns) status = visit(user, &cell, column);
        if (status != NF_OK) return status;
    }
    if (column == layout->columns) return NF_OK;
    return nf_fail(layout->context, NF_ERR_DATA, "line %zu has %zu column%s where line 1 has %zu%s",
                   line, column, column == 1 ? "" : "s", layout->columns,
                   layout->first.separator == ',' && column > layout->columns
                       ? "; numbers need a decimal point, and text with commas needs quotes"
                       : "; every row needs the same number");
}

bool nf_csv_more(const nf_csv_layout *layout, const nf_csv_cursor *cursor) {
    if (cursor->at == cursor->end) return false;
    if (layout->options->labels_only && layout->columns == 1) return true;
    return !nf_csv_rest_empty(cursor);
}
