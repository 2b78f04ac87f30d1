"""What the machine at hand does well, asked of it and not guessed from its name."""

from __future__ import annotations

import ctypes
import math
import time
from functools import cache

import torch
from torch.nn import functional as F

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


@cache
def halves_pay(on: torch.device) -> bool:
    """Whether the device computes a convolution faster in bfloat16 than in float32.

    A CPU is timed, for some 40 ms: one that has the instructions may still need twice as long
    (an Intel Xeon with avx512_bf16: 168 against 328 GFLOP/s; an AMD one: twice as fast).
    Without the instructions bfloat16 is emulated, and not worth the question.
    """
    if on.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if on.type == "cpu":
        has = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        if not has:
            return False
        half, full = _seconds(torch.bfloat16, torch.float32)
        return 1.2 * half < full
    return False


@torch.no_grad()
def _seconds(*kinds: torch.dtype) -> list[float]:
    """The shortest of many convolutions on the CPU, 115 MFLOP each, in each kind of number.

    They take turns, so that other work beside them slows all kinds alike.
    """
    pictures = torch.ones(8, 32, 28, 28).to(memory_format=torch.channels_last)
    given = [(pictures.to(kind), torch.ones(32, 32, 3, 3, dtype=kind)) for kind in kinds]
    taken = [math.inf] * len(kinds)
    for _ in range(24):
        for i, (images, kernel) in enumerate(given):
            started = time.perf_counter()
            F.conv2d(images, kernel, padding=1)
            taken[i] = min(taken[i], time.perf_counter() - started)
    return taken


def memory_format(on: torch.device) -> torch.memory_format:
    """Channels last where convolutions want it: on CPUs and on CUDA."""
    return torch.contiguous_format if on.type == "mps" else torch.channels_last


def keep_memory() -> bool:
    """Let glibc keep what a training step frees, since the next step wants it again.

    By default blocks of a few megabytes go back to the system and come anew, page by page: a
    tenth of a small model's step. Does nothing, and says False, where the C library is another.
    """
    largest_block, trim_above = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(largest_block, 2**25) and mallopt(trim_above, 2**31 - 1))
