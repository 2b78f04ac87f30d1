"""The command line keeps its contracts: streams, exit codes, files, JSON."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import pellucid
from commands import Command, command_line, environment, noisy, process, samples, tree, untrained
from networks import box
from pellucid import cli, images
from pellucid.cli import networks

VERBS = sorted(command.callback.__name__ for command in cli.app.registered_commands)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture(scope="module")
def soft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of known answer, in ONNX."""
    return box(tmp_path_factory.mktemp("soft") / "soft.onnx", radius=1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(tmp_path_factory.mktemp("checkpoint") / "small.safetensors")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for i, name in enumerate(("1.png", "2.png", "deep/1.png")):
        noisy(tmp_path / "scans" / name, seed=i)
    return tmp_path / "scans"


# Help


def test_the_verbs_are_those_of_the_design() -> None:
    assert set(VERBS) >= {"demo", "denoise", "damage", "train", "evaluate", "export", "models"}


def test_without_arguments_there_is_help(command: Command) -> None:
    assert command.done() == command.done("--help") == command.done("-h")
    assert all(f"\n  {verb} " in command.done() for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_and_option_has_help(verb: str, command: Command) -> None:
    told = command.done(verb, "--help")
    assert f"Usage: pellucid {verb} " in told
    assert "....." not in told
    listed = re.split(r"\n  (?=-)", told.partition("Options:")[2])[1:]
    assert listed
    for option in listed:
        assert re.search(r"\S\s{2,}[A-Z]\w*", option), f"{verb}: no help for {option!r}"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["denois"], "Did you mean 'denoise'"),
        (["denoise", "a.png", "-o", "b.png", "--modl", "x"], "--model"),
        (["denoise"], "INPUT"),
        (["denoise", "a.png"], "--out"),
        (["denoise", "a.png", "-o", "b.png", "--device", "tpu"], "'tpu'"),
        (["denoise", "a.png", "-o", "b.png", "--jobs", "many"], "--jobs"),
        (["denoise", "a.png", "-o", "b.png", "--jobs", "0"], "at least 1"),
        (["denoise", "a.png", "-o", "b.png", "--strength", "7"], "strength"),
        (["train", "digits", "-o", "run", "--devices", "0"], "--devices"),
        (["train", "digits"], "--out"),
    ],
)
def test_what_is_mistyped_is_told_in_one_line(
    given: list[str], says: str, command: Command
) -> None:
    command.refused(*given, says=says)


def test_a_mistake_of_ours_is_not_blamed_on_the_user(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(name: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(networks, "_show_model", wrong)
    monkeypatch.setattr("sys.argv", ["pellucid", "models", "x"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


# denoise


def test_one_picture_python_and_command_line_agree(
    scans: Path, tmp_path: Path, soft: Path, command: Command
) -> None:
    out = tmp_path / "clean.png"
    told = command.done("denoise", scans / "1.png", "-o", out, "--model", soft)
    assert re.fullmatch(
        rf"{re.escape(str(out))}: noise \d+\.\d/255, \d+\.\d/255 removed, \d+\.\d\d s\n", told
    )
    python = pellucid.denoise(scans / "1.png", model=soft)
    assert np.array_equal(samples(out), np.rint(np.clip(python, 0, 1) * 255).astype(np.uint8))
    half = tmp_path / "half.png"
    command.done("denoise", scans / "1.png", "-o", half, "--model", soft, "--strength", "0")
    assert np.array_equal(samples(half), samples(scans / "1.png"))


def test_streams_carry_the_picture_and_nothing_else(scans: Path, soft: Path) -> None:
    given = (scans / "1.png").read_bytes()
    done = process("denoise", "-", "-o", "-", "--model", soft, input=given)
    assert done.returncode == 0
    assert samples(done.stdout).shape == samples(given).shape
    assert done.stderr.decode().startswith("-: noise ")
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_keeps_its_tree_and_is_not_done_twice(
    scans: Path, tmp_path: Path, soft: Path, command: Command
) -> None:
    out = tmp_path / "out"
    given = ("denoise", scans, "-o", out, "--model", soft)
    assert command.done(*given) == "3 restored\n"
    assert tree(out) == tree(scans)
    (out / "2.png").unlink()
    before = {name: (out / name).stat().st_mtime_ns for name in tree(out)}
    assert command.done(*given).endswith("; 2 there already (--overwrite does it again)\n")
    assert all((out / name).stat().st_mtime_ns == when for name, when in before.items())
    assert command.done(*given, "--overwrite", "--jobs", 2) == "3 restored\n"
    assert all((out / name).stat().st_mtime_ns > when for name, when in before.items())


def test_denoise_json_is_the_contract(
    scans: Path, tmp_path: Path, soft: Path, command: Command
) -> None:
    (scans / "bad.png").write_bytes(b"no picture")
    report = tmp_path / "report.json"
    said = command("denoise", scans, "-o", tmp_path / "out", "--model", soft, "--json", report)
    assert said.code == 2
    assert said.out == "3 restored; 1 failed\n"
    assert said.complaints == [f"pellucid: {scans / 'bad.png'}: {said.err.split(': ', 2)[2]}"[:-1]]
    told = json.loads(report.read_text())
    assert set(told) == {"model", "version", "files"}
    assert told["version"] == pellucid.__version__
    wanted = ["input", "output", "sigma", "removed", "seconds", "megapixels", "warnings", "error"]
    bad = [entry for entry in told["files"] if entry["error"]]
    assert [entry["input"] for entry in bad] == [str(scans / "bad.png")]
    assert list(bad[0]) == wanted
    good = [entry for entry in told["files"] if not entry["error"]]
    assert all(list(entry) == [*wanted, "model"] for entry in good)
    assert all(entry["model"] == soft.stem for entry in good)
    assert all(entry["error"] is None and entry["warnings"] == [] for entry in good)
    assert all(0 < entry["sigma"] < 1 and entry["megapixels"] > 0 for entry in good)
    assert all(0 < entry["removed"] < 1 for entry in good)
    assert all(Path(entry["output"]).is_file() for entry in good)


def test_denoise_json_has_an_entry_for_each_page(
    tmp_path: Path, soft: Path, command: Command
) -> None:
    stack = [np.full((20, 30), 40 * i, np.uint8) for i in range(3)]
    images.write(tmp_path / "stack.tif", stack)
    report = tmp_path / "report.json"
    out = tmp_path / "out.tif"
    command.done("denoise", tmp_path / "stack.tif", "-o", out, "--model", soft, "--json", report)
    assert len(json.loads(report.read_text())["files"]) == images.count_pages(out) == 3


def test_json_on_standard_output_is_alone_there(
    scans: Path, tmp_path: Path, soft: Path, command: Command
) -> None:
    said = command("denoise", scans, "-o", tmp_path / "out", "--model", soft, "--json", "-")
    assert len(json.loads(said.out)["files"]) == 3
    assert said.err == "3 restored\n"


def test_the_answer_is_written_over_no_picture(scans: Path, soft: Path, command: Command) -> None:
    picture, out = scans / "1.png", scans / "clean.png"
    before = picture.read_bytes()
    given = ("denoise", picture, "-o", out, "--model", soft, "--json")
    command.refused(*given, picture, says="is not JSON")
    assert picture.read_bytes() == before
    assert not out.exists()
    said = command(*given, out)
    assert (said.code, "is not JSON" in said.err) == (2, True)
    assert images.read(out).kind == "png"


@pytest.mark.parametrize("verb", ["denoise", "compress", "decompress"])
def test_standard_output_takes_the_picture_or_the_answer(verb: str, command: Command) -> None:
    command.refused(verb, "a.png", "-o", "-", "--json", "-", says="not both")


def test_a_name_that_standard_output_cannot_show_stops_nothing(scans: Path, soft: Path) -> None:
    given = ("denoise", scans / "1.png", "-o", scans / "\u00fc.png", "--model", soft)
    done = subprocess.run(
        command_line(*given, "--json", scans / "told.json"),
        env=environment(PYTHONIOENCODING="ascii", PYTHONUTF8="1"),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\xfc.png" in done.stdout
    assert json.loads((scans / "told.json").read_text())["files"][0]["error"] is None


def test_the_place_of_the_answer_is_looked_at_before_the_work(
    scans: Path, tmp_path: Path, soft: Path, command: Command
) -> None:
    out = tmp_path / "out"
    given = ("denoise", scans, "-o", out, "--model", soft, "--json", tmp_path / "no" / "a.json")
    command.refused(*given, says="does not exist; create it first")
    assert not out.exists()


# damage


def test_damage_saves_pairs_that_can_be_judged(
    scans: Path, tmp_path: Path, soft: Path, command: Command
) -> None:
    out = tmp_path / "pairs"
    given = ("damage", scans, "-o", out, "--with", "gaussian:0.1")
    assert command.done(*given, "--seed", 3).startswith("3 pairs in ")
    assert tree(out / "clean") == tree(out / "damaged") == tree(scans)
    assert np.array_equal(samples(out / "clean/1.png"), samples(scans / "1.png"))
    spoilt = samples(out / "damaged/1.png")
    assert not np.array_equal(spoilt, samples(scans / "1.png"))

    shutil.rmtree(out)
    command.done(*given, "--seed", 3)
    assert np.array_equal(samples(out / "damaged/1.png"), spoilt)
    assert "3 of them there already" in command.done(*given, "--seed", 3)
    command.refused(*given, "--seed", 4, says="seed 3")
    assert np.array_equal(samples(out / "damaged/1.png"), spoilt), "what is there is kept"
    command.done(*given, "--seed", 4, "--overwrite")
    assert not np.array_equal(samples(out / "damaged/1.png"), spoilt)

    pairs = f"{out / 'damaged'}:{out / 'clean'}"
    assert "damage pairs" in command.done("evaluate", soft, "--data", pairs, "--split", "all")
    assert "--split all" in command("evaluate", soft, "--data", pairs).err


def test_damage_takes_a_data_set_and_tells_bad_files(
    scans: Path, tmp_path: Path, command: Command
) -> None:
    (scans / "bad.png").write_bytes(b"")
    said = command("damage", scans, "-o", tmp_path / "pairs", "--with", "jpeg:40")
    assert said.code == 2
    assert len(said.complaints) == 1
    assert said.out.startswith("3 pairs in ")
    assert tree(tmp_path / "pairs/damaged") == ["1.png", "2.png", "deep/1.png"]
    told = command.done("damage", "digits", "-o", tmp_path / "d", "--with", "salt_pepper:0.1")
    assert told.startswith("180 pairs in ")


# evaluate


def test_evaluate_json_is_the_contract(tmp_path: Path, checkpoint: Path, command: Command) -> None:
    file, panel = tmp_path / "scores.json", tmp_path / "panel.png"
    told = command.done(
        *("evaluate", checkpoint, "--data", "digits", "--with", "gaussian:25/255", "--limit", 12),
        *("--baselines", "--baselines-limit", 2, "--json", file, "--panel", panel),
    )
    scores = json.loads(file.read_text())
    keys = ("data", "damage", "clipped", "n", "damaged", "restored", "baselines", "images")
    assert set(keys) <= set(scores)
    assert (scores["data"], scores["damage"]) == ("digits", "gaussian:25/255")
    assert (scores["clipped"], scores["n"], len(scores["images"])) == (True, 12, 12)
    for one in (scores["damaged"], scores["restored"], scores["baselines"]["median"]):
        assert all(isinstance(one[key], float) for key in ("psnr", "ssim", "rmse", "mae"))
    assert "PSNR" in told
    assert "median" in told
    assert min(samples(panel).shape[:2]) > 50


def test_without_clipping_the_score_says_so(command: Command, checkpoint: Path) -> None:
    given = ("evaluate", checkpoint, "--data", "digits", "--with", "gaussian:0.4", "--limit", 9)
    clipped, raw = (
        json.loads(command(*given, "--json", "-", *more).out) for more in ((), ("--no-clip",))
    )
    assert (clipped["clipped"], raw["clipped"]) == (True, False)
    assert raw["damaged"]["rmse"] > clipped["damaged"]["rmse"]


def test_published_scores_are_told_apart(command: Command, checkpoint: Path) -> None:
    given = ("evaluate", checkpoint, "--data", "digits", "--limit", 2, "--published")
    told = json.loads(command(*given, "--with", "gaussian:25/255", "--json", "-").out)
    assert (told["protocol"], told["clipped"]) == ("published", False)
    command.refused(*given, "--with", "gaussian:0..0.2", says="one fixed Gaussian")


# train, export, models, datasets


def test_a_model_is_trained_resumed_shown_exported_and_used(
    tmp_path: Path, scans: Path, command: Command
) -> None:
    run, onnx = tmp_path / "run", tmp_path / "model.onnx"
    given = ["train", "digits", "-o", run, "--quiet"]
    for change in ("train.epochs=2", "data.limit=100", "model.channels=[4]", "model.convs=1"):
        given += ["--set", change]
    told = command.done(*given)
    assert f"model: {run / 'model.safetensors'}" in told
    assert "PSNR" in told
    assert "channels = [4]" in (run / "recipe.toml").read_text()
    weights = (run / "model.safetensors").read_bytes()

    command.refused(*given, says="--resume")
    command.done(*given, "--resume")
    assert (run / "model.safetensors").read_bytes() == weights

    assert "1 x 64 x 64" in command.done("models", run)
    told = command.done("export", run, "-o", onnx)
    assert float(re.search(r"at most (\S+)", told)[1]) < 1e-4
    assert 'conv {"activation"' in command.done("models", onnx)
    command.refused("export", onnx, "-o", tmp_path / "again.onnx", says="is an exported model")
    for model, out in ((run, "torch.png"), (onnx, "onnx.png")):
        command.done("denoise", scans / "1.png", "-o", tmp_path / out, "--model", model)
    one, other = (samples(tmp_path / name).astype(int) for name in ("torch.png", "onnx.png"))
    assert abs(one - other).max() <= 1


def test_progress_goes_to_standard_error(tmp_path: Path, command: Command) -> None:
    given = ["train", "digits", "-o", tmp_path / "run", "--set", "data.limit=64"]
    said = command(*given, "--set", "train.epochs=1", "--set", "model.channels=[4]")
    assert said.code == 0
    assert "epoch 1/1" in said.err
    assert "epoch 1/1" not in said.out


def test_models_lists_recipes_and_shows_what_is_named(command: Command, checkpoint: Path) -> None:
    told = command.done("models")
    assert "in the box" in told
    assert "\n  digits " in told
    assert '[model]\nname = "conv"' in command.done("models", "digits")
    assert "FLOP a pixel" in command.done("models", "unet")
    assert 'licence: "CC0"' in command.done("models", checkpoint)


def test_datasets_lists_those_of_the_table_and_those_found(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pellucid.learn.datasets import DATASETS

    noisy(tmp_path / "ours" / "scans_of_may" / "1.png")
    monkeypatch.setenv("PELLUCID_DATA", str(tmp_path))
    told = command.done("datasets")
    assert all(f"{name} " in told for name in DATASETS)
    assert "scans_of_may" in told


@pytest.mark.skipif(os.name != "posix", reason="pipes as on Unix")
@pytest.mark.parametrize("target", ["closed", "/dev/full"])
def test_a_closed_or_full_standard_output_makes_no_traceback(target: str) -> None:
    if target == "closed":
        reading, writing = os.pipe()
        os.close(reading)
    elif not Path(target).exists():
        pytest.skip("no /dev/full")
    else:
        writing = os.open(target, os.O_WRONLY)
    done = subprocess.run(
        command_line("models"), stdout=writing, stderr=subprocess.PIPE, env=environment()
    )
    os.close(writing)
    said = done.stderr.decode()
    if target == "closed":
        assert (done.returncode, said) == (0, "")
    else:
        assert done.returncode == 2
        assert said.startswith("pellucid: ")
        assert "space" in said
        assert len(said.splitlines()) == 1
