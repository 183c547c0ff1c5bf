"""Every format that NumPy and scikit-learn write must read as the same numbers: the distances of a
file and of its .npy twin are compared byte by byte, labels through the pairs they make."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given, strategies as st
from sklearn.datasets import dump_svmlight_file, load_svmlight_file


class Reader:
    """What nearfar sees in a file."""

    def __init__(self, nearfar):
        self.nearfar = nearfar

    def distances(self, source):
        self.nearfar("distances", source, "--condensed", "-o", "seen.npy")
        return self.nearfar.load("seen")

    def same_as(self, source, array):
        np.save(self.nearfar.folder / "twin.npy", np.ascontiguousarray(array))
        want, got = self.distances("twin.npy"), self.distances(source)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)

    def pairs(self, labels):
        arguments = ("--labels", labels, "--all", "both", "-o", "seen.npy")
        self.nearfar("pairs", *arguments)
        return self.nearfar.load("seen")

    def same_labels_as(self, source, labels):
        np.save(self.nearfar.folder / "twin.npy", labels)
        np.testing.assert_array_equal(self.pairs(source), self.pairs("twin.npy"))


@pytest.fixture
def reader(nearfar):
    return Reader(nearfar)


INTEGERS = [np.dtype(c + b) for c in "<>" for b in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")]
FLOATS = [np.dtype(c + b) for c in "<>" for b in ("f2", "f4", "f8")]


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS + [np.dtype(bool)], ids=lambda t: t.str)
@pytest.mark.parametrize("order", "CF")
def test_npy(reader, rng, dtype, order):
    values = rng.integers(0, 2 if dtype == bool else 100, size=(9, 4))
    values = values / (4 if dtype.kind == "f" else 1)
    array = np.asarray(values.astype(dtype), order=order)
    np.save(reader.nearfar.folder / "a.npy", array)
    wide = dtype.kind in "iu" and dtype.itemsize > 2 or dtype == "f8" or dtype == ">f8"
    reader.same_as("a.npy", array.astype(np.float64 if wide else np.float32))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_versions(reader, rng, version):
    array = rng.normal(size=(6, 3))
    with open(reader.nearfar.folder / "a.npy", "wb") as file:
        np.lib.format.write_array(file, array, version=version)
    reader.same_as("a.npy", array)


@pytest.mark.parametrize("save", (np.savez, np.savez_compressed))
def test_npz(reader, rng, save):
    array = rng.normal(size=(8, 3)).astype(np.float32)
    save(reader.nearfar.folder / "a.npz", other=np.zeros(2), features=array,
         y=rng.integers(0, 3, size=8))
    reader.same_as("a.npz:features", array)
    reader.same_labels_as("a.npz:y", np.load(reader.nearfar.folder / "a.npz")["y"])


def test_npz_without_the_member_lists_them(reader):
    np.savez(reader.nearfar.folder / "a.npz", one=np.zeros((2, 2)), two=np.zeros((2, 2)))
    done = reader.nearfar.attempt("distances", "a.npz:three", "--condensed", "-o", "d.npy")
    assert done.returncode in (3, 6) and "one" in done.stderr and "two" in done.stderr


@pytest.mark.parametrize("separator", (",", "\t", ";"))
@pytest.mark.parametrize("header", (True, False))
def test_csv(reader, rng, separator, header):
    array = rng.normal(size=(12, 3)) * 10.0 ** rng.integers(-20, 20, size=(12, 3))
    np.savetxt(reader.nearfar.folder / "a.csv", array, delimiter=separator, fmt="%.17g",
               header=separator.join(("alpha", "beta", "gamma")) if header else "", comments="")
    reader.same_as("a.csv", array)


def test_csv_with_labels(reader, rng):
    array, names = rng.normal(size=(10, 2)), rng.choice(["cat", "dog", "emu"], size=10)
    text = "length,label,width\n" + "".join(
        f"{a!r},{name},{b!r}\n" for (a, b), name in zip(array.tolist(), names))
    (reader.nearfar.folder / "a.csv").write_text(text)
    reader.same_as("a.csv", array)
    codes = {name: k for k, name in enumerate(dict.fromkeys(names))}
    reader.same_labels_as("a.csv", np.array([codes[name] for name in names]))


def test_csv_with_empty_label_cells(reader):
    (reader.nearfar.folder / "a.csv").write_text("x,y\n1,3\n2,\n3,3\n4,5\n")
    reader.same_labels_as("a.csv", np.array([3, -1, 3, 5]))


@given(numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=20))
def test_any_double_survives_a_csv(tmp_path_factory, numbers):
    """repr() and %.17g of any double are read back bit for bit: written out again as CSV."""
    from conftest import Program
    program = Program(tmp_path_factory.mktemp("csv"))
    rows = [(0.0, value / 4) for value in numbers]  # distances stay in range
    (program.folder / "a.csv").write_text("".join(f"{a!r},{b!r}\n" for a, b in rows))
    np.save(program.folder / "b.npy", np.array(rows))
    seen = []
    for source in ("a.csv", "b.npy"):
        program("distances", source, source, "--metric", "cityblock", "-o", "d.npy")
        seen.append(program.load("d"))
    np.testing.assert_array_equal(*seen)


@pytest.mark.parametrize("zero_based", (False,))
def test_svmlight(reader, rng, zero_based):
    array = np.where(rng.uniform(size=(15, 6)) < 0.5, rng.normal(size=(15, 6)), 0.0)
    array[3, 5] = 1.5  # the last column exists
    labels = rng.integers(0, 4, size=15)
    path = reader.nearfar.folder / "a.svm"
    dump_svmlight_file(array, labels, str(path), zero_based=zero_based)
    loaded, loaded_labels = load_svmlight_file(str(path), zero_based=zero_based)
    reader.same_as("a.svm", loaded.toarray())
    reader.same_labels_as("a.svm", loaded_labels.astype(np.int64))


IDX = [(0x08, ">u1"), (0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")]


@pytest.mark.parametrize("code, dtype", IDX)
@pytest.mark.parametrize("compressed", (False, True))
def test_idx(reader, rng, code, dtype, compressed):
    array = rng.integers(0, 100, size=(7, 3, 2)).astype(dtype)
    content = struct.pack(">HBB3I", 0, code, 3, *array.shape) + array.tobytes()
    name = "a-idx3.gz" if compressed else "a-idx3"
    (reader.nearfar.folder / name).write_bytes(gzip.compress(content) if compressed else content)
    narrow = np.dtype(dtype).itemsize <= 2 or dtype == ">f4"
    reader.same_as(name, array.reshape(7, 6).astype(np.float32 if narrow else np.float64))


@pytest.mark.parametrize("name", ("a.csv", "a.svm", "a.npy"))
def test_gzip_is_transparent(reader, rng, name):
    array = np.round(rng.normal(size=(9, 4)), 6) + 10.0
    path = reader.nearfar.folder / name
    if name == "a.npy":
        np.save(path, array)
    elif name == "a.svm":
        dump_svmlight_file(array, np.arange(9), str(path), zero_based=False)
    else:
        np.savetxt(path, array, delimiter=",", fmt="%.17g")
    (reader.nearfar.folder / f"{name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(reader.distances(f"{name}.gz"), reader.distances(name))


def test_labels_beyond_doubles(reader):
    """2^53 and 2^53 + 1 are one double and two classes."""
    labels = np.array([2**53, 2**53 + 1, 2**53, 2**53 + 1], dtype=np.int64)
    np.save(reader.nearfar.folder / "l.npy", labels)
    assert reader.pairs("l.npy")[:, 2].tolist() == [0, 1, 0, 0, 1, 0]


@pytest.mark.parametrize("dtype", (np.int8, np.uint8, np.int16, np.uint64, np.float32, np.float64))
def test_label_types_are_equal(reader, rng, dtype):
    labels = rng.integers(0, 4, size=20)
    np.save(reader.nearfar.folder / "l.npy", labels.astype(dtype))
    reader.same_labels_as("l.npy", labels)


@pytest.mark.parametrize("bad", ([0.0, 1.5, 1.0], [0.0, np.nan, 1.0]))
def test_labels_that_are_no_classes_are_refused(reader, bad):
    np.save(reader.nearfar.folder / "l.npy", np.array(bad))
    done = reader.nearfar.attempt("pairs", "--labels", "l.npy", "--all", "both", "-o", "p.npy")
    assert done.returncode == 3
    assert not (reader.nearfar.folder / "p.npy").exists()
