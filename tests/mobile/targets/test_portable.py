"""A bundle without any delegate: ExecuTorch's own kernels query, predict and learn."""

import pytest
import torch

from cbpnet.host.errors import InputError
from cbpnet.method.learner import Learner
from mobile.device.program import Program
from mobile.device.program_learner import ProgramLearner
from mobile.export.exporter import ExportSettings, export_bundle
from mobile.targets import resolve_target

CLASSES, TASKS = 6, 3


@pytest.fixture(scope="module")
def export(small_backbone, server, tmp_path_factory):
    path = tmp_path_factory.mktemp("portable") / "portable.pte"
    settings = ExportSettings(resolve_target("portable", "fp32"), CLASSES, TASKS, micro_batch=2)
    return export_bundle(path, small_backbone, server.info.config, server.grown, settings)


def test_nothing_is_delegated(export):
    assert b"XnnpackBackend" not in export.path.read_bytes()
    assert {found.delegate_calls for found in export.delegation.values()} == {0}
    for found in export.delegation.values():
        assert sum(found.arithmetic.values()) == found.total


def test_it_learns_what_pytorch_learns(export, small_backbone, server):
    """Ten more steps of a task that a server began, all on ExecuTorch's kernels."""
    bundle = ProgramLearner(Program(export.path))
    eager = Learner(small_backbone, server.info.config, CLASSES, TASKS)
    generator = torch.Generator().manual_seed(7)
    labels = torch.arange(6) % 3
    images = torch.randn(6, 3, 16, 16, generator=generator)
    noise = torch.rand(10, *eager.noise_shape, generator=generator)
    found = []
    for learner in (bundle, eager):
        state = bundle.stored_state()
        with torch.no_grad():
            query = learner.query(images)
        for step in range(10):
            sums = learner.gradients(state, images, query, labels, learner.zero_sums())
            with torch.no_grad():
                state = learner.update(state, sums, noise[step], torch.ones(1))
        found.append(state)
    for name, value in found[1].items():
        torch.testing.assert_close(found[0][name], value, atol=1e-4, rtol=1e-3, msg=name)
    assert not found[1]["prompts.g"].equal(server.grown["prompts.g"])


def test_its_only_precision_is_fp32():
    with pytest.raises(InputError, match="portable has no precision 'int8'; it must be fp32"):
        resolve_target("portable", "int8")
