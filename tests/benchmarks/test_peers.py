"""Peers in processes of their own, on the micro ViT: what is told, measured and refused."""

import json
import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from benchmarks import peer_programs
from benchmarks.cli import main
from benchmarks.peer_programs import get_program
from benchmarks.peers import EXACT, PEERS, REFERENCE
from benchmarks.side_by_side import least_cosine
from benchmarks.step import Model, load_step, save_step
from benchmarks.step_maker import make_step
from benchmarks.worker import AbsentError, Assignment, Worker

MODEL = Model("vit_micro_patch8_32", None, 32, classes=5, tasks=2)


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("step") / "step.safetensors"
    save_step(make_step(MODEL, 4, None, None), path)
    return path


def test_a_worker_computes_in_its_own_process(step):
    worker = Worker(Assignment(PEERS[EXACT].module, "eager", step, None, 1))
    try:
        found = worker.outputs("gradients", 1)
        taken = worker.times("gradients", 0, 1, 3)
        assert worker.operations == ("query", "predict", "gradients", "update")
    finally:
        worker.close()
    given = load_step(step)
    from benchmarks.pytorch_learner import build_learner

    learner = build_learner(MODEL)
    exact = learner.gradients(given.state, *given.batch(1), learner.zero_sums())
    assert least_cosine(found, exact) == pytest.approx(1.0, abs=1e-5)
    assert len(taken) == 3
    assert min(taken) > 0
    assert worker.learning_mb > 0


def test_a_runtime_that_is_missing_is_absent_with_its_reason(step):
    with pytest.raises(AbsentError, match="ModuleNotFoundError: No module named 'no_such_runtime'"):
        Worker(Assignment("no_such_runtime", "", step, None, 1))


def test_the_least_cosine_is_of_trainables_only():
    exact = {"a.x": torch.tensor([1.0, 0.0]), "b.x": torch.ones(2), "loss": torch.ones(1)}
    found = {"a.x": torch.tensor([1.0, 1.0]), "b.x": 3 * torch.ones(2), "loss": -torch.ones(1)}
    assert least_cosine(found, exact) == pytest.approx(0.5**0.5)


def test_a_program_is_made_again_when_its_code_has_changed(tmp_path: Path):
    path, record = tmp_path / "step.safetensors", tmp_path / "step.safetensors.json"

    def make() -> int:
        peer_programs._make_once(path, peer_programs._write_step, path, MODEL, 4, None, None)
        return path.stat().st_mtime_ns

    first = make()
    assert make() == first
    content = json.loads(record.read_text())
    assert "cbpnet/method/learner.py" in content["sources"]
    assert "benchmarks/pytorch_learner.py" in content["sources"]
    assert "benchmarks/worker.py" not in content["sources"]
    assert content["seconds"] > 0
    content["sources"]["cbpnet/method/learner.py"] = "of an older file"
    record.write_text(json.dumps(content))
    assert make() > first
    path.unlink()
    make()
    assert path.exists()


def test_a_peer_without_a_program_needs_none(step):
    assert get_program(step, EXACT, PEERS[EXACT]) is None


def test_the_command_measures_the_micro_vit(tmp_path: Path):
    small = ["--backbone", "vit_micro_patch8_32", "--image-size", "32", "--images", "4"]
    chosen = ["--threads", "1", "--rounds", "2", "--peer", "onnxruntime", "--out", str(tmp_path)]
    result = CliRunner().invoke(main, ["peers", *small, *chosen])
    assert result.exit_code == 0, result.output
    (run,) = json.loads((tmp_path / "peers.json").read_text())["runs"]
    assert {REFERENCE, EXACT} <= run["peers"].keys()
    assert run["peers"].keys() | run["absent"].keys() == {REFERENCE, EXACT, "onnxruntime"}
    assert run["peers"][EXACT]["cosine"] == pytest.approx(1.0, abs=1e-5)
    assert 0.9 < run["peers"][REFERENCE]["cosine"] < 1
    assert run["peers"][REFERENCE]["made"]["seconds"] > 0
    for figures in run["peers"].values():
        assert figures["learning_mb"] > 0
        assert figures["times"]["gradients"]["median"] > 0
    assert run["ratios"]["eager.gradients/int8.gradients"]["count"] == 2
    assert any(re.match(r"\| PyTorch eager, fp32 +\|", line) for line in result.output.splitlines())
