"""``cbpnet-mobile export``: one file that classifies and learns on a device."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import torch

from cbpnet.backbone.presets import check_budget, choose_preset, count_trainables
from cbpnet.backbone.vit import load_backbone
from cbpnet.host.atomic import make_folder
from cbpnet.host.errors import InputError
from cbpnet.method.capacity import grow
from cbpnet.method.initial import draw_state
from cbpnet.run.state_file import StateInfo, load_state
from mobile.cli.stages import Stages
from mobile.export.calibration import read_calibration_images, read_report_images
from mobile.export.exporter import (
    CALIBRATING,
    REPORTING,
    STAGES,
    Export,
    ExportSettings,
    export_bundle,
)
from mobile.export.lowering import Delegation
from mobile.targets import TARGETS, resolve_target
from quantize.frozen_linear import Precision

__all__ = ["export"]

_CLASSES, _TASKS = 100, 20
_LEAST_SHARE = 0.01  # of a method's arithmetic in per cent; below it an operator is only named
_ROW, _MARGIN = "{:<14}{:>9}{:>10}  {}", 4 * " "
_LOADING = "loading the backbone"


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile export --target xnnpack --weights vit_tiny.safetensors --out pets.pte
  cbpnet-mobile export --target xnnpack --state trained.safetensors \\
      --weights vit_tiny.safetensors --classes 200 --out pets.pte
  cbpnet-mobile export --target openvino --option device=NPU --option activations=int8 \\
      --calibration photos --weights vit_tiny.safetensors --out pets.pte
"""
)
@click.option(
    "--target",
    type=click.Choice(list(TARGETS)),
    required=True,
    help="What it is to run on; see `cbpnet-mobile targets`.",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="One of the target's own options; see `cbpnet-mobile targets`; may be repeated.",
)
@click.option(
    "--backbone",
    help="timm's name of a vision transformer; default: the state's, or vit_tiny_patch16_224.",
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The backbone's weights (safetensors or torch); default: downloaded by timm.",
)
@click.option(
    "--state",
    "state_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Start from what a server learnt (`train --out`); default: from nothing.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A text file with one label a line, to rename the classes that --state knows.",
)
@click.option(
    "--classes",
    type=click.IntRange(min=1),
    help=f"Capacity in classes; default: the state's, or {_CLASSES}.",
)
@click.option(
    "--tasks",
    type=click.IntRange(min=1),
    help=f"Capacity in tasks; default: the state's, or {_TASKS}.",
)
@click.option(
    "--micro-batch",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Images in one call; more need more memory.",
)
@click.option(
    "--image-size",
    type=click.IntRange(min=8),
    help="In pixels; default: the state's, or the backbone's own.",
)
@click.option(
    "--crop-pct",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the resized image's side that the centre crop keeps; default: the state's, or "
    "the backbone's own.",
)
@click.option(
    "--precision",
    type=click.Choice(["int8", "fp32"]),
    default="int8",
    show_default=True,
    help="Of the frozen backbone; what learns is always fp32.",
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder of class folders: a target of static int8 takes its ranges from these images.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder of class folders: report on these images how far the bundle is from fp32.",
)
@click.option(
    "--budget",
    type=click.FloatRange(0, 1, min_open=True),
    help="Largest share of the backbone that may be trained; default: the preset's.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draws a new state."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The bundle, a .pte file; an older one is replaced when the new one has passed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def export(
    target: str,
    options: tuple[str, ...],
    backbone: str | None,
    weights: Path | None,
    state_path: Path | None,
    labels: Path | None,
    classes: int | None,
    tasks: int | None,
    micro_batch: int,
    image_size: int | None,
    crop_pct: float | None,
    precision: Precision,
    calibration: Path | None,
    images: Path | None,
    budget: float | None,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Write a bundle: one .pte file that classifies, and learns new classes, on a device.

    The frozen backbone runs in int8 (or fp32) in the target's delegate, forward and backward;
    prompts, block and head stay fp32 and are the state that the device changes. What was written is
    run and compared with PyTorch before it gets its name.
    """
    chosen = _options(options)
    resolved = resolve_target(target, precision, chosen)
    make_folder(out.parent)
    state, info = load_state(state_path) if state_path else (None, None)
    settings = ExportSettings(
        resolved,
        classes or (info.classes if info else _CLASSES),
        tasks or (info.tasks if info else _TASKS),
        micro_batch,
        _class_names(info, labels),
    )
    if calibration and not resolved.calibrated:
        raise InputError(
            f"target {target} in {precision} needs no calibration; leave --calibration out"
        )
    if resolved.calibrated and not calibration:
        raise InputError(
            f"target {target} rounds to int8 by ranges that it takes from images; name a folder "
            "with --calibration, or export in fp32 with --precision fp32"
        )
    name = backbone or (info.backbone if info else "vit_tiny_patch16_224")
    if info and state:
        _check_equal("backbone", info.backbone, name)
        state = grow(state, info.config, info.dim, settings.classes, settings.tasks)

    shown = read_report_images(images, settings.classes) if images else None
    calibrating = read_calibration_images(calibration) if calibration else []
    with Stages(_stages(bool(calibrating), reporting=shown is not None)) as stages:
        stages(_LOADING)
        size = image_size or (info.preprocessing.image_size if info else None)
        trunk = load_backbone(name, weights, size)
        crop = crop_pct or (info.preprocessing.crop_pct if info else trunk.preprocessing.crop_pct)
        trunk.preprocessing = replace(trunk.preprocessing, crop_pct=crop)
        preset = choose_preset(name, trunk.dim, trunk.parameters_without_head)
        config = info.config if info else preset.config
        if info:
            _check_equal("weights", info.weights, trunk.weights_fingerprint)
            _check_equal("preprocessing", info.preprocessing, trunk.preprocessing)
        found = count_trainables(config, trunk.dim, trunk.parameters_without_head)
        check_budget(found, preset.budget if budget is None else budget)
        if state is None:
            generator = torch.Generator().manual_seed(seed)
            state = draw_state(config, trunk.dim, settings.classes, settings.tasks, generator)
        written = export_bundle(out, trunk, config, state, settings, stages, shown, calibrating)
    if as_json:
        click.echo(json.dumps(_outcome(written, stages.seconds), indent=2))
    else:
        _print(written, stages.seconds)


def _stages(calibrating: bool, reporting: bool) -> dict[str, float]:
    """Return the stages' titles and shares of the time, in order."""
    first, *rest = STAGES.items()
    images = {CALIBRATING: 100.0} if calibrating else {}
    if reporting:
        images[REPORTING] = 100.0
    return {_LOADING: 0.5, **dict([first]), **images, **dict(rest)}


def _options(given: Sequence[str]) -> dict[str, str]:
    """Return options by name from NAME=VALUE."""
    options = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise InputError(f"--option {each} is no NAME=VALUE, such as device=NPU")
        options[name] = value
    return options


def _class_names(info: StateInfo | None, labels: Path | None) -> tuple[str, ...]:
    """Return the labels of the classes that the state knows, renamed as the file says."""
    known = info.class_names if info else ()
    if labels is None:
        return known
    try:
        lines = [line.strip() for line in labels.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"labels {labels} cannot be read as text ({error}); name a file with one label a line"
        ) from error
    names = tuple(line for line in lines if line)
    if len(names) != len(known):
        raise InputError(
            f"labels {labels} has {len(names)} labels; the state knows {len(known)} classes, and "
            "each needs one"
        )
    if len({name.casefold() for name in names}) < len(names):
        raise InputError(f"labels {labels} has a label twice; each class needs one of its own")
    return names


def _check_equal(what: str, theirs: object, ours: object) -> None:
    """Raise `InputError` unless a state was learnt with what the bundle is made of."""
    if theirs != ours:
        raise InputError(
            f"the state was learnt with {what} {theirs}, and this is {ours}; they must be equal"
        )


def _outcome(written: Export, seconds: dict[str, float]) -> dict[str, Any]:
    manifest = written.manifest
    return {
        "bundle": str(written.path),
        "target": manifest.target,
        "backbone": manifest.backbone.name,
        "precision": manifest.precision,
        "file_bytes": written.bytes,
        "weight_bytes": written.weight_bytes,
        "trainable_parameters": manifest.trainable_parameters,
        "trainable_fraction": manifest.trainable_fraction,
        "classes": manifest.classes,
        "tasks": manifest.tasks,
        "methods": {name: asdict(found) for name, found in written.delegation.items()},
        "target_options": manifest.target_options,
        "compiler": written.compiler,
        "agreement": asdict(written.agreement),
        "quantisation": manifest.quantisation,
        "seconds": seconds,
    }


def _print(written: Export, seconds: dict[str, float]) -> None:
    manifest, agreement = written.manifest, written.agreement
    click.echo(_ROW.format("method", "delegates", "Mops", "outside the delegates"))
    for name, found in written.delegation.items():
        outside = f"{_percent(sum(found.arithmetic.values()), found):.2f} % of them"
        click.echo(_ROW.format(name, found.delegate_calls, f"{found.total / 1e6:.2f}", outside))
        if found.undelegated:
            listed = _operators(found)
            click.echo(
                textwrap.fill(listed, 100, initial_indent=_MARGIN, subsequent_indent=_MARGIN)
            )
    for name, value in (written.compiler or {}).items():
        click.echo(f"{name}: {value}")
    cosines = agreement.gradients.values()
    learning = f"of gradients {min(cosines):.5f} to {max(cosines):.5f}"
    if agreement.query is None:
        click.echo(
            f"against PyTorch: cosine {learning}; this machine cannot run {manifest.target}, so "
            "query and predict were not run"
        )
    else:
        click.echo(
            f"against PyTorch: cosine of the query {agreement.query:.5f}, {learning}; scores "
            f"differ by {agreement.scores:.1e} at most"
        )
    report = manifest.quantisation
    if report is not None:
        gradients = [found["cosine"] for found in report["gradients"].values()]
        click.echo(
            f"against fp32, on {report['images']} real images: cosine of the query "
            f"{report['query']['cosine']:.4f}, of gradients {min(gradients):.3f} to "
            f"{max(gradients):.3f}; the same class for {100 * report['top1_agreement']:.1f} %"
        )
    click.echo(
        f"learns {manifest.trainable_parameters:,} parameters, "
        f"{100 * manifest.trainable_fraction:.3f} % of the backbone's "
        f"{manifest.backbone.parameters:,}, and a head of {manifest.head_parameters:,}"
    )
    click.echo(
        f"wrote {written.path}: {written.bytes / 1e6:.2f} MB, of which weights "
        f"{written.weight_bytes / 1e6:.2f} MB; room for {manifest.classes} classes in "
        f"{manifest.tasks} tasks; {sum(seconds.values()):.0f} s"
    )
    click.echo(f"next: cbpnet-mobile learn {written.path} --images FOLDER --out state.safetensors")


def _operators(found: Delegation) -> str:
    """Name every operator outside a method's delegates, and its share of the arithmetic."""
    named, least = [], []
    for operator, arithmetic in found.arithmetic.items():
        count, share = found.undelegated[operator], _percent(arithmetic, found)
        if share >= _LEAST_SHARE:
            named.append(f"{count} {operator} {share:.2f} %")
        else:
            least.append(f"{count} {operator}")
    if least:
        named.append(f"each under {_LEAST_SHARE} %: {', '.join(least)}")
    return ", ".join(named)


def _percent(arithmetic: int, found: Delegation) -> float:
    """Return the share of a method's arithmetic in per cent."""
    return 100 * arithmetic / max(found.total, 1)
