"""What the machine at hand does well, asked of it and not guessed from its name."""

from __future__ import annotations

import torch

from pellucid.errors import OptionError


def device(wanted: str = "auto") -> torch.device:
    """The device to work on: 'auto' takes CUDA, then MPS, then the CPU.

    Raises:
        OptionError: The device named is not there.
    """
    found = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if wanted == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if found[name]))
    if not found.get(wanted.partition(":")[0], False):
        there = ", ".join(name for name, present in found.items() if present)
        raise OptionError(f"device '{wanted}' is not available here; available: auto, {there}")
    return torch.device(wanted)


def halves_pay(on: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware, where it runs twice as fast.

    On a CPU without such instructions bfloat16 is emulated and several times slower.
    """
    if on.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if on.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def memory_format(on: torch.device) -> torch.memory_format:
    """Channels last where convolutions want it: on CPUs and on CUDA."""
    return torch.contiguous_format if on.type == "mps" else torch.channels_last
