"""``cbpnet-mobile presets``, with and without what the backbones are built with."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from mobile.cli import main

WITHOUT_TIMM = """
import sys
sys.modules |= dict.fromkeys(["timm", "torchvision"])
from mobile.cli import main
main(["presets"])
"""


def test_presets_are_within_their_budget() -> None:
    result = CliRunner().invoke(main, ["presets", "--json"])
    assert result.exit_code == 0
    rows = json.loads(result.stdout)
    published = {"vit_base": 85_798_656, "vit_small": 21_665_664, "vit_tiny": 5_524_416}
    for name, parameters in published.items():
        assert rows[name]["backbone_parameters"] == parameters
    # ViT-Ti by hand: G 5 layers x 2 x 5 x 192; of CBPNet G 2 layers x 2 x 3 x 192,
    # E 3 x 2 x 2 x 192, key 192, block 2 x 192 x 16 + 16.
    learners = rows["vit_tiny"]["learners"]
    assert learners["one-pass"]["trainable_parameters"] == 9600
    assert learners["cbpnet"]["trainable_parameters"] == 2304 + 2304 + 192 + 6144 + 16
    for name, row in rows.items():
        for learner in row["learners"].values():
            share = learner["trainable_parameters"] / row["backbone_parameters"]
            assert learner["share"] == pytest.approx(share)
            assert share <= (0.02 if name == "micro" else 0.002)
    assert "micro is for tests" in CliRunner().invoke(main, ["presets"]).stdout


def test_table_rows_have_what_json_says() -> None:
    row = json.loads(CliRunner().invoke(main, ["presets", "--json"]).stdout)["vit_tiny"]
    header, *lines = CliRunner().invoke(main, ["presets"]).stdout.splitlines()
    found = [line for line in lines if line.startswith("vit_tiny ")]
    for line, (name, learner) in zip(found, row["learners"].items(), strict=True):
        prompts, block = learner["config"]["prompts"], learner["config"]["block"]
        assert line.split() == [
            "vit_tiny",
            "vit_tiny_patch16_224",
            name,
            str(len(prompts["g_layers"])),
            str(prompts["g_length"]),
            str(prompts["e_length"]) if prompts["e_layers"] else "-",
            str(block["hidden"]) if block else "-",
            f"{learner['trainable_parameters']:,}",
            f"{100 * learner['share']:.3f}",
            "0.2",
        ]
        assert len(line) == len(header)


def test_a_device_without_timm_lists_them_too() -> None:
    command = [sys.executable, "-c", WITHOUT_TIMM]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert found == CliRunner().invoke(main, ["presets"]).stdout
