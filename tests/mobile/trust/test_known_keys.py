"""The file of trusted bundles: its user's alone, never half-written, never trusted when damaged."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cbpnet.host.errors import InputError
from mobile.trust import known_keys as module
from mobile.trust.known_keys import forget, known_key, known_keys, remember

REMEMBERS = """
import sys, pathlib
from mobile.trust.known_keys import remember
for number in range(20):
    remember(pathlib.Path(f"/{sys.argv[1]}/{number}.pte"), "key", None)
"""


@pytest.fixture(autouse=True)
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home" / "cbpnet-mobile" / "trusted_bundles.json"


def test_a_key_is_remembered_by_where_the_bundle_stands(path, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    assert known_key(Path("pets.pte")) is None
    remember(Path("pets.pte"), "first", None)
    assert known_key(tmp_path / "link" / "pets.pte") == "first"
    remember(tmp_path / "pets.pte", "second", "first")
    assert {name: found.key for name, found in known_keys().items()} == {
        str(tmp_path / "pets.pte"): "second"
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_what_is_forgotten_is_known_no_more(path):
    assert not forget(Path("pets.pte"))
    assert not path.parent.exists()
    remember(Path("pets.pte"), "key", None)
    assert forget(Path("pets.pte"))
    assert known_keys() == {}


def test_another_programs_answer_is_not_written_over():
    remember(Path("pets.pte"), "theirs", None)
    for instead_of in (None, "mine"):
        with pytest.raises(InputError, match="another program has changed whom"):
            remember(Path("pets.pte"), "mine", instead_of)
    assert known_key(Path("pets.pte")) == "theirs"


def test_two_programs_may_meet_a_bundle_at_once():
    remember(Path("pets.pte"), "key", None)
    first = known_keys()
    remember(Path("pets.pte"), "key", None)
    assert known_keys() == first


def test_two_writers_lose_nothing():
    writers = [subprocess.Popen([sys.executable, "-c", REMEMBERS, name]) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert known_keys().keys() == {f"/{name}/{number}.pte" for name in "ab" for number in range(20)}


def test_the_file_does_not_grow_for_ever(monkeypatch):
    monkeypatch.setattr(module, "_MOST", 2)
    for name in "ab":
        remember(Path(name), "key", None)
    with pytest.raises(InputError, match=r"remembers 2 bundles, and has room for 2; let it forget"):
        remember(Path("c"), "key", None)
    remember(Path("a"), "another", "key")


GOOD = {"format": "cbpnet-mobile trusted bundles, version 1", "bundles": {}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        json.dumps(GOOD).encode()[:-1],
        json.dumps(GOOD | {"format": "another"}).encode(),
        json.dumps(GOOD | {"more": 1}).encode(),
        json.dumps(GOOD | {"bundles": {"/a.pte": "key"}}).encode(),
        json.dumps(GOOD | {"bundles": {"/a.pte": {"key": 1, "since": ""}}}).encode(),
        json.dumps(GOOD).encode() + b" " * (1 << 20),
    ],
)
def test_a_damaged_file_is_one_sentence_and_trusts_nobody(path, content):
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    for asked in (lambda: known_key(Path("a.pte")), lambda: remember(Path("a.pte"), "key", None)):
        with pytest.raises(InputError, match=r"trusted_bundles\.json, which remembers .* damaged"):
            asked()
    assert path.read_bytes() == content


def test_a_file_that_cannot_be_read_trusts_nobody(path):
    path.mkdir(parents=True)
    with pytest.raises(InputError, match=r"cannot be read: Is a directory"):
        known_key(Path("a.pte"))


def test_where_nothing_can_be_written_a_sentence_says_what_helps(path, tmp_path):
    (tmp_path / "home").write_text("a file")
    with pytest.raises(InputError, match="set XDG_STATE_HOME to a folder that can be written to"):
        remember(Path("a.pte"), "key", None)


def test_a_relative_folder_is_left_out_of_account(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    remember(Path("a.pte"), "key", None)
    assert [each.name for each in tmp_path.iterdir()] == ["user"]
    assert (tmp_path / "user/.local/state/cbpnet-mobile/trusted_bundles.json").exists()
