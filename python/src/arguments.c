/* Arguments of a call: keywords, then one Python object to one C value. */
#include "core.h"

#include <math.h>
#include <string.h>

static int is_name(PyObject *keyword, const char *name) {
    return PyUnicode_CompareWithASCIIString(keyword, name) == 0;
}

static int put(const core_signature *signature, PyObject *keyword, PyObject *object,
               PyObject **value) {
    for (int i = 0; signature->names[i] != NULL; i++) {
        if (!is_name(keyword, signature->names[i])) continue;
        if (value[i] != NULL) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%s'",
                         signature->function, signature->names[i]);
            return -1;
        }
        value[i] = object;
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'",
                 signature->function, keyword);
    return -1;
}

static int check_given(const core_signature *signature, PyObject *const *value) {
    for (int i = 0; i < signature->required; i++) {
        if (value[i] != NULL) continue;
        PyErr_Format(PyExc_TypeError, "%s() missing required argument '%s'", signature->function,
                     signature->names[i]);
        return -1;
    }
    return 0;
}

static int check_positional(const core_signature *signature, Py_ssize_t nargs) {
    if (nargs <= signature->positional) return 0;
    PyErr_Format(PyExc_TypeError, "%s() takes at most %d positional arguments (%zd given)",
                 signature->function, signature->positional, nargs);
    return -1;
}

int core_arguments(const core_signature *signature, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *keywords, PyObject **value) {
    if (check_positional(signature, nargs) < 0) return -1;
    for (Py_ssize_t i = 0; i < nargs; i++) value[i] = args[i];
    Py_ssize_t count = keywords != NULL ? PyTuple_Size(keywords) : 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (put(signature, PyTuple_GetItem(keywords, i), args[nargs + i], value) < 0) return -1;
    }
    return check_given(signature, value);
}

int core_arguments_tuple(const core_signature *signature, PyObject *args, PyObject *keywords,
                         PyObject **value) {
    Py_ssize_t nargs = PyTuple_Size(args), position = 0;
    if (check_positional(signature, nargs) < 0) return -1;
    for (Py_ssize_t i = 0; i < nargs; i++) value[i] = PyTuple_GetItem(args, i);
    PyObject *keyword, *object;
    while (keywords != NULL && PyDict_Next(keywords, &position, &keyword, &object)) {
        if (put(signature, keyword, object, value) < 0) return -1;
    }
    return check_given(signature, value);
}

/* ---- values --------------------------------------------------------------------------------- */

static int type_error(PyObject *value, const char *name, const char *expected) {
    PyErr_Format(PyExc_TypeError, "%s is %R: it must be %s", name, value, expected);
    return -1;
}

int core_flag(PyObject *value, const char *name, int *out) {
    if (value == NULL) return 0;
    int truth = value == Py_True ? 1 : value == Py_False ? 0 : -1;
    /* numpy.bool_ and 0 / 1 are fine; a word such as "no" would silently be true. */
    if (truth < 0 && (value == Py_None || PyUnicode_Check(value) || PyBytes_Check(value))) {
        return type_error(value, name, "True or False");
    }
    if (truth < 0) truth = PyObject_IsTrue(value);
    if (truth < 0) return -1;
    *out = truth;
    return 0;
}

int core_number(PyObject *value, const char *name, double *out) {
    if (value == NULL || value == Py_None) return 0;
    double number = PyFloat_AsDouble(value);
    if (number == -1 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_TypeError)) return -1;
        PyErr_Clear();
        return type_error(value, name, "a number");
    }
    *out = number;
    return 0;
}

/* A whole number as Python understands it (int, numpy integers), never a float. */
static PyObject *whole(PyObject *value, const char *name) {
    PyObject *number = PyNumber_Index(value);
    if (number == NULL && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
        type_error(value, name, "a whole number");
    }
    return number;
}

static int whole_unsigned(PyObject *value, const char *name, unsigned long long *out) {
    PyObject *number = whole(value, name);
    if (number == NULL) return -1;
    *out = PyLong_AsUnsignedLongLong(number);
    Py_DECREF(number);
    if (*out != (unsigned long long)-1 || !PyErr_Occurred()) return 0;
    PyErr_Clear();
    PyErr_Format(PyExc_ValueError, "%s is %R: it must be a whole number from 0 to 2**64 - 1", name,
                 value);
    return -1;
}

int core_size(PyObject *value, const char *name, size_t *out) {
    unsigned long long number;
    if (value == NULL || value == Py_None) return 0;
    if (whole_unsigned(value, name, &number) < 0) return -1;
    *out = (size_t)number;
    return 0;
}

int core_seed(PyObject *value, const char *name, uint64_t *out) {
    unsigned long long number;
    if (value == NULL || value == Py_None) return 0;
    if (whole_unsigned(value, name, &number) < 0) return -1;
    *out = number;
    return 0;
}

const char *core_text(PyObject *value, const char *name) {
    Py_ssize_t size;
    if (!PyUnicode_Check(value)) {
        type_error(value, name, "a string");
        return NULL;
    }
    const char *text = PyUnicode_AsUTF8AndSize(value, &size);
    if (text != NULL && strlen(text) != (size_t)size) {
        PyErr_Format(PyExc_ValueError, "%s is %R: it must not hold a NUL character", name, value);
        return NULL;
    }
    return text;
}

int core_choice(PyObject *value, const char *name, const char *const *words, int *out) {
    if (value == NULL || value == Py_None) return 0;
    const char *text = core_text(value, name);
    if (text == NULL) return -1;
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], text) == 0) {
            *out = i;
            return 0;
        }
    }
    char list[256] = "";
    for (int i = 0; words[i] != NULL; i++) {
        size_t used = strlen(list);
        PyOS_snprintf(list + used, sizeof list - used, "%s'%s'",
                      i == 0                 ? ""
                      : words[i + 1] == NULL ? " or "
                                             : ", ",
                      words[i]);
    }
    PyErr_Format(PyExc_ValueError, "%s is %R: it must be %s", name, value, list);
    return -1;
}

#define WORD(name, value, text) text,
static const char *const metrics[] = {NF_METRIC_MAP(WORD) NULL};
static const char *const reductions[] = {NF_REDUCTION_MAP(WORD) NULL};
#undef WORD

int core_metric(PyObject *value, const char *name, nf_metric *out) {
    int choice = (int)*out;
    int failed = core_choice(value, name, metrics, &choice);
    *out = (nf_metric)choice;
    return failed;
}

int core_reduction(PyObject *value, const char *name, nf_reduction *out) {
    int choice = (int)*out;
    int failed = core_choice(value, name, reductions, &choice);
    *out = (nf_reduction)choice;
    return failed;
}

int core_unlabelled(PyObject *value, int *has_unlabelled) {
    if (value == NULL) return 0;
    if (value == Py_None) {
        *has_unlabelled = 0;
        return 0;
    }
    PyObject *number = PyNumber_Index(value);
    if (number == NULL) PyErr_Clear();
    long label = number != NULL ? PyLong_AsLong(number) : 0;
    Py_XDECREF(number);
    PyErr_Clear();
    if (label != -1) {
        PyErr_Format(PyExc_ValueError,
                     "unlabelled is %R: it must be -1 (rows labelled -1 take part in no pair) or "
                     "None (-1 is an ordinary class)",
                     value);
        return -1;
    }
    *has_unlabelled = 1;
    return 0;
}

int core_same_encoding(PyObject *value, nf_same_encoding *out) {
    static const char *const words[] = {"01", "pm1", NULL};
    int choice = (int)*out;
    int failed = core_choice(value, "same_encoding", words, &choice);
    *out = (nf_same_encoding)choice;
    return failed;
}
