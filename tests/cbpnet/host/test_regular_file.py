import os
from pathlib import Path

import pytest

from cbpnet.host.regular_file import open_regular


def test_a_file_is_opened_through_links_too(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").symlink_to("a")
    for name in "ab":
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"content"


def test_what_has_become_a_pipe_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, before = tmp_path / "a", set(Path("/proc/self/fd").iterdir())
    path.touch()
    as_it_was = path.stat()
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(Path, "stat", lambda *_, **__: as_it_was)
    with pytest.raises(OSError, match="it is a named pipe and no file"):
        open_regular(path)
    monkeypatch.undo()
    assert set(Path("/proc/self/fd").iterdir()) == before
