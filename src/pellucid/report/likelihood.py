"""What the pictures of an evaluation cost under a model with a likelihood, in nats a picture.

Two bounds on minus the logarithm of the likelihood, both from above: the ELBO (Kingma and Welling
2014, https://arxiv.org/abs/1312.6114) and the importance-weighted bound of K draws, IWAE-K (Burda
et al. 2016, https://arxiv.org/abs/1509.00519). A figure says little without the name of its bound
and what was done to the pixels, so both come with it. Read next: `results`, which tells them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pellucid.errors import OptionError
from pellucid.learn.models.variational import VariationalAutoencoder
from pellucid.report.trial import Trial

STOCHASTIC, GREYS, DENSITY = "stochastic", "greys", "density"
PIXELS = {
    STOCHASTIC: "pixels drawn black or white, white with the probability that their grey is",
    GREYS: "greys taken for probabilities of white: not comparable with published figures",
    DENSITY: "a density of greys on the [0, 1] scale",
}
"""What a likelihood is of. 'stochastic' is drawn anew from the seed, as Burda et al. do it; the
fixed drawing of Salakhutdinov and Murray 2008 is told by other programs and a little harder."""


@dataclass(frozen=True)
class Cost:
    """A bound's mean over pictures.

    Attributes:
        bound: 'ELBO', or 'IWAE-K'.
        nats: At most this is minus the log-likelihood of a picture, on average; lower is better.
        error: Standard error of that mean over pictures; not a number for one picture.
    """

    bound: str
    nats: float
    error: float


@dataclass(frozen=True)
class Likelihood:
    """The likelihood of pictures under a model, as far as it is known.

    Attributes:
        density: 'bernoulli' or 'gaussian'.
        binarisation: A name in `PIXELS`.
        damage: What was done to the picture that was encoded; the clean one is judged.
        n: How many pictures.
        costs: The ELBO, and IWAE-K where it was asked for.
    """

    density: str
    binarisation: str
    damage: str
    n: int
    costs: tuple[Cost, ...]

    def told(self) -> dict[str, Any]:
        """For JSON; ``bounds`` by their names."""
        bounds = {
            cost.bound: {"nats": cost.nats, "standard_error": cost.error} for cost in self.costs
        }
        return {
            "density": self.density,
            "binarisation": self.binarisation,
            "encoded": self.damage,
            "n": self.n,
            "bounds": bounds,
        }

    def table(self) -> str:
        """For people, a line for each bound."""
        encoded = "" if self.damage == "none" else f"; encoded after damage {self.damage}"
        lines = [f"minus log-likelihood, {self.density}; {PIXELS[self.binarisation]}{encoded}"]
        for cost in self.costs:
            spread = f" (standard error {cost.error:.2f})" if math.isfinite(cost.error) else ""
            lines.append(f"{cost.bound:<14}at most {cost.nats:.2f} nats a picture{spread}")
        return "\n".join(lines)


def check_samples(samples: int | None) -> None:
    """Refuse draws that make no importance-weighted bound."""
    if samples is not None and samples < 2:
        raise OptionError(
            f"samples is {samples}; the importance-weighted bound takes at least 2 draws, and the "
            "ELBO, which takes 1, is told without it"
        )


def likelihood(
    model: VariationalAutoencoder, trial: Trial, indices: Sequence[int], samples: int | None = None
) -> Likelihood:
    """The ELBO of the pictures of a trial, one draw of the code each, and IWAE-K beside it.

    Args:
        model: In evaluation mode.
        trial: Damaged pictures are encoded, clean ones judged.
        indices: Which pictures.
        samples: K; None leaves that bound out.
    """
    check_samples(samples)
    draws = [1] if samples is None else [1, samples]
    found: list[list[np.ndarray]] = [[] for _ in draws]
    weight = next(model.parameters())
    for batch in trial.batches(indices):
        pairs = [trial.pair(index) for index in batch]
        clean = torch.cat([pair.clean for pair in pairs]).to(weight)
        damaged = torch.cat([pair.damaged for pair in pairs]).to(weight)
        word = np.random.SeedSequence((trial.seed, batch[0], len(batch))).generate_state(1)[0]
        for nats, count in zip(found, draws, strict=True):
            # The same chance for both, so that both judge the same black and white pixels.
            chance = torch.Generator().manual_seed(int(word))
            bound = model.nats(clean, damaged=damaged, samples=count, generator=chance)
            nats.append(bound.nats.double().cpu().numpy())
    binarisation = DENSITY
    if model.likelihood == "bernoulli":
        binarisation = STOCHASTIC if model.binarized else GREYS
    names = ["ELBO", *([] if samples is None else [f"IWAE-{samples}"])]
    return Likelihood(
        density=model.likelihood,
        binarisation=binarisation,
        damage="pairs" if trial.damage is None else str(trial.damage),
        n=len(indices),
        costs=tuple(
            _cost(name, np.concatenate(nats)) for name, nats in zip(names, found, strict=True)
        ),
    )


def _cost(name: str, nats: np.ndarray) -> Cost:
    error = float(nats.std(ddof=1)) / math.sqrt(len(nats)) if len(nats) > 1 else math.nan
    return Cost(name, float(nats.mean()), error)
