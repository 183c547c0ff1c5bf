"""Every layout of an input gives the bytes of the contiguous case, or an error that names it."""

import numpy as np
import pytest

import nearfar

N, D = 23, 5


def plain(dtype):
    return np.random.default_rng(3).integers(-8, 9, (N, D)).astype(dtype) / 4


def strided(x):
    wide = np.zeros((2 * N, 3 * D), x.dtype)
    wide[::2, ::3] = x
    return wide[::2, ::3]


def row_strided(x):
    wide = np.full((2 * N, D + 3), 7, x.dtype)
    wide[::2, :D] = x
    return wide[::2, :D]


def reversed_rows(x):
    return x[::-1].copy()[::-1]


def reversed_columns(x):
    return x[:, ::-1].copy()[:, ::-1]


def misaligned(x):
    raw = np.zeros(x.nbytes + 1, np.uint8)
    view = raw[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    assert not view.flags.aligned
    return view


def read_only(x):
    y = x.copy()
    y.flags.writeable = False
    return y


class DLPackOnly:
    """An array that shows DLPack and nothing else."""

    def __init__(self, x):
        self.x = x.copy()

    def __dlpack__(self, **options):
        return self.x.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.x.__dlpack_device__()


class InterfaceOnly:
    """An array that shows __array_interface__ and nothing else."""

    def __init__(self, x):
        self.x = x.copy()
        self.__array_interface__ = self.x.__array_interface__


class Subclass(np.ndarray):
    pass


LAYOUTS = {
    "fortran": np.asfortranarray,
    "strided": strided,
    "row strided": row_strided,
    "transposed twice": lambda x: x.T.copy().T,
    "reversed rows": reversed_rows,
    "reversed columns": reversed_columns,
    "misaligned": misaligned,
    "read-only": read_only,
    "other-endian": lambda x: x.astype(x.dtype.newbyteorder()),
    "subclass": lambda x: x.view(Subclass),
    "masked, nothing masked": lambda x: np.ma.array(x),
    "memoryview": memoryview,
    "dlpack": DLPackOnly,
    "array interface": InterfaceOnly,
    "list": lambda x: x.tolist() if x.dtype == np.float64 else np.array(x.tolist(), x.dtype),
}

LABELS = np.arange(N) % 4
I, J = np.arange(N - 1), np.arange(1, N)
SAME = LABELS[I] % 2 == 0
LOSS = nearfar.ContrastiveLoss(margin=3)
MODEL = nearfar.Model(D, 3)

# Every entry point that takes rows: name -> function of (the rows in a layout, plain rows).
ENTRIES = {
    "pairwise_distances x": lambda x, p: nearfar.pairwise_distances(x),
    "pairwise_distances y": lambda x, p: nearfar.pairwise_distances(p, x),
    "pdist": lambda x, p: nearfar.pdist(x),
    "pair_distances x": lambda x, p: nearfar.pair_distances(x, I, J),
    "pair_distances y": lambda x, p: nearfar.pair_distances(p, I, J, x),
    "knn query": lambda x, p: nearfar.knn(x, p, 3),
    "knn reference": lambda x, p: nearfar.knn(p, x, 3),
    "loss": lambda x, p: nearfar.loss(x, LABELS),
    "call": lambda x, p: LOSS(x, LABELS),
    "pairs": lambda x, p: LOSS.pairs(x, (I, J, SAME)),
    "rows left": lambda x, p: LOSS.rows(x, p, LABELS % 2),
    "rows right": lambda x, p: LOSS.rows(p, x, LABELS % 2),
    "reference query": lambda x, p: LOSS.reference(x, LABELS, p, LABELS),
    "reference reference": lambda x, p: LOSS.reference(p, LABELS, x, LABELS),
    "evaluate": lambda x, p: nearfar.evaluate(x, LABELS),
    "evaluate reference": lambda x, p: nearfar.evaluate(p, LABELS, x, LABELS),
    "embed": lambda x, p: MODEL.embed(x),
    "train": lambda x, p: nearfar.Trainer(epochs=2, outputs=3).fit(x, LABELS).weights[0],
    "train_rows": lambda x, p: nearfar.Trainer(epochs=2, outputs=3)
    .fit_rows(x, p, LABELS % 2).weights[0],
}


def as_bytes(result):
    """Everything in a result, byte for byte, with types and shapes."""
    if isinstance(result, np.ndarray):
        return (result.dtype.str, result.shape, result.tobytes())
    if isinstance(result, (tuple, list)):
        return tuple(as_bytes(part) for part in result)
    return repr(result)


@pytest.mark.filterwarnings("ignore::nearfar.TrainingWarning")
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("entry", ENTRIES)
def test_same_bytes_in_every_layout(entry, dtype):
    function, x = ENTRIES[entry], plain(dtype)
    expected = as_bytes(function(x, x))
    for name, layout in LAYOUTS.items():
        given = layout(x)
        before = np.asarray(x).tobytes()
        assert as_bytes(function(given, x)) == expected, name
        assert x.tobytes() == before, name


@pytest.mark.filterwarnings("ignore::nearfar.TrainingWarning")
@pytest.mark.parametrize("entry", ENTRIES)
def test_broadcast_rows(entry):
    """Stride 0: all rows are one row in memory."""
    function = ENTRIES[entry]
    x = np.broadcast_to(plain("f8")[0], (N, D))
    assert as_bytes(function(x, plain("f8"))) == as_bytes(function(x.copy(), plain("f8")))


# Types that are computed in another one: (type, type computed in).
CONVERTED = [("f2", "f4"), ("i1", "f4"), ("u1", "f4"), ("i2", "f4"), ("u2", "f4"), ("?", "f4"),
             ("i4", "f8"), ("i8", "f8"), ("u8", "f8")]


@pytest.mark.filterwarnings("ignore::nearfar.TrainingWarning")
@pytest.mark.parametrize("given, computed", CONVERTED)
@pytest.mark.parametrize("entry", ENTRIES)
def test_other_real_types(entry, given, computed):
    function = ENTRIES[entry]
    x = (np.abs(plain("f8")) * 4).astype(given)
    if given == "f2" and entry in ("loss", "call", "pairs", "rows left", "rows right",
                                   "reference query", "reference reference"):
        return  # the gradient goes back to float16: see below
    assert as_bytes(function(x, x.astype(computed))) == \
        as_bytes(function(x.astype(computed), x.astype(computed)))


def test_float16_gradients_come_back_in_float16():
    x = plain("f2")
    result, wide = LOSS(x, LABELS), LOSS(x.astype("f4"), LABELS)
    assert result.value == wide.value
    assert result.grad.dtype == np.float16
    assert np.array_equal(result.grad, wide.grad.astype(np.float16))
    left, right = LOSS.rows(x, x[::-1].astype("f8"), LABELS % 2).grad
    assert (left.dtype, right.dtype) == (np.float16, np.float64)


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = plain("f4").astype(ml_dtypes.bfloat16)
    result, wide = LOSS(x, LABELS), LOSS(x.astype("f4"), LABELS)
    assert result.value == wide.value
    assert result.grad.dtype == ml_dtypes.bfloat16


def test_mixed_types_are_computed_in_float64():
    a, b = plain("f4"), plain("f8")
    assert nearfar.pairwise_distances(a, b).dtype == np.float64
    left, right = LOSS.rows(a, b, LABELS % 2).grad
    assert (left.dtype, right.dtype) == (np.float32, np.float64)
    assert LOSS.rows(a, b, LABELS % 2).value == LOSS.rows(a.astype("f8"), b, LABELS % 2).value


# What cannot be rows, the exception and what its message says beside the argument's name.
REFUSED = {
    "complex": (lambda x: x.astype("c16"), TypeError, "complex"),
    "longdouble": (lambda x: x.astype(np.longdouble), TypeError, "float64"),
    "object": (lambda x: x.astype(object), TypeError, "object"),
    "strings": (lambda x: x.astype("U8"), TypeError, "real numbers"),
    "dates": (lambda x: np.zeros((N, D), "M8[s]"), TypeError, "real numbers"),
    "masked": (lambda x: np.ma.array(x, mask=x > 1), ValueError, "masked"),
    "1-D": (lambda x: x[:, 0].copy(), ValueError, "2-D"),
    "3-D": (lambda x: x[:, :, None], ValueError, "2-D"),
    "0-D": (lambda x: 3.0, ValueError, "2-D"),
    "ragged": (lambda x: [[1.0], [1.0, 2.0]], ValueError, "rectangular"),
    "text": (lambda x: "rows", TypeError, "real numbers"),
    "None": (lambda x: None, TypeError, None),
    "bytes": (lambda x: b"abcd", TypeError, None),
}
NAMES = {"pairwise_distances y": "y", "pair_distances y": "y", "knn query": "query",
         "knn reference": "reference", "rows left": "left", "rows right": "right",
         "reference query": "query", "reference reference": "reference",
         "evaluate reference": "reference", "train_rows": "left"}
OPTIONAL = {"pairwise_distances y", "pair_distances y", "knn reference", "evaluate reference"}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("entry", ENTRIES)
def test_what_is_not_rows_is_refused_by_name(entry, case):
    make, error, text = REFUSED[case]
    if case == "None" and entry in OPTIONAL:
        return
    if entry in ("train", "train_rows") and case in ("1-D", "3-D", "0-D", "ragged", "text", "None",
                                                     "bytes"):
        error = (error, ValueError)
    with pytest.raises(error, match=text) as caught:
        ENTRIES[entry](make(plain("f8")), plain("f8"))
    assert str(caught.value).startswith(NAMES.get(entry, "x") + " "), caught.value


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("entry", ENTRIES)
def test_nan_and_inf_are_refused_with_their_place(entry, value):
    x = plain("f8")
    x[3, 2] = value
    with pytest.raises(ValueError, match=r"3, *2|row 3") as caught:
        ENTRIES[entry](x, plain("f8"))
    assert NAMES.get(entry, "x") in str(caught.value)


# ---- sizes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(4))
@pytest.mark.parametrize("d", [0, 1, 2, 3, 15, 16, 17])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_small_shapes(n, d, dtype):
    x = np.random.default_rng(n).normal(size=(n, d)).astype(dtype)
    labels = np.zeros(n, int)
    assert nearfar.pairwise_distances(x).shape == (n, n)
    assert nearfar.pdist(x).shape == (n * (n - 1) // 2,)
    assert nearfar.pair_distances(x, [], []).shape == (0,)
    result = nearfar.loss(x, labels)
    assert result.grad.shape == (n, d) and np.isfinite(result.value)
    assert result.counts.positive_pairs == n * (n - 1) // 2
    none = LOSS.rows(x, x, labels)
    assert none.grad[0].shape == (n, d)


# ---- labels, indices, flags ------------------------------------------------------------------

LABEL_TYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i4", ">i8", "f2", "f4", "f8", "O"]


@pytest.mark.parametrize("dtype", LABEL_TYPES)
def test_labels_of_every_type(dtype):
    x, expected = plain("f8"), as_bytes(LOSS(plain("f8"), LABELS))
    for given in (LABELS.astype(dtype), LABELS.astype(dtype)[:, None], LABELS.astype(dtype)[::-1]
                  .copy()[::-1]):
        assert as_bytes(LOSS(x, given)) == expected
    assert as_bytes(LOSS(x, LABELS.tolist())) == expected


def test_any_renaming_of_labels_gives_the_same_bytes():
    x, expected = plain("f8"), as_bytes(LOSS(plain("f8"), LABELS))
    for names in (["a", "b", "Z", "ä"], [b"x", b"yy", b"", b"z"], [2**53, 2**53 + 1, -128, 255],
                  [2**63, 2**64 - 1, 0, 1]):
        given = np.array([names[k] for k in LABELS],
                         dtype=np.uint64 if names[0] == 2**63 else None)
        assert as_bytes(LOSS(x, given)) == expected
        assert as_bytes(LOSS(x, given.astype(object))) == expected


def test_labels_that_are_none():
    x = plain("f8")
    cases = [(np.array([0, 1.5]), ValueError, r"labels\[1\] is 1.5"),
             (np.array([0, np.nan]), ValueError, r"labels\[1\] is nan"),
             (np.array([0, 1e300]), ValueError, r"labels\[1\]"),
             (np.array([0, 1j]), TypeError, "labels"),
             (["a", 1, None], TypeError, r"labels\[1\]|labels\[2\]|labels"),
             (np.array(["a", None], object), TypeError, r"labels\[0\]|labels\[1\]"),
             (np.zeros((2, 2), int), ValueError, r"labels has shape \(2, 2\)"),
             (3, ValueError, "labels"),
             (np.zeros(N - 1, int), ValueError, "labels"),
             (np.ma.array(LABELS, mask=LABELS == 1), ValueError, "labels has masked")]
    for given, error, text in cases:
        with pytest.raises(error, match=text):
            nearfar.loss(x[:len(np.atleast_1d(given))] if np.ndim(given) == 1 and len(given) < 4
                         else x, given)


def test_binary_labels_do_not_vanish_silently():
    x, labels = plain("f8"), np.where(LABELS % 2, 1, -1)
    with pytest.raises(ValueError, match="unlabelled=None"):
        nearfar.loss(x, labels)
    both = nearfar.loss(x, labels, unlabelled=None)
    assert both.counts.positive_pairs + both.counts.negative_pairs == N * (N - 1) // 2
    assert as_bytes(both) == as_bytes(nearfar.loss(x, labels + 1))


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i4", "i8", "u8", "f2", "f4", "f8", ">i2"])
def test_flags_of_every_type(dtype):
    x, same = plain("f8"), LABELS % 2
    expected = as_bytes(LOSS.rows(x, x[::-1], same))
    assert as_bytes(LOSS.rows(x, x[::-1], same.astype(dtype))) == expected
    assert as_bytes(LOSS.rows(x, x[::-1], same.astype(dtype)[:, None])) == expected
    if dtype not in ("?", "u1", "u8"):
        signs = (2 * same - 1).astype(dtype)
        assert as_bytes(LOSS.rows(x, x[::-1], signs, same_encoding="pm1")) == expected
        with pytest.raises(ValueError, match="same_encoding='pm1'"):
            LOSS.rows(x, x[::-1], signs)


def test_flags_that_are_none():
    x = plain("f8")
    for bad, text in ((2, r"same\[4\] is 2"), (0.5, r"same\[4\] is 0.5"), (np.nan, r"same\[4\]")):
        same = np.zeros(N)
        same[4] = bad
        with pytest.raises(ValueError, match=text):
            LOSS.rows(x, x, same)
    raw = np.zeros(N, np.uint8)
    raw[4] = 2
    with pytest.raises(ValueError, match="same"):
        LOSS.rows(x, x, raw)
    with pytest.raises(ValueError, match="same"):
        LOSS.rows(x, x, raw.view(bool).copy().view(np.uint8)[:-1])


@pytest.mark.parametrize("dtype", ["i1", "u1", "i4", "u8", ">i8", "i8"])
def test_indices_of_every_type(dtype):
    x, expected = plain("f8"), nearfar.pair_distances(plain("f8"), I, J)
    assert np.array_equal(nearfar.pair_distances(x, I.astype(dtype), J.astype(dtype)), expected)
    assert np.array_equal(nearfar.pair_distances(x, I.tolist(), J.tolist()), expected)


def test_indices_that_are_none():
    x = plain("f8")
    for given, error, text in (([0, 1.0], TypeError, "^i has type"),
                               ([0, N], ValueError, r"i\[1\]"),
                               ([0, -1], ValueError, r"i\[1\]"),
                               ([True, False], TypeError, "^i has type"),
                               ([[0, 1]], ValueError, "^i has shape"),
                               (np.array([0, 2**63], "u8"), ValueError, r"i\[1\]"),
                               (["a", "b"], TypeError, "^i has type")):
        with pytest.raises(error, match=text):
            nearfar.pair_distances(x, given, [1, 2])


def test_pair_lists_in_every_form():
    x, weight = plain("f8"), np.linspace(0, 2, N - 1)
    expected = as_bytes(LOSS.pairs(x, (I, J, SAME)))
    table = np.stack([I, J, SAME], axis=1)
    for given in ([I, J, SAME], table, table.astype("i2"), np.asfortranarray(table),
                  {"i": I, "j": J, "same": SAME}, (I, J, SAME, np.ones(N - 1))):
        assert as_bytes(LOSS.pairs(x, given)) == expected
    weighted = LOSS.pairs(x, (I, J, SAME, weight))
    assert as_bytes(LOSS.pairs(x, {"i": I, "j": J, "same": SAME, "weight": weight})) == \
        as_bytes(weighted)
    for given, error in (((I, J), ValueError), (table[:, :2], TypeError), ({"i": I}, ValueError),
                         ((I, J[:-1], SAME), ValueError), ((I, I, SAME), ValueError),
                         ((I, J, SAME, -weight), ValueError)):
        with pytest.raises(error, match="pairs|weight|i"):
            LOSS.pairs(x, given)
