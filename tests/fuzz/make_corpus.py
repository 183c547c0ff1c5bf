"""Makes the seed corpus: for each parser what it must read and what it must refuse.

Files found by fuzzing are added by hand under names of their own and are never overwritten.
Needs NumPy. Everything is deterministic.
"""
import gzip
import io
import json
import pathlib
import struct
import zipfile

import numpy as np

here = pathlib.Path(__file__).parent / "corpus"


def put(parser, name, data):
    if isinstance(data, str):
        data = data.encode()
    folder = here / parser
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


# ---- npy -----------------------------------------------------------------------------------------


def npy(header, data=b"", version=1, length=None):
    if isinstance(header, str):
        header = header.encode()
    length = len(header) if length is None else length
    form = "<H" if version == 1 else "<I"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack(form, length) + header + data


def saved(array, **kwargs):
    out = io.BytesIO()
    np.lib.format.write_array(out, array, **kwargs)
    return out.getvalue()


def dictionary(descr="'<f4'", order="False", shape="(2, 3)"):
    return "{'descr': %s, 'fortran_order': %s, 'shape': %s, }" % (descr, order, shape)


F6 = np.arange(6, dtype="<f4").tobytes()

for code in "b1 i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8".split():
    for order in "<>":
        dtype = order + code
        put("npy", f"ok_{'le' if order == '<' else 'be'}_{code}",
            saved(np.arange(6).reshape(2, 3).astype(dtype)))
put("npy", "ok_fortran", saved(np.asfortranarray(np.arange(24.0).reshape(2, 3, 4).swapaxes(0, 2))))
put("npy", "ok_v2", saved(np.arange(6.0), version=(2, 0)))
put("npy", "ok_v3", saved(np.arange(6.0), version=(3, 0)))
put("npy", "ok_scalar", saved(np.array(3.5)))
put("npy", "ok_empty", saved(np.zeros((0, 4))))
put("npy", "ok_labels_u64", saved(np.array([2**63, 2**53, 2**53 + 1], "u8")))
put("npy", "ok_same", saved(np.array([[1], [-1], [1]], "i1")))
good = npy(dictionary(), F6)
for cut in (0, 5, 6, 7, 8, 9, 10, 11, 20, len(good) - 25, len(good) - 24, len(good) - 1):
    put("npy", f"cut_{cut:03d}", good[:cut])
put("npy", "trailing", good + b"x")
for length in (0, 1, 65535):
    put("npy", f"header_length_{length}", npy(dictionary(), F6, length=length))
put("npy", "header_length_v2_huge", npy(dictionary(), F6, version=2, length=0xFFFFFFF0))
for version in (0, 4, 255):
    put("npy", f"version_{version}", b"\x93NUMPY" + bytes([version]) + good[7:])
for name, text in {
    "key_missing": "{'descr': '<f4', 'shape': (6,)}",
    "key_twice": "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,)}",
    "key_extra": "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'more': 1}",
    "quote_open": "{'descr': '<f4",
    "type_ixy": dictionary("'<ixy'"),
    "type_object": dictionary("'|O'"),
    "type_bytes": dictionary("'|S999999999'"),
    "type_structured": dictionary("[('a', '<f4'), ('b', '<f4')]"),
    "shape_negative": dictionary(shape="(-1,)"),
    "shape_2_63": dictionary(shape="(9223372036854775808, 2)"),
    "shape_2_32": dictionary(shape="(4294967296, 4294967296)"),
    "shape_zero_huge": dictionary(shape="(0, 4294967296, 4294967296)"),
    "shape_33": dictionary(shape="(" + "1," * 33 + ")"),
    "shape_short": dictionary(shape="(3,)"),
    "shape_int64": dictionary(shape="(np.int64(6),)"),
    "shape_digits": dictionary(shape="(" + "9" * 1000 + ",)"),
    "order_1": dictionary(order="1"),
    "order_true": dictionary(order="True"),
    "nested": "(" * 1000,
    "shape_nested": dictionary(shape="((((6"),
}.items():
    put("npy", name, npy(text, F6))

# ---- npz -----------------------------------------------------------------------------------------


def npz(compressed=False, method=None, **arrays):
    out = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(out, "w", kind if method is None else method) as z:
        for name, array in arrays.items():
            data = array if isinstance(array, bytes) else saved(array)
            z.writestr(zipfile.ZipInfo(name + ".npy"), data,
                       compress_type=kind if method is None else method)
    return out.getvalue()


stored = npz(x=np.arange(6.0), y=np.arange(6))
deflated = npz(True, x=np.zeros((20, 20)))
put("npz", "ok_stored", stored)
put("npz", "ok_deflated", deflated)
put("npz", "ok_empty_archive", npz())
put("npz", "not_npy_inside", npz(x=b"hello"))
put("npz", "bzip2", npz(method=zipfile.ZIP_BZIP2, x=np.arange(6.0)))
put("npz", "cut_half", stored[: len(stored) // 2])
put("npz", "cut_end", stored[:-1])
put("npz", "cut_start", stored[4:])
flip = bytearray(stored)
flip[100] ^= 1
put("npz", "checksum", bytes(flip))
flip = bytearray(deflated)
flip[60] ^= 255
put("npz", "deflate_damaged", bytes(flip))
central = stored.index(b"PK\1\2")
for field, name in ((20, "packed"), (24, "size"), (42, "offset")):
    lie = bytearray(stored)
    lie[central + field : central + field + 4] = b"\xf0\xff\xff\x7f"
    put("npz", f"lies_{name}", bytes(lie))
lie = bytearray(deflated)
at = deflated.index(b"PK\1\2") + 24
lie[at : at + 4] = b"\0\0\1\0"
put("npz", "lies_inflated", bytes(lie))
flags = bytearray(stored)
flags[6] |= 1
flags[central + 8] |= 1
put("npz", "encrypted", bytes(flags))
put("npz", "empty", b"")
put("npz", "text", "PK but no zip")

# ---- csv: the first byte chooses options, see fuzz_csv.c -------------------------------------------

AUTO, LABELS, NAMED, NUMBER = b"\x0c", b"\x4c", b"\x3c", b"\x2c"
for name, data in {
    "ok_plain": "1,2\n3,4\n",
    "ok_header": "a,b,label\n1,2,cat\n3,4,dog\n",
    "ok_tsv": "a\tb\n1\t2\n",
    "ok_semicolon": "a;b\n1;2\n",
    "ok_blanks": "  1  2\n 3\t4 \n",
    "ok_bom": "\ufeffa,b\n1,2\n",
    "ok_crlf": "a,b\r\n1,2\r\n",
    "ok_no_newline": "1,2\n3,4",
    "ok_quotes": '"a ""x""","b\nc"\n"1","2"\n',
    "ok_unlabelled": "a,class\n1,x\n2,\n3,?\n",
    "ok_tiny": "1e-999,1e-308\n",
    "ok_blank_end": "1,2\n\n\n",
    "lone_cr": "1,2\r3,4\r",
    "nul": "1,2\n3,\0004\n",
    "quote_open": '1,"2\n3,4\n',
    "quote_text": '"1"x,2\n',
    "empty_line": "1,2\n\n3,4\n",
    "ragged_short": "1,2\n3\n",
    "ragged_long": "1,2\n3,4,5\n",
    "columns": ",".join(["1"] * 5000) + "\n",
    "empty_cells": "," * 1000 + "\n",
    "huge": "1e999,2\n",
    "hex": "0x1p3,2\n",
    "nan_payload": "nan(0x1),2\n",
    "inf": "inf,2\n",
    "decimal_comma": "a;b\n1,5;2\n",
    "thousands": 'a,b\n"1,234,567",2\n',
    "utf16": b"\xff\xfea\0,\0b\0",
    "empty": "",
    "only_newlines": "\n\n\n",
    "label_twice": "y,label,a\n1,2,3\n",
    "label_half": "a,y\n1,1.5\n",
    "label_nan": "a,y\n1,nan\n2,3\n",
    "label_big": "a,y\n1,9223372036854775808\n2,3\n",
    "label_minus_one": "a,y\n1,-1\n2,1\n",
    "label_mixed": "a,y\n1,-1\n2,x\n3,1.5\n",
    "index_column": ",a\n0,1\n",
}.items():
    data = data if isinstance(data, bytes) else data.encode()
    put("csv", name, AUTO + data)
put("csv", "labels_list", LABELS + b"cat\ndog\n\ncat\n?\n")
put("csv", "labels_numbers", LABELS + b"species\n1\n2\n-1\n")
put("csv", "labels_exact", LABELS + b"9007199254740992\n9007199254740993\n9223372036854775808\n")
put("csv", "labels_many", LABELS + "\n".join(f"c{k}" for k in range(300)).encode())
put("csv", "named", NAMED + b"a,name\n1,x\n2,y\n")
put("csv", "number", NUMBER + b"x,1\ny,2\n")

# ---- svmlight -------------------------------------------------------------------------------------

for name, data in {
    "ok": "1 1:0.5 3:2 # comment\n-1 2:1e-3\r\n\n# only a comment\n+1\n",
    "ok_strings": "cat 1:1\ndog 2:2\n? 1:3",
    "index_zero": "1 0:1\n",
    "index_negative": "1 -1:1\n",
    "index_descending": "1 2:1 1:1\n",
    "index_twice": "1 2:1 2:1\n",
    "index_2_31": "1 2147483648:1\n",
    "index_2_63": "1 9223372036854775808:1\n",
    "index_2_64": "1 18446744073709551616:1\n",
    "value_missing": "1 1:\n",
    "index_missing": "1 :1\n",
    "value_nan": "1 1:nan\n",
    "value_comma": "1 1:0,5\n",
    "value_word": "1 1:x\n",
    "qid": "1 qid:3 1:1\n",
    "comment_only": "# nothing\n",
    "label_only": "1\n2\n",
    "label_list": "1,2 1:1\n",
    "label_half": "1.5 1:1\n",
    "no_label": "1:1 2:2\n",
    "no_colon": "1 7\n",
    "nul": b"1 1:\0001\n",
    "lone_cr": "1 1:1\r2 1:1\n",
    "empty": "",
}.items():
    put("svmlight", name, data)

# ---- idx -----------------------------------------------------------------------------------------


def idx(code, shape, data, ndim=None):
    ndim = len(shape) if ndim is None else ndim
    return bytes([0, 0, code, ndim]) + b"".join(struct.pack(">I", s) for s in shape) + data


for code, dtype in ((8, "u1"), (9, "i1"), (0xB, ">i2"), (0xC, ">i4"), (0xD, ">f4"), (0xE, ">f8")):
    put("idx", f"ok_{code:02x}", idx(code, (2, 3), np.arange(6).astype(dtype).tobytes()))
put("idx", "ok_empty", idx(8, (0, 3), b""))
put("idx", "type_07", idx(7, (6,), bytes(6)))
put("idx", "type_0a", idx(0xA, (6,), bytes(6)))
put("idx", "type_ff", idx(0xFF, (6,), bytes(6)))
put("idx", "ndim_0", idx(8, (), bytes(1)))
put("idx", "ndim_255", idx(8, (1,) * 255, bytes(1)))
put("idx", "ndim_33", idx(8, (1,) * 33, bytes(1)))
put("idx", "overflow", idx(0xE, (2**32 - 1,) * 3, bytes(8)))
put("idx", "short", idx(8, (7,), bytes(6)))
put("idx", "long", idx(8, (5,), bytes(6)))
put("idx", "header_cut", bytes([0, 0, 8, 3, 0, 0]))
put("idx", "magic_cut", bytes([0, 0, 8]))
put("idx", "gzip", gzip.compress(idx(8, (6,), bytes(6)), mtime=0))
put("idx", "empty", b"")

# ---- safetensors ---------------------------------------------------------------------------------


def st(header, data=b"", length=None):
    if not isinstance(header, (str, bytes)):
        header = json.dumps(header, separators=(",", ":"))
    header = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def tensor(begin, end, dtype="U8", shape=None):
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape,
            "data_offsets": [begin, end]}


put("safetensors", "ok", st({"__metadata__": {"b": "2", "a": "1"}, "w": tensor(0, 16, "F32", [2, 2]),
                             "e": tensor(16, 16, "F64", [0, 3]), "v": tensor(16, 20)}, bytes(20)))
put("safetensors", "ok_order", st({"v": tensor(4, 8), "u": tensor(0, 4)}, bytes(8)))
put("safetensors", "ok_none", st("{}"))
put("safetensors", "ok_padded", st('{"a":%s}    ' % json.dumps(tensor(0, 1)), b"x"))
put("safetensors", "ok_scalar", st({"s": tensor(0, 8, "F64", [])}, bytes(8)))
one = st({"a": tensor(0, 4)}, bytes(4))
put("safetensors", "length_beyond", st({"a": tensor(0, 4)}, bytes(4), length=1000))
put("safetensors", "length_100mb", st("{}", length=100000001))
put("safetensors", "length_max", st("{}", length=2**64 - 1))
put("safetensors", "length_0", st("{}", length=0))
put("safetensors", "length_1", st("{}", length=1))
put("safetensors", "cut_7", one[:7])
put("safetensors", "cut_data", one[:-1])
put("safetensors", "trailing", one + b"<html>")
put("safetensors", "no_brace", st("[]"))
put("safetensors", "space_first", st(" {}"))
t = json.dumps(tensor(0, 4))
put("safetensors", "key_twice", st('{"a":%s,"a":%s}' % (t, t), bytes(4)))
put("safetensors", "inner_twice",
    st('{"a":{"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]}}', bytes(4)))
put("safetensors", "hole", st({"a": tensor(0, 4), "b": tensor(5, 8)}, bytes(8)))
put("safetensors", "hole_first", st({"a": tensor(1, 4)}, bytes(4)))
put("safetensors", "overlap", st({"a": tensor(0, 4), "b": tensor(3, 8)}, bytes(8)))
put("safetensors", "same_place", st({"a": tensor(0, 4), "b": tensor(0, 4)}, bytes(4)))
put("safetensors", "swapped", st({"a": tensor(4, 0, shape=[4])}, bytes(4)))
put("safetensors", "beyond", st({"a": tensor(0, 5)}, bytes(4)))
put("safetensors", "shape_overflow",
    st({"a": tensor(0, 4, shape=[2**62, 2**62])}, bytes(4)))
put("safetensors", "shape_large", st({"a": tensor(0, 4, "F64", [2**61])}, bytes(4)))
put("safetensors", "shape_mismatch", st({"a": tensor(0, 4, "F32", [4])}, bytes(4)))
put("safetensors", "shape_33", st({"a": tensor(0, 1, shape=[1] * 33)}, b"x"))
put("safetensors", "shape_negative", st({"a": tensor(0, 4, shape=[-4])}, bytes(4)))
put("safetensors", "shape_real", st('{"a":{"dtype":"U8","shape":[4.0],"data_offsets":[0,4]}}', bytes(4)))
put("safetensors", "offset_big",
    st('{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,18446744073709551620]}}', bytes(4)))
put("safetensors", "dtype_unknown", st({"a": tensor(0, 4, "F8_E4M3")}, bytes(4)))
put("safetensors", "key_extra", st({"a": dict(tensor(0, 4), more=1)}, bytes(4)))
put("safetensors", "key_missing", st({"a": {"dtype": "U8", "shape": [4]}}, bytes(4)))
put("safetensors", "tensor_number", st({"a": 1}))
put("safetensors", "metadata_number", st({"__metadata__": {"a": 1}}))
put("safetensors", "metadata_list", st({"__metadata__": ["a"]}))
put("safetensors", "deep_lists", st("{" + '"a":' + "[" * 1000 + "]" * 1000 + "}"))
put("safetensors", "deep_objects", st('{"a":' * 1000 + "1" + "}" * 1000))
put("safetensors", "bad_utf8", st(b'{"\xff\xfe":' + t.encode() + b"}", bytes(4)))
put("safetensors", "lone_surrogate", st('{"\\ud800":%s}' % t, bytes(4)))
put("safetensors", "nul_escape", st('{"a\\u0000b":%s}' % t, bytes(4)))
put("safetensors", "trailing_json", st('{"a":%s}{}' % t, bytes(4)))
put("safetensors", "empty", b"")

# ---- model files ---------------------------------------------------------------------------------


def model(widths=(2, 3), tensors=None, **changes):
    """A model file of those widths; `changes` overwrite metadata (None drops a key)."""
    options = {"activation": "relu", "bias": "1", "format": "nearfar-model",
               "hidden": ",".join(map(str, widths[1:-1])), "inputs": str(widths[0]),
               "normalize": "0", "outputs": str(widths[-1]), "seed": "7", "standardize": "1",
               "version": "1"}
    options.update(changes)
    options = {key: value for key, value in options.items() if value is not None}
    arrays = {}
    if options.get("standardize") != "0":
        arrays["input.mean"] = np.zeros(widths[0])
        arrays["input.std"] = np.ones(widths[0])
    for layer, (n, m) in enumerate(zip(widths, widths[1:])):
        arrays[f"layers.{layer}.weight"] = np.full((m, n), 0.5, "f4")
        if options.get("bias") != "0":
            arrays[f"layers.{layer}.bias"] = np.zeros(m, "f4")
    arrays.update(tensors or {})
    header, at, blob = {"__metadata__": options}, 0, b""
    for name, array in arrays.items():
        if array is None:
            continue
        blob += array.tobytes()
        header[name] = {"dtype": {"f4": "F32", "f8": "F64", "i4": "I32"}[array.dtype.str[1:]],
                        "shape": list(array.shape), "data_offsets": [at, len(blob)]}
        at = len(blob)
    return st(header, blob)


put("model", "ok_linear", model())
put("model", "ok_seed_w", model((4, 2), bias="0", standardize="0"))
put("model", "ok_hidden", model((3, 5, 4, 2), activation="tanh", normalize="1", train="x"))
put("model", "ok_foreign_metadata", model(class_names='["a"]', note=""))
put("model", "cut", model()[:-1])
put("model", "not_a_model", st({"w": tensor(0, 4)}, bytes(4)))
for name, changes in {
    "format": {"format": "pt"}, "no_format": {"format": None}, "version_2": {"version": "2"},
    "no_seed": {"seed": None}, "seed_2_64": {"seed": "18446744073709551616"},
    "inputs_0": {"inputs": "0"}, "inputs_sign": {"inputs": "-2"}, "inputs_word": {"inputs": "2x"},
    "inputs_huge": {"inputs": "9223372036854775807"}, "inputs_large": {"inputs": "1000000000000"},
    "outputs_4": {"outputs": "4"}, "bias_2": {"bias": "2"}, "normalize_yes": {"normalize": "yes"},
    "activation": {"activation": "gelu"}, "hidden_comma": {"hidden": ","},
    "hidden_0": {"hidden": "0"}, "hidden_17": {"hidden": ",".join(["1"] * 17)},
    "hidden_huge": {"hidden": "4611686018427387904,4"},
}.items():
    put("model", "option_" + name, model(**changes))
for name, tensors in {
    "missing": {"layers.0.bias": None}, "extra": {"layers.1.bias": np.zeros(3, "f4")},
    "nan": {"layers.0.bias": np.array([0, np.nan, 0], "f4")},
    "std_0": {"input.std": np.array([1.0, 0.0])}, "shape": {"layers.0.bias": np.zeros((3, 1), "f4")},
    "dtype": {"layers.0.bias": np.zeros(3, "i4")}, "mean_f4": {"input.mean": np.zeros(2, "f4")},
}.items():
    put("model", "tensor_" + name, model(tensors=tensors))

# ---- bank ----------------------------------------------------------------------------------------


def bank(rows=2, capacity="3", tensors=None, dtype="f8", d=1, **changes):
    options = {"format": "nearfar-bank", "version": "1", "capacity": capacity,
               "has_unlabelled": "0", "next": str(rows), "pushed": str(rows)}
    options = {k: v for k, v in {**options, **changes}.items() if v is not None}
    arrays = {"embeddings": np.arange(rows * d, dtype=dtype).reshape(rows, d),
              "ids": np.arange(rows, dtype="i8"), "labels": np.arange(rows, dtype="i8"),
              **(tensors or {})}
    header, at, blob = {"__metadata__": options}, 0, b""
    for name, array in arrays.items():
        if array is None:
            continue
        blob += array.tobytes()
        header[name] = {"dtype": {"f4": "F32", "f8": "F64", "i8": "I64"}[array.dtype.str[1:]],
                        "shape": list(array.shape), "data_offsets": [at, len(blob)]}
        at = len(blob)
    return st(header, blob)


put("bank", "ok", bank())
put("bank", "ok_empty", bank(0))
put("bank", "ok_full", bank(3, next="1", pushed="9", dtype="f4", d=3, has_unlabelled="1"))
put("bank", "ok_room_for_many", bank(capacity="1000000000000"))
put("bank", "ok_wide", bank(0, d=1 << 40))
put("bank", "cut", bank()[:-1])
put("bank", "not_a_bank", st({"w": tensor(0, 4)}, bytes(4)))
for name, changes in {
    "format": {"format": "pt"}, "no_version": {"version": None}, "capacity_0": {"capacity": "0"},
    "capacity_1": {"capacity": "1"}, "capacity_huge": {"capacity": "9223372036854775807"},
    "capacity_2_64": {"capacity": "18446744073709551616"}, "next_0": {"next": "0"},
    "next_sign": {"next": "-1"}, "pushed_1": {"pushed": "1"}, "pushed_word": {"pushed": "2x"},
    "pushed_huge": {"pushed": "9223372036854775807"}, "unlabelled_2": {"has_unlabelled": "2"},
}.items():
    put("bank", "option_" + name, bank(**changes))
for name, tensors in {
    "missing": {"ids": None}, "extra": {"w": np.zeros(3, "f4")},
    "nan": {"embeddings": np.array([[0], [np.nan]])}, "rows": {"labels": np.zeros(3, "i8")},
    "dtype": {"labels": np.zeros(2, "f8")}, "shape": {"embeddings": np.zeros(2)},
    "no_columns": {"embeddings": np.zeros((2, 0))},
}.items():
    put("bank", "tensor_" + name, bank(tensors=tensors))
carried = {"groups": np.arange(2), "weights": np.array([0.5, 2]), "set_labels": np.arange(3),
           "set_offsets": np.array([0, 1, 3])}
put("bank", "ok_targets", bank(tensors=carried))
for name, tensors in {
    "weight": {"weights": np.array([1, -1.0])}, "groups": {"groups": np.arange(3)},
    "no_offsets": {"set_offsets": None}, "offsets": {"set_offsets": np.array([0, 4, 3])},
    "sign": {"set_offsets": np.array([0, -1, 3])}, "end": {"set_offsets": np.array([0, 1, 2])},
}.items():
    put("bank", "targets_" + name, bank(tensors={**carried, **tensors}))

# ---- gunzip --------------------------------------------------------------------------------------

member = gzip.compress(b"hello, hello, hello\n" * 20, mtime=0)
put("gunzip", "ok", member)
put("gunzip", "ok_two", member + gzip.compress(b"more\n", mtime=0))
put("gunzip", "ok_nothing", gzip.compress(b"", mtime=0))
put("gunzip", "ok_one_mib", gzip.compress(bytes(1 << 20), mtime=0))
put("gunzip", "bomb", gzip.compress(bytes((1 << 20) + 1), mtime=0))
put("gunzip", "cut", member[:-5])
put("gunzip", "cut_header", member[:8])
put("gunzip", "trailing", member + b"junk")
put("gunzip", "trailing_zero", member + b"\0")
put("gunzip", "magic_only", b"\x1f\x8b")
put("gunzip", "not_gzip", b"hello")
put("gunzip", "empty", b"")
bad = bytearray(member)
bad[-6] ^= 1
put("gunzip", "checksum", bytes(bad))
bad = bytearray(member)
bad[-1] ^= 1
put("gunzip", "length", bytes(bad))
bad = bytearray(member)
bad[15] ^= 0x55
put("gunzip", "damaged", bytes(bad))
