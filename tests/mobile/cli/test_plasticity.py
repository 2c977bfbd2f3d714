import json

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

import cbpnet.backbone.micro_vit  # noqa: F401  makes its name known to timm
from cbpnet.backbone.torchvision_compat import import_timm
from mobile.cli import main

TASKS = 6
NAMES = [
    "backpropagation alone",
    "CBP, rate 0.01",
    "CBP, rate 0.1",
    "new block in every task",
    "block never trained",
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The micro ViT's weights, not pretrained."""
    path = tmp_path_factory.mktemp("weights") / "micro.safetensors"
    torch.manual_seed(0)
    save_file(import_timm().create_model("vit_micro_patch8_32").state_dict(), path)
    return path


def run(weights, out, *more):
    fixed = ["--dataset", "digits", "--preset", "micro", "--weights", str(weights)]
    small = ["--train-per-class", "6", "--test-per-class", "4", "--epochs", "2", "--threads", "1"]
    stream = ["--tasks", str(TASKS), "--rate", "0.01", "--rate", "0.1", "--maturity", "2"]
    arguments = ["plasticity", *fixed, *small, *stream, "--out", str(out), *more]
    return CliRunner().invoke(main, arguments)


def test_reports_every_variant_in_every_regime(weights, tmp_path):
    result = run(weights, tmp_path, "--seed", "0", "--seed", "5")
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "results.json").read_text())
    regimes = [(study["config"]["form"], study["config"]["lr"]) for study in document["studies"]]
    assert regimes == [
        ("residual", 0.01),
        ("residual", 0.03),
        ("bottleneck", 0.01),
        ("bottleneck", 0.03),
    ]
    for study in document["studies"]:
        assert list(study["variants"]) == NAMES
        for runs in study["variants"].values():
            accuracy = torch.tensor(runs["accuracy"])
            assert accuracy.shape == (2, TASKS)
            assert ((accuracy * 8) % 1 == 0).all()  # 4 held-out images of each of 2 classes
    assert document["conditions"]["training images a class"] == 6
    assert document["seeds"] == [0, 5]
    for name in NAMES:
        assert result.stdout.count(f"| {name} ") == 4
    assert "seeds: 0, 5" in result.stdout
    assert (tmp_path / "bottleneck-0.03.png").stat().st_size > 0


def test_a_seed_gives_the_same_figures_again(weights, tmp_path):
    one = ("--form", "bottleneck", "--step-size", "0.05", "--hidden", "3")
    for folder, seeds in (("a", ("1",)), ("b", ("1",)), ("c", ("0", "1"))):
        chosen = [part for seed in seeds for part in ("--seed", seed)]
        assert run(weights, tmp_path / folder, *one, *chosen).exit_code == 0
    first, again, both = (
        json.loads((tmp_path / folder / "results.json").read_text())["studies"] for folder in "abc"
    )
    assert first == again
    for name in NAMES:
        accuracy = first[0]["variants"][name]["accuracy"]
        assert accuracy == both[0]["variants"][name]["accuracy"][1:]
    assert first[0]["config"]["hidden"] == 3


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--tasks", "4"), "--tasks"),
        (("--form", "dense"), "--form"),
        (("--rate", "2"), "--rate"),
        (("--batch-size", "1000"), "batch_size is 1000; a task takes only 24 images"),
    ],
)
def test_bad_values_are_refused(weights, tmp_path, more, message):
    result = run(weights, tmp_path, *more)
    assert result.exit_code in {1, 2}
    assert message in result.output
    assert not (tmp_path / "results.json").exists()
