"""Levels are taught one after the other, and nothing else moves meanwhile."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pellucid.errors import OptionError
from pellucid.learn.checkpoints import load
from pellucid.learn.damage import parse
from pellucid.learn.models import create
from pellucid.learn.models.stacked import StackedAutoencoder
from pellucid.learn.recipes import Train
from pellucid.learn.training import Epoch, Result, train
from test_training import ROOT, data, equal

FORMS: list[dict[str, Any]] = [
    {},
    {"up": "unpool", "norm": "batch"},
    {"up": "transpose_upsample", "head": "direct", "norm": "group"},
    {"down": "stride", "up": "transpose", "code_channels": 3, "output": "linear"},
    {"down": "avg", "up": "bilinear", "code_size": 5, "image_size": 16, "loss": "bce"},
]


def made(**options: Any) -> StackedAutoencoder:
    torch.manual_seed(0)
    model = create("stacked", **({"channels": (4, 6, 8), "norm": "batch"} | options))
    assert isinstance(model, StackedAutoencoder)
    return model


def taught(
    model: StackedAutoencoder,
    folder: Path | None = None,
    *,
    resume: bool = False,
    watch: Any = None,
    damage: str = "gaussian:0.1",
    **settings: Any,
) -> Result:
    chosen = Train.model_validate({"epochs": 6, "batch": 16} | settings)
    return train(
        model,
        data(),
        parse(damage),
        chosen,
        folder=folder,
        resume=resume,
        watch=watch,
        device="cpu",
    )


def parts(model: StackedAutoencoder, name: str) -> int | None:
    """The level that a weight belongs to."""
    words = name.split(".")
    if words[0] == "encoder":
        return int(words[1])
    if words[0] == "decoder":
        return len(model.encoder) - 1 - int(words[1])
    return {"head": 0}.get(words[0], len(model.encoder))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
def test_levels_that_are_not_due_do_not_move_by_a_bit(optimizer: str) -> None:
    model = made(pretraining=0.8, code_size=5, image_size=16)
    states = [{k: v.clone() for k, v in model.state_dict().items()}]

    def keep(_: Epoch) -> None:
        states.append({k: v.clone() for k, v in model.state_dict().items()})

    # Momentum and decay would go on moving what merely has no gradient.
    settings = {"optimizer": optimizer, "weight_decay": 0.1, "ema": 0.9, "clip_gradient": 1.0}
    taught(model, watch=keep, epochs=10, **settings)
    assert model.preparing(10) == 8
    assert model.levels == 4
    starts = {k: v for k, v in states[0].items() if k != "head.bias"}
    for epoch in range(10):
        due = epoch // 2 if epoch < 8 else None
        before = starts if epoch == 0 else states[epoch]
        moved = {k for k in before if not torch.equal(before[k], states[epoch + 1][k])}
        own = {k for k in before if due is None or parts(model, k) == due}
        assert moved == own, epoch


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_level_teaches_itself_alone(form: dict[str, Any]) -> None:
    model = made(pretraining=0.5, **form)
    assert model.levels == 3 + ("code_channels" in form or "code_size" in form)
    x = torch.rand(3, 1, 16, 16)
    for level in range(model.levels):
        model.zero_grad()
        model.reach_epoch(level, 2 * model.levels)
        terms = model.loss(x, x)
        assert all(torch.isfinite(term) for term in terms.values())
        sum(terms.values()).backward()
        learning = {k for k, p in model.named_parameters() if p.grad is not None}
        assert learning == {k for k, _ in model.named_parameters() if parts(model, k) == level}


@pytest.mark.parametrize("corruption", [0.0, 0.3])
def test_resumed_in_any_epoch_it_ends_as_unbroken(corruption: float, tmp_path: Path) -> None:
    settings = {"epochs": 6, "ema": 0.9, "schedule": "cosine"}
    options = {"channels": (4, 6), "pretraining": 0.67, "corruption": corruption}
    unbroken = taught(made(**options), **settings)
    for stop in (1, 3, 4):
        folder = tmp_path / str(stop)
        folder.mkdir()

        def die(epoch: Epoch, stop: int = stop) -> None:
            if len(epoch.history) == stop + 1:  # after the best weights, before the state
                raise MemoryError

        with pytest.raises(MemoryError):
            taught(made(**options), folder, watch=die, **settings)
        resumed = taught(made(**options), folder, resume=True, **settings)
        assert equal(resumed.model, unbroken.model)
        columns = ("epoch", "train_loss", "val_loss")
        for one, other in zip(resumed.history, unbroken.history, strict=True):
            assert [one[c] for c in columns] == [other[c] for c in columns]


def test_other_epochs_would_move_the_pretraining_and_are_refused(tmp_path: Path) -> None:
    settings = {"schedule": "rsqrt", "learning_rate": 1e-3}
    taught(made(channels=(4,)), tmp_path, epochs=2, **settings)
    with pytest.raises(OptionError, match=r"epochs changed.*no pretraining"):
        taught(made(channels=(4,)), tmp_path, resume=True, epochs=4, **settings)


def test_without_pretraining_it_is_plain_training_of_the_same_architecture() -> None:
    plain = {"channels": (4, 6), "up": "nearest", "norm": "batch"}
    torch.manual_seed(0)
    other = create("conv", **plain)
    expected = taught(other, epochs=3, ema=0.9)  # type: ignore[arg-type]
    found = taught(made(pretraining=0, corruption=0.5, **plain), epochs=3, ema=0.9)
    assert found.prepared == 0
    assert equal(found.model, expected.model)
    assert [r["val_loss"] for r in found.history] == [r["val_loss"] for r in expected.history]


@pytest.mark.parametrize(
    ("share", "epochs", "due"),
    [
        (0.5, 12, "001122------"),
        (0.5, 1, "-"),
        (0.5, 2, "0-"),
        (0.5, 4, "01--"),
        (0.9, 10, "000111222-"),
        (0.99, 5, "0012-"),
        (0.0, 3, "---"),
    ],
)
def test_the_epochs_are_shared_out_evenly_and_the_whole_comes_last(
    share: float, epochs: int, due: str
) -> None:
    model = made(pretraining=share)
    found = ""
    for epoch in range(epochs):
        model.reach_epoch(epoch, epochs)
        found += "-" if model.due is None else str(model.due)
    assert found == due
    assert model.preparing(epochs) == epochs - due.count("-")


def test_pretraining_teaches_the_whole_something() -> None:
    model = made(channels=(8, 8), pretraining=0.9)
    result = taught(model, damage="none", epochs=20, learning_rate=1e-2)
    prepared = result.history[: result.prepared]
    losses = [row["val_loss"] for row in prepared]
    assert losses[-1] < 0.5 * losses[0]
    for half in (prepared[:9], prepared[9:]):
        assert half[-1]["train_loss"] < 0.7 * half[0]["train_loss"]


def test_validation_judges_the_whole_network_also_while_a_level_is_due() -> None:
    model = made()
    model.reach_epoch(0, 6)
    assert model.due == 0
    model.eval()
    x, clean = torch.rand(2, 2, 1, 16, 16)
    torch.testing.assert_close(model.loss(x, clean)["mse"], (model(x) - clean).square().mean())


def test_no_epoch_of_pretraining_is_the_best_or_counts_for_patience(tmp_path: Path) -> None:
    model = made(channels=(4, 6), pretraining=0.5)
    whole = model.loss
    judged: list[float] = []

    def rising(damaged: Tensor, clean: Tensor, **how: Any) -> dict[str, Tensor]:
        if model.training:
            return whole(damaged, clean, **how)
        judged.append(len(judged) + 1.0)
        return {"mse": damaged.new_tensor(judged[-1])}

    model.loss = rising  # type: ignore[method-assign]
    result = taught(model, tmp_path, epochs=10, patience=2)
    assert [row["val_loss"] for row in result.history] == [1.0, 2, 3, 4, 5, 6, 7, 8]
    assert result.prepared == 5
    assert result.best["epoch"] == 6
    assert load(tmp_path).metadata["scores"]["epoch"] == 6


def test_a_run_that_breaks_off_in_pretraining_still_leaves_weights(tmp_path: Path) -> None:
    model = made(pretraining=0.9, norm="none", output="linear")
    result = taught(model, tmp_path, epochs=10, learning_rate=1e30)
    assert len(result.history) < 9
    assert not math.isfinite(result.history[-1]["val_loss"])
    assert result.best["epoch"]
    assert load(tmp_path).metadata["scores"]["epoch"] == len(result.history)


def test_corruption_comes_from_the_generator_alone() -> None:
    model = made(corruption=0.5, norm="none")
    x = torch.rand(2, 1, 16, 16)
    for epoch in (0, 2, 4):
        model.reach_epoch(epoch, 12)
        losses = []
        for seed in (1, 1, 2):
            chance = torch.Generator().manual_seed(seed)
            torch.rand(1)  # the global generator must not matter
            losses += [term.item() for term in model.loss(x, x, generator=chance).values()]
        assert losses[0] == losses[1] != losses[2]


@pytest.mark.slow
def test_two_processes_pretrain_what_one_pretrains(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(
        f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT / "tests")!r})
from test_stacked import data, made, parse, train, Train
train(made(norm="none"), data(), parse("none"), Train(epochs=6, batch=16, precision="float32"),
      folder=Path(sys.argv[1]), device="cpu", devices=2)
"""
    )
    folder = tmp_path / "run"
    folder.mkdir()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    environment = {k: v for k, v in environment.items() if not k.startswith("PYTEST")}
    subprocess.run(
        [sys.executable, str(script), str(folder)], env=environment, check=True, timeout=200
    )
    one = taught(made(norm="none"), damage="none", precision="float32")
    both = load(folder).state_dict()
    for name, weight in one.model.state_dict().items():
        torch.testing.assert_close(both[name], weight, rtol=1e-3, atol=1e-4)
