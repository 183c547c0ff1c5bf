/* Several labels a row, as options give them. */
#include "label_sets.h"

#include <stdlib.h>

/* Indicators (n, c) of 0 and 1 as offsets and labels. */
static int read_sets(cli *app, const char *name, cli_label_sets *sets) {
    const char *soft = (cli_options[OPT_SOFT].commands & app->command->bit) != 0
                           ? "; for targets between them use --soft"
                           : "";
    const nf_matrix x = sets->indicators.x;
    size_t count = 0, capacity = 0;
    sets->offset = malloc((x.rows + 1) * sizeof *sets->offset);
    if (sets->offset == NULL) return cli_no_memory(app, "the label sets");
    sets->offset[0] = 0;
    for (size_t r = 0; r < x.rows; r++) {
        for (size_t c = 0; c < x.cols; c++) {
            const size_t at = r * x.ld + c;
            const double value = x.type == NF_FLOAT32 ? (double)((const float *)x.data)[at]
                                                      : ((const double *)x.data)[at];
            if (value != 0 && value != 1) {
                return cli_fail(
                    app, CLI_DATA,
                    "%s holds %g in row %zu, column %zu: it must be 1 where the row has "
                    "the label and 0 where not%s",
                    cli_quote(name).text, value, r, c, soft);
            }
            if (value == 0) continue;
            if (count == capacity) {
                capacity = capacity > 0 ? 2 * capacity : 1024;
                int64_t *grown = realloc(sets->label, capacity * sizeof *grown);
                if (grown == NULL) return cli_no_memory(app, "the label sets");
                sets->label = grown;
            }
            sets->label[count++] = (int64_t)c;
        }
        sets->offset[r + 1] = count;
    }
    sets->sets = (nf_label_sets){sets->offset, sets->label};
    return CLI_OK;
}

int cli_load_label_sets(cli *app, cli_option_id id, size_t n, cli_label_sets *sets) {
    const char *name = cli_get(app, id)->text;
    int code = cli_load_rows(app, name, NULL, NULL, &sets->indicators);
    if (code != CLI_OK) return code;
    if (sets->indicators.x.rows == n) return read_sets(app, name, sets);
    return cli_fail(app, CLI_DATA, "%s has %zu rows for %zu rows of data", cli_quote(name).text,
                    sets->indicators.x.rows, n);
}

void cli_free_label_sets(cli *app, cli_label_sets *sets) {
    cli_free_rows(app, &sets->indicators);
    free(sets->offset);
    free(sets->label);
}
