"""The session: what it learns and writes, and what a planted fault does to it."""

import json

import pytest

from cbpnet.run.state_file import load_state
from mobile.device.program_steps import ProgramSteps
from mobile.device.runtime import OnDeviceLearner
from mobile.raspberry_pi.aarch64_check.comparison import measure
from mobile.raspberry_pi.aarch64_check.session import ANSWERS, STATE, flip_sign, run_session


def test_it_learns_every_lesson_and_writes_what_it_says(course, learnt):
    state, info = load_state(learnt / STATE)
    assert info.class_names == ("ant", "bee", "cat", "dog")
    assert info.progress["lessons"] == 3
    assert state["classes.count"].tolist() == [8, 4, 4, 4, 0, 0]
    answers = json.loads((learnt / ANSWERS).read_text())
    assert len(answers) == 5 * 4
    (found,) = OnDeviceLearner(course / "bundle.pte", learnt / STATE).predict(
        course / "dog_2_0.png"
    )
    assert answers["dog_2_0.png"] == pytest.approx(dict(found.ranking))


def test_a_session_that_ended_only_answers_again(course, learnt):
    state = (learnt / STATE).read_bytes()
    (learnt / ANSWERS).unlink()
    run_session(course, learnt)
    assert (learnt / STATE).read_bytes() == state
    assert measure(learnt, course).faults() == []


def test_a_flipped_sign_is_beyond_the_limits(course, tmp_path, monkeypatch):
    monkeypatch.setattr(ProgramSteps, "update", ProgramSteps.update)  # to be put back
    flip_sign("prompts.g")
    run_session(course, tmp_path)
    assert measure(tmp_path, course).faults()
