import pytest
import torch

from cbpnet.method.adam import adam_step, clip_factor


@pytest.mark.parametrize("lr", [1e-4, 3e-3, 0.05])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_many_steps_equal_torch_optim_adam(lr, dtype, tolerance):
    start = torch.randn(5, 7, dtype=dtype)
    leaf = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([leaf], lr=lr)
    parameter, m, v = start, torch.zeros_like(start), torch.zeros_like(start)
    for step in range(1, 301):
        gradient = torch.randn(5, 7, dtype=dtype) * 10.0 ** torch.randint(-4, 3, (5, 7))
        leaf.grad = gradient.clone()
        optimiser.step()
        parameter, m, v = adam_step(
            parameter,
            gradient,
            m,
            v,
            torch.tensor([float(step)], dtype=dtype),
            torch.tensor([lr], dtype=dtype),
        )
        torch.testing.assert_close(parameter, leaf.detach(), rtol=tolerance, atol=tolerance)
    assert (parameter - start).abs().max() > 10 * lr


def test_an_entry_without_any_gradient_keeps_its_bits():
    start = torch.randn(4, 3)
    parameter, m, v = start, torch.zeros(4, 3), torch.zeros(4, 3)
    for step in range(1, 20):
        gradient = torch.randn(4, 3)
        gradient[1] = 0
        parameter, m, v = adam_step(
            parameter, gradient, m, v, torch.tensor([float(step)]), torch.tensor([0.1])
        )
    assert torch.equal(parameter[1], start[1])
    assert (parameter[[0, 2, 3]] != start[[0, 2, 3]]).all()


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 1e3])
@pytest.mark.parametrize("max_norm", [0.5, 1.0, 7.0])
def test_clipping_equals_clip_grad_norm(scale, max_norm):
    gradients = [scale * torch.randn(shape, dtype=torch.float64) for shape in ((3, 4), (5,), (1,))]
    leaves = [torch.zeros_like(gradient) for gradient in gradients]
    for leaf, gradient in zip(leaves, gradients, strict=True):
        leaf.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_(leaves, max_norm)
    factor = clip_factor(iter(gradients), max_norm)
    for leaf, gradient in zip(leaves, gradients, strict=True):
        torch.testing.assert_close(factor * gradient, leaf.grad, rtol=1e-12, atol=0)


def test_gradients_of_zero_are_not_clipped():
    assert clip_factor([torch.zeros(3), torch.zeros(2, 2)], 1.0).item() == 1.0
