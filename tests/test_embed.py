"""Promises of codes of many pictures: which, in what order, in what file, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from commands import Command, noisy, untrained  # noqa: E402 (after the skip)
from pellucid import images  # noqa: E402
from pellucid.errors import DataError, OptionError  # noqa: E402
from pellucid.images import Picture  # noqa: E402
from pellucid.learn import checkpoints  # noqa: E402
from pellucid.learn.models import Autoencoder, create  # noqa: E402
from pellucid.uses import embed as module  # noqa: E402
from pellucid.uses.embed import embed  # noqa: E402


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture(scope="module")
def spatial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with a code of 6 x h/4 x w/4."""
    folder = tmp_path_factory.mktemp("spatial")
    return untrained(folder / "m.safetensors", channels=(4, 6), activation="silu")


def dense(size: int | tuple[int, int] = 12, **options: object) -> Autoencoder:
    torch.manual_seed(0)
    model = create("conv", channels=(4, 6), code_size=5, image_size=size, **options)
    assert isinstance(model, Autoencoder)
    return model


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Nine pictures of one size in three sub-folders."""
    for label, name in enumerate(("cat", "dog", "eel")):
        for i in range(3):
            noisy(tmp_path / "zoo" / name / f"{i}.png", 16, 12, seed=10 * label + i)
    return tmp_path / "zoo"


def by_hand(model: Autoencoder, path: Path) -> np.ndarray:
    """The code of one file, with nothing of the module."""
    pixels = torch.from_numpy(images.read(path).pixels).permute(2, 0, 1)[None]
    with torch.no_grad():
        return model.eval().encode(pixels)[0].numpy()


def loaded(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


# What is written


def test_the_file_keeps_its_contract(classes: Path, spatial: Path, tmp_path: Path) -> None:
    out = embed(spatial, classes).save(tmp_path / "codes.npz")
    told = loaded(out)
    assert told["codes"].dtype == np.float32
    assert told["codes"].shape == (9, 6 * 4 * 3)
    assert told["paths"].tolist() == [f"{c}/{i}.png" for c in ("cat", "dog", "eel") for i in "012"]
    assert told["class_names"][told["labels"]].tolist() == [p[:3] for p in told["paths"]]
    assert str(told["pool"]) == "flat"
    model = checkpoints.load(spatial)
    assert isinstance(model, Autoencoder)
    for code, path in zip(told["codes"], told["paths"], strict=True):
        np.testing.assert_allclose(code, by_hand(model, classes / path).ravel(), atol=1e-5)


def test_without_sub_folders_there_are_no_labels(spatial: Path, tmp_path: Path) -> None:
    noisy(tmp_path / "flat" / "a.png")
    noisy(tmp_path / "flat" / "deep" / "b.png")
    told = loaded(embed(spatial, tmp_path / "flat").save(tmp_path / "codes.npz"))
    assert told["paths"].tolist() == ["a.png", "deep/b.png"]
    assert "labels" not in told


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_pictures_come_once_each(spatial: Path, tmp_path: Path, count: int) -> None:
    for i in range(count):
        noisy(tmp_path / "few" / f"{i}.png", seed=i)
    assert embed(spatial, tmp_path / "few").paths == tuple(f"{i}.png" for i in range(count))
    np.savez(tmp_path / "few.npz", images=np.arange(count * 64, dtype=np.uint8).reshape(-1, 8, 8))
    assert len(embed(spatial, tmp_path / "few.npz")) == count


def test_a_data_set_gives_labels_and_splits() -> None:
    model = dense(8)
    found = embed(model, "digits")
    assert len(found) == 1797
    assert found.class_names == tuple("0123456789")
    assert found.labels is not None
    assert found.splits.count("test") == 180
    test = embed(model, "digits", split="test")
    assert np.array_equal(test.labels, found.labels[-180:])
    np.testing.assert_allclose(test.codes, found.codes[-180:], atol=1e-5)


def test_train_and_test_folders_keep_apart_what_is_called_alike(
    spatial: Path, tmp_path: Path
) -> None:
    for i, part in enumerate(("train", "test")):
        for j, name in enumerate(("good", "bad")):
            for k in range(2):
                noisy(tmp_path / "parts" / part / name / f"{k}.png", seed=100 * i + 10 * j + k)
    found = embed(spatial, tmp_path / "parts")
    assert len(set(found.paths)) == len(found.paths) == 8
    assert [p.split("/")[0] == "test" for p in found.paths] == [s == "test" for s in found.splits]
    assert embed(spatial, tmp_path / "parts", split="test").paths == found.paths[:4]


def test_pages_are_pictures_of_their_own(spatial: Path, tmp_path: Path) -> None:
    (tmp_path / "stack").mkdir()
    chance = np.random.default_rng(0)
    pages = [Picture(chance.integers(0, 256, (9, 9, 1), np.uint8)) for _ in range(3)]
    images.write(tmp_path / "stack" / "a.tif", pages)
    found = embed(spatial, tmp_path / "stack")
    assert found.paths == ("a.tif#1", "a.tif#2", "a.tif#3")
    for row, page in enumerate(pages):
        assert np.array_equal(found.picture(row), page.samples)


def test_batches_change_nothing(
    classes: Path, spatial: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = embed(spatial, classes).codes
    monkeypatch.setattr(module, "BATCH", 2)
    np.testing.assert_allclose(embed(spatial, classes).codes, whole, atol=1e-5)
    monkeypatch.setattr(module, "BATCH_VALUES", 1)
    np.testing.assert_allclose(embed(spatial, classes).codes, whole, atol=1e-5)


def test_the_model_is_left_as_it_was(classes: Path) -> None:
    model = dense(12).train()
    embed(model, classes, size=12)
    assert model.training


# Sizes and pools


def test_mixed_sizes_are_means_and_the_order_is_kept(spatial: Path, tmp_path: Path) -> None:
    sizes = [(16, 12), (20, 33), (16, 12), (8, 8), (20, 33)]
    for i, size in enumerate(sizes):
        noisy(tmp_path / "mixed" / f"{i}.png", *size, seed=i)
    found = embed(spatial, tmp_path / "mixed")
    assert (found.pool, found.codes.shape) == ("mean", (5, 6))
    highest = embed(spatial, tmp_path / "mixed", pool="max")
    model = checkpoints.load(spatial)
    assert isinstance(model, Autoencoder)
    for i in range(5):
        code = by_hand(model, tmp_path / "mixed" / f"{i}.png")
        np.testing.assert_allclose(found.codes[i], code.mean((1, 2)), atol=1e-5)
        np.testing.assert_allclose(highest.codes[i], code.max((1, 2)), atol=1e-5)


def test_a_size_that_comes_late_turns_what_was_flat_into_means(
    spatial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 1)
    for i, size in enumerate([(16, 12), (16, 12), (8, 8)]):
        noisy(tmp_path / "late" / f"{i}.png", *size, seed=i)
    late = embed(spatial, tmp_path / "late")
    means = embed(spatial, tmp_path / "late", pool="mean")
    assert late.pool == "mean"
    np.testing.assert_allclose(late.codes, means.codes, atol=1e-6)
    with pytest.raises(OptionError, match=r"cannot be laid flat .* use --pool mean or max"):
        embed(spatial, tmp_path / "late", pool="flat")
    assert embed(spatial, tmp_path / "late", pool="flat", size=8).codes.shape == (3, 6 * 2 * 2)


def test_a_large_code_is_not_laid_flat_unless_asked(spatial: Path, tmp_path: Path) -> None:
    noisy(tmp_path / "large" / "a.png", 80, 80)
    assert embed(spatial, tmp_path / "large").codes.shape == (1, 6)
    assert embed(spatial, tmp_path / "large", pool="flat").codes.shape == (1, 6 * 20 * 20)


def test_a_dense_code_fits_pictures_to_its_square(classes: Path) -> None:
    found = embed(dense(12), classes)
    assert (found.pool, found.codes.shape, found.resized) == ("dense", (9, 5), 9)
    assert np.isfinite(found.codes).all()


def test_a_dense_code_that_is_no_square_refuses_other_sizes_by_name(
    classes: Path, tmp_path: Path
) -> None:
    assert embed(dense((16, 12)), classes).resized == 0
    noisy(classes / "cat" / "wide.png", 10, 30)
    found = embed(dense((16, 12)), classes)
    assert len(found) == 9
    (told,) = found.failed
    assert "cat/wide.png" in told
    assert "10x30 but this model's dense code is bound to 16x12; resize it" in told


def test_colours_and_depths_are_brought_to_the_model(tmp_path: Path, scene: np.ndarray) -> None:
    folder = tmp_path / "kinds"
    folder.mkdir()
    images.write(folder / "a.png", scene)
    images.write(folder / "b.png", scene.astype(np.uint16) * 257)
    for channels in (1, 3):
        torch.manual_seed(0)
        model = create("conv", channels=(4,), image_channels=channels)
        one, other = embed(model, folder, pool="mean").codes
        np.testing.assert_allclose(one, other, atol=2e-3)


# What has no code, and what cannot be read


def test_a_model_without_a_code_is_refused_by_name(classes: Path) -> None:
    with pytest.raises(OptionError, match=r"model 'photo-gray' only restores.* r3-code"):
        embed("photo-gray", classes)
    with pytest.raises(OptionError, match="the 'unet' model only restores"):
        embed(create("unet", channels=(4,), blocks=1), classes)


def test_a_model_that_unpools_still_encodes(classes: Path) -> None:
    assert embed(create("conv", channels=(4,), up="unpool"), classes).codes.shape == (9, 4 * 8 * 6)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"pool": "median"}, "unknown pool 'median'"),
        ({"split": "tests"}, "unknown split 'tests'; did you mean 'test'"),
        ({"size": 0}, "size 0 is not possible"),
    ],
)
def test_what_is_mistyped_is_refused(
    classes: Path, spatial: Path, given: dict[str, object], says: str
) -> None:
    with pytest.raises(OptionError, match=says):
        embed(spatial, classes, **given)  # type: ignore[arg-type]


def test_one_bad_file_among_many_is_named_and_the_others_are_done(
    classes: Path, spatial: Path, tmp_path: Path, command: Command
) -> None:
    whole = embed(spatial, classes)
    (classes / "dog" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    images.write(classes / "eel" / "9.tif", np.full((16, 12), np.nan, np.float32))
    out = tmp_path / "codes.npz"
    said = command("embed", spatial, classes, "-o", out)
    assert said.code == 2
    assert len(said.complaints) == 2
    assert "dog/1.png" in said.err
    assert "NaN" in said.err
    assert "8 codes of 72 numbers (6x4x3, flat); 3 classes; 2 failed" in said.out
    told = loaded(out)
    kept = [row for row, path in enumerate(whole.paths) if path != "dog/1.png"]
    np.testing.assert_allclose(told["codes"], whole.codes[kept], atol=1e-5)
    assert told["labels"].tolist() == [0, 0, 0, 1, 1, 2, 2, 2]


def test_where_nothing_can_be_read_nothing_is_written(
    spatial: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"no picture")
    out = tmp_path / "codes.npz"
    command.refused("embed", spatial, tmp_path / "bad", "-o", out, says="not one picture")
    assert not out.exists()


# Command line


def test_every_option_leaves_what_it_says(
    classes: Path, spatial: Path, tmp_path: Path, command: Command
) -> None:
    made = {n: tmp_path / n for n in ("codes.npz", "map.png", "strips.png", "maps.png", "t.json")}
    said = command.done(
        *("embed", spatial, classes, "-o", made["codes.npz"], "--map", made["map.png"]),
        *("--neighbours", made["strips.png"], "--nearest", 3, "--features", made["maps.png"]),
        *("--map-by", "pca", "--scores", "--json", made["t.json"]),
    )
    assert all(path.is_file() for path in made.values())
    assert "linear probe %" in said
    told = json.loads(made["t.json"].read_text())
    assert (told["n"], told["size"], told["pool"], told["failed"]) == (9, 72, "flat", [])
    assert set(told["scores"]["code"]) == {"probe", "knn", "nmi", "ari", "purity"}


def test_features_of_one_picture_need_no_code(tmp_path: Path, command: Command) -> None:
    picture = noisy(tmp_path / "a.png", 40, 40)
    command.done("embed", "photo-gray", picture, "--features", tmp_path / "maps.png")
    assert images.read(tmp_path / "maps.png").channels == 3


def test_the_command_line_refuses_in_one_line(
    classes: Path, spatial: Path, tmp_path: Path, command: Command
) -> None:
    out = tmp_path / "codes.npz"
    command.refused("embed", spatial, classes, says="give -o codes.npz")
    csv = tmp_path / "codes.csv"
    command.refused("embed", spatial, classes, "-o", csv, says="in an .npz; name it")
    command.refused("embed", "photo-gray", classes, "-o", out, says="only restores")
    command.refused("embed", "photo-grey", classes, "-o", out, says="did you mean 'photo-gray'")
    command.refused("embed", spatial, tmp_path / "none", "-o", out, says="does not exist")
    command.refused("embed", spatial, "digits", "--split", "x", "-o", out, says="unknown split")
    command.refused("embed", spatial, classes, "-o", tmp_path / "no" / "c.npz", says="create it")
    command.refused("embed", spatial, classes / "cat", "--scores", says="scores need classes")
    for option in ("--map", "--neighbours", "--strips", "--features"):
        drawn = tmp_path / "drawn.jpg"
        command.refused("embed", spatial, classes, option, drawn, says="name it")
    maps = tmp_path / "maps.png"
    command.refused("embed", spatial, classes, "--features", maps, "--json", "-", says="add -o")
    command.refused("embed", spatial, classes, "-o", "-", says="give -o a file")
    one = next(classes.rglob("*.png"))
    command.refused("embed", spatial, one, "-o", out, "--split", "train", says="has no train part")
    assert not out.exists()


def test_what_is_read_is_not_written_over(
    classes: Path, spatial: Path, tmp_path: Path, command: Command
) -> None:
    table = tmp_path / "set.npz"
    np.savez(table, images=np.zeros((3, 24, 31), np.uint8))
    inside = next(classes.rglob("*.png"))
    kept = {path: path.read_bytes() for path in (table, inside)}
    given = ("embed", spatial)
    for option in ("--map", "--neighbours", "--strips", "--features"):
        command.refused(*given, classes, option, inside, says="is there already, among what is")
    command.refused(*given, table, "-o", table, says="is one of the inputs")
    twice = tmp_path / "twice.png"
    command.refused(*given, classes, "--map", twice, "--features", twice, says="asked for twice")
    command.refused("generate", spatial, "-o", inside, "--data", classes, says="among what is read")
    command.refused(
        *("evaluate", spatial, "--data", classes, "--with", "none", "--panel", inside),
        says="among what is read",
    )
    assert {path: path.read_bytes() for path in kept} == kept
    command.done(*given, classes, "-o", classes / "new.npz")


def test_a_name_that_is_no_utf8_is_read(classes: Path, spatial: Path, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path / "odd")
    os.mkdir(folder)
    try:
        for name in (b"a\xff.png", b"b.png", b"c.png"):
            shutil.copy(next(classes.rglob("*.png")), os.path.join(folder, name))
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    embed(spatial, tmp_path / "odd").save(tmp_path / "codes.npz")
    assert len(loaded(tmp_path / "codes.npz")["codes"]) == 3


def test_codes_that_are_no_numbers_are_refused_by_name(classes: Path, spatial: Path) -> None:
    broken = checkpoints.load(spatial)
    with torch.no_grad():
        next(broken.parameters()).fill_(torch.nan)
    with pytest.raises(DataError, match=r"9 of 9 pictures are no numbers \(the first: cat/0\.png"):
        embed(broken, classes)


def test_real_pictures_of_many_sizes(real: Callable[[str], Path], spatial: Path) -> None:
    found = embed(spatial, real("set12"))
    assert len(found) == 12
    assert np.isfinite(found.codes).all()
