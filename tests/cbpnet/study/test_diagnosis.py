import math

import pytest
import torch

from cbpnet.study.diagnosis import diagnose, dormant_share, effective_rank


def test_dormant_units_are_active_on_fewer_than_one_image_in_a_hundred():
    hidden = torch.zeros(200, 5)
    hidden[:, 0] = 1.0
    hidden[7, 1] = 9.0  # 0.5 %
    hidden[[3, 9], 2] = 0.1  # 1 %
    hidden[:100, 3] = 2.0
    assert dormant_share(hidden).item() == pytest.approx(2 / 5)
    assert dormant_share(torch.stack([hidden, torch.ones(200, 5)])).tolist() == [0.4, 0.0]


def test_effective_rank():
    square, _ = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))
    assert effective_rank(square[:, :4]).item() == pytest.approx(4)
    line = torch.randn(6, 1) @ torch.randn(1, 4)
    assert effective_rank(line).item() == pytest.approx(1, abs=1e-5)
    assert effective_rank(torch.zeros(6, 4)).item() == 0
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    two = square[:, :2] * torch.tensor([3.0, 1.0])
    assert effective_rank(two).item() == pytest.approx(math.exp(entropy))


def test_a_planted_block():
    """Two blocks of two units; the second block's second unit cannot fire."""
    w_in = torch.eye(2).repeat(2, 1, 1)
    blocks = {
        "block.w_in": w_in,
        "block.b_in": torch.tensor([[0.0, 0.0], [0.0, -100.0]]),
        "block.w_out": torch.stack([torch.full((2, 2), -3.0), torch.tensor([[1.0, 0], [0, 0]])]),
    }
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = diagnose(9, blocks, images)
    assert found.tasks == 9
    assert found.dormant.tolist() == [0.0, 0.5]
    assert found.rank.tolist() == pytest.approx([2.0, 1.0])
    assert found.incoming.tolist() == [0.5, 0.5]
    assert found.outgoing.tolist() == [3.0, 0.25]
