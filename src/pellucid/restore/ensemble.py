"""A network asked eight times, once for each way to mirror and turn a picture.

A picture has no top to a denoiser, but weights are not symmetric, so each view comes back a little
different; their mean is nearer the truth than any (Timofte, Rothe, Van Gool 2016,
https://arxiv.org/abs/1511.02228), at eight times the work. Read next: `denoise`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pellucid.restore.exported import Images
from pellucid.restore.runtime import Runner


class Ensemble:
    """A runner whose answer is the mean over the views of a picture.

    The eight mirrored and turned views; four, none of them lying on its side, for a network that
    takes one size only, and not a square.

    Args:
        runner: The network; its channels, grid, reach, size, device and card become this one's.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.channels: int = runner.channels
        self.multiple_of: int = runner.multiple_of
        self.halo: int | None = runner.halo
        self.image_size: tuple[int, int] | None = runner.image_size
        self.device: str = runner.device
        self.metadata: dict[str, Any] = runner.metadata
        self.fills_holes: bool = runner.fills_holes
        square = self.image_size is None or self.image_size[0] == self.image_size[1]
        self._quarters = (0, 1, 2, 3) if square else (0, 2)
        self.name = f"{runner.name}, {2 * len(self._quarters)} views"

    def __call__(self, images: Images) -> Images:
        """Restored images of the same shape (B, C, H, W)."""
        height, width = images.shape[2:]
        images = self._on_grid(images)
        total = np.zeros_like(images, dtype=np.float32)
        for quarters in self._quarters:
            for mirrored in (False, True):
                view = np.rot90(images, quarters, axes=(2, 3))
                view = view[..., ::-1] if mirrored else view
                restored = self._runner(np.ascontiguousarray(view))
                restored = restored[..., ::-1] if mirrored else restored
                total += np.rot90(restored, -quarters, axes=(2, 3))
        total /= 2 * len(self._quarters)
        return total[:, :, :height, :width]

    def _on_grid(self, images: Images) -> Images:
        """Filled up before they are turned.

        A window's views then lie on the network's grid as the whole picture's do, and windows
        leave no seam.
        """
        height, width = images.shape[2:]
        if self.image_size is not None:
            down, right = self.image_size[0] - height, self.image_size[1] - width
        else:
            down, right = -height % self.multiple_of, -width % self.multiple_of
        border = ((0, 0), (0, 0), (0, max(down, 0)), (0, max(right, 0)))
        return np.pad(images, border, mode="edge" if self.image_size else "reflect")
