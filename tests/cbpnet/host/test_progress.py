"""Bars where a person watches, and lines where a file or a pipe does."""

import io
import sys

import pytest

from cbpnet.host.progress import expect, progress_bar, with_progress


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_file_gets_one_line_and_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("learning", 1200) as bar:
        for _ in range(1200):
            bar.update()
    assert capsys.readouterr() == ("", "learning: 1,200 images\n")


def test_a_terminal_gets_a_bar_and_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with progress_bar("timing", 3, "round") as bar:
        bar.update(3)
    assert "3/3" in terminal.getvalue()
    assert "timing: 3 rounds" not in terminal.getvalue()


def test_items_are_counted_as_they_are_done_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert list(with_progress("abc", "reading")) == ["a", "b", "c"]
    assert "3/3" in terminal.getvalue()


def test_a_bound_gives_way_to_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with progress_bar("learning", 100) as bar:
        bar.update(10)
        expect(bar, 5)
        assert "10/15" in terminal.getvalue()
        bar.update(5)
    assert "15/15" in terminal.getvalue()
