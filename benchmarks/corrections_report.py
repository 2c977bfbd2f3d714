"""What corrections come to as a table of the bars, from what was measured."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from cbpnet.host.tables import markdown_table, mean_and_spread

__all__ = ["corrections_to_markdown"]

_BAR = 0.6  # of the recall that as many images give


def corrections_to_markdown(found: Mapping[str, Any]) -> str:
    """Return the tables; ``found`` is what `python -m benchmarks corrections` writes as JSON."""
    parts = [
        _relabel(found["relabel"]),
        _exact(found),
        _by_seed("unknown, CIFAR-100", found["unknown"]),
        _by_seed("probabilities, CIFAR-100", found["calibration"]["cifar100"]),
        _by_seed("probabilities, signs", found["calibration"]["signs"]),
        _rare(found["rare"]),
        *(_by_seed("final accuracy", runs) for runs in found["modes"]),
        markdown_table(["seconds", ""], [[n, f"{v:.2f}"] for n, v in found["times"].items()]),
    ]
    return "\n\n".join(parts) + "\n"


def _relabel(pairs: Sequence[Mapping[str, Any]]) -> str:
    titles = ("right", "wrong", "relabelled")
    rows = [
        [f"{pair['mistaught']} as {pair['as']}"]
        + [f"{100 * pair[title][place]:.1f}" for title in titles for place in range(2)]
        for pair in pairs
    ]
    means = [fmean(pair[title][place] for pair in pairs) for title in titles for place in range(2)]
    rows.append(["mean", *(f"{100 * mean:.1f}" for mean in means)])
    header = [f"{title}, {which}" for title in titles for which in ("the class", "the other")]
    return markdown_table(["15 mistaught", *header], rows)


def _exact(found: Mapping[str, Any]) -> str:
    names = ("scores", "probabilities", "unknown", "threshold")
    differences = {
        "relabelled": [pair["difference"] for pair in found["relabel"]],
        "a lesson forgotten": found["forget and undo"]["forget"],
        "five devices merged": found["merge"],
    }
    rows = [
        [title, *(f"{max(one[name] for one in few):.1e}" for name in names)]
        for title, few in differences.items()
    ]
    table = markdown_table(["greatest difference", *names], rows)
    undone = found["forget and undo"]["undo"]
    return (
        f"{table}\n\nTensors of the state that are not equal bit by bit after a lesson is undone: "
        f"{max(undone)} in {len(undone)} lessons; of one that adapts what was known "
        "{} undone and {} redone.".format(*found["adapting lesson"])
    )


def _rare(pairs: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for title in ("alone", "beside ten"):
        even = [pair[title]["30 and 30"] for pair in pairs]
        few = [pair[title]["1 and 30"] for pair in pairs]
        ratios = [one[0] / both[0] for one, both in zip(few, even, strict=True)]
        means = [fmean(one[place] for one in both) for both in (even, few) for place in range(2)]
        row = [title, *(f"{100 * mean:.1f}" for mean in means), f"{means[2] / means[0]:.2f}"]
        row += [f"{fmean(ratios):.2f}", f"{min(ratios):.2f}"]
        rows.append([*row, str(sum(ratio < _BAR for ratio in ratios))])
    header = ["pairs", "30 and 30: rare", "other", "1 and 30: rare", "other"]
    header += ["ratio of means", "mean ratio", "least", f"below {_BAR}, of {len(pairs)}"]
    return markdown_table(header, rows)


def _by_seed(title: str, runs: Sequence[Mapping[str, float]]) -> str:
    rows = [
        [name, mean_and_spread([100 * run[name] for run in runs])]
        + [f"{100 * run[name]:.2f}" for run in runs]
        for name in runs[0]
    ]
    seeds = [f"seed {number}" for number in range(len(runs))]
    return markdown_table([f"{title}, in hundredths", "mean", *seeds], rows)
