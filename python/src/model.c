/* nearfar.Model: a stack of dense layers. Immutable from Python once it is made (training works on
 * a copy), so threads may share it. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core.h"

/* ---- making --------------------------------------------------------------------------------- */

core_model_object *core_model_new(core_state *state, PyTypeObject *type) {
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    core_model_object *self = (core_model_object *)allocate(type, 0);
    if (self == NULL) return NULL;
    self->state = state;
    self->module = PyType_GetModule(state->model_type);
    Py_INCREF(self->module);
    self->context = core_context_new(state);
    if (self->context == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    return self;
}

/* Failures of the model's own context. */
static int check(core_model_object *self, nf_status status) {
    return status == NF_OK ? 0 : core_raise(nf_context_error(self->context));
}

static int get_hidden(PyObject *value, nf_model_options *options) {
    if (!core_given(value)) return 0;
    PyObject *widths = PyNumber_Check(value) && !PySequence_Check(value) ? PyTuple_Pack(1, value)
                                                                         : PySequence_Tuple(value);
    if (widths == NULL) return -1;
    Py_ssize_t count = PyTuple_Size(widths);
    int failed = count > NF_MODEL_MAX_HIDDEN;
    if (failed) {
        PyErr_Format(PyExc_ValueError, "hidden has %zd layers: at most %d are possible", count,
                     NF_MODEL_MAX_HIDDEN);
    }
    for (Py_ssize_t k = 0; !failed && k < count; k++) {
        failed = core_size(PyTuple_GetItem(widths, k), "hidden", &options->hidden[k]) < 0;
    }
    options->hidden_layers = failed ? 0 : (size_t)count;
    Py_DECREF(widths);
    return failed ? -1 : 0;
}

static const char *const activations[] = {"relu", "tanh", NULL};

static const char *const new_names[] = {"inputs",      "outputs",   "hidden", "activation", "bias",
                                        "standardize", "normalize", "seed",   NULL};
static const core_signature new_signature = {"Model", 3, 1, new_names};

static PyObject *model_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    core_state *state = core_state_of_type(type);
    PyObject *value[8] = {NULL};
    nf_model_options options = nf_model_defaults();
    int activation = (int)options.activation;
    if (state == NULL || core_arguments_tuple(&new_signature, args, keywords, value) < 0 ||
        core_size(value[0], "inputs", &options.inputs) < 0 ||
        core_size(value[1], "outputs", &options.outputs) < 0 ||
        get_hidden(value[2], &options) < 0 ||
        core_choice(value[3], "activation", activations, &activation) < 0 ||
        core_flag(value[4], "bias", &options.bias) < 0 ||
        core_flag(value[5], "standardize", &options.standardize) < 0 ||
        core_flag(value[6], "normalize", &options.normalize) < 0 ||
        core_seed(value[7], "seed", &options.seed) < 0) {
        return NULL;
    }
    options.activation = (nf_activation)activation;
    core_model_object *self = core_model_new(state, type);
    if (self != NULL && check(self, nf_model_create(self->context, &options, &self->model)) < 0) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

static void model_dealloc(PyObject *object) {
    core_model_object *self = (core_model_object *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->context != NULL) {
        nf_model_free(self->context, self->model);
        nf_context_free(self->context);
    }
    Py_XDECREF(self->module);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

/* ---- files ---------------------------------------------------------------------------------- */

/* A path as bytes for the engine; a new reference. */
static PyObject *path_bytes(PyObject *path) {
    PyObject *bytes;
    return PyUnicode_FSConverter(path, &bytes) ? bytes : NULL;
}

static PyObject *model_load(PyObject *type, PyObject *path) {
    core_state *state = core_state_of_type((PyTypeObject *)type);
    PyObject *bytes = state != NULL ? path_bytes(path) : NULL;
    if (bytes == NULL) return NULL;
    core_model_object *self = core_model_new(state, (PyTypeObject *)type);
    const char *name = PyBytes_AsString(bytes);
    if (self != NULL) {
        nf_status status = nf_model_load(self->context, name, &self->model);
        if (status == NF_ERR_IO && access(name, R_OK) != 0) {
            PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
            Py_CLEAR(self);
        } else if (check(self, status) < 0) {
            Py_CLEAR(self);
        }
    }
    Py_DECREF(bytes);
    return (PyObject *)self;
}

static PyObject *model_from_bytes(PyObject *type, PyObject *object) {
    core_state *state = core_state_of_type((PyTypeObject *)type);
    Py_buffer buffer;
    if (state == NULL || PyObject_GetBuffer(object, &buffer, PyBUF_SIMPLE) < 0) return NULL;
    core_model_object *self = core_model_new(state, (PyTypeObject *)type);
    if (self != NULL && check(self, nf_model_parse(self->context, buffer.buf, (size_t)buffer.len,
                                                   &self->model)) < 0) {
        Py_CLEAR(self);
    }
    PyBuffer_Release(&buffer);
    return (PyObject *)self;
}

/* A context of the call, not the model's: threads may save one model at the same time. */
static PyObject *model_save(PyObject *object, PyObject *path) {
    core_model_object *self = (core_model_object *)object;
    PyObject *bytes = path_bytes(path);
    if (bytes == NULL) return NULL;
    core_call call;
    int failed = core_enter(&call, self->state, 1e9) < 0;
    if (!failed) {
        nf_status status = nf_model_save(call.context, self->model, PyBytes_AsString(bytes));
        failed = core_leave(&call, status) < 0;
    }
    Py_DECREF(bytes);
    if (failed) return NULL;
    Py_RETURN_NONE;
}

/* ---- embedding ------------------------------------------------------------------------------ */

static double model_work(const core_model_object *self, size_t rows) {
    return 2 * (double)rows * (double)(nf_model_parameters(self->model) + 64);
}

static PyObject *model_embed(PyObject *object, PyObject *x_object) {
    core_model_object *self = (core_model_object *)object;
    core_state *state = self->state;
    core_matrix x = {0};
    PyObject *out = NULL, *answer = NULL;
    if (core_matrix_get(state, x_object, "x", &x) < 0) goto done;
    size_t cols = nf_model_get_options(self->model)->outputs;
    nf_matrix_out view = {NULL, NF_FLOAT32, x.view.rows, cols, cols};
    out = core_new_matrix(state, view.rows, view.cols, view.type, &view.data);
    if (out == NULL) goto done;
    core_call call;
    if (core_enter(&call, state, model_work(self, x.view.rows)) < 0) goto done;
    if (core_leave(&call, nf_model_embed(call.context, self->model, x.view, view)) == 0) {
        Py_INCREF(out);
        answer = out;
    }
done:
    Py_XDECREF(out);
    core_matrix_release(&x);
    return answer;
}

/* ---- content -------------------------------------------------------------------------------- */

static PyObject *copy_floats(core_state *state, const float *source, size_t rows, size_t cols,
                             int is_matrix) {
    void *data;
    PyObject *array = is_matrix ? core_new_matrix(state, rows, cols, NF_FLOAT32, &data)
                                : core_new_floats(state, rows, NF_FLOAT32, &data);
    if (array != NULL && rows * cols > 0) memcpy(data, source, rows * cols * sizeof(float));
    return array;
}

static PyObject *model_weights(PyObject *object, void *closure) {
    core_model_object *self = (core_model_object *)object;
    (void)closure;
    size_t layers = nf_model_layers(self->model), out, in;
    PyObject *list = PyList_New((Py_ssize_t)layers);
    for (size_t l = 0; list != NULL && l < layers; l++) {
        const float *weight = nf_model_weight(self->model, l, &out, &in);
        PyObject *array = copy_floats(self->state, weight, out, in, 1);
        if (array == NULL) {
            Py_CLEAR(list);
        } else {
            PyList_SetItem(list, (Py_ssize_t)l, array);
        }
    }
    return list;
}

static PyObject *model_biases(PyObject *object, void *closure) {
    core_model_object *self = (core_model_object *)object;
    (void)closure;
    size_t layers = nf_model_layers(self->model), out, in;
    PyObject *list = PyList_New((Py_ssize_t)layers);
    for (size_t l = 0; list != NULL && l < layers; l++) {
        (void)nf_model_weight(self->model, l, &out, &in);
        const float *bias = nf_model_bias(self->model, l);
        PyObject *array = bias != NULL ? copy_floats(self->state, bias, out, 1, 0) : Py_None;
        if (bias == NULL) Py_INCREF(Py_None);
        if (array == NULL) {
            Py_CLEAR(list);
        } else {
            PyList_SetItem(list, (Py_ssize_t)l, array);
        }
    }
    return list;
}

static PyObject *copy_doubles(core_model_object *self, const double *source) {
    if (source == NULL) Py_RETURN_NONE;
    size_t count = nf_model_get_options(self->model)->inputs;
    void *data;
    PyObject *array = core_new_floats(self->state, count, NF_FLOAT64, &data);
    if (array != NULL) memcpy(data, source, count * sizeof(double));
    return array;
}

static PyObject *model_mean(PyObject *object, void *closure) {
    core_model_object *self = (core_model_object *)object;
    (void)closure;
    return copy_doubles(self, nf_model_mean(self->model));
}

static PyObject *model_std(PyObject *object, void *closure) {
    core_model_object *self = (core_model_object *)object;
    (void)closure;
    return copy_doubles(self, nf_model_std(self->model));
}

static int add(PyObject *dict, const char *key, PyObject *value) {
    int failed = value == NULL ? -1 : PyDict_SetItemString(dict, key, value);
    Py_XDECREF(value);
    return failed;
}

static PyObject *widths_of(const nf_model_options *options) {
    PyObject *widths = PyTuple_New((Py_ssize_t)options->hidden_layers);
    for (size_t k = 0; widths != NULL && k < options->hidden_layers; k++) {
        PyObject *width = PyLong_FromSize_t(options->hidden[k]);
        if (width == NULL) {
            Py_CLEAR(widths);
        } else {
            PyTuple_SetItem(widths, (Py_ssize_t)k, width);
        }
    }
    return widths;
}

static PyObject *model_options(PyObject *object, void *closure) {
    const nf_model_options *o = nf_model_get_options(((core_model_object *)object)->model);
    (void)closure;
    PyObject *dict = PyDict_New();
    if (dict != NULL &&
        (add(dict, "inputs", PyLong_FromSize_t(o->inputs)) < 0 ||
         add(dict, "outputs", PyLong_FromSize_t(o->outputs)) < 0 ||
         add(dict, "hidden", widths_of(o)) < 0 ||
         add(dict, "activation", PyUnicode_FromString(activations[o->activation])) < 0 ||
         add(dict, "bias", PyBool_FromLong(o->bias)) < 0 ||
         add(dict, "standardize", PyBool_FromLong(o->standardize)) < 0 ||
         add(dict, "normalize", PyBool_FromLong(o->normalize)) < 0 ||
         add(dict, "seed", PyLong_FromUnsignedLongLong(o->seed)) < 0)) {
        Py_CLEAR(dict);
    }
    return dict;
}

static PyObject *model_metadata(PyObject *object, void *closure) {
    const nf_model *model = ((core_model_object *)object)->model;
    (void)closure;
    PyObject *dict = PyDict_New();
    const char *key, *value;
    for (size_t i = 0; dict != NULL && (key = nf_model_metadata_at(model, i, &value)) != NULL;
         i++) {
        if (add(dict, key, PyUnicode_FromString(value)) < 0) Py_CLEAR(dict);
    }
    return dict;
}

static PyObject *model_inputs(PyObject *object, void *closure) {
    (void)closure;
    return PyLong_FromSize_t(nf_model_get_options(((core_model_object *)object)->model)->inputs);
}

static PyObject *model_outputs(PyObject *object, void *closure) {
    (void)closure;
    return PyLong_FromSize_t(nf_model_get_options(((core_model_object *)object)->model)->outputs);
}

static PyObject *model_parameters(PyObject *object, void *closure) {
    (void)closure;
    return PyLong_FromSize_t(nf_model_parameters(((core_model_object *)object)->model));
}

/* ---- changes, for nearfar itself, on a model that nobody else has yet ------------------------ */

static PyObject *model_set_metadata(PyObject *object, PyObject *args) {
    core_model_object *self = (core_model_object *)object;
    const char *key, *value;
    if (!PyArg_ParseTuple(args, "ss", &key, &value)) return NULL;
    if (check(self, nf_model_set_metadata(self->context, self->model, key, value)) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- the type ------------------------------------------------------------------------------- */

static PyGetSetDef model_getset[] = {
    {"inputs", model_inputs, NULL, "Columns of the input, d.", NULL},
    {"outputs", model_outputs, NULL, "Dimensions of the embedding.", NULL},
    {"parameters", model_parameters, NULL, "Number of trainable numbers.", NULL},
    {"options", model_options, NULL, "What the model was made with, as keywords of Model.", NULL},
    {"metadata", model_metadata, NULL, "Text kept with the model: a new dict.", NULL},
    {"weights", model_weights, NULL, "Weights (out, in) of each layer: copies.", NULL},
    {"biases", model_biases, NULL, "Bias (out) of each layer, or None: copies.", NULL},
    {"mean", model_mean, NULL, "Input means (inputs), None without standardisation.", NULL},
    {"std", model_std, NULL, "Input deviations (inputs), None without standardisation.", NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyMethodDef model_methods[] = {
    {"load", model_load, METH_CLASS | METH_O,
     "load($type, path, /)\n--\n\n"
     "Read a model file (safetensors), written here or by the program. A damaged or foreign file\n"
     "is ValueError, one that cannot be read OSError."},
    {"from_bytes", model_from_bytes, METH_CLASS | METH_O,
     "from_bytes($type, data, /)\n--\n\nThe model in the bytes of a model file."},
    {"save", model_save, METH_O,
     "save($self, path, /)\n--\n\n"
     "Write the model (safetensors). The file appears whole or not at all; a file that was there\n"
     "stays as it is on failure. The same model gives the same bytes."},
    {"embed", model_embed, METH_O,
     "embed($self, x, /)\n--\n\n"
     "Embed the rows of x (n, inputs): a float32 array (n, outputs). The bits of a row do not\n"
     "depend on the other rows."},
    {"_set_metadata", model_set_metadata, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL}};

static PyType_Slot model_slots[] = {{Py_tp_new, (void *)model_new},
                                    {Py_tp_dealloc, (void *)model_dealloc},
                                    {Py_tp_methods, model_methods},
                                    {Py_tp_getset, model_getset},
                                    {Py_tp_doc, (void *)"What nearfar.Model is made of."},
                                    {0, NULL}};

PyType_Spec core_model_spec = {.name = "nearfar._core.Model",
                               .basicsize = sizeof(core_model_object),
                               .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                               .slots = model_slots};
