"""Weights from anywhere: every format gives the same tensors, and no attack gets through."""

import codecs
import contextlib
import hashlib
import io
import json
import os
import pickle
import struct
import tarfile
import threading
from collections import OrderedDict
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, load_file, save_file

from sad.checkpoint import safe_load as weights_file
from sad.checkpoint.checkpointer import SADCheckpointer
from sad.checkpoint.safe_load import (
    check_download,
    read_weights,
    safetensors_bytes,
    write_safetensors,
)
from sad.modeling.build import load_detector
from sad.utils.errors import UserError
from toy import REPOSITORY, peak_memory, run_script

CONVERT_WEIGHTS = REPOSITORY / "scripts" / "convert_weights.py"


class Reduced:
    """Pickled, it is a call of a function, and what follows it."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


def zoo(model: dict, protocol=4) -> bytes:
    return pickle.dumps({"model": model, "__author__": "somebody"}, protocol)


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    return (one.dtype, one.shape) == (other.dtype, other.shape) and torch.equal(
        one.contiguous().view(-1).view(torch.uint8), other.contiguous().view(-1).view(torch.uint8)
    )


# --- what is read -------------------------------------------------------------------------------

ARRAYS = {
    "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    "permuted": np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(1, 0, 2),
    "big endian": np.arange(3, dtype=">f4"),
    "half": np.array([1.5, np.nan, -0.0], np.float16),
    "count": np.array(7, np.int64),
    "scalar": np.float32(0.1),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 4), np.float32),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_of_every_pickle_protocol(tmp_path, protocol):
    path = tmp_path / "model.pkl"
    path.write_bytes(zoo(OrderedDict(ARRAYS), protocol))
    content = read_weights(str(path))
    assert content["__author__"] == "somebody"
    for key, array in ARRAYS.items():
        native = np.asarray(array, array.dtype.newbyteorder("="))
        assert same_bits(content["model"][key], torch.from_numpy(native.copy())), key


def of_python_2(arrays: dict[str, np.ndarray]) -> bytes:
    """As Caffe2's model zoo was written: text is bytes, and so are the numbers."""

    def text(value: str) -> bytes:
        return b"U" + bytes([len(value)]) + value.encode()

    content = b"\x80\x02}"
    for name, array in arrays.items():
        shape = b"(" + b"".join(b"K" + bytes([side]) for side in array.shape) + b"t"
        data = array.tobytes()
        content += text(name)
        content += b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        content += b"(K\x01" + shape + b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
        content += b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        content += b"\x89T" + struct.pack("<I", len(data)) + data + b"tbs"
    return content + text("weight_order") + text("RGB") + b"s."


def test_caffe2s_pickles(tmp_path):
    """MSRA's and FAIR's ImageNet weights. Detection models have the same below "blobs"."""
    weight = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    content = of_python_2({"conv1_w": weight, "conv1_w_momentum": weight})
    assert np.array_equal(pickle.loads(content, encoding="latin1")["conv1_w"], weight)
    path = tmp_path / "R-50.pkl"
    path.write_bytes(content)
    blobs = tmp_path / "blobs.pkl"
    blobs.write_bytes(pickle.dumps({"blobs": {"conv1_w": weight}}, 2))
    for file in (path, blobs):
        read = read_weights(str(file))
        assert {key: value for key, value in read.items() if key != "model"} == {
            "__author__": "Caffe2",
            "matching_heuristics": True,
        }
        assert list(read["model"]) == ["conv1_w"]
        assert same_bits(read["model"]["conv1_w"], torch.from_numpy(weight))


def test_pycls_checkpoint(tmp_path):
    state = {"a.weight": torch.ones(2), "a.num_batches_tracked": torch.tensor(3)}
    torch.save({"model_state": state}, tmp_path / "a.pyth")
    read = read_weights(str(tmp_path / "a.pyth"))
    assert list(read["model"]) == ["a.weight"] and read["matching_heuristics"] is True


def test_state_dict_alone_and_what_lies_beside_a_model(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pth")
    torch.save({"model": {"a": torch.ones(2)}, "iteration": 7}, tmp_path / "b.pth")
    assert list(read_weights(str(tmp_path / "a.pth"))["model"]) == ["a"]
    assert read_weights(str(tmp_path / "b.pth"))["iteration"] == 7


def test_query_of_the_weights(tmp_path):
    """Detectron2's `?matching_heuristics=True`, and no other."""
    model = torch.nn.Sequential(OrderedDict(fc=torch.nn.Linear(2, 2)))
    torch.save({"c.weight": torch.full((2, 2), 5.0)}, tmp_path / "a.pth")
    SADCheckpointer(torch.nn.ModuleDict({"b": torch.nn.ModuleDict({"c": model.fc})})).load(
        f"{tmp_path}/a.pth?matching_heuristics=True"
    )
    assert (model.fc.weight == 5).all()
    with pytest.raises(UserError, match="matching_heuristics=True alone, no heuristics=1"):
        SADCheckpointer(model).load(f"{tmp_path}/a.pth?heuristics=1")


# --- safetensors --------------------------------------------------------------------------------


def test_student_as_safetensors(toy, tmp_path, monkeypatch, capsys):
    """The command writes the model alone; Detectron2's names and every bit are the same."""
    state = torch.load(toy.path("teacher.pth"))["model"]
    torch.save({"model": state, "optimizer": {"state": {}}}, tmp_path / "model_final.pth")
    output = tmp_path / "new" / "teacher.safetensors"
    arguments = ["--weights", str(tmp_path / "model_final.pth"), "--output", str(output)]
    run_script(monkeypatch, CONVERT_WEIGHTS, "safetensors", *arguments)
    assert capsys.readouterr().out == f"wrote {output}: {len(state)} tensors\n"
    assert os.listdir(output.parent) == ["teacher.safetensors"]

    plain = load_file(output)  # anybody's reader
    assert plain.keys() == state.keys()
    assert all(same_bits(plain[key], tensor) for key, tensor in state.items())
    one, _ = load_detector(toy.path("teacher.yaml"), toy.path("teacher.pth"), "cpu")
    other, _ = load_detector(toy.path("teacher.yaml"), str(output), "cpu")
    assert all(same_bits(other.state_dict()[key], x) for key, x in one.state_dict().items())


def test_safetensors_of_any_tensors(tmp_path):
    """Views, two names for one tensor, numbers that are not equal to themselves."""
    base = torch.tensor([[1.0, float("nan")], [float("-inf"), -0.0]])
    model = {
        "base": base,
        "again": base,
        "turned": base.T,
        "row": base[1],
        "bfloat16": base.bfloat16(),
        "count": torch.tensor(3),
    }
    torch.save({"model": model, "matching_heuristics": True}, tmp_path / "a.pth")
    output = str(tmp_path / "a.safetensors")
    assert write_safetensors(str(tmp_path / "a.pth"), output) == 6
    read = read_weights(output)
    assert read["matching_heuristics"] is True
    assert all(same_bits(read["model"][key], tensor) for key, tensor in model.items())


def test_zoos_safetensors_match_names_as_the_zoos_pickle_does(tmp_path):
    path, output = tmp_path / "R-50.pkl", str(tmp_path / "R-50.safetensors")
    path.write_bytes(of_python_2({"conv1_w": np.ones((2, 3), np.float32)}))
    write_safetensors(str(path), output)
    one, other = read_weights(str(path)), read_weights(output)
    assert same_bits(one.pop("model")["conv1_w"], other.pop("model")["conv1_w"])
    assert one == other


def test_safetensors_mistakes(toy, tmp_path):
    with pytest.raises(UserError, match=r"--output is .*a\.pth, it must end in \.safetensors"):
        write_safetensors(toy.path("teacher.pth"), str(tmp_path / "a.pth"))
    with pytest.raises(UserError, match=r"none\.pth do not exist"):
        write_safetensors(str(tmp_path / "none.pth"), str(tmp_path / "a.safetensors"))
    assert os.listdir(tmp_path) == []


def lying(header: bytes, data: bytes = bytes(16), length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(start: int, end: int, shape="[4]", dtype="F32") -> bytes:
    text = f'"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]'
    return f'"t{start}{end}":{{{text}}}'.encode()


BROKEN_SAFETENSORS = {
    "empty": b"",
    "header beyond the end": lying(b"{}", length=10**6),
    "header of exabytes": lying(b"{}", length=2**63),
    "no json": lying(b"{{{{"),
    "json of something else": lying(b"[1]"),
    "data beyond the end": lying(b"{" + entry(0, 10**9, "[250000000]") + b"}"),
    "shape unlike its data": lying(b"{" + entry(0, 16, "[4000000000]") + b"}"),
    "shape that overflows": lying(b"{" + entry(0, 16, "[4294967296,4294967297]") + b"}"),
    "end before start": lying(b"{" + entry(16, 0) + b"}"),
    "one over the other": lying(b"{" + entry(0, 16) + b"," + entry(8, 16, "[2]") + b"}"),
    "hole": lying(b"{" + entry(0, 8, "[2]") + b"," + entry(12, 16, "[1]") + b"}"),
    "unknown numbers": lying(b"{" + entry(0, 16, dtype="O") + b"}"),
}


@pytest.mark.parametrize("content", BROKEN_SAFETENSORS.values(), ids=BROKEN_SAFETENSORS.keys())
def test_lying_safetensors(tmp_path, content):
    whole = lying(b"{" + entry(0, 16) + b"}")
    path = tmp_path / "a.safetensors"
    path.write_bytes(whole)
    assert read_weights(str(path))["model"]["t016"].tolist() == [0] * 4
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{path} cannot be read"):
        SADCheckpointer(torch.nn.Linear(2, 2)).load(str(path))


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_truncated_safetensors(tmp_path, share):
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.ones(100)}, path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=f"{path} cannot be read"):
        read_weights(str(path))


# --- attacks ------------------------------------------------------------------------------------


def legacy_tar(code) -> bytes:
    """torch's oldest format: a tar of pickles."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            data = pickle.dumps(code)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return written.getvalue()


def saved(content, **options) -> bytes:
    written = io.BytesIO()
    torch.save(content, written, **options)
    return written.getvalue()


def trusting_torch(path):
    with open(path, "rb") as file:
        return torch.load(file, weights_only=False)


def trusting_pickle(path):
    return pickle.loads(path.read_bytes())


def before_1_6(content) -> bytes:
    return saved(content, _use_new_zipfile_serialization=False)


CODE = {
    "model zoo's pickle": ("a.pkl", zoo, trusting_pickle),
    "pickle of nothing else": ("a.pkl", lambda x: pickle.dumps(x["x"]), trusting_pickle),
    "pickle of Python 2": ("a.pkl", lambda x: zoo(x, 2), trusting_pickle),
    "torch as .pkl": ("a.pkl", lambda x: saved({"model": x}), trusting_torch),
    "torch": ("a.pth", lambda x: saved({"model": x}), trusting_torch),
    "torch before 1.6": ("a.pth", lambda x: before_1_6({"model": x}), trusting_torch),
    "torch before 0.2": ("a.pth", lambda x: legacy_tar(x["x"]), trusting_torch),
    "pickle as .pth": ("a.pth", zoo, trusting_pickle),
    "pycls": ("a.pyth", lambda x: saved({"model_state": x}), trusting_torch),
    "pycls before 1.6": ("a.pyth", lambda x: before_1_6({"model_state": x}), trusting_torch),
    "pickle as .safetensors": ("a.safetensors", zoo, trusting_pickle),
    "torch as .safetensors": ("a.safetensors", lambda x: saved({"model": x}), trusting_torch),
}


@pytest.mark.parametrize(("name", "write", "trusting_reader"), CODE.values(), ids=CODE.keys())
def test_code_does_not_run(tmp_path, name, write, trusting_reader):
    proof, path = tmp_path / "pwned", tmp_path / name
    path.write_bytes(write({"x": Reduced(os.mkdir, (str(proof),))}))
    with pytest.raises(UserError, match=f"{name} cannot be read"):
        SADCheckpointer(torch.nn.Linear(2, 2)).load(str(path))
    assert not proof.exists()
    with contextlib.suppress(TypeError):  # of the oldest format the code alone is there
        trusting_reader(path)
    assert proof.exists()


def called(function: str, *arguments) -> bytes:
    """A pickle that calls what a name leads to; a dot in it goes into an attribute."""
    module, name = function.split(":")
    pushed = b"".join(pickle.dumps(value, 4)[2:-1].split(b"\x94")[0] for value in (module, name))
    values = b"".join(pickle.dumps(value, 0)[:-1] for value in arguments)
    return b"\x80\x04" + pushed + b"\x93(" + values + b"tR."


FORGED = (3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 0)
FORBIDDEN = {
    "builtin": called("builtins:eval", "1"),
    "below an allowed name": called("numpy:ndarray.tofile", "pwned"),
    "globals of an allowed name": called("_codecs:encode.__self__", "pwned"),
    "reader of files": called("numpy:load", "pwned"),
    "another codec": zoo(
        {
            "x": Reduced(
                np._core.multiarray._reconstruct,
                (np.ndarray, (0,), b"b"),
                (1, (1,), np.dtype("f4"), False, Reduced(codecs.encode, ("abcd", "utf_8"))),
            )
        }
    ),
    "objects": zoo({"x": np.array([1, "a"], object)}),
    "texts": zoo({"x": np.array(["a", "b"])}),
    "records": zoo({"x": np.zeros(2, "f4,i4")}),
    "bytes of any length": zoo({"x": np.zeros(2, "V8")}),
    "dates": zoo({"x": np.zeros(2, "M8[s]")}),
    "addresses as objects": zoo({"x": Reduced(np.dtype, ("V8", False, True), FORGED)}),
    "a number's type alone": zoo({"x": np.dtype("f4")}),
    "values": zoo({"x": 3}),
    "name that is none": zoo({3: np.ones(2, np.float32)}),
    "array without content": zoo(
        {"x": Reduced(np._core.multiarray._reconstruct, (np.ndarray, (9,), b"b"))}
    ),
    "less than its shape": zoo(
        {
            "x": Reduced(
                np._core.multiarray._reconstruct,
                (np.ndarray, (0,), b"b"),
                (1, (9,), np.dtype("f4"), False, bytes(8)),
            )
        }
    ),
}


@pytest.mark.parametrize("content", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_pickle_of_more_than_numbers(tmp_path, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.pkl").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.pkl cannot be read"):
        read_weights("a.pkl")
    assert os.listdir() == ["a.pkl"]


def test_forged_type_of_plain_numbers_is_not_followed(tmp_path):
    """numpy itself takes the size, fields and flags of a type from the pickle."""
    forged = (3, "<", None, ("a",), {"a": (np.dtype("f4"), 0)}, 4, 1, 0x3F)
    number_type = Reduced(np.dtype, ("f4", False, True), forged)
    array = Reduced(
        np._core.multiarray._reconstruct,
        (np.ndarray, (0,), b"b"),
        (1, (2,), number_type, False, np.array([1.5, -2], np.float32).tobytes()),
    )
    (tmp_path / "a.pkl").write_bytes(zoo({"x": array}))
    assert read_weights(str(tmp_path / "a.pkl"))["model"]["x"].tolist() == [1.5, -2.0]


def many_from_little() -> bytes:
    """4,000 arrays of one megabyte."""
    data = bytes(2**20)
    state = (1, (2**20,), np.dtype("u1"), False, data)
    reduced = [
        Reduced(np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), state)
        for _ in range(4000)
    ]
    return zoo({str(number): array for number, array in enumerate(reduced)})


HUGE = {
    "number of a remembered value": ("a.pkl", b"\x80\x04Nr" + struct.pack("<I", 2**28) + b"0N."),
    "the same as text": ("a.pkl", b"Np268435456\n0N."),
    "length of bytes": ("a.pkl", b"\x80\x04\x8e" + struct.pack("<Q", 2**33) + b"abc."),
    "length of a bytearray": ("a.pkl", b"\x80\x05\x96" + struct.pack("<Q", 2**33) + b"abc."),
    "length of a frame": ("a.pkl", b"\x80\x04\x95" + struct.pack("<Q", 2**33) + b"N."),
    "shape before the numbers": (
        "a.pkl",
        zoo({"x": Reduced(np._core.multiarray._reconstruct, (np.ndarray, (2**33,), b"b"))}),
    ),
    "many arrays of the same bytes": ("a.pkl", many_from_little()),
    "one number, repeated": ("a.pth", saved({"model": {"x": torch.zeros(1).expand(2**31)}})),
    "numbers that are not there": (
        "a.pth",
        saved({"model": {"x": torch.empty(2**31, device="meta")}}),
    ),
    "all but no numbers": (
        "a.pth",
        saved({"x": torch.sparse_coo_tensor(torch.zeros((1, 0)), torch.zeros(0), (2**31,))}),
    ),
}


@pytest.mark.parametrize(("name", "content"), HUGE.values(), ids=HUGE.keys())
def test_few_bytes_do_not_take_gigabytes(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    before = peak_memory()
    with pytest.raises(UserError, match=f"{name} cannot be read"):
        read_weights(str(path))
    assert peak_memory() - before < 100


# --- downloads ----------------------------------------------------------------------------------


def named_by_hash(folder: Path, name: str, algorithm: str, digits: int) -> Path:
    content = (
        zoo({"x": np.ones(2, np.float32)}) if name.endswith("pkl") else saved({"x": torch.ones(2)})
    )
    path = folder / name.format(hashlib.new(algorithm, content).hexdigest()[:digits])
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "algorithm", "digits"),
    [
        ("model_final_{}.pkl", "md5", 6),
        ("resnet50-{}.pth", "sha256", 8),
        ("resnext101_32x8d-{}.pth", "sha256", 8),
        ("wide_resnet50_2-{}.pth", "sha256", 8),
    ],
)
def test_names_that_promise_a_hash(tmp_path, name, algorithm, digits):
    path = named_by_hash(tmp_path, name, algorithm, digits)
    assert read_weights(str(path))["model"]["x"].tolist() == [1, 1]
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(UserError, match=f"{path} are not .* their {algorithm} .* remove the file"):
        read_weights(str(path))
    path.rename(tmp_path / f"own{path.suffix}")
    check_download(str(tmp_path / f"own{path.suffix}"))


@pytest.mark.parametrize(
    "name", ["model_final.pkl", "model_final_180000.pth", "student-20240131.pth"]
)
def test_other_names_promise_nothing(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    check_download(str(tmp_path / name))


def test_hash_recorded_for_a_place_in_the_cache(tmp_path, monkeypatch):
    path = tmp_path / "detectron2" / "ImageNetPretrained" / "MSRA" / "R-50.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(zoo({"x": np.ones(2, np.float32)}))
    with pytest.raises(
        UserError, match=f"{path} are not .* instead of 6652b4a9c782d82bb3d42118be74d"
    ):
        read_weights(str(path))
    place = "detectron2/ImageNetPretrained/MSRA/R-50.pkl"
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setitem(weights_file.RECORDED_MD5, place, md5)
    assert list(read_weights(str(path))["model"]) == ["x"]


def test_download_is_checked_before_it_is_read(tmp_path, monkeypatch):
    """By Detectron2's own download from a server; a good file loads after the bad one is gone."""
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "zoo").mkdir()
    arrays = {"weight": np.full((2, 2), 3, np.float32), "bias": np.zeros(2, np.float32)}
    content = zoo(arrays)
    served = tmp_path / "zoo" / f"model_final_{hashlib.md5(content).hexdigest()[:6]}.pkl"
    served.write_bytes(zoo({"weight": Reduced(os.mkdir, (str(tmp_path / "pwned"),))}))
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/zoo/{served.name}"
        with pytest.raises(UserError, match=f"cache/zoo/{served.name} are not .* remove the file"):
            SADCheckpointer(torch.nn.Linear(2, 2)).load(url)
        (tmp_path / "cache" / "zoo" / served.name).unlink()
        served.write_bytes(content)
        model = torch.nn.Linear(2, 2)
        SADCheckpointer(model, strict=True).load(url)
    finally:
        server.shutdown()
        server.server_close()
    assert (model.weight == 3).all()
    assert not (tmp_path / "pwned").exists()


def test_the_same_weights_are_the_same_file(toy):
    """Whatever order texts have in the memory of the process that writes them."""
    tensors = read_weights(toy.path("teacher.pth"))["model"]
    content = safetensors_bytes(tensors, {name: name for name in "zyx"})
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert list(header["__metadata__"].items()) == [(name, name) for name in "xyz"]
    assert length % 8 == 0
    read = load(content)
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)
