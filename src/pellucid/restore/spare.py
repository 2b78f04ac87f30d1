"""Leave a picture as it came where a network would change it by less than anybody can see.

No network gives a clean picture back exactly: it takes a little fine texture for noise. A model's
card may say, as ``spares``, below which change (root mean square over the picture, on the [0, 1]
scale) it is not to be listened to, and from which fully; between the two a share of it is taken. Of
a drawn picture without any noise such a network changes nothing: there single pixels are meant, and
it may take all of them away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import CheckpointError
from pellucid.images.picture import bands
from pellucid.restore.blend import blend
from pellucid.restore.drawn import looks_drawn
from pellucid.restore.noise import difference, estimate_sigma

NOTHING = 0.5 / 255
"""Standard deviation of noise that rounding to 8 bits makes by itself, and more."""


def share(changed: float, card: Mapping[str, Any]) -> float:
    """How much of a change to make, from 0 to 1.

    Args:
        changed: Root mean square of the change.
        card: The model's; one without ``spares`` makes all of it.

    Raises:
        CheckpointError: The card's ``spares`` are not two rising numbers.

    Example:
        >>> [share(changed / 255, {"spares": [1 / 255, 2 / 255]}) for changed in (0.5, 1.5, 9)]
        [0.0, 0.5, 1.0]
    """
    if not card.get("spares"):
        return 1.0
    try:
        least, enough = (float(value) for value in card["spares"])
        if not 0 <= least < enough:
            raise ValueError("they do not rise")
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"the model's card is damaged: spares is {card['spares']} ({error}); export it again"
        ) from error
    return float(np.clip((changed - least) / (enough - least), 0.0, 1.0))


def spare(
    before: NDArray[Any],
    after: NDArray[Any],
    card: Mapping[str, Any],
    *,
    strength: float = 1.0,
    unit: float = 1.0,
) -> None:
    """Take back, in place, what is too little of a change.

    Args:
        before: The picture as it came, (H, W, C).
        after: Restored, of the same shape; of the same dtype or float32. Changed in place.
        card: The model's.
        strength: The share of the change that `after` holds; above 0.
        unit: What the network took for the way from black to white, in samples that are floats.
    """
    if not card.get("spares"):
        return
    made = share(difference(before, after) / (strength * unit), card)
    if made and looks_drawn(before) and estimate_sigma(before) < NOTHING:
        made = 0.0
    if made == 1:
        return
    for rows in bands(before.shape[0], before.shape[1]):
        blend(before, after, rows, made)
