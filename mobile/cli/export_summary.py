"""What `export` says of the bundle that it wrote, in words and as a document."""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from tabulate import tabulate

from cbpnet.method.layout import forward_methods
from mobile.device.manifest import Manifest
from mobile.export.comparison import Agreement
from mobile.export.exporter import Export
from mobile.export.lowering import Delegation

__all__ = ["as_document", "as_text"]

_LEAST_SHARE = 0.01  # of a method's arithmetic in per cent; below it an operator is only named
_WIDTH, _MARGIN = 100, 4 * " "


def as_document(written: Export, seconds: Mapping[str, float]) -> dict[str, Any]:
    """Return what a script may want to know of an export; ``seconds`` are those of its stages."""
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
        "known_classes": len(manifest.class_names),
        "known_tasks": written.known_tasks,
        "methods": {name: asdict(found) for name, found in written.delegation.items()},
        "target_options": manifest.target_options,
        "compiler": written.compiler,
        "agreement": asdict(written.agreement),
        "quantisation": manifest.quantisation,
        "seconds": dict(seconds),
    }


def as_text(written: Export, seconds: Mapping[str, float]) -> str:
    """Return what a person may want to know of an export; ``seconds`` are those of its stages."""
    manifest = written.manifest
    lines = [
        *_delegation(written.delegation),
        *(f"{name}: {value}" for name, value in (written.compiler or {}).items()),
        f"against PyTorch: {_agreement(written.agreement, manifest)}",
    ]
    if manifest.quantisation is not None:
        lines.append(_quantisation(manifest.quantisation))
    lines += [
        f"learns {manifest.trainable_parameters:,} parameters, "
        f"{100 * manifest.trainable_fraction:.3f} % of the backbone's "
        f"{manifest.backbone.parameters:,}, and a head of {manifest.head_parameters:,}",
        f"wrote {written.path}: {written.bytes / 1e6:.2f} MB, of which weights "
        f"{written.weight_bytes / 1e6:.2f} MB; {_room(written)}; {sum(seconds.values()):.0f} s",
        f"next: cbpnet-mobile learn {written.path} --images FOLDER --out state.safetensors",
    ]
    return "\n".join(lines)


def _delegation(methods: Mapping[str, Delegation]) -> Iterator[str]:
    """Yield a table of the methods; under each row the operators outside the delegates."""
    rows = [
        (
            name,
            found.delegate_calls,
            f"{found.total / 1e6:.2f}",
            f"{_percent(sum(found.arithmetic.values()), found):.2f} % of them",
        )
        for name, found in methods.items()
    ]
    headers = ("method", "delegates", "Mops", "outside the delegates")
    aligned = ("left", "right", "right", "left")
    table = tabulate(rows, headers, "plain", colalign=aligned, disable_numparse=True)
    header, *lines = table.splitlines()
    yield header
    for line, found in zip(lines, methods.values(), strict=True):
        yield line
        if found.undelegated:
            listed = _operators(found)
            yield textwrap.fill(listed, _WIDTH, initial_indent=_MARGIN, subsequent_indent=_MARGIN)


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


def _agreement(found: Agreement, manifest: Manifest) -> str:
    cosines = found.gradients.values()
    learning = [f"of gradients {min(cosines):.5f} to {max(cosines):.5f}"] if cosines else []
    if found.features is None:
        methods = " and ".join(forward_methods(manifest.config))
        unrun = f"this machine cannot run {manifest.target}, and did not run {methods}"
        return "; ".join([*(f"cosine {part}" for part in learning), unrun])
    features = f"cosine of the features {found.features:.5f}"
    scores = f"scores differ by {found.scores:.1e} at most"
    return "; ".join([", ".join([features, *learning]), scores])


def _quantisation(report: Mapping[str, Any]) -> str:
    features = report.get("features") or report["query"]
    said = [f"cosine of the features {features['cosine']:.4f}"]
    gradients = [found["cosine"] for found in report["gradients"].values()]
    if gradients:
        said.append(f"of gradients {min(gradients):.3f} to {max(gradients):.3f}")
    found = f"against fp32, on {report['images']} real images: {', '.join(said)}"
    same = report["top1_agreement"]
    return found if same is None else f"{found}; the same class for {100 * same:.1f} %"


def _room(written: Export) -> str:
    manifest = written.manifest
    known, tasks = len(manifest.class_names), written.known_tasks
    classes, more = f"{manifest.classes} classes", f"{manifest.classes - known} more classes"
    if not manifest.config.one_pass:
        classes += f" in {manifest.tasks} tasks"
        more += f" in {manifest.tasks - tasks} more tasks"
    if not known:
        return f"room for {classes}"
    lessons = "lessons" if manifest.config.one_pass else "tasks"
    return f"knows {known} classes in {tasks} {lessons}, with room for {more}"
