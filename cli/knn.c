/* nearfar knn: exact nearest neighbours to .npy. */
#include <stdlib.h>

#include "data.h"

static const char *const npy_only[] = {".npy", NULL};

static int write_neighbours(cli *app, size_t rows, size_t k, const int64_t *index,
                            const void *distance, nf_type type) {
    const size_t shape[2] = {rows, k};
    const char *path = cli_output_path(app, OPT_OUTPUT);
    nf_status status = nf_npy_write(app->context, path, NF_DTYPE_I64, 2, shape, index);
    int code = cli_status(app, status, cli_quote(path).text);
    if (code == CLI_OK && distance != NULL) {
        const char *second = cli_output_path(app, OPT_DISTANCES_OUT);
        status = nf_npy_write(app->context, second,
                              type == NF_FLOAT64 ? NF_DTYPE_F64 : NF_DTYPE_F32, 2, shape, distance);
        code = cli_status(app, status, cli_quote(second).text);
    }
    if (code != CLI_OK) return code;
    nf_distance_options options = cli_distance_options(app);
    if (app->json) {
        json_t *document = cli_json_document();
        cli_json_text(document, "output", path);
        cli_json_text(document, "distances", cli_output_path(app, OPT_DISTANCES_OUT));
        cli_json_shape(document, "shape", 2, shape);
        cli_json_text(document, "metric", nf_metric_name(options.metric));
        cli_json_flag(document, "normalize", options.normalize != 0);
        cli_json_flag(document, "fast", options.fast != 0);
        return cli_json_print(app, document);
    }
    cli_note(app, "wrote %s: the %zu nearest rows of %zu, metric %s", cli_quote(path).text, k, rows,
             nf_metric_name(options.metric));
    return CLI_OK;
}

static int find(cli *app, const cli_rows *query, const cli_rows *reference, size_t k) {
    bool self = query == reference;
    size_t available = reference->x.rows - (self && reference->x.rows > 0 ? 1 : 0);
    size_t rows = query->x.rows;
    if (k > available) {
        return cli_fail(app, CLI_USAGE,
                        "-k is %zu, but %s offers each row only %zu neighbour%s%s: "
                        "take a smaller k",
                        k, cli_quote(reference->source).text, available, available == 1 ? "" : "s",
                        self ? " (a row is not its own)" : "");
    }
    if (rows > 0 && k > SIZE_MAX / 8 / rows) return cli_no_memory(app, "the neighbours");
    size_t count = rows * k;
    const size_t each =
        sizeof(int64_t) + (cli_given(app, OPT_DISTANCES_OUT) ? nf_type_size(query->x.type) : 0);
    int code = cli_check_memory(app, (double)count * (double)each, "the neighbours",
                                "take a smaller k, or fewer rows at a time");
    if (code != CLI_OK) return code;
    int64_t *index = malloc(count > 0 ? count * sizeof *index : 1);
    void *distance = cli_given(app, OPT_DISTANCES_OUT)
                         ? malloc(count > 0 ? count * nf_type_size(query->x.type) : 1)
                         : NULL;
    if (index == NULL || (distance == NULL && cli_given(app, OPT_DISTANCES_OUT))) {
        code = cli_no_memory(app, "the neighbours");
    } else {
        nf_distance_options options = cli_distance_options(app);
        cli_progress_begin(app, "neighbours");
        nf_status status =
            nf_knn(app->context, &options, query->x, reference->x, k, self, index, distance);
        cli_progress_end(app);
        code = cli_data_status(app, status, "knn");
    }
    if (code == CLI_OK) code = write_neighbours(app, rows, k, index, distance, query->x.type);
    free(index);
    free(distance);
    return code;
}

int cli_run_knn(cli *app) {
    cli_rows query = {0}, reference = {0};
    if (app->args.operands < 1) {
        return cli_fail(app, CLI_USAGE, "knn needs rows: nearfar knn A [B] -k K -o IDX.npy");
    }
    if (!cli_given(app, OPT_OUTPUT)) {
        return cli_fail(app, CLI_USAGE, "knn needs -o FILE.npy for the indices");
    }
    int code = cli_check_distance(app);
    if (code == CLI_OK) code = cli_check_ending(app, OPT_OUTPUT, npy_only);
    if (code == CLI_OK) code = cli_check_ending(app, OPT_DISTANCES_OUT, npy_only);
    if (code != CLI_OK) return code;
    size_t k = cli_given(app, OPT_NEIGHBOURS) ? (size_t)cli_get(app, OPT_NEIGHBOURS)->integer : 10;
    const char *labels = cli_labels_text(app);
    code = cli_load_rows(app, app->args.operand[0], labels, NULL, &query);
    bool two = app->args.operands == 2;
    if (code == CLI_OK && two) {
        code = cli_load_rows(app, app->args.operand[1], labels, NULL, &reference);
        if (code == CLI_OK) code = cli_match_columns(app, &query, &reference);
        if (code == CLI_OK) code = cli_match_types(app, &query, &reference);
    }
    if (code == CLI_OK) code = find(app, &query, two ? &reference : &query, k);
    cli_free_rows(app, &query);
    cli_free_rows(app, &reference);
    return code;
}
