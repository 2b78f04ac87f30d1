"""Grey pictures through a network for grey, colour pictures through one for colour.

Some models in the box are pairs (`zoo.TWINS`). Whichever of the two is asked for, each picture goes
through the one made for it: a scan saved as RGB whose channels are equal costs less that way, and
cannot come back tinted. A model given as a file is used as it is. Read next: `denoise`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from pellucid.images.picture import bands
from pellucid.restore import zoo
from pellucid.restore.ensemble import Ensemble
from pellucid.restore.runtime import Runner, open_model

if TYPE_CHECKING:
    from pellucid.learn.models import Restorer


class Twins:
    """A runner, and its twin for the other kind of picture, opened once and only when needed.

    Args:
        runner: The model that was asked for.
        open_other: Opens the other; None where there is no other.
    """

    def __init__(self, runner: Runner, open_other: Callable[[], Runner] | None = None) -> None:
        self._runners = {runner.channels: runner}
        self._asked = runner
        self._open_other = open_other
        self._lock = Lock()

    def suited(self, channels: int) -> Runner:
        """The runner for pictures of 1 or 3 channels, or the only one that there is."""
        # Pictures in work side by side wait for the one that opens it.
        with self._lock:
            if channels not in self._runners and self._open_other is not None:
                other = self._open_other()
                self._runners.setdefault(other.channels, other)
                self._open_other = None
            return self._runners.get(channels, self._asked)


class _Ensembles(Twins):
    """Twins each of which is asked for every view of a picture."""

    def __init__(self, twins: Twins) -> None:
        self._twins = twins

    def suited(self, channels: int) -> Runner:
        return Ensemble(self._twins.suited(channels))


def open_twins(
    model: str | Path | Runner | Twins | Restorer,
    *,
    device: str = "auto",
    threads: int | None = None,
    ensemble: bool = False,
) -> Twins:
    """The model, as `runtime.open_model` opens it, with its twin if both are shipped.

    Twins that are open already are taken as they are; `ensemble` makes an `Ensemble` of each.
    """
    if ensemble:
        return _Ensembles(open_twins(model, device=device, threads=threads))
    if isinstance(model, Twins):
        return model
    other = zoo.twin(model) if isinstance(model, str) else None
    runner = open_model(model, device=device, threads=threads)
    if other is None:
        return Twins(runner)
    return Twins(runner, lambda: open_model(other, device=device, threads=threads))


def is_grey(samples: NDArray[Any]) -> bool:
    """Whether samples (H, W, C) have one channel, or three that are equal everywhere.

    Example:
        >>> import numpy as np
        >>> is_grey(np.full((2, 2, 3), 7, np.uint8))
        True
    """
    if samples.shape[2] == 1:
        return True
    # As integers, or no NaN would equal another.
    plain = samples.view(f"u{samples.itemsize}")
    # Most colour pictures show it in the first rows, so little is compared.
    return all(
        bool((plain[rows, :, 1:] == plain[rows, :, :1]).all())
        for rows in bands(samples.shape[0], samples.shape[1])
    )
