"""A bundle without any delegate: ExecuTorch's own kernels look, count and adapt."""

import numpy as np
import pytest

from cbpnet.host.errors import InputError
from mobile.device.one_pass_program import OnePassProgram
from mobile.device.program import Program
from mobile.targets import resolve_target


@pytest.fixture(scope="module")
def export(export_for):
    return export_for(resolve_target("portable", "fp32"))


def test_nothing_is_delegated(export):
    assert b"XnnpackBackend" not in export.path.read_bytes()
    assert {found.delegate_calls for found in export.delegation.values()} == {0}
    for found in export.delegation.values():
        assert sum(found.arithmetic.values()) == found.total


def test_it_learns_what_pytorch_learns(export, exact, taught):
    """Two lessons, of which the first adapts, all on ExecuTorch's kernels."""
    bundle = OnePassProgram(Program(export.path))
    x, scores = taught(bundle, bundle.stored_state())
    true_x, true_scores = taught(exact, bundle.stored_state())
    np.testing.assert_allclose(x, true_x, atol=1e-3, rtol=1e-3)
    np.testing.assert_allclose(scores, true_scores, atol=1e-2, rtol=1e-2)


def test_its_only_precision_is_fp32():
    with pytest.raises(InputError, match="portable has no precision 'int8'; it must be fp32"):
        resolve_target("portable", "int8")
