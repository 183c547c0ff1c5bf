"""The operators behind nearfar.torch: `nearfar::` in torch.ops.

    loss            value and gradients of one form of a loss
    loss_pull       gradients of the terms (reduction none: of pairs, or of rows as anchors) for a
                    gradient from above
    loss_twice      Hessian-vector products of either, contrastive family only
    margin          value of a margin loss, its gradients and that of beta
    distances       a matrix of distances; distances_pull and distances_twice its derivatives
    pair_distances  distances of a list of pairs
    pair_indices    pairs by label

An operator is opaque to a graph, so that its memory and its bits are the same compiled or not. `loss`
gives the gradient as outputs of its own; the gradient of these, if it is ever asked for, is a
Hessian-vector product. A loss travels as text (the options in JSON): a compiled graph may be loaded
by another process.
"""

import torch

LIBRARY = torch.library.Library("nearfar", "DEF")
ops = torch.ops.nearfar


def define(schema, implementation, fake):
    name = schema.split("(")[0]
    LIBRARY.define(schema)
    LIBRARY.impl(name, implementation, "CompositeExplicitAutograd")
    torch.library.register_fake(f"nearfar::{name}", fake, lib=LIBRARY)
    torch.library.register_vmap(f"nearfar::{name}", _one_by_one(getattr(ops, name)), lib=LIBRARY)


def _one_by_one(operator):
    """The rule of vmap: a call for each member of the batch."""
    def rule(info, dims, *inputs):
        found = [operator(*(value if dim is None else value.select(dim, k)
                            for value, dim in zip(inputs, dims))) for k in range(info.batch_size)]
        if isinstance(found[0], torch.Tensor):
            return torch.stack(found), 0
        return tuple(torch.stack(column) for column in zip(*found)), (0,) * len(found[0])
    return rule


class Function(torch.autograd.Function):
    """Autograd is attached around the operators: torch.func refuses what register_autograd makes.

    Dynamo counts the parameters of forward, so every forward names them. Saved tensors are taken
    once: a checkpoint refuses a second time.
    """

    generate_vmap_rule = True


def apply(function, *inputs):
    """function.apply; Dynamo refuses one tensor in two places."""
    if not torch.compiler.is_compiling():
        return function.apply(*inputs)
    apart = []
    for value in inputs:
        twice = isinstance(value, torch.Tensor) and any(value is other for other in apart)
        apart.append(value.clone() if twice else value)
    return function.apply(*apart)


class Last(Function):
    """The end of the chain: its own derivative is an error, not 0."""

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, *unused):
        raise NotImplementedError("nearfar has no third derivatives")


def on_engine(x):
    return x.is_cpu


def array(tensor):
    """The tensor's memory. Each step costs as much as a small loss, so none is taken in vain."""
    if tensor is None:
        return None
    if tensor.requires_grad:
        tensor = tensor.detach()
    return (tensor.resolve_neg() if tensor.is_neg() else tensor).numpy()


def nothing(x):
    return x.new_empty(0)


def two(x, gradients):
    """Outputs of their own memory, and an empty one where the form has no second set."""
    return [g.contiguous() if len(gradients) == 1 else g.clone() for g in gradients] + \
        [nothing(x)] * (2 - len(gradients))


def pull_fake(x, y, *unused):
    return x.new_empty(x.shape), nothing(x) if y is None else y.new_empty(y.shape)


def check_index(index, rows, name):
    if bool(((index < 0) | (index >= rows)).any()):
        raise ValueError(f"{name} has a row number outside 0 .. {rows - 1}")
