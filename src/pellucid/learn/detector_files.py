"""Detectors on disk: one `.safetensors` file, complete, without pickles.

The weights of the frozen network travel in it (3 MB for what is used of it), so that a detector
runs where the package that brought them is not installed. Read next: `checkpoints`, which does the
same for models.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from pellucid import __version__
from pellucid.errors import CheckpointError, PellucidError
from pellucid.images.files import atomic
from pellucid.learn.detector import Detector

FORMAT = 1
KEY = "pellucid-detector"


def save(detector: Detector, path: str | Path, **told: Any) -> Path:
    """Write a detector, whole or not at all; the same bytes for the same weights.

    Args:
        detector: Fitted.
        path: Where to; an existing file is replaced.
        **told: What else to keep: ``threshold``, ``false_alarms``, how they were found.

    Raises:
        ImageError: The place cannot be written to.
    """
    state = {k: v.detach().cpu().contiguous() for k, v in sorted(detector.state_dict().items())}
    options = {**detector.options, "levels": list(detector.options["levels"])}
    card = {"format": FORMAT, "version": __version__, "options": options, **told}
    with atomic(path) as file:
        file.write(to_bytes(state, {KEY: json.dumps(card, sort_keys=True)}))
    return Path(path)


def load(path: str | Path, *, device: str = "auto") -> Detector:
    """The detector in a file; ``metadata`` is what it says of itself.

    Raises:
        CheckpointError: It is missing, damaged, hostile, no detector, or of another format.
        OptionError: The device is not there.
    """
    source = Path(path)
    card = _card(source)
    try:
        options = dict(card["options"])
        options["levels"] = tuple(options["levels"])
        # On the meta device nothing costs memory, however large a hostile file says that it is.
        with torch.device("meta"):
            detector = Detector(**options, weights="random")
        wanted = {name: (tuple(t.shape), t.dtype) for name, t in detector.state_dict().items()}
        with safe_open(os.fspath(source), framework="pt") as file:
            names = list(file.keys())
            found = {name: tuple(file.get_slice(name).get_shape()) for name in names}
            for name in sorted(wanted.keys() | found.keys()):
                if found.get(name) != wanted.get(name, (None,))[0]:
                    raise CheckpointError(f"weight '{name}' does not fit its own description")
            state = {name: file.get_tensor(name) for name in names}
        for name, tensor in state.items():
            if tensor.dtype != wanted[name][1]:
                raise CheckpointError(f"weight '{name}' is of {tensor.dtype}")
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise CheckpointError(f"weight '{name}' holds what is no number")
        if not bool((state["reconstruction.ordinary"] > 0).all()):
            raise CheckpointError("what is ordinary must be above 0 everywhere")
        detector.load_state_dict(state, assign=True)
    except PellucidError as error:
        raise CheckpointError(f"{source}: {error}") from error
    except (
        SafetensorError,
        RuntimeError,
        TypeError,
        ValueError,
        LookupError,
        MemoryError,
        OverflowError,
    ) as error:
        raise CheckpointError(f"{source}: the weights do not fit ({_short(error)})") from error
    detector.metadata = card
    return detector.requires_grad_(False).eval().to_device(device)


def _card(source: Path) -> dict[str, Any]:
    """What the file says of itself; its weights are not read."""
    if not source.exists():
        raise CheckpointError(f"there is no detector {source}; make one with pellucid detect fit")
    if source.is_dir():
        raise CheckpointError(f"{source} is a folder; give the file that detect fit wrote")
    try:
        with safe_open(os.fspath(source), framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{source} is not a readable .safetensors file ({_short(error)}); it may be truncated "
            "or of another kind (pickled .pt and .ckpt files are never loaded)"
        ) from error
    if KEY not in metadata:
        other = "a model and no detector" if "pellucid" in metadata else "weights of something else"
        raise CheckpointError(f"{source} holds {other}; make one with pellucid detect fit")
    try:
        card = dict(json.loads(metadata[KEY]))
        version, threshold = card["format"], card["threshold"]
        numeric = isinstance(threshold, (int, float)) and not isinstance(threshold, bool)
        usable = numeric and 0 < float(threshold) < math.inf
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{source}: its description is damaged ({_short(error)})") from error
    if version != FORMAT:
        raise CheckpointError(
            f"{source} has detector format {version!r}, written by pellucid "
            f"{card.get('version', '?')}; this is pellucid {__version__}, which reads format "
            f"{FORMAT}; install the matching version"
        )
    if not (usable and isinstance(card.get("options"), dict)):
        raise CheckpointError(f"{source}: its description is damaged (threshold or options)")
    return card


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
