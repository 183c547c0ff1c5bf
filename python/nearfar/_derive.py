"""Classes of a framework for the losses of anchor_losses, from the table there."""

import inspect
from typing import Any


def formula_of(core: type) -> str:
    """What a loss is, from its docstring, without how it is called."""
    return inspect.cleandoc(core.__doc__ or "").split("    >>>")[0].rstrip()


def _signature(core, base):
    """The core's arguments, and those that the framework adds by keyword."""
    own = core.__signature__.parameters
    more = [parameter for name, parameter in inspect.signature(base.__init__).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY and name not in own]
    return inspect.Signature([*own.values(), *more])


def derive(bases: tuple[type, ...], core: type, how: str, *, module: str) -> Any:
    """A class on top of `bases` for the core's loss, with its name, arguments and formula.

    how: what the docstring says about calls. module: where the class will be found.
    """
    namespace = {"__doc__": f"{formula_of(core)}\n\n{inspect.cleandoc(how)}\n",
                 "__module__": module, "__signature__": _signature(core, bases[0]), "_core": core}
    return type(bases[0])(core.__name__, bases, namespace)


class NoLists:
    """The forms that a loss over all pairs of a row does not have."""

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"{type(self).__name__} compares all pairs of a row with each other and has "
                        "no terms for listed pairs: use loss(..) or loss.reference(..), or "
                        "ContrastiveLoss")

    pairs = rows = _refuse
