"""nearfar.torch's losses of anchors: the engine's numbers, derivatives, graphs, refusals."""

import copy
import inspect
import pickle

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses, miners

import nearfar
import nearfar.torch as nt
from nearfar.anchor_losses import CLASSES
from nearfar.torch import _operators

NAMES = [core.__name__ for core in CLASSES.values()]
DTYPES = [torch.float32, torch.float64]


def data(n=60, d=8, dtype=torch.float64, classes=6, seed=0):
    rng = np.random.default_rng(seed)
    return (torch.tensor(rng.normal(size=(n, d)), dtype=dtype),
            torch.tensor(rng.integers(-1, classes, n)))


def engine_type(value, dtype):
    return np.dtype(str(dtype)[6:]).type(value)


# ---- the engine's numbers -----------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_same_name_arguments_and_text_as_the_core(name):
    ours, core = getattr(nt, name), getattr(nearfar, name)
    own = list(inspect.signature(core).parameters)
    if name != "MarginLoss":  # which can learn besides
        assert list(inspect.signature(ours).parameters) == own
    module = ours(**{own[0]: 0.125} if core._own else {}, reduction="sum")
    assert module.options == core(**{own[0]: 0.125} if core._own else {}, reduction="sum")
    assert module.extra_repr() in repr(module) and module.options.formula in repr(module)
    assert "reduction='sum'" in repr(module) and module.__doc__.count("\n") > 5
    assert ours.__module__.startswith("nearfar.torch") and name in nt.__all__
    x, labels = data()
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert other(x, labels) == module(x, labels)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_have_the_engines_bits(name, dtype):
    x, labels = data(200, 16, dtype)
    x.requires_grad_()
    loss = getattr(nt, name)()
    value = loss(x, labels)
    (value * 3).backward()
    engine = getattr(nearfar, name)()(x.detach().numpy(), labels.numpy())
    assert value.dtype == dtype and value.item() == engine_type(engine.value, dtype) > 0
    assert np.array_equal(x.grad.numpy(), engine.grad * engine_type(3, dtype))
    with torch.no_grad():
        assert loss(x, labels) == value


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "NPairsLoss"])
def test_reference_has_the_engines_bits(name, dtype):
    x, labels = data(40, 8, dtype)
    y, others = data(70, 8, dtype, seed=1)
    loss, core = getattr(nt, name)(), getattr(nearfar, name)()
    query, reference = x.clone().requires_grad_(), y.clone().requires_grad_()
    value = loss(query, labels, ref_emb=reference, ref_labels=others)
    value.backward()
    engine = core.reference(x.numpy(), labels.numpy(), y.numpy(), others.numpy())
    assert value.item() == engine_type(engine.value, dtype) > 0
    assert np.array_equal(query.grad.numpy(), engine.grad[0])
    assert np.array_equal(reference.grad.numpy(), engine.grad[1])
    ids = torch.arange(40)
    engine = core.reference(x.numpy(), labels.numpy(), x.numpy(), labels.numpy(), ids.numpy(),
                            ids.numpy())
    itself = loss(x, labels, ref_emb=x, ref_labels=labels)
    assert itself.item() == engine_type(engine.value, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_terms_of_rows(name, dtype):
    torch._dynamo.reset()
    x, labels = data(dtype=dtype)
    loss, core = getattr(nt, name)(reduction="none"), getattr(nearfar, name)(reduction="none")
    x.requires_grad_()
    up = torch.linspace(0.5, 2, 60, dtype=dtype)
    terms = loss(x, labels)
    (terms * up).sum().backward()
    engine = core(x.detach().numpy(), labels.numpy(), upstream=up.double().numpy())
    assert np.array_equal(terms.detach().numpy(), engine.terms.astype(str(dtype)[6:]))
    assert np.array_equal(x.grad.numpy(), engine.grad) and terms.shape == (60,) and terms.sum() > 0
    compiled = torch.compile(lambda x: loss(x, labels), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), terms)
    with pytest.raises(NotImplementedError, match="no second"):
        first, = torch.autograd.grad((loss(x, labels) * up).sum(), x, create_graph=True)
        torch.autograd.grad(first.sum(), x)
    if name == "NPairsLoss":  # takes its pairs from one set
        return
    y, others = data(70, 8, dtype, seed=1)
    y.requires_grad_()
    x.grad = None
    terms = loss(x, labels, ref_emb=y, ref_labels=others)
    (terms * up).sum().backward()
    engine = core.reference(x.detach().numpy(), labels.numpy(), y.detach().numpy(), others.numpy(),
                            upstream=up.double().numpy())
    assert np.array_equal(terms.detach().numpy(), engine.terms.astype(str(dtype)[6:]))
    for rows, grad in zip((x, y), engine.grad):
        assert np.array_equal(rows.grad.numpy(), grad)


@pytest.mark.parametrize("name", [*NAMES, "ContrastiveLoss"])
def test_counts_are_the_engines(name):
    x, labels = data()
    loss, core = getattr(nt, name)(), getattr(nearfar, name)()
    counts = loss.counts(x.requires_grad_(), labels)
    assert isinstance(counts, nearfar.LossCounts)
    assert counts == core(x.detach().numpy(), labels.numpy()).counts and counts.negative_pairs > 0
    if name != "NPairsLoss":
        engine = core.reference(x[:20].detach().numpy(), labels[:20].numpy(),
                                x[20:].detach().numpy(), labels[20:].numpy())
        assert loss.counts(x[:20], labels[:20], x[20:], labels[20:]) == engine.counts


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    x, labels = data(dtype=torch.float32)
    x = x.to(dtype).requires_grad_()
    value = nt.SupConLoss()(x, labels)
    value.backward()
    engine = nearfar.SupConLoss()(x.detach().float().numpy(), labels.numpy())
    assert value.dtype == torch.float32 and value.item() == np.float32(engine.value)
    assert x.grad.dtype == dtype and torch.equal(x.grad, torch.tensor(engine.grad).to(dtype))


# ---- pytorch-metric-learning --------------------------------------------------------------------

@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_those_of_pytorch_metric_learning(name):
    rng = np.random.default_rng(4)
    x, labels = torch.tensor(rng.normal(size=(48, 6))), torch.tensor(rng.integers(0, 5, 48))
    network = torch.nn.Linear(6, 4, dtype=torch.float64)
    # The peer keeps beta in float32: one that both types hold.
    more = {"beta": 1.25} if name == "MarginLoss" else {}
    found = []
    for loss in (getattr(nt, name)(**more), getattr(losses, name)(**more)):
        network.zero_grad()
        value = loss(network(x), labels)
        value.backward()
        found.append((value.detach(), network.weight.grad.clone(), network.bias.grad.clone()))
    assert found[0][0] > 0
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ["SupConLoss", "MultiSimilarityLoss", "MarginLoss",
                                  "TripletMarginLoss"])
def test_references_are_those_of_pytorch_metric_learning(name):
    rng = np.random.default_rng(5)
    x, y = torch.tensor(rng.normal(size=(20, 4))), torch.tensor(rng.normal(size=(30, 4)))
    labels, others = torch.tensor(rng.integers(0, 4, 20)), torch.tensor(rng.integers(0, 4, 30))
    more = {"beta": 1.25} if name == "MarginLoss" else {}
    found = []
    for loss in (getattr(nt, name)(**more), getattr(losses, name)(**more)):
        query, reference = x.clone().requires_grad_(), y.clone().requires_grad_()
        value = loss(query, labels, ref_emb=reference, ref_labels=others)
        value.backward()
        found.append((value.detach(), query.grad, reference.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


# ---- derivatives and graphs ---------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NAMES if name != "CircleLoss"])
def test_gradcheck(name):
    """Circle holds factors of its gradient constant."""
    x, labels = data(12, 4, classes=3, seed=2)
    loss = getattr(nt, name)(**{"smooth": True} if name == "TripletMarginLoss" else {})
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), x.requires_grad_())
    if name != "NPairsLoss":
        assert torch.autograd.gradcheck(
            lambda x: loss.reference(x[:5], labels[:5], x[5:], labels[5:]), x)


@pytest.mark.parametrize("name", NAMES)
def test_second_derivatives_are_refused(name):
    x, labels = data(12, 4, classes=3)
    loss = getattr(nt, name)(**{"learn_beta": True} if name == "MarginLoss" else {})
    x.requires_grad_()
    first, = torch.autograd.grad(loss(x, labels), x, create_graph=True)
    assert np.array_equal(first.detach().numpy(), torch.autograd.grad(loss(x, labels), x)[0].numpy())
    with pytest.raises(NotImplementedError, match=f"{name} has no second"):
        torch.autograd.grad(first.square().sum(), x)
    with pytest.raises(NotImplementedError, match=f"{name} has no second"):
        torch.func.jacrev(torch.func.grad(lambda x: loss(x, labels)))(x.detach())


@pytest.mark.parametrize("name", NAMES)
def test_compiled_graph_has_the_same_bits(name):
    torch._dynamo.reset()
    x, labels = data()
    loss = getattr(nt, name)()

    def step(x):
        value = loss(x * 2, labels)
        if name != "NPairsLoss":
            value = value + loss.reference(x[:9], labels[:9], x[9:], labels[9:])
        return value

    found = []
    for function in (step, torch.compile(step, fullgraph=True, backend="aot_eager")):
        rows = x.clone().requires_grad_()
        value = function(rows)
        value.backward()
        found.append((value.detach(), rows.grad))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-14, atol=1e-16)


def test_inductor_compiles_a_training_step():
    x, labels = data()
    network, loss = torch.nn.Linear(8, 4, dtype=torch.float64), nt.MarginLoss(learn_beta=True)
    step = torch.compile(lambda x: loss(network(x), labels), fullgraph=True)
    step(x).backward()
    found = network.weight.grad.clone(), loss.beta.grad.clone()
    network.zero_grad()
    loss.zero_grad()
    loss(network(x), labels).backward()
    torch.testing.assert_close(found, (network.weight.grad, loss.beta.grad))
    assert loss.beta.grad != 0


@pytest.mark.parametrize("name", NAMES)
def test_transforms(name):
    x, labels = data(48)
    loss = getattr(nt, name)()
    gradient = torch.func.grad(lambda x: loss(x, labels))(x)
    assert np.array_equal(gradient.numpy(), getattr(nearfar, name)()(x.numpy(), labels.numpy()).grad)
    parts, part_labels = x.reshape(3, 16, 8), labels[:16]
    found = torch.func.vmap(torch.func.grad(lambda x: loss(x, part_labels)))(parts)
    expected = [torch.func.grad(lambda x: loss(x, part_labels))(part) for part in parts]
    assert torch.equal(found, torch.stack(expected))


def test_operators_obey_the_rules_of_the_library():
    x, labels = data()
    labels, check, ops = labels.clamp(0), torch.library.opcheck, torch.ops.nearfar
    check(ops.loss.default, (x, None, labels, None, None, None, nt.SupConLoss()._spec, "batch", "01",
                             True))
    beta = torch.ones(6)
    spec = nt.MarginLoss()._spec
    check(ops.margin.default, (x, None, labels, None, None, None, beta, spec, 0.1, True))
    check(ops.margin.default, (x[:9], x[9:], labels[:9], labels[9:], None, None, beta, spec, 0.1,
                               True))


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("learn", [False, True])
def test_other_devices_are_refused_by_name(learn, monkeypatch):
    x, labels = data(dtype=torch.float32)
    loss = nt.MarginLoss(learn_beta=learn)
    assert loss(x.to("meta"), labels.to("meta")).shape == ()
    with pytest.raises(NotImplementedError, match="meta.*counts of MarginLoss"):
        loss.counts(x.to("meta"), labels.to("meta"))
    monkeypatch.setattr(_operators, "on_engine", lambda x: False)
    for call in (lambda: loss(x, labels), lambda: loss(x, labels, ref_emb=x, ref_labels=labels)):
        with pytest.raises(NotImplementedError, match="MarginLoss is computed on the CPU.*cpu()"):
            call()
    assert nt.ContrastiveLoss()(x, labels) > 0  # by tiles


def test_lists_of_pairs_and_other_types_are_refused():
    x, labels = data()
    mined = miners.MultiSimilarityMiner()(x, labels)
    with pytest.raises(TypeError, match="MultiSimilarityLoss.*leave the miner out"):
        nt.MultiSimilarityLoss()(x, labels, mined)
    with pytest.raises(TypeError, match="SupConLoss compares all pairs"):
        nt.SupConLoss().pairs(x, ([0], [1], [1]))
    with pytest.raises(TypeError, match="float64, float32"):
        nt.SupConLoss()(x.long(), labels)
    with pytest.raises(ValueError, match="n-pairs"):
        nt.NPairsLoss()(x, labels, ref_emb=x, ref_labels=labels)
    with pytest.raises(TypeError, match="SupConLoss"):
        nt.SupConLoss(margin=1)


# ---- beta ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("nu", [0, 0.25])
@pytest.mark.parametrize("classes", [None, 7])
def test_beta_is_a_parameter(classes, nu):
    x, labels = data()
    loss = nt.MarginLoss(beta=1.25, nu=nu, learn_beta=True, num_classes=classes)
    assert [parameter.shape for parameter in loss.parameters()] == [(classes,) if classes else ()]
    x.requires_grad_()
    loss(x, labels).backward()
    beta = 1.25 if classes is None else np.full(7, 1.25)
    engine = nearfar.margin_loss(x.detach().numpy(), labels.numpy(), beta, nu=nu,
                                 by_label=classes is not None)
    assert np.array_equal(x.grad.numpy(), engine.grad)
    assert np.array_equal(loss.beta.grad.numpy(), np.float32(engine.beta_grad))
    assert loss.beta.grad.abs().sum() > 0 and loss.counts(x, labels) == engine.counts
    twin = nt.MarginLoss(beta=0.5, nu=nu, learn_beta=True, num_classes=classes)
    twin.load_state_dict(loss.state_dict())
    assert twin(x, labels) == loss(x, labels)
    assert "beta is a parameter" in repr(loss)


@pytest.mark.parametrize("classes", [None, 5])
def test_learnt_beta_of_pytorch_metric_learning(classes):
    rng = np.random.default_rng(6)
    x, y = torch.tensor(rng.normal(size=(20, 4))), torch.tensor(rng.normal(size=(30, 4)))
    labels, others = torch.tensor(rng.integers(0, 5, 20)), torch.tensor(rng.integers(0, 5, 30))
    options = dict(beta=1.25, nu=0.125, learn_beta=True, num_classes=classes)
    found = []
    for loss in (nt.MarginLoss(**options), losses.MarginLoss(**options)):
        loss.double()
        rows = x.clone().requires_grad_()
        value = loss(rows, labels) + loss(rows, labels, ref_emb=y, ref_labels=others)
        value.backward()
        found.append((value.detach(), rows.grad, loss.beta.grad.reshape(-1)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


def test_gradcheck_of_beta():
    x, labels = data(12, 4, classes=3, seed=2)
    loss = nt.MarginLoss(nu=0.5, learn_beta=True, num_classes=3).double()

    def value(x, beta):
        return torch.func.functional_call(loss, {"beta": beta}, (x, labels))

    beta = torch.tensor([1.1, 1.2, 0.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(value, (x.requires_grad_(), beta))
    beta = torch.tensor(1.15, dtype=torch.float64, requires_grad=True)
    loss = nt.MarginLoss(learn_beta=True).double()
    assert torch.autograd.gradcheck(value, (x, beta))


def test_a_fixed_beta_per_label():
    x, labels = data()
    beta = [0.9, 1.0, 1.1, 1.2, 1.3, 1.4]
    loss = nt.MarginLoss(beta=beta)
    assert not list(loss.parameters()) and "6 classes" in repr(loss)
    engine = nearfar.margin_loss(x.numpy(), labels.numpy(), beta, by_label=True)
    assert loss(x, labels).item() == engine.value
    with pytest.raises(ValueError, match="label 6 has no beta"):
        loss(x, labels + 1)
    with pytest.raises(ValueError, match="num_classes"):
        nt.MarginLoss(beta=beta, num_classes=5)
    with pytest.raises(ValueError, match="beta has shape"):
        nt.MarginLoss(beta=[[1.0]])


# ---- the memory bank ----------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["ContrastiveLoss", "SupConLoss", "TripletMarginLoss"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bank_has_the_numbers_of_the_core_s(loss, dtype):
    bank = nt.MemoryBank(50, 8, dtype)
    core = nearfar.MemoryBank(50, 8, str(dtype)[6:])
    for step in range(5):
        x, labels = data(16 if step != 3 else 70, 8, dtype, seed=step)
        x.requires_grad_()
        value = bank.loss(getattr(nt, loss)(), x, labels)
        value.backward()
        expected = core.loss(getattr(nearfar, loss)(), x.detach().numpy(), labels.numpy())
        assert value.item() == engine_type(expected.value, dtype) > 0
        assert np.array_equal(x.grad.numpy(), expected.grad)
        assert len(bank) == len(core) and np.array_equal(bank.ids.numpy(), core.ids)
        assert np.array_equal(bank.embeddings.numpy(), core.embeddings)
        assert np.array_equal(bank.labels.numpy(), core.labels)
    bank.reset()
    assert len(bank) == 0


@pytest.mark.parametrize("name", ["SupConLoss", "NTXentLoss", "TripletMarginLoss", "MarginLoss"])
def test_bank_is_the_cross_batch_memory_of_pytorch_metric_learning(name):
    more = {"beta": 1.25} if name == "MarginLoss" else {}
    bank, ours = nt.MemoryBank(40, 8, torch.float64), getattr(nt, name)(**more)
    theirs = losses.CrossBatchMemory(getattr(losses, name)(**more), 8, memory_size=40)
    for step in range(4):
        rows, labels = data(16, 8, seed=step)
        found = []
        for function in (lambda x: bank.loss(ours, x, labels + 1), lambda x: theirs(x, labels + 1)):
            x = rows.clone().requires_grad_()
            value = function(x)
            value.backward()
            found.append((value.detach(), x.grad))
        torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("miner", [nearfar.mine.multi_similarity, nearfar.mine.batch_hard])
def test_bank_with_a_miner(miner):
    bank, core = nt.MemoryBank(40, 8, torch.float64), nearfar.MemoryBank(40, 8, "float64")
    for step in range(3):
        x, labels = data(16, 8, seed=step)
        x.requires_grad_()
        value = bank.loss(nt.ContrastiveLoss("pml"), x, labels, miner=miner)
        value.backward()
        expected = core.loss(nearfar.ContrastiveLoss("pml"), x.detach().numpy(), labels.numpy(),
                             miner=miner)
        assert value.item() == expected.value > 0
        np.testing.assert_allclose(x.grad.numpy(), expected.grad, rtol=0, atol=1e-14)
    with pytest.raises(TypeError, match="SupConLoss compares all pairs"):
        bank.loss(nt.SupConLoss(), x, labels, miner=miner)


def test_bank_is_kept_in_a_checkpoint_and_by_a_failure():
    x, labels = data(16, 8, torch.float32)
    bank, loss = nt.MemoryBank(20, 8), nt.SupConLoss()
    bank.loss(loss, x, labels)
    twin = nt.MemoryBank(20, 8)
    twin.load_state_dict(bank.state_dict())
    y, others = data(16, 8, torch.float32, seed=1)
    y.requires_grad_()
    first = bank.loss(loss, y, others)
    assert twin.loss(loss, y, others) == first
    second = bank.loss(loss, y, others)  # before the first one's backward
    (first + second).backward()
    assert y.grad.abs().sum() > 0
    held = bank.embeddings.clone()
    for call in (bank.push, lambda x, labels: bank.loss(loss, x, labels)):
        with pytest.raises(ValueError, match="NaN"):
            call(torch.full((4, 8), torch.nan), torch.arange(4))
    with pytest.raises(ValueError, match="columns"):
        bank.push(x[:, :3], labels)
    assert torch.equal(bank.embeddings, held) and len(bank) == 20
