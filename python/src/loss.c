/* nearfar.loss, and the type behind nearfar.ContrastiveLoss and the other losses. */
#include <stddef.h>
#include <string.h>

#include "core.h"
#include "loss.h"
#include "numbers.h"

/* ---- options -------------------------------------------------------------------------------- */

#define LOSS_OPTIONS                                                                             \
    "preset", "metric", "pos_metric", "neg_metric", "margin", "pos_margin", "neg_margin",        \
        "exponent", "pos_exponent", "neg_exponent", "pos_weight", "neg_weight", "scale",         \
        "normalize", "reduction", "stats", "unlabelled", "temperature", "alpha", "beta", "base", \
        "gamma", "triplets", "smooth", "divisor", "fast"

enum {
    PRESET,
    METRIC,
    POS_METRIC,
    NEG_METRIC,
    MARGIN,
    POS_MARGIN,
    NEG_MARGIN,
    EXPONENT,
    POS_EXPONENT,
    NEG_EXPONENT,
    POS_WEIGHT,
    NEG_WEIGHT,
    SCALE,
    NORMALIZE,
    REDUCTION,
    STATS,
    UNLABELLED,
    TEMPERATURE,
    ALPHA,
    BETA,
    BASE,
    GAMMA,
    TRIPLETS,
    SMOOTH,
    DIVISOR,
    FAST,
    OPTIONS
};

static int set_preset(core_state *state, PyObject *value, nf_loss *loss, char preset[CORE_PRESET]) {
    const char *name = core_given(value) ? core_text(value, "preset") : "weston";
    if (name == NULL) return -1;
    core_call call;
    if (core_enter(&call, state, 0) < 0) return -1;
    if (core_leave(&call, nf_loss_preset(call.context, name, loss)) < 0) return -1;
    PyOS_snprintf(preset, CORE_PRESET, "%s", name);
    return 0;
}

/* margin and neg_margin are one thing: a margin without a side is that of the negatives. */
static int set_margins(PyObject *const *value, nf_loss *loss) {
    if (core_given(value[MARGIN]) && core_given(value[NEG_MARGIN])) {
        PyErr_SetString(PyExc_TypeError, "margin and neg_margin are the same: give one of them");
        return -1;
    }
    const int family = loss->kind == NF_KIND_CONTRASTIVE;
    if (family && loss->neg_metric == NF_DOT && !core_given(value[MARGIN]) &&
        !core_given(value[NEG_MARGIN])) {
        PyErr_SetString(PyExc_ValueError,
                        "metric 'dot' (the negated product) needs an explicit margin: negatives "
                        "with t = -a.b below it are pushed away, e.g. margin=0");
        return -1;
    }
    if (family && loss->pos_metric == NF_DOT && !core_given(value[POS_MARGIN]) &&
        !core_given(value[MARGIN])) {
        PyErr_SetString(PyExc_ValueError,
                        "metric 'dot' (the negated product) of positives needs an explicit "
                        "pos_margin: positives with t = -a.b above it are pulled together");
        return -1;
    }
    if (core_number(value[MARGIN], "margin", &loss->neg_margin) < 0 ||
        core_number(value[NEG_MARGIN], "neg_margin", &loss->neg_margin) < 0 ||
        core_number(value[POS_MARGIN], "pos_margin", &loss->pos_margin) < 0) {
        return -1;
    }
    return 0;
}

static int set_metrics(PyObject *const *value, nf_loss *loss) {
    if (core_metric(value[METRIC], "metric", &loss->pos_metric) < 0) return -1;
    if (core_given(value[METRIC])) loss->neg_metric = loss->pos_metric;
    if (core_metric(value[POS_METRIC], "pos_metric", &loss->pos_metric) < 0) return -1;
    return core_metric(value[NEG_METRIC], "neg_metric", &loss->neg_metric);
}

static int set_exponents(PyObject *const *value, nf_loss *loss) {
    if (core_number(value[EXPONENT], "exponent", &loss->pos_exponent) < 0) return -1;
    if (core_given(value[EXPONENT])) loss->neg_exponent = loss->pos_exponent;
    if (core_number(value[POS_EXPONENT], "pos_exponent", &loss->pos_exponent) < 0) return -1;
    return core_number(value[NEG_EXPONENT], "neg_exponent", &loss->neg_exponent);
}

static int set_rest(PyObject *const *value, nf_loss *loss) {
    if (core_number(value[POS_WEIGHT], "pos_weight", &loss->pos_weight) < 0 ||
        core_number(value[NEG_WEIGHT], "neg_weight", &loss->neg_weight) < 0 ||
        core_number(value[SCALE], "scale", &loss->scale) < 0 ||
        core_reduction(value[REDUCTION], "reduction", &loss->reduction) < 0 ||
        core_number(value[DIVISOR], "divisor", &loss->divisor) < 0 ||
        core_flag(value[STATS], "stats", &loss->stats) < 0 ||
        core_flag(value[FAST], "fast", &loss->fast) < 0) {
        return -1;
    }
    return core_given(value[NORMALIZE]) ? core_flag(value[NORMALIZE], "normalize", &loss->normalize)
                                        : 0;
}

static const char *const triplet_words[] = {
#define XX(name, value, text) text,
    NF_TRIPLETS_MAP(XX)
#undef XX
        NULL};

/* Numbers and words of kinds other than contrastive. */
static int set_kind(PyObject *const *value, nf_loss *loss) {
    int triplets = (int)loss->triplets;
    if (core_number(value[TEMPERATURE], "temperature", &loss->temperature) < 0 ||
        core_number(value[ALPHA], "alpha", &loss->alpha) < 0 ||
        core_number(value[BETA], "beta", &loss->beta) < 0 ||
        core_number(value[BASE], "base", &loss->base) < 0 ||
        core_number(value[GAMMA], "gamma", &loss->gamma) < 0 ||
        core_choice(value[TRIPLETS], "triplets", triplet_words, &triplets) < 0) {
        return -1;
    }
    loss->triplets = (nf_triplets)triplets;
    return core_given(value[SMOOTH]) ? core_flag(value[SMOOTH], "smooth", &loss->smooth) : 0;
}

/* value[OPTIONS] as LOSS_OPTIONS. */
static int set_options(core_state *state, PyObject *const *value, nf_loss *loss,
                       char preset[CORE_PRESET], int *has_unlabelled) {
    *has_unlabelled = 1;
    if (set_preset(state, value[PRESET], loss, preset) < 0 || set_metrics(value, loss) < 0 ||
        set_exponents(value, loss) < 0 || set_margins(value, loss) < 0 ||
        set_rest(value, loss) < 0 || set_kind(value, loss) < 0 ||
        core_unlabelled(value[UNLABELLED], has_unlabelled) < 0) {
        return -1;
    }
    core_call call;
    if (core_enter(&call, state, 0) < 0) return -1;
    return core_leave(&call, nf_loss_check(call.context, loss));
}

/* ---- batch ---------------------------------------------------------------------------------- */

/* What a batch is asked for, as objects. */
typedef struct batch_request {
    PyObject *x, *labels, *gradient, *upstream, *terms;
} batch_request;

static nf_status batch_run(core_call *call, const nf_loss *loss, nf_matrix x, nf_labels labels,
                           const core_terms *terms, nf_loss_result *result, nf_matrix_out out) {
    if (terms->array == NULL && terms->of_rows.upstream == NULL) {
        return nf_loss_batch(call->context, loss, x, labels, result, out);
    }
    return nf_loss_anchors(call->context, loss, x, labels, &terms->of_rows, result, out);
}

static PyObject *batch(core_state *state, const nf_loss *loss, int has_unlabelled,
                       const batch_request *request) {
    core_matrix x = {0};
    core_vector labels = {0};
    core_terms terms = {0};
    PyObject *gradient = NULL, *answer = NULL;
    int wanted = 1, failed = 0;
    if (core_flag(request->gradient, "gradient", &wanted) < 0 ||
        core_matrix_get(state, request->x, "x", &x) < 0 ||
        core_labels_get(state, request->labels, "labels", &labels) < 0 ||
        core_terms_get(state, request->upstream, request->terms, x.view.rows, loss->reduction,
                       &terms) < 0) {
        goto done;
    }
    nf_matrix_out out;
    gradient = core_new_gradient(state, wanted, &x, &out, &failed);
    if (failed) goto done;
    nf_labels classes = {labels.data, labels.count, has_unlabelled};
    nf_loss_result result;
    core_call call;
    double n = (double)x.view.rows;
    if (core_enter(&call, state, core_loss_work(n * n / 2, x.view.cols)) < 0) goto done;
    if (core_leave(&call, batch_run(&call, loss, x.view, classes, &terms, &result, out)) < 0) {
        goto done;
    }
    gradient = core_as_type(gradient, x.dtype);
    if (gradient != NULL || !wanted) {
        answer = core_loss_result(state, &result, gradient, terms.array);
    }
done:
    Py_XDECREF(gradient);
    core_terms_release(&terms);
    core_vector_release(&labels);
    core_matrix_release(&x);
    return answer;
}

const char core_doc_loss[] =
    "loss(x, labels, loss=None, *, gradient=True, preset=None, metric=None, pos_metric=None,\n"
    "     neg_metric=None, margin=None, pos_margin=None, neg_margin=None, exponent=None,\n"
    "     pos_exponent=None, neg_exponent=None, pos_weight=None, neg_weight=None, scale=None,\n"
    "     normalize=None, reduction=None, stats=False, unlabelled=-1, temperature=None,\n"
    "     alpha=None, beta=None, base=None, gamma=None, triplets=None, smooth=None,\n"
    "     divisor=None, fast=False)\n"
    "--\n\n"
    "Loss over all pairs of labelled rows, with its gradient.\n\n"
    "Without options this is eq. (3) of Weston, Ratle & Collobert, Deep Learning via\n"
    "Semi-Supervised Embedding, ICML 2008: the mean over all pairs i < j of d^2 where the labels\n"
    "agree and of max(0, 1 - d)^2 where they differ, d = |x_i - x_j|.\n\n"
    "x (n, d): float32 or float64 rows; other real types are converted, see nearfar.loss's\n"
    "    result for the type of the gradient.\n"
    "labels (n): integers, or strings; -1 marks a row that takes part in no pair.\n"
    "loss: a loss object such as ContrastiveLoss or SupConLoss; or give its options by name, the\n"
    "    loss itself as preset, see presets().\n\n"
    "Returns LossResult(value, grad, counts): value a float, grad (n, d) in x's type (None with\n"
    "gradient=False), counts the numbers of pairs. No pair at all gives 0 and zeros, never NaN.\n"
    "Memory O(n d): the n x n matrix is never made. The same bits for any number of threads.";

static const char *const loss_names[] = {"x", "labels", "loss", "gradient", LOSS_OPTIONS, NULL};
static const core_signature loss_signature = {"loss", 3, 2, loss_names};

static int any_given(PyObject *const *value, int count) {
    for (int k = 0; k < count; k++) {
        if (value[k] != NULL) return 1;
    }
    return 0;
}

CORE_FUNCTION(core_loss) {
    core_state *state = PyModule_GetState(module);
    PyObject *value[4 + OPTIONS] = {NULL};
    int has_unlabelled = 1, options;
    if (core_arguments(&loss_signature, args, nargs, keywords, value) < 0) return NULL;
    nf_loss loss = nf_loss_weston();
    char preset[CORE_PRESET];
    options = any_given(value + 4, OPTIONS);
    if (core_given(value[2])) {
        if (!PyObject_TypeCheck(value[2], state->loss_type)) {
            PyErr_Format(PyExc_TypeError,
                         "loss is %R: it must be a loss such as ContrastiveLoss, or None",
                         value[2]);
            return NULL;
        }
        if (options) {
            PyErr_SetString(PyExc_TypeError,
                            "loss has its options already: give a loss or options by name, not "
                            "both");
            return NULL;
        }
        const core_loss_object *object = (const core_loss_object *)value[2];
        loss = object->loss;
        has_unlabelled = object->has_unlabelled;
    } else if (options && set_options(state, value + 4, &loss, preset, &has_unlabelled) < 0) {
        return NULL;
    }
    const batch_request request = {value[0], value[1], value[3], NULL, NULL};
    return batch(state, &loss, has_unlabelled, &request);
}

/* ---- the type ------------------------------------------------------------------------------- */

static const char *const new_names[] = {LOSS_OPTIONS, NULL};
static const core_signature new_signature = {"ContrastiveLoss", 1, 0, new_names};

static PyObject *loss_from(core_state *state, PyTypeObject *type, const nf_loss *loss,
                           const char *preset, int has_unlabelled) {
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    core_loss_object *self = (core_loss_object *)allocate(type, 0);
    if (self == NULL) return NULL;
    self->state = state;
    self->module = PyType_GetModule(state->loss_type);
    Py_INCREF(self->module);
    self->loss = *loss;
    self->has_unlabelled = has_unlabelled;
    PyOS_snprintf(self->preset, sizeof self->preset, "%s", preset);
    return (PyObject *)self;
}

static PyObject *loss_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    core_state *state = core_state_of_type(type);
    PyObject *value[OPTIONS] = {NULL};
    if (state == NULL || core_arguments_tuple(&new_signature, args, keywords, value) < 0) {
        return NULL;
    }
    nf_loss loss;
    char preset[CORE_PRESET];
    int has_unlabelled;
    if (set_options(state, value, &loss, preset, &has_unlabelled) < 0) return NULL;
    return loss_from(state, type, &loss, preset, has_unlabelled);
}

PyObject *core_default_training_loss(PyObject *module, PyObject *unused) {
    core_state *state = PyModule_GetState(module);
    nf_train_options options = nf_train_defaults();
    (void)unused;
    return loss_from(state, state->loss_type, &options.loss, "weston", 1);
}

static void loss_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    Py_XDECREF(((core_loss_object *)object)->module);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static const char *const call_names[] = {"x", "labels", "gradient", "upstream", "terms", NULL};
static const core_signature call_signature = {"ContrastiveLoss", 2, 2, call_names};

static PyObject *loss_call(PyObject *object, PyObject *args, PyObject *keywords) {
    core_loss_object *self = (core_loss_object *)object;
    PyObject *value[5] = {NULL};
    if (core_arguments_tuple(&call_signature, args, keywords, value) < 0) return NULL;
    const batch_request request = {value[0], value[1], value[2], value[3], value[4]};
    return batch(self->state, &self->loss, self->has_unlabelled, &request);
}

/* ---- attributes ----------------------------------------------------------------------------- */

#define FIELD(name) ((void *)offsetof(core_loss_object, loss.name))

static const void *field(PyObject *self, void *offset) {
    return (const char *)self + (uintptr_t)offset;
}

static PyObject *get_number(PyObject *self, void *offset) {
    return PyFloat_FromDouble(*(const double *)field(self, offset));
}

static PyObject *get_flag(PyObject *self, void *offset) {
    return PyBool_FromLong(*(const int *)field(self, offset));
}

static PyObject *get_metric(PyObject *self, void *offset) {
    return PyUnicode_FromString(nf_metric_name(*(const nf_metric *)field(self, offset)));
}

static PyObject *get_reduction(PyObject *self, void *offset) {
    return PyUnicode_FromString(nf_reduction_name(*(const nf_reduction *)field(self, offset)));
}

static PyObject *get_divisor(PyObject *self, void *offset) {
    const nf_loss *loss = &((core_loss_object *)self)->loss;
    (void)offset;
    if (loss->reduction == NF_REDUCE_DIVISOR) return PyFloat_FromDouble(loss->divisor);
    Py_RETURN_NONE;
}

static PyObject *get_preset(PyObject *self, void *offset) {
    (void)offset;
    return PyUnicode_FromString(((core_loss_object *)self)->preset);
}

static PyObject *get_kind(PyObject *self, void *offset) {
    (void)offset;
    return PyUnicode_FromString(nf_loss_kind_name(((core_loss_object *)self)->loss.kind));
}

static PyObject *get_triplets(PyObject *self, void *offset) {
    (void)offset;
    return PyUnicode_FromString(nf_triplets_name(((core_loss_object *)self)->loss.triplets));
}

static PyObject *takes(PyObject *self, PyObject *name) {
    const char *text = core_text(name, "name");
    if (text == NULL) return NULL;
    return PyBool_FromLong(nf_loss_takes(((core_loss_object *)self)->loss.kind, text));
}

static PyObject *get_unlabelled(PyObject *self, void *offset) {
    (void)offset;
    if (((core_loss_object *)self)->has_unlabelled) return PyLong_FromLong(-1);
    Py_RETURN_NONE;
}

/* ---- numbers -------------------------------------------------------------------------------- */

static PyObject *to_numbers(PyObject *object, PyObject *unused) {
    const core_loss_object *self = (core_loss_object *)object;
    double numbers[LOSS_NUMBERS];
    (void)unused;
    loss_to_numbers(&self->loss, self->has_unlabelled, numbers);
    PyObject *tuple = PyTuple_New(LOSS_NUMBERS);
    for (Py_ssize_t k = 0; tuple != NULL && k < LOSS_NUMBERS; k++) {
        PyObject *number = PyFloat_FromDouble(numbers[k]);
        if (number == NULL) {
            Py_CLEAR(tuple);
        } else {
            PyTuple_SetItem(tuple, k, number);
        }
    }
    return tuple;
}

static PyObject *from_numbers(PyObject *type, PyObject *sequence) {
    core_state *state = core_state_of_type((PyTypeObject *)type);
    double numbers[LOSS_NUMBERS];
    if (state == NULL) return NULL;
    if (PySequence_Size(sequence) != LOSS_NUMBERS) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "not the numbers of a loss");
        return NULL;
    }
    for (Py_ssize_t k = 0; k < LOSS_NUMBERS; k++) {
        PyObject *number = PySequence_GetItem(sequence, k);
        numbers[k] = number != NULL ? PyFloat_AsDouble(number) : -1;
        Py_XDECREF(number);
        if (PyErr_Occurred()) return NULL;
    }
    const nf_loss loss = loss_from_numbers(numbers);
    core_call call;
    if (core_enter(&call, state, 0) < 0) return NULL;
    if (core_leave(&call, nf_loss_check(call.context, &loss)) < 0) return NULL;
    return loss_from(state, (PyTypeObject *)type, &loss, "weston",
                     numbers[LOSS_NUMBER_unlabelled] != 0);
}

static PyGetSetDef loss_getset[] = {
    {"preset", get_preset, NULL, "Preset that the options started from.", NULL},
    {"pos_metric", get_metric, NULL, "Distance t+ of positives.", FIELD(pos_metric)},
    {"neg_metric", get_metric, NULL, "Distance t- of negatives.", FIELD(neg_metric)},
    {"pos_exponent", get_number, NULL, "Exponent of positives.", FIELD(pos_exponent)},
    {"neg_exponent", get_number, NULL, "Exponent of negatives.", FIELD(neg_exponent)},
    {"pos_margin", get_number, NULL, "Positives nearer than this add nothing.", FIELD(pos_margin)},
    {"neg_margin", get_number, NULL, "Negatives farther apart than this add nothing.",
     FIELD(neg_margin)},
    {"margin", get_number, NULL, "Another name of neg_margin.", FIELD(neg_margin)},
    {"pos_weight", get_number, NULL, "Factor of every positive.", FIELD(pos_weight)},
    {"neg_weight", get_number, NULL, "Factor of every negative.", FIELD(neg_weight)},
    {"scale", get_number, NULL, "Factor of the whole loss.", FIELD(scale)},
    {"normalize", get_flag, NULL, "Rows are divided by their length first.", FIELD(normalize)},
    {"reduction", get_reduction, NULL, "From terms to one number.", FIELD(reduction)},
    {"divisor", get_divisor, NULL, "What reduction divisor divides the sum by, else None.", NULL},
    {"stats", get_flag, NULL, "Active positives and mean distances are counted too.", FIELD(stats)},
    {"kind", get_kind, NULL, "Kind of loss, e.g. 'contrastive' or 'supcon'.", NULL},
    {"temperature", get_number, NULL, "What distances are divided by.", FIELD(temperature)},
    {"alpha", get_number, NULL, "Rate of positives.", FIELD(alpha)},
    {"beta", get_number, NULL, "Rate of negatives; of a margin loss its boundary.", FIELD(beta)},
    {"base", get_number, NULL, "Similarity or distance that rates count from.", FIELD(base)},
    {"gamma", get_number, NULL, "Rate of circle loss.", FIELD(gamma)},
    {"triplets", get_triplets, NULL, "Which triplets: 'all', 'semi-hard' or 'hard'.", NULL},
    {"smooth", get_flag, NULL, "log(1 + exp(z)) instead of max(0, z).", FIELD(smooth)},
    {"fast", get_flag, NULL, "Squared distances from dot products where they keep their digits.",
     FIELD(fast)},
    {"unlabelled", get_unlabelled, NULL, "-1, or None if -1 is an ordinary class.", NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyMethodDef loss_methods[] = {
    {"_takes", takes, METH_O, NULL},
    {"_numbers", to_numbers, METH_NOARGS, "The options as numbers, see numbers.h."},
    {"_from_numbers", from_numbers, METH_O | METH_CLASS, "The loss of such numbers."},
    {"pairs", (PyCFunction)(void (*)(void))core_loss_pairs, METH_FASTCALL | METH_KEYWORDS,
     "pairs($self, /, x, pairs, *, gradient=True, upstream=None, terms=False, same_encoding='01')\n"
     "--\n\n"
     "The loss over a list of pairs of rows of x (n, d).\n\n"
     "pairs: a Pairs (from sample_pairs), a tuple (i, j, same[, weight]) of arrays (p), or an\n"
     "    integer array (p, 3) with columns i, j, same. same is 1 / True for a positive and 0 /\n"
     "    False for a negative ({-1, +1} only with same_encoding='pm1'). (i, i) is refused; a\n"
     "    pair listed twice counts twice.\n"
     "upstream: with reduction 'none' (p), and the gradient is that of sum(upstream * terms);\n"
     "    else one factor of the gradient.\n"
     "terms: also give the terms (p) before reduction (always with reduction 'none').\n\n"
     "Returns LossResult with grad (n, d)."},
    {"rows", (PyCFunction)(void (*)(void))core_loss_rows, METH_FASTCALL | METH_KEYWORDS,
     "rows($self, /, left, right, same, weight=None, *, gradient=True, upstream=None,\n"
     "     terms=False, same_encoding='01')\n"
     "--\n\n"
     "The loss over pairs made beforehand: row k of left (p, d) with row k of right (p, d), same\n"
     "(p) as in pairs(), weight (p) or None. Same and weight may also be (p, 1).\n\n"
     "Returns LossResult with grad = (gradient of left, gradient of right)."},
    {"reference", (PyCFunction)(void (*)(void))core_loss_reference, METH_FASTCALL | METH_KEYWORDS,
     "reference($self, /, query, query_labels, reference, reference_labels, query_ids=None,\n"
     "          reference_ids=None, *, gradient=True, upstream=None, terms=False)\n"
     "--\n\n"
     "The loss over all pairs of a row of query (n, d) and a row of reference (m, d). Rows with\n"
     "equal ids are the same item and make no pair.\n\n"
     "upstream, terms: as those of a call, of the queries (n), which are the anchors.\n\n"
     "Returns LossResult with grad = (gradient of query, gradient of reference)."},
    {"_targets", (PyCFunction)(void (*)(void))core_loss_targets, METH_FASTCALL | METH_KEYWORDS,
     "The loss under targets that are arrays: what targets of a loss calls."},
    {"_reference_targets", (PyCFunction)(void (*)(void))core_loss_reference_targets,
     METH_FASTCALL | METH_KEYWORDS,
     "The same of query x reference: what reference_targets of a loss calls."},
    {"_with_beta", (PyCFunction)(void (*)(void))core_loss_with_beta, METH_FASTCALL | METH_KEYWORDS,
     "(result, gradient of beta) of a margin loss: what margin_loss calls."},
    {NULL, NULL, 0, NULL}};

static PyType_Slot loss_slots[] = {{Py_tp_new, (void *)loss_new},
                                   {Py_tp_dealloc, (void *)loss_dealloc},
                                   {Py_tp_call, (void *)loss_call},
                                   {Py_tp_methods, loss_methods},
                                   {Py_tp_getset, loss_getset},
                                   {Py_tp_doc, (void *)"What nearfar.ContrastiveLoss is made of."},
                                   {0, NULL}};

PyType_Spec core_loss_spec = {.name = "nearfar._core.Loss",
                              .basicsize = sizeof(core_loss_object),
                              .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                              .slots = loss_slots};
