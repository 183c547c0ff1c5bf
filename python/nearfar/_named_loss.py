"""What losses with a class of their own, made from a preset, have in common."""

import inspect
from typing import Any, ClassVar, Self

from . import _core
from ._targets import TargetLoss
from .losses import _number, _reduced

_COMMON = ("metric", "normalize", "scale", "reduction", "divisor", "stats", "unlabelled",
           "fast")


def _distance(metric, normalize):
    a, b = ("a/|a|", "b/|b|") if normalize or metric == "cosine" else ("a", "b")
    return {"euclidean": f"|{a} - {b}|", "sqeuclidean": f"|{a} - {b}|^2",
            "cosine": "1 - cos(a, b)", "dot": f"-{a}.{b}",
            "cityblock": f"sum_k |{a} - {b}|_k"}[metric]


def _similarity(metric, normalize):
    a, b = ("a/|a|", "b/|b|") if normalize else ("a", "b")
    return {"cosine": "cos(a, b)", "dot": f"{a}.{b}"}.get(
        metric, f"-{_distance(metric, normalize)}")


class NamedLoss(TargetLoss):
    """A loss made from the preset of its kind, with the options that the kind takes."""

    __slots__ = ()
    _preset: ClassVar[str]
    _own: ClassVar[tuple[str, ...]]
    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls) -> None:
        if not hasattr(cls, "_preset"):
            return
        base = _core.Loss(cls._preset)
        names = {name: getattr(base, name) for name in cls._own}
        names |= {"metric": base.pos_metric, "normalize": base.normalize, "scale": base.scale,
                  "reduction": base.reduction, "divisor": None, "stats": False, "unlabelled": -1,
                  "fast": False}
        kinds = {name: (inspect.Parameter.POSITIONAL_OR_KEYWORD if name in cls._own
                        else inspect.Parameter.KEYWORD_ONLY) for name in names}
        cls.__signature__ = inspect.Signature(
            [inspect.Parameter(name, kinds[name], default=value)
             for name, value in names.items()])

    def __new__(cls, *values: Any, **options: Any) -> Self:
        try:
            given = cls.__signature__.bind(*values, **options).arguments
        except TypeError as error:
            raise TypeError(f"{cls.__name__}{cls.__signature__}: {error}") from None
        return super().__new__(cls, cls._preset, **given)

    @property
    def metric(self) -> str:
        """Distance t of two rows."""
        return self.pos_metric

    def _text(self) -> str:
        """The term, with options in braces."""
        raise NotImplementedError

    def _reductions(self) -> dict[str, str]:
        """What each reduction does, as text."""
        raise NotImplementedError

    def _options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in (*self._own, *_COMMON)}

    def replace(self, **changes: Any) -> Self:
        """The same loss with some options changed."""
        return type(self)(**_reduced(self._options(), changes))

    @property
    def formula(self) -> str:
        """The loss as text."""
        numbers = {name: value if isinstance(value, str) else _number(value)
                   for name, value in self._options().items() if value is not None}
        text = self._text().format(**numbers)
        where = ", ".join(f"{symbol} = {meaning(self.metric, self.normalize)}"
                          for symbol, meaning in (("s", _similarity), ("t", _distance))
                          if f"{symbol}_" in text or f"{symbol}(" in text)
        factor = "" if self.scale == 1 else f"{_number(self.scale)} times "
        return f"{text}, {where}; {factor}{self._reductions()[self.reduction]}"

    def __repr__(self) -> str:
        defaults = self.__signature__.parameters
        changed = ", ".join(f"{name}={value!r}" for name, value in self._options().items()
                            if value != defaults[name].default)
        return f"{type(self).__name__}({changed})  # {self.formula}"

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self._options() == other._options()

    def __hash__(self) -> int:
        return hash((type(self), *self._options().values()))

    def __reduce__(self):
        return _rebuild, (type(self), self._options())


def _rebuild(cls, options):
    return cls(**options)
