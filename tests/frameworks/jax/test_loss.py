"""The losses: the engine's bits in every form and transformation, and its errors."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nearfar
import nearfar.jax as nj
from jax_support import LOSSES, data, pair_list, same_bits
from nearfar.jax import _engine


@pytest.mark.parametrize("options", LOSSES, ids=str)
@pytest.mark.parametrize("jit", [False, True])
def test_batch_has_the_engine_bits(options, jit, dtype):
    x, labels = data(dtype)
    loss = nj.ContrastiveLoss(**options)
    function = jax.value_and_grad(loss)
    value, grad = (jax.jit(function) if jit else function)(jnp.asarray(x), jnp.asarray(labels))
    same_bits(nearfar.ContrastiveLoss(**options)(x, labels), value, (grad,))
    assert float(loss(x, labels)) == float(value)


@pytest.mark.parametrize("options", LOSSES, ids=str)
def test_other_forms_have_the_engine_bits(options, dtype):
    x, labels = data(dtype)
    loss, right = nj.ContrastiveLoss(**options), nearfar.ContrastiveLoss(**options)
    pairs = pair_list(labels)
    value, grad = jax.value_and_grad(loss.pairs)(jnp.asarray(x), pairs)
    same_bits(right.pairs(x, pairs), value, (grad,))
    a, b, same = jnp.asarray(x[:100]), jnp.asarray(x[100:200]), (labels[:100, None] > 0)
    value, grads = jax.value_and_grad(loss.rows, (0, 1))(a, b, same)
    same_bits(right.rows(x[:100], x[100:200], same), value, grads)
    value, grads = jax.value_and_grad(loss.reference, (0, 2))(a, labels[:100], b, labels[100:200])
    same_bits(right.reference(x[:100], labels[:100], x[100:200], labels[100:200]), value, grads)


def test_ids_leave_out_the_item_itself(dtype):
    x, labels = data(dtype)
    ids = np.arange(300) + 2**40
    loss, right = nj.ContrastiveLoss(), nearfar.ContrastiveLoss()
    expected = right.reference(x[:90], labels[:90], x, labels, ids[:90], ids)
    for convert in (np.asarray, jnp.asarray):
        value, grads = jax.value_and_grad(loss.reference, (0, 2))(
            jnp.asarray(x[:90]), labels[:90], jnp.asarray(x), labels, convert(ids[:90]), convert(ids))
        same_bits(expected, value, grads)
    with pytest.raises(TypeError, match="go together"):
        loss.reference(x, labels, x, labels, ids)


def test_pairs_in_every_form():
    x, labels = data("f8")
    i, j, same, _ = pair_list(labels)
    loss, right = nj.ContrastiveLoss(), nearfar.ContrastiveLoss().pairs(x, (i, j, same)).value
    signs = np.where(same, 1, -1)
    table = np.stack([i, j, same], 1)
    drawn = nearfar.sample_pairs(labels, 50, seed=1)
    assert float(loss.pairs(x, (i, j, same))) == right
    assert float(loss.pairs(x, table)) == right
    assert float(jax.jit(loss.pairs)(x, jnp.asarray(table))) == right
    assert float(loss.pairs(x, (i, j, signs), same_encoding="pm1")) == right
    assert float(loss.pairs(x, (i, j, jnp.asarray(signs)), same_encoding="pm1")) == right
    assert float(loss.pairs(x, drawn)) == nearfar.ContrastiveLoss().pairs(x, drawn).value
    assert float(loss.pairs(x, (i[:0], j[:0], same[:0]))) == 0


def test_upstream_types_and_coincident_rows():
    x, labels = data("f4", 40)
    loss = nj.ContrastiveLoss(preset="pml")
    right = nearfar.ContrastiveLoss("pml")(x, labels).grad
    grad = jax.grad(lambda x: 3 * loss(x, labels))(jnp.asarray(x))
    assert np.array_equal(grad, np.float32(3) * right)
    half = jax.grad(loss)(jnp.asarray(x, jnp.bfloat16), labels)
    assert half.dtype == jnp.bfloat16
    two = jax.grad(nj.ContrastiveLoss())(jnp.ones((2, 3)), [0, 1])
    assert np.array_equal(two, np.zeros((2, 3)))


@pytest.mark.parametrize("in_axes", [(0, 0), (0, None), (None, 0)])
def test_vmap_is_one_call_per_entry(in_axes):
    x, labels = data("f4")
    xs, ls = x.reshape(3, 100, 7), labels.reshape(3, 100)
    xs, ls = (a if axis == 0 else a[0] for a, axis in zip((xs, ls), in_axes, strict=True))
    values, grads = jax.jit(jax.vmap(jax.value_and_grad(nj.ContrastiveLoss()), in_axes))(xs, ls)
    for k in range(3):
        a, b = (a[k] if axis == 0 else a for a, axis in zip((xs, ls), in_axes, strict=True))
        same_bits(nearfar.loss(a, b), values[k], (grads[k],))


def test_inside_scan_checkpoint_and_without_jit():
    x, labels = data("f8", 64)
    loss = nj.ContrastiveLoss()
    right = nearfar.loss(x, labels)

    def walk(x):
        body = jax.checkpoint(lambda total, x: (total + loss(x, labels), None))
        return jax.lax.scan(body, 0.0, jnp.stack([x, x]))[0]

    value, grad = jax.value_and_grad(walk)(jnp.asarray(x))
    assert float(value) == 2 * right.value and np.array_equal(grad, 2 * right.grad)
    with jax.disable_jit():
        value, grad = jax.value_and_grad(loss)(jnp.asarray(x), labels)
    same_bits(right, value, (grad,))


def test_terms_and_their_gradient():
    x, labels = data("f8", 60)
    i, j, same, weight = pair_list(labels)
    i, j, same, weight = (np.insert(a, 7, b) for a, b in ((i, -1), (j, -1), (same, 0), (weight, 1)))
    loss = nj.ContrastiveLoss(reduction="none")
    up = np.random.default_rng(0).normal(size=i.size)
    terms, pull = jax.vjp(lambda x: loss.pairs(x, (i, j, same, weight)), jnp.asarray(x))
    kept = np.arange(i.size) != 7
    right = nearfar.ContrastiveLoss(reduction="none").pairs(
        x, (i[kept], j[kept], same[kept], weight[kept]), upstream=up[kept])
    assert np.array_equal(terms[kept], right.terms) and terms[7] == 0
    assert np.asarray(pull(jnp.asarray(up))[0]).tobytes() == right.grad.tobytes()
    rows, pull = jax.vjp(lambda a, b: loss.rows(a, b, same[:30]), x[:30], x[30:])
    right = nearfar.ContrastiveLoss(reduction="none").rows(x[:30], x[30:], same[:30],
                                                           upstream=up[:30])
    assert np.array_equal(rows, right.terms)
    for got, grad in zip(pull(jnp.asarray(up[:30])), right.grad, strict=True):
        assert np.array_equal(got, grad)


def test_the_engine_says_what_is_wrong():
    loss, x = nj.ContrastiveLoss(), np.ones((3, 2), "f4")

    def fails(words, function, *args):
        with pytest.raises(jax.errors.JaxRuntimeError, match=words):
            jax.block_until_ready(function(*args))

    fails("row 0, column 0", loss, x * np.nan, [0, 1, 1])
    fails("row 0, column 0", jax.jit(jax.grad(loss)), x * np.nan, np.array([0, 1, 1]))
    fails("unlabelled=None", loss, x, [-1, 1, 1])
    fails("same", jax.jit(loss.rows), x, x, jnp.array([0, 1, 2]))
    fails("padding", loss.pairs, x, ([-1, 0], [-1, 9], [0, 1]))
    fails("weight", loss.pairs, x, ([0], [1], [1], [-1.0]))
    value, grad = jax.value_and_grad(loss)(x, np.array([0, 0, 1]))  # and the next call is right
    same_bits(nearfar.loss(x, [0, 0, 1]), value, (grad,))


def test_what_tracing_shows_is_a_python_error():
    loss, x = nj.ContrastiveLoss(), np.ones((3, 2), "f4")
    with pytest.raises(ValueError, match="must have 3"):
        loss(x, [0, 1])
    with pytest.raises(ValueError, match="2-D"):
        loss(x[0], [0, 1])
    with pytest.raises(TypeError, match="real numbers"):
        loss(x * 1j, [0, 1, 1])
    with pytest.raises(TypeError, match="whole numbers"):
        jax.jit(loss)(x, jnp.ones(3))
    with pytest.raises(ValueError, match="pm1"):
        loss.rows(x, x, [1, -1, 1])
    with pytest.raises(ValueError, match="same_encoding"):
        loss.rows(x, x, [1, 0, 1], same_encoding="bool")
    with pytest.raises(ValueError, match="one term per pair"):
        nj.ContrastiveLoss(reduction="none")(x, [0, 1, 1])
    with pytest.raises(TypeError, match="weight"):
        jax.grad(lambda w: loss.rows(x, x, [0, 1, 1], w))(jnp.ones(3))


@pytest.mark.parametrize("preset", sorted(nearfar.presets()))
def test_a_preset_is_the_engine_s_or_refused(preset):
    x, labels = data("f8", 40)
    if preset in ("weston", "tfa", "drlim", "hinge", "pml", "sbert"):
        value = float(nj.ContrastiveLoss(preset)(x, labels))
        assert value == nearfar.loss(x, labels, preset=preset).value
    else:  # of another kind, which may be refused before it is called
        with pytest.raises(ValueError, match="of the contrastive family"):
            nj.ContrastiveLoss(preset)(x, labels)


def test_a_reload_and_other_threads_are_fine():
    importlib.reload(_engine)
    before = nearfar.get_num_threads()
    x, labels = data("f8")
    try:
        values = set()
        for threads in (1, 2):
            nearfar.set_num_threads(threads)
            values.add(float(jax.jit(nj.ContrastiveLoss())(x, labels)))
        assert values == {nearfar.loss(x, labels).value}
    finally:
        nearfar.set_num_threads(before)
