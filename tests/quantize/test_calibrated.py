"""A calibrated trunk is near fp32, and keeps exact what an outlier would destroy."""

import pytest
import torch
from torch import Tensor

from cbpnet.host.errors import InputError
from quantize.calibrated import calibrated_trunk
from quantize.distance import mean_cosine
from quantize.static_int8 import roundable
from quantize.trunk import FrozenTrunk


@pytest.fixture
def images() -> Tensor:
    return torch.randn(8, 3, 32, 32)


def test_without_outliers_every_layer_is_rounded(trunk: FrozenTrunk, images: Tensor) -> None:
    with torch.no_grad():
        found = calibrated_trunk(trunk, images.split(4))
        cosine = mean_cosine(trunk(images), found.trunk(images))
    assert found.recipe.keep_fp32 == ()
    assert list(found.recipe.ranges) == roundable(trunk, layers_only=True)
    assert all(layer.weight.dtype == torch.int8 for layer in found.trunk.layers.values())
    assert 0.99 <= found.cosine < 1
    assert cosine == pytest.approx(found.cosine, abs=0.005)


def test_a_layer_with_an_outlier_stays_exact(trunk: FrozenTrunk, images: Tensor) -> None:
    bias = trunk.layers["blocks.1.fc1"].bias
    assert bias is not None
    bias[7] = 3000.0  # a hidden unit that dwarfs the others before fc2, and gives nothing
    trunk.layers["blocks.1.fc2"].weight[:, 7] = 0.0
    exact = trunk(images)
    found = calibrated_trunk(trunk, images.split(4), target=0.995)
    assert found.recipe.keep_fp32[0] == "blocks.1.fc2"
    assert found.trunk.layers["blocks.1.fc2"].weight.dtype == torch.float32
    assert found.cosine >= 0.995
    assert trunk(images).equal(exact)  # the given trunk is left as it was


def test_without_images_nothing_is_made(trunk: FrozenTrunk) -> None:
    with pytest.raises(InputError, match="at least one image"):
        calibrated_trunk(trunk, [])
