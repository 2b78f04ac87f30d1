"""Pictures from codes: seeded, of the right size and number, in Python and on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from commands import Command, samples, untrained
from pellucid import images
from pellucid.errors import DataError, OptionError
from pellucid.learn import checkpoints, datasets
from pellucid.learn.damage import parse
from pellucid.learn.frechet import code_features
from pellucid.learn.models import Autoencoder, create
from pellucid.learn.recipes import Train
from pellucid.learn.training import train
from pellucid.report.panel import draw
from pellucid.uses.generate import Grid, Maker
from pellucid.uses.priors import Mixture, StandardNormal, fit_mixture


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A variational autoencoder that has seen the digits for a few seconds."""
    torch.manual_seed(0)
    model = create("variational", channels=(16, 32), code_size=6, image_size=8)
    chosen = Train(epochs=12, batch=64, learning_rate=5e-3, precision="float32")
    train(model, datasets.load("digits"), parse("none"), chosen, device="cpu")
    return checkpoints.save(model, tmp_path_factory.mktemp("learnt") / "digits.safetensors")


def spatial(**options: Any) -> Autoencoder:
    torch.manual_seed(0)
    model = create("variational", **({"channels": (4, 6), "code_channels": 3} | options))
    assert isinstance(model, Autoencoder)
    return model


def folder(path: Path, sizes: list[tuple[int, int]]) -> Path:
    path.mkdir()
    for i, size in enumerate(sizes):
        picture = np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8)
        images.write(path / f"{i}.png", picture)
    return path


def equal(one: Grid, other: Grid) -> bool:
    pairs = zip(sum(one.rows, ()), sum(other.rows, ()), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


# Priors


def test_a_mixture_finds_the_clusters_that_codes_lie_in() -> None:
    centres = torch.tensor([[0.0, 8.0], [8.0, 0.0], [-8.0, -8.0]])
    chance = torch.Generator().manual_seed(0)
    codes = centres[torch.arange(900) % 3] + torch.randn(900, 2, generator=chance)
    mixture = fit_mixture(codes, components=3)
    drawn = mixture.draw(600, generator=chance)
    nearest = torch.cdist(drawn, centres).min(1)
    assert nearest.values.max() < 5
    assert torch.bincount(nearest.indices).tolist() == pytest.approx([200] * 3, abs=50)


def test_one_full_normal_keeps_mean_and_covariance() -> None:
    chance = torch.Generator().manual_seed(0)
    turn = torch.tensor([[2.0, 0.0], [1.5, 0.5]])
    codes = torch.randn(4000, 2, generator=chance) @ turn.T + torch.tensor([3.0, -1.0])
    mixture = fit_mixture(codes, components=1)
    assert mixture.factors.shape == (1, 2, 2)
    drawn = mixture.draw(20_000, generator=chance)
    torch.testing.assert_close(drawn.mean(0), codes.mean(0), rtol=0, atol=0.06)
    torch.testing.assert_close(drawn.T.cov(), codes.T.cov(), rtol=0, atol=0.15)


def test_few_codes_get_diagonal_covariances_and_keep_their_shape() -> None:
    codes = torch.randn(40, 3, 4, 5) * torch.tensor([0.0, 1.0, 9.0])[:, None, None]
    mixture = fit_mixture(codes, components=2)
    assert mixture.factors.shape == (2, 60)
    drawn = mixture.draw(7, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (7, 3, 4, 5)
    assert drawn[:, 0].abs().max() < 0.1  # what never varies stays
    assert drawn[:, 2].std() > 5


@pytest.mark.parametrize(
    ("codes", "components", "says"),
    [
        (torch.zeros(3, 2), 4, "cannot be fitted to 3 codes"),
        (torch.full((9, 2), float("nan")), 2, "not finite"),
        (torch.zeros(9, 2), 0, "at least 1"),
    ],
)
def test_what_cannot_be_fitted_is_refused(codes: torch.Tensor, components: int, says: str) -> None:
    with pytest.raises((DataError, OptionError), match=says):
        fit_mixture(codes, components=components)


# Makers


@pytest.mark.parametrize("prior", ["normal", "mixture"])
def test_the_same_seed_makes_the_same_pictures_and_another_others(learnt: Path, prior: Any) -> None:
    grids = [Maker(learnt, data="digits", prior=prior, seed=s).samples(9) for s in (1, 1, 2)]
    assert equal(grids[0], grids[1])
    assert not equal(grids[0], grids[2])
    assert [len(row) for row in grids[0].rows] == [3, 3, 3]
    everything = np.stack(sum(grids[0].rows, ()))
    assert everything.shape == (9, 8, 8, 1)
    assert everything.min() >= 0
    assert everything.max() <= 1


def test_what_was_made_before_does_not_matter(learnt: Path) -> None:
    busy = Maker(learnt, data="digits")
    busy.reconstructions(3)
    busy.walks("0")
    assert equal(busy.samples(4), Maker(learnt).samples(4))


def test_a_fitted_prior_makes_pictures_nearer_to_the_data(learnt: Path) -> None:
    # A plain autoencoder says what is near: the code to be judged is not the judge.
    torch.manual_seed(1)
    judge = create("conv", channels=(8,), code_size=8, image_size=8).eval()
    features = code_features(judge)
    normal, mixture = (
        Maker(learnt, data="digits", prior=prior).nearness(features)
        for prior in ("normal", "mixture")
    )
    assert normal.halves == mixture.halves < mixture.samples < normal.samples
    assert normal.count == 718
    assert "718 samples" in str(normal)


def test_reconstructions_stand_beneath_their_pictures(learnt: Path) -> None:
    grid = Maker(learnt, data="digits").reconstructions(11)
    assert grid.labels == ("picture", "decoded") * 2
    assert [len(row) for row in grid.rows] == [8, 8, 3, 3]
    given = np.stack(grid.rows[0] + grid.rows[2])
    made = np.stack(grid.rows[1] + grid.rows[3])
    test = datasets.load("digits").test.whole(torch.arange(180))[0].permute(0, 2, 3, 1).numpy()
    assert all((test == picture).all((1, 2, 3)).any() for picture in given)
    error, off = ((given - other) ** 2 for other in (made, made[::-1]))
    assert error.mean() < 0.7 * off.mean()


def test_a_path_begins_and_ends_at_its_pictures(learnt: Path) -> None:
    maker = Maker(learnt, data="digits")
    grid = maker.interpolations(3, steps=5)
    assert grid.columns == ("picture", "0", "0.25", "0.5", "0.75", "1", "picture")
    model = checkpoints.load(learnt)
    for row in grid.rows:
        assert len(row) == 7
        for picture, decoded in ((row[0], row[1]), (row[-1], row[-2])):
            image = torch.from_numpy(picture).permute(2, 0, 1)[None]
            expected = model(image)[0].permute(1, 2, 0).detach().numpy()
            np.testing.assert_allclose(decoded, expected, atol=1e-5)
    paths = Maker(learnt).interpolations(2, steps=3)
    assert [len(row) for row in paths.rows] == [3, 3]


def test_a_walk_from_class_to_class_gets_there(learnt: Path) -> None:
    maker = Maker(learnt, data="digits")
    grid = maker.walks("0:1", 12, steps=4)
    assert grid.columns == ("0", "+0.5", "+1", "+1.5")
    data = datasets.load("digits")
    clean = data.train.whole(torch.arange(len(data.train)))[0]
    means = [clean[data.train.labels == c].mean(0).permute(1, 2, 0).numpy() for c in (0, 1)]
    first, last = (np.stack([row[i] for row in grid.rows]) for i in (0, 2))

    def off(pictures: np.ndarray, mean: np.ndarray) -> float:
        return float(((pictures - mean) ** 2).mean())

    assert off(first, means[0]) < off(first, means[1])
    assert off(last, means[1]) < off(last, means[0])


def test_a_walk_along_an_element_passes_through_its_mean(learnt: Path) -> None:
    maker = Maker(learnt, data="digits")
    grid = maker.walks("2", 3, steps=7)
    assert grid.columns[0] == "-3"
    assert grid.columns[3] == "0"
    for row in grid.rows:
        assert np.abs(row[0] - row[-1]).max() > 0.01
    assert [len(row) for row in Maker(learnt).walks("0", 2, steps=3).rows] == [3, 3]


@pytest.mark.parametrize("size", [(20, 13), (9, 30), (33, 33)])
def test_a_spatial_code_makes_pictures_of_any_size(size: tuple[int, int], tmp_path: Path) -> None:
    data = folder(tmp_path / "data", [size] * 6)
    maker = Maker(spatial(image_channels=3), data=data)
    assert isinstance(maker.prior, StandardNormal)
    for grid in (maker.samples(5), maker.reconstructions(2), maker.walks("1", 2, steps=2)):
        assert {picture.shape for row in grid.rows for picture in row} == {(*size, 3)}


def test_pictures_of_any_size_are_fitted_to_a_dense_code(learnt: Path, tmp_path: Path) -> None:
    data = folder(tmp_path / "data", [(20, 31), (9, 12), (40, 40)] * 4)
    maker = Maker(learnt, data=data)
    assert maker.reconstructions(2).rows[0][0].shape == (8, 8, 1)
    with pytest.raises(DataError, match="differ in size"):
        Maker(spatial(image_channels=3), data=data).reconstructions(2, split="train")


def test_without_data_the_size_is_the_asked_one() -> None:
    assert Maker(spatial(), size=18).samples(1).rows[0][0].shape == (18, 18, 1)
    assert Maker(spatial()).samples(1).rows[0][0].shape == (64, 64, 1)


def test_a_plain_autoencoder_makes_pictures_by_a_fitted_prior() -> None:
    torch.manual_seed(0)
    model = create("conv", channels=(4,), code_size=4, image_size=8)
    maker = Maker(model, data="digits", components=2)
    assert isinstance(maker.prior, Mixture)
    assert maker.prior.means.shape == (2, 4)
    assert "mixture of 2 normals" in maker.samples(4).about


def test_a_model_that_is_still_in_training_mode_is_not_changed_by_a_look() -> None:
    model = spatial(norm="batch").train()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    Maker(model, size=16).samples(2)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


# The command


def test_the_command_writes_what_python_makes(
    learnt: Path, tmp_path: Path, command: Command
) -> None:
    out = tmp_path / "grid.png"
    told = command.done("generate", learnt, "-n", 5, "-o", out, "--seed", 3)
    assert told == f"{out}: 5 samples from the standard normal, seed 3\n"
    first = samples(out)
    made = Maker(learnt, seed=3).samples(5)
    assert np.array_equal(first, np.asarray(draw(made.rows, note=made.about)))
    command.done("generate", learnt, "-n", 5, "-o", out, "--seed", 3)
    assert np.array_equal(samples(out), first)
    command.done("generate", learnt, "-n", 5, "-o", out, "--seed", 4)
    assert not np.array_equal(samples(out), first)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--reconstruct", "-n", 3], "3 pictures through the code"),
        (["--interpolate", "-n", 2, "--steps", 3], "2 paths between the codes of pictures"),
        (["--walk", "3:8", "-n", 2, "--steps", 3], "2 walks from 3 to 8 of the code"),
        (["--walk", "1", "-n", 2, "--split", "train"], "2 walks along element 1 of the code"),
        (["--prior", "mixture", "-n", 4], "4 samples from a mixture of 10 normals"),
    ],
)
def test_every_grid_can_be_asked_for(
    given: list[Any], says: str, learnt: Path, tmp_path: Path, command: Command
) -> None:
    out = tmp_path / "grid.png"
    assert says in command.done("generate", learnt, "-o", out, "--data", "digits", *given)
    assert min(samples(out).shape[:2]) > 112


def test_samples_are_judged_beside_pictures(learnt: Path, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "grid.png"
    told = command.done("generate", learnt, "-o", out, "--data", "digits", "--frechet", learnt)
    assert "Fréchet distance of 718 samples" in told
    assert f"by the code of {learnt}" in told


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--reconstruct"], "--data NAME"),
        (["--walk", "1:2"], "--data NAME"),
        (["--walk", "6"], "by its number, 0 to 5; not '6'"),
        (["--walk", "3:ten", "--data", "digits"], "unknown class 'ten'"),
        (["--walk", "3:8", "--interpolate"], "give one"),
        (["--prior", "mixture"], "--data NAME"),
        (["--prior", "mixture", "--data", "digits", "--components", 9999], "fewer components"),
        (["--prior", "mixtur"], "'mixtur'"),
        (["--interpolate", "--steps", 1], "from 2 to 100"),
        (["--size", 9], "makes pictures of 8x8 only"),
        (["--frechet", "x"], "--data NAME"),
        (["-n", 0], "--count"),
        (["-n", 10**6], "from 1 to 10000"),
        (["--data", "nowhere"], "unknown data set 'nowhere'"),
        (["--interpolate", "--data", "digits", "--split", "tset"], "did you mean 'test'"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(
    given: list[Any], says: str, learnt: Path, tmp_path: Path, command: Command
) -> None:
    command.refused("generate", learnt, "-o", tmp_path / "grid.png", *given, says=says)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("unet", {"channels": (4,)}, "'unet' restores pictures and has no code"),
        ("conv", {"channels": (4,), "up": "unpool"}, "up='unpool' cannot decode"),
        ("conv", {"channels": (4,)}, "--data NAME"),
    ],
)
def test_a_model_that_cannot_decode_is_refused_with_what_to_do(
    kind: str, options: dict[str, Any], says: str, tmp_path: Path, command: Command
) -> None:
    path = checkpoints.save(create(kind, **options), tmp_path / "model.safetensors")
    command.refused("generate", path, "-o", tmp_path / "grid.png", says=says)


def test_a_normal_prior_is_refused_where_none_was_learnt(tmp_path: Path, command: Command) -> None:
    path = untrained(tmp_path / "model.safetensors")
    out = tmp_path / "grid.png"
    command.refused("generate", path, "-o", out, "--prior", "normal", says="--prior mixture")
    command.refused("generate", path, "-o", tmp_path / "grid.jpg", says="name it")
    command.refused("generate", tmp_path / "none", "-o", out, says="there is no model file")


def test_a_seed_below_nothing_is_refused(learnt: Path) -> None:
    with pytest.raises(OptionError, match="seed -1 is not possible"):
        Maker(learnt, seed=-1)
