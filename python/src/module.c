/* The module nearfar._core: state, functions and result types. */
#include "core.h"
#include "jax/xla.h"

#include <string.h>

#define FUNCTION(name, function, doc) \
    { name, (PyCFunction)(void (*)(void))function, METH_FASTCALL | METH_KEYWORDS, doc }

/* ---- functions of the process --------------------------------------------------------------- */

static PyObject *set_num_threads(PyObject *module, PyObject *value) {
    core_state *state = PyModule_GetState(module);
    size_t threads = 0;
    if (core_size(value, "threads", &threads) < 0) return NULL;
    int before = state->threads;
    state->threads = threads > INT32_MAX ? INT32_MAX : (int)threads;
    nf_context *probe = core_context_new(state); /* the engine knows what is allowed */
    if (probe == NULL) {
        state->threads = before;
        return NULL;
    }
    nf_context_free(probe);
    state->generation++;
    core_contexts_clear(state);
    xla_set_threads(state->threads);
    Py_RETURN_NONE;
}

static PyObject *get_num_threads(PyObject *module, PyObject *unused) {
    core_call call;
    (void)unused;
    if (core_enter(&call, PyModule_GetState(module), 0) < 0) return NULL;
    int threads = nf_context_threads(call.context);
    core_leave_quietly(&call);
    return PyLong_FromLong(threads);
}

static PyObject *instruction_set(PyObject *module, PyObject *unused) {
    core_call call;
    (void)unused;
    if (core_enter(&call, PyModule_GetState(module), 0) < 0) return NULL;
    const char *name = nf_context_isa(call.context);
    core_leave_quietly(&call);
    return PyUnicode_FromString(name);
}

static PyObject *presets(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict != NULL && i < nf_loss_presets(); i++) {
        PyObject *formula = PyUnicode_FromString(nf_loss_preset_formula(i));
        if (formula == NULL || PyDict_SetItemString(dict, nf_loss_preset_name(i), formula) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(formula);
    }
    return dict;
}

static PyMethodDef functions[] = {
    FUNCTION("pairwise_distances", core_pairwise_distances, core_doc_pairwise_distances),
    FUNCTION("pdist", core_pdist, core_doc_pdist),
    FUNCTION("pair_distances", core_pair_distances, core_doc_pair_distances),
    FUNCTION("knn", core_knn, core_doc_knn),
    FUNCTION("partition", core_partition, core_doc_partition),
    FUNCTION("class_indices", core_class_indices, core_doc_class_indices),
    FUNCTION("pair_indices", core_pair_indices, core_doc_pair_indices),
    FUNCTION("sample_pairs", core_sample_pairs, core_doc_sample_pairs),
    FUNCTION("mine", core_mine, NULL),
    FUNCTION("mine_hard", core_mine_hard, NULL),
    FUNCTION("loss", core_loss, core_doc_loss),
    FUNCTION("evaluate", core_evaluate, core_doc_evaluate),
    FUNCTION("train", core_train, NULL),
    FUNCTION("train_rows", core_train_rows, NULL),
    FUNCTION("load_table", core_load_table, NULL),
    FUNCTION("load_digits", core_load_digits, NULL),
    {"jax_targets", core_jax_targets, METH_NOARGS, NULL},
    {"train_defaults", core_train_defaults, METH_NOARGS, NULL},
    {"default_training_loss", core_default_training_loss, METH_NOARGS, NULL},
    {"set_num_threads", set_num_threads, METH_O,
     "set_num_threads(threads, /)\n--\n\n"
     "Threads that a call may use: 1 to 1024, or 0 for NF_NUM_THREADS or every CPU this process\n"
     "may use. Never changes a result."},
    {"get_num_threads", get_num_threads, METH_NOARGS,
     "get_num_threads()\n--\n\nThreads that a call may use."},
    {"instruction_set", instruction_set, METH_NOARGS,
     "instruction_set()\n--\n\nThe instruction set in use, e.g. 'avx2'. Never changes a result."},
    {"presets", presets, METH_NOARGS, "presets()\n--\n\nPresets of the loss and their formulas."},
    {NULL, NULL, 0, NULL}};

/* ---- results -------------------------------------------------------------------------------- */

#define FIELDS(name) static PyStructSequence_Field name[]

FIELDS(loss_result) = {{"value", "the loss, a float"},
                       {"grad", "its gradient, or a pair of gradients, or None"},
                       {"counts", "LossCounts"},
                       {"terms", "terms (p) before reduction, or None"},
                       {NULL, NULL}};
FIELDS(loss_counts) = {{"positive_pairs", "pairs with the same label"},
                       {"negative_pairs", "pairs with different labels"},
                       {"active_negative", "negatives whose term is above 0"},
                       {"coincident_negatives", "negatives at distance 0: a sign of collapse"},
                       {"zero_rows", "all-zero rows met by cosine or normalize"},
                       {"active_positive", "positives whose term is above 0; None without stats"},
                       {"mean_positive_distance", "mean t+; None without stats"},
                       {"mean_negative_distance", "mean t-; None without stats"},
                       {"terms", "terms that are no single pairs, such as triplets; else 0"},
                       {"active_terms", "those above 0"},
                       {NULL, NULL}};
FIELDS(pairs_fields) = {{"i", "(p) int64"},
                        {"j", "(p) int64"},
                        {"same", "(p) bool, True for a positive"},
                        {"weight", "(p) float64"},
                        {NULL, NULL}};
FIELDS(partition_fields) = {{"labels", "(c) label of each class"},
                            {"offsets", "(c + 1) int64"},
                            {"rows", "rows of class k are rows[offsets[k]:offsets[k + 1]]"},
                            {"class_of", "(n) int64, -1 if unlabelled"},
                            {"positive_pairs", "pairs with the same label"},
                            {"negative_pairs", "pairs with different labels"},
                            {"singletons", "classes with one row"},
                            {NULL, NULL}};
FIELDS(event_fields) = {{"epoch", "0 before training"},
                        {"epochs", "of so many"},
                        {"step", "updates so far"},
                        {"seconds", "since the start; for display only"},
                        {"loss", "mean loss of the epoch's batches"},
                        {"lr", "learning rate"},
                        {"active_positive", "share of positives with a term above 0"},
                        {"active_negative", "share of negatives with a term above 0"},
                        {"mean_positive_distance", "mean t+"},
                        {"mean_negative_distance", "mean t-"},
                        {"map_at_r", "MAP@R of the validation rows, or None"},
                        {"best_map_at_r", "the best so far, or None"},
                        {"warning", "one sentence, or None"},
                        {"beta", "learnt boundary, of classes their mean, or None"},
                        {"mined", "pairs or triplets a miner found per step, or None"},
                        {"empty_steps", "steps of the epoch in which it found nothing, or None"},
                        {NULL, NULL}};
FIELDS(report_fields) = {{"epochs_run", "epochs done"},
                         {"best_epoch", "the epoch whose weights were kept"},
                         {"steps", "updates done"},
                         {"stopped_early", "before the last epoch"},
                         {"train_rows", "rows (or pairs) trained on"},
                         {"valid_rows", "rows held out"},
                         {"first_loss", "loss before training"},
                         {"last_loss", "loss of the last epoch"},
                         {"map_at_r", "best MAP@R of the validation rows, or None"},
                         {"median_distance", "before training, over sampled negatives"},
                         {"suggested_margin", "None if the margin fits typical distances"},
                         {"collapsed", "distances shrank to almost nothing"},
                         {"beta", "learnt boundary, of classes their mean, or None"},
                         {"smallest_beta", "of the classes' boundaries, or None"},
                         {"largest_beta", "of the classes' boundaries, or None"},
                         {"mined", "pairs or triplets a miner found in all steps, or None"},
                         {"empty_steps", "steps in which it found nothing, or None"},
                         {NULL, NULL}};
FIELDS(evaluation_fields) = {
    {"n", "labelled rows"},
    {"queries", "of those, with at least one relevant row"},
    {"dropped", "without"},
    {"recall", "dict: share of queries with a relevant row among the k nearest"},
    {"r_precision", "mean of (relevant among the R nearest) / R"},
    {"map_at_r", "MAP@R (Musgrave, Belongie & Lim 2020, eq. 6)"},
    {"knn_accuracy", "majority vote of the knn_k nearest"},
    {"positive_pairs", "pairs with the same label"},
    {"negative_pairs", "pairs with different labels"},
    {"roc_auc", "P(d+ < d-) + P(d+ = d-) / 2"},
    {"eer", "equal error rate"},
    {"eer_threshold", "where it is"},
    {"tar_at_far_1e2", "true accept rate at a false accept rate of 1e-2"},
    {"tar_at_far_1e3", "the same at 1e-3"},
    {"best_accuracy", "over all thresholds"},
    {"best_threshold", "where it is"},
    {NULL, NULL}};

static int add_result(PyObject *module, PyTypeObject **slot, const char *name, const char *doc,
                      PyStructSequence_Field *fields, int visible) {
    PyStructSequence_Desc description = {name, doc, fields, visible};
    *slot = PyStructSequence_NewType(&description);
    if (*slot == NULL) return -1;
    return PyModule_AddType(module, *slot);
}

int core_add_result_types(PyObject *module, core_state *state) {
    if (add_result(module, &state->loss_result, "nearfar.LossResult",
                   "What a loss gives: value, gradient and counts.", loss_result, 3) < 0 ||
        add_result(module, &state->loss_counts, "nearfar.LossCounts",
                   "Numbers of pairs behind a loss.", loss_counts, 10) < 0 ||
        add_result(module, &state->pairs, "nearfar.Pairs", "A list of pairs.", pairs_fields, 4) <
            0 ||
        add_result(module, &state->partition, "nearfar.Partition", "Rows grouped by class.",
                   partition_fields, 7) < 0 ||
        add_result(module, &state->event, "nearfar.TrainEvent", "One epoch of training.",
                   event_fields, 13) < 0 ||
        add_result(module, &state->report, "nearfar.TrainReport", "What training did.",
                   report_fields, 12) < 0) {
        return -1;
    }
    return add_result(module, &state->evaluation, "nearfar.Evaluation",
                      "Retrieval and verification figures.", evaluation_fields, 16);
}

/* ---- state ---------------------------------------------------------------------------------- */

static PyModuleDef core_module;

core_state *core_state_of_type(PyTypeObject *type) {
    while (type != NULL) {
        PyObject *module = PyType_GetModule(type);
        if (module != NULL && PyModule_GetDef(module) == &core_module) {
            return PyModule_GetState(module);
        }
        PyErr_Clear();
        type = (PyTypeObject *)PyType_GetSlot(type, Py_tp_base);
    }
    PyErr_SetString(PyExc_SystemError, "nearfar._core: not a type of this module");
    return NULL;
}

/* The dtype object of that name. */
static PyObject *dtype(PyObject *numpy, const char *name) {
    return PyObject_CallMethod(numpy, "dtype", "s", name);
}

static int import_numpy(core_state *state) {
    PyObject *numpy = PyImport_ImportModule("numpy");
    if (numpy == NULL) return -1;
    state->empty = PyObject_GetAttrString(numpy, "empty");
    state->ndarray = (PyTypeObject *)PyObject_GetAttrString(numpy, "ndarray");
    state->float32 = dtype(numpy, "float32");
    state->float64 = dtype(numpy, "float64");
    state->int64 = dtype(numpy, "int64");
    state->boolean = dtype(numpy, "bool");
    Py_DECREF(numpy);
    return state->empty != NULL && state->ndarray != NULL && state->float32 != NULL &&
                   state->float64 != NULL && state->int64 != NULL && state->boolean != NULL
               ? 0
               : -1;
}

static int import_others(core_state *state) {
    PyObject *threading = PyImport_ImportModule("threading");
    if (threading == NULL) return -1;
    state->main_thread = PyObject_GetAttrString(threading, "main_thread");
    Py_DECREF(threading);
    state->convert = PyImport_ImportModule("nearfar._convert");
    return state->main_thread != NULL && state->convert != NULL ? 0 : -1;
}

static int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **slot) {
    *slot = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    return *slot == NULL ? -1 : PyModule_AddType(module, *slot);
}

static int execute(PyObject *module) {
    core_state *state = PyModule_GetState(module);
    if (import_numpy(state) < 0 || import_others(state) < 0 ||
        core_add_result_types(module, state) < 0 ||
        add_type(module, &core_loss_spec, &state->loss_type) < 0 ||
        add_type(module, &core_model_spec, &state->model_type) < 0) {
        return -1;
    }
    return PyModule_AddStringConstant(module, "version", nf_version());
}

static int traverse(PyObject *module, visitproc visit, void *arg) {
    core_state *state = PyModule_GetState(module);
    if (state == NULL) return 0;
    Py_VISIT(state->empty);
    Py_VISIT(state->main_thread);
    Py_VISIT(state->convert);
    Py_VISIT(state->loss_type);
    Py_VISIT(state->model_type);
    return 0;
}

static int clear(PyObject *module) {
    core_state *state = PyModule_GetState(module);
    if (state == NULL) return 0;
    core_contexts_clear(state);
    Py_CLEAR(state->empty);
    Py_CLEAR(state->float32);
    Py_CLEAR(state->float64);
    Py_CLEAR(state->int64);
    Py_CLEAR(state->boolean);
    Py_CLEAR(state->ndarray);
    Py_CLEAR(state->convert);
    Py_CLEAR(state->main_thread);
    Py_CLEAR(state->loss_type);
    Py_CLEAR(state->model_type);
    Py_CLEAR(state->loss_result);
    Py_CLEAR(state->loss_counts);
    Py_CLEAR(state->pairs);
    Py_CLEAR(state->partition);
    Py_CLEAR(state->report);
    Py_CLEAR(state->event);
    Py_CLEAR(state->evaluation);
    return 0;
}

static void release(void *module) { clear(module); }

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)execute}, {0, NULL}};

static PyModuleDef core_module = {PyModuleDef_HEAD_INIT,
                                  .m_name = "nearfar._core",
                                  .m_doc = "The engine, as nearfar shows it.",
                                  .m_size = sizeof(core_state),
                                  .m_methods = functions,
                                  .m_slots = slots,
                                  .m_traverse = traverse,
                                  .m_clear = clear,
                                  .m_free = release};

PyMODINIT_FUNC PyInit__core(void);

PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&core_module); }
