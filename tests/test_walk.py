"""Promises of restore/walk.py: each input has an output of its own, and none is an input."""

from __future__ import annotations

from pathlib import Path

import pytest

from pellucid.errors import ImageError, OptionError
from pellucid.restore.walk import plan, reason


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("a.png", "b.png", "deep/a.png"):
        (tmp_path / "in" / name).write_bytes(b"\x89PNG\r\n\x1a\n")
    return tmp_path / "in"


def targets(jobs: list, out: Path) -> list[str]:
    return [Path(job.target).relative_to(out).as_posix() for job in jobs]


def test_a_folder_keeps_its_tree(inputs, tmp_path) -> None:
    out = tmp_path / "out"
    assert targets(plan([inputs], out), out) == ["a.png", "b.png", "deep/a.png"]
    assert targets(plan([inputs], out, suffix=".plc"), out) == ["a.plc", "b.plc", "deep/a.plc"]


def test_outputs_in_a_folder_inside_are_no_inputs(inputs) -> None:
    (inputs / "out").mkdir()
    (inputs / "out" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert len(plan([inputs], inputs / "out")) == 3


def test_no_input_is_written_over(inputs, tmp_path) -> None:
    (job,) = plan([inputs / "a.png"], inputs / "a.png")
    assert "is one of the inputs" in str(job.error)
    assert all(job.error for job in plan([inputs], inputs))
    assert not any(job.error for job in plan([inputs], inputs, suffix=".plc"))


def test_two_inputs_of_one_output_are_told(inputs, tmp_path) -> None:
    (inputs / "a.jpg").write_bytes(b"\xff\xd8\xff")
    jobs = plan([inputs], tmp_path / "out", suffix=".plc")
    told = [job.source for job in jobs if job.error]
    assert told == [str(inputs / "a.png")]
    assert not any(job.error for job in plan([inputs], tmp_path / "out"))


def test_streams_take_one_picture(inputs) -> None:
    (job,) = plan(["-"], "-")
    assert (job.source, job.target) == ("-", "-")
    with pytest.raises(OptionError, match="standard output takes one"):
        plan([inputs], "-")
    with pytest.raises(OptionError, match="standard input has no name"):
        plan(["-", inputs], inputs / "out")


def test_a_new_file_is_checked_for_what_its_name_promises(inputs, tmp_path) -> None:
    with pytest.raises(ImageError, match="names no format"):
        plan([inputs / "a.png"], tmp_path / "a.xyz")
    assert plan([inputs / "a.png"], tmp_path / "a.xyz", check=str)[0].target.endswith("a.xyz")


def test_a_reason_is_one_line_about_the_file() -> None:
    assert reason(ImageError("x.png: damaged"), "x.png") == "x.png: damaged"
    assert reason(FileNotFoundError(2, "no such file", "y.png"), "x.png") == "y.png: no such file"
    assert reason(MemoryError(), "x.png").startswith("x.png: there is not enough memory")
    assert "internal error" in reason(KeyError("k"), "x.png")


def test_no_output_leaves_its_folder_however_the_input_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for path in (tmp_path / "x.png", here / "x.png", here / "w.png"):
        path.write_bytes(b"\x89PNG\r\n\x1a\n")
    monkeypatch.chdir(here)
    assert targets(plan(["../x.png", "w.png"], "out"), Path("out")) == ["x.png", "here/w.png"]


def test_two_spellings_of_a_file_are_one_input(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inputs)
    jobs = plan(["a.png", "./a.png", "../in/a.png", "b.png"], tmp_path / "out")
    assert [job.source for job in jobs] == ["a.png", "b.png"]
    assert not any(job.error for job in jobs)


def test_outputs_inside_are_no_inputs_whatever_the_folder_is_called(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (inputs / "out").mkdir()
    (inputs / "out" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "link").symlink_to(inputs)
    monkeypatch.chdir(inputs)
    for given, out in ((".", "../in/out"), ("../link", "out"), (inputs, "../link/out")):
        assert len(plan([given], out)) == 3


def test_a_place_that_nothing_can_be_written_to_is_told_before_the_work(
    inputs: Path, tmp_path: Path
) -> None:
    (job,) = plan([inputs / "a.png"], tmp_path / "no" / "a.png")
    assert "no does not exist; create it first" in str(job.error)
    (tmp_path / "file").write_text("")
    jobs = plan([inputs], tmp_path / "file" / "out")
    assert all("is a file, not a folder" in str(job.error) for job in jobs)


def test_an_output_folder_above_the_inputs_is_none_of_an_earlier_run(
    inputs: Path, tmp_path: Path
) -> None:
    assert targets(plan([inputs], tmp_path), tmp_path) == ["a.png", "b.png", "deep/a.png"]


def test_a_new_folder_is_not_called_like_a_picture(inputs: Path, tmp_path: Path) -> None:
    both = [inputs / "a.png", inputs / "b.png"]
    for given in ([inputs], both):
        with pytest.raises(OptionError, match=r"out\.png is the name of a picture.*give -o .*out"):
            plan(given, tmp_path / "out.png")
        assert len(plan(given, f"{tmp_path / 'out.png'}/")) >= 2
    (tmp_path / "there.png").mkdir()
    assert len(plan(both, tmp_path / "there.png")) == 2
