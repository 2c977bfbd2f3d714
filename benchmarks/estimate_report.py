"""The estimates as a table, from what `scaling` measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.estimate import HERE, MACHINES, Arithmetic, bound_ms, count, estimate_ms
from cbpnet.host.tables import markdown_table

__all__ = ["estimates_to_markdown"]

_DEPTH, _PATCH = 12, 16  # of ViT-Ti, S and B
_WIDTH = {"vit_tiny": 192, "vit_small": 384, "vit_base": 768}
_OPERATIONS = ("predict", "gradients")


def estimates_to_markdown(points: Sequence[Mapping[str, Any]]) -> str:
    """Return a table with a row for each backbone and operation; ``points`` are scaling.json's."""
    names = [machine.name for machine in MACHINES]
    header = ["", "", "int8 Mmacs", "fp32 Mmacs", "measured here", "share of the peak", *names]
    rows = []
    for point in points:
        if point["axis"] != "backbone":
            continue
        for operation in _OPERATIONS:
            work = _count(point, operation)
            measured = point["times"][operation]["median"]
            share = bound_ms(HERE, work) / measured
            figures = [
                f"{work.int8 / 1e6:.0f}",
                f"{work.fp32 / 1e6:.0f}",
                f"{measured:.1f}",
                f"{100 * share:.0f} %",
                *(f"{estimate_ms(there, HERE, work, measured):.0f}" for there in MACHINES),
            ]
            rows.append([point["value"], operation, *figures])
    sources = "".join(f"- {machine.name}: {machine.source}\n" for machine in (HERE, *MACHINES))
    return (
        "# Estimates of other machines, not measurements\n\n"
        "Milliseconds an image, int8, micro-batch 1.\n\n"
        f"{markdown_table(header, rows, words=2)}\n\n{sources}"
    )


def _count(point: Mapping[str, Any], operation: str) -> Arithmetic:
    model = point["model"]
    (width,) = (dim for name, dim in _WIDTH.items() if model["backbone"].startswith(name))
    patches = (model["image_size"] // _PATCH) ** 2
    backward = operation == "gradients"
    return count(point["macs"][operation], _DEPTH, width, patches, _PATCH, backward)
