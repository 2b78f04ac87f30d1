"""Open a model as a function on arrays: the one home of ONNX Runtime.

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

from pellucid.errors import CheckpointError, OptionError, optional, unknown
from pellucid.restore import zoo
from pellucid.restore.exported import ExportedRunner, Images, check_ports, first_line
from pellucid.restore.openvino import OpenVinoRunner

if TYPE_CHECKING:
    from pellucid.learn.models import Restorer

DEVICES = ("auto", "cpu", "cuda", "mps", "openvino")


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
        fills_holes: Missing pixels come as NaN, and only they are changed.
    """

    name: str
    channels: int
    multiple_of: int
    halo: int | None
    image_size: tuple[int, int] | None
    device: str
    metadata: dict[str, Any]
    fills_holes: bool

    def __call__(self, images: Images) -> Images:
        """Restored images of the same shape (B, C, H, W); any H and W unless `image_size`."""
        ...


class OnnxRunner(ExportedRunner):
    """A network in ONNX, run by ONNX Runtime.

    Args:
        path: The .onnx file.
        device: 'auto', 'cpu' or 'cuda'.
        threads: Processor threads; all that this process may use unless given.
    """

    def __init__(self, path: Path, *, device: str = "auto", threads: int | None = None) -> None:
        zoo.metadata(path)  # says what is wrong with a file that is no model at all
        self._session, device = open_session(path, str(path), device=device, threads=threads)
        # Old exports list their weights among the inputs; those have initial values.
        initial = {port.name for port in self._session.get_overridable_initializers()}
        inputs = [port for port in self._session.get_inputs() if port.name not in initial]
        outputs = self._session.get_outputs()
        check_ports(
            path,
            [(port.shape, element(port)) for port in inputs],
            [element(port) for port in outputs],
        )
        self._input, self._output = inputs[0].name, outputs[0].name
        super().__init__(path, inputs[0].shape, device)

    def compute(self, images: Images) -> Images:
        """The network's own answer to contiguous images (B, C, H, W) that fit it."""
        restored: Images = self._session.run([self._output], {self._input: images})[0]
        return restored


def open_session(
    graph: Path | bytes, name: str, *, device: str = "auto", threads: int | None = None
) -> tuple[Any, str]:
    """ONNX Runtime's session for a graph, and the device that it runs on.

    Args:
        graph: An .onnx file, or its bytes.
        name: For messages.
        device: 'auto', 'cpu' or 'cuda'.
        threads: Processor threads; all that this process may use unless given.

    Raises:
        CheckpointError: It is no graph that can run.
        OptionError: The device is not there.
    """
    import onnxruntime

    providers, device = _providers(onnxruntime.get_available_providers(), device)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or available_threads()
    options.inter_op_num_threads = 1
    # Windows at the borders have other shapes, and a remembered pattern for each of them costs
    # half as much memory again and gains no time.
    options.enable_mem_pattern = False
    # Its warnings are for its developers; errors come as exceptions, too.
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            graph if isinstance(graph, bytes) else str(graph),
            sess_options=options,
            providers=providers,
        )
    except Exception as error:  # ONNX Runtime's own exceptions share no base class
        raise CheckpointError(
            f"cannot open {name}: {first_line(error)}; export the model again"
        ) from error
    return session, device


class TorchRunner:
    """A network of `pellucid.learn`, run by torch.

    Args:
        model: A `Restorer`, left in evaluation mode on the device. Any other `nn.Module` that maps
            images to images of the same size runs too, and counts as one for colour.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        threads: Processor threads; torch's own choice unless given.
        name: For messages and reports.

    Attributes:
        model: The network, where it runs.
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
        self.model: Any = network.to(self.device, memory_format=self._torch.channels_last)
        self.name = name or getattr(model, "kind", "") or type(model).__name__
        self.channels = int(getattr(model, "image_channels", 3))
        self.multiple_of = int(getattr(model, "multiple_of", 1))
        self.halo = getattr(model, "halo", None)
        self.image_size = getattr(model, "image_size", None)
        self.metadata = dict(getattr(model, "metadata", {}))
        self.fills_holes = bool(getattr(model, "fills_holes", False))

    def __call__(self, images: Images) -> Images:
        """Restored images of the same shape (B, C, H, W)."""
        torch = self._torch
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(images)).to(
                self.device, memory_format=torch.channels_last
            )
            restored: Images = self.model(x).float().cpu().contiguous().numpy()
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
        device: 'auto', 'cpu', 'cuda', 'mps', or 'openvino' for that engine on the processor.
        threads: Processor threads; all that this process may use unless given.

    Raises:
        CheckpointError: No such file, or not a model that restores images.
        OptionError: An unknown name or device.
        MissingExtraError: The model needs torch, or the device OpenVINO, which is not installed.
    """
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    if threads is not None and threads < 1:
        raise OptionError(f"threads is {threads}; it must be at least 1")
    if not isinstance(model, str | Path):
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(model, torch.nn.Module):
            if device == "openvino":
                raise _unexported("a model in memory")
            return TorchRunner(model, device=device, threads=threads)
        if not hasattr(model, "channels"):
            raise OptionError(
                f"a model is a name, a file, a run folder or a network, not {type(model).__name__}"
            )
        return cast(Runner, model)
    path = zoo.resolve(model)
    if device == "openvino":
        if path.suffix.lower() != ".onnx":
            raise _unexported(str(path))
        return OpenVinoRunner(path, threads=threads or available_threads())
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


def _unexported(what: str) -> OptionError:
    return OptionError(
        f"OpenVINO runs exported models, and {what} is none; write one with "
        "'pellucid export MODEL -o model.onnx'"
    )


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


def element(port: Any) -> str:
    """'float' for a tensor of float32."""
    return str(port.type).removeprefix("tensor(").removesuffix(")")
