/* svmlight / libsvm: "label index:value index:value # comment", indices from 1, ascending.
 * Two passes: the first checks labels and indices, the second stores values. */
#include "io/internal.h"

#define DEFAULT_MAX_ELEMENTS ((size_t)1 << 28)

typedef struct svm_parse {
    nf_context *context;
    const char *at, *end;
    size_t line;
    nf_label_column labels;
    size_t rows, columns;
    double *x; /* NULL in the first pass */
} svm_parse;

typedef struct svm_token {
    const char *text;
    size_t length;
} svm_token;

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

static bool at_line_end(const svm_parse *p) {
    return p->at == p->end || *p->at == '\n' ||
           (*p->at == '\r' && p->at + 1 < p->end && p->at[1] == '\n');
}

/* The next word of the line; length 0 at its end, comments skipped. */
static nf_status next_token(svm_parse *p, svm_token *token) {
    while (p->at < p->end && is_blank(*p->at)) p->at++;
    if (p->at < p->end && *p->at == '#') {
        while (!at_line_end(p)) p->at++;
    }
    token->text = p->at;
    while (!at_line_end(p) && !is_blank(*p->at) && *p->at != '#') {
        if (*p->at == '\0' || *p->at == '\r') {
            return nf_fail(p->context, NF_ERR_DATA,
                           "line %zu holds a %s: this is no svmlight text with LF or CRLF line "
                           "ends",
                           p->line, *p->at == '\0' ? "NUL byte" : "lone carriage return");
        }
        p->at++;
    }
    token->length = (size_t)(p->at - token->text);
    return NF_OK;
}

static void next_line(svm_parse *p) {
    if (p->at < p->end && *p->at == '\r') p->at++;
    if (p->at < p->end) p->at++;
    p->line++;
}

static nf_status bad_token(svm_parse *p, svm_token token, const char *expected) {
    return nf_fail(p->context, NF_ERR_DATA, "line %zu: '%.*s' is %s", p->line,
                   (int)nf_min_size(token.length, 40), token.text, expected);
}

static nf_status check_label(svm_parse *p, svm_token token) {
    if (memchr(token.text, ':', token.length) != NULL) {
        return bad_token(p, token, "a feature where a label must be: start each line with a label");
    }
    if (memchr(token.text, ',', token.length) != NULL) {
        return bad_token(p, token, "a list of labels: give each row one");
    }
    nf_label_scan(&p->labels, token.text, token.length, false, p->line);
    return NF_OK;
}

/* index:value, the index above `previous`. */
static nf_status split_feature(svm_parse *p, svm_token token, size_t previous, size_t *index,
                               svm_token *value) {
    const char *colon = memchr(token.text, ':', token.length);
    size_t before = colon != NULL ? (size_t)(colon - token.text) : 0;
    if (colon == NULL) return bad_token(p, token, "no feature: expected index:value");
    if (before == 3 && memcmp(token.text, "qid", 3) == 0) {
        return bad_token(p, token, "a query id, which ranking data has: remove it");
    }
    if (!nf_size_parse(token.text, before, index) || *index > ((uint64_t)1 << 32)) {
        return bad_token(p, token, "no feature: the index must be a whole number from 1 to 2^32");
    }
    if (*index == 0) {
        return bad_token(p, token, "index 0: indices start at 1, so add 1 to all of them");
    }
    if (*index <= previous) {
        return bad_token(p, token, "out of order: indices must ascend and not repeat");
    }
    *value = (svm_token){colon + 1, token.length - before - 1};
    return NF_OK;
}

static nf_status read_feature(svm_parse *p, svm_token token, size_t *previous) {
    svm_token value = {NULL, 0};
    double number;
    size_t index = 0;
    nf_status status = split_feature(p, token, *previous, &index, &value);
    if (status != NF_OK) return status;
    *previous = index;
    if (index > p->columns) p->columns = index;
    if (value.length == 0) return bad_token(p, token, "without a value: expected index:value");
    if (p->x == NULL) return NF_OK;
    if (!nf_number_parse(value.text, value.length, &number)) {
        return bad_token(p, token, nf_number_problem(value.text, value.length));
    }
    p->x[(p->rows) * p->columns + index - 1] = number;
    return NF_OK;
}

static nf_status read_line(svm_parse *p) {
    svm_token token;
    size_t previous = 0;
    nf_status status = next_token(p, &token);
    if (status != NF_OK || token.length == 0) return status;
    if (p->x == NULL) {
        status = check_label(p, token);
    } else {
        nf_label_store(&p->labels, token.text, token.length, false);
    }
    while (status == NF_OK) {
        status = next_token(p, &token);
        if (status != NF_OK || token.length == 0) break;
        status = read_feature(p, token, &previous);
    }
    p->rows++;
    return status;
}

static nf_status read_lines(svm_parse *p, const char *bytes, size_t size) {
    nf_status status = NF_OK;
    p->at = bytes;
    p->end = bytes + size;
    p->line = 1;
    p->rows = 0;
    for (; status == NF_OK && p->at < p->end; next_line(p)) status = read_line(p);
    return status;
}

static nf_status check_size(svm_parse *p, size_t max_elements) {
    size_t elements, limit = max_elements != 0 ? max_elements : DEFAULT_MAX_ELEMENTS;
    if (p->rows == 0 || p->columns == 0) {
        return nf_fail(p->context, NF_ERR_DATA,
                       "the file has %zu rows and no feature: expected 'label index:value ..'",
                       p->rows);
    }
    if (nf_mul_overflows(p->rows, p->columns, &elements) || elements > limit) {
        return nf_fail(p->context, NF_ERR_RANGE,
                       "%zu rows with indices up to %zu exceed the limit of %zu dense numbers: "
                       "renumber the features or raise the limit",
                       p->rows, p->columns, limit);
    }
    return NF_OK;
}

static nf_status parse(svm_parse *p, const char *bytes, size_t size, size_t max_elements,
                       nf_table *table) {
    nf_status status = size > 0 ? read_lines(p, bytes, size) : NF_OK;
    if (status == NF_OK) status = check_size(p, max_elements);
    if (status != NF_OK) return status;
    size_t shape[2] = {p->rows, p->columns};
    status = nf_array_new(p->context, NF_DTYPE_F64, 2, shape, "table", &table->x);
    if (status == NF_OK) {
        status = nf_array_new(p->context, NF_DTYPE_I64, 1, shape, "labels", &table->labels);
    }
    if (status == NF_OK) status = nf_label_begin(p->context, &p->labels, table->labels->data);
    if (status != NF_OK) return status;
    p->x = table->x->data;
    memset(p->x, 0, table->x->count * sizeof *p->x);
    status = read_lines(p, bytes, size);
    return status == NF_OK ? nf_label_end(p->context, &p->labels, table) : status;
}

nf_status nf_svmlight_parse(nf_context *context, const void *bytes, size_t size,
                            size_t max_elements, nf_table **out) {
    nf_scope scope = nf_scope_enter(context);
    svm_parse p;
    memset(&p, 0, sizeof p);
    p.context = context;
    nf_table *table = NULL;
    nf_c_locale locale;
    nf_status status = nf_c_locale_enter(context, &locale);
    if (status != NF_OK) return nf_scope_leave(context, scope, status);
    status = nf_table_new(context, &table);
    if (status == NF_OK) status = parse(&p, bytes, size, max_elements, table);
    if (status == NF_OK) {
        *out = table;
    } else {
        nf_table_free(context, table);
    }
    nf_c_locale_leave(&locale);
    return nf_scope_leave(context, scope, status);
}
