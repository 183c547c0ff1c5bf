"""Labels: the pairs that they make, and those that would make half of them."""

import torch

from ._operators import LIBRARY, ops


def refuse_signs(labels, unlabelled):
    """Labels that are exactly {-1, +1} while -1 means unlabelled."""
    if unlabelled is None or len(labels) == 0:
        return
    if bool((labels.abs() == 1).all() & (labels == 1).any() & (labels == -1).any()):
        raise ValueError("labels are exactly {-1, +1}, and -1 means unlabelled: half of the rows "
                         "would be left out; for a binary problem pass unlabelled=None")


def _pair_indices(labels, unlabelled):
    refuse_signs(labels, -1 if unlabelled else None)
    i, j = torch.triu_indices(len(labels), len(labels), 1, device=labels.device)
    same = labels[i] == labels[j]
    valid = (labels[i] != -1) & (labels[j] != -1) if unlabelled else torch.ones_like(same)
    return tuple(index[mask] for mask in (valid & same, valid & ~same) for index in (i, j))


def _pair_indices_fake(labels, unlabelled):
    context = torch.library.get_ctx()
    positive, negative = context.new_dynamic_size(), context.new_dynamic_size()
    return tuple(labels.new_empty(n) for n in (positive, positive, negative, negative))


LIBRARY.define("pair_indices(Tensor labels, bool unlabelled) -> (Tensor, Tensor, Tensor, Tensor)",
               tags=torch.Tag.dynamic_output_shape)
LIBRARY.impl("pair_indices", _pair_indices, "CompositeExplicitAutograd")
torch.library.register_fake("nearfar::pair_indices", _pair_indices_fake, lib=LIBRARY)
pair_indices = ops.pair_indices.default
