"""Shared fixtures: small synthetic pictures, and real data where it is at hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

LONGEST = ("docs", "runs", "bad_input", "training", "export", "cli", "baselines", "benchmarks")
"""Files of tests that take longest. Two processes share the files: these go first, lest one of
them is left with a long one while the other is done."""

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def data_folders() -> list[Path]:
    given = os.environ.get("PELLUCID_DATA")
    roots = [Path(part) for part in given.split(os.pathsep)] if given else [BESIDE]
    return [root for root in roots if root.is_dir()]


@pytest.fixture(scope="session")
def real() -> Callable[[str], Path]:
    """The folder of a real data set by name; skips the test where it is absent."""

    def find(name: str) -> Path:
        for root in data_folders():
            for pattern in (name, f"*/{name}", f"*/*/{name}"):
                for path in sorted(root.glob(pattern)):
                    if path.is_dir():
                        return path
        pytest.skip(f"data set {name!r} is not under $PELLUCID_DATA")

    return find


@pytest.fixture
def scene() -> np.ndarray:
    """A colour picture with edges, a ramp and texture, (48, 64, 3) uint8."""
    y, x = np.mgrid[0:48, 0:64].astype(np.float64)
    red = 255 * x / 63
    green = 127 + 100 * np.sin(x / 3) * np.cos(y / 4)
    blue = np.where((x - 32) ** 2 + (y - 24) ** 2 < 200, 220, 40)
    return np.stack([red, green, blue], axis=-1).round().astype(np.uint8)
