"""Whatever a user brings: one clear line, exit code 2, no traceback, nothing lost."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import struct
import subprocess
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from commands import Command, command_line, environment, noisy, samples, tree, untrained
from networks import box
from pellucid import images
from pellucid.images import files as image_files

posix = pytest.mark.skipif(os.name != "posix", reason="signals and modes as on Unix")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture(scope="module")
def soft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return box(tmp_path_factory.mktemp("soft") / "soft.onnx", radius=1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(tmp_path_factory.mktemp("checkpoint") / "small.safetensors")


# Pictures


def png(width: int, height: int, body: bytes) -> bytes:
    """A PNG whose header claims any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(kind, data) for kind, data in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    )


def truncated(path: Path) -> None:
    whole = noisy(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


BAD: dict[str, Callable[[Path], Any]] = {
    "not an image": lambda path: path.write_text("Dear Sir or Madam"),
    "zero bytes": lambda path: path.write_bytes(b""),
    "truncated": truncated,
    "a bomb": lambda path: path.write_bytes(png(50_000, 50_000, zlib.compress(bytes(10**6)))),
    "no size": lambda path: path.write_bytes(png(0, 7, zlib.compress(b""))),
    "missing": lambda path: None,
    "a folder without images": lambda path: path.mkdir(),
    "a broken link": lambda path: path.symlink_to("nowhere"),
}


@pytest.fixture(params=BAD)
def bad(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "scans" / "bad.png"
    path.parent.mkdir()
    BAD[request.param](path)
    return path


def test_a_bad_picture_is_told_in_a_line_and_an_older_output_is_kept(
    bad: Path, tmp_path: Path, soft: Path, command: Command
) -> None:
    out = noisy(tmp_path / "out.png")
    kept = out.read_bytes()
    target = tmp_path / "made" if bad.is_dir() else out
    command.refused("denoise", bad, "-o", target, "--model", soft, "--overwrite", says=str(bad))
    assert out.read_bytes() == kept
    assert not (tmp_path / "made").exists()
    command.refused("damage", bad, "-o", tmp_path / "pairs", "--with", "blur:1")
    assert not (tmp_path / "pairs").exists() or not tree(tmp_path / "pairs")


def test_a_bad_picture_stops_none_of_its_neighbours(
    bad: Path, tmp_path: Path, soft: Path, command: Command
) -> None:
    given = [noisy(bad.parent / f"{name}.png") for name in ("a", "z")]
    said = command("denoise", given[0], bad, given[1], "-o", tmp_path / "out", "--model", soft)
    assert said.code == 2
    assert len(said.complaints) == 1
    assert said.out == "2 restored; 1 failed\n"
    assert tree(tmp_path / "out") == ["a.png", "z.png"]


def test_a_bomb_is_refused_at_once(tmp_path: Path, soft: Path, command: Command) -> None:
    BAD["a bomb"](tmp_path / "bomb.png")
    began = time.process_time()
    given = ("denoise", tmp_path / "bomb.png", "-o", tmp_path / "x.png", "--model", soft)
    command.refused(*given, says="50000x50000 is 2,500,000,000 pixels")
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("shape", "suffix"),
    [((1, 1), "png"), ((3, 5000), "png"), ((5000, 3), "tif"), ((1, 1, 3), "jpg")],
)
def test_dots_and_stripes_are_pictures_too(
    shape: tuple[int, ...], suffix: str, tmp_path: Path, checkpoint: Path, soft: Path,
    command: Command,
) -> None:  # fmt: skip
    images.write(tmp_path / f"in.{suffix}", np.full(shape, 77, np.uint8))
    for model in (soft, checkpoint):
        out = tmp_path / f"{model.stem}.{suffix}"
        command.done("denoise", tmp_path / f"in.{suffix}", "-o", out, "--model", model)
        assert samples(out).shape == (*shape, 1)[:3]


def test_a_constant_picture_stays_one_inside(tmp_path: Path, soft: Path, command: Command) -> None:
    images.write(tmp_path / "in.png", np.full((30, 40), 130, np.uint8))
    told = command.done("denoise", tmp_path / "in.png", "-o", tmp_path / "o.png", "--model", soft)
    assert "noise 0.0/255" in told
    assert (samples(tmp_path / "o.png")[2:-2, 2:-2] == 130).all()


def test_values_that_are_no_numbers_stay_where_they_were_and_are_told(
    tmp_path: Path, soft: Path, command: Command
) -> None:
    given = np.random.default_rng(0).random((30, 40), dtype=np.float32)
    given[3, 4], given[20, 30] = np.nan, np.inf
    images.write(tmp_path / "in.tif", given)
    said = command("denoise", tmp_path / "in.tif", "-o", tmp_path / "out.tif", "--model", soft)
    assert said.code == 0
    assert len(said.complaints) == 1
    assert said.err.startswith(f"pellucid: {tmp_path / 'in.tif'}: ")
    out = samples(tmp_path / "out.tif")[..., 0]
    assert np.array_equal(np.isfinite(out), np.isfinite(given))


@pytest.mark.parametrize("fill", [np.nan, np.inf])
def test_a_picture_of_nothing_but_no_numbers_is_refused_or_kept(
    fill: float, tmp_path: Path, soft: Path, command: Command
) -> None:
    images.write(tmp_path / "in.tif", np.full((8, 9), fill, np.float32))
    said = command("denoise", tmp_path / "in.tif", "-o", tmp_path / "out.tif", "--model", soft)
    assert said.code in (0, 2)
    assert len(said.complaints) == 1
    assert "internal" not in said.err


# Data sets


def train(folder: object, out: Path, *changes: str) -> list[object]:
    given: list[object] = ["train", "digits", "-o", out, "--quiet"]
    short = ("train.epochs=1", "train.steps=2", "train.batch=4", "model.channels=[4]")
    for change in (f"data.name={folder}", *short, *changes):
        given += ["--set", change]
    return given


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    for i, (height, channels) in enumerate([(20, 1), (24, 3), (30, 1), (20, 3)] * 5):
        noisy(tmp_path / "mixed" / f"{i}.png", height, 22, channels, seed=i)
    return tmp_path / "mixed"


def test_mixed_sizes_are_told_and_train_as_told(
    mixed: Path, tmp_path: Path, command: Command
) -> None:
    run = tmp_path / "run"
    command.refused(*train(mixed, run), says="train.crop")
    # The way out that the message names works, in the same folder.
    assert command(*train(mixed, run, "train.crop=12")).code == 0
    assert 'name = "conv"' in (run / "recipe.toml").read_text()
    assert command(*train(mixed, tmp_path / "b", "data.size=16", "data.channels=1")).code == 0


def test_a_model_of_other_colours_is_told(mixed: Path, tmp_path: Path, command: Command) -> None:
    given = train(mixed, tmp_path / "run", "train.crop=12", "model.image_channels=1")
    command.refused(*given, says="data.channels")


@pytest.mark.parametrize("what", ["empty", "text", "missing", "one bad"])
def test_a_folder_that_cannot_be_learnt_from(what: str, tmp_path: Path, command: Command) -> None:
    folder = tmp_path / "pictures"
    if what != "missing":
        folder.mkdir()
    if what == "text":
        (folder / "notes.txt").write_text("none")
    if what == "one bad":
        for i in range(12):
            noisy(folder / f"{i}.png", seed=i)
        truncated(folder / "bad.png")
    said = command.refused(*train(folder, tmp_path / "run"))
    assert ("bad.png" if what == "one bad" else "pictures") in said
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_pairs_without_partners_are_named(
    tmp_path: Path, checkpoint: Path, command: Command
) -> None:
    for i in range(4):
        noisy(tmp_path / "noisy" / f"{i}.png", seed=i)
        noisy(tmp_path / "clean" / f"{i + 1}.png", seed=i)
    pairs = f"{tmp_path / 'noisy'}:{tmp_path / 'clean'}"
    command.refused("evaluate", checkpoint, "--data", pairs, says="0.png")
    command.refused(*train(pairs, tmp_path / "run"), says="0.png")


def test_pairs_of_different_sizes_are_named(
    tmp_path: Path, checkpoint: Path, command: Command
) -> None:
    for i in range(3):
        noisy(tmp_path / "noisy" / f"{i}.png", seed=i)
        noisy(tmp_path / "clean" / f"{i}.png", height=24 + i, seed=i)
    pairs = f"{tmp_path / 'noisy'}:{tmp_path / 'clean'}"
    command.refused("evaluate", checkpoint, "--data", pairs, "--split", "all", says="1.png")


@pytest.mark.parametrize("kind", ["not a zip", "no images", "pickled", "text"])
def test_an_npz_that_holds_no_pictures(kind: str, tmp_path: Path, command: Command) -> None:
    path = tmp_path / "data.npz"
    if kind == "not a zip":
        path.write_bytes(b"PK\x03\x04 broken")
    elif kind == "no images":
        np.savez(path, pictures=np.zeros((5, 8, 8), np.uint8))
    elif kind == "pickled":
        np.savez(path, images=np.array([{"a": 1}], dtype=object))
    else:
        np.savez(path, images=np.array(["a", "b"]))
    command.refused(*train(path, tmp_path / "run"), says="data.npz")


def test_an_animation_is_told_or_refused_where_frames_would_be_lost(
    tmp_path: Path, soft: Path, command: Command
) -> None:
    frames = [Image.new("L", (16, 16), shade) for shade in (0, 100, 200)]
    moving, mask = tmp_path / "moving.webp", tmp_path / "mask.png"
    frames[0].save(moving, save_all=True, append_images=frames[1:])
    frames[0].save(mask)
    told = command("denoise", moving, "-o", tmp_path / "still.png", "--model", soft)
    assert told.code == 0
    assert "only the first frame" in told.err
    command.refused("compress", moving, "-o", tmp_path / "a.plc", says="is an animation")
    command.refused(
        "inpaint", moving, "--mask", mask, "-o", tmp_path / "b.png", says="is an animation"
    )


# Names, keys and numbers


CODED = ("--set", "model.code_size=4", "--set")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["evaluate", "MODEL", "--data", "digitz", "--with", "blur:1"], "did you mean 'digits'"),
        (["evaluate", "MODEL", "--data", "digits", "--with", "gausian:0.1"], "'gaussian'"),
        (["evaluate", "MODEL", "--data", "digits", "--with", "gaussian:25"], "gaussian:25/255"),
        (["evaluate", "MODEL", "--data", "digits", "--with", "gaussian:x"], "'x'"),
        (["evaluate", "MODEL", "--data", "digits", "--with", "gaussian:0.3..0.1"], "0.3"),
        (["evaluate", "MODEL", "--data", "digits", "--with", ""], "empty"),
        (["evaluate", "MODEL", "--data", "digits", "--split", "tset"], "'test'"),
        (["evaluate", "MODEL", "--data", "digits", "--limit", "0"], "limit"),
        (["evaluate", "no.onnx", "--data", "digits"], "no.onnx"),
        (["damage", "digits", "-o", "pairs", "--with", "jpge:40"], "did you mean 'jpeg'"),
        (["damage", "digits", "-o", "pairs", "--with", "gaussian:50"], "gaussian:50/255"),
        (["damage", "digits", "-o", "pairs"], "--with"),
        (["damage", "digits", "-o", "pairs", "--with", "blur:1", "--seed", "-1"], "--seed"),
        (["train", "digits", "-o", ""], "empty"),
        (["denoise", "", "-o", "b.png", "--model", "MODEL"], "empty"),
        (["train", "digits", "-o", "run", "--set", "model.channels=[100000,100000]"], "memory"),
        (["denoise", "a.png", "-o", "b.png", "--model", "fotograf"], "fotograf"),
        (["denoise", "a.png", "-o", "b.png", "--model", "no/model.onnx"], "no/model.onnx"),
        (["denoise", "a.png", "-o", "b.heic", "--model", "MODEL"], "heic"),
        (["train", "digit", "-o", "run"], "did you mean 'digits'"),
        (["train", "digits", "-o", "run", "--set", "train.schedule=cosin"], "mean 'cosine'"),
        (["train", "digits", "-o", "run", "--set", "train.optimizer=adm"], "mean 'adam'"),
        (["denoise", "a.png", "-o", "b.png", "--device", "cudda"], "mean 'cuda'"),
        (["evaluate", "MODEL", "--data", "digits", "--task", "orc"], "mean 'ocr'"),
        (["export", "MODEL", "-o", "."], "this is a folder"),
        (["train", "no/recipe.toml", "-o", "run"], "there is no recipe file"),
        (["train", "digits", "-o", "run", "--set", "train.epoch=3"], "'epochs'"),
        (["train", "digits", "-o", "run", "--set", "trian.epochs=3"], "'train'"),
        (["train", "digits", "-o", "run", "--set", "epochs=3"], "train.epochs=5"),
        (["train", "digits", "-o", "run", "--set", "train.epochs=0"], "train.epochs"),
        (["train", "digits", "-o", "run", "--set", "train.epochs=many"], "train.epochs"),
        (["train", "digits", "-o", "run", "--set", "train.loss=mes"], "train.loss"),
        (["train", "digits", "-o", "run", "--set", "model.name=unett"], "did you mean 'unet'"),
        (["train", "digits", "-o", "run", "--set", "model.chanels=[4]"], "'channels'"),
        (["train", "digits", "-o", "run", "--set", "model.channels=[]"], "channels"),
        (["train", "digits", "-o", "run", "--set", "model.channels=64"], "is 64; it takes a list"),
        (["train", "digits", "-o", "run", "--set", 'model.channels=["a"]'], "a whole number"),
        (["train", "digits", "-o", "run", "--set", "model.convs=1.5"], "a whole number"),
        (["train", "digits", "-o", "run", "--set", "model.norm=3"], "'batch'"),
        (["train", "digits", "-o", "run", "--set", "train.seed=-1"], "train.seed"),
        (["train", "digits", "-o", "run", "--set", f"train.seed={10**23}"], "train.seed"),
        (["train", "digits", "-o", "run", "--set", "train.learning_rate=inf"], "learning_rate"),
        (["train", "digits", "-o", "run", "--set", "data.size=100000000"], "data.size"),
        (["train", "digits", "-o", "run", "--set", f"model.code_size={10**18}"], "code_size"),
        (["train", "digits", "-o", "run", *CODED, "model.image_size=[-4,4]"], "image_size"),
        (["train", "digits", "-o", "run", "--set", "train.start=phot"], "did you mean 'photo'"),
        (["export", "photoo", "-o", "a.onnx"], "did you mean 'photo'"),
        (["train", "digits", "-o", "run", "--set", "model.down=maxx"], "'max'"),
        (["train", "digits", "-o", "run", "--set", "damage.with=gaussian:25"], "25/255"),
        (["train", "digits", "-o", "run", "--set", "data.name=digitz"], "'digits'"),
        (["train", "digits", "-o", "run", "--set", "data.channels=2"], "data.channels"),
        (["export", "MODEL", "-o", "model.pt"], ".onnx"),
        (["export", "gone.safetensors", "-o", "model.onnx"], "gone.safetensors"),
        (["models", "digist"], "did you mean 'digits'"),
        (["models", "gone.safetensors"], "gone.safetensors"),
    ],
)
def test_an_unknown_name_or_number_is_told_with_the_nearest_known(
    given: list[str], says: str, checkpoint: Path, command: Command, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    noisy(tmp_path / "a.png")
    words = [str(checkpoint) if word == "MODEL" else word for word in given]
    command.refused(*words, says=says)
    assert tree(tmp_path) in (["a.png"], ["a.png", "run/recipe.toml"])


# Full and read-only disks


class Full:
    """A file on a disk that is full after some bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: Any) -> int:
        self.room -= memoryview(data).nbytes
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return int(self.file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two pictures in the test's folder, and then no space for anything else."""
    for name in ("in.png", "out.png"):
        noisy(tmp_path / name)
    whole = image_files.atomic

    @contextmanager
    def full(path: str | Path) -> Iterator[Any]:
        with whole(path) as file:
            yield Full(file, 100)

    from pellucid.learn import checkpoints
    from pellucid.report import panel, plots, runs
    from pellucid.uses import packing

    for module in (image_files, images, checkpoints, runs, panel, plots, packing):
        monkeypatch.setattr(module, "atomic", full)


@pytest.mark.parametrize(
    "given",
    [
        ["denoise", "in.png", "-o", "out.png", "--model", "MODEL", "--overwrite"],
        ["denoise", "in.png", "-o", "deep/folder/", "--model", "MODEL"],
        ["damage", "in.png", "-o", "pairs", "--with", "blur:1"],
        [
            "evaluate",
            "MODEL",
            "--data",
            "digits",
            "--with",
            "none",
            "--limit",
            "3",
            "--json",
            "scores.json",
        ],
        [
            "evaluate",
            "MODEL",
            "--data",
            "digits",
            "--with",
            "none",
            "--limit",
            "3",
            "--panel",
            "panel.png",
        ],
    ],
)
def test_a_full_disk_leaves_whole_files_only(
    given: list[str], tmp_path: Path, soft: Path, command: Command, full_disk: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    before = {name: Path(name).read_bytes() for name in tree(tmp_path)}
    words = [str(soft) if word == "MODEL" else word for word in given]
    command.refused(*words, says="space")
    assert {name: Path(name).read_bytes() for name in tree(tmp_path)} == before


def test_a_full_disk_is_told_once_and_nothing_more_is_tried(
    tmp_path: Path, soft: Path, command: Command, full_disk: None
) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in range(5):
        (scans / f"{number}.png").write_bytes((tmp_path / "in.png").read_bytes())
    for words in (
        ["denoise", scans, "-o", tmp_path / "out", "--model", soft],
        ["damage", scans, "-o", tmp_path / "pairs", "--with", "blur:1"],
        ["compress", scans, "-o", tmp_path / "small"],
    ):
        told = command(*words)
        assert told.code == 2
        assert told.err.count("no space left") == 1
        assert "4 more were not tried" in told.err
        assert len(told.err.splitlines()) == 2
    answer = command("denoise", scans, "-o", tmp_path / "out", "--model", soft, "--json", "-")
    files = json.loads(answer.out)["files"]
    assert ["not tried" in file["error"] for file in files] == [False] + 4 * [True]


def test_a_full_disk_ends_training_in_a_line(
    tmp_path: Path, command: Command, full_disk: None
) -> None:
    given = train("digits", tmp_path / "run", "data.limit=50")
    command.refused(*given, says="space")
    assert tree(tmp_path / "run") == []


def test_a_disk_that_fills_up_keeps_the_last_whole_state(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lightning.pytorch as pl

    save = pl.Trainer.save_checkpoint

    def fails_at_the_second(trainer: pl.Trainer, path: Path, *more: Any, **how: Any) -> None:
        save(trainer, path, *more, **how)
        if trainer.current_epoch == 1:
            Path(path).write_bytes(Path(path).read_bytes()[:1000])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    run, unbroken = tmp_path / "run", tmp_path / "unbroken"
    changes = ("data.limit=50", "train.epochs=3")
    assert command(*train("digits", unbroken, *changes)).code == 0
    with monkeypatch.context() as patched:
        patched.setattr(pl.Trainer, "save_checkpoint", fails_at_the_second)
        command.refused(*train("digits", run, *changes), says="space")
    assert command(*train("digits", run, *changes), "--resume").code == 0
    assert weights(run) == weights(unbroken)
    assert tree(run) == tree(unbroken)


def weights(run: Path) -> dict[str, bytes]:
    from pellucid.learn.checkpoints import load

    return {name: value.numpy().tobytes() for name, value in load(run).state_dict().items()}


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_device_is_told(tmp_path: Path, soft: Path, command: Command) -> None:
    picture = noisy(tmp_path / "in.png", 200, 200)
    given = ("denoise", picture, "-o", "/dev/full", "--model", soft)
    command.refused(*given, "--overwrite", says="space")
    given = ("evaluate", soft, "--data", "digits", "--with", "none", "--limit", 2)
    command.refused(*given, "--json", "/dev/full", says="space")


@posix
@pytest.mark.parametrize(
    "given",
    [
        ["denoise", "in.png", "-o", "closed/out.png", "--model", "MODEL"],
        ["denoise", "in.png", "-o", "closed/deeper/", "--model", "MODEL"],
        ["damage", "in.png", "-o", "closed/pairs", "--with", "blur:1"],
        ["train", "digits", "-o", "closed/run"],
        ["demo", "-o", "closed/demo"],
        [
            "evaluate",
            "MODEL",
            "--data",
            "digits",
            "--with",
            "none",
            "--limit",
            "3",
            "--json",
            "closed/a.json",
        ],
    ],
)
def test_a_read_only_target_is_told(
    given: list[str], tmp_path: Path, soft: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    noisy(tmp_path / "in.png")
    closed = tmp_path / "closed"
    closed.mkdir()
    if os.geteuid() == 0:  # root may write anywhere, so the system has to say no by itself
        closed.rmdir()
        closed.symlink_to("/proc/self", target_is_directory=True)
    else:
        closed.chmod(0o500)
    words = [str(soft) if word == "MODEL" else word for word in given]
    command.refused(*words, says="closed")


def test_a_file_where_a_folder_is_needed(tmp_path: Path, soft: Path, command: Command) -> None:
    file = noisy(tmp_path / "file.png")
    kept = file.read_bytes()
    more = [noisy(tmp_path / "in" / f"{i}.png") for i in range(2)]
    command.refused("denoise", *more, "-o", file, "--model", soft)
    command.refused("damage", more[0], "-o", file, "--with", "blur:1")
    command.refused("train", "digits", "-o", file)
    command.refused("demo", "-o", file)
    command.refused("denoise", file, "-o", file, "--model", soft, "--overwrite", says="inputs")
    assert file.read_bytes() == kept


# Models


def test_a_checkpoint_of_another_version(
    tmp_path: Path, checkpoint: Path, command: Command
) -> None:
    raw = checkpoint.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + size])
    told = json.loads(header["__metadata__"]["pellucid"])
    header["__metadata__"]["pellucid"] = json.dumps(told | {"format": 99, "version": "9.9"})
    text = json.dumps(header).encode()
    later = tmp_path / "later.safetensors"
    later.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + size :])
    for given in uses(later, tmp_path):
        said = command.refused(*given, says="later.safetensors")
        assert "9.9" in said
        assert "99" in said


def uses(model: Path, tmp_path: Path) -> list[list[object]]:
    """Every way to open a model."""
    picture = noisy(tmp_path / "a.png")
    return [
        ["denoise", picture, "-o", tmp_path / "b.png", "--model", model],
        ["evaluate", model, "--data", "digits", "--with", "none", "--limit", 2],
        ["export", model, "-o", tmp_path / "m.onnx"],
        ["models", model],
    ]


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.trace,))


@pytest.mark.parametrize(
    "kind",
    ["empty", "truncated", "header", "random", "pickle", "torch", "huge", "zip.onnx", "json"],
)
def test_a_broken_or_hostile_checkpoint(
    kind: str, tmp_path: Path, checkpoint: Path, command: Command
) -> None:
    import torch

    path, trace = tmp_path / "model.safetensors", tmp_path / "trace"
    raw = checkpoint.read_bytes()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(raw[: len(raw) - 50])
    elif kind == "header":
        path.write_bytes(raw[:60])
    elif kind == "random":
        path.write_bytes(np.random.default_rng(0).bytes(5000))
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Hostile(trace)))
    elif kind == "torch":
        path = tmp_path / "model.pt"
        torch.save({"weights": Hostile(trace)}, path)
    elif kind == "huge":  # claims a model of a petabyte
        changed = raw.replace(b'\\"channels\\": [4]', b'\\"channels\\": [9999999]')
        assert changed != raw
        size = struct.unpack("<Q", raw[:8])[0] + len(changed) - len(raw)
        path.write_bytes(struct.pack("<Q", size) + changed[8:])
    elif kind == "zip.onnx":
        path = tmp_path / "model.onnx"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a", "b")
    else:
        path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    for given in uses(path, tmp_path):
        command.refused(*given, says=path.name)
    assert not trace.exists()
    assert not (tmp_path / "b.png").exists()
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("content", [b"", b"junk", None])
def test_a_hostile_state_is_not_resumed_from(
    content: bytes | None, tmp_path: Path, command: Command
) -> None:
    given = train("digits", tmp_path / "run", "data.limit=50")
    assert command(*given).code == 0
    state, trace = tmp_path / "run" / "last.ckpt", tmp_path / "trace"
    kept = (tmp_path / "run" / "model.safetensors").read_bytes()
    state.write_bytes(pickle.dumps(Hostile(trace)) if content is None else content)
    command.refused(*given, "--resume", says="last.ckpt")
    assert not trace.exists()
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == kept


def test_a_damaged_recipe_of_a_run_is_told(tmp_path: Path, command: Command) -> None:
    recipe = tmp_path / "recipe.toml"
    for text, says in (
        ("[model\n", "not valid TOML"),
        ("[model]\nname = 'conv'\n[data]\nname = 3\n", "data.name"),
        ("[data]\nname = 'digits'\n", "[model]"),
        ("model = 3\n", "[model]"),
        ("[model]\nname = 'conv'\n", "data"),
        ("\x00\xff", "not valid TOML"),
    ):
        recipe.write_text(text, encoding="latin-1")
        command.refused("train", recipe, "-o", tmp_path / "run", says=says)


@posix
@pytest.mark.parametrize("verb", ["denoise", "compress"])
def test_a_pipe_without_end_that_is_no_picture_is_refused_at_once(
    verb: str, tmp_path: Path
) -> None:
    out = tmp_path / ("out.png" if verb == "denoise" else "out.plc")
    with open("/dev/zero", "rb") as endless:
        done = subprocess.run(
            command_line(verb, "-", "-o", out),
            env=environment(),
            stdin=endless,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2
    assert "not a picture that can be read" in done.stderr
    assert not out.exists()


# Ctrl-C


def interrupted(given: list[str], when: Callable[[], bool]) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, which gets Ctrl-C once `when` holds."""

    def listen() -> None:
        # What a shell starts in the background is deaf to it, and so would be its children.
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with subprocess.Popen(
        given,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listen,
    ) as process:
        until = time.monotonic() + 120
        while not when() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(given, process.returncode, out, err)


@posix
@pytest.mark.parametrize("jobs", [1, 3])
def test_ctrl_c_while_restoring_leaves_whole_files_and_the_rest_is_done_next_time(
    jobs: int, tmp_path: Path, command: Command
) -> None:
    slow = box(tmp_path / "slow.onnx", radius=6, depth=2)
    for i in range(40):
        noisy(tmp_path / "in" / f"{i:02d}.png", 300, 300, seed=i)
    out = tmp_path / "out"
    told = tmp_path / "told.json"
    given = command_line("denoise", tmp_path / "in", "-o", out, "--model", slow, "--jobs", jobs)
    given += ["--json", str(told)]
    done = interrupted(given, lambda: out.is_dir() and len(list(out.glob("[0-9]*.png"))) >= 4)
    assert (done.returncode, done.stderr) == (130, "pellucid: interrupted\n")
    there = tree(out)
    assert 4 <= len(there) < 40
    assert not [name for name in there if name.endswith(".part")]
    assert all(samples(out / name).shape == (300, 300, 1) for name in there)
    answered = json.loads(told.read_text())["files"]
    # All but what was being closed just then.
    assert {Path(one["output"]).name for one in answered} <= set(there)
    assert len(answered) >= len(there) - jobs
    # The rest is done the next time.
    kept = {name: (out / name).stat().st_mtime_ns for name in there}
    command.done("denoise", tmp_path / "in", "-o", out, "--model", slow)
    assert tree(out) == tree(tmp_path / "in")
    assert all((out / name).stat().st_mtime_ns == when for name, when in kept.items())


@posix
def test_ctrl_c_while_training_leaves_a_run_that_ends_with_the_same_weights(
    tmp_path: Path, command: Command
) -> None:
    changes = ("data.limit=200", "train.epochs=12", "train.steps=6", "train.ema=0.9")
    unbroken, run = tmp_path / "unbroken", tmp_path / "run"
    done = interrupted(
        command_line(*train("digits", run, *changes)),
        lambda: (run / "last.ckpt").exists() and (run / "epochs" / "0004.png").exists(),
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "pellucid: interrupted\n"
    assert len((run / "history.csv").read_text().splitlines()) < 13
    assert command(*train("digits", run, *changes), "--resume").code == 0
    assert command(*train("digits", unbroken, *changes)).code == 0
    assert weights(run) == weights(unbroken)
