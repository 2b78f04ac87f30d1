"""Strips from one picture to the next, through the code of any autoencoder that decodes.

Read next: `generate`, whose paths run between pictures taken by chance, or between samples.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import DataError, OptionError, unknown
from pellucid.learn.models import Autoencoder, Restorer
from pellucid.learn.models.variational import VariationalAutoencoder
from pellucid.uses.code_map import Strips
from pellucid.uses.embed import Embedding, coding, prepared, tensor

WAYS = ("straight", "spherical")
"""Along a line; or along the arc between the directions of two codes while the length changes
evenly (Shoemake 1985, https://doi.org/10.1145/325165.325242; for codes White 2016,
https://arxiv.org/abs/1609.04468)."""

MOST = 100
"""Most pictures of a strip."""

PARALLEL = 1e-4
"""Sine of an angle below which an arc is a line, or where it would run is anybody's guess."""


def straight(one: Tensor, other: Tensor, amounts: Tensor) -> Tensor:
    """Codes on the line from one code to the other, (len(amounts), ...).

    Example:
        >>> straight(torch.zeros(2), torch.ones(2), torch.tensor([0.0, 0.5])).tolist()
        [[0.0, 0.0], [0.5, 0.5]]
    """
    return torch.stack([torch.lerp(one, other, float(amount)) for amount in amounts])


def spherical(one: Tensor, other: Tensor, amounts: Tensor) -> Tensor:
    """Codes on the arc from one code to the other, (len(amounts), ...).

    Long codes drawn from a standard normal all have about one length, and half-way along a line
    they are shorter than any that a decoder has met. Where both point the same way or opposite
    ways, or one is nothing, it is the line.

    Example:
        >>> spherical(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor([0.5]))
        tensor([[0.7071, 0.7071]])
    """
    # In single precision an angle of nearly half a turn is known to three digits only.
    first, last = one.cpu().double(), other.cpu().double()
    lengths = first.norm(), last.norm()
    if min(lengths) == 0:
        return straight(one, other, amounts)
    begin, end = first / lengths[0], last / lengths[1]
    angle = torch.acos((begin * end).sum().clamp(-1, 1))
    if angle.sin() < PARALLEL:
        return straight(one, other, amounts)
    codes = []
    for amount in amounts.tolist():
        direction = torch.sin((1 - amount) * angle) * begin + torch.sin(amount * angle) * end
        length = torch.lerp(lengths[0], lengths[1], amount)
        codes.append(length * direction / angle.sin())
    return torch.stack(codes).to(one)


@torch.no_grad()
def interpolations(
    model: Restorer | str | Path,
    embedding: Embedding,
    *,
    way: str = "straight",
    steps: int = 9,
    lines: int = 9,
) -> Strips:
    """Strips from a picture to the next: the classes in turn, else pictures evenly spaced.

    At both ends stand the pictures themselves, with what they are called beneath; the decoded
    codes between them run from the code of the one to that of the other, both included.

    Args:
        model: What `embedding` was made with.
        embedding: From `embed`.
        way: One of `WAYS`; 'spherical' for a dense code with a normal prior.
        steps: Decoded pictures of each strip.
        lines: Most strips.

    Raises:
        OptionError: The model cannot decode, has no such way, or less than two pictures.
        DataError: The pictures differ in size.
    """
    if way not in WAYS:
        raise unknown("way", way, WAYS)
    if not 2 <= steps <= MOST:
        raise OptionError(f"steps is {steps}; a strip has from 2 to {MOST}")
    if lines < 1:
        raise OptionError(f"{lines} strips are not possible; give at least 1")
    coder = coding(model)
    normal = isinstance(coder, VariationalAutoencoder) and coder.image_size is not None
    if way == "spherical" and not normal:
        raise OptionError(
            "an arc between codes makes sense where a dense code was trained towards a standard "
            f"normal, and that of '{coder.kind}' was not: go straight, or give a run of 'pellucid "
            "train r3-variational'"
        )
    rows = _ends(embedding, lines + 1)
    if len(rows) < 2:
        raise OptionError("a strip needs two pictures; give more pictures")
    pictures = [prepared(coder, embedding.picture(row), embedding.size) for row in rows]
    if len({picture.shape for picture in pictures}) > 1:
        raise DataError(
            "the pictures differ in size, and so do their codes; --size N fits all into squares"
        )
    along = spherical if way == "spherical" else straight
    amounts = torch.linspace(0, 1, steps)
    training, weight = coder.training, next(coder.parameters())
    coder.eval()
    try:
        codes = coder.encode(tensor(np.stack(_alike(pictures)), weight.device)).float()
        cells, captions = [], []
        for i in range(len(rows) - 1):
            path = _decoded(coder, along(codes[i], codes[i + 1], amounts), pictures[0].shape)
            cells.append([pictures[i], *path, pictures[i + 1]])
            names = [_named(embedding, row) for row in (rows[i], rows[i + 1])]
            captions.append([names[0], *[""] * steps, names[1]])
    finally:
        coder.train(training)
    columns = ["picture", *(f"{amount:.3g}" for amount in amounts.tolist()), "picture"]
    return Strips(cells, captions, columns)


def _ends(embedding: Embedding, count: int) -> list[int]:
    """Rows to go from one to the next: the first picture of each class, then the second ..."""
    total = len(embedding)
    if embedding.labels is None:
        count = min(count, total)
        return [i * total // count for i in range(count)]
    order = np.argsort(embedding.labels, kind="stable")
    sorted_labels = embedding.labels[order]
    place = np.empty(total, np.int64)
    place[order] = np.arange(total) - np.searchsorted(sorted_labels, sorted_labels)
    rows: list[int] = np.lexsort((embedding.labels, place))[:count].tolist()
    return rows


def _alike(pictures: list[np.ndarray]) -> list[np.ndarray]:
    """The pictures in one type: of uint8 and float32 files side by side, all float32."""
    if len({picture.dtype for picture in pictures}) == 1:
        return pictures
    return [
        picture.astype(np.float32) / (255 if picture.dtype == np.uint8 else 1)
        for picture in pictures
    ]


def _decoded(coder: Autoencoder, codes: Tensor, shape: tuple[int, ...]) -> list[np.ndarray]:
    height, width = shape[:2]
    made = coder.decode(codes)[..., :height, :width].float().clamp(0, 1)
    return list(made.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def _named(embedding: Embedding, row: int) -> str:
    """The class of a picture, or the end of its name."""
    if embedding.labels is not None:
        return embedding.class_names[int(embedding.labels[row])][:14]
    return embedding.paths[row][-14:]
