"""scripts/setup.sh installs nothing but what requirements.txt holds a hash of."""

import re
import subprocess

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from toy import REPOSITORY

LOCK = (REPOSITORY / "requirements.txt").read_text()
SETUP = (REPOSITORY / "scripts" / "setup.sh").read_text()


def locked() -> dict[str, list[str]]:
    """`name==version` -> its lines' hashes; a line that is anything else is an error."""
    text = re.sub(r"^#.*\n", "", LOCK, flags=re.MULTILINE).replace("\\\n", "")
    packages = {}
    for line in text.split("\n"):
        if line.strip():
            pin, *hashes = line.split()
            assert re.fullmatch(r"[a-z0-9-]+==[\w.]+", pin), line
            packages[pin] = hashes
    return packages


def test_every_package_has_hashes():
    for pin, hashes in locked().items():
        assert hashes, pin
        assert len(set(hashes)) == len(hashes), pin
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", text) for text in hashes), pin


def test_lock_says_nothing_of_where_from():
    assert "://" not in LOCK
    assert not re.search(r"^\s*(-i|-f|--(?!hash))", LOCK, flags=re.MULTILINE)


def test_lock_holds_what_the_project_needs():
    names = [pin.partition("==")[0] for pin in locked()]
    assert len(set(names)) == len(names)
    listed = re.findall(r'^ +"([a-z][^"]*)",', (REPOSITORY / "setup.py").read_text(), re.MULTILINE)
    assert len(listed) > 10
    versions = dict(pin.split("==") for pin in locked())
    for text in listed:
        requirement = Requirement(text)
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), text


def test_pip_installs_from_the_lock_in_hash_mode_alone():
    """The only other installation is that of this folder, which fetches nothing."""
    lines = re.findall(r"^ *pip install .*", SETUP, flags=re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        assert "--require-hashes" in line or "--no-deps -e ." in line, line


def test_setuptools_is_cut_out_of_the_lock_with_its_hashes():
    script = re.search(r"<\(sed -n '(.*)' \"\$lock\"\)", SETUP)[1]
    command = ["sed", "-n", script, str(REPOSITORY / "requirements.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    pin = next(pin for pin in locked() if pin.startswith("setuptools=="))
    assert done.stdout.replace("\\\n", "").split() == [pin, *locked()[pin]]
