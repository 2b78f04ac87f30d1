"""How far two sets of pictures are from each other as two clouds of features.

The Fréchet distance of the normals with their means and covariances (Heusel et al. 2017,
https://arxiv.org/abs/1706.08500). A number means something only beside its feature network and its
number of pictures: few pictures make it larger. Published FIDs use Inception's features, which are
not these.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.errors import DataError, OptionError
from pellucid.learn.models import Autoencoder, Restorer

Features = Callable[[Tensor], Tensor]
"""From pictures (B, C, H, W) in [0, 1] to features, (B, ...), which are taken flat."""

Floats = NDArray[np.floating]

BATCH = 256


def normals_distance(
    mean: Floats, covariance: Floats, other_mean: Floats, other_covariance: Floats
) -> float:
    """The squared Fréchet (2-Wasserstein) distance of two normal distributions.

    Dowson and Landau 1982, https://doi.org/10.1016/0047-259X(82)90077-X.

    Args:
        mean: (D,).
        covariance: (D, D), symmetric; it may be singular.
        other_mean: (D,), of the other.
        other_covariance: (D, D), of the other.

    Example:
        >>> import numpy as np
        >>> float(normals_distance(np.zeros(2), np.eye(2), np.ones(2), 4 * np.eye(2)))
        4.0
    """
    mean, covariance, other_mean, other_covariance = (
        np.asarray(part, np.float64) for part in (mean, covariance, other_mean, other_covariance)
    )
    # The trace of sqrt(A B) is that of sqrt(sqrt(A) B sqrt(A)), which is symmetric: its eigenvalues
    # are real, while a square root of A B itself gets complex by rounding.
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    shared = np.linalg.eigvalsh(root @ other_covariance @ root)
    apart = np.square(mean - other_mean).sum()
    spread = np.trace(covariance) + np.trace(other_covariance)
    return max(0.0, float(apart + spread - 2 * np.sqrt(shared.clip(min=0)).sum()))


def frechet_distance(features: Floats, others: Floats) -> float:
    """The Fréchet distance of two sets of features, (N, D) and (M, D); 0 for a set and itself.

    Raises:
        DataError: The sets differ in D, or one has fewer than 2 members.
    """
    features, others = (np.asarray(part, np.float64) for part in (features, others))
    shapes = features.shape, others.shape
    if any(len(shape) != 2 or shape[0] < 2 for shape in shapes) or shapes[0][1] != shapes[1][1]:
        raise DataError(
            f"features of shapes {shapes[0]} and {shapes[1]} cannot be compared; give two sets "
            "(N, D) of at least 2 members, from the same network"
        )
    one, other = (
        (part.mean(0), np.atleast_2d(np.cov(part, rowvar=False))) for part in (features, others)
    )
    return normals_distance(*one, *other)


def code_features(model: Restorer) -> Features:
    """The code of an autoencoder as features.

    Raises:
        OptionError: The model has no code.
    """
    if not isinstance(model, Autoencoder):
        raise OptionError(
            f"'{model.kind}' has no code to compare pictures by; give an autoencoder, such as "
            "pellucid train r3-code makes"
        )
    return model.encode


@torch.no_grad()
def featured(features: Features, pictures: Tensor) -> Floats:
    """Features of many pictures (N, C, H, W), (N, D) in float64, some at a time."""
    parts = [features(part).flatten(1).cpu().double() for part in torch.split(pictures, BATCH)]
    return torch.cat(parts).numpy()
