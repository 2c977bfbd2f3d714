"""Options of a learner's kind: what they ask of a preset, and what a state allows."""

from dataclasses import replace

import pytest

from cbpnet.backbone.presets import get_preset
from cbpnet.host.errors import InputError
from mobile.cli.learner_options import LearnerOptions, TrainingOptions

PRESET = get_preset("vit_tiny")


def test_without_options_it_is_the_preset_s_one_pass_learner() -> None:
    assert LearnerOptions(None, None, None).config(PRESET) == PRESET.config("auto")


def test_every_option_changes_its_own_setting() -> None:
    found = LearnerOptions("pooled, block9", "first", "means").config(PRESET)
    expected = PRESET.config("first")
    readout = replace(expected.readout, kind="means")
    assert found == replace(expected, readout=readout, features=("pooled", "block9"))


def test_a_state_is_asked_for_nothing_else_than_it_is() -> None:
    config = PRESET.config("first")
    LearnerOptions(None, None, None).check_state(config)
    LearnerOptions(",".join(config.features), "first", "whitened").check_state(config)
    with pytest.raises(InputError, match="with adaptation first, and --adaptation asks for auto"):
        LearnerOptions(None, "auto", None).check_state(config)


@pytest.mark.parametrize(
    ("adaptation", "epochs", "final_rate"), [("auto", 6, 0.02), ("cbpnet", 5, 1.0)]
)
def test_a_learner_trains_as_its_preset_says_unless_told(
    adaptation: str, epochs: int, final_rate: float
) -> None:
    config = PRESET.config(adaptation)  # type: ignore[arg-type]
    own = TrainingOptions(None, 7, True).training(config)
    assert (own.epochs, own.final_rate) == (epochs, final_rate)
    assert (own.batch_size, own.micro_batch, own.flip) == (7, 7, True)
    assert TrainingOptions(3, 10, False).training(config).epochs == 3
