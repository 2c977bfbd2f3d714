"""``cbpnet-mobile inspect``: what a bundle or a state says of itself."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tabulate import tabulate

from cbpnet.host.text import listed, printable
from mobile.cli.bundle_options import BundleOptions
from mobile.cli.options import print_json
from mobile.cli.parameters import FilePath
from mobile.cli.signing import signed_json, signed_text, verified
from mobile.cli.state_report import state_json, state_text

if TYPE_CHECKING:
    from mobile.device.manifest import Manifest, MethodInfo

__all__ = ["inspect"]

_NAMED = 4  # operators of a method


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile inspect pets.pte --json
  cbpnet-mobile inspect pets.safetensors --bundle pets.pte
  cbpnet-mobile inspect pets.pte --verify maker.pub
"""
)
@click.argument("file", type=FilePath())
@click.option(
    "--bundle",
    type=FilePath(),
    help="The bundle of a state, to classify the images in its journal, each left out.",
)
@click.option(
    "--verify",
    "public_key",
    is_flag=False,
    flag_value="",
    metavar="[PUB]",
    help="Verify the signature beside FILE by a public key, a .pub file or the key itself; "
    "default: by the one trusted for its path, else the one that the signature names.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(file: Path, bundle: Path | None, public_key: str | None, as_json: bool) -> None:
    """Show what a bundle or a state holds; nothing of a bundle is run.

    The content of FILE tells which it is. Of a bundle: capacity, budget, delegation and sizes; the
    file is verified. Of a state: classes and their images, lessons, what adapted the features, the
    journal, and with its bundle, which is run then, how well its classes are told apart. With
    --verify, who signed it comes first; an exit status of 1 says that it is not signed so.
    """
    from cbpnet.run.previous_state import previous_path
    from cbpnet.run.state_file import is_safetensors

    signed = None if public_key is None else verified(file, public_key)
    if is_safetensors(file) or is_safetensors(previous_path(file)):
        found, text = _inspect_state(file, bundle)
    elif bundle is not None:
        raise click.UsageError(f"--bundle is for a state, and {file} is none")
    else:
        found, text = _inspect_bundle(file)
    if as_json:
        signature = {} if signed is None else {"signature": signed_json(signed)}
        print_json(found | signature)
        return
    if signed is not None:
        click.echo(f"{printable(str(file))}: {signed_text(signed)}")
    click.echo(text)


def _inspect_state(state: Path, bundle: Path | None) -> tuple[dict[str, Any], str]:
    recall = None
    if bundle is not None:
        learner = BundleOptions(bundle, threads=None, engine=None).learner(
            state, say=lambda note: None
        )  # which reading it for its words will say
        recall = None if learner.journal is None else learner.recall()
    found = state_json(state, recall)
    return found, state_text(found)


def _inspect_bundle(bundle: Path) -> tuple[dict[str, Any], str]:
    from mobile.device.bundle import read_manifest

    manifest = read_manifest(bundle)
    found = _describe(manifest, bundle.stat().st_size)
    backbone = manifest.backbone
    tasks = "" if manifest.config.one_pass else f" in {manifest.tasks} tasks"
    versions = ", ".join(f"{name} {number}" for name, number in manifest.versions.items())
    return found, (
        f"{bundle}: {backbone.name} for {manifest.target}, {manifest.precision}, "
        f"{found['file_bytes'] / 1e6:.2f} MB\n"
        f"images of {manifest.image_size} pixels, {manifest.micro_batch} at a time\n"
        f"room for {manifest.classes} classes{tasks}; "
        f"{len(manifest.class_names)} classes are known\n"
        f"trains {manifest.trainable_parameters:,} parameters, "
        f"{100 * manifest.trainable_fraction:.3f} % of the backbone's {backbone.parameters:,}, and "
        f"a head of {manifest.head_parameters:,}\n"
        f"a state has {found['state_bytes'] / 1e6:.2f} MB\n\n"
        f"{_table(manifest.methods)}\n\n"
        f"made with {versions}"
    )


def _table(methods: Mapping[str, "MethodInfo"]) -> str:
    """Return a row for each method: its delegate calls, arithmetic, and what runs outside them."""
    rows = [
        (
            name,
            method.delegate_calls,
            f"{method.macs / 1e6:.1f}",
            f"{100 * method.undelegated_macs / max(method.macs, 1):.2f}",
            listed([f"{count} {name}" for name, count in method.undelegated.items()], _NAMED),
        )
        for name, method in methods.items()
    ]
    headers = ("method", "delegates", "Mmacs", "outside %", "operators outside")
    aligned = ("left", "right", "right", "right", "left")
    return tabulate(rows, headers, "plain", colalign=aligned, disable_numparse=True)


def _describe(manifest: "Manifest", file_bytes: int) -> dict[str, Any]:
    """Return the manifest with the figures that a script looks for at its top level."""
    content = asdict(manifest)
    return content | {
        "backbone": manifest.backbone.name,
        "backbone_parameters": manifest.backbone.parameters,
        "backbone_weights": manifest.backbone.weights,
        "dim": manifest.backbone.dim,
        "file_bytes": file_bytes,
        "state_bytes": 4 * sum(math.prod(tensor.shape) for tensor in manifest.state),
    }
