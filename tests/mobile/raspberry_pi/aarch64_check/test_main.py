"""The check as a command: passed, failed, or skipped with one line."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from mobile.raspberry_pi.aarch64_check import material
from mobile.raspberry_pi.aarch64_check.check import SessionError
from mobile.raspberry_pi.aarch64_check.comparison import LIMITS, Distance
from mobile.raspberry_pi.aarch64_check.downloads import UnavailableError

command = import_module("mobile.raspberry_pi.aarch64_check.__main__")
GOOD = Distance({"prompts.g": 1e-6}, True, 1.0, 1e-6)


@pytest.fixture
def boards(monkeypatch, tmp_path):
    """What the boards' sessions come to, by processor: distances, or an error."""
    found = {name: dict.fromkeys(LIMITS, GOOD) for name in ("cortex-a76", "cortex-a72")}
    asked = []

    def check_board(board, made, reference, out, timeout, options):
        asked.append((board.system, out.name, reference.name, options))
        if isinstance(found[board.processor], Exception):
            raise found[board.processor]
        return found[board.processor]

    monkeypatch.setattr(command, "install", lambda cache, say: tmp_path)
    monkeypatch.setattr(command, "run_session", lambda *_: None)
    monkeypatch.setattr(command, "check_board", check_board)
    monkeypatch.setattr(material, "make_pictures", lambda folder: None)
    monkeypatch.setattr(material, "make_bundles", lambda folder: None)
    found["asked"] = asked
    return found


def run(*arguments):
    return CliRunner().invoke(command.main, arguments)


def test_both_boards_have_to_pass(boards, tmp_path):
    result = run("--flip-sign", "block.w_in")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1].endswith("passed on cortex-a76 and cortex-a72")
    assert "cortex-a72 fp32: state within 1.0e-06 (prompts.g), 100.0% of" in result.output
    options = ["--flip-sign=block.w_in"]
    assert sorted(boards["asked"]) == [
        (tmp_path, name, "reference", options) for name in ("cortex-a72", "cortex-a76")
    ]


def test_one_fault_fails_the_check(boards):
    boards["cortex-a72"]["int8"] = replace(GOOD, agreement=0.5)
    result = run()
    assert result.exit_code == 1
    assert "cortex-a72 int8: WRONG: 50.0% of the predictions agree" in result.output
    assert result.output.splitlines()[-1].endswith("check failed on cortex-a72")


def test_a_session_that_does_not_end_well_fails_the_check(boards):
    boards["cortex-a76"] = SessionError("the session had not ended after 5 s")
    result = run()
    assert result.exit_code == 1
    assert "cortex-a76: WRONG: the session had not ended after 5 s" in result.output
    assert result.output.splitlines()[-1].endswith("check failed on cortex-a76")


def test_where_something_is_missing_it_is_skipped_with_one_line(monkeypatch, tmp_path):
    def install(cache, say):
        assert cache == tmp_path / "cache"
        raise UnavailableError("apt-get is not installed")

    monkeypatch.setattr(command, "install", install)
    result = run("--cache", str(tmp_path / "cache"))
    assert (result.exit_code, result.output) == (
        0,
        "aarch64 check skipped: apt-get is not installed\n",
    )


def test_the_cache_is_a_folder_that_git_ignores():
    (cache,) = (option for option in command.main.params if option.name == "cache")
    ignored = Path(__file__).parents[4] / ".gitignore"
    assert f"/{cache.default.parts[0]}/" in ignored.read_text().splitlines()
