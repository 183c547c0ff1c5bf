/* The handlers as what jax.ffi.register_ffi_target takes. */
#include "core.h"
#include "jax/xla.h"

PyObject *core_jax_targets(PyObject *module, PyObject *unused) {
    static const struct {
        const char *name;
        xla_handler *handler;
    } targets[] = {{"nearfar_loss_batch", xla_loss_batch},
                   {"nearfar_loss_pairs", xla_loss_pairs},
                   {"nearfar_loss_rows", xla_loss_rows},
                   {"nearfar_loss_reference", xla_loss_reference},
                   {"nearfar_loss_anchors", xla_loss_anchors},
                   {"nearfar_loss_anchors_reference", xla_loss_anchors_reference},
                   {"nearfar_loss_margin", xla_loss_margin},
                   {"nearfar_loss_margin_reference", xla_loss_margin_reference},
                   {"nearfar_distances", xla_distances},
                   {"nearfar_pair_distances", xla_pair_distances},
                   {"nearfar_pair_indices", xla_pair_indices}};
    PyObject *dict = PyDict_New();
    (void)module;
    (void)unused;
    for (size_t k = 0; dict != NULL && k < sizeof targets / sizeof *targets; k++) {
        PyObject *capsule = PyCapsule_New((void *)targets[k].handler, NULL, NULL);
        if (capsule == NULL || PyDict_SetItemString(dict, targets[k].name, capsule) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(capsule);
    }
    return dict;
}
