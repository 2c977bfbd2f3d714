"""``cbpnet-mobile demo``: the main job, offline, on scikit-learn's digits."""

from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
import torch
from safetensors.torch import save

from cbpnet.atomic import make_folder, write_atomically
from cbpnet.backbone import load_backbone
from cbpnet.benchmark import Protocol, run_benchmark
from cbpnet.data.dataset import Dataset
from cbpnet.data.digits import load_digits
from cbpnet.data.preprocess import load_batch, normalise
from cbpnet.metrics import accuracy_over_tasks, summarise
from cbpnet.micro_vit import pretrain_micro_vit
from cbpnet.preprocessing import Preprocessing
from cbpnet.presets import count_trainables, get_preset
from cbpnet.report import format_table, write_report
from cbpnet.training import TrainingConfig

__all__ = ["demo"]

BASE_DIGITS = 5
TASK_SIZES = (BASE_DIGITS, 2, 2, 1)
PRETRAINING_EPOCHS = 15
MIRRORINGS: tuple[tuple[int, ...], ...] = ((), (3,), (2,), (2, 3))  # axes of [N, C, H, W]
METHODS = ("ncm", "block-no-cbp", "cbpnet", "cbpnet+rls")
PROTOCOL = Protocol(
    classes_per_task=TASK_SIZES,
    train_per_class=None,
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
    help="Folder for the backbone's weights, the table and the plots.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def demo(out: Path, seed: int) -> None:
    """Train a micro ViT on digits 0 to 4, then learn 5 to 9 in later tasks; about a minute.

    Compares CBPNet with the same run without continual backpropagation and with the nearest class
    mean on the same features. Nothing is downloaded.
    """
    torch.set_num_threads(1)  # more only wait for one another on so small a network
    make_folder(out)
    digits, preset = load_digits(), get_preset("micro")
    weights = out / "micro_vit.safetensors"
    write_atomically(weights, save(_pretrain(digits, preset.backbone, seed)))
    backbone = load_backbone(preset.backbone, weights)
    # Runs are not kept: a demo shows what happens now.
    with TemporaryDirectory() as runs:
        results = run_benchmark(
            backbone, digits, PROTOCOL, preset.config, METHODS, [seed], Path(runs), {}
        )
    tasks = _task_names(digits)
    conditions = {
        "dataset": digits.name,
        "backbone": f"{backbone.name}, trained on the digits {tasks[0]}",
        "tasks": ", ".join(tasks),
        "epochs": PROTOCOL.training.epochs,
        "seed": seed,
    }
    written = write_report(results, conditions, out)

    click.echo("\nAverage accuracy in per cent after the task with the digits")
    click.echo(f"{'':<14}" + "".join(f"{names:>8}" for names in tasks))
    for result in results:
        row = "".join(f"{100 * value:8.1f}" for value in accuracy_over_tasks(result.matrix))
        click.echo(f"{result.method:<14}{row}")
    click.echo("\n" + format_table(summarise(results)))
    budget = count_trainables(preset.config, backbone.dim, backbone.parameters_without_head)
    click.echo(
        f"prompts and block have {budget.trainable:,} parameters, {100 * budget.share:.2f} % of "
        "this micro backbone; on a real one the presets stay under 0.2 %"
    )
    click.echo(f"wrote {len(written)} files and {weights.name} to {out}; seed {seed}")
    click.echo(
        f"next: cbpnet-mobile train --dataset digits --preset micro --weights {weights} "
        f"--out {out / 'digits.safetensors'}"
    )


def _pretrain(digits: Dataset, backbone: str, seed: int) -> dict[str, torch.Tensor]:
    """Return the weights of a micro ViT that has seen the training images of digits 0 to 4.

    Each digit's mirror images are classes of their own, as in PASS (Zhu et al., CVPR 2021): what
    tells twenty classes apart says more about digits that were never seen than what tells five.
    """
    preprocessing: Preprocessing = load_backbone(backbone, pretrained=False).preprocessing
    chosen = np.flatnonzero(digits.train.labels < BASE_DIGITS)
    pixels = load_batch(digits.train, chosen.tolist(), preprocessing)
    images = normalise(pixels, preprocessing.mean, preprocessing.std)
    labels = torch.from_numpy(digits.train.labels[chosen])
    mirrored = [images.flip(axes) for axes in MIRRORINGS]
    classes = [len(MIRRORINGS) * labels + index for index in range(len(MIRRORINGS))]
    click.echo(f"training a micro ViT on {len(chosen)} images of the digits 0 to 4", err=True)
    return pretrain_micro_vit(
        torch.cat(mirrored), torch.cat(classes), PRETRAINING_EPOCHS, seed, progress=True
    )


def _task_names(digits: Dataset) -> list[str]:
    """Return each task's first and last digit, "5-6"."""
    names, start = [], 0
    for size in TASK_SIZES:
        first, last = digits.class_names[start], digits.class_names[start + size - 1]
        names.append(first if size == 1 else f"{first}-{last}")
        start += size
    return names
