"""The check as a command: passed, failed, or skipped with one line."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from mobile.raspberry_pi.aarch64_check.check import BoardError
from mobile.raspberry_pi.aarch64_check.comparison import Distance
from mobile.raspberry_pi.aarch64_check.downloads import UnavailableError
from mobile.raspberry_pi.aarch64_check.material import MaterialError

command = import_module("mobile.raspberry_pi.aarch64_check.__main__")
GOOD = Distance({"prompts.g": 1e-6}, True, 1.0, 1e-6)
ZERO, FOUR, FIVE = (f"trixie/cortex-{name}" for name in ("a53", "a72", "a76"))
TORCH = "bookworm/cortex-a76"


@pytest.fixture
def shown(monkeypatch, tmp_path):
    """What boards show, by board and by what they are asked; an error is raised."""
    shown = {}

    def of(board, what, usual):
        found = shown.get((board, what), usual)
        if isinstance(found, Exception):
            raise found
        return found

    def install(system, emulator, cache, say):
        return {name: f"{system.suite}/{name}" for name in command.PROCESSORS}

    monkeypatch.setattr(command, "get_emulator", lambda cache, say: tmp_path)
    monkeypatch.setattr(command, "install", install)
    monkeypatch.setattr(command, "get_vectors", lambda folder: of("", "vectors", folder))
    monkeypatch.setattr(command, "export_vit_tiny", lambda path: of("", "weights", False))
    monkeypatch.setattr(command, "make_lesson", lambda course, folder: None)
    monkeypatch.setattr(
        command,
        "check_conformance",
        lambda board, engine, *_: of(board, "conformance", f"9 passed with {engine}"),
    )
    monkeypatch.setattr(
        command,
        "check_session",
        lambda board, course, out, timeout, options: of(
            board, course.name, replace(GOOD, agreement=0.5) if options else GOOD
        ),
    )
    monkeypatch.setattr(
        command, "measure_learning", lambda board, bundle, *_: of(board, bundle.name, 200.0)
    )
    return shown


def run(*arguments):
    return CliRunner().invoke(command.main, arguments)


def test_all_boards_have_to_pass(shown):
    result = run()
    assert result.exit_code == 0, result.output
    assert result.output.endswith(f"check passed on {ZERO}, {TORCH}, {FOUR}, {FIVE}\n")
    assert f"{FOUR} conformance: 9 passed with executorch-numpy-runtime" in result.output
    assert f"{TORCH} conformance: 9 passed with executorch\n" in result.output
    assert f"{TORCH} one_pass_int8: state within 1.0e-06 (prompts.g), 100.0% of" in result.output
    assert result.output.count("tasks_int8: state") == 4
    assert result.output.count("learn: 200 MB at most") == 1


def test_boards_are_chosen_by_name(shown):
    result = run("--board", FIVE, "--board", "bookworm/cortex-a53")
    assert result.output.endswith(f"check passed on {FIVE}, bookworm/cortex-a53\n")
    assert "MB" not in result.output
    assert run("--board", "buster/cortex-a53").exit_code == 2


@pytest.mark.parametrize(
    ("what", "found", "fault"),
    [
        ("conformance", BoardError("pytest ended with status 1"), "pytest ended with status 1"),
        (
            "one_pass_int8",
            replace(GOOD, agreement=0.5),
            "one_pass_int8: 50.0% of the predictions agree",
        ),
        ("tasks_int8", BoardError("it had not ended after 5 s"), "it had not ended after 5 s"),
        ("bundle.pte", 301.0, "learn holds 301 MB, at most 300 is right"),
    ],
)
def test_one_fault_fails_the_check(shown, what, found, fault):
    shown[ZERO, what] = found
    result = run()
    assert result.exit_code == 1
    assert f"{ZERO}: WRONG: {fault}" in result.output
    assert result.output.endswith(f"check failed on {ZERO}\n")


def test_a_vit_tiny_is_measured_where_there_is_one(shown):
    shown["", "weights"] = True
    shown[ZERO, "vit_tiny.pte"] = 299.0
    result = run("--board", ZERO)
    assert "learn: 299 MB at most" in result.output


def test_a_planted_fault_reaches_the_sessions(shown):
    result = run("--board", FIVE, "--flip-sign", "prompts.g")
    assert result.exit_code == 1
    assert result.output.count("WRONG") == 2


def test_where_something_is_missing_it_is_skipped_with_one_line(monkeypatch, tmp_path):
    def get_emulator(cache, say):
        assert cache == tmp_path / "cache"
        raise UnavailableError("apt-get is not installed")

    monkeypatch.setattr(command, "get_emulator", get_emulator)
    result = run("--cache", str(tmp_path / "cache"))
    assert (result.exit_code, result.output) == (
        0,
        "aarch64 check skipped: apt-get is not installed\n",
    )


def test_material_that_cannot_be_made_fails_the_check(shown):
    shown["", "vectors"] = MaterialError("no room")
    result = run()
    assert result.exit_code == 1
    assert result.output.endswith("nothing to learn from:\nno room\n")


def test_the_cache_is_a_folder_that_git_ignores():
    (cache,) = (option for option in command.main.params if option.name == "cache")
    ignored = Path(__file__).parents[4] / ".gitignore"
    assert f"/{cache.default.parts[0]}/" in ignored.read_text().splitlines()
