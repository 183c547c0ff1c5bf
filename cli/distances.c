/* nearfar distances: blocks of rows straight to the file, so that memory stays small whatever the
 * number of distances. A block's borders never change a distance. */
#include <stdlib.h>
#include <string.h>

#include "data.h"

#define BLOCK_BYTES ((size_t)32 << 20)
#define BLOCK_PAIRS ((size_t)1 << 18)

static const char *const npy_only[] = {".npy", NULL};

typedef struct job {
    nf_distance_options options;
    cli_rows a, b;
    nf_matrix y;     /* b's rows, or a's */
    nf_array *i, *j; /* of --pairs */
    nf_npy_writer *writer;
    void *block;
    int ndim;
    size_t shape[2];
} job;

static nf_dtype result_type(const job *work) {
    return work->a.x.type == NF_FLOAT64 ? NF_DTYPE_F64 : NF_DTYPE_F32;
}

static nf_matrix slice(nf_matrix x, size_t first, size_t count) {
    if (count > 0 && x.cols > 0) {
        x.data = (const unsigned char *)x.data + first * x.ld * nf_type_size(x.type);
    }
    x.rows = count;
    return x;
}

/* ---- pair list ---- */

static int load_npz_pairs(cli *app, const char *source, job *work) {
    char member[4200];
    nf_array **sides[2] = {&work->i, &work->j};
    for (int side = 0; side < 2; side++) {
        nf_array *raw = NULL;
        int length = snprintf(member, sizeof member, "%s:%c", source, side == 0 ? 'i' : 'j');
        if (length < 0 || (size_t)length >= sizeof member) {
            return cli_fail(app, CLI_IO, "--pairs: the path is too long");
        }
        nf_status status = nf_array_load(app->context, member, &raw);
        if (status == NF_OK) {
            status = nf_array_to_index(app->context, raw, side == 0 ? "i" : "j", sides[side]);
        }
        nf_array_free(app->context, raw);
        if (status != NF_OK) return cli_data_status(app, status, cli_quote(source).text);
    }
    return CLI_OK;
}

/* Rows (i, j) or (i, j, same): flatten, convert, and keep the first two columns. */
static int split_columns(cli *app, const char *source, nf_array *raw, job *work) {
    if (raw->ndim != 2 || (raw->shape[1] != 2 && raw->shape[1] != 3)) {
        return cli_fail(app, CLI_DATA, "%s: a pair list has shape (n, 2) or (n, 3)",
                        cli_quote(source).text);
    }
    size_t rows = raw->shape[0], columns = raw->shape[1];
    nf_array *flat = NULL;
    raw->ndim = 1;
    raw->shape[0] = raw->count;
    nf_status status = nf_array_to_index(app->context, raw, "pairs", &flat);
    if (status == NF_OK) status = nf_array_to_index(app->context, flat, "pairs", &work->i);
    if (status == NF_OK) status = nf_array_to_index(app->context, flat, "pairs", &work->j);
    if (status == NF_OK) {
        const int64_t *from = flat->data;
        int64_t *i = work->i->data, *j = work->j->data;
        for (size_t p = 0; p < rows; p++) {
            i[p] = from[p * columns];
            j[p] = from[p * columns + 1];
        }
        work->i->count = work->j->count = rows;
    }
    nf_array_free(app->context, flat);
    return cli_data_status(app, status, cli_quote(source).text);
}

static int load_csv_pairs(cli *app, const char *source, job *work) {
    nf_pair_file *list = NULL;
    nf_status status = nf_pair_file_load(app->context, source, NF_SAME_01, &list);
    if (status != NF_OK) return cli_data_status(app, status, cli_quote(source).text);
    work->i = list->i;
    work->j = list->j;
    list->i = list->j = NULL;
    nf_pair_file_free(app->context, list);
    return CLI_OK;
}

static int check_range(cli *app, const char *source, const nf_array *index, size_t rows,
                       const char *side) {
    const int64_t *value = index->data;
    for (size_t p = 0; p < index->count; p++) {
        if (value[p] >= 0 && (uint64_t)value[p] < rows) continue;
        return cli_fail(app, CLI_DATA, "%s: %s of pair %zu is %lld, but rows go from 0 to %lld",
                        cli_quote(source).text, side, p, (long long)value[p], (long long)rows - 1);
    }
    return CLI_OK;
}

static int load_pairs(cli *app, job *work) {
    const char *source = cli_get(app, OPT_INDEX_LIST)->text;
    int code;
    if (cli_ends_with(source, ".npz")) {
        code = load_npz_pairs(app, source, work);
    } else if (cli_ends_with(source, ".csv") || cli_ends_with(source, ".csv.gz")) {
        code = load_csv_pairs(app, source, work);
    } else {
        nf_array *raw = NULL;
        nf_status status = nf_array_load(app->context, source, &raw);
        code = cli_data_status(app, status, cli_quote(source).text);
        if (code == CLI_OK) code = split_columns(app, source, raw, work);
        nf_array_free(app->context, raw);
    }
    if (code != CLI_OK) return code;
    if (work->i->count != work->j->count) {
        return cli_fail(app, CLI_DATA, "%s: i has %zu entries, but j has %zu",
                        cli_quote(source).text, work->i->count, work->j->count);
    }
    code = check_range(app, source, work->i, work->a.x.rows, "i");
    return code == CLI_OK ? check_range(app, source, work->j, work->y.rows, "j") : code;
}

/* ---- blocks ---- */

static int compute_full(cli *app, job *work) {
    nf_matrix x = work->a.x, y = work->y;
    size_t row_bytes = y.rows * nf_type_size(x.type);
    size_t step = row_bytes > 0 ? BLOCK_BYTES / row_bytes : x.rows;
    step = step > x.rows ? x.rows : step;
    step = step == 0 ? 1 : step;
    work->block = malloc(step * row_bytes > 0 ? step * row_bytes : 1);
    if (work->block == NULL) return cli_no_memory(app, "a block of distances");
    for (size_t first = 0; first < x.rows; first += step) {
        size_t rows = x.rows - first < step ? x.rows - first : step;
        nf_matrix_out out = {work->block, x.type, rows, y.rows, y.rows};
        cli_progress_part(app, (double)first / (double)x.rows,
                          (double)(first + rows) / (double)x.rows);
        nf_status status =
            nf_distances_full(app->context, &work->options, slice(x, first, rows), y, out);
        if (status != NF_OK) return cli_data_status(app, status, "distances");
        status = nf_npy_append(app->context, work->writer, work->block, rows * y.rows);
        if (status != NF_OK) return cli_status(app, status, cli_output_path(app, OPT_OUTPUT));
        cli_progress_poll(app, 1, 1);
    }
    return CLI_OK;
}

/* Rows first .. first + rows against all later ones; row r's part begins at its own diagonal. */
static nf_status append_triangle(cli *app, job *work, size_t rows, size_t columns) {
    size_t size = nf_type_size(work->a.x.type);
    const unsigned char *block = work->block;
    for (size_t r = 0; r < rows; r++) {
        const void *start = block + (r * columns + r) * size;
        nf_status status = nf_npy_append(app->context, work->writer, start, columns - r);
        if (status != NF_OK) return status;
    }
    return NF_OK;
}

static int compute_condensed(cli *app, job *work) {
    nf_matrix x = work->a.x;
    if (x.rows < 2) return CLI_OK;
    size_t last = x.rows - 1, most = last * nf_type_size(x.type);
    size_t step = BLOCK_BYTES / most > last ? last : BLOCK_BYTES / most;
    step = step == 0 ? 1 : step;
    work->block = malloc(step * most);
    if (work->block == NULL) return cli_no_memory(app, "a block of distances");
    double total = (double)last * (double)x.rows / 2, done = 0;
    for (size_t first = 0; first < last; first += step) {
        size_t rows = last - first < step ? last - first : step, columns = last - first;
        nf_matrix_out out = {work->block, x.type, rows, columns, columns};
        double share = (double)rows * ((double)columns - (double)(rows - 1) / 2) / total;
        cli_progress_part(app, done, done + share);
        done += share;
        nf_status status = nf_distances_full(app->context, &work->options, slice(x, first, rows),
                                             slice(x, first + 1, columns), out);
        if (status != NF_OK) return cli_data_status(app, status, "distances");
        status = append_triangle(app, work, rows, columns);
        if (status != NF_OK) return cli_status(app, status, cli_output_path(app, OPT_OUTPUT));
    }
    return CLI_OK;
}

static int compute_pairs(cli *app, job *work) {
    size_t count = work->i->count;
    const int64_t *i = work->i->data, *j = work->j->data;
    work->block = malloc(BLOCK_PAIRS * nf_type_size(work->a.x.type));
    if (work->block == NULL) return cli_no_memory(app, "a block of distances");
    for (size_t first = 0; first < count; first += BLOCK_PAIRS) {
        size_t pairs = count - first < BLOCK_PAIRS ? count - first : BLOCK_PAIRS;
        cli_progress_part(app, (double)first / (double)count,
                          (double)(first + pairs) / (double)count);
        nf_status status = nf_distances_pairs(app->context, &work->options, work->a.x, work->y,
                                              i + first, j + first, pairs, work->block);
        if (status != NF_OK) return cli_data_status(app, status, "distances");
        status = nf_npy_append(app->context, work->writer, work->block, pairs);
        if (status != NF_OK) return cli_status(app, status, cli_output_path(app, OPT_OUTPUT));
    }
    return CLI_OK;
}

/* ---- the whole ---- */

static int plan(cli *app, job *work) {
    size_t n = work->a.x.rows, m = work->y.rows;
    double numbers;
    if (cli_given(app, OPT_INDEX_LIST)) {
        work->ndim = 1;
        work->shape[0] = work->i->count;
        numbers = (double)work->i->count;
    } else if (cli_given(app, OPT_CONDENSED)) {
        work->ndim = 1;
        numbers = (double)n * ((double)n - 1) / 2;
        if (n > ((size_t)1 << 32) - 1) {
            return cli_fail(app, CLI_DATA, "%zu rows have too many pairs: at most 4294967295 rows",
                            n);
        }
        work->shape[0] = n < 2 ? 0 : (n % 2 == 0 ? n / 2 * (n - 1) : (n - 1) / 2 * n);
    } else {
        work->ndim = 2;
        work->shape[0] = n;
        work->shape[1] = m;
        numbers = (double)n * (double)m;
    }
    return cli_check_room(app, cli_output_path(app, OPT_OUTPUT),
                          128 + numbers * (double)nf_type_size(work->a.x.type),
                          "use --condensed, --pairs, or knn for the nearest only");
}

static int finish(cli *app, job *work) {
    const char *path = cli_output_path(app, OPT_OUTPUT);
    int code = cli_status(app, nf_npy_commit(app->context, work->writer), cli_quote(path).text);
    if (code != CLI_OK) return code;
    const char *type = work->a.x.type == NF_FLOAT64 ? "float64" : "float32";
    if (app->json) {
        json_t *document = cli_json_document();
        cli_json_text(document, "output", path);
        cli_json_shape(document, "shape", (size_t)work->ndim, work->shape);
        cli_json_text(document, "type", type);
        cli_json_text(document, "metric", nf_metric_name(work->options.metric));
        cli_json_flag(document, "normalize", work->options.normalize != 0);
        cli_json_flag(document, "fast", work->options.fast != 0);
        return cli_json_print(app, document);
    }
    if (work->ndim == 2) {
        cli_note(app, "wrote %s: %zu x %zu distances, metric %s, %s", cli_quote(path).text,
                 work->shape[0], work->shape[1], nf_metric_name(work->options.metric), type);
    } else {
        cli_note(app, "wrote %s: %zu distances, metric %s, %s", cli_quote(path).text,
                 work->shape[0], nf_metric_name(work->options.metric), type);
    }
    return CLI_OK;
}

static int load(cli *app, job *work) {
    const char *labels = cli_labels_text(app);
    int code = cli_load_rows(app, app->args.operand[0], labels, NULL, &work->a);
    if (code == CLI_OK && app->args.operands == 2) {
        code = cli_load_rows(app, app->args.operand[1], labels, NULL, &work->b);
        if (code == CLI_OK) code = cli_match_columns(app, &work->a, &work->b);
        if (code == CLI_OK) code = cli_match_types(app, &work->a, &work->b);
    }
    if (code != CLI_OK) return code;
    work->y = app->args.operands == 2 ? work->b.x : work->a.x;
    return cli_given(app, OPT_INDEX_LIST) ? load_pairs(app, work) : CLI_OK;
}

static int run(cli *app, job *work) {
    int code = load(app, work);
    if (code == CLI_OK) code = plan(app, work);
    if (code != CLI_OK) return code;
    const char *path = cli_output_path(app, OPT_OUTPUT);
    nf_status status =
        nf_npy_open(app->context, path, result_type(work), work->ndim, work->shape, &work->writer);
    code = cli_status(app, status, cli_quote(path).text);
    if (code != CLI_OK) return code;
    cli_progress_begin(app, "distances");
    if (cli_given(app, OPT_INDEX_LIST)) {
        code = compute_pairs(app, work);
    } else if (cli_given(app, OPT_CONDENSED)) {
        code = compute_condensed(app, work);
    } else {
        code = compute_full(app, work);
    }
    cli_progress_end(app);
    return code == CLI_OK ? finish(app, work) : code;
}

static int check_usage(cli *app) {
    if (app->args.operands < 1) {
        return cli_fail(app, CLI_USAGE, "distances needs rows: nearfar distances A [B] -o D.npy");
    }
    if (!cli_given(app, OPT_OUTPUT)) {
        return cli_fail(app, CLI_USAGE, "distances needs -o FILE.npy for the result");
    }
    if (cli_given(app, OPT_CONDENSED) && cli_given(app, OPT_INDEX_LIST)) {
        return cli_fail(app, CLI_USAGE, "--condensed and --pairs exclude each other: keep one");
    }
    if (cli_given(app, OPT_CONDENSED) && app->args.operands == 2) {
        return cli_fail(app, CLI_USAGE, "--condensed is for one set: leave out '%s'",
                        cli_quote(app->args.operand[1]).text);
    }
    int code = cli_check_distance(app);
    return code == CLI_OK ? cli_check_ending(app, OPT_OUTPUT, npy_only) : code;
}

int cli_run_distances(cli *app) {
    job work = {.options = cli_distance_options(app)};
    int code = check_usage(app);
    if (code == CLI_OK) code = run(app, &work);
    nf_npy_close(app->context, work.writer);
    cli_free_rows(app, &work.a);
    cli_free_rows(app, &work.b);
    nf_array_free(app->context, work.i);
    nf_array_free(app->context, work.j);
    free(work.block);
    return code;
}
