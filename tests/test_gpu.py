"""Every kind of network learns on a CUDA device, and gives there what it gives on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pellucid.learn import checkpoints
from pellucid.learn.damage import parse
from pellucid.learn.datasets import Dataset
from pellucid.learn.lesson import Row
from pellucid.learn.models import MODELS, create
from pellucid.learn.pictures import Pictures
from pellucid.learn.recipes import Train
from pellucid.learn.training import Epoch, train
from pellucid.report.runs import fit
from pellucid.restore.denoise import denoise

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

SMALL: dict[str, dict[str, object]] = {
    "pretrained": {"stages": 2, "weights": "random"},
    "factorized": {"channels": (4, 5, 6), "latents": 3},
    "hyperprior": {"channels": (4, 5, 6), "latents": 5, "hyper_latents": 3},
}


def pictures(count: int, channels: int, seed: int) -> Pictures:
    """Smooth pictures of 32x32, of different sizes around it, so that crops are cut."""
    chance = np.random.default_rng(seed)
    sides = chance.integers(32, 48, (count, 2))
    made = []
    for high, wide in sides:
        rows, columns = np.arange(high)[:, None], np.arange(wide)
        waves = chance.uniform(0.05, 0.5, (2, channels))
        picture = np.stack([np.sin(a * rows) * np.cos(b * columns) for a, b in waves.T], axis=-1)
        made.append((127 + 120 * picture).astype(np.uint8))
    return Pictures.from_arrays(made)


def dataset(channels: int) -> Dataset:
    return Dataset("waves", *(pictures(32, channels, seed) for seed in range(3)))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", sorted(MODELS))
def test_every_kind_learns_on_the_gpu_and_answers_on_the_cpu(
    kind: str, precision: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = create(kind, **SMALL.get(kind, {"channels": (8, 12)}))
    damage = parse("mask:0.5" if model.fills_holes else "gaussian:0..0.2")
    settings = Train(
        epochs=3, steps=8, batch=8, crop=32, flipped=True, optimizer="muon", ema=0.9,
        precision=precision,  # type: ignore[arg-type]
    )  # fmt: skip
    made = train(
        model, dataset(model.image_channels), damage, settings, folder=tmp_path, device="cuda"
    )
    assert made.device.startswith("cuda")
    losses = [row["val_loss"] for row in made.history]
    assert np.isfinite(losses).all()
    if kind != "hyperprior":  # it needs more steps to begin with
        assert min(losses[1:]) < losses[0]
    kept = checkpoints.load(tmp_path)
    x = torch.rand(2, model.image_channels, 32, 32)
    with torch.inference_mode():
        here, there = kept(x), kept.cuda()(x.cuda()).cpu()
    torch.testing.assert_close(there, here, rtol=5e-3, atol=5e-3)


def test_a_run_cut_short_on_the_gpu_goes_on_where_it_was(tmp_path: Path) -> None:
    def run(folder: Path, watch: Callable[[Epoch], None] | None = None) -> list[Row]:
        folder.mkdir(exist_ok=True)
        torch.manual_seed(0)
        model = create("unet", channels=(8, 12))
        chosen = Train(epochs=4, steps=8, batch=8, crop=32, optimizer="muon", ema=0.9)
        return train(
            model, dataset(1), parse("gaussian:0.1"), chosen,
            folder=folder, resume=True, device="cuda", watch=watch,
        ).history  # fmt: skip

    def stop(epoch: Epoch) -> None:
        if len(epoch.history) == 3:
            raise RuntimeError("cut short")

    with pytest.raises(RuntimeError, match="cut short"):
        run(tmp_path / "cut", stop)
    again, whole = run(tmp_path / "cut"), run(tmp_path / "whole")
    assert [row["epoch"] for row in again] == [1, 2, 3, 4]
    losses = [[row["val_loss"] for row in rows] for rows in (again, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_the_same_crops_are_cut_on_the_gpu() -> None:
    here = pictures(16, 3, seed=5)
    there = here.to("cuda")
    for size in (24, (20, 28)):
        cut = [
            part.crops(torch.arange(16), size, generator=torch.Generator().manual_seed(3))[0].cpu()
            for part in (here, there)
        ]
        torch.testing.assert_close(*cut, rtol=0, atol=1e-7)


def test_a_checkpoint_cleans_on_the_gpu_what_it_cleans_on_the_cpu(tmp_path: Path) -> None:
    model = create("unet", channels=(8, 12))
    train(model, dataset(1), parse("gaussian:0.1"), Train(epochs=1, crop=32), folder=tmp_path)
    noisy = np.random.default_rng(0).random((70, 90), dtype=np.float32)
    here, there = (denoise(noisy, model=tmp_path, device=device) for device in ("cpu", "cuda"))
    assert float(np.abs(here - there).max()) < 0.01


def test_a_whole_run_on_the_gpu_ends_with_its_report_and_its_model_at_home(tmp_path: Path) -> None:
    made = fit(
        create("unet", channels=(8, 12)), dataset(1), "gaussian:0.1", out=tmp_path / "run",
        device="cuda", epochs=2, steps=4, batch=8, crop=32,
    )  # fmt: skip
    assert (tmp_path / "run" / "report.json").is_file()
    assert next(made.model.parameters()).device.type == "cpu"
