"""What a server learnt goes into a bundle, which learns on: the chain of the README."""

import pytest
from click.testing import CliRunner
from PIL import Image

from mobile.cli import main


def run(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.slow
def test_a_bundle_of_a_trained_state_learns_a_new_class(digits, micro_weights, pictures, tmp_path):
    """The state that `train` writes has room for the classes that it learnt and no other."""
    state, bundle = tmp_path / "server.safetensors", tmp_path / "digits.pte"
    assert digits("train", "--out", str(state)).exit_code == 0
    backbone = ["--weights", micro_weights, "--precision", "fp32"]
    written = run("export", "--target", "xnnpack", "--state", state, *backbone, "--out", bundle)
    known = "knows 10 classes in 5 lessons, with room for 90 more classes"
    assert known in written

    folder = tmp_path / "photos" / "pink"
    folder.mkdir(parents=True)
    for number, pixels in enumerate(pictures("pink", 2)):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    learnt = run("learn", bundle, "--images", folder.parent, "--out", tmp_path / "on.safetensors")
    assert "11 of 100 classes" in learnt
