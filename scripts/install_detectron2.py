"""Install Detectron2 0.6 (commit e9f7e2ba) where there is no compiler and no GitHub.

Detectron2 is not on PyPI under its own name. The wheel labgym 3.1.2 carries it whole, as the
sub-package LabGym.detectron2. This script fetches that wheel, checks its sha256 before anything is
unpacked, takes the 306 files of Detectron2, puts the import name back to `detectron2`, compares
every file with the recorded hashes of facebookresearch/detectron2 at e9f7e2ba, and lets pip install
them as an ordinary distribution that `pip show detectron2` and `pip uninstall detectron2` know.
It is pure Python: without the compiled operators, which RetinaNet does not need.

A Detectron2 that the running interpreter can already import is used and left alone.

Detectron2 is Apache-2.0. The wheel declares GPL-3.0 for LabGym's own code and holds no Apache text,
so neither the wheel nor any part of it is redistributed with this project: every user fetches it
from the package index, nothing of LabGym is installed, and the Apache-2.0 text with Detectron2's
copyright line (scripts/licenses/detectron2.txt) goes into the installed distribution.

Usage: python scripts/install_detectron2.py (standard library only; exit code 2 after one sentence
on stderr when it cannot be done, and then nothing is installed).
"""

from __future__ import annotations  # so that an older Python gets as far as its sentence

import base64
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
HASH_LIST = SCRIPTS / "detectron2_e9f7e2ba.sha256"
LICENSE = SCRIPTS / "licenses" / "detectron2.txt"

CARRIER = "labgym==3.1.2"
CARRIER_SHA256 = "a2900cff8a3fb508e1975f19b5f9abd9f261966db87b0c332697fb4138c1cb2b"

DIST_INFO = "detectron2-0.6.dist-info"
METADATA = """\
Metadata-Version: 2.1
Name: detectron2
Version: 0.6
Summary: Detectron2 is FAIR's next-generation platform for object detection and segmentation
Home-page: https://github.com/facebookresearch/detectron2
Author: FAIR
License: Apache-2.0
License-File: LICENSE
Requires-Python: >=3.7
Requires-Dist: torch
Requires-Dist: torchvision
Requires-Dist: Pillow
Requires-Dist: numpy
Requires-Dist: matplotlib
Requires-Dist: pycocotools>=2.0.2
Requires-Dist: termcolor
Requires-Dist: yacs>=0.1.8
Requires-Dist: tabulate
Requires-Dist: cloudpickle
Requires-Dist: tqdm>4.29
Requires-Dist: tensorboard
Requires-Dist: fvcore>=0.1.5,<0.1.6
Requires-Dist: iopath>=0.1.7
Requires-Dist: omegaconf>=2.1,<2.4
Requires-Dist: hydra-core>=1.1
Requires-Dist: packaging
Requires-Dist: setuptools<81

Upstream: https://github.com/facebookresearch/detectron2, commit e9f7e2ba, version 0.6, without the
compiled operators (detectron2._C).

The files are byte-identical to upstream's (each was compared by sha256); projects/ and configs/ lie
where upstream's setup.py installs them. The bytes were taken from LabGym/detectron2/ in the wheel
labgym-3.1.2-py3-none-any.whl of the package index, sha256
a2900cff8a3fb508e1975f19b5f9abd9f261966db87b0c332697fb4138c1cb2b, with the import name
LabGym.detectron2 put back to detectron2. Built by scripts/install_detectron2.py of SAD for
Detectron2.
"""
WHEEL = """\
Wheel-Version: 1.0
Generator: SAD for Detectron2 (scripts/install_detectron2.py)
Root-Is-Purelib: true
Tag: py3-none-any
"""


class InstallError(Exception):
    """Detectron2 cannot be installed. The message is one sentence that says why."""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_hash_list(path: Path) -> dict[str, str]:
    """Read lines of `<sha256>  <path>`, as sha256sum writes them, into {path: sha256}."""
    lines = (line.split(maxsplit=1) for line in path.read_text().splitlines())
    return {name: digest for digest, name in lines}


def find_detectron2() -> str | None:
    """Version and place of the Detectron2 this interpreter can import, None without one."""
    spec = importlib.util.find_spec("detectron2")
    # Any folder of that name counts as a namespace package (it has no origin): not Detectron2.
    if spec is None or spec.origin is None:
        return None
    try:
        version = importlib.metadata.version("detectron2")
    except importlib.metadata.PackageNotFoundError:  # e.g. a source tree on PYTHONPATH
        version = "of unrecorded version"
    return f"{version} in {Path(spec.origin).parent}"


def run_pip(*arguments: str, failure: str, **environment: str) -> None:
    """Run this interpreter's pip; if it fails, InstallError: `failure` and pip's own last error."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    pip = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    if pip.returncode:
        said = [line for line in pip.stderr.splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR: ") and "Exception:" not in line]
        reason = (errors or said or [f"exit code {pip.returncode}"])[-1]
        raise InstallError(f"{failure} (pip: {reason.removeprefix('ERROR: ')})")


def download_carrier(folder: Path) -> Path:
    """Download the wheel that carries Detectron2 into an empty folder and return its path."""
    run_pip(
        "download",
        "--no-deps",
        # It asks for an older Python, which concerns LabGym and not the files taken from it.
        "--python-version=3.10",
        "--only-binary=:all:",
        f"--dest={folder}",
        CARRIER,
        failure=f"the wheel {CARRIER} that carries Detectron2 could not be fetched; "
        "check the network and run this again",
    )
    return next(folder.glob("*.whl"))


def read_carrier(wheel: Path, expected_sha256: str) -> dict[str, bytes]:
    """Return {path: content} of upstream's Detectron2 from the wheel that carries it.

    The archive is not even opened before the sha256 of the whole file has been compared.
    """
    found = sha256(wheel.read_bytes())
    if found != expected_sha256:
        raise InstallError(
            f"{wheel.name} was not unpacked because its sha256 is {found} instead of "
            f"{expected_sha256}: the download was cut short or the file is another one; "
            "run this again"
        )
    with zipfile.ZipFile(wheel) as archive:
        return {
            name.removeprefix("LabGym/"): archive.read(name).replace(
                b"LabGym.detectron2", b"detectron2"
            )
            for name in archive.namelist()
            if name.startswith("LabGym/detectron2/")
        }


def check_files(files: dict[str, bytes], hashes: dict[str, str]) -> None:
    """Raise InstallError unless exactly the listed files are there, each with its listed hash."""
    for problem, names in (
        ("missing", hashes.keys() - files.keys()),
        ("not in the list of upstream files", files.keys() - hashes.keys()),
        (
            "not the upstream file (other sha256)",
            {name for name in hashes.keys() & files.keys() if sha256(files[name]) != hashes[name]},
        ),
    ):
        if names:
            others = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise InstallError(f"nothing was installed because {min(names)}{others} is {problem}")


def build_wheel(files: dict[str, bytes], license_text: bytes, folder: Path) -> Path:
    """Write detectron2-0.6-py3-none-any.whl into `folder` and return its path."""
    contents = {
        **files,
        f"{DIST_INFO}/LICENSE": license_text,
        f"{DIST_INFO}/WHEEL": WHEEL.encode(),
        f"{DIST_INFO}/METADATA": METADATA.encode(),
    }
    record_name = f"{DIST_INFO}/RECORD"
    record = [f"{name},{record_hash(content)},{len(content)}" for name, content in contents.items()]
    contents[record_name] = "\n".join([*record, f"{record_name},,", ""]).encode()
    # pip writes files in archive order. An installation that is killed half-way must not be
    # importable and pip must be able to undo it, so the next run does it over: the package's
    # __init__.py goes last, and before it METADATA, which makes pip ask for RECORD.
    for name in (f"{DIST_INFO}/METADATA", "detectron2/__init__.py"):
        contents[name] = contents.pop(name)

    wheel = folder / "detectron2-0.6-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return wheel


def record_hash(content: bytes) -> str:
    """The hash column of a wheel's RECORD: url-safe base64 of the sha256, without padding."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return "sha256=" + digest.rstrip(b"=").decode()


def install() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036
        raise InstallError(f"Python 3.11 or newer is needed, this is {platform.python_version()}")
    present = find_detectron2()
    if present:
        print(f"using Detectron2 {present}")
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = read_carrier(download_carrier(folder), CARRIER_SHA256)
        check_files(files, read_hash_list(HASH_LIST))
        wheel = build_wheel(files, LICENSE.read_bytes(), folder)
        # By name from that folder and nowhere else, so that pip records no temporary path.
        run_pip(
            "install",
            "--force-reinstall",  # over what a killed installation left
            "--no-deps",
            "--no-index",
            f"--find-links={wheel.parent}",
            "detectron2==0.6",
            failure="pip could not install Detectron2",
            PIP_CONFIG_FILE=os.devnull,
            PIP_FIND_LINKS="",
        )
    print(f"installed Detectron2 0.6 (commit e9f7e2ba, {len(files)} files verified)")


if __name__ == "__main__":
    try:
        install()
    except (InstallError, OSError) as error:  # OSError: no space, no permission
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: the same command begins anew", file=sys.stderr)
        sys.exit(130)
