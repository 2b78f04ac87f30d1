"""The sparse autoencoder: how much of its code is active is what was asked for, and is measured."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, kl_divergence

from pellucid.learn import datasets
from pellucid.learn.damage import parse
from pellucid.learn.models import create
from pellucid.learn.models.sparse import SPARSITIES, SparseAutoencoder, rate_divergence
from pellucid.learn.recipes import Train
from pellucid.learn.training import train


def made(**options: Any) -> SparseAutoencoder:
    torch.manual_seed(0)
    model = create("sparse", **({"channels": (4, 6)} | options))
    assert isinstance(model, SparseAutoencoder)
    return model.eval()


def dense(**options: Any) -> SparseAutoencoder:
    return made(**({"code_size": 20, "image_size": 12, "active": 3} | options))


def pictures(count: int = 16) -> Tensor:
    return torch.rand(count, 1, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("active", [1, 3, 20])
def test_topk_leaves_exactly_so_many_of_a_dense_code(active: int) -> None:
    code = dense(active=active).encode(pictures())
    assert ((code != 0).sum(1) == active).all()


def test_topk_leaves_exactly_so_many_at_each_place_of_a_spatial_code() -> None:
    code = made(code_channels=10, active=4).encode(pictures())
    assert code.shape[2:] == (3, 3)
    assert ((code != 0).sum(1) == 4).all()


def test_topk_keeps_the_largest_as_they_are() -> None:
    model = dense()
    features, _ = model._features(pictures())
    linear, code = model.to_code(features), model.encode(pictures())
    assert torch.equal(code[code != 0], linear[code != 0])
    beaten = linear.masked_fill(code != 0, -torch.inf).amax(1)
    assert (linear.masked_fill(code == 0, torch.inf).amin(1) >= beaten).all()


def test_a_winner_stands_alone_in_its_channel() -> None:
    model = made(sparsity="winner", code_channels=10)
    code = model.encode(pictures())
    assert ((code != 0).sum((2, 3)) <= 1).all()
    features, _ = model._features(pictures())
    torch.testing.assert_close(code.amax((2, 3)), model.to_code(features).amax((2, 3)).relu())
    # Equal ones, as on a plain picture, do not share the place.
    assert ((model.encode(torch.zeros(1, 1, 40, 40)) != 0).sum((2, 3)) <= 1).all()


def test_in_training_a_unit_keeps_its_share_of_the_batch() -> None:
    for model in (dense(sparsity="winner", rate=0.25), made(sparsity="winner", rate=0.25)):
        model.train()
        code = model.encode(pictures(16))
        shares = (code != 0).view(16, code.shape[1], -1).any(2)
        assert (shares.float().mean(0) <= 0.25).all()
        assert shares.any()
        model.eval()
        one_by_one = torch.cat([model.encode(picture) for picture in pictures(16).split(1)])
        torch.testing.assert_close(model.encode(pictures(16)), one_by_one)


def test_the_penalty_of_rates_is_nothing_at_the_target_and_else_that_of_torch() -> None:
    target = 0.05
    assert abs(rate_divergence(torch.full((7,), target), target).item()) < 1e-7
    rates = torch.tensor([0.01, 0.2, 0.9])
    expected = kl_divergence(Bernoulli(torch.tensor(target)), Bernoulli(rates)).mean()
    torch.testing.assert_close(rate_divergence(rates, target), expected)
    assert rate_divergence(torch.tensor([0.0, 1.0]), target).isfinite()


def test_units_drawn_to_a_rate_begin_near_it() -> None:
    model = dense(sparsity="kl", rate=0.1)
    code = model.encode(pictures())
    assert code.min() >= 0
    assert code.max() <= 1
    torch.testing.assert_close(model.to_code.bias.sigmoid(), torch.full((20,), 0.1))


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_penalties_are_terms_and_competitions_are_not(sparsity: str) -> None:
    model = dense(sparsity=sparsity, weight=0.5, loss="bce")
    terms = model.loss(pictures(), pictures())
    assert set(terms) == {"bce"} | ({"sparsity"} if sparsity in ("kl", "l1") else set())
    if sparsity == "l1":
        torch.testing.assert_close(terms["sparsity"], 0.5 * model.encode(pictures()).abs().mean())
    if sparsity == "kl":
        rates = model.encode(pictures()).mean(0)
        torch.testing.assert_close(terms["sparsity"], 0.5 * rate_divergence(rates, 0.05))
    restored = model(pictures())
    expected = torch.nn.functional.binary_cross_entropy(restored, pictures())
    torch.testing.assert_close(terms["bce"], expected)


def test_the_measured_rate_is_the_share_that_is_active() -> None:
    model = dense(active=3)
    rates = model.rates(pictures())
    assert rates.shape == (20,)
    assert rates.mean().item() == pytest.approx(3 / 20)
    spatial = made(code_channels=10, active=4).rates(pictures())
    assert spatial.mean().item() == pytest.approx(0.4)
    silent = dense(sparsity="kl", rate=0.001)
    torch.nn.init.zeros_(silent.to_code.weight)
    assert silent.rates(pictures()).max() == 0


def test_forward_is_decode_of_encode() -> None:
    for sparsity in SPARSITIES:
        model = made(sparsity=sparsity)
        torch.testing.assert_close(model.decode(model.encode(pictures())), model(pictures()))


@pytest.mark.parametrize("sparsity", ["l1", "kl"])
def test_a_heavier_penalty_leaves_less_active_after_a_short_training(sparsity: str) -> None:
    data = datasets.load("digits", limit=512)
    clean = data.test.whole(torch.arange(len(data.test)))[0]
    reached = []
    for weight in (0.0, 0.3):
        model = made(
            channels=(8,), code_size=16, image_size=8, sparsity=sparsity, weight=weight, rate=0.02
        )
        chosen = Train(epochs=10, batch=64, learning_rate=1e-2, precision="float32")
        train(model, data, parse("none"), chosen, device="cpu")
        reached.append(model.rates(clean).mean().item())
    assert reached[1] < 0.7 * reached[0]
