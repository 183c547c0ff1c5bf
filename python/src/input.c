/* Inputs: what the engine can read in place is read in place, anything else goes through
 * nearfar._convert, which returns a C-contiguous array of the right type or raises.
 *
 * In place means: native byte order, aligned, rows apart by a whole number of elements. An ndarray
 * subclass is never taken as it is (a masked array would lose its mask). The buffer is held until
 * release, so the memory stays while the GIL is away. */
#include "core.h"

#include <stdio.h>
#include <string.h>

static int take_buffer(core_state *state, PyObject *object, Py_buffer *buffer) {
    PyTypeObject *type = Py_TYPE(object);
    if (type != state->ndarray && PyType_IsSubtype(type, state->ndarray)) return 0;
    if (!PyObject_CheckBuffer(object)) return 0;
    if (PyObject_GetBuffer(object, buffer, PyBUF_STRIDES | PyBUF_FORMAT) < 0) {
        PyErr_Clear(); /* a float16 or datetime array may refuse; the converter will say more */
        return 0;
    }
    return 1;
}

/* The one-letter native format, or 0. */
static char format_of(const Py_buffer *buffer) {
    const char *format = buffer->format;
    if (format == NULL) return 0;
    if (format[0] == '@') format++;
    return format[0] != 0 && format[1] == 0 ? format[0] : 0;
}

static int is_aligned(const Py_buffer *buffer) {
    return (uintptr_t)buffer->buf % (uintptr_t)buffer->itemsize == 0;
}

/* ---- matrices ------------------------------------------------------------------------------- */

static int view_in_place(const Py_buffer *buffer, nf_matrix *view) {
    char format = format_of(buffer);
    Py_ssize_t size = buffer->itemsize;
    if (buffer->ndim != 2 || !((format == 'f' && size == 4) || (format == 'd' && size == 8))) {
        return 0;
    }
    Py_ssize_t rows = buffer->shape[0], cols = buffer->shape[1];
    Py_ssize_t step = buffer->strides[0], inner = buffer->strides[1];
    *view = (nf_matrix){.data = buffer->buf,
                        .type = format == 'f' ? NF_FLOAT32 : NF_FLOAT64,
                        .rows = (size_t)rows,
                        .cols = (size_t)cols,
                        .ld = (size_t)cols};
    if (rows == 0 || cols == 0) return 1;
    if (!is_aligned(buffer)) return 0;
    if (inner != size && cols > 1) return 0;
    if (rows == 1) return 1;
    if (step < cols * size || step % size != 0) return 0;
    view->ld = (size_t)(step / size);
    return 1;
}

/* Ask nearfar._convert.matrix(object, name, wide) for (array, dtype or None). */
static int convert_matrix(core_state *state, PyObject *object, const char *name, int wide,
                          core_matrix *matrix) {
    PyObject *pair = PyObject_CallMethod(state->convert, "matrix", "Osi", object, name, wide);
    if (pair == NULL) return -1;
    PyObject *array = NULL, *dtype = NULL;
    int failed = !PyArg_ParseTuple(pair, "OO", &array, &dtype) ||
                 PyObject_GetBuffer(array, &matrix->buffer, PyBUF_STRIDES | PyBUF_FORMAT) < 0;
    if (!failed && !view_in_place(&matrix->buffer, &matrix->view)) {
        PyBuffer_Release(&matrix->buffer);
        PyErr_Format(PyExc_SystemError, "%s: the converter returned an unreadable array", name);
        failed = 1;
    }
    if (!failed && dtype != Py_None) {
        Py_INCREF(dtype);
        matrix->dtype = dtype;
    }
    Py_DECREF(pair);
    return failed ? -1 : 0;
}

int core_matrix_get(core_state *state, PyObject *object, const char *name, core_matrix *matrix) {
    matrix->dtype = NULL;
    if (take_buffer(state, object, &matrix->buffer)) {
        if (view_in_place(&matrix->buffer, &matrix->view)) return 0;
        PyBuffer_Release(&matrix->buffer);
    }
    matrix->buffer.obj = NULL;
    return convert_matrix(state, object, name, 0, matrix);
}

int core_matrix_match(core_state *state, core_matrix *a, PyObject *a_object, const char *a_name,
                      core_matrix *b, PyObject *b_object, const char *b_name) {
    if (a->view.type == b->view.type) return 0;
    int first = a->view.type == NF_FLOAT32;
    core_matrix *narrow = first ? a : b, wide;
    memset(&wide, 0, sizeof wide);
    if (convert_matrix(state, first ? a_object : b_object, first ? a_name : b_name, 1, &wide) < 0) {
        return -1;
    }
    /* The gradient still goes back in the input's own type. */
    if (wide.dtype == NULL) {
        wide.dtype = narrow->dtype != NULL ? narrow->dtype : state->float32;
        Py_INCREF(wide.dtype);
    }
    core_matrix_release(narrow);
    *narrow = wide;
    return 0;
}

void core_matrix_release(core_matrix *matrix) {
    if (matrix->buffer.obj != NULL) PyBuffer_Release(&matrix->buffer);
    Py_CLEAR(matrix->dtype);
}

/* ---- vectors -------------------------------------------------------------------------------- */

/* Formats that are read in place: letters and their size in bytes. */
typedef struct vector_kind {
    const char *formats;
    Py_ssize_t size;
    const char *converter;
} vector_kind;

static const vector_kind LABELS = {"lq", 8, "labels"};
static const vector_kind INDEX = {"lq", 8, "index"};
static const vector_kind WEIGHT = {"d", 8, "weight"};
static const vector_kind SAME = {"?B", 1, "same"};

static int vector_in_place(const vector_kind *kind, const Py_buffer *buffer, core_vector *vector) {
    char format = format_of(buffer);
    if (format == 0 || strchr(kind->formats, format) == NULL || buffer->itemsize != kind->size) {
        return 0;
    }
    if (buffer->ndim != 1 && !(buffer->ndim == 2 && buffer->shape[1] == 1)) return 0;
    vector->count = (size_t)buffer->shape[0];
    vector->data = buffer->buf;
    if (vector->count == 0) return 1;
    return is_aligned(buffer) && (vector->count == 1 || buffer->strides[0] == buffer->itemsize);
}

static int vector_from(const vector_kind *kind, const char *name, PyObject *array,
                       core_vector *vector) {
    if (PyObject_GetBuffer(array, &vector->buffer, PyBUF_STRIDES | PyBUF_FORMAT) < 0) return -1;
    if (vector_in_place(kind, &vector->buffer, vector)) return 0;
    PyBuffer_Release(&vector->buffer);
    PyErr_Format(PyExc_SystemError, "%s: the converter returned an unreadable array", name);
    return -1;
}

/* 0 if the vector is read in place, 1 if it has to be converted. */
static int vector_get(core_state *state, const vector_kind *kind, PyObject *object,
                      core_vector *vector) {
    vector->names = NULL;
    if (take_buffer(state, object, &vector->buffer)) {
        if (vector_in_place(kind, &vector->buffer, vector)) return 0;
        PyBuffer_Release(&vector->buffer);
    }
    vector->buffer.obj = NULL;
    return 1;
}

int core_index_get(core_state *state, PyObject *object, const char *name, core_vector *index) {
    if (vector_get(state, &INDEX, object, index) == 0) return 0;
    PyObject *array = PyObject_CallMethod(state->convert, INDEX.converter, "Os", object, name);
    int failed = array == NULL ? -1 : vector_from(&INDEX, name, array, index);
    Py_XDECREF(array);
    return failed;
}

int core_weight_get(core_state *state, PyObject *object, const char *name, core_vector *weight) {
    if (vector_get(state, &WEIGHT, object, weight) == 0) return 0;
    PyObject *array = PyObject_CallMethod(state->convert, WEIGHT.converter, "Os", object, name);
    int failed = array == NULL ? -1 : vector_from(&WEIGHT, name, array, weight);
    Py_XDECREF(array);
    return failed;
}

/* The converter gives (array, names): names is None for numbers, else the values behind them. */
int core_labels_get(core_state *state, PyObject *object, const char *name, core_vector *labels) {
    if (vector_get(state, &LABELS, object, labels) == 0) return 0;
    PyObject *pair = PyObject_CallMethod(state->convert, LABELS.converter, "Os", object, name);
    PyObject *array, *names;
    int failed = pair == NULL || !PyArg_ParseTuple(pair, "OO", &array, &names) ||
                 vector_from(&LABELS, name, array, labels) < 0;
    if (!failed && names != Py_None) {
        Py_INCREF(names);
        labels->names = names;
    }
    Py_XDECREF(pair);
    return failed ? -1 : 0;
}

/* uint8 and bool go in place only if every byte is 0 or 1; the converter names what is not. */
int core_same_get(core_state *state, PyObject *object, const char *name, nf_same_encoding encoding,
                  core_vector *same) {
    if (encoding == NF_SAME_01 && vector_get(state, &SAME, object, same) == 0) {
        unsigned char seen = 0;
        for (size_t k = 0; k < same->count; k++) seen |= ((const unsigned char *)same->data)[k];
        if (seen <= 1) return 0;
        PyBuffer_Release(&same->buffer);
    }
    same->buffer.obj = NULL;
    same->names = NULL;
    PyObject *array = PyObject_CallMethod(state->convert, SAME.converter, "Oss", object, name,
                                          encoding == NF_SAME_PM1 ? "pm1" : "01");
    int failed = array == NULL ? -1 : vector_from(&SAME, name, array, same);
    Py_XDECREF(array);
    return failed;
}

void core_vector_release(core_vector *vector) {
    if (vector->buffer.obj != NULL) PyBuffer_Release(&vector->buffer);
    Py_CLEAR(vector->names);
}

int core_same_count(size_t count, const char *name, size_t expected, const char *other) {
    if (count == expected) return 0;
    PyErr_Format(PyExc_ValueError, "%s has %zu entries: it must have %zu, as %s", name, count,
                 expected, other);
    return -1;
}
