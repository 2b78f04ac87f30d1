"""What an exported network needs, and how any engine is given pictures that fit it.

The card and the shape of an .onnx file say which channels, sizes and batches the network takes.
`ExportedRunner` brings pictures into that form and back; `openvino` and `runtime` are the engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import CheckpointError, PellucidError
from pellucid.restore import zoo

Images = NDArray[np.float32]

_FOREIGN_MULTIPLE = 16
"""Padding for a network that does not say what it needs: four halvings cover most."""


class ExportedRunner:
    """A network in an .onnx file: a `Runner`, once a subclass says how to compute.

    Args:
        path: The .onnx file.
        shape: Of its input, (B, C, H, W); what is free is no integer.
        device: Where it runs.
    """

    def __init__(self, path: Path, shape: Sequence[Any], device: str) -> None:
        self.metadata = zoo.metadata(path)
        self.name = path.stem
        self.device = device
        self.channels = int(shape[1])
        fixed = [side for side in shape[2:] if isinstance(side, int)]
        self.image_size = (fixed[0], fixed[1]) if len(fixed) == 2 else None
        if len(fixed) == 1:
            raise CheckpointError(
                f"{path} takes images of {shape[2]}x{shape[3]}: height and width must be both free "
                "or both fixed; export it again"
            )
        self.fills_holes = bool(self.metadata.get("fills_holes", False))
        self._batch = shape[0] if isinstance(shape[0], int) else None
        try:
            self.multiple_of = int(self.metadata.get("multiple_of", _FOREIGN_MULTIPLE))
            halo = self.metadata.get("halo")
            self.halo = None if halo is None else int(halo)
        except (TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path}: its card is damaged ({error}); export it again"
            ) from error
        if self.multiple_of < 1 or (self.halo is not None and self.halo < 0):
            raise CheckpointError(f"{path}: its card is damaged; export it again")

    def compute(self, images: Images) -> Images:
        """The network's own answer to contiguous images (B, C, H, W) that fit it."""
        raise NotImplementedError

    def __call__(self, images: Images) -> Images:
        """Restored images of the same shape (B, C, H, W)."""
        height, width = images.shape[2:]
        if self.image_size is not None:
            # As the network itself does before it pads to its grid.
            down, right = self.image_size[0] - height, self.image_size[1] - width
        else:
            grid = 1 if self.metadata else self.multiple_of
            down, right = -height % grid, -width % grid
        if down > 0 or right > 0:
            border = ((0, 0), (0, 0), (0, max(down, 0)), (0, max(right, 0)))
            images = np.pad(images, border, mode="edge" if self.image_size else "reflect")
        step = self._batch or len(images)
        parts = [self._run(images[start : start + step]) for start in range(0, len(images), step)]
        restored = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return restored[:, :, :height, :width]

    def _run(self, images: Images) -> Images:
        given = len(images)
        if self._batch and given < self._batch:
            images = np.concatenate([images, np.repeat(images[-1:], self._batch - given, axis=0)])
        try:
            restored = self.compute(np.ascontiguousarray(images))
        except Exception as error:  # the engines' own exceptions share no base class
            raise CheckpointError(
                f"model '{self.name}' cannot restore images of "
                f"{images.shape[2]}x{images.shape[3]}: {first_line(error)}"
            ) from error
        if restored.shape != images.shape:
            raise CheckpointError(
                f"model '{self.name}' made {restored.shape} of {images.shape}; "
                "a restoring model keeps the shape"
            )
        return restored[:given].astype(np.float32, copy=False)


def check_ports(path: Path, inputs: Sequence[tuple[Any, str]], outputs: Sequence[str]) -> None:
    """Refuse a network that does not map one float image to another.

    Args:
        path: For the message.
        inputs: Shape and element type of each.
        outputs: Element type of each.
    """
    problem = ""
    if len(inputs) != 1 or not outputs:
        problem = f"it has {len(inputs)} inputs and {len(outputs)} outputs"
    elif len(inputs[0][0]) != 4 or inputs[0][0][1] not in (1, 3):
        problem = f"its input is {inputs[0][0]}"
    elif not inputs[0][1] == outputs[0] == "float":
        problem = f"it maps {inputs[0][1]} to {outputs[0]}"
    if problem:
        raise CheckpointError(
            f"{path} does not restore images: {problem}; one float32 input "
            "(batch, 1 or 3 channels, height, width) and an output of the same shape are needed"
        )


def first_line(error: BaseException) -> str:
    """What an engine's exception says, short enough for one line."""
    text = str(error).strip()
    if isinstance(error, PellucidError):
        return text
    return text.splitlines()[0][:300] if text else type(error).__name__
