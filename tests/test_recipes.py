"""Recipes are strict, survive the disk, and each packaged one makes a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from pellucid.errors import OptionError
from pellucid.learn import recipes
from pellucid.learn.damage import parse
from pellucid.learn.models import create


@pytest.mark.parametrize("name", recipes.names())
def test_a_packaged_recipe_reads_back_and_makes_its_model(name: str, tmp_path: Path) -> None:
    recipe = recipes.read(name)
    kept = tmp_path / "recipe.toml"
    kept.write_text(recipe.to_toml(), encoding="utf-8")
    assert recipes.read(kept) == recipe
    assert recipe.about
    parse(recipe.damage.spec)
    options = dict(recipe.model)
    if options.get("code_size"):
        options["image_size"] = 28
    create(options.pop("name"), **options)


def test_the_five_reference_systems_have_recipes() -> None:
    names = " ".join(recipes.names())
    for wanted in ("r1-mnist", "r1-fashion", "r1-cifar10", "r2-", "r3-", "r4-", "r5-"):
        assert wanted in names


def test_values_are_set_from_the_command_line() -> None:
    recipe = recipes.read(
        "digits",
        [
            "train.epochs=5",
            "model.channels=[8, 16]",
            "damage.with=salt_pepper:0.1",
            "data.name=my/own folder",
            "train.patience=none",
        ],
    )
    assert recipe.train.epochs == 5
    assert recipe.model["channels"] == [8, 16]
    assert recipe.damage.spec == "salt_pepper:0.1"
    assert recipe.data.name == "my/own folder"
    assert recipe.train.patience is None


@pytest.mark.parametrize("name", ["2024", "1e3", "true", "'2024'"])
def test_a_name_that_looks_like_a_number_stays_a_name(name: str) -> None:
    assert recipes.read("digits", [f"data.name={name}"]).data.name == name.strip("'")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("train.epoch=3", r"unknown key in \[train\] 'epoch'; did you mean 'epochs'"),
        ("trian.epochs=3", "unknown recipe section 'trian'; did you mean 'train'"),
        ("train.epochs=many", "train.epochs: .*integer.*'many'"),
        ("train.epochs=0", "greater than or equal to 1"),
        (
            "train.loss=mae",
            r"unknown train.loss 'mae'.*bce, charbonnier, l1, mse, psnr, psnr\+ssim",
        ),
        ("data.channels=2", "data.channels"),
        ("epochs=3", "section.key=value"),
        ("train.epochs", "section.key=value"),
    ],
)
def test_impossible_changes_are_refused_by_name(change: str, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        recipes.read("digits", [change])


def test_unknown_keys_in_a_file_are_refused_with_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[model]\nname = "conv"\n[data]\nname = "digits"\n[trani]\nepochs = 1\n')
    with pytest.raises(OptionError, match="unknown key 'trani'; did you mean 'train'"):
        recipes.read(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model = 3\n[data]\nname='digits'", "is a table of keys"),
        ("[data]\nname = 'digits'", r"\[model\] needs a name"),
        ("[model]\nname = 'conv'", "data: Field required"),
        ("[model\nname =", "not valid TOML"),
        ("\x00\x01", "not valid TOML"),
    ],
)
def test_broken_files_are_refused_in_one_line(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(OptionError, match=says) as caught:
        recipes.read(path)
    assert "\n" not in str(caught.value)


def test_the_folder_of_a_run_is_not_taken_for_its_recipe(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(recipes.read("digits").to_toml())
    with pytest.raises(
        OptionError, match=r"is the folder of a run; give its recipe, .*recipe\.toml"
    ):
        recipes.read(tmp_path)


def test_a_missing_recipe_names_the_packaged_ones() -> None:
    with pytest.raises(OptionError, match="did you mean 'digits'"):
        recipes.read("digit")
    with pytest.raises(OptionError, match="no recipe file"):
        recipes.read("absent.toml")
