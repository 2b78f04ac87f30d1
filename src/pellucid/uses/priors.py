"""Where new codes come from: the standard normal, or a mixture fitted to the codes of pictures.

An encoder seldom fills the standard normal that it was trained towards, and decoding where no code
lies gives no picture; a plain autoencoder has no such prior at all. A mixture of normals fitted
afterwards mends both (Ghosh et al. 2020, https://arxiv.org/abs/1903.12436).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

from pellucid.errors import DataError, OptionError

FULL = 512
"""Longest code whose mixture has full covariances."""

ENOUGH = 4
"""Codes for each dimension of each component, below which covariances are diagonal."""


class Prior(Protocol):
    """Anything that draws codes."""

    def draw(self, count: int, *, generator: Generator) -> Tensor:
        """Codes, (count, ...), as a decoder takes them."""


@dataclass(frozen=True)
class StandardNormal:
    """The prior that a variational autoencoder is trained towards.

    Attributes:
        shape: Of one code.
    """

    shape: tuple[int, ...]

    def draw(self, count: int, *, generator: Generator) -> Tensor:
        """Codes, (count, *shape)."""
        return torch.randn(count, *self.shape, generator=generator)


@dataclass(frozen=True)
class Mixture:
    """Normals, one of which each code comes from.

    Attributes:
        shape: Of one code, of D numbers.
        weights: How often each is chosen, (M,).
        means: (M, D).
        factors: Each covariance's lower Cholesky factor, (M, D, D); or deviations, (M, D).
    """

    shape: tuple[int, ...]
    weights: Tensor
    means: Tensor
    factors: Tensor

    def draw(self, count: int, *, generator: Generator) -> Tensor:
        """Codes, (count, *shape)."""
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        chance = torch.randn(count, self.means.shape[1], generator=generator)
        codes = self.means[chosen]
        if self.factors.ndim == 2:
            codes = codes + self.factors[chosen] * chance
        else:
            # One component at a time: a factor for each code would be gigabytes.
            for index, factor in enumerate(self.factors):
                mine = chosen == index
                codes[mine] = codes[mine] + chance[mine] @ factor.T
        return codes.view(count, *self.shape)


def fit_mixture(codes: Tensor, *, components: int = 10, seed: int = 0) -> Mixture:
    """The mixture of `components` normals under which `codes` (N, ...) are most likely.

    Covariances are full where codes are short and many enough, else diagonal.

    Raises:
        OptionError: No component asked for.
        DataError: Fewer codes than components, or a code that is not finite.
    """
    flat = codes.flatten(1).cpu().double()
    count, length = flat.shape
    if components < 1:
        raise OptionError(f"components is {components}; a mixture has at least 1")
    if count < max(2, components):
        raise DataError(
            f"a mixture of {components} cannot be fitted to {count} codes; "
            "give more pictures or fewer components"
        )
    if not flat.isfinite().all():
        raise DataError("some codes are not finite numbers; the model's training has failed")
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    full = length <= FULL and count >= ENOUGH * length * components
    # Units that never vary must not make a covariance singular; relative to what the others do.
    floor = 1e-6 * max(float(flat.var(0).mean()), 1e-6)
    fitted = GaussianMixture(
        components,
        covariance_type="full" if full else "diag",
        reg_covar=floor,
        random_state=seed % 2**32,
    )
    with warnings.catch_warnings():
        # A mixture that still improves a little is a density like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit(flat.numpy())
    covariances = torch.from_numpy(fitted.covariances_)
    factors = torch.linalg.cholesky(covariances) if full else covariances.sqrt()
    return Mixture(
        tuple(codes.shape[1:]),
        torch.from_numpy(fitted.weights_).float(),
        torch.from_numpy(fitted.means_).float(),
        factors.float(),
    )
