"""The commands: ``python -m benchmarks peers`` and the others."""

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from benchmarks.corrections import measure_corrections
from benchmarks.corrections_report import corrections_to_markdown
from benchmarks.estimate_report import estimates_to_markdown
from benchmarks.peer_programs import get_step
from benchmarks.peers import PEERS
from benchmarks.peers_report import to_markdown, write_report
from benchmarks.scaling import AXES, BASE, measure_scaling, points, write_scaling
from benchmarks.side_by_side import compare_peers
from benchmarks.step import Model
from cbpnet.data.catalogue import DATASETS
from cbpnet.host.atomic import make_folder, write_atomically
from cbpnet.host.errors import InputError
from cbpnet.host.packages import installed_version
from cbpnet.host.processor import cpu_name
from cbpnet.host.progress import progress_bar
from cbpnet.host.text import counted
from mobile.device.program import set_threads

__all__ = ["main"]

_PACKAGES = ("torch", "executorch", "torchao")


class _Group(click.Group):
    """Turns bad input into one sentence and exit status 1."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except InputError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(1)


@click.group(cls=_Group)
def main() -> None:
    """Measure learning steps, other runtimes' and ours, and what corrections come to."""


_PATH = click.Path(path_type=Path, exists=True)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)

out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/benchmarks"),
    show_default=True,
    help="Folder of the results, and of the programs, which are made once.",
)


@main.command()
@click.option("--backbone", default="vit_tiny_patch16_224", show_default=True, help="timm's name.")
@click.option("--image-size", type=int, default=224, show_default=True, help="In pixels.")
@click.option(
    "--weights",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The backbone's weights; default: random ones, which cost the same.",
)
@click.option("--dataset", type=click.Choice(list(DATASETS)), help="Default: random numbers.")
@click.option("--data", type=click.Path(path_type=Path), help="The data set's folder or archive.")
@click.option("--images", type=click.IntRange(min=4), default=8, show_default=True)
@click.option(
    "--threads", type=click.IntRange(min=1), multiple=True, default=[2, 1], show_default=True
)
@click.option("--rounds", type=click.IntRange(min=1), default=40, show_default=True)
@click.option(
    "--peer", "names", type=click.Choice(list(PEERS)), multiple=True, help="Default: all of them."
)
@out_option
def peers(
    backbone: str,
    image_size: int,
    weights: Path | None,
    dataset: str | None,
    data: Path | None,
    images: int,
    threads: Sequence[int],
    rounds: int,
    names: Sequence[str],
    out: Path,
) -> None:
    """Compute one learning step with every peer, in turns: a table, JSON and a plot."""
    make_folder(out)
    model = Model(backbone, str(weights) if weights else None, image_size)
    step = get_step(out, model, images, dataset, data)
    runs = []
    for count in threads:
        with progress_bar(counted(count, "thread"), rounds, "round") as bar:
            runs.append(
                compare_peers(step, names or list(PEERS), count, rounds, bar.write, bar.update)
            )
    what = f"{images} photographs of {dataset}" if dataset else f"{images} images of random numbers"
    found = conditions(model, what, rounds)
    write_report(runs, found, out)
    click.echo(to_markdown(runs, found))


@main.command()
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=20, show_default=True)
@click.option(
    "--axis", "axes", type=click.Choice(list(AXES)), multiple=True, help="Default: all of them."
)
@out_option
def scaling(threads: int, rounds: int, axes: Sequence[str], out: Path) -> None:
    """Measure how time and memory grow with backbone, image size, micro-batch and capacity.

    The weights are random. What is exported already, by the same code, is not exported again.
    """
    make_folder(out)
    shown = points(BASE, {name: AXES[name] for name in axes or AXES})
    with progress_bar(counted(threads, "thread"), rounds, "round") as bar:
        models = [BASE, *(point.model for point in shown)]
        found = measure_scaling(out, models, threads, rounds, bar.write, bar.update)
    what = conditions(BASE, "8 images of random numbers", rounds) | {"threads": threads}
    click.echo(write_scaling(found, shown, what, out))


@main.command()
@out_option
def estimate(out: Path) -> None:
    """Estimate what other machines would need, from what `scaling` has measured with 2 threads."""
    path = out / "scaling.json"
    if not path.exists():
        raise click.UsageError(f"{path} does not exist; run `python -m benchmarks scaling` first")
    text = estimates_to_markdown(json.loads(path.read_text(encoding="utf-8"))["points"])
    write_atomically(out / "estimate.md", text.encode())
    click.echo(text)


@main.command()
@click.option("--bundle", type=_FILE, required=True, help="Of a one-pass learner, 100 classes.")
@click.option("--cifar100", type=_PATH, required=True, help="cifar-100-python or its archive.")
@click.option("--clothes", type=_PATH, required=True, help="Class folders, or a tar of them.")
@click.option("--signs", type=_PATH, required=True, help="Class folders, or a tar of them.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True)
@out_option
def corrections(
    bundle: Path, cifar100: Path, clothes: Path, signs: Path, seeds: int, out: Path
) -> None:
    """Measure what corrections, merging, answers "unknown" and rare classes come to."""
    make_folder(out)
    set_threads(1)
    found = measure_corrections(bundle, cifar100, clothes, signs, range(seeds), out)
    write_atomically(out / "corrections.json", json.dumps(found, indent=1).encode())
    text = corrections_to_markdown(found)
    write_atomically(out / "corrections.md", text.encode())
    click.echo(text)


def conditions(model: Model, images: str, rounds: int) -> dict[str, Any]:
    """Return what the figures depend on, by name."""
    versions = ", ".join(f"{name} {installed_version(name)}" for name in _PACKAGES)
    return {
        "model": f"{model.backbone}, {model.image_size} pixels, {model.classes} classes, "
        f"{model.tasks} tasks, {'pretrained' if model.weights else 'random'} weights",
        "images": f"{images}, {model.micro_batch} a call",
        "cpu": cpu_name(),
        "versions": versions,
        "code": _commit(),
        "rounds": rounds,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _commit() -> str:
    """Return the commit, and whether files differ from it."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            check=True,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()
