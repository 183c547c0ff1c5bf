/* What the io units share. Nothing here is public.
 *
 * Parsers are split the same way everywhere: check the whole shape against the length, allocate
 * once, then decode. */
#ifndef NF_IO_INTERNAL_H
#define NF_IO_INTERNAL_H

#include <locale.h>
#include <string.h>

#include "base/base.h"
#include "nearfar/io.h"

/* ---- interruption --------------------------------------------------------------------------- */

/* After EINTR: has the caller asked to stop? A blocked read or write would wait for ever
 * otherwise. */
static inline nf_status nf_after_signal(nf_context *context) {
    context->progress_time = 0; /* ask now, however recent the last call was */
    nf_progress_add(context, 0);
    return nf_progress_status(context);
}

/* ---- arrays (array.c) ----------------------------------------------------------------------- */

/* Product of a shape; true if the product of its non-zero dimensions overflows, so that a shape
 * with a zero cannot hide an absurd one. */
bool nf_shape_overflows(const size_t *shape, int ndim, size_t *count);

/* An array of the given shape with uninitialised data. */
nf_status nf_array_new(nf_context *context, nf_dtype dtype, int ndim, const size_t *shape,
                       const char *what, nf_array **out) NF_MUST_USE;

/* Copy `count` elements of `size` bytes, reversing the bytes of each if `swap`. */
void nf_decode(void *out, const void *in, size_t count, size_t size, bool swap);

/* True on a machine whose byte order is not little-endian (big-endian). */
bool nf_swap_little(void);
bool nf_swap_big(void);

/* "(3, 4)" for messages, cut to the buffer. Returns `buffer`. */
#define NF_SHAPE_TEXT 96
const char *nf_shape_text(char buffer[NF_SHAPE_TEXT], const size_t *shape, int ndim);

double nf_half_to_double(uint16_t half);

/* Element as double; exact but for integers beyond 2^53. */
double nf_array_value(const nf_array *array, size_t index);
bool nf_dtype_is_float(nf_dtype dtype);

/* Fails unless the array has shape (n) or (n, 1). */
nf_status nf_check_vector(nf_context *context, const nf_array *array, const char *name) NF_MUST_USE;

/* ---- numbers (number.c) --------------------------------------------------------------------- */

/* The C locale on this thread, so that strtod and printf do not depend on the host program's.
 * Leave must follow enter on the same thread. */
typedef struct nf_c_locale {
    locale_t c, previous;
} nf_c_locale;
nf_status nf_c_locale_enter(nf_context *context, nf_c_locale *locale) NF_MUST_USE;
void nf_c_locale_leave(const nf_c_locale *locale);

/* Decimal numbers only, no spaces around: [+-] digits [. digits] [e [+-] digits]. Call within the C
 * locale. False for anything else, and for a value beyond float64. */
bool nf_number_parse(const char *text, size_t length, double *value);

typedef enum nf_integer_kind {
    NF_INTEGER_NOT,
    NF_INTEGER_OK,
    NF_INTEGER_BIG /* an integer that int64 cannot hold */
} nf_integer_kind;
nf_integer_kind nf_integer_parse(const char *text, size_t length, int64_t *value);

/* Digits only, no sign; false if it does not fit. */
bool nf_size_parse(const char *text, size_t length, size_t *value);

/* Why `text` is no finite number and what to do, for messages: "a decimal comma; write ...". */
const char *nf_number_problem(const char *text, size_t length);

/* ---- classes by first appearance (classes.c) ------------------------------------------------ */

typedef struct nf_classes {
    char *text;     /* the distinct byte strings, each NUL-terminated */
    size_t *start;  /* where each starts in text; start[count] is the end */
    uint32_t *slot; /* open addressing: class + 1, or 0 */
    size_t mask, count;
    uint64_t key[2];
} nf_classes;

/* Room for `items` strings of `bytes` bytes in all, as scratch of the current scope. */
nf_status nf_classes_init(nf_context *context, nf_classes *classes, size_t items,
                          size_t bytes) NF_MUST_USE;
/* Class of a byte string, in order of first appearance. With `unquote`, "" counts as ". */
int64_t nf_classes_intern(nf_classes *classes, const char *text, size_t length, bool unquote);
/* The names as one block: pointers, then strings. */
nf_status nf_classes_names(nf_context *context, const nf_classes *classes,
                           char ***names) NF_MUST_USE;

/* ---- label columns of text files (label_column.c) ------------------------------------------- */

/* First pass over the cells decides what the column is; second pass stores labels. */
typedef struct nf_label_column {
    size_t rows, bytes;   /* cells seen; bytes of the non-empty ones */
    size_t strings, bigs; /* cells that are no number; integers beyond int64 */
    size_t bad_line;      /* first number that is no integer; 0: none */
    char bad_text[40];
    bool unlabelled;   /* an empty cell, "?" or the number -1 was met */
    bool classes_used; /* cells become class numbers, not values */
    nf_classes classes;
    int64_t *out;
    size_t stored;
} nf_label_column;

void nf_label_scan(nf_label_column *column, const char *text, size_t length, bool unquote,
                   size_t line);
/* Between the passes; `labels` has room for column->rows. Refuses non-integral numbers. */
nf_status nf_label_begin(nf_context *context, nf_label_column *column, int64_t *labels) NF_MUST_USE;
void nf_label_store(nf_label_column *column, const char *text, size_t length, bool unquote);
/* Fill the table's class names and has_unlabelled. */
nf_status nf_label_end(nf_context *context, nf_label_column *column, nf_table *table) NF_MUST_USE;

/* ---- delimited text (csv_scan.c) ------------------------------------------------------------ */

typedef struct nf_csv_cursor {
    const char *at, *end;
    size_t line;    /* of `at`, from 1 */
    char separator; /* ' ' means runs of spaces and tabs */
} nf_csv_cursor;

typedef struct nf_csv_cell {
    const char *text; /* trimmed, without the quotes */
    size_t length, line;
    bool quoted;
    bool unquote; /* quoted and holds doubled quotes */
    bool last;    /* ends its row */
} nf_csv_cell;

/* Skips a UTF-8 byte order mark; refuses UTF-16. */
nf_status nf_csv_start(nf_context *context, const void *bytes, size_t size, char separator,
                       nf_csv_cursor *cursor) NF_MUST_USE;
/* The next cell. A row is at cursor->at < cursor->end; read cells until one is `last`. */
nf_status nf_csv_next(nf_context *context, nf_csv_cursor *cursor, nf_csv_cell *cell) NF_MUST_USE;
/* Only line ends (and blanks) are left. */
bool nf_csv_rest_empty(const nf_csv_cursor *cursor);
bool nf_csv_cell_is(const nf_csv_cell *cell, const char *text, bool any_case);

/* A one-column text file of numbers as (n): int64, uint64 or float64, whichever holds all
 * exactly; several columns as float64 (n, d). */
nf_status nf_csv_array(nf_context *context, const void *bytes, size_t size,
                       nf_array **out) NF_MUST_USE;

/* ---- output files (sink.c) ------------------------------------------------------------------ */

/* A file being written, as nearfar/io.h describes. Not committed: nothing is left behind. */
typedef struct nf_sink nf_sink;
nf_status nf_sink_open(nf_context *context, const char *path, nf_sink **sink) NF_MUST_USE;
nf_status nf_sink_write(nf_context *context, nf_sink *sink, const void *bytes,
                        size_t size) NF_MUST_USE;
nf_status nf_sink_commit(nf_context *context, nf_sink *sink) NF_MUST_USE;
void nf_sink_close(nf_context *context, nf_sink *sink); /* NULL allowed */

/* ---- NumPy (npy_write.c) -------------------------------------------------------------------- */

#define NF_NPY_HEADER_MAX 1024
/* Version 1 header for C order, little-endian on every machine; returns its length. */
size_t nf_npy_header(char out[NF_NPY_HEADER_MAX], nf_dtype dtype, int ndim, const size_t *shape);
/* Fails for a bad dtype, ndim or shape; gives the number of elements. */
nf_status nf_npy_check(nf_context *context, nf_dtype dtype, int ndim, const size_t *shape,
                       size_t *count) NF_MUST_USE;

/* ---- sources (load.c) ----------------------------------------------------------------------- */

typedef struct nf_source {
    const char *path;   /* scratch */
    const char *member; /* after the ':', NULL if none */
    void *bytes;        /* allocated */
    size_t size;
    nf_format format;
} nf_source;

nf_status nf_source_open(nf_context *context, const char *source, nf_source *out) NF_MUST_USE;
void nf_source_close(nf_context *context, nf_source *source);
/* Put "path: " before the message of a failed parse. */
nf_status nf_source_fail(nf_context *context, const nf_source *source, nf_status status);

/* The member called one of `names` (NULL-terminated list), or *out = NULL. */
nf_status nf_npz_first(nf_context *context, const void *bytes, size_t size,
                       const char *const *names, nf_array **out) NF_MUST_USE;

/* ---- bundled digits (digits.c) -------------------------------------------------------------- */

/* True for "digits", "digits-train" and "digits-test" unless a file has that name. */
bool nf_digits_known(const char *source);

/* The subset of a known name. */
nf_digits nf_digits_subset(const char *source);

nf_status nf_table_new(nf_context *context, nf_table **table) NF_MUST_USE;

#endif
