"""Classes of a framework for the losses of anchor_losses, from the table there."""

import inspect
from typing import Any


def formula_of(core: type) -> str:
    """What a loss is, from its docstring, without how it is called."""
    return inspect.cleandoc(core.__doc__ or "").split("    >>>")[0].rstrip()


def derive(bases: tuple[type, ...], core: type, how: str, *, module: str) -> Any:
    """A class on top of `bases` for the core's loss, with its name, arguments and formula.

    how: what the docstring says about calls. module: where the class will be found.
    """
    namespace = {"__doc__": f"{formula_of(core)}\n\n{inspect.cleandoc(how)}\n",
                 "__module__": module, "__signature__": getattr(core, "__signature__"),
                 "_core": core}
    return type(bases[0])(core.__name__, bases, namespace)
