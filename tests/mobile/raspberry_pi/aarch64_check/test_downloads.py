"""Downloads, from an apt-get and a dpkg that are scripts, and from a pip that has no index."""

import os
import stat
from pathlib import Path
from zipfile import ZipFile

import pytest

from mobile.raspberry_pi.aarch64_check import downloads
from mobile.raspberry_pi.aarch64_check.downloads import (
    UnavailableError,
    unpack_debian_packages,
    unpack_wheels,
)

# Writes down its arguments; `install` puts a package where apt was told to keep them.
APT = """\
#!/bin/sh
echo "$@" >> "$LOG"
for argument in "$@"; do
    case "$argument" in
        --option=Dir::Cache=*) cache="${argument#*=*=}" ;;
        --option=Dir::Etc::sourcelist=*) cp "${argument#*=*=}" "$LOG.sources" ;;
        indextargets) printf "one://place/\\none://place/\\ntwo://place/\\n" ;;
        update) exit 100 ;;
        install) touch "$cache/archives/thing_1.deb" ;;
    esac
done
"""
DPKG = """\
#!/bin/sh
echo "$1 $(basename "$2")" > "$3/unpacked"
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """The only folder of programs beside the system's own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setattr(downloads, "_KEYS", Path(os.devnull))

    def write(**scripts):
        for name, script in scripts.items():
            path = folder / name.replace("_", "-")
            path.write_text(script)
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return write


def test_packages_come_through_an_apt_of_its_own(programs, tmp_path):
    programs(apt_get=APT, dpkg=DPKG)
    unpack_debian_packages(["one", "two"], "trixie", "arm64", tmp_path)
    assert (tmp_path / "unpacked").read_text() == "--extract thing_1.deb\n"
    targets, update, install = (tmp_path / "log").read_text().splitlines()
    assert targets == "indextargets --format=$(REPO_URI)"
    assert update.endswith(" update")  # it failed, which one of several sources may do
    assert install.endswith(" install --yes --download-only --no-install-recommends one two")
    assert "--option=APT::Architecture=arm64 " in install
    for part in ("Dir::State", "Dir::State::status", "Dir::Cache", "Dir::Log"):
        (place,) = (word for word in install.split() if word.startswith(f"--option={part}="))
        assert not place.partition("=")[2].partition("=")[2].startswith(("/var", "/etc", "/usr"))
    # The release that is asked for, from each place that this machine's own packages come from.
    assert (tmp_path / "log.sources").read_text() == (
        "deb [signed-by=/dev/null] one://place/ trixie main\n"
        "deb [signed-by=/dev/null] two://place/ trixie main\n"
    )
    assert "--option=Dir::Etc::sourceparts=- " in install


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("#!/bin/sh\necho W: x >&2; echo E: No one >&2; exit 100", "^apt-get: E: No one$"),
        ("#!/bin/sh\nexit 1", "^apt-get: failed without a word$"),
    ],
)
def test_packages_that_apt_cannot_get(programs, tmp_path, script, message):
    programs(apt_get=script, dpkg=DPKG)
    with pytest.raises(UnavailableError, match=message):
        unpack_debian_packages(["one"], "trixie", "arm64", tmp_path)


def test_a_download_that_takes_too_long(programs, tmp_path, monkeypatch):
    programs(apt_get="#!/bin/sh\nexec sleep 60", dpkg=DPKG)
    monkeypatch.setattr("mobile.raspberry_pi.aarch64_check.downloads._MINUTES", 0.001)
    with pytest.raises(UnavailableError, match=r"^apt-get took more than 0.001 minutes$"):
        unpack_debian_packages(["one"], "trixie", "arm64", tmp_path)


@pytest.mark.parametrize("missing", ["apt-get", "dpkg"])
def test_a_machine_that_is_no_debian(tmp_path, monkeypatch, missing):
    monkeypatch.setattr(
        "shutil.which", lambda program: None if program == missing else f"/usr/bin/{program}"
    )
    with pytest.raises(UnavailableError, match=f"^{missing} is not installed$"):
        unpack_debian_packages(["one"], "trixie", "arm64", tmp_path)


def test_a_machine_without_debians_keys(programs, tmp_path, monkeypatch):
    programs(apt_get=APT, dpkg=DPKG)
    monkeypatch.setattr(downloads, "_KEYS", tmp_path / "keys")
    with pytest.raises(
        UnavailableError, match=r"^debian-archive-keyring is not installed: .*/keys$"
    ):
        unpack_debian_packages(["one"], "trixie", "arm64", tmp_path)


@pytest.fixture
def links(tmp_path, monkeypatch):
    """The folder that is all that pip knows, whatever this machine's configuration says."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "links"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_wheels_that_pip_cannot_find(links, tmp_path):
    with pytest.raises(UnavailableError, match=r"^pip: ERROR: .*No matching distribution.*torch"):
        unpack_wheels(["torch==2.13.0"], "3.11", tmp_path / "wheels")


@pytest.mark.parametrize(
    ("tag", "taken"),
    [
        ("cp313-cp313-manylinux_2_28_aarch64", True),
        ("cp312-abi3-manylinux2014_aarch64", True),
        ("py3-none-any", True),
        ("cp313-cp313-manylinux_2_28_x86_64", False),
        ("cp311-cp311-manylinux_2_28_aarch64", False),
    ],
)
def test_only_wheels_for_aarch64_and_the_python_are_taken(links, tmp_path, tag, taken):
    """From a folder of one empty wheel, which the Python that runs this may be too old for."""
    with ZipFile(links / f"thing-1-{tag}.whl", "w") as wheel:
        info = "thing-1.dist-info"
        wheel.writestr("thing.py", "")
        needs = "Metadata-Version: 2.1\nName: thing\nVersion: 1\nRequires-Python: >=3.12\n"
        wheel.writestr(f"{info}/METADATA", needs)
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: no\nTag: {tag}\n")
        wheel.writestr(f"{info}/RECORD", "")
    if taken:
        unpack_wheels(["thing==1"], "3.13", tmp_path / "wheels")
        assert (tmp_path / "wheels" / "thing.py").exists()
    else:
        with pytest.raises(UnavailableError, match="No matching distribution"):
            unpack_wheels(["thing==1"], "3.13", tmp_path / "wheels")
