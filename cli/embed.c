/* nearfar embed: apply a model to rows. */
#include <stdlib.h>

#include "data.h"

static const char *const endings[] = {".npy", ".csv", NULL};

static int write_embedding(cli *app, const float *values, size_t rows, size_t columns) {
    const char *path = cli_output_path(app, OPT_OUTPUT);
    const size_t shape[2] = {rows, columns};
    nf_status status =
        cli_ends_with(path, ".csv")
            ? nf_csv_write(app->context, path, nf_matrix_f32(values, rows, columns), NULL)
            : nf_npy_write(app->context, path, NF_DTYPE_F32, 2, shape, values);
    int code = cli_status(app, status, cli_quote(path).text);
    if (code != CLI_OK) return code;
    if (app->json) {
        json_t *document = cli_json_document();
        cli_json_text(document, "output", path);
        cli_json_shape(document, "shape", 2, shape);
        cli_json_text(document, "type", "float32");
        return cli_json_print(app, document);
    }
    cli_note(app, "wrote %s: %zu embeddings of %zu dimensions, float32", cli_quote(path).text, rows,
             columns);
    return CLI_OK;
}

static int embed(cli *app, const nf_model *model, const cli_rows *data) {
    const nf_model_options *options = nf_model_get_options(model);
    size_t rows = data->x.rows, columns = options->outputs;
    if (data->x.cols != options->inputs) {
        return cli_fail(app, CLI_DATA,
                        "%s has %zu columns, but model %s takes %zu: give the columns it was "
                        "trained on",
                        cli_quote(data->source).text, data->x.cols,
                        cli_quote(app->args.operand[0]).text, options->inputs);
    }
    if (columns > 0 && rows > SIZE_MAX / sizeof(float) / columns) {
        return cli_no_memory(app, "the embeddings");
    }
    float *out = malloc(rows * columns > 0 ? rows * columns * sizeof *out : 1);
    if (out == NULL) return cli_no_memory(app, "the embeddings");
    cli_progress_begin(app, "embedding");
    nf_status status =
        nf_model_embed(app->context, model, data->x, nf_matrix_out_f32(out, rows, columns));
    cli_progress_end(app);
    int code = cli_data_status(app, status, cli_quote(data->source).text);
    if (code == CLI_OK) code = write_embedding(app, out, rows, columns);
    free(out);
    return code;
}

int cli_run_embed(cli *app) {
    nf_model *model = NULL;
    cli_rows data = {0};
    if (app->args.operands < 2) {
        return cli_fail(app, CLI_USAGE,
                        "embed needs a model and rows: nearfar embed MODEL DATA -o "
                        "EMB.npy");
    }
    if (!cli_given(app, OPT_OUTPUT)) {
        return cli_fail(app, CLI_USAGE, "embed needs -o FILE.npy (or FILE.csv) for the result");
    }
    int code = cli_check_ending(app, OPT_OUTPUT, endings);
    if (code != CLI_OK) return code;
    const char *path = app->args.operand[0];
    code = cli_data_status(app, nf_model_load(app->context, path, &model), cli_quote(path).text);
    if (code == CLI_OK) {
        code = cli_load_rows(app, app->args.operand[1], cli_labels_text(app), NULL, &data);
    }
    if (code == CLI_OK) code = embed(app, model, &data);
    cli_free_rows(app, &data);
    nf_model_free(app->context, model);
    return code;
}
