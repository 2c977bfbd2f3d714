"""``cbpnet-mobile export``: which learner a bundle is made of."""

import pytest


def test_without_options_it_is_the_one_pass_learner(calls, export, small_backbone):
    options = ["--readout", "means", "--features", "pooled,patches"]
    assert export("--backbone", small_backbone.name, "--budget", 1, *options).exit_code == 0
    ((_, _, config, *_),) = calls
    assert (config.adaptation.kind, config.readout.kind) == ("auto", "means")
    assert config.features == ("pooled", "patches")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--adaptation", "auto"], "with adaptation cbpnet, and --adaptation asks for auto"),
        (["--readout", "whitened"], "with readout rls, and --readout asks for whitened"),
        (["--features", "pooled,patches"], "--features asks for pooled,patches; leave it out"),
    ],
)
def test_a_state_keeps_its_settings(calls, export, server, options, reason):
    result = export("--state", server.path, "--budget", 1, *options)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert calls == []
    same = ["--adaptation", "cbpnet", "--readout", "rls", "--features", "pooled"]
    assert export("--state", server.path, "--budget", 1, *same).exit_code == 0


def test_a_one_pass_learner_has_no_room_for_tasks(calls, export, small_backbone):
    result = export("--backbone", small_backbone.name, "--tasks", 3)
    assert result.exit_code == 1
    assert "--tasks is 3, and a one-pass learner knows no tasks" in result.stderr
    assert calls == []
