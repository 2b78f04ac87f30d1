"""Open a model file as a function on arrays: the one home of ONNX Runtime.

A `Runner` says what the network needs (channels, grid, reach) and maps (B, C, H, W) to the same
shape. ONNX files run without torch; a user's own checkpoint is opened through `pellucid.learn`,
and only then. Read next: `denoise`, which brings pictures.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import CheckpointError, OptionError, PellucidError, optional, unknown
from pellucid.restore import zoo

if TYPE_CHECKING:
    from pellucid.learn.models import Restorer

Images = NDArray[np.float32]

DEVICES = ("auto", "cpu", "cuda", "mps")

_FOREIGN_MULTIPLE = 16
"""Padding for a network that does not say what it needs: four halvings cover most."""


class Runner(Protocol):
    """A network that is ready to run.

    Attributes:
        name: For messages and reports.
        channels: 1 or 3; what the network takes and gives.
        multiple_of: The grid that windows of a large picture start on.
        halo: How far the network sees in pixels; None where it sees everything.
        image_size: Height and width of the only size it takes, or None.
        device: Where it runs.
        metadata: The card of the model; empty for somebody else's.
    """

    name: str
    channels: int
    multiple_of: int
    halo: int | None
    image_size: tuple[int, int] | None
    device: str
    metadata: dict[str, Any]

    def __call__(self, images: Images) -> Images:
        """Restored images of the same shape (B, C, H, W); any H and W unless `image_size`."""
        ...


class OnnxRunner:
    """A network in ONNX, run by ONNX Runtime.

    Args:
        path: The .onnx file.
        device: 'auto', 'cpu' or 'cuda'.
        threads: Processor threads; all that this process may use unless given.
    """

    def __init__(self, path: Path, *, device: str = "auto", threads: int | None = None) -> None:
        import onnxruntime

        self.metadata = zoo.metadata(path)
        self.name = path.stem
        providers, self.device = _providers(onnxruntime.get_available_providers(), device)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or available_threads()
        options.inter_op_num_threads = 1
        # Windows at the borders have other shapes, and a remembered pattern for each of them costs
        # half as much memory again and gains no time.
        options.enable_mem_pattern = False
        # Its warnings are for its developers; errors come as exceptions, too.
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), sess_options=options, providers=providers
            )
        except Exception as error:  # ONNX Runtime's own exceptions share no base class
            raise CheckpointError(
                f"cannot open {path}: {_first_line(error)}; export the model again"
            ) from error
        self._input, self._output, shape = _image_port(self._session, path)
        self.channels = int(shape[1])
        fixed = [side for side in shape[2:] if isinstance(side, int)]
        self.image_size = (fixed[0], fixed[1]) if len(fixed) == 2 else None
        if len(fixed) == 1:
            raise CheckpointError(
                f"{path} takes images of {shape[2]}x{shape[3]}: height and width must be both free "
                "or both fixed; export it again"
            )
        self._batch = shape[0] if isinstance(shape[0], int) else None
        try:
            self.multiple_of = int(self.metadata.get("multiple_of", _FOREIGN_MULTIPLE))
            halo = self.metadata.get("halo")
            self.halo = None if halo is None else int(halo)
        except (TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path}: its card is damaged ({error}); export it again"
            ) from error
        if self.multiple_of < 1 or (self.halo is not None and self.halo < 0):
            raise CheckpointError(f"{path}: its card is damaged; export it again")

    def __call__(self, images: Images) -> Images:
        """Restored images of the same shape (B, C, H, W)."""
        height, width = images.shape[2:]
        if self.image_size is not None:
            # As the network itself does before it pads to its grid.
            down, right = self.image_size[0] - height, self.image_size[1] - width
        else:
            grid = 1 if self.metadata else self.multiple_of
            down, right = -height % grid, -width % grid
        if down > 0 or right > 0:
            border = ((0, 0), (0, 0), (0, max(down, 0)), (0, max(right, 0)))
            images = np.pad(images, border, mode="edge")
        step = self._batch or len(images)
        parts = [self._run(images[start : start + step]) for start in range(0, len(images), step)]
        restored = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return restored[:, :, :height, :width]

    def _run(self, images: Images) -> Images:
        given = len(images)
        if self._batch and given < self._batch:
            images = np.concatenate([images, np.repeat(images[-1:], self._batch - given, axis=0)])
        try:
            restored: Images = self._session.run(
                [self._output], {self._input: np.ascontiguousarray(images)}
            )[0]
        except Exception as error:  # as above
            raise CheckpointError(
                f"model '{self.name}' cannot restore images of "
                f"{images.shape[2]}x{images.shape[3]}: {_first_line(error)}"
            ) from error
        if restored.shape != images.shape:
            raise CheckpointError(
                f"model '{self.name}' made {restored.shape} of {images.shape}; "
                "a restoring model keeps the shape"
            )
        return restored[:given].astype(np.float32, copy=False)


class TorchRunner:
    """A network of `pellucid.learn`, run by torch.

    Args:
        model: A `Restorer`, left in evaluation mode on the device. Any other `nn.Module` that maps
            images to images of the same size runs too, and counts as one for colour.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        threads: Processor threads; torch's own choice unless given.
        name: For messages and reports.
    """

    def __init__(
        self,
        model: Restorer,
        *,
        device: str = "auto",
        threads: int | None = None,
        name: str | None = None,
    ) -> None:
        self._torch = import_module("torch")
        if threads:
            self._torch.set_num_threads(threads)
        self.device = self._device(device)
        network: Any = model.eval()
        self._model = network.to(self.device, memory_format=self._torch.channels_last)
        self.name = name or getattr(model, "kind", "") or type(model).__name__
        self.channels = int(getattr(model, "image_channels", 3))
        self.multiple_of = int(getattr(model, "multiple_of", 1))
        self.halo = getattr(model, "halo", None)
        self.image_size = getattr(model, "image_size", None)
        self.metadata = dict(getattr(model, "metadata", {}))

    def __call__(self, images: Images) -> Images:
        """Restored images of the same shape (B, C, H, W)."""
        torch = self._torch
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(images)).to(
                self.device, memory_format=torch.channels_last
            )
            restored: Images = self._model(x).float().cpu().contiguous().numpy()
        return restored

    def _device(self, given: str) -> str:
        cuda = bool(self._torch.cuda.is_available())
        mps = bool(self._torch.backends.mps.is_available())
        there = {"cpu": True, "cuda": cuda, "mps": mps}
        if given == "auto":
            return "cuda" if cuda else "mps" if mps else "cpu"
        _check_device(given, [device for device in there if there[device]])
        return given


def open_model(
    model: str | Path | Runner | Restorer,
    *,
    device: str = "auto",
    threads: int | None = None,
) -> Runner:
    """A runner for a shipped model's name, a model file, a run folder, or a model in memory.

    Args:
        model: A name of `zoo.names`, a path, a `Restorer`, or a runner (given back as it is).
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        threads: Processor threads; all that this process may use unless given.

    Raises:
        CheckpointError: No such file, or not a model that restores images.
        OptionError: An unknown name or device.
        MissingExtraError: The model needs torch, which is not installed.
    """
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    if threads is not None and threads < 1:
        raise OptionError(f"threads is {threads}; it must be at least 1")
    if not isinstance(model, str | Path):
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(model, torch.nn.Module):
            return TorchRunner(model, device=device, threads=threads)
        return cast(Runner, model)
    path = zoo.resolve(model)
    if path.suffix.lower() == ".onnx":
        try:
            return OnnxRunner(path, device=device, threads=threads)
        except OptionError:
            # ONNX Runtime was built without this device; torch may have it.
            path = zoo.resolve(model, prefer=".safetensors")
            if path.suffix != ".safetensors":
                raise
    optional("torch", "train")
    optional("safetensors", "train")
    checkpoints = import_module("pellucid.learn.checkpoints")
    restorer = checkpoints.load(path)
    name = path.parent.name if path.stem == "model" else path.stem
    return TorchRunner(restorer, device=device, threads=threads, name=name)


def available_threads() -> int:
    """How many processor threads this process may use; ``$OMP_NUM_THREADS`` lowers them."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(there or 1, int(wanted) if wanted.isdecimal() else there or 1))


def _providers(available: Sequence[str], device: str) -> tuple[list[str], str]:
    """ONNX Runtime's names for a device, and the device chosen."""
    cpu, cuda = "CPUExecutionProvider", "CUDAExecutionProvider"
    has_cuda = cuda in available
    if device == "auto":
        device = "cuda" if has_cuda else "cpu"
    _check_device(device, ["cpu", *(["cuda"] if has_cuda else [])])
    return ([cuda, cpu] if device == "cuda" else [cpu]), device


def _check_device(device: str, there: Sequence[str]) -> None:
    if device not in there:
        raise OptionError(
            f"device '{device}' is not there; this installation can use: {', '.join(there)}"
        )


def _image_port(session: Any, path: Path) -> tuple[str, str, list[Any]]:
    """Names of the image's input and output, and the input's shape (B, C, H, W)."""
    # Old exports list their weights among the inputs; those have initial values.
    initial = {port.name for port in session.get_overridable_initializers()}
    inputs = [port for port in session.get_inputs() if port.name not in initial]
    outputs = session.get_outputs()
    problem = ""
    if len(inputs) != 1 or not outputs:
        problem = f"it has {len(inputs)} inputs and {len(outputs)} outputs"
    elif len(inputs[0].shape) != 4 or inputs[0].shape[1] not in (1, 3):
        problem = f"its input is {inputs[0].shape}"
    elif inputs[0].type != "tensor(float)" or outputs[0].type != "tensor(float)":
        problem = f"it maps {inputs[0].type} to {outputs[0].type}"
    if problem:
        raise CheckpointError(
            f"{path} does not restore images: {problem}; one float32 input "
            "(batch, 1 or 3 channels, height, width) and an output of the same shape are needed"
        )
    return inputs[0].name, outputs[0].name, list(inputs[0].shape)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    if isinstance(error, PellucidError):
        return text
    return text.splitlines()[0][:300] if text else type(error).__name__
