/* What the files of the extension share: state, arguments, inputs, outputs, calls.
 *
 * Limited API, CPython 3.11 and later, one binary for all. NumPy is reached through the buffer
 * protocol and three of its Python functions; nothing of it is compiled in.
 *
 * Pattern of a function:
 *
 *     PyObject *value[N] = {defaults};
 *     if (core_arguments(&signature, args, nargs, names, value) < 0) return NULL;
 *     get inputs; make outputs;
 *     core_call call;
 *     if (core_enter(&call, state, work) < 0) goto done;
 *     ok = core_leave(&call, nf_...(call.context, ...)) == 0;
 *   done:
 *     release inputs
 */
#ifndef NEARFAR_PYTHON_CORE_H
#define NEARFAR_PYTHON_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#include "nearfar/nearfar.h"

/* ---- state (module.c) ----------------------------------------------------------------------- */

#define CORE_MAX_IDLE 16

typedef struct core_state {
    PyObject *empty;                               /* numpy.empty */
    PyObject *float32, *float64, *int64, *boolean; /* numpy.dtype objects */
    PyTypeObject *ndarray;
    PyObject *convert;     /* nearfar._convert */
    PyObject *main_thread; /* threading.main_thread */
    PyTypeObject *loss_type, *model_type;
    PyTypeObject *loss_result, *loss_counts, *pairs, *partition;
    PyTypeObject *report, *event, *evaluation;
    /* Contexts that no call is using; touched under the GIL only, so a context in this list was
     * idle at a fork. */
    nf_context *idle[CORE_MAX_IDLE];
    size_t idle_count;
    unsigned generation; /* changes with `threads` */
    int threads;         /* 0: automatic */
} core_state;

core_state *core_state_of_type(PyTypeObject *type); /* also of a subclass in Python */

/* ---- arguments (arguments.c) ---------------------------------------------------------------- */

#define CORE_MAX_ARGUMENTS 24

typedef struct core_signature {
    const char *function;
    int positional;           /* the first so many may be given by position */
    int required;             /* the first so many must be given */
    const char *const *names; /* NULL-terminated */
} core_signature;

/* Sort positional and keyword arguments into value[] in the order of names, borrowed; what is not
 * given keeps NULL. */
int core_arguments(const core_signature *signature, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *keywords, PyObject **value);
/* The same for tp_call and tp_new. */
int core_arguments_tuple(const core_signature *signature, PyObject *args, PyObject *keywords,
                         PyObject **value);

static inline int core_given(PyObject *value) { return value != NULL && value != Py_None; }

/* Each leaves *out as it is when value is NULL (not given) or, except core_flag, None. */
int core_flag(PyObject *value, const char *name, int *out);
int core_number(PyObject *value, const char *name, double *out);
int core_size(PyObject *value, const char *name, size_t *out);
int core_seed(PyObject *value, const char *name, uint64_t *out);
const char *core_text(PyObject *value, const char *name); /* NULL with an exception */
int core_metric(PyObject *value, const char *name, nf_metric *out);
int core_reduction(PyObject *value, const char *name, nf_reduction *out);
/* A word of a NULL-terminated list; the answer is its position. */
int core_choice(PyObject *value, const char *name, const char *const *words, int *out);
/* unlabelled=-1 or None. */
int core_unlabelled(PyObject *value, int *has_unlabelled);
int core_same_encoding(PyObject *value, nf_same_encoding *out);

/* ---- inputs (input.c) ----------------------------------------------------------------------- */

/* A matrix as the engine reads it. What the engine cannot read in place is converted by
 * nearfar._convert; `dtype` is then the type that a gradient goes back to (NULL: that of view). */
typedef struct core_matrix {
    Py_buffer buffer; /* buffer.obj NULL: not held */
    PyObject *dtype;
    nf_matrix view;
} core_matrix;

int core_matrix_get(core_state *state, PyObject *object, const char *name, core_matrix *matrix);
/* Both in one type: if they differ, the float32 one is converted to float64. */
int core_matrix_match(core_state *state, core_matrix *a, PyObject *a_object, const char *a_name,
                      core_matrix *b, PyObject *b_object, const char *b_name);
void core_matrix_release(core_matrix *matrix);

typedef struct core_vector {
    Py_buffer buffer;
    const void *data;
    size_t count;
    PyObject *names; /* labels: list of the values behind the numbers, or NULL */
} core_vector;

int core_labels_get(core_state *state, PyObject *object, const char *name, core_vector *labels);
int core_index_get(core_state *state, PyObject *object, const char *name, core_vector *index);
int core_weight_get(core_state *state, PyObject *object, const char *name, core_vector *weight);
int core_same_get(core_state *state, PyObject *object, const char *name, nf_same_encoding encoding,
                  core_vector *same);
void core_vector_release(core_vector *vector);
int core_same_count(size_t count, const char *name, size_t expected, const char *other);

/* Several labels a row. */
typedef struct core_label_sets {
    core_vector offsets, labels;
    size_t *offset;
    nf_label_sets sets;
} core_label_sets;

/* From int64 offsets (n + 1) and labels of n rows. Zeroed first, released also after a failure. */
int core_label_sets_get(core_state *state, PyObject *offsets, PyObject *labels, size_t n,
                        core_label_sets *form);
void core_label_sets_release(core_label_sets *form);

/* ---- outputs (output.c) --------------------------------------------------------------------- */

/* New NumPy arrays; *data is valid as long as the array lives. */
PyObject *core_new_matrix(core_state *state, size_t rows, size_t cols, nf_type type, void **data);
PyObject *core_new_vector(core_state *state, size_t count, PyObject *dtype, void **data);
PyObject *core_new_floats(core_state *state, size_t count, nf_type type, void **data);
PyObject *core_index_matrix(core_state *state, size_t rows, size_t cols, void **data);
PyObject *core_int64_copy(core_state *state, const void *data, size_t count);
/* array.astype(dtype) if dtype is not NULL; takes over the reference to array. */
PyObject *core_as_type(PyObject *array, PyObject *dtype);
/* Put a new reference into a struct sequence; -1 if it is NULL. */
int core_set(PyObject *sequence, Py_ssize_t position, PyObject *value);

/* ---- calls (call.c) ------------------------------------------------------------------------- */

typedef struct core_call {
    core_state *state;
    nf_context *context;
    unsigned generation;
    PyThreadState *thread; /* NULL while the GIL is held */
    int foreign;           /* this is not the thread that Python sends signals to */
    int asked;             /* `foreign` is known */
} core_call;

/* Take an idle context, and release the GIL if `work` (floating-point operations, roughly) is worth
 * it. Signals are answered during the call. */
int core_enter(core_call *call, core_state *state, double work);
/* Take the GIL back, give the context back and turn a failure into an exception. */
int core_leave(core_call *call, nf_status status);
/* As core_leave, but tells whether the call was stopped by an exception that is already set. */
void core_leave_quietly(core_call *call);
/* The GIL within a callback of the engine. */
void core_callback_enter(core_call *call);
void core_callback_leave(core_call *call);
int core_raise(const nf_error *error);
/* A message of the engine with Python's name of the remedy where that is another. */
void core_python_words(const char *message, char *text, size_t size);
/* A context of one's own, for an object that lives longer than a call. */
nf_context *core_context_new(core_state *state);
void core_contexts_clear(core_state *state);

/* ---- what the module is made of ------------------------------------------------------------- */

#define CORE_FUNCTION(name) \
    PyObject *name(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *keywords)

CORE_FUNCTION(core_pairwise_distances);
CORE_FUNCTION(core_pdist);
CORE_FUNCTION(core_pair_distances);
CORE_FUNCTION(core_knn);
CORE_FUNCTION(core_partition);
CORE_FUNCTION(core_class_indices);
CORE_FUNCTION(core_pair_indices);
CORE_FUNCTION(core_sample_pairs);
CORE_FUNCTION(core_mine);
/* A miner by name with a dict of its options, which nearfar.train has checked; dict NULL or None: none. */
int core_mine_options(PyObject *miner, PyObject *dict, nf_mine_options *options);
CORE_FUNCTION(core_mine_hard);
CORE_FUNCTION(core_loss);
CORE_FUNCTION(core_train);
CORE_FUNCTION(core_train_rows);
CORE_FUNCTION(core_evaluate);
CORE_FUNCTION(core_load_table);
CORE_FUNCTION(core_load_digits);
PyObject *core_jax_targets(PyObject *module, PyObject *unused);
PyObject *core_train_defaults(PyObject *module, PyObject *unused);
PyObject *core_default_training_loss(PyObject *module, PyObject *unused);

extern const char core_doc_pairwise_distances[], core_doc_pdist[], core_doc_pair_distances[],
    core_doc_knn[], core_doc_partition[], core_doc_class_indices[], core_doc_pair_indices[],
    core_doc_sample_pairs[], core_doc_loss[], core_doc_evaluate[];

#define CORE_PRESET 32 /* bytes of a preset's name */

/* A loss with everything that a call needs. Immutable once made. */
typedef struct core_loss_object {
    PyObject_HEAD core_state *state;
    PyObject *module; /* keeps the state alive */
    nf_loss loss;
    int has_unlabelled;
    char preset[CORE_PRESET];
} core_loss_object;

extern PyType_Spec core_loss_spec;
extern PyType_Spec core_model_spec;

typedef struct core_model_object {
    PyObject_HEAD core_state *state;
    PyObject *module;
    nf_context *context; /* the model's own: it outlives any call */
    nf_model *model;
} core_model_object;

core_model_object *core_model_new(core_state *state, PyTypeObject *type);
int core_add_result_types(PyObject *module, core_state *state);

#endif
