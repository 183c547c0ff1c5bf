/* Single arrays given by options: same, weights, ids. */
#include "data.h"

nf_same_encoding cli_same_encoding(const cli *app) {
    return cli_get(app, OPT_SAME_ENCODING)->choice == 1 ? NF_SAME_PM1 : NF_SAME_01;
}

static int load(cli *app, cli_option_id id, nf_array **out) {
    const char *source = cli_get(app, id)->text;
    nf_status status = nf_array_load(app->context, source, out);
    return cli_data_status(app, status, cli_quote(source).text);
}

/* Take the converted array if it has n entries; the raw one goes in every case. */
static int finish(cli *app, cli_option_id id, nf_status status, size_t n, nf_array *raw,
                  nf_array **out) {
    const char *source = cli_get(app, id)->text;
    nf_array_free(app->context, raw);
    if (status != NF_OK) return cli_data_status(app, status, cli_quote(source).text);
    if ((*out)->count == n) return CLI_OK;
    return cli_fail(app, CLI_DATA, "--%s %s has %zu entries, but %zu %s needed",
                    cli_options[id].name, cli_quote(source).text, (*out)->count, n,
                    n == 1 ? "is" : "are");
}

int cli_load_same(cli *app, cli_option_id id, size_t n, nf_array **out) {
    nf_array *raw = NULL;
    if (!cli_given(app, id)) return CLI_OK;
    int code = load(app, id, &raw);
    if (code != CLI_OK) return code;
    nf_status status =
        nf_array_to_same(app->context, raw, cli_options[id].name, cli_same_encoding(app), out);
    return finish(app, id, status, n, raw, out);
}

int cli_load_doubles(cli *app, cli_option_id id, size_t n, nf_array **out) {
    nf_array *raw = NULL;
    if (!cli_given(app, id)) return CLI_OK;
    int code = load(app, id, &raw);
    if (code != CLI_OK) return code;
    nf_status status = nf_array_to_f64(app->context, raw, cli_options[id].name, out);
    return finish(app, id, status, n, raw, out);
}

int cli_load_ids(cli *app, cli_option_id id, size_t n, nf_array **out) {
    nf_array *raw = NULL;
    if (!cli_given(app, id)) return CLI_OK;
    int code = load(app, id, &raw);
    if (code != CLI_OK) return code;
    nf_status status = nf_array_to_index(app->context, raw, cli_options[id].name, out);
    return finish(app, id, status, n, raw, out);
}
