"""Training improves, repeats itself to the last bit, and survives being killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch

from pellucid.errors import CheckpointError, DataError, OptionError
from pellucid.learn.checkpoints import load
from pellucid.learn.damage import parse
from pellucid.learn.datasets import Dataset
from pellucid.learn.lesson import Lesson, exposed, learning_rate
from pellucid.learn.models import Restorer, create
from pellucid.learn.pictures import Pictures
from pellucid.learn.recipes import Train
from pellucid.learn.training import Epoch, Result, mean_loss, train

ROOT = Path(__file__).resolve().parents[1]


def stripes(count: int, size: tuple[int, int] = (16, 16), seed: int = 0) -> Pictures:
    """Pictures that are easy to learn: stripes of random width and phase."""
    chance = np.random.default_rng(seed)
    x = np.arange(size[1])
    rows = [
        127 + 120 * np.sin(x / chance.uniform(1, 4) + chance.uniform(0, 6)) for _ in range(count)
    ]
    return Pictures.from_arrays(
        [np.tile(row, (size[0], 1))[..., None].astype(np.uint8) for row in rows]
    )


def data(count: int = 64) -> Dataset:
    return Dataset("stripes", stripes(count), stripes(16, seed=1), stripes(16, seed=2))


def small(**options: object) -> Restorer:
    torch.manual_seed(0)
    return create("conv", **({"channels": (8,), "norm": "batch"} | options))


def taught(folder: Path | None = None, *, resume: bool = False, **settings: object) -> Result:
    chosen = Train.model_validate({"epochs": 3, "batch": 16} | settings)
    return train(
        small(), data(), parse("gaussian:0.2"), chosen, folder=folder, resume=resume, device="cpu"
    )


def equal(one: Restorer, other: Restorer) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_seconds_of_training_beat_the_damaged_input() -> None:
    result = taught(epochs=12, learning_rate=5e-3)
    clean = data().test.whole(torch.arange(16))[0]
    damaged = parse("gaussian:0.2")(clean, generator=torch.Generator().manual_seed(5), clip=True)
    restored = result.model(damaged)
    assert (restored - clean).square().mean() < 0.5 * (damaged - clean).square().mean()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_same_seed_same_weights_to_the_last_bit(precision: str) -> None:
    first, second = (taught(ema=0.9, precision=precision) for _ in "12")
    assert equal(first.model, second.model)
    assert [r["val_loss"] for r in first.history] == [r["val_loss"] for r in second.history]


def test_another_seed_gives_other_weights() -> None:
    assert not equal(taught(seed=1).model, taught(seed=2).model)


@pytest.mark.parametrize(
    ("loss", "optimizer"),
    [
        *((loss, kind) for loss in ("mse", "bce", "l1") for kind in ("adam", "adamw")),
        *((loss, "muon") for loss in ("charbonnier", "psnr", "psnr+ssim")),
    ],
)
def test_every_loss_and_optimizer_learns(loss: str, optimizer: str) -> None:
    losses = [
        row["val_loss"]
        for row in taught(loss=loss, optimizer=optimizer, learning_rate=5e-3).history
    ]
    assert losses[-1] < losses[0]


def test_the_best_epoch_is_kept_and_not_the_last(tmp_path: Path) -> None:
    # A rate that is far too high makes validation jump about.
    result = taught(tmp_path, epochs=10, learning_rate=0.3)
    losses = [row["val_loss"] for row in result.history]
    assert losses.index(min(losses)) < 9, (
        "this run was meant to have its best epoch before its last"
    )
    kept = load(tmp_path)
    assert kept.metadata["scores"]["val_loss"] == min(losses)
    assert equal(kept, result.model)


def test_patience_ends_a_run_that_no_longer_improves() -> None:
    history = taught(epochs=60, learning_rate=0.3, patience=2).history
    losses = [row["val_loss"] for row in history]
    assert len(history) < 60
    assert len(losses) - 1 - losses.index(min(losses)) == 2


def test_an_epoch_may_be_a_number_of_steps() -> None:
    seen: list[Epoch] = []
    chosen = Train(epochs=2, steps=3, batch=40, crop=8, flipped=True)
    train(small(), data(), parse("none"), chosen, watch=seen.append, device="cpu")
    assert [len(epoch.history) for epoch in seen] == [1, 2]
    assert seen[0].clean.shape == seen[0].restored.shape
    assert torch.equal(seen[0].clean, seen[1].clean)
    assert torch.equal(seen[0].damaged, seen[1].damaged)


def test_real_pairs_need_no_damage() -> None:
    clean = stripes(32)
    pairs = Pictures.from_arrays(
        [np.full((16, 16, 1), i, np.uint8) for i in range(32)],
        [np.full((16, 16, 1), 255 - i, np.uint8) for i in range(32)],
    )
    seen: list[Epoch] = []
    both = Dataset("pairs", pairs, pairs, clean)
    train(small(), both, parse("none"), Train(epochs=1), watch=seen.append, device="cpu")
    torch.testing.assert_close(seen[0].damaged, 1 - seen[0].clean)


def test_the_rate_rises_then_falls() -> None:
    chosen = Train(schedule="cosine", warmup=0.1, learning_rate=1.0)
    rates = [learning_rate(chosen, done / 100) for done in range(101)]
    assert rates[0] < 0.02
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == 10
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)


def test_mean_loss_is_the_mean_over_all_pictures() -> None:
    model = small(norm="none").eval()
    pictures = stripes(300)
    clean = pictures.whole(torch.arange(300))[0]
    with torch.no_grad():
        expected = model.loss(clean, clean)["mse"].item()
    found = mean_loss(model, pictures, parse("none"), Train())
    assert found == pytest.approx(expected, rel=1e-5)


def test_large_pictures_are_judged_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = small(norm="none").eval(), []
    whole = type(model).loss

    def loss(self: Restorer, damaged: torch.Tensor, clean: torch.Tensor, **more: Any) -> Any:
        seen.append(clean.numel())
        return whole(self, damaged, clean, **more)

    monkeypatch.setattr(type(model), "loss", loss)
    mean_loss(model, stripes(12, (512, 512)), parse("none"), Train())
    mean_loss(model, stripes(12, (512, 512)), parse("none"), Train(crop=64))
    assert max(seen) <= 512 * 512


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"crop": 99}, "train.crop is 99 but the smallest picture .* 16 pixels"),
        ({"loss": "bce"}, "needs output='sigmoid'"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_step(
    settings: dict[str, object], says: str
) -> None:
    model = small(output="linear")
    with pytest.raises((DataError, OptionError), match=says):
        train(model, data(), parse("none"), Train.model_validate(settings), device="cpu")


def test_mixed_sizes_need_a_crop_and_train_with_one() -> None:
    mixed = Pictures.from_arrays(
        [np.zeros((size, 24, 1), np.uint8) for size in (20, 24, 30, 20, 26)]
    )
    both = Dataset("mixed", mixed, mixed, mixed)
    with pytest.raises(DataError, match=r"differ in size .* train\.crop"):
        train(small(), both, parse("none"), Train(epochs=1), device="cpu")
    train(small(), both, parse("none"), Train(epochs=1, crop=12), device="cpu")


@pytest.mark.parametrize(
    ("bound", "crop", "says"),
    [
        (12, None, r"larger pictures \(16x16\), but .* bound to 12x12; .*train\.crop=12"),
        ((16, 12), 16, r"train\.crop is 16 \(16x16\), but .* bound to 16x12"),
    ],
)
def test_pictures_beyond_a_dense_code_are_refused_before_the_first_step(
    bound: int, crop: int | None, says: str
) -> None:
    with pytest.raises(DataError, match=says):
        train(
            small(code_size=4, image_size=bound),
            data(),
            parse("none"),
            Train(epochs=1, crop=crop),
            device="cpu",
        )


def test_a_dense_code_is_judged_by_no_more_than_it_takes() -> None:
    larger = Dataset("larger", stripes(8, (12, 12)), stripes(4, (40, 30)), stripes(3, (20, 20)))
    done = train(
        small(code_size=4, image_size=(12, 14)),
        larger,
        parse("none"),
        Train(epochs=1),
        device="cpu",
    )
    assert np.isfinite(done.history[0]["val_psnr"])
    assert np.isfinite(mean_loss(done.model, larger.test, parse("none"), Train()))


def test_a_last_batch_of_one_is_no_end_to_batch_normalisation() -> None:
    tiny = Dataset("tiny", stripes(5, (4, 4)), stripes(3, (4, 4)), stripes(3, (4, 4)))
    narrow = {"channels": (8, 8), "down": "stride"}
    done = train(small(**narrow), tiny, parse("none"), Train(epochs=2, batch=4), device="cpu")
    assert all(np.isfinite(row["train_loss"]) for row in done.history)
    with pytest.raises(DataError, match=r"a batch of 1 of 4x4 .* set train\.batch=2 or more"):
        train(small(**narrow), tiny, parse("none"), Train(epochs=1, batch=1), device="cpu")


def test_channels_that_differ_are_named() -> None:
    with pytest.raises(DataError, match="1 channels but the model takes 3"):
        train(small(image_channels=3), data(), parse("none"), Train(), device="cpu")


def test_an_absent_device_is_named() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(OptionError, match="'cuda' is not available here; available: auto, cpu"):
        train(small(), data(), parse("none"), Train(), device="cuda")


# Interruption: a run in a process of its own, killed without warning.

KILLED = """
import os, sys, time
from pathlib import Path
from typing import Any
sys.path.insert(0, {tests!r})
from test_training import taught
taught(Path(sys.argv[1]), epochs=6, ema=0.9, schedule="cosine", resume=True)
"""


def run_killed(folder: Path, after: float | None) -> bool:
    """Train in another process, killed some seconds after its first state; True if it ended."""
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    code = KILLED.format(tests=str(ROOT / "tests"))
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], env=environment)
    if after is not None:
        waited = time.monotonic() + 60
        while not (folder / "last.ckpt").exists() and process.poll() is None:
            assert time.monotonic() < waited
            time.sleep(0.002)
        time.sleep(after)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
    return process.wait(120) == 0


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_run_killed_at_any_moment_ends_with_the_weights_of_an_unbroken_run(
    tmp_path: Path,
) -> None:
    unbroken = taught(tmp_path_of(tmp_path, "unbroken"), epochs=6, ema=0.9, schedule="cosine")
    chance = random.Random(0)
    folder = tmp_path_of(tmp_path, "killed")
    for _ in range(2):
        run_killed(folder, chance.uniform(0, 0.15))
    assert run_killed(folder, None)
    assert equal(load(folder), unbroken.model)
    states = [
        torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("unbroken", "killed")
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def tmp_path_of(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


class Drawing(Restorer):
    """Notes the seeds of the chance that its loss is given."""

    kind = "drawing"

    def __init__(self) -> None:
        super().__init__(image_channels=1, multiple_of=1, output="linear", loss="mse")
        self.layer = torch.nn.Conv2d(1, 1, 1)
        self.seeds: dict[bool, list[int]] = {True: [], False: []}

    def restore(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)

    def loss(
        self,
        damaged: torch.Tensor,
        clean: torch.Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> dict[str, torch.Tensor]:
        assert generator is not None
        self.seeds[torch.is_grad_enabled()].append(generator.initial_seed())
        return super().loss(damaged, clean, generator=generator)


def test_a_model_that_draws_gets_chance_by_seed_epoch_and_step_alone() -> None:
    def seeds(seed: int) -> dict[bool, list[int]]:
        model = Drawing()
        chosen = Train(epochs=3, batch=32, seed=seed)
        train(model, data(), parse("gaussian:0.2"), chosen, device="cpu")
        return model.seeds

    one, again, other = seeds(0), seeds(0), seeds(1)
    assert one == again
    assert len(set(one[True])) == len(one[True]) == 3 * 2
    # Validation draws the same in every epoch, lest losses differ by chance.
    assert len(one[False]) == 3
    assert len(set(one[False])) == 1
    assert not set(one[True] + one[False]) & set(other[True] + other[False])


def test_every_epoch_is_a_good_place_to_be_killed(tmp_path: Path) -> None:
    settings = {"epochs": 4, "ema": 0.9, "schedule": "cosine", "learning_rate": 0.05}
    unbroken = taught(**settings)
    for stop in (1, 2, 3):
        folder = tmp_path_of(tmp_path, str(stop))

        def die(epoch: Epoch, stop: int = stop) -> None:
            if len(epoch.history) == stop + 1:  # after the best weights, before the state
                raise MemoryError

        chosen = Train.model_validate({"batch": 16} | settings)
        with pytest.raises(MemoryError):
            train(
                small(), data(), parse("gaussian:0.2"), chosen,
                folder=folder, watch=die, device="cpu",
            )  # fmt: skip
        resumed = taught(folder, resume=True, **settings)
        assert equal(resumed.model, unbroken.model)
        assert len(resumed.history) == 4


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    first = taught(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    again = taught(tmp_path, resume=True)
    assert equal(first.model, again.model)
    assert (tmp_path / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state.pop("state_dict"),
        lambda state: state["state_dict"].update({next(iter(state["state_dict"])): torch.ones(3)}),
        lambda state: state.pop("optimizer_states"),
        lambda state: state.update(loops="x"),
        lambda state: state["pellucid"].update(history=[{"a": 1}]),
        lambda state: state["pellucid"].update(history="abc"),
        lambda state: state["pellucid"].update(history=[]),
        lambda state: state["pellucid"].update(settings=[1]),
        lambda state: state["pellucid"]["settings"].update(newer=3),
        lambda state: state["pellucid"].update(best="x"),
        lambda state: state["pellucid"].update(average=4),
    ],
)
def test_a_state_that_opens_but_does_not_fit_is_refused_in_a_line(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], object]
) -> None:
    open_ended = {"schedule": "rsqrt"}
    taught(tmp_path, epochs=2, **open_ended)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    state["pellucid"]["settings"]["epochs"] = 4
    torch.save(state, tmp_path / "last.ckpt")
    spoil(state)
    torch.save(state, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match=r"last\.ckpt cannot be resumed from") as error:
        taught(tmp_path, resume=True, epochs=4, **open_ended)
    assert "\n" not in str(error.value)


def test_resuming_with_other_settings_is_refused(tmp_path: Path) -> None:
    taught(tmp_path)
    with pytest.raises(OptionError, match="learning_rate changed"):
        taught(tmp_path, resume=True, learning_rate=0.5)


def test_resuming_with_other_pictures_is_refused(tmp_path: Path) -> None:
    taught(tmp_path, epochs=2)
    chosen = Train(epochs=2, batch=16)
    for changed in (data(63), replace(data(), validation=stripes(16, seed=7))):
        with pytest.raises(DataError, match="the pictures of 'stripes' are not those"):
            train(small(), changed, parse("gaussian:0.2"), chosen, folder=tmp_path, resume=True)


OPEN_ENDED = {"schedule": "rsqrt", "ema": 0.9, "optimizer": "muon"}


def test_an_open_ended_rate_rises_over_an_epoch_falls_slowly_and_ends_at_nothing() -> None:
    chosen = Train(schedule="rsqrt", epochs=10, learning_rate=1.0)
    rates = [learning_rate(chosen, done / 100) for done in range(100)]
    assert rates[0] < 0.01
    assert rates[40] == pytest.approx(0.5**0.5)
    assert rates[80] == pytest.approx(3**-0.5)
    assert rates[90] == pytest.approx(0.5 * 3.25**-0.5)
    assert rates[99] < 0.03
    longer = chosen.model_copy(update={"epochs": 100})
    assert [learning_rate(longer, done / 1000) for done in range(81)] == pytest.approx(rates[:81])


def test_an_open_ended_run_ends_as_if_begun_with_the_epochs_it_is_given(tmp_path: Path) -> None:
    begun = taught(tmp_path_of(tmp_path, "begun"), epochs=10, **OPEN_ENDED)
    # The same run, but first with 40 epochs in mind, and stopped after its eighth.
    folder = tmp_path_of(tmp_path, "longer")
    with pytest.raises(KeyboardInterrupt):
        train(
            small(),
            data(),
            parse("gaussian:0.2"),
            Train.model_validate({"epochs": 40, "batch": 16} | OPEN_ENDED),
            folder=folder,
            device="cpu",
            watch=stop_after(9),
        )
    resumed = taught(folder, resume=True, epochs=10, **OPEN_ENDED)
    assert len(resumed.history) == 10
    assert equal(begun.model, resumed.model)


def stop_after(epoch: int) -> Callable[[Epoch], None]:
    def watch(seen: Epoch) -> None:
        if len(seen.history) == epoch:
            raise KeyboardInterrupt

    return watch


def test_a_run_near_its_end_keeps_its_epochs(tmp_path: Path) -> None:
    taught(tmp_path, epochs=10, **OPEN_ENDED)
    with pytest.raises(OptionError, match=r"epochs changed.*1\.25 to each"):
        taught(tmp_path, resume=True, epochs=20, **OPEN_ENDED)


def test_a_damaged_state_is_refused_in_one_line(tmp_path: Path) -> None:
    taught(tmp_path)
    whole = (tmp_path / "last.ckpt").read_bytes()
    with ZipFile(tmp_path / "last.ckpt") as archive:
        member = max(archive.infolist(), key=lambda member: member.file_size)
    changed = bytearray(whole)
    changed[member.header_offset + 100 + member.file_size // 2] ^= 4
    for broken in (b"", whole[: len(whole) // 2], b"junk", bytes(changed)):
        (tmp_path / "last.ckpt").write_bytes(broken)
        with pytest.raises(CheckpointError, match=r"last\.ckpt cannot be resumed"):
            taught(tmp_path, resume=True)


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(
        f"""
import sys
from pathlib import Path
from typing import Any
sys.path.insert(0, {str(ROOT / "tests")!r})
from test_training import data, parse, small, train, Train
import os
folder = Path(sys.argv[1])
train(small(norm="none"), data(), parse("none"), Train(epochs=3, batch=16, precision="float32"),
      folder=folder, device="cpu", devices=2)
"""
    )
    folder = tmp_path_of(tmp_path, "run")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    environment = {k: v for k, v in environment.items() if not k.startswith("PYTEST")}
    subprocess.run(
        [sys.executable, str(script), str(folder)], env=environment, check=True, timeout=120
    )
    one = train(
        small(norm="none"), data(), parse("none"),
        Train(epochs=3, batch=16, precision="float32"), device="cpu",
    )  # fmt: skip
    both = load(folder).state_dict()
    for name, weight in one.model.state_dict().items():
        # Halves of a batch are averaged: the same sum in another order.
        torch.testing.assert_close(both[name], weight, rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
def test_a_gpu_learns_what_the_cpu_learns() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    chosen = Train(epochs=4, batch=16, precision="float32")
    runs = [
        train(small(norm="none"), data(), parse("none"), chosen, device=device)
        for device in ("cpu", "cuda")
    ]
    losses = [run.history[-1]["val_loss"] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_a_sigmoid_on_dark_pictures_does_not_sink_to_black() -> None:
    # Digits on black: from 0.5 everywhere, the mean squared error drives a sigmoid to zero.
    dark = stripes(256)
    dark = Pictures.from_arrays(
        [
            np.where(p > 0.8, p * 255, 0).astype(np.uint8)
            for p in dark.whole(torch.arange(256))[0].permute(0, 2, 3, 1).numpy()
        ]
    )
    both = Dataset("dark", dark, dark, dark)
    model = small(norm="none", channels=(16, 16))
    settings = Train(epochs=8, batch=16, learning_rate=2e-3)
    result = train(model, both, parse("gaussian:0.2"), settings, device="cpu")
    black = float(dark.whole(torch.arange(256))[0].square().mean())
    assert result.best["val_loss"] < 0.5 * black


def test_training_on_begins_where_it_ended() -> None:
    model = taught().model
    model.metadata = {"model": "conv"}
    before = [weight.clone() for weight in model.parameters()]
    train(model, data(), parse("none"), Train(epochs=1, learning_rate=1e-12), device="cpu")
    for one, other in zip(before, model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_clipped_gradient_is_no_longer_than_its_limit(precision: str) -> None:
    seen: list[float] = []

    class Watched(Lesson):
        def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
            super().on_before_optimizer_step(optimizer)
            grads = [p.grad.square().sum() for p in self.model.parameters() if p.grad is not None]
            seen.append(float(torch.stack(grads).sum().sqrt()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pellucid.learn.training.Lesson", Watched)
        taught(clip_gradient=1e-3, precision=precision)
    assert max(seen) <= 1e-3 * 1.001


def test_exposure_blinds_a_share_of_the_pictures_and_leaves_the_others():
    clean = torch.rand(400, 1, 6, 6, generator=torch.manual_seed(0))
    made = exposed(clean, 0.25, generator=torch.manual_seed(1))
    moved = (made != clean).flatten(1).any(1)
    assert 0.18 < moved.float().mean() < 0.32
    assert (made.min(), made.max()) == (0, 1)
    for one, other in zip(clean[moved], made[moved], strict=True):
        inside = (other > 0) & (other < 1)
        gain = (other[inside].max() - other[inside].min()) / (one[inside].max() - one[inside].min())
        assert 0.8 < gain < 1.7
        # What was brighter is never darker then.
        order = one.flatten().argsort()
        assert (other.flatten()[order].diff() >= 0).all()
    again = exposed(clean, 0.25, generator=torch.manual_seed(1))
    assert torch.equal(made, again)
    assert torch.equal(exposed(clean, 0.0, generator=torch.manual_seed(1)), clean)


def test_exposure_changes_what_is_learnt_and_not_what_is_judged():
    def rows(share):
        settings = Train(epochs=2, batch=16, exposed=share, seed=1)
        return train(small(), data(), parse("gaussian:0.1"), settings, device="cpu").history

    plain, blinded = rows(0.0), rows(1.0)
    assert plain[0]["train_loss"] != blinded[0]["train_loss"]
    assert rows(1.0) != plain
