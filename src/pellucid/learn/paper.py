"""What happens to a page before and while it is scanned: stains, shadow, folds, faded print.

Paper is light and ink is dark, so most of these take light away as a darker sheet would
(``x (1 - s f)``, f from 0 to 1 over the page), and none of them moves a letter. Shapes are drawn in
pixels, as at 150 to 300 dots an inch. The families are those of A. Groleau, K. W. Chee, S. Larson,
S. Maini, J. Boarman, "Augraphy: a data augmentation library for document images", ICDAR 2023,
https://arxiv.org/abs/2208.14558; the formulas are our own. Read next: `degrade`, whose table names
them.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from pellucid.learn.draws import Strength, per_picture, uniform

_COFFEE = (0.45, 0.75, 1.0)
"""How much a stain takes of red, green and blue."""

_CREASES = 4
_BLOTS = 3


def stain(x: Tensor, depth: Strength, *, generator: Generator | None = None) -> Tensor:
    """Spilt coffee and blots: ragged discs, darkest along their rims, where the pigment dries.

    R. D. Deegan et al., "Capillary flow as the cause of ring stains from dried liquid drops",
    Nature 389, 1997, https://doi.org/10.1038/39827.

    Args:
        x: Clean page, (B, C, H, W) in [0, 1], paper light.
        depth: Share of the light that the darkest place loses.
        generator: Where the draws come from.

    Returns:
        Damaged page, same shape; brown in colour.

    Example:
        >>> stain(torch.ones(1, 1, 4, 4), depth=0.0).sum()
        tensor(16.)
    """
    batch, channels, height, width = x.shape
    rows, columns = _place(x)
    through = torch.ones(batch, 1, height, width, device=x.device)
    ragged = _clouds(x, 24, generator)
    drawn = uniform((_BLOTS, 5, batch, 1, 1, 1), x, generator)
    for top, left, size, strong, dry in drawn:
        radius = 12 * 12**size
        distance = torch.hypot(rows - top * height, columns - left * width)
        edge = (distance * (1 + 0.5 * (ragged - 0.5)) - radius) / (2 + radius / 12)
        field = 0.4 * torch.sigmoid(-2 * edge) + (0.3 + 0.3 * dry) * torch.exp(-(edge**2))
        through = through * (1 - (0.3 + 0.7 * strong) * field)
    taken = 1 - through
    if channels == 3:
        taken = taken * taken.new_tensor(_COFFEE).view(1, 3, 1, 1)
    return x * (1 - per_picture(depth, x) * taken.to(x))


def shade(x: Tensor, depth: Strength, *, generator: Generator | None = None) -> Tensor:
    """Uneven light: a slope over the page, clouds, and the soft edge of a shadow.

    Args:
        x: Clean page, (B, C, H, W) in [0, 1].
        depth: Share of the light that the darkest place loses.
        generator: Where the draws come from.

    Returns:
        Damaged page, same shape.

    Example:
        >>> shade(torch.ones(1, 1, 4, 4), depth=0.0).sum()
        tensor(16.)
    """
    height, width = x.shape[2:]
    angle, far, soft, cast = uniform((4, len(x), 1, 1, 1), x, generator)
    rows, columns = _place(x)
    along = torch.cos(2 * math.pi * angle) * (columns / max(width, 1) - 0.5)
    along = along + torch.sin(2 * math.pi * angle) * (rows / max(height, 1) - 0.5)
    shadow = torch.sigmoid((along - 0.5 * (far - 0.5)) * (4 + 60 * soft))
    clouds = _clouds(x, max(64, max(height, width) // 2), generator)
    field = 0.4 * (along + 0.75) / 1.5 + 0.3 * clouds + 0.3 * (cast > 0.5) * shadow
    shaded: Tensor = x * (1 - per_picture(depth, x) * field.clamp(0, 1).to(x))
    return shaded


def fade(x: Tensor, share: Strength, *, generator: Generator | None = None) -> Tensor:
    """Faded and broken print: ink turns to paper, here more and there less, and in specks.

    Args:
        x: Clean page, (B, C, H, W) in [0, 1], paper light.
        share: How much of the ink is gone where it is worst.
        generator: Where the draws come from.

    Returns:
        Damaged page, same shape; white stays white.

    Example:
        >>> fade(torch.ones(1, 1, 4, 4), share=0.9).sum()
        tensor(16.)
    """
    wide, fine = _clouds(x, 96, generator), _clouds(x, 3, generator)
    gone = 0.2 + 0.6 * wide + (8 * (fine - 0.6)).clamp(0, 1)
    return x + (1 - x) * (per_picture(share, x) * gone.clamp(0, 1).to(x))


def bleed(x: Tensor, share: Strength, *, generator: Generator | None = None) -> Tensor:
    """Bleed-through: the page's back, here itself in a mirror and shifted, shows softly.

    Args:
        x: Clean page, (B, C, H, W) in [0, 1], paper light.
        share: How dark the other side's ink is, 0 to 1.
        generator: Where the draws come from.

    Returns:
        Damaged page, same shape.

    Example:
        >>> bleed(torch.ones(1, 1, 4, 4), share=0.5).sum()
        tensor(16.)
    """
    height, width = x.shape[2:]
    shift = uniform((2, len(x)), x, generator)
    rows = (torch.arange(height, device=x.device) + (shift[0, :, None] * height).long()) % height
    columns = torch.arange(width - 1, -1, -1, device=x.device)
    columns = (columns + (shift[1, :, None] * width).long()) % width
    which = torch.arange(len(x), device=x.device)[:, None, None]
    back = (1 - x.mean(1))[which, rows[:, :, None], columns[:, None, :]][:, None]
    back = F.avg_pool2d(back, 5, 1, 2, count_include_pad=False) if back.numel() else back
    uneven = 0.4 + 0.6 * _clouds(x, 80, generator).to(x)
    return x * (1 - per_picture(share, x) * uneven * back.clamp(0, 1))


def fold(x: Tensor, depth: Strength, *, generator: Generator | None = None) -> Tensor:
    """Folds and wrinkles: creases that throw a shadow to one side and shine on the other.

    Args:
        x: Clean page, (B, C, H, W) in [0, 1].
        depth: Share of the light that the darkest crease loses; the brightest gains a quarter.
        generator: Where the draws come from.

    Returns:
        Damaged page, same shape; it may exceed 1.

    Example:
        >>> fold(torch.ones(1, 1, 4, 4), depth=0.0).sum()
        tensor(16.)
    """
    height, width = x.shape[2:]
    rows, columns = _place(x)
    drawn = uniform((_CREASES, 5, len(x), 1, 1, 1), x, generator)
    bent = 12 * (_clouds(x, 48, generator) - 0.5)
    light = torch.zeros(len(x), 1, height, width, device=x.device)
    for angle, top, left, wide, strong in drawn:
        turned = math.pi * angle
        along = torch.cos(turned) * (rows - top * height) + torch.sin(turned) * (
            columns - left * width
        )
        across = (along + bent) / (1.5 + 10 * wide**2)
        # Dark on one side, light on the other, and a thin dark line where the fibres broke.
        profile = across * torch.exp(0.5 - across**2 / 2) - torch.exp(-((3 * across) ** 2))
        light = light + (0.2 + 0.8 * strong) * profile
    light = torch.where(light < 0, light, 0.25 * light).clamp(-1, 0.25)
    folded: Tensor = x * (1 + per_picture(depth, x) * light.to(x))
    return folded


def streaks(x: Tensor, depth: Strength, *, generator: Generator | None = None) -> Tensor:
    """A dirty scanner: columns that are darker or lighter from top to bottom, and fine banding.

    Args:
        x: Clean page, (B, C, H, W) in [0, 1].
        depth: How far a streak is off, on the [0, 1] scale.
        generator: Where the draws come from.

    Returns:
        Damaged page, same shape, not clipped.

    Example:
        >>> streaks(torch.ones(1, 1, 4, 4), depth=0.0).sum()
        tensor(16.)
    """
    batch, _, _, width = x.shape
    which, sign, strong, band = uniform((4, batch, 1, 1, width), x, generator)
    lines = (which < 0.02) * torch.where(sign < 0.75, -1.0, 1.0) * (0.4 + 0.6 * strong)
    lines = lines + 0.2 * (band - 0.5)
    streaked: Tensor = x + per_picture(depth, x) * lines.to(x)
    return streaked


def paper(x: Tensor, depth: Strength, *, generator: Generator | None = None) -> Tensor:
    """Old paper: darker than white, cloudy and fibrous; in colour, yellowed.

    Args:
        x: Clean page, (B, C, H, W) in [0, 1], paper light.
        depth: Share of the light that the darkest paper takes.
        generator: Where the draws come from.

    Returns:
        Damaged page, same shape.

    Example:
        >>> paper(torch.ones(1, 1, 4, 4), depth=0.0).sum()
        tensor(16.)
    """
    base = uniform((len(x), 1, 1, 1), x, generator)
    field = 0.5 * base + 0.25 * _clouds(x, 40, generator) + 0.25 * _clouds(x, 3, generator)
    if x.shape[1] == 3:
        field = field * field.new_tensor(_COFFEE).view(1, 3, 1, 1)
    return x * (1 - per_picture(depth, x) * field.to(x))


def bilevel(x: Tensor, level: Strength, *, generator: Generator | None = None) -> Tensor:
    """A scan of one bit: white from this level on, black below.

    Args:
        x: Clean page, (B, C, H, W) in [0, 1].
        level: The threshold.
        generator: Not used: a threshold draws nothing.

    Returns:
        0 and 1, same shape; all channels together, by their mean.

    Example:
        >>> bilevel(torch.tensor([[[[0.2, 0.7]]]]), level=0.5).flatten()
        tensor([0., 1.])
    """
    return (x.mean(1, keepdim=True) >= per_picture(level, x)).to(x).expand_as(x).clone()


def _place(x: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of every pixel, to be broadcast."""
    height, width = x.shape[2:]
    rows = torch.arange(height, device=x.device, dtype=torch.float32)[:, None]
    return rows, torch.arange(width, device=x.device, dtype=torch.float32)


def _clouds(x: Tensor, cell: int, generator: Generator | None) -> Tensor:
    """Smooth chance (B, 1, H, W) in [0, 1], mean one half, whose lumps are about `cell` wide.

    Two octaves of value noise, the finer half as strong. Each picture begins at a place of its own
    on the grid, so that no pixel lies on a lump more often than another.
    """
    batch, _, height, width = x.shape
    total = torch.zeros(batch, 1, height, width, device=x.device)
    for octave, weight in enumerate((2 / 3, 1 / 3)):
        side = max(cell >> octave, 1)
        grid = uniform((batch, 1, height // side + 3, width // side + 3), x, generator)
        offset = (uniform((2, batch), x, generator) * side).long()
        if not total.numel():
            continue
        size = [side * cells for cells in grid.shape[2:]]
        smooth = F.interpolate(grid, size=size, mode="bicubic", align_corners=False)
        half = side // 2
        rows = torch.arange(height, device=x.device) + half + offset[0][:, None]
        columns = torch.arange(width, device=x.device) + half + offset[1][:, None]
        which = torch.arange(batch, device=x.device)[:, None, None]
        total += weight * smooth[which, 0, rows[:, :, None], columns[:, None, :]][:, None]
    return total.clamp(0, 1)
