"""``cbpnet-mobile demo``: the main job, offline, on scikit-learn's digits."""

import time
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import click
import numpy as np
import torch
from safetensors.torch import save

from cbpnet.backbone.micro_vit import pretrain_micro_vit
from cbpnet.backbone.presets import get_preset
from cbpnet.backbone.vit import Backbone, load_backbone
from cbpnet.data.dataset import Dataset
from cbpnet.data.digits import load_digits
from cbpnet.data.preprocessing import load_batch, normalise
from cbpnet.data.stream import Task, TaskStream
from cbpnet.host.atomic import make_folder, write_atomically
from cbpnet.host.memory import peak_rss_mb
from cbpnet.method.learner import Learner
from cbpnet.method.state import LearnerState
from cbpnet.run.metrics import Matrix, RunResult, accuracy_over_tasks, summarise
from cbpnet.run.training import (
    TaskImages,
    TrainingConfig,
    compute_queries,
    initial_state,
    learn_task,
)
from cbpnet.study.comparison import Protocol, run_benchmark
from cbpnet.study.comparison_report import format_table, write_report
from mobile.device.program import set_threads
from mobile.device.runtime import OnDeviceLearner
from mobile.export.exporter import ExportSettings, export_bundle
from mobile.targets import resolve_target

__all__ = ["demo"]

BASE_DIGITS = 5
TASK_SIZES = (BASE_DIGITS, 2, 2, 1)
PRETRAINING_EPOCHS = 15
MIRRORINGS: tuple[tuple[int, ...], ...] = ((), (3,), (2,), (2, 3))  # axes of [N, C, H, W]
METHODS = ("ncm", "ridge", "cbpnet", "cbpnet+rls")
FEW = 20  # training images of a digit
PROTOCOL = Protocol(
    classes_per_task=TASK_SIZES,
    train_per_class=FEW,
    test_per_class=None,
    class_order="natural",
    holdout="test",
    training=TrainingConfig(epochs=5, batch_size=10, micro_batch=10),
)


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo_output"),
    show_default=True,
    help="Folder for weights, bundle, state, table and plots.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def demo(out: Path, seed: int) -> None:
    """Export a network that knows the digits 0 to 4, and let the program learn 5 to 9.

    Trains a micro ViT on digits 0 to 4, exports it to XNNPACK in int8, and lets the exported
    program learn the other digits from a few images each, through the ExecuTorch runtime. Shows the
    same in PyTorch, and the closed-form heads, on the same images. Nothing is downloaded.
    """
    torch.set_num_threads(1)  # more only wait for one another on so small a network
    make_folder(out)
    digits, preset = load_digits(), get_preset("micro")
    weights = out / "micro_vit.safetensors"
    write_atomically(weights, save(_pretrain(digits, preset.backbone, seed)))
    backbone = load_backbone(preset.backbone, weights)
    stream = PROTOCOL.stream(digits, seed)
    server = Learner(backbone, preset.config, len(stream.class_names), len(stream.tasks))
    state = _learn_first(server, backbone, stream, seed)

    bundle, saved = out / "digits.pte", out / "digits.safetensors"
    settings = ExportSettings(
        resolve_target("xnnpack", "int8"),
        server.classes,
        server.tasks,
        class_names=stream.class_names[:BASE_DIGITS],
    )
    export_bundle(bundle, backbone, preset.config, state, settings, _stage)

    set_threads(1)
    device = OnDeviceLearner(bundle)
    new = stream.tasks[1:]
    before = fmean(_accuracy(device, stream, task) for task in new)
    start = time.perf_counter()
    matrix = _learn_the_rest(device, stream, seed)
    seconds = time.perf_counter() - start
    device.save(saved)
    _stage("learning the same in PyTorch, and with closed-form heads")
    # Runs are not kept: a demo shows what happens now.
    with TemporaryDirectory() as runs:
        results = run_benchmark(
            backbone, digits, PROTOCOL, preset.config, METHODS, [seed], Path(runs), {}
        )
    results.append(_result(device, stream, matrix, seconds, seed))
    conditions = {
        "dataset": digits.name,
        "backbone": f"{backbone.name}, trained on the digits 0-{BASE_DIGITS - 1}",
        "program": f"{settings.target.name} {settings.target.precision}",
        "tasks": ", ".join(_name(task, stream) for task in stream.tasks),
        "training images a digit": FEW,
        "epochs": PROTOCOL.training.epochs,
        "seed": seed,
    }
    written = write_report(results, conditions, out)

    click.echo("\nAverage accuracy in per cent after the task with the digits")
    names = [_name(task, stream) for task in stream.tasks]
    click.echo(f"{'':<14}" + "".join(f"{name:>8}" for name in names))
    for result in results:
        row = "".join(f"{100 * value:8.1f}" for value in accuracy_over_tasks(result.matrix))
        click.echo(f"{result.method:<14}{row}")
    click.echo("\n" + format_table(summarise(results)))
    after = matrix[-1, 1:].mean()
    click.echo(
        f"the exported program knew the digits 0 to {BASE_DIGITS - 1}; of the others it recognised "
        f"{100 * before:.1f} % before and {100 * after:.1f} % after learning {FEW} images of each"
    )
    manifest = device.manifest
    click.echo(
        f"it learns {manifest.trainable_parameters:,} parameters, "
        f"{100 * manifest.trainable_fraction:.2f} % of this micro backbone; on a real one the "
        "presets stay under 0.2 %"
    )
    click.echo(
        f"wrote {bundle} ({bundle.stat().st_size / 1e6:.2f} MB), {saved} and {len(written)} files "
        f"of the report to {out}; seed {seed}"
    )
    click.echo(f"next: cbpnet-mobile inspect {bundle}")


def _stage(title: str) -> None:
    click.echo(title, err=True)


def _learn_first(
    server: Learner, backbone: Backbone, stream: TaskStream, seed: int
) -> LearnerState:
    """Return the state of a learner in PyTorch that has learnt the first task."""
    task, preprocessing = stream.tasks[0], backbone.preprocessing
    images = TaskImages(
        load_batch(stream.train_source, task.train.tolist(), preprocessing),
        compute_queries(server, stream.train_source, task.train, preprocessing),
        torch.from_numpy(task.train_labels),
    )
    state = initial_state(server, seed)
    return learn_task(server, state, 0, images, preprocessing, PROTOCOL.training, seed)


def _learn_the_rest(device: OnDeviceLearner, stream: TaskStream, seed: int) -> Matrix:
    """Let the exported program learn all tasks but the first; return its accuracy matrix."""
    matrix = np.full((len(stream.tasks),) * 2, np.nan)
    for task in stream.tasks:
        if task.index:
            _stage(f"the exported program learns {_name(task, stream)}")
            images = {
                stream.class_names[label]: [
                    stream.train_source.image(int(index))
                    for index in task.train[task.train_labels == label]
                ]
                for label in task.classes
            }
            device.learn(images, PROTOCOL.training.epochs, PROTOCOL.training.batch_size, seed)
        for known in stream.tasks[: task.index + 1]:
            matrix[task.index, known.index] = _accuracy(device, stream, known)
    return matrix


def _accuracy(device: OnDeviceLearner, stream: TaskStream, task: Task) -> float:
    """Return the share of a task's test images that the device is right about."""
    predictions = device.predict([stream.test_source.image(int(index)) for index in task.test])
    wanted = [stream.class_names[label] for label in task.test_labels]
    return fmean(found.label == name for found, name in zip(predictions, wanted, strict=True))


def _result(
    device: OnDeviceLearner, stream: TaskStream, matrix: Matrix, seconds: float, seed: int
) -> RunResult:
    return RunResult(
        method="exported int8",
        seed=seed,
        matrix=matrix,
        test_images=tuple(len(task.test) for task in stream.tasks),
        prompt_selection=None,
        train_seconds=seconds,
        eval_seconds=0.0,
        peak_rss_mb=peak_rss_mb(),
        trainable_share=device.manifest.trainable_fraction,
    )


def _pretrain(digits: Dataset, backbone: str, seed: int) -> dict[str, torch.Tensor]:
    """Return the weights of a micro ViT that has seen the training images of digits 0 to 4.

    Each digit's mirror images are classes of their own, as in PASS (Zhu et al., CVPR 2021): what
    tells twenty classes apart says more about digits that were never seen than what tells five.
    """
    preprocessing = load_backbone(backbone, pretrained=False).preprocessing
    chosen = np.flatnonzero(digits.train.labels < BASE_DIGITS)
    pixels = load_batch(digits.train, chosen.tolist(), preprocessing)
    images = normalise(pixels, preprocessing.mean, preprocessing.std)
    labels = torch.from_numpy(digits.train.labels[chosen])
    mirrored = [images.flip(axes) for axes in MIRRORINGS]
    classes = [len(MIRRORINGS) * labels + index for index in range(len(MIRRORINGS))]
    _stage(f"training a micro ViT on {len(chosen)} images of the digits 0 to {BASE_DIGITS - 1}")
    return pretrain_micro_vit(
        torch.cat(mirrored), torch.cat(classes), PRETRAINING_EPOCHS, seed, progress=True
    )


def _name(task: Task, stream: TaskStream) -> str:
    """Return a task's first and last digit, "5-6"."""
    first, *rest = [stream.class_names[label] for label in task.classes]
    return f"{first}-{rest[-1]}" if rest else first
