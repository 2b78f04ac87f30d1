"""The denoisers that `denoisers` measures, each as a function on one picture.

A network counts in every form that it is at hand in: ONNX in float32, its fast variant, OpenVINO,
torch in bfloat16. Nothing here imports torch before a method that needs it is opened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.report.baselines import BASELINES
from pellucid.restore import zoo
from pellucid.restore.denoise import denoise
from pellucid.restore.runtime import Runner, open_model

Pixels = NDArray[np.float32]
Samples = NDArray[np.uint8]


@dataclass(frozen=True)
class Form:
    """A form of a network: in which file, where it runs, and what its products are made of."""

    suffix: str
    device: str = "cpu"
    products: str = "float32"
    needs: str = "onnxruntime"


FORMS = {
    "pellucid onnx float32": Form(".onnx"),
    "pellucid fast": Form("-fast.onnx", products="int8"),
    "pellucid openvino": Form(".onnx", "openvino", "bf16", "openvino"),
    "pellucid fast openvino": Form("-fast.onnx", "openvino", "int8", "openvino"),
    "pellucid torch bf16": Form(".safetensors", products="bf16", needs="torch"),
}

CLASSICAL = {
    "BM3D": "bm3d",
    "OpenCV NLM": "opencv_nlm",
    "scikit-image NLM": "nlm",
    "TV-Chambolle": "tv_chambolle",
}

NAMES = [*FORMS, *CLASSICAL]


class Half:
    """A torch network under autocast, where convolutions are computed in bfloat16."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def __call__(self, images: Pixels) -> Pixels:
        import torch

        with torch.autocast("cpu", torch.bfloat16):
            return self._runner(images)


def forms(model: str) -> dict[str, Path]:
    """The forms of a network that can run here, each with its file."""
    path = zoo.resolve(model)
    found = {}
    for name, form in FORMS.items():
        file = path.with_name(path.stem + form.suffix)
        if file.is_file() and find_spec(form.needs):
            found[name] = file
    return found


def opened(name: str, file: Path) -> Runner:
    """A form of a network, ready to run."""
    runner = open_model(file, device=FORMS[name].device)
    return Half(runner) if FORMS[name].suffix == ".safetensors" else runner


def method(name: str, file: Path | None) -> Callable[[Samples, float], Samples]:
    """A function from a noisy picture of 8 bits, and its sigma of 255, to a restored one.

    The classical methods are told the noise level, the networks are not.
    """
    if name in CLASSICAL:
        baseline = BASELINES[CLASSICAL[name]]

        def classical(samples: Samples, sigma: float) -> Samples:
            return _finished(baseline(samples.astype(np.float32) / np.float32(255), sigma / 255))

        return classical
    assert file is not None
    runner = opened(name, file)
    return lambda samples, sigma: _finished(denoise(samples, model=runner))


def _finished(restored: Pixels) -> Samples:
    return np.rint(np.clip(restored, 0, 1) * 255).astype(np.uint8)
