"""scripts/install_detectron2.py on a small made-up wheel: every check refuses, and pip takes the
distribution it builds. No network: what pip may see is a folder of the test."""

import hashlib
import importlib.metadata
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

SCRIPT = Path(__file__).parents[2] / "scripts" / "install_detectron2.py"
sys.path.insert(0, str(SCRIPT.parent))

import install_detectron2  # noqa: E402
from install_detectron2 import InstallError, build_wheel, check_files, read_carrier  # noqa: E402

IN_CARRIER = {
    "LabGym/__init__.py": b"raise SystemExit('not ours')\n",
    "LabGym/detectron2/__init__.py": b'__version__ = "0.6"\n',
    "LabGym/detectron2/engine.py": b"from LabGym.detectron2.config import get_cfg\n",
    "LabGym/detectron2/model_zoo/a.yaml": b"BASE: LabGym.detectron2\nLabGym: stays\n",
    "labgym-3.1.2.dist-info/METADATA": b"Metadata-Version: 2.1\nName: labgym\nVersion: 3.1.2\n",
    "labgym-3.1.2.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
    b"Tag: py3-none-any\n",
    "labgym-3.1.2.dist-info/RECORD": b"",
}
UPSTREAM = {
    "detectron2/__init__.py": b'__version__ = "0.6"\n',
    "detectron2/engine.py": b"from detectron2.config import get_cfg\n",
    "detectron2/model_zoo/a.yaml": b"BASE: detectron2\nLabGym: stays\n",
}
HASHES = {name: hashlib.sha256(content).hexdigest() for name, content in UPSTREAM.items()}


@pytest.fixture
def carrier(tmp_path):
    folder = tmp_path / "index"
    folder.mkdir()
    wheel = folder / "labgym-3.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in IN_CARRIER.items():
            archive.writestr(name, content)
    return wheel


def run_script(folder, *, detectron2_path=""):
    """The script without site-packages (so without the Detectron2 of the test environment), where
    pip sees the wheels of `folder` and no network."""
    environment = os.environ | {
        "PYTHONPATH": str(detectron2_path),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
    }
    return subprocess.run(
        [sys.executable, "-S", str(SCRIPT)], env=environment, capture_output=True, text=True
    )


def assert_one_sentence(result, *parts):
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    for part in parts:
        assert part in result.stderr


def test_upstream_files_are_restored(carrier):
    files = read_carrier(carrier, install_detectron2.sha256(carrier.read_bytes()))
    assert files == UPSTREAM
    check_files(files, HASHES)


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_wheel_cut_short_is_refused(carrier, keep):
    whole = install_detectron2.sha256(carrier.read_bytes())
    carrier.write_bytes(carrier.read_bytes()[:keep])
    with pytest.raises(InstallError, match="sha256 is .* instead of"):
        read_carrier(carrier, whole)


def test_wrong_hash_is_refused_before_the_archive_is_opened(carrier, monkeypatch):
    def opened(*args, **kwargs):
        pytest.fail("the archive was opened")

    monkeypatch.setattr(zipfile, "ZipFile", opened)
    with pytest.raises(InstallError, match="was not unpacked because its sha256"):
        read_carrier(carrier, "0" * 64)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (
            {k: v for k, v in UPSTREAM.items() if k != "detectron2/engine.py"},
            "because detectron2/engine.py is missing",
        ),
        (
            UPSTREAM | {"detectron2/evil.py": b"", "detectron2/worse.py": b""},
            r"because detectron2/evil.py \(and 1 more\) is not in the list",
        ),
        (
            UPSTREAM | {"detectron2/engine.py": b"changed"},
            "because detectron2/engine.py is not the upstream file",
        ),
    ],
)
def test_other_files_than_upstream_are_refused(files, sentence):
    with pytest.raises(InstallError, match=sentence):
        check_files(files, HASHES)


def test_hash_list_is_whole():
    hashes = install_detectron2.read_hash_list(install_detectron2.HASH_LIST)
    assert len(hashes) == 306
    assert all(name.startswith("detectron2/") for name in hashes)
    assert all(len(digest) == 64 and int(digest, 16) for digest in hashes.values())


@pytest.mark.slow
def test_pip_installs_the_built_distribution(tmp_path):
    license_text = install_detectron2.LICENSE.read_bytes()
    wheel = build_wheel(UPSTREAM, license_text, tmp_path)
    target = tmp_path / "target"
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, f"--target={target}", str(wheel)], check=True, capture_output=True)

    (distribution,) = importlib.metadata.distributions(path=[str(target)])
    assert (distribution.name, distribution.version) == ("detectron2", "0.6")
    assert distribution.metadata["License"] == "Apache-2.0"
    metadata = distribution.read_text("METADATA")  # parsed otherwise by importlib_metadata
    assert "commit e9f7e2ba" in metadata and install_detectron2.CARRIER_SHA256 in metadata
    assert {Requirement(text).name for text in distribution.requires} >= {"torch", "fvcore"}
    assert b"Apache License" in license_text and b"Copyright 2019, Facebook, Inc" in license_text
    assert distribution.read_text("LICENSE") == license_text.decode()

    for name, content in UPSTREAM.items():
        assert (target / name).read_bytes() == content
    recorded = {file.as_posix(): file for file in distribution.files}
    assert recorded.keys() >= UPSTREAM.keys()
    for file in recorded.values():
        if file.hash:  # RECORD cannot hold its own
            content = file.read_binary()
            assert install_detectron2.record_hash(content) == f"sha256={file.hash.value}"
            assert len(content) == file.size


def test_half_written_installation_is_not_importable(tmp_path):
    """pip writes in archive order, so until its last file the package has no __init__.py."""
    with zipfile.ZipFile(build_wheel(UPSTREAM, b"", tmp_path)) as archive:
        names = archive.namelist()
        for name in names[:-1]:
            archive.extract(name, tmp_path / "killed")
    assert names[-1] == "detectron2/__init__.py"
    (tmp_path / "empty").mkdir()
    result = run_script(tmp_path / "empty", detectron2_path=tmp_path / "killed")
    assert_one_sentence(result, "could not be fetched")  # so it set out to install


def test_importable_detectron2_is_left_alone(tmp_path):
    (tmp_path / "detectron2").mkdir()
    (tmp_path / "detectron2" / "__init__.py").touch()
    result = run_script(tmp_path / "no such index", detectron2_path=tmp_path)
    assert result.returncode == 0
    assert result.stdout == f"using Detectron2 of unrecorded version in {tmp_path / 'detectron2'}\n"


def test_no_carrier_is_one_sentence(tmp_path):
    assert_one_sentence(run_script(tmp_path), "labgym==3.1.2", "could not be fetched")


def test_other_carrier_is_one_sentence(carrier):
    assert_one_sentence(run_script(carrier.parent), "was not unpacked", "sha256")
