"""What hostile files and failing disks do: `python -m tests.campaign files bundles`."""

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from tabulate import tabulate

from mobile.device.engines.choice import ENGINES, choose_engine
from tests.campaign.faults import ERRORS, try_faults
from tests.campaign.files import mutated_bundle, mutated_state
from tests.campaign.trials import BAD, Limits, Outcome, run_trial
from tests.campaign.uses import use_bundle, use_state

_UNLIMITED = Limits(seconds=600, memory=1 << 40)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """What hostile files and failing disks do to cbpnet-mobile; exit status 1 if that is harm."""


@main.command()
@click.argument("what", type=click.Choice(["bundles", "states"]))
@click.option("--bundle", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--state", type=click.Path(exists=True, path_type=Path), help="For `states`.")
@click.option("--count", default=200, show_default=True, help="Mutations.")
@click.option("--seed", default=0, show_default=True)
@click.option("--only", type=int, help="Try this mutation alone, and keep its file.")
@click.option("--seconds", default=10.0, show_default=True, help="Of a processor, for a trial.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the bad ones' files.")
def files(
    what: str,
    bundle: Path,
    state: Path | None,
    count: int,
    seed: int,
    only: int | None,
    seconds: float,
    out: Path | None,
) -> None:
    """Try mutated files with their checksums made right, each in a process of its own."""
    engine = _engine_that_is_installed()
    original = bundle if what == "bundles" else state
    if original is None:
        raise click.UsageError("name the state to mutate with --state")
    use = use_bundle if what == "bundles" else use_state(bundle)
    mutated = _mutated(what, original)
    with TemporaryDirectory() as name:
        folder = Path(name)
        usual = run_trial(lambda: use(_copy(original, folder)), _UNLIMITED)
        if usual.kind != "answered":
            raise click.ClickException(f"the file itself: {usual.kind}: {usual.said}")
        limits = Limits(seconds, usual.memory + (300 << 20))
        found = Counter[tuple[str, str]]()
        start = time.monotonic()
        numbers = range(count) if only is None else [only]
        for done, number in enumerate(numbers, 1):
            part, data = mutated(random.Random(f"{seed}/{number}"))
            path = _copy(original, folder)
            path.write_bytes(data)
            outcome = run_trial(lambda path=path: use(path), limits)
            kind = _kind(outcome, usual)
            found[kind, part] += 1
            if kind in BAD or only is not None:
                click.echo(f"{number}, {part}: {kind}: {outcome.said}")
                if out is not None:
                    out.mkdir(parents=True, exist_ok=True)
                    (out / f"{number}{original.suffix}").write_bytes(data)
            if done % 200 == 0:
                rate = (time.monotonic() - start) / done
                click.echo(f"{done} of {count}, {rate * (count - done):.0f} s to go", err=True)
    kinds = ["refused", "same answers", "other answers", *BAD]
    click.echo(_table(found, kinds, f"{count} {what}, seed {seed}, {engine}"))
    if any(kind in BAD for kind, _ in found):
        raise SystemExit(1)


@main.command()
@click.option("--bundle", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--kill/--fail", required=True, help="Kill at the calls, or let them fail.")
@click.option("--count", type=int, help="Trials; default: each call with each fault once.")
@click.option("--seed", default=0, show_default=True)
def faults(bundle: Path, kill: bool, count: int | None, seed: int) -> None:
    """Have each command that writes a state fail, or be killed, at its calls that change files."""
    if shutil.which("strace") is None:
        raise click.ClickException("this needs the program strace: apt-get install strace")
    kinds = ["signal=KILL"] if kill else [f"error={error}" for error in ERRORS]
    with TemporaryDirectory() as name:
        found = try_faults(bundle, Path(name), kinds, count, seed, click.echo)
    click.echo(_table(found, ["old state", "new state", "damage"], ", ".join(kinds)))
    if any(kind == "damage" for kind, _ in found):
        raise SystemExit(1)


def _engine_that_is_installed() -> str:
    """Return the name of the engine of all trials, which is not started here but in each."""
    for name in ENGINES:
        outcome = run_trial(
            lambda name=name: [float(bool(choose_engine(name)))], Limits(600, 1 << 40)
        )
        if outcome.kind == "answered":
            return name
    raise click.ClickException("no engine is installed that runs bundles")


def _mutated(what: str, original: Path) -> Callable[[random.Random], tuple[str, bytes]]:
    data = original.read_bytes()
    if what == "bundles":
        return lambda draw: mutated_bundle(data, draw)
    return lambda draw: mutated_state(original, draw)


def _copy(path: Path, folder: Path) -> Path:
    """Return a copy of a file, and of what belongs to it, in a folder where nothing else is."""
    for left in folder.iterdir():
        left.unlink()
    for part in path.parent.glob(f"{path.name}*"):
        shutil.copy(part, folder)
    return folder / path.name


def _kind(outcome: Outcome, usual: Outcome) -> str:
    if outcome.kind != "answered":
        return outcome.kind
    return "same answers" if outcome.answers == usual.answers else "other answers"


def _table(found: Counter[tuple[str, str]], kinds: Sequence[str], title: str) -> str:
    parts = sorted({part for _, part in found})
    rows = [[kind, *(found[kind, part] for part in parts)] for kind in kinds]
    rows = [[*row, sum(row[1:])] for row in rows]
    return tabulate(rows, [title, *parts, "all"], tablefmt="github")


if __name__ == "__main__":
    main()
