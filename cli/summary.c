#include "summary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_CLASSES 20

static const char *type_text(nf_dtype dtype) {
    static const char *const names[] = {"bool",   "int8",    "uint8",   "int16",
                                        "uint16", "int32",   "uint32",  "int64",
                                        "uint64", "float16", "float32", "float64"};
    return (size_t)dtype < sizeof names / sizeof *names ? names[dtype] : "unknown";
}

static long double element(const nf_array *array, size_t i) {
    switch (array->dtype) {
    case NF_DTYPE_BOOL:
    case NF_DTYPE_U8: return ((const uint8_t *)array->data)[i];
    case NF_DTYPE_I8: return ((const int8_t *)array->data)[i];
    case NF_DTYPE_I16: return ((const int16_t *)array->data)[i];
    case NF_DTYPE_U16: return ((const uint16_t *)array->data)[i];
    case NF_DTYPE_I32: return ((const int32_t *)array->data)[i];
    case NF_DTYPE_U32: return ((const uint32_t *)array->data)[i];
    case NF_DTYPE_I64: return (long double)((const int64_t *)array->data)[i];
    case NF_DTYPE_U64: return (long double)((const uint64_t *)array->data)[i];
    case NF_DTYPE_F32: return ((const float *)array->data)[i];
    case NF_DTYPE_F64: return ((const double *)array->data)[i];
    case NF_DTYPE_F16: break; /* converted before */
    }
    return 0;
}

static void add_up(const nf_array *array, cli_summary *summary) {
    double sum = 0;
    for (size_t i = 0; i < array->count; i++) {
        long double value = element(array, i);
        if (isnan(value)) {
            summary->nan++;
        } else if (isinf(value)) {
            summary->infinite++;
        } else {
            if (summary->finite == 0 || value < summary->low) summary->low = value;
            if (summary->finite == 0 || value > summary->high) summary->high = value;
            summary->finite++;
            sum += (double)value;
        }
    }
    summary->mean = summary->finite > 0 ? sum / (double)summary->finite : NAN;
}

int cli_summarise(cli *app, const nf_array *array, cli_summary *summary) {
    *summary = (cli_summary){.integral = array->dtype < NF_DTYPE_F16};
    if (array->dtype != NF_DTYPE_F16) {
        add_up(array, summary);
        return CLI_OK;
    }
    nf_array *wide = NULL;
    nf_status status = nf_array_to_matrix(app->context, array, "array", &wide);
    if (status == NF_OK) add_up(wide, summary);
    nf_array_free(app->context, wide);
    return cli_data_status(app, status, NULL);
}

void cli_shape_text(const nf_array *array, char *buffer, size_t size) {
    size_t used = 0;
    buffer[0] = '\0';
    for (int i = 0; i < array->ndim && used < size; i++) {
        used += (size_t)snprintf(buffer + used, size - used, "%s%zu", i > 0 ? ", " : "(",
                                 array->shape[i]);
    }
    if (used < size) snprintf(buffer + used, size - used, "%s", array->ndim > 0 ? ")" : "()");
}

void cli_summary_print(cli *app, const nf_array *array, const cli_summary *summary) {
    char shape[512];
    cli_shape_text(array, shape, sizeof shape);
    cli_row(app, "type", "%s", type_text(array->dtype));
    cli_row(app, "shape", "%s", shape);
    if (summary->finite > 0 && summary->integral) {
        cli_row(app, "range", "%.0Lf to %.0Lf", summary->low, summary->high);
    } else if (summary->finite > 0) {
        cli_row(app, "range", "%.9Lg to %.9Lg, mean %.6g", summary->low, summary->high,
                summary->mean);
    }
    if (!summary->integral) {
        cli_row_count(app, "NaN", summary->nan);
        if (summary->infinite > 0) cli_row_count(app, "infinite", summary->infinite);
    }
}

static void json_value(json_t *document, const char *key, const cli_summary *summary,
                       long double value) {
    if (summary->finite == 0) {
        cli_json_text(document, key, NULL);
    } else if (summary->integral && value <= 9223372036854775807.0L) {
        json_object_set_new(document, key, json_integer((json_int_t)value));
    } else {
        cli_json_number(document, key, (double)value);
    }
}

void cli_summary_json(json_t *document, const nf_array *array, const cli_summary *summary) {
    cli_json_text(document, "type", type_text(array->dtype));
    cli_json_shape(document, "shape", (size_t)array->ndim, array->shape);
    json_value(document, "min", summary, summary->low);
    json_value(document, "max", summary, summary->high);
    cli_json_number(document, "mean", summary->mean);
    cli_json_count(document, "nan", summary->nan);
    cli_json_count(document, "infinite", summary->infinite);
}

/* ---- classes ---- */

bool cli_is_labels(const nf_array *array) {
    if (array->dtype >= NF_DTYPE_F16 || array->count == 0) return false;
    return array->ndim == 1 || (array->ndim == 2 && array->shape[1] == 1);
}

static int compare_labels(const void *a, const void *b) {
    int64_t first = *(const int64_t *)a, second = *(const int64_t *)b;
    return (first > second) - (first < second);
}

static void class_text(const nf_table *names, int64_t label, char *buffer, size_t size) {
    if (names != NULL && names->class_names != NULL && label >= 0 &&
        (uint64_t)label < names->classes) {
        snprintf(buffer, size, "%s", cli_quote(names->class_names[label]).text);
    } else {
        snprintf(buffer, size, "%lld", (long long)label);
    }
}

static void show_class(cli *app, json_t *list, const nf_table *names, int64_t label, size_t count,
                       size_t position) {
    char text[96], name[112];
    class_text(names, label, text, sizeof text);
    if (app->json) {
        json_t *entry = json_object();
        json_object_set_new(entry, "label", json_integer((json_int_t)label));
        cli_json_text(entry, "name", names != NULL && names->class_names != NULL ? text : NULL);
        cli_json_count(entry, "count", count);
        json_array_append_new(list, entry);
    } else if (position < SHOWN_CLASSES) {
        snprintf(name, sizeof name, "  %s", text);
        cli_row(app, name, "%zu", count);
    }
}

static size_t count_classes(const int64_t *sorted, size_t n, size_t *singletons) {
    size_t classes = 0;
    *singletons = 0;
    for (size_t i = 0; i < n; classes++) {
        size_t first = i;
        while (i < n && sorted[i] == sorted[first]) i++;
        if (i - first == 1) *singletons += 1;
    }
    return classes;
}

int cli_show_classes(cli *app, json_t *document, const nf_array *labels, const nf_table *names) {
    nf_array *numbers = NULL;
    nf_status status = nf_array_to_labels(app->context, labels, "labels", &numbers);
    if (status != NF_OK) return cli_data_status(app, status, NULL);
    int64_t *sorted = numbers->data;
    size_t n = 0, singletons, position = 0;
    for (size_t i = 0; i < numbers->count; i++) { /* unlabelled rows are no class */
        if (sorted[i] != -1 || names == NULL || !names->has_unlabelled) sorted[n++] = sorted[i];
    }
    size_t unlabelled = numbers->count - n;
    qsort(sorted, n, sizeof *sorted, compare_labels);
    size_t classes = count_classes(sorted, n, &singletons);
    json_t *list = json_array();
    if (app->json) {
        cli_json_count(document, "unlabelled", unlabelled);
    } else {
        if (unlabelled > 0) cli_row_count(app, "unlabelled rows", unlabelled);
        cli_row_count(app, "classes", classes);
        if (singletons > 0) cli_row_count(app, "  with one row", singletons);
    }
    for (size_t i = 0; i < n; position++) {
        size_t first = i;
        while (i < n && sorted[i] == sorted[first]) i++;
        show_class(app, list, names, sorted[first], i - first, position);
    }
    if (!app->json && classes > SHOWN_CLASSES) {
        cli_row(app, "  ..", "and %zu more", classes - SHOWN_CLASSES);
    }
    json_object_set_new(document, "classes", list);
    nf_array_free(app->context, numbers);
    return CLI_OK;
}
