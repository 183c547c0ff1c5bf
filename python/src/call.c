/* One call into the engine: its context, the GIL, signals, and errors as exceptions. */
#include "core.h"
#include "reserve.h"

#include <string.h>

#define WORTH 200000 /* operations below which handing the GIL over costs more than it gives */

/* ---- contexts ------------------------------------------------------------------------------- */

nf_context *core_context_new(core_state *state) {
    nf_context_options options = {.threads = state->threads};
    nf_context *context;
    nf_error error;
    if (nf_context_create(&context, &options, &error) != NF_OK) {
        core_raise(&error);
        return NULL;
    }
    return context;
}

static nf_context *take_context(core_state *state) {
    if (state->idle_count > 0) return state->idle[--state->idle_count];
    nf_context *context = core_context_new(state);
    if (context != NULL && nf_context_reserve(context, RESERVE) != NF_OK) {
        core_raise(nf_context_error(context));
        nf_context_free(context);
        return NULL;
    }
    return context;
}

static void give_context(core_call *call) {
    core_state *state = call->state;
    nf_context_set_progress(call->context, NULL, NULL);
    if (call->generation == state->generation && state->idle_count < CORE_MAX_IDLE) {
        state->idle[state->idle_count++] = call->context;
    } else {
        nf_context_free(call->context);
    }
    call->context = NULL;
}

void core_contexts_clear(core_state *state) {
    while (state->idle_count > 0) nf_context_free(state->idle[--state->idle_count]);
}

/* ---- signals -------------------------------------------------------------------------------- */

void core_callback_enter(core_call *call) {
    if (call->thread != NULL) PyEval_RestoreThread(call->thread);
}

void core_callback_leave(core_call *call) {
    if (call->thread != NULL) call->thread = PyEval_SaveThread();
}

/* Python runs signal handlers in its main thread only; elsewhere there is nothing to ask for, and
 * the GIL is better left to others. Asking runs Python code, in which a handler may run and raise:
 * -1 then, with its exception. */
static int in_main_thread(core_state *state) {
    PyObject *thread = PyObject_CallNoArgs(state->main_thread);
    PyObject *ident = thread != NULL ? PyObject_GetAttrString(thread, "ident") : NULL;
    unsigned long main = ident != NULL ? PyLong_AsUnsignedLong(ident) : 0;
    Py_XDECREF(ident);
    Py_XDECREF(thread);
    if (PyErr_Occurred()) return -1;
    return main == PyThread_get_thread_ident();
}

static int ask_python(core_call *call) {
    if (PyErr_Occurred() != NULL) return -1; /* a callback has failed: run no Python on top */
    if (!call->asked) {
        int is_main = in_main_thread(call->state);
        if (is_main < 0) return -1;
        call->asked = 1;
        call->foreign = !is_main;
    }
    return call->foreign ? 0 : PyErr_CheckSignals();
}

static int answer_signals(void *user, uint64_t done, uint64_t total) {
    core_call *call = user;
    (void)done;
    (void)total;
    if (call->foreign) return 0;
    core_callback_enter(call);
    int stop = ask_python(call);
    core_callback_leave(call);
    return stop;
}

/* ---- calls ---------------------------------------------------------------------------------- */

int core_enter(core_call *call, core_state *state, double work) {
    memset(call, 0, sizeof *call);
    call->state = state;
    call->context = take_context(state);
    if (call->context == NULL) return -1;
    call->generation = state->generation;
    nf_context_set_progress(call->context, answer_signals, call);
    if (work >= WORTH) call->thread = PyEval_SaveThread();
    return 0;
}

void core_leave_quietly(core_call *call) {
    if (call->thread != NULL) PyEval_RestoreThread(call->thread);
    call->thread = NULL;
    give_context(call);
}

int core_leave(core_call *call, nf_status status) {
    if (call->thread != NULL) PyEval_RestoreThread(call->thread);
    call->thread = NULL;
    int failed = 0;
    if (status != NF_OK) {
        /* The exception of a handler or a callback says more than "cancelled". */
        failed = PyErr_Occurred() != NULL ? -1 : core_raise(nf_context_error(call->context));
    }
    give_context(call);
    return failed;
}

/* ---- errors --------------------------------------------------------------------------------- */

/* The library speaks of its own fields where Python has another name for the remedy. */
void core_python_words(const char *message, char *text, size_t size) {
    static const char field[] = "set has_unlabelled = 0", argument[] = "pass unlabelled=None";
    const char *found = strstr(message, field);
    if (found == NULL) {
        PyOS_snprintf(text, size, "%s", message);
    } else {
        PyOS_snprintf(text, size, "%.*s%s%s", (int)(found - message), message, argument,
                      found + sizeof field - 1);
    }
}

int core_raise(const nf_error *error) {
    PyObject *type = PyExc_RuntimeError;
    switch (error->status) {
    case NF_ERR_ARG:
    case NF_ERR_DATA:
    case NF_ERR_RANGE: type = PyExc_ValueError; break;
    case NF_ERR_NOMEM: type = PyExc_MemoryError; break;
    case NF_ERR_IO: type = PyExc_OSError; break;
    case NF_ERR_CANCELLED: type = PyExc_KeyboardInterrupt; break;
    case NF_ERR_DIVERGED: type = PyExc_FloatingPointError; break;
    case NF_ERR_UNSUPPORTED: type = PyExc_NotImplementedError; break;
    case NF_OK:
    case NF_ERR_CALLBACK: break;
    }
    char text[NF_MESSAGE_SIZE + 32];
    core_python_words(error->message, text, sizeof text);
    PyObject *message = PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
    if (message != NULL) PyErr_SetObject(type, message);
    Py_XDECREF(message);
    return -1;
}
