"""ONNX files: what this project writes runs, what a stranger has forged is refused."""

import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import sad.exported.onnx_file as onnx_file
from exported_files import assert_same, batch, tame_teacher, write_onnx
from sad.exported.card import KEY
from sad.exported.onnx_file import open_onnx, read_card
from sad.utils.errors import UserError


@pytest.fixture(scope="module")
def written(toy, tmp_path_factory):
    """(model, path) of the toy teacher as ONNX."""
    model, cfg = tame_teacher(toy)
    path = tmp_path_factory.mktemp("onnx") / "teacher.onnx"
    return model, write_onnx(model, cfg, path, threshold=0.5)


@pytest.mark.slow
def test_a_file_finds_what_its_model_finds(written):
    model, path = written
    detector = open_onnx(path)
    assert detector.class_names == ["light", "dark"]
    assert read_card(path).threshold == 0.5
    images = batch((50, 70), (64, 64), (50, 70), (33, 200))
    wanted = [model([image])[0] for image in images]  # without the padding of other images
    assert_same(detector(images), wanted)
    floats = [{**image, "image": image["image"].float()} for image in images]
    assert_same(detector(floats), wanted)


def test_a_file_for_other_programs_is_not_run(toy, tmp_path):
    path = write_onnx(*tame_teacher(toy), tmp_path / "dense.onnx", nms=False)
    with pytest.raises(UserError, match="no non-maximum suppression"):
        open_onnx(path)


def _external(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")


def _external_constant(model):
    tensor = numpy_helper.from_array(torch.zeros(2).numpy(), "inner")
    tensor.external_data.add(key="location", value="weights.bin")
    model.graph.node.append(helper.make_node("Constant", [], ["inner"], value=tensor))


def _custom(model):
    model.graph.node.append(helper.make_node("Run", ["images"], ["x"], domain="com.evil"))


def _declared_domain(model):
    model.opset_import.append(helper.make_opsetid("com.evil", 1))


def _giant_initializer(model):
    model.graph.initializer.append(TensorProto(name="big", data_type=1, dims=[10**6, 10**6]))


def _negative_initializer(model):
    model.graph.initializer.append(TensorProto(name="big", data_type=1, dims=[-1, -1]))


def _giant_made(model):
    shape = numpy_helper.from_array(torch.tensor([10**5, 10**6]).numpy(), "shape")
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["big"]))


def _giant_in_steps(model):
    side = numpy_helper.from_array(torch.tensor([40_000]).numpy(), "side")
    model.graph.initializer.append(side)
    model.graph.node.extend(
        [
            helper.make_node("Pow", ["side", "side"], ["area"]),
            helper.make_node("ConstantOfShape", ["area"], ["big"]),
        ]
    )


def _loop(model):
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("If", ["images"], ["x"], then_branch=body))


def _function(model):
    model.functions.append(helper.make_function("own", "F", [], [], [], []))


def _no_card(model):
    del model.metadata_props[:]


def _other_card(model):
    model.metadata_props[0].value = model.metadata_props[0].value.replace("RetinaNet", "Mask", 1)


def _other_input(model):
    model.graph.input[0].name = "pixels"


def _other_numbers(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING


def _one_size(model):
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 64


def _other_rank(model):
    del model.graph.input[0].type.tensor_type.shape.dim[3]


FORGERIES = {
    _external: "lies in another file",
    _external_constant: "lies in another file",
    _custom: "'com.evil'",
    _declared_domain: "'com.evil'",
    _giant_initializer: "does not hold so many numbers",
    _negative_initializer: "does not hold so many numbers",
    _giant_made: "ConstantOfShape computes",
    _giant_in_steps: "Pow computes",
    _loop: "a graph within its node If",
    _function: "functions",
    _no_card: "has no card",
    _other_card: "card's detector is 'Mask'",
    _other_input: "`images` alone",
    _other_numbers: "uint8 or float32|contradict",
    _one_size: "left open",
    _other_rank: "left open|contradict",
}


@pytest.mark.parametrize("forge", FORGERIES)
def test_forged_files_are_refused(written, tmp_path, forge):
    model = onnx.load(written[1])
    assert model.metadata_props[0].key == KEY
    forge(model)
    path = tmp_path / "forged.onnx"
    path.write_bytes(model.SerializeToString())
    for read in (read_card, open_onnx):
        with pytest.raises(UserError, match=FORGERIES[forge]) as error:
            read(str(path))
        assert str(path) in str(error.value)


def test_a_graph_that_fails_on_an_image_is_named(written, tmp_path):
    model = onnx.load(written[1])
    concat = next(node for node in model.graph.node if node.op_type == "Concat")
    concat.attribute[0].i = 0 if concat.attribute[0].i else 1
    path = tmp_path / "forged.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="forged.onnx cannot be run"):
        open_onnx(str(path))(batch((64, 64)))


@pytest.mark.parametrize("content", [b"", b"no protobuf" * 9, b"\x08\x0a\x3a\xff\xff\xff\xff\x0f"])
def test_what_is_no_onnx_is_refused(tmp_path, content):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match="broken.onnx"):
        open_onnx(str(path))


def test_a_file_that_was_cut_short_is_refused(written, tmp_path):
    content = open(written[1], "rb").read()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="cut.onnx"):
        open_onnx(str(path))


def test_a_missing_package_is_named_with_its_extra(written, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(onnx_file.importlib, "import_module", missing)
    with pytest.raises(UserError, match=r"needs onnx: .*install -e '.\[export\]'"):
        open_onnx(written[1])
