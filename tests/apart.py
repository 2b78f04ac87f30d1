"""A device that is not here: tensors that stand apart, computed on the CPU, and without float64.

Apple's MPS has no float64, and no device takes tensors of another. Both mistakes are found with
this, on any machine; whether an operator is there at all, and its numbers, only the device tells.
PyTorch lets only the device named 'meta' stand in for one that is absent.

    with elsewhere():
        blur(Apart(torch.rand(1, 1, 8, 8)), sigma=2.0, generator=Chance())
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

THERE, HERE = torch.device("meta"), torch.device("cpu")
MIXES = ("aten::copy_", "aten::index", "aten::_index")
"""What takes tensors of two devices: copies, and places told on the CPU."""


class Apart(Tensor):
    """A tensor there; `inner` is what it holds."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> Apart:
        if inner.dtype == torch.float64:
            raise TypeError("float64 on a device that has none")
        made = Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            inner.stride(),
            inner.storage_offset(),
            dtype=inner.dtype,
            device=THERE,
        )
        made.inner = inner
        return made

    def new_tensor(self, data: Any) -> Tensor:
        return Apart(torch.tensor(data, dtype=self.dtype))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _done(func, args, kwargs or {})


class Chance(torch.Generator):
    """A generator there."""

    device = THERE  # type: ignore[assignment]


class _Elsewhere(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _done(func, args, kwargs or {})


@contextmanager
def elsewhere() -> Iterator[None]:
    """Within it tensors can be made there, and autocast, which does not know it, is left out."""
    off = mock.patch.multiple(
        torch,
        autocast=mock.Mock(side_effect=lambda *_, **__: nullcontext()),
        is_autocast_enabled=mock.Mock(return_value=False),
    )
    with off, _Elsewhere():
        yield


def moved(model: torch.nn.Module) -> torch.nn.Module:
    """The model, its weights and buffers there."""
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                module._parameters[name] = torch.nn.Parameter(
                    Apart(weight.data), requires_grad=weight.requires_grad
                )
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = Apart(buffer)
    return model


def _done(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name, told = func.name(), (args, kwargs)
    leaves = tree_leaves(told)
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    there = any(isinstance(tensor, Apart) for tensor in tensors)
    here = any(tensor.ndim for tensor in tensors if not isinstance(tensor, Apart))
    if there and here and not name.startswith(MIXES):
        raise RuntimeError(f"{name}: tensors of two devices")
    if there and any(leaf is torch.float64 for leaf in leaves):
        raise TypeError(f"{name}: float64 on a device that has none")
    asked = [leaf for leaf in leaves if isinstance(leaf, torch.device)]
    ends_there = isinstance(args[0], Apart) if name.startswith("aten::copy_") else there
    if asked:
        ends_there = asked[0].type == THERE.type
        told = tree_map_only(torch.device, lambda _: HERE, told)
    plain_args, plain = tree_map_only(Apart, lambda tensor: tensor.inner, told)
    out = func(*plain_args, **plain)
    if func._schema.is_mutable and isinstance(args[0], Apart) and out is plain_args[0]:
        return args[0]
    return tree_map_only(Tensor, Apart, out) if ends_there else out
