"""Stages of a command: numbers, seconds, and what remains by the clock."""

import time

import pytest

from mobile.cli.stages import Stages


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand, in seconds."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_stages_and_what_remains(clock, capsys):
    with Stages({"first": 1, "second": 9, "third": 30, "last": 10}) as stages:
        stages("first")
        clock[0] += 2
        stages("second")  # one fiftieth is done: too little to tell
        clock[0] += 10
        stages("third")  # 12 s for 10 of 50
        clock[0] += 28
        stages("last")  # 40 s for 40 of 50
        clock[0] += 1.26
    assert capsys.readouterr().err.splitlines() == [
        "[1/4] first ... 2.0 s",
        "[2/4] second ... 10.0 s",
        "[3/4] third (about 48 s to go) ... 28.0 s",
        "[4/4] last (about 10 s to go) ... 1.3 s",
    ]
    assert stages.seconds == pytest.approx({"first": 2, "second": 10, "third": 28, "last": 1.26})


def test_a_failure_gets_a_line_of_its_own(clock, capsys):
    stages = Stages({"first": 1, "second": 1})

    def work():
        with stages:
            stages("first")
            clock[0] += 1
            stages("second")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert capsys.readouterr().err == (
        "[1/2] first ... 1.0 s\n[2/2] second (about 1 s to go) ... \n"
    )
    assert list(stages.seconds) == ["first"]


def test_a_stage_that_was_not_announced_is_a_mistake():
    with pytest.raises(ValueError, match="'second' is not in list"), Stages({"first": 1}) as stages:
        stages("second")


def test_a_failure_before_the_first_stage_prints_nothing(capsys):
    with pytest.raises(ZeroDivisionError), Stages({"first": 1}):
        raise ZeroDivisionError
    assert capsys.readouterr().err == ""
