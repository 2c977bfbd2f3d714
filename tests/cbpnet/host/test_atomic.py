import errno
import os
import stat
import tempfile
from pathlib import Path

import pytest

from cbpnet.host.atomic import final_path, make_folder, write_atomically
from cbpnet.host.errors import InputError


def test_writes_the_bytes_and_nothing_else(tmp_path):
    write_atomically(tmp_path / "state", b"old")
    write_atomically(tmp_path / "state", b"new bytes")
    assert (tmp_path / "state").read_bytes() == b"new bytes"
    assert list(tmp_path.iterdir()) == [tmp_path / "state"]


def test_file_gets_the_permissions_of_an_ordinary_one(tmp_path):
    (tmp_path / "ordinary").write_bytes(b"")
    write_atomically(tmp_path / "state", b"")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ordinary", "state")]
    assert modes[0] == modes[1]


def test_bytes_reach_the_disc_before_the_name_changes(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, Path.replace

    def record_fsync(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        events.append("flush folder" if is_folder else "flush file")
        fsync(descriptor)

    def record_replace(source, target):
        events.append("replace")
        assert source.parent == target.parent
        assert source.read_bytes() == b"new"
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(Path, "replace", record_replace)
    write_atomically(tmp_path / "state", b"new")
    assert events == ["flush file", "replace", "flush folder"]


def test_what_a_temporary_file_was_to_be(tmp_path, monkeypatch):
    temporaries = []
    monkeypatch.setattr(Path, "replace", lambda source, target: temporaries.append(source))
    for name in ("state", ".hidden.tmp"):
        path = tmp_path / name
        write_atomically(path, b"new")
        assert final_path(temporaries.pop()) == final_path(path) == path


@pytest.mark.parametrize(("owner", "step"), [(os, "fsync"), (Path, "replace")])
def test_failure_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch, owner, step):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    write_atomically(tmp_path / "state", b"old")
    monkeypatch.setattr(owner, step, fail)
    with pytest.raises(InputError, match=r"state: No space left on device"):
        write_atomically(tmp_path / "state", b"new")
    assert (tmp_path / "state").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "state"]


def test_interruption_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    write_atomically(tmp_path / "state", b"old")
    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "state", b"new")
    assert (tmp_path / "state").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "state"]


def test_a_file_system_that_cannot_flush_folders_is_served(tmp_path, monkeypatch):
    fsync = os.fsync

    def refuse_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    write_atomically(tmp_path / "state", b"new")
    assert (tmp_path / "state").read_bytes() == b"new"


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere/state: No such file or directory; name a file"):
        write_atomically(tmp_path / "nowhere" / "state", b"")


def test_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"kept")
    with pytest.raises(InputError, match=r"file/state: Not a directory"):
        write_atomically(tmp_path / "file" / "state", b"")
    assert (tmp_path / "file").read_bytes() == b"kept"


def test_a_folder_is_made_with_those_above_it_and_left_empty(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"kept")
    with pytest.raises(InputError, match=r"make the folder .*file/new or write.*Not a directory"):
        make_folder(tmp_path / "file" / "new")


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    def refuse(dir):  # noqa: A002
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(InputError, match=r"write to it: Permission denied; name one where"):
        make_folder(tmp_path)
