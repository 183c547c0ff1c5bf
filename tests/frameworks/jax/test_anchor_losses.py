"""nearfar.jax's losses of anchors: the engine's bits, transformations, refusals; the memory bank."""

import copy
import inspect
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import nearfar
import nearfar.jax as nj
from jax_support import data, same_bits, x64
from nearfar.anchor_losses import CLASSES

NAMES = [core.__name__ for core in CLASSES.values()]


@pytest.mark.parametrize("name", NAMES)
def test_same_name_arguments_and_text_as_the_core(name):
    ours, core = getattr(nj, name), getattr(nearfar, name)
    assert inspect.signature(ours) == inspect.signature(core) and name in nj.__all__
    loss, right = ours(reduction="sum", scale=2), core(reduction="sum", scale=2)
    assert repr(loss) == repr(right) and "jit" in ours.__doc__ and loss != right
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), loss.replace()):
        assert other == loss and hash(other) == hash(loss) and type(other) is ours
    assert loss.replace(scale=1) != loss


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_batch_has_the_engine_bits(name, jit, dtype):
    x, labels = data(dtype)
    loss = getattr(nj, name)()
    function = jax.value_and_grad(loss)
    value, grad = (jax.jit(function) if jit else function)(jnp.asarray(x), jnp.asarray(labels))
    right = getattr(nearfar, name)()(x, labels)
    assert right.value > 0
    same_bits(right, value, (grad,))
    assert float(loss(x, labels)) == float(value) and loss.counts(x, labels) == right.counts


@pytest.mark.parametrize("name", [name for name in NAMES if name != "NPairsLoss"])
def test_reference_has_the_engine_bits(name, dtype):
    x, labels = data(dtype)
    ids = np.arange(300)
    for more in ((), (ids[:90], ids[60:])):
        value, grads = jax.jit(jax.value_and_grad(getattr(nj, name)().reference, (0, 2)))(
            jnp.asarray(x[:90]), labels[:90], jnp.asarray(x[60:]), labels[60:], *more)
        right = getattr(nearfar, name)().reference(x[:90], labels[:90], x[60:], labels[60:], *more)
        same_bits(right, value, grads)


@pytest.mark.parametrize("name", NAMES)
def test_terms_of_rows(name, dtype):
    x, labels = data(dtype, 60)
    loss, core = getattr(nj, name)(reduction="none"), getattr(nearfar, name)(reduction="none")
    up = np.linspace(0.5, 2, 60).astype(dtype)
    terms, pull = jax.vjp(jax.jit(lambda x: loss(x, labels)), jnp.asarray(x))
    right = core(x, labels, upstream=up.astype("f8"))
    assert np.array_equal(terms, right.terms.astype(dtype)) and terms.shape == (60,)
    assert np.asarray(pull(jnp.asarray(up))[0]).tobytes() == right.grad.tobytes()
    many = jax.vmap(loss)(jnp.stack([x, x]), np.stack([labels, labels]))
    assert np.array_equal(many[1], terms)
    with pytest.raises(NotImplementedError, match="no second"):
        jax.jacrev(jax.grad(lambda x: loss(x, labels).sum()))(x)
    if name == "NPairsLoss":  # takes its pairs from one set
        return
    y, others = x[::-1][:30] * np.dtype(dtype).type(1.5), labels[::-1][:30]
    terms, pull = jax.vjp(jax.jit(lambda x, y: loss.reference(x, labels, y, others)),
                          jnp.asarray(x), jnp.asarray(y))
    right = core.reference(x, labels, y, others, upstream=up.astype("f8"))
    assert np.array_equal(terms, right.terms.astype(dtype)) and terms.shape == (60,)
    for got, expected in zip(pull(jnp.asarray(up)), right.grad, strict=True):
        assert np.array_equal(got, expected)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_that_of_the_value(name):
    if name == "CircleLoss":
        pytest.skip("holds factors constant")
    x, labels = data("f8", 40, 5)
    loss = getattr(nj, name)()
    up = np.random.default_rng(2).normal(size=x.shape) * 1e-6
    slope = float(loss(x + up, labels) - loss(x - up, labels)) / 2
    gradient = jax.grad(lambda x: 3 * loss(x, labels))(jnp.asarray(x))
    assert slope == pytest.approx(float((gradient / 3 * up).sum()), rel=1e-4, abs=1e-13)


@pytest.mark.parametrize("in_axes", [(0, 0), (0, None), (None, 0)])
def test_vmap_is_one_call_per_entry(in_axes):
    x, labels = data("f4")
    xs, ls = x.reshape(3, 100, 7), labels.reshape(3, 100)
    xs, ls = (a if axis == 0 else a[0] for a, axis in zip((xs, ls), in_axes, strict=True))
    values, grads = jax.jit(jax.vmap(jax.value_and_grad(nj.SupConLoss()), in_axes))(xs, ls)
    for k in range(3):
        a, b = (a[k] if axis == 0 else a for a, axis in zip((xs, ls), in_axes, strict=True))
        same_bits(nearfar.SupConLoss()(a, b), values[k], (grads[k],))


def test_inside_scan_and_checkpoint():
    x, labels = data("f8", 64)
    loss, right = nj.TripletMarginLoss(), nearfar.TripletMarginLoss()(x, labels)

    def walk(x):
        body = jax.checkpoint(lambda total, x: (total + loss(x, labels), None))
        return jax.lax.scan(body, 0.0, jnp.stack([x, x]))[0]

    value, grad = jax.value_and_grad(walk)(jnp.asarray(x))
    assert float(value) == 2 * right.value and np.array_equal(grad, 2 * right.grad)


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_second_derivatives_are_refused(name):
    x, labels = data("f8", 20)
    loss = getattr(nj, name)()
    with pytest.raises(NotImplementedError, match=f"{name} has no second"):
        jax.grad(lambda x: (jax.grad(loss)(x, labels)**2).sum())(jnp.asarray(x))
    with pytest.raises(NotImplementedError, match=f"{name} has no second"):
        jax.jacrev(jax.grad(loss))(jnp.asarray(x), labels)
    # The value of a value_and_grad has a first derivative all the same.
    first = jax.grad(lambda x: jax.value_and_grad(loss)(x, labels)[0])(jnp.asarray(x))
    assert np.array_equal(first, getattr(nearfar, name)()(x, labels).grad)


def test_other_platforms_are_refused_by_name():
    x, labels = data("f4", 20)
    for platform in ("cuda", "tpu"):
        with pytest.raises(NotImplementedError, match=f"SupConLoss is computed on the CPU.*{platform}"):
            export.export(jax.jit(jax.grad(nj.SupConLoss())), platforms=[platform])(x, labels)
        export.export(jax.jit(nj.ContrastiveLoss()), platforms=[platform])(x, labels)


def test_lists_of_pairs_and_wrong_arguments_are_refused():
    x, labels = data("f4", 20)
    for call in (lambda: nj.SupConLoss().pairs(x, ([0], [1], [1])),
                 lambda: nj.SupConLoss().rows(x, x, labels > 0)):
        with pytest.raises(TypeError, match="SupConLoss compares all pairs"):
            call()
    with pytest.raises(ValueError, match="2-D"):
        nj.SupConLoss()(x[0], labels)
    with pytest.raises(jax.errors.JaxRuntimeError, match="n-pairs"):
        jax.block_until_ready(nj.NPairsLoss().reference(x, labels, x, labels))
    with pytest.raises(TypeError, match="SupConLoss"):
        nj.SupConLoss(margin=1)


# ---- beta ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("nu", [0, 0.25])
@pytest.mark.parametrize("beta", [1.25, [1.0, 1.25, 0.75, 1.5, 2.0]])
def test_beta_is_an_argument(beta, nu, dtype):
    x, labels = data(dtype)
    loss, beta = nj.MarginLoss(), jnp.asarray(beta, dtype)
    right = nearfar.margin_loss(x, labels, np.asarray(beta), nu=nu, by_label=beta.ndim == 1)
    function = jax.jit(jax.value_and_grad(lambda x, beta: loss(x, labels, beta, nu), (0, 1)))
    value, (grad, slope) = function(jnp.asarray(x), beta)
    same_bits(right, value, (grad,))
    assert slope.dtype == beta.dtype and np.array_equal(slope, np.asarray(right.beta_grad, dtype))
    assert np.abs(slope).sum() > 0
    ids = np.arange(300)
    value, (grad, slope) = jax.value_and_grad(
        lambda x, beta: loss.reference(x, labels, jnp.asarray(x), labels, ids, ids, beta, nu), (0, 1))(
            jnp.asarray(x), beta)
    np.testing.assert_allclose(value, right.value, rtol=1e-6 if dtype == "f4" else 1e-12)
    np.testing.assert_allclose(slope, right.beta_grad, rtol=1e-5 if dtype == "f4" else 1e-11,
                               atol=1e-7)
    wrong = "label [0-9] has no beta"
    with pytest.raises(jax.errors.JaxRuntimeError, match=wrong):
        jax.block_until_ready(loss(x, labels, beta=jnp.ones(2)))
    with pytest.raises(ValueError, match="beta has shape"):
        loss(x, labels, beta=jnp.ones((2, 2)))


# ---- the memory bank ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ContrastiveLoss", "SupConLoss", "TripletMarginLoss"])
def test_bank_has_the_numbers_of_the_core_s(name, dtype):
    loss, core = getattr(nj, name)(), nearfar.MemoryBank(50, 7, np.dtype(dtype))

    @jax.jit
    def step(x, labels, bank):
        (value, bank), grad = jax.value_and_grad(
            lambda x: bank.loss(loss, x, labels), has_aux=True)(x)
        return value, grad, bank

    bank = nj.MemoryBank.empty(50, 7, np.dtype(dtype))
    for seed, n in enumerate([16, 16, 16, 70, 16]):
        x, labels = data(dtype, n, seed=seed)
        value, grad, bank = step(jnp.asarray(x), jnp.asarray(labels), bank)
        same_bits(core.loss(getattr(nearfar, name)(), x, labels), value, (grad,))
        rows = len(core)
        assert np.array_equal(bank.embeddings[:rows], core.embeddings)
        assert np.array_equal(bank.labels[:rows], core.labels)
        assert np.array_equal(bank.ids[:rows], core.ids)
        assert (np.asarray(bank.labels[rows:]) == -1).all()


def test_bank_of_one_class_and_of_boundaries_by_label():
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("f4")
    value, bank = nj.MemoryBank.empty(20, 3).loss(nj.ContrastiveLoss(), x, np.ones(8, int))
    core = nearfar.MemoryBank(20, 3)
    assert float(value) == np.float32(core.loss(nearfar.ContrastiveLoss(), x, np.ones(8, int)).value)
    beta, labels = jnp.array([1.0, 1.25, 0.75]), np.array([0, 1, 2, 0, 1, 2, 0, 1])
    value, _ = nj.MemoryBank.empty(20, 3).loss(nj.MarginLoss(), x, labels, beta=beta)
    ids = np.arange(8)
    assert value == nj.MarginLoss().reference(x, labels, x, labels, ids, ids, beta)
    with pytest.raises(ValueError, match="unlabelled is None"):
        bank.loss(nj.SupConLoss(unlabelled=None), x, labels)
    with pytest.raises(ValueError, match="columns"):
        bank.push(x[:, :2], labels)
    with x64(False):
        small = nj.MemoryBank.empty(4, 3).push(x[:2], labels[:2])
        assert small.labels.dtype == jnp.int32 and int(small.pushed) == 2
