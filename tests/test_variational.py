"""The variational autoencoder: its terms are those of the theory, its chance is the generator's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence

from pellucid.errors import OptionError
from pellucid.learn import datasets
from pellucid.learn.damage import parse
from pellucid.learn.lesson import seeded
from pellucid.learn.models import create
from pellucid.learn.models.variational import (
    VariationalAutoencoder,
    binarized,
    divergence,
)
from pellucid.learn.recipes import Train
from pellucid.learn.training import Epoch, mean_loss, train


def made(seed: int = 0, **options: Any) -> VariationalAutoencoder:
    """A small one whose deviations are not all alike, as those of a new one are."""
    torch.manual_seed(seed)
    model = create("variational", **({"channels": (4, 6)} | options))
    assert isinstance(model, VariationalAutoencoder)
    torch.nn.init.normal_(next(model.to_spread.parameters()), std=0.3)
    return model.eval()


def dense(**options: Any) -> VariationalAutoencoder:
    return made(**({"code_size": 5, "image_size": 12} | options))


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def greys(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*(shape or (3, 1, 12, 12)), generator=chance(seed))


@pytest.mark.parametrize("make", [made, dense])
def test_the_divergence_is_that_of_torch(make: Any) -> None:
    mean, deviation = make().posterior(greys())
    assert deviation.std() > 0
    expected = kl_divergence(Normal(mean, deviation), Normal(0.0, 1.0))
    torch.testing.assert_close(divergence(mean, deviation), expected)


def test_the_bernoulli_density_is_that_of_torch() -> None:
    raw, clean = torch.randn(3, 1, 12, 12), greys().round()
    expected = Bernoulli(logits=raw).log_prob(clean).sum((1, 2, 3))
    torch.testing.assert_close(made().log_density(raw, clean), expected)


@pytest.mark.parametrize("learned", [False, True])
def test_the_gaussian_density_is_that_of_torch_with_its_constant(learned: bool) -> None:
    model = made(likelihood="gaussian", scale=0.07, learned_scale=learned)
    raw, clean = torch.randn(3, 1, 12, 12), greys()
    expected = Normal(raw.sigmoid(), 0.07).log_prob(clean).sum((1, 2, 3))
    torch.testing.assert_close(model.log_density(raw, clean), expected)


def test_a_learned_scale_goes_to_the_error_of_the_pictures() -> None:
    model = made(likelihood="gaussian", scale=1.0, learned_scale=True)
    raw = torch.zeros(64, 1, 8, 8)
    clean = 0.5 + 0.2 * torch.randn(raw.shape, generator=chance())
    assert isinstance(model.log_scale, torch.nn.Parameter)
    optimizer = torch.optim.Adam([model.log_scale], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        (-model.log_density(raw, clean).mean()).backward()
        optimizer.step()
    assert model.log_scale.exp().item() == pytest.approx(0.2, rel=0.03)


@pytest.mark.parametrize("make", [made, dense])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_loss_is_the_bound_for_each_pixel(make: Any, likelihood: str) -> None:
    model = make(likelihood=likelihood, image_channels=3)
    clean = greys(4, 3, 12, 12)
    terms = model.loss(clean, clean, generator=chance(5))
    bound = model.nats(clean, generator=chance(5))
    assert bound.name == "ELBO"
    assert bound.nats.shape == (4,)
    torch.testing.assert_close(sum(terms.values()) * 3 * 12 * 12, bound.nats.mean())


def test_the_bound_with_damage_judges_the_clean_picture() -> None:
    model, clean = dense(), greys()
    damaged = greys(seed=1)
    terms = model.loss(damaged, clean, generator=chance(5))
    bound = model.nats(clean, damaged=damaged, generator=chance(5))
    torch.testing.assert_close(sum(terms.values()) * 12 * 12, bound.nats.mean())
    mean, deviation = model.posterior(damaged)
    nats = divergence(mean, deviation).sum() / clean.numel()
    torch.testing.assert_close(terms["divergence"], nats)


@pytest.mark.parametrize("make", [made, dense])
def test_more_draws_bring_the_bound_nearer_to_the_likelihood(make: Any) -> None:
    model, clean = make(), greys(16, 1, 12, 12)
    means = []
    for samples in (1, 5, 50):
        bounds = [model.nats(clean, samples=samples, generator=chance(i)) for i in range(12)]
        means.append(torch.stack([bound.nats for bound in bounds]).mean().item())
    assert bounds[0].name == "IWAE-50"
    assert "IWAE-50, mean of 16" in str(bounds[0])
    assert means[0] > means[1] > means[2]


def test_the_importance_weighted_bound_is_exact_where_the_likelihood_is_known() -> None:
    # A decoder that ignores its code: log p(x) is the density under its one answer.
    model, clean = dense(), greys().round()
    torch.nn.init.zeros_(model.from_code.weight)
    with torch.no_grad():  # draws far from the prior would need millions
        model.to_code.weight *= 0.2
        model.to_spread.weight *= 0.2
    raw = model._decode(torch.zeros(1, 5), [])
    expected = -Bernoulli(logits=raw.expand_as(clean)).log_prob(clean).sum((1, 2, 3))
    found = model.nats(clean, samples=1000, generator=chance()).nats
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05)
    assert (model.nats(clean, generator=chance()).nats > expected + 0.01).all()


def test_beta_weighs_the_divergence_and_0_leaves_it_out() -> None:
    clean = greys()
    terms = [dense(beta=beta).loss(clean, clean, generator=chance()) for beta in (0.0, 1.0, 4.0)]
    assert set(terms[0]) == {"likelihood"}
    torch.testing.assert_close(terms[2]["divergence"], 4 * terms[1]["divergence"])
    torch.testing.assert_close(terms[0]["likelihood"], terms[2]["likelihood"])


@pytest.mark.parametrize(("make", "elements"), [(dense, 5), (made, 8 * 9)])
def test_free_bits_are_a_floor_beneath_which_nothing_presses(make: Any, elements: int) -> None:
    clean = greys()
    model = make(free_bits=1000.0)
    term = model.loss(clean, clean, generator=chance())["divergence"]
    assert term.item() == pytest.approx(1000 * elements / 144, rel=1e-5)
    term.backward()
    assert not any(weight.grad.any() for weight in model.to_spread.parameters())
    low, none = (
        make(free_bits=bits).loss(clean, clean, generator=chance())["divergence"]
        for bits in (1e-9, 0.0)
    )
    torch.testing.assert_close(low, none)


def test_forward_draws_nothing_and_encodes_the_mean() -> None:
    model, clean = made(), greys()
    torch.testing.assert_close(model.encode(clean), model.posterior(clean)[0])
    assert torch.equal(model(clean), model(clean))
    torch.testing.assert_close(model(clean), model.decode(model.encode(clean)))


@pytest.mark.parametrize("options", [{}, {"binarized": True}])
def test_the_same_seed_gives_the_same_loss_and_another_gives_another(options: Any) -> None:
    model, clean = dense(**options), greys()
    one, again, other = (
        sum(model.loss(clean, clean, generator=chance(seed)).values()).item() for seed in (1, 1, 2)
    )
    assert one == again != other


def test_torch_s_own_chance_is_left_alone() -> None:
    model, clean = dense(binarized=True), greys()
    before = torch.get_rng_state()
    model.loss(clean, clean, generator=chance())
    model.nats(clean, samples=2, generator=chance())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (12, 12), (30, 17)])
def test_a_spatial_code_takes_any_size(size: tuple[int, int]) -> None:
    model, clean = made(), greys(2, 1, *size)
    code = model.encode(clean)
    assert code.shape == (2, 8, -(-size[0] // 4), -(-size[1] // 4))
    assert model.nats(clean, samples=2, generator=chance()).nats.isfinite().all()
    assert torch.stack(list(model.loss(clean, clean).values())).isfinite().all()


def test_binarized_pixels_are_white_as_often_as_they_are_bright() -> None:
    grey = torch.full((1, 1, 200, 200), 0.3)
    (drawn,) = binarized(grey, generator=chance())
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert drawn.mean().item() == pytest.approx(0.3, abs=0.01)
    black, white = binarized(grey * 0, grey * 0 + 1, generator=chance())
    assert black.max() == 0
    assert white.min() == 1


def test_equal_greys_of_two_pictures_become_equal_pixels() -> None:
    grey = greys()
    one, other = binarized(grey, grey.clone(), generator=chance())
    assert torch.equal(one, other)
    assert not torch.equal(one, binarized(grey, generator=chance(1))[0])


def test_a_binarized_model_judges_black_and_white() -> None:
    model, clean = dense(binarized=True), greys()
    (drawn,) = binarized(clean, generator=(generator := chance(3)))
    plain = dense().nats(drawn, generator=generator).nats
    torch.testing.assert_close(model.nats(clean, generator=chance(3)).nats, plain)


@pytest.mark.parametrize(("likelihood", "own"), [("bernoulli", "bce"), ("gaussian", "mse")])
def test_only_the_loss_that_its_likelihood_is_can_be_asked_for(likelihood: str, own: str) -> None:
    model = made(likelihood=likelihood)
    model.use_loss(own)
    assert "loss" not in model.options
    with pytest.raises(OptionError, match=f"trained on its likelihood '{likelihood}'"):
        model.use_loss("l1")


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(OptionError, match="at least 1 draw"):
        made().nats(greys(), samples=0)


def settings(**more: Any) -> Train:
    return Train.model_validate({"epochs": 2, "batch": 64, "precision": "float32"} | more)


def digits() -> datasets.Dataset:
    return datasets.load("digits", limit=256)


def small(**options: Any) -> VariationalAutoencoder:
    return made(channels=(8,), code_size=4, image_size=8, **options)


def test_training_repeats_itself_and_resumes_to_the_last_bit(tmp_path: Path) -> None:
    def taught(folder: Path | None = None, **how: Any) -> dict[str, Tensor]:
        model = small(binarized=True)
        damage = parse("gaussian:0.2")
        train(model, digits(), damage, settings(epochs=3), folder=folder, device="cpu", **how)
        return model.state_dict()

    def die(epoch: Epoch) -> None:
        if len(epoch.history) == 2:
            raise MemoryError

    whole, again = taught(), taught()
    with pytest.raises(MemoryError):
        taught(tmp_path, watch=die)
    resumed = taught(tmp_path, resume=True)
    for name, weight in whole.items():
        assert torch.equal(weight, again[name]), name
        assert torch.equal(weight, resumed[name]), name


def test_seconds_of_training_lower_the_bound() -> None:
    model, data = small(), digits()
    clean = data.test.whole(torch.arange(len(data.test)))[0]
    before = model.nats(clean, generator=chance()).nats.mean()
    train(model, data, parse("none"), settings(epochs=10, learning_rate=5e-3), device="cpu")
    assert model.nats(clean, generator=chance()).nats.mean() < before - 5
    # The loss of a split is the same bound, for each pixel, with draws of its own.
    found = mean_loss(model, data.test, parse("none"), settings())
    drawn = seeded(torch.device("cpu"), 0, 4, 0, 11)
    expected = model.nats(clean, generator=drawn).nats.mean() / 64
    assert found == pytest.approx(expected.item(), rel=1e-4)
