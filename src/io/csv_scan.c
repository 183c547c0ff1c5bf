/* Cells of delimited text (RFC 4180 with any separator), one after the other, without copying. */
#include "io/internal.h"

nf_status nf_csv_start(nf_context *context, const void *bytes, size_t size, char separator,
                       nf_csv_cursor *cursor) {
    const unsigned char *b = bytes;
    if (size >= 2 && ((b[0] == 0xff && b[1] == 0xfe) || (b[0] == 0xfe && b[1] == 0xff))) {
        return nf_fail(context, NF_ERR_DATA, "the text is UTF-16: save it as UTF-8");
    }
    size_t mark = size >= 3 && memcmp(b, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    const char *text = bytes;
    *cursor = (nf_csv_cursor){NULL, NULL, 1, separator};
    if (size > 0) cursor->at = text + mark, cursor->end = text + size;
    return NF_OK;
}

static bool is_blank(const nf_csv_cursor *cursor, char c) {
    return (c == ' ' || c == '\t') && (cursor->separator == ' ' || c != cursor->separator);
}

static void skip_blanks(nf_csv_cursor *cursor) {
    while (cursor->at < cursor->end && is_blank(cursor, *cursor->at)) cursor->at++;
}

static bool is_separator(const nf_csv_cursor *cursor, char c) {
    return c == cursor->separator || (cursor->separator == ' ' && c == '\t');
}

/* After the opening quote, to after the closing one. */
static nf_status scan_quoted(nf_context *context, nf_csv_cursor *cursor, nf_csv_cell *cell) {
    cell->quoted = true;
    cell->text = cursor->at;
    for (; cursor->at < cursor->end; cursor->at++) {
        if (*cursor->at == '\n') cursor->line++;
        if (*cursor->at == '\0') break;
        if (*cursor->at != '"') continue;
        if (cursor->at + 1 == cursor->end || cursor->at[1] != '"') {
            cell->length = (size_t)(cursor->at++ - cell->text);
            skip_blanks(cursor);
            return NF_OK;
        }
        cell->unquote = true;
        cursor->at++;
    }
    if (cursor->at < cursor->end) return NF_OK; /* a NUL: reported by the caller */
    return nf_fail(context, NF_ERR_DATA, "line %zu: the quote that opens here is never closed",
                   cell->line);
}

static void scan_plain(nf_csv_cursor *cursor, nf_csv_cell *cell) {
    cell->text = cursor->at;
    const char *last = cursor->at; /* end without trailing blanks */
    for (; cursor->at < cursor->end; cursor->at++) {
        char c = *cursor->at;
        if (is_separator(cursor, c) || c == '\n' || c == '\r' || c == '\0') break;
        if (!is_blank(cursor, c)) last = cursor->at + 1;
    }
    cell->length = (size_t)(last - cell->text);
}

/* What ends the cell: a separator, a line end or the end of the text. */
static nf_status scan_end(nf_context *context, nf_csv_cursor *cursor, nf_csv_cell *cell) {
    if (cursor->separator == ' ') skip_blanks(cursor);
    if (cursor->at == cursor->end) {
        cell->last = true;
        return NF_OK;
    }
    char c = *cursor->at;
    if (c == '\n' || (c == '\r' && cursor->at + 1 < cursor->end && cursor->at[1] == '\n')) {
        cursor->at += c == '\r' ? 2 : 1;
        cursor->line++;
        cell->last = true;
        return NF_OK;
    }
    if (c == '\0') {
        return nf_fail(context, NF_ERR_DATA,
                       "line %zu holds a NUL byte: this is no text file (or not UTF-8)",
                       cursor->line);
    }
    if (c == '\r') {
        return nf_fail(context, NF_ERR_DATA,
                       "line %zu ends in a lone carriage return: convert the line ends to LF or "
                       "CRLF",
                       cursor->line);
    }
    if (cursor->separator == ' ') return NF_OK; /* blanks were the separator */
    if (is_separator(cursor, c)) {
        cursor->at++;
        return NF_OK;
    }
    return nf_fail(context, NF_ERR_DATA,
                   "line %zu: text follows a closing quote: double a quote inside quotes",
                   cursor->line);
}

nf_status nf_csv_next(nf_context *context, nf_csv_cursor *cursor, nf_csv_cell *cell) {
    *cell = (nf_csv_cell){.line = cursor->line};
    skip_blanks(cursor);
    nf_status status = NF_OK;
    if (cursor->at < cursor->end && *cursor->at == '"') {
        cursor->at++;
        status = scan_quoted(context, cursor, cell);
    } else {
        scan_plain(cursor, cell);
    }
    return status == NF_OK ? scan_end(context, cursor, cell) : status;
}

bool nf_csv_rest_empty(const nf_csv_cursor *cursor) {
    for (const char *p = cursor->at; p < cursor->end; p++) {
        if (*p != '\n' && *p != '\r' && *p != ' ' && *p != '\t') return false;
    }
    return true;
}

bool nf_csv_cell_is(const nf_csv_cell *cell, const char *text, bool any_case) {
    size_t length = strlen(text);
    if (length != cell->length) return false;
    for (size_t i = 0; i < length; i++) {
        char a = cell->text[i], b = text[i];
        if (any_case && a >= 'A' && a <= 'Z') a = (char)(a + 32);
        if (any_case && b >= 'A' && b <= 'Z') b = (char)(b + 32);
        if (a != b) return false;
    }
    return true;
}
