/* nearfar info: what a file holds. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data.h"
#include "summary.h"

#define TRIED_COLUMNS 64

typedef struct content {
    const char *source;
    void *bytes;
    size_t size;
    nf_format format;
} content;

/* ---- arrays ---- */

static int show_array(cli *app, json_t *document, const nf_array *array) {
    cli_summary summary;
    int code = cli_summarise(app, array, &summary);
    if (code != CLI_OK) return code;
    if (app->json) {
        cli_summary_json(document, array, &summary);
    } else {
        cli_summary_print(app, array, &summary);
    }
    if (cli_is_labels(array)) code = cli_show_classes(app, document, array, NULL);
    return code;
}

static int show_npz(cli *app, json_t *document, const content *file) {
    char **names = NULL;
    size_t count = 0;
    nf_status status = nf_npz_names(app->context, file->bytes, file->size, &names, &count);
    int code = cli_data_status(app, status, cli_quote(file->source).text);
    json_t *members = json_array();
    if (!app->json && code == CLI_OK) cli_row_count(app, "members", count);
    for (size_t i = 0; i < count && code == CLI_OK; i++) {
        nf_array *array = NULL;
        json_t *member = json_object();
        status = nf_npz_parse(app->context, file->bytes, file->size, names[i], &array);
        code = cli_data_status(app, status, cli_quote(names[i]).text);
        if (code == CLI_OK) {
            if (!app->json) printf("\n%s\n", cli_quote(names[i]).text);
            cli_json_text(member, "name", names[i]);
            code = show_array(app, member, array);
        }
        nf_array_free(app->context, array);
        json_array_append_new(members, member);
    }
    json_object_set_new(document, "members", members);
    nf_bytes_free(app->context, names);
    return code;
}

/* ---- tables ---- */

static int show_columns(cli *app, json_t *document, const nf_table *table) {
    json_t *columns = json_array();
    size_t count = table->x != NULL && table->x->ndim == 2 ? table->x->shape[1] : 0;
    char line[70] = "";
    size_t used = 0, shown = 0;
    for (size_t c = 0; table->columns != NULL && c < count; c++) {
        json_array_append_new(columns, json_string(table->columns[c]));
        size_t length = strlen(table->columns[c]);
        if (shown == c && used + length + 2 < sizeof line) {
            used += (size_t)snprintf(line + used, sizeof line - used, "%s%s", c > 0 ? ", " : "",
                                     table->columns[c]);
            shown++;
        }
    }
    if (app->json) {
        json_object_set_new(document, "columns", table->columns != NULL ? columns : json_null());
        cli_json_text(document, "label_column", table->label_column);
        if (table->columns == NULL) json_decref(columns);
        return CLI_OK;
    }
    json_decref(columns);
    if (shown > 0) cli_row(app, "columns", "%s%s", line, shown < count ? ", .." : "");
    if (table->label_column != NULL) {
        cli_row(app, "label column", "%s", cli_quote(table->label_column).text);
    }
    return CLI_OK;
}

static int show_table(cli *app, json_t *document, const nf_table *table) {
    int code = CLI_OK;
    if (table->x != NULL) {
        cli_summary summary;
        code = cli_summarise(app, table->x, &summary);
        if (code != CLI_OK) return code;
        if (app->json) {
            cli_summary_json(document, table->x, &summary);
        } else {
            cli_summary_print(app, table->x, &summary);
        }
        code = show_columns(app, document, table);
    }
    if (code == CLI_OK && table->labels != NULL) {
        code = cli_show_classes(app, document, table->labels, table);
    }
    return code;
}

/* A table with a column of words that nobody chose yet: the first column that makes the rest
 * numbers is its label column, most likely. */
static nf_status try_columns(cli *app, const char *source, nf_table **table) {
    nf_csv_options csv = nf_csv_defaults();
    nf_status status = NF_ERR_DATA;
    for (int column = 0; column < TRIED_COLUMNS && status == NF_ERR_DATA; column++) {
        char number[16];
        snprintf(number, sizeof number, "%d", column);
        csv.label_column = number;
        csv.require_labels = 1;
        status = nf_table_load(app->context, source, &csv, table);
    }
    return status;
}

static int load_and_show_table(cli *app, json_t *document, const char *source) {
    nf_csv_options csv = nf_csv_defaults();
    nf_table *table = NULL;
    nf_status status = nf_table_load(app->context, source, &csv, &table);
    if (status == NF_ERR_DATA) {
        /* Perhaps a list of labels; if not, the first complaint is the useful one. */
        nf_error first = *nf_context_error(app->context);
        status = nf_labels_load(app->context, source, &csv, &table);
        if (status == NF_ERR_DATA) {
            status = try_columns(app, source, &table);
            if (status == NF_OK && table->label_column != NULL) {
                cli_note(app, "taking the column %s for labels; choose it with --labels :%s",
                         cli_quote(table->label_column).text, cli_quote(table->label_column).text);
            }
        }
        if (status != NF_OK && status != NF_ERR_NOMEM) {
            return cli_fail(app, CLI_DATA, "%s", first.message);
        }
    }
    int code = cli_data_status(app, status, cli_quote(source).text);
    if (code == CLI_OK) code = show_table(app, document, table);
    nf_table_free(app->context, table);
    return code;
}

/* ---- models ---- */

static int show_model(cli *app, json_t *document, const nf_model *model) {
    const nf_model_options *options = nf_model_get_options(model);
    json_t *layers = json_array(), *metadata = json_object();
    if (!app->json) {
        cli_row(app, "model", "%zu inputs, %zu outputs, %zu parameters", options->inputs,
                options->outputs, nf_model_parameters(model));
    }
    for (size_t l = 0; l < nf_model_layers(model); l++) {
        size_t out, in;
        nf_model_weight(model, l, &out, &in);
        bool bias = nf_model_bias(model, l) != NULL;
        bool last = l + 1 == nf_model_layers(model);
        const char *activation = last ? "linear" : options->activation == NF_TANH ? "tanh" : "relu";
        json_t *layer = json_object();
        cli_json_count(layer, "in", in);
        cli_json_count(layer, "out", out);
        cli_json_flag(layer, "bias", bias);
        cli_json_text(layer, "activation", activation);
        json_array_append_new(layers, layer);
        if (!app->json) {
            char name[32];
            snprintf(name, sizeof name, "layer %zu", l);
            cli_row(app, name, "%zu -> %zu, %s%s", in, out, bias ? "bias, " : "no bias, ",
                    activation);
        }
    }
    if (!app->json) {
        cli_row(app, "input", "%s", options->standardize ? "standardised" : "as it is");
        cli_row(app, "output", "%s", options->normalize ? "divided by its length" : "as it is");
    }
    const char *key, *value;
    if (!app->json) printf("\n");
    for (size_t i = 0; (key = nf_model_metadata_at(model, i, &value)) != NULL; i++) {
        cli_json_text(metadata, key, value);
        if (!app->json) cli_row(app, cli_quote(key).text, "%s", cli_quote(value).text);
    }
    cli_json_count(document, "inputs", options->inputs);
    cli_json_count(document, "outputs", options->outputs);
    cli_json_count(document, "parameters", nf_model_parameters(model));
    cli_json_flag(document, "standardize", options->standardize != 0);
    cli_json_flag(document, "normalize_output", options->normalize != 0);
    json_object_set_new(document, "layers", layers);
    json_object_set_new(document, "metadata", metadata);
    return CLI_OK;
}

static int show_tensors(cli *app, json_t *document, const content *file) {
    nf_safetensors *tensors = NULL;
    nf_status status = nf_safetensors_parse(app->context, file->bytes, file->size, &tensors);
    int code = cli_data_status(app, status, cli_quote(file->source).text);
    json_t *list = json_array();
    for (size_t t = 0; code == CLI_OK && t < tensors->tensors; t++) {
        const nf_tensor *tensor = &tensors->tensor[t];
        nf_array view = {.dtype = tensor->dtype, .ndim = tensor->ndim, .count = tensor->count};
        json_t *entry = json_object();
        char shape[256];
        memcpy(view.shape, tensor->shape, sizeof view.shape);
        cli_shape_text(&view, shape, sizeof shape);
        cli_json_text(entry, "name", tensor->name);
        cli_json_text(entry, "type", nf_dtype_name(tensor->dtype));
        cli_json_shape(entry, "shape", (size_t)tensor->ndim, tensor->shape);
        json_array_append_new(list, entry);
        if (!app->json) {
            cli_row(app, cli_quote(tensor->name).text, "%s %s", nf_dtype_name(tensor->dtype),
                    shape);
        }
    }
    json_object_set_new(document, "tensors", list);
    nf_safetensors_free(app->context, tensors);
    return code;
}

static bool is_model(const nf_safetensors *file) {
    for (size_t i = 0; i < file->entries; i++) {
        if (strcmp(file->metadata[i].key, "format") == 0) {
            return strcmp(file->metadata[i].value, "nearfar-model") == 0;
        }
    }
    return false;
}

static int show_safetensors(cli *app, json_t *document, const content *file) {
    nf_safetensors *tensors = NULL;
    nf_status status = nf_safetensors_parse(app->context, file->bytes, file->size, &tensors);
    int code = cli_data_status(app, status, cli_quote(file->source).text);
    if (code != CLI_OK) return code;
    bool model_file = is_model(tensors);
    nf_safetensors_free(app->context, tensors);
    if (!model_file) return show_tensors(app, document, file);
    nf_model *model = NULL;
    status = nf_model_parse(app->context, file->bytes, file->size, &model);
    code = cli_data_status(app, status, cli_quote(file->source).text);
    if (code == CLI_OK) code = show_model(app, document, model);
    nf_model_free(app->context, model);
    return code;
}

/* ---- any file ---- */

static int show_content(cli *app, json_t *document, const content *file) {
    nf_array *array = NULL;
    nf_status status;
    switch (file->format) {
    case NF_FORMAT_NPZ: return show_npz(app, document, file);
    case NF_FORMAT_SAFETENSORS: return show_safetensors(app, document, file);
    case NF_FORMAT_CSV:
    case NF_FORMAT_SVMLIGHT: return load_and_show_table(app, document, file->source);
    case NF_FORMAT_NPY: status = nf_npy_parse(app->context, file->bytes, file->size, &array); break;
    case NF_FORMAT_IDX: status = nf_idx_parse(app->context, file->bytes, file->size, &array); break;
    case NF_FORMAT_UNKNOWN:
    default:
        return cli_fail(app, CLI_DATA,
                        "%s: neither .npy, .npz, CSV, svmlight, IDX nor safetensors; text files "
                        "need the ending .csv, .tsv, .txt or .svm",
                        cli_quote(file->source).text);
    }
    int code = cli_data_status(app, status, cli_quote(file->source).text);
    if (code == CLI_OK) code = show_array(app, document, array);
    nf_array_free(app->context, array);
    return code;
}

static int show_file(cli *app, json_t *document, const char *source) {
    content file = {.source = source};
    nf_status status = nf_file_read(app->context, source, 1, 0, &file.bytes, &file.size);
    int code = cli_status(app, status, NULL);
    if (code != CLI_OK) return code;
    file.format = nf_format_detect(file.bytes, file.size, source);
    cli_json_text(document, "format", nf_format_name(file.format));
    if (!app->json && file.format != NF_FORMAT_UNKNOWN) {
        char size[32];
        cli_human_bytes((double)file.size, size, sizeof size);
        cli_row(app, "format", "%s, %s", nf_format_name(file.format), size);
    }
    code = show_content(app, document, &file);
    nf_bytes_free(app->context, file.bytes);
    return code;
}

static bool has_member(const char *source) {
    struct stat status;
    return stat(source, &status) != 0 && strstr(source, ".npz:") != NULL;
}

static int show_member(cli *app, json_t *document, const char *source) {
    nf_array *array = NULL;
    nf_status status = nf_array_load(app->context, source, &array);
    int code = cli_data_status(app, status, cli_quote(source).text);
    if (code == CLI_OK) code = show_array(app, document, array);
    nf_array_free(app->context, array);
    return code;
}

static bool is_bundled(const char *source) {
    struct stat status;
    return stat(source, &status) != 0 &&
           (strcmp(source, "digits") == 0 || strcmp(source, "digits-train") == 0 ||
            strcmp(source, "digits-test") == 0);
}

int cli_run_info(cli *app) {
    if (app->args.operands == 0) {
        return cli_fail(app, CLI_USAGE, "info needs a file: nearfar info FILE");
    }
    const char *source = app->args.operand[0];
    json_t *document = cli_json_document();
    cli_json_text(document, "file", source);
    int code;
    if (is_bundled(source)) {
        code = load_and_show_table(app, document, source);
    } else if (has_member(source)) {
        code = show_member(app, document, source);
    } else {
        code = show_file(app, document, source);
    }
    if (code == CLI_OK && app->json) return cli_json_print(app, document);
    json_decref(document);
    return code;
}
