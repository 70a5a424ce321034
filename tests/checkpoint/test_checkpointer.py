"""Checkpoints are written whole, read without running code, and refused when they do not fit."""

import hashlib
import logging
import os
import pickle
import shutil

import pytest
import torch
from detectron2.layers import FrozenBatchNorm2d
from torch import nn

from sad.checkpoint.checkpointer import SADCheckpointer
from sad.utils.errors import UserError


def network(width=4) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))


def same_state(one, other) -> bool:
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


class RunsCode:
    """Unpickled, it makes the folder given."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_round_trip_with_last_checkpoint(tmp_path):
    saved, loaded = network(), network()
    nn.init.normal_(saved[0].weight)
    optimizer = torch.optim.SGD(saved.parameters(), lr=0.25)
    SADCheckpointer(saved, str(tmp_path), optimizer=optimizer).save("model_7", iteration=7)
    assert sorted(os.listdir(tmp_path)) == ["last_checkpoint", "model_7.pth"]
    assert (tmp_path / "last_checkpoint").read_text() == "model_7.pth"

    other = torch.optim.SGD(loaded.parameters(), lr=1.0)
    checkpointer = SADCheckpointer(loaded, str(tmp_path), strict=True, optimizer=other)
    rest = checkpointer.resume_or_load("", resume=True)
    assert same_state(saved, loaded)
    assert rest["iteration"] == 7
    assert other.param_groups[0]["lr"] == 0.25


def test_only_the_main_process_writes(tmp_path):
    SADCheckpointer(network(), str(tmp_path), save_to_disk=False).save("model")
    SADCheckpointer(network()).save("model")
    assert os.listdir(tmp_path) == []


def test_failed_save_leaves_the_old_checkpoint_alone(tmp_path, monkeypatch):
    model = network()
    checkpointer = SADCheckpointer(model, str(tmp_path))
    checkpointer.save("model")
    before = (tmp_path / "model.pth").read_bytes()
    write = torch.save

    def disk_is_full(states, file):
        write(states, file)
        file.truncate(200)
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", disk_is_full)
    nn.init.zeros_(model[0].weight)
    for name in ("model", "model_2"):
        with pytest.raises(
            UserError, match=f"{name}.pth cannot be written .No space left.*--resume"
        ):
            checkpointer.save(name)
    assert (tmp_path / "model.pth").read_bytes() == before
    assert (tmp_path / "last_checkpoint").read_text() == "model.pth"
    assert sorted(os.listdir(tmp_path)) == ["last_checkpoint", "model.pth"]


@pytest.mark.parametrize("name", ["model.pth", "model.pyth", "model.pkl"])
def test_code_in_a_checkpoint_does_not_run(tmp_path, name):
    """.pkl is the model zoo's format; there a pickle may hold numpy arrays and nothing else."""
    content = {"model": RunsCode(tmp_path / "pwned"), "__author__": "somebody"}
    if name.endswith(".pkl"):
        (tmp_path / name).write_bytes(pickle.dumps(content))
    else:
        torch.save(content, tmp_path / name)
    with pytest.raises(UserError, match=name):
        SADCheckpointer(network()).load(str(tmp_path / name))
    assert not (tmp_path / "pwned").exists()


def test_model_zoo_pickle_loads(tmp_path):
    """The zoo's RetinaNets are pickles of numpy arrays under "model" with an "__author__"."""
    saved, loaded = network(), network()
    nn.init.normal_(saved[0].weight)
    arrays = {key: value.numpy() for key, value in saved.state_dict().items()}
    content = pickle.dumps({"model": arrays, "__author__": "Detectron2 Model Zoo"})
    path = tmp_path / f"model_final_{hashlib.md5(content).hexdigest()[:6]}.pkl"
    path.write_bytes(content)
    SADCheckpointer(loaded, strict=True).load(str(path))
    assert same_state(saved, loaded)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_truncated_file(tmp_path, share):
    path = tmp_path / "model.pth"
    torch.save({"model": network().state_dict()}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=f"{path} cannot be read"):
        SADCheckpointer(network()).load(str(path))


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


@pytest.mark.parametrize(
    "content",
    [LFS_POINTER, b"<html><body>404 Not Found</body></html>", b"hello\n"],
    ids=["lfs", "html", "text"],
)
def test_text_where_weights_should_be(tmp_path, content):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{path} cannot be read") as error:
        SADCheckpointer(network()).load(str(path))
    # torch's advice to switch its protection off is none for our users.
    assert "weights_only" not in str(error.value)


@pytest.mark.parametrize("content", [[1, 2], 3, {"model": None}, {"model": {"0.weight": 1}}])
def test_checkpoint_of_something_else(tmp_path, content):
    path = tmp_path / "model.pth"
    torch.save(content, path)
    with pytest.raises(UserError, match=str(path)):
        SADCheckpointer(network()).load(str(path))


def test_absent_file(tmp_path):
    path = tmp_path / "none.pth"
    with pytest.raises(UserError, match=f"{path} do not exist"):
        SADCheckpointer(network()).load(str(path))


def test_last_checkpoint_without_its_file(tmp_path):
    checkpointer = SADCheckpointer(network(), str(tmp_path))
    checkpointer.save("model_3")
    (tmp_path / "model_3.pth").unlink()
    with pytest.raises(UserError, match=r"model_3\.pth do not exist"):
        checkpointer.resume_or_load("", resume=True)


def test_strict_names_the_keys(tmp_path):
    state = network().state_dict()
    state["2.weight"] = state.pop("1.weight")
    state["0.weight"] = torch.zeros(5, 3)
    torch.save({"model": state}, tmp_path / "model.pth")
    with pytest.raises(UserError) as error:
        SADCheckpointer(network(), strict=True).load(str(tmp_path / "model.pth"))
    message = str(error.value)
    assert "missing (1.weight)" in message
    assert "unexpected (2.weight)" in message
    assert "0.weight: [5, 3] in the file, [4, 3] in the model" in message
    assert "\n" not in message


def test_strict_names_three_keys_of_many(tmp_path):
    torch.save({"model": {}}, tmp_path / "model.pth")
    with pytest.raises(UserError, match=r"6 missing \(0\.weight, 0\.bias, 1\.weight, \.\.\.\)"):
        SADCheckpointer(network(), strict=True).load(str(tmp_path / "model.pth"))


def test_not_strict_loads_what_fits(tmp_path):
    """ImageNet weights fill a backbone and leave the heads as they are."""
    torch.save({"model": {"0.bias": torch.full((4,), 9.0)}}, tmp_path / "backbone.pth")
    model = network()
    weight = model[0].weight.clone()
    SADCheckpointer(model).load(str(tmp_path / "backbone.pth"))
    assert model[0].bias.tolist() == [9.0] * 4
    assert torch.equal(model[0].weight, weight)


class Detector(nn.Module):
    """Names as RetinaNet has them; a norm of each kind that Detectron2's ResNets have."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.bottom_up = nn.Sequential(
            *(nn.Conv2d(3, 4, 1), FrozenBatchNorm2d(4)), *(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        )
        self.backbone.fpn_lateral = nn.Conv2d(4, 2, 1)
        self.head = nn.Linear(2, 2)


BOTTOM_UP = [f"{layer}.{name}" for layer in range(4) for name in ("weight", "bias")]


@pytest.mark.parametrize("found", [8, 5, 4, 3, 1, 0])
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
def test_half_of_the_backbone_must_be_found(tmp_path, caplog, found, device):
    """The statistics of a norm are no part of it: Detectron2 makes up those of a frozen one."""
    with torch.device(device):
        model = Detector()
    whole = Detector().state_dict()
    state = {f"layer1.{key}": x for key, x in whole.items()}  # torchvision's names
    for key in BOTTOM_UP[:found]:
        state[f"backbone.bottom_up.{key}"] = whole[f"backbone.bottom_up.{key}"]
    for key in BOTTOM_UP[found:]:
        state[f"backbone.bottom_up.{key}"] = torch.zeros(7, 7)
    torch.save(state, tmp_path / "model.pth")
    if found >= 4:
        with caplog.at_level(logging.INFO, "fvcore"):
            SADCheckpointer(model).load(str(tmp_path / "model.pth"))
        assert f"Found {found} of the 8 tensors" in caplog.text
    else:
        with pytest.raises(UserError, match=f"{found} of the 8 tensors.*convert_weights.py"):
            SADCheckpointer(model).load(str(tmp_path / "model.pth"))


@pytest.mark.parametrize("found", [True, False])
def test_a_backbone_without_an_fpn_counts_as_a_whole(tmp_path, found):
    model = nn.Module()
    model.backbone = nn.Linear(2, 2)
    state = model.state_dict() if found else {"fc.weight": torch.zeros(2, 2)}
    torch.save(state, tmp_path / "model.pth")
    if found:
        SADCheckpointer(model).load(str(tmp_path / "model.pth"))
    else:
        with pytest.raises(UserError, match="0 of the 2 tensors"):
            SADCheckpointer(model).load(str(tmp_path / "model.pth"))


def test_names_that_detectron2_finds_out_count(tmp_path):
    """A ResNet's own, as scripts/convert_weights.py writes them and the model zoo has them."""
    model = Detector()
    state = {
        key.removeprefix("backbone.bottom_up."): x + 1
        for key, x in model.state_dict().items()
        if "bottom_up" in key
    }
    torch.save({"model": state, "matching_heuristics": True}, tmp_path / "model.pth")
    before = model.backbone.bottom_up[0].weight.clone()
    SADCheckpointer(model).load(str(tmp_path / "model.pth"))
    assert torch.equal(model.backbone.bottom_up[0].weight, before + 1)
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(UserError, match="0 of the 8 tensors"):
        SADCheckpointer(model).load(str(tmp_path / "model.pth"))
    SADCheckpointer(model).load(f"{tmp_path}/model.pth?matching_heuristics=True")


def test_state_saved_under_ddp_loads(tmp_path):
    saved, loaded = network(), network()
    nn.init.normal_(saved[0].weight)
    state = {f"module.{key}": value for key, value in saved.state_dict().items()}
    torch.save({"model": state}, tmp_path / "model.pth")
    SADCheckpointer(loaded, strict=True).load(str(tmp_path / "model.pth"))
    assert same_state(saved, loaded)


def test_copied_run_directory_resumes(tmp_path):
    """last_checkpoint holds a name, not a path."""
    (tmp_path / "a").mkdir()
    SADCheckpointer(network(), str(tmp_path / "a")).save("model", iteration=1)
    shutil.move(tmp_path / "a", tmp_path / "b")
    rest = SADCheckpointer(network(), str(tmp_path / "b")).resume_or_load("", resume=True)
    assert rest["iteration"] == 1
