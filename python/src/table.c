/* Reading a source of rows and labels: the bundled digits, or any file the program reads. */
#include <string.h>

#include "core.h"

static PyObject *copy_matrix(core_state *state, const nf_array *array) {
    nf_matrix view = nf_array_view(array);
    void *data;
    PyObject *copy = core_new_matrix(state, view.rows, view.cols, view.type, &data);
    if (copy != NULL && array->count > 0) {
        memcpy(data, view.data, array->count * nf_type_size(view.type));
    }
    return copy;
}

static PyObject *none(void) { Py_RETURN_NONE; }

static PyObject *class_names(const nf_table *table) {
    if (table->class_names == NULL) return none();
    PyObject *list = PyList_New((Py_ssize_t)table->classes);
    for (size_t c = 0; list != NULL && c < table->classes; c++) {
        PyObject *name = PyUnicode_FromString(table->class_names[c]);
        if (name == NULL) {
            Py_CLEAR(list);
        } else {
            PyList_SetItem(list, (Py_ssize_t)c, name);
        }
    }
    return list;
}

/* (x or None, labels or None, class names or None) */
static PyObject *as_tuple(core_state *state, const nf_table *table) {
    PyObject *x = table->x != NULL ? copy_matrix(state, table->x) : none();
    PyObject *labels = table->labels != NULL
                           ? core_int64_copy(state, table->labels->data, table->labels->count)
                           : none();
    PyObject *names = class_names(table);
    PyObject *tuple =
        x != NULL && labels != NULL && names != NULL ? PyTuple_Pack(3, x, labels, names) : NULL;
    Py_XDECREF(names);
    Py_XDECREF(labels);
    Py_XDECREF(x);
    return tuple;
}

/* The table that a call has read, and the end of the call. */
static PyObject *finish(core_call *call, core_state *state, nf_status status, nf_table *table) {
    PyObject *answer = NULL;
    core_callback_enter(call);
    call->thread = NULL;
    if (status == NF_OK) {
        answer = as_tuple(state, table);
        nf_table_free(call->context, table);
    }
    if (core_leave(call, status) < 0) Py_CLEAR(answer);
    return answer;
}

static const char *const digits_names[] = {"subset", NULL};
static const core_signature digits_signature = {"load_digits", 1, 1, digits_names};

CORE_FUNCTION(core_load_digits) {
    static const char *const subsets[] = {"all", "train", "test", NULL}; /* as nf_digits */
    core_state *state = PyModule_GetState(module);
    PyObject *value[1] = {NULL};
    int subset = NF_DIGITS_ALL;
    core_call call;
    if (core_arguments(&digits_signature, args, nargs, keywords, value) < 0 ||
        core_choice(value[0], "subset", subsets, &subset) < 0 ||
        core_enter(&call, state, 1e9) < 0) {
        return NULL;
    }
    nf_table *table = NULL;
    nf_status status = nf_digits_load(call.context, (nf_digits)subset, &table);
    return finish(&call, state, status, table);
}

static const char *const load_names[] = {"source", NULL};
static const core_signature load_signature = {"load_table", 1, 1, load_names};

CORE_FUNCTION(core_load_table) {
    core_state *state = PyModule_GetState(module);
    PyObject *value[1] = {NULL}, *path, *answer = NULL;
    if (core_arguments(&load_signature, args, nargs, keywords, value) < 0 ||
        !PyUnicode_FSConverter(value[0], &path)) {
        return NULL;
    }
    core_call call;
    nf_table *table = NULL;
    if (core_enter(&call, state, 1e9) == 0) {
        nf_status status = nf_table_load(call.context, PyBytes_AsString(path), NULL, &table);
        answer = finish(&call, state, status, table);
    }
    Py_DECREF(path);
    return answer;
}
