"""`cbpnet-mobile sensitivity` on a micro ViT with a planted outlier."""

import json

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

import cbpnet.backbone.micro_vit  # noqa: F401  makes its name known to timm
from cbpnet.backbone.torchvision_compat import import_timm
from mobile.cli import main

BLOCK = ["qkv", "proj", "fc1", "fc2"]
LAYERS = ["patch_embed", *(f"blocks.{i}.{name}" for i in range(6) for name in BLOCK)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A micro ViT's weights, not pretrained, with one outlier: 400 on a hidden unit of layer 2."""
    path = tmp_path_factory.mktemp("weights") / "micro.safetensors"
    torch.manual_seed(0)
    state = import_timm().create_model("vit_micro_patch8_32").state_dict()
    state["blocks.2.mlp.fc1.bias"][7] = 400.0
    save_file(state, path)
    return path


def run(weights, *more):
    fixed = ["--backbone", "vit_micro_patch8_32", "--weights", str(weights), "--dataset", "digits"]
    small = ["--calibration", "6", "--images", "4", "--threads", "1"]
    return CliRunner().invoke(main, ["sensitivity", *fixed, *small, *more])


def test_finds_the_layer_with_the_outlier_and_keeps_it(weights):
    result = run(weights, "--target-cosine", "0.99999", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert sorted(each["name"] for each in document["alone"]) == sorted(LAYERS)
    ratios = [each["sqnr"] for each in document["alone"]]
    assert ratios == sorted(ratios)
    assert document["alone"][0]["name"] == "blocks.2.fc2"
    assert [each["name"] for each in document["kinds"]] == ["patch_embed", *BLOCK]
    recipe = document["recipe"]
    assert recipe["keep_fp32"][0] == "blocks.2.fc2"
    assert [each["name"] for each in document["steps"]] == ["all rounded", *recipe["keep_fp32"]]
    assert document["steps"][-1]["cosine"] >= 0.99999
    assert list(recipe["ranges"]) == [each["name"] for each in document["alone"]]
    outlier = recipe["ranges"]["blocks.2.fc2"]
    assert outlier["high"] == pytest.approx(400, abs=5)
    assert outlier["scale"] == pytest.approx((outlier["high"] - outlier["low"]) / 255)
    assert outlier["zero_point"] == -128 - round(outlier["low"] / outlier["scale"])


def test_with_all_it_rounds_outputs_and_the_residual_stream(weights):
    result = run(weights, "--round", "all")
    assert result.exit_code == 0, result.output
    assert "the worst of 63, each alone" in result.stdout
    assert "\nattention_sum " in result.stdout
    assert "of 63 stay in fp32; seed 0" in result.stdout


def test_without_a_search_it_measures_what_is_left(weights):
    all_rounded, kept = (
        json.loads(run(weights, "--no-search", "--json", *keep).stdout)
        for keep in ([], ["--keep", "blocks.2.fc2"])
    )
    assert kept["alone"] == kept["kinds"] == []
    assert kept["recipe"]["keep_fp32"] == ["blocks.2.fc2"]
    assert list(kept["recipe"]["ranges"]) == [name for name in LAYERS if name != "blocks.2.fc2"]
    assert list(all_rounded["recipe"]["ranges"]) == LAYERS
    for measured in ("steps", "check"):
        before, after = (
            each[measured][0] if measured == "steps" else each[measured]
            for each in (all_rounded, kept)
        )
        assert after["sqnr"] > before["sqnr"] + 3


def test_what_is_kept_from_the_start_is_not_searched_again(weights):
    result = run(weights, "--keep", "blocks.2.fc2", "--keep", "patch_embed", "--json")
    document = json.loads(result.stdout)
    assert len(document["alone"]) == len(LAYERS) - 2
    assert document["recipe"]["keep_fp32"][:2] == ["blocks.2.fc2", "patch_embed"]


def test_a_name_to_keep_that_is_not_rounded_is_refused(weights):
    result = run(weights, "--keep", "blocks.2.mlp_sum")
    assert result.exit_code == 1
    assert "--keep blocks.2.mlp_sum: nothing of that name is rounded" in result.stderr


def test_more_images_than_there_are_are_refused(weights):
    result = run(weights, "--calibration", "2000")
    assert result.exit_code == 1
    assert "2008 are asked for (--calibration and twice --images)" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "wrong", [["--target-cosine", "1"], ["--percentile", "50"], ["--round", "some"]]
)
def test_values_out_of_range_fail_at_once(weights, wrong):
    assert run(weights, *wrong).exit_code == 2
