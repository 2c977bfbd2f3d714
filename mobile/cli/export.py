"""``cbpnet-mobile export``: one file that classifies and learns on a device."""

from pathlib import Path

import click

from mobile.cli.export_options import BackboneOptions, PhotoOptions, StateOptions, TargetOptions
from mobile.cli.learner_options import LearnerOptions
from mobile.cli.option_groups import takes
from mobile.cli.options import print_json
from mobile.cli.parameters import FilePath
from mobile.cli.signing import SECRET_KEY, signing
from mobile.trust.sidecar import signature_path

__all__ = ["export"]


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile export --target xnnpack --weights vit_tiny.safetensors --out pets.pte
  cbpnet-mobile export --target xnnpack --state trained.safetensors \\
      --weights vit_tiny.safetensors --classes 200 --out pets.pte
  cbpnet-mobile export --target xnnpack --weights vit_tiny.safetensors --sign maker.key \\
      --out pets.pte
  cbpnet-mobile export --target openvino --option device=NPU --option activations=int8 \\
      --calibration photos --weights vit_tiny.safetensors --out pets.pte
"""
)
@takes(
    target=TargetOptions,
    backbone=BackboneOptions,
    learner=LearnerOptions,
    state=StateOptions,
    photos=PhotoOptions,
)
@click.option(
    "--micro-batch",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Images in one call; more need more memory.",
)
@click.option(
    "--out",
    type=FilePath(dir_okay=False),
    required=True,
    help="The bundle, a .pte file; an older one is replaced when the new one has passed.",
)
@click.option(
    "--sign",
    "key",
    type=SECRET_KEY,
    metavar="KEY",
    help="Sign it with a secret key, the .key file of `keygen`; the signature stands beside it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def export(
    target: TargetOptions,
    backbone: BackboneOptions,
    learner: LearnerOptions,
    state: StateOptions,
    photos: PhotoOptions,
    micro_batch: int,
    out: Path,
    key: Path | None,
    as_json: bool,
) -> None:
    """Write a bundle: one .pte file that classifies, and learns new classes, on a device.

    The frozen backbone runs in int8 (or fp32) in the target's delegate, forward and backward;
    prompts, block and head stay fp32 and are the state that the device changes. What was written is
    run and compared with PyTorch before it gets its name.
    """
    resolved = target.resolve()
    sign = None if key is None else signing(key)
    # With torch, timm and the exporter: neither help nor a refused option waits for them.
    from mobile.cli.export_job import plan_export
    from mobile.cli.export_summary import as_document, as_text

    job = plan_export(resolved, backbone, learner, state, photos, micro_batch, out, sign)
    written, seconds = job.run()
    signature = None if sign is None else str(signature_path(out))
    if as_json:
        print_json(as_document(written, seconds) | {"signature": signature})
        return
    click.echo(as_text(written, seconds))
    if signature is not None:
        click.echo(f"wrote {signature}: goes with it wherever it goes")
