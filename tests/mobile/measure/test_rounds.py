"""A round on random numbers: the methods of either kind of bundle, as a device calls them."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from cbpnet.method.layout import methods_of
from mobile.cli import main
from mobile.device.program import Program
from mobile.measure.plots import classify_ms, learn_ms
from mobile.measure.rounds import learn_and_classify, steady_round, stored_state
from mobile.measure.speed import Timing, measure_memory, measure_times

COUNTS = ["features", "observe", "solve", "leave_one_out"]
ADAPTS = ["begin_task", "gradients", "update", "compare", "carry"]


def test_every_method_of_a_one_pass_bundle_is_called_as_in_a_lesson(one_pass_bundle, calls):
    program = Program(one_pass_bundle)
    state, noted = stored_state(program), []
    calls.clear()

    def note(method, function, *arguments):
        noted.append(method)
        return function(*arguments)

    learn_and_classify(program, state, note)
    assert noted == [*COUNTS, *ADAPTS, "predict"]
    assert [method for method, _ in calls] == noted
    assert {"initial_state", *noted} == set(methods_of(program.manifest.config))
    answers = dict(calls)
    assert answers["observe"]["state.classes.count"].tolist() == [1, 1, 0, 0, 0, 0]
    assert answers["gradients"]["sums.count"].item() == 2
    assert answers["update"]["adaptation.adam.step"].item() == 1
    assert np.isfinite(answers["predict"]["scores"][:, :2]).all()


def test_a_steady_round_of_a_one_pass_bundle_looks_trains_and_classifies(one_pass_bundle, calls):
    learn = steady_round(Program(one_pass_bundle))
    calls.clear()
    learn()
    trained = ["begin_task", "gradients", "update"]
    assert [method for method, _ in calls] == ["features", "observe", *trained, "predict"]


def test_images_a_call_are_a_methods_own(one_pass_bundle):
    times = measure_times(one_pass_bundle, 1).methods
    assert list(times) == [*COUNTS, *ADAPTS, "predict"]
    assert {times[name].images for name in ("features", "gradients", "predict")} == {2}
    assert {times[name].images for name in ("observe", "leave_one_out", "compare")} == {32}
    assert times["solve"].images == times["carry"].images == 0


def test_charts_take_what_a_bundle_has(one_pass_bundle):
    class At:
        methods = measure_times(one_pass_bundle, 1).methods

    assert learn_ms(At) == At.methods["gradients"].median_ms / 2
    passes = At.methods["features"].median_ms + At.methods["predict"].median_ms
    assert classify_ms(At) == pytest.approx(passes / 2)
    At.methods = {"features": Timing(2, 9.0, 6.0, 5.0, 7.0)}
    assert learn_ms(At) == 3.0


def test_the_memory_of_a_one_pass_bundle(one_pass_bundle):
    assert list(measure_memory(one_pass_bundle).peak_after_mb) == [
        *["load", *COUNTS, *ADAPTS],
        "predict",
    ]


def test_the_commands_measure_a_one_pass_bundle(one_pass_bundle, tmp_path):
    bench = CliRunner().invoke(main, ["bench", str(one_pass_bundle), "--runs", "1", "--json"])
    assert bench.exit_code == 0, bench.output
    found = json.loads(bench.stdout)
    assert found["features_ms"] == found["methods"]["features"]["median_ms"]
    assert "query_ms" not in found
    plan = ["--threads", "1", "--runs", "1", "--soak", "0", "--rest", "0"]
    out = ["--out", str(tmp_path / "latency.json")]
    latency = CliRunner().invoke(main, ["latency", str(one_pass_bundle), *plan, *out])
    assert latency.exit_code == 0, latency.output
    assert "features" in latency.output
