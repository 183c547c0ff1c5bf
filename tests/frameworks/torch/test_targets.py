"""Losses under targets and a memory bank of rows that bring them: the core's bits, and its refusals."""

import numpy as np
import pytest
import torch

import nearfar
import nearfar.torch as nt
from nearfar.torch import _operators

NAMES = ["ContrastiveLoss", "SupConLoss", "NTXentLoss", "NCALoss", "MultiSimilarityLoss", "CircleLoss",
         "LiftedStructureLoss", "GeneralizedLiftedStructureLoss", "TripletMarginLoss", "MarginLoss"]
N, M, D, TAGS = 20, 26, 5, 6


def data(seed=0, dtype=torch.float64):
    of = torch.Generator().manual_seed(seed)

    def rows(n):
        return {"x": torch.randn(n, D, dtype=dtype, generator=of),
                "labels": torch.randint(0, 4, (n,), generator=of),
                "label_sets": torch.rand(n, TAGS, generator=of) < 0.3,
                "row_weight": torch.rand(n, generator=of, dtype=torch.float64),
                "groups": torch.randint(0, 9, (n,), generator=of)}

    hard = torch.randint(0, 2, (N, M), generator=of)
    return rows(N), rows(M), hard, torch.rand(N, M, generator=of, dtype=torch.float64)


def numpy(values):
    return {name: value.numpy() for name, value in values.items()}


def targets_of(source, query, other, hard, weight, weighted):
    """Arguments of reference_targets after the rows, labels and ids."""
    more = {"pair_weight": weight, "query_row_weight": query["row_weight"],
            "query_groups": query["groups"], "reference_groups": other["groups"]}
    if weighted:
        more["reference_row_weight"] = other["row_weight"]
    if source == "label_sets":
        more |= {"query_label_sets": query["label_sets"],
                 "reference_label_sets": other["label_sets"]}
    return more | ({"soft": hard} if source == "soft" else {})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("source", ["labels", "label_sets", "soft"])
@pytest.mark.parametrize("name", NAMES)
def test_two_sets_have_the_cores_bits(name, source, dtype):
    query, other, hard, weight = data(dtype=dtype)
    weighted = name == "ContrastiveLoss"
    x, y = query["x"].clone().requires_grad_(), other["x"].clone().requires_grad_()
    labels = [query["labels"], other["labels"]] if source == "labels" else [None, None]
    for reduction in ("mean", "none"):
        if weighted and reduction == "none":
            continue
        loss = getattr(nt, name)(reduction=reduction)
        core = getattr(nearfar, name)(reduction=reduction)
        up = torch.linspace(0.5, 2, N, dtype=dtype) if reduction == "none" else torch.tensor(2.0)
        value = loss.reference_targets(x, labels[0], y, labels[1], **targets_of(
            source, query, other, hard, weight, weighted))
        found = torch.autograd.grad((value * up.to(dtype)).sum(), (x, y))
        more = {"upstream": up.double().numpy()} if reduction == "none" else {}
        want = core.reference_targets(
            query["x"].numpy(), None if labels[0] is None else labels[0].numpy(),
            other["x"].numpy(), None if labels[1] is None else labels[1].numpy(),
            **targets_of(source, numpy(query), numpy(other), hard.double().numpy(), weight.numpy(),
                         weighted), **more)
        right = want.terms if reduction == "none" else want.value
        assert np.array_equal(value.detach().numpy(), np.asarray(right, str(dtype)[6:]))
        factor = 1 if reduction == "none" else 2
        for got, grad in zip(found, want.grad):
            assert np.array_equal(got.numpy(), grad * grad.dtype.type(factor))
        assert want.value > 0


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("name", NAMES[1:] + ["NPairsLoss"])
def test_a_batch_has_the_cores_bits(name, reduction):
    query, _, _, _ = data(1)
    x = query["x"].clone().requires_grad_()
    loss, core = getattr(nt, name)(reduction=reduction), getattr(nearfar, name)(reduction=reduction)
    up = torch.linspace(-1, 2, N, dtype=torch.float64) if reduction == "none" else 1
    value = loss.targets(x, label_sets=query["label_sets"], row_weight=query["row_weight"],
                         groups=query["groups"])
    (value * up).sum().backward()
    want = core.targets(query["x"].numpy(), label_sets=query["label_sets"].numpy(),
                        row_weight=query["row_weight"].numpy(), groups=query["groups"].numpy(),
                        **({"upstream": up.numpy()} if reduction == "none" else {}))
    assert np.array_equal(value.detach().numpy(),
                          want.terms if reduction == "none" else want.value)
    assert np.array_equal(x.grad.numpy(), want.grad) and want.value > 0
    weighted = loss.targets(x, query["labels"], class_weight={1: 3.0})
    assert np.array_equal(weighted.detach().numpy(), getattr(
        core.targets(query["x"].numpy(), query["labels"].numpy(), class_weight={1: 3.0}),
        "terms" if reduction == "none" else "value"))


@pytest.mark.parametrize("name", ["ContrastiveLoss", "SupConLoss", "LiftedStructureLoss"])
def test_gradcheck_and_graphs(name):
    torch._dynamo.reset()
    query, other, hard, weight = data(2)
    x, y = query["x"].requires_grad_(), other["x"].requires_grad_()
    loss = getattr(nt, name)()

    def call(x, y):
        return loss.reference_targets(x, None, y, None, soft=hard.double(), pair_weight=weight)

    assert torch.autograd.gradcheck(call, (x, y))
    if name != "ContrastiveLoss":
        terms = getattr(nt, name)(reduction="none")
        assert torch.autograd.gradcheck(lambda x, y: terms.reference_targets(
            x, query["labels"], y, other["labels"]), (x, y))
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    grads = [torch.autograd.grad(of(x, y), (x, y)) for of in (call, compiled)]
    assert torch.equal(compiled(x, y), call(x, y))
    assert all(torch.equal(a, b) for a, b in zip(*grads))
    first, = torch.autograd.grad(call(x, y), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second"):
        torch.autograd.grad(first.sum(), x)


def test_the_operator_obeys_the_rules_of_the_library():
    query, other, hard, weight = data(4)
    spec, operator = nt.SupConLoss()._spec, torch.ops.nearfar.targets.default
    one = (query["x"], None, query["labels"], *[None] * 5, query["row_weight"], *[None] * 6)
    two = (query["x"], other["x"], *[None] * 4, query["label_sets"], other["label_sets"],
           *[None] * 5, weight, None)
    for tensors in (one, two):
        torch.library.opcheck(operator, (*tensors, spec, True))


def test_other_devices_are_refused_by_name(monkeypatch):
    query, other, _, _ = data(5)
    monkeypatch.setattr(_operators, "on_engine", lambda x: False)
    with pytest.raises(NotImplementedError, match="under targets SupConLoss is computed on the CPU"):
        nt.SupConLoss().reference_targets(query["x"], query["labels"], other["x"], other["labels"])


def test_what_has_no_meaning_is_refused():
    query, other, hard, weight = data(3)
    x, y, labels = query["x"], other["x"], query["labels"]
    loss = nt.SupConLoss()
    for arguments, error, text in (
            (((x, labels), {"pair_weight": torch.ones(3, 3)}), ValueError, "must be"),
            (((x,), {"class_weight": {0: 1.0}, "soft": torch.ones(N, N)}), TypeError, "labels"),
            (((x, labels), {"soft": torch.ones(N, N)}), ValueError, "exactly one"),
            (((x,), {"label_sets": torch.ones(3, 2)}), ValueError, "labels"),
            (((x, labels), {"pair_weight": torch.ones(N, N, requires_grad=True)}), TypeError,
             "requires a gradient")):
        with pytest.raises(error, match=text):
            loss.targets(*arguments[0], **arguments[1])
    with pytest.raises(ValueError, match="none starts from the reference"):
        loss.reference_targets(x, labels, y, other["labels"],
                               reference_row_weight=other["row_weight"])
    with pytest.raises(TypeError, match="give both"):
        loss.reference(x, None, y, None)
    with pytest.raises(TypeError, match="learnt"):
        nt.MarginLoss(learn_beta=True).targets(x, labels)
    with pytest.raises(ValueError, match="n-pairs"):
        nt.NPairsLoss().reference_targets(x, labels, y, other["labels"])
    assert loss.targets(x.to("meta"), labels.to("meta")).is_meta


@pytest.mark.parametrize("name", ["ContrastiveLoss", "SupConLoss", "TripletMarginLoss"])
@pytest.mark.parametrize("tagged", [False, True])
def test_rows_of_a_bank_keep_what_they_came_with(name, tagged):
    reduction = "none" if name == "TripletMarginLoss" else "mean"
    loss, core = getattr(nt, name)(reduction=reduction), getattr(nearfar, name)(reduction=reduction)
    bank = nt.MemoryBank(45, D, torch.float64, label_sets=TAGS if tagged else None, row_weight=True,
                         groups=True)
    like = nearfar.MemoryBank(45, D, "float64")
    for step in range(4):
        batch, _, _, _ = data(step)
        del batch["labels" if tagged else "label_sets"]
        x = batch.pop("x").requires_grad_()
        value = bank.loss(loss, x, **batch)
        value.sum().backward()
        want = like.loss(core, x.detach().numpy(), **numpy(batch))
        assert np.array_equal(value.detach().numpy(),
                              want.terms if reduction == "none" else want.value)
        assert np.array_equal(x.grad.numpy(), want.grad) and sum(want.counts[:2]) > 0
        other = nt.MemoryBank(45, D, torch.float64, label_sets=TAGS if tagged else None,
                              row_weight=True, groups=True)
        other.load_state_dict(bank.state_dict())
        bank = other
    with pytest.raises(ValueError, match="without groups"):
        bank.push(x.detach(), **{**batch, "groups": None})
    with pytest.raises(ValueError, match="with row_weight"):
        nt.MemoryBank(9, D).push(x.detach(), torch.zeros(N, dtype=torch.int64),
                                    row_weight=torch.ones(N))
    assert len(bank) == 45
