"""``cbpnet-mobile move``: an older state's classes in a bundle that learns in one pass."""

import shlex
from pathlib import Path

import click

from cbpnet.host.atomic import make_folder
from cbpnet.host.errors import InputError
from cbpnet.host.text import counted
from mobile.cli.bundle_options import BundleOptions
from mobile.cli.options import print_json, print_note
from mobile.cli.parameters import FilePath

__all__ = ["move"]

_FILE = FilePath(dir_okay=False)


@click.command(
    epilog="""\b
Example:
  cbpnet-mobile move old.safetensors --bundle pets.pte --out pets.safetensors
"""
)
@click.argument("old", type=_FILE)
@click.option("--bundle", type=_FILE, required=True, help="Bundle that learns in one pass.")
@click.option("--out", type=_FILE, required=True, help="State file to write.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def move(old: Path, bundle: Path, out: Path, as_json: bool) -> None:
    """Take the classes of an older state over into a bundle that learns in one pass.

    OLD is a state of CBPNet's tasks, of this or an earlier version. Its classes move with the mean
    of their images, which is less than a lesson teaches: a lesson with some images of each makes up
    for it.
    """
    from cbpnet.run.class_means import read_class_means
    from mobile.device.moved import move_classes
    from mobile.device.one_pass_program import OnePassProgram
    from mobile.device.saved import Saving, save_knowledge

    means = read_class_means(old, print_note)
    make_folder(out.parent)
    if out.exists():
        raise InputError(f"{out} exists; name a file that does not, with --out")
    program = BundleOptions(bundle, threads=None, engine=None).program()
    if not program.manifest.config.one_pass:
        raise InputError(
            f"{bundle} does not learn in one pass, its adaptation is cbpnet; export one without "
            "--adaptation cbpnet"
        )
    known = move_classes(means, OnePassProgram(program))
    save_knowledge(out, known, program.manifest, Saving(generation=1))
    if as_json:
        found = {"state": str(out), "bytes": out.stat().st_size, "classes": known.class_names}
        print_json(found)
        return
    click.echo(
        f"wrote {out}: {counted(len(known.class_names), 'class')}, {out.stat().st_size / 1e6:.2f} "
        "MB; their means were taken without a prompt and count as one image each, and how their "
        "images scatter is not known: show it some of each again"
    )
    command = ["cbpnet-mobile", "learn", str(bundle), "--images", "FOLDER", "--state", str(out)]
    click.echo(f"next: {shlex.join(command)}")
