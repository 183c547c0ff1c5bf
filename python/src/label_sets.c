/* Several labels a row: offsets and labels as arrays to nf_label_sets. */
#include "core.h"

int core_label_sets_get(core_state *state, PyObject *offsets, PyObject *labels, size_t n,
                        core_label_sets *form) {
    if (core_index_get(state, offsets, "offsets", &form->offsets) < 0 ||
        core_index_get(state, labels, "set_labels", &form->labels) < 0 ||
        core_same_count(form->offsets.count, "offsets", n + 1, "one more than x has rows") < 0) {
        return -1;
    }
    form->offset = PyMem_Malloc(form->offsets.count * sizeof *form->offset);
    if (form->offset == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    const int64_t *given = form->offsets.data;
    for (size_t i = 0; i < form->offsets.count; i++) {
        if (given[i] < 0 || (uint64_t)given[i] > form->labels.count) {
            PyErr_Format(PyExc_ValueError, "offsets[%zu] is outside set_labels", i);
            return -1;
        }
        form->offset[i] = (size_t)given[i];
    }
    form->sets = (nf_label_sets){form->offset, form->labels.data};
    return 0;
}

void core_label_sets_release(core_label_sets *form) {
    PyMem_Free(form->offset);
    core_vector_release(&form->labels);
    core_vector_release(&form->offsets);
}
