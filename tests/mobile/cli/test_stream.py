import json

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

import cbpnet.backbone.micro_vit  # noqa: F401  makes its name known to timm
from cbpnet.backbone.torchvision_compat import import_timm
from mobile.cli import main

NAMES = ["never", "first", "auto", "foreign", "foreign+cbp-0.2", "always", "always+cbp-0.2"]
NAMES += ["always+fresh", "always+oracle"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The micro ViT's weights, not pretrained."""
    path = tmp_path_factory.mktemp("weights") / "micro.safetensors"
    torch.manual_seed(0)
    save_file(import_timm().create_model("vit_micro_patch8_32").state_dict(), path)
    return path


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """A folder of three classes of one colour each, twelve pictures a class."""
    root = tmp_path_factory.mktemp("data") / "colours"
    for place, name in enumerate(("blue", "green", "red")):
        (root / name).mkdir(parents=True)
        for number in range(12):
            colour = [20 * number] * 3
            colour[place] = 255 - number
            Image.new("RGB", (40, 40), tuple(colour)).save(root / name / f"{number}.png")
    return root


def run(weights, colours, out, *more):
    fixed = ["--data", "digits", "--data", f"folder={colours}", "--preset", "micro"]
    small = ["--train-per-class", "3", "--test-per-class", "2", "--threads", "1"]
    lessons = ["--lessons", "5", "--classes", "2", "3", "--rate", "0.2", "--maturity", "3"]
    arguments = ["stream", *fixed, "--weights", str(weights), *small, *lessons, "--out", str(out)]
    return CliRunner().invoke(main, [*arguments, *more])


def test_reports_every_contender_and_goes_on_from_what_is_kept(weights, colours, tmp_path):
    result = run(weights, colours, tmp_path, "--seed", "0")
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "results.json").read_text())
    assert list(document["runs"]) == NAMES
    for records in document["runs"].values():
        (record,) = records
        assert [lesson["dataset"] for lesson in record["lessons"]] == [
            *("digits", "colours", "digits", "colours", "digits")
        ]
        assert record["lessons"][-1]["running"].keys() == {"digits", "colours", "all"}
    assert document["conditions"]["data sets"] == "digits colours"
    assert document["conditions"]["classes a lesson"] == "2 to 3"
    for name in NAMES:
        assert result.stdout.count(f"| {name} ") >= 2
    more = run(weights, colours, tmp_path, "--seed", "0", "--seed", "1", "--contender", "never")
    assert more.exit_code == 0, more.output
    again = json.loads((tmp_path / "results.json").read_text())
    assert list(again["runs"]) == ["never"]
    assert again["runs"]["never"][0] == document["runs"]["never"][0]
    assert again["seeds"] == [0, 1]


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (("--data", "letters=x"), 2, "'letters' is no kind of data set; right would be cifar100"),
        (("--contender", "sometimes"), 2, "'sometimes' is no contender; right would be never, "),
        (("--lessons", "4"), 2, "--lessons"),
        (("--rate", "2"), 2, "--rate"),
        (("--classes", "3", "2"), 1, "classes a lesson are 3 to 2"),
        (("--data", "digits"), 1, "2 data sets are called"),
        (("--data", "cifar100"), 1, "data set 'cifar100' needs a path"),
        (("--train-per-class", "50"), 1, "colours has 0 classes of 50 training images"),
    ],
)
def test_bad_values_are_refused(weights, colours, tmp_path, more, code, message):
    result = run(weights, colours, tmp_path, *more)
    assert result.exit_code == code
    assert message in " ".join(result.output.split())
    assert not (tmp_path / "results.json").exists()
