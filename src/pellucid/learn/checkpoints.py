"""Models on disk: one `.safetensors` file with the weights and, beside them, what they are.

Name, options, recipe, data, licence and scores travel in the file's metadata, so a model opens
without its source. No pickle is ever read: a safetensors file is a JSON header and plain numbers.
"""

from __future__ import annotations

import json
import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from pellucid import __version__
from pellucid.errors import CheckpointError, PellucidError
from pellucid.images.files import atomic
from pellucid.learn import machine
from pellucid.learn.models import Restorer, create

FORMAT = 1
SHIPPED = Path(__file__).resolve().parents[1] / "weights"


def describe(model: Restorer, **more: Any) -> dict[str, Any]:
    """What a checkpoint says of its model; also what an exported file carries.

    Args:
        model: The model.
        **more: ``recipe``, ``data``, ``licence``, ``scores`` and whatever else should travel.
    """
    return {
        "format": FORMAT,
        "version": __version__,
        "model": model.kind,
        "options": model.options,
        "image_channels": model.image_channels,
        "multiple_of": model.multiple_of,
        "image_size": model.image_size,
        "halo": model.halo,
        "fills_holes": model.fills_holes,
        "recipe": None,
        "data": None,
        "licence": None,
        "scores": None,
        **more,
    }


def save(
    model: Restorer,
    path: str | Path,
    *,
    state: dict[str, Tensor] | None = None,
    halves: bool = False,
    **more: Any,
) -> Path:
    """Write `model` to a `.safetensors` file, whole or not at all.

    Args:
        model: Any model of this package.
        path: Where to; an existing file is replaced.
        state: Weights to write in place of the model's present ones.
        halves: Round weights to 16 bits: half the file, at no visible loss. Loaded, they are of 32
            bits again.
        **more: Metadata to keep, as in `describe`.

    Raises:
        ImageError: The place cannot be written to.
    """
    target = Path(path)
    # The same bytes for the same weights: sorted names, dense and contiguous tensors.
    weights = {
        name: (tensor.half() if halves and tensor.is_floating_point() else tensor)
        .detach()
        .cpu()
        .contiguous()
        for name, tensor in sorted((state or model.state_dict()).items())
    }
    inherited = {key: model.metadata[key] for key in _KEPT if model.metadata.get(key)}
    told = describe(model, **{**inherited, **more})
    text = json.dumps(told, sort_keys=True)
    with atomic(target) as file:
        file.write(to_bytes(weights, {"pellucid": text}))
    return target


_KEPT = ("recipe", "data", "licence", "scores", "training", "evens", "spares", "ink")


def read_metadata(path: str | Path) -> dict[str, Any]:
    """What the checkpoint at `path` says of itself; its weights are not read.

    Raises:
        CheckpointError: It is missing, damaged, not ours, or of a format this version cannot read.
    """
    source = Path(path)
    if not source.exists():
        near = get_close_matches(
            str(path), [file.stem for file in SHIPPED.glob("*.safetensors")], 1
        )
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise CheckpointError(f"there is no model file {source}{hint}")
    if source.suffix.lower() == ".onnx":
        raise CheckpointError(
            f"{source} is an exported model, which only restores; give the checkpoint "
            "(.safetensors) or the run folder that it was made from"
        )
    if source.is_dir():
        raise CheckpointError(
            f"{source} is a folder without model.safetensors; give a run folder of 'pellucid "
            "train', or a model file"
        )
    try:
        with safe_open(os.fspath(source), framework="pt") as file:
            told = (file.metadata() or {}).get("pellucid")
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{source} is not a readable .safetensors file ({_short(error)}); it may be truncated "
            "or of another kind (pickled .pt and .ckpt files are never loaded)"
        ) from error
    if told is None:
        raise CheckpointError(
            f"{source} holds weights but says nothing of its model; pellucid "
            "reads the checkpoints that pellucid.learn.checkpoints.save writes"
        )
    try:
        metadata = json.loads(told)
        version = metadata["format"]
        kind, options = metadata["model"], metadata["options"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{source}: its description is damaged ({_short(error)})") from error
    if version != FORMAT:
        raise CheckpointError(
            f"{source} has checkpoint format {version!r}, written by pellucid "
            f"{metadata.get('version', '?')}; this is pellucid {__version__}, which reads format "
            f"{FORMAT}; install the matching version"
        )
    if not isinstance(kind, str) or not isinstance(options, dict):
        raise CheckpointError(f"{source}: its description is damaged (no model name or options)")
    return dict(metadata)


def load(source: str | Path, *, device: str = "cpu") -> Restorer:
    """The model in a checkpoint, ready to restore (in evaluation mode).

    Args:
        source: A `.safetensors` file, a run folder that holds ``model.safetensors``, or the name
            of a shipped model.
        device: Where to put it: 'auto', 'cpu', 'cuda' or 'mps'.

    Returns:
        The model; ``model.metadata`` is what the checkpoint says of itself.

    Raises:
        CheckpointError: See `read_metadata`; or the weights do not fit the model.
        OptionError: The device is not there.
    """
    home = machine.device(device)
    path = _find(source)
    metadata = read_metadata(path)
    try:
        # On the meta device a model costs nothing, however large a hostile file says that it is.
        with torch.device("meta"):
            model = create(metadata["model"], **_plain(metadata["options"]))
        with safe_open(os.fspath(path), framework="pt") as file:
            names = list(file.keys())
            _check_weights(model, {name: tuple(file.get_slice(name).get_shape()) for name in names})
            state = {name: _whole(file.get_tensor(name)) for name in names}
        model.load_state_dict(state, assign=True)
    except PellucidError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (
        SafetensorError,
        RuntimeError,
        TypeError,
        ValueError,
        MemoryError,
        OverflowError,
    ) as error:
        raise CheckpointError(f"{path}: the weights do not fit ({_short(error)})") from error
    model.metadata = metadata
    return model.eval().to(home)


def begin(model: Restorer, source: str | Path) -> None:
    """Give `model` the weights of another of the same design, to be trained further.

    A model for grey pictures may begin one for colour: each colour is then looked at as a third of
    the grey, and changed as the grey would be. One for colour may begin one for grey, which then
    gives the mean of what that gives the same grey as three colours. A model keeps its own weights
    where it names them in `may_lack` and the other has none.

    Args:
        model: Takes the weights, and the other's metadata until it is trained.
        source: As in `load`.

    Raises:
        CheckpointError: See `load`; or the two differ in more than grey and colour.
    """
    other = load(source)
    for name in ("activation", "residual"):  # which no shape would show
        there, here = (one.options.get(name) for one in (other, model))
        if name in other.options and name in model.options and there != here:
            raise CheckpointError(
                f"'{source}' cannot begin this model: its {name} is {there} and here {here}; give "
                f"[model] the options that it was made with: {json.dumps(other.options)}"
            )
    state = other.state_dict()
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if model.image_channels != other.image_channels:
        for name, shape in wanted.items():
            if name in state:
                state[name] = _recoloured(state[name], shape, to_colour=model.image_channels == 3)
    state |= {
        name: own
        for name, own in model.state_dict().items()
        if name not in state and name.startswith(model.may_lack)
    }
    fitting = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if fitting != wanted:
        odd = next(n for n in sorted(wanted | fitting) if wanted.get(n) != fitting.get(n))
        raise CheckpointError(
            f"'{source}' cannot begin this model: weight '{odd}' has shape {fitting.get(odd)} "
            f"there and {wanted.get(odd)} here; give [model] the options that it was made with: "
            f"{json.dumps(other.options)}"
        )
    model.load_state_dict(state)
    model.metadata = other.metadata


def _recoloured(weight: Tensor, shape: tuple[int, ...], *, to_colour: bool) -> Tensor:
    """A weight that touches the image (outputs, inputs, ...), made for one more or less colour.

    Planes of the image come first, colour by colour; others, as a mask's, come last and stay.
    """
    found = tuple(weight.shape)
    differing = [axis for axis in range(min(len(found), len(shape))) if found[axis] != shape[axis]]
    if len(found) != len(shape) or len(differing) != 1 or differing[0] > 1:
        return weight
    (axis,) = differing
    planes = abs(shape[axis] - found[axis]) // 2  # of one colour
    many = planes if to_colour else 3 * planes
    if many > found[axis]:
        return weight
    image, others = torch.split(weight, [many, found[axis] - many], axis)
    looks = 3 if axis == 1 else 1  # what looks at three colours takes a third of each
    if to_colour:
        image = torch.cat([image / looks] * 3, axis)
    else:
        image = torch.stack(image.chunk(3, axis)).mean(0) * looks
    return torch.cat([image, others], axis)


def _find(source: str | Path) -> Path:
    path = Path(source)
    if path.is_dir() and (path / "model.safetensors").exists():
        return path / "model.safetensors"
    shipped = SHIPPED / f"{source}.safetensors"
    if not path.exists() and path.name == str(source) and not path.suffix and shipped.exists():
        return shipped
    return path


def _check_weights(model: Restorer, found: dict[str, tuple[int, ...]]) -> None:
    """Say which weight differs, before any of them is read."""
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise CheckpointError(
                f"weight '{name}' has shape {found.get(name)} but the model needs "
                f"{wanted.get(name)}; the file does not belong to its own description"
            )


def _whole(tensor: Tensor) -> Tensor:
    """In 32 bits, and where memory is aligned as torch's own is.

    In the file it is not, and kernels that depend on it add up in another order: a last bit, but
    where a codec rounds, that is another picture.
    """
    odd = tensor.is_floating_point() and tensor.dtype != torch.float32
    return tensor.float() if odd else tensor.clone()


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """Options as constructors take them: JSON's lists were tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
