"""``cbpnet-mobile evaluate``: a bundle on test images, or learning task after task."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from cbpnet.data.dataset import Dataset
from cbpnet.data.folder import read_class_folders
from cbpnet.data.pixels import least_side
from cbpnet.data.stream import make_stream
from cbpnet.host.atomic import make_folder
from cbpnet.host.errors import InputError
from cbpnet.host.progress import expect, progress_bar, with_progress
from cbpnet.host.text import counted, listed, printable
from mobile.cli.bundle_options import BundleOptions
from mobile.cli.learner_options import KeepOptions, TrainingOptions
from mobile.cli.method_report import report_methods
from mobile.cli.option_groups import option, takes
from mobile.cli.options import OptionalDatasetOptions, ProtocolOptions, print_json, print_notes
from mobile.cli.parameters import FilePath

if TYPE_CHECKING:
    from cbpnet.run.metrics import RunResult
    from mobile.device.program import Program
    from mobile.measure.accuracy import Accuracy, TestImages

__all__ = ["evaluate"]

_RESULT = "board_result.json"  # for `report`
_OF_LEARNING = (
    "classes_per_task",
    "train_per_class",
    "class_order",
    "epochs",
    "batch_size",
    "flip",
    "keep",
)
_NAMED = 5  # classes


@dataclass(frozen=True)
class TestedOptions:
    """What is tested without learning."""

    state: Path | None = option(
        "--state",
        type=FilePath(),
        help="Test what this state knows; default: with --images, what the bundle itself knows.",
    )
    images: Path | None = option(
        "--images",
        type=FilePath(),
        help="Test on a folder with one folder of images for each class.",
    )


@dataclass(frozen=True)
class ReportOptions:
    """The seeds, and the report of them."""

    seeds: tuple[int, ...] = option(
        "--seed",
        type=click.IntRange(min=0),
        multiple=True,
        default=(0,),
        show_default=True,
        help="Draws images, initial values and order; may be repeated.",
    )
    out: Path = option(
        "--out",
        type=FilePath(file_okay=False),
        default=Path("runs/evaluate"),
        show_default=True,
        help="Folder for the report; an interrupted evaluation goes on from what it holds.",
    )
    as_json: bool = option("--json", is_flag=True, help="Print the table as JSON.")


@click.command(
    epilog="""\b
Examples:
  cbpnet-mobile evaluate pets.pte --state pets.safetensors --images test_photos
  cbpnet-mobile evaluate cifar.pte --dataset cifar100 --data cifar-100-python.tar.xz \\
      --state cifar.safetensors --test-per-class 20
  cbpnet-mobile evaluate cifar.pte --dataset cifar100 --data cifar-100-python.tar.xz \\
      --train-per-class 50 --test-per-class 20 --seed 0 --out runs/cifar
"""
)
@takes(
    bundle=BundleOptions,
    tested=TestedOptions,
    dataset=OptionalDatasetOptions,
    split=ProtocolOptions,
    lesson=TrainingOptions,
    kept=KeepOptions,
    report=ReportOptions,
)
def evaluate(
    bundle: BundleOptions,
    tested: TestedOptions,
    dataset: OptionalDatasetOptions,
    split: ProtocolOptions,
    lesson: TrainingOptions,
    kept: KeepOptions,
    report: ReportOptions,
) -> None:
    """Test a bundle on images; or learn a data set through it, task after task.

    With --images or --state nothing is learnt: the images of the classes that are known are
    classified. Otherwise the bundle learns --dataset from nothing, and is tested after every task:
    with the same images, order, initial values and settings as `benchmark` with the same options.
    Either writes a report, and goes on from what it holds when it is interrupted and run again.
    """
    if (tested.images is None) == (dataset.dataset is None):
        raise click.UsageError("name what to test on: --images FOLDER, or --dataset with --data")
    make_folder(report.out)
    if tested.images is None and tested.state is None:
        _learn(bundle, dataset, split, lesson, kept, report)
        return
    _refuse_options_of_learning()
    if tested.images is not None:
        test, name = _images_of_folders(tested.images, dataset.strict)
    else:
        test, name = _images_of_data_set(bundle.path, dataset.load(), split, report.seeds[0])
    _test(bundle, tested.state, test, name, report)


def _learn(
    bundle: BundleOptions,
    dataset: OptionalDatasetOptions,
    split: ProtocolOptions,
    lesson: TrainingOptions,
    kept: KeepOptions,
    report: ReportOptions,
) -> None:
    """Learn a data set task after task, once for each seed, and report it."""
    from mobile.measure.protocol import protocol_figures
    from mobile.measure.results import describe_bundle, take, write_result

    program = bundle.program()
    loaded = dataset.load()
    results = _run_seeds(program, loaded, split, lesson, kept, report)
    conditions = {
        "dataset": loaded.name,
        **_program_conditions(program, bundle.path),
        **split.conditions(loaded),
        **lesson.conditions(),
        **kept.conditions(),
    }
    seeds = {"seeds": list(report.seeds)}
    figures = protocol_figures(loaded.name, conditions | seeds, results)
    described = describe_bundle(bundle.path, program.manifest)
    write_result(report.out / _RESULT, take(described, figures))
    report_methods(results, conditions, report.seeds, report.out, report.as_json)
    if not report.as_json:
        click.echo("compare with the learner in PyTorch: cbpnet-mobile benchmark, same options")


def _run_seeds(
    program: "Program",
    dataset: Dataset,
    split: ProtocolOptions,
    lesson: TrainingOptions,
    kept: KeepOptions,
    report: ReportOptions,
) -> "list[RunResult]":
    from mobile.measure.evaluation import BundleEvaluation

    training, runs = lesson.training(program.manifest.config), []
    for seed in dict.fromkeys(report.seeds):
        stream = split.stream(dataset, seed, split.holdout)
        runs.append(BundleEvaluation(program, stream, training, seed, report.out, kept.keep))
    results = []
    with progress_bar("learning and testing", sum(run.images_to_come for run in runs)) as bar:
        for run in runs:
            results += run.run(bar.update)
            expect(bar, sum(run.images_to_come for run in runs))
    return results


def _program_conditions(program: "Program", path: Path) -> dict[str, object]:
    """Return what a report says of the program."""
    from mobile.device.program import get_threads

    manifest = program.manifest
    size = f"{path.stat().st_size / 1e6:.2f} MB"
    return {
        "backbone": manifest.backbone.name,
        "program": f"{manifest.target} {manifest.precision}, {size}",
        "threads": get_threads(),
        "image size": manifest.image_size,
        "crop": manifest.preprocessing.crop_pct,
    }


def _refuse_options_of_learning() -> None:
    """Raise click's error for wrong usage if an option was given that a test has no use for."""
    context = click.get_current_context()
    for name in _OF_LEARNING:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            given = name.replace("_", "-")
            raise click.UsageError(f"--{given} is of learning, and --state and --images only test")


def _images_of_folders(folder: Path, strict: bool) -> tuple["TestImages", str]:
    """Return the images of class folders, and what the folder is called."""
    from mobile.measure.accuracy import TestImages

    reading = partial(with_progress, title="reading")
    classes, notes = read_class_folders(folder, strict=strict, progress=reading)
    print_notes(notes)
    return TestImages.of_folders(classes), folder.resolve().name


def _images_of_data_set(
    bundle: Path, dataset: Dataset, split: ProtocolOptions, seed: int
) -> tuple["TestImages", str]:
    """Return the test images of a data set, as large as a bundle needs them, and its name."""
    from mobile.device.bundle import read_manifest
    from mobile.measure.accuracy import TestImages

    everything = len(dataset.class_names)
    stream = make_stream(
        dataset, everything, None, split.test_per_class, seed, "natural", split.holdout
    )
    print_notes(stream.notes)
    least = least_side(read_manifest(bundle).preprocessing)
    return TestImages.of_stream(stream, least), dataset.name


def _test(
    bundle: BundleOptions,
    state: Path | None,
    test: "TestImages",
    name: str,
    report: ReportOptions,
) -> None:
    """Classify test images with what is known, and report it."""
    from mobile.measure.accuracy import measure_accuracy
    from mobile.measure.results import describe_bundle, file_digest, take, write_result

    learner = bundle.learner(state)
    if not learner.class_names:
        raise InputError(
            f"{bundle.path} knows no class itself; name what it has learnt with --state"
        )
    described = describe_bundle(bundle.path, learner.manifest)
    learnt = "" if state is None else file_digest(state)
    identity = {"bundle": described.digest, "state": learnt}
    answers = report.out / "answers.jsonl"
    with progress_bar("testing", len(test.only(learner.class_names).labels)) as bar:
        found = measure_accuracy(learner, test, name, state, identity, answers, bar.update)
    result = take(described, found)
    write_result(report.out / _RESULT, result)
    if report.as_json:
        print_json(asdict(result))
        return
    click.echo(result.board.model)
    _print_accuracy(found)
    click.echo(
        f"wrote {report.out / _RESULT} and answers.jsonl; next: cbpnet-mobile report {report.out}"
    )


def _print_accuracy(found: "Accuracy") -> None:
    click.echo(
        f"{100 * found.share:.1f} % of {counted(found.images, 'image')} of "
        f"{counted(len(found.classes), 'class')}, among {found.known_classes} known classes"
        + ("" if found.images_per_second is None else f"; {found.images_per_second:.1f} images/s")
    )
    worst = sorted(found.classes, key=lambda one: one.right / one.images)[:_NAMED]
    rows = [f"{printable(one.label)} {100 * one.right / one.images:.0f} %" for one in worst]
    click.echo(f"hardest: {', '.join(rows)}")
    for one in found.confusions[:_NAMED]:
        click.echo(f"{one.images} of {printable(one.label)} taken for {printable(one.taken_for)}")
    if found.left_out:
        number = counted(len(found.left_out), "class")
        click.echo(f"left out, not known: {number} ({listed(found.left_out)})", err=True)
