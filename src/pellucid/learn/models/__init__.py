"""The table of models. To add one: a file here with a `Restorer`, and a line in `MODELS`."""

from __future__ import annotations

from typing import Any

from pellucid.errors import unknown
from pellucid.learn.models.base import Autoencoder, Restorer
from pellucid.learn.models.conv import ConvAutoencoder
from pellucid.learn.models.factorized import FactorizedCodec
from pellucid.learn.models.hyperprior import HyperpriorCodec
from pellucid.learn.models.inpainter import Inpainter
from pellucid.learn.models.pretrained import PretrainedAutoencoder
from pellucid.learn.models.sparse import SparseAutoencoder
from pellucid.learn.models.stacked import StackedAutoencoder
from pellucid.learn.models.summary import Summary, summary
from pellucid.learn.models.unet import UNet
from pellucid.learn.models.variational import VariationalAutoencoder

__all__ = ["MODELS", "Autoencoder", "Restorer", "Summary", "create", "summary"]

MODELS: dict[str, type[Restorer]] = {
    "conv": ConvAutoencoder,
    "pretrained": PretrainedAutoencoder,
    "sparse": SparseAutoencoder,
    "stacked": StackedAutoencoder,
    "variational": VariationalAutoencoder,
    "unet": UNet,
    "inpaint": Inpainter,
    "factorized": FactorizedCodec,
    "hyperprior": HyperpriorCodec,
}


def create(name: str, **options: Any) -> Restorer:
    """A new, untrained model.

    Args:
        name: A name in `MODELS`.
        **options: What the model's class documents; everything has a default that works.

    Raises:
        OptionError: An unknown name or option (the nearest known one is offered), or sizes that
            do not fit together.

    Example:
        >>> model = create("conv", channels=(32, 64), down="max", up="unpool")
        >>> import torch
        >>> model(torch.zeros(1, 1, 30, 41)).shape
        torch.Size([1, 1, 30, 41])
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return MODELS[name](**options)
