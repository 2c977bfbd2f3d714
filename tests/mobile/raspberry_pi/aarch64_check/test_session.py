"""The session: what it learns and writes, and what a planted fault does to it."""

import json

import pytest

from cbpnet.run.state_file import load_state
from mobile.device.program import Program
from mobile.device.program_learner import ProgramLearner
from mobile.device.program_steps import ProgramSteps
from mobile.device.runtime import OnDeviceLearner
from mobile.raspberry_pi.aarch64_check.comparison import LIMITS, measure
from mobile.raspberry_pi.aarch64_check.session import AFTER, BEFORE, STATE, flip_sign, run_session


def test_it_learns_every_lesson_and_writes_what_it_predicts(material, reference):
    out = reference / "fp32"
    state, info = load_state(out / STATE)
    assert info.class_names == ("ant", "bee", "cat", "dog", "elk", "fox")
    assert info.progress["lessons"] == 2
    assert state["classes.task"].tolist() == [0, 0, 0, 1, 2, 2]
    assert state["classes.count"][3:].tolist() == [4, 4, 4]
    before, after = (json.loads((out / name).read_text()) for name in (BEFORE, AFTER))
    assert before.keys() == after.keys()
    assert len(after) == 5 * 4
    assert set(before["dog/0.png"]) == {"ant", "bee", "cat"}
    (found,) = OnDeviceLearner(material / "fp32.pte", out / STATE).predict(
        material / "pictures" / "test" / "dog" / "0.png"
    )
    assert after["dog/0.png"] == pytest.approx(dict(found.ranking))


@pytest.mark.parametrize("tensor", ["block.w_in", "prompts.key", "head.weight"])
def test_a_flipped_sign_is_beyond_every_limit(material, reference, tmp_path, monkeypatch, tensor):
    assert tensor in ProgramLearner(Program(material / "fp32.pte")).zero_sums()
    monkeypatch.setattr(ProgramSteps, "update", ProgramSteps.update)  # to be put back
    flip_sign(tensor)
    run_session(material / "fp32.pte", material / "pictures", tmp_path)
    distance = measure(tmp_path, reference / "fp32")
    assert distance.faults(LIMITS["fp32"])
    assert distance.faults(LIMITS["int8"])
