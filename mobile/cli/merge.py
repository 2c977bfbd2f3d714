"""``cbpnet-mobile merge``: what several devices learnt, in one state."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cbpnet.host.errors import InputError
from cbpnet.host.text import counted, listed
from mobile.cli.bundle_options import BundleOptions
from mobile.cli.option_groups import takes
from mobile.cli.options import print_json, print_note
from mobile.cli.parameters import FilePath
from mobile.cli.state_options import WriterOptions

if TYPE_CHECKING:
    from cbpnet.run.merging import Merged

__all__ = ["merge"]


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile merge kitchen.safetensors hall.safetensors --out house.safetensors
  cbpnet-mobile merge a.safetensors b.safetensors --map tabby=cat --out c.safetensors
  cbpnet-mobile merge a.safetensors b.safetensors --signed-by a.pub --signed-by b.pub --out c
"""
)
@click.argument("states", type=FilePath(), nargs=-1, required=True)
@click.option(
    "--out",
    type=FilePath(dir_okay=False),
    required=True,
    help="State file to write.",
)
@click.option(
    "--bundle",
    type=FilePath(),
    help="The bundle that they belong to; default: the one that fits, beside them or here.",
)
@click.option(
    "--prefix",
    is_flag=True,
    help="Keep apart what several states call by one name in lessons of their own: each class gets "
    "its state's name before its own.",
)
@click.option(
    "--map",
    "renamed",
    multiple=True,
    metavar="OLD=NEW",
    help="Another name for a class of a state's own lessons; may be repeated.",
)
@click.option(
    "--recount",
    is_flag=True,
    help="Count the kept pictures of a state that was adapted otherwise than the first one, in the "
    "place of its lessons.",
)
@click.option(
    "--signed-by",
    "public_keys",
    multiple=True,
    metavar="PUB",
    help="Take only states that this public key signed, a .pub file or the key itself; may be "
    "repeated. Default: states need no signature.",
)
@takes(writer=WriterOptions)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def merge(
    states: tuple[Path, ...],
    out: Path,
    bundle: Path | None,
    prefix: bool,
    renamed: tuple[str, ...],
    recount: bool,
    public_keys: tuple[str, ...],
    writer: WriterOptions,
    as_json: bool,
) -> None:
    """Make the states of several devices one, as if one device had learnt everything.

    The devices must have gone on from one state. A lesson that is in several states is counted
    once, and classes of one name are one class. The states that are merged stay as they are.
    """
    if len(states) < 2:
        raise click.UsageError("name two states or more")
    _check_signed(states, public_keys)
    names = _names(states, prefix, renamed)
    with writer.writing(out):
        path = _found(states) if bundle is None else bundle
        learner = BundleOptions(path, threads=None, engine=None).learner(None)
        merged = learner.merge_states(states, names, recount)
        learner.save(out)
    if as_json:
        print_json(_outcome(out, learner.images, merged))
        return
    for name, titles in merged.clashes.items():
        click.echo(f"class {name!r} was taught in {listed(titles)}, and is one class now")
    click.echo(
        f"wrote {out}: {counted(len(learner.class_names), 'class')} of "
        f"{counted(learner.lessons, 'lesson')}, {merged.shared} of them in several states"
    )
    command = ["cbpnet-mobile", "predict", "BUNDLE", "--state", str(out), "IMAGE..."]
    click.echo(f"classify with it: {shlex.join(command)}")


def _check_signed(states: Sequence[Path], public_keys: Sequence[str]) -> None:
    """Raise `InputError` unless one of the keys, if there are any, signed each state."""
    if not public_keys:
        return
    from mobile.trust.keys import read_public_key
    from mobile.trust.signatures import verify

    keys = [read_public_key(each) for each in public_keys]
    for state in states:
        verify(state, keys)


def _names(
    states: Sequence[Path], prefix: bool, renamed: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Return by state other names for its classes."""
    from cbpnet.run.state_file import load_state

    pairs = {}
    for each in renamed:
        old, equals, new = each.partition("=")
        if not (old and equals and new):
            raise click.BadParameter(
                f"{each!r} is not OLD=NEW, as in tabby=cat", param_hint="--map"
            )
        pairs[old] = new
    if not prefix:
        return {str(path): pairs for path in states}
    return {
        str(path): {
            name: f"{path.stem}-{pairs.get(name, name)}"
            for name in load_state(path, _unsaid)[1].class_names
        }
        for path in states
    }


def _found(states: Sequence[Path]) -> Path:
    """Return the first bundle, beside the states or in this folder, that they fit."""
    from cbpnet.run.state_file import load_state
    from mobile.device.bundle import read_manifest
    from mobile.device.saved import load_knowledge

    folders = dict.fromkeys([*(path.parent for path in states), Path()])
    for path in dict.fromkeys(p.resolve() for folder in folders for p in folder.glob("*.pte")):
        try:
            manifest = read_manifest(path)
            load_knowledge(states[0], manifest, False, _unsaid)
        except InputError:
            continue
        print_note(f"uses the bundle {path}")
        return path
    load_state(states[0], _unsaid)  # which says what is wrong with it, if anything is
    raise InputError(
        f"no bundle that {states[0]} fits lies beside the states or here; name it with --bundle"
    )


def _unsaid(_: str) -> None:
    """Leave a note to `OnDeviceLearner.merge_states`, which reads the states once more."""


def _outcome(out: Path, images: dict[str, int], merged: "Merged") -> dict[str, Any]:
    return {
        "state": str(out),
        "classes": images,
        "lessons": merged.journal.lessons,
        "shared_lessons": merged.shared,
        "clashes": merged.clashes,
    }
