"""Promises of restore/unfinished.py: a killed run goes on where it was, another begins anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import networks
from pellucid import images
from pellucid.images import Picture
from pellucid.restore import files
from pellucid.restore.files import denoise_files
from pellucid.restore.results import report
from pellucid.restore.unfinished import Unfinished

PAGES = 5


def sheet(number: int, dtype: str = "uint8") -> Picture:
    samples = np.random.default_rng(number).integers(0, 256, (30, 40, 1)).astype(dtype)
    return Picture(samples, page=(number, PAGES), dpi=(150, 150))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_page_comes_back_as_it_was_kept(tmp_path: Path, dtype: str) -> None:
    before = sheet(2, dtype)
    samples = before.samples[::-1].copy()
    if dtype == "float32":
        samples[0, 0] = np.nan
    clean = replace(
        before, samples=samples, alpha=samples[..., 0], icc=b"profile", derivation="Made so."
    )
    store = Unfinished.beside(tmp_path / "out.tif", {"a": [1, "b"]})
    assert store.find(before) is None
    store.keep(before, clean, {"sigma": 0.25})
    found = store.find(before)
    assert found is not None
    page, told = found
    assert told == {"sigma": 0.25}
    assert page.samples.dtype == np.dtype(dtype)
    assert np.array_equal(page.samples, samples, equal_nan=dtype == "float32")
    assert page.alpha is not None
    assert (page.icc, page.bits, page.derivation) == (b"profile", clean.bits, "Made so.")
    assert (page.dpi, page.page) == (before.dpi, before.page)
    assert store.find(sheet(3)) is None
    store.clear()
    assert not list(tmp_path.iterdir())


def test_a_page_that_did_not_change_is_not_stored_twice(tmp_path: Path) -> None:
    before = replace(sheet(0), untouched="typeset")
    store = Unfinished.beside(tmp_path / "out.pdf", {})
    store.keep(before, before, {})
    found = store.find(before)
    assert found is not None
    assert found[0] is before
    assert next(store.folder.iterdir()).stat().st_size < 2000


def test_what_was_made_otherwise_or_is_damaged_is_not_taken(tmp_path: Path) -> None:
    store = Unfinished.beside(tmp_path / "out.tif", {"strength": 1.0})
    store.keep(sheet(0), sheet(1), {})
    assert Unfinished(store.folder, {"strength": 0.5}).find(sheet(0)) is None
    (kept,) = store.folder.iterdir()
    content = kept.read_bytes()
    for damaged in (b"", b"no archive", content[: len(content) // 2], content[40:]):
        kept.write_bytes(damaged)
        assert store.find(sheet(0)) is None
    changed = bytearray(content)
    changed[len(content) // 3] ^= 0xFF
    kept.write_bytes(bytes(changed))
    found = store.find(sheet(0))
    assert found is None or np.array_equal(found[0].samples, sheet(1).samples)


def test_a_place_that_cannot_be_written_costs_time_and_nothing_else(tmp_path: Path) -> None:
    store = Unfinished.beside(tmp_path / "nowhere" / "out.tif", {})
    store.keep(sheet(0), sheet(1), {})
    assert store.find(sheet(0)) is None
    assert not list(tmp_path.iterdir())


@pytest.fixture
def work(tmp_path: Path) -> dict[str, Any]:
    """A file of five pages, and the options of a run over it."""
    images.write(tmp_path / "scans.tif", [sheet(number) for number in range(PAGES)])
    model = networks.box(tmp_path / "soft.onnx", channels=1, radius=1, depth=1)
    (tmp_path / "out").mkdir()
    return {
        "inputs": [tmp_path / "scans.tif"],
        "out": tmp_path / "out" / "clean.tif",
        "model": model,
    }


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], list[int]]:
    """Watch which pages go through the network, and stop the run before one of them."""
    real = files.restore_picture

    def watch(stop: int | None) -> list[int]:
        seen: list[int] = []

        def look(picture: Picture, *given: Any, **named: Any) -> Picture:
            if picture.page[0] == stop:
                raise KeyboardInterrupt
            seen.append(picture.page[0])
            return real(picture, *given, **named)

        monkeypatch.setattr(files, "restore_picture", look)
        return seen

    return watch


def test_a_stopped_run_goes_on_and_ends_as_one_that_was_not(
    work: dict[str, Any], restored: Callable[[int | None], list[int]], tmp_path: Path
) -> None:
    whole = denoise_files(**{**work, "out": tmp_path / "whole.tif"})
    restored(3)
    with pytest.raises(KeyboardInterrupt):
        denoise_files(**work)
    assert not work["out"].exists()
    seen = restored(None)
    other_name = tmp_path / "out" / ".." / "scans.tif"
    results = denoise_files(**work | {"inputs": [other_name]})
    assert seen == [3, 4]
    assert {result.input for result in results} == {str(other_name)}
    assert work["out"].read_bytes() == (tmp_path / "whole.tif").read_bytes()
    assert [path.name for path in work["out"].parent.iterdir()] == ["clean.tif"]
    for one, other in zip(results, whole, strict=True):
        assert (one.sigma, one.removed, one.megapixels) == (
            other.sigma,
            other.removed,
            other.megapixels,
        )
    assert [bool(result.warnings) for result in results] == [False] * 3 + [True, False]
    assert "3 pages" in results[3].warnings[0]
    json.dumps(report(results, "soft"))


@pytest.mark.parametrize(
    "change", [{"strength": 0.5}, {"binarize": True}, {"ensemble": True}, "source", "model"]
)
def test_another_run_begins_anew(
    work: dict[str, Any],
    restored: Callable[[int | None], list[int]],
    change: dict[str, Any] | str,
    tmp_path: Path,
) -> None:
    restored(3)
    with pytest.raises(KeyboardInterrupt):
        denoise_files(**work)
    if change == "source":
        images.write(tmp_path / "scans.tif", [sheet(n + 9) for n in range(PAGES)])
        change = {}
    elif change == "model":
        change = {"model": networks.box(tmp_path / "other.onnx", channels=1, radius=2, depth=1)}
    seen = restored(None)
    assert isinstance(change, dict)
    denoise_files(**work | change)
    assert seen == list(range(PAGES))
    assert [path.name for path in work["out"].parent.iterdir()] == ["clean.tif"]


def test_nothing_is_left_of_a_file_that_cannot_be_done(
    work: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise images.ImageError("no space left")

    def consume(target: object, pictures: Any, **_: object) -> None:
        list(pictures)
        full()

    monkeypatch.setattr(files, "write", consume)
    (result,) = denoise_files(**work)
    assert result.error == f"{result.input}: no space left"
    assert not list(work["out"].parent.iterdir())


def test_single_pictures_leave_no_folder(
    work: dict[str, Any], restored: Callable[[int | None], list[int]], tmp_path: Path
) -> None:
    images.write(tmp_path / "one.png", sheet(0).samples)
    restored(0)
    with pytest.raises(KeyboardInterrupt):
        denoise_files(
            **work | {"inputs": [tmp_path / "one.png"], "out": tmp_path / "out" / "1.png"}
        )
    assert not list(work["out"].parent.iterdir())
