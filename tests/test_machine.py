"""What the machine is asked, and that its answer is kept through a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pellucid.learn import machine
from pellucid.learn.damage import parse
from pellucid.learn.recipes import Train
from pellucid.learn.training import Epoch, train
from test_training import data, equal, small, taught

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def asked_anew():
    machine.halves_pay.cache_clear()
    yield
    machine.halves_pay.cache_clear()


@pytest.mark.parametrize(
    ("instructions", "slower", "pays"),
    [(True, 2.0, True), (True, 1.1, False), (True, 0.5, False), (False, 2.0, False)],
)
def test_halves_pay_where_they_are_clearly_faster(
    instructions: bool, slower: float, pays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instructions)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    seconds = {torch.bfloat16: 1.0, torch.float32: slower}
    monkeypatch.setattr(machine, "_seconds", lambda *kinds: [seconds[kind] for kind in kinds])
    assert machine.halves_pay(CPU) is pays


def test_the_cpu_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    asked: list[tuple[torch.dtype, ...]] = []
    real = machine._seconds
    monkeypatch.setattr(machine, "_seconds", lambda *kinds: asked.append(kinds) or real(*kinds))
    assert machine.halves_pay(CPU) == machine.halves_pay(CPU)
    assert asked == [(torch.bfloat16, torch.float32)]


def test_a_resumed_run_keeps_its_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(epoch: Epoch) -> None:
        if len(epoch.history) == 2:
            raise MemoryError

    monkeypatch.setattr(machine, "halves_pay", lambda on: True)
    with pytest.raises(MemoryError):
        train(
            small(), data(), parse("gaussian:0.2"), Train(epochs=3, batch=16),
            folder=tmp_path, watch=die, device="cpu",
        )  # fmt: skip
    monkeypatch.setattr(machine, "halves_pay", lambda on: False)
    resumed = taught(tmp_path, resume=True)
    assert resumed.precision == "bfloat16"
    assert equal(resumed.model, taught(precision="bfloat16").model)
    assert taught().precision == "float32"
