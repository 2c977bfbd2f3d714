"""Draws data_flow.png: where an image goes, what is int8, what is fp32, what the device changes.

python docs/img/data_flow.py
"""

from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch, Rectangle

FROZEN, GRADIENT, CLOSED, PLAIN = "#c9daf0", "#f8d5a8", "#cde8c4", "#f2f2f2"
INK, BACKWARD = "#222222", "#b3261e"
Point = tuple[float, float]


def box(axes: Axes, centre: Point, size: Point, text: str, colour: str) -> None:
    """Draw a named part of the network."""
    corner = (centre[0] - size[0] / 2, centre[1] - size[1] / 2)
    style = "round,pad=0,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch(corner, *size, style, fc=colour, ec=INK, lw=1))
    axes.text(*centre, text, ha="center", va="center", fontsize=9.5, color=INK)


def arrow(axes: Axes, *points: Point, backward: bool = False) -> None:
    """Draw an arrow along straight pieces."""
    colour, dashes = (BACKWARD, (0, (4, 2))) if backward else (INK, "solid")
    for a, b in pairwise(points[:-1]):
        axes.plot(*zip(a, b, strict=True), color=colour, lw=1.3, ls=dashes)
    axes.add_patch(
        FancyArrowPatch(
            *points[-2:],
            arrowstyle="-|>",
            mutation_scale=11,
            shrinkA=0,
            shrinkB=0,
            color=colour,
            lw=1.3,
            ls=dashes,
        )
    )


def method(axes: Axes, corner: Point, size: Point, name: str) -> None:
    """Draw what one method of the bundle covers."""
    axes.add_patch(Rectangle(corner, *size, fill=False, ec="#888888", lw=1, ls=(0, (1, 2))))
    axes.text(
        corner[0] + 0.08,
        corner[1] + 0.08,
        name,
        ha="left",
        va="bottom",
        fontsize=9.5,
        family="monospace",
        color="#555555",
    )


def draw(axes: Axes) -> None:
    """Draw the figure."""
    method(axes, (1.45, 4.9), (3.0, 1.4), "query")
    method(axes, (1.45, 0.85), (10.2, 3.85), "predict; with the red arrows: gradients")
    method(axes, (8.05, 4.9), (1.9, 1.4), "observe")

    box(axes, (0.65, 3.6), (1.0, 0.8), "image\nfp32", PLAIN)
    box(axes, (2.95, 5.65), (2.5, 0.8), "frozen ViT\nwithout prompts", FROZEN)
    box(axes, (5.35, 5.65), (1.1, 0.8), "query q", PLAIN)
    box(axes, (9.0, 5.65), (1.6, 0.8), "class means,\nridge readout", CLOSED)
    box(axes, (5.35, 4.05), (1.5, 0.7), "keys:\nnearest task t", GRADIENT)
    box(axes, (2.95, 3.6), (2.5, 0.7), "G-prompt, E-prompt t", GRADIENT)
    box(axes, (2.95, 2.1), (2.5, 0.9), "the same frozen ViT\nwith prefix keys, values", FROZEN)
    box(axes, (5.35, 2.1), (1.1, 0.8), "feature z", PLAIN)
    box(axes, (7.05, 2.1), (1.3, 0.9), "CBP block\nz + g·f(z)", GRADIENT)
    box(axes, (9.0, 2.1), (1.6, 0.9), "cosine head,\nlog-softmax", GRADIENT)
    box(axes, (10.95, 2.1), (0.9, 0.8), "loss", PLAIN)
    box(axes, (12.75, 3.6), (1.1, 0.8), "class\nscores", PLAIN)

    arrow(axes, (0.65, 4.0), (0.65, 5.65), (1.7, 5.65))
    arrow(axes, (0.65, 3.2), (0.65, 2.2), (1.7, 2.2))
    arrow(axes, (4.2, 5.65), (4.8, 5.65))
    arrow(axes, (5.9, 5.65), (8.2, 5.65))
    arrow(axes, (5.35, 5.25), (5.35, 4.4))
    arrow(axes, (4.6, 4.05), (4.4, 4.05), (4.4, 3.7), (4.2, 3.7))
    arrow(axes, (2.75, 3.25), (2.75, 2.55))
    arrow(axes, (4.2, 2.2), (4.8, 2.2))
    arrow(axes, (5.9, 2.2), (6.4, 2.2))
    arrow(axes, (7.7, 2.2), (8.2, 2.2))
    arrow(axes, (9.8, 2.2), (10.5, 2.2))
    arrow(axes, (9.8, 5.65), (12.75, 5.65), (12.75, 4.0))
    arrow(axes, (9.0, 2.55), (9.0, 3.6), (12.2, 3.6))
    axes.text(10.9, 5.75, "times its weight", ha="center", fontsize=8.5, color=INK)
    axes.text(10.6, 3.7, "added", ha="center", fontsize=8.5, color=INK)

    # Backwards, a little below the way forward.
    for start, end in ((10.5, 9.8), (8.2, 7.7), (6.4, 5.9), (4.8, 4.2)):
        arrow(axes, (start, 1.9), (end, 1.9), backward=True)
    arrow(axes, (3.15, 2.55), (3.15, 3.25), backward=True)
    axes.text(
        3.45,
        1.42,
        "backwards: transposed weights, int8 too",
        ha="center",
        fontsize=8.5,
        color=BACKWARD,
    )
    box(
        axes,
        (6.95, 0.3),
        (9.0, 0.5),
        "update (fp32): Adam on prompts, key, block and head, then continual backpropagation",
        GRADIENT,
    )
    arrow(axes, (10.95, 1.7), (10.95, 0.55), backward=True)
    axes.text(10.85, 1.2, "gradient sums", ha="right", va="center", fontsize=8.5, color=BACKWARD)


def main() -> None:
    """Write the picture beside this file."""
    figure, axes = plt.subplots(figsize=(12.2, 6.6))
    draw(axes)
    axes.set(xlim=(0, 13.5), ylim=(-0.55, 6.75), aspect="equal")
    axes.axis("off")
    handles = [
        Patch(fc=FROZEN, ec=INK, label="int8 (or fp32), frozen, in the delegate"),
        Patch(fc=GRADIENT, ec=INK, label="fp32, the device trains it"),
        Patch(fc=CLOSED, ec=INK, label="fp32, the device counts images into it"),
        Patch(fc=PLAIN, ec=INK, label="fp32, passing through"),
    ]
    axes.legend(handles=handles, loc="lower center", ncol=4, frameon=False, fontsize=9)
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=130, bbox_inches="tight")


if __name__ == "__main__":
    main()
