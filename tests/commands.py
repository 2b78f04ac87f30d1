"""The real command line, run in this process or in one of its own, and a model for it to use."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pellucid import cli, images


@dataclass(frozen=True)
class Said:
    """What a command left: exit code, standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def complaints(self) -> list[str]:
        return self.err.splitlines()


class Command:
    """Calls ``main`` as the console script does: ``command("denoise", path, "-o", out)``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *given: object) -> Said:
        self.monkeypatch.setattr(sys, "argv", ["pellucid", *map(str, given)])
        self.capsys.readouterr()
        with warnings.catch_warnings():
            # As without pytest, which shows all of them and elsewhere.
            warnings.resetwarnings()
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", ResourceWarning)
            warnings.filterwarnings("ignore", module="lightning")
            with pytest.raises(SystemExit) as stop:
                cli.main()
        out, err = self.capsys.readouterr()
        code = stop.value.code
        return Said(code if isinstance(code, int) else 1, out, err)

    def done(self, *given: object) -> str:
        """Standard output of a command that must succeed without a word of complaint."""
        said = self(*given)
        assert (said.code, said.err) == (0, ""), said
        return said.out

    def refused(self, *given: object, says: str = "", code: int = 2) -> str:
        """The one line of a command that must be refused."""
        said = self(*given)
        assert said.code == code, said
        assert len(said.complaints) == 1, said.err
        assert said.err.startswith("pellucid: "), said.err
        assert "Traceback" not in said.err
        assert "internal error" not in said.err
        assert says in said.err, said.err
        return said.err


def command_line(*given: object) -> list[str]:
    return [sys.executable, "-m", "pellucid", *map(str, given)]


def environment(**more: str) -> dict[str, str]:
    """That of a user's shell: nothing of pytest, one thread, no data but what is installed."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    return kept | {"OMP_NUM_THREADS": "1"} | more


def process(*given: object, input: bytes | None = None, **how: Any) -> Any:
    """The finished command in a process of its own, with bytes as output."""
    return subprocess.run(
        command_line(*given),
        input=input,
        env=environment(),
        capture_output=True,
        timeout=180,
        check=False,
        **how,
    )


def noisy(path: Path, height: int = 24, width: int = 31, channels: int = 1, seed: int = 0) -> Path:
    """A picture file that no other seed makes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(seed)
    images.write(path, chance.integers(0, 256, (height, width, channels), dtype=np.uint8))
    return path


def samples(path: Path | bytes) -> np.ndarray:
    return images.read(io.BytesIO(path) if isinstance(path, bytes) else path).samples


def tree(folder: Path) -> list[str]:
    """All files below a folder."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def untrained(path: Path, **options: object) -> Path:
    """A small checkpoint that maps pictures to something."""
    import torch

    from pellucid.learn import checkpoints
    from pellucid.learn.models import create

    torch.manual_seed(0)
    model = create("conv", **({"channels": (4,)} | options))
    return checkpoints.save(model, path, data="stripes", licence="CC0")
