"""Promises of restore/files.py: thousands of files, some bad, interrupted, and started again."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from networks import box
from pellucid.errors import ImageError, OptionError, PellucidError
from pellucid.images import Picture, count_pages, pages, read, write
from pellucid.restore import files
from pellucid.restore.files import denoise_files
from pellucid.restore.results import FileResult, report


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return box(tmp_path_factory.mktemp("model") / "soft.onnx", radius=1)


@pytest.fixture
def scans(tmp_path):
    """A tree of four pictures."""
    folder = tmp_path / "scans"
    for i, name in enumerate(("1.png", "2.tif", "deep/1.png", "deep/er/3.jpg")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        x = np.random.default_rng(i).integers(0, 256, (20 + i, 31, 1), dtype=np.uint8)
        write(path, Picture(x))
    return folder


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def errors(results):
    return [result.error for result in results if result.error]


def test_a_folder_becomes_a_folder_with_the_same_tree(scans, tmp_path, model):
    results = denoise_files([scans], tmp_path / "out", model=model)
    assert not errors(results)
    assert names(tmp_path / "out") == names(scans)
    assert [result.input for result in results] == [str(scans / name) for name in names(scans)]
    for result in results:
        assert read(result.output).samples.shape == read(result.input).samples.shape
        assert result.sigma > 0.05
        assert result.seconds > 0
        assert result.megapixels == pytest.approx(read(result.input).samples.size / 1e6)
    assert not np.array_equal(read(results[0].output).samples, read(results[0].input).samples)


def test_one_input_becomes_the_file_named(scans, tmp_path, model):
    (result,) = denoise_files([scans / "1.png"], tmp_path / "clean.tif", model=model)
    assert result.output == str(tmp_path / "clean.tif")
    assert read(tmp_path / "clean.tif").kind == "tiff"


@pytest.mark.parametrize("out", ["out", "out/"])
def test_a_name_without_suffix_is_a_folder(scans, tmp_path, model, out):
    (result,) = denoise_files([scans / "1.png"], f"{tmp_path}/{out}", model=model)
    assert result.error is None
    assert names(tmp_path / "out") == ["1.png"]


def test_a_suffix_that_cannot_be_written_is_refused_at_once(scans, tmp_path, model):
    with pytest.raises(PellucidError, match="heic"):
        denoise_files([scans / "1.png"], tmp_path / "clean.heic", model=model)
    assert names(tmp_path) == [f"scans/{name}" for name in names(scans)]


def test_files_of_one_name_from_several_folders_do_not_collide(scans, tmp_path, model):
    given = [scans / "1.png", scans / "deep" / "1.png", scans / "deep", scans / "1.png"]
    results = denoise_files(given, tmp_path / "out", model=model)
    assert not errors(results)
    assert names(tmp_path / "out") == ["1.png", "deep/1.png", "deep/er/3.jpg"]
    assert len(results) == 3


def test_an_input_that_is_not_there_is_told_even_where_its_output_is(scans, tmp_path, model):
    denoise_files([scans / "1.png"], tmp_path / "x.png", model=model)
    (result,) = denoise_files([scans / "none.png"], tmp_path / "x.png", model=model)
    assert "no such file" in result.error
    (result,) = denoise_files(["https://example.org/a.png"], tmp_path / "x.png", model=model)
    assert "download it first" in result.error


def test_a_second_run_skips_what_is_done(scans, tmp_path, model):
    out = tmp_path / "out"
    denoise_files([scans], out, model=model)
    (out / "2.tif").unlink()
    before = {name: (out / name).stat().st_mtime_ns for name in names(out)}
    results = denoise_files([scans], out, model=model)
    assert [result.skipped for result in results] == [True, False, True, True]
    assert not errors(results)
    assert "--overwrite" in results[0].warnings[0]
    assert all((out / name).stat().st_mtime_ns == when for name, when in before.items())
    again = denoise_files([scans], out, model=model, overwrite=True)
    assert not any(result.skipped for result in again)
    assert all((out / name).stat().st_mtime_ns > when for name, when in before.items())


def test_outputs_inside_the_input_folder_are_no_inputs(scans, model):
    for _ in range(2):
        results = denoise_files([scans], scans / "clean", model=model)
        assert len(results) == 4
    assert len(names(scans)) == 8


@pytest.mark.parametrize("jobs", [1, 3])
def test_bad_files_are_told_and_the_others_finish(scans, tmp_path, model, jobs):
    (scans / "empty.png").write_bytes(b"")
    (scans / "text.jpg").write_text("not a picture")
    whole = (scans / "1.png").read_bytes()
    (scans / "truncated.png").write_bytes(whole[: len(whole) // 2])
    given = [scans, scans / "gone.png", tmp_path / "nowhere"]
    results = denoise_files(given, tmp_path / "out", model=model, jobs=jobs)
    bad = {os.path.basename(r.input): r.error for r in results if r.error}
    assert set(bad) == {"empty.png", "text.jpg", "truncated.png", "gone.png", "nowhere"}
    assert all("\n" not in reason and "internal" not in reason for reason in bad.values())
    # Nothing half-written is left.
    assert len(names(tmp_path / "out")) == 4
    assert all(r.sigma is None and r.megapixels is None for r in results if r.error)


def test_a_folder_without_pictures_is_told(tmp_path, model):
    (tmp_path / "none").mkdir()
    (result,) = denoise_files([tmp_path / "none"], tmp_path / "out", model=model)
    assert "no pictures" in result.error


@pytest.mark.parametrize("jobs", [1, 4])
def test_the_order_is_that_of_the_inputs(tmp_path, model, jobs):
    sides = [400, 10, 300, 10, 200, 10]
    given = []
    for i, side in enumerate(sides):
        given.append(tmp_path / "in" / f"{i}.png")
        given[-1].parent.mkdir(exist_ok=True)
        write(given[-1], np.zeros((side, side), np.uint8))
    results = denoise_files(given, tmp_path / "out", model=model, jobs=jobs)
    assert [result.input for result in results] == [str(path) for path in given]


def test_jobs_change_no_pixel(scans, tmp_path, model):
    denoise_files([scans], tmp_path / "one", model=model, jobs=1)
    denoise_files([scans], tmp_path / "four", model=model, jobs=4)
    for name in names(scans):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "four" / name).read_bytes()


def test_inputs_are_never_written_over(scans, tmp_path, model):
    before = {name: (scans / name).read_bytes() for name in names(scans)}
    link = tmp_path / "link"
    link.symlink_to(scans)
    for out in (scans, link, scans / "deep" / ".."):
        results = denoise_files([scans], out, model=model, overwrite=True)
        assert len(errors(results)) == 4
        assert "not written over" in results[0].error
    (result,) = denoise_files([scans / "1.png"], link / "1.png", model=model, overwrite=True)
    assert "not written over" in result.error
    # Not even over another input.
    given = [scans / "deep" / "1.png", scans / "1.png"]
    results = denoise_files([given[0], given[1]], scans, model=model, overwrite=True)
    assert len(errors(results)) == 2
    assert before == {name: (scans / name).read_bytes() for name in names(scans)}


def test_a_read_only_target_and_a_file_in_the_way_are_told(scans, tmp_path, model):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "deep").write_text("in the way")
    results = denoise_files([scans], tmp_path / "out", model=model)
    assert len(errors(results)) == 2
    assert all("\n" not in reason and "internal" not in reason for reason in errors(results))
    with pytest.raises(OptionError, match="is a file"):
        denoise_files([scans], tmp_path / "out" / "deep", model=model)


def test_a_multi_page_tiff_keeps_its_pages(tmp_path, model):
    rng = np.random.default_rng(0)
    sheets = [Picture(rng.integers(0, 256, (20, 30 + i, 1), dtype=np.uint8)) for i in range(3)]
    write(tmp_path / "pages.tif", sheets)
    results = denoise_files([tmp_path / "pages.tif"], tmp_path / "out.tif", model=model)
    assert len(results) == 3
    assert count_pages(tmp_path / "out.tif") == 3
    assert [page.width for page in pages(tmp_path / "out.tif")] == [30, 31, 32]
    (result,) = denoise_files([tmp_path / "pages.tif"], tmp_path / "one.png", model=model)
    assert "TIFF" in result.error
    assert not (tmp_path / "one.png").exists()


def test_a_page_without_a_finite_sample_stays_and_the_others_are_done(tmp_path, model):
    x = np.random.default_rng(0).random((3, 20, 30, 1), np.float32)
    x[1] = np.nan
    write(tmp_path / "in.tif", [Picture(page) for page in x])
    results = denoise_files([tmp_path / "in.tif"], tmp_path / "out.tif", model=model)
    assert [result.kept for result in results] == [False, True, False]
    assert not errors(results)
    assert "page 2: all samples are NaN or infinite" in results[1].warnings[0]
    assert [entry.get("kept", False) for entry in report(results, "a")["files"]] == [
        False,
        True,
        False,
    ]
    made = [page.samples for page in pages(tmp_path / "out.tif")]
    assert np.isnan(made[1]).all()
    assert all((one != other).any() for one, other in zip(made[::2], x[::2], strict=True))
    write(tmp_path / "alone.tif", Picture(x[1]))
    alone = denoise_files([tmp_path / "alone.tif"], tmp_path / "never.tif", model=model)
    assert "alone.tif" in alone[0].error
    assert "no finite sample" in alone[0].error


@pytest.mark.parametrize("full", [True, False])
def test_finished_pages_wait_for_room_on_the_disk(tmp_path, model, monkeypatch, full):
    write(tmp_path / "in.tif", [Picture(np.full((9, 9, 1), n, np.uint8)) for n in (9, 99)])

    def fails(target, made, **_):
        list(made)
        raise ImageError("no room") from (OSError(28, "No space left") if full else OSError("cut"))

    monkeypatch.setattr(files, "write", fails)
    denoise_files([tmp_path / "in.tif"], tmp_path / "out.tif", model=model)
    assert (tmp_path / ".out.tif.pages").exists() == full


def test_the_threads_are_shared_by_what_there_is_to_do(tmp_path, model, monkeypatch):
    asked = []

    def opened(name, *, threads, **options):
        asked.append(threads)
        return open_twins(name, threads=threads, **options)

    open_twins = files.open_twins
    monkeypatch.setattr(files, "open_twins", opened)
    monkeypatch.setattr(files, "available_threads", lambda: 8)
    (tmp_path / "in").mkdir()
    for name in "ab":
        write(tmp_path / "in" / f"{name}.png", Picture(np.zeros((9, 9, 1), np.uint8)))
    denoise_files([tmp_path / "in" / "a.png"], tmp_path / "a.png", model=model, jobs=4)
    denoise_files([tmp_path / "in"], tmp_path / "out", model=model, jobs=4)
    assert asked == [8, 4]


@pytest.mark.parametrize(("name", "warned"), [("a.jpg", True), ("a.png", False), ("a.tif", False)])
def test_black_and_white_in_a_format_without_one_bit_is_told(tmp_path, model, name, warned):
    x = np.random.default_rng(0).integers(0, 256, (20, 30, 1), np.uint8)
    write(tmp_path / name, Picture(x))
    target = tmp_path / f"out-{name}"
    (told,) = denoise_files([tmp_path / name], target, model=model, binarize=True)
    assert any("no pictures of one bit" in note for note in told.warnings) == warned
    assert target.exists()


def test_a_suffix_that_lies_is_kept_and_so_is_what_the_file_is(tmp_path, model):
    folder = tmp_path / "in"
    folder.mkdir()
    x = np.zeros((9, 9, 3), np.uint8)
    with (folder / "photo.jpg").open("wb") as file:
        write(file, Picture(x, alpha=x[..., 0].copy()), kind="png")
    (result,) = denoise_files([folder], tmp_path / "out", model=model)
    assert result.error is None
    assert read(tmp_path / "out" / "photo.jpg").kind == "png"


def test_standard_input_and_output(monkeypatch, tmp_path, model):
    source, target = io.BytesIO(), io.BytesIO()
    x = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    write(source, Picture(x), kind="png")
    source.seek(0)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=source))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=target))
    (result,) = denoise_files(["-"], "-", model=model)
    monkeypatch.undo()
    assert (result.input, result.output, result.error) == ("-", "-", None)
    assert read(target.getvalue()).kind == "png"
    assert read(target.getvalue()).samples.shape == (20, 30, 3)


def test_standard_streams_take_one_picture(scans, tmp_path, model):
    for given in ([scans], [scans / "1.png", scans / "2.tif"]):
        with pytest.raises(OptionError, match="standard output takes one picture"):
            denoise_files(given, "-", model=model)
    for given in (["-"], ["-", scans]):
        with pytest.raises(OptionError, match="standard input has no name"):
            denoise_files(given, tmp_path / "out", model=model)


def test_progress_counts_files(scans, tmp_path, model):
    seen: list[tuple[int, int]] = []

    def progress(result: FileResult, done: int, total: int) -> None:
        seen.append((done, total))

    denoise_files([scans], tmp_path / "out", model=model, progress=progress, jobs=2)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_options_that_would_fail_every_file_fail_at_once(scans, tmp_path, model):
    out = tmp_path / "out"
    for options in (
        {"strength": 2},
        {"jobs": 0},
        {"device": "gpu"},
        {"model": "gone.onnx"},
        {"tile": 2},
    ):
        with pytest.raises(PellucidError):
            denoise_files([scans], out, **{"model": model, **options})
    with pytest.raises(OptionError, match="no input"):
        denoise_files([], out, model=model)
    assert not out.exists()


def test_an_internal_mistake_stops_one_file_only(scans, tmp_path, model, monkeypatch):
    def broken(samples):
        if samples.shape[0] == 21:
            raise ZeroDivisionError("ours")
        return 0.0

    monkeypatch.setattr(files, "estimate_sigma", broken)
    results = denoise_files([scans], tmp_path / "out", model=model)
    (reason,) = errors(results)
    assert "internal error" in reason
    assert "ZeroDivisionError" in reason


def test_no_space_left_is_told_and_leaves_nothing(scans, tmp_path, model, monkeypatch):
    def full(*_, **__):
        raise ImageError("out/1.png: no space left on the device")

    monkeypatch.setattr(files, "write", full)
    results = denoise_files([scans], tmp_path / "out", model=model)
    assert len(errors(results)) == 4


def test_the_report_has_the_documented_form():
    results = [
        FileResult("a.png", "b.png", 0.0987654321, 0.05, 1.23456789, 0.25, ("note",)),
        FileResult("c.png", None, error="bad"),
    ]
    answer = json.loads(json.dumps(report(results, "photo")))
    assert set(answer) == {"model", "version", "files"}
    assert answer["files"] == [
        {
            "input": "a.png",
            "output": "b.png",
            "sigma": 0.098765,
            "removed": 0.05,
            "seconds": 1.2346,
            "megapixels": 0.25,
            "warnings": ["note"],
            "error": None,
        },
        {
            "input": "c.png",
            "output": None,
            "sigma": None,
            "removed": None,
            "seconds": 0.0,
            "megapixels": None,
            "warnings": [],
            "error": "bad",
        },
    ]


def test_the_network_of_each_picture_is_told(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/colour.png", Picture(noise))
    write(tmp_path / "in/grey.png", Picture(noise[..., :1]))
    results = denoise_files([tmp_path / "in"], tmp_path / "out")
    assert [result.model for result in results] == ["photo", "photo-gray"]
    assert [told["model"] for told in report(results, "photo")["files"]] == ["photo", "photo-gray"]
    (kept,) = denoise_files([tmp_path / "in/grey.png"], tmp_path / "same.png", strength=0)
    assert kept.model is None


def test_a_killed_run_leaves_whole_files_only(tmp_path, model):
    folder = tmp_path / "in"
    folder.mkdir()
    x = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    for i in range(14):
        write(folder / f"{i:02}.png", Picture(x))
    script = (
        "import sys, os, signal\n"
        "from pellucid.restore.files import denoise_files\n"
        "def stop(result, done, total):\n"
        "    if done == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "denoise_files([sys.argv[1]], sys.argv[2], model=sys.argv[3], jobs=2, progress=stop)"
    )
    command = [sys.executable, "-c", script, folder, tmp_path / "out", model]
    assert subprocess.run(command, check=False).returncode < 0
    done = [path for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")]
    assert 3 <= len(done) < 14
    assert all(read(path).samples.shape == (100, 100, 3) for path in done)
    results = denoise_files([folder], tmp_path / "out", model=model)
    assert sum(result.skipped for result in results) == len(done)
    assert not errors(results)


@pytest.mark.parametrize("kind", ["jpg", "webp", "avif"])
def test_what_is_left_as_it_was_is_not_compressed_once_more(tmp_path, model, kind, scene):
    given, out = tmp_path / f"in.{kind}", tmp_path / f"out.{kind}"
    write(given, Picture(scene))
    (result,) = denoise_files([given], out, model=model, strength=0)
    assert (result.removed, out.read_bytes()) == (0, given.read_bytes())
    denoise_files([given], out, model=model, overwrite=True)
    assert out.read_bytes() != given.read_bytes()


def test_a_coarse_jpeg_takes_little_from_what_was_restored(tmp_path, model):
    slope = np.linspace(60, 200, 96)[:, None, None] + np.zeros((1, 96, 1))
    noisy = slope + np.random.default_rng(0).normal(0, 25, slope.shape)
    write(tmp_path / "in.jpg", Picture(noisy.clip(0, 255).astype(np.uint8)), quality=20)
    for name in ("out.jpg", "out.png"):
        denoise_files([tmp_path / "in.jpg"], tmp_path / name, model=model)
    lossy, whole = (read(tmp_path / name).samples.astype(float) for name in ("out.jpg", "out.png"))
    assert np.square(lossy - whole).mean() < 0.05 * np.square(whole - slope).mean()


def test_residuals_go_to_a_folder_that_is_there_and_over_no_input(scans, tmp_path, model):
    for _ in range(2):
        results = denoise_files([scans], tmp_path / "out", model=model, residual=tmp_path / "left")
        assert not errors(results)
    assert names(tmp_path / "left") == [f"{name}.tif" for name in names(scans)]
    assert all(one["skipped"] for one in report(results, "soft")["files"])
    write(scans / "1.png.tif", Picture(np.zeros((9, 9, 1), np.uint8)))
    with pytest.raises(OptionError, match="is an input or an output"):
        denoise_files([scans], tmp_path / "out", model=model, residual=scans)
    with pytest.raises(OptionError, match="give a file name inside it"):
        denoise_files([scans / "1.png"], tmp_path / "a.png", model=model, residual=scans)
    with pytest.raises(OptionError, match="needs a folder"):
        denoise_files([scans], tmp_path / "out", model=model, residual=tmp_path / "new.tif")


def test_a_numbered_residual_is_not_written_over_the_input_or_output(tmp_path, model):
    two = [Picture(np.full((20, 30, 1), n, np.uint8)) for n in (40, 90)]
    source, out = tmp_path / "in-0000.tif", tmp_path / "c-0001.tif"
    write(source, two)
    before = source.read_bytes()
    for residual in ("in.tif", "c.tif"):
        (told,) = denoise_files([source], out, model=model, residual=tmp_path / residual)
        assert "is the input or the output" in told.error
    assert source.read_bytes() == before
    assert not out.exists()


def test_what_cannot_become_black_and_white_is_told(tmp_path, model):
    x = np.random.default_rng(0).integers(0, 256, (20, 30, 1), np.uint8)
    write(tmp_path / "f.tif", Picture((x / 255).astype(np.float32)))
    write(tmp_path / "a.png", Picture(x, alpha=x[..., 0].copy()))
    for name, says in (("f.tif", "floats, which are of any unit"), ("a.png", "no transparency")):
        target = tmp_path / f"out-{name}"
        (told,) = denoise_files([tmp_path / name], target, model=model, binarize=True)
        assert sum(says in note for note in told.warnings) == 1
