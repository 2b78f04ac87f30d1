"""What was made as one picture, for a notebook: ``pellucid.show(run)`` and the like.

A Pillow image as the last line of a cell is shown beneath it; ``.save("file.png")`` keeps it. Read
next: `panel`, which draws pictures side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pellucid.errors import DataError, OptionError
from pellucid.report.panel import draw
from pellucid.report.plots import curves_picture
from pellucid.report.results import Report
from pellucid.report.runs import Run
from pellucid.uses import code_map, features, generate
from pellucid.uses.embed import Embedding

Pictures = Tensor | np.ndarray | Sequence[np.ndarray]

LEAST = 64
"""Pictures smaller than this are enlarged by a whole factor."""


def show(
    made: Any,
    *,
    most: int = 10,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    title: str = "",
    note: str = "",
) -> Image.Image:
    """One picture of a run, a report, codes, features, a grid, or rows of pictures.

    Args:
        made: What `pellucid.fit` gives (its curves), what `pellucid.evaluate` gives (its best,
            median and worst pictures), what ``uses`` gives: an `Embedding` (its map), `Features`,
            a `Grid` of `Maker`, `Strips`. Or pictures in rows: for each row a tensor (N, C, H, W)
            or an array (N, H, W, C), in [0, 1] or uint8; a single row need not be in a list.
        most: Pictures that are shown of each row, the first ones; for rows of pictures.
        rows: What each row is; for rows of pictures.
        columns: What each column is; for rows of pictures.
        title: A line above; for rows of pictures.
        note: A line beneath; for rows of pictures.

    Raises:
        OptionError: Something else was given, or labels for what brings its own.
        DataError: No picture was given.

    Example:
        >>> show([torch.zeros(3, 1, 8, 8), np.ones((3, 8, 8, 1))], rows=("black", "white")).mode
        'RGB'
    """
    found = _made(made)
    if found is not None:
        if rows or columns or title or note:
            raise OptionError(
                f"a picture of {type(made).__name__} brings its own words; leave out rows, "
                "columns, title and note"
            )
        return found
    if most < 1:
        raise OptionError(f"most is {most}; show at least 1 picture of each row")
    cells = [_row(part)[:most] for part in _rows(made)]
    if not any(cells):
        raise DataError("there is no picture to show")
    return draw(cells, rows=rows, columns=columns, title=title, note=note, least=LEAST)


def _made(made: Any) -> Image.Image | None:
    """The picture of what was made, or None of what is pictures itself."""
    if isinstance(made, Run):
        return curves_picture(made.judged)
    if isinstance(made, Report):
        return made.picture()
    if isinstance(made, Embedding):
        return code_map.map_of(made)[0]
    if isinstance(made, features.Features):
        grid = features.grid(made)
        return draw(grid.cells, rows=grid.rows, least=LEAST)
    if isinstance(made, generate.Grid):
        return draw(made.rows, rows=made.labels, columns=made.columns, note=made.about, least=LEAST)
    if isinstance(made, code_map.Strips):
        return draw(made.cells, columns=made.columns, captions=made.captions, least=LEAST)
    return None


def _rows(made: Any) -> list[Pictures]:
    """The rows; a stack of pictures is one."""
    if isinstance(made, Tensor | np.ndarray):
        return [made]
    if isinstance(made, Iterable) and not isinstance(made, str | bytes | dict):
        return list(made)
    raise OptionError(
        f"{type(made).__name__} cannot be shown; give a run, a report, an embedding, features, a "
        "grid, strips, or rows of pictures"
    )


def _row(part: Any) -> list[np.ndarray]:
    """Pictures (H, W, C) of a row."""
    if isinstance(part, Tensor):
        if part.ndim != 4 or part.shape[1] not in (1, 3):
            raise DataError(f"a row is {tuple(part.shape)}; a tensor of pictures is (N, C, H, W)")
        planar = part.detach().cpu()
        planar = planar if planar.dtype == torch.uint8 else planar.float()
        return list(planar.permute(0, 2, 3, 1).contiguous().numpy())
    pictures = list(part) if isinstance(part, Iterable) else []
    for picture in pictures:
        shape = getattr(picture, "shape", None)
        if shape is None or len(shape) != 3 or shape[2] not in (1, 3):
            raise DataError(
                "a row holds arrays (H, W, C), with 1 or 3 channels, or is a tensor (N, C, H, W); "
                f"not {shape or type(picture).__name__}"
            )
    return pictures
