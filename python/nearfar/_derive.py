"""Classes of a framework for the losses of anchor_losses, from the table there."""

import inspect
from typing import Any


def formula_of(core: type) -> str:
    """What a loss is, from its docstring, without how it is called."""
    return inspect.cleandoc(core.__doc__ or "").split("    >>>")[0].rstrip()


def derive(base: Any, core: type, how: str, **members: object) -> Any:
    """A class on top of `base` for the core's loss: its name, arguments and formula.

    how: what the docstring says about calls.
    """
    namespace = {"__doc__": f"{formula_of(core)}\n\n{inspect.cleandoc(how)}\n",
                 "__module__": base.__module__, "__signature__": getattr(core, "__signature__"),
                 "_core": core, **members}
    return type(base)(core.__name__, (base,), namespace)
