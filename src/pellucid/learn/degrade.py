"""What spoils a picture: noise, blur, compression and holes, each as its published formula.

Every degradation is a plain function on a batch (B, C, H, W) in [0, 1], with a strength that is
one number or one number for each picture. None of them clips: `damage` does that when asked.
`DEGRADATIONS` is the table that the command line, the docs and the tests read. Read next:
`damage`, which turns ``gaussian:0..0.2+jpeg:40`` into something to call.

Draws come from the `torch.Generator` that is given, on the generator's own device: a CPU
generator gives the same picture whatever device the batch is on.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor
from torch.nn.functional import conv2d

from pellucid.errors import OptionError
from pellucid.learn.camera import camera, grain, mri
from pellucid.learn.draws import Strength, normal, per_picture, uniform
from pellucid.learn.paper import bilevel, bleed, fade, fold, paper, shade, stain, streaks

_STROKES = 32


def gaussian(x: Tensor, sigma: Strength, *, generator: Generator | None = None) -> Tensor:
    """Additive white Gaussian noise, ``x + n`` with ``n ~ N(0, sigma^2)`` for every sample.

    Not clipped, as in the published tables: K. Zhang et al., "Beyond a Gaussian denoiser", IEEE TIP
    26, 2017, https://arxiv.org/abs/1608.03981.

    Args:
        x: Clean image, (B, C, H, W) in [0, 1].
        sigma: Standard deviation on the [0, 1] scale; the literature's sigma 25 is 25/255.
        generator: Where the draws come from.

    Returns:
        Damaged image, same shape, not clipped.

    Example:
        >>> gaussian(torch.full((1, 1, 2, 2), 0.5), sigma=0.0).unique()
        tensor([0.5000])
    """
    # In place: the draw is the only memory this needs, and it sits in the training loop.
    return normal(x, generator).mul_(per_picture(sigma, x)).add_(x)


def salt_pepper(x: Tensor, amount: Strength, *, generator: Generator | None = None) -> Tensor:
    """Impulse noise: a fraction of the pixels turns white or black, half of it each.

    A pixel is struck in all its channels together, as a dead or saturated sensor cell that is
    seen in a finished picture would be; strike channels one by one by folding them into the batch.
    R. H. Chan, C.-W. Ho, M. Nikolova, "Salt-and-pepper noise removal by median-type noise detectors
    and detail-preserving regularization", IEEE TIP 14, 2005,
    https://doi.org/10.1109/TIP.2005.852196.

    Args:
        x: Clean image, (B, C, H, W) in [0, 1].
        amount: Expected fraction of the pixels struck, 0 to 1.
        generator: Where the draws come from.

    Returns:
        Damaged image, same shape.

    Example:
        >>> salt_pepper(torch.full((1, 1, 9, 9), 0.5), amount=1.0).unique()
        tensor([0., 1.])
    """
    half = per_picture(amount, x) / 2
    draw = uniform((x.shape[0], 1, *x.shape[2:]), x, generator)
    return x.masked_fill(draw < half, 0.0).masked_fill_(draw >= 1 - half, 1.0)


def poisson(x: Tensor, peak: Strength, *, generator: Generator | None = None) -> Tensor:
    """Photon noise: the image as counted by a sensor with few photons, ``Poisson(peak x) / peak``.

    The mean is ``x`` and the variance ``x / peak``. Values below 0, which an earlier degradation
    may have left, count no photons. S. W. Hasinoff, "Photon, Poisson noise", Computer Vision: A
    Reference Guide, 2014, https://doi.org/10.1007/978-0-387-31439-6_482.

    Args:
        x: Clean image, (B, C, H, W) in [0, 1].
        peak: Mean photon count at white. Lower is noisier; 30 looks like a dim room.
        generator: Where the draws come from.

    Returns:
        Damaged image, same shape, not clipped.

    Example:
        >>> poisson(torch.zeros(1, 1, 2, 2), peak=30).sum()
        tensor(0.)
    """
    peaks = per_picture(peak, x)
    rates = x.clamp(min=0) * peaks
    source = generator.device if generator is not None else x.device
    return torch.poisson(rates.to(source), generator=generator).to(x.device).div_(peaks)


def speckle(x: Tensor, sigma: Strength, *, generator: Generator | None = None) -> Tensor:
    """Multiplicative noise, ``x + x n`` with ``n ~ N(0, sigma^2)``, as in radar and ultrasound.

    J.-S. Lee, "Digital image enhancement and noise filtering by use of local statistics", IEEE
    TPAMI 2, 1980, https://doi.org/10.1109/TPAMI.1980.4766994.

    Args:
        x: Clean image, (B, C, H, W) in [0, 1].
        sigma: Standard deviation relative to the value it disturbs.
        generator: Where the draws come from.

    Returns:
        Damaged image, same shape, not clipped; black stays black.

    Example:
        >>> speckle(torch.zeros(1, 1, 2, 2), sigma=0.5).sum()
        tensor(0.)
    """
    return normal(x, generator).mul_(per_picture(sigma, x)).add_(1).mul_(x)


def rician(x: Tensor, sigma: Strength, *, generator: Generator | None = None) -> Tensor:
    """Magnitude noise of MRI: ``sqrt((x + n1)^2 + n2^2)`` with ``n1, n2 ~ N(0, sigma^2)``.

    The magnitude of a complex signal whose two channels carry Gaussian noise: Rayleigh in the
    dark, nearly Gaussian in the light, and biased upwards (mean square ``x^2 + 2 sigma^2``).
    H. Gudbjartsson, S. Patz, "The Rician distribution of noisy MRI data", Magnetic Resonance in
    Medicine 34, 1995, https://doi.org/10.1002/mrm.1910340618.

    Args:
        x: Clean image, (B, C, H, W) in [0, 1].
        sigma: Standard deviation of each of the two channels, on the [0, 1] scale.
        generator: Where the draws come from.

    Returns:
        Damaged image, same shape, never negative, not clipped at 1.

    Example:
        >>> bool(rician(torch.zeros(1, 1, 8, 8), sigma=0.1).min() > 0)
        True
    """
    sigmas = per_picture(sigma, x)
    real = normal(x, generator).mul_(sigmas).add_(x)
    # hypot and not sqrt(a*a + b*b): exact where sigma is 0, and no underflow in the dark.
    return real.hypot_(normal(x, generator).mul_(sigmas))


def blur(x: Tensor, sigma: Strength, *, generator: Generator | None = None) -> Tensor:
    """Gaussian blur, cut at four sigma, with the picture mirrored at its borders.

    Separable and with the border that repeats the edge sample (d c b a | a b c d | d c b a), so it
    agrees with `scipy.ndimage.gaussian_filter` and works on pictures smaller than the kernel.

    Args:
        x: Clean image, (B, C, H, W) in [0, 1].
        sigma: Standard deviation of the kernel in pixels; below 0.125 nothing changes.
        generator: Not used: a blur draws nothing.

    Returns:
        Blurred image, same shape, same mean up to the borders.

    Example:
        >>> blur(torch.ones(1, 1, 3, 3), sigma=2.0).mean().round(decimals=4)
        tensor(1.)
    """
    batch, channels, height, width = x.shape
    sigmas = _exactly(sigma).expand(batch)
    radii = (4 * sigmas + 0.5).floor()
    radius = int(radii.max()) if batch else 0
    if radius == 0:
        return x.clone()
    steps = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernels = torch.exp(-0.5 * (steps / sigmas.clamp(min=0.1)[:, None]) ** 2)
    # Each picture has its own radius, so that its neighbours in the batch do not change it.
    kernels = kernels.masked_fill(steps.abs() > radii[:, None], 0.0)
    kernels = (kernels / kernels.sum(1, keepdim=True)).to(x).repeat_interleave(channels, 0)
    planes = x.reshape(1, batch * channels, height, width)
    planes = planes.index_select(2, _mirrored(height, radius, x.device))
    planes = conv2d(planes, kernels[:, None, :, None], groups=batch * channels)
    planes = planes.index_select(3, _mirrored(width, radius, x.device))
    planes = conv2d(planes, kernels[:, None, None, :], groups=batch * channels)
    return planes.reshape(x.shape)


def jpeg(x: Tensor, quality: Strength, *, generator: Generator | None = None) -> Tensor:
    """The picture after a JPEG file of this quality: 8 bits, 4:2:0, libjpeg's quality scale.

    ITU-T T.81, 1992, https://www.w3.org/Graphics/JPEG/itu-t81.pdf. The one degradation that works
    picture by picture on the CPU, through Pillow.

    Args:
        x: Clean image, (B, C, H, W) in [0, 1] with 1 or 3 channels; clipped and rounded to 8 bits.
        quality: 1 (worst) to 100, rounded to a whole number.
        generator: Not used: compression draws nothing.

    Returns:
        Decoded image, same shape, in [0, 1].

    Example:
        >>> jpeg(torch.full((1, 1, 8, 8), 0.2), quality=50).shape
        torch.Size([1, 1, 8, 8])
    """
    if x.shape[1] not in (1, 3):
        raise OptionError(f"jpeg takes 1 or 3 channels, not {x.shape[1]}; use another degradation")
    eight = x.detach().clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu()
    qualities = _exactly(quality).round().expand(len(x)).tolist()
    decoded = np.empty(eight.shape, np.uint8)
    for index, (samples, number) in enumerate(zip(eight.numpy(), qualities, strict=True)):
        grey = samples.shape[2] == 1
        stream = io.BytesIO()
        Image.fromarray(samples[:, :, 0] if grey else samples).save(
            stream, "jpeg", quality=int(number), subsampling="4:2:0"
        )
        with Image.open(stream) as picture:
            decoded[index] = np.asarray(picture).reshape(samples.shape)
    return torch.from_numpy(decoded).permute(0, 3, 1, 2).to(x).div_(255).contiguous()


def pixels(x: Tensor, fraction: Strength, *, generator: Generator | None = None) -> Tensor:
    """Missing pixels: each goes black with this probability, in all its channels together.

    Args:
        x: Clean image, (B, C, H, W) in [0, 1].
        fraction: Expected fraction of the pixels that are missing, 0 to 1.
        generator: Where the draws come from.

    Returns:
        Damaged image, same shape.

    Example:
        >>> pixels(torch.ones(1, 3, 4, 4), fraction=1.0).sum()
        tensor(0.)
    """
    draw = uniform((x.shape[0], 1, *x.shape[2:]), x, generator)
    return x.masked_fill(draw < per_picture(fraction, x), 0.0)


def centre(x: Tensor, side: Strength, *, generator: Generator | None = None) -> Tensor:
    """A black rectangle in the middle, this fraction of the picture's height and of its width.

    The central hole of D. Pathak et al., "Context encoders: feature learning by inpainting", CVPR
    2016, https://arxiv.org/abs/1604.07379.

    Args:
        x: Clean image, (B, C, H, W) in [0, 1].
        side: 0 to 1; 0.5 hides a quarter of the picture.
        generator: Not used: the hole is always in the middle.

    Returns:
        Damaged image, same shape.

    Example:
        >>> centre(torch.ones(1, 1, 8, 8), side=0.5).sum()
        tensor(48.)
    """
    sides = per_picture(torch.as_tensor(side), x)

    def inside(size: int) -> Tensor:
        extent = (sides * size + 0.5).floor()
        start = ((size - extent) / 2).floor()
        place = torch.arange(size, device=x.device)
        return (place >= start) & (place < start + extent)

    return x.masked_fill(inside(x.shape[2]).transpose(2, 3) & inside(x.shape[3]), 0.0)


def strokes(x: Tensor, share: Strength, *, generator: Generator | None = None) -> Tensor:
    """Missing strokes: straight scratches a few pixels wide, as on old prints and under lettering.

    Args:
        x: Clean image, (B, C, H, W) in [0, 1].
        share: How many of 32 strokes there are, 0 to 1. Each is up to half as long as the picture's
            shorter side and up to 5 pixels wide, so small pictures lose more.
        generator: Where the draws come from.

    Returns:
        Damaged image, same shape; the strokes are black.

    Example:
        >>> strokes(torch.ones(1, 1, 8, 8), share=0.0).sum()
        tensor(64.)
    """
    batch, _, height, width = x.shape
    rows = torch.arange(height, device=x.device, dtype=torch.float32)[:, None]
    columns = torch.arange(width, device=x.device, dtype=torch.float32)
    lost = torch.zeros(batch, 1, height, width, dtype=torch.bool, device=x.device)
    drawn = uniform((_STROKES, 6, batch, 1, 1, 1), x, generator)
    for there, top, left, angle, length, wide in drawn:
        along = math.pi * angle
        down, right = rows - top * height, columns - left * width
        # Where on the stroke the nearest point lies, from one end to the other.
        reach = 0.25 * min(height, width) * length
        nearest = torch.sin(along) * down + torch.cos(along) * right
        nearest = torch.minimum(torch.maximum(nearest, -reach), reach)
        distance = torch.hypot(
            down - torch.sin(along) * nearest, right - torch.cos(along) * nearest
        )
        lost |= (distance <= 0.5 + 2 * wide) & (there < per_picture(share, x))
    return x.masked_fill(lost, 0.0)


def blocks(
    x: Tensor, fraction: Strength, *, size: int = 8, generator: Generator | None = None
) -> Tensor:
    """Missing squares: cells of a grid go black with this probability, in all their channels.

    The grid lies differently in every picture, so no pixel is safer than another.

    Args:
        x: Clean image, (B, C, H, W) in [0, 1].
        fraction: Expected fraction of the picture that is missing, 0 to 1.
        size: Side of a square in pixels.
        generator: Where the draws come from.

    Returns:
        Damaged image, same shape.

    Example:
        >>> blocks(torch.ones(1, 1, 16, 16), fraction=1.0).sum()
        tensor(0.)
    """
    batch, _, height, width = x.shape
    shift = (uniform((2, batch, 1), x, generator) * size).long()
    rows = (torch.arange(height, device=x.device) + shift[0]) // size
    columns = (torch.arange(width, device=x.device) + shift[1]) // size
    cells = uniform((batch, height // size + 2, width // size + 2), x, generator)
    cells = cells[
        torch.arange(batch, device=x.device)[:, None, None], rows[:, :, None], columns[:, None, :]
    ]
    return x.masked_fill(cells[:, None] < per_picture(fraction, x), 0.0)


@dataclass(frozen=True)
class Degradation:
    """A line of `DEGRADATIONS`: what to call and which strengths make sense.

    Attributes:
        function: ``function(x, strength, generator=...)``.
        parameter: What the strength is called in the formula.
        default: Strength where a spec gives none.
        low: Least strength allowed.
        high: Greatest strength allowed.
        about: What it is, in a line.
        scale: What a strength that is too high was probably counted in (255 or 100).
        gentlest: The strength that changes nothing, or None where there is no such.
        holes: It takes pixels away whatever they were; see `Damage.apply`.
    """

    function: Callable[..., Tensor]
    parameter: str
    default: float
    low: float
    high: float
    about: str
    scale: int | None = None
    gentlest: float | None = 0.0
    holes: bool = False


DEGRADATIONS: dict[str, Degradation] = {
    "gaussian": Degradation(gaussian, "sigma", 25 / 255, 0, 1, "additive Gaussian noise", 255),
    "salt_pepper": Degradation(
        salt_pepper, "amount", 0.1, 0, 1, "a fraction of the pixels white or black", 100
    ),
    "poisson": Degradation(
        poisson, "peak", 30, 0.1, 1e6, "photon noise, by the photon count at white", None, None
    ),
    "speckle": Degradation(speckle, "sigma", 0.2, 0, 1, "multiplicative Gaussian noise", 255),
    "rician": Degradation(rician, "sigma", 0.06, 0, 1, "magnitude noise of MRI", 255),
    "mri": Degradation(mri, "sigma", 0.06, 0, 1, "magnitude noise of MRI in blots", 255),
    "camera": Degradation(camera, "sigma", 0.05, 0, 1, "noise of a developed raw picture", 255),
    "grain": Degradation(grain, "sigma", 15 / 255, 0, 1, "noise in blots of any colour", 255),
    "blur": Degradation(blur, "sigma", 1.5, 0, 50, "Gaussian blur, in pixels"),
    "jpeg": Degradation(jpeg, "quality", 30, 1, 100, "JPEG compression, by quality", None, None),
    "mask": Degradation(
        pixels, "fraction", 0.5, 0, 1, "a fraction of the pixels missing", 100, holes=True
    ),
    "mask_centre": Degradation(
        centre, "side", 0.5, 0, 1, "a hole in the middle, by its side", 100, holes=True
    ),
    "mask_blocks": Degradation(
        blocks, "fraction", 0.25, 0, 1, "squares of 8x8 pixels missing", 100, holes=True
    ),
    "mask_strokes": Degradation(
        strokes, "share", 0.5, 0, 1, "scratches missing, by their number", 100, holes=True
    ),
    "stain": Degradation(stain, "depth", 0.6, 0, 1, "coffee and blots on a page", 100),
    "shade": Degradation(shade, "depth", 0.5, 0, 1, "uneven light and shadow on a page", 100),
    "fade": Degradation(fade, "share", 0.6, 0, 1, "faded and broken print", 100),
    "bleed": Degradation(bleed, "share", 0.3, 0, 1, "print showing from the other side", 100),
    "fold": Degradation(fold, "depth", 0.4, 0, 1, "folds and wrinkles of a page", 100),
    "streaks": Degradation(streaks, "depth", 0.3, 0, 1, "streaks of a dirty scanner", 255),
    "paper": Degradation(paper, "depth", 0.4, 0, 1, "dark, cloudy, fibrous paper", 100),
    "bilevel": Degradation(bilevel, "level", 0.5, 0, 1, "a scan of one bit", 255, None),
}


def _mirrored(size: int, radius: int, device: torch.device) -> Tensor:
    """Indices of a line with `radius` mirrored samples on both sides, edge sample repeated."""
    place = torch.arange(-radius, size + radius, device=device) % (2 * size)
    return torch.minimum(place, 2 * size - 1 - place)


def _exactly(strength: Strength) -> Tensor:
    """In float64 on the CPU; a device may not have that, so it moves before it widens."""
    if isinstance(strength, Tensor):
        return strength.cpu().double()
    return torch.tensor(strength, dtype=torch.float64)
