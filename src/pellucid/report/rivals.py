"""Classical methods run on the pictures of an evaluation, and PCA with a code of the model's size.

Settings are chosen on the very pictures that are scored, which is in the baseline's favour: a
model that beats it beats it at its best.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.errors import DataError, PellucidError, unknown
from pellucid.learn.datasets import Dataset
from pellucid.learn.models import Autoencoder, create
from pellucid.learn.pictures import Pictures
from pellucid.report.baselines import BASELINES, Setting, pca_reconstruction, tuned
from pellucid.report.results import BaselineScores
from pellucid.report.trial import Pixels, Trial, mean, picture, scores, spread, tensor

LIMIT = 100
"""Pictures for the baselines unless told otherwise: BM3D takes a second even for a digit."""

PCA = "pca"
PCA_TRAINING = 20_000
"""Most training pictures for PCA: more hardly move the components of small pictures."""

TUNING_IMAGES = 4
TUNING_SIDE = 128
TUNING_PIXELS = 1 << 16
"""What a baseline's setting is chosen on: few pictures, cut to their centre."""


def chosen(baselines: bool | Sequence[str]) -> list[str]:
    """Names of the methods to run; the packages they need are opened before anything slow.

    Raises:
        OptionError: An unknown name.
        MissingExtraError: A package is not installed.
    """
    known = [*BASELINES, PCA]
    if isinstance(baselines, bool):
        names = known if baselines else []
    else:
        names = [baselines] if isinstance(baselines, str) else list(baselines)
    for name in names:
        if name not in known:
            raise unknown("baseline", name, known)
        if name != PCA:
            BASELINES[name](np.zeros((1, 1, 1), np.float32), 0.0)
    return names


def classical(name: str, trial: Trial, indices: Sequence[int]) -> BaselineScores:
    """A classical method at its best setting, on some of the pictures."""
    baseline = BASELINES[name]
    pairs, sigmas = _tuning_pairs(trial, indices)
    setting = tuned(baseline, pairs, sigmas)
    found: list[dict[str, float]] = []
    seconds = 0.0
    for index in indices:
        pair = trial.pair(index)
        options: Setting = dict(setting)
        sigma = options.pop("sigma", trial.sigma(pair))
        started = time.perf_counter()
        restored = baseline(picture(pair.damaged.nan_to_num(0)), sigma, **options)
        seconds += time.perf_counter() - started
        found += scores(trial.finished(tensor(restored)), pair.clean)
    level: str | float | None = None
    if baseline.uses_sigma:
        known = sigmas and sigmas[0] is not None
        level = "known" if known else setting.get("sigma", "estimated")
    return BaselineScores(
        mean(found),
        n=len(indices),
        setting={key: value for key, value in setting.items() if key != "sigma"},
        sigma=level,
        seconds=seconds / len(indices),
    )


def _tuning_pairs(
    trial: Trial, indices: Sequence[int]
) -> tuple[list[tuple[Pixels, Pixels]], list[float | None]]:
    """The central parts of a few pictures, in favour of what is tuned on them."""
    pairs: list[tuple[Pixels, Pixels]] = []
    sigmas: list[float | None] = []
    room = TUNING_PIXELS
    for i in spread(len(indices), TUNING_IMAGES):
        pair = trial.pair(indices[i])
        part = _centre(pair.damaged.nan_to_num(0)), _centre(pair.clean)
        room -= part[0].shape[0] * part[0].shape[1]
        if pairs and room < 0:
            break
        pairs.append(part)
        sigmas.append(trial.sigma(pair))
    return pairs, sigmas


def pca(
    model: object,
    card: Mapping[str, Any],
    data: Dataset | Pictures,
    trial: Trial,
    indices: Sequence[int],
) -> BaselineScores:
    """PCA with a code of the model's size, fitted to clean training pictures."""
    try:
        if not isinstance(data, Dataset) or not _has_training(data):
            raise DataError("the data has no training part to fit it to")
        if not (data.train.uniform and trial.pictures.uniform):
            raise DataError("the pictures differ in size")
        size = trial.pictures.sizes[0].tolist()
        code_size = _code_size(model, card, trial.pictures.channels, size)
        if code_size >= trial.pictures.channels * size[0] * size[1]:
            raise DataError(f"the code of {code_size} numbers is no smaller than the picture")
        known = torch.tensor(spread(len(data.train), PCA_TRAINING))
        train = data.train.whole(known)[0].permute(0, 2, 3, 1).numpy()
        pairs = [trial.pair(index) for index in indices]
        black = torch.cat([pair.damaged.nan_to_num(0) for pair in pairs])
        damaged = black.permute(0, 2, 3, 1).numpy()
        started = time.perf_counter()
        restored = pca_reconstruction(train, damaged, code_size)
        seconds = time.perf_counter() - started
    except PellucidError as error:
        return BaselineScores(None, reason=str(error))
    finished = trial.finished(torch.from_numpy(restored).permute(0, 3, 1, 2))
    return BaselineScores(
        mean(scores(finished, torch.cat([pair.clean for pair in pairs]))),
        n=len(indices),
        setting={"code_size": code_size},
        seconds=seconds / len(indices),
    )


def _has_training(data: Dataset) -> bool:
    try:
        return len(data.train) > 0
    except DataError:  # a published test set says so when it is asked
        return False


def _code_size(model: object, card: Mapping[str, Any], channels: int, size: list[int]) -> int:
    """How many numbers the model's code of one picture holds."""
    network = model
    if not isinstance(model, nn.Module):
        if "model" not in card:
            raise DataError("the model does not say what its code is")
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in card["options"].items()}
        # The shape of the code needs no weights.
        network = create(card["model"], **options).eval()
    if not isinstance(network, Autoencoder):
        raise DataError("the model has no code of its own, as an autoencoder has")
    weight = next(network.parameters())
    with torch.inference_mode():
        image = torch.zeros(1, network.image_channels, *size, device=weight.device)
        return network.encode(image)[0].numel() * channels // network.image_channels


def _centre(image: Tensor) -> Pixels:
    height, width = image.shape[2:]
    top, left = max(0, height - TUNING_SIDE) // 2, max(0, width - TUNING_SIDE) // 2
    return picture(image[:, :, top : top + TUNING_SIDE, left : left + TUNING_SIDE])
