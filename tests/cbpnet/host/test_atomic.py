import errno
import fcntl
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from cbpnet.host.atomic import final_path, make_folder, real_path, write_atomically
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


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o444])
def test_permissions_stay_as_they_were(tmp_path, mode):
    path = tmp_path / "state"
    path.write_bytes(b"old")
    path.chmod(mode)
    write_atomically(path, b"new", tmp_path / "older")
    write_atomically(tmp_path / "beside", b"new", like=path)
    for name in ("state", "older", "beside"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode


def test_no_content_is_in_a_file_that_others_may_still_read(tmp_path, monkeypatch):
    path, modes = tmp_path / "state", []
    path.write_bytes(b"old")
    path.chmod(0o600)
    fchmod = os.fchmod

    def record(descriptor, mode):
        found = os.fstat(descriptor)
        modes.append((stat.S_IMODE(found.st_mode), found.st_size))
        fchmod(descriptor, mode)

    monkeypatch.setattr(os, "fchmod", record)
    write_atomically(path, b"new")
    assert modes == [(0o600, 0)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_owner_and_group_stay_as_they_were(tmp_path):
    path = tmp_path / "state"
    path.write_bytes(b"old")
    os.chown(path, 1234, 2345)
    write_atomically(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


def test_a_group_that_cannot_be_kept_may_do_no_more_than_others(tmp_path, monkeypatch):
    path = tmp_path / "state"
    path.write_bytes(b"old")
    path.chmod(0o664)
    found = os.fstat(os.open(path, os.O_RDONLY))
    foreign = os.stat_result((*found[:5], found.st_gid + 1, *found[6:]))

    def refuse(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    stat_of = Path.stat
    monkeypatch.setattr(
        Path, "stat", lambda self, **how: foreign if self == path else stat_of(self, **how)
    )
    write_atomically(path, b"new")
    monkeypatch.undo()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_one_and_its_target_is_written(tmp_path, there):
    folder = tmp_path / "folder"
    folder.mkdir()
    if there:
        (folder / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("folder/target")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (folder / "target").read_bytes() == b"new"
    assert [path.name for path in folder.iterdir()] == ["target"]
    assert real_path(tmp_path / "link") == (folder / "target").resolve()


def test_links_in_a_circle_and_what_is_no_file_are_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    for name, reason in {"a": "Too many", "folder": "it is no file", "pipe": "it is no f"}.items():
        with pytest.raises(InputError, match=rf"^cannot write .*/{name}: {reason}"):
            write_atomically(tmp_path / name, b"new")
    assert sorted(tmp_path.iterdir()) == before


def test_an_older_file_is_kept_where_it_is_told(tmp_path, monkeypatch):
    path, older = tmp_path / "state", tmp_path / "state.1"
    write_atomically(path, b"1", older)
    assert not older.exists()
    write_atomically(path, b"2", older)
    assert (path.read_bytes(), older.read_bytes()) == (b"2", b"1")

    def refuse(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)  # as FAT does
    write_atomically(path, b"3", older)
    assert (path.read_bytes(), older.read_bytes()) == (b"3", b"2")
    assert sorted(tmp_path.iterdir()) == [path, older]


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    path = tmp_path / "state"
    left, used = (tmp_path / f".state.{digit * 8}.tmp" for digit in "0f")
    others = [tmp_path / name for name in (".state.tmp", ".other.00000000.tmp", "state.0.tmp")]
    for each in (left, used, *others):
        each.write_bytes(b"half")
    with used.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_atomically(path, b"new")
        assert sorted(tmp_path.iterdir()) == sorted([path, used, *others])
    write_atomically(path, b"new")
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


CALLS = (
    *((os, name) for name in ("open", "fsync", "link", "fchmod")),
    *((Path, name) for name in ("replace",)),
    (fcntl, "flock"),
)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES])
@pytest.mark.parametrize(("owner", "name"), CALLS)
def test_whatever_call_fails_the_file_is_the_old_one_or_the_new_one(
    tmp_path, monkeypatch, owner, name, code
):
    """The first call fails, then the second alone, and so on until none does."""
    path, older, real = tmp_path / "state", tmp_path / "older", getattr(owner, name)
    for failing in range(9):
        for each, content in {path: b"old", older: b"oldest"}.items():
            each.unlink(missing_ok=True)  # they may be one file by now
            each.write_bytes(content)
        calls = 0

        def fail(*arguments, failing=failing, **named):
            nonlocal calls
            calls += 1
            if calls - 1 == failing:
                raise OSError(code, os.strerror(code))
            return real(*arguments, **named)

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            said = ""
            try:
                write_atomically(path, b"new", older)
            except InputError as error:
                said = str(error)
        found = path.read_bytes(), older.read_bytes()
        if said:
            assert said.startswith(f"cannot write {path}: {os.strerror(code)}; name a file in")
            assert found in ((b"old", b"oldest"), (b"old", b"old"))
        else:
            assert found == (b"new", b"old")
        assert sorted(tmp_path.iterdir()) == [older, path]
        if calls <= failing:
            return
    raise AssertionError(f"{name} is called again and again")


FULL = """
import resource, sys
from pathlib import Path
from cbpnet.host.atomic import write_atomically

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
write_atomically(Path(sys.argv[1]), bytes(5000), Path(sys.argv[1] + ".1"))
"""


def test_a_file_system_without_room_leaves_the_old_file(tmp_path):
    path = tmp_path / "state"
    path.write_bytes(b"old")
    result = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True)
    assert f"cannot write {path}: File too large; name a file" in result.stderr
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_left_by_one_who_goes_on_where_a_killed_one_kept_the_older_file(tmp_path):
    state, older = tmp_path / "state", tmp_path / "state.1"
    state.write_bytes(b"old")
    older.hardlink_to(state)  # killed before the new file took the name
    (tmp_path / ".state.1.0123abcd.tmp").write_bytes(b"left by another one")
    write_atomically(state, b"new", older)
    assert (state.read_bytes(), older.read_bytes()) == (b"new", b"old")
    assert {path.name for path in tmp_path.iterdir()} == {"state", "state.1"}
