"""The main job, offline, on scikit-learn's digits; the command is in `mobile.cli.demo`."""

import io
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import click
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from cbpnet.backbone.micro_vit import pretrain_micro_vit
from cbpnet.backbone.presets import get_preset
from cbpnet.backbone.vit import Backbone, load_backbone
from cbpnet.data.dataset import Dataset
from cbpnet.data.digits import load_digits
from cbpnet.data.pixels import load_batch, normalise
from cbpnet.data.stream import Task, TaskStream
from cbpnet.host.atomic import make_folder, write_atomically
from cbpnet.method.config import LearnerConfig
from cbpnet.method.eager import EagerOnePass
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.run.metrics import RunResult, accuracy_over_tasks, summarise
from cbpnet.run.one_pass_contender import OnePassContender
from cbpnet.run.protocol import ProtocolRecord, run_protocol
from cbpnet.study.comparison import ComparisonProtocol, run_benchmark
from cbpnet.study.comparison_report import format_table, write_report
from mobile.device.program import set_threads
from mobile.device.runtime import OnDeviceLearner
from mobile.export.exporter import ExportSettings, export_bundle
from mobile.measure.demo_page import Picture, write_demo_page
from mobile.measure.device_contender import DeviceContender
from mobile.targets import resolve_target
from mobile.trust.sidecar import write_signed
from quantize.frozen_linear import Precision

__all__ = ["run_demo"]

BASE_DIGITS = 5
TASK_SIZES = (BASE_DIGITS, 2, 2, 1)
PRETRAINING_EPOCHS = 15
MIRRORINGS: tuple[tuple[int, ...], ...] = ((), (3,), (2,), (2, 3))  # axes of [N, C, H, W]
METHODS = ("ncm", "ridge", "cbpnet+rls", "one-pass")
FEW = 20  # training images of a digit
PROTOCOL = ComparisonProtocol(
    classes_per_task=TASK_SIZES,
    train_per_class=FEW,
    test_per_class=None,
    class_order="natural",
    holdout="test",
)
TARGET = "xnnpack"
PRECISION: Precision = "int8"
METHOD = "exported int8"  # what the program's row is called
PICTURE_SIDE = 256  # pixels; the digits have 8


def run_demo(out: Path, seed: int) -> None:
    """Do the whole demo, from training a micro ViT to a page in the folder ``out``."""
    torch.set_num_threads(1)  # more only wait for one another on so small a network
    make_folder(out / "pictures")
    digits, config = load_digits(), get_preset("micro").config()
    stream = PROTOCOL.stream(digits, seed)
    backbone = _make_backbone(digits, out / "micro_vit.safetensors", seed)
    bundle, state = out / "digits.pte", out / "digits.safetensors"
    _export(bundle, backbone, config, stream, seed)

    set_threads(1)
    device = OnDeviceLearner(bundle)
    learnt, before = _learn_on_device(device, stream, seed)
    device.save(state)
    results = [*_learn_in_pytorch(backbone, digits, seed), learnt]

    summary = (
        f"the exported program knew the digits 0 to {BASE_DIGITS - 1}; of the others it recognised "
        f"{100 * before:.1f} % before and {100 * learnt.matrix[-1, 1:].mean():.1f} % after "
        f"learning {FEW} images of each"
    )
    conditions = _conditions(digits, backbone, stream, seed)
    written = write_report(results, conditions, out)
    files = _write_pictures(stream, out / "pictures")
    command = _predict_command(bundle, state, out / "pictures")
    page, names = out / "demo.html", [_name(task, stream) for task in stream.tasks]
    write_demo_page(
        page,
        summary,
        names,
        results,
        _answered(device, files),
        command,
        conditions,
    )

    _print_tables(results, names)
    click.echo(summary)
    click.echo(_share_sentence(device))
    click.echo(
        f"wrote {bundle} ({bundle.stat().st_size / 1e6:.2f} MB), {state}, {len(files)} pictures "
        f"that were never learnt, and {len(written)} files of the report to {out}; seed {seed}"
    )
    click.echo(f"open {page} in a browser: how well it learnt, and what it takes the pictures for")
    click.echo(f"next: {command}")


def _stage(title: str) -> None:
    click.echo(title, err=True)


def _make_backbone(digits: Dataset, weights: Path, seed: int) -> Backbone:
    """Train a micro ViT, write its weights and return it."""
    name = get_preset("micro").backbone
    write_atomically(weights, save(_pretrain(digits, name, seed)))
    return load_backbone(name, weights)


def _pretrain(digits: Dataset, backbone: str, seed: int) -> dict[str, torch.Tensor]:
    """Return the weights of a micro ViT that has seen the training images of digits 0 to 4.

    Each digit's mirror images are classes of their own, as in PASS (Zhu et al., CVPR 2021): what
    tells twenty classes apart says more about digits that were never seen than what tells five.
    """
    preprocessing = load_backbone(backbone, pretrained=False).preprocessing
    chosen = np.flatnonzero(digits.train.labels < BASE_DIGITS)
    pixels = load_batch(digits.train, chosen.tolist(), preprocessing)
    images = torch.from_numpy(normalise(pixels, preprocessing.mean, preprocessing.std))
    labels = torch.from_numpy(digits.train.labels[chosen])
    mirrored = [images.flip(axes) for axes in MIRRORINGS]
    classes = [len(MIRRORINGS) * labels + index for index in range(len(MIRRORINGS))]
    _stage(f"training a micro ViT on {len(chosen)} images of the digits 0 to {BASE_DIGITS - 1}")
    return pretrain_micro_vit(
        torch.cat(mirrored), torch.cat(classes), PRETRAINING_EPOCHS, seed, progress=True
    )


def _export(
    bundle: Path, backbone: Backbone, config: LearnerConfig, stream: TaskStream, seed: int
) -> None:
    """Export a learner in PyTorch that has learnt the first task."""
    classes = len(stream.class_names)
    server = OnePassContender(
        EagerOnePass(OnePassLearner(backbone, config, classes)),
        stream,
        backbone.preprocessing,
        PROTOCOL.training(config),
        seed,
        readouts={},
    )
    server.learn(stream.tasks[0])
    settings = ExportSettings(
        resolve_target(TARGET, PRECISION),
        classes,
        tasks=1,
        class_names=stream.class_names[:BASE_DIGITS],
    )
    write = partial(write_signed, sign=None)  # a signature of an older demo's goes
    export_bundle(bundle, backbone, config, server.state, settings, _stage, write=write)


def _learn_on_device(
    device: OnDeviceLearner, stream: TaskStream, seed: int
) -> tuple[RunResult, float]:
    """Let the program learn all tasks but the first, which it knows.

    Returns its result, and its accuracy on the other tasks before.
    """
    training = PROTOCOL.training(device.manifest.config)
    contender = DeviceContender(METHOD, device, stream, training, seed)
    before = fmean(contender.classify(task).accuracy[METHOD] for task in stream.tasks[1:])
    _stage(f"the exported program learns the digits {BASE_DIGITS} to {len(stream.class_names) - 1}")
    record = ProtocolRecord(tuple(run_protocol(contender, stream, first=0)))
    result = record.result(METHOD, stream, seed)
    return replace(result, trainable_share=device.manifest.trainable_fraction), before


def _learn_in_pytorch(backbone: Backbone, digits: Dataset, seed: int) -> list[RunResult]:
    _stage("learning the same in PyTorch, and with closed-form heads")
    preset = get_preset("micro")
    cbpnet, one_pass = preset.config("cbpnet"), preset.config()
    # Runs are not kept: a demo shows what happens now.
    with TemporaryDirectory() as runs:
        return run_benchmark(
            backbone, digits, PROTOCOL, cbpnet, one_pass, METHODS, [seed], Path(runs), {}
        )


def _conditions(
    digits: Dataset, backbone: Backbone, stream: TaskStream, seed: int
) -> dict[str, object]:
    return {
        "dataset": digits.name,
        "backbone": f"{backbone.name}, trained on the digits 0-{BASE_DIGITS - 1}",
        "program": f"{TARGET} {PRECISION}",
        "tasks": ", ".join(_name(task, stream) for task in stream.tasks),
        "training images a digit": FEW,
        "seed": seed,
    }


def _write_pictures(stream: TaskStream, folder: Path) -> dict[str, Path]:
    """Write the first test image of each class, enlarged, and return the files by class name."""
    files = {}
    for task in stream.tasks:
        for label in task.classes:
            index = int(task.test[task.test_labels == label][0])
            name = stream.class_names[label]
            files[name] = folder / f"{name}.png"
            picture = stream.test_source.image(index)
            png = io.BytesIO()
            picture.resize((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.BICUBIC).save(png, "PNG")
            write_atomically(files[name], png.getvalue())
    return files


def _answered(device: OnDeviceLearner, files: Mapping[str, Path]) -> list[Picture]:
    answers = device.predict(list(files.values()))
    return [
        Picture(path, label, answer)
        for (label, path), answer in zip(files.items(), answers, strict=True)
    ]


def _predict_command(bundle: Path, state: Path, pictures: Path) -> str:
    words = ["cbpnet-mobile", "predict", str(bundle), "--state", str(state), str(pictures)]
    return f"{shlex.join(words)}/*.png"


def _print_tables(results: Sequence[RunResult], names: Sequence[str]) -> None:
    click.echo("\nAverage accuracy in per cent after the task with the digits")
    click.echo(f"{'':<14}" + "".join(f"{name:>8}" for name in names))
    for result in results:
        row = "".join(f"{100 * value:8.1f}" for value in accuracy_over_tasks(result.matrix))
        click.echo(f"{result.method:<14}{row}")
    click.echo("\n" + format_table(summarise(results)))


def _share_sentence(device: OnDeviceLearner) -> str:
    manifest = device.manifest
    return (
        f"it learns {manifest.trainable_parameters:,} parameters, "
        f"{100 * manifest.trainable_fraction:.2f} % of this micro backbone; on a real one the "
        "presets stay under 0.2 %"
    )


def _name(task: Task, stream: TaskStream) -> str:
    """Return a task's first and last digit, "5-6"."""
    first, *rest = [stream.class_names[label] for label in task.classes]
    return f"{first}-{rest[-1]}" if rest else first
