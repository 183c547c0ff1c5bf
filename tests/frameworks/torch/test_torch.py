"""nearfar.torch against the engine through NumPy, against finite differences, and in graphs."""

import copy
import pickle
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import nearfar
import nearfar.torch
from nearfar.torch import _loss, _operators
from nearfar.torch import (ContrastiveLoss, PairLoss, class_indices, pair_distances, pair_indices,
                           pairwise_distances)

METRICS = ["euclidean", "sqeuclidean", "cosine", "dot", "cityblock"]
PRESETS = ["weston", "drlim", "hinge", "pml", "sbert"]
OPTIONS = [*({"preset": preset} for preset in PRESETS),
           {"metric": "cityblock", "margin": 9},
           {"metric": "dot", "margin": 0.5, "pos_margin": -1.0},
           {"exponent": 1.5, "margin": 3, "pos_weight": 2},
           {"pos_metric": "sqeuclidean", "neg_metric": "cosine", "normalize": True},
           {"margin": 2, "unlabelled": None}]
REDUCTIONS = ["mean", "sum", "weighted-mean", "mean-sides", "mean-nonzero", "divisor", "none"]


@pytest.fixture
def tiled(monkeypatch):
    """Everything on the path of other devices."""
    monkeypatch.setattr(_operators, "on_engine", lambda x: False)
    monkeypatch.setattr(_loss.tiles, "TILE", 16)  # several tiles, the last one shorter
    monkeypatch.setattr(_loss.tiles, "_PART", 7)


def data(n=50, d=8, dtype=torch.float64, seed=0):
    """Rows with a duplicate and a zero row, and labels with unlabelled rows."""
    rng = np.random.default_rng(seed)
    x = torch.tensor(rng.normal(size=(n, d)) * 0.5, dtype=dtype)
    x[3], x[7] = x[4], 0
    return x, torch.tensor(rng.integers(-1, 4, n))


def small(n=9, d=4):
    rng = np.random.default_rng(3)
    x = torch.tensor(rng.normal(size=(n, d)) * 0.7, requires_grad=True)
    return x, torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, -1])


def forms(loss, labels):
    """The four forms as functions of one matrix of 50 rows, and the same for the engine."""
    rng = np.random.default_rng(1)
    i, j = torch.tensor(rng.integers(0, 25, 40)), torch.tensor(rng.integers(25, 50, 40))
    same, weight = torch.tensor(rng.integers(0, 2, 40)), torch.tensor(rng.random(40) + 0.1)
    half = same[:25]
    found = {"pairs": lambda x: loss.pairs(x, (i, j, same, weight)),
             "rows": lambda x: loss.rows(x[:25], x[25:], half, weight[:25])}
    if loss.reduction != "none":
        ids = torch.arange(50) % 15
        found["batch"] = lambda x: loss(x, labels)
        found["reference"] = lambda x: loss.reference(x[:20], labels[:20], x[20:], labels[20:],
                                                      ids[:20], ids[20:])
    return found


def derivatives(function, x):
    """Value, gradient and Hessian times a fixed direction of the sum of squares of terms."""
    x = x.clone().requires_grad_()
    value = function(x)
    scalar = (value * torch.linspace(0.5, 1.5, value.numel()).reshape(value.shape)).sum()
    gradient, = torch.autograd.grad(scalar, x, create_graph=True)
    direction = torch.linspace(-1, 1, x.numel(), dtype=x.dtype).reshape(x.shape)
    second, = torch.autograd.grad((gradient * direction).sum(), x)
    return value.detach(), gradient.detach(), second


def close(found, expected, tolerance):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert float((a - b).abs().max()) <= tolerance * max(1.0, float(b.abs().max()))


# ---- the engine's bits --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_value_and_gradient_have_the_engines_bits(options, dtype):
    x, labels = data(200, 16, dtype)
    x.requires_grad_()
    value = ContrastiveLoss(**options)(x, labels)
    value.backward()
    engine = nearfar.loss(x.detach().numpy(), labels.numpy(), **options)
    assert value.dtype == dtype and value.item() == np.dtype(str(dtype)[6:]).type(engine.value)
    assert engine.value > 0 and np.array_equal(x.grad.numpy(), engine.grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_other_forms_have_the_engines_bits(dtype):
    x, labels = data(dtype=dtype)
    for reduction in ("mean", "none"):
        loss, engine = ContrastiveLoss(reduction=reduction), nearfar.ContrastiveLoss(
            reduction=reduction)
        same = labels[:25] > 1
        left, right = x[:25].clone().requires_grad_(), x[25:].clone().requires_grad_()
        value = loss.rows(left, right, same)
        up = torch.linspace(1, 2, 25, dtype=dtype) if reduction == "none" else torch.ones(())
        (value * up).sum().backward()
        upstream = None if reduction == "mean" else up.double().numpy()
        result = engine.rows(x[:25].numpy(), x[25:].numpy(), same.numpy(), upstream=upstream)
        assert np.array_equal(left.grad.numpy(), result.grad[0])
        assert np.array_equal(right.grad.numpy(), result.grad[1])
        i, j = torch.arange(25), torch.arange(25) + 25
        whole = x.clone().requires_grad_()
        (loss.pairs(whole, (i, j, same)) * up).sum().backward()
        result = engine.pairs(x.numpy(), (i.numpy(), j.numpy(), same.numpy()), upstream=upstream)
        assert np.array_equal(whole.grad.numpy(), result.grad)
    query, reference = x[:20].clone().requires_grad_(), x[20:].clone().requires_grad_()
    ContrastiveLoss().reference(query, labels[:20], reference, labels[20:]).backward()
    result = nearfar.ContrastiveLoss().reference(x[:20].numpy(), labels[:20].numpy(),
                                                 x[20:].numpy(), labels[20:].numpy())
    assert np.array_equal(query.grad.numpy(), result.grad[0])
    assert np.array_equal(reference.grad.numpy(), result.grad[1])


def test_labels_reach_the_engine_whole():
    x = torch.tensor([[0.0], [2.0]])
    assert ContrastiveLoss()(x, torch.tensor([2**24, 2**24 + 1])).item() == 0
    assert ContrastiveLoss()(x, torch.tensor([2**53, 2**53])).item() == 4
    for kind in (torch.uint8, torch.int16, torch.bool):
        assert ContrastiveLoss()(x, torch.tensor([1, 1]).to(kind)).item() == 4


@pytest.mark.parametrize("preset", sorted(nearfar.presets()))
def test_presets_of_other_kinds_are_refused(preset):
    """The tiles know the contrastive family alone."""
    if preset in PRESETS + ["tfa"]:
        assert ContrastiveLoss(preset).options.preset == preset
    else:
        with pytest.raises(ValueError, match="not of the contrastive family"):
            ContrastiveLoss(preset)


# ---- the tiled path -----------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_tiles_agree_with_the_engine(options, reduction, request):
    x, labels = data()
    if options.get("preset") == "pml":  # unit rows are at 1 from a zero row: rounding picks a side
        options = {**options, "margin": 0.9}
    divisor = 7.5 if reduction == "divisor" else None
    loss = ContrastiveLoss(**{**options, "reduction": reduction, "divisor": divisor})
    cases = forms(loss, labels)
    engine = {name: derivatives(function, x) for name, function in cases.items()}
    request.getfixturevalue("tiled")
    for name, function in cases.items():
        close(derivatives(function, x), engine[name], 1e-10)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("metric", METRICS)
def test_tiled_distances_agree_with_the_engine(metric, normalize, request):
    x, labels = data()
    i, j = torch.arange(50), (torch.arange(50) * 7 + 3) % 50
    cases = [lambda x: pairwise_distances(x, metric=metric, normalize=normalize),
             lambda x: pairwise_distances(x[:20], x[20:], metric, normalize=normalize),
             lambda x: pair_distances(x, i, j, None, metric, normalize=normalize)]
    engine = [derivatives(function, x) for function in cases]
    request.getfixturevalue("tiled")
    for function, expected in zip(cases, engine, strict=True):
        close(derivatives(function, x), expected, 1e-9)


def test_tiles_keep_near_pairs_far_from_the_origin(tiled):
    rng = np.random.default_rng(2)
    x = (1000 + rng.normal(size=(40, 6))).astype(np.float32)
    x[20:] = x[:20] + (1e-3 * rng.normal(size=(20, 6))).astype(np.float32)
    labels = np.arange(40)
    exact = nearfar.loss(x.astype(np.float64), labels)
    rows = torch.tensor(x, requires_grad=True)
    ContrastiveLoss()(rows, torch.tensor(labels)).backward()
    error = np.abs(rows.grad.numpy() - exact.grad).max() / np.abs(exact.grad).max()
    assert error < 1e-5


class Largest(TorchDispatchMode):
    """The largest tensor that any operation makes."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.untyped_storage().nbytes()
                                    // tensor.element_size())
        return out


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_tiles_never_make_the_matrix(options, monkeypatch):
    monkeypatch.setattr(_loss.tiles, "TILE", 64)
    monkeypatch.setattr(_loss.tiles, "_PART", 1000)
    x, labels = data(400, 4)
    loss = nearfar.ContrastiveLoss(**options)
    for v in (None, [x]):
        with Largest() as seen:
            _loss._tiled(x, None, labels, None, None, None, loss, "batch", "01", v=v)
        assert 400 * 4 < seen.elements <= 2 * 64 * 64  # row and column numbers of a tile's near pairs
    with Largest() as seen:
        _loss._tiled(x[:150], x[150:], labels[:150], labels[150:], None, None, loss,
                          "reference", "01", v=[x[:150], x[150:]])
    assert seen.elements <= 2 * 64 * 64


@pytest.mark.parametrize("change, message", [
    (lambda x, same: (x.fill_(np.nan), same), "NaN"),
    (lambda x, same: (x, same + 3), "must be 1"),
])
def test_tiles_check_what_the_engine_checks(tiled, change, message):
    x, same = change(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1]))
    with pytest.raises(ValueError, match=message):
        ContrastiveLoss().rows(x, x + 1, same)


@pytest.mark.parametrize("on_tiles", [False, True])
def test_bad_pairs_and_signs_are_refused(on_tiles, request):
    if on_tiles:
        request.getfixturevalue("tiled")
    x, loss = torch.zeros(3, 2), ContrastiveLoss()
    for i, j in ((0, 0), (0, 3), (-1, 1)):
        with pytest.raises(ValueError):
            loss.pairs(x, ([i], [j], [1]))
    with pytest.raises(ValueError, match="unlabelled=None"):
        loss(x, torch.tensor([1, -1, 1]))
    assert ContrastiveLoss(unlabelled=None)(x, torch.tensor([1, -1, 1])).item() > 0
    assert loss(x[:0], torch.tensor([], dtype=torch.int64)).item() == 0
    assert loss(x, torch.tensor([-1, -1, 0])).item() == 0
    value = loss.rows(x, x + 1, [1, -1, -1], same_encoding="pm1")
    assert value.item() == pytest.approx(2 / 3)


# ---- derivatives --------------------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradcheck_and_second_derivatives(options):
    x, labels = small()
    if options.get("unlabelled", -1) is None:
        labels = labels.abs()
    loss = ContrastiveLoss(**options)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), x)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, labels), x)
    terms = ContrastiveLoss(**{**options, "reduction": "none"})
    same = torch.tensor([0, 1, 1, 0])
    assert torch.autograd.gradcheck(lambda x: terms.rows(x[:4], x[4:8], same), x)
    assert torch.autograd.gradgradcheck(lambda x: terms.rows(x[:4], x[4:8], same), x)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("metric", METRICS)
def test_distances_gradcheck(metric, normalize):
    x, _ = small()
    for function in (lambda x: pairwise_distances(x[:4], x[4:], metric, normalize=normalize),
                     lambda x: pair_distances(x, [0, 1, 2, 0], [3, 3, 4, 8], None, metric,
                                              normalize=normalize)):
        assert torch.autograd.gradcheck(function, x)
        assert torch.autograd.gradgradcheck(function, x)


def test_gradient_is_finite_at_distance_0():
    for metric in METRICS:
        for power in (1, 0.5) if metric != "dot" else (1,):  # a root's own slope at 0 is infinite
            x = torch.zeros(4, 3, requires_grad=True)
            (pairwise_distances(x, metric=metric) ** power).sum().backward()
            (pair_distances(x, [0, 1], [2, 3], None, metric) ** power).sum().backward()
            assert bool((x.grad == 0).all())
    x = torch.ones(4, 3, requires_grad=True)
    ContrastiveLoss()(x, torch.arange(4)).backward()
    assert bool((x.grad == 0).all())


def test_hessian_of_positives_at_distance_0():
    """d^2 is smooth: its second derivative there is 2, not the 0 of a masked root."""
    x = torch.zeros(2, 1, dtype=torch.float64)
    hessian = torch.func.jacrev(torch.func.grad(lambda x: ContrastiveLoss()(x, [0, 0])))(x)
    assert hessian.reshape(2, 2).tolist() == [[2, -2], [-2, 2]]


def test_third_derivative_is_an_error():
    x, labels = small()
    first, = torch.autograd.grad(ContrastiveLoss()(x, labels), x, create_graph=True)
    second, = torch.autograd.grad(first.sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="third"):
        torch.autograd.grad(second.sum(), x)


def test_only_what_requires_a_gradient_has_one():
    x, labels = small()
    same = torch.tensor([0, 1, 1, 0])
    for k in (0, 1):
        sides = [x.detach()[:4].clone(), x.detach()[4:8].clone()]
        sides[k].requires_grad_()
        ContrastiveLoss().rows(*sides, same).backward()
        assert sides[k].grad.abs().sum() > 0 and sides[1 - k].grad is None
    assert not ContrastiveLoss()(x.detach(), labels).requires_grad
    with torch.no_grad():
        assert not ContrastiveLoss()(x, labels).requires_grad
    with pytest.raises(TypeError, match="weight requires a gradient"):
        ContrastiveLoss().rows(x[:4], x[4:8], same, torch.ones(4, requires_grad=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    x, labels = data(dtype=torch.float32)
    x = x.to(dtype).requires_grad_()
    value = ContrastiveLoss()(x, labels)
    value.backward()
    engine = nearfar.loss(x.detach().float().numpy(), labels.numpy())
    assert value.dtype == torch.float32 and value.item() == np.float32(engine.value)
    assert x.grad.dtype == dtype and torch.equal(x.grad, torch.tensor(engine.grad).to(dtype))


def test_a_scaled_half_gradient_does_not_underflow():
    """A loss scale reaches the float32 gradient before it is rounded to float16."""
    x, labels = data(dtype=torch.float32)
    x = (x * 1e-4).to(torch.float16).requires_grad_()
    (ContrastiveLoss("hinge", margin=9)(x, labels) * 65536).backward()
    exact = nearfar.loss(x.detach().double().numpy(), labels.numpy(), preset="hinge", margin=9)
    assert np.allclose(x.grad.double().numpy(), exact.grad * 65536, rtol=2e-3, atol=1e-6)


def test_default_device_is_not_mixed_in():
    x, labels = data()
    with torch.device("meta"):
        assert ContrastiveLoss()(x, labels).device.type == "cpu"
        assert ContrastiveLoss().pairs(x, ([0], [1], [1])).device.type == "cpu"
        assert pair_distances(x, [0], [1]).device.type == "cpu"


def test_loss_inside_a_checkpoint():
    x, labels = data()
    found = []
    for wrap in (lambda function, x: function(x),
                 lambda function, x: checkpoint(function, x, use_reentrant=False)):
        found.append(derivatives(lambda x: wrap(lambda x: ContrastiveLoss()(x * 2, labels)
                                                + pairwise_distances(x).sum()
                                                + pair_distances(x, [0], [1]).sum(), x), x))
    close(found[1], found[0], 1e-14)


def test_strided_rows():
    x, labels = data()
    wide = torch.zeros(50, 16, dtype=x.dtype)
    wide[:, ::2] = x
    expected = ContrastiveLoss()(x, labels)
    for view in (wide[:, ::2], x.T.contiguous().T, x.flip(0).flip(0)):
        view = view.detach().requires_grad_()
        value = ContrastiveLoss()(view, labels)
        gradient, = torch.autograd.grad(value, view)
        assert value == expected and gradient.shape == x.shape


# ---- graphs and transforms ----------------------------------------------------------------------


def test_compiled_graph_has_the_same_bits():
    x, labels = data()
    loss = ContrastiveLoss(margin=2)

    def step(x):
        i = torch.arange(5)
        return (loss(x * 2, labels) + pairwise_distances(x).sum() + pair_distances(x, i, i).sum()
                + loss.reference(x[:9], labels[:9], x[9:], labels[9:])
                + loss.rows(x[:9], x[9:18], labels[:9] > 2) + loss.pairs(x, (i, i + 1, i > 2)))

    found = []
    for function in (step, torch.compile(step, fullgraph=True)):
        rows = x.clone().requires_grad_()
        value = function(rows)
        value.backward()
        found.append((value.detach(), rows.grad))
    close(found[1], found[0], 1e-14)
    compiled, rows = torch.compile(loss, fullgraph=True), x.clone().requires_grad_()
    compiled(rows, labels).backward()
    assert np.array_equal(rows.grad.numpy(), nearfar.loss(x.numpy(), labels.numpy(),
                                                          margin=2).grad)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_second_derivative_is_an_error(backend):
    torch._dynamo.reset()
    x, labels = small()
    loss = ContrastiveLoss()
    compiled = torch.compile(lambda x: loss(x, labels), fullgraph=True, backend=backend)
    with pytest.raises(RuntimeError):
        first, = torch.autograd.grad(compiled(x), x, create_graph=True)
        torch.autograd.grad(first.sum(), x)


def test_pair_indices_in_a_graph(monkeypatch):
    monkeypatch.setattr(torch._dynamo.config, "capture_dynamic_output_shape_ops", True)
    _, labels = data()
    compiled = torch.compile(pair_indices, fullgraph=True)
    for a, b in zip(compiled(labels), nearfar.pair_indices(labels.numpy()), strict=True):
        assert np.array_equal(a.numpy(), b)


def test_transforms():
    x, labels = data(48)
    loss = ContrastiveLoss()
    gradient = torch.func.grad(lambda x: loss(x, labels))(x)
    assert np.array_equal(gradient.numpy(), nearfar.loss(x.numpy(), labels.numpy()).grad)
    parts, part_labels = x.reshape(6, 8, 8), labels[:8]
    found = torch.func.vmap(torch.func.grad(lambda x: loss(x, part_labels)))(parts)
    expected = [torch.func.grad(lambda x: loss(x, part_labels))(part) for part in parts]
    assert torch.equal(found, torch.stack(expected))
    by_labels = torch.func.vmap(loss)(parts, labels.reshape(6, 8))
    assert by_labels.tolist() == [loss(*part).item()
                                  for part in zip(parts, labels.reshape(6, 8), strict=True)]


def test_operators_obey_the_rules_of_the_library():
    x, labels = data()
    spec, check = ContrastiveLoss()._spec, torch.library.opcheck
    none = ContrastiveLoss(reduction="none")._spec
    ops, same = torch.ops.nearfar, (labels[:25] > 1)
    check(ops.loss.default, (x, None, labels, None, None, None, spec, "batch", "01", True))
    rows = (x[:25], x[25:], None, None, same, None)
    check(ops.loss.default, (*rows, none, "rows", "01", False))
    check(ops.loss_pull.default, (*rows, torch.ones(25, dtype=x.dtype), none, "rows", "01"))
    check(ops.loss_twice.default, (*rows, None, x[:25], x[25:], spec, "rows", "01"))
    check(ops.distances.default, (x, None, "cosine", False))
    check(ops.distances_pull.default, (x, None, x @ x.T, "cosine", False))
    check(ops.distances_twice.default, (x, None, x @ x.T, x, None, "cosine", False))
    check(ops.pair_distances.default, (x, None, labels + 1, labels + 2, "dot", False))
    check(ops.pair_indices.default, (labels, True))


def test_meta_tensors_have_shapes_and_devices_do_not_mix():
    x, labels = data(dtype=torch.float32)
    far, loss = x.to("meta"), ContrastiveLoss()
    assert loss(far, labels.to("meta")).shape == ()
    assert pairwise_distances(far).shape == (50, 50) and pairwise_distances(far).device == far.device
    for call in (lambda: loss(far, labels), lambda: pairwise_distances(far, x),
                 lambda: loss.rows(x, far, labels > 1), lambda: loss(x, labels.to("meta"))):
        with pytest.raises(ValueError, match="copied between devices"):
            call()


# ---- pytorch-metric-learning's arguments --------------------------------------------------------


def test_indices_and_references():
    x, labels = data()
    loss = ContrastiveLoss("pml")
    assert torch.isclose(loss(x, labels, pair_indices(labels)[0:4]), loss(x, labels))
    a, p, n = torch.tensor([0, 1]), torch.tensor([2, 3]), torch.tensor([4, 5])
    assert loss(x, None, (a, p, n)) == loss(x, labels, (a, p, a, n))
    mined = loss(x[:20], None, (a, p, a, n), ref_emb=x[20:])
    i, j = torch.cat([a, a]), torch.cat([p, n]) + 20
    assert mined == loss.pairs(x, (i, j, [1, 1, 0, 0]))
    both = loss(x[:20], labels[:20], ref_emb=x[20:], ref_labels=labels[20:])
    assert both == loss.reference(x[:20], labels[:20], x[20:], labels[20:])
    assert torch.isclose(loss(x, labels, ref_emb=x, ref_labels=labels), loss(x, labels))
    with pytest.raises(ValueError, match="ref_labels"):
        loss(x, labels, ref_emb=x)


def test_module_shows_copies_and_pickles():
    loss = ContrastiveLoss("hinge", margin=2)
    assert repr(loss).startswith("ContrastiveLoss('hinge', margin=2.0")
    x, labels = data()
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert other(x, labels) == loss(x, labels)


@pytest.mark.parametrize("x, labels, error", [
    (np.zeros((2, 2)), [0, 1], TypeError), (torch.zeros(2), [0, 1], ValueError),
    (torch.zeros(2, 2, dtype=torch.int64), [0, 1], TypeError),
    (torch.zeros(2, 2), torch.tensor([0.0, 1.0]), TypeError),
    (torch.zeros(2, 2), [0, 1, 2], ValueError), (torch.zeros(2, 2), [[0, 1], [0, 1]], ValueError)])
def test_wrong_arguments(x, labels, error):
    with pytest.raises(error):
        ContrastiveLoss()(x, labels)


def test_classes_and_pairs_by_label():
    _, labels = data()
    expected = nearfar.class_indices(labels.numpy())
    found = class_indices(labels)
    assert list(found) == list(expected)
    assert all(np.array_equal(found[label], expected[label]) for label in expected)
    for a, b in zip(pair_indices(labels), nearfar.pair_indices(labels.numpy()), strict=True):
        assert np.array_equal(a.numpy(), b)
    assert class_indices([]) == {}


# ---- pair functions of one's own ----------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum", "mean-sides"])
@pytest.mark.parametrize("metric", METRICS[:3])
def test_pair_functions_agree_with_the_family(metric, reduction):
    x, labels = data()
    own = PairLoss(lambda t: t ** 2, lambda t: torch.relu(1 - t) ** 2, metric, reduction=reduction,
                   strip=16)
    family = ContrastiveLoss(metric=metric, reduction=reduction)
    for name, function in forms(own, labels).items():
        close(derivatives(function, x)[:2], derivatives(forms(family, labels)[name], x)[:2], 1e-11)


def test_pair_functions_may_be_trained():
    class Softplus(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.margin = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

        def forward(self, t):
            return torch.nn.functional.softplus(self.margin - t)

    x, labels = data()
    loss = PairLoss(None, Softplus(), strip=16)
    assert len(list(loss.parameters())) == 1
    loss(x.requires_grad_(), labels).backward()
    negatives = pair_distances(x.detach(), *pair_indices(labels)[2:])
    pairs = sum(len(side) for side in pair_indices(labels)[::2])
    expected = torch.sigmoid(1 - negatives).sum() / pairs
    assert torch.isclose(loss.negative.margin.grad, expected)
    with pytest.raises(ValueError, match="one term per distance"):
        PairLoss(lambda t: t.sum(), None)(x, labels)


# ---- workers and examples -----------------------------------------------------------------------


class LossOfRows(torch.utils.data.Dataset):
    """Items made by the engine, inside a worker."""

    def __len__(self):
        return 8

    def __getitem__(self, k):
        x, labels = data(300, 32, seed=k)
        return ContrastiveLoss()(x, labels)


def test_workers_after_fork():
    expected = [LossOfRows()[k].item() for k in range(8)]  # the parent's threads exist by now
    loader = torch.utils.data.DataLoader(LossOfRows(), batch_size=1, num_workers=2,
                                         multiprocessing_context="fork", timeout=300)
    assert [batch.item() for batch in loader] == expected


def test_example(capsys):
    runpy.run_path(str(Path(__file__).parents[3] / "examples" / "torch_pairs.py"),
                   run_name="__main__")
    pixels, network, linear = (float(line.split()[-1])
                               for line in capsys.readouterr().out.splitlines())
    assert network > pixels + 0.05 and linear > pixels + 0.05


def test_example_of_losses(capsys):
    runpy.run_path(str(Path(__file__).parents[3] / "examples" / "torch_losses.py"),
                   run_name="__main__")
    pixels, *learnt = (float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()
                       if "MAP@R" in line)
    assert len(learnt) == 4 and min(learnt) > pixels + 0.1
