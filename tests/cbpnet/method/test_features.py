"""Joining features: each part against its formula in numpy, and the random projection's moments."""

import numpy as np
import pytest
import torch

from cbpnet.method.features import join_parts, random_projection

WIDTHS = {"pooled": 8, "patches": 8, "block3": 8, "logits50": 50, "random30": 30}


def test_parts_stand_side_by_side_each_by_its_formula() -> None:
    parts = [
        3 * torch.randn(4, width, dtype=torch.float64) + 0.5 * place
        for place, width in enumerate(WIDTHS.values())
    ]
    expected = []
    for name, part in zip(WIDTHS, parts, strict=True):
        rows = part.numpy()
        if name in ("logits50", "random30"):
            expected.append(np.maximum(rows / rows.std(axis=1, keepdims=True), 0))
        else:
            expected.append(rows / np.sqrt((rows**2).mean(axis=1, keepdims=True)))
    found = join_parts(list(WIDTHS), parts)
    np.testing.assert_allclose(found.numpy(), np.concatenate(expected, axis=1), rtol=1e-12)


def test_an_images_features_do_not_depend_on_scale_or_on_other_images() -> None:
    parts = [torch.randn(3, width) for width in WIDTHS.values()]
    together = join_parts(list(WIDTHS), parts)
    alone = join_parts(list(WIDTHS), [100 * part[1:2] for part in parts])
    torch.testing.assert_close(alone, together[1:2], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 2.0])
def test_entries_that_are_all_alike_give_numbers(value: float) -> None:
    parts = [torch.full((2, width), value) for width in WIDTHS.values()]
    assert join_parts(list(WIDTHS), parts).isfinite().all()


def test_the_random_projection_is_one_draw_of_the_right_size() -> None:
    drawn = random_projection(192, 1000)
    assert drawn.shape == (1000, 192)
    torch.manual_seed(7)
    assert random_projection(192, 1000).equal(drawn)
    # 192,000 standard normal numbers over the root of 192; the bounds are five deviations.
    scaled = drawn.double() * 192**0.5
    assert abs(scaled.mean()) < 5 / 192_000**0.5
    assert abs(scaled.square().mean() - 1) < 5 * (2 / 192_000) ** 0.5
    assert abs((scaled**4).mean() - 3) < 5 * (96 / 192_000) ** 0.5
