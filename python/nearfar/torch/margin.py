"""The margin loss, whose boundary beta can be a parameter."""

from typing import Any

import torch

from .. import anchor_losses as _core
from . import _loss, _margin
from .anchors import AnchorLoss


class MarginLoss(AnchorLoss):
    """Margin loss over all triplets of an anchor a, a positive p and a negative n.

    ::

        max(0, t(a, p) - beta + margin) + max(0, beta - t(a, n) + margin)

    beta: a number, or (c) numbers, beta[k] for the anchors with label k; labels are then 0 .. c - 1.
    num_classes: start with so many times the number beta.
    learn_beta: beta is a torch.nn.Parameter, to be given to the optimizer with the network's.
    nu: adds nu * beta to the value; with one beta per class nu times the sum of the anchors' beta
        over all triplets, divided as the terms are.

    Other options (``metric``, ``normalize``, ``scale``, ``reduction``, ``unlabelled``), calls, value
    and gradient are those of nearfar.MarginLoss and nearfar.margin_loss. ``mean-nonzero`` divides by
    the number of parts above 0. On the CPU only, and differentiable once. Wu, Manmatha, Smola &
    Krahenbuhl, Sampling Matters in Deep Embedding Learning, ICCV 2017.
    """

    _core = _core.MarginLoss

    def __init__(self, margin: float = 0.2, beta: Any = 1.2, *, nu: float = 0.0,
                 learn_beta: bool = False, num_classes: int | None = None, **options: Any) -> None:
        start = torch.as_tensor(beta, dtype=torch.float64).detach().clone()
        if num_classes is not None and start.ndim == 0:
            start = start.repeat(num_classes)
        if start.ndim > 1 or start.numel() == 0 or num_classes not in (None, start.numel()):
            raise ValueError(f"beta has shape {tuple(start.shape)} and num_classes is "
                             f"{num_classes}: give a number, or one for each class")
        # The core's loss has one beta; with more it stands for none of them.
        fixed = float(start) if start.ndim == 0 else float(start[0])
        super().__init__(margin, fixed, **options)
        self.nu = nu
        self._by_label = start.ndim == 1
        self._constant = not (learn_beta or self._by_label or nu)
        if not self._constant:
            self._alone = None
        if learn_beta:
            self.beta = torch.nn.Parameter(start.to(torch.get_default_dtype()))
        else:
            self.register_buffer("beta", start, persistent=self._by_label)

    def extra_repr(self) -> str:
        text, formula = super().extra_repr().split("  # ")
        more = [f"nu={self.nu}"] if self.nu else []
        more += [f"{self.beta.numel()} classes"] if self._by_label else []
        more += ["beta is a parameter"] if isinstance(self.beta, torch.nn.Parameter) else []
        return f"{', '.join(filter(None, [text, *more]))}  # {formula}"

    def _value(self, form, x, y=None, a=None, b=None, c=None, w=None, encoding="01"):
        if self._constant:
            return super()._value(form, x, y, a, b, c, w)
        _loss.refuse_device(self.options, x, y)
        return _margin.margin(x, y, a, b, c, w, self.beta, self._spec, float(self.nu),
                                 self._by_label)

    def _under_targets(self, *tensors):
        if not self._constant:
            raise TypeError("targets take a boundary beta that is one fixed number: it is learnt, and "
                            "differs by class, from labels alone")
        return super()._under_targets(*tensors)

    def _result(self, form, sets):
        if self._constant:
            return super()._result(form, sets)
        x, y, a, b, c, w = sets
        return _margin.with_beta(self.options, x, y, a, b, c, w, self.beta, self.nu,
                                    self._by_label, gradient=False)[0]
