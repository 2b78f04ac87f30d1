"""What every degradation draws with: strengths for each picture, and chance from a generator.

Draws are made on the generator's own device, so that a CPU generator gives the same picture
whatever device the batch is on. Read next: `degrade`.
"""

from __future__ import annotations

from typing import overload

import torch
from torch import Generator, Tensor

Strength = float | Tensor
"""One strength for the batch, or a (B,) tensor with one for each picture."""


@overload
def per_picture(strength: Tensor, x: Tensor) -> Tensor: ...
@overload
def per_picture(strength: Strength, x: Tensor) -> Strength: ...
def per_picture(strength: Strength, x: Tensor) -> Strength:
    """The strength in a form that multiplies (B, C, H, W)."""
    return strength.to(x).reshape(-1, 1, 1, 1) if isinstance(strength, Tensor) else strength


def normal(x: Tensor, generator: Generator | None) -> Tensor:
    """Standard normal draws of the shape, type and device of `x`."""
    device = generator.device if generator is not None else x.device
    return torch.randn(x.shape, dtype=x.dtype, generator=generator, device=device).to(x.device)


def uniform(shape: tuple[int, ...], x: Tensor, generator: Generator | None) -> Tensor:
    """Draws from [0, 1) on the device of `x`."""
    device = generator.device if generator is not None else x.device
    # float32 even for a bfloat16 batch, whose 256 steps could not hold a small probability.
    return torch.rand(shape, generator=generator, device=device).to(x.device)
