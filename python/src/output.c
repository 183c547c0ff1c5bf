/* Outputs: NumPy arrays made by numpy.empty and filled through the buffer protocol. */
#include "core.h"

#include <string.h>

static void *address_of(PyObject *array) {
    Py_buffer buffer;
    if (PyObject_GetBuffer(array, &buffer, PyBUF_WRITABLE) < 0) return NULL;
    void *data = buffer.buf;
    PyBuffer_Release(
        &buffer); /* the array owns the memory and cannot be resized while we hold it */
    return data;
}

static PyObject *new_array(core_state *state, PyObject *shape, PyObject *dtype, void **data) {
    if (shape == NULL) return NULL;
    PyObject *array = PyObject_CallFunctionObjArgs(state->empty, shape, dtype, NULL);
    Py_DECREF(shape);
    if (array == NULL) return NULL;
    *data = address_of(array);
    if (*data == NULL) Py_CLEAR(array);
    return array;
}

static PyObject *shape_2d(size_t rows, size_t cols) {
    PyObject *shape = PyTuple_New(2);
    if (shape == NULL) return NULL;
    PyObject *first = PyLong_FromSize_t(rows), *second = PyLong_FromSize_t(cols);
    if (first == NULL || second == NULL) {
        Py_XDECREF(first);
        Py_XDECREF(second);
        Py_DECREF(shape);
        return NULL;
    }
    PyTuple_SetItem(shape, 0, first);
    PyTuple_SetItem(shape, 1, second);
    return shape;
}

static PyObject *float_dtype(core_state *state, nf_type type) {
    return type == NF_FLOAT32 ? state->float32 : state->float64;
}

PyObject *core_new_matrix(core_state *state, size_t rows, size_t cols, nf_type type, void **data) {
    return new_array(state, shape_2d(rows, cols), float_dtype(state, type), data);
}

PyObject *core_new_vector(core_state *state, size_t count, PyObject *dtype, void **data) {
    return new_array(state, PyLong_FromSize_t(count), dtype, data);
}

PyObject *core_new_floats(core_state *state, size_t count, nf_type type, void **data) {
    return core_new_vector(state, count, float_dtype(state, type), data);
}

PyObject *core_index_matrix(core_state *state, size_t rows, size_t cols, void **data) {
    return new_array(state, shape_2d(rows, cols), state->int64, data);
}

PyObject *core_int64_copy(core_state *state, const void *data, size_t count) {
    void *target;
    PyObject *array = core_new_vector(state, count, state->int64, &target);
    if (array != NULL && count > 0) memcpy(target, data, count * sizeof(int64_t));
    return array;
}

PyObject *core_as_type(PyObject *array, PyObject *dtype) {
    if (array == NULL || dtype == NULL) return array;
    PyObject *cast = PyObject_CallMethod(array, "astype", "O", dtype);
    Py_DECREF(array);
    return cast;
}

int core_set(PyObject *sequence, Py_ssize_t position, PyObject *value) {
    if (value == NULL) return -1;
    PyStructSequence_SetItem(sequence, position, value);
    return 0;
}
