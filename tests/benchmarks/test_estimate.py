"""Estimates against arithmetic worked out by hand, and against a ViT's own shapes."""

import pytest
import torch

from benchmarks.estimate import Arithmetic, Machine, bound_ms, count, estimate_ms
from benchmarks.estimate_report import estimates_to_markdown
from cbpnet.host.errors import InputError

SMALL = Machine("small", 2, 1.0, 10, 4, 8.0, "made up")
LARGE = Machine("large", 4, 2.0, 20, 4, 1000.0, "made up")


def test_the_bound_adds_the_cycles_of_both_kinds_of_arithmetic():
    # 4e6 / 10 + 8e5 / 4 = 6e5 cycles, on two cores of 1e6 cycles a millisecond
    assert bound_ms(SMALL, Arithmetic(4_000_000, 800_000, 1)) == pytest.approx(0.3)


def test_reading_the_weights_bounds_it_too():
    assert bound_ms(SMALL, Arithmetic(10, 4, 16_000_000)) == pytest.approx(2.0)


def test_an_estimate_has_the_share_of_the_peak_that_was_measured():
    work = Arithmetic(4_000_000, 800_000, 1)
    # Here 0.3 ms at the peak and 3 ms measured: a tenth. There 4e5 / 8e6 = 0.05 ms at the peak.
    assert estimate_ms(LARGE, SMALL, work, 3.0) == pytest.approx(0.5)


def test_the_frozen_layers_of_a_vit_tiny_are_those_that_its_layers_have():
    depth, dim, patches, patch = 12, 192, 196, 16
    shapes = [(3 * dim, dim), (dim, dim), (4 * dim, dim), (dim, 4 * dim)]  # qkv, proj, fc1, fc2
    tokens = dict.fromkeys(range(depth), patches + 1)
    rows = [
        [tokens[index], *[tokens[index] if index < depth - 1 else 1] * 3] for index in range(depth)
    ]
    forward = sum(
        count * torch.empty(shape).numel()
        for layer in rows
        for count, shape in zip(layer, shapes, strict=True)
    )
    embedding = patches * torch.empty(dim, 3, patch, patch).numel()
    total = 10**10
    found = count(total, depth, dim, patches, patch, backward=False)
    assert found.int8 == forward + embedding
    assert found.fp32 == total - found.int8
    both = count(total, depth, dim, patches, patch, backward=True)
    first_projection = rows[0][0] * torch.empty(shapes[0]).numel()
    assert both.int8 == 2 * forward + embedding - first_projection
    weights = depth * sum(torch.empty(shape).numel() for shape in shapes)
    assert found.weight_bytes == weights + torch.empty(dim, 3, patch, patch).numel()
    assert both.weight_bytes - found.weight_bytes == weights - torch.empty(shapes[0]).numel()


def test_fewer_multiply_accumulates_than_the_frozen_layers_have_are_refused():
    with pytest.raises(InputError, match="counts 1000 multiply-accumulates, fewer than"):
        count(1000, 12, 192, 196, 16, backward=False)


def test_the_table_has_a_row_for_each_backbone_and_operation():
    spread = {"median": 20.0, "p5": 1.0, "p95": 1.0, "count": 3}
    point = {
        "axis": "backbone",
        "value": "vit_tiny_patch16_224",
        "model": {"backbone": "vit_tiny_patch16_224", "image_size": 224},
        "macs": {"predict": 1_200_000_000, "gradients": 2_540_000_000},
        "times": {"predict": spread, "gradients": spread},
    }
    text = estimates_to_markdown([point, point | {"axis": "tasks"}])
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| vit")
    ]
    assert [row[1] for row in rows] == ["predict", "gradients"]
    work = count(2_540_000_000, 12, 192, 196, 16, backward=True)
    assert rows[1][2] == f"{work.int8 / 1e6:.0f}"
    assert "not measurements" in text
