"""What was verified is remembered in the user's cache, if that can be trusted."""

import dataclasses
import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from mobile.device.bundle import open_bundle
from mobile.device.verified import is_verified, remember, verification_key

KEYS = [f"{number:064x}" for number in range(1002)]


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cbpnet-mobile" / "verified"


def test_a_key_is_remembered_for_this_user_alone(file):
    assert not is_verified(KEYS[0])
    remember(KEYS[0])
    assert is_verified(KEYS[0])
    assert not is_verified(KEYS[1])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert list(file.parent.iterdir()) == [file]


def test_the_latest_thousand_are_kept(file):
    file.parent.mkdir(parents=True)
    file.write_text("".join(f"{key}\n" for key in KEYS[:1000]))
    file.chmod(0o600)
    remember(KEYS[1000])
    assert not is_verified(KEYS[0])
    assert is_verified(KEYS[1])
    assert is_verified(KEYS[1000])
    assert file.stat().st_size == 65_000


@pytest.mark.parametrize(
    "content", [b"\xff", b"no digest\n", b"\n" * 10, b"".join(b"%064x\n" % n for n in range(1001))]
)
def test_a_damaged_file_is_none_and_is_replaced(file, content):
    file.parent.mkdir(parents=True)
    file.write_bytes(KEYS[0].encode() + b"\n" + content)
    file.chmod(0o600)
    assert not is_verified(KEYS[0])
    remember(KEYS[1])
    assert file.read_text() == f"{KEYS[1]}\n"


def test_a_file_that_others_may_write_is_none(file):
    remember(KEYS[0])
    file.chmod(0o666)
    assert not is_verified(KEYS[0])


def test_where_nothing_can_be_written_nothing_is_remembered(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    remember(KEYS[0])
    assert not is_verified(KEYS[0])


def test_without_the_variable_it_is_in_the_home(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    remember(KEYS[0])
    assert (tmp_path / ".cache" / "cbpnet-mobile" / "verified").exists()
    monkeypatch.setenv("XDG_CACHE_HOME", os.curdir)
    assert is_verified(KEYS[0])


def test_a_key_is_of_all_that_is_checked(bundle):
    opened = open_bundle(Path(bundle))
    opened.file.close()
    engine = SimpleNamespace(name="one", versions={"one": "1"})
    key = verification_key(opened, engine)
    renamed = dataclasses.replace(opened.manifest, class_names=("apple",))
    assert verification_key(dataclasses.replace(opened, manifest=renamed), engine) == key
    changed = dataclasses.replace(opened.manifest, target="vgf")
    others = [
        verification_key(dataclasses.replace(opened, manifest=changed), engine),
        verification_key(dataclasses.replace(opened, program_sha256=bytes(32)), engine),
        verification_key(opened, SimpleNamespace(name="two", versions={"one": "1"})),
        verification_key(opened, SimpleNamespace(name="one", versions={"one": "2"})),
    ]
    assert len({key, *others}) == 5
