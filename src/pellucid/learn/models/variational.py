"""The variational autoencoder: a code that is a distribution, and a bound on the likelihood.

It is the plain autoencoder of `conv` with one layer more, which says how sure each number of the
code is. Training draws from that; `forward` decodes the mean and draws nothing.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from pellucid.errors import OptionError, unknown
from pellucid.learn.draws import normal, uniform
from pellucid.learn.models.base import Loss
from pellucid.learn.models.blocks import Activation, Down, Norm, PlainUp, check_plain
from pellucid.learn.models.conv import ConvAutoencoder

Likelihood = Literal["bernoulli", "gaussian"]

CRITERIA: dict[str, Loss] = {"bernoulli": "bce", "gaussian": "mse"}
"""The loss that each likelihood is, up to a scale and a constant."""

_WIDEST = 20.0
"""Largest logarithm of a variance in the code, either way: beyond it float32 overflows."""


def binarized(x: Tensor, *others: Tensor, generator: Generator | None = None) -> list[Tensor]:
    """Black or white pixels, each white with the probability that its grey is.

    Likelihoods of MNIST are told for such pictures: drawn anew each time (Burda et al. 2016,
    https://arxiv.org/abs/1509.00519), or once and kept (Salakhutdinov and Murray 2008,
    https://doi.org/10.1145/1390156.1390266), which the same seed does.

    Args:
        x: (B, C, H, W) in [0, 1].
        *others: Of the same shape; pixels of one grey in two pictures get one and the same answer.
        generator: Where the draws come from.

    Returns:
        As many tensors as were given, of zeros and ones.
    """
    draws = uniform(tuple(x.shape), x, generator)
    return [(draws < image).to(image.dtype) for image in (x, *others)]


def divergence(mean: Tensor, deviation: Tensor) -> Tensor:
    """Kullback-Leibler divergence of normals from the standard normal, element by element, in nats.

    Example:
        >>> divergence(torch.tensor([0.0, 1.0]), torch.ones(2))
        tensor([0.0000, 0.5000])
    """
    return 0.5 * (mean.square() + deviation.square() - 1) - deviation.log()


@dataclass(frozen=True)
class Bound:
    """An upper bound on the negative log-likelihood of pictures.

    Attributes:
        name: 'ELBO', or 'IWAE-K' for the importance-weighted bound of K draws.
        nats: One number for each picture, (B,); lower is better.
    """

    name: str
    nats: Tensor

    def __str__(self) -> str:
        return (
            f"{float(self.nats.mean()):.2f} nats a picture ({self.name}, mean of {len(self.nats)})"
        )


class VariationalAutoencoder(ConvAutoencoder):
    """An encoder that gives a normal distribution over codes, and the mirror of it back.

    Kingma and Welling 2014, https://arxiv.org/abs/1312.6114. Trained with damage it encodes the
    damaged picture and judges the clean one (Im et al. 2017, https://arxiv.org/abs/1511.06406).

    Args:
        channels: Width of each level, outermost first; there are as many levels as widths.
        convs: Convolutions at each level.
        kernel: Side of every convolution, odd.
        down: 'stride', 'max' or 'avg'.
        up: 'nearest', 'bilinear' or 'transpose'.
        norm: 'none', 'batch' or 'group'.
        activation: 'relu', 'leaky_relu', 'gelu' or 'silu'.
        code_channels: Channels of a spatial code, which takes any image size; 8 where neither this
            nor code_size is given.
        code_size: Length of a dense code. Binds the model to `image_size`.
        image_size: Height and width (or one side) for a dense code.
        likelihood: 'bernoulli' takes greys for probabilities of white: its nats are comparable with
            published ones only for pictures of black and white, see `binarized`. 'gaussian' is a
            density of greys on the [0, 1] scale, so that its nats may be negative.
        scale: Standard deviation of the 'gaussian'; values are on the [0, 1] scale.
        learned_scale: Learn that one number, beginning from `scale` (Rybkin et al. 2021,
            https://arxiv.org/abs/2006.13202).
        beta: Weight of the divergence in training (Higgins et al. 2017,
            https://openreview.net/forum?id=Sy2fzU9gl); 1 is the bound itself, 0 leaves it out.
        free_bits: Nats that each element of the code may take without being pressed, as a mean over
            the batch and, in a spatial code, over the places of its channel (Kingma et al. 2016,
            https://arxiv.org/abs/1606.04934).
        binarized: Draw black or white pixels in training and in `nats`, anew each time. For
            'bernoulli' only.
        image_channels: 1 for grey, 3 for colour.
    """

    kind: ClassVar[str] = "variational"

    def __init__(
        self,
        *,
        channels: tuple[int, ...] = (32, 64),
        convs: int = 1,
        kernel: int = 3,
        down: Down = "stride",
        up: PlainUp = "nearest",
        norm: Norm = "none",
        activation: Activation = "relu",
        code_channels: int | None = None,
        code_size: int | None = None,
        image_size: int | tuple[int, int] | None = None,
        likelihood: Likelihood = "bernoulli",
        scale: float = 0.1,
        learned_scale: bool = False,
        beta: float = 1.0,
        free_bits: float = 0.0,
        binarized: bool = False,
        image_channels: int = 1,
    ) -> None:
        check_plain(self.kind, up)
        _check(likelihood, scale, learned_scale, beta, free_bits, binarized)
        if code_channels is None and code_size is None:
            code_channels = self.options["code_channels"] = 8
        super().__init__(
            channels=channels,
            convs=convs,
            kernel=kernel,
            down=down,
            up=up,
            norm=norm,
            activation=activation,
            loss=CRITERIA[likelihood],
            code_channels=code_channels,
            code_size=code_size,
            image_size=image_size,
            image_channels=image_channels,
        )
        # Every deviation begins at 1, the prior's.
        self.to_spread = copy.deepcopy(self.to_code)
        for weight in self.to_spread.parameters():
            nn.init.zeros_(weight)
        self.likelihood = likelihood
        self.log_scale: Tensor | float = math.log(scale)
        if learned_scale:
            self.log_scale = nn.Parameter(torch.tensor(self.log_scale))
        self.beta, self.free_bits, self.binarized = beta, free_bits, binarized

    def use_loss(self, loss: str) -> None:
        """Take only the loss that the likelihood is: 'bce' is 'bernoulli', 'mse' is 'gaussian'.

        Raises:
            OptionError: For any other.
        """
        own = CRITERIA[self.options["likelihood"]]
        if loss != own:
            raise OptionError(
                f"'{self.kind}' is trained on its likelihood '{self.options['likelihood']}', not "
                f"on '{loss}'; leave train.loss out and set model.likelihood: "
                + " or ".join(f"{name} (as {as_loss})" for name, as_loss in CRITERIA.items())
            )
        self.criterion = own

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the code of images (B, C, H, W), shaped as by `encode`."""
        features, _ = self._features(self._pad(x))
        mean, log_variance = self.to_code(features).float(), self.to_spread(features).float()
        return mean, (log_variance.clamp(-_WIDEST, _WIDEST) / 2).exp()

    def loss(
        self, damaged: Tensor, clean: Tensor, *, generator: Generator | None = None
    ) -> dict[str, Tensor]:
        """The negative ELBO in nats for each pixel of each channel, from one draw a picture.

        A mean over pixels, as the loss of every other model, lets a learning rate mean the same at
        every image size; times pixels and channels, and with beta=1 and no free bits, it is the
        bound in nats a picture.

        Args:
            damaged: What is encoded, (B, C, H, W).
            clean: What is judged, same shape.
            generator: Where draws come from; torch's own where none is given.

        Returns:
            'likelihood', minus the log-likelihood of `clean`; 'divergence', times beta and with
            free bits, unless beta is 0.
        """
        if self.binarized:
            damaged, clean = binarized(damaged, clean, generator=generator)
        mean, deviation = self.posterior(damaged)
        found = self._log_likelihood(mean + deviation * normal(mean, generator), clean)
        terms = {"likelihood": -found.sum() / clean.numel()}
        if self.beta:
            pressed = self._pressed(divergence(mean, deviation))
            terms["divergence"] = self.beta * pressed / clean[0].numel()
        return terms

    @torch.no_grad()
    def nats(
        self,
        clean: Tensor,
        *,
        damaged: Tensor | None = None,
        samples: int = 1,
        generator: Generator | None = None,
    ) -> Bound:
        """What pictures cost under the model, in nats each; beta and free bits play no part.

        Args:
            clean: (B, C, H, W) in [0, 1]; drawn black or white first where the model is made so.
            damaged: What is encoded; `clean` itself where not given.
            samples: Draws of the code for each picture: with 1 the ELBO, with more the
                importance-weighted bound (Burda et al. 2016, https://arxiv.org/abs/1509.00519),
                which comes the nearer to the likelihood the more there are.
            generator: Where draws come from; torch's own where none is given.
        """
        if samples < 1:
            raise OptionError(f"samples is {samples}; the bound needs at least 1 draw")
        damaged = clean if damaged is None else damaged
        if self.binarized:
            damaged, clean = binarized(damaged, clean, generator=generator)
        mean, deviation = self.posterior(damaged)
        if samples == 1:
            found = self._log_likelihood(mean + deviation * normal(mean, generator), clean)
            return Bound("ELBO", divergence(mean, deviation).flatten(1).sum(1) - found)
        weights = []
        for _ in range(samples):
            chance = normal(mean, generator)
            code = mean + deviation * chance
            # Of prior over posterior the constants cancel.
            ratio = 0.5 * (chance.square() - code.square()) + deviation.log()
            weights.append(self._log_likelihood(code, clean) + ratio.flatten(1).sum(1))
        found = torch.stack(weights).logsumexp(0) - math.log(samples)
        return Bound(f"IWAE-{samples}", -found)

    def log_density(self, raw: Tensor, clean: Tensor) -> Tensor:
        """The log-density of images, (B,), for the output before its sigmoid, (B, C, H, W)."""
        if self.likelihood == "bernoulli":
            pixels = -F.binary_cross_entropy_with_logits(raw, clean, reduction="none")
        else:
            log_scale = torch.as_tensor(self.log_scale, device=raw.device)
            off = (clean - raw.sigmoid()) / log_scale.exp()
            pixels = -0.5 * off.square() - log_scale - 0.5 * math.log(2 * math.pi)
        return pixels.flatten(1).sum(1)

    def _log_likelihood(self, code: Tensor, clean: Tensor) -> Tensor:
        height, width = clean.shape[-2:]
        return self.log_density(self._decode(code, [])[..., :height, :width].float(), clean)

    def _pressed(self, nats: Tensor) -> Tensor:
        """The divergence of a picture, of elements (B, K, ...), where it exceeds the free bits."""
        places = nats[0, 0].numel()
        means = nats.transpose(0, 1).flatten(1).mean(1)
        return places * (means.clamp(min=self.free_bits) if self.free_bits else means).sum()


def _check(
    likelihood: str,
    scale: float,
    learned_scale: bool,
    beta: float,
    free_bits: float,
    binarized: bool,
) -> None:
    if likelihood not in CRITERIA:
        raise unknown("likelihood", likelihood, CRITERIA)
    if not (math.isfinite(scale) and scale > 0):
        raise OptionError(f"scale is {scale}; a standard deviation is above 0, e.g. 0.1")
    for name, value in (("beta", beta), ("free_bits", free_bits)):
        if not (math.isfinite(value) and value >= 0):
            raise OptionError(f"{name} is {value}; it must be 0 or more")
    if likelihood == "bernoulli" and learned_scale:
        raise OptionError("a 'bernoulli' has no scale to learn; give likelihood='gaussian'")
    if likelihood == "gaussian" and binarized:
        raise OptionError("binarized pixels are black or white; give likelihood='bernoulli'")
