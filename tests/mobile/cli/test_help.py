"""What the commands say of themselves, and that it comes at once."""

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import click
import pytest

from cbpnet.study.plasticity import Form
from mobile.cli import COMMANDS, main

ROOT = Path(__file__).resolve().parents[3]
HEAVY = {"executorch", "matplotlib", "sklearn", "timm", "torch", "torchao", "torchvision"}

# Prints the helps' commands that have drawn in heavy modules which those before did not.
HELPS = f"""
import contextlib, io, json, sys
from mobile.cli import main
found, before = {{}}, set()
for command in sys.argv[1:]:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        main([command, "--help"])
    drawn_in = {HEAVY} & sys.modules.keys() - before
    before |= drawn_in
    if drawn_in:
        found[command] = sorted(drawn_in)
print(json.dumps(found))
"""


def in_a_new_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)


def command_named(name: str) -> click.Command:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    return command


def test_no_help_waits_for_torch() -> None:
    assert json.loads(in_a_new_process("-c", HELPS, "--help", *COMMANDS).stdout) == {}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_help_has_an_example_of_the_command(name: str) -> None:
    epilog = command_named(name).epilog or ""
    assert epilog.startswith("\b\nExample")
    assert f"\n  cbpnet-mobile {name}" in epilog


@pytest.mark.parametrize("command", [[], ["bench"]])
def test_the_module_and_the_short_option_are_the_same_command(command: list[str]) -> None:
    short = in_a_new_process("-m", "mobile", *command, "-h").stdout
    assert short == in_a_new_process("-m", "mobile", *command, "--help").stdout
    assert short.startswith(" ".join(["Usage: cbpnet-mobile", *command]))


def test_the_forms_of_the_block_are_those_of_the_study() -> None:
    options = {each.name: each.type for each in command_named("plasticity").params}
    choice = options["forms"]
    assert isinstance(choice, click.Choice)
    assert tuple(choice.choices) == get_args(Form)
