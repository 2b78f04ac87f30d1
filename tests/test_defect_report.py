"""`detect evaluate`: a detector judged where the answers are known."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from commands import Command
from pellucid import images
from pellucid.uses import detect
from pellucid.uses.defect_report import evaluate
from pellucid.uses.defect_scores import auroc
from test_pixel_reconstruction import texture


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A woven cloth with squares of another brightness; one kind of defect has no masks."""
    top = tmp_path_factory.mktemp("product")
    chance = np.random.default_rng(0)

    def write(place: str, index: int, picture: np.ndarray) -> None:
        path = top / place / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        images.write(path, picture)

    for i in range(8):
        write("train/good", i, texture(chance))
    for i in range(4):
        write("test/good", i, texture(chance))
        spoilt, mask = texture(chance), np.zeros((64, 64), np.uint8)
        spoilt[20:30, 30:40], mask[20:30, 30:40] = 0.0, 255
        write("test/hole", i, spoilt)
        write("ground_truth/hole", i, mask)
        write("test/unmarked", i, 0.5 * texture(chance))
    return top


@pytest.fixture(scope="module")
def model(product: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / "m.safetensors"
    return detect.fit(product, out, method="pixels", size=64, steps=12).model


def test_kinds_are_judged_each_and_all(product: Path, model: Path) -> None:
    report = evaluate(model, product)
    assert [row.kind for row in report.rows] == ["hole", "unmarked", "all"]
    assert [row.n for row in report.rows] == [4, 4, 8]
    hole, unmarked, everything = report.rows
    scores = {(one["kind"], one["path"]): one["score"] for one in report.images}
    good = [value for (kind, _), value in scores.items() if kind == "good"]
    for row in (hole, unmarked):
        bad = [value for (kind, _), value in scores.items() if kind == row.kind]
        assert row.image_auroc == auroc([*good, *bad], [False] * 4 + [True] * 4)
        assert row.found == np.mean(np.array(bad) > report.threshold)
    assert hole.pixel_auroc is not None
    assert hole.pro is not None
    assert hole.pixel_auroc > 0.9
    assert 0 < hole.pro <= 1
    # Kinds without masks say nothing of pixels, and do not spoil those of the others.
    assert unmarked.pixel_auroc is unmarked.pro is None
    assert everything.pixel_auroc == hole.pixel_auroc


def test_the_table_and_the_json_tell_the_same(
    product: Path, model: Path, command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "r.json"
    said = command.done("detect", "evaluate", model, product, "--json", out)
    told = json.loads(out.read_text())
    lines = said.splitlines()
    assert lines[0].split() == ["kind", "n", "AUROC", "F1-max", "found", "pixel", "AUROC", "pixel",
                                "F1-max", "PRO"]  # fmt: skip
    assert list(told["rows"]) == ["hole", "unmarked", "all"]
    for line, (kind, row) in zip(lines[1:], told["rows"].items(), strict=False):
        assert line.split()[:3] == [kind, str(row["n"]), f"{row['image_auroc']:.3f}"]
    assert lines[2].split()[-3:] == ["-", "-", "-"]
    assert "of 4 good pictures are above the threshold" in lines[4]
    assert lines[5].startswith("4 pictures with defects have no mask")
    assert told["unmarked"] == 4
    assert len(told["images"]) == 12
    assert told["images"][0]["path"] == "test/good/000.png"


def test_a_mask_that_does_not_fit_is_named_and_the_rest_is_judged(
    product: Path, model: Path, command: Command
) -> None:
    place = product / "ground_truth" / "hole" / "002.png"
    whole = place.read_bytes()
    images.write(place, np.zeros((3, 3), np.uint8))
    try:
        said = command("detect", "evaluate", model, product)
    finally:
        place.write_bytes(whole)
    assert said.code == 2
    assert len(said.complaints) == 1
    assert "002.png: the mask is 3x3 but its picture is 64x64" in said.err
    assert said.out.splitlines()[1].split()[:2] == ["hole", "3"]


def test_a_kind_that_is_called_all_is_refused(
    product: Path, model: Path, tmp_path: Path, command: Command
) -> None:
    shutil.copytree(product / "test" / "good", tmp_path / "test" / "good")
    shutil.copytree(product / "test" / "hole", tmp_path / "test" / "all")
    command.refused("detect", "evaluate", model, tmp_path, says="a kind of defect is called 'all'")


def test_a_folder_without_answers_is_refused(product: Path, model: Path, command: Command) -> None:
    command.refused("detect", "evaluate", model, product / "train", says="has no test")
