/* Files: arrays, tables, labels and tensors.
 *
 * Parsers take (pointer, length), check every size against the length before allocating, never
 * recurse and never trust a size field. What they allocate follows from the length: at most
 * 2 x length + 1 MiB for arrays (gzip and deflated .npz members: of the inflated length, found by
 * inflating once without keeping anything); at most 16 x length + 1 MiB for text and safetensors,
 * where two bytes such as "1," become a number of eight; svmlight has the dense table beside that,
 * up to a limit the caller sets. libzip and jansson also use malloc, in proportion to the archive's
 * directory and the JSON header.
 *
 * Errors are NF_ERR_DATA with the place (byte offset, or line from 1 and column from 0) and what
 * was expected, NF_ERR_RANGE when a size is beyond a limit, NF_ERR_IO when the system refuses.
 * Numbers do not depend on the locale. Outputs are written on success only.
 *
 * Writers write to a temporary in the same folder, fsync, rename and fsync the folder: a failed
 * write leaves an old file as it was (if only the last fsync fails, the new file is in place,
 * whole). A target that is not a regular file (a pipe, a device) is written directly; "-" and
 * /dev/stdout go on where standard output stands. A symbolic link is followed; the mode of an
 * existing file is kept, a new one takes the umask's.
 *
 * What these functions give is the caller's, freed with the function named beside it on the context
 * that made it. Any function may be called by several threads, each with a context of its own.
 */
#ifndef NEARFAR_IO_H
#define NEARFAR_IO_H

#include "nearfar/context.h"
#include "nearfar/matrix.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- arrays --------------------------------------------------------------------------------- */

/* name, value, NumPy code without byte order, bytes */
#define NF_DTYPE_MAP(XX) \
    XX(BOOL, 0, "b1", 1) \
    XX(I8, 1, "i1", 1)   \
    XX(U8, 2, "u1", 1)   \
    XX(I16, 3, "i2", 2)  \
    XX(U16, 4, "u2", 2)  \
    XX(I32, 5, "i4", 4)  \
    XX(U32, 6, "u4", 4)  \
    XX(I64, 7, "i8", 8)  \
    XX(U64, 8, "u8", 8)  \
    XX(F16, 9, "f2", 2)  \
    XX(F32, 10, "f4", 4) \
    XX(F64, 11, "f8", 8)

typedef enum nf_dtype {
#define XX(name, value, code, bytes) NF_DTYPE_##name = value,
    NF_DTYPE_MAP(XX)
#undef XX
} nf_dtype;

NF_API const char *nf_dtype_name(nf_dtype dtype); /* "f4"; NULL outside the enum */
NF_API size_t nf_dtype_size(nf_dtype dtype);

#define NF_MAX_DIMS 32

/* An array in C order and native byte order; data is owned by the array. */
typedef struct nf_array {
    nf_dtype dtype;
    int ndim;
    size_t shape[NF_MAX_DIMS];
    size_t count; /* product of shape; 1 for ndim 0 */
    void *data;
} nf_array;

NF_API void nf_array_free(nf_context *context, nf_array *array); /* NULL allowed */

/* ---- conversions ---------------------------------------------------------------------------- */

/* As a float matrix: F32 and F64 keep their type, F16 and integers of up to 16 bits become
 * float32, wider integers float64. 1-D (n) becomes (n, 1); more than 2 dimensions (n, a, b, ..)
 * become (n, a b ..). The result owns its data, is float and 2-D. `name` is used in messages. */
NF_API NF_MUST_USE nf_status nf_array_to_matrix(nf_context *context, const nf_array *array,
                                                const char *name, nf_array **out);

/* The view of a 2-D F32 or F64 array. */
NF_API nf_matrix nf_array_view(const nf_array *array);

/* As int64 labels: (n) or (n, 1); integers and bool by value; floats only if integral (-0.0 is 0,
 * NaN refused with its position); if any uint64 is beyond int64, all become class numbers by first
 * appearance (never through double). out (n) is I64. */
NF_API NF_MUST_USE nf_status nf_array_to_labels(nf_context *context, const nf_array *array,
                                                const char *name, nf_array **out);

typedef enum nf_same_encoding {
    NF_SAME_01 = 0, /* 1 / True = positive, 0 / False = negative */
    NF_SAME_PM1 = 1 /* +1 = positive, -1 = negative */
} nf_same_encoding;

/* As `same` flags: (n) or (n, 1), any integer, bool or float type; out (n) is U8 of 0 and 1.
 * Another value is refused by name and position, {-1, +1} with a hint to the encoding. */
NF_API NF_MUST_USE nf_status nf_array_to_same(nf_context *context, const nf_array *array,
                                              const char *name, nf_same_encoding encoding,
                                              nf_array **out);

/* As finite float64 values of shape (n): weights, upstream gradients. */
NF_API NF_MUST_USE nf_status nf_array_to_f64(nf_context *context, const nf_array *array,
                                             const char *name, nf_array **out);

/* As int64 indices of shape (n) (integers only). */
NF_API NF_MUST_USE nf_status nf_array_to_index(nf_context *context, const nf_array *array,
                                               const char *name, nf_array **out);

/* ---- bytes ---------------------------------------------------------------------------------- */

/* Whole file (regular, pipe or "-" for standard input) into memory; *bytes is freed with
 * nf_bytes_free. gzip content is inflated when `inflate` is non-zero, to at most `max_size` bytes
 * (0: no limit but memory). */
NF_API NF_MUST_USE nf_status nf_file_read(nf_context *context, const char *path, int inflate,
                                          size_t max_size, void **bytes, size_t *size);
NF_API void nf_bytes_free(nf_context *context, void *bytes); /* NULL allowed */

/* Inflate a gzip stream (several members are joined). Anything after the last is an error. */
NF_API NF_MUST_USE nf_status nf_gunzip(nf_context *context, const void *bytes, size_t size,
                                       size_t max_size, void **out, size_t *out_size);

/* Write a whole file, atomically as described above. */
NF_API NF_MUST_USE nf_status nf_file_write(nf_context *context, const char *path, const void *bytes,
                                           size_t size);

/* ---- NumPy ---------------------------------------------------------------------------------- */

/* .npy, versions 1 to 3: f2 f4 f8, every integer, bool, both byte orders, C and Fortran order.
 * No pickles, no structures, no strings; no trailing bytes. */
NF_API NF_MUST_USE nf_status nf_npy_parse(nf_context *context, const void *bytes, size_t size,
                                          nf_array **out);

/* The member `name` (with or without .npy) of an .npz; NULL takes the only member, or fails with
 * the list of names. */
NF_API NF_MUST_USE nf_status nf_npz_parse(nf_context *context, const void *bytes, size_t size,
                                          const char *name, nf_array **out);

/* Names of the members, without .npy, NUL-terminated strings in one block after an array of
 * pointers; freed with nf_bytes_free. */
NF_API NF_MUST_USE nf_status nf_npz_names(nf_context *context, const void *bytes, size_t size,
                                          char ***names, size_t *count);

/* Streaming .npy writer: open with the final shape, append elements in C order, then commit. A
 * writer that is not committed leaves nothing. nf_npy_close frees it in every case (NULL allowed).
 * Commit fails if fewer or more elements came than the shape holds. */
typedef struct nf_npy_writer nf_npy_writer;
NF_API NF_MUST_USE nf_status nf_npy_open(nf_context *context, const char *path, nf_dtype dtype,
                                         int ndim, const size_t *shape, nf_npy_writer **writer);
NF_API NF_MUST_USE nf_status nf_npy_append(nf_context *context, nf_npy_writer *writer,
                                           const void *elements, size_t count);
NF_API NF_MUST_USE nf_status nf_npy_commit(nf_context *context, nf_npy_writer *writer);
NF_API void nf_npy_close(nf_context *context, nf_npy_writer *writer);

/* Whole array in one call. */
NF_API NF_MUST_USE nf_status nf_npy_write(nf_context *context, const char *path, nf_dtype dtype,
                                          int ndim, const size_t *shape, const void *data);

/* Several named arrays as an uncompressed .npz, built in memory. No dates: the same arrays give the
 * same bytes. The arrays are views. */
typedef struct nf_named_array {
    const char *name;
    nf_array array;
} nf_named_array;
NF_API NF_MUST_USE nf_status nf_npz_write(nf_context *context, const char *path,
                                          const nf_named_array *arrays, size_t count);

/* ---- tables --------------------------------------------------------------------------------- */

/* Rows with features and perhaps labels. */
typedef struct nf_table {
    nf_array *x;        /* (n, d) F32 or F64; NULL if the file held labels only */
    nf_array *labels;   /* (n) I64; NULL if none. An empty or "?" label cell is -1 */
    int has_unlabelled; /* -1 in labels means unlabelled cells were met */
    char **class_names; /* string labels: name of label 0, 1, ..; NULL if labels were numbers */
    size_t classes;     /* length of class_names */
    char **columns;     /* header names of x's columns, or NULL */
    char *label_column; /* name of the label column, or NULL */
} nf_table;

NF_API void nf_table_free(nf_context *context, nf_table *table); /* NULL allowed */

typedef struct nf_csv_options {
    char separator;           /* 0: ',' or tab or ';', whichever the first line has most of, else
                                 blanks; ' ': any run of blanks */
    int header;               /* -1 detect (default): a first line that names a label column, or
                                 that has text and no number, is a header; 0 no, 1 yes */
    const char *label_column; /* name or 0-based number; NULL: a column named label, class, target
                                 or y (any case) if there is one */
    int labels_only;          /* the file is a list of labels: one column, or label_column */
    int require_labels;       /* no label column: NF_ERR_DATA that lists the columns */
    int features_only;        /* no column is a label column, whatever its name */
} nf_csv_options;

NF_API nf_csv_options nf_csv_defaults(void);

/* CSV or TSV: with or without UTF-8 BOM, LF or CRLF, quotes as in RFC 4180; blanks around a cell do
 * not count; blank lines only at the end. Feature cells must be finite decimal numbers, correctly
 * rounded to float64; a decimal comma or a thousands separator is an error that says so.
 *
 * Labels: an empty cell or "?" is unlabelled (-1). If every other cell is a whole number (3, -7,
 * 3.0) labels keep their value, and a -1 among them means unlabelled too; a number that is not
 * whole is refused. If a cell is text, or an integer beyond int64, all cells are names: byte
 * strings, numbered 0, 1, .. by first appearance and kept in class_names. In a file of labels only,
 * each line is a row, an empty one an unlabelled row. */
NF_API NF_MUST_USE nf_status nf_csv_parse(nf_context *context, const void *bytes, size_t size,
                                          const nf_csv_options *options, nf_table **out);

/* svmlight / libsvm, indices from 1, ascending; dense result with d = largest index, at most
 * `max_elements` numbers (0: 2^28). Labels as in CSV. */
NF_API NF_MUST_USE nf_status nf_svmlight_parse(nf_context *context, const void *bytes, size_t size,
                                               size_t max_elements, nf_table **out);

/* IDX (MNIST): big-endian, types 08 u1, 09 i1, 0B i2, 0C i4, 0D f4, 0E f8. gzip data is refused
 * with a hint. */
NF_API NF_MUST_USE nf_status nf_idx_parse(nf_context *context, const void *bytes, size_t size,
                                          nf_array **out);

/* Write rows as CSV with %.9g / %.17g, so that reading gives the same bits; x must be finite and
 * have a column. header (x.cols names) may be NULL. */
NF_API NF_MUST_USE nf_status nf_csv_write(nf_context *context, const char *path, nf_matrix x,
                                          const char *const *header);

/* ---- any file ------------------------------------------------------------------------------- */

typedef enum nf_format {
    NF_FORMAT_UNKNOWN = 0,
    NF_FORMAT_NPY,
    NF_FORMAT_NPZ,
    NF_FORMAT_CSV,
    NF_FORMAT_SVMLIGHT,
    NF_FORMAT_IDX,
    NF_FORMAT_SAFETENSORS
} nf_format;

/* By magic bytes first, then by the name's ending (.csv .tsv .txt .svm .svmlight .libsvm, each
 * also with .gz), else text as svmlight if its second word is index:value, as CSV if not. path may
 * be NULL. */
NF_API nf_format nf_format_detect(const void *bytes, size_t size, const char *path);
NF_API const char *nf_format_name(nf_format format);

/* Load a source as a table: "digits", "digits-train" or "digits-test" (the bundled set and its
 * fixed halves, unless a file of that name exists; x float32, labels 0 .. 9), a path, "-" for
 * standard input, "file.npz:member" or "file.csv:label column". An .npz without a member uses x, X,
 * data or embeddings (and y, labels or target as labels when present). gzip is transparent.
 * `options` is for CSV; NULL means defaults. */
NF_API NF_MUST_USE nf_status nf_table_load(nf_context *context, const char *source,
                                           const nf_csv_options *options, nf_table **out);

/* The bundled set itself (UCI handwritten digits, 8 x 8 pixels of 0 .. 16), whatever files there are:
 * x (n, 64) float32, labels 0 .. 9. All 1797 rows, or one of its fixed halves of 901 and 896. */
typedef enum nf_digits { NF_DIGITS_ALL = 0, NF_DIGITS_TRAIN, NF_DIGITS_TEST } nf_digits;
NF_API NF_MUST_USE nf_status nf_digits_load(nf_context *context, nf_digits subset, nf_table **out);

/* Load a single array (labels, same, weights, ids, indices) from .npy, .npz:member, IDX or a CSV or
 * text file: one column gives (n), exact int64 or uint64 if all cells are integers, else float64;
 * several give float64 (n, d). */
NF_API NF_MUST_USE nf_status nf_array_load(nf_context *context, const char *source, nf_array **out);

/* Load labels: a file as nf_array_load, a text file of names, or the labels of a table; out is a
 * table without x. `options` selects a CSV's label column. */
NF_API NF_MUST_USE nf_status nf_labels_load(nf_context *context, const char *source,
                                            const nf_csv_options *options, nf_table **out);

/* A pair list file: .npz with members i, j, same[, weight], or .npy int64 (n, 3); CSV with header
 * i,j,same[,weight] too. Freed with nf_pair_file_free. */
typedef struct nf_pair_file {
    size_t count;
    nf_array *i, *j;  /* (n) I64 */
    nf_array *same;   /* (n) U8 */
    nf_array *weight; /* (n) F64 or NULL */
} nf_pair_file;
NF_API NF_MUST_USE nf_status nf_pair_file_load(nf_context *context, const char *source,
                                               nf_same_encoding encoding, nf_pair_file **out);
NF_API void nf_pair_file_free(nf_context *context, nf_pair_file *file);

/* ---- safetensors ---------------------------------------------------------------------------- */

typedef struct nf_tensor {
    const char *name;
    nf_dtype dtype;
    int ndim;
    size_t shape[NF_MAX_DIMS];
    size_t count;
    const void *data;
} nf_tensor;

typedef struct nf_metadata {
    const char *key, *value;
} nf_metadata;

typedef struct nf_safetensors {
    size_t tensors;
    const nf_tensor *tensor; /* in order of offset */
    size_t entries;
    const nf_metadata *metadata; /* sorted by key */
} nf_safetensors;

/* Strict: header within the file and at most 100 MB, no holes, overlaps, duplicates or trailing
 * bytes, metadata string to string, valid UTF-8. Tensor data is copied (aligned, native order). */
NF_API NF_MUST_USE nf_status nf_safetensors_parse(nf_context *context, const void *bytes,
                                                  size_t size, nf_safetensors **out);
NF_API void nf_safetensors_free(nf_context *context, nf_safetensors *file); /* NULL allowed */

/* Same input, same bytes: tensors in the given order, metadata sorted by key. */
NF_API NF_MUST_USE nf_status nf_safetensors_write(nf_context *context, const char *path,
                                                  const nf_tensor *tensor, size_t tensors,
                                                  const nf_metadata *metadata, size_t entries);

#ifdef __cplusplus
}
#endif
#endif
