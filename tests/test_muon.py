"""Muon: orthogonal steps, for convolutions of every shape, and a state that resumes exactly."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from pellucid.learn.muon import Muon, orthogonal


def seeded(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(3, 8, 40), (2, 40, 8), (1, 16, 16), (2, 1, 9)])
def test_singular_values_become_about_one(shape: tuple[int, ...]) -> None:
    values = torch.linalg.svdvals(orthogonal(seeded(*shape)))
    assert float(values.min()) > 0.3
    assert float(values.max()) < 1.3


def test_directions_are_those_of_the_nearest_orthogonal_matrix() -> None:
    matrices = seeded(2, 8, 40)
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    nearest = u @ v
    found = orthogonal(matrices, rounds=10)
    cosine = (found * nearest).sum((1, 2)) / (found.norm(dim=(1, 2)) * nearest.norm(dim=(1, 2)))
    assert float(cosine.min()) > 0.97


def test_nothing_in_nothing_out() -> None:
    assert torch.equal(orthogonal(torch.zeros(1, 4, 9)), torch.zeros(1, 4, 9))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 1, 3, bias=False))


def taught(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> float:
    x = seeded(4, 1, 12, 12)
    loss = torch.zeros(())
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model(x) - x).square().mean()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_network_with_biases_learns(layout: torch.memory_format) -> None:
    model = network().to(memory_format=layout)
    optimizer = Muon(model.parameters(), lr=0.02)
    first = taught(model, optimizer, 1)
    assert taught(model, optimizer, 200) < first / 10


def test_a_step_moves_a_matrix_by_a_fifth_of_the_rate() -> None:
    model = nn.Conv2d(16, 16, 3, bias=False)
    before = model.weight.detach().clone()
    model.weight.grad = seeded(16, 16, 3, 3)
    Muon(model.parameters(), lr=0.1, halves=False).step()
    moved = float((model.weight - before).detach().square().mean().sqrt())
    assert moved == pytest.approx(0.2 * 0.1, rel=0.25)


def test_weights_decay_apart_from_the_gradient() -> None:
    model = nn.Conv2d(4, 4, 3, bias=False)
    before = model.weight.detach().clone()
    model.weight.grad = torch.zeros_like(model.weight)
    Muon(model.parameters(), lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(model.weight.detach(), before * 0.95)


def test_the_state_resumes_to_the_same_bits() -> None:
    model = network()
    optimizer = Muon(model.parameters(), lr=0.01)
    taught(model, optimizer, 3)
    other = copy.deepcopy(model)
    resumed = Muon(other.parameters(), lr=0.01)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    taught(model, optimizer, 3)
    taught(other, resumed, 3)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("gradient", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("weights", [torch.contiguous_format, torch.channels_last])
def test_a_step_is_the_same_in_every_layout(
    weights: torch.memory_format, gradient: torch.memory_format
) -> None:
    def stepped(of: torch.memory_format, under: torch.memory_format) -> torch.Tensor:
        torch.manual_seed(0)
        model = nn.Conv2d(8, 12, 3, bias=False).to(memory_format=of)
        model.weight.grad = seeded(12, 8, 3, 3).contiguous(memory_format=under)
        Muon(model.parameters(), lr=0.1, halves=False).step()
        return model.weight.detach()

    plain = stepped(torch.contiguous_format, torch.contiguous_format)
    torch.testing.assert_close(stepped(weights, gradient), plain, rtol=0, atol=1e-5)
