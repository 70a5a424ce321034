"""torch.export's programs: their card is read without torch, they run where the user says so."""

import io
import json
import zipfile

import pytest
import torch

from exported_files import CARD, batch
from sad.exported.program_file import CARD as CARD_FILE
from sad.exported.program_file import (
    CODE,
    TRUST,
    cpu_features,
    load_program,
    open_program,
    read_card,
)
from sad.utils.errors import UserError


class OneBox(torch.nn.Module):
    """The whole image is a detection, its score the mean of its pixels."""

    def forward(self, images):
        n, _, height, width = images.shape
        scores = images.float().mean(dim=(1, 2, 3)).reshape(n, 1)
        right, bottom = (  # by numbers made of a size, for which torch writes down the device
            torch.arange(side, device=images.device).amax() + 1 for side in (width, height)
        )
        box = torch.stack((0 * right, 0 * bottom, right, bottom)).float()
        labels = torch.zeros_like(scores).long()
        return box + 0 * scores[..., None], scores, labels, labels[:, 0] + 1


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("pt2") / "one.pt2")
    program = torch.export.export(OneBox(), (torch.zeros(2, 3, 8, 6),))
    torch.export.save(program, path, extra_files={CARD_FILE: CARD.text()})
    return path


def test_a_trusted_program_runs(path, monkeypatch):
    assert read_card(path) == CARD
    monkeypatch.setenv(TRUST, "1")
    images = batch((8, 6), (8, 6))
    images = [{**image, "image": image["image"].float()} for image in images]
    found = open_program(path)(images)
    for item, one in zip(images, found, strict=True):
        assert one["instances"].pred_boxes.tensor.tolist() == [[0, 0, 12, 16]]
        torch.testing.assert_close(one["instances"].scores[0], item["image"].mean())


def test_all_of_it_moves_to_another_device(path):
    run = load_program(open(path, "rb").read(), "meta", path)
    # All was computed there, and only then nothing can be copied from a device without memory.
    with pytest.raises(UserError, match="cannot be run .*Cannot copy out of meta tensor"):
        run(torch.zeros(2, 3, 8, 6))


def test_nothing_is_loaded_without_the_users_word(path, monkeypatch):
    monkeypatch.delenv(TRUST, raising=False)
    monkeypatch.setattr(torch.export, "load", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(UserError, match=f"could run code.*{TRUST}=1"):
        open_program(path)


def _zip(path, **files) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"one/extra/{name}", content)
    return str(path)


def test_broken_and_forged_ones_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(TRUST, "1")
    nothing = tmp_path / "nothing.pt2"
    nothing.write_bytes(b"PK no zip")
    bomb = _zip(tmp_path / "bomb.pt2", **{CARD_FILE: bytes(50_000_000)})
    cardless = _zip(tmp_path / "cardless.pt2", other="{}")
    forged = _zip(tmp_path / "forged.pt2", **{CARD_FILE: "{}"})
    broken = _zip(tmp_path / "broken.pt2", **{CARD_FILE: CARD.text()})
    for name in (nothing, bomb, cardless, forged, broken):
        with pytest.raises(UserError, match=r"\.pt2"):
            open_program(str(name))
    assert io.BytesIO(open(bomb, "rb").read()).getbuffer().nbytes < 100_000


def test_images_are_made_what_the_program_takes(path):
    run = load_program(open(path, "rb").read(), "cpu", path)  # which takes float32
    images = torch.randint(256, (2, 3, 8, 6), dtype=torch.uint8)
    wanted = run(images.float())
    for same in (
        images,
        images.long(),
        images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    ):
        for found, one in zip(run(same), wanted, strict=True):
            assert torch.equal(found, one)
    for strange in (images[0], images[:, :1], torch.cat([images, images], dim=1)):
        with pytest.raises(UserError, match=r"in place of \(N, 3, H, W\)"):
            run(strange)


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"cpu": [*cpu_features(), "avx4096"], "images": "uint8"}, "with avx4096, which this one"),
        ({"cpu": "avx", "images": "uint8"}, "which this one has not"),
        ({"cpu": cpu_features(), "images": "int3"}, "is no program"),
        ({"cpu": None, "images": "uint8"}, "is no program"),
        ([], "is no program"),
    ],
)
def test_machine_code_for_another_cpu_is_not_run(tmp_path, monkeypatch, said, what):
    """It would end the process. Code that runs is in tests/export/test_torch_program.py."""
    monkeypatch.setenv(TRUST, "1")
    monkeypatch.setattr(
        torch._inductor, "aoti_load_package", lambda *_: pytest.fail("it was loaded")
    )
    path = _zip(tmp_path / "code.pt2", **{CARD_FILE: CARD.text(), CODE: json.dumps(said)})
    with pytest.raises(UserError, match=what):
        open_program(path)


def test_what_only_some_makers_have_is_not_asked_for():
    assert "avx2" in cpu_features() and not {"sse4a", "sha"} & {*cpu_features()}


def test_a_damaged_archive_is_named(path, tmp_path):
    content = bytearray(open(_zip(tmp_path / "x.pt2", **{CARD_FILE: CARD.text()}), "rb").read())
    start = content.index(CARD_FILE.encode()) + len(CARD_FILE)
    content[start : start + 40] = bytes(40)
    damaged = tmp_path / "damaged.pt2"
    damaged.write_bytes(content)
    with pytest.raises(UserError, match="damaged.pt2 is no program"):
        read_card(str(damaged))
