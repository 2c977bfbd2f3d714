"""The sensitivity report on a trunk with planted culprits."""

import pytest
import torch
from torch import Tensor

from cbpnet.host.errors import InputError
from quantize.distance import mean_cosine, sqnr_db
from quantize.sensitivity import Sensitivity, Trial, by_kind, keep_until
from quantize.static_int8 import StaticRecipe, TensorRange, calibrate, roundable, static_trunk
from quantize.trunk import FrozenTrunk

CULPRITS = ["blocks.2.attention_sum", "blocks.1.fc2"]


@pytest.fixture
def images() -> Tensor:
    return torch.randn(6, 3, 32, 32)


@pytest.fixture
def ranges(trunk: FrozenTrunk, images: Tensor) -> dict[str, TensorRange]:
    """Those of calibration, but two as if one value had been far out."""
    found = calibrate(trunk, [images])
    return found | {name: TensorRange(found[name].low, 200.0) for name in CULPRITS}


@pytest.fixture
def trial(trunk: FrozenTrunk, ranges: dict[str, TensorRange], images: Tensor) -> Trial:
    return Trial(trunk, ranges, images.split(3), [None, {0: torch.randn(1, 2, 5, 64)}])


def test_a_measurement_is_the_distance_of_both_passes_features(
    trunk: FrozenTrunk, ranges: dict[str, TensorRange], trial: Trial
) -> None:
    names = ["blocks.0.qkv", "blocks.1.mlp_sum"]
    found = trial.measure("two", names)
    rounded = static_trunk(trunk, StaticRecipe({name: ranges[name] for name in names}))
    exact, other = (
        torch.cat([model(x, given) for x in trial.batches for given in trial.passes])
        for model in (trunk, rounded)
    )
    assert exact.shape == (12, 64)
    assert found == Sensitivity(
        "two", pytest.approx(mean_cosine(exact, other)), pytest.approx(sqnr_db(exact, other))
    )
    assert 0.9 < found.cosine < 1


def test_culprits_are_found_and_kept_until_the_target(
    trunk: FrozenTrunk, ranges: dict[str, TensorRange], trial: Trial
) -> None:
    names = roundable(trunk)
    alone = [trial.measure(name, [name]) for name in names]
    worst = sorted(alone, key=lambda each: each.sqnr)
    assert {each.name for each in worst[:2]} == set(CULPRITS)
    target = trial.measure("others", set(names) - set(CULPRITS)).cosine - 1e-4

    seen: list[Sensitivity] = []
    recipe, steps = keep_until(trial, alone, target, seen.append)
    assert list(recipe.keep_fp32) == [each.name for each in worst[:2]]
    assert recipe.ranges == ranges
    assert [step.name for step in steps] == ["all rounded", *recipe.keep_fp32]
    assert seen == steps
    assert steps[0].cosine < target
    assert steps[1].cosine < target
    assert steps[2].cosine >= target
    assert steps[0] == trial.measure("all rounded", names)
    assert trial.measure_recipe(steps[2].name, recipe) == steps[2]


def test_nothing_is_kept_where_the_target_is_met(trunk: FrozenTrunk, trial: Trial) -> None:
    alone = [trial.measure("blocks.0.fc1", ["blocks.0.fc1"])]
    recipe, steps = keep_until(trial, alone, 0.5)
    assert recipe.keep_fp32 == ()
    assert list(recipe.ranges) == ["blocks.0.fc1"]
    assert len(steps) == 1


def test_all_is_kept_where_nothing_less_meets_the_target(trial: Trial) -> None:
    alone = [trial.measure(name, [name]) for name in CULPRITS]
    recipe, steps = keep_until(trial, alone, 0.9999999)
    assert set(recipe.keep_fp32) == set(CULPRITS)
    assert steps[-1].cosine == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("target", [0.0, 1.0, -0.5])
def test_other_targets_are_refused(trial: Trial, target: float) -> None:
    with pytest.raises(InputError, match=f"target cosine {target} must lie between 0 and 1"):
        keep_until(trial, [], target)


def test_groups_hold_what_is_alike_in_every_block() -> None:
    names = ["patch_embed", "patch_embed.output", "embedding", "blocks.0.fc1"]
    names += ["blocks.0.fc1.output", "blocks.10.fc1", "blocks.10.mlp_sum"]
    assert by_kind(names) == {
        "patch_embed": ["patch_embed"],
        "patch_embed.output": ["patch_embed.output"],
        "embedding": ["embedding"],
        "fc1": ["blocks.0.fc1", "blocks.10.fc1"],
        "fc1.output": ["blocks.0.fc1.output"],
        "mlp_sum": ["blocks.10.mlp_sum"],
    }
