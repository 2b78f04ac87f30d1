"""Pictures held in memory, handed out as whole batches.

The training loop must never wait for a file or for Python: all pixels of a split lie in one flat
buffer, and a batch of crops is one gather from it, with flips and turns folded into the indices.
Pictures of any mixture of sizes share the buffer.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import DataError

Batch = tuple[Tensor, Tensor | None]


@dataclass(frozen=True)
class Pictures:
    """A split of a data set: clean pictures, and their damaged partners where the data has them.

    Attributes:
        pixels: Every clean picture, one after the other, planar (C, H, W); uint8, or float32 where
            the files hold more than 8 bits.
        damaged: The same layout for real damaged partners, or None.
        offsets: Where each picture begins, (N,) int64.
        sizes: Height and width of each, (N, 2) int64.
        channels: 1 or 3.
        labels: Class of each picture, (N,) int64, or None.
        class_names: What the labels stand for.
        paths: Where each picture came from, or empty.
    """

    pixels: Tensor
    damaged: Tensor | None
    offsets: Tensor
    sizes: Tensor
    channels: int
    labels: Tensor | None = None
    class_names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    @classmethod
    def from_arrays(
        cls,
        clean: Sequence[np.ndarray] | np.ndarray,
        damaged: Sequence[np.ndarray] | np.ndarray | None = None,
        *,
        labels: np.ndarray | None = None,
        class_names: Sequence[str] = (),
        paths: Sequence[str] = (),
    ) -> Pictures:
        """Pack arrays (H, W, C), uint8 or float32, that agree in channels.

        Raises:
            DataError: Nothing given, channels differ, or a damaged partner differs in size.
        """
        if len(clean) == 0:
            raise DataError("a data set needs at least one picture, and none was given")
        channels = {picture.shape[2] for picture in clean}
        if len(channels) > 1:
            raise DataError(
                f"pictures with {sorted(channels)} channels cannot share a data set; "
                "give channels=1 or channels=3 to convert them"
            )
        sizes = torch.tensor([picture.shape[:2] for picture in clean], dtype=torch.int64)
        if damaged is not None:
            if len(damaged) != len(clean):
                raise DataError(f"{len(clean)} clean pictures but {len(damaged)} damaged ones")
            for i, (one, other) in enumerate(zip(clean, damaged, strict=True)):
                if one.shape != other.shape:
                    where = f" ({paths[i]})" if paths else ""
                    raise DataError(
                        f"pair {i}{where} differs in shape: clean {one.shape}, damaged "
                        f"{other.shape}; both must agree pixel for pixel"
                    )
        (planes,) = channels
        lengths = sizes[:, 0] * sizes[:, 1] * planes
        return cls(
            pixels=_pack(clean),
            damaged=None if damaged is None else _pack(damaged),
            offsets=torch.cumsum(lengths, 0) - lengths,
            sizes=sizes,
            channels=planes,
            labels=None if labels is None else torch.as_tensor(np.asarray(labels)).long(),
            class_names=tuple(class_names),
            paths=tuple(paths),
        )

    def __len__(self) -> int:
        return len(self.offsets)

    @cached_property
    def uniform(self) -> bool:
        """Whether all pictures have one size, so that they stack."""
        return bool((self.sizes == self.sizes[0]).all())

    @property
    def smallest(self) -> int:
        """The shortest side of any picture."""
        return int(self.sizes.min())

    @property
    def mean(self) -> float:
        """The mean of a million clean pixels, evenly spread, on the [0, 1] scale."""
        every = max(1, self.pixels.numel() // 2**20)
        return float(_unit(self.pixels[::every]).mean())

    @property
    def fingerprint(self) -> int:
        """A checksum of all pixels and partners, and of which pictures they make."""
        parts = [self.pixels, self.offsets, self.sizes]
        parts += [] if self.damaged is None else [self.damaged]
        total = 0
        for part in parts:
            total = zlib.crc32(part.cpu().contiguous().numpy().data, total)
        return total

    def to(self, device: torch.device | str) -> Pictures:
        """The same pictures with their pixels on `device`; the bookkeeping stays on the CPU."""
        return replace(
            self,
            pixels=self.pixels.to(device),
            damaged=None if self.damaged is None else self.damaged.to(device),
        )

    def subset(self, indices: Tensor | Sequence[int]) -> Pictures:
        """The pictures at `indices`, in that order; the pixels are shared, not copied."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        return replace(
            self,
            offsets=self.offsets[chosen],
            sizes=self.sizes[chosen],
            labels=None if self.labels is None else self.labels[chosen],
            paths=tuple(self.paths[i] for i in chosen.tolist()) if self.paths else (),
        )

    def image(self, index: int) -> Tensor:
        """One clean picture, (1, C, H, W) float32 in [0, 1]."""
        return self._one(self.pixels, index)

    def damaged_image(self, index: int) -> Tensor | None:
        """The damaged partner of one picture, (1, C, H, W), or None where the data has none."""
        return None if self.damaged is None else self._one(self.damaged, index)

    def array(self) -> np.ndarray:
        """All clean pictures as one array, (N, H, W, C) float32 in [0, 1]; of one size."""
        planar = self.whole()[0].cpu()
        return np.ascontiguousarray(planar.permute(0, 2, 3, 1).numpy())

    def whole(self, indices: Tensor | None = None) -> Batch:
        """Whole pictures and their partners, (B, C, H, W) float32; they must agree in size.

        Args:
            indices: Which pictures, (B,); None for all, where they have one size.
        """
        if indices is None:
            if not self.uniform:
                raise DataError(
                    "the pictures differ in size and do not stack; load them with size=N"
                )
            indices = torch.arange(len(self))
        height, width = self.sizes[int(indices[0])].tolist()
        length = self.channels * height * width
        shape = (len(indices), self.channels, height, width)
        starts = self.offsets[indices]
        if self._stacked:
            rows = (starts // length).to(self.pixels.device)

            def take(buffer: Tensor) -> Tensor:
                return buffer.view(-1, length)[rows].view(shape)
        else:
            where = (starts[:, None] + torch.arange(length)).to(self.pixels.device)

            def take(buffer: Tensor) -> Tensor:
                return buffer[where].view(shape)

        return self._both(take)

    def crops(
        self,
        indices: Tensor,
        size: int | tuple[int, int],
        *,
        generator: torch.Generator | None = None,
        flipped: bool = True,
    ) -> Batch:
        """Crops of one size, from a random place, mirrored and turned at random.

        Args:
            indices: Which pictures, (B,); one may come several times.
            size: Side, or height and width, of the crops; at most the smallest picture.
            generator: Where the chance comes from; without one, crops are central and upright.
            flipped: Mirror left to right, and (square crops) use all eight turns. False keeps
                the pictures upright, as digits must be.

        Returns:
            Clean crops (B, C, size, size) float32 in [0, 1], and damaged ones or None.
        """
        high, wide = (size, size) if isinstance(size, int) else size
        heights, widths = self.sizes[indices].unbind(1)
        room = torch.stack([heights - high, widths - wide])
        if int(room.min()) < 0:
            raise DataError(
                f"crops of {high}x{wide} do not fit into the smallest picture "
                f"({int(heights.min())}x{int(widths.min())}); give a smaller train.crop"
            )
        count, on = len(indices), self.pixels.device
        mirror = upset = turn = torch.zeros(count, dtype=torch.bool)
        if generator is None:
            top, left = room // 2
        else:
            chance = torch.rand(2, count, generator=generator, dtype=torch.float64)
            top, left = (chance * (room + 1)).long()
            if flipped:
                mirror, upset, turn = torch.rand(3, count, generator=generator) < 0.5
                if high != wide:
                    upset = turn = torch.zeros_like(mirror)
        # What is drawn for a picture is drawn on the CPU; what is reckoned for a pixel, where the
        # pixels are.
        turns = bool(turn.any())
        told = torch.stack([self.offsets[indices], heights * widths, widths, top, left])
        told = torch.cat([told, torch.stack([mirror, upset, turn]).long()]).to(on)
        begin, plane, width, top, left, *drawn = told[:, :, None]
        mirror, upset, turn = (one.bool() for one in drawn)
        rows, columns = torch.arange(high, device=on), torch.arange(wide, device=on)
        rows = torch.where(upset, high - 1 - rows, rows) + top
        columns = torch.where(mirror, wide - 1 - columns, columns) + left
        where = (rows * width)[:, :, None] + columns[:, None, :]
        if turns:
            # A turn swaps the axes of the *crop*, never of the picture that it is cut from.
            where = torch.where(turn[:, :, None], where.transpose(1, 2), where)
        planes = begin + torch.arange(self.channels, device=on) * plane
        where = where[:, None] + planes[:, :, None, None]
        return self._both(lambda buffer: buffer[where])

    @cached_property
    def _stacked(self) -> bool:
        """Whether the buffer is a plain stack (N, C, H, W), so that rows can be picked from it."""
        height, width = self.sizes[0].tolist()
        length = self.channels * height * width
        even = self.pixels.numel() % length == 0
        return self.uniform and even and bool((self.offsets % length == 0).all())

    def _both(self, take: Callable[[Tensor], Tensor]) -> Batch:
        clean = _unit(take(self.pixels))
        return clean, None if self.damaged is None else _unit(take(self.damaged))

    def _one(self, buffer: Tensor, index: int) -> Tensor:
        height, width = self.sizes[index].tolist()
        start = int(self.offsets[index])
        flat = buffer[start : start + self.channels * height * width]
        return _unit(flat.view(1, self.channels, height, width))


def _pack(arrays: Sequence[np.ndarray] | np.ndarray) -> Tensor:
    """Arrays (H, W, C) as one flat planar tensor; float32 as soon as one of them is."""
    if isinstance(arrays, np.ndarray):
        planar = np.ascontiguousarray(arrays.transpose(0, 3, 1, 2))
        if planar.dtype != np.uint8:
            planar = planar.astype(np.float32, copy=False)
        # A stack of one channel is planar already; torch wants memory that it may write to.
        flat_pixels = planar.reshape(-1)
        return torch.from_numpy(flat_pixels if flat_pixels.flags.writeable else flat_pixels.copy())
    deep = any(array.dtype != np.uint8 for array in arrays)

    def flat(array: np.ndarray) -> np.ndarray:
        planar = array.transpose(2, 0, 1).reshape(-1)
        if deep:
            planar = planar / np.float32(255) if planar.dtype == np.uint8 else planar
            planar = planar.astype(np.float32, copy=False)
        return planar

    return torch.from_numpy(np.concatenate([flat(array) for array in arrays]))


def _unit(pixels: Tensor) -> Tensor:
    """Stored pixels on the [0, 1] scale, float32."""
    return pixels.float().div_(255) if pixels.dtype == torch.uint8 else pixels.float()
