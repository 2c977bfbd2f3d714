"""``cbpnet-mobile inspect``: what a bundle or a state says of itself."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tabulate import tabulate

from cbpnet.host.text import listed
from mobile.cli.options import print_json
from mobile.cli.parameters import FilePath
from mobile.cli.state_report import state_json, state_text

if TYPE_CHECKING:
    from mobile.device.bundle import Manifest, MethodInfo

__all__ = ["inspect"]

_NAMED = 4  # operators of a method


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile inspect pets.pte --json
  cbpnet-mobile inspect pets.safetensors --bundle pets.pte
"""
)
@click.argument("file", type=FilePath())
@click.option(
    "--bundle",
    type=FilePath(),
    help="The bundle of a state, to classify the images in its journal, each left out.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(file: Path, bundle: Path | None, as_json: bool) -> None:
    """Show what a bundle or a state holds; nothing of a bundle is run.

    The content of FILE tells which it is. Of a bundle: capacity, budget, delegation and sizes; the
    file is verified. Of a state: classes and their images, lessons, what adapted the features, the
    journal, and with its bundle, which is run then, how well its classes are told apart.
    """
    from cbpnet.run.state_file import is_safetensors

    if is_safetensors(file):
        _inspect_state(file, bundle, as_json)
    elif bundle is not None:
        raise click.UsageError(f"--bundle is for a state, and {file} is none")
    else:
        _inspect_bundle(file, as_json)


def _inspect_state(state: Path, bundle: Path | None, as_json: bool) -> None:
    from mobile.device.runtime import OnDeviceLearner

    recall = None
    if bundle is not None:
        learner = OnDeviceLearner(bundle, state, pictures=False)
        recall = None if learner.journal is None else learner.recall()
    found = state_json(state, recall)
    if as_json:
        print_json(found)
    else:
        click.echo(state_text(found))


def _inspect_bundle(bundle: Path, as_json: bool) -> None:
    from mobile.device.bundle import read_manifest

    manifest = read_manifest(bundle)
    found = _describe(manifest, bundle.stat().st_size)
    if as_json:
        print_json(found)
        return
    backbone = manifest.backbone
    tasks = "" if manifest.config.one_pass else f" in {manifest.tasks} tasks"
    click.echo(
        f"{bundle}: {backbone.name} for {manifest.target}, {manifest.precision}, "
        f"{found['file_bytes'] / 1e6:.2f} MB\n"
        f"images of {manifest.image_size} pixels, {manifest.micro_batch} at a time\n"
        f"room for {manifest.classes} classes{tasks}; "
        f"{len(manifest.class_names)} classes are known\n"
        f"trains {manifest.trainable_parameters:,} parameters, "
        f"{100 * manifest.trainable_fraction:.3f} % of the backbone's {backbone.parameters:,}, and "
        f"a head of {manifest.head_parameters:,}\n"
        f"a state has {found['state_bytes'] / 1e6:.2f} MB\n"
    )
    click.echo(_table(manifest.methods))
    versions = ", ".join(f"{name} {number}" for name, number in manifest.versions.items())
    click.echo(f"\nmade with {versions}")


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
