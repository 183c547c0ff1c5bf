/* JSON documents and tables of results, both on standard output. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* jansson tells a failed allocation only to whoever adds each value; a document that lost a value
 * on the way must not be printed. Its hooks carry no pointer, hence the variable. */
static bool lost_value;

static void *json_allocate(size_t size) {
    void *block = malloc(size);
    if (block == NULL) lost_value = true;
    return block;
}

static void watch_allocations(void) {
    json_set_alloc_funcs(json_allocate, free);
    lost_value = false;
}

json_t *cli_json_document(void) {
    watch_allocations();
    return json_object();
}

json_t *cli_json_list(void) {
    watch_allocations();
    return json_array();
}

bool cli_json_lost(void) { return lost_value; }

void cli_json_number(json_t *object, const char *key, double value) {
    json_object_set_new(object, key, isfinite(value) ? json_real(value) : json_null());
}

void cli_json_count(json_t *object, const char *key, uint64_t value) {
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

void cli_json_text(json_t *object, const char *key, const char *value) {
    if (value == NULL) {
        json_object_set_new(object, key, json_null());
        return;
    }
    json_t *text = json_string(value);
    if (text == NULL) { /* not UTF-8, e.g. a file name in another encoding */
        size_t length = strlen(value);
        char *clean = malloc(length + 1);
        for (size_t i = 0; clean != NULL && i <= length; i++) {
            clean[i] = (unsigned char)value[i] < 0x80 ? value[i] : '?';
        }
        text = clean != NULL ? json_string(clean) : NULL;
        free(clean);
    }
    json_object_set_new(object, key, text);
}

void cli_json_flag(json_t *object, const char *key, bool value) {
    json_object_set_new(object, key, json_boolean(value));
}

void cli_json_shape(json_t *object, const char *key, size_t ndim, const size_t *shape) {
    json_t *list = json_array();
    for (size_t i = 0; i < ndim; i++)
        json_array_append_new(list, json_integer((json_int_t)shape[i]));
    json_object_set_new(object, key, list);
}

int cli_json_print(cli *app, json_t *document) {
    char *text =
        document != NULL ? json_dumps(document, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(document);
    if (text == NULL || cli_json_lost()) {
        free(text);
        return cli_no_memory(app, "the JSON document");
    }
    fputs(text, stdout);
    fputc('\n', stdout);
    free(text);
    return CLI_OK;
}

void cli_row(cli *app, const char *name, const char *format, ...) {
    FILE *out = app->stdout_used ? stderr : stdout;
    if (app->stdout_used && app->quiet) return;
    va_list arguments;
    va_start(arguments, format);
    fprintf(out, "%-24s ", name);
    vfprintf(out, format, arguments);
    fputc('\n', out);
    va_end(arguments);
}

void cli_row_number(cli *app, const char *name, double value) {
    if (isfinite(value)) {
        cli_row(app, name, "%.6g", value);
    } else {
        cli_row(app, name, "-");
    }
}

void cli_row_count(cli *app, const char *name, uint64_t value) {
    cli_row(app, name, "%llu", (unsigned long long)value);
}
