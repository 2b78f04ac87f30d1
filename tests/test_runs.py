"""A run folder: what is in it, when it is refused, and that a kill costs nothing."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import pellucid
from commands import Command, command_line, environment, samples, tree
from pellucid.errors import OptionError
from pellucid.learn import checkpoints, datasets, recipes
from pellucid.learn.models import Restorer, create
from pellucid.report.runs import Run, fit, run

QUICK = (
    "data.limit=160",
    "train.epochs=4",
    "train.batch=32",
    "train.ema=0.9",
    "model.channels=[8]",
    "model.convs=1",
)


def recipe(*changes: str) -> recipes.Recipe:
    return recipes.read("digits", [*QUICK, *changes])


def arguments(out: Path, *more: str, changes: tuple[str, ...] = QUICK) -> list[str]:
    given = ["train", "digits", "-o", str(out), "--quiet", "--device", "cpu", *more]
    for change in changes:
        given += ["--set", change]
    return given


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(recipe(), tmp_path_factory.mktemp("unbroken") / "run", device="cpu")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


def folder_of(done: Run) -> Path:
    assert done.folder is not None
    return done.folder


def equal(one: Restorer, other: Restorer) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


# The folder


def test_the_folder_holds_what_the_design_says(unbroken: Run) -> None:
    assert tree(folder_of(unbroken)) == [
        "curves.png",
        *(f"epochs/{n:04d}.png" for n in range(1, 5)),
        "history.csv",
        "last.ckpt",
        "model.safetensors",
        "recipe.toml",
        "report.json",
        "test.png",
    ]


def test_the_recipe_in_the_folder_repeats_the_run(unbroken: Run, tmp_path: Path) -> None:
    kept = recipes.read(folder_of(unbroken) / "recipe.toml")
    assert kept == recipe()
    again = run(kept, tmp_path / "again", device="cpu")
    assert equal(again.model, unbroken.model)
    names = ("model.safetensors", "recipe.toml", "epochs/0004.png")
    for name in names:
        files = folder_of(again) / name, folder_of(unbroken) / name
        assert files[0].read_bytes() == files[1].read_bytes(), name


def test_the_history_has_a_row_for_each_epoch(unbroken: Run) -> None:
    with (folder_of(unbroken) / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("epoch", "train_loss", "val_loss", "val_psnr", "val_ssim", "val_rmse", "lr", "seconds")
    ]
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    assert [float(row["val_loss"]) for row in rows] == [r["val_loss"] for r in unbroken.history]


def test_panels_show_the_same_pictures_every_epoch(unbroken: Run) -> None:
    first, last = (samples(folder_of(unbroken) / f"epochs/000{n}.png") for n in (1, 4))
    assert first.shape == last.shape
    same = (first == last).all(axis=(1, 2))
    # Clean and damaged stay as they are, and only the restored rows below them change.
    assert same.mean() > 0.4
    assert not same.all()


def test_the_report_says_how_it_went(unbroken: Run) -> None:
    told = json.loads((folder_of(unbroken) / "report.json").read_text())
    assert told["epochs"] == 4
    assert told["data"] == {"train": 160, "validation": 20, "test": 20}
    assert told["advice"] == unbroken.advice
    assert told["device"] == "cpu"
    assert unbroken.test is not None
    assert told["test"]["restored"]["psnr"] == pytest.approx(unbroken.test.restored["psnr"])
    assert told["parameters"] == sum(p.numel() for p in unbroken.model.parameters())


def test_the_checkpoint_remembers_where_it_came_from(unbroken: Run) -> None:
    model = pellucid.load(folder_of(unbroken))
    assert equal(model, unbroken.model)
    assert model.metadata["data"] == "digits"
    assert "CC BY" in model.metadata["licence"]
    assert recipes.build(model.metadata["recipe"]) == recipe()
    assert set(model.metadata["scores"]) == {"validation", "test"}
    trained, loaded = (json.dumps(m.metadata, sort_keys=True) for m in (unbroken.model, model))
    assert trained == loaded


def test_seconds_of_digits_beat_the_damaged_input(tmp_path: Path, command: Command) -> None:
    changes = ("train.epochs=6", "train.batch=16", "model.convs=1")
    said = command(*arguments(tmp_path / "run", changes=changes))
    assert said.code == 0
    told = json.loads((tmp_path / "run" / "report.json").read_text())["test"]
    assert told["restored"]["psnr"] > told["damaged"]["psnr"] + 1.5
    assert told["restored"]["ssim"] > told["damaged"]["ssim"]


# Refused


def test_a_folder_with_a_run_is_refused_and_untouched(unbroken: Run) -> None:
    folder = folder_of(unbroken)
    before = {name: (folder / name).stat().st_mtime_ns for name in tree(folder)}
    with pytest.raises(OptionError, match="holds a run already; go on with it"):
        run(recipe(), folder, device="cpu")
    with pytest.raises(OptionError, match=r"begun with another \[train\]"):
        run(recipe("train.epochs=9"), folder, resume=True, device="cpu")
    with pytest.raises(OptionError, match=r"begun with another \[model\]"):
        run(recipe("model.channels=[9]"), folder, resume=True, device="cpu")
    assert {name: (folder / name).stat().st_mtime_ns for name in tree(folder)} == before


def test_a_recipe_of_the_user_s_in_the_folder_is_not_written_over(tmp_path: Path) -> None:
    own = tmp_path / "recipe.toml"
    text = "# my own words\n" + recipe("train.epochs=1").to_toml()
    own.write_text(text)
    with pytest.raises(OptionError, match="is another recipe"):
        run(recipe("train.epochs=2"), tmp_path, device="cpu")
    run(recipes.read(own), tmp_path, device="cpu")
    assert own.read_text() == text


def test_what_is_refused_leaves_a_folder_that_can_be_used(tmp_path: Path) -> None:
    with pytest.raises(pellucid.errors.PellucidError, match="crop"):
        run(recipe("train.crop=99"), tmp_path, device="cpu")
    assert tree(tmp_path) == []
    run(recipe("train.crop=8", "train.epochs=1"), tmp_path, device="cpu")


def test_a_run_that_diverges_ends_with_a_report(tmp_path: Path) -> None:
    changes = ("train.learning_rate=1e30", "train.ema=none", "model.loss='mse'")
    done = run(recipe(*changes, "model.output='linear'"), tmp_path, device="cpu")
    assert len(done.history) < 4 or np.isfinite(done.history[-1]["val_loss"])

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    for text in (
        (tmp_path / "report.json").read_text(),
        json.dumps(checkpoints.read_metadata(tmp_path / "model.safetensors")["scores"]),
    ):
        json.loads(text, parse_constant=refuse)


# Killed and resumed


def killed(out: Path, when: Callable[[], bool]) -> None:
    """The real command, killed without warning once `when` holds."""
    given = command_line(*arguments(out))
    with subprocess.Popen(given, env=environment(), stdout=subprocess.DEVNULL) as process:
        until = time.monotonic() + 120
        while not when() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "it ended before it was killed"


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_command_killed_in_the_middle_resumes_to_the_same_bytes(
    tmp_path: Path, unbroken: Run, command: Command
) -> None:
    out = tmp_path / "run"
    killed(out, lambda: (out / "last.ckpt").exists())
    assert not (out / "report.json").exists()
    command.refused(*arguments(out), says="--resume")
    told = command.done(*arguments(out), "--resume")
    assert f"model: {out / 'model.safetensors'}" in told
    whole = folder_of(unbroken)
    assert tree(out) == tree(whole)
    for name in ("model.safetensors", "recipe.toml", "epochs/0004.png"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_run_killed_in_its_first_epoch_begins_again(tmp_path: Path, unbroken: Run) -> None:
    whole = folder_of(unbroken)
    for i, names in enumerate(
        ([], ["model.safetensors"], ["model.safetensors", "recipe.toml", "history.csv"])
    ):
        out = tmp_path / str(i)
        out.mkdir()
        for name in names:
            shutil.copy(whole / name, out / name)
        if "history.csv" in names:
            rows = (whole / "history.csv").read_text().splitlines()
            (out / "history.csv").write_text("\n".join(rows[:2]) + "\n")
        (out / ".last.ckpt.part").write_bytes(b"half")
        resumed = run(recipe(), out, resume=True, device="cpu")
        assert equal(resumed.model, unbroken.model)
        assert tree(out) == tree(whole)


def test_a_run_whose_state_is_gone_is_not_begun_anew_over_its_weights(
    tmp_path: Path, unbroken: Run
) -> None:
    out = tmp_path / "run"
    shutil.copytree(folder_of(unbroken), out)
    (out / "last.ckpt").unlink()
    before = tree(out)
    with pytest.raises(OptionError, match=r"has done 4 epochs, but last\.ckpt.*train\.start="):
        run(recipe(), out, resume=True, device="cpu")
    assert tree(out) == before
    weights = (out / "model.safetensors").read_bytes()
    assert weights == (folder_of(unbroken) / "model.safetensors").read_bytes()


def test_resuming_a_finished_run_writes_the_same_again(tmp_path: Path, unbroken: Run) -> None:
    out = tmp_path / "run"
    shutil.copytree(folder_of(unbroken), out)
    (out / "report.json").unlink()  # killed between the last epoch and the report
    again = run(recipe(), out, resume=True, device="cpu")
    assert again.history == unbroken.history
    whole = folder_of(unbroken)
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert tree(out) == tree(whole)


# In Python


def test_fit_keeps_nothing_unless_asked() -> None:
    torch.manual_seed(0)
    model = pellucid.create("conv", channels=(8,), down="max", up="nearest")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    done = pellucid.fit(model, "digits", damage="gaussian:0.2", epochs=1, steps=3)
    assert (done.folder, done.test) == (None, None)
    assert done.model is model
    assert len(done.history) == 1
    assert done.advice
    assert not all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_fit_leaves_a_run_folder_that_loads(tmp_path: Path) -> None:
    data = datasets.load("digits", limit=64)
    model = create("unet", channels=(4, 8), blocks=1)
    done = fit(model, data, "gaussian:0.1", out=tmp_path / "run", epochs=1, batch=16, seed=3)
    assert done.test is not None
    loaded = pellucid.load(tmp_path / "run")
    assert equal(loaded, model)
    kept = recipes.read(tmp_path / "run" / "recipe.toml")
    assert (kept.train.seed, kept.damage.spec, kept.model["name"]) == (3, "gaussian:0.1", "unet")
    assert kept.model["channels"] == [4, 8]
    assert kept.data.channels == 1


def test_fit_names_what_it_does_not_know() -> None:
    model = create("conv", channels=(4,))
    with pytest.raises(OptionError, match="did you mean 'epochs'"):
        fit(model, "digits", epoch=3)
    with pytest.raises(OptionError, match="did you mean 'gaussian'"):
        fit(model, "digits", "gausian:0.1")
    with pytest.raises(OptionError, match="did you mean 'digits'"):
        fit(model, "digitz")
    with pytest.raises(OptionError, match="start is for recipes"):
        fit(model, "digits", start="photo-gray")


# Several processes, TensorBoard


def test_two_processes_train_and_one_writes(tmp_path: Path) -> None:
    # 33 pictures in batches of 16 leave a last batch with one picture for two processes.
    changes = ("data.limit=33", "train.epochs=2", "train.batch=16", "model.channels=[4]")
    out = tmp_path / "run"
    done = subprocess.run(
        command_line(*arguments(out, "--devices", "2", changes=changes)),
        env=environment(MASTER_ADDR="127.0.0.1"),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("model: ") == done.stdout.count("damaged ") == 1
    assert done.stderr == ""
    assert len((out / "history.csv").read_text().splitlines()) == 3
    assert not [name for name in tree(out) if name.endswith(".part")]
    both = pellucid.load(out).state_dict()
    one = run(recipes.read("digits", list(changes)), tmp_path / "one", device="cpu").model
    for name, weight in one.state_dict().items():
        assert torch.isfinite(both[name]).all()
        assert (both[name] - weight).abs().mean() < 0.05


def scalars(file: Path) -> set[str]:
    """The tags of the records in a TensorBoard file: length, two checksums, a protocol buffer."""
    from tensorboard.compat.proto.event_pb2 import Event

    raw, place, tags = file.read_bytes(), 0, set()
    while place < len(raw):
        (size,) = struct.unpack_from("<Q", raw, place)
        event = Event.FromString(raw[place + 12 : place + 12 + size])
        tags |= {value.tag for value in event.summary.value}
        place += 16 + size
    return tags


def test_tensorboard_gets_every_column(tmp_path: Path, command: Command) -> None:
    pytest.importorskip("tensorboard")
    said = command(*arguments(tmp_path / "run", "--tensorboard"))
    assert said.code == 0
    (events,) = (tmp_path / "run" / "tensorboard").glob("events.*")
    assert scalars(events) >= {"train_loss", "val_loss", "val_psnr", "val_ssim"}


def test_a_model_that_makes_pictures_worse_is_told_so(tmp_path: Path) -> None:
    # Steps that change nothing leave a model that gives the mean of the data everywhere.
    changes = ["train.epochs=1", "train.learning_rate=1e-12", "data.limit=64"]
    done = run(recipes.read("digits", changes), tmp_path / "run", device="cpu")
    before, after = done.test.damaged["rmse"], done.test.restored["rmse"]
    assert after > before
    told = f"The model makes pictures worse than they came: RMSE {after:.5f} from {before:.5f}."
    assert done.advice.startswith(told)
    assert json.loads((tmp_path / "run" / "report.json").read_text())["advice"] == done.advice
