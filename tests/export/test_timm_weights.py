"""ImageNet weights under the detector's names, from the installed package, a file, or nowhere."""

import pytest
import timm
import torch

from sad.checkpoint.safe_load import read_weights
from sad.export.timm_weights import PREFIX, convert_timm_file, installed_weights
from sad.modeling.timm_backbone import TimmBackbone
from sad.utils.errors import UserError

LITE = "tf_efficientnet_lite0"


def net_of(path) -> TimmBackbone:
    backbone = TimmBackbone(LITE)
    model = read_weights(str(path))["model"]
    backbone.net.load_state_dict({key.removeprefix(PREFIX): x for key, x in model.items()})
    return backbone


def test_weights_of_the_installed_package(tmp_path):
    """The same numbers in the same order as in the package, whatever their names there."""
    assert convert_timm_file(LITE, "", str(tmp_path / "new" / "lite0.pth")) == 288
    found = net_of(tmp_path / "new" / "lite0.pth").net.state_dict()
    wanted = list(read_weights(installed_weights(LITE))["model"].values())[: len(found)]
    assert all(torch.equal(x, y) for x, y in zip(found.values(), wanted, strict=True))


def test_a_file_of_timms_own_names(tmp_path):
    torch.manual_seed(0)
    full = timm.create_model(LITE).eval()
    torch.save(full.state_dict(), tmp_path / "full.pth")
    convert_timm_file(LITE, str(tmp_path / "full.pth"), str(tmp_path / "out.pth"))
    image = torch.randn(1, 3, 64, 64)
    top = net_of(tmp_path / "out.pth").eval()(image)["res5"]
    torch.testing.assert_close(top, full.blocks(full.bn1(full.conv_stem(image))))


@pytest.mark.parametrize(
    ("name", "weights", "output", "said"),
    [
        (LITE, "absent.pth", "out.pth", "do not exist"),
        (LITE, "other.pth", "out.pth", "does not hold the weights of timm's"),
        (LITE, "", "out.pkl", "must end in .pth"),
        ("resnet81", "", "out.pth", "does not know"),
    ],
)
def test_mistakes(name, weights, output, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(timm.create_model("resnet18").state_dict(), "other.pth")
    with pytest.raises(UserError, match=said):
        convert_timm_file(name, weights, output)
    assert not list(tmp_path.glob("out*"))


def test_weights_that_nobody_has(tmp_path):
    name = "efficientnet_b0_gn"  # timm knows the network and has no weights of it
    assert installed_weights(name) is None
    with pytest.raises(UserError, match="give --weights, a file of them"):
        convert_timm_file(name, "", str(tmp_path / "out.pth"))
    assert not (tmp_path / "out.pth").exists()
