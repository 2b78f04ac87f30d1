"""Promises of strips between pictures: ends are the pictures, paths the named ones."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from commands import Command, noisy, samples, untrained
from pellucid.errors import DataError, OptionError
from pellucid.learn import checkpoints
from pellucid.learn.models import Autoencoder, create
from pellucid.uses import interpolation as module
from pellucid.uses.embed import embed
from pellucid.uses.interpolation import interpolations, spherical, straight

AMOUNTS = torch.linspace(0, 1, 7)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


def made(name: str, **options: object) -> Autoencoder:
    torch.manual_seed(0)
    model = create(name, channels=(4, 6), **options)
    assert isinstance(model, Autoencoder)
    return model.eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(4):
        noisy(tmp_path / "flat" / f"{i}.png", 12, 12, seed=i)
    return tmp_path / "flat"


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    for label, name in enumerate(("cat", "dog")):
        for i in range(3):
            noisy(tmp_path / "zoo" / name / f"{i}.png", 12, 12, seed=10 * label + i)
    return tmp_path / "zoo"


# Paths


@pytest.mark.parametrize("along", [straight, spherical])
def test_a_path_begins_and_ends_at_its_codes(along) -> None:
    one, other = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1))
    path = along(one, other, AMOUNTS)
    assert path.shape == (7, 3, 4)
    torch.testing.assert_close(path[0], one)
    torch.testing.assert_close(path[-1], other)


def test_an_arc_keeps_the_length_and_turns_evenly_where_a_line_grows_short() -> None:
    one, other = torch.randn(2, 32, generator=torch.Generator().manual_seed(1))
    one, other = 5 * one / one.norm(), 5 * other / other.norm()
    arc = spherical(one, other, AMOUNTS)
    torch.testing.assert_close(arc.norm(dim=1), torch.full((7,), 5.0))
    turns = torch.acos((arc[1:] * arc[:-1]).sum(1) / 25)
    torch.testing.assert_close(turns, turns.mean().expand(6), rtol=1e-3, atol=1e-3)
    assert straight(one, other, AMOUNTS)[3].norm() < 4.5


def test_along_an_arc_the_length_changes_evenly() -> None:
    arc = spherical(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 8.0]), AMOUNTS)
    torch.testing.assert_close(arc.norm(dim=1), torch.linspace(2, 8, 7))


@pytest.mark.parametrize(
    "other", [[2.0, 4.0], [-1.0, -2.0], [0.0, 0.0]], ids=["same", "opposite", "nothing"]
)
def test_where_there_is_no_arc_it_is_the_line(other: list[float]) -> None:
    ends = torch.tensor([1.0, 2.0]), torch.tensor(other)
    torch.testing.assert_close(spherical(*ends, AMOUNTS), straight(*ends, AMOUNTS))


# Strips


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("conv", {"up": "nearest"}),
        ("conv", {"code_size": 5, "image_size": 12}),
        ("sparse", {"active": 2}),
        ("stacked", {"code_size": 5, "image_size": 12}),
        ("variational", {"code_size": 5, "image_size": 12}),
        ("variational", {"code_channels": 3}),
    ],
)
def test_any_autoencoder_goes_from_picture_to_picture(
    folder: Path, name: str, options: dict[str, object]
) -> None:
    model = made(name, **options)
    found = embed(model, folder)
    strips = interpolations(model, found, steps=5)
    assert [len(row) for row in strips.cells] == [7, 7, 7]
    assert strips.columns == ["picture", "0", "0.25", "0.5", "0.75", "1", "picture"]
    for i, (row, said) in enumerate(zip(strips.cells, strips.captions, strict=True)):
        assert np.array_equal(row[0], samples(folder / f"{i}.png"))
        assert np.array_equal(row[-1], samples(folder / f"{i + 1}.png"))
        assert (said[0], said[-1], set(said[1:-1])) == (f"{i}.png", f"{i + 1}.png", {""})
        for cell, picture in ((row[1], row[0]), (row[-2], row[-1])):
            given = torch.from_numpy(picture).permute(2, 0, 1)[None] / 255
            with torch.no_grad():
                expected = model(given)[0].permute(1, 2, 0).numpy()
            np.testing.assert_allclose(cell, expected, atol=1e-5)


def test_classes_take_turns_and_name_the_ends(classes: Path) -> None:
    model = made("conv", up="nearest")
    strips = interpolations(model, embed(model, classes), steps=2, lines=4)
    assert [(row[0], row[-1]) for row in strips.captions] == [
        *(("cat", "dog"), ("dog", "cat"), ("cat", "dog"), ("dog", "cat"))
    ]
    shown = [row[0] for row in strips.cells]
    files = ("cat/0", "dog/0", "cat/1", "dog/1")
    for picture, file in zip(shown, files, strict=True):
        assert np.array_equal(picture, samples(classes / f"{file}.png"))


def test_the_arc_is_for_a_dense_code_with_a_normal_prior(folder: Path) -> None:
    dense = made("variational", code_size=5, image_size=12)
    found = embed(dense, folder)
    arcs, lines = (interpolations(dense, found, way=way) for way in module.WAYS[::-1])
    np.testing.assert_allclose(arcs.cells[0][1], lines.cells[0][1], atol=1e-5)
    assert not np.allclose(arcs.cells[0][5], lines.cells[0][5], atol=1e-7)
    for other in (
        made("conv", code_size=5, image_size=12),
        made("variational", code_channels=3),
    ):
        with pytest.raises(OptionError, match="go straight"):
            interpolations(other, embed(other, folder), way="spherical")


def test_pictures_of_many_sizes_need_one(tmp_path: Path) -> None:
    for i, size in enumerate(((12, 12), (16, 20), (9, 30))):
        noisy(tmp_path / "many" / f"{i}.png", *size, seed=i)
    model = made("conv", up="nearest")
    with pytest.raises(DataError, match="--size"):
        interpolations(model, embed(model, tmp_path / "many"))
    strips = interpolations(model, embed(model, tmp_path / "many", size=10))
    assert {cell.shape for row in strips.cells for cell in row} == {(10, 10, 1)}


def test_odd_sizes_come_back_as_they_are(tmp_path: Path) -> None:
    for i in range(2):
        noisy(tmp_path / "odd" / f"{i}.png", 13, 7, seed=i)
    model = made("conv", up="nearest")
    strips = interpolations(model, embed(model, tmp_path / "odd"))
    assert {cell.shape for row in strips.cells for cell in row} == {(13, 7, 1)}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"way": "crooked"}, "unknown way 'crooked'"),
        ({"steps": 1}, "from 2 to"),
        ({"steps": 101}, "from 2 to"),
        ({"lines": 0}, "at least 1"),
    ],
)
def test_what_is_not_possible_is_refused(folder: Path, options: dict, says: str) -> None:
    model = made("conv", up="nearest")
    with pytest.raises(OptionError, match=says):
        interpolations(model, embed(model, folder), **options)


def test_one_picture_and_a_model_that_unpools_are_refused(folder: Path, tmp_path: Path) -> None:
    noisy(tmp_path / "one.png", 12, 12)
    model = made("conv", up="nearest")
    with pytest.raises(OptionError, match="two pictures"):
        interpolations(model, embed(model, tmp_path / "one.png"))
    unpooling = made("conv", up="unpool")
    with pytest.raises(OptionError, match="cannot decode a code alone"):
        interpolations(unpooling, embed(unpooling, folder))


def test_training_mode_comes_back(folder: Path) -> None:
    model = made("conv", up="nearest").train()
    interpolations(model, embed(model, folder))
    assert model.training


def test_the_command_draws_them(command: Command, folder: Path, tmp_path: Path) -> None:
    model = untrained(tmp_path / "m.safetensors", channels=(4, 6), up="nearest")
    out, told = tmp_path / "strips.png", tmp_path / "t.json"
    said = command.done("embed", model, folder, "--strips", out, "--steps", 3, "--json", told)
    assert f"{out}: 3 strips, straight from code to code" in said
    assert samples(out).shape[2] == 3
    assert json.loads(told.read_text())["n"] == 4
    given = ("embed", model, folder, "--strips", out)
    command.refused(*given, "--strips-by", "spherical", says="go straight")
    command.refused(*given, "--steps", 1, says="from 2 to")
    torch.manual_seed(0)
    dense = create("variational", channels=(4,), code_size=5, image_size=12)
    path = checkpoints.save(dense, tmp_path / "v.safetensors")
    out = tmp_path / "arcs.png"
    said = command.done("embed", path, folder, "--strips", out, "--strips-by", "spherical")
    assert "spherical" in said
    assert out.exists()


def test_examples_in_docstrings_work() -> None:
    assert doctest.testmod(module).failed == 0
